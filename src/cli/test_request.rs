//! `tidegate webhook test`: the request that is sent through the ingress.

use clap::ArgMatches;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::CommandError;
use super::input::{STANDARD_INPUT, read};
use super::lookup::text;

/// The body of `POST …/test`. The request's own body goes out as it was written: its numbers keep their digits.
#[derive(Serialize)]
pub(super) struct TestCommand<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'m str>,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sign: bool,
}

impl<'m> TestCommand<'m> {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A header that is none; a body that cannot be read.
    pub(super) fn read(matches: &'m ArgMatches) -> Result<TestCommand<'m>, CommandError> {
        let mut headers = Map::new();
        for header in matches.get_many::<String>("header").unwrap_or_default() {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| CommandError::Usage(format!("--header {header:?} must be 'name: value'")))?;
            // RFC 9110, 5.3: fields of one name are one list.
            match headers.get_mut(name.trim()) {
                Some(Value::String(values)) => *values += &format!(", {}", value.trim()),
                _ => drop(headers.insert(name.trim().to_owned(), Value::from(value.trim()))),
            }
        }
        let body = match text(matches, "body") {
            Some(STANDARD_INPUT) => Some(raw(read(STANDARD_INPUT)?)?),
            Some(body) => Some(raw(body.to_owned())?),
            None => None,
        };
        let (method, path) = (text(matches, "method"), text(matches, "path"));
        Ok(TestCommand { method, path, headers, body, sign: matches.get_flag("sign") })
    }
}

/// A text as it is where it is JSON, else as a JSON string.
fn raw(text: String) -> anyhow::Result<Box<RawValue>> {
    if let Ok(json) = serde_json::from_str::<Box<RawValue>>(&text) {
        return Ok(json);
    }
    Ok(serde_json::value::to_raw_value(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_a_test_request_keeps_its_digits() {
        for (text, expected) in [(r#"{"a": 1.10}"#, r#"{"a": 1.10}"#), ("plain", "\"plain\""), (" 7 ", "7")] {
            assert_eq!(raw(text.to_owned()).unwrap().get(), expected);
        }
    }
}

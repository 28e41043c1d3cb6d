//! A helper with its arguments, and what it makes of their values.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::Regex;

use super::encode::{decode_uri, encode_uri};
use super::error::{Fault, RenderError};
use super::format::NumberFormat;
use super::helper::Helper;
use super::number;
use super::pattern;
use super::tree::Expression;
use super::value::{Segment, Type, Value, into_text};
use crate::base::text::{base64_decode_lenient, base64_into};

/// A helper with its arguments.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) helper: Helper,
    pub(super) arguments: Box<[Expression]>,
    /// What was built of an argument that stands in the template.
    built: Built,
}

#[derive(Debug)]
enum Built {
    Nothing,
    Pattern(Regex),
    Format(NumberFormat),
}

impl Call {
    /// # Errors
    /// A pattern that does not stand in the template or is none; a number format that is none.
    pub(super) fn new(helper: Helper, arguments: Vec<Expression>) -> Result<Call, Fault> {
        let built = match (helper, arguments.get(1)) {
            (Helper::Match, Some(Expression::Text(text))) => {
                Built::Pattern(pattern::compile(text).map_err(Fault::Pattern)?)
            }
            (Helper::Match, _) => {
                return Err(Fault::Pattern("it has to stand in the template, in quotes".to_owned()));
            }
            (Helper::Format, Some(Expression::Text(text))) => {
                Built::Format(NumberFormat::parse(text).ok_or_else(|| Fault::Format(text.to_string()))?)
            }
            _ => Built::Nothing,
        };
        Ok(Call { helper, arguments: arguments.into(), built })
    }

    /// The value, given those of the arguments ([`Value::Undefined`] for one that is not there).
    ///
    /// # Errors
    /// A text of more than `bytes_max` bytes.
    pub(super) fn value<'a>(
        &'a self,
        first: &Value<'a>,
        second: &Value<'a>,
        bytes_max: usize,
    ) -> Result<Value<'a>, RenderError> {
        let ordered = |wanted: fn(Ordering) -> bool| Value::Bool(first.compare(second).is_some_and(wanted));
        let value = match self.helper {
            Helper::Equal => Value::Bool(first.equals(second)),
            Helper::NotEqual => Value::Bool(!first.equals(second)),
            Helper::Greater => ordered(Ordering::is_gt),
            Helper::GreaterOrEqual => ordered(Ordering::is_ge),
            Helper::Less => ordered(Ordering::is_lt),
            Helper::LessOrEqual => ordered(Ordering::is_le),
            Helper::Match => Value::Bool(match &self.built {
                Built::Pattern(pattern) => pattern.is_match(&first.text()),
                _ => false,
            }),
            Helper::Add => Value::Number(first.number() + second.number()),
            Helper::Subtract => Value::Number(first.number() - second.number()),
            Helper::Multiply => Value::Number(first.number() * second.number()),
            Helper::Divide => Value::Number(first.number() / second.number()),
            Helper::EncodeBase64 => {
                let mut out = Vec::new();
                base64_into(&mut out, first.text().as_bytes());
                owned(into_text(out))
            }
            Helper::DecodeBase64 => {
                let bytes = base64_decode_lenient(first.text().as_bytes());
                owned(String::from_utf8_lossy(&bytes).into_owned())
            }
            Helper::EncodeUri => owned(encode_uri(&first.text(), true)),
            Helper::EncodeUriComponent => owned(encode_uri(&first.text(), false)),
            Helper::DecodeUri => decoded(first, true),
            Helper::DecodeUriComponent => decoded(first, false),
            Helper::Join => join(first, second, bytes_max)?,
            Helper::JsonEncode => json(first),
            Helper::Length => length(first),
            Helper::Lower => owned(first.text().to_lowercase()),
            Helper::Upper => owned(first.text().to_uppercase()),
            Helper::Trim => match first.text() {
                Cow::Borrowed(text) => Value::Text(Cow::Borrowed(text.trim_matches(number::is_space))),
                Cow::Owned(text) => owned(text.trim_matches(number::is_space).to_owned()),
            },
            Helper::TypeOf => Value::Text(Cow::Borrowed(type_name(first))),
            Helper::ValueByKey => value_by_key(first, second),
            Helper::Format => self.format(first, second),
            Helper::Lookup => property(first, second),
        };
        if let Value::Text(text) = &value
            && text.len() > bytes_max
        {
            return Err(RenderError::TooLong);
        }
        Ok(value)
    }

    /// Numbers, and texts that are one, by the format; arrays and objects as JSON; all else as it is.
    fn format<'a>(&self, value: &Value<'a>, format: &Value<'a>) -> Value<'a> {
        match value.type_of() {
            Type::Array | Type::Object => return json(value),
            Type::Number => {}
            Type::String
                if !value.text().trim_matches(number::is_space).is_empty() && !value.number().is_nan() => {}
            _ => return value.clone(),
        }
        match &self.built {
            Built::Format(format) => owned(format.write(value.number())),
            _ => match NumberFormat::parse(&format.text()) {
                Some(format_found) if !format.is_nullish() => owned(format_found.write(value.number())),
                _ => value.clone(),
            },
        }
    }
}

fn owned(text: String) -> Value<'static> {
    Value::Text(Cow::Owned(text))
}

/// What cannot be decoded stays as it is: there is nobody to throw an error at.
fn decoded<'a>(value: &Value<'a>, whole: bool) -> Value<'a> {
    let text = value.text();
    match decode_uri(&text, whole) {
        Some(decoded) => owned(decoded),
        None => Value::Text(text),
    }
}

/// `array.join(separator)`; what is no array is its text.
fn join<'a>(value: &Value<'a>, separator: &Value<'a>, bytes_max: usize) -> Result<Value<'a>, RenderError> {
    if value.type_of() != Type::Array {
        return Ok(Value::Text(value.text()));
    }
    let separator = if matches!(separator, Value::Undefined) { Cow::Borrowed(",") } else { separator.text() };
    let mut out = Vec::new();
    for (place, item) in value.items().enumerate() {
        if place > 0 {
            out.extend_from_slice(separator.as_bytes());
        }
        Value::Raw(item).write(&mut out, false);
        if out.len() > bytes_max {
            return Err(RenderError::TooLong);
        }
    }
    Ok(owned(into_text(out)))
}

fn json<'a>(value: &Value<'a>) -> Value<'a> {
    match value.json() {
        None => Value::Undefined,
        Some(Cow::Borrowed(bytes)) => Value::Text(String::from_utf8_lossy(bytes)),
        Some(Cow::Owned(bytes)) => owned(into_text(bytes)),
    }
}

/// Values of an array, UTF-16 units of a text, members of an object.
fn length<'a>(value: &Value<'a>) -> Value<'a> {
    let count = match value.type_of() {
        Type::Array => value.items().count(),
        Type::String => value.text().encode_utf16().count(),
        Type::Object => match value {
            Value::Raw(raw) => raw.entries().count(),
            _ => value.json().map_or(0, |json| crate::base::json::Raw::trusted(&json).entries().count()),
        },
        _ => return Value::Undefined,
    };
    Value::Number(count as f64)
}

fn type_name(value: &Value<'_>) -> &'static str {
    match value.type_of() {
        Type::Undefined => "undefined",
        Type::Null => "null",
        Type::Bool => "boolean",
        Type::Number => "number",
        Type::String => "string",
        Type::Array => "array",
        Type::Object => "object",
    }
}

/// The `value` of the first `{"key": …, "value": …}` of an array that has the key; of an object, its member.
fn value_by_key<'a>(list: &Value<'a>, key: &Value<'a>) -> Value<'a> {
    if list.type_of() != Type::Array {
        return property(list, key);
    }
    let found = list.items().find(|item| item.get("key").is_some_and(|has| Value::Raw(has).equals(key)));
    found.and_then(|item| item.get("value")).map_or(Value::Undefined, Value::Raw)
}

/// `object[key]`.
fn property<'a>(object: &Value<'a>, key: &Value<'a>) -> Value<'a> {
    match key.type_of() {
        Type::Undefined => Value::Undefined,
        Type::Number => object.property(&Segment::new(number::text(key.number()))),
        _ => object.property(&Segment::new(key.text())),
    }
}

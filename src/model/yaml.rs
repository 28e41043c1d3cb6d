//! YAML 1.2 for documents that people edit: a JSON value as YAML text, and back.
//!
//! Not here: JSON itself ([`json`](crate::base::json)), and any file of settings, which is TOML.

use serde_json::Value;
use serde_saphyr::{Budget, Options};

/// Values of a document: more than the largest body of the REST API has, each of at least two bytes.
const NODES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of all texts of a document: those of the largest body.
const SCALAR_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting: as deep as serde_json reads.
const DEPTH_MAX: usize = 128;

/// Writes a value as YAML, with a line end.
///
/// # Errors
/// If the value cannot be written; none that JSON has is known to fail.
pub(crate) fn write(value: &Value) -> Result<String, String> {
    let mut text = serde_saphyr::to_string(value).map_err(|error| error.to_string())?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Reads one YAML document; JSON is YAML too.
///
/// # Errors
/// The place and the fault, in one line.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut budget = Budget::default();
    budget.max_nodes = NODES_MAX;
    budget.max_events = 2 * NODES_MAX;
    budget.max_total_scalar_bytes = SCALAR_BYTES_MAX;
    budget.max_depth = DEPTH_MAX;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_read_back_as_it_was_written() {
        let value = json!({
            "numbers": [0, -1, 1.5, 1e30, 18_446_744_073_709_551_615_u64],
            "looks like": ["1", "1.0", "true", "null", "~", "no", "2026-01-01", "0x10", "1e3", ".inf", "", " a "],
            "texts": ["two\nlines", "ends\n", "\n", "tab\there", "a: b", "# c", "- d", "{e", "'", "\"", "\\", "ü\u{2028}\u{7f}\u{1b}"],
            "empty": [{}, [], null, false],
            "long": "word ".repeat(60),
            "***": "***", "{{a}}": "{{{b}}}", "<<": "merge", "&x": "*x", "!t": "%",
            "deep": {"er": {"est": [[[1]]]}},
        });
        let text = write(&value).expect("writes");
        assert_eq!(read(&text).expect("reads"), value, "{text}");
    }

    #[test]
    fn json_is_read_and_what_is_no_document_is_refused_in_words() {
        assert_eq!(read("{\"a\": [1, \"b\"]}").expect("reads"), json!({"a": [1, "b"]}));
        for bad in ["a: [1", "a: 1\na: 2", "a: *nowhere"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_that_unfolds_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{inner}]\n");
        }
        assert!(read(&text).is_err());
    }
}

//! Writes text as JSON strings.
//!
//! The functions named `…_fragment_into` write the inside of a string, so that several can be joined between one pair
//! of quotes.

use super::scan::special;
use crate::base::text::hex_digits;

/// Appends `text` as a JSON string, quotes included. Only what must be escaped is.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    escape_fragment_into(out, text);
    out.push(b'"');
}

/// Appends `text` as the inside of a JSON string.
pub fn escape_fragment_into(out: &mut Vec<u8>, text: &str) {
    escape_run(out, text.as_bytes());
}

/// Appends bytes read as Latin-1 (one character a byte) as a JSON string, quotes included.
pub fn escape_bytes_latin1_into(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    escape_latin1_fragment_into(out, bytes);
    out.push(b'"');
}

/// Appends bytes read as Latin-1 as the inside of a JSON string.
pub fn escape_latin1_fragment_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_ascii() {
        let ascii = rest.iter().take_while(|byte| byte.is_ascii()).count();
        escape_run(out, &rest[..ascii]);
        rest = &rest[ascii..];
        let wide = rest.iter().take_while(|byte| !byte.is_ascii()).count();
        out.reserve(2 * wide);
        for &byte in &rest[..wide] {
            out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]);
        }
        rest = &rest[wide..];
    }
    escape_run(out, rest);
}

/// Appends bytes read as UTF-8, with U+FFFD for what is not, as a JSON string, quotes included.
pub fn escape_lossy_into(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        escape_run(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// The inside of a string; `bytes` are UTF-8 or a part of it that ends between characters.
fn escape_run(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut done = 0;
    loop {
        let at = special(bytes, done);
        out.extend_from_slice(&bytes[done..at]);
        let Some(&byte) = bytes.get(at) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex_digits(byte));
            }
        }
        done = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_of(json: &[u8]) -> String {
        serde_json::from_slice(json).unwrap()
    }

    #[test]
    fn only_what_must_be_escaped_is() {
        let mut out = Vec::new();
        escape_into(&mut out, "a\"b\\c\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}/é\u{2028}😀");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}/é\u{2028}😀\""
        );
    }

    proptest! {
        #[test]
        fn text_is_read_back(text: String) {
            let mut out = Vec::new();
            escape_into(&mut out, &text);
            prop_assert_eq!(text_of(&out), text);
        }

        #[test]
        fn latin1_is_read_back_one_character_a_byte(bytes: Vec<u8>) {
            let mut out = Vec::new();
            escape_bytes_latin1_into(&mut out, &bytes);
            let expected: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            prop_assert_eq!(text_of(&out), expected);
        }

        #[test]
        fn bytes_that_are_not_utf8_become_the_replacement_character(bytes: Vec<u8>) {
            let mut out = Vec::new();
            escape_lossy_into(&mut out, &bytes);
            prop_assert_eq!(text_of(&out), String::from_utf8_lossy(&bytes));
        }
    }
}

//! Decides whether bytes are one JSON value (RFC 8259), in one pass, without recursion.
//!
//! [`validate`] is stricter than the grammar in one point: an escape of half a surrogate pair (`"\ud800"`) is refused,
//! because it stands for no character and strict readers refuse the whole document for it. [`check`] takes such halves
//! and says that they are there, so that they can be replaced.

use smallvec::SmallVec;

use super::scan::{special, white};

/// The kinds of the open containers, one bit a level.
struct Levels {
    /// A set bit is an object. Four words hold the depth of any payload without allocating.
    bits: SmallVec<[u64; 4]>,
    depth: usize,
    depth_max: usize,
}

impl Levels {
    fn open(&mut self, object: bool) -> Option<()> {
        if self.depth == self.depth_max {
            return None;
        }
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.bits.len() {
            self.bits.push(0);
        }
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
        Some(())
    }

    fn close(&mut self) {
        self.depth -= 1;
    }

    /// Whether the innermost container is an object; `None` outside of all.
    #[inline]
    fn in_object(&self) -> Option<bool> {
        let level = self.depth.checked_sub(1)?;
        Some(self.bits[level / 64] >> (level % 64) & 1 == 1)
    }
}

/// Whether `bytes` are one JSON value with white space around it: UTF-8, RFC 8259 strictly, no lone surrogate escapes,
/// no more than `max_depth` containers inside each other (a scalar has depth 0). No byte order mark.
#[must_use]
pub fn validate(bytes: &[u8], max_depth: usize) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
        && document::<false>(bytes, max_depth, &mut Halves::None).is_some()
}

/// Whether a document escapes half a surrogate pair somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halves {
    None,
    Some,
}

/// As [`validate`], but takes escaped halves of surrogate pairs. `None` if `bytes` are not JSON.
#[must_use]
pub fn check(bytes: &[u8], max_depth: usize) -> Option<Halves> {
    simdutf8::basic::from_utf8(bytes).ok()?;
    let mut halves = Halves::None;
    document::<true>(bytes, max_depth, &mut halves)?;
    Some(halves)
}

/// Appends a document that [`check`] took, with `\ufffd` for each escaped half of a surrogate pair.
pub fn replace_halves_into(out: &mut Vec<u8>, document: &[u8]) {
    let mut rest = document;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (text, escape_text) = rest.split_at(at);
        out.extend_from_slice(text);
        let mut halves = Halves::None;
        // Every backslash of a document that was checked begins an escape.
        let length = escape::<true>(escape_text, 1, &mut halves).unwrap_or(escape_text.len());
        match halves {
            Halves::None => out.extend_from_slice(&escape_text[..length]),
            Halves::Some => out.extend_from_slice(b"\\ufffd"),
        }
        rest = &escape_text[length..];
    }
    out.extend_from_slice(rest);
}

/// The whole document; `None` where it is not JSON. `bytes` are UTF-8.
fn document<const HALVES: bool>(bytes: &[u8], depth_max: usize, halves: &mut Halves) -> Option<()> {
    let mut levels = Levels { bits: SmallVec::new(), depth: 0, depth_max };
    let mut at = 0;
    'value: loop {
        at = white(bytes, at);
        match *bytes.get(at)? {
            b'"' => at = string::<HALVES>(bytes, at + 1, halves)?,
            b'{' => {
                levels.open(true)?;
                at = white(bytes, at + 1);
                if *bytes.get(at)? != b'}' {
                    at = key::<HALVES>(bytes, at, halves)?;
                    continue 'value;
                }
                levels.close();
                at += 1;
            }
            b'[' => {
                levels.open(false)?;
                at = white(bytes, at + 1);
                if *bytes.get(at)? != b']' {
                    continue 'value;
                }
                levels.close();
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = number(bytes, at)?,
            b't' => at = literal(bytes, at, b"true")?,
            b'f' => at = literal(bytes, at, b"false")?,
            b'n' => at = literal(bytes, at, b"null")?,
            _ => return None,
        }
        // A value ended at `at`: close what ends with it, or go on to the next one.
        loop {
            at = white(bytes, at);
            let Some(in_object) = levels.in_object() else { return (at == bytes.len()).then_some(()) };
            match (*bytes.get(at)?, in_object) {
                (b',', true) => {
                    at = key::<HALVES>(bytes, white(bytes, at + 1), halves)?;
                    continue 'value;
                }
                (b',', false) => {
                    at += 1;
                    continue 'value;
                }
                (b'}', true) | (b']', false) => {
                    levels.close();
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// A key and its colon; answers where the value may begin.
#[inline]
fn key<const HALVES: bool>(bytes: &[u8], at: usize, halves: &mut Halves) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let at = white(bytes, string::<HALVES>(bytes, at + 1, halves)?);
    (*bytes.get(at)? == b':').then_some(at + 1)
}

/// The rest of a string whose opening quote is behind; answers the position after the closing one.
#[inline]
fn string<const HALVES: bool>(bytes: &[u8], from: usize, halves: &mut Halves) -> Option<usize> {
    let mut at = from;
    loop {
        at = special(bytes, at);
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape::<HALVES>(bytes, at + 1, halves)?,
            _ => return None,
        }
    }
}

/// The rest of an escape whose backslash is behind. With `HALVES`, half a surrogate pair is taken and noted.
fn escape<const HALVES: bool>(bytes: &[u8], at: usize, halves: &mut Halves) -> Option<usize> {
    match *bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => match hex4(bytes, at + 1)? {
            0xd800..=0xdbff if is_low_half(bytes, at + 5) => Some(at + 11),
            0xd800..=0xdfff if HALVES => {
                *halves = Halves::Some;
                Some(at + 5)
            }
            0xd800..=0xdfff => None,
            _ => Some(at + 5),
        },
        _ => None,
    }
}

/// Whether the escape of the second half of a surrogate pair stands at `at`.
fn is_low_half(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 2) == Some(b"\\u") && matches!(hex4(bytes, at + 2), Some(0xdc00..=0xdfff))
}

/// Four hex digits at `at`.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let mut value = 0;
    for &digit in bytes.get(at..at + 4)? {
        value = value << 4 | (digit as char).to_digit(16)?;
    }
    Some(value)
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
#[inline]
fn number(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    if bytes[at] == b'-' {
        at += 1;
    }
    at = match *bytes.get(at)? {
        b'0' => at + 1,
        b'1'..=b'9' => digits(bytes, at)?,
        _ => return None,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Some(at)
}

/// One digit or more.
#[inline]
fn digits(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(b'0'..=b'9') = bytes.get(at) {
        at += 1;
    }
    (at > from).then_some(at)
}

fn literal(bytes: &[u8], at: usize, name: &[u8]) -> Option<usize> {
    bytes[at..].starts_with(name).then_some(at + name.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether serde_json accepts the text: its skipping reader for the grammar (it has no limits on numbers and none
    /// on depth), its value reader for lone surrogates, which the first lets through.
    fn oracle(bytes: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            return false;
        }
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => true,
            Err(error) => error.to_string().starts_with("number out of range"),
        }
    }

    #[test]
    fn the_grammar_is_held_to_the_letter() {
        for good in [
            "0",
            "-0",
            "1",
            "-1.5e+10",
            "1E5",
            "0.0",
            "1e999",
            "\"\"",
            "\"a\"",
            "null",
            "true",
            "false",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "{\"a\":{\"b\":[1,{}]},\"a\":2}",
            "\"\\u0000\\n\\/\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{7f}\u{2028}é😀\"",
            "\t\r\n1\n",
            "[[],[[]],{}]",
            "123456789012345678901234567890",
        ] {
            assert!(validate(good.as_bytes(), 8), "{good}");
            assert!(oracle(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-a",
            "0x1",
            "NaN",
            "Infinity",
            "nul",
            "nulll",
            "True",
            "'a'",
            "\"",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u+123\"",
            "\"\n\"",
            "\"\t\"",
            "\"\0\"",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{1:1}",
            "{\"a\" 1}",
            "[}",
            "{]",
            "1 2",
            "[]]",
            "{}}",
            "\"a\"b",
            "\u{feff}1",
            "1\u{a0}",
            "\u{c}1",
            "// c\n1",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
            "\"\\ud800x\"",
            "\"\\ud800\\n\"",
            "\"\\ud800\\u0041\"",
            "\"\\ud83d\\",
            "\"\\ud83d\\u",
            "\"\\ud83d\\ude0",
        ] {
            assert!(!validate(bad.as_bytes(), 8), "{bad}");
            assert!(!oracle(bad.as_bytes()), "{bad}");
        }
        for bad in [&b"\"\xff\""[..], b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"\"\xf5\x80\x80\x80\"", b"\xff"]
        {
            assert!(!validate(bad, 8));
        }
    }

    #[test]
    fn every_prefix_of_a_document_is_refused() {
        let whole = r#"{"a":[1,2.5e-3,"x\n\ud83d\ude00",true,null,{}],"b":{"c":[]}}"#;
        assert!(validate(whole.as_bytes(), 8));
        for end in 0..whole.len() {
            assert!(!validate(&whole.as_bytes()[..end], 8), "{end}");
        }
    }

    #[test]
    fn nesting_is_allowed_up_to_the_depth_and_not_beyond() {
        for max in [0, 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
                assert!(validate(nested(max).as_bytes(), max), "{max}");
                assert!(!validate(nested(max + 1).as_bytes(), max), "{max}");
            }
        }
        assert!(!validate("[".repeat(1_000_000).as_bytes(), 128));
        assert!(!validate("{\"a\":".repeat(1_000_000).as_bytes(), usize::MAX));
        let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
        assert!(validate(&deep, usize::MAX));
    }

    /// Pieces that JSON and its near misses are made of.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\"a\"",
            "\"b\":",
            "\\",
            "\\u",
            "d800",
            "\\ud83d",
            "\\ude00",
            "\\n",
            "0",
            "1",
            "-",
            ".",
            "e",
            "E",
            "+",
            "5",
            "true",
            "false",
            "null",
            "tru",
            " ",
            "\n",
            "\u{1}",
            "é",
            "/",
            "[1,2]",
            "{\"k\":1}",
            "\"long text with nothing to escape in it at all\"",
            "-0.5e-7",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn it_agrees_with_serde_json(bytes in pieces()) {
            prop_assert_eq!(validate(&bytes, 64), oracle(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn it_agrees_with_serde_json_on_a_document_with_a_byte_changed(place: usize, byte: u8) {
            let mut bytes = br#"{"key":[1,-2.5e+3,"x\n\ud83d\ude00 and more",true],"b":{"c":[null,false,0]}}"#.to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            prop_assert_eq!(validate(&bytes, 64), oracle(&bytes), "{}", String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            prop_assert_eq!(validate(&bytes, 64), oracle(&bytes));
        }
    }
}

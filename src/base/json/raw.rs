//! A cursor over JSON that was validated: finds values where they lie and reads scalars out of them.
//!
//! **Invariant**: no input makes it panic or loop for ever. On text that is not JSON its answers mean nothing.

use std::borrow::Cow;

use super::scan::{string_end, white};
use super::validate::{hex4, validate};

/// How deep a document may be nested for [`Raw::document`]: a payload's `data.body` may hold 128 levels, and the
/// envelope around it some more.
pub const DOCUMENT_DEPTH_MAX: usize = 160;
use crate::base::steps;

/// One value inside a document that was validated: the bytes it stands in, without white space around it.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(&'a [u8]);

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`, and what is no JSON at all.
    Null,
    /// `true` or `false`.
    Bool,
    /// Any number, of any size and precision.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl<'a> Raw<'a> {
    /// `null`.
    pub const NULL: Raw<'static> = Raw(b"null");

    /// The value of a whole document, if it is valid JSON of no more than [`DOCUMENT_DEPTH_MAX`] levels.
    #[must_use]
    pub fn document(text: &'a [u8]) -> Option<Raw<'a>> {
        validate(text, DOCUMENT_DEPTH_MAX).then(|| Raw::trusted(text))
    }

    /// The value of a text that the caller knows to be valid JSON. Text that is not gives wrong answers, nothing worse.
    #[must_use]
    pub fn trusted(text: &'a [u8]) -> Raw<'a> {
        let start = white(text, 0);
        let white_behind =
            text[start..].iter().rev().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r'));
        let end = text.len() - white_behind.count();
        Raw(&text[start..end])
    }

    /// The text of the value, as it came.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The value's JSON type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.first() {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    /// The value of a key of an object. Of a repeated key the last one, as `JSON.parse` has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Raw<'a>> {
        let mut members = MemberIter::new(self.0, b'{');
        let mut found = None;
        while let Some((name, value)) = members.next_member() {
            if name.is(key) {
                found = Some(value);
            }
        }
        found
    }

    /// The value at a place of an array, counted from 0.
    #[must_use]
    pub fn index(&self, place: usize) -> Option<Raw<'a>> {
        self.items().nth(place)
    }

    /// Keys and values of an object in the order of the text, repeated keys included; of anything else, nothing.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries(MemberIter::new(self.0, b'{'))
    }

    /// The values of an array; of anything else, nothing.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        Items(MemberIter::new(self.0, b'['))
    }

    /// The text of a string, its escapes undone (borrowed where it has none).
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        Some(self.string_text()?.text())
    }

    /// The text of a string that has no escapes.
    #[must_use]
    pub fn plain_str(&self) -> Option<&'a str> {
        match self.string_text()? {
            StringText { escapes: true, .. } => None,
            text => simdutf8::basic::from_utf8(text.inside).ok(),
        }
    }

    /// Appends the text of a string, its escapes undone: no more bytes than the string has. What is no UTF-8, as no
    /// document has it, is left out.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let Some(text) = self.string_text() else { return };
        if simdutf8::basic::from_utf8(text.inside).is_ok() {
            unescape_into(text.inside, out);
        }
    }

    fn string_text(&self) -> Option<StringText<'a>> {
        let rest = self.0.strip_prefix(b"\"")?;
        let (end, escapes) = string_end(rest, 0);
        Some(StringText { inside: rest[..end].strip_suffix(b"\"").unwrap_or(rest), escapes })
    }

    /// A boolean's value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// A number's digits, as they came.
    #[must_use]
    pub fn as_number(&self) -> Option<&'a str> {
        if self.kind() == Kind::Number { std::str::from_utf8(self.0).ok() } else { None }
    }

    /// A number as the nearest double (infinite if it is too large for one).
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.parse().ok()
    }

    /// A number that is a whole one, also where it is written as `2e2` or `200.0`; `None` outside of 64 bits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        /// 2^53: up to here every whole number is a double.
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let text = self.as_number()?;
        if let Ok(value) = text.parse() {
            return Some(value);
        }
        let value: f64 = text.parse().ok()?;
        (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
    }
}

/// The inside of a string as it stands in the text.
#[derive(Clone, Copy)]
struct StringText<'a> {
    inside: &'a [u8],
    escapes: bool,
}

impl<'a> StringText<'a> {
    #[inline]
    fn is(&self, text: &str) -> bool {
        if self.escapes { self.text() == text } else { self.inside == text.as_bytes() }
    }

    fn text(&self) -> Cow<'a, str> {
        steps::count(self.inside.len());
        if self.escapes {
            return Cow::Owned(unescape(self.inside));
        }
        // Valid as all of a payload is, and found so in an eighth of the time that a lossy reading takes.
        match simdutf8::basic::from_utf8(self.inside) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.inside),
        }
    }
}

/// Undoes the escapes of a string. What cannot be undone becomes U+FFFD.
fn unescape(inside: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(inside.len());
    unescape_into(inside, &mut bytes);
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// Appends what [`unescape`] makes of an inside that is UTF-8.
fn unescape_into(inside: &[u8], bytes: &mut Vec<u8>) {
    let mut rest = inside;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        steps::count(6);
        bytes.extend_from_slice(&rest[..at]);
        let (character, taken) = unescape_one(&rest[at..]);
        let mut utf8 = [0; 4];
        bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        rest = &rest[(at + taken).min(rest.len())..];
    }
    bytes.extend_from_slice(rest);
}

/// The character of the escape that `text` begins with, and how many bytes it takes (at least 1).
fn unescape_one(text: &[u8]) -> (char, usize) {
    let character = match text.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unit(text),
        _ => char::REPLACEMENT_CHARACTER,
    };
    (character, 2)
}

/// The character of `\uXXXX`, or of the pair of them, that `text` begins with.
fn unescape_unit(text: &[u8]) -> (char, usize) {
    let Some(first) = hex4(text, 2) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if let Some(character) = char::from_u32(first) {
        return (character, 6);
    }
    if (0xd800..0xdc00).contains(&first)
        && text.get(6..8) == Some(b"\\u")
        && let Some(second @ 0xdc00..=0xdfff) = hex4(text, 8)
    {
        let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::REPLACEMENT_CHARACTER, 6)
}

/// Walks over the members of one container. Invariant: `rest` gets shorter with every member.
#[derive(Clone)]
struct MemberIter<'a> {
    /// The text behind the last member that was read, or behind the opening bracket; empty at the end.
    rest: &'a [u8],
}

impl<'a> MemberIter<'a> {
    fn new(text: &'a [u8], open: u8) -> MemberIter<'a> {
        MemberIter { rest: text.strip_prefix(&[open]).unwrap_or_default() }
    }

    /// The next key and value of an object.
    #[inline]
    fn next_member(&mut self) -> Option<(StringText<'a>, Raw<'a>)> {
        let text = self.rest;
        self.rest = &[];
        let start = white(text, 0);
        if text.get(start) != Some(&b'"') {
            return None;
        }
        let (end, escapes) = string_end(text, start + 1);
        let inside = text.get(start + 1..end - 1)?;
        let colon = white(text, end);
        if text.get(colon) != Some(&b':') {
            return None;
        }
        let value = self.take_value(text, white(text, colon + 1))?;
        Some((StringText { inside, escapes }, value))
    }

    /// The next value of an array.
    #[inline]
    fn next_value(&mut self) -> Option<Raw<'a>> {
        let text = self.rest;
        self.rest = &[];
        self.take_value(text, white(text, 0))
    }

    /// The value at `start` of `text`, leaving what follows its comma.
    #[inline]
    fn take_value(&mut self, text: &'a [u8], start: usize) -> Option<Raw<'a>> {
        let end = value_end(text, start);
        if end == start {
            return None;
        }
        let comma = white(text, end);
        steps::count(comma);
        if text.get(comma) == Some(&b',') {
            self.rest = &text[comma + 1..];
        }
        Some(Raw(&text[start..end]))
    }
}

/// Position just behind the value that begins at `start`; `start` itself where none does.
#[inline]
fn value_end(text: &[u8], start: usize) -> usize {
    match text.get(start) {
        None => start,
        Some(b'"') => string_end(text, start + 1).0,
        Some(b'{' | b'[') => container_end(text, start),
        Some(_) => {
            let scalar =
                |b: &&u8| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b':' | b'"');
            start + text[start..].iter().take_while(scalar).count()
        }
    }
}

/// Position just behind the bracket that closes the one at `start`; the end of `text` where none does.
fn container_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at + 1).0;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// The members of an object: [`Raw::entries`].
#[derive(Clone)]
pub struct Entries<'a>(MemberIter<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next_member()?;
        Some((name.text(), value))
    }
}

/// The values of an array: [`Raw::items`].
#[derive(Clone)]
pub struct Items<'a>(MemberIter<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        self.0.next_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text<'a>(raw: Option<Raw<'a>>) -> Option<&'a str> {
        raw.map(|raw| std::str::from_utf8(raw.bytes()).unwrap())
    }

    #[test]
    fn values_are_found_where_they_lie_with_the_digits_they_came_with() {
        let raw = Raw::document(br#" {"a":{"b":[1.50, "x}]" ,{"c":null}]},"d" : -0e1 ,"e":true} "#).unwrap();
        assert_eq!(raw.kind(), Kind::Object);
        assert_eq!(text(raw.get("a").and_then(|a| a.get("b"))), Some(r#"[1.50, "x}]" ,{"c":null}]"#));
        let list = raw.get("a").unwrap().get("b").unwrap();
        assert_eq!(text(list.index(0)), Some("1.50"));
        assert_eq!(list.index(1).unwrap().as_str().unwrap(), "x}]");
        assert_eq!(list.index(2).unwrap().get("c").unwrap().kind(), Kind::Null);
        assert!(list.index(3).is_none());
        assert_eq!(text(raw.get("d")), Some("-0e1"));
        assert_eq!(raw.get("e").unwrap().as_bool(), Some(true));
        assert!(raw.get("f").is_none());
        assert!(raw.index(0).is_none());
        assert!(list.get("a").is_none());
    }

    #[test]
    fn of_a_repeated_key_the_last_one_counts() {
        let raw = Raw::trusted(br#"{"a":1,"b":2,"\u0061":3}"#);
        assert_eq!(raw.get("a").unwrap().as_i64(), Some(3));
        assert_eq!(raw.entries().count(), 3);
    }

    #[test]
    fn strings_are_borrowed_unless_they_have_escapes() {
        assert!(matches!(Raw::trusted(b"\"plain\"").as_str(), Some(Cow::Borrowed("plain"))));
        assert_eq!(
            Raw::trusted(br#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00""#).as_str().unwrap(),
            "\"\\/\u{8}\u{c}\n\r\té😀"
        );
        assert_eq!(
            Raw::trusted(br#""\ud800x\udc00\q\u12""#).as_str().unwrap(),
            "\u{fffd}x\u{fffd}\u{fffd}\u{fffd}12"
        );
        assert_eq!(Raw::trusted(b"1").as_str(), None);
    }

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        assert_eq!(Raw::trusted(b"9223372036854775807").as_i64(), Some(i64::MAX));
        assert_eq!(Raw::trusted(b"9223372036854775808").as_i64(), None);
        assert_eq!(Raw::trusted(b"2e2").as_i64(), Some(200));
        assert_eq!(Raw::trusted(b"200.0").as_i64(), Some(200));
        assert_eq!(Raw::trusted(b"200.5").as_i64(), None);
        assert_eq!(Raw::trusted(b"1.10").as_number(), Some("1.10"));
        assert_eq!(Raw::trusted(b"1.10").as_f64(), Some(1.1));
        assert_eq!(Raw::trusted(b"\"1\"").as_i64(), None);
    }

    #[test]
    fn empty_containers_have_nothing_in_them() {
        for text in [&b"{}"[..], b"[]", b"{ }", b"[ \n ]"] {
            assert_eq!(Raw::trusted(text).entries().count() + Raw::trusted(text).items().count(), 0);
        }
    }

    /// Rebuilds a tree by walking with the cursor.
    fn walk(raw: Raw<'_>) -> Value {
        match raw.kind() {
            Kind::Object => {
                Value::Object(raw.entries().map(|(key, value)| (key.into_owned(), walk(value))).collect())
            }
            Kind::Array => Value::Array(raw.items().map(walk).collect()),
            Kind::String => Value::String(raw.as_str().unwrap().into_owned()),
            _ => serde_json::from_slice(raw.bytes()).unwrap(),
        }
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn walking_a_document_gives_what_was_written(tree in tree(), pretty: bool) {
            let text = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
            let raw = Raw::document(&text).unwrap();
            prop_assert_eq!(walk(raw), tree.clone());
            if let Value::Object(map) = &tree {
                for (key, value) in map {
                    prop_assert_eq!(&walk(raw.get(key).unwrap()), value);
                }
            }
        }

        #[test]
        fn any_bytes_can_be_walked(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u0a1 \xff".to_vec()), 0..60)) {
            fn visit(raw: Raw<'_>, fuel: &mut usize) {
                let _ = (raw.as_str(), raw.as_bool(), raw.as_f64(), raw.as_i64(), raw.get("a"), raw.index(1));
                for inner in raw.entries().map(|(_, value)| value).chain(raw.items()) {
                    assert!(inner.bytes().len() < raw.bytes().len());
                    if *fuel > 0 {
                        *fuel -= 1;
                        visit(inner, fuel);
                    }
                }
            }
            visit(Raw::trusted(&bytes), &mut 1000);
        }
    }
}

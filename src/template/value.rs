//! Values of a rendering, and what JavaScript makes of them: text, truth, number, equality, properties.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::number;
use super::root::Root;
use crate::base::json::{DOCUMENT_DEPTH_MAX, Kind, Raw, escape_into};

/// What any object is as a text.
const OBJECT_TEXT: &str = "[object Object]";

/// A value that a path leads to or that a helper makes.
#[derive(Clone)]
pub(super) enum Value<'a> {
    /// What is not there.
    Undefined,
    /// A value of the payload, as it stands.
    Raw(Raw<'a>),
    /// The payload itself.
    Root(&'a dyn Root),
    /// A boolean that was worked out.
    Bool(bool),
    /// A number that was worked out, or stands in the template.
    Number(f64),
    /// A text that was worked out, or stands in the template.
    Text(Cow<'a, str>),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    name: Box<str>,
    /// The place of an array that the name means, if it is written as JavaScript writes it.
    place: Option<usize>,
}

impl Segment {
    pub(super) fn new(name: impl Into<Box<str>>) -> Segment {
        let name = name.into();
        let canonical =
            name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
        let place = if canonical { name.parse().ok() } else { None };
        Segment { name, place }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl<'a> Value<'a> {
    /// As many steps from a document's root as it can tell at once: the value, and what steps are left.
    #[inline]
    pub(super) fn first_steps<'s>(root: &'a dyn Root, segments: &'s [Segment]) -> (Value<'a>, &'s [Segment]) {
        let [key, member, behind @ ..] = segments else { return (Value::Root(root), segments) };
        if let [third, behind @ ..] = behind
            && let Some(text) = root.text([&key.name, &member.name, &third.name])
        {
            return (Value::Text(Cow::Borrowed(text)), behind);
        }
        match root.get_member(&key.name, &member.name) {
            Some(found) => (Value::Raw(found), behind),
            None if root.knows_members(&key.name) => (Value::Undefined, &[]),
            // Of an array or a text the second step may be a place or `length`, which are no members.
            None => (Value::Root(root), segments),
        }
    }
}

/// The types that values have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Undefined,
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

impl<'a> Value<'a> {
    pub(super) const NULL: Value<'static> = Value::Raw(Raw::NULL);

    pub(super) fn type_of(&self) -> Type {
        match self {
            Value::Undefined => Type::Undefined,
            Value::Root(_) => Type::Object,
            Value::Bool(_) => Type::Bool,
            Value::Number(_) => Type::Number,
            Value::Text(_) => Type::String,
            Value::Raw(raw) => match raw.kind() {
                Kind::Null => Type::Null,
                Kind::Bool => Type::Bool,
                Kind::Number => Type::Number,
                Kind::String => Type::String,
                Kind::Array => Type::Array,
                Kind::Object => Type::Object,
            },
        }
    }

    pub(super) fn is_nullish(&self) -> bool {
        matches!(self.type_of(), Type::Undefined | Type::Null)
    }

    /// The value of a property: a member of an object; a place or the `length` of an array or a string.
    #[inline]
    pub(super) fn property(&self, segment: &Segment) -> Value<'a> {
        let found = match self {
            Value::Root(root) => root.get(&segment.name),
            Value::Raw(raw) => match raw.kind() {
                Kind::Object => raw.get(&segment.name),
                Kind::Array if &*segment.name == "length" => {
                    return Value::Number(raw.items().count() as f64);
                }
                Kind::Array => segment.place.and_then(|place| raw.index(place)),
                Kind::String => return text_property(&raw.as_str().unwrap_or_default(), segment),
                _ => None,
            },
            Value::Text(text) => return text_property(text, segment),
            _ => None,
        };
        found.map_or(Value::Undefined, Value::Raw)
    }

    /// Whether `#if` takes it for true, given whether zero counts: not so are what is not there, `null`, `false`, `0`,
    /// the empty text and the empty array.
    pub(super) fn is_truthy(&self, include_zero: bool) -> bool {
        match self.type_of() {
            Type::Undefined | Type::Null => false,
            Type::Bool => self.bool() == Some(true),
            Type::Number => include_zero || self.number() != 0.0 && !self.number().is_nan(),
            Type::String => !self.text().is_empty(),
            Type::Array => self.items().next().is_some(),
            Type::Object => true,
        }
    }

    /// Handlebars' own idea of emptiness, which `#with` asks: only zero is not empty beside what is true.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_truthy(true)
    }

    pub(super) fn bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            Value::Raw(raw) => raw.as_bool(),
            _ => None,
        }
    }

    /// The values of an array; nothing of anything else.
    pub(super) fn items(&self) -> impl Iterator<Item = Raw<'a>> + use<'a> {
        let raw = if let Value::Raw(raw) = self { *raw } else { Raw::NULL };
        raw.items()
    }

    /// `String(value)`, save that numbers keep their digits, and that what is nothing is the empty text.
    pub(super) fn text(&self) -> Cow<'a, str> {
        match self {
            Value::Text(text) => text.clone(),
            Value::Raw(raw) if raw.kind() == Kind::String => raw.as_str().unwrap_or_default(),
            Value::Raw(raw) if raw.kind() == Kind::Number => {
                Cow::Borrowed(raw.as_number().unwrap_or_default())
            }
            _ => {
                let mut out = Vec::new();
                self.write(&mut out, false);
                Cow::Owned(into_text(out))
            }
        }
    }

    /// Writes [`Value::text`], escaped for HTML or not.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, html: bool) {
        match self {
            Value::Undefined => {}
            Value::Raw(raw) => write_raw(out, *raw, html, DOCUMENT_DEPTH_MAX),
            Value::Root(_) => out.extend_from_slice(OBJECT_TEXT.as_bytes()),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Number(value) => number::write(out, *value),
            Value::Text(text) => write_text(out, text, html),
        }
    }

    /// `Number(value)`.
    pub(super) fn number(&self) -> f64 {
        match self {
            Value::Number(value) => *value,
            _ => match self.type_of() {
                Type::Undefined | Type::Object => f64::NAN,
                Type::Null => 0.0,
                Type::Bool => f64::from(u8::from(self.bool() == Some(true))),
                Type::Number => {
                    if let Value::Raw(raw) = self { raw.as_f64() } else { None }.unwrap_or(f64::NAN)
                }
                Type::String | Type::Array => number::parse(&self.text()),
            },
        }
    }

    /// `===`: types and values, containers only if they are the same one.
    pub(super) fn equals(&self, other: &Value<'_>) -> bool {
        let kind = self.type_of();
        kind == other.type_of()
            && match kind {
                Type::Undefined | Type::Null => true,
                Type::Bool => self.bool() == other.bool(),
                Type::Number => self.number() == other.number(),
                Type::String => self.text() == other.text(),
                Type::Array | Type::Object => self.is_same(other),
            }
    }

    /// Whether two containers are one and the same.
    fn is_same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Value::Raw(one), Value::Raw(two)) => std::ptr::eq(one.bytes(), two.bytes()),
            (Value::Root(_), Value::Root(_)) => true,
            _ => false,
        }
    }

    /// How `<` and `>` order two values: texts by their UTF-16 units, all else as numbers.
    pub(super) fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        let is_text =
            |value: &Value<'_>| matches!(value.type_of(), Type::String | Type::Array | Type::Object);
        if is_text(self) && is_text(other) {
            return Some(self.text().encode_utf16().cmp(other.text().encode_utf16()));
        }
        self.number().partial_cmp(&other.number())
    }

    /// `JSON.stringify(value)` with nothing changed in what came as JSON; `None` for what is not there.
    pub(super) fn json(&self) -> Option<Cow<'a, [u8]>> {
        Some(match self {
            Value::Undefined => return None,
            Value::Raw(raw) => Cow::Borrowed(raw.bytes()),
            Value::Root(root) => root.whole(),
            Value::Bool(value) => Cow::Borrowed(if *value { b"true" } else { b"false" }),
            Value::Number(value) if !value.is_finite() => Cow::Borrowed(b"null"),
            Value::Number(value) => {
                let mut out = Vec::new();
                number::write(&mut out, *value);
                Cow::Owned(out)
            }
            Value::Text(text) => {
                let mut out = Vec::with_capacity(text.len() + 2);
                escape_into(&mut out, text);
                Cow::Owned(out)
            }
        })
    }

    /// How many bytes looking into it or copying it may read.
    #[inline]
    pub(super) fn cost(&self) -> usize {
        match self {
            Value::Raw(raw) => raw.bytes().len(),
            Value::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// A text of bytes that are UTF-8 by how they came about.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A character or the length of a text. Half of a surrogate pair is U+FFFD.
fn text_property(text: &str, segment: &Segment) -> Value<'static> {
    if &*segment.name == "length" {
        return Value::Number(text.encode_utf16().count() as f64);
    }
    match segment.place.and_then(|place| text.encode_utf16().nth(place)) {
        Some(unit) => Value::Text(Cow::Owned(String::from_utf16_lossy(&[unit]))),
        None => Value::Undefined,
    }
}

/// Writes the text of a value of the payload. Arrays nested deeper than `depth` are left out.
fn write_raw(out: &mut Vec<u8>, raw: Raw<'_>, html: bool, depth: usize) {
    match raw.kind() {
        Kind::Null => {}
        Kind::Bool | Kind::Number => out.extend_from_slice(raw.bytes()),
        Kind::String => write_text(out, &raw.as_str().unwrap_or_default(), html),
        Kind::Object => out.extend_from_slice(OBJECT_TEXT.as_bytes()),
        Kind::Array => {
            let Some(depth) = depth.checked_sub(1) else { return };
            for (place, item) in raw.items().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_raw(out, item, html, depth);
            }
        }
    }
}

/// Which characters HTML wants escaped, by Handlebars' list.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let list = b"&<>\"'`=";
    let mut at = 0;
    while at < list.len() {
        table[list[at] as usize] = true;
        at += 1;
    }
    table
};

#[inline]
fn write_text(out: &mut Vec<u8>, text: &str, html: bool) {
    let mut rest = text.as_bytes();
    if html {
        while let Some(at) = rest.iter().position(|&b| ESCAPED[usize::from(b)]) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(match rest[at] {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                b'\'' => b"&#x27;",
                b'`' => b"&#x60;",
                _ => b"&#x3D;",
            });
            rest = &rest[at + 1..];
        }
    }
    out.extend_from_slice(rest);
}

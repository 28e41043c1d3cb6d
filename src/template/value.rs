//! Values of a rendering, and what JavaScript makes of them: text, truth, number, equality, properties. What takes
//! work pays for it first.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::arena::Arena;
use super::error::RenderError;
use super::root::Root;
use super::work::{
    ESCAPE, NUMBER_LONG, NUMBER_SHORT, NUMBER_SHORT_BYTES, NUMBER_TEXT, READ, SCAN, STEP, UNESCAPE, Work,
};
use crate::base::json::{DOCUMENT_DEPTH_MAX, Kind, Raw, escape_into};
use crate::base::number;
use crate::base::steps;

/// The text of any object.
const OBJECT_TEXT: &str = "[object Object]";

/// A value that a path leads to or that a helper makes.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// The value of a name that does not exist.
    Undefined,
    /// A value of the payload as it stands, or one that a helper made.
    Raw(Raw<'a>),
    /// The payload itself.
    Root(&'a dyn Root),
    /// A boolean that was worked out.
    Bool(bool),
    /// A number that was worked out, or stands in the template.
    Number(f64),
    /// A text that was worked out, or stands in the template.
    Text(&'a str),
    /// One UTF-16 unit of a text; half of a surrogate pair is U+FFFD.
    Unit(char),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathSegment {
    name: Box<str>,
    /// The place of an array that the name means, if it is written as JavaScript writes it.
    place: Option<usize>,
}

impl PathSegment {
    pub(super) fn new(name: impl Into<Box<str>>) -> PathSegment {
        let name = name.into();
        let place = place_of(&name);
        PathSegment { name, place }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The place of an array that a name means.
fn place_of(name: &str) -> Option<usize> {
    let canonical = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    if canonical { name.parse().ok() } else { None }
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

    /// As many steps from a document's root as it can tell at once: the value, and what steps are left.
    #[inline]
    pub(super) fn first_steps<'s>(
        root: &'a dyn Root,
        segments: &'s [PathSegment],
    ) -> (Value<'a>, &'s [PathSegment]) {
        let [key, member, behind @ ..] = segments else { return (Value::Root(root), segments) };
        if let [third, behind @ ..] = behind
            && let Some(text) = root.text([&key.name, &member.name, &third.name])
        {
            return (Value::Text(text), behind);
        }
        match root.get_member(&key.name, &member.name) {
            Some(found) => (Value::Raw(found), behind),
            None if root.knows_members(&key.name) => (Value::Undefined, &[]),
            // Of an array or a text the second step may be a place or `length`, which are no members.
            None => (Value::Root(root), segments),
        }
    }

    pub(super) fn type_of(&self) -> Type {
        match self {
            Value::Undefined => Type::Undefined,
            Value::Root(_) => Type::Object,
            Value::Bool(_) => Type::Bool,
            Value::Number(_) => Type::Number,
            Value::Text(_) | Value::Unit(_) => Type::String,
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

    /// The bytes of the text that stands for the value, where there are any.
    #[inline]
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Raw(raw) => raw.bytes().len(),
            Value::Text(text) => text.len(),
            _ => 0,
        }
    }

    /// The value of a property: a member of an object; a place or the `length` of an array or a string.
    #[inline]
    pub(super) fn property(&self, segment: &PathSegment, work: &mut Work) -> Result<Value<'a>, RenderError> {
        self.property_at(&segment.name, segment.place, work)
    }

    /// [`Value::property`] of a name that does not stand in a template.
    pub(super) fn property_named(&self, name: &str, work: &mut Work) -> Result<Value<'a>, RenderError> {
        work.spend_bytes(name.len(), READ)?;
        self.property_at(name, place_of(name), work)
    }

    #[inline]
    fn property_at(
        &self,
        name: &str,
        place: Option<usize>,
        work: &mut Work,
    ) -> Result<Value<'a>, RenderError> {
        let found = match self {
            Value::Root(root) => {
                work.spend(STEP + SCAN.saturating_mul(root.get_cost(name)))?;
                root.get(name)
            }
            Value::Raw(raw) => {
                let (kind, size) = (raw.kind(), raw.bytes().len());
                match kind {
                    Kind::Object => {
                        work.spend(STEP + SCAN * size)?;
                        raw.get(name)
                    }
                    Kind::Array if name == "length" => {
                        work.spend(STEP + SCAN * size)?;
                        return Ok(Value::Number(raw.items().count() as f64));
                    }
                    Kind::Array => {
                        let Some(place) = place else { return Ok(Value::Undefined) };
                        work.spend(STEP + SCAN * size)?;
                        let found = raw.index(place);
                        if let Some(found) = found {
                            work.give_back(SCAN * bytes_behind(*raw, found));
                        }
                        found
                    }
                    Kind::String => {
                        let text = self.text(work)?;
                        return text_property(&text, name, place, work);
                    }
                    _ => None,
                }
            }
            Value::Text(text) => return text_property(text, name, place, work),
            Value::Unit(unit) => return text_property(unit.encode_utf8(&mut [0; 4]), name, place, work),
            _ => None,
        };
        Ok(found.map_or(Value::Undefined, Value::Raw))
    }

    /// Whether JavaScript takes it for false.
    pub(super) fn is_falsy(&self, work: &mut Work) -> Result<bool, RenderError> {
        let is_container = matches!(self.type_of(), Type::Array | Type::Object);
        Ok(!is_container && !self.is_truthy(false, work)?)
    }

    /// Whether `#if` takes it for true, given whether zero counts: not so are what is not there, `null`, `false`, `0`,
    /// the empty text and the empty array.
    pub(super) fn is_truthy(&self, include_zero: bool, work: &mut Work) -> Result<bool, RenderError> {
        Ok(match self.type_of() {
            Type::Undefined | Type::Null => false,
            Type::Bool => self.bool() == Some(true),
            Type::Number => {
                let number = self.number(work)?;
                if number == 0.0 { include_zero } else { !number.is_nan() }
            }
            Type::String => match self {
                Value::Text(text) => !text.is_empty(),
                Value::Unit(_) => true,
                _ => self.size() > "\"\"".len(),
            },
            Type::Array => match self {
                Value::Raw(raw) => {
                    let bytes = raw.bytes();
                    work.spend_bytes(bytes.len(), READ)?;
                    let white = bytes[1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                    work.give_back(READ * (bytes.len() - white));
                    bytes.get(1 + white) != Some(&b']')
                }
                _ => false,
            },
            Type::Object => true,
        })
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

    /// `String(value)`, except that numbers keep their digits, and that what is nothing is the empty text.
    pub(super) fn text(&self, work: &mut Work) -> Result<Cow<'a, str>, RenderError> {
        match self {
            Value::Text(text) => Ok(Cow::Borrowed(text)),
            Value::Raw(raw) if raw.kind() == Kind::String => string_text(*raw, work),
            Value::Raw(raw) if raw.kind() == Kind::Number => {
                work.spend_bytes(raw.bytes().len(), READ)?;
                Ok(Cow::Borrowed(raw.as_number().unwrap_or_default()))
            }
            _ => {
                let mut out = Vec::new();
                self.write(&mut out, false, work)?;
                Ok(Cow::Owned(into_text(out)))
            }
        }
    }

    /// [`Value::text`], kept for as long as the rendering takes.
    pub(super) fn kept_text(&self, arena: &Arena<'a>, work: &mut Work) -> Result<&'a str, RenderError> {
        Ok(match self.text(work)? {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => arena.text(text),
        })
    }

    /// Writes [`Value::text`], escaped for HTML or not.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>, html: bool, work: &mut Work) -> Result<(), RenderError> {
        match self {
            Value::Undefined => {}
            Value::Raw(raw) => write_raw(out, *raw, html, DOCUMENT_DEPTH_MAX, work)?,
            Value::Root(_) => out.extend_from_slice(OBJECT_TEXT.as_bytes()),
            Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Number(value) => {
                work.spend(NUMBER_TEXT)?;
                number::write(out, *value);
            }
            Value::Text(text) => write_text(out, text, html, work)?,
            Value::Unit(unit) => write_text(out, unit.encode_utf8(&mut [0; 4]), html, work)?,
        }
        Ok(())
    }

    /// `Number(value)`.
    pub(super) fn number(&self, work: &mut Work) -> Result<f64, RenderError> {
        Ok(match self {
            Value::Number(value) => *value,
            _ => match self.type_of() {
                Type::Undefined | Type::Object => f64::NAN,
                Type::Null => 0.0,
                Type::Bool => f64::from(u8::from(self.bool() == Some(true))),
                Type::Number => {
                    spend_for_digits(self.size(), work)?;
                    if let Value::Raw(raw) = self { raw.as_f64() } else { None }.unwrap_or(f64::NAN)
                }
                Type::String | Type::Array => {
                    let text = self.text(work)?;
                    work.spend_bytes(text.len(), SCAN)?;
                    let digits = text.trim_matches(number::is_space);
                    spend_for_digits(digits.len(), work)?;
                    number::parse(digits)
                }
            },
        })
    }

    /// `===`: types and values, containers only if they are the same one.
    pub(super) fn equals(&self, other: &Value<'_>, work: &mut Work) -> Result<bool, RenderError> {
        let kind = self.type_of();
        if kind != other.type_of() {
            return Ok(false);
        }
        Ok(match kind {
            Type::Undefined | Type::Null => true,
            Type::Bool => self.bool() == other.bool(),
            Type::Number => self.number(work)? == other.number(work)?,
            Type::String => {
                let (one, two) = (self.text(work)?, other.text(work)?);
                work.spend_bytes(one.len().min(two.len()), READ)?;
                one == two
            }
            Type::Array | Type::Object => self.is_same(other),
        })
    }

    /// `==`: as [`Value::equals`], but of two types both as numbers, and containers as their text.
    pub(super) fn loosely_equals(&self, other: &Value<'_>, work: &mut Work) -> Result<bool, RenderError> {
        let (one, two) = (self.type_of(), other.type_of());
        if one == two {
            return self.equals(other, work);
        }
        let is_container = |kind: Type| matches!(kind, Type::Array | Type::Object);
        if self.is_nullish() || other.is_nullish() {
            return Ok(self.is_nullish() && other.is_nullish());
        }
        if is_container(one) && is_container(two) {
            return Ok(false);
        }
        let is_text = |kind: Type| kind == Type::String || is_container(kind);
        if one == Type::Object && !is_text(two) || two == Type::Object && !is_text(one) {
            return Ok(false);
        }
        if is_text(one) && is_text(two) {
            let (one, two) = (self.text(work)?, other.text(work)?);
            work.spend_bytes(one.len().min(two.len()), READ)?;
            return Ok(one == two);
        }
        Ok(self.number(work)? == other.number(work)?)
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
    pub(super) fn compare(
        &self,
        other: &Value<'_>,
        work: &mut Work,
    ) -> Result<Option<Ordering>, RenderError> {
        let is_text =
            |value: &Value<'_>| matches!(value.type_of(), Type::String | Type::Array | Type::Object);
        if is_text(self) && is_text(other) {
            let (one, two) = (self.text(work)?, other.text(work)?);
            work.spend_bytes(one.len().min(two.len()), SCAN)?;
            return Ok(Some(one.encode_utf16().cmp(two.encode_utf16())));
        }
        Ok(self.number(work)?.partial_cmp(&other.number(work)?))
    }

    /// `JSON.stringify(value)` with nothing changed in what came as JSON; `None` for what is not there.
    pub(super) fn json(&self, work: &mut Work) -> Result<Option<Cow<'a, [u8]>>, RenderError> {
        Ok(Some(match self {
            Value::Undefined => return Ok(None),
            Value::Raw(raw) => Cow::Borrowed(raw.bytes()),
            Value::Root(root) => {
                work.spend_bytes(root.whole_len(), READ)?;
                root.whole()
            }
            Value::Bool(value) => Cow::Borrowed(if *value { b"true" } else { b"false" }),
            Value::Number(value) if !value.is_finite() => Cow::Borrowed(b"null"),
            Value::Number(value) => {
                let mut out = Vec::new();
                work.spend(NUMBER_TEXT)?;
                number::write(&mut out, *value);
                Cow::Owned(out)
            }
            Value::Text(text) => {
                work.spend_bytes(text.len(), UNESCAPE)?;
                let mut out = Vec::with_capacity(text.len() + 2);
                escape_into(&mut out, text);
                Cow::Owned(out)
            }
            Value::Unit(unit) => {
                let mut out = Vec::new();
                escape_into(&mut out, unit.encode_utf8(&mut [0; 4]));
                Cow::Owned(out)
            }
        }))
    }
}

/// A text of bytes that are UTF-8 by how they came about.
pub(super) fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Bytes of a container that stand behind one of its values.
fn bytes_behind(container: Raw<'_>, value: Raw<'_>) -> usize {
    let end = |raw: Raw<'_>| raw.bytes().as_ptr_range().end as usize;
    end(container).saturating_sub(end(value))
}

/// Pays for reading a number of so many bytes.
fn spend_for_digits(bytes: usize, work: &mut Work) -> Result<(), RenderError> {
    work.spend(if bytes <= NUMBER_SHORT_BYTES { NUMBER_SHORT } else { NUMBER_LONG + SCAN * bytes })
}

/// The text of a string.
fn string_text<'a>(raw: Raw<'a>, work: &mut Work) -> Result<Cow<'a, str>, RenderError> {
    let bytes = raw.bytes();
    work.spend(READ * bytes.len() + STEP)?;
    if memchr::memchr(b'\\', bytes).is_some() {
        work.spend_bytes(bytes.len(), UNESCAPE)?;
    }
    Ok(raw.as_str().unwrap_or_default())
}

/// A UTF-16 unit or the length of a text.
fn text_property(
    text: &str,
    name: &str,
    place: Option<usize>,
    work: &mut Work,
) -> Result<Value<'static>, RenderError> {
    steps::count(text.len());
    if name == "length" {
        work.spend(STEP + SCAN * text.len())?;
        return Ok(Value::Number(text.encode_utf16().count() as f64));
    }
    let Some(place) = place else { return Ok(Value::Undefined) };
    work.spend(STEP + SCAN * text.len())?;
    Ok(match text.encode_utf16().nth(place) {
        Some(unit) => Value::Unit(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER)),
        None => Value::Undefined,
    })
}

/// Writes the text of a value of the payload. Arrays nested deeper than `depth` are left out.
fn write_raw(
    out: &mut Vec<u8>,
    raw: Raw<'_>,
    html: bool,
    depth: usize,
    work: &mut Work,
) -> Result<(), RenderError> {
    match raw.kind() {
        Kind::Null => {}
        Kind::Bool | Kind::Number => {
            work.spend_bytes(raw.bytes().len(), READ)?;
            out.extend_from_slice(raw.bytes());
        }
        Kind::String => write_text(out, &string_text(raw, work)?, html, work)?,
        Kind::Object => out.extend_from_slice(OBJECT_TEXT.as_bytes()),
        Kind::Array => {
            let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
            work.spend_bytes(raw.bytes().len(), SCAN)?;
            for (place, item) in raw.items().enumerate() {
                work.spend(STEP)?;
                if place > 0 {
                    out.push(b',');
                }
                write_raw(out, item, html, depth, work)?;
            }
        }
    }
    Ok(())
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
fn write_text(out: &mut Vec<u8>, text: &str, html: bool, work: &mut Work) -> Result<(), RenderError> {
    work.spend_bytes(text.len(), READ)?;
    let mut rest = text.as_bytes();
    steps::count(rest.len());
    if html {
        while let Some(at) = rest.iter().position(|&b| ESCAPED[usize::from(b)]) {
            work.spend(ESCAPE + READ * at)?;
            steps::count(8);
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
    Ok(())
}

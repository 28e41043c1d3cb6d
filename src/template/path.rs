//! Payload paths: where a value lies, such as `data.body.list[0].x`.
//!
//! Segments are parted by dots. A segment in brackets may hold anything: `data.[a silly name]`, `data["quoted key"]`
//! (with `\"` and `\\`), `list[0]`, `list.[0]`; `list.0` is the same. A place of an array counts from 0; of a string it
//! is that UTF-16 unit, as the platform has it. The empty path, and `.`, are the whole document.

use std::borrow::Cow;

use super::error::{TemplateError, TemplateFault};
use super::root::Root;
use super::value::{PathSegment, Type, Value};
use super::work::Work;
use crate::base::json::Raw;

/// A path has no more segments: a payload cannot be deeper either.
const SEGMENTS_MAX: usize = crate::base::json::DOCUMENT_DEPTH_MAX;

/// A payload path, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    segments: Box<[PathSegment]>,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// An empty segment, an open bracket or quote, braces (a path is no template), more than 160 segments.
    pub fn parse(text: &str) -> Result<Path, TemplateError> {
        let trimmed = text.trim();
        if trimmed.is_empty() || trimmed == "." {
            return Ok(Path { segments: Box::default() });
        }
        ValueReader { text, rest: trimmed }.segments().map(|segments| Path { segments })
    }

    pub(super) fn segments(&self) -> &[PathSegment] {
        &self.segments
    }

    /// Whether it takes just these steps.
    #[must_use]
    pub fn is(&self, names: &[&str]) -> bool {
        self.segments.iter().map(PathSegment::name).eq(names.iter().copied())
    }

    /// The value in a document, where it stands there as a value: not the whole document of a root that is in pieces,
    /// nor a character of a string, nor a `length`. [`Path::read`] finds those too.
    #[must_use]
    pub fn find<'r>(&self, root: &'r dyn Root) -> Option<Raw<'r>> {
        self.find_within(root, &mut Work::default())
    }

    /// As [`Path::find`], for work that is paid for with `work`.
    fn find_within<'r>(&self, root: &'r dyn Root, work: &mut Work) -> Option<Raw<'r>> {
        match self.value(root, work)? {
            Value::Raw(raw) => Some(raw),
            _ => None,
        }
    }

    /// The text of a string that stands in a document: not a character of one.
    #[must_use]
    pub fn find_text<'r>(&self, root: &'r dyn Root, work: &mut Work) -> Option<Cow<'r, str>> {
        if let [key, member, third] = &*self.segments
            && let Some(text) = root.text([key.name(), member.name(), third.name()])
        {
            return Some(Cow::Borrowed(text));
        }
        self.find_within(root, work)?.as_str()
    }

    /// The JSON text of the value.
    #[must_use]
    pub fn read<'r>(&self, root: &'r dyn Root) -> Option<Cow<'r, [u8]>> {
        self.value(root, &mut Work::default())?.json(&mut Work::unlimited()).ok()?
    }

    /// The text that is sent for the value: a string's own text, the JSON of anything else.
    #[must_use]
    pub fn text<'r>(&self, root: &'r dyn Root, work: &mut Work) -> Option<Cow<'r, [u8]>> {
        let value = self.value(root, work)?;
        if value.type_of() != Type::String {
            return value.json(&mut Work::unlimited()).ok()?;
        }
        Some(match value.text(&mut Work::unlimited()).ok()? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    }

    /// Looks the value up. Each step is paid for with the bytes that it may read, before it is taken.
    ///
    /// # Errors
    /// The error that `pay` returns if it refuses.
    pub fn look<'r, E>(
        &self,
        root: &'r dyn Root,
        pay: &mut dyn FnMut(usize) -> Result<(), E>,
    ) -> Result<Option<PathValue<'r>>, E> {
        let (mut value, segments) = Value::first_steps(root, &self.segments);
        let mut work = Work::unlimited();
        for segment in segments {
            pay(match &value {
                Value::Root(root) => root.get_cost(segment.name()),
                value => value.size(),
            })?;
            // It cannot run out.
            value = value.property(segment, &mut work).unwrap_or(Value::Undefined);
        }
        Ok(Some(match value {
            Value::Undefined => return Ok(None),
            Value::Raw(raw) => PathValue::Json(raw),
            Value::Root(_) => PathValue::Document,
            Value::Number(value) => PathValue::Number(value),
            Value::Text(text) => PathValue::Text(Cow::Borrowed(text)),
            Value::Unit(unit) => PathValue::Text(Cow::Owned(unit.to_string())),
            Value::Bool(true) => PathValue::Json(Raw::trusted(b"true")),
            Value::Bool(false) => PathValue::Json(Raw::trusted(b"false")),
        }))
    }

    /// The value; nothing where the steps to it take more work than there is.
    fn value<'r>(&self, root: &'r dyn Root, work: &mut Work) -> Option<Value<'r>> {
        let (mut value, segments) = Value::first_steps(root, &self.segments);
        for segment in segments {
            value = value.property(segment, work).ok()?;
        }
        (!matches!(value, Value::Undefined)).then_some(value)
    }
}

/// A value that a path leads to.
#[derive(Clone, Debug)]
pub enum PathValue<'r> {
    /// A value as it stands in the document.
    Json(Raw<'r>),
    /// The whole document.
    Document,
    /// The length of an array or a text.
    Number(f64),
    /// A text that does not stand there as JSON, or a character of one.
    Text(Cow<'r, str>),
}

struct ValueReader<'t> {
    text: &'t str,
    /// A part of `text`.
    rest: &'t str,
}

impl ValueReader<'_> {
    fn segments(mut self) -> Result<Box<[PathSegment]>, TemplateError> {
        let mut segments = Vec::new();
        loop {
            if segments.len() == SEGMENTS_MAX {
                return Err(self.error(TemplateFault::TooLarge { what: "a path has at most 160 segments" }));
            }
            let name = match self.rest.strip_prefix('[') {
                Some(inside) => self.bracketed(inside)?,
                None => self.bare()?,
            };
            segments.push(PathSegment::new(name));
            match self.rest.as_bytes().first() {
                None => return Ok(segments.into()),
                Some(b'.') => self.rest = &self.rest[1..],
                Some(b'[') => {}
                Some(_) => return Err(self.error(TemplateFault::Syntax { expected: "`.` or `[`" })),
            }
        }
    }

    fn bare(&mut self) -> Result<String, TemplateError> {
        let end = self.rest.find(['.', '[', ']', '{', '}']).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if rest.starts_with(['{', '}', ']']) {
            return Err(self.error(TemplateFault::Syntax { expected: "a payload path, without braces" }));
        }
        if name.is_empty() {
            return Err(self.error(TemplateFault::Syntax { expected: "a name" }));
        }
        Ok(name.to_owned())
    }

    /// `inside` is what follows the opening bracket.
    fn bracketed(&mut self, inside: &str) -> Result<String, TemplateError> {
        let Some(quote) = inside.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let Some((name, _)) = inside.split_once(']') else {
                return Err(self.error(TemplateFault::Syntax { expected: "`]` behind this bracket" }));
            };
            let name = name.to_owned();
            self.rest = &self.rest[name.len() + 2..];
            return Ok(name);
        };
        let mut name = String::new();
        let mut escaped = false;
        for (at, character) in inside.char_indices().skip(1) {
            if escaped || (character != '\\' && character != quote) {
                name.push(character);
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else {
                let closed = inside[at + 1..].starts_with(']');
                self.rest = &self.rest[1 + at + 1..];
                if !closed {
                    return Err(self.error(TemplateFault::Syntax { expected: "`]` behind the quote" }));
                }
                self.rest = &self.rest[1..];
                return Ok(name);
            }
        }
        Err(self.error(TemplateFault::Syntax { expected: "the closing quote" }))
    }

    fn error(&self, fault: TemplateFault) -> TemplateError {
        TemplateError::at(self.text, self.text.trim_end().len() - self.rest.len(), fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        r#"{"data":{"list":[{"x":1.50},"né"],"a b":null,"c\"d":true,"e.f":[[7]]},"g":"😀"}"#;

    fn check(path: &str, expected: Option<&str>) {
        let root = Raw::document(DOCUMENT.as_bytes()).unwrap();
        let path = Path::parse(path).unwrap();
        let found = path.read(&root).map(|text| String::from_utf8(text.into_owned()).unwrap());
        assert_eq!(found.as_deref(), expected, "{path:?}");
        if let Some(raw) = path.find(&root) {
            assert_eq!(Some(std::str::from_utf8(raw.bytes()).unwrap()), expected);
        }
    }

    #[test]
    fn paths_lead_to_values_as_they_stand() {
        for path in ["data.list[0].x", "data.list.0.x", "data.list.[0].x", r#"["data"]["list"][0]['x']"#] {
            check(path, Some("1.50"));
        }
        check("data.list[1]", Some("\"né\""));
        check("data.[a b]", Some("null"));
        check("data.a b", Some("null"));
        check(r#"data["c\"d"]"#, Some("true"));
        check(r#"data["e.f"][0].[0]"#, Some("7"));
        check(" data.list ", Some(r#"[{"x":1.50},"né"]"#));
        check("", Some(DOCUMENT));
        check(".", Some(DOCUMENT));
    }

    #[test]
    fn paths_lead_to_characters_and_lengths_as_on_the_platform() {
        check("data.list[1][1]", Some("\"é\""));
        check("data.list.length", Some("2"));
        check("data.list[1].length", Some("2"));
        check("g.length", Some("2"));
        check("g[0]", Some("\"\u{fffd}\""));
        check("g[2]", None);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in
            ["x", "data.x", "data.list[2]", "data.list[00]", "data.[a b].x", "data.list[0].x.y", "g[-1]"]
        {
            check(path, None);
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        for (path, column) in [
            ("a..b", 3),
            ("a.", 3),
            (".a", 1),
            ("a[", 2),
            ("a[0", 2),
            ("a[\"x]", 2),
            ("a[\"x\"b]", 6),
            ("a]b", 2),
            ("{{data.x}}", 1),
            ("a[0]b", 5),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert_eq!((error.line, error.column), (1, column), "{path}: {error}");
        }
        assert!(Path::parse(&vec!["a"; 161].join(".")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_or_an_error(text in "[a.\\[\\]\"'\\\\0 é{}]{0,12}") {
            if let Ok(path) = Path::parse(&text) {
                let _ = path.read(&Raw::trusted(DOCUMENT.as_bytes()));
            }
        }
    }
}

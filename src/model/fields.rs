//! Reads the fields of one JSON object, checks each against its row ([`super::spec`]), and refuses those without one.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::common::NAME_CHARS_MAX;
use super::error::ModelError;
use super::known;
use super::spec::{DefaultValue, FieldKind, FieldSpec, ObjectSpec};

/// A JSON object of a body while it is read. Each reading marks its field and checks it against the object's table;
/// [`Fields::finish`] looks at the rest. A field that the table lacks is refused.
pub(super) struct Fields<'v> {
    object: &'v Map<String, Value>,
    spec: &'static ObjectSpec,
    /// Path of this object in the body; empty for the body itself.
    path: String,
    read: Vec<&'static str>,
}

impl<'v> Fields<'v> {
    /// Reads `value`, which stands at `path` of the body ("" for the whole), and must be an object.
    pub(super) fn of(
        value: &'v Value,
        path: impl Into<String>,
        spec: &'static ObjectSpec,
    ) -> Result<Fields<'v>, ModelError> {
        let path = path.into();
        match value.as_object() {
            Some(object) => Ok(Fields { object, spec, path, read: Vec::new() }),
            None if path.is_empty() => Err(ModelError::new("body", "must be a JSON object")),
            None => Err(ModelError::new(path, "must be an object")),
        }
    }

    /// Continues with the fields of a variant, once the field that tells variants apart is read.
    pub(super) fn narrow(&mut self, spec: &'static ObjectSpec) {
        self.spec = spec;
    }

    /// The path of a field of this object.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// An error about a field of this object.
    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> ModelError {
        ModelError::new(self.path_of(name), message)
    }

    /// The error of a field that is not what its row says.
    pub(super) fn must_be(&self, name: &str) -> ModelError {
        let phrase = self.spec.field(name).map_or_else(|| "left out".to_owned(), FieldSpec::phrase);
        self.error(name, format!("must be {phrase}"))
    }

    /// The error of a field that is missing.
    pub(super) fn missing(&self, name: &str) -> ModelError {
        let phrase = self.spec.field(name).map(FieldSpec::phrase).unwrap_or_default();
        self.error(name, format!("is required: {phrase}"))
    }

    fn kind(&self, name: &str) -> Option<FieldKind> {
        let kind = self.spec.field(name).map(|field| field.kind);
        debug_assert!(kind.is_some(), "the table of {} has no row for {name}", self.spec.name);
        kind
    }

    /// The field as it stands, if it is there.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'v Value> {
        self.read.push(name);
        self.object.get(name)
    }

    /// The field, if it is there and not a `null` that its row allows.
    fn given(&mut self, name: &'static str) -> Option<&'v Value> {
        let is_nullable = self.spec.field(name).is_some_and(|field| field.is_nullable);
        self.value(name).filter(|value| !(is_nullable && value.is_null()))
    }

    /// A string.
    pub(super) fn string(&mut self, name: &'static str) -> Result<Option<String>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let text = match self.kind(name) {
            Some(FieldKind::Text { least, most }) => text(value, &(least..=most)),
            Some(FieldKind::Pattern { .. }) => value.as_str(),
            _ => None,
        };
        text.map(|text| Some(text.to_owned())).ok_or_else(|| self.must_be(name))
    }

    /// A string that has to be there.
    pub(super) fn required_string(&mut self, name: &'static str) -> Result<String, ModelError> {
        self.string(name)?.ok_or_else(|| self.missing(name))
    }

    /// A string, or the default of its row.
    pub(super) fn string_or_default(&mut self, name: &'static str) -> Result<String, ModelError> {
        let default = match self.spec.field(name).and_then(|field| field.default) {
            Some(DefaultValue::Text(text)) => text,
            _ => "",
        };
        Ok(self.string(name)?.unwrap_or_else(|| default.to_owned()))
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.must_be(name))
    }

    /// A whole number. `20.0` is not one: the platform's clients never write it.
    pub(super) fn integer(&mut self, name: &'static str) -> Result<Option<u32>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let Some(FieldKind::Integer { least, most }) = self.kind(name) else {
            return Err(self.must_be(name));
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| (least..=most).contains(number)).map(Some).ok_or_else(|| self.must_be(name))
    }

    /// A whole number, or the default of its row.
    pub(super) fn integer_or_default(&mut self, name: &'static str) -> Result<u32, ModelError> {
        let default = match self.spec.field(name).and_then(|field| field.default) {
            Some(DefaultValue::Integer(number)) => number,
            _ => 0,
        };
        Ok(self.integer(name)?.unwrap_or(default))
    }

    /// A number, fractions allowed.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let Some(FieldKind::Number { least, most }) = self.kind(name) else { return Err(self.must_be(name)) };
        let number = value.as_f64().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| self.must_be(name))
    }

    /// Whether the field is there and `null`. It counts as read then.
    pub(super) fn is_null(&mut self, name: &'static str) -> bool {
        let is_null = self.object.get(name).is_some_and(Value::is_null);
        if is_null {
            self.read.push(name);
        }
        is_null
    }

    /// The meaning of one of a table's words.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        table: &[(&'static str, T)],
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let found = value.as_str().and_then(|word| table.iter().find(|(known, _)| *known == word));
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| self.must_be(name))
    }

    /// A list that is no longer than its row says.
    pub(super) fn list(&mut self, name: &'static str) -> Result<Option<&'v Vec<Value>>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        let range = match self.kind(name) {
            Some(FieldKind::Objects { most, .. } | FieldKind::OutputIds { most }) => 0..=most,
            Some(FieldKind::Texts { least, most, .. }) => least..=most,
            Some(FieldKind::Words(words)) => 1..=words.len(),
            _ => 0..=0,
        };
        let list = value.as_array().filter(|list| range.contains(&list.len()));
        list.map(Some).ok_or_else(|| self.must_be(name))
    }

    /// An object that is kept as it is.
    pub(super) fn object(
        &mut self,
        name: &'static str,
    ) -> Result<Option<&'v Map<String, Value>>, ModelError> {
        let Some(value) = self.given(name) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| self.must_be(name))
    }

    /// Ends the reading: read-only fields (and, in a resource itself, those that are ignored in any) are passed over,
    /// kept ones go into `extra`, any other is refused.
    pub(super) fn finish(self, extra: &mut Map<String, Value>) -> Result<(), ModelError> {
        let name = self.spec.name;
        self.finish_as(name, extra)
    }

    /// Ends the reading of an object that has no fields of the platform.
    pub(super) fn finish_strict(self) -> Result<(), ModelError> {
        self.finish(&mut Map::new())
    }

    /// As [`Fields::finish`], with another name of the object in the message.
    pub(super) fn finish_as(self, what: &str, extra: &mut Map<String, Value>) -> Result<(), ModelError> {
        for (name, value) in self.object {
            let name_str = name.as_str();
            let is_ignored = self.spec.is_read_only(name_str)
                || (self.path.is_empty() && known::IGNORED_ANYWHERE.contains(&name_str));
            if is_ignored || self.read.contains(&name_str) {
                continue;
            }
            if !self.spec.kept.contains(&name_str) {
                let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
                return Err(self.error(&shown, format!("is not a field of {what}")));
            }
            extra.insert(name.clone(), value.clone());
        }
        Ok(())
    }
}

/// A string value of so many characters.
pub(super) fn text<'v>(value: &'v Value, chars: &RangeInclusive<usize>) -> Option<&'v str> {
    value.as_str().filter(|text| chars.contains(&text.chars().count()))
}

/// The word of a table that stands for a meaning.
pub(super) fn word_of<T: Copy + PartialEq>(table: &[(&'static str, T)], meaning: T) -> &'static str {
    table.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

//! Reads the fields of one JSON object, each with its check, and refuses those that nobody asked for.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::common::NAME_CHARS_MAX;
use super::error::ModelError;
use super::known;

/// A JSON object of a body while it is read. Each reading marks its field; [`Fields::finish`] looks at the rest.
pub(super) struct Fields<'v> {
    object: &'v Map<String, Value>,
    /// Path of this object in the body; empty for the body itself.
    path: String,
    read: Vec<&'static str>,
}

impl<'v> Fields<'v> {
    /// Reads `value`, which stands at `path` of the body ("" for the whole), and must be an object.
    pub(super) fn of(value: &'v Value, path: impl Into<String>) -> Result<Fields<'v>, ModelError> {
        let path = path.into();
        match value.as_object() {
            Some(object) => Ok(Fields { object, path, read: Vec::new() }),
            None if path.is_empty() => Err(ModelError::new("body", "must be a JSON object")),
            None => Err(ModelError::new(path, "must be an object")),
        }
    }

    /// The path of a field of this object.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// An error about a field of this object.
    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> ModelError {
        ModelError::new(self.path_of(name), message)
    }

    /// The field as it stands, if it is there.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'v Value> {
        self.read.push(name);
        self.object.get(name)
    }

    /// A string of so many characters.
    pub(super) fn string(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
    ) -> Result<Option<String>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        text(value, &chars).map(|text| Some(text.to_owned())).map_err(|must| self.error(name, must))
    }

    /// A string of so many characters that has to be there.
    pub(super) fn required_string(
        &mut self,
        name: &'static str,
        chars: RangeInclusive<usize>,
    ) -> Result<String, ModelError> {
        let bounds = chars.clone();
        self.string(name, chars)?
            .ok_or_else(|| self.error(name, format!("is required: {}", string_of(&bounds))))
    }

    pub(super) fn boolean(&mut self, name: &'static str) -> Result<Option<bool>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.error(name, "must be true or false"))
    }

    /// A whole number in a range. `20.0` is not one: the platform's clients never write it.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n)).map(Some).ok_or_else(
            || self.error(name, format!("must be an integer from {} to {}", range.start(), range.end())),
        )
    }

    /// Whether the field is there and `null`. It counts as read then.
    pub(super) fn is_null(&mut self, name: &'static str) -> bool {
        let is_null = self.object.get(name).is_some_and(Value::is_null);
        if is_null {
            self.read.push(name);
        }
        is_null
    }

    /// As [`Fields::integer`]; `null` is as good as absent.
    pub(super) fn nullable_integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, ModelError> {
        if self.is_null(name) {
            return Ok(None);
        }
        self.integer(name, range)
    }

    /// A number, fractions allowed, in a range.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_f64().filter(|n| range.contains(n)).map(Some).ok_or_else(|| {
            self.error(name, format!("must be a number from {} to {}", range.start(), range.end()))
        })
    }

    /// One of a table's words.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        table: &[(&'static str, T)],
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let found = value.as_str().and_then(|word| table.iter().find(|(known, _)| *known == word));
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| self.error(name, must_be_one_of(table)))
    }

    /// A list of at most so many values.
    pub(super) fn list(
        &mut self,
        name: &'static str,
        most: usize,
    ) -> Result<Option<&'v Vec<Value>>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.error(name, "must be a list"))?;
        if list.len() > most {
            return Err(self.error(name, format!("must be a list of at most {most}")));
        }
        Ok(Some(list))
    }

    /// An object that is kept as it is.
    pub(super) fn object(
        &mut self,
        name: &'static str,
    ) -> Result<Option<&'v Map<String, Value>>, ModelError> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_object().map(Some).ok_or_else(|| self.error(name, "must be an object"))
    }

    /// Ends the reading: `ignored` fields (and, in a resource itself, those that are ignored in any) are passed over,
    /// `kept` ones go into `extra`, any other is refused. `what` is the object's name in the message.
    pub(super) fn finish(
        self,
        what: &str,
        ignored: &[&str],
        kept: &[&str],
        extra: &mut Map<String, Value>,
    ) -> Result<(), ModelError> {
        for (name, value) in self.object {
            let name_str = name.as_str();
            let is_ignored = ignored.contains(&name_str)
                || (self.path.is_empty() && known::IGNORED_ANYWHERE.contains(&name_str));
            if is_ignored || self.read.contains(&name_str) {
                continue;
            }
            if !kept.contains(&name_str) {
                let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
                return Err(self.error(&shown, format!("is not a field of {what}")));
            }
            extra.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    /// Ends the reading of an object that is ours alone: any other field is refused.
    pub(super) fn finish_strict(self, what: &str) -> Result<(), ModelError> {
        self.finish(what, &[], &[], &mut Map::new())
    }
}

/// A string value within its bounds, or what it must be.
pub(super) fn text<'v>(value: &'v Value, chars: &RangeInclusive<usize>) -> Result<&'v str, String> {
    value
        .as_str()
        .filter(|text| chars.contains(&text.chars().count()))
        .ok_or_else(|| format!("must be {}", string_of(chars)))
}

fn string_of(chars: &RangeInclusive<usize>) -> String {
    match (*chars.start(), *chars.end()) {
        (0, most) => format!("a string of at most {most} characters"),
        (least, most) => format!("a string of {least} to {most} characters"),
    }
}

/// "must be one of: a, b, c".
pub(super) fn must_be_one_of<T>(table: &[(&'static str, T)]) -> String {
    let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
    format!("must be one of: {}", words.join(", "))
}

/// The word of a table that stands for a meaning.
pub(super) fn word_of<T: Copy + PartialEq>(table: &[(&'static str, T)], meaning: T) -> &'static str {
    table.iter().find(|(_, known)| *known == meaning).map_or("", |(word, _)| word)
}

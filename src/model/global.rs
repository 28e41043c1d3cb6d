//! Globals: key and JSON pairs of an application, and those of a flow that are merged over them ([REST
//! API](crate::guide::rest_api)).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::common::{Extra, NAME_CHARS_MAX};
use super::error::ModelError;
use super::fields::Fields;
use super::known;
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows};
use crate::base::json as strict;

/// Most globals of an application, and of a flow: each is part of every payload.
pub(crate) const GLOBALS_MAX: usize = 1_000;
/// Longest JSON text of a global: the platform's number.
pub(crate) const GLOBAL_JSON_CHARS_MAX: usize = 32_767;
/// Deepest nesting of a global, as of a body ([limits and refusals](crate::guide::limits_and_refusals#limits)).
pub(super) const GLOBAL_DEPTH_MAX: usize = 128;
/// Most characters of a key: the platform's number.
const KEY_CHARS_MAX: usize = NAME_CHARS_MAX;

/// A key, as the platform's schema has it.
const KEY: FieldKind = FieldKind::Pattern {
    pattern: "^[0-9a-zA-Z_-]{1,255}$",
    phrase: "1 to 255 of the characters 0-9, a-z, A-Z, _ and -",
};

/// The fields of a global.
pub(crate) static GLOBAL: ObjectSpec = ObjectSpec {
    name: "a global",
    groups: &[&rows! {
        "key": KEY, required => "Templates read the value as {{globals.KEY}}.";
        "json": text(1, GLOBAL_JSON_CHARS_MAX), required => "A text of valid JSON.";
    }],
    ignored: &[],
    kept: known::GLOBAL_KEPT,
};

/// The row of a list of globals.
pub(super) const GLOBALS: FieldSpec = FieldSpec::new(
    "globals",
    FieldKind::Objects { schema: "Global", most: GLOBALS_MAX },
    "Values that templates and payloads see, by their keys. Those of a flow hide those of its application.",
);

/// One global.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Global {
    /// 1 to 255 of the characters `0-9a-zA-Z_-`. A record of an earlier version may hold others.
    pub key: String,
    /// A text of valid JSON.
    pub json: String,
    /// Fields kept for the platform's clients.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Extra,
}

/// A change of one global by its key.
#[derive(Clone, Debug, PartialEq)]
pub enum GlobalChange {
    /// Sets it, with the fields that are kept.
    Set(Global),
    /// Removes it.
    Remove(String),
}

impl Global {
    /// As the API shows it.
    #[must_use]
    pub fn to_api(&self) -> Value {
        let mut shown = json!({"key": self.key, "json": self.json});
        if let Some(object) = shown.as_object_mut() {
            object.extend(self.extra.clone());
        }
        shown
    }

    /// Reads a list of globals whose keys are unique.
    pub(super) fn read_list(list: &[Value], path: &str) -> Result<Vec<Global>, ModelError> {
        let mut globals = Vec::with_capacity(list.len());
        for (index, change) in read_changes(list, path)?.into_iter().enumerate() {
            match change {
                GlobalChange::Set(global) => globals.push(global),
                GlobalChange::Remove(_) => {
                    let field = format!("{path}[{index}].json");
                    return Err(ModelError::new(field, "must be a string that holds valid JSON"));
                }
            }
        }
        Ok(globals)
    }

    /// Reads globals that an earlier version stored unchecked; entries that cannot be used are dropped.
    pub(super) fn from_unchecked(value: &Value) -> Vec<Global> {
        let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let valid =
            entries.iter().filter_map(|entry| Global::read_list(std::slice::from_ref(entry), "").ok());
        let mut keys = HashSet::new();
        valid.flatten().filter(|global| keys.insert(global.key.clone())).take(GLOBALS_MAX).collect()
    }
}

/// Reads changes of globals: each entry names a key, and its `json` is the new value or `null` to remove it.
///
/// # Errors
/// The first entry that is not valid, or names a key again.
pub(crate) fn read_changes(list: &[Value], path: &str) -> Result<Vec<GlobalChange>, ModelError> {
    let mut changes = Vec::with_capacity(list.len());
    let mut keys = HashSet::new();
    for (index, value) in list.iter().enumerate() {
        let mut fields = Fields::of(value, format!("{path}[{index}]"), &GLOBAL)?;
        let key = fields.required_string("key")?;
        if !is_key(&key) {
            return Err(fields.must_be("key"));
        }
        if !keys.insert(key.clone()) {
            return Err(fields.error("key", "must be unique among the globals"));
        }
        changes.push(read_change(fields, key)?);
    }
    Ok(changes)
}

/// Reads the change of the global `key` from the body of a request that names it in its path.
///
/// # Errors
/// The field that is not valid.
pub(crate) fn read_change_of(key: &str, body: &Value) -> Result<GlobalChange, ModelError> {
    if !is_key(key) {
        return Err(ModelError::new("key", format!("must be {KEY}")));
    }
    let mut fields = Fields::of(body, "", &GLOBAL)?;
    if fields.string("key")?.is_some_and(|given| given != key) {
        return Err(fields.error("key", "must be the key that the path names"));
    }
    read_change(fields, key.to_owned())
}

fn read_change(mut fields: Fields<'_>, key: String) -> Result<GlobalChange, ModelError> {
    if fields.is_null("json") {
        fields.finish(&mut Map::new())?;
        return Ok(GlobalChange::Remove(key));
    }
    let json = fields.required_string("json")?;
    if !strict::validate(json.as_bytes(), GLOBAL_DEPTH_MAX) {
        return Err(fields.error("json", "must be a string that holds valid JSON"));
    }
    let mut extra = Map::new();
    fields.finish(&mut extra)?;
    Ok(GlobalChange::Set(Global { key, json, extra }))
}

fn is_key(key: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Applies changes in their order.
///
/// # Errors
/// If more globals than [`GLOBALS_MAX`] are left.
pub(super) fn apply_changes(globals: &mut Vec<Global>, changes: Vec<GlobalChange>) -> Result<(), ModelError> {
    let mut changed = globals.clone();
    for change in changes {
        match change {
            GlobalChange::Remove(key) => changed.retain(|global| global.key != key),
            GlobalChange::Set(global) => match changed.iter_mut().find(|known| known.key == global.key) {
                Some(known) => *known = global,
                None => changed.push(global),
            },
        }
    }
    if changed.len() > GLOBALS_MAX {
        return Err(ModelError::new("globals", format!("must be at most {GLOBALS_MAX}")));
    }
    *globals = changed;
    Ok(())
}

/// The globals of an application with those of a flow over them, as a JSON object.
#[must_use]
pub(crate) fn merged_json(application: &[Global], flow: &[Global]) -> Vec<u8> {
    let own: HashSet<&str> = flow.iter().map(|global| global.key.as_str()).collect();
    let inherited = application.iter().filter(|global| !own.contains(global.key.as_str()));
    let mut text = vec![b'{'];
    for (index, global) in inherited.chain(flow).enumerate() {
        if index > 0 {
            text.push(b',');
        }
        strict::escape_into(&mut text, &global.key);
        text.push(b':');
        text.extend_from_slice(global.json.as_bytes());
    }
    text.push(b'}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(value: &Value) -> Vec<Global> {
        Global::read_list(value.as_array().expect("a list"), "globals").expect("valid")
    }

    #[test]
    fn globals_of_a_flow_replace_those_of_its_application_by_key() {
        let application = globals(&json!([{"key": "a", "json": "1"}, {"key": "b", "json": "{\"x\":1.0}"}]));
        let flow = globals(&json!([{"key": "b", "json": "2"}, {"key": "c", "json": "\"3\""}]));
        let merged = |application, flow| String::from_utf8(merged_json(application, flow)).expect("text");
        assert_eq!(merged(&application, &flow), r#"{"a":1,"b":2,"c":"3"}"#);
        assert_eq!(merged(&application, &[]), r#"{"a":1,"b":{"x":1.0}}"#);
        assert_eq!(merged(&[], &[]), "{}");
    }

    #[test]
    fn a_change_sets_replaces_or_removes_one_global() {
        let mut kept =
            globals(&json!([{"key": "a", "json": "1"}, {"key": "b", "json": "2", "cloudOnly": true}]));
        let body = json!([{"key": "a", "json": null}, {"key": "b", "json": "3"}, {"key": "c", "json": "4"}]);
        let changes = read_changes(body.as_array().expect("a list"), "").expect("valid");
        apply_changes(&mut kept, changes).expect("few");
        assert_eq!(kept, globals(&json!([{"key": "b", "json": "3"}, {"key": "c", "json": "4"}])));
    }

    #[test]
    fn a_key_that_a_template_could_not_name_is_refused() {
        for (key, is_valid) in [
            ("a", true),
            ("A-b_9", true),
            ("a.b", false),
            ("a b", false),
            ("", false),
            ("ü", false),
            (&"k".repeat(255), true),
            (&"k".repeat(256), false),
        ] {
            let read = read_changes(&[json!({"key": key, "json": "1"})], "");
            assert_eq!(read.is_ok(), is_valid, "{key}");
            assert_eq!(read_change_of(key, &json!({"json": "1"})).is_ok(), is_valid, "{key}");
        }
    }
}

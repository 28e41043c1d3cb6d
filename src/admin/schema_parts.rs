//! JSON Schema of the tables of fields that the model checks bodies against, and small schemas that many bodies share.

use serde_json::{Map, Value, json};

use crate::model::{DefaultValue, FieldAccess, FieldKind, FieldSpec, ObjectSpec};

pub(super) fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

pub(super) fn id() -> Value {
    reference("Id")
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema of an object with all its fields.
pub(super) fn object_of(spec: &ObjectSpec) -> Value {
    object(Value::Object(properties(spec, |_| true)), &required(spec))
}

/// The names of the fields that a new object must have.
pub(super) fn required(spec: &ObjectSpec) -> Vec<&'static str> {
    let required = spec.fields().filter(|field| field.access == FieldAccess::Required);
    required.map(|field| field.name).collect()
}

/// The schemas of some of an object's fields, by name.
pub(super) fn properties(spec: &ObjectSpec, is_wanted: impl Fn(&FieldSpec) -> bool) -> Map<String, Value> {
    spec.fields()
        .filter(|field| is_wanted(field))
        .map(|field| (field.name.to_owned(), property(field)))
        .collect()
}

/// The schema of a field.
pub(super) fn property(field: &FieldSpec) -> Value {
    let mut schema = of_kind(&field.kind);
    if field.is_nullable {
        match schema.get_mut("type") {
            Some(of_type) if field.kind.is_plain() => *of_type = json!([of_type.take(), "null"]),
            _ => schema = json!({"oneOf": [schema, {"type": "null"}]}),
        }
    }
    let Some(members) = schema.as_object_mut() else { return schema };
    if let Some(default) = field.default {
        members.insert("default".to_owned(), default_of(default));
    }
    let fixed = if field.access == FieldAccess::AtCreation { "Fixed at creation. " } else { "" };
    if !field.help.is_empty() || !fixed.is_empty() {
        let description = format!("{fixed}{}", field.help).trim_end().to_owned();
        members.insert("description".to_owned(), Value::from(description));
    }
    // What reads a reference alone passes over what stands beside it.
    if field.access == FieldAccess::ReadOnly && !members.contains_key("$ref") {
        members.insert("readOnly".to_owned(), Value::from(true));
    }
    schema
}

pub(super) fn default_of(default: DefaultValue) -> Value {
    match default {
        DefaultValue::Boolean(is_on) => Value::from(is_on),
        DefaultValue::Integer(number) => Value::from(number),
        DefaultValue::Text(text) => Value::from(text),
    }
}

fn of_kind(kind: &FieldKind) -> Value {
    match *kind {
        FieldKind::Boolean => json!({"type": "boolean"}),
        FieldKind::Text { least: 0, most } => json!({"type": "string", "maxLength": most}),
        FieldKind::Text { least, most } => json!({"type": "string", "minLength": least, "maxLength": most}),
        FieldKind::Pattern { pattern, .. } => json!({"type": "string", "pattern": pattern}),
        FieldKind::Integer { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
        FieldKind::Number { least, most } => json!({"type": "number", "minimum": least, "maximum": most}),
        FieldKind::Const(word) => json!({"const": word}),
        FieldKind::Word(words) => json!({"type": "string", "enum": words}),
        FieldKind::Words(words) => {
            json!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": words}})
        }
        FieldKind::Texts { least, most, .. } => {
            json!({"type": "array", "minItems": least, "maxItems": most, "items": {"type": "string"}})
        }
        FieldKind::List(spec) => json!({"type": "array", "items": object_of(spec)}),
        FieldKind::Objects { schema, most } => {
            json!({"type": "array", "maxItems": most, "items": reference(schema)})
        }
        FieldKind::Schema(name) => reference(name),
        FieldKind::Object(spec) => {
            let mut schema = object_of(spec);
            schema["additionalProperties"] = Value::from(false);
            schema
        }
        FieldKind::TextMap { most } => {
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": most})
        }
        FieldKind::AnyObject => json!({"type": "object"}),
        FieldKind::Either(kinds) => json!({"oneOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
        FieldKind::OutputIds { most } => json!({"type": "array", "maxItems": most, "items": {"oneOf": [
            {"type": "array", "maxItems": most, "items": {"type": "string"}},
            {"type": "string"},
        ]}}),
        FieldKind::Time => json!({"type": "string", "format": "date-time"}),
        FieldKind::Id => id(),
    }
}

pub(super) fn unreachable() -> Value {
    json!({"type": "array", "items": id(),
        "description": "Nodes of the cluster that did not answer: what they keep is not in the list"})
}

//! Small schemas that many bodies share.

use serde_json::{Value, json};

use crate::model::{NAME_CHARS_MAX, TEXT_CHARS_MAX};

pub(super) fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

pub(super) fn id() -> Value {
    json!({"$ref": "#/components/schemas/Id"})
}

/// The token of a webhook.
pub(super) fn token() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{8,128}$"})
}

pub(super) fn name() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX})
}

pub(super) fn text() -> Value {
    json!({"type": "string", "maxLength": TEXT_CHARS_MAX})
}

pub(super) fn secret() -> Value {
    json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        "description": "Shown as ***; a PATCH with *** keeps it"})
}

pub(super) fn unreachable() -> Value {
    json!({"type": "array", "items": id(),
        "description": "Nodes of the cluster that did not answer: what they keep is not in the list"})
}

//! The shapes of exports and of what an import answers, as JSON Schema for `/openapi.json`.

use serde_json::{Map, Value, json};

use super::export::{FORMAT, FORMAT_MEMBER};
use super::schema_parts::{id, object};

/// These schemas, by name.
pub(super) fn all() -> Map<String, Value> {
    let list = |of: &str| {
        let description = format!("As {of} is shown; an id may be missing, and then the name finds it");
        json!({"type": "array", "items": {"type": "object"}, "description": description})
    };
    let count = || json!({"type": "integer", "minimum": 0});
    let schemas = json!({
        "Document": object(json!({
            FORMAT_MEMBER: {"const": FORMAT},
            "application": {"type": "object", "description": "With its globals"},
            "webhooks": list("a webhook"),
            "flows": list("a flow"),
            "flowVersions": list("a version of a flow"),
        }), &[]),
        "ImportReport": object(json!({
            "applicationId": id(),
            "dryRun": {"type": "boolean"},
            "created": count(),
            "changed": count(),
            "deleted": count(),
            "unchanged": count(),
            "items": {"type": "array", "items": object(json!({
                "kind": {"type": "string", "enum": ["application", "webhook", "flow", "flowVersion"]},
                "id": id(),
                "name": {"type": "string"},
                "action": {"type": "string", "enum": ["created", "changed", "deleted"]},
            }), &["kind", "id", "name", "action"])},
        }), &["applicationId", "dryRun", "created", "changed", "deleted", "unchanged", "items"]),
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

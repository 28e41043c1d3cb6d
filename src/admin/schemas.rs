//! The shapes of bodies, as JSON Schema for `/openapi.json`: those of resources are made of the model's tables.

use serde_json::{Map, Value, json};

use super::schema_parts::{id, object, object_of, properties, property, reference, required};
use super::{presets, schemas_documents, schemas_watch, tokens};
use crate::model::{
    APPLICATION, AUTHS, FLOW, FLOW_VERSION, FLOW_VERSION_PATCH, FieldAccess, GLOBAL, GLOBALS_MAX,
    HEADER_TEMPLATE, NODE, NODE_CONFIGS, NODE_TYPES, ObjectSpec, SIGNATURE, TOKEN_POST, TRIGGER, WEBHOOK,
};

/// Every schema, by name.
pub(super) fn all() -> Value {
    let mut schemas = json!({
        "Id": {"type": "string", "pattern": "^[0-9A-Fa-f]{24}$"},
        "Error": object(json!({
            "type": {"type": "string", "enum": [
                "Validation", "Unauthorized", "Forbidden", "NotFound", "Conflict", "PayloadTooLarge", "Internal",
            ]},
            "message": {"type": "string"},
        }), &["type", "message"]),
        "Success": object(json!({"success": {"const": true}}), &["success"]),
        "Accepted": object(json!({"success": {"const": true}, "accepted": {"type": "boolean"}}), &["success", "accepted"]),
        "Signature": object_of(&SIGNATURE),
        "Auth": auth(),
        "TokenPost": object_of(&TOKEN_POST),
        "Global": object(Value::Object(writable(&GLOBAL)), &required(&GLOBAL)),
        "Trigger": object_of(&TRIGGER),
        "Reply": reply(),
        "TestRequest": object(json!({
            "path": {"type": "string", "description": "What follows the token; begins with / or ?"},
            "method": {"type": "string", "default": "POST"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "A string is sent as it is, any other JSON as its text"},
            "sign": {"type": "boolean", "default": false,
                "description": "Adds the credentials that the webhook asks for, and its sender's signature"},
        }), &[]),
        "TestResponse": object(json!({
            "statusCode": {"type": "integer"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "JSON where the response says that it is, else a string; null for none"},
            "durationMs": {"type": "number"},
            "triggers": {"type": "array", "items": {"type": "object"}},
        }), &["statusCode", "headers", "body", "durationMs", "triggers"]),
    });
    let Some(named) = schemas.as_object_mut() else { return schemas };
    named.extend(schemas_watch::all());
    named.extend(schemas_documents::all());
    named.extend(parts_of_flows());
    named.extend(nodes());
    named.extend(presets::schemas());
    named.extend(tokens::schemas());
    for (name, spec) in [
        ("Application", &APPLICATION),
        ("Webhook", &WEBHOOK),
        ("Flow", &FLOW),
        ("FlowVersion", &FLOW_VERSION),
    ] {
        resource(named, name, spec);
    }
    schemas
}

/// The schemas that the console's forms are made of, by name.
pub(super) fn of_forms() -> Map<String, Value> {
    let configs = NODE_TYPES.iter().map(|kind| format!("{kind}Config"));
    let names: Vec<String> =
        ["WebhookPost", "Signature", "Auth"].into_iter().map(str::to_owned).chain(configs).collect();
    let Value::Object(mut schemas) = all() else { return Map::new() };
    schemas.retain(|name, _| names.contains(name));
    schemas
}

/// Adds the schemas of a kind of resource: of the bodies that make and change it, as it is shown, and of its list.
fn resource(named: &mut Map<String, Value>, name: &str, spec: &ObjectSpec) {
    named.insert(format!("{name}Post"), object(Value::Object(writable(spec)), &required(spec)));
    let mut patch = match name {
        "FlowVersion" => writable(&FLOW_VERSION_PATCH),
        _ => writable(spec),
    };
    patch.retain(|name, _| spec.field(name).is_none_or(|field| field.access != FieldAccess::AtCreation));
    // What a PATCH does not name stays: a client that filled defaults in would change it.
    for property in patch.values_mut().filter_map(Value::as_object_mut) {
        property.remove("default");
    }
    named.insert(format!("{name}Patch"), object(Value::Object(patch), &[]));
    let mut shown = properties(spec, |field| field.access == FieldAccess::ReadOnly);
    let present: Vec<&str> = spec
        .fields()
        .filter(|field| matches!(field.access, FieldAccess::ReadOnly | FieldAccess::Required))
        .map(|field| field.name)
        .collect();
    shown.extend(writable(spec));
    if name != "Application" {
        shown.insert(
            "warnings".to_owned(),
            json!({"type": "array", "items": {"type": "string"}, "readOnly": true,
            "description": "What of it will not act as it reads; not in lists"}),
        );
    }
    let shown = object(Value::Object(shown), &present);
    named.insert(name.to_owned(), shown);
    named.insert(format!("{name}s"), list(name));
}

/// The schemas of the fields that a body may have, by name.
fn writable(spec: &ObjectSpec) -> Map<String, Value> {
    let mut fields = properties(spec, |field| field.access != FieldAccess::ReadOnly);
    fields.extend(
        spec.kept.iter().map(|name| ((*name).to_owned(), json!({"description": "Kept and given back"}))),
    );
    fields
}

pub(super) fn flow_class() -> Value {
    FLOW.field("flowClass").map_or(Value::Null, property)
}

/// The variants of `auth`.
fn auth() -> Value {
    let variants = AUTHS.iter().map(|(spec, description)| {
        let mut shape = object_of(spec);
        shape["description"] = Value::from(*description);
        shape
    });
    json!({"oneOf": variants.collect::<Vec<_>>()})
}

/// The schemas of flows and globals besides the resources themselves.
fn parts_of_flows() -> Map<String, Value> {
    // The change of a global, which `null` removes.
    let change = |required: &[&str]| {
        let mut fields = writable(&GLOBAL);
        let json = fields.remove("json").unwrap_or_default();
        fields.insert(
            "json".to_owned(),
            json!({"oneOf": [json, {"type": "null"}], "description": "null removes the global"}),
        );
        object(Value::Object(fields), required)
    };
    let list_of = |item: &str| json!({"type": "array", "items": reference(item)});
    let ids =
        || json!({"type": "object", "additionalProperties": id(), "description": "New ids by the old ones"});
    let imported = |item: &str| {
        json!({"type": "array", "maxItems": 1_000, "items": {"allOf": [
            reference(item),
            {"type": "object", "properties": {"id": id(), "flowId": id()}},
        ]}})
    };
    let schemas = json!({
        "GlobalPatch": change(&["json"]),
        "GlobalsPatch": {"type": "array", "maxItems": GLOBALS_MAX, "items": change(&["key", "json"])},
        "Globals": object(json!({
            "applicationId": id(),
            "items": list_of("Global"),
            "count": {"type": "integer"},
            "totalCount": {"type": "integer"},
        }), &["applicationId", "items", "count", "totalCount"]),
        "FlowsImport": object(json!({
            "flows": imported("FlowPost"),
            "flowVersions": imported("FlowVersionPost"),
        }), &[]),
        "FlowsImported": object(json!({
            "flows": list_of("Flow"),
            "flowVersions": list_of("FlowVersion"),
            "importedFlowIdMap": ids(),
            "importedVersionIdMap": ids(),
        }), &["flows", "flowVersions", "importedFlowIdMap", "importedVersionIdMap"]),
    });
    schemas.as_object().cloned().unwrap_or_default()
}

/// A node of each type, each with a name of its own: that is what generated clients call them.
fn nodes() -> Map<String, Value> {
    let mut schemas = Map::new();
    schemas.insert("HeaderTemplate".to_owned(), object_of(&HEADER_TEMPLATE));
    let mut mapping = Map::new();
    for (kind, config) in NODE_TYPES.iter().zip(NODE_CONFIGS) {
        let config_name = format!("{kind}Config");
        let mut node = object_of(&NODE);
        node["properties"]["type"] = json!({"const": kind});
        node["properties"]["config"] = reference(&config_name);
        schemas.insert(config_name, object_of(config));
        schemas.insert((*kind).to_owned(), node);
        mapping.insert((*kind).to_owned(), Value::from(format!("#/components/schemas/{kind}")));
    }
    let choices: Vec<Value> = NODE_TYPES.iter().map(|kind| reference(kind)).collect();
    let discriminator = json!({"propertyName": "type", "mapping": mapping});
    schemas.insert("Node".to_owned(), json!({"oneOf": choices, "discriminator": discriminator}));
    schemas
}

fn reply() -> Value {
    object(
        json!({
            "replyId": {"type": "string", "description": "May be left out: the path names it"},
            "responseCode": {"type": "integer"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "A string, or any JSON, which goes out byte for byte"},
            "encoding": {"type": "string", "enum": ["utf8", "base64", "hex", "binary"], "default": "utf8"},
            "close": object(json!({"code": {"type": "integer"}, "reason": {"type": "string"}}), &[]),
        }),
        &[],
    )
}

fn list(item: &str) -> Value {
    let mut properties = json!({
        "items": {"type": "array", "items": reference(item)},
        "count": {"type": "integer"},
        "totalCount": {"type": "integer", "description": "After the filter"},
        "perPage": {"type": "integer"},
        "page": {"type": "integer"},
        "sortField": {"type": "string"},
        "sortDirection": {"type": "string"},
        "filterField": {"type": "string"},
        "filter": {"type": "string"},
    });
    if let Some(object) = properties.as_object_mut()
        && item != "Application"
    {
        object.insert("applicationId".to_owned(), id());
    }
    object(properties, &["items", "count", "totalCount", "perPage", "page"])
}

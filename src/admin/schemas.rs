//! The shapes of bodies, as JSON Schema for `/openapi.json`. The model is what checks; these say the same.

use serde_json::{Map, Value, json};

use super::schema_parts::{id, name, object, secret, text, token};
use super::{presets, schemas_documents, schemas_options, schemas_watch, tokens};
use crate::model::{
    FLOW_CLASSES, FORWARD_METHODS, Flow, GLOBAL_JSON_CHARS_MAX, GLOBALS_MAX, HookLimits, HttpForwardConfig,
    NAME_CHARS_MAX, NODE_TYPES, Retry, SignatureScheme, TEXT_CHARS_MAX, Webhook, WorkerConfig, known,
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
        "Signature": signature(),
        "Auth": schemas_options::auth(),
        "TokenPost": schemas_options::token_post(),
        "Global": global(global_json(), &["key", "json"]),
        "Trigger": object(json!({
            "type": {"type": "string", "description": "`webhook` starts the flow; any other type is kept and inert"},
            "key": {"type": "string", "description": "The id of a webhook, where the type is `webhook`"},
            "config": {"type": "object"},
            "meta": {"type": "object"},
            "outputIds": output_ids(),
        }), &["type"]),
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
    let resources = [
        ("Application", "applicationId", application(), known::APPLICATION_KEPT),
        ("Webhook", "webhookId", webhook(), known::WEBHOOK_KEPT),
        ("Flow", "flowId", flow(), known::FLOW_KEPT),
        ("FlowVersion", "flowVersionId", flow_version(), known::FLOW_VERSION_KEPT),
    ];
    let Some(named) = schemas.as_object_mut() else { return schemas };
    named.extend(schemas_watch::all());
    named.extend(schemas_documents::all());
    named.extend(parts_of_flows());
    named.extend(nodes());
    named.extend(presets::schemas());
    named.extend(tokens::schemas());
    for (name, own_id, fields, kept) in resources {
        let mut writable = fields.as_object().cloned().unwrap_or_default();
        for kept in kept {
            writable.insert((*kept).to_owned(), json!({"description": "Kept and given back"}));
        }
        let named_by = if name == "FlowVersion" { "version" } else { "name" };
        named.insert(format!("{name}Post"), object(Value::Object(writable.clone()), &[named_by]));
        let mut patch = writable.clone();
        // What a PATCH does not name stays: a client that filled defaults in would change it.
        for property in patch.values_mut().filter_map(Value::as_object_mut) {
            property.remove("default");
        }
        match name {
            // Fixed at creation.
            "Webhook" => drop(patch.remove("isWebsocket")),
            "FlowVersion" => patch.retain(|field, _| ["notes", "enabled"].contains(&field.as_str())),
            _ => {}
        }
        named.insert(format!("{name}Patch"), object(Value::Object(patch), &[]));
        let mut shown = Map::new();
        shown.insert("id".to_owned(), id());
        shown.insert(own_id.to_owned(), id());
        shown.insert("applicationId".to_owned(), id());
        for date in ["creationDate", "lastUpdated"] {
            shown.insert(date.to_owned(), json!({"type": "string", "format": "date-time"}));
        }
        if name == "Webhook" {
            shown.insert("token".to_owned(), token());
            shown.insert("previousTokens".to_owned(), schemas_options::previous_tokens());
        }
        if name == "FlowVersion" {
            shown.insert("flowId".to_owned(), id());
            shown.insert("flowClass".to_owned(), flow_class());
        }
        if name != "Application" {
            shown.insert(
                "warnings".to_owned(),
                json!({"type": "array", "items": {"type": "string"},
                "description": "What of it will not act as it reads; not in lists"}),
            );
        }
        shown.extend(writable);
        let mut required = vec!["id", "applicationId", own_id, "creationDate", "lastUpdated", named_by];
        // An application's own is the same.
        required.dedup();
        named.insert(name.to_owned(), object(Value::Object(shown), &required));
        named.insert(format!("{name}s"), list(name));
    }
    schemas
}

fn application() -> Value {
    json!({
        "name": name(),
        "description": text(),
        "globals": globals(),
    })
}

fn globals() -> Value {
    json!({"type": "array", "maxItems": GLOBALS_MAX, "items": {"$ref": "#/components/schemas/Global"}})
}

/// A global, or with `null` allowed the change of one.
fn global(json: Value, required: &[&str]) -> Value {
    object(
        json!({
            "key": {"type": "string", "pattern": "^[0-9a-zA-Z_-]{1,255}$"},
            "json": json,
            "cloudOnly": {"description": "Kept and given back"},
            "description": {"description": "Kept and given back"},
        }),
        required,
    )
}

fn global_json() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": GLOBAL_JSON_CHARS_MAX, "description": "A text of valid JSON"})
}

fn webhook() -> Value {
    let limit =
        |least: u32, most: u32| json!({"type": ["integer", "null"], "minimum": least, "maximum": most});
    let credential = || {
        json!({"type": "string", "maxLength": NAME_CHARS_MAX, "default": "",
        "description": "A Handlebars template over the globals"})
    };
    let mut fields = json!({
        "name": name(),
        "description": text(),
        "responseCode": {"type": "integer", "minimum": Webhook::RESPONSE_CODE_MIN,
            "maximum": Webhook::RESPONSE_CODE_MAX, "default": Webhook::RESPONSE_CODE_DEFAULT},
        "verificationType": {"type": "string", "default": "none",
            "enum": ["none", "facebook", "fitbit", "twilio", "alexa"]},
        "verificationCode": text(),
        "waitForReply": {"type": "boolean", "default": false},
        "basicAuthUsername": credential(),
        "basicAuthPassword": credential(),
        "isWebsocket": {"type": "boolean", "default": false, "description": "Fixed at creation"},
        "castBuffersAs": {"type": "string", "default": "array", "enum": ["array", "binary", "utf8", "base64", "hex"]},
        "annotateMultipart": {"type": "boolean", "default": false},
        "enabled": {"type": "boolean", "default": true},
        "limits": {"type": ["object", "null"], "description": "An absent one falls back to the server's settings",
            "properties": {
                "requestsPerWindow": limit(0, HookLimits::REQUESTS_PER_WINDOW_MAX),
                "windowSeconds": limit(1, HookLimits::WINDOW_SECONDS_MAX),
                "concurrency": limit(0, HookLimits::CONCURRENCY_MAX),
                "payloadBytes": limit(1, HookLimits::PAYLOAD_BYTES_MAX),
                "replyTimeoutSeconds": limit(1, HookLimits::REPLY_TIMEOUT_SECONDS_MAX),
            },
            "additionalProperties": false},
        "signature": {"oneOf": [{"$ref": "#/components/schemas/Signature"}, {"type": "null"}]},
    });
    if let Some(fields) = fields.as_object_mut() {
        fields.extend(schemas_options::fields());
    }
    fields
}

fn flow() -> Value {
    json!({
        "name": name(),
        "description": text(),
        "enabled": {"type": "boolean", "default": true},
        "triggers": {"type": "array", "maxItems": Flow::TRIGGERS_MAX, "items": {"$ref": "#/components/schemas/Trigger"}},
        "nodes": {"type": "array", "maxItems": Flow::NODES_MAX, "items": {"$ref": "#/components/schemas/Node"}},
        "globals": globals(),
        "flowClass": flow_class(),
        "defaultVersionId": {"oneOf": [id(), {"type": "null"}],
            "description": "The version that runs; null or absent: the flow itself. Without effect on a POST"},
    })
}

pub(super) fn flow_class() -> Value {
    let words: Vec<&str> = FLOW_CLASSES.iter().map(|(word, _)| *word).collect();
    json!({"type": "string", "enum": words, "default": "cloud", "description": "Fixed at creation"})
}

fn flow_version() -> Value {
    let mut version = flow();
    if let Some(object) = version.as_object_mut() {
        object.retain(|field, _| ["enabled", "triggers", "nodes", "globals"].contains(&field.as_str()));
        object.insert("version".to_owned(), name());
        object.insert("notes".to_owned(), text());
    }
    version
}

/// The schemas of flows and globals besides the resources themselves.
fn parts_of_flows() -> Map<String, Value> {
    let change =
        || json!({"oneOf": [global_json(), {"type": "null"}], "description": "null removes the global"});
    let list_of =
        |item: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{item}")}});
    let ids =
        || json!({"type": "object", "additionalProperties": id(), "description": "New ids by the old ones"});
    let imported = |item: &str| {
        json!({"type": "array", "maxItems": 1_000, "items": {"allOf": [
            {"$ref": format!("#/components/schemas/{item}")},
            {"type": "object", "properties": {"id": id(), "flowId": id()}},
        ]}})
    };
    let schemas = json!({
        "GlobalPatch": global(change(), &["json"]),
        "GlobalsPatch": {"type": "array", "maxItems": GLOBALS_MAX, "items": global(change(), &["key", "json"])},
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
    let reference = |name: &str| format!("#/components/schemas/{name}");
    let template = json!({"type": "string"});
    let configs = [
        json!({
            "replyIdPath": {"type": "string", "default": "data.replyId"},
            "responseCodeTemplate": template,
            "bodyTemplate": template,
            "bodyTemplateType": {"type": "string", "enum": ["string", "path"], "default": "string"},
            "headerInfo": {"type": "array", "items": {"$ref": reference("HeaderTemplate")}},
            "isWebsocketMessage": {"type": "boolean", "default": false},
            "encodingTemplate": template,
        }),
        json!({
            "expression": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX,
                "description": "Payload paths in {{ }}, literals, == === != !== < <= > >= && || ! + - * / %, parentheses; \
                outputIds: [[nodes where it is false], [nodes where it is true]]"},
        }),
        json!({"message": template, "property": {"type": "string"}, "level": {"type": "string"}}),
        json!({}),
        json!({
            "url": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX,
                "description": "A template; its scheme, host and port stand in the text"},
            "method": {"enum": FORWARD_METHODS.map(|(word, _)| word), "default": "POST"},
            "headers": {"type": "object", "additionalProperties": template,
                "maxProperties": HttpForwardConfig::HEADERS_MAX},
            "body": {"type": "string", "default": "payload",
                "description": "payload: the trigger as JSON; raw: the caller's body; or a template"},
            "maxInFlight": {"type": "integer", "minimum": 1, "maximum": HttpForwardConfig::MAX_IN_FLIGHT_MAX,
                "default": HttpForwardConfig::MAX_IN_FLIGHT_DEFAULT},
            "ordered": {"type": "boolean", "default": false},
            "orderKey": template,
            "requestsPerSecond": {"type": ["number", "null"],
                "minimum": HttpForwardConfig::REQUESTS_PER_SECOND_MIN,
                "maximum": HttpForwardConfig::REQUESTS_PER_SECOND_MAX},
            "timeoutSeconds": {"type": "integer", "minimum": 1, "maximum": HttpForwardConfig::TIMEOUT_SECONDS_MAX,
                "default": HttpForwardConfig::TIMEOUT_SECONDS_DEFAULT},
            "retry": object(json!({
                "attempts": {"type": "integer", "minimum": 1, "maximum": Retry::ATTEMPTS_MAX},
                "backoffSeconds": {"type": "number", "minimum": Retry::BACKOFF_SECONDS_MIN,
                    "maximum": Retry::BACKOFF_SECONDS_MAX, "default": 1},
            }), &[]),
            "secret": secret(),
        }),
        json!({
            "ackTimeoutSeconds": {"type": "integer", "minimum": 1, "maximum": WorkerConfig::ACK_TIMEOUT_SECONDS_MAX,
                "default": 30},
            "maxInFlight": {"type": "integer", "minimum": 1, "maximum": WorkerConfig::MAX_IN_FLIGHT_MAX,
                "default": 1000},
        }),
        json!({
            "subject": template,
            "stream": template,
            "headers": {"type": "object", "additionalProperties": template,
                "maxProperties": HttpForwardConfig::HEADERS_MAX},
        }),
    ];
    let mut schemas = Map::new();
    schemas.insert(
        "HeaderTemplate".to_owned(),
        object(
            json!({"keyTemplate": template, "valueTemplate": template}),
            &["keyTemplate", "valueTemplate"],
        ),
    );
    let mut mapping = Map::new();
    for (kind, config) in NODE_TYPES.iter().zip(configs) {
        let config_name = format!("{kind}Config");
        let node = object(
            json!({
                "id": {"type": "string", "minLength": 1, "maxLength": 1024},
                "type": {"const": kind},
                "config": {"$ref": reference(&config_name)},
                "meta": {"type": "object"},
                "outputIds": output_ids(),
            }),
            &["type"],
        );
        schemas.insert(config_name, object(config, &[]));
        schemas.insert((*kind).to_owned(), node);
        mapping.insert((*kind).to_owned(), Value::from(reference(kind)));
    }
    let choices: Vec<Value> = mapping.values().map(|reference| json!({"$ref": reference})).collect();
    let discriminator = json!({"propertyName": "type", "mapping": mapping});
    schemas.insert("Node".to_owned(), json!({"oneOf": choices, "discriminator": discriminator}));
    schemas
}

fn output_ids() -> Value {
    json!({"type": "array", "items": {"oneOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
    ]}, "description": "A list of node ids for each output; a flat list is that of one output"})
}

fn signature() -> Value {
    object(
        json!({
            "scheme": {"type": "string", "enum": SignatureScheme::words()},
            "secret": secret(),
            "header": {"type": "string", "description": "hmac and ed25519 only, and required there, as all that follow"},
            "algorithm": {"type": "string", "enum": ["sha1", "sha256", "sha512"], "default": "sha256",
                "description": "hmac only"},
            "encoding": {"type": "string", "enum": ["hex", "base64"], "default": "hex"},
            "prefix": {"type": "string", "default": ""},
            "separator": {"type": "string", "description": "Between several members of the header"},
            "timestampHeader": {"type": "string",
                "description": "Where the time of signing stands; the header itself for a member of it"},
            "timestampPrefix": {"type": "string", "default": "t="},
            "idHeader": {"type": "string", "default": "webhook-id"},
            "signed": {"type": "string", "default": "{{body}}",
                "description": "What is signed, with {{timestamp}}, {{body}}, {{url}} and {{id}} in it"},
            "toleranceSeconds": {"type": "integer", "minimum": 1, "maximum": 86_400, "default": 300},
        }),
        &["scheme", "secret"],
    )
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
        "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{item}")}},
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

//! The shapes of what was recorded of calls. As JSON Schema for `/openapi.json`.

use serde_json::{Map, Value, json};

use super::schema_parts::{id, object, unreachable};

/// These schemas, by name.
pub(super) fn all() -> Map<String, Value> {
    let whole = {
        let mut properties = item();
        if let (Some(properties), Some(more)) = (properties.as_object_mut(), more().as_object()) {
            properties.extend(more.clone());
        }
        object(properties, &[&ITEM[..], &["request", "response", "steps", "isReplayable"]].concat())
    };
    let schemas = json!({
        "SeenRequest": object(item(), &ITEM),
        "RecordedRequest": whole,
        "Requests": object(json!({
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/SeenRequest"},
                "description": "The newest first"},
            "count": {"type": "integer"}, "totalCount": {"type": "integer"}, "page": {"type": "integer"},
            "perPage": {"type": "integer"}, "applicationId": id(), "webhookId": id(),
            "skipped": {"type": "integer", "description": "Calls since the start that were not recorded"},
            "lastCall": {"type": ["string", "null"], "format": "date-time"},
            "replay": {"oneOf": [{"$ref": "#/components/schemas/DeadLetterReplay"}, {"type": "null"}],
                "description": "Progress of the last replay of several; null if there was none since the start"},
            "unreachable": unreachable(),
        }), &["items", "count", "totalCount", "page", "perPage", "applicationId", "webhookId", "skipped", "lastCall",
            "replay", "unreachable"]),
        "RequestReplayed": object(json!({
            "success": {"const": true}, "statusCode": {"type": "integer"}, "durationMs": {"type": "number"},
            "id": {"type": ["string", "null"], "description": "The new record; null if there is none"},
        }), &["success", "statusCode", "durationMs", "id"]),
        "RequestsReplay": object(json!({
            "ids": {"type": "array", "maxItems": 10_000, "items": {"$ref": "#/components/schemas/Id"}},
        }), &[]),
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

/// The members of every item.
const ITEM: [&str; 19] = [
    "id",
    "time",
    "kind",
    "direction",
    "connectionId",
    "method",
    "path",
    "peer",
    "status",
    "durationMs",
    "bytes",
    "responseBytes",
    "refusal",
    "count",
    "lastTime",
    "replayOf",
    "requestId",
    "flows",
    "payload",
];

fn item() -> Value {
    let time = || json!({"type": "string", "format": "date-time"});
    let given = || json!({"type": ["string", "null"]});
    json!({
        "id": id(), "time": time(),
        "kind": {"enum": ["request", "connect", "message", "close"]},
        "direction": {"enum": ["in", "out"], "description": "out: a message that was sent"},
        "connectionId": {"type": ["string", "null"], "description": "The same for all records of one WebSocket"},
        "method": {"type": "string"},
        "path": {"type": "string", "description": "What follows the token, with the query"},
        "peer": {"type": ["string", "null"], "description": "The address that the connection came from"},
        "status": {"type": ["integer", "null"], "description": "null while it waits for its reply"},
        "durationMs": {"type": ["number", "null"]},
        "bytes": {"type": "integer", "description": "Of the whole body or message"},
        "responseBytes": {"type": "integer"},
        "refusal": {"type": ["string", "null"], "description": "Why it was refused, or closed"},
        "count": {"type": "integer", "description": "Refusals that it stands for"},
        "lastTime": time(), "replayOf": given(),
        "requestId": {"type": ["string", "null"],
            "description": "X-Request-Id, as it was given or made; null for what happened on a WebSocket"},
        "flows": {"type": "array", "items": object(json!({
            "flowId": id(), "nodeId": given(),
            "fate": {"enum": ["ran", "waiting", "retried", "delivered", "dead", "expired", "failed"]},
            "attempts": {"type": "integer"}, "status": {"type": ["integer", "null"]}, "error": given(), "time": time(),
        }), &["flowId", "nodeId", "fate", "attempts", "status", "error", "time"])},
        "payload": {"description": "What a flow got, or would have got; null if it cannot be made"},
    })
}

fn more() -> Value {
    let headers = || {
        json!({"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 2,
        "maxItems": 2}, "description": "Name and value of each field, in order"})
    };
    let body = || {
        object(
            json!({
                "text": {"type": ["string", "null"]},
                "base64": {"type": ["string", "null"], "description": "If it is no text"},
                "bytes": {"type": "integer"},
                "isWhole": {"type": "boolean", "description": "Whether all of it is kept"},
            }),
            &["text", "base64", "bytes", "isWhole"],
        )
    };
    let mut response = object(
        json!({"status": {"type": "integer"}, "reason": {"type": "string"}, "headers": headers(), "body": body()}),
        &["status", "reason", "headers", "body"],
    );
    response["type"] = json!(["object", "null"]);
    let mut steps = object(
        json!({
            "bodyMs": {"type": "number"}, "verifyMs": {"type": "number"}, "flowsMs": {"type": "number"},
            "waitMs": {"type": "number"},
        }),
        &["bodyMs", "verifyMs", "flowsMs", "waitMs"],
    );
    steps["type"] = json!(["object", "null"]);
    json!({
        "request": object(
            json!({"version": {"type": ["string", "null"]}, "headers": headers(), "body": body()}),
            &["version", "headers", "body"],
        ),
        "response": response,
        "steps": steps,
        "isReplayable": {"type": "boolean"},
    })
}

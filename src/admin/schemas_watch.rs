//! The shapes of what is only looked at: series, usage, requests, settings, previews. As JSON Schema for `/openapi.json`.

use serde_json::{Map, Value, json};

use super::schema_parts::{id, object, unreachable};

/// These schemas, by name.
pub(super) fn all() -> Map<String, Value> {
    let counts = || json!({"type": "array", "items": {"type": "integer"}});
    let times = || json!({"type": "array", "items": {"type": ["number", "null"]}});
    let columns = |names: &[&str], column: &dyn Fn() -> Value| {
        let properties: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), column())).collect();
        object(Value::Object(properties), names)
    };
    let limit = || json!({"type": ["integer", "null"], "description": "null for no limit"});
    let series = object(
        json!({
            "requests": counts(),
            "status": columns(&["2xx", "3xx", "4xx", "5xx"], &counts),
            "latencyMs": columns(&["p50", "p99", "p999"], &times),
            "connections": columns(&["http", "websocket", "worker"], &counts),
            "waiting": counts(),
            "throttled": columns(&["rate", "concurrency"], &counts),
            "triggers": counts(),
        }),
        &["requests", "status", "latencyMs", "connections", "waiting", "throttled", "triggers"],
    );
    let time = || json!({"type": "string", "format": "date-time"});
    let schemas = json!({
        "FlowStats": object(json!({
            "start": time(), "end": time(), "resolution": {"type": "integer"},
            "metrics": {"type": "array", "items": object(json!({
                "time": time(), "runCount": {"type": "integer"}, "pathsFailed": {"type": "integer"},
            }), &["time", "runCount", "pathsFailed"])},
        }), &["start", "end", "resolution", "metrics"]),
        "FlowErrors": object(json!({
            "start": time(), "end": time(), "limit": {"type": "integer"}, "sortDirection": {"type": "string"},
            "errors": {"type": "array", "items": object(json!({
                "time": time(), "nodeId": {"type": "string"}, "nodeLabel": {},
                "error": object(json!({"name": {"type": "string"}, "message": {"type": "string"}}), &["name", "message"]),
            }), &["time", "nodeId", "error"])},
        }), &["start", "end", "limit", "sortDirection", "errors"]),
        "DeadLetter": dead_letter(&json!({
            "payload": {"description": "Only of one letter alone"},
            "place": {"type": "integer", "description": "Only in a list: the newer of two letters has the higher one"},
        })),
        "DeadLetters": object(json!({
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/DeadLetter"}},
            "count": {"type": "integer"},
            "totalCount": {"type": "integer", "description": "How many the flow has; of a list that is narrowed, how many \
                were found by this request"},
            "page": {"type": "integer"}, "perPage": {"type": "integer"},
            "next": {"type": ["integer", "null"], "description": "The `before` that continues the list, which one request \
                searches as far as 10,000 letters or 32 MiB; null at its end"},
            "applicationId": id(), "flowId": id(),
            "replay": {"description": "The last replay of all; null if there was none since the start"},
            "unreachable": unreachable(),
        }), &["items", "count", "totalCount", "page", "perPage", "next", "applicationId", "flowId", "replay",
            "unreachable"]),
        "DeadLetterReplay": object(json!({
            "success": {"type": "boolean"},
            "total": {"type": "integer", "description": "Grows at the begin, while many are counted"},
            "replayed": {"type": "integer"},
            "failed": {"type": "integer", "description": "What it was for is gone, or there was no room for long"},
            "isRunning": {"type": "boolean"},
        }), &["success", "total", "replayed", "failed", "isRunning"]),
        "DeadLettersDropped": object(json!({"success": {"type": "boolean"}, "dropped": {"type": "integer"}}),
            &["success", "dropped"]),
        "ExportPost": {"type": "object", "description": "The platform's options; those for resources that Tidegate does not \
            have are ignored"},
        "Exported": object(json!({"url": {"type": "string", "format": "uri"}}), &["url"]),
        "ImportForm": object(json!({
            "importBundle": {"type": "string", "contentMediaType": "application/json", "description": "An export"},
            "options": {"type": "string", "contentMediaType": "application/json",
                "description": "{include: [kinds]}: Webhook, Flow, FlowVersion, Global"},
        }), &["importBundle"]),
        "StatsColumns": series,
        "Stats": object(
            json!({
                "stepSeconds": {"type": "integer", "description": "Length of a row"},
                "times": {"type": "array", "items": {"type": "integer"},
                    "description": "End of each row, in milliseconds since 1970"},
                "seconds": {"type": "array", "items": {"type": "number"},
                    "description": "Seconds in each row; the first and the last one may be short"},
                "total": {"$ref": "#/components/schemas/StatsColumns"},
                "cores": {"type": "array", "items": {"$ref": "#/components/schemas/StatsColumns"},
                    "description": "By number; a core's latency is that of its slowest second"},
            }),
            &["stepSeconds", "times", "seconds", "total", "cores"],
        ),
        "Settings": object(
            json!({
                "version": {"type": "string"},
                "ingressUrl": {"type": ["string", "null"], "description": "What comes before /webhooks/; null for a Unix socket"},
                "ingressListen": {"type": "string"},
                "limits": {"type": "object", "additionalProperties": {"type": "integer"},
                    "description": "What a webhook without limits of its own has"},
                "nodeTypes": {"type": "array", "items": {"type": "string"}, "description": "The nodes that run in this build"},
                "isClusterNode": {"type": "boolean", "description": "Whether /cluster tells something"},
            }),
            &["version", "ingressUrl", "ingressListen", "limits", "nodeTypes", "isClusterNode"],
        ),
        "Usage": object(
            json!({
                "webhookId": id(),
                "calls": {"type": ["integer", "null"], "description": "Calls of the past window; null where not counted"},
                "callsMax": limit(),
                "windowSeconds": limit(),
                "concurrent": {"type": "integer", "description": "Waiting requests and open WebSockets"},
                "concurrentMax": limit(),
                "payloadBytesMax": {"type": "integer"},
                "replyTimeoutSeconds": {"type": "integer"},
                "lastCall": {"type": ["string", "null"], "format": "date-time"},
                "recent": {"type": "object", "description": "With `recent`: the last five minutes as the records tell them, in parts of partSeconds, the newest last; null where older records have gone", "properties": {
                    "partSeconds": {"type": "integer"},
                    "calls": {"type": "array", "items": {"type": ["integer", "null"]}},
                    "failures": {"type": "array", "items": {"type": ["integer", "null"]}, "description": "Calls that were answered 400 or more"},
                    "p99Ms": {"type": ["number", "null"]},
                }},
            }),
            &["webhookId", "calls", "callsMax", "windowSeconds", "concurrent", "concurrentMax", "lastCall"],
        ),
        "Usages": object(
            json!({
                "items": {"type": "array", "items": {"$ref": "#/components/schemas/Usage"}},
                "count": {"type": "integer"},
                "applicationId": id(),
            }),
            &["items", "count", "applicationId"],
        ),
        "PreviewRequest": object(
            json!({
                "payload": {"type": "object"},
                "templates": {"type": "array", "items": object(json!({
                    "template": {"type": "string"},
                    "type": {"type": "string", "enum": ["string", "text", "path", "condition"], "default": "string",
                        "description": "text is a template that is not escaped for HTML"},
                }), &["template"])},
                "flow": {"type": "object", "description": "A flow, saved or not: its nodes are run instead, nothing is sent"},
                "applicationId": {"description": "With a flow: whose globals it reads", "$ref": "#/components/schemas/Id"},
                "webhookId": {"description": "With a flow: the webhook that triggers it; its first one by default", "$ref": "#/components/schemas/Id"},
            }),
            &["payload"],
        ),
        "Preview": object(
            json!({"items": {"type": "array", "description": "In the order of the templates", "items": object(json!({
                "text": {"type": ["string", "null"], "description": "null where a path leads to nothing"},
                "error": {"type": "string", "description": "Why it cannot be rendered"},
            }), &[])},
            "nodes": {"type": "array", "description": "With a flow: the nodes that the payload reaches, in their order", "items": object(json!({
                "id": {"type": "string"},
                "afterDelivery": {"type": "boolean", "description": "It runs once a delivery before it is done"},
                "condition": {"type": "boolean"},
                "reply": {"type": "object"},
                "request": {"type": "object"},
                "publication": {"type": "object"},
                "worker": {"type": "boolean"},
                "message": {"type": "string"},
                "error": {"type": "string", "description": "Why the node cannot do its part"},
            }), &["id", "afterDelivery"])},
            "errors": {"type": "array", "description": "With a flow: what is wrong with it, of every node; then no node ran", "items": object(json!({
                "field": {"type": "string"},
                "message": {"type": "string"},
            }), &["field", "message"])}}),
            &[],
        ),
    });
    let mut all = match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    };
    all.extend(super::schemas_records::all());
    all
}

fn dead_letter(more: &Value) -> Value {
    let mut properties = json!({
        "id": {"type": "string", "description": "As `webhook-id` in each attempt"},
        "time": {"type": "string", "format": "date-time", "description": "When it was given up"},
        "accepted": {"type": "string", "format": "date-time"},
        "webhookId": id(), "nodeId": {"type": "string"},
        "reason": {"enum": ["attempts", "retention", "gone", "loop", "request"]},
        "attempts": {"type": "integer"},
        "lastStatus": {"type": ["integer", "null"]}, "lastError": {"type": ["string", "null"]},
        "lastAnswer": {"type": ["string", "null"], "description": "The first 4 KiB"},
        "payloadBytes": {"type": "integer"},
    });
    if let (Some(properties), Some(more)) = (properties.as_object_mut(), more.as_object()) {
        properties.extend(more.clone());
    }
    object(
        properties,
        &["id", "time", "accepted", "webhookId", "nodeId", "reason", "attempts", "payloadBytes"],
    )
}

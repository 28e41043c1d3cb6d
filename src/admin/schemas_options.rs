//! The shapes of a webhook's options, which most webhooks leave off. The model is what checks; these say the same.

use serde_json::{Map, Value, json};

use super::schema_parts::{object, secret, token};
use crate::model::{DeduplicateConfig, NAME_CHARS_MAX, RecordConfig, TEXT_CHARS_MAX, TokenChange};

/// The fields, by name.
pub(super) fn fields() -> Map<String, Value> {
    let fields = json!({
        "methods": {"type": ["array", "null"], "minItems": 1,
            "items": {"type": "string", "enum": ["DELETE", "GET", "PATCH", "POST", "PUT"]},
            "description": "Methods that are let in; null: all. HEAD and OPTIONS are answered in any case"},
        "allowedNetworks": {"type": ["array", "null"], "minItems": 1, "maxItems": 256,
            "items": {"type": "string"},
            "description": "Addresses and networks (CIDR) that calls may come from; null: any"},
        "auth": {"oneOf": [{"$ref": "#/components/schemas/Auth"}, {"type": "null"}]},
        "deduplicate": {"oneOf": [deduplicate(), {"type": "null"}]},
        "responseBody": {"oneOf": [response_body(), {"type": "null"}]},
        "cors": {"description": "CORS headers for any origin, none, or those of a list; null: as the server's setting says",
            "oneOf": [{"type": ["boolean", "null"]},
                {"type": "array", "minItems": 1, "maxItems": 256, "items": {"type": "string"}}]},
        "rawBody": {"type": "boolean", "default": false,
            "description": "Whether payloads hold the body's bytes as they came, in base64, as data.rawBody"},
        "record": {"oneOf": [object(json!({"events": {"type": "integer", "minimum": 0,
            "maximum": RecordConfig::EVENTS_MAX, "description": "Last calls that are kept; 0: none"}}), &["events"]),
            {"type": "null"}], "description": "null: as the server's setting says"},
    });
    fields.as_object().cloned().unwrap_or_default()
}

/// `auth`.
pub(super) fn auth() -> Value {
    let named = |kind: &str, description: &str| {
        let mut shape = object(
            json!({
                "type": {"const": kind},
                "name": {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX},
                "value": secret(),
            }),
            &["type", "name", "value"],
        );
        shape["description"] = Value::from(description);
        shape
    };
    json!({"oneOf": [
        named("header", "A header of every call must have the value, or one of the values"),
        named("query", "The same for a parameter of the query, which stays out of the payload"),
        jwt(),
    ]})
}

fn jwt() -> Value {
    let names = || json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]});
    let mut shape = object(
        json!({
            "type": {"const": "jwt"},
            "algorithms": {"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["HS256", "HS384",
                "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]},
                "description": "HS256 with a secret by default, else every one that verifies with a public key"},
            "secret": secret(),
            "key": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
                "description": "A public key in PEM, or several"},
            "jwksUrl": {"type": "string", "description": "https URL of a JSON Web Key Set"},
            "issuer": names(),
            "audience": names(),
            "leewaySeconds": {"type": "integer", "minimum": 0, "maximum": 3_600, "default": 60},
        }),
        &["type"],
    );
    shape["description"] = Value::from(
        "Authorization: Bearer must be a JSON Web Token; one of secret, key and jwksUrl says how it is verified",
    );
    shape
}

fn deduplicate() -> Value {
    object(
        json!({
            "key": {"type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX,
                "description": "A Handlebars template over the payload; a call whose key was taken triggers nothing"},
            "windowSeconds": {"type": "integer", "minimum": 1, "maximum": DeduplicateConfig::WINDOW_SECONDS_MAX,
                "default": DeduplicateConfig::WINDOW_SECONDS_MAX},
        }),
        &["key"],
    )
}

fn response_body() -> Value {
    object(
        json!({
            "contentType": {"type": "string", "default": "application/json"},
            "body": {"type": "string", "maxLength": TEXT_CHARS_MAX,
                "description": "Sent in place of {\"success\":true} to a caller that does not wait"},
        }),
        &["body"],
    )
}

/// The body of `POST …/token`.
pub(super) fn token_post() -> Value {
    object(
        json!({
            "token": token(),
            "graceSeconds": {"type": "integer", "minimum": 0, "maximum": TokenChange::GRACE_SECONDS_MAX,
                "default": 0, "description": "How long the old token goes on"},
        }),
        &[],
    )
}

/// `previousTokens`.
pub(super) fn previous_tokens() -> Value {
    let previous = object(
        json!({"token": token(), "endsAt": {"type": "string", "format": "date-time"}}),
        &["token", "endsAt"],
    );
    json!({"type": "array", "items": previous, "description": "Tokens that go on until their grace ends"})
}

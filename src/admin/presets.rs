//! Presets: for each known sender how its webhook is set up, what to paste where at the sender, and a sample of what it
//! sends (`GET /presets`). One table, `presets.json`; the console and the command line read it through the API.
//!
//! A preset claims no more than the build checks: `limits` says what it does not.

use std::sync::LazyLock;

use axum::Json;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::call::{Call, Outcome};
use super::schema_parts::object;

/// A sender.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Preset {
    /// Names it on the command line.
    id: String,
    /// For people.
    name: String,
    /// The sender's page about its requests.
    documentation: String,
    /// The check that every request is held to, in a sentence.
    checks: String,
    /// The field that carries the proof; none where the body does.
    header: Option<String>,
    /// Fields of the webhook; secrets are added to them.
    webhook: Map<String, Value>,
    secrets: Vec<PresetSecret>,
    steps: Vec<SetupStep>,
    /// The properties of a request that are not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limits: Option<String>,
    sample: SampleRequest,
    /// Whether `sign` of a test request makes the sample genuine.
    #[serde(skip_deserializing)]
    can_sign: bool,
}

/// A field of the webhook that the table cannot know.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PresetSecret {
    /// `signature.secret`, `auth.value`, `verificationCode` or `basicAuthPassword`.
    field: String,
    /// The sender's word for it.
    label: String,
    from: From,
    form: Form,
    /// Where the sender shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#where: Option<String>,
}

/// The party that makes a secret.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum From {
    /// It is made here, and pasted at the sender.
    You,
    /// The sender makes it.
    Sender,
}

/// The form of a secret.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Form {
    Text,
    /// `whsec_` and base64.
    Base64,
    /// An Ed25519 public key.
    Ed25519,
    /// A public key on P-256.
    P256,
}

/// Something to do at the sender.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SetupStep {
    text: String,
    /// `url`, `urlWithLogin` (with the basic authentication's user and password in it), or the field of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paste: Option<String>,
}

/// An example of the sender's request, ready for `POST …/test`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SampleRequest {
    headers: Map<String, Value>,
    body: Value,
}

/// The table.
static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let mut presets: Vec<Preset> =
        serde_json::from_str(include_str!("presets.json")).expect("a test reads the table");
    for preset in &mut presets {
        let is_public = |secret: &PresetSecret| matches!(secret.form, Form::Ed25519 | Form::P256);
        preset.can_sign = preset.webhook.contains_key("signature") && !preset.secrets.iter().any(is_public);
    }
    presets
});

pub(super) async fn presets(_call: Call) -> Outcome {
    Ok(Json(json!({"items": &*PRESETS, "count": PRESETS.len()})).into_response())
}

/// The shapes of the answer.
pub(super) fn schemas() -> Map<String, Value> {
    let text = || json!({"type": "string"});
    let list = |item: Value| json!({"type": "array", "items": item});
    let secret = object(
        json!({
            "field": {"type": "string", "enum": ["signature.secret", "auth.value", "verificationCode", "basicAuthPassword"]},
            "label": text(),
            "from": {"type": "string", "enum": ["you", "sender"], "description": "Who makes it"},
            "form": {"type": "string", "enum": ["text", "base64", "ed25519", "p256"]},
            "where": {"type": "string", "description": "Where the sender shows it"},
        }),
        &["field", "label", "from", "form"],
    );
    let paste = "`url`, `urlWithLogin`, or the field of a secret";
    let step = object(json!({"text": text(), "paste": {"type": "string", "description": paste}}), &["text"]);
    let sample = object(
        json!({
            "headers": {"type": "object", "additionalProperties": text()},
            "body": {"description": "As the body of a test request"},
        }),
        &["headers", "body"],
    );
    let preset = object(
        json!({
            "id": text(),
            "name": text(),
            "documentation": {"type": "string", "format": "uri"},
            "checks": {"type": "string", "description": "What every request is held to"},
            "header": {"type": ["string", "null"], "description": "The field that carries the proof"},
            "webhook": {"type": "object", "description": "Fields of the webhook, but for its name and its secrets"},
            "secrets": list(secret),
            "steps": list(step),
            "limits": {"type": "string", "description": "What is not checked"},
            "sample": sample,
            "canSign": {"type": "boolean", "description": "Whether `sign` of a test request makes the sample genuine"},
        }),
        &[
            "id",
            "name",
            "documentation",
            "checks",
            "header",
            "webhook",
            "secrets",
            "steps",
            "sample",
            "canSign",
        ],
    );
    let presets = object(
        json!({"items": list(json!({"$ref": "#/components/schemas/Preset"})), "count": {"type": "integer"}}),
        &["items", "count"],
    );
    Map::from_iter([("Preset".to_owned(), preset), ("Presets".to_owned(), presets)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Now;
    use crate::base::id::Id;
    use crate::model::Webhook;
    use crate::verify::signature::{Signature, SignedRequest, Unsigned};

    const NOW: Now = Now { nanos: 0, unix_millis: 1_771_521_960_123 };
    /// A secret that all schemes accept: base64 is text too.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret_of(form: Form) -> &'static str {
        match form {
            Form::Text | Form::Base64 => SECRET,
            Form::Ed25519 => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            Form::P256 => {
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEX8tfP5h1PI31VKPfA/lP5rHOF0CALy6+KZMqyJAx6p99bDGXrREBTyOll7LtuGEkwzbjsngt4p72fJPgjdQijg=="
            }
        }
    }

    /// The webhook that a client makes of a preset.
    fn webhook(preset: &Preset) -> Webhook {
        let mut body = Value::Object(preset.webhook.clone());
        body["name"] = json!(preset.id);
        for secret in &preset.secrets {
            let pointer = format!("/{}", secret.field.replace('.', "/"));
            let (object, name) = pointer.rsplit_once('/').expect("a pointer");
            body.pointer_mut(object).expect(&secret.field)[name] = json!(secret_of(secret.form));
        }
        Webhook::create(&body, Id::generate(NOW.unix_millis), NOW.unix_millis)
            .unwrap_or_else(|error| panic!("{}: {error}", preset.id))
    }

    #[test]
    fn every_sender_of_the_specification_is_there_once() {
        let ids: Vec<&str> = PRESETS.iter().map(|preset| preset.id.as_str()).collect();
        let expected = [
            "github",
            "gitlab",
            "stripe",
            "slack",
            "shopify",
            "twilio",
            "meta",
            "discord",
            "zoom",
            "pagerduty",
            "alexa",
            "fitbit",
            "sns",
            "sendgrid",
            "mailgun",
            "standard-webhooks",
        ];
        assert_eq!(ids, expected);
    }

    #[test]
    fn each_makes_a_webhook_whose_every_caller_has_to_prove_something() {
        for preset in PRESETS.iter() {
            let webhook = webhook(preset);
            let is_locked = webhook.signature.is_some()
                || !webhook.basic_auth_password.is_empty()
                || webhook.options.auth.is_some()
                || webhook.verification_type.as_str() == "alexa";
            assert!(is_locked, "{}", preset.id);
            // What the sender makes, the operator has to find.
            for secret in &preset.secrets {
                assert_eq!(secret.r#where.is_some(), secret.from == From::Sender, "{}", preset.id);
            }
            for paste in preset.steps.iter().filter_map(|step| step.paste.as_deref()) {
                let is_secret =
                    preset.secrets.iter().any(|secret| secret.field == paste && secret.from == From::You);
                assert!(["url", "urlWithLogin"].contains(&paste) || is_secret, "{}: {paste}", preset.id);
            }
            // A secret that is made here has to be pasted there.
            for secret in preset.secrets.iter().filter(|secret| secret.from == From::You) {
                let pastes = |step: &SetupStep| {
                    step.paste.as_deref() == Some(&secret.field)
                        || secret.field == "basicAuthPassword"
                            && step.paste.as_deref() == Some("urlWithLogin")
                };
                assert!(preset.steps.iter().any(pastes), "{}: {}", preset.id, secret.field);
            }
            assert!(
                preset
                    .steps
                    .iter()
                    .any(|step| step.paste.as_deref().is_some_and(|paste| paste.starts_with("url")))
            );
        }
    }

    #[test]
    fn every_sample_that_can_be_signed_is_genuine_once_it_is() {
        for preset in PRESETS.iter() {
            let webhook = webhook(preset);
            let Some(config) = &webhook.signature else {
                assert!(!preset.can_sign, "{}", preset.id);
                continue;
            };
            let signature = Signature::compile(&config.scheme, &[SECRET]);
            if !preset.can_sign {
                assert!(signature.is_err(), "{}: a public key is no text", preset.id);
                continue;
            }
            let signature = signature.expect("a secret that the scheme takes");
            let body = match &preset.sample.body {
                Value::String(text) => text.clone().into_bytes(),
                json => serde_json::to_vec(json).expect("JSON"),
            };
            let content_type = preset.sample.headers["Content-Type"].as_str().expect("text");
            let unsigned = Unsigned { url: b"https://a.example/x", content_type, body: &body, id: "msg_1" };
            let signed =
                signature.sign(&unsigned, NOW).unwrap_or_else(|error| panic!("{}: {error}", preset.id));
            let mut fields: Vec<(&[u8], &[u8])> = vec![(b"content-type", content_type.as_bytes())];
            fields.extend(signed.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
            let request = SignedRequest {
                url: unsigned.url,
                fields: &fields.iter().copied(),
                body: signed.body.as_deref().unwrap_or(&body),
            };
            assert!(signature.check(&request, NOW).is_ok(), "{}", preset.id);
            if let Some(header) = &preset.header {
                let is_there = |(name, _): &(String, String)| name.eq_ignore_ascii_case(header);
                assert!(signed.fields.iter().any(is_there), "{}: {header}", preset.id);
            }
        }
    }

    #[test]
    fn no_text_of_a_preset_has_what_a_person_cannot_read() {
        for preset in PRESETS.iter() {
            assert!(preset.documentation.starts_with("https://"), "{}", preset.id);
            let texts = preset.steps.iter().map(|step| &step.text).chain([&preset.name, &preset.checks]);
            assert!(texts.clone().all(|text| !text.is_empty() && !text.contains('\n')), "{}", preset.id);
        }
    }
}

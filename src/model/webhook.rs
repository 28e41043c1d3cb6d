//! A webhook: one public endpoint ([REST API](crate::guide::rest_api)).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cast::{CASTS, CastBuffersAs};
use super::common::{Extra, IDENTITY, NAME_CHARS_MAX, NAMES, TEXT_CHARS_MAX, time_text};
use super::error::{ModelError, StoredError};
use super::fields::{Fields, word_of};
use super::options::WebhookOptions;
use super::previous_token::{PREVIOUS_TOKEN, PreviousToken, TOKEN_KIND};
use super::signature::{SignatureConfig, StoredSignature};
use super::spec::{ObjectSpec, rows, words};
use crate::base::id::{Id, TokenText};

/// The fields of a webhook.
pub(crate) static WEBHOOK: ObjectSpec = ObjectSpec::new(
    "a webhook",
    &[
        &IDENTITY,
        &NAMES,
        &rows! {
            "webhookId": Id, read_only => "";
            "token": TOKEN_KIND, read_only => "The secret part of its URL.";
            "previousTokens": List(&PREVIOUS_TOKEN), read_only => "Tokens that are valid until their grace ends.";
            "isWebsocket": Boolean, or_flag(false), at_creation =>
                "Callers open a WebSocket instead of sending requests.";
            "enabled": Boolean, or_flag(true) =>
                "A disabled webhook answers 200 and triggers nothing (a WebSocket webhook: 404).";
            "waitForReply": Boolean, or_flag(false) =>
                "The caller waits until a flow or a worker replies, and gets a 504 if none does in time. Otherwise \
                the response leaves at once.";
            "responseCode": integer(Webhook::RESPONSE_CODE_MIN, Webhook::RESPONSE_CODE_MAX),
                or_number(Webhook::RESPONSE_CODE_DEFAULT as u32) => "The status where no reply says otherwise.";
            "verificationType": Word(&words(&VERIFICATION_TYPES)), or_text("none") =>
                "The sender whose handshake it answers.";
            "verificationCode": text(0, TEXT_CHARS_MAX), or_text("") =>
                "The secret of the sender's handshake. A template over the globals: {{globals.key}}.";
            "basicAuthUsername": text(0, NAME_CHARS_MAX), or_text("") =>
                "Basic authentication; none if name and password are empty. A template over the globals.";
            "basicAuthPassword": text(0, NAME_CHARS_MAX), or_text("") =>
                "Shown to every reader of the webhook. A template over the globals.";
            "signature": Schema("Signature"), nullable => "Every request must be signed with a shared secret.";
            "castBuffersAs": Word(&words(&CASTS)), or_text("array") =>
                "The form of uploads and binary bodies in a payload.";
            "annotateMultipart": Boolean, or_flag(false) =>
                "A file of a form becomes {filename, contentType, encoding, data} instead of its bytes alone.";
            "limits": Object(&LIMITS), nullable => "A limit that is missing falls back to the server's setting.";
        },
        &WebhookOptions::ROWS,
    ],
);

/// The fields of a webhook's limits.
static LIMITS: ObjectSpec = ObjectSpec::new(
    "a webhook's limits",
    &[&rows! {
        "requestsPerWindow": integer(0, HookLimits::REQUESTS_PER_WINDOW_MAX), nullable =>
            "Calls in a window; over it callers get a 429. 0: no limit.";
        "windowSeconds": integer(1, HookLimits::WINDOW_SECONDS_MAX), nullable =>
            "No span of this length ever holds more calls than that.";
        "concurrency": integer(0, HookLimits::CONCURRENCY_MAX), nullable =>
            "Requests that wait for a reply, and open WebSockets. 0: no limit.";
        "payloadBytes": integer(1, HookLimits::PAYLOAD_BYTES_MAX), nullable =>
            "Of a body, a message, a reply; over it callers get a 413.";
        "replyTimeoutSeconds": integer(1, HookLimits::REPLY_TIMEOUT_SECONDS_MAX), nullable =>
            "Longest wait for a reply; then callers get a 504.";
    }],
);

/// One public endpoint, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Names the resource.
    pub id: Id,
    /// The application that it belongs to.
    pub application_id: Id,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// Milliseconds since 1970.
    pub last_updated: u64,
    /// 1 to 255 characters; need not be unique.
    pub name: String,
    /// At most 32,767 characters.
    pub description: String,
    /// The secret part of its URL.
    pub token: TokenText,
    /// Those that it had, and that go on until their grace ends.
    pub previous_tokens: Vec<PreviousToken>,
    /// 200 to 599: the status of a response that nobody else decides.
    pub response_code: u16,
    /// The provider whose handshake it answers.
    pub verification_type: VerificationType,
    /// A template.
    pub verification_code: String,
    /// Whether a request waits for a flow's reply.
    pub wait_for_reply: bool,
    /// A template; empty with an empty password for no authentication.
    pub basic_auth_username: String,
    /// A template.
    pub basic_auth_password: String,
    /// Whether it takes WebSockets instead of requests; never changes.
    pub is_websocket: bool,
    /// How bytes that are not text stand in a payload.
    pub cast_buffers_as: CastBuffersAs,
    /// Whether a file of a form comes with its name and type.
    pub annotate_multipart: bool,
    /// A disabled webhook answers and triggers nothing.
    pub enabled: bool,
    /// Its own limits, where they differ from the server's.
    pub limits: HookLimits,
    /// The signature that every request must carry.
    pub signature: Option<SignatureConfig>,
    /// Fields that most webhooks do not set.
    pub options: WebhookOptions,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

/// Limits of one webhook; an absent one falls back to the server's settings ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HookLimits {
    /// Calls in a window; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_window: Option<u32>,
    /// Seconds of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u32>,
    /// Waiting requests or open WebSockets at a time; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Bytes of a body, a message, a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u32>,
    /// Seconds that a request waits for its reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_timeout_seconds: Option<u32>,
}

impl HookLimits {
    /// Most calls in a window: beyond it a limit means nothing, and token counts stay far from 2³².
    pub const REQUESTS_PER_WINDOW_MAX: u32 = 1_000_000_000;
    /// Longest window: a day.
    pub const WINDOW_SECONDS_MAX: u32 = 86_400;
    /// Most requests at a time: more than a process has connections.
    pub const CONCURRENCY_MAX: u32 = 100_000_000;
    /// Largest payload: 64 MiB, since a payload is kept whole in memory.
    pub const PAYLOAD_BYTES_MAX: u32 = 64 * 1024 * 1024;
    /// Longest wait for a reply: an hour.
    pub const REPLY_TIMEOUT_SECONDS_MAX: u32 = 3_600;

    fn read(value: &Value) -> Result<HookLimits, ModelError> {
        if value.is_null() {
            return Ok(HookLimits::default());
        }
        let mut fields = Fields::of(value, "limits", &LIMITS)?;
        let limits = HookLimits {
            requests_per_window: fields.integer("requestsPerWindow")?,
            window_seconds: fields.integer("windowSeconds")?,
            concurrency: fields.integer("concurrency")?,
            payload_bytes: fields.integer("payloadBytes")?,
            reply_timeout_seconds: fields.integer("replyTimeoutSeconds")?,
        };
        fields.finish_strict()?;
        Ok(limits)
    }
}

/// The provider whose handshake a webhook answers ([verification](crate::guide::verification#verification)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerificationType {
    /// Nobody's.
    #[default]
    None,
    /// Meta's `hub.challenge`.
    Facebook,
    /// Fitbit's `verify`.
    Fitbit,
    /// Twilio's answer.
    Twilio,
    /// Amazon Alexa's signed requests.
    Alexa,
}

const VERIFICATION_TYPES: [(&str, VerificationType); 5] = [
    ("none", VerificationType::None),
    ("facebook", VerificationType::Facebook),
    ("fitbit", VerificationType::Fitbit),
    ("twilio", VerificationType::Twilio),
    ("alexa", VerificationType::Alexa),
];

impl VerificationType {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&VERIFICATION_TYPES, self)
    }
}

impl Webhook {
    /// Default of `responseCode`.
    pub const RESPONSE_CODE_DEFAULT: u16 = 200;
    /// Smallest `responseCode`: no 1xx can end an exchange.
    pub const RESPONSE_CODE_MIN: u32 = 200;
    /// Largest `responseCode`.
    pub const RESPONSE_CODE_MAX: u32 = 599;

    /// A new webhook of an application from the body of a POST.
    pub fn create(body: &Value, application_id: Id, unix_millis: u64) -> Result<Webhook, ModelError> {
        let mut webhook = Webhook {
            id: Id::generate(unix_millis),
            application_id,
            creation_date: unix_millis,
            last_updated: unix_millis,
            name: String::new(),
            description: String::new(),
            token: TokenText::generate(),
            previous_tokens: Vec::new(),
            response_code: Self::RESPONSE_CODE_DEFAULT,
            verification_type: VerificationType::None,
            verification_code: String::new(),
            wait_for_reply: false,
            basic_auth_username: String::new(),
            basic_auth_password: String::new(),
            is_websocket: false,
            cast_buffers_as: CastBuffersAs::Array,
            annotate_multipart: false,
            enabled: true,
            limits: HookLimits::default(),
            signature: None,
            options: WebhookOptions::default(),
            extra: Map::new(),
        };
        let mut fields = Fields::of(body, "", &WEBHOOK)?;
        webhook.name = fields.required_string("name")?;
        webhook.is_websocket = fields.boolean("isWebsocket")?.unwrap_or(false);
        webhook.read(fields)?;
        Ok(webhook)
    }

    /// Replaces the fields that the body of a PATCH names. On an error nothing is changed.
    pub fn patch(&mut self, body: &Value, unix_millis: u64) -> Result<(), ModelError> {
        let mut patched = self.clone();
        let fields = Fields::of(body, "", &WEBHOOK)?;
        patched.read(fields)?;
        patched.last_updated = unix_millis;
        *self = patched;
        Ok(())
    }

    fn read(&mut self, mut fields: Fields<'_>) -> Result<(), ModelError> {
        if let Some(name) = fields.string("name")? {
            self.name = name;
        }
        if let Some(is_websocket) = fields.boolean("isWebsocket")?
            && is_websocket != self.is_websocket
        {
            return Err(fields.error("isWebsocket", "is fixed when the webhook is created"));
        }
        if let Some(description) = fields.string("description")? {
            self.description = description;
        }
        if let Some(code) = fields.integer("responseCode")? {
            self.response_code = u16::try_from(code).unwrap_or(Self::RESPONSE_CODE_DEFAULT);
        }
        if let Some(verification_type) = fields.one_of("verificationType", &VERIFICATION_TYPES)? {
            self.verification_type = verification_type;
        }
        if let Some(code) = fields.string("verificationCode")? {
            self.verification_code = code;
        }
        if let Some(wait) = fields.boolean("waitForReply")? {
            self.wait_for_reply = wait;
        }
        if let Some(username) = fields.string("basicAuthUsername")? {
            self.basic_auth_username = username;
        }
        if let Some(password) = fields.string("basicAuthPassword")? {
            self.basic_auth_password = password;
        }
        if let Some(cast) = fields.one_of("castBuffersAs", &CASTS)? {
            self.cast_buffers_as = cast;
        }
        if let Some(annotate) = fields.boolean("annotateMultipart")? {
            self.annotate_multipart = annotate;
        }
        if let Some(enabled) = fields.boolean("enabled")? {
            self.enabled = enabled;
        }
        if let Some(limits) = fields.value("limits") {
            self.limits = HookLimits::read(limits)?;
        }
        if let Some(signature) = fields.value("signature") {
            self.signature = SignatureConfig::read(signature, self.signature.as_ref())?;
        }
        self.options.read(&mut fields)?;
        let has_basic = !self.basic_auth_username.is_empty() || !self.basic_auth_password.is_empty();
        self.options.check(self.is_websocket, has_basic)?;
        fields.finish(&mut self.extra)
    }

    /// As the API shows it, secrets masked.
    #[must_use]
    pub fn to_api(&self) -> Value {
        let mut shown = json!({
            "id": self.id.to_string(),
            "webhookId": self.id.to_string(),
            "applicationId": self.application_id.to_string(),
            "creationDate": time_text(self.creation_date),
            "lastUpdated": time_text(self.last_updated),
            "name": self.name,
            "description": self.description,
            "token": self.token.as_str(),
            "previousTokens": self.previous_tokens.iter().map(PreviousToken::to_api).collect::<Vec<_>>(),
            "responseCode": self.response_code,
            "verificationType": self.verification_type.as_str(),
            "verificationCode": self.verification_code,
            "waitForReply": self.wait_for_reply,
            "basicAuthUsername": self.basic_auth_username,
            "basicAuthPassword": self.basic_auth_password,
            "isWebsocket": self.is_websocket,
            "castBuffersAs": word_of(&CASTS, self.cast_buffers_as),
            "annotateMultipart": self.annotate_multipart,
            "enabled": self.enabled,
            "limits": self.limits,
            "signature": self.signature.as_ref().map(SignatureConfig::to_api),
        });
        if let Some(object) = shown.as_object_mut() {
            self.options.show(object, true);
            object.extend(self.extra.clone());
        }
        shown
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let stored = StoredWebhook {
            id: self.id,
            application_id: self.application_id,
            creation_date: self.creation_date,
            last_updated: self.last_updated,
            name: Cow::Borrowed(&self.name),
            description: Cow::Borrowed(&self.description),
            token: Cow::Borrowed(&self.token),
            previous_tokens: Cow::Borrowed(&self.previous_tokens),
            response_code: self.response_code,
            verification_type: Cow::Borrowed(self.verification_type.as_str()),
            verification_code: Cow::Borrowed(&self.verification_code),
            wait_for_reply: self.wait_for_reply,
            basic_auth_username: Cow::Borrowed(&self.basic_auth_username),
            basic_auth_password: Cow::Borrowed(&self.basic_auth_password),
            is_websocket: self.is_websocket,
            cast_buffers_as: Cow::Borrowed(word_of(&CASTS, self.cast_buffers_as)),
            annotate_multipart: self.annotate_multipart,
            disabled: !self.enabled,
            limits: self.limits,
            signature: self.signature.as_ref().map(SignatureConfig::to_stored),
            options: self.options.to_stored(),
            extra: Cow::Borrowed(&self.extra),
        };
        serde_json::to_vec(&stored).expect("strings, numbers and JSON values always serialize")
    }

    /// Reads the bytes that [`Webhook::to_stored`] wrote.
    pub fn from_stored(bytes: &[u8]) -> Result<Webhook, StoredError> {
        let bad = |what: &str| StoredError(format!("webhook: {what}"));
        let stored: StoredWebhook<'_> = serde_json::from_slice(bytes).map_err(|e| bad(&e.to_string()))?;
        Ok(Webhook {
            id: stored.id,
            application_id: stored.application_id,
            creation_date: stored.creation_date,
            last_updated: stored.last_updated,
            name: stored.name.into_owned(),
            description: stored.description.into_owned(),
            token: stored.token.into_owned(),
            previous_tokens: stored.previous_tokens.into_owned(),
            response_code: stored.response_code,
            verification_type: meaning(&VERIFICATION_TYPES, &stored.verification_type)
                .ok_or_else(|| bad("verificationType"))?,
            verification_code: stored.verification_code.into_owned(),
            wait_for_reply: stored.wait_for_reply,
            basic_auth_username: stored.basic_auth_username.into_owned(),
            basic_auth_password: stored.basic_auth_password.into_owned(),
            is_websocket: stored.is_websocket,
            cast_buffers_as: meaning(&CASTS, &stored.cast_buffers_as).ok_or_else(|| bad("castBuffersAs"))?,
            annotate_multipart: stored.annotate_multipart,
            enabled: !stored.disabled,
            limits: stored.limits,
            signature: stored.signature.map(SignatureConfig::from_stored).transpose()?,
            options: stored.options.as_ref().map_or_else(
                || Ok(WebhookOptions::default()),
                |options| WebhookOptions::from_stored(options).map_err(|error| bad(&error.to_string())),
            )?,
            extra: stored.extra.into_owned(),
        })
    }
}

fn meaning<T: Copy>(table: &[(&'static str, T)], word: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// A webhook's record: defaults left out, text borrowed, so that a million are read in seconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredWebhook<'a> {
    id: Id,
    application_id: Id,
    creation_date: u64,
    last_updated: u64,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    description: Cow<'a, str>,
    token: Cow<'a, TokenText>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    previous_tokens: Cow<'a, [PreviousToken]>,
    response_code: u16,
    #[serde(borrow)]
    verification_type: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    verification_code: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_false")]
    wait_for_reply: bool,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    basic_auth_username: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    basic_auth_password: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_websocket: bool,
    #[serde(borrow)]
    cast_buffers_as: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_false")]
    annotate_multipart: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    disabled: bool,
    #[serde(default, skip_serializing_if = "has_no_limits")]
    limits: HookLimits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<StoredSignature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
    #[serde(default, skip_serializing_if = "is_empty")]
    extra: Cow<'a, Extra>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

fn has_no_limits(limits: &HookLimits) -> bool {
    *limits == HookLimits::default()
}

fn is_empty(extra: &Extra) -> bool {
    extra.is_empty()
}

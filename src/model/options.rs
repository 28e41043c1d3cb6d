//! The options of a webhook that are off by default: which callers are let in, which calls are repeats, and what the
//! answers carry ([HTTP requests](crate::guide::http_requests#steps)).

use serde_json::{Map, Value, json};

use super::auth::AuthConfig;
use super::common::{NAME_CHARS_MAX, TEXT_CHARS_MAX};
use super::error::ModelError;
use super::fields::{Fields, text};
use super::spec::{FieldSpec, ObjectSpec, rows, words};
use crate::base::ip_net::IpNet;
use crate::http::Method;

static DEDUPLICATE: ObjectSpec = ObjectSpec::new(
    "deduplicate",
    &[&rows! {
        "key": text(1, TEXT_CHARS_MAX), required =>
            "A template over the payload, such as {{data.headers.x-event-id}}. A call whose key was taken is \
            answered and triggers nothing; an empty key is none.";
        "windowSeconds": integer(1, DeduplicateConfig::WINDOW_SECONDS_MAX), or_number(DeduplicateConfig::WINDOW_SECONDS_MAX) =>
            "How long a key is remembered.";
    }],
);

static RESPONSE_BODY: ObjectSpec = ObjectSpec::new(
    "responseBody",
    &[&rows! {
        "contentType": text(1, NAME_CHARS_MAX), or_text("application/json") =>
            "Such as text/plain or text/xml; charset=utf-8.";
        "body": text(0, TEXT_CHARS_MAX), required => "Sent as it is.";
    }],
);

static RECORD: ObjectSpec = ObjectSpec::new(
    "record",
    &[&rows! {
        "events": integer(0, RecordConfig::EVENTS_MAX), required => "Number of calls; 0: none.";
    }],
);

/// The fields of the options as the store keeps them.
static STORED_OPTIONS: ObjectSpec = ObjectSpec::new("a webhook's options", &[&WebhookOptions::ROWS]);

/// The options, each `None` or `false` where it is off.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookOptions {
    /// The methods that are let in; `None`: all that webhooks take.
    pub methods: Option<MethodSet>,
    /// Networks that calls may come from; `None`: any. Never empty.
    pub allowed_networks: Option<Vec<IpNet>>,
    /// The credential that every call must carry.
    pub auth: Option<AuthConfig>,
    /// The key by which repeats are told.
    pub deduplicate: Option<DeduplicateConfig>,
    /// Replaces `{"success":true}`.
    pub response_body: Option<ResponseBodyConfig>,
    /// Replaces the server's setting `ingress.cors`.
    pub cors: Option<CorsConfig>,
    /// Whether payloads hold the body's bytes, too.
    pub raw_body: bool,
    /// Replaces the server's setting `record.events`.
    pub record: Option<RecordConfig>,
}

/// A set of the five methods that trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodSet(u8);

/// The methods that can be in a set, in the order in which `Allow` lists them.
const METHODS: [(&str, Method); 5] = [
    ("DELETE", Method::Delete),
    ("GET", Method::Get),
    ("PATCH", Method::Patch),
    ("POST", Method::Post),
    ("PUT", Method::Put),
];

impl MethodSet {
    /// Reads a list of method names in any case; `None` for any other value.
    fn read(value: &Value) -> Option<MethodSet> {
        let mut set = MethodSet(0);
        for value in value.as_array()? {
            let word = value.as_str()?;
            set.0 |= 1 << METHODS.iter().position(|(known, _)| known.eq_ignore_ascii_case(word))?;
        }
        (set.0 != 0).then_some(set)
    }

    /// Whether the method is in the set.
    #[must_use]
    pub fn has(self, method: Method) -> bool {
        METHODS.iter().position(|(_, known)| *known == method).is_some_and(|place| self.0 & 1 << place != 0)
    }

    /// The names of the methods in the set, in alphabetical order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        METHODS.iter().filter(move |(_, method)| self.has(*method)).map(|(name, _)| *name)
    }
}

/// `deduplicate`: calls with the same key within the window trigger once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeduplicateConfig {
    /// A template over the payload; a key that renders empty is none.
    pub key: String,
    /// How long a key is remembered.
    pub window_seconds: u32,
}

impl DeduplicateConfig {
    /// Longest window: a day, as long as senders repeat at most.
    pub const WINDOW_SECONDS_MAX: u32 = 86_400;

    fn read(value: &Value) -> Result<DeduplicateConfig, ModelError> {
        let mut fields = Fields::of(value, "deduplicate", &DEDUPLICATE)?;
        let config = DeduplicateConfig {
            key: fields.required_string("key")?,
            window_seconds: fields.integer_or_default("windowSeconds")?,
        };
        fields.finish_strict()?;
        Ok(config)
    }

    fn to_value(&self) -> Value {
        json!({"key": self.key, "windowSeconds": self.window_seconds})
    }
}

/// `responseBody`: the answer to a caller that does not wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseBodyConfig {
    /// A media type, with its parameters.
    pub content_type: String,
    /// Sent as it is.
    pub body: String,
}

impl ResponseBodyConfig {
    fn read(value: &Value) -> Result<ResponseBodyConfig, ModelError> {
        let mut fields = Fields::of(value, "responseBody", &RESPONSE_BODY)?;
        let content_type = fields.string_or_default("contentType")?;
        if !is_media_type(&content_type) {
            return Err(fields.error("contentType", "must be a media type such as text/plain"));
        }
        let body = fields.required_string("body")?;
        fields.finish_strict()?;
        Ok(ResponseBodyConfig { content_type, body })
    }

    fn to_value(&self) -> Value {
        json!({"contentType": self.content_type, "body": self.body})
    }
}

/// RFC 9110, 8.3.1: type, slash, subtype; the parameters are whatever visible ASCII follows a semicolon.
fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_token = super::signature::is_field_name;
    essence.trim_end().split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
        && parameters.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// `cors`: the CORS fields of a webhook's responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsConfig {
    /// For any origin.
    Any,
    /// None.
    Off,
    /// For these origins. Never empty.
    Origins(Vec<String>),
}

/// Most networks and most origins of one webhook; each call is compared with all of them.
const LIST_MAX: usize = 256;

impl CorsConfig {
    /// Reads `cors`; `None` for a value that is none.
    fn read(value: &Value) -> Option<CorsConfig> {
        let list = match value {
            Value::Bool(true) => return Some(CorsConfig::Any),
            Value::Bool(false) => return Some(CorsConfig::Off),
            Value::Array(list) if (1..=LIST_MAX).contains(&list.len()) => list,
            _ => return None,
        };
        let origin = |value: &Value| value.as_str().filter(|text| is_origin(text)).map(str::to_owned);
        list.iter().map(origin).collect::<Option<_>>().map(CorsConfig::Origins)
    }

    fn to_value(&self) -> Value {
        match self {
            CorsConfig::Any => Value::from(true),
            CorsConfig::Off => Value::from(false),
            CorsConfig::Origins(origins) => Value::from(origins.as_slice()),
        }
    }
}

/// An origin as browsers send it (RFC 6454, 6.2): scheme, host, and a port that is not the scheme's own. Lower case,
/// since it is compared byte by byte.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let is_clean = |text: &str, more: &[u8]| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || more.contains(&byte))
    };
    text.chars().count() <= NAME_CHARS_MAX && is_clean(scheme, b"+-.") && is_clean(authority, b"-._:[]")
}

/// `record`: how many of the webhook's last calls are kept to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// 0: none.
    pub events: u32,
}

impl RecordConfig {
    /// Most records of a webhook: a list reads all of them.
    pub const EVENTS_MAX: u32 = 10_000;

    fn read(value: &Value) -> Result<RecordConfig, ModelError> {
        let mut fields = Fields::of(value, "record", &RECORD)?;
        let events = fields.integer("events")?.ok_or_else(|| fields.missing("events"))?;
        fields.finish_strict()?;
        Ok(RecordConfig { events })
    }

    fn to_value(self) -> Value {
        json!({"events": self.events})
    }
}

/// Reads `allowedNetworks`; `None` for a value that is not a list of strings.
fn networks(value: &Value) -> Option<Result<Vec<IpNet>, ModelError>> {
    let list = value.as_array().filter(|list| (1..=LIST_MAX).contains(&list.len()))?;
    let texts: Option<Vec<&str>> = list.iter().map(|value| text(value, &(1..=NAME_CHARS_MAX))).collect();
    let network =
        |text: &str| text.parse().map_err(|error: String| ModelError::new("allowedNetworks", error));
    Some(texts?.into_iter().map(network).collect())
}

impl WebhookOptions {
    /// The rows of the options, in the order in which they are shown.
    pub(super) const ROWS: [FieldSpec; 8] = rows! {
        "methods": Words(&words(&METHODS)), nullable =>
            "Methods that are let in; others get a 405. null: all. HEAD and OPTIONS are answered in any case.";
        "allowedNetworks": Texts { least: 1, most: LIST_MAX, things: "networks such as 192.0.2.0/24" }, nullable =>
            "Addresses and networks that calls may come from; others get a 403. null: any.";
        "auth": Schema("Auth"), nullable =>
            "The credential that every call must carry, besides basic authentication; others get a 401.";
        "deduplicate": Object(&DEDUPLICATE), nullable => "Calls with the same key trigger once.";
        "responseBody": Object(&RESPONSE_BODY), nullable =>
            "Sent in place of {\"success\":true} to a caller that does not wait.";
        "cors": Either(&[
            Boolean,
            Texts { least: 1, most: LIST_MAX, things: "origins such as https://example.org" },
        ]), nullable => "CORS headers for any origin, none, or those of a list. null: as the server's setting says.";
        "rawBody": Boolean, or_flag(false) =>
            "Payloads hold the body's bytes as they were received, in base64, as data.rawBody.";
        "record": Object(&RECORD), nullable => "Last calls that are kept. null: as the server's setting says.";
    };

    /// Takes over the options that a body names; `null` switches one off.
    pub(super) fn read(&mut self, fields: &mut Fields<'_>) -> Result<(), ModelError> {
        fn set<T>(
            fields: &mut Fields<'_>,
            name: &'static str,
            option: &mut Option<T>,
            read: impl FnOnce(&Value, Option<&T>) -> Result<Option<T>, ModelError>,
        ) -> Result<(), ModelError> {
            if let Some(value) = fields.value(name) {
                *option = match value {
                    Value::Null => None,
                    value => Some(read(value, option.as_ref())?.ok_or_else(|| fields.must_be(name))?),
                };
            }
            Ok(())
        }
        set(fields, "methods", &mut self.methods, |value, _| Ok(MethodSet::read(value)))?;
        set(fields, "allowedNetworks", &mut self.allowed_networks, |value, _| networks(value).transpose())?;
        set(fields, "auth", &mut self.auth, |value, before| AuthConfig::read(value, before).map(Some))?;
        set(fields, "deduplicate", &mut self.deduplicate, |value, _| {
            DeduplicateConfig::read(value).map(Some)
        })?;
        set(fields, "responseBody", &mut self.response_body, |value, _| {
            ResponseBodyConfig::read(value).map(Some)
        })?;
        set(fields, "cors", &mut self.cors, |value, _| Ok(CorsConfig::read(value)))?;
        set(fields, "record", &mut self.record, |value, _| RecordConfig::read(value).map(Some))?;
        if let Some(raw_body) = fields.boolean("rawBody")? {
            self.raw_body = raw_body;
        }
        Ok(())
    }

    /// Checks what depends on other fields of the webhook.
    pub(super) fn check(&self, is_websocket: bool, has_basic: bool) -> Result<(), ModelError> {
        let http_only = [
            ("methods", self.methods.is_some(), "an upgrade is always a GET"),
            ("deduplicate", self.deduplicate.is_some(), "its messages carry no key"),
            ("responseBody", self.response_body.is_some(), "an upgrade has no body"),
            ("rawBody", self.raw_body, "its messages are whole already"),
        ];
        if let Some((field, _, why)) = http_only.iter().find(|(_, is_set, _)| is_websocket && *is_set) {
            return Err(ModelError::new(*field, format!("must be off on a WebSocket webhook: {why}")));
        }
        if has_basic && self.auth.as_ref().is_some_and(AuthConfig::reads_authorization) {
            return Err(ModelError::new(
                "auth",
                "must not read the header Authorization, which basic authentication reads: a call has one",
            ));
        }
        Ok(())
    }

    /// Adds every option, `null` or `false` where it is off; secrets are masked or in clear.
    pub(super) fn show(&self, shown: &mut Map<String, Value>, masked: bool) {
        let networks = self
            .allowed_networks
            .as_ref()
            .map(|networks| networks.iter().map(ToString::to_string).collect::<Vec<_>>());
        let values = [
            self.methods.map(|methods| methods.names().collect()),
            networks.map(Value::from),
            self.auth.as_ref().map(|auth| auth.to_value(masked)),
            self.deduplicate.as_ref().map(DeduplicateConfig::to_value),
            self.response_body.as_ref().map(ResponseBodyConfig::to_value),
            self.cors.as_ref().map(CorsConfig::to_value),
            Some(Value::from(self.raw_body)),
            self.record.map(RecordConfig::to_value),
        ];
        for (row, value) in Self::ROWS.iter().zip(values) {
            shown.insert(row.name.to_owned(), value.unwrap_or(Value::Null));
        }
    }

    /// Returns the options that are on as the store keeps them; `None` if all are off.
    pub(super) fn to_stored(&self) -> Option<Value> {
        if *self == WebhookOptions::default() {
            return None;
        }
        let mut stored = Map::new();
        self.show(&mut stored, false);
        stored.retain(|_, value| !value.is_null());
        Some(Value::Object(stored))
    }

    /// Reads what [`WebhookOptions::to_stored`] returned.
    pub(super) fn from_stored(stored: &Value) -> Result<WebhookOptions, ModelError> {
        let mut options = WebhookOptions::default();
        let mut fields = Fields::of(stored, "options", &STORED_OPTIONS)?;
        options.read(&mut fields)?;
        fields.finish_strict()?;
        Ok(options)
    }
}

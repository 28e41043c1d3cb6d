//! The configurations of the nodes that deliver a trigger elsewhere (section 9).

use serde_json::Value;

use super::error::ModelError;
use super::fields::Fields;
use super::signature::{Secrets, is_field_name};
use super::{NAME_CHARS_MAX, TEXT_CHARS_MAX};

/// `HttpForwardNode`: POST of the payload to a URL.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpForwardConfig {
    /// `http://` or `https://`, with a host.
    pub url: String,
    /// Headers of its own, names as written.
    pub headers: Vec<(String, String)>,
    /// How long one attempt may take.
    pub timeout_seconds: u32,
    /// When to try again.
    pub retry: Retry,
    /// Signs each attempt as Standard Webhooks says; empty for none.
    pub secret: Option<Secrets>,
}

/// When a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// How often it is tried in all; `None` until the retention ends.
    pub attempts: Option<u32>,
    /// The first pause in seconds; each further one is twice as long, up to [`Retry::BACKOFF_SECONDS_MAX`].
    pub backoff_seconds: f64,
}

impl Retry {
    /// Most attempts that can be asked for.
    pub const ATTEMPTS_MAX: u32 = 1_000;
    /// Longest pause between two attempts (section 9).
    pub const BACKOFF_SECONDS_MAX: f64 = 300.0;
    /// Shortest first pause: a millisecond, the tick of the engine's timers.
    pub const BACKOFF_SECONDS_MIN: f64 = 0.001;

    fn read(value: &Value, path: String) -> Result<Retry, ModelError> {
        let mut fields = Fields::of(value, path)?;
        let retry = Retry {
            attempts: fields.integer("attempts", 1..=Self::ATTEMPTS_MAX)?,
            backoff_seconds: fields
                .number("backoffSeconds", Self::BACKOFF_SECONDS_MIN..=Self::BACKOFF_SECONDS_MAX)?
                .unwrap_or(Retry::default().backoff_seconds),
        };
        fields.finish_strict("retry")?;
        Ok(retry)
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: None, backoff_seconds: 1.0 }
    }
}

impl HttpForwardConfig {
    /// Default of `timeoutSeconds`.
    pub const TIMEOUT_SECONDS_DEFAULT: u32 = 30;
    /// Longest `timeoutSeconds`: an attempt holds a connection.
    pub const TIMEOUT_SECONDS_MAX: u32 = 3_600;
    /// Most headers: as many as a request's head may have (section 4).
    pub const HEADERS_MAX: usize = 100;

    pub(super) fn read(
        value: &Value,
        path: &str,
        before: Option<&HttpForwardConfig>,
    ) -> Result<HttpForwardConfig, ModelError> {
        let mut fields = Fields::of(value, path)?;
        let url = fields.required_string("url", 1..=TEXT_CHARS_MAX)?;
        if !is_http_url(&url) {
            return Err(fields.error("url", "must be an http:// or https:// URL with a host"));
        }
        let mut headers = Vec::new();
        if let Some(object) = fields.object("headers")? {
            if object.len() > Self::HEADERS_MAX {
                return Err(
                    fields.error("headers", format!("must have at most {} fields", Self::HEADERS_MAX))
                );
            }
            for (name, value) in object {
                let path = format!("headers.{name}");
                if !is_field_name(name) {
                    return Err(fields.error(&path, "must be named as an HTTP header can be"));
                }
                let value = value
                    .as_str()
                    .filter(|v| v.len() <= TEXT_CHARS_MAX && v.bytes().all(is_field_byte))
                    .ok_or_else(|| fields.error(&path, "must be a string without control characters"))?;
                headers.push((name.clone(), value.to_owned()));
            }
        }
        let timeout_seconds = fields
            .integer("timeoutSeconds", 1..=Self::TIMEOUT_SECONDS_MAX)?
            .unwrap_or(Self::TIMEOUT_SECONDS_DEFAULT);
        let retry = match fields.value("retry") {
            Some(value) => Retry::read(value, fields.path_of("retry"))?,
            None => Retry::default(),
        };
        let secret = match fields.value("secret") {
            None | Some(Value::Null) => None,
            Some(value) => Some(Secrets::read(
                value,
                &fields.path_of("secret"),
                before.and_then(|before| before.secret.as_ref()),
            )?),
        };
        fields.finish_strict("the config of an HttpForwardNode")?;
        Ok(HttpForwardConfig { url, headers, timeout_seconds, retry, secret })
    }
}

/// `WorkerNode`: hand the trigger to an attached worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// How long a worker may take to ack.
    pub ack_timeout_seconds: u32,
    /// Most triggers that one worker holds at a time, whatever its credit.
    pub max_in_flight: u32,
}

impl WorkerConfig {
    /// Longest `ackTimeoutSeconds`: the default retention, a day.
    pub const ACK_TIMEOUT_SECONDS_MAX: u32 = 86_400;
    /// Largest `maxInFlight`.
    pub const MAX_IN_FLIGHT_MAX: u32 = 1_000_000;

    pub(super) fn read(value: &Value, path: &str) -> Result<WorkerConfig, ModelError> {
        let mut fields = Fields::of(value, path)?;
        let default = WorkerConfig::default();
        let config = WorkerConfig {
            ack_timeout_seconds: fields
                .integer("ackTimeoutSeconds", 1..=Self::ACK_TIMEOUT_SECONDS_MAX)?
                .unwrap_or(default.ack_timeout_seconds),
            max_in_flight: fields
                .integer("maxInFlight", 1..=Self::MAX_IN_FLIGHT_MAX)?
                .unwrap_or(default.max_in_flight),
        };
        fields.finish_strict("the config of a WorkerNode")?;
        Ok(config)
    }
}

impl Default for WorkerConfig {
    fn default() -> WorkerConfig {
        WorkerConfig { ack_timeout_seconds: 30, max_in_flight: 1_000 }
    }
}

/// `NatsNode`: publish to JetStream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsConfig {
    /// Template of the subject; `None` for `tidegate.<applicationId>.<webhookId>`.
    pub subject: Option<String>,
    /// The stream that must take it, where it is named.
    pub stream: Option<String>,
}

impl NatsConfig {
    pub(super) fn read(value: &Value, path: &str) -> Result<NatsConfig, ModelError> {
        let mut fields = Fields::of(value, path)?;
        let subject = fields.string("subject", 1..=TEXT_CHARS_MAX)?;
        let stream = fields.string("stream", 1..=NAME_CHARS_MAX)?;
        // NATS: a stream's name holds no white space, period, asterisk, greater-than or path separator.
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
        if stream.as_deref().is_some_and(|name| name.contains(is_bad)) {
            return Err(
                fields.error("stream", "must be the name of a stream: no space, `.`, `*`, `>`, `/` or `\\`")
            );
        }
        fields.finish_strict("the config of a NatsNode")?;
        Ok(NatsConfig { subject, stream })
    }
}

/// Whether a URL can be dialled: a scheme that is spoken here, a host, and nothing that could split a request.
fn is_http_url(url: &str) -> bool {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        url.get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme))
            .map(|_| &url[scheme.len()..])
    });
    let Some(rest) = rest else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    !host.is_empty() && !host.starts_with(':') && url.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

/// RFC 9110, section 5.5: what a field's value may hold.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

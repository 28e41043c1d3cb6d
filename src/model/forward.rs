//! The configurations of the nodes that deliver a trigger elsewhere
//! ([deliveries](crate::guide::deliveries#httpforwardnode)).

use serde_json::Value;

use super::common::TEXT_CHARS_MAX;
use super::error::ModelError;
use super::fields::{Fields, word_of};
use super::signature::{SECRET, Secrets, is_field_name};
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows, words};

/// The fields of an `HttpForwardNode`'s config.
pub(super) static HTTP_FORWARD: ObjectSpec = ObjectSpec::new(
    "the config of an HttpForwardNode",
    &[
        &rows! {
            "url": text(1, TEXT_CHARS_MAX), required =>
                "A template; scheme, host and port stand in the text. A 2xx is done, anything else is tried again.";
            "method": Word(&words(&FORWARD_METHODS)), or_text("POST") => "";
        },
        &[HEADERS],
        &rows! {
            "body": text(0, HttpForwardConfig::BODY_CHARS_MAX), or_text("payload") =>
                "payload: the trigger as JSON; raw: the caller's body; or a template.";
            "timeoutSeconds": integer(1, HttpForwardConfig::TIMEOUT_SECONDS_MAX), or_number(30) => "Of one attempt.";
            "retry": Object(&RETRY) => "When a failed delivery is tried again.";
            "maxInFlight": integer(1, HttpForwardConfig::MAX_IN_FLIGHT_MAX), or_number(HttpForwardConfig::MAX_IN_FLIGHT_DEFAULT) =>
                "Requests under way.";
            "ordered": Boolean, or_flag(false) => "One request at a time for each key.";
            "orderKey": text(0, TEXT_CHARS_MAX) => "A template, with ordered alone. Empty: one order for all.";
            "requestsPerSecond": Number { least: HttpForwardConfig::REQUESTS_PER_SECOND_MIN, most: HttpForwardConfig::REQUESTS_PER_SECOND_MAX }, nullable =>
                "null: no limit.";
        },
        &[FieldSpec {
            help: "Signs each request as Standard Webhooks says. Shown as ***; a PATCH with *** keeps it.",
            ..SECRET
        }
        .nullable()],
    ],
);

static RETRY: ObjectSpec = ObjectSpec::new(
    "retry",
    &[&rows! {
        "attempts": integer(1, Retry::ATTEMPTS_MAX) => "In all. Missing: until the retention ends.";
        "backoffSeconds": Number { least: Retry::BACKOFF_SECONDS_MIN, most: Retry::BACKOFF_SECONDS_MAX }, or_number(1) =>
            "First pause, doubled each time, up to 300.";
    }],
);

/// The fields of a `WorkerNode`'s config.
pub(super) static WORKER: ObjectSpec = ObjectSpec::new(
    "the config of a WorkerNode",
    &[&rows! {
        "ackTimeoutSeconds": integer(1, WorkerConfig::ACK_TIMEOUT_SECONDS_MAX), or_number(30) =>
            "Time for an ack; then another worker gets the trigger.";
        "maxInFlight": integer(1, WorkerConfig::MAX_IN_FLIGHT_MAX), or_number(1_000) =>
            "Triggers that one worker holds.";
    }],
);

/// Headers of a node's own.
pub(super) const HEADERS: FieldSpec = FieldSpec::new(
    "headers",
    FieldKind::TextMap { most: HttpForwardConfig::HEADERS_MAX },
    "Names, and templates of values.",
);

/// `HttpForwardNode`: a request to a URL for each trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpForwardConfig {
    /// Template of the target: `http://` or `https://`, with a host that no template is part of.
    pub url: String,
    /// Method of the request.
    pub method: ForwardMethod,
    /// Headers of its own: names as written, and templates of their values.
    pub headers: Vec<(String, String)>,
    /// Body of the request.
    pub body: ForwardBody,
    /// How long one attempt may take.
    pub timeout_seconds: u32,
    /// When to try again.
    pub retry: Retry,
    /// Most requests that are under way at a time.
    pub max_in_flight: u32,
    /// Template of the key that requests with the same value of which are sent one at a time; `None`: in any order.
    pub order_key: Option<String>,
    /// Most requests that are sent in a second.
    pub requests_per_second: Option<f64>,
    /// Signs each attempt as Standard Webhooks says; empty for none.
    pub secret: Option<Secrets>,
}

/// Method of a request to a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardMethod {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

/// The words of [`ForwardMethod`].
pub(crate) const FORWARD_METHODS: [(&str, ForwardMethod); 5] = [
    ("GET", ForwardMethod::Get),
    ("POST", ForwardMethod::Post),
    ("PUT", ForwardMethod::Put),
    ("PATCH", ForwardMethod::Patch),
    ("DELETE", ForwardMethod::Delete),
];

impl ForwardMethod {
    /// The method as a request has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&FORWARD_METHODS, self)
    }
}

/// Body of a request to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardBody {
    /// The payload, as JSON.
    #[default]
    Payload,
    /// The caller's body as it was received, with its `Content-Type`.
    Raw,
    /// The output of a template.
    Template(String),
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
    /// Longest pause between two attempts ([deliveries](crate::guide::deliveries#attempts)).
    pub const BACKOFF_SECONDS_MAX: f64 = 300.0;
    /// Shortest first pause: a millisecond, the tick of the engine's timers.
    pub const BACKOFF_SECONDS_MIN: f64 = 0.001;

    fn read(value: &Value, path: String) -> Result<Retry, ModelError> {
        let mut fields = Fields::of(value, path, &RETRY)?;
        let retry = Retry {
            attempts: fields.integer("attempts")?,
            backoff_seconds: fields.number("backoffSeconds")?.unwrap_or(Retry::default().backoff_seconds),
        };
        fields.finish_strict()?;
        Ok(retry)
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: None, backoff_seconds: 1.0 }
    }
}

impl HttpForwardConfig {
    /// Longest `timeoutSeconds`: an attempt holds a connection.
    pub const TIMEOUT_SECONDS_MAX: u32 = 3_600;
    /// Most headers: as many as a request's head may have ([limits and
    /// refusals](crate::guide::limits_and_refusals#limits)).
    pub const HEADERS_MAX: usize = 100;
    /// Default of `maxInFlight`.
    pub const MAX_IN_FLIGHT_DEFAULT: u32 = 100;
    /// Largest `maxInFlight`: each one is a connection, or a stream of one.
    pub const MAX_IN_FLIGHT_MAX: u32 = 10_000;
    /// Largest `requestsPerSecond`.
    pub const REQUESTS_PER_SECOND_MAX: f64 = 100_000.0;
    /// Smallest `requestsPerSecond`: one in a quarter of an hour.
    pub const REQUESTS_PER_SECOND_MIN: f64 = 0.001;
    /// Longest template of a body: half of what a REST body may hold.
    const BODY_CHARS_MAX: usize = 1024 * 1024;

    pub(super) fn read(
        value: &Value,
        path: &str,
        before: Option<&HttpForwardConfig>,
    ) -> Result<HttpForwardConfig, ModelError> {
        let mut fields = Fields::of(value, path, &HTTP_FORWARD)?;
        let url = fields.required_string("url")?;
        check_url(&url).map_err(|must| fields.error("url", must))?;
        let method = fields.one_of("method", &FORWARD_METHODS)?.unwrap_or_default();
        let headers = read_headers(&mut fields, is_set_by_engine)?;
        let body = match fields.string("body")?.as_deref() {
            None | Some("payload") => ForwardBody::Payload,
            Some("raw") => ForwardBody::Raw,
            Some(template) => ForwardBody::Template(template.to_owned()),
        };
        let timeout_seconds = fields.integer_or_default("timeoutSeconds")?;
        let retry = match fields.value("retry") {
            Some(value) => Retry::read(value, fields.path_of("retry"))?,
            None => Retry::default(),
        };
        let max_in_flight = fields.integer_or_default("maxInFlight")?;
        let is_ordered = fields.boolean("ordered")?.unwrap_or(false);
        let order_key = fields.string("orderKey")?;
        if order_key.is_some() && !is_ordered {
            return Err(fields.error("orderKey", "must be left out where ordered is not true"));
        }
        let order_key = is_ordered.then(|| order_key.unwrap_or_default());
        let requests_per_second = fields.number("requestsPerSecond")?;
        let secret = match fields.value("secret") {
            None | Some(Value::Null) => None,
            Some(value) => Some(Secrets::read(
                value,
                &fields.path_of("secret"),
                before.and_then(|before| before.secret.as_ref()),
            )?),
        };
        fields.finish_strict()?;
        Ok(HttpForwardConfig {
            url,
            method,
            headers,
            body,
            timeout_seconds,
            retry,
            max_in_flight,
            order_key,
            requests_per_second,
            secret,
        })
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
        let mut fields = Fields::of(value, path, &WORKER)?;
        let config = WorkerConfig {
            ack_timeout_seconds: fields.integer_or_default("ackTimeoutSeconds")?,
            max_in_flight: fields.integer_or_default("maxInFlight")?,
        };
        fields.finish_strict()?;
        Ok(config)
    }
}

impl Default for WorkerConfig {
    fn default() -> WorkerConfig {
        WorkerConfig { ack_timeout_seconds: 30, max_in_flight: 1_000 }
    }
}

/// Reads `headers`: names, and templates of their values. Those that `is_reserved` names are refused.
pub(super) fn read_headers(
    fields: &mut Fields<'_>,
    is_reserved: fn(&str) -> bool,
) -> Result<Vec<(String, String)>, ModelError> {
    let mut headers = Vec::new();
    let Some(object) = fields.object("headers")? else { return Ok(headers) };
    if object.len() > HttpForwardConfig::HEADERS_MAX {
        return Err(fields.must_be("headers"));
    }
    for (name, value) in object {
        let path = format!("headers.{name}");
        if !is_field_name(name) {
            return Err(fields.error(&path, "must be named as an HTTP header can be"));
        }
        if is_reserved(name) {
            return Err(fields.error(&path, "must not be given: the engine sets it"));
        }
        let value = value
            .as_str()
            .filter(|v| v.len() <= TEXT_CHARS_MAX && v.bytes().all(is_field_byte))
            .ok_or_else(|| fields.error(&path, "must be a string without control characters"))?;
        headers.push((name.clone(), value.to_owned()));
    }
    Ok(headers)
}

/// Checks the template of a URL: a scheme that is spoken here, a host, and nothing that could split a request. The host
/// stands in the text, so that no payload chooses where requests go.
fn check_url(url: &str) -> Result<(), &'static str> {
    const MUST: &str = "must be an http:// or https:// URL with a host";
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        url.get(..scheme.len())
            .filter(|start| start.eq_ignore_ascii_case(scheme))
            .map(|_| &url[scheme.len()..])
    });
    let Some(rest) = rest else { return Err(MUST) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.contains(['{', '}']) {
        return Err("must have its host and port in the text: a template may stand behind the first / or ?");
    }
    if authority.contains('@') {
        return Err("must hold no credentials: an Authorization header can be given in headers");
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    if !is_host || (!is_bracketed && host.contains(':')) || !port.is_none_or(is_port) {
        return Err(MUST);
    }
    if url.chars().any(char::is_control) || authority.chars().any(char::is_whitespace) {
        return Err(MUST);
    }
    Ok(())
}

/// Headers that a node does not set, in lower case: those of the connection and the framing (RFC 9110, 7.6.1), and the
/// engine's own.
const SET_BY_ENGINE: [&str; 14] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "tidegate-hops",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "http2-settings",
];

fn is_set_by_engine(name: &str) -> bool {
    let is_proxys = name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
    is_proxys || SET_BY_ENGINE.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// RFC 9110, section 5.5: what a field's value may hold.
fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

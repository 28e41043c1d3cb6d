//! The answers that do not come from a flow, and the frame around those that do.

use std::borrow::Cow;
use std::sync::Arc;

use super::framing::BodyFraming;
use crate::base::json::escape_into;
use crate::base::request_id::{REQUEST_ID_FIELD, RequestId};
use crate::http::encode::{self, content_length, end_of_head, field, has_body, status_line};
use crate::metrics::Outcome;
use crate::model::{MethodSet, ResponseBodyConfig};
use crate::reply::HttpReply;
use crate::trigger::ACCEPTED_CODINGS;

/// The fields that all responses to one request share.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The `date: …` line, CRLF included.
    pub date: &'a [u8],
    /// Whether the connection goes on after this response.
    pub keep_alive: bool,
    /// Whether the request was HTTP/1.0, which must be told that the connection stays.
    pub http10: bool,
    /// Whether the request was a HEAD: no body follows whatever the answer.
    pub head_only: bool,
    pub cors: Cors<'a>,
    /// `None`: requests have no ids.
    pub id: Option<RequestId<'a>>,
}

impl Frame<'_> {
    fn write_id(&self, out: &mut Vec<u8>) {
        if let Some(id) = &self.id {
            id.write_line(out);
        }
    }
}

/// The CORS fields of a response (Fetch standard, 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cors<'a> {
    /// None.
    Off,
    /// For any origin.
    Any,
    /// For the origin of the request, where it is among those that a webhook lists. Caches are told that the answer
    /// depends on it.
    Listed(Option<&'a [u8]>),
}

impl Cors<'_> {
    /// Appends the fields. `has_id`: the response has the id of its request, which scripts of the origin may read.
    pub fn write(self, out: &mut Vec<u8>, has_id: bool) {
        match self {
            Cors::Off => {}
            // Apart, so that each copies a known number of bytes.
            Cors::Any if has_id => out.extend_from_slice(CORS_LINES),
            Cors::Any => out.extend_from_slice(CORS_LINE),
            Cors::Listed(origin) => {
                if let Some(origin) = origin {
                    field(out, b"access-control-allow-origin", origin);
                    if has_id {
                        out.extend_from_slice(EXPOSE_LINE);
                    }
                }
                field(out, b"vary", b"Origin");
            }
        }
    }

    /// Whether the caller's origin may read the answer.
    fn allows(self) -> bool {
        matches!(self, Cors::Any | Cors::Listed(Some(_)))
    }
}

/// A credential that a caller must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    Basic,
    /// A header or a parameter of the webhook's own.
    ApiKey,
    /// A JSON Web Token.
    Bearer,
}

impl Credential {
    /// The challenge (RFC 9110, 11.6.1), of which every 401 must have one.
    fn challenge(self) -> &'static [u8] {
        match self {
            Credential::Basic => b"Basic realm=\"webhook\", charset=\"UTF-8\"",
            Credential::Bearer => b"Bearer realm=\"webhook\"",
            Credential::ApiKey => b"ApiKey realm=\"webhook\"",
        }
    }
}

/// An answer of the engine's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// `{"success":true}` with the webhook's status.
    Success(u16),
    /// `{"success":true}` although the webhook is switched off.
    Disabled,
    /// The listener lives: `GET` or `HEAD` of `/healthz`.
    Healthy,
    /// New requests are taken: `GET` or `HEAD` of `/readyz`.
    Ready,
    /// No webhook has this path.
    NotFound,
    /// Not one of these methods; `None`: not one that any webhook takes.
    MethodNotAllowed(Option<MethodSet>),
    /// The caller's address is in none of the webhook's networks.
    AddressNotAllowed,
    /// An OPTIONS request: a CORS preflight, or the handshake of CloudEvents.
    Options(Options<'a>),
    /// Over the rate; seconds until a token is back.
    OverRate(u32),
    /// A credential is missing or wrong.
    Unauthorized(Credential),
    /// The body is over the limit.
    TooLarge,
    /// As many calls at a time as the webhook may have.
    OverConcurrency,
    /// A plain request to a WebSocket webhook.
    UpgradeRequired,
    /// An upgrade to a version of the protocol that there is not (RFC 6455, 4.4).
    UpgradeVersion,
    /// No access token, or a wrong one, on the workers' listener.
    TokenRequired,
    /// A path that the workers' listener does not have.
    WorkerPath,
    /// A worker's flow that there is not.
    FlowNotFound,
    /// The workers' listener takes GET alone.
    GetOnly,
    /// The process is at one of its own limits, named.
    Busy(&'static str),
    /// No reply came in time.
    ReplyTimeout,
    /// The reply could not be sent to the caller; the reason.
    BadReply(&'static str),
    /// An upgrade on a webhook that takes none, or one that breaks RFC 6455.
    UpgradeRefused(&'a str),
    /// The body's content coding is unknown or broken: 415 or 400.
    Coding(u16, &'a str),
    /// A verification or a signature failed.
    Unverified(u16, Cow<'a, str>),
    /// A verification request of a provider, answered without a trigger.
    Challenge { status: u16, content_type: &'static str, body: Cow<'a, [u8]> },
    /// The webhook's answer in the form that its provider wants.
    Plain { status: u16, content_type: &'static str, body: Cow<'a, [u8]> },
    /// A call whose key was taken: this answer, marked as that of a repeat.
    Duplicate(Box<Answer<'a>>),
    /// The webhook's own answer in place of `{"success":true}`, with this status.
    Configured(u16, Arc<ResponseBodyConfig>),
    /// Any other refusal: what it counts as, status and reason.
    Refused(Outcome, u16, &'a str),
}

/// The parts of an OPTIONS request that its answer depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// The methods that the webhook takes; `None`: all.
    pub methods: Option<MethodSet>,
    /// `Access-Control-Request-Headers`.
    pub asked_headers: Option<&'a [u8]>,
    /// The sender asks whether it may deliver here.
    pub webhook: Option<Handshake<'a>>,
}

/// The validation request of a sender (CloudEvents, HTTP 1.1 Web Hooks for Event Delivery, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// `WebHook-Request-Origin`.
    pub origin: &'a [u8],
    /// None: no limit.
    pub requests_per_minute: Option<u64>,
}

/// The methods of webhooks, for `Allow` and CORS.
const METHODS: &[u8] = b"DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
/// The one status beside 204 and 304 that has no body.
const RESET_CONTENT: u16 = 205;
/// The status of a body in a coding that is not taken; one that is not what its coding says has another.
const UNSUPPORTED_MEDIA_TYPE: u16 = 415;
/// Seconds a browser may remember a preflight: a day, which browsers cut to their own maximum.
const PREFLIGHT_SECONDS: &[u8] = b"86400";
/// Seconds to come back after, where the engine is full and cannot know better.
const BUSY_RETRY_SECONDS: u32 = 1;
/// The most common answer by far, up to its date.
const SUCCESS_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n";
/// The CORS field that is on every response (`ingress.cors`).
const CORS_LINE: &[u8] = b"access-control-allow-origin: *\r\n";
/// Fetch standard, 3.3.3: the id of the request is a field that scripts may read.
const EXPOSE_LINE: &[u8] = b"access-control-expose-headers: x-request-id\r\n";
/// Both.
const CORS_LINES: &[u8] =
    b"access-control-allow-origin: *\r\naccess-control-expose-headers: x-request-id\r\n";
/// Tells a sender that its call was a repeat.
const DUPLICATE_LINE: &[u8] = b"tidegate-duplicate: true\r\n";
const SUCCESS_BODY: &[u8] = b"{\"success\":true}";
/// The most common refusal, around its date and the seconds of its `Retry-After`: a flood is to cost no more than what it
/// is kept from.
const OVER_RATE: [&[u8]; 3] = [
    b"HTTP/1.1 429 Too Many Requests\r\n",
    b"retry-after: ",
    b"\r\ncontent-type: application/json\r\ncontent-length: 46\r\n\r\n{\"error\":\"Over rate limit, request throttled\"}",
];

impl Answer<'_> {
    /// The status that the caller sees.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Answer::Success(status)
            | Answer::Configured(status, _)
            | Answer::Refused(_, status, _)
            | Answer::Coding(status, _)
            | Answer::Unverified(status, _)
            | Answer::Challenge { status, .. }
            | Answer::Plain { status, .. } => *status,
            Answer::Duplicate(answer) => answer.status(),
            Answer::UpgradeRefused(_) => 400,
            Answer::Healthy | Answer::Ready | Answer::Disabled => 200,
            Answer::NotFound | Answer::WorkerPath | Answer::FlowNotFound => 404,
            Answer::MethodNotAllowed(_) | Answer::GetOnly => 405,
            Answer::AddressNotAllowed => 403,
            Answer::Options(_) => 204,
            Answer::OverRate(_) | Answer::OverConcurrency => 429,
            Answer::Unauthorized(_) | Answer::TokenRequired => 401,
            Answer::TooLarge => 413,
            Answer::UpgradeRequired | Answer::UpgradeVersion => 426,
            Answer::Busy(_) => 503,
            Answer::ReplyTimeout => 504,
            Answer::BadReply(_) => 502,
        }
    }

    /// The outcome that it is counted under.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Answer::Success(_) | Answer::Configured(..) => Outcome::Ok,
            Answer::Disabled => Outcome::Disabled,
            Answer::Healthy | Answer::Ready => Outcome::Health,
            Answer::NotFound | Answer::WorkerPath | Answer::FlowNotFound => Outcome::NotFound,
            Answer::MethodNotAllowed(_) | Answer::GetOnly => Outcome::Method,
            Answer::AddressNotAllowed => Outcome::Address,
            Answer::Duplicate(_) => Outcome::Duplicate,
            Answer::Options(_) => Outcome::Preflight,
            Answer::OverRate(_) => Outcome::ThrottledRate,
            Answer::Unauthorized(_) | Answer::TokenRequired => Outcome::Unauthorized,
            Answer::TooLarge => Outcome::TooLarge,
            Answer::OverConcurrency => Outcome::ThrottledConcurrency,
            Answer::UpgradeRequired | Answer::UpgradeVersion | Answer::UpgradeRefused(_) => Outcome::Upgrade,
            Answer::Busy(_) => Outcome::Overloaded,
            Answer::ReplyTimeout => Outcome::Timeout,
            Answer::BadReply(_) => Outcome::BadReply,
            Answer::Unverified(..) => Outcome::Verification,
            Answer::Coding(..) => Outcome::Coding,
            Answer::Refused(outcome, ..) => *outcome,
            Answer::Challenge { status: 200..300, .. } => Outcome::Challenge,
            Answer::Challenge { .. } => Outcome::Verification,
            Answer::Plain { .. } => Outcome::Ok,
        }
    }

    /// Why it is a refusal, in words for the caller and for who looks at a webhook's last requests.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Answer::Success(_) | Answer::Disabled | Answer::Options(_) => None,
            Answer::Healthy | Answer::Ready => None,
            Answer::Challenge { .. } | Answer::Plain { .. } => None,
            Answer::Configured(..) | Answer::Duplicate(_) => None,
            Answer::NotFound => Some("Webhook not found"),
            Answer::MethodNotAllowed(_) => Some("Method not allowed"),
            Answer::AddressNotAllowed => Some("Address not allowed"),
            Answer::OverRate(_) => Some("Over rate limit, request throttled"),
            Answer::OverConcurrency => Some("Over concurrency limit, request throttled"),
            Answer::Unauthorized(_) => Some("Unauthorized"),
            Answer::TooLarge => Some("Content too large"),
            Answer::UpgradeRequired => Some("This URL takes WebSocket connections only"),
            Answer::UpgradeVersion => Some("Sec-WebSocket-Version must be 13"),
            Answer::TokenRequired => Some("Authorization must be Bearer and the access token"),
            Answer::WorkerPath => Some("Workers attach at /flows/<flowId>/worker"),
            Answer::FlowNotFound => Some("Flow not found"),
            Answer::GetOnly => Some("Method not allowed"),
            Answer::ReplyTimeout => Some("Time out waiting for workflow reply"),
            Answer::Busy(reason) | Answer::BadReply(reason) => Some(reason),
            Answer::UpgradeRefused(reason) | Answer::Coding(_, reason) | Answer::Refused(_, _, reason) => {
                Some(reason)
            }
            Answer::Unverified(_, reason) => Some(reason),
        }
    }
}

/// Writes a whole response.
pub fn answer(out: &mut Vec<u8>, answer: &Answer<'_>, frame: &Frame<'_>) {
    if matches!(answer, Answer::Success(200)) && frame.keep_alive && !frame.http10 && !frame.head_only {
        out.extend_from_slice(SUCCESS_HEAD);
        frame.cors.write(out, frame.id.is_some());
        frame.write_id(out);
        out.extend_from_slice(frame.date);
        end_of_head(out);
        out.extend_from_slice(SUCCESS_BODY);
        return;
    }
    if let Answer::OverRate(seconds) = answer
        && frame.cors == Cors::Any
        && frame.keep_alive
        && !frame.http10
        && !frame.head_only
    {
        let [status, before, after] = OVER_RATE;
        out.extend_from_slice(status);
        out.extend_from_slice(frame.date);
        frame.write_id(out);
        frame.cors.write(out, frame.id.is_some());
        out.extend_from_slice(before);
        out.extend_from_slice(itoa::Buffer::new().format(*seconds).as_bytes());
        out.extend_from_slice(after);
        return;
    }
    let status = answer.status();
    // RFC 9110, 7.8: a sender of Upgrade names it as an option of the connection, too.
    let is_upgrade = matches!(answer, Answer::UpgradeRequired | Answer::UpgradeVersion);
    begin(out, status, frame, is_upgrade);
    let answer = match answer {
        Answer::Duplicate(answer) => {
            out.extend_from_slice(DUPLICATE_LINE);
            &**answer
        }
        answer => answer,
    };
    match answer {
        Answer::MethodNotAllowed(methods) => write_methods(out, b"allow", *methods),
        // RFC 9110, 15.5.16: which codings would have been taken.
        Answer::Coding(UNSUPPORTED_MEDIA_TYPE, _) => {
            field(out, b"accept-encoding", ACCEPTED_CODINGS.as_bytes())
        }
        Answer::GetOnly => field(out, b"allow", b"GET"),
        Answer::TokenRequired => field(out, b"www-authenticate", b"Bearer realm=\"tidegate\""),
        Answer::Options(options) => write_options(out, options, frame),
        Answer::OverRate(seconds) => retry_after(out, *seconds),
        Answer::Busy(_) | Answer::OverConcurrency => retry_after(out, BUSY_RETRY_SECONDS),
        Answer::Unauthorized(credential) => field(out, b"www-authenticate", credential.challenge()),
        Answer::UpgradeRequired | Answer::UpgradeVersion => {
            field(out, b"upgrade", b"websocket");
            field(out, b"sec-websocket-version", b"13");
        }
        _ => {}
    }
    match answer {
        Answer::Plain { content_type, body, .. } | Answer::Challenge { content_type, body, .. } => {
            reply_guards(out);
            body_with_type(out, status, content_type.as_bytes(), &[body], frame);
        }
        Answer::Configured(_, configured) => {
            reply_guards(out);
            let ResponseBodyConfig { content_type, body } = &**configured;
            body_with_type(out, status, content_type.as_bytes(), &[body.as_bytes()], frame);
        }
        _ => match answer.refusal() {
            Some(reason) if needs_no_escape(reason) => {
                let body = [b"{\"error\":\"", reason.as_bytes(), b"\"}"];
                body_with_type(out, status, b"application/json", &body, frame);
            }
            Some(reason) => {
                let mut body = Vec::with_capacity(reason.len() + 16);
                body.extend_from_slice(b"{\"error\":");
                escape_into(&mut body, reason);
                body.push(b'}');
                body_with_type(out, status, b"application/json", &[&body], frame);
            }
            None if matches!(answer, Answer::Healthy) => {
                body_with_type(out, status, b"application/json", &[b"{\"status\":\"ok\"}"], frame);
            }
            None if matches!(answer, Answer::Ready) => {
                body_with_type(out, status, b"application/json", &[b"{\"status\":\"ready\"}"], frame);
            }
            None => body_with_type(out, status, b"application/json", &[SUCCESS_BODY], frame),
        },
    }
}

/// Writes the response that a flow's reply makes ([replies and templates](crate::guide::replies_and_templates)).
pub fn reply(out: &mut Vec<u8>, reply: &HttpReply<'_>, frame: &Frame<'_>) {
    reply_fields(out, reply, frame);
    body_with_type(out, reply.status, reply.content_type.as_bytes(), &[reply.body], frame);
}

fn reply_fields(out: &mut Vec<u8>, reply: &HttpReply<'_>, frame: &Frame<'_>) {
    let has = |wanted: &str| reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let cors = if has("access-control-allow-origin") { Cors::Off } else { frame.cors };
    let id = frame.id.filter(|_| !has(REQUEST_ID_FIELD));
    begin(out, reply.status, &Frame { cors, id, ..*frame }, false);
    for (name, value) in &reply.headers {
        field(out, name.as_bytes(), value.as_bytes());
    }
    reply_guards(out);
}

/// Whether a response with this status can be sent before its body is known.
#[must_use]
pub fn can_stream(status: u16) -> bool {
    has_body(status) && status != RESET_CONTENT
}

/// Writes the head of the response that a flow's reply makes whose body follows.
pub fn reply_head(out: &mut Vec<u8>, reply: &HttpReply<'_>, frame: &Frame<'_>, framing: BodyFraming) {
    reply_fields(out, reply, frame);
    field(out, b"content-type", reply.content_type.as_bytes());
    match framing {
        BodyFraming::Length(length) => {
            field(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        BodyFraming::Chunked => field(out, b"transfer-encoding", b"chunked"),
        BodyFraming::UntilClose => {}
    }
    end_of_head(out);
}

/// The fields that keep a browser from taking a reply for something else; a reply cannot override them.
fn reply_guards(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"x-content-type-options: nosniff\r\ncontent-security-policy: default-src 'none'; sandbox\r\nx-xss-protection: 0\r\n",
    );
}

fn begin(out: &mut Vec<u8>, status: u16, frame: &Frame<'_>, is_upgrade: bool) {
    status_line(out, status);
    out.extend_from_slice(frame.date);
    let options: &[u8] = match (frame.keep_alive, frame.http10, is_upgrade) {
        (false, _, true) => b"close, upgrade",
        (false, _, false) => b"close",
        (true, true, true) => b"keep-alive, upgrade",
        (true, true, false) => b"keep-alive",
        (true, false, true) => b"upgrade",
        (true, false, false) => b"",
    };
    if !options.is_empty() {
        field(out, b"connection", options);
    }
    frame.write_id(out);
    frame.cors.write(out, frame.id.is_some());
}

/// Writes a list of methods. HEAD and OPTIONS are answered whatever the webhook takes.
fn write_methods(out: &mut Vec<u8>, name: &[u8], methods: Option<MethodSet>) {
    let Some(methods) = methods else { return field(out, name, METHODS) };
    let mut names: Vec<&str> = methods.names().chain(["HEAD", "OPTIONS"]).collect();
    names.sort_unstable();
    field(out, name, names.join(", ").as_bytes());
}

fn retry_after(out: &mut Vec<u8>, seconds: u32) {
    field(out, b"retry-after", itoa::Buffer::new().format(seconds).as_bytes());
}

/// CloudEvents: the sender may deliver, so many requests a minute. Fetch standard, CORS-preflight: the methods, and the
/// header names that were asked for, if they are names.
fn write_options(out: &mut Vec<u8>, options: &Options<'_>, frame: &Frame<'_>) {
    write_methods(out, b"allow", options.methods);
    if let Some(webhook) = options.webhook {
        field(out, b"webhook-allowed-origin", webhook.origin);
        match webhook.requests_per_minute {
            Some(rate) => field(out, b"webhook-allowed-rate", itoa::Buffer::new().format(rate).as_bytes()),
            None => field(out, b"webhook-allowed-rate", b"*"),
        }
    }
    if !frame.cors.allows() {
        return;
    }
    write_methods(out, b"access-control-allow-methods", options.methods);
    if let Some(asked) = options.asked_headers.filter(|asked| is_list_of_names(asked)) {
        field(out, b"access-control-allow-headers", asked);
        field(out, b"vary", b"Access-Control-Request-Headers");
    }
    field(out, b"access-control-max-age", PREFLIGHT_SECONDS);
}

/// Whether the members of a list are field names; empty ones do not count (RFC 9110, 5.6.1).
fn is_list_of_names(list: &[u8]) -> bool {
    let mut names = list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    names.clone().next().is_some() && names.all(encode::is_field_name)
}

/// Whether a text stands in JSON as it is.
fn needs_no_escape(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

fn body_with_type(out: &mut Vec<u8>, status: u16, content_type: &[u8], parts: &[&[u8]], frame: &Frame<'_>) {
    if status == RESET_CONTENT {
        // RFC 9110, 15.3.6: it ends with its head, and says so.
        content_length(out, 0);
        end_of_head(out);
        return;
    }
    if !has_body(status) {
        end_of_head(out);
        return;
    }
    field(out, b"content-type", content_type);
    content_length(out, parts.iter().map(|part| part.len()).sum());
    end_of_head(out);
    // RFC 9110, 8.6 and 9.3.2: the response to HEAD has the fields of the one to GET, and no body.
    if !frame.head_only {
        parts.iter().for_each(|part| out.extend_from_slice(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer<'_>, cors: Cors<'_>) -> String {
        let mut date = encode::DateField::new();
        let id = Some(RequestId::Given(b"an-id"));
        let frame = Frame { date: date.line(0), keep_alive: true, http10: false, head_only: false, cors, id };
        let mut out = Vec::new();
        super::answer(&mut out, answer, &frame);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_that_is_put_together_beforehand_is_what_it_would_be_otherwise() {
        for usual in [Answer::OverRate(1), Answer::OverRate(86_401)] {
            // Without CORS it goes the long way.
            let long = written(&usual, Cors::Off);
            let cors = str::from_utf8(CORS_LINES).unwrap();
            let behind_id = long.find("an-id\r\n").unwrap() + "an-id\r\n".len();
            let expected = format!("{}{cors}{}", &long[..behind_id], &long[behind_id..]);
            assert_eq!(written(&usual, Cors::Any), expected);
        }
    }

    #[test]
    fn the_cors_fields_are_those_of_any_origin_of_the_listed_one_or_none() {
        let lines = |cors| {
            let text = written(&Answer::Success(200), cors);
            let is_cors = |line: &&str| line.starts_with("access-control-") || line.starts_with("vary");
            text.lines().filter(is_cors).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(Cors::Off), [""; 0]);
        let exposed = "access-control-expose-headers: x-request-id";
        assert_eq!(lines(Cors::Any), ["access-control-allow-origin: *", exposed]);
        assert_eq!(lines(Cors::Listed(None)), ["vary: Origin"]);
        let origin = Cors::Listed(Some(b"https://example.org"));
        assert_eq!(
            lines(origin),
            ["access-control-allow-origin: https://example.org", exposed, "vary: Origin"]
        );
    }

    #[test]
    fn a_response_without_an_id_exposes_none() {
        for (cors, line) in [
            (Cors::Any, "access-control-allow-origin: *\r\n"),
            (
                Cors::Listed(Some(b"https://a.example")),
                "access-control-allow-origin: https://a.example\r\nvary: Origin\r\n",
            ),
        ] {
            let mut out = Vec::new();
            cors.write(&mut out, false);
            assert_eq!(out, line.as_bytes());
        }
    }

    #[test]
    fn a_reason_is_valid_json_whatever_is_in_it() {
        for reason in ["Bad request", "a \"quoted\" \\ one", "é\n\u{7f}", ""] {
            let text = written(&Answer::Refused(Outcome::Malformed, 400, reason), Cors::Any);
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let parsed: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(parsed, serde_json::json!({ "error": reason }));
            assert!(head.contains(&format!("content-length: {}", body.len())));
        }
    }
}

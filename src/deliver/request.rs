//! The request that an `HttpForwardNode` makes of a payload. Nothing is sent here.

use std::fmt;

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::base::id::Id;
use crate::base::request_id::{REQUEST_ID_FIELD, RequestId};
use crate::base::text::{hex_digits, hex_into};
use crate::base::trace::{TRACEPARENT_FIELD, TRACESTATE_BYTES_MAX, TRACESTATE_FIELD, TraceContext};
use crate::http::encode::is_field_value;
use crate::model::ForwardMethod;
use crate::registry::{BodySource, ForwardNode, Signing, TargetNode};
use crate::template::{Escape, OUTPUT_BYTES_MAX, RenderError, Template, Work};
use crate::trigger::Payload;

/// Field that counts how often a request was forwarded, by whichever Tidegate.
pub const HOPS_FIELD: &str = "tidegate-hops";
/// Most times that a request is forwarded: more is a circle ([deliveries](crate::guide::deliveries#attempts)).
pub const HOPS_MAX: u32 = 8;
/// Longest URL: what servers read of a request line at the most (Apache 8 KiB, nginx 32 KiB).
const URL_BYTES_MAX: usize = 32 * 1024;
/// Longest value of a header: as for a reply's.
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Longest order key: an identifier, not a document.
pub const ORDER_KEY_BYTES_MAX: usize = 1024;

const JSON: &[u8] = b"application/json";
const USER_AGENT: &str = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));

/// A request to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardRequest {
    pub method: ForwardMethod,
    /// In visible ASCII; it begins with the node's target.
    pub url: String,
    /// Names, and values that are valid.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

/// Why no request can be made of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It has been forwarded [`HOPS_MAX`] times.
    Loop,
    /// A template did not render: of which field, and why.
    Template(&'static str, RenderError),
    /// The secret, which a global makes, is not base64.
    Secret,
    /// The subject is none that a payload may choose: why.
    Subject(&'static str),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Loop => write!(f, "it was forwarded {HOPS_MAX} times: its requests go in a circle"),
            RequestError::Template(field, error) => write!(f, "{field}: {error}"),
            RequestError::Secret => f.write_str("secret: its template does not render base64"),
            RequestError::Subject(must) => write!(f, "subject: what its template renders {must}"),
        }
    }
}

impl std::error::Error for RequestError {}

/// Makes the request. `id` names the delivery, in every attempt the same; `unix_seconds` is the time of the attempt, and
/// `span` its span in the caller's trace.
///
/// # Errors
/// [`RequestError`].
pub fn request(
    node: &ForwardNode,
    payload: &Payload,
    id: &str,
    unix_seconds: u64,
    span: u64,
) -> Result<ForwardRequest, RequestError> {
    let hops = hops(payload) + 1;
    if hops > HOPS_MAX {
        return Err(RequestError::Loop);
    }
    let mut work = Work::of_event(payload.event.bytes().len());
    let url = url(node, payload, &mut work)?;
    let mut headers: Vec<(String, Vec<u8>)> = Vec::with_capacity(node.headers.len() + 6);
    for (name, value) in &node.headers {
        let text = render("headers", value, payload, HEADER_BYTES_MAX, &mut work)?;
        let value = text.trim_ascii();
        // As in a reply: a value that would break the head is left out.
        if is_field_value(value) {
            headers.push((name.clone(), value.to_vec()));
        }
    }
    let body = body(node, payload, &mut headers, &mut work)?;
    set_default(&mut headers, "user-agent", USER_AGENT.as_bytes());
    headers.push((HOPS_FIELD.to_owned(), hops.to_string().into_bytes()));
    headers.push(("webhook-id".to_owned(), id.as_bytes().to_vec()));
    pass_names(payload, span, &mut headers);
    match &node.signing {
        Signing::None => {}
        Signing::Unusable => return Err(RequestError::Secret),
        Signing::Keys(keys) => {
            let signatures: Vec<String> = keys.iter().map(|key| key.sign(id, unix_seconds, &body)).collect();
            headers.push(("webhook-timestamp".to_owned(), unix_seconds.to_string().into_bytes()));
            headers.push(("webhook-signature".to_owned(), signatures.join(" ").into_bytes()));
        }
    }
    Ok(ForwardRequest { method: node.method, url, headers, body })
}

/// Sets the names that the caller's request has elsewhere: its id, and its place in a trace. The node's own headers win.
fn pass_names(payload: &Payload, span: u64, headers: &mut Vec<(String, Vec<u8>)>) {
    if let Some(id) = payload.header(REQUEST_ID_FIELD)
        && RequestId::given(id.as_bytes()).is_some()
    {
        set_default(headers, REQUEST_ID_FIELD, id.as_bytes());
    }
    let Some(context) = payload.header(TRACEPARENT_FIELD) else { return };
    let Some(context) = TraceContext::parse(context.as_bytes()) else { return };
    set_default(headers, TRACEPARENT_FIELD, context.child(span).text().as_bytes());
    if let Some(state) = payload.header(TRACESTATE_FIELD)
        && state.len() <= TRACESTATE_BYTES_MAX
        && is_field_value(state.as_bytes())
    {
        set_default(headers, TRACESTATE_FIELD, state.as_bytes());
    }
}

/// Names the delivery of an event to a node: the same in every attempt, and another one for each node.
#[must_use]
pub fn delivery_id(event_id: u128, flow: Id, node: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&event_id.to_be_bytes());
    context.update(&flow.digits());
    context.update(node.as_bytes());
    let digest = context.finish();
    let mut id = b"msg_".to_vec();
    hex_into(&mut id, &digest.as_ref()[..DELIVERY_ID_BYTES]);
    id.into_iter().map(char::from).collect()
}

/// Bytes of a delivery's name: as many as of a UUID.
const DELIVERY_ID_BYTES: usize = 16;

/// The key of a delivery whose node keeps an order; `None` where it keeps none.
///
/// # Errors
/// If its template does not render.
pub fn order_key(node: &TargetNode, payload: &Payload) -> Result<Option<Box<[u8]>>, RequestError> {
    let TargetNode::Http(node) = node else { return Ok(None) };
    let Some(template) = &node.order_key else { return Ok(None) };
    let mut work = Work::of_event(payload.event.bytes().len());
    let key = render("orderKey", template, payload, ORDER_KEY_BYTES_MAX, &mut work)?;
    Ok(Some(key.into()))
}

/// How often the request of a payload has been forwarded. What is not a number counts as none.
fn hops(payload: &Payload) -> u32 {
    let Some(value) = payload.header(HOPS_FIELD) else { return 0 };
    // Several fields are one with commas between.
    value.split(',').filter_map(|number| number.trim().parse::<u32>().ok()).max().unwrap_or(0).min(HOPS_MAX)
}

fn url(node: &ForwardNode, payload: &Payload, work: &mut Work) -> Result<String, RequestError> {
    let text = render("url", &node.url, payload, URL_BYTES_MAX, work)?;
    // The target stands in the text of the template: what is rendered comes behind it.
    let rest = text.get(node.target.len()..).unwrap_or_default();
    let rest = rest.split(|&byte| byte == b'#').next().unwrap_or_default();
    let mut url = String::with_capacity(node.target.len() + rest.len() + 1);
    url.push_str(&node.target);
    if !rest.starts_with(b"/") {
        url.push('/');
    }
    for &byte in rest {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            url.push(char::from(byte));
        } else {
            let [high, low] = hex_digits(byte).map(|digit| char::from(digit).to_ascii_uppercase());
            url.extend(['%', high, low]);
        }
    }
    Ok(url)
}

/// The body, with the headers that say what it is.
fn body(
    node: &ForwardNode,
    payload: &Payload,
    headers: &mut Vec<(String, Vec<u8>)>,
    work: &mut Work,
) -> Result<Bytes, RequestError> {
    if node.method == ForwardMethod::Get {
        return Ok(Bytes::new());
    }
    match &node.body {
        BodySource::Payload => {
            set_default(headers, "content-type", JSON);
            let mut body = Vec::with_capacity(payload.len());
            payload.write(&mut body);
            Ok(body.into())
        }
        BodySource::Template(template) => {
            set_default(headers, "content-type", JSON);
            Ok(render("body", template, payload, OUTPUT_BYTES_MAX, work)?.into())
        }
        BodySource::Raw => {
            let Some(raw) = payload.event.raw() else { return Ok(Bytes::new()) };
            for (name, value) in
                [("content-type", &raw.content_type), ("content-encoding", &raw.content_encoding)]
            {
                if let Some(value) = value.as_deref().filter(|value| is_field_value(value)) {
                    set_default(headers, name, value);
                }
            }
            Ok(raw.bytes.clone())
        }
    }
}

/// Sets a header unless the node has it.
fn set_default(headers: &mut Vec<(String, Vec<u8>)>, name: &str, value: &[u8]) {
    if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
        headers.push((name.to_owned(), value.to_vec()));
    }
}

pub(super) fn render(
    field: &'static str,
    template: &Template,
    payload: &Payload,
    bytes_max: usize,
    work: &mut Work,
) -> Result<Vec<u8>, RequestError> {
    if let Some(constant) = template.constant() {
        return Ok(constant.as_bytes().to_vec());
    }
    let mut text = Vec::new();
    template
        .render_within(payload, Escape::None, bytes_max, work, &mut text)
        .map_err(|error| RequestError::Template(field, error))?;
    Ok(text)
}

//! `POST …/test`: a request through the ingress, and what came of it ([REST API](crate::guide::rest_api)). With `sign`,
//! it carries what the webhook asks of its callers: secrets are not shown, so that a client cannot sign for itself.

use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::call::{Call, Outcome};
use super::error::ApiError;
use super::resources::webhook_of;
use super::{AdminState, TestRequest};
use crate::base::id::Id;
use crate::base::json;
use crate::base::json::Raw;
use crate::base::text::hex_digits;
use crate::model::{VerificationType, Webhook};
use crate::registry::{AuthPlace, Sender};
use crate::store::{Resource, Source};
use crate::verify::signature::Unsigned;

/// Headers that the engine sets, or that would change how the request is read.
const RESERVED_HEADERS: [&str; 8] =
    ["connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"];
/// Most headers: what leaves room in a head for those that are added ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const HEADERS_MAX: usize = 90;
/// Longest path in bytes: what leaves room in a target for the token ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const PATH_BYTES_MAX: usize = 8_000;
/// Longest name of a method in bytes.
const METHOD_BYTES_MAX: usize = 32;
/// Deepest nesting of a body that is shown as JSON.
const DEPTH_MAX: usize = 128;

pub(super) async fn test(mut call: Call) -> Outcome {
    let (application, id) = (call.id(Resource::Application)?, call.id(Resource::Webhook)?);
    let webhook = webhook_of(&call.state, application, id).await?;
    let body = call.bytes().await?;
    let (mut request, signs) = read(&body)?;
    if signs {
        sign(&call.state, application, &webhook, &mut request).await?;
    }
    let response = match call.state.engine.test_request(&webhook, request).await {
        Ok(response) => response,
        Err((status, message)) => return Err(ApiError::from_engine(status, message)),
    };
    let content_type = response
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map_or("", |(_, value)| value.as_str());
    let mut headers = Map::new();
    for (name, value) in &response.headers {
        let name = name.to_ascii_lowercase();
        let joined = match headers.get(&name).and_then(Value::as_str) {
            Some(before) => format!("{before}, {value}"),
            None => value.clone(),
        };
        headers.insert(name, Value::from(joined));
    }
    let shown = Shown {
        status_code: response.status_code,
        headers,
        body: shown_body(content_type, &response.body)?,
        duration_ms: response.duration_ms,
        triggers: &response.triggers,
    };
    let text = serde_json::to_vec(&shown).map_err(|error| ApiError::from_engine(500, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    status_code: u16,
    headers: Map<String, Value>,
    body: Option<Box<RawValue>>,
    duration_ms: f64,
    triggers: &'a [Box<RawValue>],
}

/// A body as a payload would hold it: JSON spliced in where it says that it is and is valid, else text.
fn shown_body(content_type: &str, body: &[u8]) -> Result<Option<Box<RawValue>>, ApiError> {
    if body.is_empty() {
        return Ok(None);
    }
    let failed = |error: serde_json::Error| ApiError::from_engine(500, error.to_string());
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if (kind == "application/json" || kind.ends_with("+json")) && json::validate(body, DEPTH_MAX) {
        let text = String::from_utf8_lossy(body.trim_ascii()).into_owned();
        return RawValue::from_string(text).map(Some).map_err(failed);
    }
    serde_json::value::to_raw_value(&String::from_utf8_lossy(body)).map(Some).map_err(failed)
}

/// Adds what the webhook asks of its callers: credentials, and the signature of its sender.
async fn sign(
    state: &AdminState,
    application: Id,
    webhook: &Webhook,
    request: &mut TestRequest,
) -> Result<(), ApiError> {
    if webhook.verification_type == VerificationType::Alexa {
        return Err(ApiError::validation("`sign` must be false: only Amazon can sign for Alexa"));
    }
    let application = state.look(move |store| store.application(&application)).await?;
    let application = application.ok_or_else(|| ApiError::missing(Resource::Application))?;
    let sender = Sender::of(&application, webhook);
    if let Some(authorization) = sender.authorization {
        add_header(request, "authorization", authorization);
    }
    match sender.auth {
        Some((AuthPlace::Header(name), value)) => add_header(request, &name, value),
        Some((AuthPlace::Query(name), value)) => {
            let mark = if request.path.contains('?') { '&' } else { '?' };
            request.path += &format!("{mark}{}={}", percent_encoded(&name), percent_encoded(&value));
        }
        None => {}
    }
    let Some(signature) = sender.signature else { return Ok(()) };
    let url = format!("{}/webhooks/{}{}", state.about.called_url, webhook.token.as_str(), request.path);
    let now = state.clock.now();
    let content_type = request.headers.iter().find(|(name, _)| name == "content-type");
    let unsigned = Unsigned {
        url: url.as_bytes(),
        content_type: content_type.map_or("", |(_, value)| value),
        body: request.body.as_deref().unwrap_or_default(),
        id: &format!("msg_{}", Id::generate(now.unix_millis)),
    };
    let signed = signature.sign(&unsigned, now);
    let signed = signed.map_err(|error| ApiError::validation(format!("`sign` must be false: {error}")))?;
    for (name, value) in signed.fields {
        add_header(request, &name, value);
    }
    if signed.body.is_some() {
        request.body = signed.body;
    }
    Ok(())
}

/// Adds a header that the request does not have. One that was given is another, wrong credential, which is what is tested.
fn add_header(request: &mut TestRequest, name: &str, value: String) {
    if !request.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
        request.headers.push((name.to_ascii_lowercase(), value));
    }
}

/// A text within a query, percent-encoded but for RFC 3986's unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut encoded = Vec::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.push(b'%');
            encoded.extend_from_slice(&hex_digits(byte).map(|digit| digit.to_ascii_uppercase()));
        }
    }
    String::from_utf8_lossy(&encoded).into_owned()
}

/// A test request, and whether it is to be signed.
fn read(body: &[u8]) -> Result<(TestRequest, bool), ApiError> {
    let empty = body.trim_ascii().is_empty();
    let document = if empty { Some(Raw::trusted(b"{}")) } else { Raw::document(body) };
    let document = document.filter(|document| document.kind() == json::Kind::Object);
    let document = document.ok_or_else(|| ApiError::validation("the body must be a JSON object"))?;
    let mut request =
        TestRequest { path: String::new(), method: "POST".to_owned(), headers: Vec::new(), body: None };
    let (mut sent, mut signs) = (None, false);
    for (name, value) in document.entries() {
        match name.as_ref() {
            "path" => request.path = path(value)?,
            "method" => request.method = method(value)?,
            "headers" => request.headers = headers(value)?,
            "sign" => {
                let must = || ApiError::validation("`sign` must be true or false");
                signs = value.as_bool().ok_or_else(must)?;
            }
            "body" => sent = Some(value).filter(|value| value.kind() != json::Kind::Null),
            other => {
                return Err(ApiError::validation(format!("`{other}` is not a field of a test request")));
            }
        }
    }
    if let Some(value) = sent {
        let text = value.as_str();
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            let kind = if text.is_some() { "text/plain; charset=utf-8" } else { "application/json" };
            request.headers.push(("content-type".to_owned(), kind.to_owned()));
        }
        request.body = Some(match text {
            Some(text) => text.into_owned().into_bytes(),
            None => value.bytes().to_vec(),
        });
    }
    Ok((request, signs))
}

fn path(value: Raw<'_>) -> Result<String, ApiError> {
    let path = value.as_str().filter(|path| {
        (path.is_empty() || path.starts_with(['/', '?']))
            && path.len() <= PATH_BYTES_MAX
            // A fragment is never sent (RFC 9110, 7.1).
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    });
    path.map(Into::into).ok_or_else(|| {
        ApiError::validation(format!(
            "`path` must be empty or begin with `/` or `?`, percent-encoded, without `#`, at most {PATH_BYTES_MAX} bytes"
        ))
    })
}

fn method(value: Raw<'_>) -> Result<String, ApiError> {
    let method = value.as_str().filter(|method| {
        (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_alphabetic())
    });
    method
        .map(|method| method.to_ascii_uppercase())
        .ok_or_else(|| ApiError::validation("`method` must be the name of an HTTP method"))
}

fn headers(value: Raw<'_>) -> Result<Vec<(String, String)>, ApiError> {
    let bad = |message: String| ApiError::validation(message);
    if value.kind() == json::Kind::Null {
        return Ok(Vec::new());
    }
    if value.kind() != json::Kind::Object {
        return Err(bad("`headers` must be an object of strings".to_owned()));
    }
    let mut headers = Vec::new();
    for (name, value) in value.entries() {
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(bad(format!("`headers.{name}` is set by the engine")));
        }
        let known = axum::http::HeaderName::try_from(name.as_ref())
            .map_err(|_| bad(format!("`headers.{name}` must be named as an HTTP header can be")))?;
        let text = value.as_str().filter(|text| axum::http::HeaderValue::try_from(text.as_ref()).is_ok());
        let text =
            text.ok_or_else(|| bad(format!("`headers.{name}` must be a string without control characters")))?;
        headers.push((known.as_str().to_owned(), text.into_owned()));
    }
    if headers.len() > HEADERS_MAX {
        return Err(bad(format!("`headers` must have at most {HEADERS_MAX} fields")));
    }
    Ok(headers)
}

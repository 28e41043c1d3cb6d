//! Replies from outside: over the REST API, or from a worker.
//!
//! `{"replyId", "responseCode", "headers": {}, "body", "encoding", "close": {"code", "reason"}}`, every field optional. What
//! is not understood is refused rather than left out: whoever sent it learns of the mistake before a caller does.

use bytes::Bytes;

use super::encoding::Encoding;
use super::error::ReplyError;
use super::headers::{HEADER_BYTES_MAX, HEADERS_MAX};
use super::response::{Close, Reply};
use crate::base::json::{Kind, Raw};
use crate::websocket::frame::{REASON_MAX, is_close_code};

/// The code of a close that names none: normal (RFC 6455, 7.4.1).
const CLOSE_NORMAL: u16 = 1000;
/// "I wanted an extension": only a client says that (RFC 6455, 7.4.1).
const CLOSE_EXTENSION_MISSING: u16 = 1010;

/// Reads the body of `POST /replies/{replyId}`. A `replyId` in it says nothing that the path does not.
///
/// # Errors
/// The first field that is unknown or not what it must be.
pub fn parse_body(json: &[u8]) -> Result<Reply, ReplyError> {
    let Some(document) = Raw::document(json) else {
        return Err(ReplyError::new("the reply", "must be valid JSON"));
    };
    parse(document, &["replyId"])
}

/// Reads a worker's `{"type": "reply", …}`, which is valid JSON. Its `replyId` and its `seq` are the caller's to read.
///
/// # Errors
/// As [`parse_body`].
pub(crate) fn parse_frame(frame: Raw<'_>) -> Result<Reply, ReplyError> {
    parse(frame, &["type", "replyId", SEQ])
}

/// The one field that is passed over and is not text.
const SEQ: &str = "seq";

fn parse(document: Raw<'_>, passed: &[&str]) -> Result<Reply, ReplyError> {
    if document.kind() != Kind::Object {
        return Err(ReplyError::new("the reply", "must be a JSON object"));
    }
    let mut reply = Reply::default();
    let mut encoding = Encoding::Utf8;
    let mut body = None;
    for (field, value) in document.entries() {
        match &*field {
            "responseCode" => reply.response_code = Some(whole(&field, value)?),
            "headers" => reply.headers = headers(value)?,
            "body" => body = Some(value),
            "encoding" => encoding = named_encoding(value)?,
            "close" => reply.close = Some(close(value)?),
            passed_field if passed.contains(&passed_field) => {
                if passed_field != SEQ {
                    text(passed_field, value)?;
                }
            }
            unknown => return Err(ReplyError::new(shown(unknown), "is not a field of a reply")),
        }
    }
    reply.is_binary = encoding != Encoding::Utf8;
    reply.body = body.map(|body| bytes(body, encoding)).transpose()?;
    Ok(reply)
}

/// The bytes of a body: a string's text, decoded; any other value as it stands.
fn bytes(body: Raw<'_>, encoding: Encoding) -> Result<Bytes, ReplyError> {
    let Some(text) = body.as_str() else {
        if encoding != Encoding::Utf8 {
            return Err(ReplyError::new("encoding", "must be utf8 where the body is not a string"));
        }
        return Ok(Bytes::copy_from_slice(body.bytes()));
    };
    match encoding.decode(&text) {
        Some(bytes) => Ok(Bytes::from(bytes)),
        None => Err(ReplyError::new("body", "must be what encoding says")),
    }
}

fn headers(value: Raw<'_>) -> Result<Vec<(String, String)>, ReplyError> {
    if value.kind() != Kind::Object {
        return Err(ReplyError::new("headers", "must be an object"));
    }
    let mut headers = Vec::new();
    let mut left = HEADER_BYTES_MAX;
    for (name, value) in value.entries() {
        let text = match value.kind() {
            Kind::String => value.as_str().unwrap_or_default().into_owned(),
            Kind::Number => value.as_number().unwrap_or_default().to_owned(),
            Kind::Bool => value.as_bool().unwrap_or_default().to_string(),
            _ => return Err(ReplyError::new(format!("headers.{}", shown(&name)), "must be a string")),
        };
        left = left.checked_sub(name.len() + text.len()).ok_or_else(|| {
            ReplyError::new("headers", format!("must have at most {HEADER_BYTES_MAX} bytes in all"))
        })?;
        if headers.len() == HEADERS_MAX {
            return Err(ReplyError::new("headers", format!("must be at most {HEADERS_MAX}")));
        }
        headers.push((name.into_owned(), text));
    }
    Ok(headers)
}

fn named_encoding(value: Raw<'_>) -> Result<Encoding, ReplyError> {
    value
        .as_str()
        .and_then(|name| Encoding::named(&name))
        .ok_or_else(|| ReplyError::new("encoding", format!("must be {}", Encoding::NAMES)))
}

fn close(value: Raw<'_>) -> Result<Close, ReplyError> {
    if value.kind() != Kind::Object {
        return Err(ReplyError::new("close", "must be an object"));
    }
    let mut close = Close { code: CLOSE_NORMAL, reason: String::new() };
    for (field, value) in value.entries() {
        match &*field {
            "code" => {
                close.code = u16::try_from(whole("close.code", value)?)
                    .ok()
                    .filter(|&code| is_close_code(code) && code != CLOSE_EXTENSION_MISSING)
                    .ok_or_else(|| {
                        ReplyError::new(
                            "close.code",
                            "must be a code that a server may send: 1000 to 1003, 1007 to 1014 but 1010, 3000 to 4999",
                        )
                    })?;
            }
            "reason" => {
                close.reason = text("close.reason", value)?;
                if close.reason.len() > REASON_MAX {
                    let message = format!("must have at most {REASON_MAX} bytes as UTF-8");
                    return Err(ReplyError::new("close.reason", message));
                }
            }
            unknown => {
                let field = format!("close.{}", shown(unknown));
                return Err(ReplyError::new(field, "is not a field of a reply"));
            }
        }
    }
    Ok(close)
}

fn whole(field: &str, value: Raw<'_>) -> Result<i64, ReplyError> {
    value.as_i64().ok_or_else(|| ReplyError::new(field, "must be a whole number"))
}

fn text(field: &str, value: Raw<'_>) -> Result<String, ReplyError> {
    value.as_str().map(String::from).ok_or_else(|| ReplyError::new(field, "must be a string"))
}

/// A name from outside, for a message: not all of it if it is long.
fn shown(name: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 64;
    name.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(json: &str) -> (Vec<u8>, bool) {
        let reply = parse_body(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"));
        (reply.body.expect("a body").to_vec(), reply.is_binary)
    }

    #[test]
    fn a_whole_reply_is_read() {
        let reply = parse_body(
            br#"{"replyId":"r","responseCode":201,"headers":{"X-A":"b","n":1.50,"t":true},"body":"h\u00e9",
                "encoding":"utf8","close":{"code":4000,"reason":"done"}}"#,
        )
        .unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            reply,
            Reply {
                only_for: None,
                response_code: Some(201),
                headers: vec![header("X-A", "b"), header("n", "1.50"), header("t", "true")],
                body: Some(Bytes::from_static("hé".as_bytes())),
                is_binary: false,
                stream: None,
                close: Some(Close { code: 4000, reason: "done".to_owned() }),
            }
        );
        assert_eq!(parse_body(b"{}").unwrap(), Reply::default());
        let close = parse_body(br#"{"close":{}}"#).unwrap().close;
        assert_eq!(close, Some(Close { code: 1000, reason: String::new() }));
    }

    #[test]
    fn a_json_body_keeps_its_bytes() {
        for body in [r#"{"b" : 1.0, "a":[ ]}"#, "[1 ,2]", "1e400", "12345678901234567890", "true", "null"] {
            assert_eq!(body_of(&format!("{{\"body\": {body} }}")), (body.as_bytes().to_vec(), false));
        }
        assert_eq!(body_of(r#"{"body":""}"#), (Vec::new(), false));
    }

    #[test]
    fn a_text_body_is_decoded_as_it_says() {
        for (encoding, text) in [("base64", "AP8="), ("hex", "00ff"), ("binary", "\\u0000\\u00ff")] {
            let json = format!(r#"{{"encoding":"{encoding}","body":"{text}"}}"#);
            assert_eq!(body_of(&json), (vec![0, 255], true), "{json}");
            let json = format!(r#"{{"body":"{text}","encoding":"{encoding}"}}"#);
            assert_eq!(body_of(&json), (vec![0, 255], true), "{json}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_field() {
        let long_reason = format!(r#"{{"close":{{"reason":"{}"}}}}"#, "é".repeat(62));
        let many = (0..=HEADERS_MAX).map(|i| format!("\"x{i}\":\"\"")).collect::<Vec<_>>().join(",");
        let many = format!("{{\"headers\":{{{many}}}}}");
        let large = format!("{{\"headers\":{{\"x\":\"{}\"}}}}", "y".repeat(HEADER_BYTES_MAX));
        for (json, field) in [
            ("", "the reply"),
            ("{", "the reply"),
            ("[]", "the reply"),
            ("\"x\"", "the reply"),
            (r#"{"status":200}"#, "status"),
            (r#"{"type":"reply"}"#, "type"),
            (r#"{"replyId":1}"#, "replyId"),
            (r#"{"responseCode":"200"}"#, "responseCode"),
            (r#"{"responseCode":200.5}"#, "responseCode"),
            (r#"{"responseCode":null}"#, "responseCode"),
            (r#"{"headers":[]}"#, "headers"),
            (r#"{"headers":{"a":["b"]}}"#, "headers.a"),
            (&many, "headers"),
            (&large, "headers"),
            (r#"{"encoding":"latin1"}"#, "encoding"),
            (r#"{"encoding":"hex","body":{}}"#, "encoding"),
            (r#"{"encoding":"hex","body":"0"}"#, "body"),
            (r#"{"encoding":"base64","body":"*"}"#, "body"),
            (r#"{"encoding":"binary","body":"\u0100"}"#, "body"),
            (r#"{"close":true}"#, "close"),
            (r#"{"close":{"code":"1000"}}"#, "close.code"),
            (r#"{"close":{"code":1005}}"#, "close.code"),
            (r#"{"close":{"code":1006}}"#, "close.code"),
            (r#"{"close":{"code":1010}}"#, "close.code"),
            (r#"{"close":{"code":1015}}"#, "close.code"),
            (r#"{"close":{"code":2999}}"#, "close.code"),
            (r#"{"close":{"code":5000}}"#, "close.code"),
            (r#"{"close":{"code":66536}}"#, "close.code"),
            (r#"{"close":{"reason":1}}"#, "close.reason"),
            (&long_reason, "close.reason"),
            (r#"{"close":{"why":1}}"#, "close.why"),
        ] {
            let error = parse_body(json.as_bytes()).expect_err(json);
            assert_eq!(error.field, field, "{json}: {error}");
        }
    }

    #[test]
    fn a_workers_frame_has_a_type_too() {
        let frame = Raw::trusted(br#"{"type":"reply","replyId":"r","seq":1,"body":[1]}"#);
        assert_eq!(&parse_frame(frame).unwrap().body.unwrap()[..], b"[1]");
        assert_eq!(parse_frame(Raw::trusted(br#"{"type":"reply","seqs":[1]}"#)).unwrap_err().field, "seqs");
        assert_eq!(parse_body(br#"{"replyId":"r","seq":1}"#).unwrap_err().field, "seq", "of a worker alone");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_an_error(json in "[{}\\[\\]\":,a-z0-9\\\\]{0,40}") {
            let _ = parse_body(json.as_bytes());
        }
    }
}

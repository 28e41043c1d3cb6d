//! A reply, and the HTTP response that is made of it.

use bytes::Bytes;

use super::caller::CallerKind;
use super::error::ReplyError;
use super::headers::{self, HeaderList};
use super::stream::ReplyStream;

/// Statuses that a reply may choose.
const STATUSES: std::ops::RangeInclusive<i64> = 200..=599;
/// The status in place of one that is not valid.
pub(super) const STATUS_FALLBACK: u16 = 200;

/// An answer to a request, or a message to a WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The only kind of caller that may get it: what a node's `isWebsocketMessage` names. `None` for a reply from
    /// outside, which fits either.
    pub only_for: Option<CallerKind>,
    /// The status; `None` for the webhook's own.
    pub response_code: Option<i64>,
    /// Names and values as they were given: [`to_http`] keeps those that may go out.
    pub headers: Vec<(String, String)>,
    /// The body or message. `None` where there is none, as in a reply from outside that closes a WebSocket and sends no
    /// message; an empty one is sent.
    pub body: Option<Bytes>,
    /// The rest of the body, where it is still being received. Only a request that waits can get it.
    pub stream: Option<ReplyStream>,
    /// Whether the body is bytes rather than text, and a WebSocket's message binary. Text is valid UTF-8.
    pub is_binary: bool,
    /// Ends the WebSocket behind the message.
    pub close: Option<Close>,
}

/// How a WebSocket ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// A code that an endpoint may send (RFC 6455, 7.4).
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
}

/// A reply as an HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply<'a> {
    /// From 200 to 599.
    pub status: u16,
    /// One of the media types that replies may have, with its parameters.
    pub content_type: &'a str,
    /// The other headers: names are tokens, values hold no control characters, none is the engine's own.
    pub headers: HeaderList<'a>,
    /// The bytes after the head, if the status has a body.
    pub body: &'a [u8],
}

impl Reply {
    /// Whether a caller of this kind may get it.
    #[must_use]
    pub fn fits(&self, caller: CallerKind) -> bool {
        self.only_for.is_none_or(|only| only == caller)
    }
}

/// Makes an HTTP response of a reply. `webhook_code` is the status of a reply without one.
///
/// # Errors
/// As [`check_size`].
pub fn to_http(reply: &Reply, webhook_code: u16, body_bytes_max: usize) -> Result<HttpReply<'_>, ReplyError> {
    let headers = reply.headers.iter().map(|(name, value)| (&**name, &**value));
    let body = reply.body.as_deref().unwrap_or_default();
    http(reply.response_code, headers, body, webhook_code, body_bytes_max)
}

pub(super) fn http<'a>(
    response_code: Option<i64>,
    headers: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    body: &'a [u8],
    webhook_code: u16,
    body_bytes_max: usize,
) -> Result<HttpReply<'a>, ReplyError> {
    check_size(Some(body), body_bytes_max)?;
    let status = match response_code {
        None => webhook_code,
        Some(code) if STATUSES.contains(&code) => u16::try_from(code).unwrap_or(STATUS_FALLBACK),
        Some(_) => STATUS_FALLBACK,
    };
    let content_type = headers::content_type(headers.clone());
    Ok(HttpReply { status, content_type, headers: headers::clean(headers), body })
}

/// Whether the body is within the webhook's payload limit.
///
/// # Errors
/// If it is not.
pub(crate) fn check_size(body: Option<&[u8]>, body_bytes_max: usize) -> Result<(), ReplyError> {
    let length = body.map_or(0, <[u8]>::len);
    if length > body_bytes_max {
        return Err(ReplyError::new(
            "body",
            format!("must have at most {body_bytes_max} bytes, not {length}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: Option<i64>, body: &'static str) -> Reply {
        Reply {
            response_code: code,
            headers: vec![
                ("X-A".into(), "1".into()),
                ("Content-Type".into(), "text/plain; charset=utf-8".into()),
            ],
            body: Some(Bytes::from_static(body.as_bytes())),
            ..Reply::default()
        }
    }

    #[test]
    fn a_status_is_the_replys_or_the_webhooks_or_200() {
        for (code, status) in [
            (None, 202),
            (Some(200), 200),
            (Some(599), 599),
            (Some(404), 404),
            (Some(199), 200),
            (Some(600), 200),
            (Some(-1), 200),
            (Some(i64::MAX), 200),
        ] {
            assert_eq!(to_http(&reply(code, ""), 202, 10).unwrap().status, status, "{code:?}");
        }
    }

    #[test]
    fn a_reply_becomes_a_response() {
        let reply = reply(None, "hi");
        let http = to_http(&reply, 200, 2).unwrap();
        assert_eq!(http.content_type, "text/plain; charset=utf-8");
        assert_eq!(http.headers[..], [("X-A", "1")]);
        assert_eq!(http.body, b"hi");
        assert_eq!(to_http(&Reply::default(), 201, 0).unwrap().body, b"");
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let reply = reply(None, "hi!");
        let error = to_http(&reply, 200, 2).unwrap_err();
        assert_eq!(error.to_string(), "body must have at most 2 bytes, not 3");
        assert_eq!(check_size(Some(b"hi"), 2), Ok(()));
    }
}

//! The events of a WebSocket (section 6 of the specification): `connect`, `message`, `disconnect`.

use super::event::{Draft, Event};
use super::headers::Visibility;
use super::{ENVELOPE_BYTES, Peer, write_request};
use crate::base::clock::Now;
use crate::base::json;
use crate::base::text::base64_into;

/// `"path":…,"headers":…,"query":…` of an upgrade request, written once for each connection.
#[derive(Clone, Debug)]
pub struct UpgradeData(Box<[u8]>);

impl UpgradeData {
    /// Writes what the events of a connection say of the request that opened it. The arguments are those of
    /// [`super::HttpData`].
    #[must_use]
    pub fn new<'a, F>(
        path: &[u8],
        query: Option<&[u8]>,
        fields: F,
        peer: Peer,
        peer_is_trusted: bool,
        hide_authorization: bool,
    ) -> UpgradeData
    where
        F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let mut out = Vec::with_capacity(ENVELOPE_BYTES);
        let visibility = Visibility { peer, peer_is_trusted, hide_authorization };
        write_request(&mut out, path, query, fields, &visibility);
        // A copy of its own size: shrinking leaves up to twice that with the allocator, for as long as the connection.
        UpgradeData(out.as_slice().into())
    }

    /// The path behind the token, as a payload shows it.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        const BEGIN: &[u8] = b"\"path\":\"";
        let rest = self.0.strip_prefix(BEGIN).unwrap_or_default();
        &rest[..rest.iter().position(|&byte| byte == b'"').unwrap_or(rest.len())]
    }
}

/// What happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsEvent<'a> {
    /// It opened.
    Connect,
    /// A message came.
    Message {
        /// Text, or else binary.
        text: bool,
        /// The whole message, inflated.
        data: &'a [u8],
    },
    /// It ended.
    Disconnect {
        /// The client's close code, or the engine's own where the engine closed; 1006 where the connection broke.
        status_code: u16,
        /// What was said with it.
        reason: &'a str,
    },
}

/// Builds the event. `scratch` is as in [`super::http_event`].
pub fn websocket_event(
    scratch: &mut Vec<u8>,
    now: Now,
    upgrade: &UpgradeData,
    kind: WsEvent<'_>,
    reply_id: &str,
) -> Event {
    let length = if let WsEvent::Message { data, .. } = kind { data.len() } else { 0 };
    let mut draft = Draft::begin(scratch, now, length + upgrade.0.len() + ENVELOPE_BYTES);
    let out = draft.out();
    let name: &[u8] = match kind {
        WsEvent::Connect => b"connect",
        WsEvent::Message { .. } => b"message",
        WsEvent::Disconnect { .. } => b"disconnect",
    };
    out.extend_from_slice(b"\"type\":\"");
    out.extend_from_slice(name);
    out.extend_from_slice(b"\",\"message\":");
    let message_start = out.len();
    write_message(out, kind);
    let message_end = out.len();
    out.push(b',');
    out.extend_from_slice(&upgrade.0);
    out.extend_from_slice(b",\"replyId\":");
    json::escape_into(out, reply_id);
    draft.finish(message_start..message_end)
}

fn write_message(out: &mut Vec<u8>, kind: WsEvent<'_>) {
    let number = |out: &mut Vec<u8>, value: usize| {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    };
    match kind {
        WsEvent::Connect => out.extend_from_slice(b"{}"),
        WsEvent::Message { text, data } => {
            out.extend_from_slice(b"{\"data\":");
            match std::str::from_utf8(data) {
                Ok(data) if text => json::escape_into(out, data),
                Err(_) if text => json::escape_lossy_into(out, data),
                _ => {
                    out.push(b'"');
                    base64_into(out, data);
                    out.push(b'"');
                }
            }
            out.extend_from_slice(b",\"length\":");
            number(out, data.len());
            if !text {
                out.extend_from_slice(b",\"encoding\":\"base64\"");
            }
            out.push(b'}');
        }
        WsEvent::Disconnect { status_code, reason } => {
            out.extend_from_slice(b"{\"statusCode\":");
            number(out, usize::from(status_code));
            out.extend_from_slice(b",\"reason\":");
            json::escape_into(out, reason);
            out.push(b'}');
        }
    }
}

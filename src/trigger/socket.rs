//! The events of a WebSocket ([websockets](crate::guide::websockets)): `connect`, `message`, `disconnect`.

use std::ops::Range;

use super::data::{CLAIMS, ENVELOPE_BYTES, HEADERS, PATH, QUERY, REPLY_ID, write_path};
use super::event::{Draft, Kind};
use super::headers::{self, Visibility};
use super::parts::{Part, Parts};
use super::query;
use super::request::{Hidden, Peer};
use crate::base::clock::Now;
use crate::base::json;
use crate::base::text::base64_into;

/// `"path":…,"headers":…,"query":…` of an upgrade request, and the `"claims":…` of its token if it has one, written
/// once for each connection.
#[derive(Clone, Debug)]
pub struct UpgradeData {
    text: Box<[u8]>,
    /// Where the values of the path, the headers and the query end; the claims end with the text.
    path_end: u32,
    headers_end: u32,
    query_end: u32,
}

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
        hidden: Hidden<'_>,
        claims: Option<&[u8]>,
    ) -> UpgradeData
    where
        F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    {
        let mut out = Vec::with_capacity(ENVELOPE_BYTES);
        let visibility = Visibility { peer, peer_is_trusted, hidden };
        out.extend_from_slice(PATH);
        write_path(&mut out, path);
        let path_end = out.len();
        out.push(b',');
        out.extend_from_slice(HEADERS);
        headers::write(&mut out, fields, &visibility);
        let headers_end = out.len();
        out.push(b',');
        out.extend_from_slice(QUERY);
        query::write(&mut out, query.unwrap_or_default(), hidden.parameter);
        let query_end = out.len();
        if let Some(claims) = claims {
            out.push(b',');
            out.extend_from_slice(CLAIMS);
            out.extend_from_slice(claims);
        }
        // A head is far below 4 GiB.
        let place = |end: usize| u32::try_from(end).unwrap_or(u32::MAX);
        // A copy of its own size: shrinking leaves up to twice that with the allocator, for as long as the connection.
        UpgradeData {
            text: out.as_slice().into(),
            path_end: place(path_end),
            headers_end: place(headers_end),
            query_end: place(query_end),
        }
    }

    /// Where the values stand; those that are not there are empty.
    fn parts(&self) -> [(Part, Range<usize>); 4] {
        let (path_end, headers_end) = (self.path_end as usize, self.headers_end as usize);
        let (query_end, end) = (self.query_end as usize, self.text.len());
        [
            (Part::Path, PATH.len()..path_end),
            (Part::Headers, path_end + 1 + HEADERS.len()..headers_end),
            (Part::Query, headers_end + 1 + QUERY.len()..query_end),
            (Part::Claims, (query_end + 1 + CLAIMS.len()).min(end)..end),
        ]
    }

    /// The path behind the token, as a payload shows it.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.text.get(PATH.len() + 1..self.path_end as usize - 1).unwrap_or_default()
    }
}

/// An event of a connection.
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
        /// The close reason.
        reason: &'a str,
    },
}

/// Builds the whole event, for tests. `scratch` is as in [`super::http_event`], `upgrade` is of the connection.
#[cfg(test)]
pub(crate) fn websocket_event(
    scratch: &mut Vec<u8>,
    now: Now,
    upgrade: &UpgradeData,
    kind: WsEvent<'_>,
    reply_id: &str,
) -> super::Event {
    websocket_draft(scratch, now, upgrade, kind, reply_id, Parts::ALL).keep()
}

/// Writes those parts of the event that are wanted. `scratch` is as in [`super::http_draft`].
pub fn websocket_draft<'s>(
    scratch: &'s mut Vec<u8>,
    now: Now,
    upgrade: &UpgradeData,
    kind: WsEvent<'s>,
    reply_id: &str,
    wanted: Parts,
) -> Draft<'s> {
    let message = match kind {
        WsEvent::Message { text: true, data } => simdutf8::basic::from_utf8(data).ok(),
        _ => None,
    };
    let wanted = if message.is_some() { wanted } else { wanted.without_text() };
    let length = if let WsEvent::Message { data, .. } = kind { data.len() } else { 0 };
    let room = length + upgrade.text.len() + ENVELOPE_BYTES;
    let mut draft = Draft::begin(scratch, now, room, wanted, Kind::WebSocket);
    draft.part(Part::Kind, b"\"type\":", |out| {
        out.extend_from_slice(match kind {
            WsEvent::Connect => b"\"connect\"",
            WsEvent::Message { .. } => b"\"message\"",
            WsEvent::Disconnect { .. } => b"\"disconnect\"",
        });
    });
    draft.part(Part::Body, b"\"message\":", |out| write_message(out, kind, message));
    // They stand side by side already: one copy of all.
    if [Part::Path, Part::Headers, Part::Query, Part::Claims].into_iter().any(|part| draft.wants(part)) {
        draft.parts(&upgrade.text, &upgrade.parts());
    }
    draft.part(Part::ReplyId, REPLY_ID, |out| json::escape_into(out, reply_id));
    if let Some(message) = message {
        draft.set_message(message);
    }
    draft.finish()
}

/// `message` is what came, if it is text.
fn write_message(out: &mut Vec<u8>, kind: WsEvent<'_>, message: Option<&str>) {
    let number = |out: &mut Vec<u8>, value: usize| {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    };
    match kind {
        WsEvent::Connect => out.extend_from_slice(b"{}"),
        WsEvent::Message { text, data } => {
            out.extend_from_slice(b"{\"data\":");
            match message {
                Some(message) => json::escape_into(out, message),
                None if text => json::escape_lossy_into(out, data),
                None => {
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

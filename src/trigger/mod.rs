//! Layer 3: the payload. Turns a request, or an event of a WebSocket, into the JSON that a flow is triggered with
//! ([trigger payload](crate::guide::trigger_payload)).
//!
//! A payload is written once as text and never as a tree. Its front, the [`Event`], is the same for all flows of the
//! webhook; its [`Tail`] is the same for all events of one flow and written when the model changes. A [`Payload`] is
//! the two together.
//!
//! ```text
//! {"time":"…","data":{…},│"applicationId":…,"globals":│{"key":…}│}
//!  Event, of one request │ Tail, of one flow          │ shared by the flows of an application
//! ```
//!
//! **Invariant**: a payload is valid JSON whatever came in. Text is escaped here, and JSON is spliced in only after it
//! was validated.
//!
//! Not here: who may send (`verify/`), who listens (`registry/`), how long a body may be on the wire (`http/`). The
//! limit is applied here only to what a `Content-Encoding` unfolds into.

mod body;
mod cast;
mod coding;
mod content_type;
mod data;
mod event;
mod headers;
mod members;
mod multipart;
mod parameters;
mod parts;
mod query;
mod request;
mod socket;

pub use body::JSON_DEPTH_MAX;
pub(crate) use coding::{ACCEPTED_CODINGS, BodyRefused, undo_codings};
pub(crate) use event::RawBody;
pub use event::{Draft, Event, Payload, Tail};
pub use multipart::PARTS_MAX;
pub(crate) use multipart::form_part;
pub use parts::Parts;
pub use request::{Hidden, HttpData, Peer};
#[cfg(test)]
pub(crate) use socket::websocket_event;
pub use socket::{UpgradeData, WsEvent, websocket_draft};

use crate::base::clock::Now;
use crate::base::json;
use crate::base::text::base64_into;
use data::{CLAIMS, ENVELOPE_BYTES, HEADERS, PATH, QUERY, REPLY_ID, write_path};
use event::Kind;
use headers::Visibility;
use parts::Part;

/// Builds the event of an HTTP request. `scratch` is as in [`http_draft`], and its storage is kept for the next event unless
/// this one is large.
///
/// # Errors
/// If the body's `Content-Encoding` cannot be undone.
pub fn http_event<'a, F>(
    scratch: &mut Vec<u8>,
    now: Now,
    data: &HttpData<'a, F>,
) -> Result<Event, BodyRefused>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    http_draft(scratch, now, data, Parts::ALL).map(Draft::keep)
}

/// Writes those parts of the event of an HTTP request that are wanted. `scratch` is a buffer to write it in: what it holds is
/// lost.
///
/// # Errors
/// If the body's `Content-Encoding` cannot be undone, wanted or not.
pub fn http_draft<'s, 'a, F>(
    scratch: &'s mut Vec<u8>,
    now: Now,
    data: &HttpData<'a, F>,
    wanted: Parts,
) -> Result<Draft<'s>, BodyRefused>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    let is_get = data.method == b"GET";
    let body = if is_get { std::borrow::Cow::Borrowed(&[][..]) } else { undo_codings(data)? };
    let mut draft = Draft::begin(scratch, now, body.len() + ENVELOPE_BYTES, wanted, Kind::Http);
    draft.part(Part::Kind, b"\"method\":", |out| {
        let start = out.len();
        json::escape_bytes_latin1_into(out, data.method);
        out[start..].make_ascii_lowercase();
    });
    let visibility =
        Visibility { peer: data.peer, peer_is_trusted: data.peer_is_trusted, hidden: data.hidden };
    draft.part(Part::Path, PATH, |out| write_path(out, data.path));
    draft.part(Part::Headers, HEADERS, |out| headers::write(out, data.fields.clone(), &visibility));
    draft.part(Part::Query, QUERY, |out| {
        query::write(out, data.query.unwrap_or_default(), data.hidden.parameter);
    });
    draft.part(Part::Body, b"\"body\":", |out| {
        let content_type = headers::first(data.fields.clone(), b"content-type").unwrap_or_default();
        body::write(out, &body, content_type, data.cast, data.annotate_multipart);
    });
    if data.raw_body {
        draft.part(Part::RawBody, b"\"rawBody\":", |out| {
            out.push(b'"');
            base64_into(out, data.body);
            out.push(b'"');
        });
    }
    if let Some(claims) = data.claims {
        draft.part(Part::Claims, CLAIMS, |out| out.extend_from_slice(claims));
    }
    if let Some(reply_id) = data.reply_id {
        draft.part(Part::ReplyId, REPLY_ID, |out| json::escape_into(out, reply_id));
    }
    Ok(draft.finish())
}

/// Returns a query as it was sent, with `***` for the values of the parameters named `hidden`.
#[must_use]
pub fn masked_query(query: &[u8], hidden: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.len());
    query::write_masked(&mut out, query, hidden);
    out
}

#[cfg(test)]
mod tests;

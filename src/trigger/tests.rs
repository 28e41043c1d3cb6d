//! Whole payloads, and what a judge thinks of them.

mod bodies;
mod codings;
mod envelope;
mod forms;
mod validity;

use super::*;
use crate::model::CastBuffersAs;
use std::net::{IpAddr, Ipv4Addr};

pub(super) type Field<'a> = (&'a [u8], &'a [u8]);

/// 2026-02-19T17:26:00.123Z
pub(super) const NOW: Now = Now { nanos: 1, unix_millis: 1_771_521_960_123 };
pub(super) const PEER: Peer = Peer::Ip(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)));

/// A plain POST with these fields and this body.
pub(super) fn post<'a>(
    fields: &'a [Field<'a>],
    body: &'a [u8],
) -> HttpData<'a, std::iter::Copied<std::slice::Iter<'a, Field<'a>>>> {
    HttpData {
        method: b"POST",
        path: b"/",
        query: None,
        fields: fields.iter().copied(),
        body,
        peer: PEER,
        peer_is_trusted: false,
        hidden: Hidden::default(),
        raw_body: false,
        claims: None,
        cast: CastBuffersAs::Array,
        annotate_multipart: false,
        payload_limit: 262_144,
        reply_id: None,
    }
}

pub(super) fn event<'a, F>(data: &HttpData<'a, F>) -> Result<Event, BodyRefused>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    http_event(&mut Vec::new(), NOW, data)
}

/// The text of a JSON value.
pub(super) fn shown(raw: json::Raw<'_>) -> String {
    String::from_utf8(raw.bytes().to_vec()).unwrap()
}

/// The JSON text of a member of `data`.
pub(super) fn member<'a, F>(data: &HttpData<'a, F>, key: &str) -> String
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    shown(event(data).unwrap().data().get(key).unwrap())
}

/// The body of a POST of that type.
pub(super) fn body_of(content_type: &str, body: &[u8]) -> String {
    member(&post(&[(b"Content-Type", content_type.as_bytes())], body), "body")
}

/// The body of a POST of that type, cast in that way.
pub(super) fn body_cast(content_type: &str, body: &[u8], cast: CastBuffersAs) -> String {
    let fields: &[Field<'_>] = &[(b"content-type", content_type.as_bytes())];
    member(&HttpData { cast, ..post(fields, body) }, "body")
}

pub(super) fn tail(globals: &[u8]) -> Tail {
    let id = |byte| crate::base::id::Id::from_raw([byte; 12]);
    Tail::new(id(0xaa), "My \"app\"", id(0xbb), id(0xcc), "A flow", globals.into())
}

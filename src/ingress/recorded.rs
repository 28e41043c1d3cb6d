//! The payload of a call, made again from its record when somebody looks.

use std::net::IpAddr;

use crate::base::clock::Now;
use crate::base::ip_net::IpNet;
use crate::record::{Kind, Record, RecordedCall};
use crate::registry::Hook;
use crate::trigger::{self, HttpData, Parts, Payload, Peer, Tail, UpgradeData, WsEvent};

/// How the ingress sees the callers of records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewer<'v> {
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: &'v [IpNet],
    /// The rest of a payload that is for no flow.
    pub tail: &'v Tail,
}

/// Returns the payload that the first of the webhook's flows got, or would have got; `None` if it cannot be made of the
/// record. `connect` is the record of the WebSocket's handshake.
#[must_use]
pub(crate) fn payload(
    viewer: Viewer<'_>,
    hook: &Hook,
    record: &Record,
    connect: Option<&Record>,
) -> Option<Vec<u8>> {
    let call = record.call()?;
    if call.is_sent || !call.has_whole_body() {
        return None;
    }
    let now = Now { nanos: 0, unix_millis: call.unix_millis };
    let mut scratch = Vec::new();
    let event = match call.kind {
        Kind::Request => {
            let data = http_data(viewer, hook, &call);
            trigger::http_draft(&mut scratch, now, &data, Parts::ALL).ok()?.keep()
        }
        Kind::Connect | Kind::Message | Kind::Close => {
            let opened = match connect {
                Some(connect) => connect.call()?,
                None if call.kind == Kind::Connect => call,
                None => return None,
            };
            let (path, query) = split(opened.path);
            let peer_is_trusted = is_trusted(viewer, opened.peer);
            let peer = opened.peer.map_or(Peer::Local, Peer::Ip);
            let data = UpgradeData::new(
                path,
                query,
                opened.shown_headers(),
                peer,
                peer_is_trusted,
                hook.hidden(),
                None,
            );
            let answer = record.answer();
            let reason = answer.map(|answer| String::from_utf8_lossy(answer.refusal)).unwrap_or_default();
            let event = match call.kind {
                Kind::Message => WsEvent::Message { text: call.is_text, data: call.body },
                Kind::Close => WsEvent::Disconnect {
                    status_code: answer.map_or(0, |answer| answer.status),
                    reason: &reason,
                },
                Kind::Connect | Kind::Request => WsEvent::Connect,
            };
            trigger::websocket_draft(&mut scratch, now, &data, event, "", Parts::ALL).keep()
        }
    };
    let tail = match hook.flows.first() {
        Some(plan) => std::sync::Arc::clone(&plan.tail),
        None => std::sync::Arc::new(viewer.tail.clone()),
    };
    let payload = Payload { event, tail };
    let mut bytes = Vec::with_capacity(payload.len());
    payload.write(&mut bytes);
    Some(bytes)
}

fn http_data<'a>(
    viewer: Viewer<'_>,
    hook: &'a Hook,
    call: &'a RecordedCall<'a>,
) -> HttpData<'a, impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone> {
    let (path, query) = split(call.path);
    HttpData {
        method: call.method,
        path,
        query,
        fields: call.shown_headers(),
        body: call.body,
        peer: call.peer.map_or(Peer::Local, Peer::Ip),
        peer_is_trusted: is_trusted(viewer, call.peer),
        hidden: hook.hidden(),
        cast: hook.cast,
        annotate_multipart: hook.annotate_multipart,
        raw_body: hook.has_raw_body(),
        claims: None,
        payload_limit: hook.payload_bytes as usize,
        reply_id: None,
    }
}

/// Path and query of a record's path.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', path) {
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (path, None),
    }
}

fn is_trusted(viewer: Viewer<'_>, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|ip| viewer.trusted_proxies.iter().any(|net| net.contains(ip)))
}

//! An event with its deliveries as one entry of the journal: everything that a delivery needs after a restart, whatever has
//! become of its webhook.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version of the format |
//! | 12 | webhook |
//! | 49 | places of the event's parts |
//! | 1, 16 | whether the event has an id for targets, and which |
//! | 1, n | whether the body is kept as it was received; if so content type, content coding (each after a 1, or 0), body |
//! | 2, n | `replyId`, or nothing |
//! | 1, 10 | whether the event is a WebSocket's, and its last; if so core, place and generation |
//! | 2 | number of tails, each: length and text, length and globals |
//! | 2 | number of deliveries, each: flow, kind of its node, number of its tail, length and id of its node |
//! | rest | text of the event |
//!
//! Lengths of texts are 4 bytes, others 2; all numbers are little endian.

use std::sync::Arc;

use bytes::Bytes;

use super::affinity::Affinity;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::journal::EntryId;
use crate::trigger::{Event, Payload, RawBody, Tail};

const VERSION: u8 = 1;
/// Bits of the byte that tells of a WebSocket.
const IS_WEBSOCKET: u8 = 1;
const IS_LAST: u8 = 2;
/// Kinds of nodes.
const WORKER: u8 = 1;
const FORWARD: u8 = 2;

/// Share of an open delivery that a trigger holds. The delivery is done once all of its shares have been returned: the
/// nodes behind it, which may deliver further, get shares of their own before it is told that it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub entry: EntryId,
    pub delivery: u16,
    /// Of [`Receipt::WHOLE`].
    pub share: u64,
}

impl Receipt {
    /// All shares of a delivery together.
    pub const WHOLE: u64 = 1 << 62;

    /// Keeps a share and gives one to each of `count` others. Behind so many deliveries that nothing is left to share,
    /// theirs are empty, and a crash loses them.
    #[must_use]
    pub fn split(&mut self, count: usize) -> Receipt {
        let each = self.share / (count as u64 + 1);
        self.share -= each * count as u64;
        Receipt { share: each, ..*self }
    }
}

/// Kind of a delivering node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryKind {
    Worker,
    Forward,
}

/// A delivery of an entry: the node of a flow that gets the payload.
#[derive(Clone, Debug)]
pub(crate) struct StoredDelivery {
    pub flow: Id,
    pub kind: DeliveryKind,
    pub node_id: Arc<str>,
    pub tail: Arc<Tail>,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub(crate) struct StoredEntry {
    pub webhook: Id,
    pub event: Event,
    /// Names the event for targets, in each attempt the same.
    pub event_id: Option<u128>,
    pub reply_id: Option<Arc<str>>,
    /// The WebSocket of the event.
    pub affinity: Option<Affinity>,
    pub deliveries: Vec<StoredDelivery>,
}

impl StoredEntry {
    /// Appends what stands before the event's text.
    pub(crate) fn write_front(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.webhook.raw());
        self.event.write_places(out);
        out.push(u8::from(self.event_id.is_some()));
        if let Some(id) = self.event_id {
            out.extend_from_slice(&id.to_le_bytes());
        }
        write_raw(out, self.event.raw());
        write_short(out, self.reply_id.as_deref().unwrap_or_default().as_bytes());
        match self.affinity {
            None => out.push(0),
            Some(Affinity { key: (core, key), last }) => {
                out.push(IS_WEBSOCKET | if last { IS_LAST } else { 0 });
                out.extend_from_slice(&core.to_le_bytes());
                out.extend_from_slice(&key.index.to_le_bytes());
                out.extend_from_slice(&key.generation.to_le_bytes());
            }
        }
        let mut tails: Vec<&Arc<Tail>> = Vec::new();
        let mut numbers = Vec::with_capacity(self.deliveries.len());
        for StoredDelivery { tail, .. } in &self.deliveries {
            let known = tails.iter().position(|known| Arc::ptr_eq(known, tail));
            numbers.push(known.unwrap_or_else(|| {
                tails.push(tail);
                tails.len() - 1
            }));
        }
        write_u16(out, tails.len());
        for tail in tails {
            let (text, globals) = tail.stored();
            write_long(out, text);
            write_long(out, globals);
        }
        write_u16(out, self.deliveries.len());
        for (delivery, tail) in self.deliveries.iter().zip(numbers) {
            out.extend_from_slice(delivery.flow.raw());
            out.push(match delivery.kind {
                DeliveryKind::Worker => WORKER,
                DeliveryKind::Forward => FORWARD,
            });
            write_u16(out, tail);
            write_short(out, delivery.node_id.as_bytes());
        }
    }

    /// Reads an entry; `None` if the bytes are not those of one.
    #[must_use]
    pub(crate) fn read(bytes: &[u8]) -> Option<StoredEntry> {
        let mut rest = bytes;
        if take(&mut rest, 1)? != [VERSION] {
            return None;
        }
        let webhook = take_id(&mut rest)?;
        let places;
        (places, rest) = rest.split_at_checked(Event::PLACES_BYTES)?;
        let event_id = match take(&mut rest, 1)? {
            [0] => None,
            _ => Some(u128::from_le_bytes(take(&mut rest, 16)?.try_into().ok()?)),
        };
        let raw = take_raw(&mut rest)?;
        let reply_id = Some(take_short(&mut rest)?).filter(|id| !id.is_empty()).map(Arc::from);
        let flags = take(&mut rest, 1)?[0];
        let affinity = if flags & IS_WEBSOCKET == 0 {
            None
        } else {
            let core = take_u16(&mut rest)?;
            let key = Key { index: take_u32(&mut rest)?, generation: take_u32(&mut rest)? };
            Some(Affinity { key: (core, key), last: flags & IS_LAST != 0 })
        };
        let mut tails = Vec::new();
        for _ in 0..take_u16(&mut rest)? {
            tails.push(Arc::new(Tail::restore(take_long(&mut rest)?, take_long(&mut rest)?)));
        }
        let mut deliveries = Vec::new();
        for _ in 0..take_u16(&mut rest)? {
            let flow = take_id(&mut rest)?;
            let kind = match take(&mut rest, 1)? {
                [WORKER] => DeliveryKind::Worker,
                [FORWARD] => DeliveryKind::Forward,
                _ => return None,
            };
            let tail = Arc::clone(tails.get(usize::from(take_u16(&mut rest)?))?);
            deliveries.push(StoredDelivery { flow, kind, node_id: Arc::from(take_short(&mut rest)?), tail });
        }
        let mut event = Event::restore(places, Bytes::copy_from_slice(rest))?;
        if let Some(raw) = raw {
            event = event.with_raw(raw);
        }
        Some(StoredEntry { webhook, event, event_id, reply_id, affinity, deliveries })
    }

    /// The payload of a delivery.
    #[must_use]
    pub(crate) fn payload(&self, delivery: &StoredDelivery) -> Payload {
        Payload { event: self.event.clone(), tail: Arc::clone(&delivery.tail) }
    }
}

fn write_raw(out: &mut Vec<u8>, raw: Option<&RawBody>) {
    out.push(u8::from(raw.is_some()));
    let Some(raw) = raw else { return };
    for field in [&raw.content_type, &raw.content_encoding] {
        out.push(u8::from(field.is_some()));
        if let Some(field) = field {
            write_long(out, field);
        }
    }
    write_long(out, &raw.bytes);
}

fn take_raw(rest: &mut &[u8]) -> Option<Option<RawBody>> {
    if take(rest, 1)? == [0] {
        return Some(None);
    }
    let mut field = || match take(rest, 1)? {
        [0] => Some(None),
        _ => take_long(rest).map(|bytes| Some(Box::from(bytes))),
    };
    let (content_type, content_encoding) = (field()?, field()?);
    Some(Some(RawBody { bytes: Bytes::copy_from_slice(take_long(rest)?), content_type, content_encoding }))
}

fn write_long(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_long<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = take_u32(rest)? as usize;
    take(rest, length)
}

fn write_u16(out: &mut Vec<u8>, number: usize) {
    // A flow has 100 nodes and a node id 100 bytes at most, by far.
    out.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes());
}

fn write_short(out: &mut Vec<u8>, bytes: &[u8]) {
    write_u16(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let taken;
    (taken, *rest) = rest.split_at_checked(count)?;
    Some(taken)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|two| u16::from_le_bytes([two[0], two[1]]))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4).map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

fn take_id(rest: &mut &[u8]) -> Option<Id> {
    take(rest, 12).and_then(|raw| raw.try_into().ok()).map(Id::from_raw)
}

fn take_short<'b>(rest: &mut &'b [u8]) -> Option<&'b str> {
    let length = usize::from(take_u16(rest)?);
    std::str::from_utf8(take(rest, length)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::clock::Now;
    use crate::model::CastBuffersAs;
    use crate::trigger::{HttpData, Parts, Peer, http_draft};

    fn id(number: u8) -> Id {
        Id::from_raw([number; 12])
    }

    fn entry() -> StoredEntry {
        let mut draft = Vec::new();
        let data = HttpData {
            method: b"POST",
            path: b"/a",
            query: None,
            fields: std::iter::empty(),
            body: b"{\"a\":1}",
            peer: Peer::Local,
            peer_is_trusted: false,
            hidden: crate::trigger::Hidden::default(),
            raw_body: false,
            claims: None,
            cast: CastBuffersAs::Array,
            annotate_multipart: false,
            payload_limit: 1000,
            reply_id: None,
        };
        let now = Now { nanos: 0, unix_millis: 1_771_521_960_000 };
        let event = http_draft(&mut draft, now, &data, Parts::ALL).unwrap().keep();
        let tail =
            |number| Arc::new(Tail::new(id(1), "a", id(2), id(number), "f", Arc::from(b"{}".as_slice())));
        let (one, two) = (tail(3), tail(4));
        let deliveries = [(3, "x", &one), (3, "y", &one), (4, "z", &two)];
        let deliveries = deliveries.map(|(flow, node, tail)| StoredDelivery {
            flow: id(flow),
            kind: if flow == 4 { DeliveryKind::Forward } else { DeliveryKind::Worker },
            node_id: node.into(),
            tail: Arc::clone(tail),
        });
        StoredEntry {
            webhook: id(2),
            event,
            event_id: None,
            reply_id: None,
            affinity: None,
            deliveries: deliveries.into(),
        }
    }

    fn bytes(entry: &StoredEntry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.write_front(&mut bytes);
        bytes.extend_from_slice(entry.event.bytes());
        bytes
    }

    #[test]
    fn shares_of_a_delivery_are_parted_and_none_is_made_or_lost() {
        let entry = EntryId { core: 1, sequence: crate::journal::Sequence::new(2, 9) };
        let mut own = Receipt { entry, delivery: 3, share: Receipt::WHOLE };
        let mut given = 0;
        for count in [1, 2, 7, 1_000, 0] {
            let each = own.split(count);
            assert_eq!((each.entry, each.delivery), (own.entry, own.delivery));
            assert!(each.share > 0 && own.share >= each.share, "{count}: {each:?} of {own:?}");
            given += each.share * count as u64;
            assert_eq!(own.share + given, Receipt::WHOLE);
        }
        let mut little = Receipt { share: 3, ..own };
        assert_eq!((little.split(5).share, little.share), (0, 3), "too little to be parted");
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let plain = entry();
        let key = Key { index: 70_000, generation: 9 };
        let affinity = Some(Affinity { key: (3, key), last: true });
        let websocket = StoredEntry { reply_id: Some("a reply".into()), affinity, ..plain.clone() };
        let body = Bytes::from_static(b"{\"a\":1}");
        let raw = RawBody {
            bytes: body,
            content_type: Some(b"application/json".as_slice().into()),
            content_encoding: None,
        };
        let forwarded =
            StoredEntry { event: plain.event.clone().with_raw(raw), event_id: Some(7), ..plain.clone() };
        for entry in [plain, websocket, forwarded] {
            let read = StoredEntry::read(&bytes(&entry)).unwrap();
            assert_eq!(
                (read.webhook, read.affinity, &read.reply_id),
                (entry.webhook, entry.affinity, &entry.reply_id)
            );
            assert_eq!((read.event_id, read.event.raw()), (entry.event_id, entry.event.raw()));
            assert_eq!(read.deliveries.len(), 3);
            for (read_delivery, delivery) in read.deliveries.iter().zip(&entry.deliveries) {
                assert_eq!((read_delivery.flow, &read_delivery.node_id), (delivery.flow, &delivery.node_id));
                assert_eq!(read_delivery.kind, delivery.kind);
                let (mut one, mut two) = (Vec::new(), Vec::new());
                read.payload(read_delivery).write(&mut one);
                entry.payload(delivery).write(&mut two);
                assert_eq!(one, two);
                let payload: serde_json::Value = serde_json::from_slice(&one).unwrap();
                assert_eq!(payload["data"]["body"], json!("{\"a\":1}"));
            }
        }
    }

    #[test]
    fn what_is_cut_is_no_entry() {
        let entry = entry();
        let bytes = bytes(&entry);
        let front = bytes.len() - entry.event.bytes().len();
        for length in 0..front {
            assert!(StoredEntry::read(&bytes[..length]).is_none(), "{length}");
        }
        assert!(StoredEntry::read(&[9, 9]).is_none());
    }
}

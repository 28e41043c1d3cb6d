//! Messages between nodes as bytes: a frame holds the messages of one node to another that waited together.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version of the format |
//! | 12 | node that sends |
//! | 8, 8 | its session with the receiver, and the number of the frame there; 0 and 0 where it is for all |
//! | rest | messages, each: kind (1), flow (12) unless it is of none, fields |
//!
//! Numbers are little endian; texts and payloads follow their length (4).

use bytes::{Buf, Bytes};

use crate::base::id::Id;
use crate::engine::{GuestAnswer, GuestTrigger, NodeEvent, WorkerOffer};

const VERSION: u8 = 1;
/// Bytes before the messages.
const HEAD_BYTES: usize = 1 + 12 + 8 + 8;

const WANT: u8 = 1;
const AVAILABLE: u8 = 2;
const OFFER: u8 = 3;
const TRIGGER: u8 = 4;
const ANSWER: u8 = 5;
const WORKER_GONE: u8 = 6;
const PING: u8 = 7;
const RESUME: u8 = 8;

/// A frame, with the node that sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) from: Id,
    pub(super) session: u64,
    pub(super) number: u64,
    pub(super) events: Vec<NodeEvent>,
}

/// Begins a frame.
pub(super) fn begin(from: Id, session: u64, number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.push(VERSION);
    out.extend_from_slice(from.raw());
    out.extend_from_slice(&session.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out
}

/// Appends a message. One that no node sends is left out.
pub(super) fn push(out: &mut Vec<u8>, event: &NodeEvent) {
    let kind = match event {
        NodeEvent::Want { .. } => WANT,
        NodeEvent::Available { .. } => AVAILABLE,
        NodeEvent::Offer { .. } => OFFER,
        NodeEvent::Trigger(_) => TRIGGER,
        NodeEvent::Answer { .. } => ANSWER,
        NodeEvent::WorkerGone { .. } => WORKER_GONE,
        NodeEvent::Ping => PING,
        NodeEvent::Resume { .. } => RESUME,
        NodeEvent::Gone => return,
    };
    out.push(kind);
    if let Some(flow) = event.flow() {
        out.extend_from_slice(flow.raw());
    }
    let long = |out: &mut Vec<u8>, number: u64| out.extend_from_slice(&number.to_le_bytes());
    let short = |out: &mut Vec<u8>, number: u32| out.extend_from_slice(&number.to_le_bytes());
    let text = |out: &mut Vec<u8>, bytes: &[u8]| {
        // Nothing that is sent has 4 GiB.
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    match event {
        NodeEvent::Want { triggers, .. } => short(out, *triggers),
        NodeEvent::Offer { workers, .. } => {
            short(out, u32::try_from(workers.len()).unwrap_or(u32::MAX));
            for WorkerOffer { worker, credit } in workers {
                long(out, *worker);
                short(out, *credit);
            }
        }
        NodeEvent::Trigger(trigger) => {
            long(out, trigger.worker);
            long(out, trigger.link);
            long(out, trigger.seq);
            short(out, trigger.attempt);
            long(out, trigger.ack_timeout_nanos);
            short(out, trigger.max_in_flight);
            text(out, trigger.node_id.as_bytes());
            text(out, trigger.reply_id.as_deref().unwrap_or_default().as_bytes());
            text(out, &trigger.payload);
        }
        NodeEvent::Answer { worker, link, seq, answer, .. } => {
            long(out, *worker);
            long(out, *link);
            long(out, *seq);
            out.push(match answer {
                GuestAnswer::Acked => 0,
                GuestAnswer::Returned => 1,
                GuestAnswer::NotTaken => 2,
            });
        }
        NodeEvent::WorkerGone { worker, .. } | NodeEvent::Resume { worker, .. } => long(out, *worker),
        NodeEvent::Available { .. } | NodeEvent::Ping | NodeEvent::Gone => {}
    }
}

/// Reads a frame; `None` if it is not one of this version.
pub(super) fn read(mut bytes: Bytes) -> Option<Frame> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let from = id(&mut bytes)?;
    let session = bytes.try_get_u64_le().ok()?;
    let number = bytes.try_get_u64_le().ok()?;
    let mut events = Vec::new();
    while bytes.has_remaining() {
        events.push(event(&mut bytes)?);
    }
    Some(Frame { from, session, number, events })
}

fn event(bytes: &mut Bytes) -> Option<NodeEvent> {
    let kind = bytes.try_get_u8().ok()?;
    if kind == PING {
        return Some(NodeEvent::Ping);
    }
    let flow = id(bytes)?;
    Some(match kind {
        WANT => NodeEvent::Want { flow, triggers: short(bytes)? },
        AVAILABLE => NodeEvent::Available { flow },
        OFFER => {
            let mut workers = Vec::new();
            for _ in 0..short(bytes)? {
                let (worker, credit) = (long(bytes)?, short(bytes)?);
                workers.push(WorkerOffer { worker, credit });
            }
            NodeEvent::Offer { flow, workers }
        }
        TRIGGER => NodeEvent::Trigger(Box::new(GuestTrigger {
            flow,
            worker: long(bytes)?,
            link: long(bytes)?,
            seq: long(bytes)?,
            attempt: short(bytes)?,
            ack_timeout_nanos: long(bytes)?,
            max_in_flight: short(bytes)?,
            node_id: text(bytes)?,
            reply_id: Some(text(bytes)?).filter(|id| !id.is_empty()),
            payload: blob(bytes)?,
        })),
        ANSWER => {
            let (worker, link, seq) = (long(bytes)?, long(bytes)?, long(bytes)?);
            let answer = match bytes.try_get_u8().ok()? {
                0 => GuestAnswer::Acked,
                1 => GuestAnswer::Returned,
                2 => GuestAnswer::NotTaken,
                _ => return None,
            };
            NodeEvent::Answer { flow, worker, link, seq, answer }
        }
        RESUME => NodeEvent::Resume { flow, worker: long(bytes)? },
        WORKER_GONE => NodeEvent::WorkerGone { flow, worker: long(bytes)? },
        _ => return None,
    })
}

fn id(bytes: &mut Bytes) -> Option<Id> {
    let mut raw = [0; 12];
    bytes.try_copy_to_slice(&mut raw).ok()?;
    Some(Id::from_raw(raw))
}

fn short(bytes: &mut Bytes) -> Option<u32> {
    bytes.try_get_u32_le().ok()
}

fn long(bytes: &mut Bytes) -> Option<u64> {
    bytes.try_get_u64_le().ok()
}

fn blob(bytes: &mut Bytes) -> Option<Bytes> {
    let length = short(bytes)? as usize;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn text(bytes: &mut Bytes) -> Option<Box<str>> {
    std::str::from_utf8(&blob(bytes)?).ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<NodeEvent> {
        let flow = Id::from_raw([7; 12]);
        let trigger = GuestTrigger {
            flow,
            worker: 1,
            link: 3,
            seq: 4,
            attempt: 5,
            ack_timeout_nanos: 6,
            max_in_flight: 7,
            node_id: "node".into(),
            reply_id: Some("a.b".into()),
            payload: Bytes::from_static(b"{\"a\":1}"),
        };
        let workers = vec![WorkerOffer { worker: 9, credit: 7 }; 2];
        let mut events = vec![
            NodeEvent::Want { flow, triggers: 3 },
            NodeEvent::Available { flow },
            NodeEvent::Offer { flow, workers },
            NodeEvent::Trigger(Box::new(GuestTrigger { reply_id: None, ..trigger.clone() })),
            NodeEvent::Trigger(Box::new(trigger)),
            NodeEvent::WorkerGone { flow, worker: 9 },
            NodeEvent::Resume { flow, worker: 9 },
            NodeEvent::Ping,
        ];
        for answer in [GuestAnswer::Acked, GuestAnswer::Returned, GuestAnswer::NotTaken] {
            events.push(NodeEvent::Answer { flow, worker: 1, link: 2, seq: 3, answer });
        }
        events
    }

    #[test]
    fn a_frame_is_read_as_it_was_written_and_one_that_is_cut_is_not() {
        let from = Id::from_raw([1; 12]);
        let mut out = begin(from, 5, 6);
        let mut ends = vec![out.len()];
        for event in events() {
            push(&mut out, &event);
            ends.push(out.len());
        }
        let whole = Frame { from, session: 5, number: 6, events: events() };
        assert_eq!(read(Bytes::copy_from_slice(&out)), Some(whole));
        for length in 0..out.len() {
            let cut = read(Bytes::copy_from_slice(&out[..length]));
            assert_eq!(cut.is_some(), ends.contains(&length), "{length}");
        }
        out[0] = 2;
        assert_eq!(read(out.into()), None);
    }

    #[test]
    fn the_departure_of_a_node_is_said_by_no_other() {
        let mut out = Vec::new();
        push(&mut out, &NodeEvent::Gone);
        assert!(out.is_empty());
    }
}

//! The bundles of a node on one stream, without a connection: what the cores hand over becomes one message at a time, which
//! is repeated under the same id until its fate is known; what no core needs any more is purged.
//!
//! ```text
//! waiting ─▶ published ─ acked ─▶ stored ─ not needed ─▶ purged
//!              ▲    │ no answer, no stream, no leader
//!              └────┘ a pause, the same id
//! ```
//!
//! **Invariants**: at most one message is under way; a message keeps its id and its bytes for as long as its fate is not
//! known; a purge takes nothing that a core needs.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::base::clock::NANOS_PER_SECOND;
use crate::journal::{BATCH_BYTES_MAX, BUNDLE_START, Batch, BatchFate};

/// Time for the ack of one attempt: acks of earlier attempts count too.
const ATTEMPT_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Pause after an attempt without an ack; it doubles up to the longest.
const PAUSE_NANOS: u64 = NANOS_PER_SECOND / 10;
const PAUSE_NANOS_MAX: u64 = NANOS_PER_SECOND;
/// Time between two purges: one costs the server some milliseconds.
const PURGE_NANOS: u64 = NANOS_PER_SECOND;

/// Answer to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardAnswer {
    /// It is stored, under this number of the stream; by this attempt or an earlier one.
    Stored { sequence: u64 },
    /// It is not: the stream is full.
    Full,
    /// It is not, and no repeat will be: the server takes no such message.
    Refused,
    /// Nobody knows: no stream answers, or what it says is no answer.
    Unknown,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardAction {
    /// Publish a message; `number` makes its id.
    Publish { number: u64, message: Bytes },
    /// Tell a core the fate of its batch.
    Tell { core: u16, batch: u64, fate: BatchFate },
    /// Purge the node's messages below this number of the stream.
    Purge { below: u64 },
}

/// The state of a core's batches, as this node knows it.
#[derive(Default)]
struct CoreBatches {
    needed_from: u64,
    /// Those that are stored, and needed when it was last heard of, with their numbers in the stream.
    stored: VecDeque<(u64, u64)>,
}

struct PublishInFlight {
    number: u64,
    message: Bytes,
    batches: Vec<(u16, u64)>,
    pause_nanos: u64,
    next: NextPublish,
}

enum NextPublish {
    /// An answer is awaited until then.
    Answer(u64),
    /// It is published again then.
    Publish(u64),
}

/// The bundles on one stream.
#[derive(Default)]
pub struct Shard {
    waiting: VecDeque<(u16, Batch)>,
    flight: Option<PublishInFlight>,
    next_number: u64,
    cores: HashMap<u16, CoreBatches, ahash::RandomState>,
    /// The newest number of the stream that is known.
    newest: u64,
    purged_below: u64,
    purge_at: u64,
    is_purging: bool,
}

impl Shard {
    /// Takes a batch of a core, which has no other under way.
    pub fn hand_over(&mut self, core: u16, batch: Batch, now: u64, actions: &mut Vec<ShardAction>) {
        self.cores.entry(core).or_default().needed_from = batch.needed_from;
        self.waiting.push_back((core, batch));
        self.publish_next(now, actions);
    }

    /// Takes an answer to the message `number`.
    pub fn on_answer(&mut self, number: u64, answer: ShardAnswer, now: u64, actions: &mut Vec<ShardAction>) {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.number == number) else { return };
        let fate = match answer {
            ShardAnswer::Unknown => {
                // Of one attempt: another one may have been stored.
                if matches!(flight.next, NextPublish::Answer(_)) {
                    flight.next = NextPublish::Publish(now + flight.pause_nanos);
                    flight.pause_nanos = (flight.pause_nanos * 2).min(PAUSE_NANOS_MAX);
                }
                return;
            }
            ShardAnswer::Stored { sequence } => {
                self.newest = self.newest.max(sequence);
                for (core, batch) in &flight.batches {
                    self.cores.entry(*core).or_default().stored.push_back((*batch, sequence));
                }
                BatchFate::Stored
            }
            ShardAnswer::Full => BatchFate::Full,
            ShardAnswer::Refused => BatchFate::Refused,
        };
        let batches = self.flight.take().map(|flight| flight.batches).unwrap_or_default();
        actions.extend(batches.into_iter().map(|(core, batch)| ShardAction::Tell { core, batch, fate }));
        self.publish_next(now, actions);
    }

    /// A purge has ended, well or not.
    pub fn on_purged(&mut self, below: u64, is_done: bool, now: u64) {
        self.is_purging = false;
        self.purge_at = now + PURGE_NANOS;
        if is_done {
            self.purged_below = self.purged_below.max(below);
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: u64, actions: &mut Vec<ShardAction>) {
        if let Some(flight) = &mut self.flight {
            match flight.next {
                NextPublish::Answer(until) if until <= now => {
                    flight.next = NextPublish::Publish(now + flight.pause_nanos);
                    flight.pause_nanos = (flight.pause_nanos * 2).min(PAUSE_NANOS_MAX);
                }
                NextPublish::Publish(at) if at <= now => {
                    flight.next = NextPublish::Answer(now + ATTEMPT_NANOS);
                    actions.push(ShardAction::Publish {
                        number: flight.number,
                        message: flight.message.clone(),
                    });
                }
                NextPublish::Answer(_) | NextPublish::Publish(_) => {}
            }
        }
        if self.purge_at <= now && !self.is_purging {
            let below = self.needed();
            if below > self.purged_below {
                self.is_purging = true;
                actions.push(ShardAction::Purge { below });
            }
        }
    }

    /// When [`Shard::on_time`] has something to do.
    #[must_use]
    pub fn deadline(&mut self) -> Option<u64> {
        let flight = self.flight.as_ref().map(|flight| match flight.next {
            NextPublish::Answer(at) | NextPublish::Publish(at) => at,
        });
        let purge = (!self.is_purging && self.needed() > self.purged_below).then_some(self.purge_at);
        [flight, purge].into_iter().flatten().min()
    }

    /// Whether nothing waits or is under way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.flight.is_none() && self.waiting.is_empty()
    }

    /// The lowest number of the stream that a core needs; all below may be purged.
    fn needed(&mut self) -> u64 {
        let mut needed = self.newest + 1;
        for core in self.cores.values_mut() {
            while core.stored.front().is_some_and(|(batch, _)| *batch < core.needed_from) {
                core.stored.pop_front();
            }
            // The first is the lowest: a batch is published when the one before is stored.
            needed = core.stored.front().map_or(needed, |(_, sequence)| needed.min(*sequence));
        }
        needed
    }

    /// Publishes what waits as one message, if none is under way.
    fn publish_next(&mut self, now: u64, actions: &mut Vec<ShardAction>) {
        if self.flight.is_some() || self.waiting.is_empty() {
            return;
        }
        let (mut message, mut batches) = (BUNDLE_START.to_vec(), Vec::new());
        while let Some((core, batch)) = self.waiting.pop_front() {
            if !batches.is_empty() && message.len() + batch.records.len() > BATCH_BYTES_MAX {
                self.waiting.push_front((core, batch));
                break;
            }
            message.extend_from_slice(&batch.records);
            batches.push((core, batch.number));
        }
        let (number, message) = (self.next_number, Bytes::from(message));
        self.next_number += 1;
        actions.push(ShardAction::Publish { number, message: message.clone() });
        let next = NextPublish::Answer(now + ATTEMPT_NANOS);
        self.flight = Some(PublishInFlight { number, message, batches, pause_nanos: PAUSE_NANOS, next });
    }
}

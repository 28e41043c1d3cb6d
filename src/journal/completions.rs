//! Completions that are not written yet.

use std::collections::VecDeque;

use super::index::{Completed, Open, OpenIndex};
use super::record::{COMPLETION_BYTES, HEADER_BYTES, RECORD_ALIGN};
use super::sequence::Sequence;

/// Time that a completion waits for a write to ride along with before it causes one. A completion that is lost in a crash
/// costs a repeated delivery, which a crash may cause anyway.
pub const COMPLETION_DELAY_NANOS: u64 = 100_000_000;

/// Completions in one record: it stays smaller than a write.
const COMPLETIONS_PER_RECORD_MAX: usize = 65_536;

/// Completions that wait for a write.
#[derive(Debug, Default)]
pub(super) struct Completions {
    waiting: VecDeque<(Sequence, u16)>,
    /// When the first of them was told.
    since_nanos: u64,
    /// Of entries that are not durable yet.
    early: Vec<(Sequence, u16)>,
}

impl Completions {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes that a delivery is done, or all deliveries of an entry. Of one that is not open it is kept if the entry
    /// `is_awaited`, not durable yet; else it is ignored. Returns the place of an entry that is no longer open.
    pub(super) fn note(
        &mut self,
        open: &mut OpenIndex,
        (sequence, delivery): (Sequence, u16),
        is_awaited: bool,
        now: u64,
    ) -> Option<Open> {
        let completed = open.complete(sequence, delivery);
        match completed {
            Completed::Entry(_) | Completed::Delivery => self.push(sequence, delivery, now),
            Completed::Unknown if is_awaited => self.early.push((sequence, delivery)),
            Completed::Unknown => {}
        }
        match completed {
            Completed::Entry(place) => Some(place),
            Completed::Delivery | Completed::Unknown => None,
        }
    }

    /// Takes those that were told before their entries were durable: to be told again.
    pub(super) fn take_early(&mut self) -> Vec<(Sequence, u16)> {
        std::mem::take(&mut self.early)
    }

    /// Forgets those of entries that are not durable: they have failed.
    pub(super) fn forget_early(&mut self) {
        self.early.clear();
    }

    /// Forgets those of entries up to one, which have failed.
    pub(super) fn forget_early_to(&mut self, last: Sequence) {
        self.early.retain(|(sequence, _)| *sequence > last);
    }

    pub(super) fn push(&mut self, sequence: Sequence, delivery: u16, now: u64) {
        if self.waiting.is_empty() {
            self.since_nanos = now;
        }
        self.waiting.push_back((sequence, delivery));
    }

    /// When they cause a write of their own.
    pub(super) fn due_nanos(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then(|| self.since_nanos.saturating_add(COMPLETION_DELAY_NANOS))
    }

    /// Takes the oldest, as many as a record of at most `bytes` holds.
    pub(super) fn take(&mut self, bytes: usize) -> Vec<(Sequence, u16)> {
        let payload_bytes = bytes.saturating_sub(HEADER_BYTES + RECORD_ALIGN - 1);
        let count = (payload_bytes / COMPLETION_BYTES).min(COMPLETIONS_PER_RECORD_MAX);
        self.waiting.drain(..count.min(self.waiting.len())).collect()
    }

    /// Puts completions back whose write failed: they are due at once.
    pub(super) fn put_back(&mut self, completions: impl Iterator<Item = (Sequence, u16)>) {
        self.waiting.extend(completions);
        self.since_nanos = 0;
    }
}

//! Completions that are not written yet.

use std::collections::VecDeque;

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
}

impl Completions {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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

//! One record: a call and what became of it.

use std::sync::Arc;

use super::entry::{CallAnswer, Entry, Fate, Kind, RecordedCall, read_entry};
use crate::base::id::Id;

/// Memory of a record beside the bytes of its entries.
const RECORD_BYTES: usize = 160;
/// Memory of a further entry of a record beside its bytes.
const ENTRY_BYTES: usize = 32;

/// One record: a call and what became of it. A clone shares the bytes.
#[derive(Clone, Debug)]
pub struct Record {
    pub(super) id: Id,
    pub(super) call: Arc<[u8]>,
    pub(super) answer: Option<Arc<[u8]>>,
    pub(super) fates: Vec<Arc<[u8]>>,
    /// Refusals that it stands for.
    pub(super) count: u32,
    pub(super) unix_millis: u64,
    pub(super) last_millis: u64,
    /// The segment that holds its call.
    pub(super) segment: u32,
}

impl Record {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> Option<RecordedCall<'_>> {
        match read_entry(&self.call) {
            Some(Entry::Call(call)) => Some(call),
            _ => None,
        }
    }

    /// The answer; `None` while there is none.
    #[must_use]
    pub fn answer(&self) -> Option<CallAnswer<'_>> {
        match read_entry(self.answer.as_deref()?) {
            Some(Entry::Answer(answer)) => Some(answer),
            _ => None,
        }
    }

    /// Its fates at flows and nodes, in the order in which they were first told.
    pub fn fates(&self) -> impl Iterator<Item = Fate<'_>> {
        self.fates.iter().filter_map(|bytes| match read_entry(bytes) {
            Some(Entry::Fate(fate)) => Some(fate),
            _ => None,
        })
    }

    /// Refusals that it stands for; 1 for everything else.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// When it was called, in milliseconds since 1970.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    /// When the last of the calls that it stands for was received.
    #[must_use]
    pub fn last_millis(&self) -> u64 {
        self.last_millis
    }

    /// The segment that holds its call.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Appends the entries that it is made of again.
    pub fn write(&self, webhook: Id, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.call);
        self.answer.iter().for_each(|answer| out.extend_from_slice(answer));
        self.fates.iter().for_each(|fate| out.extend_from_slice(fate));
        if self.count > 1 {
            let (folded, unix_millis) = (self.count - 1, self.last_millis);
            Entry::Count { webhook, unix_millis, skipped: 0, folded }.write(out);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let fates = self.fates.iter().map(|fate| fate.len() + ENTRY_BYTES).sum::<usize>();
        RECORD_BYTES + self.call.len() + self.answer.as_ref().map_or(0, |bytes| bytes.len()) + fates
    }

    /// Whether it is a refusal like another, whose records are one.
    pub(super) fn is_like(&self, other: &Record) -> bool {
        let (Some(one), Some(two)) = (self.call(), other.call()) else { return false };
        let (Some(left), Some(right)) = (self.answer(), other.answer()) else { return false };
        one.kind == Kind::Request
            && one.kind == two.kind
            && !left.refusal.is_empty()
            && (left.status, left.refusal) == (right.status, right.refusal)
            && (one.method, one.path, one.replay_of) == (two.method, two.path, two.replay_of)
    }
}

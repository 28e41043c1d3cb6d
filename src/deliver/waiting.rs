//! The triggers of a flow that no worker has yet, in order, and how many there are of each WebSocket connection: a
//! later trigger of a connection must queue up behind them even where its worker is known by now.

use std::collections::{HashMap, VecDeque};

use super::workers::WorkerTrigger;
use crate::base::slots::Key;

/// A trigger, and a worker that has failed with it and gets it back only where there is no other.
pub(super) type Entry = (WorkerTrigger, Option<Key>);

/// The list. Invariant: `of_connection` counts what is in `list` and has an affinity and no worker that failed; a count
/// is never 0. (What a worker has failed with does not hold back what follows: only that trigger moves.)
#[derive(Default)]
pub(super) struct Waiting {
    list: VecDeque<Entry>,
    of_connection: HashMap<(u16, Key), u32, ahash::RandomState>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a trigger of the connection waits that no worker has had.
    pub(super) fn has_of(&self, connection: (u16, Key)) -> bool {
        self.of_connection.contains_key(&connection)
    }

    pub(super) fn get(&self, place: usize) -> Option<&Entry> {
        self.list.get(place)
    }

    /// Whether one of the first `count` is of the connection.
    pub(super) fn is_among_first(&self, count: usize, connection: (u16, Key)) -> bool {
        let mut first = self.list.iter().take(count);
        first.any(|(trigger, _)| trigger.affinity.is_some_and(|other| other.key == connection))
    }

    pub(super) fn push_back(&mut self, entry: Entry) {
        self.count(&entry);
        self.list.push_back(entry);
    }

    pub(super) fn push_front(&mut self, entry: Entry) {
        self.count(&entry);
        self.list.push_front(entry);
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.list.remove(place)?;
        uncount(&mut self.of_connection, &entry);
        Some(entry)
    }

    /// Keeps those for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&WorkerTrigger) -> bool) {
        let counts = &mut self.of_connection;
        self.list.retain(|entry| {
            let kept = keep(&entry.0);
            if !kept {
                uncount(counts, entry);
            }
            kept
        });
    }

    /// Takes all of them out, in order.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        self.of_connection.clear();
        std::mem::take(&mut self.list)
    }

    fn count(&mut self, entry: &Entry) {
        if let Some(connection) = counted(entry) {
            *self.of_connection.entry(connection).or_insert(0) += 1;
        }
    }
}

/// The connection that the entry counts for.
fn counted((trigger, not): &Entry) -> Option<(u16, Key)> {
    if not.is_some() { None } else { trigger.affinity.map(|affinity| affinity.key) }
}

fn uncount(counts: &mut HashMap<(u16, Key), u32, ahash::RandomState>, entry: &Entry) {
    let Some(connection) = counted(entry) else { return };
    if let Some(count) = counts.get_mut(&connection) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&connection);
        }
    }
}

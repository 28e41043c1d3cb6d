//! The open entries of a core, and where each stands.

use std::collections::{HashMap, VecDeque};

use super::record::{ALL_DELIVERIES, EntryKind};
use super::sequence::Sequence;

/// Numbers the segments of a journal in the order in which it opened them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentIndex(pub(super) u32);

/// An entry that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) segment: SegmentIndex,
    pub(super) offset: u32,
    pub(super) record_bytes: u32,
    /// Deliveries that are not done.
    remaining: u16,
    deliveries: u16,
    pub(super) kind: EntryKind,
}

impl Open {
    pub(super) fn new(
        segment: SegmentIndex,
        offset: u32,
        record_bytes: u32,
        deliveries: u16,
        kind: EntryKind,
    ) -> Open {
        let deliveries = deliveries.max(1);
        Open { segment, offset, record_bytes, remaining: deliveries, deliveries, kind }
    }

    pub(super) fn deliveries(&self) -> u16 {
        self.deliveries
    }

    /// Takes the place of another copy; returns the old place.
    pub(super) fn move_to(&mut self, copy: &Open) -> Open {
        let Open { segment, offset, record_bytes, .. } = *copy;
        std::mem::replace(self, Open { segment, offset, record_bytes, ..*self })
    }
}

/// Deliveries of an entry that are done, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeliverySet(Vec<u64>);

impl DeliverySet {
    /// Adds a delivery; `false` if it is there.
    pub(super) fn insert(&mut self, delivery: u16) -> bool {
        let (word, bit) = (usize::from(delivery / 64), 1 << (delivery % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    pub(super) fn contains(&self, delivery: u16) -> bool {
        self.0.get(usize::from(delivery / 64)).is_some_and(|word| word & 1 << (delivery % 64) != 0)
    }

    /// The deliveries.
    pub(super) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..(self.0.len() * 64) as u16).filter(|delivery| self.contains(*delivery))
    }

    /// How many of the first `deliveries` it holds.
    pub(super) fn count(&self, deliveries: u16) -> u16 {
        (0..deliveries).filter(|delivery| self.contains(*delivery)).count() as u16
    }
}

/// Effect of a completion on an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The last delivery: the entry is no longer open.
    Entry(Open),
    /// One of several.
    Delivery,
    /// No such delivery is open.
    Unknown,
}

/// The open entries.
#[derive(Default)]
pub(super) struct OpenIndex {
    entries: HashMap<Sequence, Open, ahash::RandomState>,
    /// Of entries with several deliveries of which some are done.
    partial: HashMap<Sequence, DeliverySet, ahash::RandomState>,
    /// Open entries by age, with the milliseconds of their acceptance; and some that are done.
    ages: VecDeque<(Sequence, u64)>,
}

/// Entries of `ages` that are done, beside the open ones, before it is cleaned.
const STALE_AGES_MAX: usize = 1024;

impl OpenIndex {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&Open> {
        self.entries.get(&sequence)
    }

    pub(super) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut Open> {
        self.entries.get_mut(&sequence)
    }

    /// Adds an entry that is younger than all others.
    pub(super) fn insert(&mut self, sequence: Sequence, open: Open, unix_millis: u64) {
        self.entries.insert(sequence, open);
        self.ages.push_back((sequence, unix_millis));
        if self.ages.len() > 2 * self.entries.len() + STALE_AGES_MAX {
            self.ages.retain(|(sequence, _)| self.entries.contains_key(sequence));
        }
    }

    /// Adds an entry some of whose deliveries were done before.
    pub(super) fn insert_partial(
        &mut self,
        sequence: Sequence,
        open: Open,
        unix_millis: u64,
        done: DeliverySet,
    ) {
        let remaining = open.deliveries - done.count(open.deliveries);
        self.insert(sequence, Open { remaining, ..open }, unix_millis);
        self.partial.insert(sequence, done);
    }

    /// Notes that a delivery is done, or all of them.
    pub(super) fn complete(&mut self, sequence: Sequence, delivery: u16) -> Completed {
        let Some(open) = self.entries.get_mut(&sequence) else { return Completed::Unknown };
        if delivery != ALL_DELIVERIES {
            let is_new = delivery < open.deliveries
                && (open.deliveries == 1 || self.partial.entry(sequence).or_default().insert(delivery));
            if !is_new {
                return Completed::Unknown;
            }
            open.remaining -= 1;
            if open.remaining > 0 {
                return Completed::Delivery;
            }
        }
        self.partial.remove(&sequence);
        self.entries.remove(&sequence).map_or(Completed::Unknown, Completed::Entry)
    }

    /// Takes out an entry that is lost.
    pub(super) fn remove(&mut self, sequence: Sequence) -> Option<Open> {
        self.partial.remove(&sequence);
        self.entries.remove(&sequence)
    }

    /// Whether a delivery of an open entry is done.
    pub(super) fn is_done(&self, sequence: Sequence, delivery: u16) -> bool {
        self.partial.get(&sequence).is_some_and(|done| done.contains(delivery))
    }

    /// Deliveries of an open entry that are done.
    pub(super) fn done(&self, sequence: Sequence) -> Option<&DeliverySet> {
        self.partial.get(&sequence)
    }

    /// The open entries in a segment.
    pub(super) fn in_segment(&self, segment: SegmentIndex) -> Vec<Sequence> {
        let inside = self.entries.iter().filter(|(_, open)| open.segment == segment);
        inside.map(|(sequence, _)| *sequence).collect()
    }

    /// The open entries, by age.
    pub(super) fn sequences(&self) -> Vec<Sequence> {
        let open = self.ages.iter().filter(|(sequence, _)| self.entries.contains_key(sequence));
        open.map(|(sequence, _)| *sequence).collect()
    }

    /// Milliseconds since 1970 when the oldest open entry was accepted.
    pub(super) fn oldest_unix_millis(&mut self) -> Option<u64> {
        while let Some((sequence, unix_millis)) = self.ages.front() {
            if self.entries.contains_key(sequence) {
                return Some(*unix_millis);
            }
            self.ages.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(deliveries: u16) -> Open {
        Open::new(SegmentIndex(0), 4096, 40, deliveries, EntryKind(0))
    }

    #[test]
    fn an_entry_is_done_with_the_last_of_its_deliveries_each_counted_once() {
        let mut index = OpenIndex::default();
        let sequence = Sequence::new(0, 1);
        index.insert(sequence, open(70), 5);
        for delivery in 0..69 {
            assert_eq!(index.complete(sequence, delivery), Completed::Delivery);
            assert_eq!(index.complete(sequence, delivery), Completed::Unknown, "a second time");
        }
        assert_eq!(index.complete(sequence, 70), Completed::Unknown, "there is no such delivery");
        assert!(index.is_done(sequence, 68) && !index.is_done(sequence, 69));
        assert!(matches!(index.complete(sequence, 69), Completed::Entry(_)));
        assert_eq!((index.len(), index.oldest_unix_millis()), (0, None));
        assert!(index.partial.is_empty());
    }

    #[test]
    fn all_deliveries_end_at_once() {
        let mut index = OpenIndex::default();
        let sequence = Sequence::new(0, 1);
        let mut done = DeliverySet::default();
        assert!(done.insert(1));
        index.insert_partial(sequence, open(3), 5, done);
        assert_eq!(index.complete(sequence, 1), Completed::Unknown);
        assert!(matches!(index.complete(sequence, ALL_DELIVERIES), Completed::Entry(_)));
        assert_eq!(index.complete(sequence, 0), Completed::Unknown);
        assert!(index.partial.is_empty());
    }

    #[test]
    fn the_oldest_is_found_and_what_is_done_takes_bounded_memory() {
        let mut index = OpenIndex::default();
        index.insert(Sequence::new(0, 1), open(1), 7);
        for counter in 2..20_000 {
            index.insert(Sequence::new(0, counter), open(1), 7 + counter);
            index.complete(Sequence::new(0, counter), 0);
        }
        assert!(index.ages.len() <= STALE_AGES_MAX + 4);
        assert_eq!(index.oldest_unix_millis(), Some(7));
        index.complete(Sequence::new(0, 1), 0);
        assert_eq!(index.oldest_unix_millis(), None);
    }
}

//! The records of all webhooks, made of the entries of all cores.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::entry::{CallAnswer, Entry, Fate, RecordedCall, read_entries};
use super::noted::Noted;
use super::query::RecordQuery;
use super::rings::{RING_BYTES, RecordRing, Rings};
use super::stored::Record;
use crate::base::id::Id;

/// Fates that wait for records: those of some hand-overs of the busiest cores. What became of a call that is no record is
/// among them, and forgotten.
const EARLY_FATES_MAX: usize = 4_096;
/// Fates that a record keeps: a flow has few nodes, and a webhook few flows. Those of further ones are left out.
const FATES_MAX: usize = 64;

/// Bounds over all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookLimits {
    /// Memory that they take.
    pub bytes: usize,
    /// How long they are kept.
    pub age_millis: u64,
}

/// A part of a webhook's records.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The newest first.
    pub records: Vec<Record>,
    /// Records that are as they were asked for, on all pages.
    pub total: usize,
    /// Calls since the start that were not recorded.
    pub skipped: u64,
}

/// The records of all webhooks.
pub struct Book {
    limits: BookLimits,
    rings: Rings,
    last_calls: HashMap<Id, u64, ahash::RandomState>,
    /// Fates whose records are on their way from another core.
    early: EarlyFates,
    /// The webhook and the record that an answer was taken for last: a count that follows is of it.
    answered: Option<(Id, Id)>,
    bytes: usize,
    records: usize,
}

/// Fates that wait for their records: the newest, in the order in which they came.
#[derive(Default)]
struct EarlyFates {
    waiting: HashMap<Id, Vec<Arc<[u8]>>, ahash::RandomState>,
    order: VecDeque<Id>,
}

impl EarlyFates {
    fn push(&mut self, record: Id, fate: &[u8]) {
        if self.order.len() >= EARLY_FATES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.waiting.remove(&oldest);
        }
        self.order.push_back(record);
        self.waiting.entry(record).or_default().push(fate.into());
    }

    fn take(&mut self, record: Id) -> Vec<Arc<[u8]>> {
        if self.waiting.is_empty() { Vec::new() } else { self.waiting.remove(&record).unwrap_or_default() }
    }
}

impl Book {
    /// Without records.
    #[must_use]
    pub fn new(limits: BookLimits) -> Book {
        Book {
            limits,
            rings: Rings::default(),
            last_calls: HashMap::default(),
            early: EarlyFates::default(),
            answered: None,
            bytes: 0,
            records: 0,
        }
    }

    /// Takes the entries of a batch, which `segment` of the disk holds; appends what watchers are told.
    pub fn apply(&mut self, batch: &[u8], segment: u32, noted: &mut Vec<Noted>) {
        for (entry, bytes) in read_entries(batch) {
            match entry {
                Entry::Call(call) => self.on_call(&call, bytes, segment),
                Entry::Answer(answer) => self.on_answer(&answer, bytes, noted),
                Entry::Fate(fate) => self.on_fate(&fate, bytes, noted),
                Entry::Count { webhook, unix_millis, skipped, folded } => {
                    self.on_count(webhook, unix_millis, (skipped, folded), noted);
                }
                Entry::LastCall { webhook, unix_millis } => self.note_call(webhook, unix_millis),
                Entry::Gone { webhook } => self.remove(webhook),
            }
        }
    }

    fn note_call(&mut self, webhook: Id, unix_millis: u64) {
        let last = self.last_calls.entry(webhook).or_insert(0);
        *last = unix_millis.max(*last);
    }

    fn on_call(&mut self, call: &RecordedCall<'_>, bytes: &[u8], segment: u32) {
        if !call.is_sent {
            self.note_call(call.webhook, call.unix_millis);
        }
        let record = Record {
            id: call.id,
            call: bytes.into(),
            answer: None,
            fates: self.early.take(call.id),
            count: 1,
            unix_millis: call.unix_millis,
            last_millis: call.unix_millis,
            segment,
        };
        let (ring, is_new) = self.rings.get_or_make(call.webhook);
        self.bytes += if is_new { RING_BYTES } else { 0 };
        // The clocks of two cores are apart by a hand-over; what was moved forward on the disk is read late.
        let later = ring.records.iter().rev();
        let later = later.take_while(|known| (known.unix_millis, known.id) > (record.unix_millis, record.id));
        let at = ring.records.len() - later.count();
        self.bytes += record.bytes();
        if let Some(known) = at.checked_sub(1).and_then(|before| ring.records.get_mut(before))
            && known.id == record.id
        {
            self.bytes -= known.bytes();
            *known = record;
        } else {
            ring.records.insert(at, record);
            self.records += 1;
        }
        while ring.records.len() > call.events as usize {
            let Some(gone) = ring.records.pop_front() else { break };
            self.bytes -= gone.bytes();
            self.records -= 1;
        }
        if ring.records.is_empty() {
            self.drop_ring(call.webhook);
        }
        self.keep_bounds();
    }

    fn on_answer(&mut self, answer: &CallAnswer<'_>, bytes: &[u8], noted: &mut Vec<Noted>) {
        let Some(ring) = self.rings.get_mut(answer.webhook, false) else { return };
        let Some(at) = place_of(ring, answer.record) else { return };
        let Some(record) = ring.records.get_mut(at) else { return };
        let before = record.bytes();
        let is_new = record.answer.replace(bytes.into()).is_none();
        let after = record.bytes();
        self.bytes = self.bytes + after - before;
        let is_folded = is_new
            && at.checked_sub(1).is_some_and(|before| {
                matches!((ring.records.get(before), ring.records.get(at)), (Some(one), Some(two)) if one.is_like(two))
            });
        let mut told = answer.record;
        if is_folded
            && let Some(folded) = ring.records.remove(at)
            && let Some(like) = ring.records.get_mut(at - 1)
        {
            like.count = like.count.saturating_add(folded.count);
            like.last_millis = like.last_millis.max(folded.last_millis);
            told = like.id;
            self.bytes -= folded.bytes();
            self.records -= 1;
        }
        self.answered = Some((answer.webhook, told));
        noted.push(Noted::Record { webhook: answer.webhook, id: told, is_new: is_new && !is_folded });
        self.keep_bounds();
    }

    fn on_fate(&mut self, fate: &Fate<'_>, bytes: &[u8], noted: &mut Vec<Noted>) {
        let ring = self.rings.get_mut(fate.webhook, false);
        let record =
            ring.and_then(|ring| place_of(ring, fate.record).and_then(|at| ring.records.get_mut(at)));
        let Some(record) = record else { return self.early.push(fate.record, bytes) };
        let before = record.bytes();
        let known = record.fates().position(|known| known.flow == fate.flow && known.node == fate.node);
        match known {
            Some(at) => {
                let is_late = record.fates().nth(at).is_some_and(|known| known.is_after(fate));
                if !is_late {
                    record.fates[at] = bytes.into();
                }
            }
            None if record.fates.len() < FATES_MAX => record.fates.push(bytes.into()),
            None => {}
        }
        let (after, is_answered) = (record.bytes(), record.answer.is_some());
        self.bytes = self.bytes + after - before;
        if is_answered {
            noted.push(Noted::Record { webhook: fate.webhook, id: fate.record, is_new: false });
        }
        self.keep_bounds();
    }

    fn on_count(
        &mut self,
        webhook: Id,
        unix_millis: u64,
        (skipped, folded): (u32, u32),
        noted: &mut Vec<Noted>,
    ) {
        let Some(ring) = self.rings.get_mut(webhook, true) else { return };
        let mut unknown = u64::from(skipped);
        if folded > 0 {
            let is_refusal =
                |record: &Record| record.answer().is_some_and(|answer| !answer.refusal.is_empty());
            let answered = self.answered.filter(|(of, _)| *of == webhook);
            let like = answered
                .and_then(|(_, id)| place_of(ring, id))
                .filter(|at| ring.records.get(*at).is_some_and(is_refusal))
                .or(ring.records.len().checked_sub(1));
            let like = like.and_then(|at| ring.records.get_mut(at));
            match like.filter(|record| is_refusal(record)) {
                Some(record) => {
                    record.count = record.count.saturating_add(folded);
                    record.last_millis = record.last_millis.max(unix_millis);
                    noted.push(Noted::Record { webhook, id: record.id, is_new: false });
                }
                None => unknown += u64::from(folded),
            }
        }
        ring.skipped += unknown;
        if unknown > 0 {
            noted.push(Noted::Skipped { webhook, count: unknown });
        }
    }

    /// Drops records until all of them are within the bound.
    fn keep_bounds(&mut self) {
        while self.bytes > self.limits.bytes {
            let Some(webhook) = self.rings.oldest() else { return };
            let Some(ring) = self.rings.get_mut(webhook, false) else { return };
            if let Some(gone) = ring.records.pop_front() {
                self.bytes -= gone.bytes();
                self.records -= 1;
            }
            if ring.records.is_empty() {
                self.drop_ring(webhook);
            }
        }
    }

    fn drop_ring(&mut self, webhook: Id) {
        if let Some(ring) = self.rings.remove(webhook) {
            self.bytes -= RING_BYTES + ring.records.iter().map(Record::bytes).sum::<usize>();
            self.records -= ring.records.len();
        }
    }

    /// Drops all that is known of a webhook.
    pub fn remove(&mut self, webhook: Id) {
        self.last_calls.remove(&webhook);
        self.drop_ring(webhook);
    }

    /// Places of webhooks, for [`Book::expire`]; some of them may be free.
    #[must_use]
    pub fn places(&self) -> usize {
        self.rings.places()
    }

    /// Drops the records of the webhooks at some of the places that are too old.
    pub fn expire(&mut self, now_unix_millis: u64, places: Range<usize>) {
        let oldest = now_unix_millis.saturating_sub(self.limits.age_millis);
        for place in places {
            let Some((webhook, ring)) = self.rings.at_place(place) else { continue };
            while ring.records.front().is_some_and(|record| record.last_millis < oldest) {
                let Some(gone) = ring.records.pop_front() else { break };
                self.bytes -= gone.bytes();
                self.records -= 1;
            }
            if ring.records.is_empty() {
                self.drop_ring(webhook);
            }
        }
    }

    /// The records of a webhook, the oldest first, and how many calls were skipped. The webhook is looked at by that.
    pub fn look(&mut self, webhook: Id) -> (Vec<Record>, u64) {
        match self.rings.get_mut(webhook, true) {
            Some(ring) => (ring.records.iter().cloned().collect(), ring.skipped),
            None => (Vec::new(), 0),
        }
    }

    /// One record.
    pub fn find(&mut self, webhook: Id, id: Id) -> Option<Record> {
        let ring = self.rings.get_mut(webhook, true)?;
        place_of(ring, id).and_then(|at| ring.records.get(at)).cloned()
    }

    /// The segment that holds the call of a record; `None` if there is no such record.
    #[must_use]
    pub fn segment_of(&self, webhook: Id, id: Id) -> Option<u32> {
        let ring = self.rings.get(webhook)?;
        place_of(ring, id).and_then(|at| ring.records.get(at)).map(Record::segment)
    }

    /// Moves a record to another segment: appends its entries.
    pub fn move_to(&mut self, webhook: Id, id: Id, segment: u32, out: &mut Vec<u8>) {
        let Some(ring) = self.rings.get_mut(webhook, false) else { return };
        let Some(record) = place_of(ring, id).and_then(|at| ring.records.get_mut(at)) else { return };
        record.segment = segment;
        record.write(webhook, out);
    }

    /// When a webhook was last called, in milliseconds since 1970.
    #[must_use]
    pub fn last_call(&self, webhook: Id) -> Option<u64> {
        self.last_calls.get(&webhook).copied()
    }

    /// Counts skipped calls from now on: those that were read from a disk were skipped before the start.
    pub fn begin(&mut self) {
        self.rings.forget_skipped();
    }

    /// Number of records, and the memory that they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.records, self.bytes)
    }
}

/// The page of those of a webhook's records that are asked for.
#[must_use]
pub(super) fn page(records: &[Record], query: &RecordQuery, skip: u64, take: usize) -> Page {
    let mut page = Page::default();
    for record in records.iter().rev().filter(|record| query.fits(record)) {
        if page.total as u64 >= skip && page.records.len() < take {
            page.records.push(record.clone());
        }
        page.total += 1;
    }
    page
}

/// Place of a record in its ring. It is one of the last, as a rule.
fn place_of(ring: &RecordRing, id: Id) -> Option<usize> {
    ring.records.iter().rposition(|record| record.id == id)
}

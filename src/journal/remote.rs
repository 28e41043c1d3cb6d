//! The journal of a core that another machine keeps: batches of records out, whether they are stored in. It does for the
//! core what [`Journal`](super::Journal) does with segments.
//!
//! ```text
//!  append ─▶ pending ─▶ in flight ─ stored ─▶ open ─ complete ─▶ gone
//!                           │ not known for `wait_nanos`: its callers are refused
//!                           └▶ late ─ stored ─▶ open, to be delivered all the same
//! ```
//!
//! There is one batch in flight. Whoever carries it repeats it until its fate is known; what its callers hear is another
//! matter: after [`RemoteConfig::wait_nanos`] they are refused, and nothing is taken until the fate is known. If it was
//! stored after all, its entries are delivered ([`RemoteJournal::recovered`]): at least once, and nothing that was answered
//! is lost.
//!
//! Open entries stay in memory, in the batches that they were sent in, so that nothing is read back. A batch is *needed*
//! until it and all before it hold no open entry; an entry that keeps too much after it is sent again, as a repeat.

mod fates;

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::RESERVED_SEGMENTS;
use super::bundle::BUNDLE_SEED;
use super::completions::Completions;
use super::index::{OpenIndex, SegmentIndex};
use super::reading::Entry;
use super::record::{
    ALL_DELIVERIES, COMPLETION_BYTES, DELIVERIES_MAX, EntryKind, HEADER_BYTES, RecordHeader, RecordType,
    completion_payload, frame, framed_header, mark_repeat, record_bytes, seal,
};
use super::sequence::Sequence;
use super::state::{Refused, Stats};
use crate::base::clock::{NANOS_PER_SECOND, Now};

/// Bytes of one batch, but for one with a single entry that is longer.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Completions of one batch: they stay well below an entry's size.
const BATCH_COMPLETIONS_MAX: usize = 4_096;
/// Bytes that wait for a batch: more would wait longer than callers do.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of batches that are needed, from which on the open entries of the oldest are sent again.
const NEEDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Open entries: what is kept of each beside its bytes is some 60 bytes.
const OPEN_ENTRIES_MAX: usize = 4_194_304;
/// Pause after the keeper had no room, before an entry is taken again.
const FULL_PAUSE_NANOS: u64 = NANOS_PER_SECOND;

/// The configuration of a remote journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteConfig {
    pub core: u16,
    /// Bytes of open entries that are kept in memory.
    pub open_bytes_max: usize,
    /// Bytes of the longest entry.
    pub entry_bytes_max: usize,
    /// How long callers wait for a batch.
    pub wait_nanos: u64,
}

/// Records to be stored together. It stays the same until its fate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts the batches of the core, from 0.
    pub number: u64,
    /// Whole records, sealed.
    pub records: Bytes,
    /// Batches before this one hold nothing that is open.
    pub needed_from: u64,
}

/// The fate of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFate {
    Stored,
    /// It was not stored and never will be: there is no room.
    Full,
    /// It was not stored and never will be: it is not taken as it is.
    Refused,
}

/// A batch that is stored and needed.
struct Kept {
    records: Bytes,
    /// Bytes of records of open entries.
    open_bytes: u64,
}

struct InFlight {
    batch: Batch,
    completions: Vec<(Sequence, u16)>,
    /// When its callers are refused.
    refused_at: u64,
    /// They have been.
    is_late: bool,
}

/// The journal of one core.
pub struct RemoteJournal {
    config: RemoteConfig,
    /// Batches that are needed, the oldest first; the first is `first_batch`.
    kept: VecDeque<Kept>,
    first_batch: u64,
    next_batch: u64,
    in_flight: Option<InFlight>,
    /// Records that no batch has, framed and sealed.
    pending: Vec<u8>,
    completions: Completions,
    open: OpenIndex,
    open_bytes: u64,
    kept_bytes: usize,
    unstored: usize,
    next: Sequence,
    durable: Sequence,
    failed: Option<Range<Sequence>>,
    failed_end: Sequence,
    recovered: Vec<Sequence>,
    full_until: u64,
    stats: Stats,
}

impl RemoteJournal {
    /// An empty journal.
    #[must_use]
    pub fn new(config: RemoteConfig) -> RemoteJournal {
        let first = Sequence::new(config.core, 1);
        RemoteJournal {
            config,
            kept: VecDeque::new(),
            first_batch: 0,
            next_batch: 0,
            in_flight: None,
            pending: Vec::new(),
            completions: Completions::default(),
            open: OpenIndex::default(),
            open_bytes: 0,
            kept_bytes: 0,
            unstored: 0,
            next: first,
            durable: Sequence::new(config.core, 0),
            failed: None,
            failed_end: first,
            recovered: Vec::new(),
            full_until: 0,
            stats: Stats::default(),
        }
    }

    /// As [`Journal::append`](super::Journal::append).
    ///
    /// # Errors
    /// If it is not taken: nothing of it is kept.
    pub fn append(
        &mut self,
        kind: EntryKind,
        deliveries: u16,
        parts: &[&[u8]],
        now: Now,
    ) -> Result<Sequence, Refused> {
        if !self.is_up() {
            return Err(Refused::Down);
        }
        let payload_bytes: usize = parts.iter().map(|part| part.len()).sum();
        if payload_bytes > self.config.entry_bytes_max || deliveries > DELIVERIES_MAX {
            return Err(Refused::TooLarge);
        }
        let bytes = record_bytes(payload_bytes);
        if !self.pending.is_empty() && self.pending.len() + bytes > PENDING_BYTES_MAX {
            return Err(Refused::Busy);
        }
        let in_flight = self.in_flight.as_ref().map_or(0, |flight| flight.batch.records.len());
        let open_bytes = self.open_bytes as usize + in_flight + self.pending.len();
        let is_full = open_bytes + bytes > self.config.open_bytes_max
            || self.open.len() + self.unstored >= OPEN_ENTRIES_MAX;
        if is_full || now.nanos < self.full_until {
            return Err(Refused::Full);
        }
        let sequence = self.next;
        self.next = sequence.next();
        let header = RecordHeader {
            payload_bytes: payload_bytes as u32,
            sequence,
            unix_millis: now.unix_millis,
            record_type: RecordType::Entry,
            kind,
            deliveries: deliveries.max(1),
            ..RecordHeader::empty()
        };
        self.push_record(&header, parts);
        self.unstored += 1;
        Ok(sequence)
    }

    /// As [`Journal::complete`](super::Journal::complete).
    pub fn complete(&mut self, sequence: Sequence, delivery: u16, now: u64) -> bool {
        let is_awaited = sequence > self.durable && sequence < self.next && sequence >= self.failed_end;
        let done = self.completions.note(&mut self.open, (sequence, delivery), is_awaited, now);
        if let Some(place) = done {
            self.close(place.segment, place.record_bytes);
        }
        done.is_some()
    }

    /// Notes that all deliveries of an entry are done.
    pub fn complete_entry(&mut self, sequence: Sequence, now: u64) -> bool {
        self.complete(sequence, ALL_DELIVERIES, now)
    }

    /// The next batch to be carried; to be asked at the end of a turn.
    pub fn next_batch(&mut self, now: u64) -> Option<Batch> {
        if self.in_flight.is_some() {
            return None;
        }
        let are_completions_due = self.completions.due_nanos().is_some_and(|due| due <= now);
        if self.pending.is_empty() && !are_completions_due {
            return None;
        }
        self.repeat_oldest();
        let mut end = 0;
        while end < self.pending.len() {
            let bytes = framed_header(&self.pending[end..]).record_bytes();
            if end > 0 && end + bytes > BATCH_BYTES_MAX {
                break;
            }
            end += bytes;
        }
        let rest = self.pending.split_off(end);
        let mut records = std::mem::replace(&mut self.pending, rest);
        let taken = self.completions.take(record_bytes(BATCH_COMPLETIONS_MAX * COMPLETION_BYTES));
        if !taken.is_empty() {
            push_completions(&mut records, &taken);
        }
        let batch = Batch { number: self.next_batch, records: records.into(), needed_from: self.first_batch };
        self.next_batch += 1;
        self.in_flight = Some(InFlight {
            batch: batch.clone(),
            completions: taken,
            refused_at: now.saturating_add(self.config.wait_nanos),
            is_late: false,
        });
        Some(batch)
    }

    /// As [`Journal::failed`](super::Journal::failed); to be asked for after [`on_fate`](Self::on_fate) and
    /// [`on_time`](Self::on_time).
    pub fn failed(&mut self) -> Option<Range<Sequence>> {
        self.failed.take()
    }

    /// Entries whose callers were refused, and which were stored after all: they are to be delivered.
    pub fn recovered(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.recovered)
    }

    /// The open entries that are stored, in the order in which they were accepted.
    #[must_use]
    pub fn open_entries(&self) -> Vec<Sequence> {
        self.open.sequences()
    }

    /// Whether a delivery of an open entry is done.
    #[must_use]
    pub fn is_done(&self, sequence: Sequence, delivery: u16) -> bool {
        self.open.is_done(sequence, delivery)
    }

    /// The newest sequence that is stored, and all before it are, but for those that have failed.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// An open entry that is stored.
    #[must_use]
    pub fn entry(&self, sequence: Sequence) -> Option<Entry<'_>> {
        let open = self.open.get(sequence)?;
        let records = &self.kept.get(self.place(open.segment))?.records;
        let record = records.get(open.offset as usize..(open.offset + open.record_bytes) as usize)?;
        let header = framed_header(record);
        Some(Entry {
            sequence,
            kind: header.kind,
            deliveries: header.deliveries,
            unix_millis: header.unix_millis,
            payload: &record[HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize],
        })
    }

    /// Whether new entries can be taken, unless there is no room.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.in_flight.as_ref().is_none_or(|flight| !flight.is_late)
    }

    /// Whether anything waits or is in flight: what a shutdown waits for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.pending.is_empty() && self.completions.is_empty()
    }

    /// When [`next_batch`](Self::next_batch) or [`on_time`](Self::on_time) is to be asked again although nothing was told.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let next = match &self.in_flight {
            Some(flight) => (!flight.is_late).then_some(flight.refused_at),
            None => self.completions.due_nanos(),
        };
        let has_room = (self.full_until > 0).then_some(self.full_until);
        [next, has_room].into_iter().flatten().min()
    }

    /// Counters and gauges. Batches are counted as segments.
    pub fn stats(&mut self, now: u64) -> Stats {
        let has_room = now >= self.full_until && (self.open_bytes as usize) < self.config.open_bytes_max;
        Stats {
            segments: self.kept.len(),
            segment_bytes: self.kept_bytes as u64,
            open_bytes: self.open_bytes,
            open_entries: self.open.len(),
            oldest_unix_millis: self.open.oldest_unix_millis(),
            spare_segments: if has_room { RESERVED_SEGMENTS + 1 } else { 0 },
            ..self.stats
        }
    }

    fn push_record(&mut self, header: &RecordHeader, parts: &[&[u8]]) {
        let start = self.pending.len();
        frame(&mut self.pending, header, None, parts);
        seal(&mut self.pending[start..], 0, BUNDLE_SEED);
    }

    fn keep(&mut self, records: Bytes) {
        self.kept_bytes += records.len();
        self.kept.push_back(Kept { records, open_bytes: 0 });
    }

    /// Forgets the oldest batches that hold nothing open.
    fn release(&mut self) {
        while self.kept.front().is_some_and(|kept| kept.open_bytes == 0) {
            let released = self.kept.pop_front();
            self.kept_bytes -= released.map_or(0, |kept| kept.records.len());
            self.first_batch += 1;
        }
    }

    fn place(&self, index: SegmentIndex) -> usize {
        index.0.wrapping_sub(self.first_batch as u32) as usize
    }

    /// Takes an entry that is done off its batch.
    fn close(&mut self, index: SegmentIndex, record_bytes: u32) {
        self.open_bytes -= u64::from(record_bytes);
        let place = self.place(index);
        if let Some(kept) = self.kept.get_mut(place) {
            kept.open_bytes -= u64::from(record_bytes);
            if kept.open_bytes == 0 && place == 0 {
                self.release();
            }
        }
    }

    /// Sends the open entries of the oldest batch again if it keeps much that is done.
    fn repeat_oldest(&mut self) {
        if self.kept_bytes <= NEEDED_BYTES_MAX || self.kept_bytes as u64 <= 2 * self.open_bytes {
            return;
        }
        let Some(oldest) = self.kept.front().map(|kept| kept.records.clone()) else { return };
        let mut at = 0;
        while at < oldest.len() {
            let header = framed_header(&oldest[at..]);
            let record = &oldest[at..at + header.record_bytes()];
            at += record.len();
            let open = self.open.get(header.sequence);
            let is_here = open.is_some_and(|open| self.place(open.segment) == 0);
            if header.record_type != RecordType::Completion && is_here {
                let start = self.pending.len();
                self.pending.extend_from_slice(record);
                mark_repeat(&mut self.pending[start..]);
                seal(&mut self.pending[start..], 0, BUNDLE_SEED);
            }
        }
    }
}

fn push_completions(records: &mut Vec<u8>, taken: &[(Sequence, u16)]) {
    let payload = completion_payload(taken);
    let header = RecordHeader { payload_bytes: payload.len() as u32, ..RecordHeader::empty() };
    let start = records.len();
    frame(records, &header, None, &[&payload]);
    seal(&mut records[start..], 0, BUNDLE_SEED);
}

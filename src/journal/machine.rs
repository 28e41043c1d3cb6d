//! The journal of a core: appending and completing, and what there is room for.

use std::collections::VecDeque;
use std::ops::Range;

use super::RESERVED_SEGMENTS;
use super::completions::Completions;
use super::index::{OpenIndex, SegmentIndex};
use super::note::{Note, notes_bytes};
use super::record::{
    ALL_DELIVERIES, DELIVERIES_MAX, EntryKind, RecordHeader, RecordType, frame, framed_header, record_bytes,
};
use super::recovery::{RecoveredSegment, Share};
use super::segment::SEGMENT_HEADER_BYTES;
use super::sequence::Sequence;
use super::state::{Config, Journal, Moving, Refused, Room, Segment, Stats};
use super::supply::{NoSegment, Supply};
use crate::base::clock::Now;

/// Open entries of a core: what is kept of each in memory is some 60 bytes.
const OPEN_ENTRIES_MAX: usize = 4_194_304;

/// Bytes that wait for a write: of more, a disk that has slowed down would make every caller wait for longer than callers
/// do.
const PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Journal {
    /// The journal of a core with what it inherits. It takes nothing before it has a segment.
    #[must_use]
    pub fn new(config: Config, share: Share) -> Journal {
        let first = share.first;
        let mut journal = Journal {
            config,
            segments: VecDeque::with_capacity(share.segments.len()),
            first_index: SegmentIndex(0),
            tail: None,
            in_flight: None,
            spare: VecDeque::new(),
            erasing: VecDeque::new(),
            released: VecDeque::new(),
            supply: Supply::default(),
            pending: Vec::new(),
            room: Room::default(),
            completions: Completions::default(),
            open: OpenIndex::default(),
            repeats: 0,
            carried: 0,
            review: None,
            unwritten: 0,
            next: Sequence::new(config.core, first),
            durable: Sequence::new(config.core, first.saturating_sub(1)),
            failed: None,
            failed_end: Sequence::new(config.core, first),
            is_down: false,
            is_blocked: false,
            moving: Moving::default(),
            memory: None,
            stats: Stats::default(),
        };
        for RecoveredSegment { header, durable_bytes, end, notes } in share.segments {
            journal.segments.push_back(Segment { durable_bytes, end, notes, ..Segment::new(header) });
        }
        for entry in share.open {
            if let Some(segment) = journal.segments.get_mut(entry.place.segment.0 as usize) {
                segment.open_bytes += u64::from(entry.place.record_bytes);
                match entry.done {
                    Some(done) => {
                        journal.open.insert_partial(entry.sequence, entry.place, entry.unix_millis, done);
                    }
                    None => journal.open.insert(entry.sequence, entry.place, entry.unix_millis),
                }
            }
        }
        journal.release_oldest();
        journal
    }

    /// Appends an entry with a number of deliveries (at least one) to what is pending. Its payload is `parts`, one after the
    /// other.
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
        self.append_noted(kind, deliveries, None, parts, now)
    }

    /// As [`append`](Self::append), with a note that is there if and only if the entry is, and outlives it.
    ///
    /// # Errors
    /// If it is not taken: nothing of it is kept.
    pub fn append_noted(
        &mut self,
        kind: EntryKind,
        deliveries: u16,
        note: Option<&Note>,
        parts: &[&[u8]],
        now: Now,
    ) -> Result<Sequence, Refused> {
        if self.open.len() + self.unwritten >= OPEN_ENTRIES_MAX {
            return Err(if self.is_down { Refused::Down } else { Refused::Full });
        }
        let header = RecordHeader {
            record_type: RecordType::Entry,
            kind,
            deliveries: deliveries.max(1),
            unix_millis: now.unix_millis,
            ..RecordHeader::empty()
        };
        let sequence = self.append_record(header, note, parts)?;
        self.unwritten += 1;
        Ok(sequence)
    }

    /// Appends a record to what is pending, with the next sequence.
    pub(super) fn append_record(
        &mut self,
        header: RecordHeader,
        note: Option<&Note>,
        parts: &[&[u8]],
    ) -> Result<Sequence, Refused> {
        if self.is_down {
            return Err(Refused::Down);
        }
        let notes = u32::from(note.is_some());
        let payload_bytes = notes_bytes(notes) + parts.iter().map(|part| part.len()).sum::<usize>();
        if payload_bytes > self.config.entry_bytes_max() || header.deliveries > DELIVERIES_MAX {
            return Err(Refused::TooLarge);
        }
        let bytes = record_bytes(payload_bytes);
        if !self.pending.is_empty() && self.pending.len() + bytes > PENDING_BYTES_MAX {
            return Err(Refused::Busy);
        }
        if !self.take_room(bytes, RESERVED_SEGMENTS) {
            return Err(match self.supply.refusal() {
                Some(NoSegment::Full) => Refused::Full,
                Some(NoSegment::Failed) => Refused::Down,
                None => Refused::Busy,
            });
        }
        let sequence = self.next;
        self.next = sequence.next();
        let header = RecordHeader { payload_bytes: payload_bytes as u32, sequence, notes, ..header };
        frame(&mut self.pending, &header, note, parts);
        Ok(sequence)
    }

    /// Notes that a delivery of an entry is done; deliveries count from 0. A completion is written with the next write, or
    /// alone after [`COMPLETION_DELAY_NANOS`](super::completions::COMPLETION_DELAY_NANOS). Returns whether this was the
    /// last delivery. What is not open is ignored.
    pub fn complete(&mut self, sequence: Sequence, delivery: u16, now: u64) -> bool {
        let is_awaited = self.is_unwritten(sequence) && sequence >= self.failed_end;
        let done = self.completions.note(&mut self.open, (sequence, delivery), is_awaited, now);
        if let Some(place) = done {
            self.close(place.segment, place.record_bytes);
        }
        done.is_some()
    }

    /// Notes that all deliveries of an entry are done, as [`complete`](Self::complete).
    pub fn complete_entry(&mut self, sequence: Sequence, now: u64) -> bool {
        self.complete(sequence, ALL_DELIVERIES, now)
    }

    /// The open entries that are durable, in the order in which they were accepted.
    #[must_use]
    pub fn open_entries(&self) -> Vec<Sequence> {
        self.open.sequences()
    }

    /// Whether a delivery of an open entry is done: not to be made again after a start.
    #[must_use]
    pub fn is_done(&self, sequence: Sequence, delivery: u16) -> bool {
        self.open.is_done(sequence, delivery)
    }

    /// The newest of this core's sequences that is durable, and all before it are, but for those that have failed.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// Sequences that have failed since the last call: their callers are to be refused. To be asked for after each
    /// [`on_written`](Self::on_written), before [`durable`](Self::durable), which will pass over them.
    pub fn failed(&mut self) -> Option<Range<Sequence>> {
        self.failed.take()
    }

    /// Whether new entries can be written. `false` also before the first segment.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !self.is_down && (self.tail.is_some() || !self.spare.is_empty())
    }

    /// Whether anything waits for a write or is in one: what a shutdown waits for.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.in_flight.is_none() && self.pending.is_empty() && self.completions.is_empty()
    }

    /// When [`next_write`](Self::next_write), [`next_read`](Self::next_read) or
    /// [`segments_wanted`](Self::segments_wanted) are to be asked again although nothing was told to the journal.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let is_writable = self.in_flight.is_none() && !self.is_blocked && !self.is_down;
        let completions = self.completions.due_nanos().filter(|_| is_writable);
        let supply = self.supply.retry_nanos().filter(|retry| *retry != u64::MAX);
        [completions, supply, self.moving.retry_nanos()].into_iter().flatten().min()
    }

    /// Counters and gauges.
    pub fn stats(&mut self) -> Stats {
        Stats {
            segments: self.segments.len(),
            segment_bytes: self.segments.iter().map(|segment| u64::from(segment.header.bytes)).sum(),
            open_bytes: self.segments.iter().map(|segment| segment.open_bytes).sum(),
            open_entries: self.open.len(),
            oldest_unix_millis: self.open.oldest_unix_millis(),
            spare_segments: self.spare.len(),
            ..self.stats
        }
    }

    /// The segment of an index; `None` once it is released.
    pub(super) fn segment(&self, index: SegmentIndex) -> Option<&Segment> {
        self.segments.get(index.0.checked_sub(self.first_index.0)? as usize)
    }

    /// Index of the newest segment.
    pub(super) fn last_index(&self) -> SegmentIndex {
        SegmentIndex(self.first_index.0 + (self.segments.len() as u32).saturating_sub(1))
    }

    /// Takes bytes of an entry that is no longer open, or no longer there, off its segment.
    pub(super) fn close(&mut self, index: SegmentIndex, record_bytes: u32) {
        let place = index.0.checked_sub(self.first_index.0);
        if let Some(segment) = place.and_then(|place| self.segments.get_mut(place as usize)) {
            segment.open_bytes -= u64::from(record_bytes);
            if segment.held_bytes() == 0 && index == self.first_index {
                self.release_oldest();
            }
        }
    }

    /// Takes room for a record in the segment that is appended to or a spare one, of which `reserved` stay.
    pub(super) fn take_room(&mut self, bytes: usize, reserved: usize) -> bool {
        if bytes <= self.room.left {
            self.room.left -= bytes;
            return true;
        }
        if self.spare.len() <= self.room.spares + reserved {
            return false;
        }
        self.room.spares += 1;
        self.room.left = (self.config.segment_bytes as usize - SEGMENT_HEADER_BYTES).saturating_sub(bytes);
        true
    }

    /// Counts the room of what is pending anew.
    pub(super) fn recount_room(&mut self) {
        let left = self.tail.as_ref().map_or(0, |tail| self.config.segment_bytes as usize - tail.end);
        self.room = Room { left, spares: 0 };
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < pending.len() {
            let bytes = framed_header(&pending[at..]).record_bytes();
            self.take_room(bytes, 0);
            at += bytes;
        }
        self.pending = pending;
    }
}

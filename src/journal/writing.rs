//! The making of writes: what is pending goes to the tail, and from there into one write at a time.

use super::record::{
    COMPLETION_BYTES, HEADER_BYTES, RecordHeader, RecordType, completion_payload, frame, framed_header,
    record_bytes,
};
use super::segment::{Previous, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::state::{Journal, Segment, Write};
use super::supply::ReleasedSegment;
use super::tail::{Flight, SegmentTail};
use crate::base::block::{AlignedBlock, BLOCK_BYTES};

/// Bytes of one write, but for its last record: of more, the callers of the first records would wait for the last.
const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// Memory that is kept from one write for the next.
const MEMORY_BYTES_MAX: usize = 2 * WRITE_BYTES_MAX;

impl Journal {
    /// The next write, of all that is pending, as far as one write takes it. `None` while one is in flight, and if there is
    /// nothing to write yet, or no segment for it.
    pub fn next_write(&mut self, now: u64) -> Option<Write> {
        if self.in_flight.is_some() {
            return None;
        }
        if let Some(released) = self.erasing.pop_front() {
            let segment = match released {
                ReleasedSegment::Spare(spare) => spare.name,
                ReleasedSegment::Discard(name) => name,
            };
            self.in_flight = Some(Flight::Erase(released));
            return Some(Write { segment, offset: 0, block: AlignedBlock::zeroed(SEGMENT_HEADER_BYTES) });
        }
        self.drop_stale_repeats();
        let completions_are_due = self.completions.due_nanos().is_some_and(|due| due <= now);
        if self.pending.is_empty() && !completions_are_due {
            return None;
        }
        let first_bytes = match self.pending.is_empty() {
            true => record_bytes(COMPLETION_BYTES),
            false => framed_header(&self.pending).record_bytes(),
        };
        let Some(from) = self.open_tail(first_bytes) else {
            self.is_blocked = true;
            return None;
        };
        self.move_pending_to_tail(now);
        self.move_completions_to_tail();
        self.recount_room();
        let (tail, segment) = (self.tail.as_ref()?, self.segments.back()?);
        let bytes = tail.end - tail.block_start;
        let memory = self.memory.take().unwrap_or_else(|| AlignedBlock::zeroed(bytes)).reused(bytes);
        let block = tail.build(from, memory);
        self.stats.writes += 1;
        self.stats.written_bytes += block.bytes().len() as u64;
        self.in_flight = Some(Flight::Records { from });
        Some(Write { segment: segment.header.name, offset: tail.block_start as u64, block })
    }

    /// Keeps the memory of a write.
    pub(super) fn keep_memory(&mut self, block: AlignedBlock) {
        if block.capacity() <= MEMORY_BYTES_MAX {
            self.memory = Some(block);
        }
    }

    /// Makes sure that a record of `bytes` fits the tail, in the next segment if need be. Returns the length of the tail's
    /// records; `None` without a segment.
    fn open_tail(&mut self, bytes: usize) -> Option<usize> {
        let is_full = |tail: &SegmentTail| tail.end + bytes > self.config.segment_bytes as usize;
        if let Some(tail) = self.tail.as_ref().filter(|tail| !is_full(tail)) {
            return Some(tail.records.len());
        }
        let spare = self.spare.pop_front()?;
        if let (Some(tail), Some(segment)) = (self.tail.take(), self.segments.back_mut()) {
            (segment.durable_bytes, segment.end) = (tail.end as u32, tail.end as u32);
        }
        let previous = self.segments.back().map(|segment| Previous {
            name: segment.header.name,
            seed: segment.header.seed(),
            durable_bytes: segment.durable_bytes,
        });
        let header = SegmentHeader {
            folder: self.config.folder,
            name: spare.name,
            bytes: spare.bytes,
            salt: spare.salt,
            core: self.config.core,
            use_number: spare.uses + 1,
            previous,
            opened: self.next,
        };
        self.next = self.next.next();
        self.segments.push_back(Segment::new(header));
        self.begin_review();
        self.tail = Some(SegmentTail::new(&header));
        self.release_oldest();
        Some(0)
    }

    /// Takes repeats of entries that are done off the front of what is pending: a completion that was written already could
    /// otherwise be in an older segment than a copy of its entry. And has the completions of deliveries written again that
    /// an older segment holds.
    fn drop_stale_repeats(&mut self) {
        if self.repeats == 0 {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        self.pending.reserve(pending.len());
        let mut at = 0;
        while at < pending.len() {
            let header = framed_header(&pending[at..]);
            let bytes = header.record_bytes();
            let is_stale = header.record_type == RecordType::Repeat
                && !self.is_unwritten(header.sequence)
                && self.open.get(header.sequence).is_none();
            if is_stale {
                self.repeats -= 1;
            } else {
                self.pending.extend_from_slice(&pending[at..at + bytes]);
            }
            at += bytes;
        }
    }

    /// Moves pending records to the tail, as many as fit the segment and a write.
    fn move_pending_to_tail(&mut self, now: u64) {
        let Some(tail) = &mut self.tail else { return };
        let start = tail.end;
        let mut taken = 0;
        while taken < self.pending.len() && tail.end - start < WRITE_BYTES_MAX {
            let header = framed_header(&self.pending[taken..]);
            let bytes = header.record_bytes();
            if tail.end + bytes > self.config.segment_bytes as usize {
                break;
            }
            if header.record_type == RecordType::Repeat
                && let Some(done) = self.open.done(header.sequence)
            {
                done.iter().for_each(|delivery| self.completions.push(header.sequence, delivery, now));
            }
            tail.end += bytes;
            taken += bytes;
            self.stats.written_records += 1;
        }
        if taken == self.pending.len() && tail.records.is_empty() {
            std::mem::swap(&mut tail.records, &mut self.pending);
        } else {
            tail.records.extend_from_slice(&self.pending[..taken]);
            self.pending.drain(..taken);
        }
    }

    /// Writes completions behind the records, as many as fit the segment.
    fn move_completions_to_tail(&mut self) {
        let Some(tail) = &mut self.tail else { return };
        if self.completions.is_empty() {
            return;
        }
        let completions = self.completions.take(self.config.segment_bytes as usize - tail.end);
        if completions.is_empty() {
            return;
        }
        let payload = completion_payload(&completions);
        let header = RecordHeader {
            payload_bytes: payload.len() as u32,
            sequence: self.next,
            ..RecordHeader::empty()
        };
        frame(&mut tail.records, &header, None, &[&payload]);
        tail.end += header.record_bytes();
        self.stats.written_records += 1;
    }
}

const _: () = assert!(HEADER_BYTES.is_multiple_of(8) && SEGMENT_HEADER_BYTES == BLOCK_BYTES);

//! Moving forward: what is open in the oldest segment is read back and appended once more, so that the segment can be used
//! again although an entry in it stays open for hours.

use super::index::SegmentIndex;
use super::reading::{Read, ReadError};
use super::record::HEADER_BYTES;
use super::recovery::{Fault, FaultKind};
use super::scan::{Found, Scan};
use super::segment::SEGMENT_HEADER_BYTES;
use super::state::{Journal, MovingSegment, Segment};
use super::supply::NoSegment;

/// Bytes of one read.
const MOVE_READ_BYTES: usize = 256 * 1024;
/// Bytes that are pending while another read is begun: new entries wait for the writes of no more than this.
const MOVE_PENDING_BYTES_MAX: usize = 256 * 1024;
/// Segments, beside the one that is appended to, that a core may have before it moves anything while there is space.
pub(super) const UNMOVED_SEGMENTS: usize = 4;
/// While there is space, entries are moved once no more than one part in so many of all records is open: what is moved is
/// less than what was appended.
const SPARE_TIME_SHARE: u64 = 2;
/// Where there is none, once one part in so many is done: at most so many bytes are moved for each that gets free.
const PRESSED_SHARE: u64 = 8;
/// Pause before a read is tried again that failed.
const RETRY_NANOS: u64 = 1_000_000_000;
/// Attempts at a read before what it was for counts as damaged.
const READ_ATTEMPTS_MAX: u32 = 5;

impl Journal {
    /// The journal's own next read, where it moves something forward. One is under way at a time, and it ends with
    /// [`on_read`](Self::on_read).
    pub fn next_read(&mut self, now: u64) -> Option<Read> {
        if self.is_down || self.pending.len() >= MOVE_PENDING_BYTES_MAX {
            return None;
        }
        let mut progress = match self.moving.segment {
            Some(progress) => progress,
            None => self.begin_moving()?,
        };
        if progress.is_reading || progress.retry_nanos.is_some_and(|retry| now < retry) {
            return None;
        }
        self.moving.segment = Some(progress);
        let Some(segment) = self.segment(progress.index) else {
            // Released meanwhile.
            self.moving.segment = None;
            return None;
        };
        let end = segment.records_end();
        if progress.at + HEADER_BYTES > end {
            self.end_moving(progress.index);
            return None;
        }
        let to = end.min(progress.at + progress.needs.max(MOVE_READ_BYTES));
        let memory = self.moving.memory.take();
        let segment = self.segment(progress.index)?;
        let read = Read::new(segment, progress.index, progress.at, to, memory);
        progress.is_reading = true;
        progress.retry_nanos = None;
        self.moving.segment = Some(progress);
        Some(read)
    }

    /// Takes the end of a read that [`next_read`](Self::next_read) asked for.
    pub fn on_read(&mut self, read: Read, result: Result<(), ReadError>, now: u64) {
        let Some(mut progress) = self.moving.segment.filter(|progress| progress.index == read.index) else {
            return;
        };
        progress.is_reading = false;
        let start = progress.at - read.offset as usize;
        let read_end = read.offset as usize + read.block.bytes().len();
        match result {
            Ok(()) => {
                progress.attempts = 0;
                let mut scan = Scan::part(&read.block.bytes()[start..], progress.at, read.seed());
                for (offset, found) in &mut scan {
                    let Found::Record(header, payload) = found else { continue };
                    let is_here = header.record_type.is_entry()
                        && self
                            .open
                            .get(header.sequence)
                            .is_some_and(|open| open.segment == read.index && open.offset as usize == offset);
                    if is_here {
                        // Its notes are carried on their own.
                        self.push_repeat(&header, header.entry_payload(payload));
                    }
                }
                (progress.at, progress.needs) = scan.resume();
                let end = self.segment(read.index).map_or(0, |segment| segment.records_end());
                if progress.at + progress.needs > end {
                    // A record that would end behind the end is damage.
                    progress.at = end;
                }
                self.recount_room();
            }
            Err(ReadError) if progress.attempts + 1 < READ_ATTEMPTS_MAX => {
                progress.attempts += 1;
                progress.retry_nanos = Some(now.saturating_add(RETRY_NANOS));
            }
            Err(ReadError) => {
                progress.attempts = 0;
                (progress.at, progress.needs) = (read_end, HEADER_BYTES);
            }
        }
        self.moving.segment = Some(progress);
        self.moving.memory = (read.block.capacity() <= MOVE_READ_BYTES * 2).then_some(read.block);
    }

    /// Open entries that could not be read while they were moved, since the last call: they are lost, unless they are in
    /// memory still, and no longer open here.
    pub fn damaged(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.moving.faults)
    }

    /// Begins with the oldest segment, if it is worth its while.
    fn begin_moving(&mut self) -> Option<MovingSegment> {
        let closed = self.segments.len().checked_sub(usize::from(self.tail.is_some()))?;
        let oldest = self.segments.front().filter(|_| closed > 0)?;
        let used: u64 = self.segments.iter().map(|segment| segment.records_end() as u64).sum();
        let open: u64 = self.segments.iter().map(Segment::held_bytes).sum();
        let done = used.saturating_sub(open);
        let has_time = closed > UNMOVED_SEGMENTS && open * SPARE_TIME_SHARE <= used;
        let is_pressed = self.supply.refusal() == Some(NoSegment::Full)
            && done >= u64::from(oldest.header.bytes)
            && done * PRESSED_SHARE >= used;
        let has_room = self.spare.len() > 1
            || self.tail.as_ref().is_some_and(|tail| {
                self.config.segment_bytes as usize - tail.end > oldest.held_bytes() as usize * 2
            });
        if !has_room || !(has_time || is_pressed) {
            return None;
        }
        // Notes are in memory: what holds nothing else is not read.
        let at = if oldest.open_bytes > 0 { SEGMENT_HEADER_BYTES } else { oldest.records_end() };
        self.carry_notes();
        Some(MovingSegment {
            index: self.first_index,
            at,
            needs: HEADER_BYTES,
            is_reading: false,
            attempts: 0,
            retry_nanos: None,
        })
    }

    /// Ends with a segment that was read whole, once what was moved is durable. What is open in it even then was not found.
    fn end_moving(&mut self, index: SegmentIndex) {
        if self.repeats + self.carried > 0 {
            return;
        }
        self.moving.segment = None;
        let Some(name) = self.segment(index).map(|segment| segment.header.name) else { return };
        for sequence in self.open.in_segment(index) {
            let Some(open) = self.open.remove(sequence) else { continue };
            self.stats.damaged_entries += 1;
            if self.moving.faults.len() < FAULTS_MAX {
                let (offset, end) = (u64::from(open.offset), u64::from(open.offset + open.record_bytes));
                self.moving.faults.push(Fault { segment: name, offset, kind: FaultKind::Records { end } });
            }
            self.close(open.segment, open.record_bytes);
        }
    }
}

/// Faults that are kept until somebody asks: more are counted only.
const FAULTS_MAX: usize = 100;

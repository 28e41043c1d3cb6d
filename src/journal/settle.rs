//! The end of a write: what is durable then, or what becomes of a write that failed.

use super::index::Open;
use super::note::Note;
use super::record::{HEADER_BYTES, REVOKED, RecordType, completions, framed_header, mark_repeat};
use super::sequence::Sequence;
use super::state::{Journal, Write, WriteError};
use super::tail::Flight;

impl Journal {
    /// Takes the end of the write in flight. A short write is a failed one.
    pub fn on_written(&mut self, write: Write, result: Result<(), WriteError>, now: u64) {
        let Write { block, .. } = write;
        match self.in_flight.take() {
            Some(Flight::Records { from }) => match result {
                Ok(()) => {
                    self.settle(from, now);
                    if let Some(tail) = &mut self.tail {
                        tail.settle(&block);
                    }
                    self.keep_memory(block);
                    self.release_oldest();
                }
                Err(WriteError) => self.abandon(from),
            },
            Some(Flight::Erase(released)) => self.on_erased(released, result),
            None => {}
        }
    }

    /// Whether an entry was appended here and is not durable yet.
    pub(super) fn is_unwritten(&self, sequence: Sequence) -> bool {
        sequence.core() == self.config.core && sequence > self.durable && sequence < self.next
    }

    /// Notes that the records from `from` of the tail's are durable.
    fn settle(&mut self, from: usize, now: u64) {
        let Some(tail) = &mut self.tail else { return };
        let (records, start) = (std::mem::take(&mut tail.records), tail.records_start);
        let (index, durable) = (self.last_index(), self.durable);
        let mut at = from;
        while at < records.len() {
            let header = framed_header(&records[at..]);
            let bytes = header.record_bytes();
            let place = Open::new(index, (start + at) as u32, bytes as u32, header.deliveries, header.kind);
            if header.notes > 0
                && let Some(segment) = self.segments.back_mut()
            {
                let payload = &records[at + HEADER_BYTES..][..header.payload_bytes as usize];
                segment.notes.extend(header.notes(payload));
            }
            at += bytes;
            match header.record_type {
                RecordType::Entry | RecordType::Repeat => {}
                RecordType::Completion => continue,
                RecordType::Note => {
                    self.durable = self.durable.max(header.sequence);
                    continue;
                }
                RecordType::CarriedNotes => {
                    self.carried -= 1;
                    continue;
                }
            }
            if header.record_type == RecordType::Repeat {
                self.repeats -= 1;
            }
            // Of what was appended here, in the order of its sequences.
            if header.sequence.core() == self.config.core && header.sequence > durable {
                self.open.insert(header.sequence, place, header.unix_millis);
                self.unwritten -= 1;
                self.durable = self.durable.max(header.sequence);
            } else if let Some(open) = self.open.get_mut(header.sequence) {
                let old = open.move_to(&place);
                self.stats.moved_entries += 1;
                self.close(old.segment, old.record_bytes);
            } else {
                continue;
            }
            if let Some(segment) = self.segments.back_mut() {
                segment.open_bytes += bytes as u64;
            }
        }
        if let Some(tail) = &mut self.tail {
            tail.records = records;
        }
        self.end_carrying();
        for (sequence, delivery) in self.completions.take_early() {
            self.complete(sequence, delivery, now);
        }
    }

    /// Abandons the segment that is appended to. What is not durable, and what stands in the block that was rewritten, goes
    /// to the next one; without one, what is not durable has failed.
    fn abandon(&mut self, from: usize) {
        self.stats.failed_writes += 1;
        let (Some(tail), Some(segment)) = (self.tail.take(), self.segments.back_mut()) else { return };
        segment.is_abandoned = true;
        segment.durable_bytes = tail.records_start as u32;
        segment.end = tail.records_start as u32;
        let fails = self.spare.is_empty();
        let later = std::mem::take(&mut self.pending);
        let (mut records, mut at) = (tail.records, 0);
        while at < records.len() {
            let header = framed_header(&records[at..]);
            let record = &mut records[at..at + header.record_bytes()];
            let is_new = at >= from;
            at += record.len();
            let payload = &record[HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize];
            match header.record_type {
                RecordType::Completion => {
                    if is_new {
                        self.completions.put_back(completions(payload));
                    }
                    continue;
                }
                RecordType::CarriedNotes if is_new => {
                    self.pending.extend_from_slice(record);
                    continue;
                }
                // They outlive the entry, and are durable without it.
                _ if !is_new && header.notes > 0 => {
                    let notes: Vec<Note> = header.notes(payload).collect();
                    self.push_carried(&notes);
                    if header.record_type.is_entry() {
                        let payload = header.entry_payload(payload);
                        self.push_repeat(&header, payload);
                    }
                    continue;
                }
                _ => {}
            }
            // What failed is done: it may be on the disk.
            if fails && is_new && self.is_unwritten(header.sequence) {
                self.completions.put_back([(header.sequence, REVOKED)].into_iter());
                self.unwritten -= usize::from(header.record_type.is_entry());
                if header.record_type == RecordType::Repeat {
                    self.repeats -= 1;
                }
                continue;
            }
            if !is_new && header.record_type.is_entry() || header.record_type == RecordType::Entry {
                self.repeats += 1;
            }
            mark_repeat(record);
            self.pending.extend_from_slice(record);
        }
        let mut at = 0;
        while at < later.len() {
            let header = framed_header(&later[at..]);
            let record = &later[at..at + header.record_bytes()];
            at += record.len();
            let is_carried = header.record_type == RecordType::CarriedNotes;
            if fails && !is_carried && self.is_unwritten(header.sequence) {
                self.unwritten -= usize::from(header.record_type.is_entry());
                if header.record_type == RecordType::Repeat {
                    // Its first copy may be on the disk.
                    self.repeats -= 1;
                    self.completions.put_back([(header.sequence, REVOKED)].into_iter());
                }
                continue;
            }
            self.pending.extend_from_slice(record);
        }
        if fails {
            self.fail_unwritten();
        }
        self.recount_room();
    }

    /// Tells all that was not durable as failed: the journal is down.
    fn fail_unwritten(&mut self) {
        self.is_down = true;
        self.is_blocked = true;
        self.completions.forget_early();
        let first = self.durable.next().max(self.failed_end);
        if first < self.next {
            let start = self.failed.take().map_or(first, |failed| failed.start);
            self.failed = Some(start..self.next);
        }
        self.failed_end = self.next;
    }
}

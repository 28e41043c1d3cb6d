//! The fate of a batch: its entries are open from then on, or their callers are refused.

use bytes::Bytes;

use super::{BatchFate, FULL_PAUSE_NANOS, InFlight, RemoteJournal};
use crate::journal::index::{Open, SegmentIndex};
use crate::journal::record::{RecordType, framed_header};
use crate::journal::sequence::Sequence;

impl RemoteJournal {
    /// Takes the fate of the batch in flight.
    pub fn on_fate(&mut self, number: u64, fate: BatchFate, now: u64) {
        let Some(flight) = self.in_flight.take_if(|flight| flight.batch.number == number) else { return };
        match fate {
            BatchFate::Stored => self.settle(flight, now),
            BatchFate::Full | BatchFate::Refused => {
                self.stats.failed_writes += 1;
                if fate == BatchFate::Full {
                    self.full_until = now.saturating_add(FULL_PAUSE_NANOS);
                }
                self.completions.put_back(flight.completions.iter().copied());
                self.refuse(&flight.batch.records, flight.is_late);
                // The number is one that holds nothing.
                self.keep(Bytes::new());
                self.release();
            }
        }
    }

    /// Refuses the callers of a batch whose fate is not known in time, and all that wait behind it.
    pub fn on_time(&mut self, now: u64) {
        if self.full_until <= now {
            self.full_until = 0;
        }
        let Some(flight) =
            self.in_flight.as_mut().filter(|flight| !flight.is_late && flight.refused_at <= now)
        else {
            return;
        };
        flight.is_late = true;
        self.stats.failed_writes += 1;
        let records = flight.batch.records.clone();
        let pending = std::mem::take(&mut self.pending);
        // Repeats of what is open are not needed: they stand where they stood.
        self.refuse(&pending, false);
        self.fail_from(first_new(&records).or_else(|| first_new(&pending)));
    }

    /// The entries of a batch are stored.
    fn settle(&mut self, flight: InFlight, now: u64) {
        let InFlight { batch, is_late, .. } = flight;
        let (records, index) = (batch.records, SegmentIndex(batch.number as u32));
        self.stats.writes += 1;
        self.stats.written_bytes += records.len() as u64;
        let (mut at, mut open_bytes) = (0, 0);
        self.keep(records.clone());
        while at < records.len() {
            let header = framed_header(&records[at..]);
            let bytes = header.record_bytes();
            let place = Open::new(index, at as u32, bytes as u32, header.deliveries, header.kind);
            at += bytes;
            self.stats.written_records += 1;
            match header.record_type {
                // No notes are given to it.
                RecordType::Completion | RecordType::Note | RecordType::CarriedNotes => continue,
                RecordType::Entry => {
                    self.open.insert(header.sequence, place, header.unix_millis);
                    self.unstored -= 1;
                    self.open_bytes += bytes as u64;
                    if is_late {
                        self.recovered.push(header.sequence);
                    } else {
                        self.durable = self.durable.max(header.sequence);
                    }
                }
                RecordType::Repeat => {
                    let Some(open) = self.open.get_mut(header.sequence) else { continue };
                    let old = open.move_to(&place);
                    self.stats.moved_entries += 1;
                    let old_place = self.place(old.segment);
                    if let Some(kept) = self.kept.get_mut(old_place) {
                        kept.open_bytes -= u64::from(old.record_bytes);
                    }
                }
            }
            open_bytes += bytes as u64;
        }
        if let Some(kept) = self.kept.back_mut() {
            kept.open_bytes = open_bytes;
        }
        for (sequence, delivery) in self.completions.take_early() {
            self.complete(sequence, delivery, now);
        }
        self.release();
    }

    /// The new entries among these records were not stored.
    fn refuse(&mut self, records: &[u8], was_told: bool) {
        let mut at = 0;
        while at < records.len() {
            let header = framed_header(&records[at..]);
            at += header.record_bytes();
            self.unstored -= usize::from(header.record_type == RecordType::Entry);
        }
        if !was_told && let Some(first) = first_new(records) {
            // Those that wait behind it are tried in the next batch.
            let last = last_new(records).unwrap_or(first);
            self.completions.forget_early_to(last);
            let start = self.failed.take().map_or(first, |failed| failed.start.min(first));
            self.failed = Some(start..last.next());
            self.failed_end = self.failed_end.max(last.next());
        }
    }

    /// All new entries from the first are failed.
    fn fail_from(&mut self, first: Option<Sequence>) {
        self.completions.forget_early();
        if let Some(first) = first {
            let start = self.failed.take().map_or(first, |failed| failed.start.min(first));
            self.failed = Some(start..self.next);
        }
        self.failed_end = self.next;
    }
}

/// The first entry among records that is written for the first time.
fn first_new(records: &[u8]) -> Option<Sequence> {
    new_entries(records).next()
}

fn last_new(records: &[u8]) -> Option<Sequence> {
    new_entries(records).last()
}

fn new_entries(records: &[u8]) -> impl Iterator<Item = Sequence> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < records.len() {
            let header = framed_header(&records[at..]);
            at += header.record_bytes();
            if header.record_type == RecordType::Entry {
                return Some(header.sequence);
            }
        }
        None
    })
}

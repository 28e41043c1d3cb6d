//! Notes: how they are appended, carried forward with what is open, and forgotten once they are not needed.

use super::index::SegmentIndex;
use super::moving::UNMOVED_SEGMENTS;
use super::note::{NOTE_BYTES, Note};
use super::record::{RecordHeader, RecordType, frame};
use super::sequence::Sequence;
use super::state::{Journal, Refused, Review};

/// Notes of one record, so that a write with some of them stays short.
const NOTES_PER_RECORD_MAX: usize = 1_000;
/// Notes that are looked at in one call, so that a turn stays short.
const NOTES_REVIEWED_MAX: usize = 64;

impl Journal {
    /// Appends a note to what is pending. It is durable with its sequence.
    ///
    /// # Errors
    /// If it is not taken: nothing of it is kept.
    pub fn append_note(&mut self, note: &Note) -> Result<Sequence, Refused> {
        let header = RecordHeader { record_type: RecordType::Note, ..RecordHeader::empty() };
        self.append_record(header, Some(note), &[])
    }

    /// The notes, also those that are not needed any more; one may be there twice.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.segments.iter().flat_map(|segment| &segment.notes)
    }

    /// Whether [`review_notes`](Self::review_notes) has something to look at.
    #[must_use]
    pub fn is_review_due(&self) -> bool {
        self.review.is_some()
    }

    /// Continues the pass over the notes, of which it forgets those that are not needed. A pass begins where segments could
    /// be free without them; one call looks at a bounded number.
    pub fn review_notes(&mut self, unix_millis: u64, mut is_needed: impl FnMut(&Note) -> bool) {
        let mut left = NOTES_REVIEWED_MAX;
        while let Some(Review { segment: index, at }) = self.review {
            let index = index.max(self.first_index);
            let is_last = index >= self.last_index();
            let place = (index.0 - self.first_index.0) as usize;
            let Some(segment) = self.segments.get_mut(place).filter(|_| !is_last) else {
                self.review = None;
                break;
            };
            if segment.is_carried || at >= segment.notes.len() {
                self.review = Some(Review { segment: SegmentIndex(index.0 + 1), at: 0 });
                continue;
            }
            if left == 0 {
                self.review = Some(Review { segment: index, at });
                break;
            }
            left -= 1;
            let note = &segment.notes[at];
            let stays = !note.is_over(unix_millis) && is_needed(note);
            if !stays {
                segment.notes.swap_remove(at);
            }
            self.review = Some(Review { segment: index, at: at + usize::from(stays) });
        }
        self.release_oldest();
    }

    /// Begins a pass over the notes, if segments could be free without them.
    pub(super) fn begin_review(&mut self) {
        let is_worth_it = self.segments.len() > UNMOVED_SEGMENTS || self.supply.refusal().is_some();
        if self.review.is_none()
            && is_worth_it
            && self.segments.iter().any(|segment| !segment.notes.is_empty())
        {
            self.review = Some(Review { segment: self.first_index, at: 0 });
        }
    }

    /// Has the notes of the oldest segment written once more. They stay there until the copies are durable.
    pub(super) fn carry_notes(&mut self) {
        let Some(oldest) = self.segments.front_mut().filter(|oldest| !oldest.notes.is_empty()) else {
            return;
        };
        oldest.is_carried = true;
        let notes = std::mem::take(&mut oldest.notes);
        self.push_carried(&notes);
        if let Some(oldest) = self.segments.front_mut() {
            oldest.notes = notes;
        }
        self.recount_room();
    }

    /// The copies of carried notes are durable: their originals are not needed.
    pub(super) fn end_carrying(&mut self) {
        if self.carried == 0
            && let Some(oldest) = self.segments.front_mut().filter(|oldest| oldest.is_carried)
        {
            oldest.is_carried = false;
            oldest.notes = Vec::new();
        }
    }

    /// Appends copies of notes to what is pending.
    pub(super) fn push_carried(&mut self, notes: &[Note]) {
        for notes in notes.chunks(NOTES_PER_RECORD_MAX) {
            let header = RecordHeader {
                payload_bytes: (notes.len() * NOTE_BYTES) as u32,
                sequence: self.next,
                record_type: RecordType::CarriedNotes,
                notes: notes.len() as u32,
                ..RecordHeader::empty()
            };
            frame(&mut self.pending, &header, notes, &[]);
            self.carried += 1;
        }
    }

    /// Appends a copy of an entry to what is pending, without its notes.
    pub(super) fn push_repeat(&mut self, entry: &RecordHeader, payload: &[u8]) {
        let header = RecordHeader {
            payload_bytes: payload.len() as u32,
            record_type: RecordType::Repeat,
            notes: 0,
            ..*entry
        };
        frame(&mut self.pending, &header, None, &[payload]);
        self.repeats += 1;
    }
}

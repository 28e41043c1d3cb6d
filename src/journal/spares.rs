//! Segments that a journal asks for and gives back.

use super::RESERVED_SEGMENTS;
use super::segment::SpareSegment;
use super::state::{Journal, WriteError};
use super::supply::{NoSegment, ReleasedSegment};

/// Spare segments that a journal asks for: what is reserved, and one for new entries.
const SPARE_SEGMENTS: usize = RESERVED_SEGMENTS + 1;

/// Pause before segments are asked for again that could not be had.
const RETRY_NANOS: u64 = 1_000_000_000;

impl Journal {
    /// Number of segments to ask the supplier for now, beside those asked for earlier. Each is answered by
    /// [`add_segment`](Self::add_segment), or all of them by one [`segment_refused`](Self::segment_refused).
    pub fn segments_wanted(&mut self, now: u64) -> usize {
        if self.supply.retry_nanos().is_some_and(|retry| now < retry) {
            return 0;
        }
        let wanted = SPARE_SEGMENTS.saturating_sub(self.spare.len() + self.supply.requested);
        self.supply.requested += wanted;
        if wanted > 0 {
            // Asked once: the answer sets it again.
            self.supply.refusal = self.supply.refusal.map(|(why, _)| (why, u64::MAX));
        }
        wanted
    }

    /// Adds a segment of the size of [`Config::segment_bytes`](super::Config::segment_bytes). A journal that was down is up.
    pub fn add_segment(&mut self, segment: SpareSegment) {
        self.supply.requested = self.supply.requested.saturating_sub(1);
        self.supply.refusal = None;
        self.add_spare(segment);
    }

    /// Tells that the segments that were asked for cannot be had. They are asked for again after a second.
    pub fn segment_refused(&mut self, why: NoSegment, now: u64) {
        self.supply.requested = 0;
        self.supply.refusal = Some((why, now.saturating_add(RETRY_NANOS)));
        self.begin_review();
    }

    /// A segment that the journal does not use any more.
    pub fn released(&mut self) -> Option<ReleasedSegment> {
        self.released.pop_front()
    }

    /// Releases the oldest segments as far as nothing in them is open: they are erased, one after the other, before any of
    /// them is written again. A segment that is half overwritten would show its entries without their completions, and one
    /// that was opened later may hold completions of those in an older one.
    pub(super) fn release_oldest(&mut self) {
        while self.segments.len() > 1 || self.tail.is_none() {
            let Some(oldest) = self.segments.front().filter(|oldest| oldest.held_bytes() == 0) else { break };
            let spare = oldest.spare();
            let is_usable = !oldest.is_abandoned && spare.bytes == self.config.segment_bytes;
            self.segments.pop_front();
            self.first_index.0 += 1;
            self.erasing.push_back(if is_usable {
                ReleasedSegment::Spare(spare)
            } else {
                ReleasedSegment::Discard(spare.name)
            });
        }
    }

    /// Takes the end of the write that erased a segment. It serves again here, where spare ones are wanted: that needs no
    /// supplier.
    pub(super) fn on_erased(&mut self, released: ReleasedSegment, result: Result<(), WriteError>) {
        match (released, result) {
            (ReleasedSegment::Spare(spare), Ok(())) if self.spare.len() < SPARE_SEGMENTS => {
                self.add_spare(spare);
            }
            (ReleasedSegment::Spare(spare), Err(WriteError)) => {
                self.released.push_back(ReleasedSegment::Discard(spare.name));
            }
            (released, _) => self.released.push_back(released),
        }
    }

    fn add_spare(&mut self, segment: SpareSegment) {
        self.spare.push_back(segment);
        self.is_blocked = false;
        self.is_down = false;
    }
}

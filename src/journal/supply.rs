//! The supply of segments: what was asked for, and why there is none.

use super::segment::{SegmentName, SpareSegment};

/// Why there is no segment for a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSegment {
    /// There are as many as `journal.max_bytes` allows.
    Full,
    /// One cannot be made.
    Failed,
}

/// A segment that a journal does not use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleasedSegment {
    /// It can be handed out again as it is, to any core.
    Spare(SpareSegment),
    /// A write to it failed, or its size is not today's: to be deleted.
    Discard(SegmentName),
}

/// State of the supply of segments.
#[derive(Debug, Default)]
pub(super) struct Supply {
    /// Asked for and not answered.
    pub(super) requested: usize,
    /// With the moment at which they are asked for again.
    pub(super) refusal: Option<(NoSegment, u64)>,
}

impl Supply {
    pub(super) fn refusal(&self) -> Option<NoSegment> {
        self.refusal.map(|(why, _)| why)
    }

    /// When segments are asked for again.
    pub(super) fn retry_nanos(&self) -> Option<u64> {
        self.refusal.map(|(_, retry)| retry)
    }
}

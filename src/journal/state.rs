//! The state of a core's journal, which the files beside this one work on: appending (`machine`), writing and the end of a
//! write (`writing`, `settle`), segments that come and go (`spares`), reading, moving and carrying forward.

use std::collections::VecDeque;
use std::ops::Range;

use super::completions::Completions;
use super::index::{OpenIndex, SegmentIndex};
use super::note::{NOTE_BYTES, Note};
use super::record::record_bytes;
use super::recovery::Fault;
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, SpareSegment};
use super::sequence::Sequence;
use super::supply::{ReleasedSegment, Supply};
use super::tail::{Flight, SegmentTail};
use crate::base::block::AlignedBlock;

/// The configuration of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The core that it belongs to.
    pub core: u16,
    /// Id of the folder, from its [`Manifest`](super::Manifest).
    pub folder: u64,
    /// Size of the segments that it is given: the same for all cores of a run.
    pub segment_bytes: u32,
}

impl Config {
    /// Bytes of the longest entry.
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        self.segment_bytes as usize - SEGMENT_HEADER_BYTES - record_bytes(0)
    }
}

/// Why an entry is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All segments that `journal.max_bytes` allows are in use.
    Full,
    /// No segment can be written.
    Down,
    /// The disk, or the supplier of segments, is behind.
    Busy,
    /// Longer than [`Config::entry_bytes_max`], or more deliveries than [`DELIVERIES_MAX`](super::DELIVERIES_MAX).
    TooLarge,
}

/// Bytes to be written: one operation, durable as `journal.durability` says before it completes.
#[derive(Debug)]
pub struct Write {
    pub segment: SegmentName,
    pub offset: u64,
    /// All of it is written.
    pub block: AlignedBlock,
}

/// A write failed, or was not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteError;

/// Counters and gauges of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments that hold records, and their bytes.
    pub segments: usize,
    pub segment_bytes: u64,
    /// Bytes of open entries in them.
    pub open_bytes: u64,
    pub open_entries: usize,
    /// Milliseconds since 1970 when the oldest open entry was accepted.
    pub oldest_unix_millis: Option<u64>,
    /// Segments that are ready to be used.
    pub spare_segments: usize,
    /// Since the start:
    pub writes: u64,
    pub written_bytes: u64,
    pub written_records: u64,
    pub failed_writes: u64,
    /// Entries that were moved forward.
    pub moved_entries: u64,
    /// Open entries that could not be read back.
    pub damaged_entries: u64,
}

/// A segment that holds records.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    /// Bytes of records of open entries.
    pub(super) open_bytes: u64,
    /// End of its durable records, but for those that were written again elsewhere.
    pub(super) durable_bytes: u32,
    /// End of all its records: behind the durable ones of an earlier run may stand some of a torn write.
    pub(super) end: u32,
    /// A write to it failed.
    pub(super) is_abandoned: bool,
    /// Notes that it holds: of those that have no copy elsewhere.
    pub(super) notes: Vec<Note>,
    /// Copies of its notes are on their way forward.
    pub(super) is_carried: bool,
}

impl Segment {
    /// A segment that has just been opened.
    pub(super) fn new(header: SegmentHeader) -> Segment {
        Segment {
            header,
            open_bytes: 0,
            durable_bytes: 0,
            end: 0,
            is_abandoned: false,
            notes: Vec::new(),
            is_carried: false,
        }
    }

    /// Bytes that must not be lost: those of open entries, and of notes.
    pub(super) fn held_bytes(&self) -> u64 {
        self.open_bytes + (self.notes.len() * NOTE_BYTES) as u64
    }

    /// End of its records, or of its header.
    pub(super) fn records_end(&self) -> usize {
        self.end.max(SEGMENT_HEADER_BYTES as u32) as usize
    }

    pub(super) fn spare(&self) -> SpareSegment {
        let SegmentHeader { name, bytes, salt, use_number, .. } = self.header;
        SpareSegment { name, bytes, uses: use_number, salt }
    }
}

/// Room that pending records were promised.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    /// Bytes left of the last segment that they need.
    pub(super) left: usize,
    /// Spare segments that they need.
    pub(super) spares: usize,
}

/// The journal of one core.
pub struct Journal {
    pub(super) config: Config,
    /// The oldest first; the last is the one that is appended to, while there is a tail.
    pub(super) segments: VecDeque<Segment>,
    pub(super) first_index: SegmentIndex,
    pub(super) tail: Option<SegmentTail>,
    pub(super) in_flight: Option<Flight>,
    pub(super) spare: VecDeque<SpareSegment>,
    /// Released, and to be erased before they leave.
    pub(super) erasing: VecDeque<ReleasedSegment>,
    pub(super) released: VecDeque<ReleasedSegment>,
    pub(super) supply: Supply,
    /// Records that no write has taken, framed.
    pub(super) pending: Vec<u8>,
    pub(super) room: Room,
    pub(super) completions: Completions,
    pub(super) open: OpenIndex,
    /// Repeats in `pending` and in flight.
    pub(super) repeats: usize,
    /// Records of carried notes in `pending` and in flight.
    pub(super) carried: usize,
    /// The pass over the notes that is under way.
    pub(super) review: Option<Review>,
    /// Entries in `pending` and in flight that are not in `open`.
    pub(super) unwritten: usize,
    pub(super) next: Sequence,
    pub(super) durable: Sequence,
    pub(super) failed: Option<Range<Sequence>>,
    /// No sequence from here on has failed.
    pub(super) failed_end: Sequence,
    pub(super) is_down: bool,
    /// A write waits for a segment.
    pub(super) is_blocked: bool,
    pub(super) moving: Moving,
    /// Memory of the last write, for the next.
    pub(super) memory: Option<AlignedBlock>,
    pub(super) stats: Stats,
}

/// State of moving forward.
#[derive(Debug, Default)]
pub(super) struct Moving {
    pub(super) segment: Option<MovingSegment>,
    pub(super) memory: Option<AlignedBlock>,
    /// Open entries that could not be read, for the log.
    pub(super) faults: Vec<Fault>,
}

/// The segment that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct MovingSegment {
    pub(super) index: SegmentIndex,
    /// Where the next read begins, and the bytes that it must have at least.
    pub(super) at: usize,
    pub(super) needs: usize,
    pub(super) is_reading: bool,
    pub(super) attempts: u32,
    /// After a failed read.
    pub(super) retry_nanos: Option<u64>,
}

impl Moving {
    pub(super) fn retry_nanos(&self) -> Option<u64> {
        self.segment.filter(|progress| !progress.is_reading)?.retry_nanos
    }
}

/// A pass over the notes of all closed segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Review {
    pub(super) segment: SegmentIndex,
    /// The next note of the segment.
    pub(super) at: usize,
}

//! Reading open entries back.

use super::index::SegmentIndex;
use super::record::{EntryKind, Seed, check_header, check_payload};
use super::recovery::{Fault, FaultKind};
use super::segment::SegmentName;
use super::sequence::Sequence;
use super::state::{Journal, Segment};
use crate::base::block::{AlignedBlock, BLOCK_BYTES};

/// Bytes of a read for an entry: with what stands behind it, which is mostly asked for next. A larger read costs little more
/// than a small one.
const READ_AHEAD_BYTES: usize = 128 * 1024;

/// Bytes to be read: one operation.
#[derive(Debug)]
pub struct Read {
    pub segment: SegmentName,
    pub offset: u64,
    /// To be filled whole. The file is longer than where the read ends.
    pub block: AlignedBlock,
    pub(super) index: SegmentIndex,
    seed: Seed,
}

/// A read failed, or was not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadError;

/// An open entry, as it was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub sequence: Sequence,
    pub kind: EntryKind,
    pub deliveries: u16,
    /// When it was accepted.
    pub unix_millis: u64,
    pub payload: &'a [u8],
}

/// Why an entry is not in what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRead {
    /// It is not open, or not durable yet.
    NotOpen,
    /// It stands elsewhere: read again.
    Elsewhere,
    /// It is not what was written: it is lost. To be logged, and completed.
    Damaged(Fault),
}

impl Read {
    /// A read of whole blocks that hold `from..to` of a segment, or as much of it as the segment has.
    pub(super) fn new(
        segment: &Segment,
        index: SegmentIndex,
        from: usize,
        to: usize,
        memory: Option<AlignedBlock>,
    ) -> Read {
        let start = from / BLOCK_BYTES * BLOCK_BYTES;
        let bytes = to.min(segment.header.bytes as usize) - start;
        let block = memory.unwrap_or_else(|| AlignedBlock::zeroed(bytes)).reused(bytes);
        let seed = segment.header.seed();
        Read { segment: segment.header.name, offset: start as u64, block, index, seed }
    }

    pub(super) fn seed(&self) -> Seed {
        self.seed
    }
}

impl Journal {
    /// The read of an open, durable entry and some of what stands behind it. `None` if it is not open. Several reads may be
    /// under way. `memory` is that of an earlier read, if there is one.
    #[must_use]
    pub fn read(&self, sequence: Sequence, memory: Option<Read>) -> Option<Read> {
        let open = self.open.get(sequence)?;
        let segment = self.segment(open.segment)?;
        let (from, entry_end) = (open.offset as usize, (open.offset + open.record_bytes) as usize);
        let written = match &self.tail {
            Some(tail) if open.segment == self.last_index() => tail.end,
            _ => segment.records_end(),
        };
        let to = entry_end.max(written.min(from + READ_AHEAD_BYTES));
        Some(Read::new(segment, open.segment, from, to, memory.map(|read| read.block)))
    }

    /// An open entry out of a read that is complete: the one that was asked for, or another that stands there too.
    ///
    /// # Errors
    /// If it is not there.
    pub fn entry<'a>(&self, read: &'a Read, sequence: Sequence) -> Result<Entry<'a>, NotRead> {
        let open = self.open.get(sequence).ok_or(NotRead::NotOpen)?;
        let start = (open.offset as usize).checked_sub(read.offset as usize).ok_or(NotRead::Elsewhere)?;
        let record = read.block.bytes().get(start..start + open.record_bytes as usize);
        let record = record.filter(|_| open.segment == read.index).ok_or(NotRead::Elsewhere)?;
        let header = check_header(record, read.seed)
            .filter(|header| header.sequence == sequence && header.record_type.is_entry());
        let payload = header.and_then(|header| check_payload(record, &header, read.seed));
        match (header, payload) {
            (Some(header), Some(payload)) => Ok(Entry {
                sequence,
                kind: header.kind,
                deliveries: header.deliveries,
                unix_millis: header.unix_millis,
                payload: header.entry_payload(payload),
            }),
            _ => Err(NotRead::Damaged(Fault {
                segment: read.segment,
                offset: u64::from(open.offset),
                kind: FaultKind::Records { end: u64::from(open.offset + open.record_bytes) },
            })),
        }
    }

    /// Whether an open entry is in a read, as far as can be known before it is complete.
    #[must_use]
    pub fn is_in(&self, read: &Read, sequence: Sequence) -> bool {
        self.open.get(sequence).is_some_and(|open| {
            let (start, end) = (u64::from(open.offset), u64::from(open.offset + open.record_bytes));
            open.segment == read.index
                && start >= read.offset
                && end <= read.offset + read.block.bytes().len() as u64
        })
    }
}

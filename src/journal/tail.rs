//! The end of the segment that is appended to, as one write after the other leaves it.
//!
//! A tail keeps the records that the next write touches or that the last one did: those that stand, wholly or in part, in the
//! last block that was written. They are what is written again elsewhere when a write fails.

use super::record::{Seed, framed_header, seal};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::supply::ReleasedSegment;
use crate::base::block::{AlignedBlock, BLOCK_BYTES};

/// The end of the segment that is appended to.
#[derive(Debug)]
pub(super) struct SegmentTail {
    seed: Seed,
    /// Where the next write begins: what stands before it is durable and full.
    pub(super) block_start: usize,
    /// End of the records, those of the write in flight included.
    pub(super) end: usize,
    /// The block at `block_start`, as it was written last.
    block: Box<[u8; BLOCK_BYTES]>,
    /// The records that stand from `records_start` to `end`, framed.
    pub(super) records: Vec<u8>,
    pub(super) records_start: usize,
}

impl SegmentTail {
    /// The tail of a segment of which nothing is written. Its header is written with its first records.
    pub(super) fn new(header: &SegmentHeader) -> SegmentTail {
        let mut block = Box::new([0; BLOCK_BYTES]);
        header.encode(&mut block[..]);
        SegmentTail {
            seed: header.seed(),
            block_start: 0,
            end: SEGMENT_HEADER_BYTES,
            block,
            records: Vec::new(),
            records_start: SEGMENT_HEADER_BYTES,
        }
    }

    /// Makes the blocks from `block_start` to the end. The records from `from` of `records` are new.
    pub(super) fn build(&self, from: usize, mut block: AlignedBlock) -> AlignedBlock {
        let new_start = self.records_start + from;
        let bytes = block.bytes_mut();
        let (old, rest) = bytes.split_at_mut(new_start - self.block_start);
        old.copy_from_slice(&self.block[..old.len()]);
        let (new, padding) = rest.split_at_mut(self.end - new_start);
        new.copy_from_slice(&self.records[from..]);
        padding.fill(0);
        let mut at = 0;
        while at < new.len() {
            let bytes = framed_header(&new[at..]).record_bytes();
            seal(&mut new[at..at + bytes], new_start as u32, self.seed);
            at += bytes;
        }
        block
    }

    /// Notes that `written` is durable: what stands before the last block is not needed any more.
    pub(super) fn settle(&mut self, written: &AlignedBlock) {
        let block_start = self.end / BLOCK_BYTES * BLOCK_BYTES;
        let last = &written.bytes()[block_start - self.block_start..];
        self.block.fill(0);
        if let Some(last) = last.get(..BLOCK_BYTES) {
            self.block.copy_from_slice(last);
        }
        self.block_start = block_start;
        let mut unneeded = 0;
        while unneeded < self.records.len() {
            let bytes = framed_header(&self.records[unneeded..]).record_bytes();
            if self.records_start + unneeded + bytes > block_start {
                break;
            }
            unneeded += bytes;
        }
        self.records.drain(..unneeded);
        self.records_start += unneeded;
    }
}

/// The write in flight.
#[derive(Debug)]
pub(super) enum Flight {
    /// Records of the tail, from this byte of [`SegmentTail::records`] on.
    Records { from: usize },
    /// A released segment's header is overwritten with zeros.
    Erase(ReleasedSegment),
}

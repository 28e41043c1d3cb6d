//! Segments: the files that records are appended to.
//!
//! A segment is a file of a fixed size, made and zeroed by its supplier before its first use. Its first block is the header,
//! written together with the first records of each use; records follow. The header stands there [`COPIES`] times, so that a
//! damaged sector costs a copy and not the segment.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | `TGSEGMNT` |
//! | 8 | 4 | version of the format |
//! | 12 | 4 | bytes of the segment |
//! | 16 | 8 | id of the journal folder |
//! | 24 | 8 | salt: random, made with the segment |
//! | 32 | 4, 2 | number and core of its name |
//! | 38 | 2 | core that writes this use |
//! | 40 | 4 | number of this use |
//! | 44 | 4, 2 | number and core of the segment that was written before; all ones: none |
//! | 50 | 2 | 0 |
//! | 52 | 4 | the seed of that use |
//! | 56 | 4 | bytes of it that are durable |
//! | 60 | 4 | 0 |
//! | 64 | 8 | sequence that the use took when it began: uses of one core and of later runs have higher ones |
//! | 72 | 4 | CRC-32C of all of it |

use std::fmt;
use std::str::FromStr;

use super::little_endian::{u32_at, u64_at};
use super::record::{Seed, checksum};
use super::sequence::Sequence;
use crate::base::block::BLOCK_BYTES;

const MAGIC: [u8; 8] = *b"TGSEGMNT";
const VERSION: u32 = 1;
const FIELDS_BYTES: usize = 72;
const COPY_BYTES: usize = FIELDS_BYTES + 4;
/// Copies of the header in the first block, each in a part of its own of 1 KiB: two sectors.
const COPIES: usize = 4;
/// Ending of a segment's file.
const EXTENSION: &str = ".segment";

/// Bytes before the first record.
pub const SEGMENT_HEADER_BYTES: usize = BLOCK_BYTES;

/// Size of a segment where the journal has room for many: large enough that opening one is rare, small enough that
/// the reuse of one is not.
pub const SEGMENT_BYTES: u32 = 64 * 1024 * 1024;
/// The smallest segment: a record of the largest default payload, with every byte escaped, fits.
pub const SEGMENT_BYTES_MIN: u32 = 4 * 1024 * 1024;
/// The largest: offsets have 32 bits.
pub const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;

/// Name of a segment: the core that it was made for, and a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    pub core: u16,
    pub number: u32,
}

impl SegmentName {
    /// Name of its file in the journal's folder.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{self}{EXTENSION}")
    }

    /// The segment that a file in the journal's folder is; `None` if it is none.
    #[must_use]
    pub fn of_file(name: &str) -> Option<SegmentName> {
        let parsed: SegmentName = name.strip_suffix(EXTENSION)?.parse().ok()?;
        (parsed.file_name() == name).then_some(parsed)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.core, self.number)
    }
}

impl FromStr for SegmentName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SegmentName, &'static str> {
        let parsed = text.split_once('-').and_then(|(core, number)| {
            Some(SegmentName { core: core.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or("must be a core and a number, as in 0-12")
    }
}

/// A segment that holds nothing: its header is zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpareSegment {
    pub name: SegmentName,
    /// Size of the file: a multiple of [`BLOCK_BYTES`].
    pub bytes: u32,
    /// Uses so far; 0 for a new file.
    pub uses: u32,
    /// Random and secret, the same for all uses: what callers send cannot be made to look like a record.
    pub salt: u64,
}

/// The segment that a core wrote before another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    pub name: SegmentName,
    /// Tells its uses apart, and files that had its name.
    pub(super) seed: Seed,
    /// All of its records up to here were durable, but for those that were written again elsewhere.
    pub durable_bytes: u32,
}

/// Contents of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random id of the journal's folder.
    pub folder: u64,
    pub name: SegmentName,
    pub bytes: u32,
    pub salt: u64,
    /// Core that writes this use.
    pub core: u16,
    /// 1 for the first.
    pub use_number: u32,
    pub previous: Option<Previous>,
    /// Taken when the use began, and no entry's. Completions and repeats of an entry are in the use that holds it or in
    /// one that was opened later, by this number.
    pub opened: Sequence,
}

impl SegmentHeader {
    /// The first block of the segment.
    pub(super) fn encode(&self, block: &mut [u8]) {
        let mut copy = [0; COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        let mut put = |at: usize, bytes: &[u8]| copy[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.bytes.to_le_bytes());
        put(16, &self.folder.to_le_bytes());
        put(24, &self.salt.to_le_bytes());
        put(32, &self.name.number.to_le_bytes());
        put(36, &self.name.core.to_le_bytes());
        put(38, &self.core.to_le_bytes());
        put(40, &self.use_number.to_le_bytes());
        match self.previous {
            Some(previous) => {
                put(44, &previous.name.number.to_le_bytes());
                put(48, &previous.name.core.to_le_bytes());
                put(52, &previous.seed.0.to_le_bytes());
                put(56, &previous.durable_bytes.to_le_bytes());
            }
            None => put(44, &[0xff; 6]),
        }
        put(64, &self.opened.raw().to_le_bytes());
        let sum = checksum(&copy[..FIELDS_BYTES]);
        copy[FIELDS_BYTES..].copy_from_slice(&sum.to_le_bytes());
        let block = &mut block[..SEGMENT_HEADER_BYTES];
        block.fill(0);
        for part in block.chunks_mut(SEGMENT_HEADER_BYTES / COPIES) {
            part[..COPY_BYTES].copy_from_slice(&copy);
        }
    }

    /// Reads the first block of a segment. Where its copies are of different uses, the newest counts.
    #[must_use]
    pub fn read(block: &[u8]) -> HeaderState {
        let Some(block) = block.get(..SEGMENT_HEADER_BYTES) else { return HeaderState::Damaged };
        let copies = block.chunks(SEGMENT_HEADER_BYTES / COPIES);
        let newest = copies.filter_map(SegmentHeader::decode).max_by_key(|header| header.use_number);
        match newest {
            Some(header) => HeaderState::Used(header),
            None if block.iter().all(|byte| *byte == 0) => HeaderState::New,
            None => HeaderState::Damaged,
        }
    }

    fn decode(copy: &[u8]) -> Option<SegmentHeader> {
        if copy[..8] != MAGIC
            || u32_at(copy, FIELDS_BYTES) != checksum(&copy[..FIELDS_BYTES])
            || u32_at(copy, 8) != VERSION
        {
            return None;
        }
        let u16_at = |at: usize| u16::from_le_bytes([copy[at], copy[at + 1]]);
        let is_first = copy[44..50] == [0xff; 6];
        let previous = Previous {
            name: SegmentName { core: u16_at(48), number: u32_at(copy, 44) },
            seed: Seed(u32_at(copy, 52)),
            durable_bytes: u32_at(copy, 56),
        };
        Some(SegmentHeader {
            folder: u64_at(copy, 16),
            name: SegmentName { core: u16_at(36), number: u32_at(copy, 32) },
            bytes: u32_at(copy, 12),
            salt: u64_at(copy, 24),
            core: u16_at(38),
            use_number: u32_at(copy, 40),
            previous: (!is_first).then_some(previous),
            opened: Sequence::from_raw(u64_at(copy, 64)),
        })
    }

    pub(super) fn seed(&self) -> Seed {
        let mut bytes = [0; 18];
        bytes[..8].copy_from_slice(&self.salt.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.name.number.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.name.core.to_le_bytes());
        bytes[14..].copy_from_slice(&self.use_number.to_le_bytes());
        Seed(checksum(&bytes))
    }
}

/// State of the first block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderState {
    /// Zeros: never used.
    New,
    Used(SegmentHeader),
    /// No copy of the header is whole.
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(use_number: u32) -> SegmentHeader {
        SegmentHeader {
            folder: 1,
            name: SegmentName { core: 2, number: 3 },
            bytes: SEGMENT_BYTES,
            salt: 4,
            core: 5,
            use_number,
            previous: Some(Previous {
                name: SegmentName { core: 2, number: 1 },
                seed: Seed(9),
                durable_bytes: 8192,
            }),
            opened: Sequence::new(5, 77),
        }
    }

    fn block(header: &SegmentHeader) -> Vec<u8> {
        let mut block = vec![1; SEGMENT_HEADER_BYTES];
        header.encode(&mut block);
        block
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for header in [header(1), SegmentHeader { previous: None, ..header(2) }] {
            assert_eq!(SegmentHeader::read(&block(&header)), HeaderState::Used(header));
        }
        assert_eq!(SegmentHeader::read(&[0; SEGMENT_HEADER_BYTES]), HeaderState::New);
        assert_eq!(SegmentHeader::read(&[0; 100]), HeaderState::Damaged);
        assert_eq!(SegmentHeader::read(&[1; SEGMENT_HEADER_BYTES]), HeaderState::Damaged);
    }

    #[test]
    fn damage_to_all_copies_but_one_costs_nothing() {
        let header = header(1);
        for whole in 0..COPIES {
            let mut damaged = block(&header);
            for copy in (0..COPIES).filter(|copy| *copy != whole) {
                damaged[copy * SEGMENT_HEADER_BYTES / COPIES + 33] ^= 4;
            }
            assert_eq!(SegmentHeader::read(&damaged), HeaderState::Used(header));
        }
    }

    #[test]
    fn a_header_that_is_half_overwritten_is_that_of_the_newer_use() {
        let (old, new) = (block(&header(1)), block(&header(2)));
        for sectors in 1..8 {
            let (cut, mut torn) = (sectors * 512, old.clone());
            torn[..cut].copy_from_slice(&new[..cut]);
            assert_eq!(SegmentHeader::read(&torn), HeaderState::Used(header(2)), "{sectors} sectors");
        }
    }

    #[test]
    fn seeds_of_uses_and_names_differ() {
        let one = header(1);
        let other_name = SegmentHeader { name: SegmentName { core: 2, number: 4 }, ..one };
        let other_salt = SegmentHeader { salt: 5, ..one };
        for other in [header(2), other_name, other_salt] {
            assert_ne!(one.seed(), other.seed());
        }
    }

    #[test]
    fn file_names_have_one_spelling() {
        let name = SegmentName { core: 3, number: 12 };
        assert_eq!(name.file_name(), "3-12.segment");
        assert_eq!(SegmentName::of_file("3-12.segment"), Some(name));
        for file in
            ["03-12.segment", "3-+12.segment", "3-12.segment.new", "3-12", "segments", "65536-1.segment"]
        {
            assert_eq!(SegmentName::of_file(file), None, "{file}");
        }
    }
}

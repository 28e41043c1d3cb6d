//! Reading a segment's bytes from its first record to its last.
//!
//! Damage is skipped: reading continues at the next multiple of 8 bytes where a header's checksum is right. What no record
//! follows is the end: never written, left behind by an earlier use, or torn. Work is linear in the bytes: a header's
//! checksum covers 36 bytes, and no byte belongs to the payloads of two records that are tried.

use super::little_endian::u32_at;
use super::record::{HEADER_BYTES, RECORD_ALIGN, RecordHeader, Seed, check_header, check_payload};
use super::segment::{HeaderState, SEGMENT_HEADER_BYTES, SegmentHeader};

/// Contents of some bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole record, with its payload.
    Record(RecordHeader, &'a [u8]),
    /// Damage up to `end`, where the next record begins.
    Damage { end: usize },
}

/// All records of a segment and the damage between them, with their offsets; none if its header is damaged.
pub fn records(segment: &[u8]) -> impl Iterator<Item = (u64, Found<'_>)> {
    let scan = match SegmentHeader::read(segment) {
        HeaderState::Used(header) => Some(Scan::segment(segment, header.seed())),
        HeaderState::New | HeaderState::Damaged => None,
    };
    scan.into_iter().flatten().map(|(offset, found)| (offset as u64, found))
}

/// Records of a segment, and the damage between them.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    /// Offset of `bytes` in the segment.
    base: usize,
    seed: Seed,
    /// Where reading continues, in `bytes`.
    at: usize,
    /// Where damage began that no record has followed yet.
    damaged_from: Option<usize>,
    /// The header behind the last record whose payload is not whole, if there is one.
    torn: Option<(usize, RecordHeader)>,
    /// Bytes that checksums were made of.
    checked_bytes: u64,
}

impl<'a> Scan<'a> {
    /// Reads a whole segment.
    pub(super) fn segment(bytes: &'a [u8], seed: Seed) -> Scan<'a> {
        let mut scan = Scan::part(bytes, 0, seed);
        scan.at = SEGMENT_HEADER_BYTES.min(bytes.len());
        scan
    }

    /// Reads bytes that stand at `base` of a segment, where a record begins.
    pub(super) fn part(bytes: &'a [u8], base: usize, seed: Seed) -> Scan<'a> {
        Scan { bytes, base, seed, at: 0, damaged_from: None, torn: None, checked_bytes: 0 }
    }

    /// The offset in the segment behind the last record.
    pub(super) fn end(&self) -> usize {
        self.base + self.damaged_from.unwrap_or(self.at)
    }

    /// Whether a part of a record stands at the end.
    pub(super) fn is_torn(&self) -> bool {
        self.torn.is_some()
    }

    /// The offset in the segment where reading continues with the bytes behind these, and how many it needs.
    pub(super) fn resume(&self) -> (usize, usize) {
        match self.torn {
            Some((at, header)) if header.record_bytes() > self.bytes.len() - at => {
                (self.base + at, header.record_bytes())
            }
            _ => (self.base + self.at, HEADER_BYTES),
        }
    }

    /// Bytes that checksums were made of so far: the work that was done.
    pub(super) fn checked_bytes(&self) -> u64 {
        self.checked_bytes
    }

    /// The header where reading continues, or the next one behind it.
    fn find_header(&mut self) -> Option<RecordHeader> {
        while self.at + HEADER_BYTES <= self.bytes.len() {
            let rest = &self.bytes[self.at..];
            // Zeros are most of what is read here: an unused segment has nothing else.
            if u32_at(rest, 28) & 0xff != 0 {
                self.checked_bytes += HEADER_BYTES as u64;
                if let Some(header) = check_header(rest, self.seed) {
                    return Some(header);
                }
            }
            self.damaged_from.get_or_insert(self.at);
            self.at += RECORD_ALIGN;
        }
        self.damaged_from.get_or_insert(self.at);
        None
    }
}

impl<'a> Iterator for Scan<'a> {
    /// With the offset in the segment.
    type Item = (usize, Found<'a>);

    fn next(&mut self) -> Option<(usize, Found<'a>)> {
        loop {
            let header = self.find_header()?;
            let (at, rest) = (self.at, &self.bytes[self.at..]);
            self.checked_bytes += header.record_bytes().min(rest.len()) as u64;
            let Some(payload) = check_payload(rest, &header, self.seed) else {
                // The length is right, since the header's checksum is.
                self.damaged_from.get_or_insert(at);
                self.torn = Some((at, header));
                self.at = at.saturating_add(header.record_bytes()).min(self.bytes.len());
                continue;
            };
            if let Some(from) = self.damaged_from.take() {
                self.torn = None;
                return Some((self.base + from, Found::Damage { end: self.base + at }));
            }
            self.at = (at + header.record_bytes()).min(self.bytes.len());
            return Some((self.base + at, Found::Record(header, payload)));
        }
    }
}

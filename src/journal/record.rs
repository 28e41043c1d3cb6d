//! One record: 40 bytes of header, the payload, zeros to a multiple of 8 bytes. All numbers are little endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of the 36 bytes that follow, XOR the segment's [`Seed`] |
//! | 4 | 4 | length of the payload |
//! | 8 | 8 | sequence |
//! | 16 | 8 | milliseconds since 1970 when it was appended |
//! | 24 | 4 | CRC-32C of the payload, XOR the segment's [`Seed`] |
//! | 28 | 1 | [`RecordType`] |
//! | 29 | 1 | [`EntryKind`] |
//! | 30 | 2 | number of deliveries |
//! | 32 | 4 | offset in the segment of the first new record of its write |
//! | 36 | 4 | number of notes at the start of the payload |
//!
//! The header has a checksum of its own, so that a damaged payload costs one record, and so that the next record behind
//! damage is found by looking at 40 bytes of each multiple of 8. All that stands before the first new record of a write was
//! durable when the write was made: so damage is told from a write that was torn. The seed of each use of a segment differs, so that what an
//! earlier use left behind is no record.

use crc_fast::CrcAlgorithm;

use super::little_endian::{u32_at, u64_at};
use super::note::{Note, notes, notes_bytes};
use super::sequence::Sequence;

/// Bytes of a record before its payload.
pub(super) const HEADER_BYTES: usize = 40;
/// Records begin at multiples of this.
pub(super) const RECORD_ALIGN: usize = 8;
/// Bytes of one completion in the payload of a completion record: the sequence, the delivery.
pub(super) const COMPLETION_BYTES: usize = 10;
/// The delivery of a completion that means all of them.
pub(super) const ALL_DELIVERIES: u16 = u16::MAX;
/// The delivery of a completion that revokes its record: all deliveries are done, and its notes were never made.
pub(super) const REVOKED: u16 = u16::MAX - 1;

/// Deliveries of one entry: what is kept of those that are done has a bit for each.
pub const DELIVERIES_MAX: u16 = 1024;

/// Kind of an entry, as the caller of the journal numbers them. The journal keeps it and does not look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKind(pub u8);

/// Meaning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// An entry, written for the first time.
    Entry,
    /// An entry that an older segment may hold too: moved forward, or written again after a failed write.
    Repeat,
    /// Deliveries that are done.
    Completion,
    /// Notes without an entry, written for the first time.
    Note,
    /// Notes that another record may hold too: carried forward, or written again after a failed write.
    CarriedNotes,
}

impl RecordType {
    fn from_code(code: u8) -> Option<RecordType> {
        Some(match code {
            1 => RecordType::Entry,
            2 => RecordType::Repeat,
            3 => RecordType::Completion,
            4 => RecordType::Note,
            5 => RecordType::CarriedNotes,
            _ => return None,
        })
    }

    fn code(self) -> u8 {
        match self {
            RecordType::Entry => 1,
            RecordType::Repeat => 2,
            RecordType::Completion => 3,
            RecordType::Note => 4,
            RecordType::CarriedNotes => 5,
        }
    }

    /// Whether it is a copy of an entry.
    #[must_use]
    pub fn is_entry(self) -> bool {
        matches!(self, RecordType::Entry | RecordType::Repeat)
    }
}

/// Fields of a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload.
    pub payload_bytes: u32,
    pub sequence: Sequence,
    pub unix_millis: u64,
    pub record_type: RecordType,
    pub kind: EntryKind,
    /// Deliveries of an entry.
    pub deliveries: u16,
    /// Offset in the segment of the first new record of the write that wrote it: set when it is sealed.
    pub write_start: u32,
    /// Number of notes at the start of the payload.
    pub notes: u32,
}

impl RecordHeader {
    /// A header without a payload.
    pub(super) fn empty() -> RecordHeader {
        RecordHeader {
            payload_bytes: 0,
            sequence: Sequence::from_raw(0),
            unix_millis: 0,
            record_type: RecordType::Completion,
            kind: EntryKind::default(),
            deliveries: 0,
            write_start: 0,
            notes: 0,
        }
    }

    /// The part of a record's payload that is its entry's.
    #[must_use]
    pub fn entry_payload<'a>(&self, payload: &'a [u8]) -> &'a [u8] {
        payload.get(notes_bytes(self.notes)..).unwrap_or_default()
    }

    /// The notes in a record's payload.
    pub(super) fn notes<'a>(&self, payload: &'a [u8]) -> impl Iterator<Item = Note> + use<'a> {
        notes(payload.get(..notes_bytes(self.notes)).unwrap_or_default())
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        record_bytes(self.payload_bytes as usize)
    }
}

/// Bytes of a record with such a payload.
pub(super) fn record_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(RECORD_ALIGN)
}

/// Distinguishes the records of one use of a segment from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seed(pub(super) u32);

impl Seed {
    fn checksum(self, bytes: &[u8]) -> u32 {
        checksum(bytes) ^ self.0
    }
}

/// CRC-32C.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Appends a record of notes and other parts without its checksums, which [`seal`] adds once its segment is known.
pub(super) fn frame<'n>(
    out: &mut Vec<u8>,
    header: &RecordHeader,
    notes: impl IntoIterator<Item = &'n Note>,
    parts: &[&[u8]],
) {
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.payload_bytes.to_le_bytes());
    out.extend_from_slice(&header.sequence.raw().to_le_bytes());
    out.extend_from_slice(&header.unix_millis.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[header.record_type.code(), header.kind.0]);
    out.extend_from_slice(&header.deliveries.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&header.notes.to_le_bytes());
    notes.into_iter().for_each(|note| note.write(out));
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.resize(out.len().next_multiple_of(RECORD_ALIGN), 0);
}

/// Marks a framed record as one that an older segment may hold too. A completion stays one.
pub(super) fn mark_repeat(record: &mut [u8]) {
    if record[28] == RecordType::Entry.code() {
        record[28] = RecordType::Repeat.code();
    }
}

/// Adds the start of its write and the checksums to a framed record.
pub(super) fn seal(record: &mut [u8], write_start: u32, seed: Seed) {
    record[32..36].copy_from_slice(&write_start.to_le_bytes());
    let payload_bytes = u32_at(record, 4) as usize;
    let payload = seed.checksum(&record[HEADER_BYTES..HEADER_BYTES + payload_bytes]);
    record[24..28].copy_from_slice(&payload.to_le_bytes());
    let header = seed.checksum(&record[4..HEADER_BYTES]);
    record[..4].copy_from_slice(&header.to_le_bytes());
}

/// The header of a record that [`frame`] made, or that is known to be whole.
///
/// # Panics
/// If `bytes` does not begin with one.
pub(super) fn framed_header(bytes: &[u8]) -> RecordHeader {
    fields(bytes).expect("a record that was framed here")
}

/// The header at the start of `bytes`, if there is one whose checksum is right.
pub(super) fn check_header(bytes: &[u8], seed: Seed) -> Option<RecordHeader> {
    let header = fields(bytes)?;
    (seed.checksum(&bytes[4..HEADER_BYTES]) == u32_at(bytes, 0)).then_some(header)
}

/// The payload of the record at the start of `bytes`, whose header was checked; `None` if it is cut or damaged.
pub(super) fn check_payload<'a>(bytes: &'a [u8], header: &RecordHeader, seed: Seed) -> Option<&'a [u8]> {
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + header.payload_bytes as usize)?;
    (seed.checksum(payload) == u32_at(bytes, 24)).then_some(payload)
}

/// The completions in a payload.
pub(super) fn completions(payload: &[u8]) -> impl Iterator<Item = (Sequence, u16)> {
    payload.as_chunks::<COMPLETION_BYTES>().0.iter().map(|bytes| {
        let (sequence, delivery) = bytes.split_at(8);
        (Sequence::from_raw(u64_at(sequence, 0)), u16::from_le_bytes([delivery[0], delivery[1]]))
    })
}

/// The payload of a completion record.
pub(super) fn completion_payload(completions: &[(Sequence, u16)]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(completions.len() * COMPLETION_BYTES);
    for (sequence, delivery) in completions {
        payload.extend_from_slice(&sequence.raw().to_le_bytes());
        payload.extend_from_slice(&delivery.to_le_bytes());
    }
    payload
}

/// The fields, without a look at the checksums.
fn fields(bytes: &[u8]) -> Option<RecordHeader> {
    let record_type = RecordType::from_code(*bytes.get(28)?)?;
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    Some(RecordHeader {
        payload_bytes: u32_at(bytes, 4),
        sequence: Sequence::from_raw(u64_at(bytes, 8)),
        unix_millis: u64_at(bytes, 16),
        record_type,
        kind: EntryKind(bytes[29]),
        deliveries: u16::from_le_bytes([bytes[30], bytes[31]]),
        write_start: u32_at(bytes, 32),
        notes: u32_at(bytes, 36),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8]) -> (RecordHeader, Vec<u8>) {
        let header = RecordHeader {
            payload_bytes: payload.len() as u32,
            sequence: Sequence::new(7, 99),
            unix_millis: 1_700_000_000_000,
            record_type: RecordType::Entry,
            kind: EntryKind(3),
            deliveries: 2,
            write_start: 4096,
            notes: 0,
        };
        let mut bytes = Vec::new();
        frame(&mut bytes, &header, None, &[payload]);
        seal(&mut bytes, 4096, Seed(5));
        (header, bytes)
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn a_record_is_read_as_it_was_written_under_its_seed_alone() {
        for payload in [&b""[..], b"x", b"12345678", &[7; 1000]] {
            let (header, bytes) = record(payload);
            assert_eq!(bytes.len(), header.record_bytes());
            assert_eq!(bytes.len() % RECORD_ALIGN, 0);
            assert_eq!(check_header(&bytes, Seed(5)), Some(header));
            assert_eq!(check_payload(&bytes, &header, Seed(5)), Some(payload));
            assert_eq!(check_header(&bytes, Seed(6)), None);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_shows() {
        let (header, bytes) = record(b"some payload");
        let meaningful = HEADER_BYTES + header.payload_bytes as usize;
        for bit in 0..meaningful * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = check_header(&damaged, Seed(5));
            let whole = found.is_some_and(|found| check_payload(&damaged, &found, Seed(5)).is_some());
            assert!(!whole, "bit {bit}");
        }
        for length in 0..meaningful {
            let found = check_header(&bytes[..length], Seed(5));
            assert!(found.is_none_or(|found| check_payload(&bytes[..length], &found, Seed(5)).is_none()));
        }
    }

    #[test]
    fn completions_are_read_as_they_were_written() {
        let done = [(Sequence::new(1, 2), 0), (Sequence::new(65_535, 9), ALL_DELIVERIES)];
        let payload = completion_payload(&done);
        assert_eq!(completions(&payload).collect::<Vec<_>>(), done);
        assert_eq!(completions(&payload[..payload.len() - 1]).count(), 1, "a cut one is none");
    }
}

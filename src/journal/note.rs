//! Notes: short facts that outlive the entries that they came with, for a time of their own.
//!
//! A note stands at the start of an entry's payload, so that it is there if and only if the entry is, or in a record of its
//! own. While its time is not over and its owner needs it, it holds its segment as an open entry does, and is carried
//! forward with what is open there. Notes are kept in memory, so that none is read back.
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | subject: what is noted, as the owner writes it |
//! | 8 | milliseconds since 1970 when it began |
//! | 4 | seconds that it lasts |

use super::little_endian::{u32_at, u64_at};

/// Bytes of a note.
pub(super) const NOTE_BYTES: usize = SUBJECT_BYTES + 12;
/// Bytes of a note's subject.
pub const SUBJECT_BYTES: usize = 32;

const MILLIS_PER_SECOND: u64 = 1_000;

/// A fact that is kept for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub subject: [u8; SUBJECT_BYTES],
    /// Milliseconds since 1970 when it began.
    pub unix_millis: u64,
    pub seconds: u32,
}

impl Note {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, unix_millis: u64) -> bool {
        unix_millis.saturating_sub(self.unix_millis) >= u64::from(self.seconds) * MILLIS_PER_SECOND
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.subject);
        out.extend_from_slice(&self.unix_millis.to_le_bytes());
        out.extend_from_slice(&self.seconds.to_le_bytes());
    }

    fn read(bytes: &[u8; NOTE_BYTES]) -> Note {
        let mut subject = [0; SUBJECT_BYTES];
        subject.copy_from_slice(&bytes[..SUBJECT_BYTES]);
        Note { subject, unix_millis: u64_at(bytes, SUBJECT_BYTES), seconds: u32_at(bytes, SUBJECT_BYTES + 8) }
    }
}

/// Bytes of so many notes; `usize::MAX` for more than a payload can have.
pub(super) fn notes_bytes(count: u32) -> usize {
    (count as usize).saturating_mul(NOTE_BYTES)
}

/// The notes in bytes that hold nothing else.
pub(super) fn notes(bytes: &[u8]) -> impl Iterator<Item = Note> {
    bytes.as_chunks::<NOTE_BYTES>().0.iter().map(Note::read)
}

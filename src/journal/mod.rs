//! Layer 3: the journal, as a machine without a file. It says which bytes to write where and is told when they are there.
//!
//! # Model
//!
//! Each core has a [`Journal`]. An *entry* is one event with all of its *deliveries*; it is open until each of them is done
//! ([`Journal::complete`]), which is recorded too. Records are appended to *segments*, files of one size ([`segment`]), one
//! after the other. Segments form a queue: the oldest is released once none of its entries is open, and used again. What
//! is open in it for long is *moved forward*, read back and appended once more, so that one entry does not keep the queue.
//!
//! # One write in flight
//!
//! [`Journal::append`] copies an entry to what is pending; [`Journal::next_write`], asked at the end of a turn, makes one
//! write of all that is pending, and another only after [`Journal::on_written`]. A write begins with the last block of the
//! one before, as far as it was filled: that block is rewritten until it is full. Once [`Journal::durable`] has reached an
//! entry's sequence, its caller may be answered.
//!
//! # Failed writes
//!
//! After a failed write nothing is known of the blocks it was for. They are never written again: the segment is abandoned,
//! and all that stood in those blocks (also what was durable in the block that was rewritten) goes to the next segment.
//! Without one the journal is down: what was not durable has failed ([`Journal::failed`]), nothing is taken, and it is up
//! again with the next [`Journal::add_segment`]. An entry that failed may still be on the disk, so that a completion of it
//! is written first thing. A process that is killed before that delivers it.
//!
//! # Recovery
//!
//! [`Recovery`] reads the segments from the newest to the oldest, so that it knows of each entry whether it is done. Invariants
//! that this stands on:
//!
//! - A completion of an entry is in the segment of its newest copy or in one that was opened later.
//! - Segments are erased in the order in which they were opened, as far as one holds completions or copies of entries of
//!   another: all that a core has are one queue, and where the cores of earlier runs were mixed, all of them are.
//! - A segment is erased before it is used again.
//!
//! # Limits
//!
//! [`Refused::Full`] keeps [`RESERVED_SEGMENTS`] segments for completions and for moving forward, which make room. Where all
//! else is used and an eighth of it is done, open entries are moved forward until a segment is free.
//!
//! # Notes
//!
//! An entry can have a [`Note`], which outlives it; a note can also be appended alone ([`Journal::append_note`]). Notes hold
//! their segments as open entries do, and are moved forward with them, until their time is over or their owner says that it
//! does not need them any more ([`Journal::review_notes`]). The note of an entry that failed is revoked with it.
//!
//! Not here: files and threads (`engine`), the contents of an entry, what `journal.durability` means for a write.

mod bundle;
mod carrying;
mod completions;
mod index;
mod little_endian;
mod machine;
mod manifest;
mod moving;
mod note;
mod reading;
mod record;
pub mod recovery;
mod remote;
mod scan;
pub mod segment;
mod sequence;
mod settle;
mod spares;
mod state;
mod supply;
mod tail;
#[cfg(test)]
mod tests;
mod writing;

pub use crate::base::block::{AlignedBlock, BLOCK_BYTES};
pub use bundle::{BUNDLE_START, BundleError, BundleReplay, LeftOpen};
pub use completions::COMPLETION_DELAY_NANOS;
pub use manifest::{MANIFEST_FILE, Manifest, ManifestError};
pub use note::{Note, SUBJECT_BYTES};
pub use reading::{Entry, NotRead, Read, ReadError};
pub use record::{DELIVERIES_MAX, EntryKind, RecordHeader, RecordType};
pub use recovery::{
    Fault, FaultKind, Recovered, RecoveredEntry, Recovery, RecoveryError, SegmentFile, Share,
};
pub use remote::{BATCH_BYTES_MAX, Batch, BatchFate, RemoteConfig, RemoteJournal};
pub use scan::{Found, records};
pub use segment::{SegmentName, SpareSegment};
pub use sequence::{EntryId, Sequence};
pub use state::{Config, Journal, Refused, Stats, Write, WriteError};
pub use supply::{NoSegment, ReleasedSegment};

/// Spare segments that new entries do not use: one for what is moved forward, one for completions.
pub const RESERVED_SEGMENTS: usize = 2;

/// Name of the folder of the segments, in the data folder.
pub const JOURNAL_FOLDER: &str = "journal";

//! Layer 3: the last calls and messages of each webhook, kept to be seen (src/guide/records.md).
//!
//! ```text
//!  core: CoreRecords ──▶ batch of entries ──▶ a thread that is no core: Shelf ──▶ lists, searches, streams
//!        (samples, counts, copies)                       └──▶ segments on the disk (segment)
//! ```
//!
//! A core copies what it records into a batch that it owns ([`CoreRecords`]), without a lock and without an allocation for
//! each record, and hands the batch over some 20 times a second. What a batch holds are entries ([`Entry`]): a call, its
//! answer, the fate of a delivery, counts. The [`Book`] makes records of them: a ring for each webhook, bounds over all.
//!
//! **Invariants**: a webhook's ring is displaced by its own records only, unless all of them together are over the bound;
//! an entry that cannot be read is skipped, and nothing that is read makes a record of another webhook; no credential is
//! in an entry.
//!
//! Not here: threads and files (`control`), the payload that a flow gets (`ingress`), the API (`admin`).

mod book;
mod call_record;
mod entry;
mod mask;
mod noted;
mod query;
mod recorder;
mod rings;
mod seats;
pub mod segment;
mod shelf;
mod stored;

pub use self::book::{Book, BookLimits, Page};
pub use self::call_record::{BODY_KEPT_BYTES_MAX, CallRecord, EVENTS_MAX};
pub use self::entry::{CallAnswer, Entry, Fate, FateKind, Kind, RecordedCall, read_entries};
pub use self::noted::Noted;
pub use self::query::{RecordQuery, StatusFilter};
pub use self::recorder::{
    CoreRecords, HAND_OVER_NANOS, NewAnswer, NewCall, NewFate, OpenRecord, refusal_mark,
};
pub use self::shelf::{NoRecords, RecordSink, Shelf, Watcher};
pub use self::stored::Record;

use crate::base::id::Id;

/// Marks an event id that names the record of its call.
const EVENT_MARK: u32 = 0x7265_6331;

/// Returns the id of an event whose call has a record: so the fates of its deliveries, which may come after a restart,
/// find the record without anything else being kept.
#[must_use]
pub fn event_id_of(record: Id) -> u128 {
    let mut bytes = [0; 16];
    bytes[..12].copy_from_slice(record.raw());
    bytes[12..].copy_from_slice(&EVENT_MARK.to_be_bytes());
    u128::from_be_bytes(bytes)
}

/// Returns the record that an event's id names, if it names one.
#[must_use]
pub fn record_of(event_id: u128) -> Option<Id> {
    let bytes = event_id.to_be_bytes();
    let mut raw = [0; 12];
    raw.copy_from_slice(&bytes[..12]);
    (bytes[12..] == EVENT_MARK.to_be_bytes()).then(|| Id::from_raw(raw))
}

#[cfg(test)]
mod tests;

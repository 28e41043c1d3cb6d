//! The name of the record of a call, and bounds of records.

use crate::base::id::Id;

/// Bytes of a body, a message or a response that are kept.
pub const BODY_KEPT_BYTES_MAX: usize = 64 * 1024;
/// Most records of a webhook: a list reads all of them.
pub const EVENTS_MAX: u32 = crate::model::RecordConfig::EVENTS_MAX;

/// Names the record of a call, for what becomes of it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    pub record: Id,
    pub webhook: Id,
}

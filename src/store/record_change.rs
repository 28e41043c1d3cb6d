//! Names of the records that the model consists of, and a change of one.

use super::tables::FORMAT;
use crate::base::id::Id;

/// The version of the records, which a shared model begins each of them with: a node that knows only earlier ones refuses
/// them.
pub(crate) const RECORD_VERSION: u8 = FORMAT as u8;
const _: () = assert!(FORMAT <= u8::MAX as u64);

/// The kinds of records that the model consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    Application,
    Webhook,
    Flow,
    FlowVersion,
    AccessToken,
}

impl RecordKind {
    /// All of them, in an order in which each stands behind those that it names.
    pub const ALL: [RecordKind; 5] = [
        RecordKind::Application,
        RecordKind::Webhook,
        RecordKind::Flow,
        RecordKind::FlowVersion,
        RecordKind::AccessToken,
    ];

    /// The word that names it in keys.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            RecordKind::Application => "app",
            RecordKind::Webhook => "webhook",
            RecordKind::Flow => "flow",
            RecordKind::FlowVersion => "version",
            RecordKind::AccessToken => "token",
        }
    }
}

/// Name of a record.
pub(crate) type RecordKey = (RecordKind, Id);

/// A record that is new, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    pub kind: RecordKind,
    pub id: Id,
    /// As it is stored; `None` if it was deleted.
    pub value: Option<Vec<u8>>,
}

impl RecordChange {
    /// Its name.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        (self.kind, self.id)
    }
}

//! The record of the call that a core handles at present.

use crate::record::OpenRecord;

/// The record of the present call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Present {
    /// It is not decided whether there is one.
    #[default]
    Undecided,
    Unrecorded,
    Open(OpenRecord),
}

impl Present {
    /// The record, if there is one.
    pub(crate) fn open(self) -> Option<OpenRecord> {
        match self {
            Present::Open(open) => Some(open),
            Present::Undecided | Present::Unrecorded => None,
        }
    }
}

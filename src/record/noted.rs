//! A change of the records, for those who watch a webhook.

use crate::base::id::Id;

/// Something that has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// A record has its answer, or it is another one than before.
    Record { webhook: Id, id: Id, is_new: bool },
    /// So many calls were not recorded.
    Skipped { webhook: Id, count: u64 },
}

impl Noted {
    /// The webhook that it is about.
    #[must_use]
    pub fn webhook(&self) -> Id {
        match self {
            Noted::Record { webhook, .. } | Noted::Skipped { webhook, .. } => *webhook,
        }
    }
}

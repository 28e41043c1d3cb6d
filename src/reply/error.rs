//! Why a reply is not taken.

use std::fmt;

/// Why a reply, or a reply node's configuration, is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError {
    /// The field, such as `close.code`.
    pub field: String,
    /// The requirement that the field breaks.
    pub message: String,
}

impl ReplyError {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> ReplyError {
        ReplyError { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

impl std::error::Error for ReplyError {}

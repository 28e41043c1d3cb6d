//! Why a body is refused, and why a stored record cannot be read.

use std::fmt;

/// A field of a body and what it must be. The API answers it as a `Validation` error (400).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    field: String,
    message: String,
}

impl ModelError {
    /// An error about `field`, a path such as `nodes[2].config.url`; `message` says what it must be.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> ModelError {
        ModelError { field: field.into(), message: message.into() }
    }

    /// The path of the field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The requirement that the field breaks.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same error, seen from the object that holds the field's object at `path`.
    #[must_use]
    pub fn within(self, path: &str) -> ModelError {
        ModelError { field: format!("{path}.{}", self.field), message: self.message }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.message)
    }
}

impl std::error::Error for ModelError {}

/// A record of the store that is not what this version writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredError(pub String);

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unreadable record: {}", self.0)
    }
}

impl std::error::Error for StoredError {}

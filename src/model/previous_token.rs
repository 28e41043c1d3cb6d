//! A token that a webhook had.

use serde_json::{Value, json};

use super::common::time_text;
use crate::base::id::TokenText;

/// A token that was replaced and goes on until its grace ends.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviousToken {
    pub token: TokenText,
    /// Milliseconds since 1970.
    pub ends_millis: u64,
}

impl PreviousToken {
    pub(super) fn to_api(&self) -> Value {
        json!({"token": self.token.as_str(), "endsAt": time_text(self.ends_millis)})
    }
}

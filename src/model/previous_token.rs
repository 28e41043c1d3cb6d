//! A token that a webhook had.

use serde_json::{Value, json};

use super::common::time_text;
use super::spec::{FieldKind, ObjectSpec, rows};
use crate::base::id::{TOKEN_CHARACTERS_MAX, TOKEN_CHARACTERS_MIN, TokenText};

/// The form of a webhook's token.
pub(super) const TOKEN_KIND: FieldKind = FieldKind::Pattern {
    pattern: "^[A-Za-z0-9_-]{8,128}$",
    phrase: "8 to 128 characters of A–Z a–z 0–9 _ -",
};

const _: () = assert!(TOKEN_CHARACTERS_MIN == 8 && TOKEN_CHARACTERS_MAX == 128, "the kind above says so");

/// The fields of a previous token, as they are shown.
pub(super) static PREVIOUS_TOKEN: ObjectSpec = ObjectSpec::new(
    "a previous token",
    &[&rows! {
        "token": TOKEN_KIND, required => "";
        "endsAt": Time, required => "";
    }],
);

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

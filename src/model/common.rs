//! Fields and helpers that resources of all kinds share.

use super::spec::{FieldSpec, rows};

/// Fields that Tidegate or the platform adds to what it shows and that mean nothing in a body.
pub(crate) type Extra = serde_json::Map<String, serde_json::Value>;

/// The text that the API shows in place of a secret, and that a PATCH sends to keep it.
pub(crate) const MASK: &str = "***";

/// A name: characters, as the platform's schemas count them.
pub(crate) const NAME_CHARS_MAX: usize = 255;
/// A description, and a verification code: characters, as the platform's schemas count them.
pub(crate) const TEXT_CHARS_MAX: usize = 32_767;

/// Rows that every resource has.
pub(super) const IDENTITY: [FieldSpec; 4] = rows! {
    "id": Id, read_only => "";
    "applicationId": Id, read_only => "";
    "creationDate": Time, read_only => "";
    "lastUpdated": Time, read_only => "";
};
/// Rows that most resources have.
pub(super) const NAMES: [FieldSpec; 2] = rows! {
    "name": text(1, NAME_CHARS_MAX), required => "For people; need not be unique.";
    "description": text(0, TEXT_CHARS_MAX), or_text("") => "For people.";
};

/// Longest `id` of a node, the platform's number.
pub(super) const NODE_ID_CHARS_MAX: usize = 1_024;

/// A time as the API shows it: RFC 3339 with milliseconds.
pub(crate) fn time_text(unix_millis: u64) -> String {
    let mut out = Vec::with_capacity("2026-02-19T17:26:00.123Z".len());
    crate::base::text::write_time(&mut out, unix_millis);
    String::from_utf8(out).unwrap_or_default()
}

//! Keys and values of the bucket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::id::Id;
use crate::store::{RECORD_VERSION, RecordChange, RecordKind};

/// The key of [`Meta`].
pub const META_KEY: &str = "meta";

/// The bucket's description of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// A random number that names the model.
    pub number: u64,
    /// Whether all of it is there: the node that brought it may not have come to the end.
    pub is_complete: bool,
}

/// A change of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChange {
    Record(RecordChange),
    Meta(Meta),
}

/// A key or a value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// A later version of tidegate wrote it.
    Newer(u8),
    /// It is not one of ours.
    Malformed(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Newer(version) => write!(
                f,
                "a later version of tidegate wrote it (version {version}; this one knows {RECORD_VERSION})"
            ),
            ReadError::Malformed(key) => write!(f, "the key {key} is not one of a model"),
        }
    }
}

impl std::error::Error for ReadError {}

/// The key of a record.
#[must_use]
pub fn key_of(kind: RecordKind, id: &Id) -> String {
    format!("{}.{id}", kind.word())
}

/// The value of a record that is stored as `bytes`.
#[must_use]
pub fn value_of(bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + bytes.len());
    value.push(RECORD_VERSION);
    value.extend_from_slice(bytes);
    value
}

impl Meta {
    /// Its value.
    #[must_use]
    pub fn to_value(self) -> Vec<u8> {
        value_of(&serde_json::to_vec(&self).expect("numbers always serialize"))
    }
}

/// Reads a key and its value; `None`: the key was deleted.
///
/// # Errors
/// [`ReadError`].
pub fn read(key: &str, value: Option<&[u8]>) -> Result<ModelChange, ReadError> {
    let malformed = || ReadError::Malformed(key.to_owned());
    let bytes = match value {
        None => None,
        Some([version, ..]) if *version > RECORD_VERSION => return Err(ReadError::Newer(*version)),
        Some([_, bytes @ ..]) => Some(bytes),
        Some([]) => return Err(malformed()),
    };
    if key == META_KEY {
        let meta = serde_json::from_slice(bytes.ok_or_else(malformed)?).map_err(|_| malformed())?;
        return Ok(ModelChange::Meta(meta));
    }
    let (word, id) = key.split_once('.').ok_or_else(malformed)?;
    let kind = RecordKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(malformed)?;
    let id = id.parse().map_err(|_| malformed())?;
    Ok(ModelChange::Record(RecordChange { kind, id, value: bytes.map(<[u8]>::to_vec) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_and_later_versions_refused() {
        let id: Id = "0123456789abcdef01234567".parse().unwrap();
        for kind in RecordKind::ALL {
            let key = key_of(kind, &id);
            let value = value_of(b"{}");
            let record = RecordChange { kind, id, value: Some(b"{}".to_vec()) };
            assert_eq!(read(&key, Some(&value)), Ok(ModelChange::Record(record.clone())));
            let deleted = RecordChange { value: None, ..record };
            assert_eq!(read(&key, None), Ok(ModelChange::Record(deleted)));
            assert_eq!(read(&key, Some(&[RECORD_VERSION + 1])), Err(ReadError::Newer(RECORD_VERSION + 1)));
        }
        let meta = Meta { number: u64::MAX, is_complete: true };
        assert_eq!(read(META_KEY, Some(&meta.to_value())), Ok(ModelChange::Meta(meta)));
        for key in ["", "app", "app.x", "other.0123456789abcdef01234567"] {
            assert!(matches!(read(key, Some(&value_of(b"{}"))), Err(ReadError::Malformed(_))), "{key}");
        }
    }
}

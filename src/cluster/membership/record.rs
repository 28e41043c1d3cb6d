//! The record of a node in the bucket.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::id::Id;

/// A start of a process: a random id that nothing else has.
pub type Incarnation = Id;

/// The version of the records that are written here. A record of a later one is refused.
const VERSION: u8 = 1;

/// The state of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    /// It takes calls.
    Serving,
    /// It takes none any more and ends.
    Draining,
    /// It has ended in order.
    Left,
    /// It was silent, and another node wrote this.
    Dead,
}

impl NodeState {
    /// Whether its node may hold a lease.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, NodeState::Serving | NodeState::Draining)
    }
}

/// The record of an incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    pub(super) v: u8,
    pub state: NodeState,
    /// Name of the machine, for people.
    pub name: String,
    /// The version of tidegate.
    pub version: String,
    /// When it started, in milliseconds since 1970, by its own clock.
    pub since: u64,
    /// Number of the renewal: two records of one incarnation never are the same.
    pub beat: u64,
    /// The incarnation that its journal is named by; `None`: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Incarnation>,
    /// The incarnation that has adopted its open triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_by: Option<Incarnation>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordError {
    /// A later version of tidegate wrote it.
    Newer(u64),
    /// It is no record.
    Malformed(String),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Newer(version) => write!(
                f,
                "a later version of tidegate wrote it (version {version}; this one knows {VERSION})"
            ),
            RecordError::Malformed(why) => write!(f, "it is not a record: {why}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl NodeRecord {
    /// The first record of an incarnation of this version of tidegate.
    #[must_use]
    pub fn new(name: &str, unix_millis: u64) -> NodeRecord {
        NodeRecord {
            v: VERSION,
            state: NodeState::Serving,
            name: name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: unix_millis,
            beat: 0,
            journal: None,
            adopted_by: None,
        }
    }

    /// Its bytes in the bucket.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialize")
    }

    /// Reads the bytes of a record.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<NodeRecord, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u64,
        }
        let malformed = |error: serde_json::Error| RecordError::Malformed(error.to_string());
        let Versioned { v } = serde_json::from_slice(bytes).map_err(malformed)?;
        if v > u64::from(VERSION) {
            return Err(RecordError::Newer(v));
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_later_version_is_refused_by_its_number() {
        let record = NodeRecord::new("host", 5);
        assert_eq!(NodeRecord::from_bytes(&record.to_bytes()), Ok(record));
        assert_eq!(NodeRecord::from_bytes(br#"{"v":2,"other":true}"#), Err(RecordError::Newer(2)));
        assert!(matches!(NodeRecord::from_bytes(b"{}"), Err(RecordError::Malformed(_))));
    }
}

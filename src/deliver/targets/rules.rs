//! The pace at which a node sends.

use crate::deliver::schedule::RetryRules;

/// When and how fast the triggers of a node are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TargetRules {
    pub max_in_flight: u32,
    /// Least time between two starts; 0: none.
    pub interval_nanos: u64,
    pub retry: RetryRules,
}

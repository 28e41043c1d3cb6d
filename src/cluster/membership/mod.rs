//! Membership of the cluster: the bucket `KV_P_nodes`, with one record for each incarnation.
//!
//! A node renews its record every [`HEARTBEAT_NANOS`] by compare and set on the revision that it wrote last. Its lease
//! runs for [`LEASE_NANOS`] from when it *sent* the last renewal that was acked, on its own monotonic clock. Another node
//! that has seen no new revision for [`SILENCE_NANOS`] writes a tombstone over the last revision that it saw. If that
//! succeeds, no later renewal was or can be acked, so the lease is over, however late any watch is:
//!
//! **Invariant**: when a tombstone is written, the lease of its node is over.
//!
//! [`Members`] is the machine, [`Membership`] carries its operations out.

mod keeper;
mod machine;
mod rank;
mod record;

#[cfg(test)]
mod tests;

pub use keeper::{Adopter, Adoption, Membership};
pub use machine::{HEARTBEAT_NANOS, LEASE_NANOS, Members, MembershipAnswer, Operation, SILENCE_NANOS};
pub use rank::first_of;
pub use record::{Incarnation, NodeRecord, NodeState, RecordError};

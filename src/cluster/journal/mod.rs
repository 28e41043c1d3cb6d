//! The journal of a cluster's node: bundles of records on streams of JetStream. [`crate::journal::RemoteJournal`] is what a
//! core knows of it.

mod carrier;
mod node;
mod replay;
mod shard;
mod stream;
#[cfg(test)]
mod tests;

pub use carrier::Carrier;
pub use node::NodeJournal;
pub use replay::{AdoptionReplay, Heir, ReplayError, TakeoverShare};
pub use shard::{Shard, ShardAction, ShardAnswer};
pub use stream::JournalStreams;

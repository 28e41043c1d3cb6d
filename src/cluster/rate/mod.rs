//! The rate of a webhook over all nodes: at most so many calls in any window, whatever nodes, servers and networks do.
//!
//! The tokens of a webhook are cut into [`BLOCKS`] blocks. A block is a subject of the stream `P_limit`, which keeps one
//! message for each: a node has a block while the last message of its subject is the node's own. It takes a free block,
//! and renews one that it has, by a publish that expects the sequence of that message (0: none), so a block has one owner
//! at any time by the server's own count. The message goes by its TTL, which is the window and [`HELD_SECONDS`] and a
//! margin: the node spends tokens of the block in the first [`HELD_SECONDS`] only, so all that were spent have come back
//! when another node can have it.
//!
//! **Invariant**: the tokens that all nodes together may have spent in a window are never more than the limit. A node
//! that holds blocks of `k` tokens counts those it has spent, and spends none while `k` or more have not come back.
//!
//! A node that dies or is cut off does nothing: its blocks come free by themselves. One that stands still finds its time
//! over by its own clock ([`crate::limit::Rate::hold`]).
//!
//! Places of a concurrency are leased in the same way ([`Terms::PLACES`]), for ten minutes: a block that its node does not
//! need is given back at once.
//!
//! [`Books`] is the machine, [`Rates`] carries its publishes out.

mod blocks;
mod keeper;
mod machine;
mod returned;

#[cfg(test)]
mod tests;

pub use blocks::{BLOCKS, Blocks};
pub use keeper::Rates;
pub use machine::{Books, HELD_SECONDS, Operation, RateAnswer, RateUsage, RateVerdict, Terms};
pub use returned::give_back_places;

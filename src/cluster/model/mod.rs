//! The model that all nodes share: the bucket `KV_P_model`, one key for each record.
//!
//! A change is made on a node's own copy ([`crate::store::Replica`]) and written with the sequence of the stream that the
//! copy is of: the stream takes it only if nothing was written since. What was checked on the copy holds for the model,
//! whichever records were looked at. Several records are one atomic batch. The node that wrote gets its own write back by
//! the watch that it follows like all others, applies it, and only then answers.
//!
//! Every value begins with the version of the store's records ([`crate::store::RECORD_VERSION`]); a node that finds a
//! later one stops to follow, says so, and is not ready. The key `meta` has the number of the model, by which a node
//! knows whether its copy is one of this model.

mod bucket;
mod follow;
mod record;
mod write;

#[cfg(test)]
mod tests;

pub use bucket::{Progress, SharedModel};
pub use record::{META_KEY, Meta, ModelChange, ReadError, key_of, read, value_of};
pub use write::{PublishAnswer, Step, WriteAttempt};

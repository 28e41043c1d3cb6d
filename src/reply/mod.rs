//! Replies ([replies and templates](crate::guide::replies_and_templates)): what a flow's node or someone outside
//! answers, and what of it goes out.
//!
//! [`ReplyNode`] makes a reply of a payload, [`parse_body`] and [`parse_frame`] read one from outside, [`to_http`] makes
//! of it what a caller gets, [`mod@stream`] passes a body on while it is received. Who waits for it, and that the first one wins, is the engine's.

mod caller;
mod encoding;
mod error;
mod headers;
mod node;
mod outside;
mod rendered;
mod response;
mod stream;

pub use caller::CallerKind;
pub(crate) use error::ReplyError;
pub(crate) use node::{ReplyNode, Unsent};
pub use outside::parse_body;
pub(crate) use outside::parse_frame;
pub(crate) use rendered::ReplyTo;
pub use rendered::{Rendered, Sheet};
pub(crate) use response::{Close, check_size};
pub use response::{HttpReply, Reply, to_http};
pub(crate) use stream::{ReplyStream, StreamProgress, StreamWatch};
pub use stream::{STREAM_BYTES_MAX, StreamRefused, StreamWriter, stream};

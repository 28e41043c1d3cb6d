//! Replies ([replies and templates](crate::guide::replies_and_templates)): what a flow's node or someone outside
//! answers, and what of it goes out.
//!
//! [`ReplyNode`] makes a reply of a payload, [`parse_body`] and [`parse_frame`] read one from outside, [`to_http`] makes
//! of it what a caller gets, [`stream`] passes a body on while it is received. Who waits for it, and that the first one wins, is the engine's.

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
pub use encoding::Encoding;
pub use error::ReplyError;
pub use headers::HeaderList;
pub use node::{ReplyNode, Unsent};
pub use outside::{parse_body, parse_frame};
pub use rendered::{Rendered, ReplyTo, Sheet};
pub use response::{Close, HttpReply, Reply, check_size, to_http};
pub use stream::{
    ReplyStream, STREAM_BYTES_MAX, StreamNotify, StreamProgress, StreamRefused, StreamWatch, StreamWriter,
    stream,
};

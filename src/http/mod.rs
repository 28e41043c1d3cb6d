//! HTTP/1.1 for a server, without a socket: bytes go in, requests come out, refusals carry the status they deserve.
//!
//! ```text
//!        ┌──────────────────────── finish ◀────────────────────────┐
//!        ▼                                                          │
//!      Head ──whole──▶ Decide ──take_body──▶ Take ──whole──▶ Request (paused)
//!        │                │                    │
//!        │                └──drop_body──▶ Drop ──end──▶ Head
//!        └── rule broken ──▶ Refused (terminal)
//! ```
//!
//! A request is parsed where it lies in the [`ReceiveBuffer`](crate::base::buffer::ReceiveBuffer): names, values and
//! body are slices of it. While a request is at hand, `poll` answers `Paused`, which is how a request that waits
//! holds back the ones behind it (RFC 9112, 9.3.2). Nothing after a refusal is ever read as a request.
//!
//! The rules are those of RFC 9112, strictly; where it leaves a choice, the one that two parties cannot read
//! differently. `scan` finds the end of a head, `head` takes it apart, `target` and `framing` hold the rules for what
//! stands in it, `chunks` those of the chunked coding; `encode` writes responses.

mod chunks;
mod connection;
pub mod encode;
mod framing;
mod head;
mod limits;
mod message;
mod refusal;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use connection::{Awaiting, Suspended};
pub use connection::{Connection, Step};
pub(crate) use head::Fields;
pub use head::Request;
pub use limits::Limits;
pub use message::Framing;
pub use message::{Method, Version};
pub use refusal::Refusal;

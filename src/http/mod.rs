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
mod refusal;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod token;

pub use connection::{Awaiting, Connection, Step, Suspended};
pub use head::{Fields, Framing, Method, Request, Version};
pub use refusal::Refusal;

/// How much of each thing a request may have (section 4.1 of the specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line and the fields, with the empty line. Never more than 65,535.
    pub head_bytes: u32,
    /// Field lines. Never more than 100.
    pub fields: u16,
    /// Bytes of the request target.
    pub target_bytes: u32,
    /// Bytes of chunk extensions and trailers together.
    pub chunk_overhead_bytes: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            fields: head::FIELDS_MAX as u16,
            target_bytes: 8 * 1024,
            chunk_overhead_bytes: 16 * 1024,
        }
    }
}

//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), as machines without input or output of their own.
//!
//! # Layout
//! - [`handshake`]: is this request an upgrade that can be accepted, and the 101 that accepts it; [`extensions`] is
//!   what both ends say in `Sec-WebSocket-Extensions`.
//! - [`Connection`]: everything after the 101. Received bytes go in, [`Event`]s come out, and what must be sent
//!   (pongs, the close handshake, messages) is appended to a buffer that the caller writes.
//! - [`frame`], [`mask`], [`utf8`], [`deflate`]: what the connection is made of.
//!
//! # Invariants
//! - A quiet connection holds no buffer and, without context takeover, no compressor: both are lent by the caller
//!   for the time of a call ([`Scratch`], one for a core).
//! - The outcome does not depend on how the bytes were cut into reads.
//! - Nothing that a peer sends makes memory grow past the limit on a message and a constant.

pub(crate) mod connection;
pub mod deflate;
pub(crate) mod extensions;
mod failure;
pub mod frame;
pub(crate) mod handshake;
pub mod mask;
mod role;
pub(crate) mod utf8;

#[cfg(test)]
mod tests;

pub use connection::{Connection, Event};
pub use deflate::Scratch;
pub use extensions::DeflateParameters;
pub use failure::Failure;
pub use role::Role;

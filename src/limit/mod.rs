//! Layer 3: the rate and the concurrency of one webhook, all cores together ([limits and
//! refusals](crate::guide::limits_and_refusals#limits)).
//!
//! - [`Rate`]: at most so many calls in any window. It is kept as tokens that the cores hold and move among
//!   themselves, so that a call that passes writes only its core's memory, as a rule, and a refused one writes nothing
//!   but, once a tick, when to look again.
//! - [`Concurrency`]: at most so many at a time. One counter.
//! - [`KeyStore`]: a call with the same key once in a window. One map.
//!
//! **Invariant**: nothing here waits, reads a clock, or sets a timer; what comes back with time is noticed by the next
//! call. A webhook without a limit has no `Rate`.

mod cell;
mod concurrency;
mod keys;
mod rate;
mod spent;

pub use concurrency::Concurrency;
pub(crate) use keys::{CallKey, Claim, KEY_BYTES, KeyOutcome, KeyStore, SharedClaim, Taken, TakenKey};
pub(crate) use rate::Shortage;
pub use rate::{CLOCK_STALE_NANOS_MAX, Rate, TICK_NANOS};

/// Something of a limit that several processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermitKind {
    /// A token of a rate.
    Token,
    /// A place of a concurrency.
    Place,
}

//! Alexa: requests signed by Amazon ([verification](crate::guide::verification#details);
//! <https://developer.amazon.com/en-US/docs/alexa/custom-skills/host-a-custom-skill-as-a-web-service.html>).
//!
//! A request passes in two steps, with the chain that signed it between them, so that a core never waits for one:
//!
//! ```text
//! begin(fields, body, now) ─▶ Pending ─▶ cache.lookup(url) ─▶ Chain ─▶ finish(pending, chain, body, now) ─▶ trigger
//!                                              └─ unknown: fetched by control/chains, while the request waits
//! ```
//!
//! - [`rules`]: which URLs a chain may come from;
//! - [`request`]: what a request must carry, and when it must have been made;
//! - [`chain`]: what a chain must be;
//! - [`cache`]: the chains of a core;
//! - [`refusal`]: all that can be wrong.

mod age;
pub mod cache;
pub mod chain;
mod digest;
pub mod refusal;
pub mod request;
pub mod rules;
#[cfg(test)]
mod tests;

pub use cache::{ChainCache, Lookup};
pub use chain::{AlexaRootsError, Chain, ChainError, Roots};
pub use digest::Digest;
pub use refusal::{AlexaRefusal, FetchError};
pub use request::{Pending, begin};
pub use rules::ChainUrl;

use crate::base::clock::Now;

/// Ends what [`begin`] began: the chain is good at `now`, and its leaf signed the body.
///
/// # Errors
/// [`AlexaRefusal`], a 400 without a trigger.
pub fn finish(pending: &Pending, chain: &Chain, body: &[u8], now: Now) -> Result<(), AlexaRefusal> {
    // One RSA operation, and only for a request that passes it the several of a path.
    if !chain.leaf_signed(pending.digest, body, &pending.signature) {
        return Err(AlexaRefusal::WrongSignature(pending.digest));
    }
    chain.check(now).map_err(AlexaRefusal::Chain)
}

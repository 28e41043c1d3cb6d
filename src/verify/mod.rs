//! Floor 3: is a request genuine? Bytes and a [`Now`](crate::base::clock::Now) in, a verdict out; no I/O, no clock.
//!
//! - [`basic`]: basic authentication (section 8, last paragraph);
//! - [`secret`]: how a secret is kept and compared, so that time tells nothing of it.
//!
//! Not here: rendering credentials from templates (`registry/` does it, when the model changes), and fetching
//! certificate chains (`control/chains`).

pub mod basic;
pub mod secret;

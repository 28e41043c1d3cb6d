//! Floor 0 of the crate, included and not copied: its unit tests are this package's.
//!
//! Nothing there is `unsafe`, but what it stands on is: memchr, simdutf8 and itoa. Miri, which needs none of what the
//! upper floors bring (a C library, a ring), says whether they are used within their bounds.

#[path = "../../../src/base/mod.rs"]
pub mod base;

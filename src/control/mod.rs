//! Floor 8: what the process asks of other machines and of the system, on threads of its own, so that no core waits for
//! it.
//!
//! - [`chains`]: the certificate chains that sign Alexa's requests;
//! - [`forward`]: what flows forward to targets;
//! - [`dead_letters`]: keeps the deliveries that were given up;
//! - [`process`]: what the system knows of this process.

pub mod chains;
pub mod dead_letters;
pub mod forward;
pub mod process;

//! Layer 9: requests of the process to other machines and to the system, on threads of its own, so that no core waits
//! for it.
//!
//! - [`calls`]: the log of requests, and traces;
//! - [`chains`]: the certificate chains that sign Alexa's requests;
//! - [`forward`]: what flows forward to targets;
//! - [`dead_letters`]: keeps the deliveries that were given up;
//! - [`key_sets`]: the key sets that JSON Web Tokens are verified with;
//! - [`records`]: keeps what was recorded of calls;
//! - [`process`]: what the system knows of this process.

pub(crate) mod calls;
pub mod chains;
pub(crate) mod dead_letters;
mod download;
pub(crate) mod forward;
pub mod key_sets;
pub(crate) mod process;
pub(crate) mod records;

use std::sync::Arc;

use crate::engine::{ChainSource, Fetched, KeysFetched};
use crate::verify::alexa::ChainUrl;

/// The fetchers that the cores use.
#[derive(Debug)]
pub struct Fetchers {
    pub chains: chains::Chains,
    pub key_sets: key_sets::KeySets,
}

impl ChainSource for Fetchers {
    fn fetch(&self, url: &ChainUrl, done: Fetched) {
        self.chains.fetch(url, done);
    }

    fn fetch_keys(&self, url: &Arc<str>, known_nanos: u64, done: KeysFetched) {
        self.key_sets.fetch(url, known_nanos, done);
    }
}

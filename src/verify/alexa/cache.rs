//! The chains that a core (or the fetcher) knows. Bounded; what has run out is not given; failures are remembered for
//! a moment, so that a flood of requests with one bad URL makes one fetch and not a flood of them.

use super::chain::Chain;
use super::refusal::FetchError;
use super::rules::ChainUrl;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use std::collections::HashMap;
use std::sync::Arc;

/// Chains kept. Amazon signs with one or two at a time.
pub const CHAINS_MAX: usize = 16;
/// Failures kept, apart from the chains: whoever invents URLs drives out nothing but failures.
pub const FAILURES_MAX: usize = 256;
/// How long a failure is remembered. Long enough to stop a flood, short enough that a sender's own retry is fresh.
pub const FAILURE_NANOS: u64 = 5 * NANOS_PER_SECOND;

/// Chains and failures by URL.
#[derive(Debug, Default)]
pub struct ChainCache {
    chains: HashMap<ChainUrl, KnownChain<Arc<Chain>>>,
    failures: HashMap<ChainUrl, KnownChain<FetchError>>,
}

#[derive(Debug)]
struct KnownChain<T> {
    what: T,
    /// When it was last used (a chain) or came about (a failure).
    at_nanos: u64,
}

/// The cached result for a URL.
#[derive(Clone, Debug)]
#[must_use]
pub enum Lookup {
    /// A chain that is good now.
    Good(Arc<Chain>),
    /// It was fetched in vain a moment ago.
    Failed(FetchError),
    /// Nothing: it is to be fetched.
    Unknown,
}

impl ChainCache {
    /// An empty one.
    #[must_use]
    pub fn new() -> ChainCache {
        ChainCache::default()
    }

    /// The cached result for `url` at `now`. A chain that is not valid any more is dropped.
    pub fn lookup(&mut self, url: &ChainUrl, now: Now) -> Lookup {
        if let Some(known) = self.chains.get_mut(url) {
            if known.what.check(now).is_ok() {
                known.at_nanos = now.nanos;
                return Lookup::Good(Arc::clone(&known.what));
            }
            self.chains.remove(url);
        }
        match self.failures.get(url) {
            Some(known) if now.nanos.saturating_sub(known.at_nanos) < FAILURE_NANOS => {
                Lookup::Failed(known.what.clone())
            }
            Some(_) => {
                self.failures.remove(url);
                Lookup::Unknown
            }
            None => Lookup::Unknown,
        }
    }

    /// Remembers what a fetch brought. [`FetchError::Busy`] and [`FetchError::Stopped`] say nothing of the URL and are
    /// not remembered.
    pub fn insert(&mut self, url: &ChainUrl, result: Result<Arc<Chain>, FetchError>, now: Now) {
        match result {
            Ok(chain) => {
                self.failures.remove(url);
                insert_bounded(&mut self.chains, url, chain, now.nanos, CHAINS_MAX);
            }
            Err(FetchError::Busy | FetchError::Stopped) => {}
            Err(error) => insert_bounded(&mut self.failures, url, error, now.nanos, FAILURES_MAX),
        }
    }
}

/// Inserts, and drops the entry that is oldest where there are too many.
fn insert_bounded<T>(
    map: &mut HashMap<ChainUrl, KnownChain<T>>,
    url: &ChainUrl,
    what: T,
    at_nanos: u64,
    count_max: usize,
) {
    if map.len() >= count_max && !map.contains_key(url) {
        let oldest = map.iter().min_by_key(|(_, known)| known.at_nanos).map(|(url, _)| url.clone());
        oldest.and_then(|url| map.remove(&url));
    }
    map.insert(url.clone(), KnownChain { what, at_nanos });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> ChainUrl {
        ChainUrl::parse(format!("https://s3.amazonaws.com/echo.api/{number}.pem").as_bytes()).expect("good")
    }

    fn at(nanos: u64) -> Now {
        Now { nanos, unix_millis: 1_771_521_960_000 }
    }

    fn failed(cache: &mut ChainCache, number: usize, now: Now) -> Option<FetchError> {
        match cache.lookup(&url(number), now) {
            Lookup::Failed(error) => Some(error),
            Lookup::Unknown => None,
            Lookup::Good(chain) => panic!("{chain:?}"),
        }
    }

    #[test]
    fn a_failure_is_remembered_for_a_moment() {
        let mut cache = ChainCache::new();
        assert_eq!(failed(&mut cache, 1, at(0)), None);
        cache.insert(&url(1), Err(FetchError::Status(404)), at(7));
        assert_eq!(failed(&mut cache, 1, at(7)), Some(FetchError::Status(404)));
        assert_eq!(failed(&mut cache, 1, at(7 + FAILURE_NANOS - 1)), Some(FetchError::Status(404)));
        assert_eq!(failed(&mut cache, 1, at(7 + FAILURE_NANOS)), None);
        assert_eq!(failed(&mut cache, 2, at(7)), None);
    }

    #[test]
    fn what_says_nothing_of_the_url_is_not_remembered() {
        let mut cache = ChainCache::new();
        for error in [FetchError::Busy, FetchError::Stopped] {
            cache.insert(&url(1), Err(error), at(0));
            assert_eq!(failed(&mut cache, 1, at(0)), None);
        }
    }

    #[test]
    fn the_oldest_failures_are_forgotten_first() {
        let mut cache = ChainCache::new();
        for number in 0..=FAILURES_MAX {
            cache.insert(&url(number), Err(FetchError::TimedOut), at(number as u64));
        }
        let now = at(FAILURES_MAX as u64);
        assert_eq!(failed(&mut cache, 0, now), None);
        assert_eq!(failed(&mut cache, 1, now), Some(FetchError::TimedOut));
        assert_eq!(cache.failures.len(), FAILURES_MAX);
    }
}

//! A cache of key sets by URL, of a core or of the fetcher. Bounded.

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::KeySet;
use crate::base::clock::{NANOS_PER_SECOND, Now};

/// A set is fetched again for a key that is not in it at most once in this time
/// ([verification](crate::guide::verification#who-may-call)).
pub(super) const FETCH_INTERVAL_NANOS: u64 = 60 * NANOS_PER_SECOND;
/// A failed fetch is tried again after this time.
const FAILURE_NANOS: u64 = 5 * NANOS_PER_SECOND;
/// A set of this age is fetched again in the background: a key that was taken out of it is refused from then on.
const FRESH_NANOS: u64 = 900 * NANOS_PER_SECOND;
/// A set of this age that could not be fetched again is not used any more.
const USABLE_NANOS: u64 = 86_400 * NANOS_PER_SECOND;
/// Sets that are kept; that which was asked for longest ago makes room.
const SETS_MAX: usize = 1_024;

/// Result of the fetches of a key set so far.
#[derive(Clone, Debug)]
pub struct FetchedKeys {
    /// The last set that was fetched.
    pub set: Option<Arc<KeySet>>,
    /// When that was.
    pub fetched_nanos: u64,
    /// When it was asked for last.
    pub attempted_nanos: u64,
    /// Whether that failed.
    pub is_failed: bool,
}

/// Key sets by URL.
#[derive(Debug, Default)]
pub struct KeySetCache {
    sets: HashMap<Arc<str>, FetchedKeys>,
}

/// The cached result for a URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownKeys<'c> {
    /// The keys, unless none could be fetched for a day.
    pub set: Option<&'c Arc<KeySet>>,
    /// When they were asked for last; 0: never.
    pub attempted_nanos: u64,
    /// Whether they may be fetched now.
    pub may_fetch: bool,
    /// Whether they should be fetched, although there are some.
    pub is_stale: bool,
}

impl KeySetCache {
    /// The cached result for `url` at `now`.
    #[must_use]
    pub fn known(&self, url: &str, now: Now) -> KnownKeys<'_> {
        let Some(fetched) = self.sets.get(url) else {
            return KnownKeys { may_fetch: true, ..KnownKeys::default() };
        };
        let age = now.nanos.saturating_sub(fetched.fetched_nanos);
        let pause = if fetched.is_failed { FAILURE_NANOS } else { FETCH_INTERVAL_NANOS };
        KnownKeys {
            set: fetched.set.as_ref().filter(|_| age < USABLE_NANOS),
            attempted_nanos: fetched.attempted_nanos,
            may_fetch: now.nanos.saturating_sub(fetched.attempted_nanos) >= pause,
            is_stale: age >= FRESH_NANOS,
        }
    }

    /// The result of the fetches of a URL.
    #[must_use]
    pub fn fetched(&self, url: &str) -> Option<&FetchedKeys> {
        self.sets.get(url)
    }

    /// Takes over what the fetcher knows of a URL.
    pub fn insert(&mut self, url: &Arc<str>, fetched: FetchedKeys) {
        if self.sets.len() >= SETS_MAX && !self.sets.contains_key(url) {
            let oldest = self.sets.iter().min_by_key(|(_, fetched)| fetched.attempted_nanos);
            if let Some(oldest) = oldest.map(|(url, _)| Arc::clone(url)) {
                self.sets.remove(&oldest);
            }
        }
        self.sets.insert(Arc::clone(url), fetched);
    }

    /// Notes the outcome of a fetch. One that failed leaves the keys that there were.
    pub fn note(&mut self, url: &Arc<str>, outcome: Option<KeySet>, now: Now) -> FetchedKeys {
        let before = self.sets.get(url);
        let fetched = match outcome {
            Some(set) => FetchedKeys {
                set: Some(Arc::new(set)),
                fetched_nanos: now.nanos,
                attempted_nanos: now.nanos,
                is_failed: false,
            },
            None => FetchedKeys {
                set: before.and_then(|before| before.set.clone()),
                fetched_nanos: before.map_or(0, |before| before.fetched_nanos),
                attempted_nanos: now.nanos,
                is_failed: true,
            },
        };
        self.insert(url, fetched.clone());
        fetched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { nanos: seconds * NANOS_PER_SECOND, unix_millis: 0 }
    }

    #[test]
    fn a_set_is_fetched_again_once_a_minute_at_most_and_kept_through_failures_for_a_day() {
        let mut cache = KeySetCache::default();
        let url: Arc<str> = "https://a.example/keys".into();
        let known = |cache: &KeySetCache, seconds| {
            let known = cache.known(&url, at(seconds));
            (known.set.is_some(), known.may_fetch, known.is_stale)
        };
        assert_eq!(known(&cache, 100), (false, true, false));
        cache.note(&url, None, at(100));
        assert_eq!((known(&cache, 104), known(&cache, 105)), ((false, false, false), (false, true, false)));
        cache.note(&url, Some(KeySet::default()), at(105));
        assert_eq!((known(&cache, 164), known(&cache, 165)), ((true, false, false), (true, true, false)));
        assert_eq!((known(&cache, 1_004), known(&cache, 1_005)), ((true, true, false), (true, true, true)));
        cache.note(&url, None, at(1_005));
        assert_eq!((known(&cache, 1_009), known(&cache, 1_010)), ((true, false, true), (true, true, true)));
        assert_eq!((known(&cache, 86_504), known(&cache, 86_505)), ((true, true, true), (false, true, true)));
    }

    #[test]
    fn so_many_sets_are_kept_and_no_more() {
        let mut cache = KeySetCache::default();
        for number in 0..=SETS_MAX as u64 {
            cache.note(&format!("https://a.example/{number}").into(), None, at(number));
        }
        assert_eq!(cache.sets.len(), SETS_MAX);
        assert!(
            cache.fetched("https://a.example/0").is_none() && cache.fetched("https://a.example/1").is_some()
        );
    }
}

//! The keys of a webhook's calls (`deduplicate`; [HTTP requests](crate::guide::http_requests#repeats)), shared by all
//! cores: a call whose key was taken within the window is a repeat.
//!
//! A call *claims* its key before it triggers and *keeps* it once it has a good answer; a claim that is dropped gives
//! the key back, so that a call that was refused or timed out can be repeated. While a call waits, its claim makes
//! others with the same key repeats.
//!
//! Kept keys have an order by age in a queue beside the map, so that exactly the oldest make room. Nobody waits for the
//! queue's front: a core that finds another one there leaves what is over the bound to it.
//!
//! Keys outlive the process through their owner: [`Claim::taken`] is what has to be written down when a claim is kept,
//! and [`KeyStore::restore`] takes it back at the next start. Times are the wall clock's for that reason.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, TryLockError};

use aws_lc_rs::digest::{SHA256, digest};
use crossbeam_queue::SegQueue;
use dashmap::{DashMap, Entry};

/// Most keys of one webhook that are remembered; the oldest make room.
pub(crate) const KEYS_MAX: usize = 100_000;
/// Bytes of a key. Two texts of a webhook's hundred thousand have the same with a probability of 2⁻⁹⁵.
pub(crate) const KEY_BYTES: usize = 16;
/// Parts of the map that are locked by themselves: several for each core of a large machine, and some hundred bytes for
/// a webhook without a key.
const SHARDS: usize = 16;
/// Keys that one call forgets at most, so that it takes no longer after a quiet hour than at any other time.
const FORGOTTEN_MAX: usize = 8;

/// A key: the first bytes of the SHA-256 of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallKey([u8; KEY_BYTES]);

impl CallKey {
    /// The key of a rendered text.
    #[must_use]
    pub fn of(text: &[u8]) -> CallKey {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&digest(&SHA256, text).as_ref()[..KEY_BYTES]);
        CallKey(key)
    }

    /// Its bytes.
    #[must_use]
    pub fn raw(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key of these bytes.
    #[must_use]
    pub fn from_raw(raw: [u8; KEY_BYTES]) -> CallKey {
        CallKey(raw)
    }
}

impl Hash for CallKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Half of a digest is as good for a table as the whole.
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_ne_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// A key that was kept, and when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenKey {
    pub key: CallKey,
    /// Milliseconds since 1970.
    pub unix_millis: u64,
}

/// Set in the time of a key whose call is not settled.
const CLAIMED: u64 = 1 << 63;

/// Why a key cannot be claimed: it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// By a call that was accepted.
    Kept,
    /// By a call of which it is not known yet whether it will be.
    Claimed,
}

/// The keys of one webhook.
#[derive(Debug)]
pub struct KeyStore {
    /// When each key was taken, with [`CLAIMED`] for those whose calls are not settled.
    taken: DashMap<CallKey, u64, ahash::RandomState>,
    /// Kept keys behind the front, oldest first.
    kept: SegQueue<TakenKey>,
    /// The oldest kept key, once it was looked at.
    front: Mutex<Option<TakenKey>>,
}

impl Default for KeyStore {
    fn default() -> KeyStore {
        KeyStore {
            taken: DashMap::with_hasher_and_shard_amount(ahash::RandomState::new(), SHARDS),
            kept: SegQueue::new(),
            front: Mutex::new(None),
        }
    }
}

impl KeyStore {
    /// Claims a key.
    ///
    /// # Errors
    /// If it was taken within the window.
    pub fn claim(
        self: &Arc<KeyStore>,
        key: CallKey,
        unix_millis: u64,
        window_millis: u64,
    ) -> Result<Claim, Taken> {
        let taken = TakenKey { key, unix_millis };
        let claimed = unix_millis | CLAIMED;
        match self.taken.entry(key) {
            Entry::Occupied(entry) if unix_millis.saturating_sub(*entry.get() & !CLAIMED) < window_millis => {
                return Err(if *entry.get() & CLAIMED == 0 { Taken::Kept } else { Taken::Claimed });
            }
            Entry::Occupied(mut entry) => drop(entry.insert(claimed)),
            Entry::Vacant(entry) => drop(entry.insert(claimed)),
        }
        Ok(Claim { store: Arc::clone(self), shared: None, taken, is_kept: false, window_millis })
    }

    /// Takes a key over from an earlier process; the oldest first.
    pub fn restore(&self, taken: TakenKey) {
        self.taken.insert(taken.key, taken.unix_millis);
        self.keep(taken, taken.unix_millis, u64::MAX);
    }

    /// Whether a key is remembered as taken at this time.
    #[must_use]
    pub fn holds(&self, taken: TakenKey) -> bool {
        self.taken.get(&taken.key).is_some_and(|unix_millis| *unix_millis & !CLAIMED == taken.unix_millis)
    }

    /// Number of keys that are remembered or claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn keep(&self, taken: TakenKey, unix_millis: u64, window_millis: u64) {
        self.kept.push(taken);
        let mut front = match self.front.try_lock() {
            Ok(front) => front,
            // Whoever panicked there lost one key at most.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for _ in 0..FORGOTTEN_MAX {
            let Some(oldest) = front.take().or_else(|| self.kept.pop()) else { return };
            let is_over = self.kept.len() >= KEYS_MAX;
            if !is_over && unix_millis.saturating_sub(oldest.unix_millis) < window_millis {
                *front = Some(oldest);
                return;
            }
            self.forget(oldest);
        }
    }

    /// Forgets a key, unless it was taken again since.
    fn forget(&self, taken: TakenKey) {
        self.taken.remove_if(&taken.key, |_, unix_millis| *unix_millis & !CLAIMED == taken.unix_millis);
    }
}

/// The part of a claim that other processes know of. Given back when it is dropped, unless it was kept.
pub trait SharedClaim: Debug + Send {
    /// Keeps the key everywhere.
    fn keep(self: Box<Self>);
}

/// The outcome of claiming a key that several processes share.
#[derive(Debug)]
pub enum KeyOutcome {
    /// The call has the key, in all of them.
    Claimed(Box<dyn SharedClaim>),
    /// Another call has it.
    Taken(Taken),
    /// The others cannot be asked.
    Unknown,
}

/// A key that a call has taken. Given back when it is dropped, unless it was kept.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    store: Arc<KeyStore>,
    shared: Option<Box<dyn SharedClaim>>,
    taken: TakenKey,
    window_millis: u64,
    is_kept: bool,
}

impl Claim {
    /// The record that has to be stored for the key to outlive the process.
    #[must_use]
    pub fn taken(&self) -> TakenKey {
        self.taken
    }

    /// Adds what other processes know of it: its fate is the same.
    pub fn share(mut self, shared: Box<dyn SharedClaim>) -> Claim {
        self.shared = Some(shared);
        self
    }

    /// Keeps the key: the call has its answer, at this time.
    pub fn keep(mut self, unix_millis: u64) {
        self.is_kept = true;
        if let Some(shared) = self.shared.take() {
            shared.keep();
        }
        if let Some(mut unix_millis) = self.store.taken.get_mut(&self.taken.key)
            && *unix_millis & !CLAIMED == self.taken.unix_millis
        {
            *unix_millis = self.taken.unix_millis;
        }
        self.store.keep(self.taken, unix_millis, self.window_millis);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_kept {
            self.store.forget(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 10_000;

    fn key(number: usize) -> CallKey {
        CallKey::of(number.to_string().as_bytes())
    }

    fn take(store: &Arc<KeyStore>, number: usize, now: u64) -> bool {
        store.claim(key(number), now, WINDOW).map(|claim| claim.keep(now)).is_ok()
    }

    #[test]
    fn a_key_is_taken_once_within_the_window() {
        let store = Arc::new(KeyStore::default());
        assert!(take(&store, 1, 1_000));
        assert!(!take(&store, 1, 1_000));
        assert!(take(&store, 2, 1_001));
        assert!(!take(&store, 1, 10_999));
        assert!(take(&store, 1, 11_000));
        assert!(!take(&store, 1, 20_999), "the window begins with the call that was taken last");
        // A wall clock that is set back.
        assert!(!take(&store, 1, 0));
    }

    #[test]
    fn a_claim_that_is_not_kept_gives_its_key_back() {
        let store = Arc::new(KeyStore::default());
        let claim = store.claim(key(1), 1_000, WINDOW).unwrap();
        assert_eq!(store.claim(key(1), 1_001, WINDOW).err(), Some(Taken::Claimed), "while the call waits");
        drop(claim);
        assert!(store.is_empty());
        assert!(take(&store, 1, 1_002));
        assert_eq!(store.claim(key(1), 1_003, WINDOW).err(), Some(Taken::Kept));
    }

    #[test]
    fn a_claim_that_outlives_the_window_leaves_the_key_of_another_call() {
        let store = Arc::new(KeyStore::default());
        let slow = store.claim(key(1), 1_000, WINDOW).unwrap();
        assert!(take(&store, 1, 11_000));
        drop(slow);
        assert!(!take(&store, 1, 11_001));
    }

    #[test]
    fn the_oldest_keys_make_room() {
        let store = Arc::new(KeyStore::default());
        for number in 0..KEYS_MAX {
            assert!(take(&store, number, 1_000));
        }
        assert_eq!(store.len(), KEYS_MAX);
        assert!(!take(&store, 0, 1_001) && !take(&store, KEYS_MAX - 1, 1_001));
        assert!(take(&store, KEYS_MAX, 1_002));
        assert_eq!(store.len(), KEYS_MAX);
        assert!(!take(&store, 1, 1_003), "only the oldest is forgotten");
        assert!(take(&store, 0, 1_003));
    }

    #[test]
    fn keys_whose_window_is_over_are_forgotten_a_few_with_each_call() {
        let store = Arc::new(KeyStore::default());
        for number in 0..100 {
            assert!(take(&store, number, 1_000));
        }
        assert!(take(&store, 1_000, 11_000));
        assert!(store.len() >= 100 - FORGOTTEN_MAX);
        for number in 0..100 {
            assert!(take(&store, 2_000 + number, 11_000));
        }
        assert_eq!(store.len(), 101);
    }

    #[test]
    fn keys_of_an_earlier_process_are_taken() {
        let before = Arc::new(KeyStore::default());
        let claim = before.claim(key(7), 1_000, WINDOW).unwrap();
        let written = claim.taken();
        claim.keep(1_000);
        let store = Arc::new(KeyStore::default());
        store.restore(written);
        assert!(!take(&store, 7, 10_999));
        assert!(take(&store, 7, 11_000));
    }

    #[test]
    fn of_many_threads_with_the_same_keys_one_has_each() {
        const THREADS: usize = 4;
        const KEYS: usize = 2_000;
        let store = Arc::new(KeyStore::default());
        let work = || (0..KEYS).filter(|number| take(&store, *number, 1_000)).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((taken, store.len()), (KEYS, KEYS));
    }
}

//! How many calls of a webhook are held at this moment, all cores together.

use crate::base::sync::AtomicU64;
use crate::base::sync::Ordering::Relaxed;

/// A count of requests that wait for a reply and of open WebSockets ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)). It guards no other memory, so relaxed ordering is enough: the
/// count itself is exact.
///
/// Cores write it with each call that is held, so it should not share a cache line with what every call reads.
#[derive(Debug)]
pub struct Concurrency {
    /// In the low half how many are held. In the high half the places that this process has, where several nodes of a
    /// cluster share the limit; else [`ALL`]. They are one, so that no call is held by places that are given back at that
    /// moment.
    state: AtomicU64,
}

/// All places are this process's.
const ALL: u32 = u32::MAX;

fn split(state: u64) -> (u32, u32) {
    ((state >> u32::BITS) as u32, state as u32)
}

fn join(places: u32, held: u32) -> u64 {
    u64::from(places) << u32::BITS | u64::from(held)
}

fn bound(places: u32, limit: u32) -> u32 {
    if limit == 0 { u32::MAX } else { limit.min(places) }
}

impl Default for Concurrency {
    fn default() -> Concurrency {
        Concurrency::new()
    }
}

impl Concurrency {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Concurrency {
        Concurrency { state: AtomicU64::new(join(ALL, 0)) }
    }

    /// The same for a limit that several processes share; this one has no place yet.
    #[must_use]
    pub fn shared() -> Concurrency {
        Concurrency { state: AtomicU64::new(join(0, 0)) }
    }

    /// Sets how many places this process has of a limit that several share.
    pub fn have(&self, places: u32) {
        self.set_places(places, |_| true);
    }

    /// Sets it to fewer, unless more are held; returns whether it did.
    #[must_use]
    pub fn lower(&self, places: u32) -> bool {
        self.set_places(places, |held| held <= places)
    }

    fn set_places(&self, places: u32, may: impl Fn(u32) -> bool) -> bool {
        let set = |state| {
            let (had, held) = split(state);
            (had != ALL && may(held)).then(|| join(places.min(ALL - 1), held))
        };
        self.state.fetch_update(Relaxed, Relaxed, set).is_ok()
    }

    /// Whether a call finds no place here although the limit is not reached: another process may have one.
    #[must_use]
    pub fn is_short(&self, limit: u32) -> bool {
        let (places, held) = split(self.state.load(Relaxed));
        held < limit && held >= places
    }

    /// Holds one more where fewer than `limit` are held (0: always). Every `true` is owed one [`release`](Self::release). A
    /// refusal writes nothing.
    #[must_use]
    pub fn try_acquire(&self, limit: u32) -> bool {
        let acquire = |state| {
            let (places, held) = split(state);
            (held < bound(places, limit)).then(|| join(places, held + 1))
        };
        self.state.fetch_update(Relaxed, Relaxed, acquire).is_ok()
    }

    /// Whether [`try_acquire`](Self::try_acquire) would refuse; a read only.
    #[must_use]
    pub fn is_full(&self, limit: u32) -> bool {
        let (places, held) = split(self.state.load(Relaxed));
        held >= bound(places, limit)
    }

    /// Gives one back that was acquired.
    pub fn release(&self) {
        let release = |state| {
            let (places, held) = split(state);
            held.checked_sub(1).map(|held| join(places, held))
        };
        let released = self.state.fetch_update(Relaxed, Relaxed, release);
        debug_assert!(released.is_ok(), "released more than was acquired");
    }

    /// How many are held.
    #[must_use]
    pub fn held(&self) -> u32 {
        split(self.state.load(Relaxed)).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_reached_and_not_passed() {
        let concurrency = Concurrency::new();
        assert!((0..3).all(|_| !concurrency.is_full(3) && concurrency.try_acquire(3)));
        assert!(concurrency.is_full(3));
        assert!(!concurrency.try_acquire(3));
        concurrency.release();
        assert!(concurrency.try_acquire(3));
        assert_eq!(concurrency.held(), 3);
    }

    #[test]
    fn a_limit_of_zero_is_none_and_still_counts() {
        let concurrency = Concurrency::new();
        assert!((0..1000).all(|_| concurrency.try_acquire(0)));
        assert!(!concurrency.is_full(0));
        assert!(concurrency.is_full(1000), "a limit that is set later finds those that are held");
    }

    #[test]
    fn a_shared_count_admits_what_its_process_has() {
        let concurrency = Concurrency::shared();
        assert!(!concurrency.try_acquire(3) && concurrency.is_short(3) && !concurrency.is_short(0));
        concurrency.have(2);
        assert!(!concurrency.is_short(3));
        assert!(concurrency.try_acquire(3) && concurrency.try_acquire(3) && !concurrency.try_acquire(3));
        assert!(concurrency.is_short(3) && !concurrency.is_short(2), "the limit is reached");
        assert!(!concurrency.lower(1) && concurrency.lower(2) && concurrency.try_acquire(0), "no limit");
        let own = Concurrency::new();
        own.have(0);
        assert!(!own.lower(0) && own.try_acquire(1) && !own.is_short(1) && !own.is_short(2));
    }

    #[test]
    fn threads_together_never_hold_more_than_the_limit() {
        const LIMIT: u32 = 3;
        const TURNS: u32 = if cfg!(miri) { 50 } else { 20_000 };
        let concurrency = Concurrency::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        if concurrency.try_acquire(LIMIT) {
                            assert!((1..=LIMIT).contains(&concurrency.held()));
                            concurrency.release();
                        }
                    }
                });
            }
        });
        assert_eq!(concurrency.held(), 0);
    }
}

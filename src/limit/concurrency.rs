//! How many calls of a webhook are held at this moment, all cores together.

use crate::base::sync::AtomicU32;
use crate::base::sync::Ordering::Relaxed;

/// A count of requests that wait for a reply and of open WebSockets ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)). It guards no other memory, so relaxed ordering is enough: the
/// count itself is exact.
///
/// Cores write it with each call that is held, so it should not share a cache line with what every call reads.
#[derive(Debug, Default)]
pub struct Concurrency(AtomicU32);

impl Concurrency {
    /// Nothing is held.
    #[must_use]
    pub fn new() -> Concurrency {
        Concurrency(AtomicU32::new(0))
    }

    /// Holds one more where fewer than `limit` are held (0: always). Every `true` is owed one [`release`](Self::release). A
    /// refusal writes nothing.
    #[must_use]
    pub fn try_acquire(&self, limit: u32) -> bool {
        let bound = if limit == 0 { u32::MAX } else { limit };
        self.0.fetch_update(Relaxed, Relaxed, |held| (held < bound).then(|| held + 1)).is_ok()
    }

    /// Whether [`try_acquire`](Self::try_acquire) would refuse; a read only.
    #[must_use]
    pub fn is_full(&self, limit: u32) -> bool {
        limit != 0 && self.held() >= limit
    }

    /// Gives one back that was acquired.
    pub fn release(&self) {
        let released = self.0.fetch_update(Relaxed, Relaxed, |held| held.checked_sub(1));
        debug_assert!(released.is_ok(), "released more than was acquired");
    }

    /// How many are held.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.0.load(Relaxed)
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

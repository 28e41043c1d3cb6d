//! The tokens that one core has spent and that have not come back: when, and how many.

use std::collections::VecDeque;

/// Entries of a log that is kept when it runs empty; a longer one gives its memory back.
const KEPT_ENTRIES: usize = 64;

/// Spent tokens by the tick they were spent in, oldest first.
///
/// One entry of eight bytes for each tick in which a token was spent, so there are at most as many as tokens, and as
/// ticks in a window: 20 KB for 10 s, 173 MB for the longest window of a day (where a core spends in every
/// tick of it). The oldest entry lies outside the queue: a webhook that is rarely called has no queue at all.
#[derive(Debug, Default)]
pub(super) struct Spent {
    oldest: u64,
    oldest_count: u32,
    newest: u64,
    total: u32,
    later: VecDeque<Later>,
}

#[derive(Debug)]
struct Later {
    /// Ticks since the entry before.
    after: u32,
    count: u32,
}

impl Spent {
    /// Notes a token that is spent in `tick`, or in the newest tick noted where that is later: a token may come back later
    /// than it must, not earlier.
    pub(super) fn note(&mut self, tick: u64) {
        self.total += 1;
        if self.oldest_count == 0 {
            (self.oldest, self.newest, self.oldest_count) = (tick, tick, 1);
            return;
        }
        if tick > self.newest {
            let after = u32::try_from(tick - self.newest).expect("a window is shorter than 2^32 ticks");
            self.later.push_back(Later { after, count: 1 });
            self.newest = tick;
        } else if let Some(last) = self.later.back_mut() {
            last.count += 1;
        } else {
            self.oldest_count += 1;
        }
    }

    /// Forgets the tokens that were spent in `tick` or before; how many.
    pub(super) fn forget_until(&mut self, tick: u64) -> u32 {
        let before = self.total;
        while self.oldest_count > 0 && self.oldest <= tick {
            self.total -= self.oldest_count;
            match self.later.pop_front() {
                Some(Later { after, count }) => {
                    self.oldest += u64::from(after);
                    self.oldest_count = count;
                }
                None => {
                    self.oldest_count = 0;
                    if self.later.capacity() > KEPT_ENTRIES {
                        self.later = VecDeque::new();
                    }
                }
            }
        }
        before - self.total
    }

    /// The tick in which the oldest was spent.
    pub(super) fn oldest(&self) -> Option<u64> {
        (self.oldest_count > 0).then_some(self.oldest)
    }

    /// All tokens noted and not forgotten.
    pub(super) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_forgotten_by_tick_oldest_first() {
        let mut spent = Spent::default();
        assert_eq!((spent.oldest(), spent.forget_until(u64::MAX)), (None, 0));
        for tick in [5, 5, 7, 7, 7, 100] {
            spent.note(tick);
        }
        assert_eq!((spent.total(), spent.oldest()), (6, Some(5)));
        assert_eq!((spent.forget_until(4), spent.forget_until(5)), (0, 2));
        assert_eq!((spent.total(), spent.oldest()), (4, Some(7)));
        assert_eq!((spent.forget_until(99), spent.oldest()), (3, Some(100)));
        assert_eq!((spent.forget_until(100), spent.total(), spent.oldest()), (1, 0, None));
    }

    #[test]
    fn a_tick_before_the_newest_is_taken_as_the_newest() {
        let mut spent = Spent::default();
        for tick in [9, 3, 12, 10] {
            spent.note(tick);
        }
        assert_eq!((spent.forget_until(8), spent.forget_until(9), spent.forget_until(12)), (0, 2, 2));
    }

    #[test]
    fn a_rare_caller_needs_no_queue_and_a_long_one_is_given_back() {
        let mut spent = Spent::default();
        for tick in 0..10_000 {
            spent.note(tick * 3_000);
            spent.note(tick * 3_000);
            assert_eq!((spent.forget_until(tick * 3_000), spent.later.capacity()), (2, 0));
        }
        let start = 10_000 * 3_000;
        for tick in 0..1_000 {
            spent.note(start + tick);
        }
        assert_eq!(spent.later.len(), 999);
        assert_eq!((spent.forget_until(u64::MAX), spent.later.capacity()), (1_000, 0));
    }
}

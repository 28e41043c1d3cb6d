//! The only file that reads a clock. Everybody else is given a [`Now`].

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment, read once for a piece of work and handed down to all that it calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Nanoseconds of the monotonic clock since an arbitrary epoch, the same for all threads of the process.
    pub nanos: u64,
    /// Milliseconds of the wall clock since 1970-01-01T00:00:00Z; it may step either way.
    pub unix_millis: u64,
}

impl Now {
    /// Whole seconds of the wall clock since 1970.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.unix_millis / 1000
    }
}

/// Nanoseconds in a second, for turning settings into deadlines.
pub const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Reads the clocks. Copies of one clock share their epoch, so that their `nanos` compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins one second before this call, so that 0 is always in the past.
    #[must_use]
    pub fn new() -> Clock {
        let now = Instant::now();
        Clock { epoch: now.checked_sub(std::time::Duration::from_secs(1)).unwrap_or(now) }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            nanos: u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX),
            unix_millis: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_clock_share_their_epoch() {
        let clock = Clock::new();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second.nanos >= first.nanos);
        assert!(first.nanos >= NANOS_PER_SECOND || first.nanos > 0);
    }
}

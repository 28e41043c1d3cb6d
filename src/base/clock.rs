//! The only file that reads a clock. Everybody else is given a [`Now`].

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
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

const NANOS_PER_MILLI: u64 = 1_000_000;

/// How long the distance between the two clocks is taken for granted: a step of the wall clock shows this late, and a
/// slew (at most 0.05 %) is off by microseconds. Reading one clock instead of two saves a request 20 ns.
const WALL_CLOCK_CHECK_NANOS: u64 = 10_000_000;

/// Reads the clocks. Copies of one clock share their epoch, so that their `nanos` compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
    wall: &'static Wall,
}

/// The last reading of the wall clock, by any thread.
#[derive(Debug, Default)]
struct Wall {
    /// When it was looked at, in `nanos`.
    looked_nanos: AtomicU64,
    /// Nanoseconds since 1970 at which `nanos` was 0.
    start_nanos: AtomicU64,
}

impl Clock {
    /// A clock whose monotonic time begins one second before this call, so that 0 is always in the past.
    #[must_use]
    pub fn new() -> Clock {
        let now = Instant::now();
        let clock = Clock {
            epoch: now.checked_sub(std::time::Duration::from_secs(1)).unwrap_or(now),
            // One for each clock, and a process has one clock: kept to its end so that copies can share it.
            wall: Box::leak(Box::default()),
        };
        clock.look_at_wall(clock.nanos());
        clock
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Now {
        let nanos = self.nanos();
        let looked = self.wall.looked_nanos.load(Relaxed);
        let start = if nanos.saturating_sub(looked) < WALL_CLOCK_CHECK_NANOS {
            self.wall.start_nanos.load(Relaxed)
        } else {
            self.look_at_wall(nanos)
        };
        Now { nanos, unix_millis: start.saturating_add(nanos) / NANOS_PER_MILLI }
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Looks at the wall clock; says when, by it, `nanos` was 0. Threads that look at once find the same.
    #[cold]
    fn look_at_wall(&self, nanos: u64) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX).saturating_sub(nanos);
        self.wall.start_nanos.store(start, Relaxed);
        self.wall.looked_nanos.store(nanos, Relaxed);
        start
    }
}

/// Nanoseconds of the monotonic clock, for what belongs to the process and not to a piece of work: the limits of the log.
#[must_use]
pub fn process_nanos() -> u64 {
    static CLOCK: OnceLock<Clock> = OnceLock::new();
    CLOCK.get_or_init(Clock::new).nanos()
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

    #[test]
    fn the_wall_clock_is_the_systems() {
        let millis = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let clock = Clock::new();
        for _ in 0..3 {
            let (before, now, after) = (millis(), clock.now().unix_millis, millis());
            // The distance of the clocks was rounded when it was taken.
            assert!((before.saturating_sub(1)..=after + 1).contains(&now), "{before} {now} {after}");
        }
    }

    #[test]
    fn a_step_of_the_wall_clock_shows_when_it_is_looked_at_again() {
        let clock = Clock::new();
        clock.wall.start_nanos.store(0, Relaxed);
        clock.wall.looked_nanos.store(0, Relaxed);
        // The clock began a second ago: the look of its time 0 is too old.
        assert!(clock.now().unix_millis > 1_000_000_000_000);
    }
}

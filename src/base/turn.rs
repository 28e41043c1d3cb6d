//! The time of one turn of a core: when its clock must be read again, and when the turn must end so that others get
//! theirs. Pure: the clock is read by the caller.
//!
//! A turn is the work that a connection, the mailbox, the timers or a change of the model does before it lets others
//! continue. Reading the clock for each piece of it would cost a tenth of a short call, and reading it once a turn would
//! leave it as old as the turn is long. So a reading counts for [`SHORT_WORKS_MAX`] pieces of work that are known to be
//! short, and for none of unknown length: a call is of unknown length until [`Turn::was_short`] says otherwise.
//!
//! **Invariant**: the time that [`Turn::for_call`] returns was read at most [`STALE_NANOS_MAX`] of work ago, whatever the
//! turn did before.

use super::clock::Now;

/// Nanoseconds after which a turn ends, at the next boundary between two pieces of work. Long enough that the change to
/// another connection, some microseconds, costs nothing beside it.
pub const TURN_NANOS: u64 = 1_000_000;

/// The longest piece of work that cannot be interrupted, in nanoseconds: the most that a rendering may take (20 ms), and
/// as much again as a quarter of it for what is around it.
pub const WORK_NANOS_MAX: u64 = 24_000_000;

/// The longest that a turn may hold a core, in nanoseconds.
pub const TURN_NANOS_MAX: u64 = TURN_NANOS + WORK_NANOS_MAX;

/// Nanoseconds that a short piece of work takes at the most: a call that is refused or that no flow listens to, a
/// timer, a message between cores. Measured, they take 0.3 to 20 µs.
pub const SHORT_WORK_NANOS_MAX: u64 = 100_000;

/// Short pieces of work that one reading of the clock counts for.
pub const SHORT_WORKS_MAX: u32 = 16;

/// How much work, in nanoseconds, may lie between a reading of the clock and its use.
pub const STALE_NANOS_MAX: u64 = SHORT_WORK_NANOS_MAX * SHORT_WORKS_MAX as u64;
const _: () = assert!(STALE_NANOS_MAX <= 2 * TURN_NANOS);

/// A turn that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    began: u64,
    now: Now,
    /// Short pieces of work since the clock was read.
    works: u32,
    /// Whether work of unknown length was done since the clock was read.
    is_stale: bool,
}

impl Turn {
    /// A turn that begins at `now`, which has just been read.
    #[must_use]
    pub fn begin(now: Now) -> Turn {
        Turn { began: now.nanos, now, works: 0, is_stale: false }
    }

    /// Notes a reading of the clock.
    pub fn note(&mut self, now: Now) {
        (self.now, self.works, self.is_stale) = (now, 0, false);
    }

    /// Returns the time for one more call, for which the clock is read where the last reading is too old. The call is
    /// taken to be of unknown length.
    pub fn for_call(&mut self, read: impl FnOnce() -> Now) -> Now {
        if self.is_stale || self.works >= SHORT_WORKS_MAX {
            self.note(read());
        }
        self.is_stale = true;
        self.now
    }

    /// The call that [`Self::for_call`] was asked for was short, and nothing else was done since.
    pub fn was_short(&mut self) {
        self.works += 1;
        self.is_stale = false;
    }

    /// Notes work of unknown length.
    pub fn worked(&mut self) {
        self.is_stale = true;
    }

    /// Notes a short piece of work, or one of unknown length where it is not `is_short`; returns whether the turn must
    /// end.
    #[must_use]
    pub fn step(&mut self, is_short: bool, read: impl FnOnce() -> Now) -> bool {
        self.works += 1;
        self.is_stale |= !is_short;
        if self.works >= SHORT_WORKS_MAX {
            self.is_stale = true;
        }
        self.is_over(read)
    }

    /// The last reading of the clock.
    #[must_use]
    pub fn now(&self) -> Now {
        self.now
    }

    /// Whether the turn must end. The clock is read where work of unknown length was done since the last reading.
    #[must_use]
    pub fn is_over(&mut self, read: impl FnOnce() -> Now) -> bool {
        if self.is_stale {
            self.note(read());
        }
        self.now.nanos.saturating_sub(self.began) >= TURN_NANOS
    }

    /// Ends the turn; returns how long it held the core, in nanoseconds. The clock is read only where work of unknown
    /// length was done since the last reading.
    #[must_use]
    pub fn end(mut self, read: impl FnOnce() -> Now) -> u64 {
        if self.is_stale {
            self.note(read());
        }
        self.now.nanos.saturating_sub(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Now {
        Now { nanos, unix_millis: 0 }
    }

    #[test]
    fn a_turn_of_one_call_needs_no_other_reading() {
        let mut turn = Turn::begin(at(7));
        assert_eq!(turn.for_call(|| unreachable!("the reading is fresh")), at(7));
        turn.was_short();
        assert_eq!(turn.end(|| unreachable!("nothing of unknown length was done")), 0);
    }

    #[test]
    fn work_of_unknown_length_makes_the_next_call_read_the_clock() {
        let mut turn = Turn::begin(at(0));
        let _ = turn.for_call(|| at(0));
        assert_eq!(turn.for_call(|| at(20)), at(20), "a call is of unknown length");
        turn.was_short();
        assert_eq!(turn.for_call(|| at(30)), at(20));
        turn.was_short();
        turn.worked();
        assert_eq!(turn.for_call(|| at(40)), at(40));
        assert_eq!(turn.end(|| at(55)), 55);
    }

    #[test]
    fn a_reading_counts_for_so_many_short_calls() {
        let mut turn = Turn::begin(at(0));
        let mut readings = 0;
        for call in 0..10 * SHORT_WORKS_MAX {
            let _ = turn.for_call(|| {
                readings += 1;
                at(u64::from(call))
            });
            turn.was_short();
        }
        assert_eq!(readings, 9);
    }

    #[test]
    fn a_turn_is_over_once_a_reading_tells() {
        let mut turn = Turn::begin(at(5));
        assert!(!turn.step(true, || unreachable!("one short step")));
        assert!(!turn.step(false, || at(TURN_NANOS)));
        assert!(turn.step(false, || at(TURN_NANOS + 5)));
        assert!(turn.is_over(|| unreachable!("it was just read")));
        let mut turn = Turn::begin(at(0));
        let steps = (1..).find(|step| turn.step(true, || at(step * SHORT_WORK_NANOS_MAX))).expect("it ends");
        assert!(steps * SHORT_WORK_NANOS_MAX <= TURN_NANOS + STALE_NANOS_MAX);
    }
}

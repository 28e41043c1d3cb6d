//! Turns of a core (see [`Turn`]): each poll of a connection's task is one, and so are the pieces in which mailbox, timers
//! and rounds are worked through. What does not fit into a turn continues after a pause, in which all others that have
//! something to do get theirs.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{EventfdFlags, eventfd};

use super::core::Core;
use super::ready::Ready;
use crate::base::clock::Now;
use crate::base::turn::Turn;

/// A descriptor that can always be read: waiting for it is an operation that the ring completes at once, together with
/// all others that have completed.
///
/// # Errors
/// If there are no descriptors left.
pub(super) fn always_ready() -> io::Result<Ready> {
    let event: OwnedFd = eventfd(1, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    Ready::new(event)
}

impl Core {
    /// Begins a turn; its time is read when something asks for it.
    pub(super) fn begin_turn(&self) {
        self.turn.set(None);
    }

    /// Ends the turn and counts how long it held the core.
    pub(super) fn end_turn(&self) {
        if let Some(turn) = self.turn.take() {
            self.metrics.turn(turn.end(|| self.now()));
        }
    }

    /// Notes that the clock was read in this turn.
    pub(super) fn note_time(&self, now: Now) {
        let mut turn = self.turn.get().unwrap_or_else(|| Turn::begin(now));
        turn.note(now);
        self.turn.set(Some(turn));
    }

    /// The time for one more call of this turn: never older than a token may be taken with.
    pub(super) fn call_time(&self) -> Now {
        self.with_turn(|turn| turn.for_call(|| self.begin_reading()))
    }

    /// The last reading of the clock in this turn.
    pub(super) fn turn_time(&self) -> Now {
        self.with_turn(|turn| turn.now())
    }

    /// The call that the time was asked for was short.
    pub(super) fn was_short(&self) {
        self.with_turn(Turn::was_short);
    }

    /// Work of unknown length was done.
    pub(super) fn worked(&self) {
        self.with_turn(Turn::worked);
    }

    /// One more piece of work is done; returns whether the turn must end.
    pub(super) fn step(&self, is_short: bool) -> bool {
        self.with_turn(|turn| turn.step(is_short, || self.now()))
    }

    /// Whether the turn must end.
    pub(super) fn is_turn_over(&self) -> bool {
        self.turn.get().is_some() && self.with_turn(|turn| turn.is_over(|| self.now()))
    }

    /// The time after all that was done in this turn.
    pub(super) fn time_after(&self) -> Now {
        self.with_turn(|turn| turn.fresh(|| self.now()))
    }

    /// Lets all others that have something to do have a turn.
    pub(super) async fn pause(&self) {
        match &self.always_ready {
            // Without this operation the ring would reap nothing: see `runtime`. An error ends the pause at once.
            Some(ready) => drop(ready.readable().await),
            // Behind all tasks that are to run.
            None => monoio::spawn(async {}).await,
        }
    }

    /// What is decided from here on has the time of this reading.
    fn begin_reading(&self) -> Now {
        let now = self.now();
        self.set_batch(now);
        now
    }

    fn with_turn<T>(&self, work: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turn = self.turn.take().unwrap_or_else(|| Turn::begin(self.now()));
        let done = work(&mut turn);
        self.turn.set(Some(turn));
        done
    }
}

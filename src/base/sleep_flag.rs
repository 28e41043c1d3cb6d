//! Whether a thread that waits must be notified: the protocol between one that waits for its kernel and those who have
//! something for it.
//!
//! **Invariant**: after [`SleepFlag::should_notify`], the waiter either does not begin its wait, or was notified, and its next
//! [`SleepFlag::end_wait`] says so. Every transition is a read-modify-write, so the waiter sees whatever was written before
//! a notification that it is told of. `tests/models` tries every interleaving.

use crate::base::sync::{AtomicU32, Ordering};

/// The waiter does not wait; it checks the state before it does.
const RUNNING: u32 = 0;
/// The waiter waits, or is about to.
const WAITING: u32 = 1;
/// The waiter was notified and has not been told so yet.
const NOTIFIED: u32 = 2;

/// State shared by a waiter and those who notify it.
#[derive(Debug)]
pub struct SleepFlag(AtomicU32);

impl SleepFlag {
    /// The flag of a waiter that does not wait.
    #[must_use]
    pub fn new() -> SleepFlag {
        SleepFlag(AtomicU32::new(RUNNING))
    }

    /// Notes that there is something for the waiter; returns whether its wait must be ended. Of several callers one is told
    /// to.
    #[must_use]
    pub fn should_notify(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == WAITING
    }

    /// Announces a wait; returns `false` if there is something already: the waiter must not wait then.
    #[must_use]
    pub fn begin_wait(&self) -> bool {
        self.0.compare_exchange(RUNNING, WAITING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Announces the end of a wait, or that there was none; returns whether there was something since the last call.
    #[must_use]
    pub fn end_wait(&self) -> bool {
        self.0.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }
}

impl Default for SleepFlag {
    fn default() -> SleepFlag {
        SleepFlag::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_is_notified_once_and_one_that_runs_not_at_all() {
        let flag = SleepFlag::new();
        assert!(!flag.should_notify() && !flag.begin_wait(), "it was noted before");
        assert!(flag.end_wait() && !flag.end_wait());
        assert!(flag.begin_wait() && flag.should_notify() && !flag.should_notify());
        assert!(flag.end_wait() && flag.begin_wait() && !flag.end_wait());
    }
}

//! Elementary steps of work, counted where tests and fuzzing hold them against what was paid for; nothing elsewhere.

#[cfg(any(test, fuzzing))]
mod counter {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    /// Adds steps: bytes that are looked at, digits that are worked out, items that are taken.
    pub fn count(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// The steps of this thread since they were last taken.
    #[must_use]
    pub fn take() -> usize {
        STEPS.take()
    }
}

#[cfg(any(test, fuzzing))]
pub use counter::{count, take};

/// Adds steps, where they are counted.
#[cfg(not(any(test, fuzzing)))]
#[inline(always)]
pub fn count(_steps: usize) {}

//! How fast a body must come: at least 100 bytes a second over any 30 seconds (section 4 of the specification).

use crate::base::clock::NANOS_PER_SECOND;

/// The span that is looked at.
const WINDOW_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// Bytes that must come within it: 100 a second.
const WINDOW_BYTES: u32 = 100 * 30;
/// The window moves in this many steps, so "any 30 s" is seen at most 5 s late.
const STEPS: usize = 6;
const STEP_NANOS: u64 = WINDOW_NANOS / STEPS as u64;

/// What came in each step of the last window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    bytes: [u32; STEPS],
    at: u8,
    step_ends: u64,
}

impl Pace {
    /// Begins a body: the time before it counts as fast enough.
    pub(crate) fn begin(now: u64) -> Pace {
        let mut bytes = [WINDOW_BYTES; STEPS];
        bytes[0] = 0;
        Pace { bytes, at: 0, step_ends: now + STEP_NANOS }
    }

    /// When to look again: call [`Self::step`] then.
    pub(crate) fn deadline(&self) -> u64 {
        self.step_ends
    }

    /// Bytes came.
    pub(crate) fn add(&mut self, bytes: usize) {
        let step = &mut self.bytes[usize::from(self.at)];
        *step = step.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// A step is over. False: the body is too slow.
    #[must_use]
    pub(crate) fn step(&mut self) -> bool {
        let total = self.bytes.iter().fold(0u32, |sum, &bytes| sum.saturating_add(bytes));
        self.at = (self.at + 1) % STEPS as u8;
        self.bytes[usize::from(self.at)] = 0;
        self.step_ends += STEP_NANOS;
        total >= WINDOW_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a body that brings `bytes` every `every` steps is found too slow, if it is within ten minutes.
    fn slow_after(bytes: usize, every: usize) -> Option<u64> {
        let mut pace = Pace::begin(0);
        for step in 0..120 {
            if step % every == 0 {
                pace.add(bytes);
            }
            let at = pace.deadline();
            if !pace.step() {
                return Some(at / NANOS_PER_SECOND);
            }
        }
        None
    }

    #[test]
    fn a_body_without_progress_is_slow_after_thirty_seconds() {
        assert_eq!(slow_after(0, 1), Some(30));
    }

    #[test]
    fn a_hundred_bytes_a_second_are_enough_and_ninety_nine_are_not() {
        assert_eq!(slow_after(500, 1), None);
        assert_eq!(slow_after(495, 1), Some(30));
    }

    #[test]
    fn bytes_in_bursts_count_over_the_window() {
        assert_eq!(slow_after(3000, 6), None);
        assert_eq!(slow_after(2999, 6), Some(30));
    }
}

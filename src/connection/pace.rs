//! How fast a body must be received: at least 100 bytes a second over any span of `timeouts.body` ([HTTP
//! requests](crate::guide::http_requests#responses)).

use super::timeouts::Span;
use crate::base::clock::NANOS_PER_SECOND;

/// Bytes that must be received in a second.
const BYTES_PER_SECOND: u64 = 100;
/// The window moves in this many steps, so that too slow a body is found a sixth of the window late at most.
const STEPS: usize = 6;

/// Bytes received in each step of the last window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    bytes: [u32; STEPS],
    at: u8,
    /// Bytes that must be received within the window.
    window_bytes: u32,
    step_nanos: u64,
    step_ends: u64,
}

impl Pace {
    /// Begins a body: the time before it counts as fast enough.
    pub(crate) fn begin(now: u64, window: Span) -> Pace {
        let window_bytes = BYTES_PER_SECOND * window.nanos() / NANOS_PER_SECOND;
        let window_bytes = u32::try_from(window_bytes).unwrap_or(u32::MAX);
        let step_nanos = window.nanos() / STEPS as u64;
        let mut bytes = [window_bytes; STEPS];
        bytes[0] = 0;
        Pace { bytes, at: 0, window_bytes, step_nanos, step_ends: now + step_nanos }
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
        self.step_ends += self.step_nanos;
        total >= self.window_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds until a body that brings `bytes` every `every` steps is found too slow, if it is within ten minutes.
    fn slow_after(bytes: usize, every: usize) -> Option<u64> {
        slow_within(30, bytes, every)
    }

    fn slow_within(window: u32, bytes: usize, every: usize) -> Option<u64> {
        let mut pace = Pace::begin(0, Span::seconds(window));
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
    fn another_window_asks_for_as_many_bytes_a_second() {
        assert_eq!(slow_within(6, 0, 1), Some(6));
        assert_eq!(slow_within(6, 100, 1), None);
        assert_eq!(slow_within(6, 99, 1), Some(6));
    }

    #[test]
    fn bytes_in_bursts_count_over_the_window() {
        assert_eq!(slow_after(3000, 6), None);
        assert_eq!(slow_after(2999, 6), Some(30));
    }
}

//! The rate limit against what an observer with the true time knows: no window over the limit, nobody refused below
//! it, whatever the cores' clocks, the changes and the order of calls.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::collections::VecDeque;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::limit::{CLOCK_STALE_NANOS_MAX, Concurrency, Rate};

const MILLISECOND: u64 = 1_000_000;
/// How late a token may come back (section 11 of the specification).
const LATE_NANOS_MAX: u64 = 10 * MILLISECOND;
const CORES_MAX: usize = 5;

struct World {
    rate: Rate,
    concurrency: Concurrency,
    held: u32,
    tokens: u32,
    window: u64,
    /// The true time; a core knows what its clock said last.
    time: u64,
    clocks: [u64; CORES_MAX],
    passed: VecDeque<u64>,
    /// Calls up to this time may be forgotten: a shorter window held meanwhile.
    forgotten_until: u64,
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let cores = 1 + choices.below(CORES_MAX);
    let (tokens, seconds) = (1 + choices.below(20) as u32, 1 + choices.below(12) as u32);
    let mut world = World {
        rate: Rate::new(cores, tokens, seconds),
        concurrency: Concurrency::new(),
        held: 0,
        tokens,
        window: u64::from(seconds) * NANOS_PER_SECOND,
        time: 3_600 * NANOS_PER_SECOND,
        clocks: [0; CORES_MAX],
        passed: VecDeque::new(),
        forgotten_until: 0,
    };
    while !choices.is_over() {
        match choices.below(16) {
            0..8 => {
                let core = choices.below(cores);
                let lag = u64::from(choices.byte()) * CLOCK_STALE_NANOS_MAX / 255;
                for _ in 0..=choices.below(4) {
                    world.call(core, lag);
                }
            }
            8..11 => world.time += u64::from(choices.byte()) * MILLISECOND,
            11 => world.time += world.window - MILLISECOND * choices.below(12) as u64,
            12 => world.time += u64::from(choices.byte()) * NANOS_PER_SECOND,
            13 => world.change(1 + choices.below(20) as u32, 1 + choices.below(12) as u32),
            14 => world.hold(choices.below(6) as u32),
            _ => world.check_used(),
        }
    }
});

impl World {
    fn call(&mut self, core: usize, lag: u64) {
        self.clocks[core] = self.clocks[core].max(self.time - lag);
        match self.rate.take(core, Now { nanos: self.clocks[core], unix_millis: 0 }) {
            Ok(()) => {
                self.passed.push_back(self.time);
                let since = (self.time - self.window).max(self.forgotten_until);
                let in_window = self.passed_since(since);
                assert!(in_window <= self.tokens as usize, "{in_window} of {} in a window", self.tokens);
            }
            Err(throttled) => {
                let in_window = self.passed_since(self.time - self.window - LATE_NANOS_MAX);
                assert!(in_window >= self.tokens as usize, "refused after {in_window} of {}", self.tokens);
                let seconds_max = self.window / NANOS_PER_SECOND + 1;
                assert!((1..=seconds_max).contains(&u64::from(throttled.retry_after_seconds)));
            }
        }
    }

    fn change(&mut self, tokens: u32, seconds: u32) {
        self.rate.reconfigure(tokens, seconds, Now { nanos: self.time, unix_millis: 0 });
        assert_eq!(self.rate.limit(), (tokens, seconds));
        self.forgotten_until = self.forgotten_until.max(self.time - self.window);
        self.tokens = tokens;
        self.window = u64::from(seconds) * NANOS_PER_SECOND;
    }

    fn hold(&mut self, limit: u32) {
        let is_full = limit != 0 && self.held >= limit;
        assert_eq!(self.concurrency.is_full(limit), is_full);
        assert_eq!(self.concurrency.try_acquire(limit), !is_full);
        self.held += u32::from(!is_full);
        if is_full {
            self.concurrency.release();
            self.held -= 1;
        }
        assert_eq!(self.concurrency.held(), self.held);
    }

    fn passed_since(&self, time: u64) -> usize {
        self.passed.len() - self.passed.partition_point(|passed| *passed <= time)
    }

    fn check_used(&self) {
        let used = self.rate.used(Now { nanos: self.time, unix_millis: 0 }) as usize;
        let least = self.passed_since((self.time - self.window).max(self.forgotten_until));
        let most = self.passed_since(self.time - self.window - LATE_NANOS_MAX).max(least);
        assert!((least..=most).contains(&used), "{used} used, not {least} to {most}");
    }
}

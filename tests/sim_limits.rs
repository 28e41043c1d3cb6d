//! Rate limits in simulation: cores with clocks of their own, calls and changes in an order that a seed decides, and
//! section 11 of the specification as the judge of every answer.

use std::collections::VecDeque;
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::limit::{CLOCK_STALE_NANOS_MAX, Rate};

const MILLISECOND: u64 = 1_000_000;

/// How late a token may come back (section 11).
const LATE_NANOS_MAX: u64 = 10 * MILLISECOND;

/// One webhook, its cores, and all that an observer with the true time knows of it.
struct World {
    random: Random,
    rate: Rate,
    tokens: u32,
    window: u64,
    /// The true time. Cores only know what their clock last said.
    time: u64,
    clocks: Vec<u64>,
    lag_max: u64,
    /// True times of the calls that passed.
    passed: VecDeque<u64>,
    /// Calls up to this time passed under a shorter window and may be forgotten already.
    forgotten_until: u64,
}

impl World {
    fn new(seed: u64, cores: usize, tokens: u32, window_seconds: u32) -> World {
        let mut random = Random(seed);
        let time = 3_600 * NANOS_PER_SECOND + random.below(NANOS_PER_SECOND);
        World {
            rate: Rate::new(cores, tokens, window_seconds),
            tokens,
            window: u64::from(window_seconds) * NANOS_PER_SECOND,
            time,
            clocks: vec![0; cores],
            lag_max: [0, MILLISECOND, CLOCK_STALE_NANOS_MAX][random.below(3) as usize],
            passed: VecDeque::new(),
            forgotten_until: 0,
            random,
        }
    }

    /// A call on `core`; whether it passed. Either answer is held against what the observer knows.
    fn call(&mut self, core: usize) -> bool {
        let lag = self.random.below(self.lag_max + 1);
        self.clocks[core] = self.clocks[core].max(self.time - lag);
        let passed = self.rate.take(core, Now { nanos: self.clocks[core], unix_millis: 0 });
        match passed {
            Ok(()) => {
                self.passed.push_back(self.time);
                let in_window = self.passed_since((self.time - self.window).max(self.forgotten_until));
                assert!(
                    in_window <= self.tokens as usize,
                    "{in_window} of {} passed in a window",
                    self.tokens
                );
            }
            Err(throttled) => {
                let in_window = self.passed_since(self.time - self.window - LATE_NANOS_MAX);
                assert!(in_window >= self.tokens as usize, "refused after {in_window} of {}", self.tokens);
                let window_seconds = self.window / NANOS_PER_SECOND;
                assert!((1..=window_seconds + 1).contains(&u64::from(throttled.retry_after_seconds)));
            }
        }
        passed.is_ok()
    }

    fn change(&mut self, tokens: u32, window_seconds: u32) {
        self.rate.reconfigure(tokens, window_seconds, Now { nanos: self.time, unix_millis: 0 });
        self.forgotten_until = self.forgotten_until.max(self.time - self.window);
        self.tokens = tokens;
        self.window = u64::from(window_seconds) * NANOS_PER_SECOND;
    }

    /// Calls that passed after `time`.
    fn passed_since(&self, time: u64) -> usize {
        self.passed.len() - self.passed.partition_point(|passed| *passed <= time)
    }

    fn check_used(&self) {
        let used = self.rate.used(Now { nanos: self.time, unix_millis: 0 }) as usize;
        let least = self.passed_since((self.time - self.window).max(self.forgotten_until));
        let most = self.passed_since(self.time - self.window - LATE_NANOS_MAX);
        assert!((least..=most.max(least)).contains(&used), "{used} used, not {least} to {most}");
    }
}

#[test]
fn no_window_lets_one_too_many_in_and_nobody_is_refused_below_the_limit() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let cores = [1, 2, 3, 4, 16, 64][random.below(6) as usize];
        let (tokens, window) = (1 + random.below(200) as u32, 1 + random.below(20) as u32);
        let mut world = World::new(seed, cores, tokens, window);
        for _ in 0..40 {
            // A while of calls: how many cores get them, and how closely they follow one another.
            let awake = 1 + random.below(cores as u64);
            let calls = random.below(u64::from(tokens) * 2 + 2);
            let gap = match random.below(4) {
                0 => 0,
                1 => world.window / u64::from(tokens) * 2,
                2 => world.window / u64::from(tokens),
                _ => MILLISECOND,
            };
            for _ in 0..calls {
                world.time += random.below(gap + 1);
                let core = random.below(awake) as usize;
                world.call(core);
            }
            // Then a pause: often such that tokens are just about to come back.
            world.time += match random.below(3) {
                0 => 0,
                1 => random.below(world.window),
                _ => world.window - random.below(world.window.min(20 * MILLISECOND)),
            };
            world.check_used();
        }
    }
}

#[test]
fn a_caller_who_stays_below_the_limit_is_never_refused() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let cores = 1 + random.below(64) as usize;
        let (tokens, window) = (1 + random.below(120) as u32, 1 + random.below(12) as u32);
        let mut world = World::new(seed, cores, tokens, window);
        // As many calls as a window admits, each as soon as its token must be back.
        let mut sent: VecDeque<u64> = VecDeque::new();
        for _ in 0..u64::from(tokens) * 20 {
            if sent.len() == tokens as usize
                && let Some(oldest) = sent.pop_front()
            {
                world.time = world.time.max(oldest + world.window + LATE_NANOS_MAX);
            }
            world.time += random.below(3) * random.below(MILLISECOND);
            sent.push_back(world.time);
            let core = random.below(cores as u64) as usize;
            assert!(world.call(core), "seed {seed}");
        }
    }
}

#[test]
fn a_limit_that_changes_holds_from_then_on() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let cores = 1 + random.below(8) as usize;
        let mut world = World::new(seed, cores, 1 + random.below(100) as u32, 1 + random.below(10) as u32);
        for _ in 0..60 {
            for _ in 0..random.below(80) {
                world.time += random.below(20 * MILLISECOND);
                let core = random.below(cores as u64) as usize;
                world.call(core);
            }
            let window = match random.below(3) {
                0 => 1 + random.below(10) as u32,
                _ => (world.window / NANOS_PER_SECOND) as u32,
            };
            world.change(1 + random.below(100) as u32, window);
        }
    }
}

#[test]
fn a_flood_gets_the_whole_limit_and_no_more_window_after_window() {
    for cores in [1, 4, 64] {
        let mut world = World::new(1, cores, 100, 10);
        let start = world.time;
        for call in 0..120_000u64 {
            world.time = start + call * MILLISECOND;
            world.call(call as usize * 7 % cores);
        }
        // Two minutes: twelve windows, each begun 10 ms late at most.
        let windows = 1 + (120 * NANOS_PER_SECOND - 1) / (world.window + LATE_NANOS_MAX);
        assert_eq!(world.passed.len() as u64, windows * 100);
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

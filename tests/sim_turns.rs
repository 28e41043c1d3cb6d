//! Turns of cores whose work takes any time, from a seed: batches of calls that are short, long, or far longer than a turn,
//! one after another and on several cores, all of which take tokens of one rate.
//!
//! Held by a stopwatch of counted work: no window of true time lets one too many in, nobody is refused below the limit, a
//! call's time is never older than the rate allows, and no turn is longer than its bound beside its longest piece of work.

use std::collections::VecDeque;

use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::base::turn::{SHORT_WORK_NANOS_MAX, STALE_NANOS_MAX, TURN_NANOS, Turn};
use tidegate::limit::{CLOCK_STALE_NANOS_MAX, Rate};

const SEEDS: u64 = 300;
const TURNS: u32 = 150;
const MILLISECOND: u64 = 1_000_000;
/// How late a token may come back (section 11 of the specification).
const LATE_NANOS_MAX: u64 = 10 * MILLISECOND;

/// What a batch's calls cost.
#[derive(Clone, Copy)]
enum Batch {
    Short,
    Long,
    Mixed,
}

struct World {
    random: Random,
    rate: Rate,
    tokens: usize,
    window: u64,
    cores: u64,
    /// True time, in nanoseconds of work.
    time: u64,
    /// True times of the calls that passed.
    passed: VecDeque<u64>,
    readings: u64,
    calls: u64,
}

#[test]
fn the_limit_is_exact_and_a_turn_is_bounded_whatever_the_calls_cost() {
    let (mut readings, mut calls) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..TURNS {
            world.turn();
        }
        readings += world.readings;
        calls += world.calls;
    }
    assert!(readings < calls * 3, "{readings} readings for {calls} calls");
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let (cores, tokens) = (1 + random.below(4), 1 + random.below(60));
        let seconds = 1 + random.below(3);
        World {
            rate: Rate::new(cores as usize, tokens as u32, seconds as u32),
            tokens: tokens as usize,
            window: seconds * NANOS_PER_SECOND,
            cores,
            time: 3_600 * NANOS_PER_SECOND + random.below(NANOS_PER_SECOND),
            passed: VecDeque::new(),
            readings: 0,
            calls: 0,
            random,
        }
    }

    /// A core decides what has arrived, until that is done or its turn is over.
    fn turn(&mut self) {
        let core = self.random.below(self.cores) as usize;
        let batch = [Batch::Short, Batch::Long, Batch::Mixed][self.random.below(3) as usize];
        let began = self.time;
        let mut longest = 0;
        let mut turn = Turn::begin(self.now());
        for _ in 0..1 + self.random.below(200) {
            let (is_short, cost) = self.cost(batch);
            longest = longest.max(cost);
            self.call(core, &mut turn);
            self.time += cost;
            if is_short {
                turn.was_short();
            }
            let time = self.now();
            let readings = &mut self.readings;
            if turn.step(true, || read(time, readings)) {
                break;
            }
        }
        let time = self.now();
        let held = self.time - began;
        // Short work is counted and not measured: the turn may end that much later.
        assert!(held <= TURN_NANOS + STALE_NANOS_MAX + longest, "{held} ns, the longest call {longest}");
        let counted = turn.end(|| read(time, &mut self.readings));
        assert!(counted <= held && held - counted <= STALE_NANOS_MAX, "{held} ns are counted as {counted}");
        self.time += match self.random.below(4) {
            0 => self.random.below(self.window),
            _ => self.random.below(5 * MILLISECOND),
        };
    }

    /// One call takes a token.
    fn call(&mut self, core: usize, turn: &mut Turn) {
        let time = self.now();
        let now = turn.for_call(|| read(time, &mut self.readings));
        let lag = self.time - now.nanos;
        assert!(lag <= CLOCK_STALE_NANOS_MAX, "the time of a call is {lag} ns old");
        self.calls += 1;
        if self.rate.take(core, now).is_ok() {
            self.passed.push_back(self.time);
            let in_window = self.passed_since(self.time - self.window);
            assert!(in_window <= self.tokens, "{in_window} of {} passed in a window", self.tokens);
        } else {
            let in_window = self.passed_since(self.time - self.window - LATE_NANOS_MAX);
            assert!(in_window >= self.tokens, "refused after {in_window} of {}", self.tokens);
        }
    }

    /// Whether a call is short, and the work that it takes.
    fn cost(&mut self, batch: Batch) -> (bool, u64) {
        let is_short = match batch {
            Batch::Short => true,
            Batch::Long => false,
            Batch::Mixed => self.random.below(2) == 0,
        };
        let most = match self.random.below(8) {
            _ if is_short => SHORT_WORK_NANOS_MAX,
            0 => 40 * MILLISECOND,
            _ => MILLISECOND,
        };
        (is_short, self.random.below(most) + 1)
    }

    /// Calls that passed after `time`.
    fn passed_since(&self, time: u64) -> usize {
        self.passed.len() - self.passed.partition_point(|passed| *passed <= time)
    }

    fn now(&self) -> Now {
        Now { nanos: self.time, unix_millis: 0 }
    }
}

fn read(time: Now, readings: &mut u64) -> Now {
    *readings += 1;
    time
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

//! A simulated stream of JetStream that keeps the journals of a node: messages and acks that are late or lost, elections, a
//! stream that is full. What is published goes through the machine that the real carrier runs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tidegate::cluster::journal::{Shard, ShardAction, ShardAnswer};
use tidegate::engine::{BatchCarrier, RemoteKeeper};
use tidegate::io::Waker;
use tidegate::journal::{Batch, BatchFate, BundleReplay, LeftOpen};

use crate::kernel::Random;

const SECOND: u64 = 1_000_000_000;
/// How long the stream knows ids.
const DUPLICATE_WINDOW: u64 = 120 * SECOND;
/// How long callers wait.
const WAIT: u64 = 10 * SECOND;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamFaults {
    /// One message, or ack, in so many is lost; 0: none.
    pub lost_one_in: usize,
    /// The longest way of a message.
    pub delay_max: usize,
    /// Nobody leads for so long from now on.
    pub election: u64,
    pub is_full: bool,
}

/// A message of the stream.
struct Stored {
    sequence: u64,
    life: u64,
    message: Bytes,
}

enum Event {
    Arrives { life: u64, number: u64, message: Bytes },
    Acked { number: u64, answer: ShardAnswer },
}

#[derive(Default)]
struct CoreFates {
    ended: VecDeque<(u64, BatchFate)>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct State {
    now: u64,
    faults: StreamFaults,
    election_until: u64,
    messages: VecDeque<Stored>,
    next_sequence: u64,
    known: HashMap<(u64, u64), (u64, u64)>,
    events: Vec<(u64, Event)>,
    // Of the life that goes on:
    life: u64,
    shard: Shard,
    handed: Vec<(u16, Batch)>,
    cores: Vec<CoreFates>,
}

/// The stream, over all lives of the process.
#[derive(Clone, Default)]
pub struct SimStream(Arc<Mutex<State>>);

impl BatchCarrier for SimStream {
    fn carry(&self, core: u16, batch: Batch, waker: &Waker) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.cores[usize::from(core)].waker = Some(Arc::clone(waker));
        state.handed.push((core, batch));
    }

    fn fate(&self, core: u16) -> Option<(u64, BatchFate)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.cores[usize::from(core)].ended.pop_front()
    }
}

impl SimStream {
    /// Begins a life with so many cores; returns their keeper, and what earlier lives have left open.
    pub fn begin(&self, cores: usize, now: u64) -> (RemoteKeeper, Vec<LeftOpen>) {
        let mut state = self.0.lock().expect("no test panics with it");
        state.life += 1;
        (state.now, state.shard, state.election_until) = (now, Shard::default(), 0);
        state.known.clear();
        state.handed.clear();
        state.cores = std::iter::repeat_with(CoreFates::default).take(cores).collect();
        let mut left = Vec::new();
        for life in 0..state.life {
            let mut replay = BundleReplay::default();
            for stored in state.messages.iter().filter(|stored| stored.life == life) {
                replay.take(&stored.message).expect("whole bundles");
            }
            left.extend(replay.finish());
        }
        let carrier = Arc::new(self.clone());
        (RemoteKeeper { carrier, wait_nanos: WAIT, entry_bytes_max: 1 << 20 }, left)
    }

    /// What earlier lives have left is taken over.
    pub fn purge_earlier(&self) {
        let mut state = self.0.lock().expect("no test panics with it");
        let life = state.life;
        state.messages.retain(|stored| stored.life == life);
    }

    pub fn set_faults(&self, faults: StreamFaults) {
        let mut state = self.0.lock().expect("no test panics with it");
        state.faults = faults;
        state.election_until = state.now + faults.election;
    }

    /// The process ends: what was on its way arrives, or does not.
    pub fn crash(&self, random: &mut Random) {
        let mut state = self.0.lock().expect("no test panics with it");
        for (_, event) in std::mem::take(&mut state.events) {
            if let Event::Arrives { life, number, message } = event
                && random.one_in(2)
            {
                state.election_until = 0;
                state.store(life, number, message);
            }
        }
    }

    /// Lets the time come to `now`.
    pub fn go_on(&self, now: u64, random: &mut Random) {
        let mut guard = self.0.lock().expect("no test panics with it");
        let state = &mut *guard;
        state.now = now;
        let mut actions = Vec::new();
        for (core, batch) in std::mem::take(&mut state.handed) {
            state.shard.hand_over(core, batch, now, &mut actions);
        }
        state.events.sort_by_key(|(at, _)| *at);
        while state.events.first().is_some_and(|(at, _)| *at <= now) {
            match state.events.remove(0).1 {
                Event::Arrives { life, number, message } => {
                    let answer = state.store(life, number, message);
                    if life == state.life && !is_lost(state.faults, random) {
                        let at = now + delay(state.faults, random);
                        state.events.push((at, Event::Acked { number, answer }));
                    }
                }
                Event::Acked { number, answer } => state.shard.on_answer(number, answer, now, &mut actions),
            }
        }
        state.shard.on_time(now, &mut actions);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                state.carry_out(action, random);
            }
        }
    }
}

fn is_lost(faults: StreamFaults, random: &mut Random) -> bool {
    faults.lost_one_in > 0 && random.one_in(faults.lost_one_in)
}

fn delay(faults: StreamFaults, random: &mut Random) -> u64 {
    random.below(faults.delay_max.max(1)) as u64
}

impl State {
    fn store(&mut self, life: u64, number: u64, message: Bytes) -> ShardAnswer {
        if self.now < self.election_until {
            return ShardAnswer::Unknown;
        }
        if let Some(&(sequence, at)) = self.known.get(&(life, number))
            && self.now - at < DUPLICATE_WINDOW
        {
            return ShardAnswer::Stored { sequence };
        }
        if self.faults.is_full {
            return ShardAnswer::Full;
        }
        self.next_sequence += 1;
        let sequence = self.next_sequence;
        self.known.insert((life, number), (sequence, self.now));
        self.messages.push_back(Stored { sequence, life, message });
        ShardAnswer::Stored { sequence }
    }

    fn carry_out(&mut self, action: ShardAction, random: &mut Random) {
        match action {
            ShardAction::Publish { number, message } => {
                if !is_lost(self.faults, random) {
                    let at = self.now + delay(self.faults, random);
                    self.events.push((at, Event::Arrives { life: self.life, number, message }));
                }
            }
            ShardAction::Tell { core, batch, fate } => {
                let core = &mut self.cores[usize::from(core)];
                core.ended.push_back((batch, fate));
                core.waker.iter().for_each(|waker| waker.wake());
            }
            ShardAction::Purge { below } => {
                let life = self.life;
                self.messages.retain(|stored| stored.life != life || stored.sequence >= below);
                self.shard.on_purged(below, true, self.now);
            }
        }
    }
}

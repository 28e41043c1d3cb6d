//! Nodes with real rates on a simulated stream, driven from a seed: messages that go by their TTL, acks that are lost or
//! late, elections, partitions, nodes that stand still or die, clocks that differ.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::random::Random;
use crate::limit::{Rate, Shortage};

const MILLI: u64 = NANOS_PER_SECOND / 1_000;
const STEP: u64 = 10 * MILLI;
const WINDOW: u64 = 10;

fn webhook() -> Id {
    Id::from_raw([9; 12])
}

/// The stream: for each block the sequence of its message, and when it goes.
#[derive(Default)]
struct Stream {
    sequence: u64,
    blocks: BTreeMap<u32, (u64, u64)>,
    election_until: u64,
}

impl Stream {
    fn publish(&mut self, operation: &Operation, time: u64) -> RateAnswer {
        self.blocks.retain(|_, (_, until)| time < *until);
        let last = self.blocks.get(&operation.block).map_or(0, |(sequence, _)| *sequence);
        if last != operation.expected {
            return RateAnswer::Taken;
        }
        self.sequence += 1;
        let until = time + operation.ttl_seconds * NANOS_PER_SECOND;
        self.blocks.insert(operation.block, (self.sequence, until));
        RateAnswer::Stored(self.sequence)
    }
}

struct Node {
    books: Books,
    rate: Rate,
    skew: u64,
    requests: VecDeque<(u64, Operation)>,
    answers: Vec<(u64, Operation, RateAnswer)>,
    paused_until: u64,
    cut_until: u64,
    is_dead: bool,
}

impl Node {
    fn new(seed: u64, tokens: u32, skew: u64) -> Node {
        Node {
            books: Books::new(seed, Terms::TOKENS),
            rate: Rate::shared(1, tokens, WINDOW as u32),
            skew,
            requests: VecDeque::new(),
            answers: Vec::new(),
            paused_until: 0,
            cut_until: 0,
            is_dead: false,
        }
    }

    fn now(&self, time: u64) -> Now {
        Now { nanos: time + self.skew, unix_millis: 0 }
    }

    /// A call; whether it passed.
    fn call(&mut self, time: u64) -> Option<bool> {
        let now = self.now(time);
        match self.rate.take(0, now) {
            Ok(()) => Some(true),
            Err(throttled) => match self.rate.shortage(throttled, false, now) {
                Shortage::Ask => {
                    self.books.demand(webhook(), now);
                    None
                }
                Shortage::Throttled(_) | Shortage::CutOff => Some(false),
            },
        }
    }

    fn poll(&mut self, time: u64) -> Vec<Operation> {
        let now = self.now(time);
        let (tokens, window_seconds) = self.rate.limit();
        let usage = RateUsage { tokens, window_seconds, spent: self.rate.used(now) };
        let mut operations = Vec::new();
        for verdict in self.books.poll(webhook(), Some(usage), now, &mut operations, &mut |_| true) {
            self.tell(verdict, now);
        }
        operations
    }

    fn tell(&mut self, verdict: RateVerdict, now: Now) {
        match verdict {
            RateVerdict::Holds { tokens, until } => self.rate.hold(tokens, until, now),
            RateVerdict::Refused { until } => self.rate.refuse_until(until, false),
            RateVerdict::CutOff { until } => self.rate.refuse_until(until, true),
        }
    }

    fn answer(&mut self, operation: &Operation, answer: RateAnswer, time: u64) {
        let now = self.now(time);
        if let Some(verdict) = self.books.on_answer(operation, answer, now) {
            self.tell(verdict, now);
        }
    }
}

/// One step of a node: what has arrived for it, and what it sends. `faults`: messages are lost and late.
fn step(node: &mut Node, stream: &mut Stream, random: &mut Random, time: u64, faults: bool) {
    let is_cut = node.cut_until > time;
    // What a client had in its channel when it was cut off is sent late.
    while let Some((at, operation)) = node.requests.front().copied() {
        if at > time || is_cut {
            break;
        }
        node.requests.pop_front();
        let answer =
            if stream.election_until > time { RateAnswer::Unknown } else { stream.publish(&operation, time) };
        let is_lost = faults && random.up_to(19) == 0;
        let late = if faults && random.up_to(19) == 0 { random.up_to(3_000) } else { random.up_to(2) };
        let answer = if is_lost { RateAnswer::Unknown } else { answer };
        node.answers.push((time + late * MILLI, operation, answer));
    }
    if node.paused_until > time || node.is_dead {
        return;
    }
    let (due, later) = std::mem::take(&mut node.answers).into_iter().partition(|(at, ..)| *at <= time);
    node.answers = later;
    let due: Vec<(u64, Operation, RateAnswer)> = due;
    for (_, operation, answer) in due {
        node.answer(&operation, answer, time);
    }
    for operation in node.poll(time) {
        node.requests.push_back((time + random.up_to(2) * MILLI, operation));
    }
}

fn assert_window(calls: &VecDeque<u64>, limit: u32, seed: u64) {
    let limit = limit as usize;
    if calls.len() > limit {
        let (first, last) = (calls[calls.len() - 1 - limit], calls[calls.len() - 1]);
        assert!(
            last - first >= WINDOW * NANOS_PER_SECOND,
            "seed {seed}: {} calls within {} ns",
            limit + 1,
            last - first
        );
    }
}

#[test]
fn never_one_call_more_than_the_limit_in_any_window_whatever_happens() {
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let limit = [100, 100, 7, 45, 1][usize::try_from(seed % 5).unwrap()];
        let mut stream = Stream::default();
        let skew = |random: &mut Random| random.up_to(1_000) * NANOS_PER_SECOND;
        let mut nodes: Vec<Node> =
            (0..4).map(|at| Node::new(seed * 10 + at, limit, skew(&mut random))).collect();
        let mut calls = VecDeque::new();
        let mut passed = 0;
        for time in (1..200 * NANOS_PER_SECOND / STEP).map(|step| step * STEP) {
            if random.up_to(500) == 0 {
                let at = usize::try_from(random.up_to(3)).unwrap();
                let long = random.up_to(25) * NANOS_PER_SECOND;
                match random.up_to(4) {
                    0 => stream.election_until = time + random.up_to(9) * NANOS_PER_SECOND,
                    1 => nodes[at].paused_until = time + long,
                    2 => nodes[at].cut_until = time + long,
                    3 => {
                        let fresh = Node::new(random.next_u64(), limit, skew(&mut random));
                        let old = std::mem::replace(&mut nodes[at], fresh);
                        // What it has sent arrives all the same.
                        for (_, operation) in old.requests {
                            stream.publish(&operation, time);
                        }
                    }
                    _ => {}
                }
            }
            for node in &mut nodes {
                // A flood. The cores of a node that has just woken may be faster than the thread that looks after it.
                if node.paused_until <= time {
                    for _ in 0..random.up_to(3) {
                        if node.call(time) == Some(true) {
                            calls.push_back(time);
                            passed += 1;
                            assert_window(&calls, limit, seed);
                        }
                    }
                }
                step(node, &mut stream, &mut random, time, true);
            }
            while calls.len() > 1_000 {
                calls.pop_front();
            }
        }
        assert!(passed > limit * 4, "seed {seed}: {passed} of {limit} a window passed");
    }
}

/// A caller that stays below the limit on one node; returns how many calls were refused and how many messages that took.
fn lone_caller(limit: u32, every: u64, seconds: u64) -> (u32, u64) {
    let (mut stream, mut random) = (Stream::default(), Random::new(3));
    let mut node = Node::new(1, limit, 77 * NANOS_PER_SECOND);
    let (mut refused, mut waits) = (0, false);
    for time in (1..seconds * NANOS_PER_SECOND / STEP).map(|step| step * STEP) {
        if time % every == 0 || waits {
            match node.call(time) {
                Some(true) => waits = false,
                Some(false) => {
                    refused += 1;
                    waits = false;
                }
                None => waits = true,
            }
        }
        step(&mut node, &mut stream, &mut random, time, false);
    }
    (refused, stream.sequence)
}

#[test]
fn a_lone_caller_under_the_limit_is_never_refused() {
    // 95 and 40 in ten seconds.
    for every in [110 * MILLI, 250 * MILLI] {
        let (refused, messages) = lone_caller(100, every, 120);
        assert_eq!(refused, 0, "every {every} ns");
        assert!(messages < 120 * 6, "{messages} messages in 120 s");
    }
    // Nobody else is there: all of it, again and again.
    assert_eq!(lone_caller(7, 1_500 * MILLI, 120).0, 0);
}

#[test]
fn a_flood_costs_few_messages() {
    let (mut stream, mut random) = (Stream::default(), Random::new(3));
    let mut nodes = [Node::new(1, 100, 0), Node::new(2, 100, 0)];
    let mut sent = 0;
    for time in (1..60 * NANOS_PER_SECOND / STEP).map(|step| step * STEP) {
        for node in &mut nodes {
            for _ in 0..50 {
                let _ = node.call(time);
            }
            let before = node.requests.len();
            step(node, &mut stream, &mut random, time, false);
            sent += node.requests.len().saturating_sub(before);
        }
    }
    assert!(sent < 60 * 25, "{sent} messages for 600,000 calls in 60 s");
}

#[test]
fn places_are_never_more_than_the_limit_and_come_back_from_those_who_need_none() {
    const LIMIT: u32 = 10;
    for seed in 0..12 {
        let (mut random, mut stream) = (Random::new(seed), Stream::default());
        let mut nodes: Vec<Places> = (0..3).map(|at| Places::new(seed * 10 + at)).collect();
        let (mut most, mut refused_at_the_end) = (0, 0);
        for time in (1..120 * NANOS_PER_SECOND / STEP).map(|step| step * STEP) {
            // Calls come to one node after another, and none to the first one at the end.
            let turn = usize::try_from(time / (30 * NANOS_PER_SECOND)).unwrap() % 3;
            for (at, node) in nodes.iter_mut().enumerate() {
                if node.in_use > 0 && (at != turn || random.up_to(9) == 0) {
                    node.in_use -= 1;
                }
                if at == turn && random.up_to(3) == 0 {
                    if node.in_use < node.places {
                        node.in_use += 1;
                    } else if node.refused_until <= time {
                        node.books.demand(webhook(), Now { nanos: time, unix_millis: 0 });
                    }
                    refused_at_the_end +=
                        u32::from(time % (30 * NANOS_PER_SECOND) > 29 * NANOS_PER_SECOND && node.places == 0);
                }
                node.step(&mut stream, LIMIT, time);
            }
            let all: u32 = nodes.iter().map(|node| node.in_use).sum();
            assert!(all <= LIMIT, "seed {seed}: {all} at a time");
            most = most.max(all);
        }
        assert!(most > LIMIT / 2, "seed {seed}: {most} at a time at most");
        assert_eq!(refused_at_the_end, 0, "seed {seed}: places stayed with a node that has no use for them");
    }
}

/// A node that has calls which hold places.
struct Places {
    books: Books,
    places: u32,
    in_use: u32,
    refused_until: u64,
}

impl Places {
    fn new(seed: u64) -> Places {
        Places { books: Books::new(seed, Terms::PLACES), places: 0, in_use: 0, refused_until: 0 }
    }

    fn step(&mut self, stream: &mut Stream, limit: u32, time: u64) {
        let now = Now { nanos: time, unix_millis: 0 };
        let usage = RateUsage { tokens: limit, window_seconds: 0, spent: self.in_use };
        let mut operations = Vec::new();
        let in_use = self.in_use;
        for verdict in
            self.books.poll(webhook(), Some(usage), now, &mut operations, &mut |left| in_use <= left)
        {
            match verdict {
                RateVerdict::Holds { tokens, .. } => self.places = tokens,
                RateVerdict::Refused { until } | RateVerdict::CutOff { until } => self.refused_until = until,
            }
        }
        for operation in operations {
            let answer = stream.publish(&operation, time);
            assert!(self.books.on_answer(&operation, answer, now).is_none());
        }
    }
}

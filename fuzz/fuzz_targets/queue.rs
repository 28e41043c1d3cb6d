//! The queue of a flow's workers against what its rules say: no trigger lost or delivered by two at a time, no worker
//! given more than it takes, connections in order, timers set and cancelled once.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Choices, payload};
use libfuzzer_sys::fuzz_target;
use tidegate::base::slots::Key;
use tidegate::base::wheel::{TICK_NANOS, TimerId, Wheel};
use tidegate::deliver::workers::{Affinity, FlowQueue, Order, WorkerTrigger};

/// Triggers of one input: each has a payload of its own length.
const TRIGGERS_MAX: usize = 120;
const CONNECTIONS: usize = 3;
/// Unacked triggers that each node lets a worker have.
const NODES: [u32; 3] = [1, 2, 1_000];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    With { worker: usize, seq: u64 },
    Done,
}

struct Trigger {
    node: usize,
    state: State,
    /// How often it came back.
    failures: u32,
    expires: Option<u64>,
    connection: Option<Affinity>,
    reply_id: Option<Arc<str>>,
    /// Of the worker that has it; what fired or was cancelled may stand here still.
    timer: Option<TimerId>,
}

struct Worker {
    key: Key,
    attached: bool,
    credit: u32,
    /// Of each node.
    in_flight: [u32; NODES.len()],
    next_seq: u64,
}

struct World {
    queue: FlowQueue<usize>,
    orders: Vec<Order<usize>>,
    now: u64,
    /// Flights and the numbers of their triggers.
    wheel: Wheel<(Key, usize)>,
    workers: Vec<Worker>,
    triggers: Vec<Trigger>,
    /// The trigger that may be done now because it was acked.
    acked: Option<usize>,
    /// The timer that fired just now: the queue cannot know, and cancels it.
    fired: Option<TimerId>,
    is_clearing: bool,
    /// Of each connection: its generation, the worker that it stays with, its trigger that was sent last.
    generations: [u32; CONNECTIONS],
    homes: HashMap<(u16, Key), usize>,
    sent: HashMap<(u16, Key, usize), usize>,
    /// Bytes of the first trigger's payload; each one after has one more.
    bytes_before: usize,
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut world = World {
        queue: FlowQueue::default(),
        orders: Vec::new(),
        now: 0,
        wheel: Wheel::new(0),
        workers: Vec::new(),
        triggers: Vec::new(),
        acked: None,
        fired: None,
        is_clearing: false,
        generations: [0; CONNECTIONS],
        homes: HashMap::new(),
        sent: HashMap::new(),
        bytes_before: payload(1).len(),
    };
    while !choices.is_over() {
        world.step(&mut choices);
        world.check();
    }
    world.finish();
});

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(18) {
            0 => {
                let key = self.queue.attach(self.workers.len());
                self.workers.push(Worker {
                    key,
                    attached: true,
                    credit: 0,
                    in_flight: [0; NODES.len()],
                    next_seq: 1,
                });
            }
            1..4 => {
                let (worker, credit) = (choices.below(8), choices.below(4) as u32);
                self.ready(worker, credit);
            }
            4..9 => self.offer(choices),
            9..11 => self.land(choices, true),
            11 => self.land(choices, false),
            12 => self.pass(u64::from(choices.byte()) * TICK_NANOS),
            13 => {
                let worker = choices.below(8);
                self.detach(worker);
            }
            14 => {
                let next = self.queue.expire(self.now, &mut self.orders);
                assert!(next.is_none_or(|next| next > self.now));
            }
            15 | 16 => self.reply(choices),
            _ if choices.below(16) == 0 => {
                self.is_clearing = true;
                for trigger in self.triggers.iter_mut() {
                    if let State::With { worker, .. } = trigger.state {
                        self.workers[worker].in_flight[trigger.node] -= 1;
                        trigger.state = State::Open;
                    }
                }
                self.homes.clear();
                self.queue.clear(&mut self.orders);
            }
            _ => {}
        }
        self.carry_out();
        self.is_clearing = false;
    }

    fn ready(&mut self, worker: usize, credit: u32) {
        let Some(found) = self.workers.get_mut(worker) else { return };
        if found.attached {
            found.credit += credit;
        }
        self.queue.ready(found.key, credit, self.now, &mut self.orders);
    }

    fn offer(&mut self, choices: &mut Choices<'_>) {
        let number = self.triggers.len();
        if number == TRIGGERS_MAX {
            return;
        }
        let connection = choices.truth().then(|| {
            let place = choices.below(CONNECTIONS);
            let key = Key { index: place as u32, generation: self.generations[place] };
            let last = choices.below(8) == 0;
            // Nothing of a connection follows its last trigger.
            self.generations[place] += u32::from(last);
            Affinity { key: (1, key), last }
        });
        // A caller that waits goes away; a connection's trigger has none.
        let waits = connection.is_none() && choices.truth();
        let expires = waits.then(|| self.now + u64::from(choices.byte()) * TICK_NANOS);
        let reply_id: Option<Arc<str>> = choices.truth().then(|| Arc::from(format!("r{}", choices.below(3))));
        let node = choices.below(NODES.len());
        self.triggers.push(Trigger {
            node,
            state: State::Open,
            failures: 0,
            expires,
            connection,
            reply_id: reply_id.clone(),
            timer: None,
        });
        let trigger = WorkerTrigger {
            node_id: Arc::from(node.to_string()),
            payload: payload(1 + number),
            ack_timeout_nanos: (1 + choices.below(100) as u64) * TICK_NANOS,
            max_in_flight: NODES[node],
            affinity: connection,
            reply_id,
            expires_nanos: expires,
            attempt: 1,
            behind: None,
            receipt: None,
            record: None,
            guest: None,
        };
        self.queue.offer(trigger, self.now, &mut self.orders);
    }

    /// A worker acks or nacks what it has, or what it has not.
    fn land(&mut self, choices: &mut Choices<'_>, is_ack: bool) {
        let (worker, seq) = (choices.below(8), 1 + u64::from(choices.byte()) % 32);
        let Some(found) = self.workers.get_mut(worker) else { return };
        let held = self.triggers.iter().position(|trigger| trigger.state == State::With { worker, seq });
        if let Some(number) = held {
            found.in_flight[self.triggers[number].node] -= 1;
            self.triggers[number].state = State::Open;
            if is_ack {
                self.acked = Some(number);
            } else {
                self.triggers[number].failures += 1;
            }
        }
        let landed = match is_ack {
            true => self.queue.ack(found.key, seq, self.now, &mut self.orders),
            false => self.queue.nack(found.key, seq, self.now, &mut self.orders),
        };
        assert_eq!(landed, held.is_some());
    }

    /// A worker replies, and names the trigger, one that it has not, or none.
    fn reply(&mut self, choices: &mut Choices<'_>) {
        let (worker, reply_id) = (choices.below(8), format!("r{}", choices.below(3)));
        let named = choices.truth().then(|| 1 + u64::from(choices.byte()) % 32);
        let Some(found) = self.workers.get_mut(worker) else { return };
        let is_meant = |trigger: &&Trigger| match (trigger.state, named) {
            (State::With { worker: with, seq }, Some(named)) => with == worker && seq == named,
            (State::With { worker: with, .. }, None) => {
                with == worker && trigger.reply_id.as_deref() == Some(reply_id.as_str())
            }
            _ => false,
        };
        let meant = self.triggers.iter().filter(is_meant).count();
        if meant == 1
            && let Some(number) = self.triggers.iter().position(|trigger| is_meant(&trigger))
        {
            found.in_flight[self.triggers[number].node] -= 1;
            self.triggers[number].state = State::Open;
            self.acked = Some(number);
        }
        let replied = self.queue.replied(found.key, &reply_id, named, self.now, &mut self.orders);
        assert!(replied.is_ok() || meant > 1);
    }

    fn pass(&mut self, nanos: u64) {
        self.now += nanos;
        let mut fired = Vec::new();
        self.wheel.advance(self.now, &mut fired);
        for (flight, number) in fired {
            let trigger = &mut self.triggers[number];
            let State::With { worker, .. } = trigger.state else {
                panic!("the timer of {number} was not cancelled")
            };
            self.workers[worker].in_flight[trigger.node] -= 1;
            trigger.state = State::Open;
            trigger.failures += 1;
            self.fired = trigger.timer.take();
            // A connection leaves a worker that may hang, if there is another.
            let connection = trigger.connection.map(|connection| connection.key);
            let is_alone = self.workers.iter().filter(|worker| worker.attached).count() == 1;
            if let Some(key) = connection
                && !is_alone
                && self.homes.get(&key) == Some(&worker)
            {
                self.homes.remove(&key);
            }
            self.queue.late(flight, self.now, &mut self.orders);
            self.carry_out();
        }
    }

    fn detach(&mut self, worker: usize) {
        let Some(found) = self.workers.get_mut(worker) else { return };
        found.attached = false;
        found.in_flight = [0; NODES.len()];
        for trigger in &mut self.triggers {
            if matches!(trigger.state, State::With { worker: with, .. } if with == worker) {
                trigger.state = State::Open;
                trigger.failures += 1;
            }
        }
        self.homes.retain(|_, home| *home != worker);
        let key = self.workers[worker].key;
        self.queue.detach(key, self.now, &mut self.orders);
    }

    /// Does what the queue ordered, and holds each order against the rules.
    fn carry_out(&mut self) {
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
                    assert_eq!(deadline_nanos, self.now + trigger.ack_timeout_nanos);
                    let number = trigger.payload.len() - self.bytes_before;
                    self.sent(worker, seq, number, &trigger);
                    let timer = self.wheel.insert(deadline_nanos, (flight, number));
                    self.triggers[number].timer = Some(timer);
                    self.queue.timed(flight, timer);
                }
                Order::Done { bytes, .. } => {
                    let number = bytes - self.bytes_before;
                    let trigger = &mut self.triggers[number];
                    assert_eq!(trigger.state, State::Open, "{number} is done and was not let go");
                    let has_expired = trigger.expires.is_some_and(|expires| expires <= self.now);
                    let was_acked = self.acked == Some(number);
                    assert!(was_acked || has_expired || self.is_clearing, "{number} is done for no reason");
                    trigger.state = State::Done;
                }
                // The operations expire what waits whenever they like.
                Order::Watch { .. } => {}
                Order::Returned { .. } => unreachable!("no trigger of another node is offered"),
                Order::Cancel(timer) => {
                    assert!(
                        self.wheel.cancel(timer) || self.fired == Some(timer),
                        "a timer is cancelled twice"
                    );
                }
            }
        }
        self.acked = None;
        self.fired = None;
    }

    fn sent(&mut self, worker: usize, seq: u64, number: usize, trigger: &WorkerTrigger) {
        let told = &mut self.triggers[number];
        assert_eq!(told.state, State::Open, "{number} is sent, and not waiting");
        assert_eq!(trigger.attempt, 1 + told.failures);
        told.state = State::With { worker, seq };
        let to = &mut self.workers[worker];
        let in_flight = &mut to.in_flight[told.node];
        assert!(to.attached && to.credit > 0 && *in_flight < NODES[told.node], "{number} is too much");
        *in_flight += 1;
        assert_eq!(seq, to.next_seq);
        to.credit -= 1;
        to.next_seq += 1;
        let Some(Affinity { key, .. }) = trigger.affinity else { return };
        assert_eq!(told.connection, trigger.affinity);
        // One that came back may go to another worker than its connection's.
        if trigger.attempt > 1 {
            return;
        }
        if let Some(before) = self.sent.insert((key.0, key.1, told.node), number) {
            assert!(before < number, "{number} of a connection is sent after {before}");
        }
        assert_eq!(
            *self.homes.entry(key).or_insert(worker),
            worker,
            "{number} leaves its connection's worker"
        );
    }

    fn check(&self) {
        let open = self.triggers.iter().filter(|trigger| trigger.state != State::Done).count();
        assert_eq!(self.queue.open(), open, "a trigger was lost or made");
        assert_eq!(self.queue.workers(), self.workers.iter().filter(|worker| worker.attached).count());
        let with_workers = |trigger: &&Trigger| matches!(trigger.state, State::With { .. });
        assert_eq!(self.wheel.len(), self.triggers.iter().filter(with_workers).count());
    }

    /// A worker that takes everything and acks it gets everything that is left.
    fn finish(mut self) {
        for worker in 0..self.workers.len() {
            self.detach(worker);
            self.carry_out();
        }
        let last = self.workers.len();
        let key = self.queue.attach(last);
        self.workers.push(Worker {
            key,
            attached: true,
            credit: 0,
            in_flight: [0; NODES.len()],
            next_seq: 1,
        });
        self.ready(last, 1_000);
        self.carry_out();
        for seq in 1.. {
            let held = |trigger: &Trigger| trigger.state == State::With { worker: last, seq };
            let Some(number) = self.triggers.iter().position(held) else { break };
            self.workers[last].in_flight[self.triggers[number].node] -= 1;
            self.triggers[number].state = State::Open;
            self.acked = Some(number);
            assert!(self.queue.ack(key, seq, self.now, &mut self.orders));
            self.carry_out();
        }
        self.check();
        assert_eq!(self.queue.open(), 0, "what a willing worker could have had still waits");
    }
}

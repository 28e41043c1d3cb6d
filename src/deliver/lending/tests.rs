//! Nodes that lend each other workers over a network that delays and loses, from a seed: workers come and go, nodes vanish,
//! and everything that was offered is done in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::*;
use crate::base::random::Random;
use crate::deliver::workers::{Affinity, WorkerTrigger};
use crate::trigger::Payload;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
const ACK_TIMEOUT: u64 = 5 * SECOND;
const NODES: usize = 3;
const STEPS: usize = 1_500;
const SEEDS: u64 = 60;

/// A mistake that is made on purpose: the simulation has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// A lender gives a worker more than it takes.
    IgnoreCredit,
    /// A lender takes triggers that follow one that it did not take.
    IgnoreBlock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A worker of this node, by its number.
    Here(u32),
    Lent(LentWorker),
}

impl From<LentWorker> for Place {
    fn from(lent: LentWorker) -> Place {
        Place::Lent(lent)
    }
}

struct Worker {
    key: Key,
    credit: u64,
    /// Triggers that it was sent and has not acked: seq and name.
    unacked: VecDeque<(u64, u32)>,
}

#[derive(Default)]
struct Node {
    queue: FlowQueue<Place>,
    lending: Lending,
    workers: BTreeMap<u32, Worker>,
    /// The flights' deadlines.
    timers: BTreeMap<(u64, u64), Key>,
    look_at: Option<u64>,
}

struct World {
    random: Random,
    now: u64,
    nodes: Vec<Node>,
    /// Messages under way from one node to another, in order.
    wires: BTreeMap<(usize, usize), VecDeque<(u64, NodeEvent)>>,
    /// Until when nothing passes between two nodes.
    cut: BTreeMap<(usize, usize), u64>,
    /// The owner of every trigger that is not done.
    open: BTreeMap<u32, usize>,
    /// Those that a worker has acked.
    done: BTreeSet<u32>,
    /// Triggers of one connection: the last that its worker got, per connection.
    seen: BTreeMap<u32, u32>,
    ties: BTreeMap<u32, u32>,
    next: u32,
    numbers: u64,
    is_faulty: bool,
    is_calm: bool,
    mistake: Mistake,
}

fn flow() -> Id {
    Id::from_raw([7; 12])
}

fn id(node: usize) -> Id {
    Id::from_raw([node as u8 + 1; 12])
}

fn index(id: Id) -> usize {
    usize::from(id.raw()[0]) - 1
}

fn trigger(name: u32, affinity: Option<Affinity>) -> WorkerTrigger {
    WorkerTrigger {
        node_id: Arc::from("node"),
        payload: Payload::of_text(Bytes::from(format!("{{{name}}}"))),
        ack_timeout_nanos: ACK_TIMEOUT,
        max_in_flight: 5,
        affinity,
        reply_id: None,
        expires_nanos: None,
        attempt: 1,
        behind: None,
        receipt: None,
        record: None,
        guest: None,
    }
}

fn text_of(payload: &Payload) -> Vec<u8> {
    let mut text = Vec::new();
    payload.write(&mut text);
    text
}

fn name(payload: &Payload) -> u32 {
    let text = String::from_utf8(text_of(payload)).expect("text");
    text.trim_matches(['{', '}']).parse().expect("a name")
}

impl World {
    fn new(seed: u64, mistake: Mistake) -> World {
        let is_faulty = !seed.is_multiple_of(3);
        World {
            random: Random::new(seed),
            now: SECOND,
            nodes: (0..NODES).map(|_| Node::default()).collect(),
            wires: BTreeMap::new(),
            cut: BTreeMap::new(),
            open: BTreeMap::new(),
            done: BTreeSet::new(),
            seen: BTreeMap::new(),
            ties: BTreeMap::new(),
            next: 0,
            numbers: 0,
            is_faulty,
            is_calm: false,
            mistake,
        }
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.up_to(count - 1) == 0
    }

    fn step(&mut self) {
        self.now += self.random.up_to(20 * MILLI);
        if !self.is_calm {
            self.disturb();
        }
        self.arrive();
        for node in 0..NODES {
            self.work(node);
            self.fire(node);
        }
    }

    fn disturb(&mut self) {
        let node = self.random.up_to(NODES as u64 - 1) as usize;
        if self.one_in(3) {
            self.offer(node);
        }
        if self.one_in(40) && self.nodes[node].workers.len() < 3 {
            self.attach(node);
        }
        if self.is_faulty && self.one_in(150) {
            self.leave(node);
        }
        if self.is_faulty && self.one_in(200) {
            let other = (node + 1) % NODES;
            let until = self.now + self.random.up_to(8 * SECOND);
            self.cut.insert((node, other), until);
            self.cut.insert((other, node), until);
        }
    }

    /// A trigger arrives, of some connection or of none.
    fn offer(&mut self, node: usize) {
        let name = self.next;
        self.next += 1;
        let tie = self.one_in(2).then(|| node as u32 * 10 + self.random.up_to(1) as u32);
        let affinity = tie.map(|tie| {
            self.ties.insert(name, tie);
            Affinity { key: (0, Key { index: tie, generation: 1 }), last: false }
        });
        self.open.insert(name, node);
        let mut orders = Vec::new();
        self.nodes[node].queue.offer(trigger(name, affinity), self.now, &mut orders);
        self.carry_out(node, orders);
    }

    fn attach(&mut self, node: usize) {
        self.numbers += 1;
        let number = self.numbers as u32;
        let key = self.nodes[node].queue.attach(Place::Here(number));
        self.nodes[node].workers.insert(number, Worker { key, credit: 0, unacked: VecDeque::new() });
        self.ready(node, number);
        self.broadcast(node, &NodeEvent::Available { flow: flow() });
    }

    fn ready(&mut self, node: usize, number: u32) {
        let credit = 1 + self.random.up_to(3) as u32;
        let at = &mut self.nodes[node];
        let Some(worker) = at.workers.get_mut(&number) else { return };
        worker.credit += u64::from(credit);
        let (key, mut orders) = (worker.key, Vec::new());
        at.queue.ready(key, credit, self.now, &mut orders);
        self.carry_out(node, orders);
        let offers = self.nodes[node].lending.offers(&self.nodes[node].queue, key, self.now);
        for (to, offer) in offers {
            self.send(node, index(to), NodeEvent::Offer { flow: flow(), workers: vec![offer] });
        }
    }

    fn leave(&mut self, node: usize) {
        let numbers: Vec<u32> = self.nodes[node].workers.keys().copied().collect();
        if numbers.is_empty() {
            return;
        }
        let number = numbers[self.random.up_to(numbers.len() as u64 - 1) as usize];
        let at = &mut self.nodes[node];
        let (worker, mut orders) = (at.workers.remove(&number).expect("a worker"), Vec::new());
        at.queue.detach(worker.key, self.now, &mut orders);
        let told = at.lending.detached(worker.key);
        self.carry_out(node, orders);
        for to in told {
            self.send(node, index(to), NodeEvent::WorkerGone { flow: flow(), worker: name_of(worker.key) });
        }
    }

    /// The workers of a node ack, and take more.
    fn work(&mut self, node: usize) {
        let numbers: Vec<u32> = self.nodes[node].workers.keys().copied().collect();
        for number in numbers {
            // Some are slow, so that a connection between two nodes does not outlast what they have.
            let is_slow = self.is_faulty && number.is_multiple_of(2);
            let pace = if self.is_calm {
                2
            } else if is_slow {
                100
            } else {
                6
            };
            if !self.one_in(pace) {
                continue;
            }
            let is_nack = self.is_faulty && !self.is_calm && self.one_in(10);
            let at = &mut self.nodes[node];
            let worker = at.workers.get_mut(&number).expect("a worker");
            let key = worker.key;
            if let Some((seq, name)) = worker.unacked.pop_front() {
                let mut orders = Vec::new();
                if !is_nack {
                    self.done.insert(name);
                }
                // One that was overdue is known no more.
                if is_nack {
                    at.queue.nack(key, seq, self.now, &mut orders);
                } else {
                    at.queue.ack(key, seq, self.now, &mut orders);
                }
                self.carry_out(node, orders);
            }
            if self.nodes[node].workers[&number].credit < 4 {
                self.ready(node, number);
            }
        }
    }

    /// Timers of a node that are due.
    fn fire(&mut self, node: usize) {
        while let Some((&(at, number), &flight)) = self.nodes[node].timers.first_key_value() {
            if at > self.now {
                break;
            }
            self.nodes[node].timers.remove(&(at, number));
            let mut orders = Vec::new();
            self.nodes[node].queue.late(flight, self.now, &mut orders);
            self.carry_out(node, orders);
        }
        if self.nodes[node].look_at.is_some_and(|at| at <= self.now) {
            let at = &mut self.nodes[node];
            at.look_at = None;
            let mut orders = Vec::new();
            let busy = at.lending.tidy(&mut at.queue, self.now, &mut orders);
            self.carry_out(node, orders);
            busy.into_iter().for_each(|to| self.send(node, index(to), NodeEvent::Ping));
        }
    }

    fn carry_out(&mut self, node: usize, orders: Vec<Order<Place>>) {
        for order in orders {
            match order {
                Order::Send { worker: Place::Here(number), seq, trigger, flight, deadline_nanos } => {
                    self.time(node, flight, deadline_nanos);
                    self.receive(node, number, seq, &trigger);
                }
                Order::Send { worker: Place::Lent(lent), seq, trigger, flight, deadline_nanos } => {
                    self.time(node, flight, deadline_nanos);
                    if !self.nodes[node].lending.sent(lent, self.now) {
                        continue;
                    }
                    let trigger = GuestTrigger {
                        flow: flow(),
                        worker: lent.worker,
                        link: lent.link,
                        seq,
                        attempt: trigger.attempt,
                        ack_timeout_nanos: trigger.ack_timeout_nanos,
                        max_in_flight: trigger.max_in_flight,
                        node_id: "node".into(),
                        reply_id: None,
                        payload: text_of(&trigger.payload).into(),
                    };
                    self.send(node, index(lent.node), NodeEvent::Trigger(Box::new(trigger)));
                }
                Order::Done { guest: Some(guest), .. } => self.answer(node, guest, GuestAnswer::Acked),
                Order::Returned { guest, .. } => self.answer(node, guest, GuestAnswer::Returned),
                // Which trigger it was is told by who acked it: the count of those that are open shows the rest.
                Order::Done { guest: None, .. } | Order::Cancel(_) | Order::Watch { .. } => {}
            }
        }
        let at = &mut self.nodes[node];
        let due = at.lending.due(&at.queue, self.now);
        let earlier = |known: Option<u64>, at: u64| known.map_or(at, |known| known.min(at));
        if let Some(again_at) = due.again_at {
            at.look_at = Some(earlier(at.look_at, again_at));
        }
        if let Some(triggers) = due.want {
            self.broadcast(node, &NodeEvent::Want { flow: flow(), triggers });
        }
    }

    fn time(&mut self, node: usize, flight: Key, at: u64) {
        self.numbers += 1;
        self.nodes[node].timers.insert((at, self.numbers), flight);
    }

    /// A worker gets a trigger.
    fn receive(&mut self, node: usize, number: u32, seq: u64, trigger: &WorkerTrigger) {
        let name = name(&trigger.payload);
        let Some(worker) = self.nodes[node].workers.get_mut(&number) else { return };
        assert!(worker.credit > 0, "worker {number} gets more than it takes");
        worker.credit -= 1;
        worker.unacked.push_back((seq, name));
        if let Some(tie) = self.ties.get(&name)
            && !self.is_faulty
        {
            let last = self.seen.insert(*tie, name);
            assert!(last.is_none_or(|last| last < name), "{name} of connection {tie} is late: {last:?}");
        }
    }

    fn answer(&mut self, node: usize, of: Guest, answer: GuestAnswer) {
        let Guest { node: to, worker, link, seq } = of;
        self.send(node, index(to), NodeEvent::Answer { flow: flow(), worker, link, seq, answer });
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.get(&(from, to)).is_some_and(|until| self.now < *until)
    }

    fn send(&mut self, from: usize, to: usize, event: NodeEvent) {
        if self.is_cut(from, to) {
            // The link gives up: nothing of what waits arrives, and the sender takes the other for gone.
            self.wires.remove(&(from, to));
            self.take(from, id(to), NodeEvent::Gone);
            return;
        }
        let at = self.now + self.random.up_to(10 * MILLI);
        self.deliver_later(from, to, event, at);
    }

    fn deliver_later(&mut self, from: usize, to: usize, event: NodeEvent, at: u64) {
        let wire = self.wires.entry((from, to)).or_default();
        let at = wire.back().map_or(at, |(last, _)| at.max(*last));
        wire.push_back((at, event));
    }

    fn broadcast(&mut self, from: usize, event: &NodeEvent) {
        for to in (0..NODES).filter(|to| *to != from) {
            if !self.is_cut(from, to) {
                // It is not in order with the others.
                self.take(to, id(from), event.clone());
            }
        }
    }

    fn arrive(&mut self) {
        let pairs: Vec<(usize, usize)> = self.wires.keys().copied().collect();
        for (from, to) in pairs {
            let now = self.now;
            // What is taken may cut the wire.
            while let Some((_, event)) =
                self.wires.get_mut(&(from, to)).and_then(|wire| wire.pop_front_if(|(at, _)| *at <= now))
            {
                self.take(to, id(from), event);
            }
        }
    }

    fn take(&mut self, node: usize, from: Id, event: NodeEvent) {
        let (now, mistake) = (self.now, self.mistake);
        let mut orders = Vec::new();
        let mut answers: Vec<NodeEvent> = Vec::new();
        let Node { queue, lending, .. } = &mut self.nodes[node];
        match event {
            NodeEvent::Ping => {}
            NodeEvent::Gone => lending.on_gone(queue, from, None, now, &mut orders),
            NodeEvent::WorkerGone { worker, .. } => {
                lending.on_gone(queue, from, Some(worker), now, &mut orders);
            }
            NodeEvent::Want { triggers, .. } => {
                let workers = lending.on_want(queue, from, triggers, now);
                if !workers.is_empty() {
                    answers.push(NodeEvent::Offer { flow: flow(), workers });
                }
            }
            NodeEvent::Resume { worker, .. } => {
                let offer = lending.on_resume(queue, from, worker, now);
                answers.extend(offer.map(|offer| NodeEvent::Offer { flow: flow(), workers: vec![offer] }));
            }
            NodeEvent::Available { .. } => lending.on_available(),
            NodeEvent::Offer { workers, .. } => {
                let numbers = &mut self.numbers;
                let link = || {
                    *numbers += 1;
                    *numbers
                };
                lending.on_offer(queue, from, &workers, link, now, &mut orders);
            }
            NodeEvent::Answer { worker, link, seq, answer, .. } => {
                let of = LentWorker { node: from, worker, link };
                if lending.on_answer(queue, of, seq, answer, now, &mut orders) {
                    answers.push(NodeEvent::Resume { flow: flow(), worker });
                }
            }
            NodeEvent::Trigger(sent) => {
                let guest = sent.guest(from);
                let may = lending.on_trigger(from, sent.worker, sent.link, now);
                let may = may.or((mistake == Mistake::IgnoreBlock).then_some(key_of(sent.worker)));
                let taken = may.is_some_and(|key| {
                    if mistake == Mistake::IgnoreCredit {
                        queue.ready(key, 1, now, &mut Vec::new());
                    }
                    let trigger = WorkerTrigger {
                        payload: Payload::of_text(sent.payload.clone()),
                        attempt: sent.attempt,
                        guest: Some(guest),
                        ..trigger(0, None)
                    };
                    queue.lend(key, trigger, now, &mut orders)
                });
                if !taken {
                    lending.refused(queue, from, sent.worker, sent.link, now);
                    let Guest { worker, link, seq, .. } = guest;
                    let answer = GuestAnswer::NotTaken;
                    answers.push(NodeEvent::Answer { flow: flow(), worker, link, seq, answer });
                }
            }
        }
        for answer in answers {
            self.send(node, index(from), answer);
        }
        self.carry_out(node, orders);
    }
}

/// Runs one life.
fn simulate(seed: u64, mistake: Mistake) {
    let mut world = World::new(seed, mistake);
    world.attach(0);
    for _ in 0..STEPS {
        world.step();
    }
    world.is_calm = true;
    world.cut.clear();
    if world.nodes.iter().all(|node| node.workers.is_empty()) {
        world.attach(0);
    }
    for _ in 0..STEPS * 4 {
        world.step();
        if world.nodes.iter().all(|node| node.queue.open() == 0) {
            break;
        }
    }
    for (number, node) in world.nodes.iter().enumerate() {
        let (waiting, open) = (node.queue.waiting(), node.queue.open());
        assert_eq!((waiting, open), (0, 0), "node {number} does not get rid of its triggers");
    }
    let lost: Vec<u32> = world.open.keys().copied().filter(|name| !world.done.contains(name)).collect();
    assert!(lost.is_empty(), "no worker has acked {lost:?}");
}

#[test]
fn an_answer_of_an_earlier_attachment_is_about_another_trigger() {
    let (mut queue, mut lending) = (FlowQueue::<Place>::default(), Lending::default());
    let mut orders = Vec::new();
    queue.offer(trigger(1, None), 0, &mut orders);
    let offers = [WorkerOffer { worker: 5, credit: 1 }];
    let answer = |link| LentWorker { node: id(1), worker: 5, link };
    for link in [1, 2] {
        lending.on_offer(&mut queue, id(1), &offers, || link, 0, &mut orders);
        assert!(matches!(orders.last(), Some(Order::Send { worker: Place::Lent(_), seq: 1, .. })));
        assert!(lending.sent(answer(link), 0));
        if link == 1 {
            lending.on_gone(&mut queue, id(1), None, 0, &mut orders);
            assert!(!lending.sent(answer(link), 0), "nobody is there");
        }
    }
    assert!(!lending.sent(answer(1), 0), "it is another attachment");
    lending.on_answer(&mut queue, answer(1), 1, GuestAnswer::Acked, 0, &mut orders);
    assert_eq!(queue.open(), 1);
    lending.on_answer(&mut queue, answer(2), 1, GuestAnswer::Acked, 0, &mut orders);
    assert_eq!(queue.open(), 0);
}

#[test]
fn a_worker_that_had_credit_and_refused_is_not_offered_again_before_it_acks() {
    for (credit, is_offered) in [(0, true), (1, false)] {
        let (mut queue, mut lending) = (FlowQueue::<Place>::default(), Lending::default());
        let key = queue.attach(Place::Here(0));
        queue.ready(key, credit, 0, &mut Vec::new());
        lending.refused(&queue, id(1), name_of(key), 1, 0);
        queue.ready(key, 1, 0, &mut Vec::new());
        let offer = lending.on_resume(&queue, id(1), name_of(key), 0);
        assert_eq!(offer.is_some(), is_offered, "it had credit for {credit}");
    }
}

#[test]
fn a_worker_is_offered_to_those_who_have_asked_of_late() {
    let (mut queue, mut lending) = (FlowQueue::<Place>::default(), Lending::default());
    let key = queue.attach(Place::Here(0));
    assert_eq!(lending.on_trigger(id(1), name_of(key), 1, SECOND), Some(key));
    assert_eq!(lending.offers(&queue, key, SECOND), [], "it has no credit");
    queue.ready(key, 3, 0, &mut Vec::new());
    let offer = (id(1), WorkerOffer { worker: name_of(key), credit: 3 });
    assert_eq!(lending.offers(&queue, key, SECOND + ASKED_NANOS - 1), [offer]);
    assert_eq!(lending.offers(&queue, key, SECOND + ASKED_NANOS), []);
}

#[test]
fn who_asks_is_offered_as_many_workers_as_have_credit_for_what_waits() {
    let (mut queue, mut lending) = (FlowQueue::<Place>::default(), Lending::default());
    let keys = [0, 1, 2].map(|number| queue.attach(Place::Here(number)));
    assert_eq!(lending.on_want(&queue, id(1), 2, SECOND), [], "none has credit");
    keys.iter().for_each(|key| queue.ready(*key, 1, 0, &mut Vec::new()));
    for (triggers, offered) in [(0, 0), (1, 1), (2, 2), (9, 3)] {
        assert_eq!(lending.on_want(&queue, id(1), triggers, SECOND).len(), offered, "{triggers} wait");
    }
}

#[test]
fn what_nobody_has_spoken_of_for_long_is_forgotten() {
    let (mut queue, mut lending) = (FlowQueue::<Place>::default(), Lending::default());
    let mut orders = Vec::new();
    let key = queue.attach(Place::Here(0));
    queue.ready(key, 1, 0, &mut orders);
    lending.on_want(&queue, id(1), 1, 0);
    queue.offer(trigger(1, None), 0, &mut orders);
    queue.offer(trigger(2, None), 0, &mut orders);
    lending.on_offer(&mut queue, id(2), &[WorkerOffer { worker: 5, credit: 1 }], || 1, 0, &mut orders);
    assert_eq!(lending.tidy(&mut queue, IDLE_NANOS, &mut orders), [id(2)], "it has a trigger");
    let lent = LentWorker { node: id(2), worker: 5, link: 1 };
    lending.on_answer(&mut queue, lent, 1, GuestAnswer::Acked, 0, &mut orders);
    assert!(lending.sent(lent, 0));
    assert_eq!(lending.tidy(&mut queue, IDLE_NANOS - 1, &mut orders), []);
    assert!(lending.sent(lent, 0), "it was used of late");
    assert_eq!(lending.tidy(&mut queue, IDLE_NANOS, &mut orders), []);
    assert!(!lending.sent(lent, 0), "it is given back");
    assert_eq!(lending.borrowers.len(), 1);
    lending.tidy(&mut queue, KNOWN_NANOS, &mut orders);
    assert_eq!(lending.borrowers.len(), 0);
}

#[test]
fn every_trigger_reaches_a_worker_in_order_and_within_its_credit() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| simulate(seed, Mistake::None));
        if let Err(failure) = outcome {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(failure);
        }
    }
}

#[test]
fn mistakes_are_noticed() {
    for mistake in [Mistake::IgnoreCredit, Mistake::IgnoreBlock] {
        let is_noticed = (0..SEEDS).any(|seed| std::panic::catch_unwind(|| simulate(seed, mistake)).is_err());
        assert!(is_noticed, "{mistake:?}");
    }
}

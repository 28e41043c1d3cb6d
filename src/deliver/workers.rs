//! Which attached worker gets which trigger: the queue of one flow, kept by one core (the flow's home). Triggers,
//! credits, acks and departures of all cores come here as calls; what is to be sent or timed comes out as values.
//!
//! ```text
//! offer ─▶ waiting ─▶ in flight (with one worker) ─ack─▶ done
//!             ▲              │ nack, late, worker gone: attempt + 1, to another
//!             └──────────────┘
//! ```
//!
//! Triggers of one WebSocket connection share a [`Tie`]. Until a worker is its home they wait in the tie's own queue,
//! which stands once among what waits; from then on they wait in the `bound` queue of that worker. So they cannot
//! overtake each other, and a connection whose worker is busy holds back nobody else.
//!
//! **Invariants**: a trigger is in exactly one of `waiting`, a tie's queue, a worker's `bound` queue, or in flight; a
//! worker never holds more than its credit or the node's `maxInFlight`; triggers of one tie go out in order to one
//! worker, save one that came back: it goes before those that have not gone out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;
use crate::trigger::Payload;

/// Credits that a worker may pile up; more are not counted (they add up, and a worker could overflow them).
pub const CREDIT_MAX: u32 = 1_000_000;
/// What waits that is looked at for something that may go out, when the first ones may not.
const LOOK_AHEAD: usize = 64;

/// A trigger for a worker.
#[derive(Clone, Debug)]
pub struct WorkerTrigger {
    pub node_id: Arc<str>,
    pub payload: Payload,
    pub ack_timeout_nanos: u64,
    /// At most so many unacked with one worker.
    pub max_in_flight: u32,
    /// Triggers with the same one stay with one worker: the place of a WebSocket. `last` ends it. Such a trigger has no
    /// `expires_nanos`.
    pub affinity: Option<Affinity>,
    /// The caller's `replyId`, where a reply is awaited.
    pub reply_id: Option<Arc<str>>,
    /// After this moment nobody waits for it any more.
    pub expires_nanos: Option<u64>,
    /// 1 the first time.
    pub attempt: u32,
}

/// What keeps triggers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// The connection's core and its place there.
    pub key: (u16, Key),
    /// Whether this is the connection's last trigger.
    pub last: bool,
}

/// Something to be done for the queue.
#[derive(Clone, Debug)]
pub enum Order<W> {
    /// Send the trigger to the worker; `seq` is the worker's own. Set a timer for `flight`, to fire at `deadline`, and
    /// tell [`FlowQueue::timed`] of it.
    Send { worker: W, seq: u64, trigger: WorkerTrigger, flight: Key, deadline_nanos: u64 },
    /// The trigger is done with (acked, or nobody waits for it any more): what it took is free.
    Done { bytes: usize },
    /// A timer is not needed any more.
    Cancel(TimerId),
    /// Something that came back waits and is of no use after this moment: call [`FlowQueue::expire`] then.
    Watch { expires_nanos: u64 },
}

struct Worker<W> {
    handle: W,
    credit: u32,
    in_flight: u32,
    next_seq: u64,
    /// It did not ack its last trigger in time: others come first until it acks one.
    is_late: bool,
    /// seq to flight.
    flights: HashMap<u64, Key, ahash::RandomState>,
    /// replyId to the unacked seqs that it answers, oldest first.
    replies: HashMap<Arc<str>, VecDeque<u64>, ahash::RandomState>,
    /// Triggers that must wait for this very worker.
    bound: VecDeque<Item>,
}

/// A trigger with its place in the order of arrival.
struct Item {
    trigger: WorkerTrigger,
    arrival: u64,
    /// The worker that it came back from, which gets it again only if there is no other.
    not: Option<Key>,
}

struct Flight {
    worker: Key,
    seq: u64,
    item: Item,
    timer: Option<TimerId>,
}

/// The place of a WebSocket connection.
type TieKey = (u16, Key);

/// What keeps the triggers of a WebSocket connection together.
#[derive(Default)]
struct Tie {
    /// Its home.
    worker: Option<Key>,
    /// What waits for a home, in order.
    queue: VecDeque<Item>,
    /// Whether it stands in `waiting`: then it has no home and something in its queue.
    is_listed: bool,
    /// Unacked triggers, wherever they are.
    open: u32,
    ended: bool,
}

/// What waits for a worker.
enum Waiting {
    /// A trigger by itself.
    One(Item),
    /// All that a tie has in its queue.
    Tied(TieKey),
}

/// What becomes of a trigger that came back.
enum Back {
    /// It waits with others of its tie that wait.
    Queued,
    /// It is bound to its tie's home.
    Bound(Key),
    /// This is to be put among what waits.
    Waits(Waiting),
}

/// The queue of one flow. `W` is how a worker is reached.
pub struct FlowQueue<W> {
    workers: Slots<Worker<W>>,
    waiting: VecDeque<Waiting>,
    flights: Slots<Flight>,
    ties: HashMap<TieKey, Tie, ahash::RandomState>,
    arrivals: u64,
}

impl<W: Clone> Default for FlowQueue<W> {
    fn default() -> FlowQueue<W> {
        FlowQueue {
            workers: Slots::new(),
            waiting: VecDeque::new(),
            flights: Slots::new(),
            ties: HashMap::default(),
            arrivals: 0,
        }
    }
}

impl<W: Clone> FlowQueue<W> {
    /// A worker attached. It takes nothing until it gives credit.
    pub fn attach(&mut self, handle: W) -> Key {
        self.workers.insert(Worker {
            handle,
            credit: 0,
            in_flight: 0,
            next_seq: 1,
            is_late: false,
            flights: HashMap::default(),
            replies: HashMap::default(),
            bound: VecDeque::new(),
        })
    }

    /// How many workers are attached.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Whether something waits that has no worker yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Triggers that are not acked: waiting, bound and in flight.
    #[must_use]
    pub fn open(&self) -> usize {
        let waiting = self.waiting.iter().map(|waiting| match waiting {
            Waiting::One(_) => 1,
            Waiting::Tied(key) => self.ties.get(key).map_or(0, |tie| tie.queue.len()),
        });
        let bound = self.workers.iter().map(|(_, worker)| worker.bound.len());
        waiting.chain(bound).sum::<usize>() + self.flights.len()
    }

    /// Whether nothing is here and nobody is attached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.waiting.is_empty() && self.flights.is_empty()
    }

    /// A trigger came.
    pub fn offer(&mut self, trigger: WorkerTrigger, now: u64, orders: &mut Vec<Order<W>>) {
        self.arrivals += 1;
        let affinity = trigger.affinity;
        let item = Item { trigger, arrival: self.arrivals, not: None };
        let Some(affinity) = affinity else {
            self.waiting.push_back(Waiting::One(item));
            return self.pump(now, orders);
        };
        let tie = self.ties.entry(affinity.key).or_default();
        tie.open += 1;
        tie.ended |= affinity.last;
        if let Some(home) = tie.worker
            && let Some(worker) = self.workers.get_mut(home)
        {
            worker.bound.push_back(item);
            return self.turn(home, now, orders);
        }
        tie.queue.push_back(item);
        if !std::mem::replace(&mut tie.is_listed, true) {
            self.waiting.push_back(Waiting::Tied(affinity.key));
        }
        self.pump(now, orders);
    }

    /// The worker takes `credit` more.
    pub fn ready(&mut self, worker: Key, credit: u32, now: u64, orders: &mut Vec<Order<W>>) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.credit = worker.credit.saturating_add(credit).min(CREDIT_MAX);
        }
        self.turn(worker, now, orders);
    }

    /// The worker is done with `seq`. False: it has no such trigger.
    pub fn ack(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.is_late = false;
        }
        self.done(&flight.item.trigger, orders);
        self.turn(worker, now, orders);
        true
    }

    /// The oldest trigger with this `replyId` that the worker has not acked, if any.
    #[must_use]
    pub fn seq_of_reply(&self, worker: Key, reply_id: &str) -> Option<u64> {
        self.workers.get(worker)?.replies.get(reply_id)?.front().copied()
    }

    /// The worker does not want `seq`: another gets it. False: it has no such trigger.
    pub fn nack(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        self.again(flight, now, orders);
        self.turn(worker, now, orders);
        true
    }

    /// The timer of a flight fired: its worker was too slow. Nothing if it was acked meanwhile.
    pub fn late(&mut self, flight: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some((worker, seq)) = self.flights.get(flight).map(|flight| (flight.worker, flight.seq)) else {
            return;
        };
        let Some(flight) = self.land(worker, seq, orders) else { return };
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.is_late = true;
        }
        // What else its connection has waiting does not wait for a worker that may hang.
        if let Some(affinity) = flight.item.trigger.affinity
            && self.workers.len() > 1
        {
            self.untie(affinity.key, worker);
        }
        self.again(flight, now, orders);
        self.turn(worker, now, orders);
    }

    /// The timer of a flight was set.
    pub fn timed(&mut self, flight: Key, timer: TimerId) {
        if let Some(flight) = self.flights.get_mut(flight) {
            flight.timer = Some(timer);
        }
    }

    /// Lets go of what waits and nobody waits for any more; says when the next of it is due.
    pub fn expire(&mut self, now: u64, orders: &mut Vec<Order<W>>) -> Option<u64> {
        let mut next: Option<u64> = None;
        self.waiting.retain(|waiting| {
            let Waiting::One(item) = waiting else { return true };
            let Some(expires) = item.trigger.expires_nanos else { return true };
            if expires <= now {
                orders.push(Order::Done { bytes: item.trigger.payload.len() });
                return false;
            }
            next = Some(next.map_or(expires, |next| next.min(expires)));
            true
        });
        next
    }

    /// The flow is gone: nothing of it is delivered any more.
    pub fn clear(&mut self, orders: &mut Vec<Order<W>>) {
        let mut done = |item: Item| orders.push(Order::Done { bytes: item.trigger.payload.len() });
        for waiting in self.waiting.drain(..) {
            if let Waiting::One(item) = waiting {
                done(item);
            }
        }
        self.ties.drain().flat_map(|(_, tie)| tie.queue).for_each(&mut done);
        for (_, worker) in self.workers.iter_mut() {
            worker.bound.drain(..).for_each(&mut done);
            worker.flights.clear();
            worker.replies.clear();
            worker.in_flight = 0;
        }
        let flights: Vec<Key> = self.flights.iter().map(|(key, _)| key).collect();
        for flight in flights.into_iter().filter_map(|key| self.flights.remove(key)) {
            orders.extend(flight.timer.map(Order::Cancel));
            orders.push(Order::Done { bytes: flight.item.trigger.payload.len() });
        }
    }

    /// The worker left: all that it had goes to others, before what waits, oldest first.
    pub fn detach(&mut self, worker: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(mut gone) = self.workers.remove(worker) else { return };
        for tie in self.ties.values_mut().filter(|tie| tie.worker == Some(worker)) {
            tie.worker = None;
        }
        let mut seqs: Vec<(u64, Key)> = gone.flights.drain().collect();
        seqs.sort_unstable_by_key(|(seq, _)| *seq);
        let mut lost: Vec<Item> = Vec::with_capacity(seqs.len() + gone.bound.len());
        for (_, flight) in seqs {
            if let Some(mut flight) = self.flights.remove(flight) {
                flight.item.trigger.attempt += 1;
                flight.item.not = Some(worker);
                orders.extend(flight.timer.map(Order::Cancel));
                orders.extend(watch(&flight.item.trigger));
                lost.push(flight.item);
            }
        }
        lost.extend(gone.bound);
        let mut back = VecDeque::with_capacity(lost.len() + self.waiting.len());
        let mut homes = Vec::new();
        for item in lost {
            match self.put_back(item) {
                Back::Queued => {}
                Back::Bound(home) => homes.push(home),
                Back::Waits(waiting) => back.push_back(waiting),
            }
        }
        back.append(&mut self.waiting);
        self.waiting = back;
        for home in homes {
            self.drain_bound(home, now, orders);
        }
        // A connection that has nothing here makes itself known again with its next trigger.
        self.ties.retain(|_, tie| tie.worker.is_some() || tie.open > 0);
        self.pump(now, orders);
    }

    /// Takes the flight of `seq` off the worker.
    fn land(&mut self, worker: Key, seq: u64, orders: &mut Vec<Order<W>>) -> Option<Flight> {
        let owner = self.workers.get_mut(worker)?;
        let flight = owner.flights.remove(&seq)?;
        owner.in_flight -= 1;
        let flight = self.flights.remove(flight)?;
        if let Some(reply_id) = &flight.item.trigger.reply_id
            && let Some(seqs) = owner.replies.get_mut(reply_id)
        {
            seqs.retain(|other| *other != seq);
            if seqs.is_empty() {
                owner.replies.remove(reply_id);
            }
        }
        orders.extend(flight.timer.map(Order::Cancel));
        Some(flight)
    }

    /// Gives a trigger that failed with one worker to another, before all that waits.
    fn again(&mut self, flight: Flight, now: u64, orders: &mut Vec<Order<W>>) {
        let mut item = flight.item;
        item.trigger.attempt += 1;
        item.not = Some(flight.worker);
        orders.extend(watch(&item.trigger));
        match self.put_back(item) {
            Back::Queued => {}
            Back::Bound(home) => self.drain_bound(home, now, orders),
            Back::Waits(waiting) => self.waiting.push_front(waiting),
        }
    }

    /// Puts a trigger that was with a worker back among those of its tie.
    fn put_back(&mut self, item: Item) -> Back {
        let Some(affinity) = item.trigger.affinity else { return Back::Waits(Waiting::One(item)) };
        let tie = self.ties.entry(affinity.key).or_default();
        if let Some(home) = tie.worker
            && let Some(worker) = self.workers.get_mut(home)
        {
            if item.not == Some(home) {
                // Its connection stays with the worker; only this trigger moves, or comes back if there is no other.
                return Back::Waits(Waiting::One(item));
            }
            insert_in_order(&mut worker.bound, item);
            return Back::Bound(home);
        }
        insert_in_order(&mut tie.queue, item);
        if std::mem::replace(&mut tie.is_listed, true) {
            return Back::Queued;
        }
        Back::Waits(Waiting::Tied(affinity.key))
    }

    /// Takes a connection, with what it has waiting, from its worker.
    fn untie(&mut self, key: TieKey, from: Key) {
        let Some(tie) = self.ties.get_mut(&key).filter(|tie| tie.worker == Some(from)) else { return };
        tie.worker = None;
        let Some(worker) = self.workers.get_mut(from) else { return };
        let (own, others) = std::mem::take(&mut worker.bound).into_iter().partition(|item| item.is_of(key));
        (tie.queue, worker.bound) = (own, others);
    }

    /// The trigger is done with.
    fn done(&mut self, trigger: &WorkerTrigger, orders: &mut Vec<Order<W>>) {
        orders.push(Order::Done { bytes: trigger.payload.len() });
        let Some(affinity) = trigger.affinity else { return };
        if let Some(tie) = self.ties.get_mut(&affinity.key) {
            tie.open = tie.open.saturating_sub(1);
            if tie.ended && tie.open == 0 {
                self.ties.remove(&affinity.key);
            }
        }
    }

    /// A worker has more room than before, or something waits anew.
    fn turn(&mut self, worker: Key, now: u64, orders: &mut Vec<Order<W>>) {
        self.drain_bound(worker, now, orders);
        self.pump(now, orders);
    }

    /// Sends what waits for this very worker, as far as it takes it.
    fn drain_bound(&mut self, key: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let alone = self.workers.len() == 1;
        while let Some(worker) = self.workers.get_mut(key)
            && let Some(first) = worker.bound.front()
        {
            let elsewhere = first.not == Some(key) && !alone;
            if !elsewhere && !worker.takes(&first.trigger) {
                return;
            }
            let Some(item) = worker.bound.pop_front() else { return };
            if elsewhere {
                self.waiting.push_front(Waiting::One(item));
            } else {
                self.send(key, item, now, orders);
            }
        }
    }

    /// Sends what waits and may go.
    fn pump(&mut self, now: u64, orders: &mut Vec<Order<W>>) {
        let mut skipped = 0;
        while skipped < self.waiting.len().min(LOOK_AHEAD) {
            // Without credit there is nothing to look for.
            if !self.workers.iter().any(|(_, worker)| worker.credit > 0) {
                return;
            }
            let first = match &self.waiting[skipped] {
                Waiting::One(item) => Some(item),
                Waiting::Tied(key) => self.ties.get(key).and_then(|tie| tie.queue.front()),
            };
            let Some(first) = first else {
                self.waiting.remove(skipped);
                continue;
            };
            if first.trigger.expires_nanos.is_some_and(|expires| expires <= now) {
                if let Some(Waiting::One(item)) = self.waiting.remove(skipped) {
                    self.done(&item.trigger, orders);
                }
                continue;
            }
            let Some(chosen) = self.choose(first) else {
                skipped += 1;
                continue;
            };
            match self.waiting.remove(skipped) {
                Some(Waiting::One(item)) => self.send(chosen, item, now, orders),
                Some(Waiting::Tied(key)) => self.tie(key, chosen, now, orders),
                None => return,
            }
        }
    }

    /// Gives a connection its home, and the home what the connection has waiting.
    fn tie(&mut self, key: TieKey, home: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(tie) = self.ties.get_mut(&key) else { return };
        tie.worker = Some(home);
        tie.is_listed = false;
        let queue = std::mem::take(&mut tie.queue);
        if let Some(worker) = self.workers.get_mut(home) {
            worker.bound.extend(queue);
        }
        self.drain_bound(home, now, orders);
    }

    /// The least loaded worker that may take the trigger; not the one that it came back from, unless there is no other.
    fn choose(&self, item: &Item) -> Option<Key> {
        let others = self.workers.iter().any(|(key, _)| Some(key) != item.not);
        self.workers
            .iter()
            .filter(|(key, _)| !others || Some(*key) != item.not)
            .filter(|(_, worker)| worker.takes(&item.trigger))
            .min_by_key(|(_, worker)| (worker.is_late, worker.in_flight, worker.next_seq))
            .map(|(key, _)| key)
    }

    /// Sends to a worker that takes it.
    fn send(&mut self, key: Key, item: Item, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(worker) = self.workers.get_mut(key) else {
            self.waiting.push_front(Waiting::One(item));
            return;
        };
        let seq = worker.next_seq;
        worker.next_seq += 1;
        worker.credit -= 1;
        worker.in_flight += 1;
        let trigger = item.trigger.clone();
        let deadline_nanos = now.saturating_add(trigger.ack_timeout_nanos);
        let flight = self.flights.insert(Flight { worker: key, seq, item, timer: None });
        worker.flights.insert(seq, flight);
        if let Some(reply_id) = &trigger.reply_id {
            worker.replies.entry(Arc::clone(reply_id)).or_default().push_back(seq);
        }
        orders.push(Order::Send { worker: worker.handle.clone(), seq, trigger, flight, deadline_nanos });
    }
}

impl<W> Worker<W> {
    /// Whether the trigger may be sent to it now.
    fn takes(&self, trigger: &WorkerTrigger) -> bool {
        self.credit > 0 && self.in_flight < trigger.max_in_flight
    }
}

impl Item {
    fn is_of(&self, tie: TieKey) -> bool {
        self.trigger.affinity.is_some_and(|affinity| affinity.key == tie)
    }
}

/// What is to be watched while the trigger waits anew.
fn watch<W>(trigger: &WorkerTrigger) -> Option<Order<W>> {
    trigger.expires_nanos.map(|expires_nanos| Order::Watch { expires_nanos })
}

/// Puts a trigger that came back behind those of its tie that came before it, or in front of all.
fn insert_in_order(queue: &mut VecDeque<Item>, item: Item) {
    let earlier = |other: &Item| {
        other.arrival < item.arrival
            && item.trigger.affinity.is_some_and(|affinity| other.is_of(affinity.key))
    };
    let at = queue.iter().rposition(earlier).map_or(0, |last| last + 1);
    queue.insert(at, item);
}

#[cfg(test)]
mod tests;

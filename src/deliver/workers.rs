//! Which attached worker gets which trigger: the queue of one flow, kept by one core (the flow's home). Triggers,
//! credits, acks and departures of all cores come here as calls; what is to be sent or timed comes out as values.
//!
//! ```text
//! offer ─▶ waiting ─▶ in flight (with one worker) ─ack─▶ done
//!             ▲              │ nack, late, worker gone: attempt + 1, to another
//!             └──────────────┘
//! ```
//!
//! **Invariants**: a trigger is in exactly one of `waiting`, a worker's `bound` queue, or in flight; a worker never
//! holds more than its credit or the node's `maxInFlight`; triggers of one affinity (a WebSocket connection) go to
//! one worker, in order, while that worker lasts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::waiting::{Entry, Waiting};
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;
use crate::trigger::Payload;

/// Credits that a worker may pile up; more are not counted (they add up, and a worker could overflow them).
pub const CREDIT_MAX: u32 = 1_000_000;
/// Waiting triggers that are looked at for one that may go out, when the first ones may not.
const LOOK_AHEAD: usize = 64;

/// A trigger for a worker.
#[derive(Clone, Debug)]
pub struct WorkerTrigger {
    pub node_id: Arc<str>,
    pub payload: Payload,
    pub ack_timeout_nanos: u64,
    /// At most so many unacked with one worker.
    pub max_in_flight: u32,
    /// Triggers with the same one stay with one worker: the place of a WebSocket. `last` ends it.
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
}

struct Worker<W> {
    handle: W,
    credit: u32,
    in_flight: u32,
    next_seq: u64,
    /// seq to flight.
    flights: HashMap<u64, Key, ahash::RandomState>,
    /// replyId to the unacked seqs that it answers, oldest first.
    replies: HashMap<Arc<str>, VecDeque<u64>, ahash::RandomState>,
    /// Triggers that must wait for this very worker.
    bound: VecDeque<WorkerTrigger>,
}

struct Flight {
    worker: Key,
    seq: u64,
    trigger: WorkerTrigger,
    timer: Option<TimerId>,
}

struct Home {
    worker: Key,
    /// Triggers of the affinity that are bound or in flight.
    open: u32,
    ended: bool,
}

/// The queue of one flow. `W` is how a worker is reached.
pub struct FlowQueue<W> {
    workers: Slots<Worker<W>>,
    waiting: Waiting,
    flights: Slots<Flight>,
    homes: HashMap<(u16, Key), Home, ahash::RandomState>,
}

impl<W: Clone> Default for FlowQueue<W> {
    fn default() -> FlowQueue<W> {
        FlowQueue {
            workers: Slots::new(),
            waiting: Waiting::default(),
            flights: Slots::new(),
            homes: HashMap::default(),
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

    /// Triggers that no worker has yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Triggers that are not acked: waiting, bound and in flight.
    #[must_use]
    pub fn open(&self) -> usize {
        self.waiting.len()
            + self.flights.len()
            + self.workers.iter().map(|(_, worker)| worker.bound.len()).sum::<usize>()
    }

    /// Whether nothing is here and nobody is attached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.len() == 0 && self.waiting.is_empty() && self.flights.len() == 0
    }

    /// A trigger came.
    pub fn offer(&mut self, trigger: WorkerTrigger, now: u64, orders: &mut Vec<Order<W>>) {
        self.enqueue(trigger, None);
        self.pump(now, orders);
    }

    /// The worker takes `credit` more.
    pub fn ready(&mut self, worker: Key, credit: u32, now: u64, orders: &mut Vec<Order<W>>) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.credit = worker.credit.saturating_add(credit).min(CREDIT_MAX);
        }
        self.pump(now, orders);
    }

    /// The worker is done with `seq`. False: it has no such trigger.
    pub fn ack(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        self.close_affinity(&flight.trigger);
        orders.push(Order::Done { bytes: flight.trigger.payload.len() });
        self.pump(now, orders);
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
        self.again(flight);
        self.pump(now, orders);
        true
    }

    /// The timer of a flight fired: its worker was too slow. Nothing if it was acked meanwhile.
    pub fn late(&mut self, flight: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some((worker, seq)) = self.flights.get(flight).map(|flight| (flight.worker, flight.seq)) else {
            return;
        };
        if let Some(flight) = self.land(worker, seq, orders) {
            self.again(flight);
        }
        self.pump(now, orders);
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
        self.waiting.retain(|trigger| match trigger.expires_nanos {
            Some(expires) if expires <= now => {
                orders.push(Order::Done { bytes: trigger.payload.len() });
                false
            }
            Some(expires) => {
                next = Some(next.map_or(expires, |next| next.min(expires)));
                true
            }
            None => true,
        });
        next
    }

    /// The flow is gone: nothing of it is delivered any more.
    pub fn clear(&mut self, orders: &mut Vec<Order<W>>) {
        let bound: Vec<WorkerTrigger> =
            self.workers.iter_mut().flat_map(|(_, worker)| worker.bound.drain(..)).collect();
        let waiting = self.waiting.take().into_iter().map(|(trigger, _)| trigger);
        orders.extend(waiting.chain(bound).map(|trigger| Order::Done { bytes: trigger.payload.len() }));
        let flights: Vec<Key> = self.flights.iter().map(|(key, _)| key).collect();
        for flight in flights.into_iter().filter_map(|key| self.flights.remove(key)) {
            orders.extend(flight.timer.map(Order::Cancel));
            orders.push(Order::Done { bytes: flight.trigger.payload.len() });
        }
        for (_, worker) in self.workers.iter_mut() {
            worker.flights.clear();
            worker.replies.clear();
            worker.in_flight = 0;
        }
        self.homes.clear();
    }

    /// The worker left: all that it had goes to others.
    pub fn detach(&mut self, worker: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(mut gone) = self.workers.remove(worker) else { return };
        self.homes.retain(|_, home| home.worker != worker);
        let mut seqs: Vec<(u64, Key)> = gone.flights.drain().collect();
        seqs.sort_unstable_by_key(|(seq, _)| *seq);
        // What was with it comes before what waits, oldest first.
        let mut back: VecDeque<Entry> = VecDeque::new();
        for (_, flight) in seqs {
            if let Some(mut flight) = self.flights.remove(flight) {
                flight.trigger.attempt += 1;
                orders.extend(flight.timer.map(Order::Cancel));
                back.push_back((flight.trigger, None));
            }
        }
        back.extend(gone.bound.drain(..).map(|trigger| (trigger, None)));
        back.append(&mut self.waiting.take());
        back.into_iter().for_each(|entry| self.waiting.push_back(entry));
        self.pump(now, orders);
    }

    /// Takes the flight of `seq` off the worker.
    fn land(&mut self, worker: Key, seq: u64, orders: &mut Vec<Order<W>>) -> Option<Flight> {
        let owner = self.workers.get_mut(worker)?;
        let flight = owner.flights.remove(&seq)?;
        owner.in_flight -= 1;
        let flight = self.flights.remove(flight)?;
        if let Some(reply_id) = &flight.trigger.reply_id
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

    /// Gives a trigger that failed with one worker to another.
    fn again(&mut self, flight: Flight) {
        let mut trigger = flight.trigger;
        trigger.attempt += 1;
        if let Some(affinity) = trigger.affinity {
            // Its connection stays with the worker; only this trigger moves, or comes back if there is no other.
            if let Some(home) = self.homes.get_mut(&affinity.key) {
                home.open = home.open.saturating_sub(1);
            }
        }
        self.waiting.push_front((trigger, Some(flight.worker)));
    }

    fn enqueue(&mut self, trigger: WorkerTrigger, not: Option<Key>) {
        if let Some(affinity) = trigger.affinity
            // What waits for a worker's credit goes first, though the worker is known since an earlier one got it.
            && !self.waiting.has_of(affinity.key)
            && let Some(home) = self.homes.get_mut(&affinity.key)
            && let Some(worker) = self.workers.get_mut(home.worker)
        {
            home.open += 1;
            home.ended |= affinity.last;
            worker.bound.push_back(trigger);
            return;
        }
        self.waiting.push_back((trigger, not));
    }

    fn close_affinity(&mut self, trigger: &WorkerTrigger) {
        let Some(affinity) = trigger.affinity else { return };
        if let Some(home) = self.homes.get_mut(&affinity.key) {
            home.open = home.open.saturating_sub(1);
            if home.ended && home.open == 0 {
                self.homes.remove(&affinity.key);
            }
        }
    }

    /// Sends all that may go.
    fn pump(&mut self, now: u64, orders: &mut Vec<Order<W>>) {
        let keys: Vec<Key> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.credit > 0 && !worker.bound.is_empty())
            .map(|(key, _)| key)
            .collect();
        for key in keys {
            while let Some(trigger) = self.take_bound(key) {
                self.send(key, trigger, now, orders);
            }
        }
        let mut skipped = 0;
        while skipped < self.waiting.len().min(LOOK_AHEAD) {
            let Some((trigger, not)) = self.waiting.get(skipped) else { break };
            if trigger.expires_nanos.is_some_and(|expires| expires <= now) {
                let bytes = trigger.payload.len();
                self.waiting.remove(skipped);
                orders.push(Order::Done { bytes });
                continue;
            }
            // Triggers of a connection that another of its triggers waits before must not overtake it.
            let overtakes =
                trigger.affinity.is_some_and(|affinity| self.waiting.is_among_first(skipped, affinity.key));
            let chosen = if overtakes { None } else { self.choose(trigger, *not) };
            let Some(worker) = chosen else {
                skipped += 1;
                continue;
            };
            let Some((trigger, _)) = self.waiting.remove(skipped) else { break };
            if let Some(affinity) = trigger.affinity {
                let home = self.homes.entry(affinity.key).or_insert(Home { worker, open: 0, ended: false });
                home.open += 1;
                home.ended |= affinity.last;
            }
            self.send(worker, trigger, now, orders);
        }
    }

    fn take_bound(&mut self, key: Key) -> Option<WorkerTrigger> {
        let worker = self.workers.get_mut(key)?;
        let limit = worker.bound.front()?.max_in_flight;
        if worker.credit == 0 || worker.in_flight >= limit {
            return None;
        }
        worker.bound.pop_front()
    }

    /// The least loaded worker that may take the trigger; not `not`, unless there is no other attached.
    fn choose(&self, trigger: &WorkerTrigger, not: Option<Key>) -> Option<Key> {
        let others = self.workers.iter().any(|(key, _)| Some(key) != not);
        let home =
            trigger.affinity.and_then(|affinity| self.homes.get(&affinity.key)).map(|home| home.worker);
        self.workers
            .iter()
            .filter(|(key, _)| !others || Some(*key) != not)
            .filter(|(key, _)| home.is_none_or(|home| home == *key || Some(home) == not))
            .filter(|(_, worker)| worker.credit > 0 && worker.in_flight < trigger.max_in_flight)
            .min_by_key(|(_, worker)| (worker.in_flight, worker.next_seq))
            .map(|(key, _)| key)
    }

    fn send(&mut self, key: Key, trigger: WorkerTrigger, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(worker) = self.workers.get_mut(key) else {
            self.waiting.push_front((trigger, None));
            return;
        };
        let seq = worker.next_seq;
        worker.next_seq += 1;
        worker.credit -= 1;
        worker.in_flight += 1;
        let deadline_nanos = now.saturating_add(trigger.ack_timeout_nanos);
        let flight = self.flights.insert(Flight { worker: key, seq, trigger: trigger.clone(), timer: None });
        worker.flights.insert(seq, flight);
        if let Some(reply_id) = &trigger.reply_id {
            worker.replies.entry(Arc::clone(reply_id)).or_default().push_back(seq);
        }
        orders.push(Order::Send { worker: worker.handle.clone(), seq, trigger, flight, deadline_nanos });
    }
}

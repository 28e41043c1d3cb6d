//! Which attached worker gets which trigger: the queue of one flow, kept by one core (the flow's home). Triggers,
//! credits, acks and departures of all cores come here as calls; what is to be sent or timed comes out as values.
//!
//! ```text
//! offer ─▶ waiting ─▶ in flight (with one worker) ─ack─▶ done
//!             ▲              │ nack, late, worker gone: attempt + 1, to another
//!             └──────────────┘
//! ```
//!
//! Each node has a queue of its own ([`NodeQueue`]), so that a node whose workers are busy or whose `maxInFlight` is
//! reached holds back no other. Where a worker may choose, it gets what arrived first.
//!
//! Triggers of one WebSocket connection share a [`Tie`]. Those that wait are in the tie's own lane of their node, which
//! stands once in the node's queue: for any worker until one is the connection's home, and for that one from then on. So
//! they cannot overtake each other, and a connection whose worker is busy holds back nobody else.
//!
//! **Invariants**: a trigger is in exactly one of a node's queue, a tie's lane, or in flight; a worker never holds more than
//! its credit or, of one node, that node's `maxInFlight`; triggers of one tie and node go out in order to one worker,
//! except that one which came back goes before those that have not gone out; nothing waits that a worker may take.
//!
//! A step costs the logarithm of what waits, times the workers and those nodes that have something waiting: acks and
//! departures cost in proportion to the triggers that they are about.

mod item;
mod lending;
mod sending;
mod waiting;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use self::item::{Guest, Order, RecordedEnd, ReplyUnclear, WorkerTrigger};
use self::item::{Item, ItemInFlight, List, Tie, TieKey, came_back, recorded_end};
use self::waiting::{NodeQueue, QueueEntry};
pub use super::affinity::Affinity;
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;

/// Credits that a worker may pile up; more are not counted (they add up, and a worker could overflow them).
pub const CREDIT_MAX: u32 = 1_000_000;

struct Worker<W> {
    handle: W,
    credit: u32,
    in_flight: u32,
    next_seq: u64,
    /// It did not ack its last trigger in time: others come first until it acks one.
    is_late: bool,
    /// It is another node's.
    is_lent: bool,
    /// It was told that a reply has to name its `seq`.
    is_told_of_seq: bool,
    /// seq to flight.
    flights: HashMap<u64, Key, ahash::RandomState>,
    /// The unacked triggers of each `replyId`.
    replies: HashMap<Arc<str>, Unacked, ahash::RandomState>,
}

/// Unacked triggers that share a `replyId`.
#[derive(Default)]
struct Unacked {
    count: u32,
    /// All of their seqs, xored: of a single one, its seq.
    seqs: u64,
}

/// The queue of one flow. `W` is how a worker is reached.
pub struct FlowQueue<W> {
    workers: Slots<Worker<W>>,
    flights: Slots<ItemInFlight>,
    /// Those that have something waiting or in flight.
    nodes: HashMap<Arc<str>, NodeQueue, ahash::RandomState>,
    ties: HashMap<TieKey, Tie, ahash::RandomState>,
    /// The triggers that wait and have an end: its moment, then their arrival; and their node.
    expiring: BTreeMap<(u64, u64), Arc<str>>,
    /// How many triggers wait.
    waiting: usize,
    arrivals: u64,
}

impl<W: Clone> Default for FlowQueue<W> {
    fn default() -> FlowQueue<W> {
        FlowQueue {
            workers: Slots::new(),
            flights: Slots::new(),
            nodes: HashMap::default(),
            ties: HashMap::default(),
            expiring: BTreeMap::new(),
            waiting: 0,
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
            is_lent: false,
            is_told_of_seq: false,
            flights: HashMap::default(),
            replies: HashMap::default(),
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
        self.nodes.values().any(NodeQueue::is_waiting)
    }

    /// Triggers that are not acked: waiting and in flight.
    #[must_use]
    pub fn open(&self) -> usize {
        self.waiting + self.flights.len()
    }

    /// Whether nothing is here and nobody is attached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty() && self.open() == 0
    }

    /// A trigger came.
    pub fn offer(&mut self, trigger: WorkerTrigger, now: u64, orders: &mut Vec<Order<W>>) {
        self.arrivals += 1;
        let node = Arc::clone(&trigger.node_id);
        let queue =
            self.nodes.entry(Arc::clone(&node)).or_insert_with(|| NodeQueue::new(trigger.max_in_flight));
        let before = std::mem::replace(&mut queue.max_in_flight, trigger.max_in_flight);
        if trigger.max_in_flight > before {
            self.pump_node(&node, now, orders);
        }
        if let Some(affinity) = trigger.affinity {
            let tie = self.ties.entry(affinity.key).or_default();
            tie.open += 1;
            tie.ended |= affinity.last;
        }
        self.place(Item { trigger, arrival: self.arrivals, not: None }, now, orders);
    }

    /// The worker takes `credit` more.
    pub fn ready(&mut self, worker: Key, credit: u32, now: u64, orders: &mut Vec<Order<W>>) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.credit = worker.credit.saturating_add(credit).min(CREDIT_MAX);
        }
        self.fill(worker, None, now, orders);
    }

    /// The worker is done with `seq`. Returns `false` if it has no such trigger.
    pub fn ack(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.is_late = false;
        }
        self.done(&flight.item.trigger, true, orders);
        self.fill(worker, Some(&flight.item.trigger.node_id), now, orders);
        true
    }

    /// The worker sent a reply, which acks the trigger that it answers: the one that it names by `seq`, or the worker's
    /// only unacked one with this `replyId`. A reply to a trigger that is acked already acks nothing more.
    ///
    /// # Errors
    /// [`ReplyUnclear`] where it names none and several could be meant, once for each worker: any of them that was acked
    /// by a guess could be one that the worker has not done.
    pub fn replied(
        &mut self,
        worker: Key,
        reply_id: &str,
        seq: Option<u64>,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> Result<(), ReplyUnclear> {
        let Some(known) = self.workers.get_mut(worker) else { return Ok(()) };
        let seq = match (seq, known.replies.get(reply_id)) {
            (Some(seq), _) => seq,
            (None, None) => return Ok(()),
            (None, Some(&Unacked { count: 1, seqs })) => seqs,
            (None, Some(&Unacked { count, .. })) => {
                let is_told = std::mem::replace(&mut known.is_told_of_seq, true);
                return if is_told { Ok(()) } else { Err(ReplyUnclear { unacked: count }) };
            }
        };
        self.ack(worker, seq, now, orders);
        Ok(())
    }

    /// The worker does not want `seq`: another gets it. Returns `false` if it has no such trigger.
    pub fn nack(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        let node = Arc::clone(&flight.item.trigger.node_id);
        if let Some(item) = came_back(flight, orders) {
            self.place(item, now, orders);
        }
        self.fill(worker, Some(&node), now, orders);
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
        let (affinity, node) = (flight.item.trigger.affinity, Arc::clone(&flight.item.trigger.node_id));
        let Some(item) = came_back(flight, orders) else {
            return self.fill(worker, Some(&node), now, orders);
        };
        // What else its connection has waiting does not wait for a worker that may hang.
        if let Some(affinity) = affinity
            && self.workers.len() > 1
            && let Some(tie) = self.ties.get_mut(&affinity.key).filter(|tie| tie.worker == Some(worker))
        {
            tie.worker = None;
            self.list_lanes(affinity.key);
            self.enqueue(item);
            return self.pump(now, orders);
        }
        self.place(item, now, orders);
        self.fill(worker, Some(&node), now, orders);
    }

    /// The timer of a flight was set.
    pub fn timed(&mut self, flight: Key, timer: TimerId) {
        if let Some(flight) = self.flights.get_mut(flight) {
            flight.timer = Some(timer);
        }
    }

    /// Lets go of what waits and nobody waits for any more; says when the next of it is due.
    pub fn expire(&mut self, now: u64, orders: &mut Vec<Order<W>>) -> Option<u64> {
        while let Some((&(expires, arrival), node)) = self.expiring.first_key_value() {
            if expires > now {
                return Some(expires);
            }
            let node = Arc::clone(node);
            self.expiring.pop_first();
            if let Some(item) = self.nodes.get_mut(&node).and_then(|queue| queue.remove_one(arrival)) {
                self.waiting -= 1;
                self.done(&item.trigger, false, orders);
            }
            self.tidy(&node);
        }
        None
    }

    /// The flow is gone: nothing of it is delivered any more.
    pub fn clear(&mut self, orders: &mut Vec<Order<W>>) {
        let alone = self.nodes.drain().flat_map(|(_, queue)| queue.into_items());
        let lanes = self.ties.drain().flat_map(|(_, tie)| tie.lanes.into_values());
        let waiting = alone.chain(lanes.flat_map(|lane| lane.queue.into_values()));
        orders.extend(waiting.map(|item| dropped(&item.trigger)));
        self.expiring.clear();
        self.waiting = 0;
        for (_, worker) in self.workers.iter_mut() {
            worker.flights.clear();
            worker.replies.clear();
            worker.in_flight = 0;
        }
        let flights: Vec<Key> = self.flights.iter().map(|(key, _)| key).collect();
        for flight in flights.into_iter().filter_map(|key| self.flights.remove(key)) {
            orders.extend(flight.timer.map(Order::Cancel));
            orders.push(dropped(&flight.item.trigger));
        }
    }

    /// The worker left: all that it had goes to others, in the order of arrival.
    pub fn detach(&mut self, worker: Key, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(mut gone) = self.workers.remove(worker) else { return };
        let ties = self.ties.iter().filter(|(_, tie)| tie.is_about(worker));
        for key in ties.map(|(key, _)| *key).collect::<Vec<TieKey>>() {
            if let Some(tie) = self.ties.get_mut(&key) {
                tie.worker = tie.worker.filter(|home| *home != worker);
            }
            self.list_lanes(key);
        }
        for queue in self.nodes.values_mut() {
            queue.forget(worker);
        }
        let mut seqs: Vec<(u64, Key)> = gone.flights.drain().collect();
        seqs.sort_unstable_by_key(|(seq, _)| *seq);
        for (_, flight) in seqs {
            if let Some(flight) = self.flights.remove(flight) {
                orders.extend(flight.timer.map(Order::Cancel));
                if let Some(item) = came_back(flight, orders) {
                    self.enqueue(item);
                }
            }
        }
        // A connection that has nothing here makes itself known again with its next trigger.
        self.ties.retain(|_, tie| tie.worker.is_some() || tie.open > 0);
        self.nodes.retain(|_, queue| !queue.is_empty());
        self.pump(now, orders);
    }

    /// Takes the flight of `seq` off the worker.
    fn land(&mut self, worker: Key, seq: u64, orders: &mut Vec<Order<W>>) -> Option<ItemInFlight> {
        let owner = self.workers.get_mut(worker)?;
        let flight = owner.flights.remove(&seq)?;
        owner.in_flight -= 1;
        let flight = self.flights.remove(flight)?;
        let trigger = &flight.item.trigger;
        if let Some(reply_id) = &trigger.reply_id
            && let Some(unacked) = owner.replies.get_mut(reply_id)
        {
            unacked.count -= 1;
            unacked.seqs ^= seq;
            if unacked.count == 0 {
                owner.replies.remove(reply_id);
            }
        }
        if let Some(queue) = self.nodes.get_mut(&trigger.node_id) {
            queue.landed(worker);
        }
        orders.extend(flight.timer.map(Order::Cancel));
        Some(flight)
    }

    /// The trigger is done with: acked, or nobody waits for it any more.
    fn done(&mut self, trigger: &WorkerTrigger, is_acked: bool, orders: &mut Vec<Order<W>>) {
        let acked = (is_acked && trigger.behind.is_some()).then(|| Box::new(trigger.clone()));
        let recorded = recorded_end(trigger, is_acked);
        let (bytes, receipt, guest) = (trigger.payload.kept_len(), trigger.receipt, trigger.guest);
        orders.push(Order::Done { bytes, acked, receipt, recorded, guest });
        let Some(affinity) = trigger.affinity else { return };
        if let Some(tie) = self.ties.get_mut(&affinity.key) {
            tie.open = tie.open.saturating_sub(1);
            if tie.ended && tie.open == 0 {
                self.ties.remove(&affinity.key);
            }
        }
    }

    /// Forgets a node that has nothing here.
    fn tidy(&mut self, node: &Arc<str>) {
        if self.nodes.get(node).is_some_and(NodeQueue::is_empty) {
            self.nodes.remove(node);
        }
    }

    /// Puts a trigger among what waits.
    fn enqueue(&mut self, item: Item) {
        self.waiting += 1;
        let max_in_flight = item.trigger.max_in_flight;
        let node = Arc::clone(&item.trigger.node_id);
        self.nodes.entry(Arc::clone(&node)).or_insert_with(|| NodeQueue::new(max_in_flight));
        let Some(affinity) = item.trigger.affinity else { return self.enqueue_alone(item) };
        let tie = self.ties.entry(affinity.key).or_default();
        if tie.worker.is_some() && tie.worker == item.not {
            // Its connection stays with the worker; only this trigger moves, or comes back if there is no other.
            return self.enqueue_alone(item);
        }
        tie.push(item);
        self.list_lane(affinity.key, &node);
    }

    fn enqueue_alone(&mut self, item: Item) {
        let node = Arc::clone(&item.trigger.node_id);
        if let Some(expires) = item.trigger.expires_nanos {
            self.expiring.insert((expires, item.arrival), Arc::clone(&node));
        }
        let list = self.list_of(item.not);
        if let Some(queue) = self.nodes.get_mut(&node) {
            queue.insert(list, item.arrival, QueueEntry::One(Box::new(item)));
        }
    }

    /// Where something waits that came back from a worker, or from none that is still there.
    fn list_of(&self, not: Option<Key>) -> List {
        not.filter(|worker| self.workers.get(*worker).is_some()).map_or(List::Free, List::Except)
    }

    /// Gives all lanes of a connection their places in the queues of their nodes.
    fn list_lanes(&mut self, key: TieKey) {
        let nodes =
            self.ties.get(&key).map(|tie| tie.lanes.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        for node in nodes {
            self.list_lane(key, &node);
        }
    }

    /// Gives a lane its place in the queue of its node; an empty one is dropped.
    fn list_lane(&mut self, key: TieKey, node: &Arc<str>) {
        let Some(tie) = self.ties.get(&key) else { return };
        let Some(lane) = tie.lanes.get(node) else { return };
        let before = lane.place;
        let first = lane.queue.first_key_value().map(|(arrival, item)| (*arrival, item.not));
        let place = first.map(|(arrival, not)| match tie.worker {
            Some(home) => (List::Only(home), arrival),
            None => (self.list_of(not), arrival),
        });
        if place == before && place.is_some() {
            return;
        }
        let Some(queue) = self.nodes.get_mut(node) else { return };
        if let Some((list, arrival)) = before {
            queue.remove(list, arrival);
        }
        if let Some((list, arrival)) = place {
            queue.insert(list, arrival, QueueEntry::Lane(key));
        }
        let Some(tie) = self.ties.get_mut(&key) else { return };
        if place.is_none() {
            tie.lanes.remove(node);
        } else if let Some(lane) = tie.lanes.get_mut(node) {
            lane.place = place;
        }
    }
}

/// A trigger is dropped, as done with.
fn dropped<W>(trigger: &WorkerTrigger) -> Order<W> {
    let recorded = recorded_end(trigger, false);
    let WorkerTrigger { receipt, guest, .. } = *trigger;
    Order::Done { bytes: trigger.payload.kept_len(), acked: None, receipt, recorded, guest }
}

#[cfg(test)]
mod tests;

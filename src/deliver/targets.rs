//! Which trigger is sent to which target, and when: the queues of all nodes that forward, kept by the core that owns their
//! flows. Triggers, results of attempts and the time come here as calls; what is to be done comes out as values.
//!
//! ```text
//!                  ┌──────────── its pause is over ────────────┐
//!                  ▼                                           │
//! offer ─▶ lane ─▶ ready ─▶ in flight ─ failed, may succeed ─▶ delayed
//!          (ordered)            │ done, or dead ─▶ gone
//! ```
//!
//! Each node has a queue of its own ([`Queue`]) with its `maxInFlight`, its rate and the pause that its target asked for.
//! Triggers with the same order key stand in a lane, of which only the first is ready, delayed or in flight.
//!
//! All queues of a core share [`Targets::in_flight_max`] attempts. A queue may have as many in flight as are free, so that
//! any number of targets that hang leaves room for one that does not: n of them have 1/(n + 1) of all each, and as much
//! stays free. Queues that want more take turns.
//!
//! **Invariants**: a trigger comes out once: done, dead, expired or cleared; a queue never has more in flight than its
//! `maxInFlight`; no two triggers of a lane are in flight, and they go out in the order in which they were offered; nothing
//! that is ready waits unless its queue may not send now.
//!
//! A step costs the logarithm of what waits.

mod queue;
mod rules;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use self::queue::{Queue, SendGate};
pub(crate) use self::rules::TargetRules;
use super::schedule::{AfterFailure, DeadReason, FailedAttempt, after_failure};
use crate::base::id::Id;
use crate::base::random::Random;
use crate::base::slots::{Key, Slots};

/// Queues that get their turn when an attempt has ended: more of them have theirs when the next one ends.
const TURNS_MAX: usize = 16;

/// How long a trigger is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// It is tried until then, and dead after.
    Retention(u64),
    /// A caller waits until then; nothing is sent after, and nothing is tried twice.
    Caller(u64),
}

impl Expiry {
    fn nanos(self) -> u64 {
        match self {
            Expiry::Retention(nanos) | Expiry::Caller(nanos) => nanos,
        }
    }
}

/// A trigger for a node.
#[derive(Clone, Debug)]
pub(crate) struct NewDelivery<T> {
    pub flow: Id,
    pub node: Arc<str>,
    pub rules: TargetRules,
    /// Those with the same key are sent one after the other.
    pub order_key: Option<Box<[u8]>>,
    pub expiry: Expiry,
    /// Attempts that were made before: by an earlier process.
    pub attempts: u32,
    pub item: T,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Done,
    Failed(FailedAttempt),
    /// It failed, and is not tried again: its caller was told.
    GivenUp,
}

/// Something to be done for the queues.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TargetOrder<T> {
    /// Make an attempt (1 the first time); tell [`Targets::landed`] how it ended.
    Send { delivery: Key, attempt: u32 },
    /// The trigger was delivered.
    Done { item: T },
    /// It was not, and nobody waits for it any more.
    Expired { item: T },
    /// It was given up after so many attempts.
    Dead { item: T, reason: DeadReason, attempts: u32 },
}

/// State of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Another one of its lane is before it.
    Lane,
    Ready,
    Delayed {
        until: u64,
    },
    InFlight,
}

struct QueuedDelivery<T> {
    queue: Key,
    arrival: u64,
    attempts: u32,
    expiry: Expiry,
    order_key: Option<Box<[u8]>>,
    state: State,
    item: T,
}

/// The queues of one core.
pub(crate) struct Targets<T> {
    deliveries: Slots<QueuedDelivery<T>>,
    queues: Slots<Queue>,
    by_node: HashMap<(Id, Arc<str>), Key, ahash::RandomState>,
    /// By the time at which something is due, and the number of the queue.
    deadlines: BTreeMap<(u64, u64), Key>,
    /// Queues that would send more if more attempts could be in flight, in the order of their turns.
    blocked: VecDeque<Key>,
    in_flight: usize,
    in_flight_max: usize,
    /// Numbers triggers and queues.
    arrivals: u64,
    random: Random,
}

impl<T> Targets<T> {
    /// No queues, which may have so many attempts in flight together.
    #[must_use]
    pub(crate) fn new(in_flight_max: usize, random: Random) -> Targets<T> {
        Targets {
            deliveries: Slots::new(),
            queues: Slots::new(),
            by_node: HashMap::default(),
            deadlines: BTreeMap::new(),
            blocked: VecDeque::new(),
            in_flight: 0,
            in_flight_max,
            arrivals: 0,
            random,
        }
    }

    /// Triggers that are neither done nor dead.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        self.deliveries.len()
    }

    /// Attempts that are under way.
    #[must_use]
    #[cfg(test)]
    fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A trigger that is open.
    #[must_use]
    pub(crate) fn get(&self, delivery: Key) -> Option<&T> {
        self.deliveries.get(delivery).map(|delivery| &delivery.item)
    }

    /// As [`Targets::get`].
    pub(crate) fn get_mut(&mut self, delivery: Key) -> Option<&mut T> {
        self.deliveries.get_mut(delivery).map(|delivery| &mut delivery.item)
    }

    /// When [`Targets::on_time`] has something to do.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first_key_value().map(|((nanos, _), _)| *nanos)
    }

    /// Takes a trigger. The rules of its node are those of the newest one.
    pub(crate) fn offer(&mut self, new: NewDelivery<T>, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        let NewDelivery { flow, node, rules, order_key, expiry, attempts, item } = new;
        self.arrivals += 1;
        let arrival = self.arrivals;
        let queue_key = *self
            .by_node
            .entry((flow, Arc::clone(&node)))
            .or_insert_with(|| self.queues.insert(Queue::new(flow, node, rules, arrival)));
        let Some(queue) = self.queues.get_mut(queue_key) else { return };
        queue.rules = rules;
        let state = State::Lane;
        let delivery = QueuedDelivery { queue: queue_key, arrival, attempts, expiry, order_key, state, item };
        let lane = delivery.order_key.clone();
        let key = self.deliveries.insert(delivery);
        queue.open += 1;
        queue.expiring.insert((expiry.nanos(), arrival), key);
        let is_first = lane.is_none_or(|lane| queue.join_lane(lane, arrival, key));
        if is_first {
            self.make_ready(key);
        }
        self.pump(queue_key, now, orders);
    }

    /// An attempt has ended. Nothing if the trigger is gone.
    pub(crate) fn landed(&mut self, key: Key, end: AttemptEnd, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.state != State::InFlight {
            return;
        }
        let queue_key = delivery.queue;
        let Some(queue) = self.queues.get_mut(queue_key) else { return };
        queue.in_flight.remove(&key);
        self.in_flight -= 1;
        match end {
            AttemptEnd::Done => self.finish(key, orders, |item, _| TargetOrder::Done { item }),
            AttemptEnd::GivenUp => self.finish(key, orders, |item, _| TargetOrder::Expired { item }),
            AttemptEnd::Failed(failed) => {
                if let Some(pause) = failed.retry_after_nanos {
                    queue.paused_until = queue.paused_until.max(now.saturating_add(pause));
                }
                let (rules, attempts) = (queue.rules.retry, delivery.attempts);
                let ends = delivery.expiry.nanos();
                match after_failure(rules, attempts, failed, ends, now, &mut self.random) {
                    AfterFailure::RetryAt { nanos } => {
                        delivery.state = State::Delayed { until: nanos };
                        queue.delayed.insert((nanos, delivery.arrival), key);
                        queue.expiring.insert((ends, delivery.arrival), key);
                    }
                    AfterFailure::Dead(reason) => self
                        .finish(key, orders, |item, attempts| TargetOrder::Dead { item, reason, attempts }),
                }
            }
        }
        // Those that have waited for a turn go before one more of this queue.
        self.give_turns(now, orders);
        self.pump(queue_key, now, orders);
    }

    /// Does what has become due.
    pub(crate) fn on_time(&mut self, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        while let Some((&(nanos, number), &queue_key)) = self.deadlines.first_key_value() {
            if nanos > now {
                return;
            }
            self.deadlines.remove(&(nanos, number));
            if let Some(queue) = self.queues.get_mut(queue_key) {
                queue.deadline = None;
                let due = queue.take_due(now);
                due.into_iter().for_each(|key| self.make_ready(key));
                self.pump(queue_key, now, orders);
            }
        }
    }

    /// Gives a node other rules: it was changed.
    pub(crate) fn set_rules(&mut self, delivery: Key, rules: TargetRules) {
        let queue = self.deliveries.get(delivery).map(|delivery| delivery.queue);
        if let Some(queue) = queue.and_then(|queue| self.queues.get_mut(queue)) {
            queue.rules = rules;
        }
    }

    /// The flows that have something here, each as often as it has nodes.
    pub(crate) fn flows(&self) -> impl Iterator<Item = Id> {
        self.queues.iter().map(|(_, queue)| queue.flow)
    }

    /// The flow is gone: returns all that it has here. The results of its attempts are of no use.
    pub(crate) fn clear(&mut self, flow: Id, now: u64, orders: &mut Vec<TargetOrder<T>>) -> Vec<T> {
        let of_flow = self.queues.iter().filter(|(_, queue)| queue.flow == flow);
        let keys: Vec<Key> = of_flow.map(|(key, _)| key).collect();
        let mut cleared = Vec::new();
        for key in &keys {
            let Some(queue) = self.queues.remove(*key) else { continue };
            self.in_flight -= queue.in_flight.len();
            let open = queue.keys().filter_map(|key| self.deliveries.remove(key));
            cleared.extend(open.map(|delivery| delivery.item));
            self.by_node.remove(&(queue.flow, Arc::clone(&queue.node)));
            if let Some(deadline) = queue.deadline {
                self.deadlines.remove(&(deadline, queue.number));
            }
        }
        self.blocked.retain(|key| !keys.contains(key));
        let mut before = usize::MAX;
        while before != orders.len() {
            before = orders.len();
            self.give_turns(now, orders);
        }
        cleared
    }

    /// Puts a trigger among those that can be sent.
    fn make_ready(&mut self, key: Key) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.state = State::Ready;
        if let Some(queue) = self.queues.get_mut(delivery.queue) {
            queue.ready.insert(delivery.arrival, key);
        }
    }

    /// Sends what a queue may send, ends what has expired in it, and notes when it has something to do.
    fn pump(&mut self, queue_key: Key, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        while self.send_one(queue_key, now, orders) {}
        self.expire(queue_key, now, orders);
        self.settle(queue_key, now);
    }

    /// Sends the first trigger that is ready, if the queue may send now.
    fn send_one(&mut self, queue_key: Key, now: u64, orders: &mut Vec<TargetOrder<T>>) -> bool {
        let free = self.in_flight_max.saturating_sub(self.in_flight);
        let Some(queue) = self.queues.get_mut(queue_key) else { return false };
        let Some((&arrival, &key)) = queue.ready.first_key_value() else { return false };
        match queue.gate(now, free) {
            SendGate::Closed => return false,
            SendGate::Crowded => {
                if !std::mem::replace(&mut queue.is_blocked, true) {
                    self.blocked.push_back(queue_key);
                }
                return false;
            }
            SendGate::Open => {}
        }
        let Some(delivery) = self.deliveries.get_mut(key) else { return false };
        if matches!(delivery.expiry, Expiry::Caller(ends) if ends <= now) {
            self.finish(key, orders, |item, _| TargetOrder::Expired { item });
            return true;
        }
        queue.ready.remove(&arrival);
        queue.expiring.remove(&(delivery.expiry.nanos(), arrival));
        queue.start(key, now);
        self.in_flight += 1;
        delivery.attempts += 1;
        delivery.state = State::InFlight;
        orders.push(TargetOrder::Send { delivery: key, attempt: delivery.attempts });
        true
    }

    /// Ends what waits in a queue and is of no use any more.
    fn expire(&mut self, queue_key: Key, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        let mut has_ended = true;
        while std::mem::take(&mut has_ended) {
            while let Some(key) = self.queues.get(queue_key).and_then(|queue| queue.expired(now)) {
                has_ended = true;
                let expiry = self.deliveries.get(key).map(|delivery| delivery.expiry);
                match expiry {
                    Some(Expiry::Caller(_)) => {
                        self.finish(key, orders, |item, _| TargetOrder::Expired { item });
                    }
                    _ => self.finish(key, orders, |item, attempts| TargetOrder::Dead {
                        item,
                        reason: DeadReason::Retention,
                        attempts,
                    }),
                }
            }
            // The next of a lane may be sent now.
            while has_ended && self.send_one(queue_key, now, orders) {}
        }
    }

    /// Takes a trigger out, and makes the next one of its lane ready.
    fn finish(
        &mut self,
        key: Key,
        orders: &mut Vec<TargetOrder<T>>,
        order: impl FnOnce(T, u32) -> TargetOrder<T>,
    ) {
        let Some(delivery) = self.deliveries.remove(key) else { return };
        let Some(queue) = self.queues.get_mut(delivery.queue) else { return };
        queue.open -= 1;
        queue.expiring.remove(&(delivery.expiry.nanos(), delivery.arrival));
        match delivery.state {
            State::Ready => drop(queue.ready.remove(&delivery.arrival)),
            State::Delayed { until } => drop(queue.delayed.remove(&(until, delivery.arrival))),
            State::Lane | State::InFlight => {}
        }
        let next = delivery.order_key.and_then(|lane| queue.leave_lane(&lane, delivery.arrival));
        orders.push(order(delivery.item, delivery.attempts));
        if let Some(next) = next {
            self.make_ready(next);
        }
    }

    /// Gives queues that wait for others to have less in flight one trigger each.
    fn give_turns(&mut self, now: u64, orders: &mut Vec<TargetOrder<T>>) {
        for turn in 0..self.blocked.len() {
            // While something is in flight, its end brings the next turns.
            if self.in_flight >= self.in_flight_max || (turn >= TURNS_MAX && self.in_flight > 0) {
                return;
            }
            let Some(queue_key) = self.blocked.pop_front() else { return };
            let Some(queue) = self.queues.get_mut(queue_key) else { continue };
            queue.is_blocked = false;
            if self.send_one(queue_key, now, orders)
                && let Some(queue) = self.queues.get_mut(queue_key)
                && !queue.ready.is_empty()
                && !std::mem::replace(&mut queue.is_blocked, true)
            {
                self.blocked.push_back(queue_key);
            }
            self.settle(queue_key, now);
        }
    }

    /// Notes when a queue has something to do; forgets one that has nothing and need not be remembered.
    fn settle(&mut self, queue_key: Key, now: u64) {
        let Some(queue) = self.queues.get_mut(queue_key) else { return };
        let before = queue.deadline;
        let deadline = queue.next_deadline(now);
        if deadline != before {
            queue.deadline = deadline;
            if let Some(before) = before {
                self.deadlines.remove(&(before, queue.number));
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, queue.number), queue_key);
            }
        }
        if queue.open == 0 && deadline.is_none() {
            let name = (queue.flow, Arc::clone(&queue.node));
            self.by_node.remove(&name);
            self.queues.remove(queue_key);
        }
    }
}

#[cfg(test)]
mod tests;

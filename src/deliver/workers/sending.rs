//! Which worker gets what, and when: the part of the queue that sends.

use std::sync::Arc;

use super::FlowQueue;
use super::item::{Item, ItemInFlight, List, Order, TieKey, WorkerTrigger};
use super::waiting::{NodeQueue, QueueEntry};
use crate::base::slots::Key;

impl<W: Clone> FlowQueue<W> {
    /// Sends a trigger, or lets it wait. Nothing else of its node can be sent, or it would have been.
    pub(super) fn place(&mut self, item: Item, now: u64, orders: &mut Vec<Order<W>>) {
        if item.trigger.expires_nanos.is_some_and(|expires| expires <= now) {
            return self.done(&item.trigger, false, orders);
        }
        if item.trigger.affinity.is_none() {
            return match self.choose(&item.trigger.node_id, item.not) {
                Some(worker) => self.send(worker, item, now, orders),
                None => self.enqueue(item),
            };
        }
        let node = Arc::clone(&item.trigger.node_id);
        let (key, not) = (item.trigger.affinity.map(|affinity| affinity.key), item.not);
        self.enqueue(item);
        let home = key.and_then(|key| self.ties.get(&key)?.worker).filter(|home| not != Some(*home));
        match home {
            Some(home) => self.fill(home, Some(&node), now, orders),
            None => self.pump_node(&node, now, orders),
        }
    }

    /// Whether a trigger of the node may be sent to the worker now.
    pub(super) fn takes(&self, worker: Key, node: &str) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.credit > 0)
            && self.nodes.get(node).is_none_or(|queue| queue.has_room(worker))
    }

    /// The least loaded worker that may take a trigger of the node, this node's own first; not the one that it came back
    /// from, unless there is no other.
    fn choose(&self, node: &str, not: Option<Key>) -> Option<Key> {
        let not = not.filter(|_| self.workers.len() > 1);
        self.workers
            .iter()
            .filter(|(key, _)| Some(*key) != not && self.takes(*key, node))
            .min_by_key(|(_, worker)| (worker.is_late, worker.is_lent, worker.in_flight, worker.next_seq))
            .map(|(key, _)| key)
    }

    /// Sends to a worker what waits for it, as far as it takes it: of one node, or of all.
    pub(super) fn fill(
        &mut self,
        worker: Key,
        node: Option<&Arc<str>>,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) {
        let mut node = node.cloned();
        loop {
            let alone = self.workers.len() == 1;
            let first_of = |name: &Arc<str>, queue: &NodeQueue| {
                let takes = self.takes(worker, name);
                takes.then(|| queue.first_for(worker, alone)).flatten().map(|first| (first, Arc::clone(name)))
            };
            let found = match &node {
                Some(node) => self.nodes.get(node).and_then(|queue| first_of(node, queue)),
                None => {
                    let firsts = self.nodes.iter().filter_map(|(name, queue)| first_of(name, queue));
                    firsts.min_by_key(|((arrival, _), _)| *arrival)
                }
            };
            let Some(((arrival, list), of)) = found else { break };
            match self.take(worker, &of, (list, arrival), now, orders) {
                DequeuedEntry::Trigger => {}
                // What else it has waiting, of other nodes, is this worker's now.
                DequeuedEntry::Connection => node = None,
                DequeuedEntry::Elsewhere => return self.pump(now, orders),
            }
        }
        if let Some(node) = node {
            self.tidy(&node);
        }
    }

    /// Sends what waits of a node, as far as there are workers that take it.
    pub(super) fn pump_node(&mut self, node: &Arc<str>, now: u64, orders: &mut Vec<Order<W>>) {
        while let Some((arrival, list, worker)) =
            self.nodes.get(node).and_then(|queue| self.next_of(node, queue))
        {
            if self.take(worker, node, (list, arrival), now, orders) == DequeuedEntry::Connection {
                return self.pump(now, orders);
            }
        }
    }

    /// Sends what waits, as far as there are workers that take it.
    pub(super) fn pump(&mut self, now: u64, orders: &mut Vec<Order<W>>) {
        loop {
            let next = self.nodes.iter().filter_map(|(name, queue)| Some((self.next_of(name, queue)?, name)));
            let Some(((arrival, list, worker), node)) = next.min_by_key(|((arrival, ..), _)| *arrival) else {
                return;
            };
            let node = Arc::clone(node);
            self.take(worker, &node, (list, arrival), now, orders);
            self.tidy(&node);
        }
    }

    /// The first of a node that can be sent: its arrival, its list, and the worker that gets it.
    fn next_of(&self, node: &Arc<str>, queue: &NodeQueue) -> Option<(u64, List, Key)> {
        // Without credit there is nothing to look for.
        if !self.workers.iter().any(|(_, worker)| worker.credit > 0) {
            return None;
        }
        let waiting = queue.firsts().filter_map(|(arrival, list)| {
            let not = if let List::Except(not) = list { Some(not) } else { None };
            Some((arrival, list, self.choose(node, not)?))
        });
        let bound = queue.bound_firsts().filter(|(_, worker)| self.takes(*worker, node));
        let bound = bound.map(|(arrival, worker)| (arrival, List::Only(worker), worker));
        waiting.chain(bound).min_by_key(|(arrival, ..)| *arrival)
    }

    /// Gives a worker what stands at a place of a node's queue. The worker takes it.
    fn take(
        &mut self,
        worker: Key,
        node: &Arc<str>,
        (list, arrival): (List, u64),
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> DequeuedEntry {
        let Some(queue) = self.nodes.get_mut(node) else { return DequeuedEntry::Trigger };
        match queue.remove(list, arrival) {
            None => {}
            Some(QueueEntry::One(item)) => {
                self.waiting -= 1;
                let expires = item.trigger.expires_nanos;
                if let Some(expires) = expires {
                    self.expiring.remove(&(expires, arrival));
                }
                if expires.is_some_and(|expires| expires <= now) {
                    self.done(&item.trigger, false, orders);
                } else {
                    self.send(worker, *item, now, orders);
                }
            }
            Some(QueueEntry::Lane(key)) => {
                let Some(tie) = self.ties.get_mut(&key) else { return DequeuedEntry::Trigger };
                if let Some(lane) = tie.lanes.get_mut(node) {
                    lane.place = None;
                }
                if tie.worker.is_none() {
                    tie.worker = Some(worker);
                    self.list_lanes(key);
                    return DequeuedEntry::Connection;
                }
                return self.take_tied(worker, key, node, now, orders);
            }
        }
        DequeuedEntry::Trigger
    }

    /// Sends the first trigger of a connection to its home.
    fn take_tied(
        &mut self,
        home: Key,
        key: TieKey,
        node: &Arc<str>,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> DequeuedEntry {
        let lane = self.ties.get_mut(&key).and_then(|tie| tie.lanes.get_mut(node));
        let item = lane.and_then(|lane| lane.queue.pop_first());
        self.list_lane(key, node);
        let Some((_, item)) = item else { return DequeuedEntry::Trigger };
        self.waiting -= 1;
        if item.not == Some(home) && self.workers.len() > 1 {
            self.enqueue(item);
            return DequeuedEntry::Elsewhere;
        }
        self.send(home, item, now, orders);
        DequeuedEntry::Trigger
    }

    /// Sends a trigger of another node to a worker that takes it.
    pub(super) fn send_guest(
        &mut self,
        worker: Key,
        trigger: WorkerTrigger,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) {
        let item = Item { trigger, arrival: self.arrivals, not: None };
        self.send(worker, item, now, orders);
    }

    /// Sends to a worker that takes it.
    fn send(&mut self, key: Key, item: Item, now: u64, orders: &mut Vec<Order<W>>) {
        let Some(worker) = self.workers.get_mut(key) else { return self.enqueue(item) };
        let seq = worker.next_seq;
        worker.next_seq += 1;
        worker.credit -= 1;
        worker.in_flight += 1;
        let trigger = item.trigger.clone();
        let deadline_nanos = now.saturating_add(trigger.ack_timeout_nanos);
        let flight = self.flights.insert(ItemInFlight { worker: key, seq, item, timer: None });
        worker.flights.insert(seq, flight);
        if let Some(reply_id) = &trigger.reply_id {
            let unacked = worker.replies.entry(Arc::clone(reply_id)).or_default();
            unacked.count += 1;
            unacked.seqs ^= seq;
        }
        if let Some(queue) = self.nodes.get_mut(&trigger.node_id) {
            queue.sent(key);
        }
        orders.push(Order::Send { worker: worker.handle.clone(), seq, trigger, flight, deadline_nanos });
    }
}

/// The entry that was taken off a node's queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DequeuedEntry {
    /// A trigger, which was sent.
    Trigger,
    /// A connection, which has its home now; its triggers wait for that.
    Connection,
    /// A trigger that came back from its connection's home, and waits for another worker.
    Elsewhere,
}

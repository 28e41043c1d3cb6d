//! Workers that the nodes of a cluster lend each other: the queue's part. A worker of another node is a worker like any
//! other, whose credit is as that node last said; a trigger of another node is a guest here, which waits for nobody: a
//! worker takes it at once, or it goes back.

use std::sync::Arc;

use super::item::{Order, WorkerTrigger};
use super::waiting::NodeQueue;
use super::{CREDIT_MAX, FlowQueue};
use crate::base::slots::Key;

impl<W: Clone> FlowQueue<W> {
    /// A worker of another node attached. It takes nothing until its node says what it takes.
    pub fn attach_lent(&mut self, handle: W) -> Key {
        let key = self.attach(handle);
        if let Some(worker) = self.workers.get_mut(key) {
            worker.is_lent = true;
        }
        key
    }

    /// The worker takes `credit` triggers, whatever was known before.
    pub fn set_credit(&mut self, worker: Key, credit: u32, now: u64, orders: &mut Vec<Order<W>>) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.credit = credit.min(CREDIT_MAX);
        }
        self.fill(worker, None, now, orders);
    }

    /// The worker of another node did not take `seq`, and takes nothing until its node says so. Nobody has seen the trigger:
    /// it is the same attempt again. Returns `false` if it has no such trigger.
    pub fn not_taken(&mut self, worker: Key, seq: u64, now: u64, orders: &mut Vec<Order<W>>) -> bool {
        let Some(flight) = self.land(worker, seq, orders) else { return false };
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.credit = 0;
        }
        let item = flight.item;
        orders.extend(item.trigger.expires_nanos.map(|expires_nanos| Order::Watch { expires_nanos }));
        self.place(item, now, orders);
        true
    }

    /// Has a worker of this node take a trigger of another node; returns `false` if it does not take one now.
    pub fn lend(
        &mut self,
        worker: Key,
        trigger: WorkerTrigger,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> bool {
        debug_assert!(trigger.guest.is_some() && trigger.affinity.is_none());
        let is_own = self.workers.get(worker).is_some_and(|worker| !worker.is_lent);
        if !is_own || !self.takes(worker, &trigger.node_id) {
            return false;
        }
        let node = Arc::clone(&trigger.node_id);
        let queue = self.nodes.entry(node).or_insert_with(|| NodeQueue::new(trigger.max_in_flight));
        queue.max_in_flight = trigger.max_in_flight;
        self.arrivals += 1;
        self.send_guest(worker, trigger, now, orders);
        true
    }

    /// Workers of this node that take something, and how much: what waits here could not be given to them.
    pub fn spare(&self) -> impl Iterator<Item = (Key, u32)> {
        let spare = self.workers.iter().filter(|(_, worker)| !worker.is_lent && worker.credit > 0);
        spare.map(|(key, worker)| (key, worker.credit))
    }

    /// Credit of a worker of this node.
    #[must_use]
    pub fn credit(&self, worker: Key) -> u32 {
        self.workers.get(worker).filter(|worker| !worker.is_lent).map_or(0, |worker| worker.credit)
    }

    /// Unacked triggers of a worker.
    #[must_use]
    pub fn in_flight(&self, worker: Key) -> u32 {
        self.workers.get(worker).map_or(0, |worker| worker.in_flight)
    }

    /// How many triggers wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

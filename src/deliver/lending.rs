//! Workers that the nodes of a cluster lend each other, for one flow. A node whose triggers find no worker of its own asks
//! the others; a node whose workers have credit to spare offers it; a trigger goes to one worker of another node by name,
//! and that node's queue gives it to the worker at once, or says that it does not.
//!
//! ```text
//! borrower: waiting ─ Want ─▶ lender            (to all nodes, again while something waits)
//!           lender ─ Offer: worker, credit ─▶   (while the borrower has asked lately)
//!           Trigger ─▶ in flight there ─ Answer: Acked, Returned, NotTaken ─▶
//!           Resume ─▶ after the first NotTaken
//! ```
//!
//! The trigger stays with the borrower, in its queue and its journal, until it is acked. Messages between two nodes arrive in
//! order or not at all. A trigger that a worker did not take is followed on its way by others, which would overtake it: so
//! a worker that did not take one takes none of that node any more, and is not offered to it, until the node says that it
//! knows, behind all that it had sent.
//!
//! **Invariants**: a worker never has more than its credit, whoever sends it; triggers of one connection reach their
//! worker in order; what is lost between two nodes is delivered again.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::workers::{FlowQueue, Guest, Order};
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::id::Id;
use crate::base::slots::Key;

/// Workers in one offer.
pub(crate) const OFFERS_MAX: usize = 64;
/// How long a node is offered credit after it has asked, or has sent a trigger.
const ASKED_NANOS: u64 = 6 * NANOS_PER_SECOND;
/// How long a node is told that a worker has gone.
const KNOWN_NANOS: u64 = 60 * NANOS_PER_SECOND;
/// Pauses between two questions while something waits: short at first, long where no node has a worker.
const WANT_NANOS: u64 = NANOS_PER_SECOND / 10;
const WANT_NANOS_MAX: u64 = 5 * NANOS_PER_SECOND;
/// The longest pause where another node has one.
const WANT_LENT_NANOS_MAX: u64 = NANOS_PER_SECOND;
/// At least so much time is between two questions.
const WANT_NANOS_MIN: u64 = NANOS_PER_SECOND / 100;
/// A node that has not said for so long that it knows has lost its connection, and begins anew.
const BLOCKED_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A worker of another node that has had nothing for so long is forgotten.
const IDLE_NANOS: u64 = 30 * NANOS_PER_SECOND;

/// A worker of another node, as a queue reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LentWorker {
    pub node: Id,
    /// Its name there.
    pub worker: u64,
    /// This attachment of it.
    pub link: u64,
}

/// A message of one node to another, about one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// So many triggers wait.
    Want { flow: Id, triggers: u32 },
    /// A worker attached: nodes where something waits may ask.
    Available { flow: Id },
    /// Workers of the sender that take something.
    Offer { flow: Id, workers: Vec<WorkerOffer> },
    /// A trigger for a worker of the receiver.
    Trigger(Box<GuestTrigger>),
    /// The fate of a trigger.
    Answer { flow: Id, worker: u64, link: u64, seq: u64, answer: GuestAnswer },
    /// The sender knows that a worker of the receiver did not take a trigger.
    Resume { flow: Id, worker: u64 },
    /// A worker of the sender has left.
    WorkerGone { flow: Id, worker: u64 },
    /// Nothing: it shows whether the receiver is there.
    Ping,
    /// The sender is gone; said by this node's own observer of it.
    Gone,
}

/// A worker and the number of triggers that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerOffer {
    pub worker: u64,
    pub credit: u32,
}

/// The fate of a trigger with another node's worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestAnswer {
    Acked,
    /// The worker did not ack it, or left.
    Returned,
    /// The worker did not get it.
    NotTaken,
}

/// A trigger on its way to a worker of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestTrigger {
    pub flow: Id,
    pub worker: u64,
    pub link: u64,
    pub seq: u64,
    pub attempt: u32,
    pub ack_timeout_nanos: u64,
    pub max_in_flight: u32,
    pub node_id: Box<str>,
    pub reply_id: Option<Box<str>>,
    /// The payload as the worker gets it.
    pub payload: Bytes,
}

impl NodeEvent {
    /// The flow that it is about.
    #[must_use]
    pub fn flow(&self) -> Option<Id> {
        match self {
            NodeEvent::Want { flow, .. }
            | NodeEvent::Available { flow }
            | NodeEvent::Offer { flow, .. }
            | NodeEvent::Answer { flow, .. }
            | NodeEvent::Resume { flow, .. }
            | NodeEvent::WorkerGone { flow, .. } => Some(*flow),
            NodeEvent::Trigger(trigger) => Some(trigger.flow),
            NodeEvent::Ping | NodeEvent::Gone => None,
        }
    }
}

/// A worker of another node, as this one knows it.
#[derive(Debug)]
struct Lent {
    key: Key,
    link: u64,
    used: u64,
    /// It did not take a trigger, and was not offered since.
    is_blocked: bool,
}

/// A worker that did not take a trigger.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    link: u64,
    since: u64,
    /// It has credit, but enough of the trigger's node: only an ack changes that.
    is_full: bool,
}

/// The next question to the other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Ask now, for so many triggers.
    pub want: Option<u32>,
    /// Look again then; `None`: when something has changed.
    pub again_at: Option<u64>,
}

/// The workers that a flow of this node has from other nodes, and those that it lends them.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    lent: BTreeMap<(Id, u64), Lent>,
    /// Nodes that have asked, and when they last did.
    borrowers: BTreeMap<Id, u64>,
    /// Workers of this node that did not take a trigger of another, which does not know it yet.
    blocked: BTreeMap<(Id, u64), Blocked>,
    is_waiting: bool,
    wanted: u64,
    due: u64,
    pause: u64,
}

impl Lending {
    /// Says what is to be asked now, and when it is to be looked again.
    pub(crate) fn due<W: Clone>(&mut self, queue: &FlowQueue<W>, now: u64) -> Due {
        let waiting = queue.waiting();
        if waiting == 0 {
            self.is_waiting = false;
            let again_at = (!self.lent.is_empty()).then_some(now + WANT_LENT_NANOS_MAX);
            return Due { want: None, again_at };
        }
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.pause = WANT_NANOS;
            self.due = now.max(self.wanted + WANT_NANOS_MIN);
        }
        let want = (now >= self.due).then(|| u32::try_from(waiting).unwrap_or(u32::MAX));
        if want.is_some() {
            let most = if self.lent.is_empty() { WANT_NANOS_MAX } else { WANT_LENT_NANOS_MAX };
            self.wanted = now;
            self.due = now + self.pause.min(most);
            self.pause = (self.pause * 2).min(WANT_NANOS_MAX);
        }
        Due { want, again_at: Some(self.due) }
    }

    /// Another node has a new worker: it is asked as soon as it can be.
    pub(crate) fn on_available(&mut self) {
        self.is_waiting = false;
    }

    /// Forgets workers of other nodes that have had nothing for long; returns the nodes of those that have something.
    pub(crate) fn tidy<W: Clone>(
        &mut self,
        queue: &mut FlowQueue<W>,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> Vec<Id> {
        let mut busy = Vec::new();
        self.lent.retain(|(node, _), lent| {
            if queue.in_flight(lent.key) > 0 {
                if !busy.contains(node) {
                    busy.push(*node);
                }
                return true;
            }
            let is_kept = now < lent.used + IDLE_NANOS;
            if !is_kept {
                queue.detach(lent.key, now, orders);
            }
            is_kept
        });
        self.borrowers.retain(|_, asked| now < *asked + KNOWN_NANOS);
        busy
    }

    /// Another node offers workers. `link` makes a number that no attachment has had.
    pub(crate) fn on_offer<W: Clone + From<LentWorker>>(
        &mut self,
        queue: &mut FlowQueue<W>,
        node: Id,
        offers: &[WorkerOffer],
        mut link: impl FnMut() -> u64,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) {
        for offer in offers.iter().take(OFFERS_MAX) {
            let WorkerOffer { worker, credit } = *offer;
            if !self.lent.contains_key(&(node, worker)) && queue.waiting() == 0 {
                continue;
            }
            let lent = self.lent.entry((node, worker)).or_insert_with(|| {
                let link = link();
                let key = queue.attach_lent(W::from(LentWorker { node, worker, link }));
                Lent { key, link, used: now, is_blocked: false }
            });
            lent.is_blocked = false;
            let key = lent.key;
            queue.set_credit(key, credit, now, orders);
        }
    }

    /// A trigger is to be sent to a worker of another node; returns `false` if the worker is not known any more.
    pub(crate) fn sent(&mut self, to: LentWorker, now: u64) -> bool {
        let lent = self.lent.get_mut(&(to.node, to.worker)).filter(|lent| lent.link == to.link);
        lent.is_some_and(|lent| {
            lent.used = now;
            true
        })
    }

    /// Another node tells the fate of a trigger. Returns `true` if it is to be told [`NodeEvent::Resume`].
    pub(crate) fn on_answer<W: Clone>(
        &mut self,
        queue: &mut FlowQueue<W>,
        of: LentWorker,
        seq: u64,
        answer: GuestAnswer,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) -> bool {
        // One of an earlier attachment is of a trigger that others have got.
        let lent = self.lent.get_mut(&(of.node, of.worker)).filter(|lent| lent.link == of.link);
        let Some(lent) = lent else { return false };
        lent.used = now;
        let key = lent.key;
        match answer {
            GuestAnswer::Acked => queue.ack(key, seq, now, orders),
            GuestAnswer::Returned => queue.nack(key, seq, now, orders),
            GuestAnswer::NotTaken => {
                let is_first = !std::mem::replace(&mut lent.is_blocked, true);
                queue.not_taken(key, seq, now, orders);
                return is_first;
            }
        };
        false
    }

    /// A worker of another node has left, or, without one, the node.
    pub(crate) fn on_gone<W: Clone>(
        &mut self,
        queue: &mut FlowQueue<W>,
        node: Id,
        worker: Option<u64>,
        now: u64,
        orders: &mut Vec<Order<W>>,
    ) {
        let is_gone = |of: &(Id, u64)| of.0 == node && worker.is_none_or(|worker| worker == of.1);
        let gone: Vec<Lent> = self.lent.extract_if(.., |of, _| is_gone(of)).map(|(_, lent)| lent).collect();
        for lent in gone {
            queue.detach(lent.key, now, orders);
        }
        if worker.is_none() {
            self.borrowers.remove(&node);
            self.blocked.retain(|(of, _), _| *of != node);
        }
    }

    /// Another node asks: returns what it is offered.
    pub(crate) fn on_want<W: Clone>(
        &mut self,
        queue: &FlowQueue<W>,
        node: Id,
        triggers: u32,
        now: u64,
    ) -> Vec<WorkerOffer> {
        self.borrowers.insert(node, now);
        let mut left = triggers;
        let mut offers = Vec::new();
        for (key, credit) in queue.spare() {
            if left == 0 || offers.len() == OFFERS_MAX {
                break;
            }
            let worker = name_of(key);
            if !self.is_blocked(node, worker, now) {
                left = left.saturating_sub(credit);
                offers.push(WorkerOffer { worker, credit });
            }
        }
        offers
    }

    /// A worker of this node may have credit to spare: returns the nodes that it is offered to.
    pub(crate) fn offers<W: Clone>(
        &self,
        queue: &FlowQueue<W>,
        worker: Key,
        now: u64,
    ) -> Vec<(Id, WorkerOffer)> {
        let credit = queue.credit(worker);
        if credit == 0 {
            return Vec::new();
        }
        let worker = name_of(worker);
        let asking = self.borrowers.iter().filter(|(_, asked)| now < **asked + ASKED_NANOS);
        let asking = asking.filter(|(node, _)| !self.is_blocked(**node, worker, now));
        asking.map(|(node, _)| (*node, WorkerOffer { worker, credit })).collect()
    }

    fn is_blocked(&self, node: Id, worker: u64, now: u64) -> bool {
        self.blocked.get(&(node, worker)).is_some_and(|blocked| now < blocked.since + BLOCKED_NANOS)
    }

    /// Another node sends a trigger for a worker of this one: returns the worker if it may have it.
    pub(crate) fn on_trigger(&mut self, node: Id, worker: u64, link: u64, now: u64) -> Option<Key> {
        self.borrowers.insert(node, now);
        let is_blocked = self.blocked.get(&(node, worker)).is_some_and(|blocked| blocked.link == link);
        (!is_blocked).then(|| key_of(worker))
    }

    /// The worker did not take a trigger: it takes none of that node any more, until the node knows.
    pub(crate) fn refused<W: Clone>(
        &mut self,
        queue: &FlowQueue<W>,
        node: Id,
        worker: u64,
        link: u64,
        now: u64,
    ) {
        let is_full = queue.credit(key_of(worker)) > 0;
        let blocked = Blocked { link, since: now, is_full };
        let known = self.blocked.entry((node, worker)).or_insert(blocked);
        if known.link != link {
            *known = blocked;
        }
    }

    /// Another node knows that a worker did not take a trigger: returns what it may have now.
    pub(crate) fn on_resume<W: Clone>(
        &mut self,
        queue: &FlowQueue<W>,
        node: Id,
        worker: u64,
        now: u64,
    ) -> Option<WorkerOffer> {
        self.borrowers.insert(node, now);
        let blocked = self.blocked.remove(&(node, worker))?;
        let credit = queue.credit(key_of(worker));
        (credit > 0 && !blocked.is_full).then_some(WorkerOffer { worker, credit })
    }

    /// A worker of this node has left: returns the nodes that are to know.
    pub(crate) fn detached(&mut self, worker: Key) -> Vec<Id> {
        self.blocked.retain(|(_, of), _| *of != name_of(worker));
        self.borrowers.keys().copied().collect()
    }
}

/// The name of a worker for other nodes.
#[must_use]
pub(crate) fn name_of(worker: Key) -> u64 {
    u64::from(worker.index) << 32 | u64::from(worker.generation)
}

fn key_of(name: u64) -> Key {
    // The halves of the number.
    Key { index: (name >> 32) as u32, generation: name as u32 }
}

impl GuestTrigger {
    /// Its name at the node that it is of.
    #[must_use]
    pub fn guest(&self, node: Id) -> Guest {
        Guest { node, worker: self.worker, link: self.link, seq: self.seq }
    }
}

#[cfg(test)]
mod tests;

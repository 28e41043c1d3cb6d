//! Triggers for workers: every flow has an owner core, chosen by its id, which keeps the flow's queue. Triggers, credits
//! and acks of other cores reach it through its mailbox; what the queue asks for goes to the core of the worker the same
//! way.
//!
//! **Invariant**: room for a trigger is reserved in the flow's [`Backlog`] before it is offered, and given back once,
//! when the queue is done with it. What cannot be reserved is refused.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::context::{CoreState, Timer};
use super::flow_queues::{
    FinishedDelivery, OwnedFlow, PendingOrders, QueueActions, REDELIVER_NANOS, Undelivered, owner_core,
};
use super::forwards;
use super::lending;
use super::message::{
    ConnectionMessage, CoreMessage, DeliveryTrigger, WorkerAction, WorkerAddress, WorkerEvent, WorkerPlace,
};
use super::receipts;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::lending::GuestAnswer;
use crate::deliver::workers::{Order, ReplyUnclear, WorkerTrigger};
use crate::metrics::Event;
use crate::record::{FateKind, NewFate};
use crate::registry::Backlog;

/// Why a trigger is given to another worker, as its record tells.
const NOT_ACKED: &str = "a worker did not ack it, or left";
/// Actions of queues that are carried out in one piece: each takes a microsecond at the most.
pub(crate) const ORDERS_PIECE: usize = 1_024;
/// Actions that take a negligible time together.
const ORDERS_SHORT: usize = 16;

/// A trigger cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// Offers a trigger whose room is reserved.
///
/// # Errors
/// If the flow's owner has no room for it; the reserved room has been given back.
pub(crate) fn offer(
    core: &mut CoreState,
    backlog: &Arc<Backlog>,
    trigger: DeliveryTrigger,
) -> Result<(), Busy> {
    let owner = owner_core(backlog.flow(), core.peers.count());
    if owner == core.index {
        take(core, Arc::clone(backlog), trigger);
        return Ok(());
    }
    let bytes = trigger.bytes();
    let message = CoreMessage::Trigger { backlog: Arc::clone(backlog), trigger };
    core.peers.send(owner, message).map_err(|_| {
        backlog.release(bytes);
        Busy
    })
}

/// Offers a trigger that may not be lost: it is offered again while the owner has no room.
pub(crate) fn offer_until_taken(core: &mut CoreState, backlog: &Arc<Backlog>, trigger: DeliveryTrigger) {
    if offer(core, backlog, trigger.clone()).is_err() {
        let backlog = Arc::clone(backlog);
        redeliver_later(core, Undelivered::Trigger { backlog, trigger });
    }
}

/// Tells the owner of a flow that a worker has left; again while it has no room. What the worker had is given to others
/// only once the owner knows.
pub(crate) fn tell_gone(core: &mut CoreState, flow: Id, from: WorkerAddress) {
    if tell(core, flow, from, WorkerEvent::Gone).is_err() {
        redeliver_later(core, Undelivered::WorkerGone { flow, from });
    }
}

fn redeliver_later(core: &mut CoreState, undelivered: Undelivered) {
    core.undelivered.push(undelivered);
    if core.undelivered.len() == 1 {
        core.set_timer(core.now().nanos + REDELIVER_NANOS, Timer::Redeliver);
    }
}

/// Sends what had no room again.
pub(crate) fn redeliver(core: &mut CoreState) {
    for undelivered in std::mem::take(&mut core.undelivered) {
        match undelivered {
            Undelivered::Trigger { backlog, trigger } => {
                backlog.reserve_anyway(trigger.bytes());
                offer_until_taken(core, &backlog, trigger);
            }
            Undelivered::WorkerGone { flow, from } => tell_gone(core, flow, from),
        }
    }
}

/// Tells the owner of a flow about a worker.
///
/// # Errors
/// If the owner has no room for it.
pub(crate) fn tell(
    core: &mut CoreState,
    flow: Id,
    from: WorkerAddress,
    event: WorkerEvent,
) -> Result<(), Busy> {
    let owner = owner_core(flow, core.peers.count());
    if owner == core.index {
        on_worker(core, flow, from, event);
        return Ok(());
    }
    core.peers.send(owner, CoreMessage::Worker { flow, from, event }).map_err(|_| Busy)
}

/// At the owner: takes a trigger.
pub(crate) fn take(core: &mut CoreState, backlog: Arc<Backlog>, trigger: DeliveryTrigger) {
    if backlog.is_deleted() {
        // It was on its way when the flow was deleted: nobody will ever take it.
        backlog.release(trigger.bytes());
        if let Some(receipt) = trigger.receipt() {
            receipts::give_back(core, receipt);
        }
        return;
    }
    match trigger {
        DeliveryTrigger::Worker(trigger) => take_for_worker(core, backlog, *trigger),
        DeliveryTrigger::Forward(trigger) => forwards::take(core, backlog, *trigger),
    }
}

fn take_for_worker(core: &mut CoreState, backlog: Arc<Backlog>, trigger: WorkerTrigger) {
    let (flow, now) = (backlog.flow(), core.now().nanos);
    let mut actions = QueueActions::new();
    let owned = core.flows.entry(flow).or_insert_with(|| OwnedFlow::new(backlog));
    let expires = trigger.expires_nanos;
    owned.queue.offer(trigger, now, &mut actions);
    if let Some(expires) = expires
        && owned.sweep.is_none()
        && owned.queue.is_waiting()
    {
        owned.sweep = Some(core.wheel.insert(expires, Timer::Sweep(flow)));
    }
    carry_out(core, flow, actions);
}

/// Tells the owner of a flow what a worker did; takes the actions.
///
/// # Errors
/// If the owner has no room for it.
pub(crate) fn tell_actions(
    core: &mut CoreState,
    flow: Id,
    from: WorkerAddress,
    actions: &mut Vec<WorkerAction>,
) -> Result<(), Busy> {
    if owner_core(flow, core.peers.count()) == core.index {
        on_actions(core, flow, from, actions.drain(..));
        return Ok(());
    }
    tell(core, flow, from, WorkerEvent::Acted(std::mem::take(actions)))
}

/// At the owner: takes a worker's event.
pub(crate) fn on_worker(core: &mut CoreState, flow: Id, from: WorkerAddress, event: WorkerEvent) {
    match event {
        WorkerEvent::Attached(backlog) => {
            let owned = core.flows.entry(flow).or_insert_with(|| OwnedFlow::new(backlog));
            let key = owned.queue.attach(WorkerPlace::Here(from));
            owned.workers.insert(from, key);
        }
        WorkerEvent::Gone => {
            let mut actions = QueueActions::new();
            let now = core.now().nanos;
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            let Some(worker) = owned.workers.remove(&from) else { return };
            owned.queue.detach(worker, now, &mut actions);
            owned.announced.remove(&worker);
            lending::tell_gone(core, flow, worker);
            carry_out(core, flow, actions);
        }
        WorkerEvent::Acted(actions) => on_actions(core, flow, from, actions.into_iter()),
    }
}

/// At the owner: takes what a worker did.
fn on_actions(core: &mut CoreState, flow: Id, from: WorkerAddress, all: impl Iterator<Item = WorkerAction>) {
    let now = core.now().nanos;
    let mut actions = QueueActions::new();
    // One complaint for all that is wrong in one message: lies cost the liar, not the mailboxes.
    let mut wrong: Option<(u64, usize)> = None;
    let mut unclear: Option<ReplyUnclear> = None;
    let Some(owned) = core.flows.get_mut(&flow) else { return };
    let Some(&worker) = owned.workers.get(&from) else { return };
    let mut is_new = false;
    let mut count = 0;
    for action in all {
        count += 1;
        let (is_known, seq) = match action {
            WorkerAction::Ready(credit) => {
                owned.queue.ready(worker, credit, now, &mut actions);
                is_new |= core.links.is_some() && owned.announced.insert(worker);
                continue;
            }
            WorkerAction::Ack(seq) => (owned.queue.ack(worker, seq, now, &mut actions), seq),
            WorkerAction::Nack(seq) => (owned.queue.nack(worker, seq, now, &mut actions), seq),
            WorkerAction::Replied { reply_id, seq } => {
                let acked = owned.queue.replied(worker, &reply_id, seq, now, &mut actions);
                unclear = unclear.or(acked.err());
                continue;
            }
        };
        if !is_known {
            wrong = Some(wrong.map_or((seq, 0), |(first, more)| (first, more + 1)));
        }
    }
    if count > ORDERS_SHORT {
        core.worked();
    }
    carry_out(core, flow, actions);
    if is_new {
        lending::announce(core, flow);
    }
    lending::offer_spare(core, flow, worker);
    if let Some((seq, more)) = wrong {
        let others = if more > 0 { format!(", nor are {more} others") } else { String::new() };
        complain(core, from, format!("seq {seq} is not an unacked trigger of this connection{others}"));
    }
    if let Some(unclear) = unclear {
        complain(core, from, unclear.to_string());
    }
}

/// At the owner: a worker has not acked a trigger in time.
pub(crate) fn on_ack_overdue(core: &mut CoreState, flow: Id, flight: Key) {
    let mut actions = QueueActions::new();
    let now = core.now().nanos;
    if let Some(owned) = core.flows.get_mut(&flow) {
        owned.queue.late(flight, now, &mut actions);
    }
    carry_out(core, flow, actions);
}

/// At the owner: some of the waiting triggers may have nobody left who waits for them.
pub(crate) fn sweep(core: &mut CoreState, flow: Id) {
    let mut actions = QueueActions::new();
    let now = core.now().nanos;
    if let Some(owned) = core.flows.get_mut(&flow) {
        let next = owned.queue.expire(now, &mut actions);
        owned.sweep = next.map(|next| core.wheel.insert(next, Timer::Sweep(flow)));
    }
    carry_out(core, flow, actions);
}

/// Drops the triggers of a flow that was deleted. Its workers are closed by the caller.
pub(crate) fn clear(core: &mut CoreState, flow: Id) {
    forwards::clear(core, flow);
    let mut actions = QueueActions::new();
    if let Some(owned) = core.flows.get_mut(&flow) {
        owned.queue.clear(&mut actions);
    }
    carry_out(core, flow, actions);
    // With its workers: one of a flow that is created again under this id has another backlog.
    if let Some(owned) = core.flows.remove(&flow) {
        for timer in owned.into_timers() {
            core.wheel.cancel(timer);
        }
    }
}

/// Drops the triggers of all flows owned here: the core ends.
pub(crate) fn clear_all(core: &mut CoreState) {
    let mut flows: Vec<Id> = core.flows.keys().copied().collect();
    flows.extend(core.forwards.targets.flows());
    flows.into_iter().for_each(|flow| clear(core, flow));
    while !core.orders.is_empty() {
        continue_orders(core);
    }
}

/// Number of triggers that are not delivered, of all flows owned here, and whether anybody may take some of them.
pub(crate) fn open(core: &CoreState) -> (usize, bool) {
    let flows = &core.flows;
    let forwarded = core.forwards.open();
    (
        forwarded + flows.values().map(|owned| owned.queue.open()).sum::<usize>(),
        forwarded > 0 || flows.values().any(|owned| owned.queue.workers() > 0),
    )
}

/// Does what the queue asks for, as far as one piece of work allows; the rest in the turns that follow, in order.
pub(crate) fn carry_out(core: &mut CoreState, flow: Id, actions: QueueActions) {
    let backlog = core.flows.get(&flow).map(|owned| Arc::clone(&owned.backlog));
    core.orders.push_back(PendingOrders { flow, backlog, orders: actions.into_iter() });
    // Those that wait already are before them.
    if core.orders.len() == 1 {
        continue_orders(core);
    }
}

/// Continues with what queues have asked for and the turns before had no time for.
pub(crate) fn continue_orders(core: &mut CoreState) {
    let mut left = ORDERS_PIECE;
    while left > 0
        && let Some(mut pending) = core.orders.pop_front()
    {
        let flow = pending.flow;
        let before = left;
        while left > 0
            && let Some(order) = pending.orders.next()
        {
            carry_out_one(core, flow, pending.backlog.as_deref(), order);
            left -= 1;
        }
        if before - left > ORDERS_SHORT {
            core.worked();
        }
        if pending.orders.len() > 0 {
            core.orders.push_front(pending);
            return;
        }
        if let Entry::Occupied(owned) = core.flows.entry(flow)
            && owned.get().queue.is_empty()
        {
            for timer in owned.remove().into_timers() {
                core.wheel.cancel(timer);
            }
        }
        lending::look(core, flow);
    }
}

fn carry_out_one(core: &mut CoreState, flow: Id, backlog: Option<&Backlog>, order: Order<WorkerPlace>) {
    let release = |bytes: usize| {
        if let Some(backlog) = backlog {
            backlog.release(bytes);
        }
    };
    match order {
        Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
            let timer = core.set_timer(deadline_nanos, Timer::Ack(flow, flight));
            if let Some(owned) = core.flows.get_mut(&flow) {
                owned.queue.timed(flight, timer);
            }
            if trigger.attempt > 1 && trigger.guest.is_none() {
                core.metrics.event(Event::DeliveryRetried);
                let failed = trigger.attempt - 1;
                let fate = NewFate::new(FateKind::Retried, flow, &trigger.node_id);
                core.note_fate(trigger.record, &NewFate { attempts: failed, error: NOT_ACKED, ..fate });
            }
            match worker {
                WorkerPlace::Here(worker) => {
                    let trigger = ConnectionMessage::Trigger { seq, trigger: Box::new(trigger) };
                    core.post_to_worker(worker, trigger, "a trigger for a worker");
                }
                WorkerPlace::Lent(worker) => lending::send(core, flow, worker, seq, &trigger),
            }
        }
        Order::Returned { bytes, guest } => {
            lending::answer(core, flow, guest, GuestAnswer::Returned);
            release(bytes);
        }
        Order::Done { bytes, guest: Some(guest), .. } => {
            lending::answer(core, flow, guest, GuestAnswer::Acked);
            release(bytes);
        }
        Order::Done { bytes, acked, receipt, recorded, guest: None } => {
            core.metrics.event(Event::DeliveryDone);
            if let Some(end) = recorded {
                let kind = if end.is_acked { FateKind::Delivered } else { FateKind::Expired };
                let fate = NewFate::new(kind, flow, &end.node_id);
                core.note_fate(Some(end.of), &NewFate { attempts: end.attempt, ..fate });
            }
            match (acked.and_then(|trigger| finished(*trigger)), receipt) {
                (Some(finished), _) => core.finished.push_back(finished),
                (None, Some(receipt)) => receipts::give_back(core, receipt),
                (None, None) => {}
            }
            release(bytes);
        }
        Order::Cancel(timer) => {
            core.wheel.cancel(timer);
        }
        Order::Watch { expires_nanos } => {
            if let Some(owned) = core.flows.get_mut(&flow)
                && owned.sweep.is_none()
            {
                owned.sweep = Some(core.wheel.insert(expires_nanos, Timer::Sweep(flow)));
            }
        }
    }
}

/// The delivery of an acked trigger, for the nodes behind it.
fn finished(trigger: WorkerTrigger) -> Option<FinishedDelivery> {
    let WorkerTrigger { behind, payload, reply_id, expires_nanos, receipt, record, .. } = trigger;
    behind.map(|behind| FinishedDelivery { behind, payload, reply_id, expires_nanos, receipt, record })
}

fn complain(core: &mut CoreState, worker: WorkerAddress, message: String) {
    core.post_to_worker(worker, ConnectionMessage::Complaint(message), "what is wrong with a worker's ack");
}

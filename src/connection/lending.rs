//! Messages to the other nodes of a cluster about the workers that nodes lend each other; nothing where there is no cluster.
//! Their messages are taken by [`guests`](super::guests).

use bytes::Bytes;

use super::context::{CoreState, Timer};
use super::message::WorkerPlace;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::lending::{GuestAnswer, GuestTrigger, LentWorker, NodeEvent, name_of};
use crate::deliver::workers::{Guest, WorkerTrigger};

/// Asks the other nodes if triggers of a flow wait, and looks again when that is due.
pub(crate) fn look(core: &mut CoreState, flow: Id) {
    let now = core.now().nanos;
    let Some(links) = &core.links else { return };
    let Some(owned) = core.flows.get_mut(&flow) else { return };
    let due = owned.lending.due(&owned.queue, now);
    if let Some(triggers) = due.want {
        links.broadcast(NodeEvent::Want { flow, triggers });
    }
    let is_set =
        owned.lending_timer.as_ref().is_some_and(|(at, _)| due.again_at.is_some_and(|due| *at <= due));
    if !is_set && let Some(at) = due.again_at {
        if let Some((_, timer)) = owned.lending_timer.take() {
            core.wheel.cancel(timer);
        }
        owned.lending_timer = Some((at, core.wheel.insert(at, Timer::Lending(flow))));
    }
}

/// Offers what a worker of this node has to spare to the nodes that have asked.
pub(crate) fn offer_spare(core: &mut CoreState, flow: Id, worker: Key) {
    let now = core.now().nanos;
    let Some(links) = &core.links else { return };
    let Some(owned) = core.flows.get_mut(&flow) else { return };
    for (node, offer) in owned.lending.offers(&owned.queue, worker, now) {
        links.send(node, NodeEvent::Offer { flow, workers: vec![offer] });
    }
}

/// Tells the other nodes that a worker of this one takes triggers for the first time.
pub(crate) fn announce(core: &CoreState, flow: Id) {
    if let Some(links) = &core.links {
        links.broadcast(NodeEvent::Available { flow });
    }
}

/// Tells the nodes that may have triggers for it that a worker of this one has left.
pub(crate) fn tell_gone(core: &mut CoreState, flow: Id, worker: Key) {
    let Some(links) = &core.links else { return };
    let Some(owned) = core.flows.get_mut(&flow) else { return };
    for node in owned.lending.detached(worker) {
        links.send(node, NodeEvent::WorkerGone { flow, worker: name_of(worker) });
    }
}

/// Tells the node that a trigger is of what became of it.
pub(crate) fn answer(core: &CoreState, flow: Id, guest: Guest, answer: GuestAnswer) {
    let Guest { node, worker, link, seq } = guest;
    if let Some(links) = &core.links {
        links.send(node, NodeEvent::Answer { flow, worker, link, seq, answer });
    }
}

/// Sends a trigger to a worker of another node.
pub(crate) fn send(core: &mut CoreState, flow: Id, to: LentWorker, seq: u64, trigger: &WorkerTrigger) {
    let now = core.now().nanos;
    let Some(links) = &core.links else { return };
    if !core.flows.get_mut(&flow).is_some_and(|owned| owned.lending.sent(to, now)) {
        // It has just left, and the trigger has been given to others.
        return;
    }
    let mut payload = Vec::with_capacity(trigger.payload.len());
    trigger.payload.write(&mut payload);
    let trigger = GuestTrigger {
        flow,
        worker: to.worker,
        link: to.link,
        seq,
        attempt: trigger.attempt,
        ack_timeout_nanos: trigger.ack_timeout_nanos,
        max_in_flight: trigger.max_in_flight,
        node_id: Box::from(&*trigger.node_id),
        reply_id: trigger.reply_id.as_deref().map(Box::from),
        payload: Bytes::from(payload),
    };
    links.send(to.node, NodeEvent::Trigger(Box::new(trigger)));
}

/// Reaches a worker of this node or another.
impl From<LentWorker> for WorkerPlace {
    fn from(lent: LentWorker) -> WorkerPlace {
        WorkerPlace::Lent(lent)
    }
}

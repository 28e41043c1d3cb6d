//! Messages of the other nodes of a cluster about the workers that nodes lend each other ([`lending`]).

use std::sync::Arc;

use super::context::CoreState;
use super::flow_queues::QueueActions;
use super::flows;
use super::lending;
use crate::base::id::Id;
use crate::deliver::lending::{GuestAnswer, GuestTrigger, LentWorker, NodeEvent};
use crate::deliver::workers::WorkerTrigger;
use crate::trigger::Payload;

/// Takes a message about a flow that this core owns, or about a node.
pub(crate) fn on_event(core: &mut CoreState, node: Id, event: NodeEvent) {
    let now = core.now().nanos;
    let mut actions = QueueActions::new();
    match event {
        NodeEvent::Ping => {}
        NodeEvent::Gone => on_gone(core, node),
        NodeEvent::Trigger(trigger) => on_trigger(core, node, *trigger),
        NodeEvent::Want { flow, triggers } => {
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            let workers = owned.lending.on_want(&owned.queue, node, triggers, now);
            if let Some(links) = core.links.as_ref().filter(|_| !workers.is_empty()) {
                links.send(node, NodeEvent::Offer { flow, workers });
            }
        }
        NodeEvent::Available { flow } => {
            if let Some(owned) = core.flows.get_mut(&flow) {
                owned.lending.on_available();
            }
            lending::look(core, flow);
        }
        NodeEvent::Offer { flow, workers } => {
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            let ids = &mut core.link_ids;
            let link = || ids.next_u64();
            owned.lending.on_offer(&mut owned.queue, node, &workers, link, now, &mut actions);
            flows::carry_out(core, flow, actions);
        }
        NodeEvent::Answer { flow, worker, link, seq, answer } => {
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            let of = LentWorker { node, worker, link };
            let resumes = owned.lending.on_answer(&mut owned.queue, of, seq, answer, now, &mut actions);
            // Before anything else is sent there.
            if let Some(links) = core.links.as_ref().filter(|_| resumes) {
                links.send(node, NodeEvent::Resume { flow, worker });
            }
            flows::carry_out(core, flow, actions);
        }
        NodeEvent::Resume { flow, worker } => {
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            let offer = owned.lending.on_resume(&owned.queue, node, worker, now);
            if let (Some(links), Some(offer)) = (&core.links, offer) {
                links.send(node, NodeEvent::Offer { flow, workers: vec![offer] });
            }
        }
        NodeEvent::WorkerGone { flow, worker } => {
            let Some(owned) = core.flows.get_mut(&flow) else { return };
            owned.lending.on_gone(&mut owned.queue, node, Some(worker), now, &mut actions);
            flows::carry_out(core, flow, actions);
        }
    }
}

/// It is time to look after the lent workers of a flow.
pub(crate) fn on_time(core: &mut CoreState, flow: Id) {
    let now = core.now().nanos;
    let mut actions = QueueActions::new();
    let Some(owned) = core.flows.get_mut(&flow) else { return };
    owned.lending_timer = None;
    let busy = owned.lending.tidy(&mut owned.queue, now, &mut actions);
    if let Some(links) = &core.links {
        busy.into_iter().for_each(|node| links.send(node, NodeEvent::Ping));
    }
    flows::carry_out(core, flow, actions);
}

fn on_gone(core: &mut CoreState, node: Id) {
    let now = core.now().nanos;
    let flows: Vec<Id> = core.flows.keys().copied().collect();
    for flow in flows {
        let mut actions = QueueActions::new();
        if let Some(owned) = core.flows.get_mut(&flow) {
            owned.lending.on_gone(&mut owned.queue, node, None, now, &mut actions);
        }
        flows::carry_out(core, flow, actions);
    }
}

fn on_trigger(core: &mut CoreState, node: Id, sent: GuestTrigger) {
    let now = core.now().nanos;
    let (flow, guest) = (sent.flow, sent.guest(node));
    let GuestTrigger { worker, link, .. } = sent;
    let mut actions = QueueActions::new();
    let is_taken = core.flows.get_mut(&flow).is_some_and(|owned| {
        let Some(key) = owned.lending.on_trigger(node, worker, link, now) else { return false };
        let trigger = WorkerTrigger {
            node_id: Arc::from(&*sent.node_id),
            payload: Payload::of_text(sent.payload),
            ack_timeout_nanos: sent.ack_timeout_nanos,
            max_in_flight: sent.max_in_flight,
            affinity: None,
            reply_id: sent.reply_id.as_deref().map(Arc::from),
            expires_nanos: None,
            attempt: sent.attempt,
            behind: None,
            receipt: None,
            record: None,
            guest: Some(guest),
        };
        let bytes = trigger.payload.kept_len();
        if !owned.backlog.reserve(bytes) {
            return false;
        }
        let is_taken = owned.queue.lend(key, trigger, now, &mut actions);
        if !is_taken {
            owned.backlog.release(bytes);
        }
        is_taken
    });
    if !is_taken {
        if let Some(owned) = core.flows.get_mut(&flow) {
            owned.lending.refused(&owned.queue, node, worker, link, now);
        }
        lending::answer(core, flow, guest, GuestAnswer::NotTaken);
    }
    flows::carry_out(core, flow, actions);
}

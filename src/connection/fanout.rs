//! One event to all the flows of its webhook: templates reply at once, triggers of delivering nodes are reserved and
//! offered. The nodes behind a delivering one run when it is done: [`run_finished`].

use std::sync::Arc;

use super::attempt::ForwardTrigger;
use super::context::CoreState;
use super::durable::{self, JOURNAL_DOWN};
use super::flow_queues::FinishedDelivery;
use super::flows;
use super::journal_state::PendingDelivery;
use super::message::{ConnectionId, DeliveryTrigger, PayloadObserver, ReplyOutcome, ReplySender};
use super::receipts;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::deliver::entry::{DeliveryKind, Receipt, StoredDelivery, StoredEntry};
use crate::deliver::workers::{Affinity, WorkerTrigger};
use crate::deliver::{self, Delivery, Effect, Origin};
use crate::journal::{Note, Refused};
use crate::metrics::Event;
use crate::model::WorkerConfig;
use crate::record::{CallRecord, FateKind, NewFate, event_id_of, record_of};
use crate::registry::{Action, Hook, Reads};
use crate::reply::{CallerKind, Rendered, Reply, ReplyTo};
use crate::trigger::{self, Draft, Parts, Payload};

/// The circumstances of an event that its flows depend on.
pub(crate) struct TriggerContext<'a> {
    pub(crate) observer: Option<&'a PayloadObserver>,
    /// The WebSocket of the event, whose triggers stay with one worker.
    pub(crate) affinity: Option<Affinity>,
    /// The `replyId` of the caller.
    pub(crate) reply_id: Option<&'a str>,
    /// The slot on this core that the `replyId` names.
    pub(crate) slot: Option<Key>,
    /// After this moment nobody waits for a reply.
    pub(crate) expires_nanos: Option<u64>,
    /// It cannot be refused any more: the end of a WebSocket, or what follows from a trigger that was accepted.
    pub(crate) must: bool,
    /// The note of the call's key, which is to be durable with its event.
    pub(crate) note: Option<&'a Note>,
    /// The connection of the event's WebSocket, which is closed if the journal cannot be written.
    pub(crate) websocket: Option<ConnectionId>,
    /// The share of each delivery in the entry of the trigger that these follow from.
    pub(crate) receipt: Option<Receipt>,
    /// The record of the call that the event is of.
    pub(crate) record: Option<CallRecord>,
}

/// Why an event was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The deliveries of a flow are too far behind.
    Behind,
    /// The journal does not take it.
    Journal(Refused),
}

impl NotTaken {
    /// The reason, in words for the caller.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            NotTaken::Behind => "The workflow's deliveries are behind, try again",
            NotTaken::Journal(Refused::Full) => "The journal is full, try again later",
            NotTaken::Journal(Refused::Down) => JOURNAL_DOWN,
            NotTaken::Journal(Refused::Busy) => "The journal is behind, try again",
            NotTaken::Journal(Refused::TooLarge) => "The trigger is longer than the journal takes",
        }
    }
}

/// The parts of an event that are written before the flows of a webhook run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) parts: Parts,
    /// Whether somebody keeps the event: [`run_flows`], or else [`reply_at_once`].
    pub(crate) is_kept: bool,
}

/// Returns what the readers of a webhook's events need of them.
pub(crate) fn demand(hook: &Hook, observer: Option<&PayloadObserver>) -> Demand {
    match hook.reads {
        Reads::Templates(parts) if observer.is_none() => Demand { parts, is_kept: false },
        _ => Demand { parts: Parts::ALL, is_kept: true },
    }
}

/// Runs every flow of a webhook that has templates only. `send` gets each reply to the sender of the trigger, whose slot
/// is `slot`.
pub(crate) fn reply_at_once(
    core: &mut CoreState,
    hook: &Hook,
    event: &Draft<'_>,
    has_reply_id: bool,
    slot: Option<Key>,
    send: &mut dyn FnMut(&mut CoreState, &Rendered<'_>) -> ReplyOutcome,
) {
    let caller = CallerKind::of(hook.is_websocket);
    let origin = Origin { caller, has_reply_id };
    let record = core.present.open().map(|open| open.name());
    let mut sheet = std::mem::take(&mut core.sheet);
    sheet.begin_event(event.len());
    for plan in &hook.flows {
        core.metrics.event(Event::Trigger);
        plan.runs.count(core.index, core.now().unix_millis);
        core.note_fate(record, &NewFate::new(FateKind::Ran, plan.flow_id, ""));
        let payload = event.payload(&plan.tail);
        deliver::reply_at_once(plan, &payload, origin, &mut sheet, &mut |step, reply| match reply {
            Err(error) => core.count_node_error(plan, &step.node_id, error, record),
            Ok(reply) => {
                let named = match reply.to() {
                    ReplyTo::Trigger => None,
                    ReplyTo::Named(id) => Some(id.to_string()),
                };
                match named {
                    Some(id) if slot.is_none() || core.own_slot(&id) != slot => {
                        core.reply(&id, Box::new(reply.into_reply()), ReplySender::Node);
                    }
                    _ => {
                        let outcome = if reply.only_for() == caller {
                            send(core, &reply)
                        } else {
                            ReplyOutcome::WrongCaller(caller)
                        };
                        core.count_node_reply(&outcome);
                    }
                }
            }
        });
    }
    sheet.trim();
    core.sheet = sheet;
}

/// Runs every flow of the webhook with an event. `send` gets each reply to the sender of the trigger.
///
/// # Errors
/// If the deliveries of one of them are too far behind, or the journal does not take the event. Then no reply was sent;
/// another flow's may have begun already, as they would for a caller that tries again.
pub(crate) fn run_flows(
    core: &mut CoreState,
    hook: &Hook,
    event: trigger::Event,
    context: &TriggerContext<'_>,
    send: &mut dyn FnMut(&mut CoreState, Box<Reply>) -> ReplyOutcome,
) -> Result<(), NotTaken> {
    let caller = CallerKind::of(hook.is_websocket);
    let origin = Origin { caller, has_reply_id: context.reply_id.is_some() };
    let mut effects = std::mem::take(&mut core.effects);
    let mut sheet = std::mem::take(&mut core.sheet);
    sheet.begin_event(event.bytes().len());
    // The last flow gets the event itself: with one flow, as most webhooks have, nothing is shared.
    let events = std::iter::repeat_n(event, hook.flows.len());
    for (plan, event) in hook.flows.iter().zip(events) {
        let payload = Payload { event, tail: Arc::clone(&plan.tail) };
        core.metrics.event(Event::Trigger);
        plan.runs.count(core.index, core.now().unix_millis);
        if let Some(observer) = context.observer {
            let mut bytes = Vec::with_capacity(payload.len());
            payload.write(&mut bytes);
            observer(bytes);
        }
        core.note_fate(context.record, &NewFate::new(FateKind::Ran, plan.flow_id, ""));
        deliver::run(plan, &payload, origin, &mut sheet, &mut effects);
    }
    sheet.trim();
    core.sheet = sheet;
    let taken = hand_over(core, &effects, context);
    for effect in effects.drain(..) {
        match effect {
            Effect::Reply { reply_id, reply } if taken.is_ok() => {
                let is_own = reply_id
                    .as_ref()
                    .is_none_or(|id| context.slot.is_some() && core.own_slot(id) == context.slot);
                match reply_id {
                    Some(id) if !is_own => core.reply(&id, reply, ReplySender::Node),
                    _ => {
                        let fits = reply.fits(caller);
                        let outcome =
                            if fits { send(core, reply) } else { ReplyOutcome::WrongCaller(caller) };
                        core.count_node_reply(&outcome);
                    }
                }
            }
            Effect::Failed { flow, node, error } => {
                if let Some(plan) = hook.flows.iter().find(|plan| plan.flow_id == flow) {
                    core.count_node_error(plan, &node, error, context.record);
                }
            }
            Effect::Reply { .. } | Effect::Deliver(_) => {}
        }
    }
    core.effects = effects;
    taken
}

/// Runs the nodes behind the deliveries that are done. What is delivered further has been accepted: it is not refused.
pub(crate) fn run_finished(core: &mut CoreState) {
    while let Some(finished) = core.finished.pop_front() {
        let FinishedDelivery { behind, payload, reply_id, expires_nanos, mut receipt, record } = finished;
        let mut effects = Vec::new();
        let mut sheet = std::mem::take(&mut core.sheet);
        sheet.begin_event(payload.event.bytes().len());
        deliver::run_behind(&behind, &payload, &mut sheet, &mut effects);
        sheet.trim();
        core.sheet = sheet;
        let context = TriggerContext {
            observer: None,
            affinity: None,
            reply_id: reply_id.as_deref(),
            slot: None,
            expires_nanos,
            must: true,
            note: None,
            websocket: None,
            receipt: receipt.as_mut().map(|receipt| receipt.split(deliveries(&effects).count())),
            record,
        };
        // What must be taken is never refused.
        let _ = hand_over(core, &effects, &context);
        for effect in effects {
            match effect {
                Effect::Reply { reply_id: named, reply } => match named.as_deref().or(context.reply_id) {
                    Some(id) => core.reply(id, reply, ReplySender::Node),
                    None => core.count_node_reply(&ReplyOutcome::NotWaiting),
                },
                Effect::Failed { node, error, .. } => {
                    core.count_node_error(behind.plan(), &node, error, record)
                }
                Effect::Deliver(_) => {}
            }
        }
        if let Some(receipt) = receipt {
            receipts::give_back(core, receipt);
        }
    }
}

/// The deliveries among effects.
fn deliveries(effects: &[Effect]) -> impl Iterator<Item = &Delivery> {
    effects.iter().filter_map(|effect| match effect {
        Effect::Deliver(delivery) => Some(delivery),
        Effect::Reply { .. } | Effect::Failed { .. } => None,
    })
}

/// Reserves room for every trigger of a delivering node, then offers them: all of them, or none for want of room. With a
/// journal they are offered once they are on the disk, unless a caller waits for a reply, who would see their failure.
fn hand_over(core: &mut CoreState, effects: &[Effect], context: &TriggerContext<'_>) -> Result<(), NotTaken> {
    if deliveries(effects).next().is_none() {
        return Ok(());
    }
    if core.journal.is_some() && context.expires_nanos.is_none() && context.receipt.is_none() {
        return accept(core, effects, context);
    }
    let mut event_id = None;
    for (reserved, Delivery { plan, payload, .. }) in deliveries(effects).enumerate() {
        if context.must {
            plan.backlog.reserve_anyway(payload.kept_len());
        } else if !plan.backlog.reserve(payload.kept_len()) {
            let reserved = deliveries(effects).take(reserved);
            reserved.for_each(|delivery| delivery.plan.backlog.release(delivery.payload.kept_len()));
            return Err(NotTaken::Behind);
        }
    }
    let mut outcome = Ok(());
    note_waiting(core, effects, context.record);
    for delivery in deliveries(effects) {
        let backlog = &delivery.plan.backlog;
        let Some(trigger) = delivery_trigger(core, delivery, context, &mut event_id) else {
            backlog.release(delivery.payload.kept_len());
            continue;
        };
        if context.must {
            flows::offer_until_taken(core, backlog, trigger);
        } else if outcome.is_ok() {
            outcome = flows::offer(core, backlog, trigger).map_err(|flows::Busy| NotTaken::Behind);
        } else {
            backlog.release(delivery.payload.kept_len());
        }
    }
    outcome
}

/// Notes the deliveries in the record of their call.
fn note_waiting(core: &mut CoreState, effects: &[Effect], record: Option<CallRecord>) {
    if record.is_none() {
        return;
    }
    for Delivery { plan, step, .. } in deliveries(effects) {
        if let Some(step) = plan.steps.get(*step) {
            core.note_fate(record, &NewFate::new(FateKind::Waiting, plan.flow_id, &step.node_id));
        }
    }
}

/// Appends an event to the journal with its deliveries. Those that memory has no room for are read back later.
fn accept(core: &mut CoreState, effects: &[Effect], context: &TriggerContext<'_>) -> Result<(), NotTaken> {
    let mut event_id = None;
    let (mut stored, mut pending) = (Vec::new(), Vec::new());
    let mut first: Option<&Delivery> = None;
    for delivery in deliveries(effects) {
        let Some(trigger) = delivery_trigger(core, delivery, context, &mut event_id) else { continue };
        let Some(step) = delivery.plan.steps.get(delivery.step) else { continue };
        first.get_or_insert(delivery);
        let (flow, backlog) = (delivery.plan.flow_id, Arc::clone(&delivery.plan.backlog));
        let (node_id, tail) = (Arc::clone(&step.node_id), Arc::clone(&delivery.payload.tail));
        let kind = match &trigger {
            DeliveryTrigger::Worker(_) => DeliveryKind::Worker,
            DeliveryTrigger::Forward(_) => DeliveryKind::Forward,
        };
        stored.push(StoredDelivery { flow, kind, node_id, tail });
        let waits = core.journal.as_ref().is_some_and(|journal| journal.is_spilling(flow));
        pending.push(if waits || !backlog.reserve(trigger.bytes()) {
            PendingDelivery::Spill(backlog)
        } else {
            PendingDelivery::Offer(backlog, trigger)
        });
    }
    let Some(first) = first else { return Ok(()) };
    let entry = StoredEntry {
        webhook: first.plan.webhook_id,
        event: first.payload.event.clone(),
        event_id: event_id.or_else(|| context.record.map(|of| event_id_of(of.record))),
        reply_id: context.reply_id.map(Arc::from),
        affinity: context.affinity,
        deliveries: stored,
    };
    match durable::accept(core, entry, pending, context.websocket, context.must, context.note) {
        Ok(sequence) => {
            if context.affinity.is_none() {
                core.awaited = Some(sequence);
            }
            note_waiting(core, effects, context.record);
            Ok(())
        }
        Err(_) if context.must => Ok(()),
        Err(refused) => Err(NotTaken::Journal(refused)),
    }
}

/// A delivery that was read back from the journal, as it would be made today. Where its node is gone a worker gets it all the
/// same, as one in memory would be; `None` if there is no target for it any more.
pub(crate) fn restore(
    core: &mut CoreState,
    stored: &StoredEntry,
    of: &StoredDelivery,
    accepted_unix_millis: u64,
) -> Option<DeliveryTrigger> {
    let context = TriggerContext {
        observer: None,
        affinity: stored.affinity,
        reply_id: stored.reply_id.as_deref(),
        slot: None,
        expires_nanos: None,
        must: true,
        note: None,
        websocket: None,
        receipt: None,
        record: stored
            .event_id
            .and_then(record_of)
            .map(|record| CallRecord { record, webhook: stored.webhook }),
    };
    let hook = core.registry.by_id(stored.webhook);
    let plan = hook.as_ref().and_then(|hook| hook.flows.iter().find(|plan| plan.flow_id == of.flow));
    let step = plan.and_then(|plan| plan.steps.iter().position(|step| step.node_id == of.node_id));
    if let (Some(plan), Some(step)) = (plan, step) {
        let caller = CallerKind::of(stored.affinity.is_some());
        let origin = Origin { caller, has_reply_id: stored.reply_id.is_some() };
        let delivery = deliver::restored(plan, step, stored.payload(of), origin);
        let mut event_id = stored.event_id;
        if let Some(mut trigger) = delivery_trigger(core, &delivery, &context, &mut event_id) {
            trigger.set_accepted(accepted_unix_millis);
            return Some(trigger);
        }
    }
    (of.kind == DeliveryKind::Worker).then(|| {
        let config = WorkerConfig::default();
        DeliveryTrigger::Worker(Box::new(WorkerTrigger {
            node_id: Arc::clone(&of.node_id),
            payload: stored.payload(of),
            ack_timeout_nanos: u64::from(config.ack_timeout_seconds) * NANOS_PER_SECOND,
            max_in_flight: config.max_in_flight,
            affinity: stored.affinity,
            reply_id: stored.reply_id.clone(),
            expires_nanos: None,
            attempt: 1,
            behind: None,
            receipt: None,
            record: context.record,
            guest: None,
        }))
    })
}

/// The trigger that the owner of the flow receives for a delivery; `None` if its node delivers nothing.
fn delivery_trigger(
    core: &mut CoreState,
    delivery: &Delivery,
    context: &TriggerContext<'_>,
    event_id: &mut Option<u128>,
) -> Option<DeliveryTrigger> {
    let step = delivery.plan.steps.get(delivery.step)?;
    match &step.action {
        Action::Worker(worker) => Some(DeliveryTrigger::Worker(Box::new(WorkerTrigger {
            node_id: Arc::clone(&step.node_id),
            payload: delivery.payload.clone(),
            ack_timeout_nanos: u64::from(worker.ack_timeout_seconds) * NANOS_PER_SECOND,
            max_in_flight: worker.max_in_flight,
            affinity: context.affinity,
            reply_id: context.reply_id.map(Arc::from),
            expires_nanos: context.expires_nanos,
            attempt: 1,
            behind: delivery.behind.clone(),
            receipt: context.receipt,
            record: context.record,
            guest: None,
        }))),
        Action::Forward(_) => Some(DeliveryTrigger::Forward(Box::new(ForwardTrigger {
            plan: Arc::clone(&delivery.plan),
            step: delivery.step,
            payload: delivery.payload.clone(),
            event_id: *event_id.get_or_insert_with(|| match context.record {
                Some(of) => event_id_of(of.record),
                None => core.forwards.event_id(),
            }),
            accepted_unix_millis: core.now().unix_millis,
            reply_id: context.reply_id.map(Arc::from),
            expires_nanos: context.expires_nanos,
            behind: delivery.behind.clone(),
            receipt: context.receipt,
        }))),
        Action::Reply(_) | Action::Condition(_) | Action::Debug(_) | Action::Pass => None,
    }
}

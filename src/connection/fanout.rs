//! One event to all the flows of its webhook: templates reply at once, workers' triggers are reserved and offered.

use std::sync::Arc;

use super::context::CoreState;
use super::flows::{self, Busy};
use super::message::{PayloadObserver, ReplyOutcome, ReplySender};
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::deliver::workers::{Affinity, WorkerTrigger};
use crate::deliver::{self, Effect, Origin};
use crate::metrics::Event;
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
    /// It cannot be refused any more: the end of a WebSocket.
    pub(crate) must: bool,
}

/// What must be written of an event before the flows of a webhook run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) parts: Parts,
    /// Whether somebody keeps the event: [`run_flows`], or else [`reply_at_once`].
    pub(crate) is_kept: bool,
}

/// Returns what the readers of a webhook's events need of them.
pub(crate) fn demand(core: &CoreState, hook: &Hook, observer: Option<&PayloadObserver>) -> Demand {
    match hook.reads {
        Reads::Templates(parts)
            if observer.is_none() && !core.recent.keeps_payloads(hook.webhook_id, core.now()) =>
        {
            Demand { parts, is_kept: false }
        }
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
    let mut sheet = std::mem::take(&mut core.sheet);
    sheet.begin_event(event.len());
    for plan in &hook.flows {
        core.metrics.event(Event::Trigger);
        plan.runs.count(core.index, core.now().unix_millis);
        let payload = event.payload(&plan.tail);
        deliver::reply_at_once(plan, &payload, origin, &mut sheet, &mut |step, reply| match reply {
            Err(error) => core.count_node_error(plan, &step.node_id, error),
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
/// If the workers of one of them are too far behind. Then no reply was sent; a worker of another flow may have got
/// the trigger already, as it would from a caller that tries again.
pub(crate) fn run_flows(
    core: &mut CoreState,
    hook: &Hook,
    event: trigger::Event,
    context: &TriggerContext<'_>,
    send: &mut dyn FnMut(&mut CoreState, Box<Reply>) -> ReplyOutcome,
) -> Result<(), Busy> {
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
        if core.recent.keeps_payloads(hook.webhook_id, core.now()) {
            core.shown = Some(payload.clone());
        }
        deliver::run(plan, &payload, origin, &mut sheet, &mut effects);
    }
    sheet.trim();
    core.sheet = sheet;
    let taken = hand_to_workers(core, &effects, context);
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
                    core.count_node_error(plan, &node, error);
                }
            }
            Effect::Reply { .. } | Effect::Worker { .. } => {}
        }
    }
    core.effects = effects;
    taken
}

/// Reserves room for every trigger that is for a worker, then offers them: all of them, or none for want of room.
fn hand_to_workers(
    core: &mut CoreState,
    effects: &[Effect],
    context: &TriggerContext<'_>,
) -> Result<(), Busy> {
    let triggers = || {
        effects.iter().filter_map(|effect| match effect {
            Effect::Worker { plan, step, payload } => Some((plan, *step, payload)),
            Effect::Reply { .. } | Effect::Failed { .. } => None,
        })
    };
    for (reserved, (plan, _, payload)) in triggers().enumerate() {
        if context.must {
            plan.backlog.reserve_anyway(payload.len());
        } else if !plan.backlog.reserve(payload.len()) {
            triggers().take(reserved).for_each(|(plan, _, payload)| plan.backlog.release(payload.len()));
            return Err(Busy);
        }
    }
    let mut outcome = Ok(());
    for (plan, step, payload) in triggers() {
        let step = &plan.steps[step];
        let Action::Worker(worker) = &step.action else { continue };
        let trigger = WorkerTrigger {
            node_id: Arc::clone(&step.node_id),
            payload: payload.clone(),
            ack_timeout_nanos: u64::from(worker.ack_timeout_seconds) * NANOS_PER_SECOND,
            max_in_flight: worker.max_in_flight,
            affinity: context.affinity,
            reply_id: context.reply_id.map(Arc::from),
            expires_nanos: context.expires_nanos,
            attempt: 1,
        };
        if context.must {
            flows::offer_until_taken(core, &plan.backlog, trigger);
        } else if outcome.is_ok() {
            outcome = flows::offer(core, &plan.backlog, trigger);
        } else {
            plan.backlog.release(payload.len());
        }
    }
    outcome
}

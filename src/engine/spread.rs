//! One event to all the flows of its webhook: templates reply at once, workers' triggers are reserved and offered.

use std::rc::Rc;
use std::sync::Arc;

use super::core::Core;
use super::flows::{self, Busy};
use super::pending::Outcome;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::deliver::workers::{Affinity, WorkerTrigger};
use crate::deliver::{self, Effect, Origin};
use crate::metrics::Event;
use crate::registry::{Action, Hook, Reads};
use crate::reply::{CallerKind, Rendered, ReplyTo};
use crate::trigger::{self, Draft, Parts, Payload};

/// For whom an event is, beside the webhook's flows.
pub(super) struct Audience<'a> {
    pub(super) tap: Option<&'a super::core::Tap>,
    /// The WebSocket that it came on, whose triggers stay with one worker.
    pub(super) affinity: Option<Affinity>,
    /// Where a reply would go.
    pub(super) reply_id: Option<&'a str>,
    /// The place on this core that the `replyId` stands for: a reply to it needs no opening of seals.
    pub(super) place: Option<Key>,
    /// After this moment nobody waits for a reply.
    pub(super) expires_nanos: Option<u64>,
    /// It cannot be refused any more: the end of a WebSocket.
    pub(super) must: bool,
}

/// What must be written of an event before the flows of a webhook run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) parts: Parts,
    /// Whether somebody keeps the event: [`run_flows`], or else [`reply_at_once`].
    pub(super) is_kept: bool,
}

/// Who looks at the events of a webhook, and at what of them.
pub(super) fn demand(core: &Core, hook: &Hook, tap: Option<&super::core::Tap>) -> Demand {
    match hook.reads {
        Reads::Templates(parts)
            if tap.is_none()
                && !core.recent.borrow().keeps_payloads(hook.webhook_id, core.now_of_batch()) =>
        {
            Demand { parts, is_kept: false }
        }
        _ => Demand { parts: Parts::ALL, is_kept: true },
    }
}

/// Runs every flow of a webhook that has templates only. `send` gets each reply to who sent the trigger.
pub(super) fn reply_at_once(
    core: &Rc<Core>,
    hook: &Hook,
    event: &Draft<'_>,
    has_reply_id: bool,
    send: &mut dyn FnMut(&Rendered<'_>) -> Outcome,
) {
    let origin = Origin { caller: CallerKind::of(hook.is_websocket), has_reply_id };
    let mut sheet = core.sheet.take();
    let now = core.now_of_batch().unix_millis;
    for plan in &hook.flows {
        core.metrics.event(Event::Trigger);
        plan.runs.count(core.index, now);
        let payload = event.payload(&plan.tail);
        deliver::reply_at_once(plan, &payload, origin, &mut sheet, &mut |step, reply| match reply {
            Err(error) => core.count_node_error(plan, &step.node_id, error),
            Ok(reply) => match reply.to() {
                ReplyTo::Trigger => core.count_nodes_reply(&send(&reply)),
                ReplyTo::Named(id) => {
                    let id = id.to_string();
                    core.reply(&id, Box::new(reply.into_reply()), None);
                }
            },
        });
    }
    sheet.trim();
    core.sheet.set(sheet);
}

/// Runs every flow of the webhook with an event.
///
/// # Errors
/// If the workers of one of them are too far behind. Then no reply was sent; a worker of another flow may have got
/// the trigger already, as it would from a caller that tries again.
pub(super) fn run_flows(
    core: &Rc<Core>,
    hook: &Hook,
    event: trigger::Event,
    audience: &Audience<'_>,
) -> Result<(), Busy> {
    let origin =
        Origin { caller: CallerKind::of(hook.is_websocket), has_reply_id: audience.reply_id.is_some() };
    let mut effects = core.effects.take();
    let mut sheet = core.sheet.take();
    // The last flow gets the event itself: with one flow, as most webhooks have, nothing is shared.
    let events = std::iter::repeat_n(event, hook.flows.len());
    for (plan, event) in hook.flows.iter().zip(events) {
        let payload = Payload { event, tail: Arc::clone(&plan.tail) };
        core.metrics.event(Event::Trigger);
        plan.runs.count(core.index, core.now_of_batch().unix_millis);
        if let Some(tap) = audience.tap {
            let mut bytes = Vec::with_capacity(payload.len());
            payload.write(&mut bytes);
            tap(bytes);
        }
        if core.recent.borrow().keeps_payloads(hook.webhook_id, core.now_of_batch()) {
            core.shown.set(Some(payload.clone()));
        }
        deliver::run(plan, &payload, origin, &mut sheet, &mut effects);
    }
    sheet.trim();
    core.sheet.set(sheet);
    let taken = hand_to_workers(core, &effects, audience);
    for effect in effects.drain(..) {
        match effect {
            Effect::Reply { reply_id, reply } if taken.is_ok() => match (reply_id, audience.place) {
                (Some(reply_id), _) => core.reply(&reply_id, reply, None),
                (None, Some(place)) => core.count_nodes_reply(&core.pending.deliver(core, place, reply)),
                (None, None) => core.count_nodes_reply(&Outcome::NotWaiting),
            },
            Effect::Failed { flow, node, error } => {
                if let Some(plan) = hook.flows.iter().find(|plan| plan.flow_id == flow) {
                    core.count_node_error(plan, &node, error);
                }
            }
            Effect::Reply { .. } | Effect::Worker { .. } => {}
        }
    }
    core.effects.set(effects);
    taken
}

/// Reserves room for every trigger that is for a worker, then offers them: all of them, or none for want of room.
fn hand_to_workers(core: &Rc<Core>, effects: &[Effect], audience: &Audience<'_>) -> Result<(), Busy> {
    let triggers = || {
        effects.iter().filter_map(|effect| match effect {
            Effect::Worker { plan, step, payload } => Some((plan, *step, payload)),
            Effect::Reply { .. } | Effect::Failed { .. } => None,
        })
    };
    for (reserved, (plan, _, payload)) in triggers().enumerate() {
        if audience.must {
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
            affinity: audience.affinity,
            reply_id: audience.reply_id.map(Arc::from),
            expires_nanos: audience.expires_nanos,
            attempt: 1,
        };
        if audience.must {
            flows::offer_until_taken(core, &plan.backlog, trigger);
        } else if outcome.is_ok() {
            outcome = flows::offer(core, &plan.backlog, trigger);
        } else {
            plan.backlog.release(payload.len());
        }
    }
    outcome
}

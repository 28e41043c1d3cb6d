//! Layer 5: a flow and a trigger become effects. What is to be done is decided here; the engine does it.
//!
//! - [`run`]: a trigger through the nodes of its flow;
//! - [`run_behind`]: the same for the nodes behind a delivering one, once its delivery is done;
//! - [`reply_at_once`]: the same for a flow of templates only, whose replies need not be kept;
//! - [`workers`]: which attached worker gets which trigger;
//! - [`lending`]: which worker of another node of a cluster does;
//! - [`targets`]: which trigger is sent to which target, and when; [`schedule`]: when a failed one is tried again;
//! - [`request`]: the request that is sent;
//! - [`dry_run`]: what a trigger would do, without doing it;
//! - [`entry`]: an event and its deliveries as the journal keeps them;
//! - [`protocol`]: the frames that a worker and the engine exchange.
//!
//! Not here: rendering (`reply`), sockets, timers and places (`engine`).

mod affinity;
pub(crate) mod dry_run;
pub(crate) mod entry;
pub(crate) mod lending;
pub mod protocol;
pub mod publication;
pub mod request;
pub(crate) mod schedule;
pub(crate) mod targets;
mod walk;
pub mod workers;

use std::fmt;
use std::sync::Arc;

use crate::base::id::Id;
use crate::expression::{self, TooMuchWork};
use crate::registry::{Action, Condition, FlowPlan, Step};
use crate::reply::{CallerKind, Rendered, Reply, ReplyNode, ReplyTo, Sheet, Unsent};
use crate::template::{Escape, Root, Template};
use crate::trigger::Payload;
use walk::{Reached, Walk};

/// Something that a node of a flow wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send this reply to whom the id names, or without one to who sent the trigger.
    Reply { reply_id: Option<String>, reply: Box<Reply> },
    /// Deliver the payload to a worker of the flow, or to a target.
    Deliver(Delivery),
    /// A node could not do its part: counted and logged.
    Failed { flow: Id, node: Arc<str>, error: NodeError },
}

/// A trigger for a delivering node.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// `plan.steps[step]` is the node.
    pub plan: Arc<FlowPlan>,
    pub step: usize,
    pub payload: Payload,
    /// The nodes that run once it is done; `None` if there are none.
    pub behind: Option<Arc<Behind>>,
}

/// The nodes behind a delivering one, and what is known of the trigger.
#[derive(Debug)]
pub struct Behind {
    plan: Arc<FlowPlan>,
    step: usize,
    origin: Origin,
    /// Shared by all deliveries of the trigger, so that a node behind several of them runs once.
    reached: Arc<Reached>,
}

impl Behind {
    /// The flow.
    #[must_use]
    pub fn plan(&self) -> &Arc<FlowPlan> {
        &self.plan
    }
}

/// Bytes that the message of a `DebugNode` may render to: more is not a message.
const DEBUG_RENDER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of it that the log shows: as much of an answer as a dead letter keeps.
const DEBUG_SHOWN_BYTES_MAX: usize = 4 * 1024;

/// Units of an event's work for each byte that a condition reads or writes: as for a template's lookups.
const CONDITION_UNITS_PER_BYTE: usize = 3;

/// The kind of caller that sent a trigger, and whether it can be replied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A WebSocket or a request.
    pub caller: CallerKind,
    /// Whether it can be replied to.
    pub has_reply_id: bool,
}

/// Why a node could not do its part of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// `isWebsocketMessage` does not fit the caller that the trigger's `replyId` belongs to.
    Caller(CallerKind),
    /// A template of a reply did not render.
    Reply(Unsent),
    /// A condition was not decided: no node behind it runs.
    Condition(TooMuchWork),
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Caller(CallerKind::Http) => {
                f.write_str("isWebsocketMessage is true, but the replyId is an HTTP caller's")
            }
            NodeError::Caller(CallerKind::WebSocket) => {
                f.write_str("isWebsocketMessage is false, but the replyId is a WebSocket's")
            }
            NodeError::Reply(unsent) => unsent.fmt(f),
            NodeError::Condition(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NodeError {}

/// Runs every node that the trigger reaches, as [`walk`] tells.
pub fn run(
    plan: &Arc<FlowPlan>,
    payload: &Payload,
    origin: Origin,
    sheet: &mut Sheet,
    effects: &mut Vec<Effect>,
) {
    let begun = effects.len();
    let mut walk = Walk::new(plan);
    run_steps(&mut walk, plan, payload, origin, sheet, effects);
    if effects[begun..].iter().any(has_behind) {
        tie_behind(&walk.reached(), origin, &mut effects[begun..]);
    }
}

/// Runs the nodes behind a delivering one whose delivery is done.
pub fn run_behind(behind: &Behind, payload: &Payload, sheet: &mut Sheet, effects: &mut Vec<Effect>) {
    let Behind { plan, step, origin, reached } = behind;
    let begun = effects.len();
    let mut walk = Walk::behind(plan, *step, reached);
    run_steps(&mut walk, plan, payload, *origin, sheet, effects);
    tie_behind(reached, *origin, &mut effects[begun..]);
}

/// A delivery of an earlier run, with the nodes behind it.
#[must_use]
pub fn restored(plan: &Arc<FlowPlan>, step: usize, payload: Payload, origin: Origin) -> Delivery {
    let behind = plan.leads_on(step).then(|| {
        let reached = Walk::new(plan).reached();
        Arc::new(Behind { plan: Arc::clone(plan), step, origin, reached })
    });
    Delivery { plan: Arc::clone(plan), step, payload, behind }
}

/// Whether nodes run once the delivery is done.
fn has_behind(effect: &Effect) -> bool {
    matches!(effect, Effect::Deliver(delivery) if delivery.plan.leads_on(delivery.step))
}

/// Gives each delivery the nodes behind it.
fn tie_behind(reached: &Arc<Reached>, origin: Origin, effects: &mut [Effect]) {
    for effect in effects.iter_mut().filter(|effect| has_behind(effect)) {
        let Effect::Deliver(delivery) = effect else { continue };
        let (plan, step) = (Arc::clone(&delivery.plan), delivery.step);
        delivery.behind = Some(Arc::new(Behind { plan, step, origin, reached: Arc::clone(reached) }));
    }
}

/// Runs the steps of a walk.
fn run_steps(
    walk: &mut Walk<'_>,
    plan: &Arc<FlowPlan>,
    payload: &Payload,
    origin: Origin,
    sheet: &mut Sheet,
    effects: &mut Vec<Effect>,
) {
    while let Some((place, step)) = walk.next() {
        let effect = match &step.action {
            Action::Reply(node) => match rendered(node, payload, origin, sheet) {
                Ok(None) => continue,
                Ok(Some(rendered)) => {
                    let reply_id = match rendered.to() {
                        ReplyTo::Trigger => None,
                        ReplyTo::Named(id) => Some(id.to_string()),
                    };
                    Effect::Reply { reply_id, reply: Box::new(rendered.into_reply()) }
                }
                Err(error) => failed(plan, step, error),
            },
            Action::Worker(_) | Action::Forward(_) => Effect::Deliver(Delivery {
                plan: Arc::clone(plan),
                step: place,
                payload: payload.clone(),
                behind: None,
            }),
            _ => match pass(walk, place, step, payload, sheet) {
                Ok(()) => continue,
                Err(error) => failed(plan, step, error),
            },
        };
        effects.push(effect);
    }
}

fn failed(plan: &FlowPlan, step: &Step, error: NodeError) -> Effect {
    Effect::Failed { flow: plan.flow_id, node: Arc::clone(&step.node_id), error }
}

/// Runs every node of a flow that has no worker. `send` gets each reply when it is made.
pub fn reply_at_once(
    plan: &FlowPlan,
    payload: &dyn Root,
    origin: Origin,
    sheet: &mut Sheet,
    send: &mut dyn FnMut(&Step, Result<Rendered<'_>, NodeError>),
) {
    let mut walk = Walk::new(plan);
    while let Some((place, step)) = walk.next() {
        if let Action::Reply(node) = &step.action {
            if let Some(reply) = rendered(node, payload, origin, sheet).transpose() {
                send(step, reply);
            }
        } else if let Err(error) = pass(&mut walk, place, step, payload, sheet) {
            send(step, Err(error));
        }
    }
}

/// Runs a node that sends nothing.
fn pass(
    walk: &mut Walk<'_>,
    place: usize,
    step: &Step,
    payload: &dyn Root,
    sheet: &mut Sheet,
) -> Result<(), NodeError> {
    match &step.action {
        Action::Condition(condition) => {
            let is_true = decide(condition, payload, sheet).map_err(NodeError::Condition)?;
            walk.decide(place, is_true);
        }
        Action::Debug(template) => log_message(walk.plan(), step, template, payload, sheet),
        Action::Reply(_) | Action::Worker(_) | Action::Forward(_) | Action::Pass => {}
    }
    Ok(())
}

/// Decides a condition with what is left of the event's work.
#[inline]
fn decide(condition: &Condition, payload: &dyn Root, sheet: &mut Sheet) -> Result<bool, TooMuchWork> {
    let (scratch, event_work) = sheet.scratch_and_work();
    let bytes = event_work.left() / CONDITION_UNITS_PER_BYTE;
    let mut work = expression::ExpressionWork::new(bytes);
    let is_true = condition.is_true(payload, &mut work, scratch);
    event_work.charge((bytes - work.left()) * CONDITION_UNITS_PER_BYTE);
    is_true
}

/// Logs the message of a `DebugNode`: what its author asks for of a payload, with everything in it escaped that could be
/// taken for the log's own.
fn log_message(plan: &FlowPlan, step: &Step, template: &Template, payload: &dyn Root, sheet: &mut Sheet) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (scratch, work) = sheet.scratch_and_work();
    scratch.clear();
    let (flow, node) = (plan.flow_id, &step.node_id);
    match template.render_within(payload, Escape::None, DEBUG_RENDER_BYTES_MAX, work, scratch) {
        Ok(()) => {
            let text = std::str::from_utf8(scratch).unwrap_or_default();
            let shown = text.get(..text.floor_char_boundary(DEBUG_SHOWN_BYTES_MAX)).unwrap_or(text);
            tracing::debug!(%flow, ?node, message_bytes = text.len(), text = ?shown, "DebugNode");
        }
        Err(error) => tracing::debug!(%flow, ?node, %error, "the message of a DebugNode does not render"),
    }
}

/// Renders a node's reply; `None` where nobody is to get one. A node that answers who sent the trigger must fit that
/// caller; one that names another `replyId` is held against that one's owner when it is delivered there.
fn rendered<'a>(
    node: &'a ReplyNode,
    payload: &'a dyn Root,
    origin: Origin,
    sheet: &'a mut Sheet,
) -> Result<Option<Rendered<'a>>, NodeError> {
    if node.answers_trigger() {
        if !origin.has_reply_id {
            return Ok(None);
        }
        if node.only_for() != origin.caller {
            return Err(NodeError::Caller(origin.caller));
        }
    }
    node.render(payload, sheet).map_err(NodeError::Reply)
}

#[cfg(test)]
mod tests;

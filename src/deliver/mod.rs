//! Floor 5: a flow and a trigger become effects. What is to be done is decided here; the engine does it.
//!
//! - [`run`]: a trigger through the nodes of its flow;
//! - [`reply_at_once`]: the same for a flow of templates only, whose replies need not be kept;
//! - [`workers`]: which attached worker gets which trigger;
//! - [`protocol`]: the frames that a worker and the engine exchange.
//!
//! Not here: rendering (`reply`), sockets, timers and places (`engine`).

pub mod protocol;
pub mod workers;

use std::fmt;
use std::sync::Arc;

use crate::base::id::Id;
use crate::registry::{Action, FlowPlan, Step};
use crate::reply::{CallerKind, Rendered, Reply, ReplyNode, ReplyTo, Sheet, Unsent};
use crate::template::Root;
use crate::trigger::Payload;

/// Something that a node of a flow wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send this reply to whom the id names, or without one to who sent the trigger.
    Reply { reply_id: Option<String>, reply: Box<Reply> },
    /// Give the payload to a worker of the flow: `plan.steps[step]` is its node.
    Worker { plan: Arc<FlowPlan>, step: usize, payload: Payload },
    /// A node could not do its part: counted and logged.
    Failed { flow: Id, node: Arc<str>, error: NodeError },
}

/// Who sent a trigger.
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
        }
    }
}

impl std::error::Error for NodeError {}

/// Runs every node that the trigger reaches, in the order of the wires.
pub fn run(
    plan: &Arc<FlowPlan>,
    payload: &Payload,
    origin: Origin,
    sheet: &mut Sheet,
    effects: &mut Vec<Effect>,
) {
    for (index, step) in plan.steps.iter().enumerate() {
        match &step.action {
            Action::Reply(node) => match rendered(node, payload, origin, sheet) {
                Ok(None) => {}
                Ok(Some(rendered)) => {
                    let reply_id = match rendered.to() {
                        ReplyTo::Trigger => None,
                        ReplyTo::Named(id) => Some(id.to_string()),
                    };
                    effects.push(Effect::Reply { reply_id, reply: Box::new(rendered.into_reply()) });
                }
                Err(error) => {
                    let (flow, node) = (plan.flow_id, Arc::clone(&step.node_id));
                    effects.push(Effect::Failed { flow, node, error });
                }
            },
            Action::Worker(_) => {
                effects.push(Effect::Worker {
                    plan: Arc::clone(plan),
                    step: index,
                    payload: payload.clone(),
                });
            }
        }
    }
}

/// Runs every node of a flow that has no worker. `send` gets each reply when it is made.
pub fn reply_at_once(
    plan: &FlowPlan,
    payload: &dyn Root,
    origin: Origin,
    sheet: &mut Sheet,
    send: &mut dyn FnMut(&Step, Result<Rendered<'_>, NodeError>),
) {
    for step in &plan.steps {
        let Action::Reply(node) = &step.action else { continue };
        if let Some(reply) = rendered(node, payload, origin, sheet).transpose() {
            send(step, reply);
        }
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

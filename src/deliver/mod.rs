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

use std::sync::Arc;

use crate::registry::{Action, FlowPlan};
use crate::reply::{Rendered, Reply, ReplyNode, ReplyTo, Sheet};
use crate::template::Root;
use crate::trigger::Payload;

/// Something that a node of a flow wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send this reply to whom the id names, or without one to who sent the trigger.
    Reply { reply_id: Option<String>, reply: Box<Reply> },
    /// Give the payload to a worker of the flow: `plan.steps[step]` is its node.
    Worker { plan: Arc<FlowPlan>, step: usize, payload: Payload },
    /// The node can do nothing with this trigger (a WebSocket reply on an HTTP webhook or the reverse, or a template
    /// that takes too much work): counted.
    Misfit,
}

/// Who sent a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A WebSocket, or else a request.
    pub is_websocket: bool,
    /// Whether it can be replied to.
    pub has_reply_id: bool,
}

/// A node can do nothing with a trigger: [`Effect::Misfit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

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
                Err(Misfit) => effects.push(Effect::Misfit),
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
    send: &mut dyn FnMut(Result<Rendered<'_>, Misfit>),
) {
    for step in &plan.steps {
        let Action::Reply(node) = &step.action else { continue };
        if let Some(reply) = rendered(node, payload, origin, sheet).transpose() {
            send(reply);
        }
    }
}

/// What a node replies; nothing where nobody is to get a reply.
fn rendered<'a>(
    node: &'a ReplyNode,
    payload: &'a dyn Root,
    origin: Origin,
    sheet: &'a mut Sheet,
) -> Result<Option<Rendered<'a>>, Misfit> {
    if node.is_websocket_message() != origin.is_websocket {
        return Err(Misfit);
    }
    if node.answers_trigger() && !origin.has_reply_id {
        return Ok(None);
    }
    node.render(payload, sheet).map_err(|_| Misfit)
}

#[cfg(test)]
mod tests;

//! Floor 5: a flow and a trigger become effects. What is to be done is decided here; the engine does it.
//!
//! - [`run`]: a trigger through the nodes of its flow;
//! - [`workers`]: which attached worker gets which trigger;
//! - [`protocol`]: the frames that a worker and the engine exchange.
//!
//! Not here: rendering (`reply`), sockets, timers and places (`engine`).

pub mod protocol;
pub mod workers;

use std::sync::Arc;

use crate::registry::{Action, FlowPlan};
use crate::reply::Reply;
use crate::trigger::Payload;

/// Something that a node of a flow wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send this reply to whom the id names.
    Reply { reply_id: String, reply: Box<Reply> },
    /// Give the payload to a worker of the flow: `plan.steps[step]` is its node.
    Worker { plan: Arc<FlowPlan>, step: usize, payload: Payload },
    /// The node can do nothing with this trigger (a WebSocket reply on an HTTP webhook or the reverse, or a template
    /// that takes too much work): counted.
    Misfit,
}

/// Runs every node that the trigger reaches, in the order of the wires.
pub fn run(plan: &Arc<FlowPlan>, payload: &Payload, is_websocket: bool, effects: &mut Vec<Effect>) {
    for (index, step) in plan.steps.iter().enumerate() {
        match &step.action {
            Action::Reply(node) if node.is_websocket_message() != is_websocket => {
                effects.push(Effect::Misfit)
            }
            Action::Reply(node) => match node.render(payload) {
                Ok(Some((reply_id, reply))) => {
                    effects.push(Effect::Reply { reply_id, reply: Box::new(reply) });
                }
                Ok(None) => {}
                Err(_) => effects.push(Effect::Misfit),
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

//! A flow without its effects: which nodes a payload reaches, and what each of them makes of it. Nothing is sent, logged
//! or counted.

use std::sync::Arc;

use super::publication::{Publication, publication};
use super::request::{ForwardRequest, request};
use super::walk::Walk;
use super::{DEBUG_RENDER_BYTES_MAX, NodeError, Origin, decide, rendered};
use crate::registry::{Action, FlowPlan, Step, TargetNode};
use crate::reply::{CallerKind, Reply, ReplyTo, Sheet};
use crate::settings::Cluster;
use crate::template::{Escape, Template};
use crate::trigger::Payload;

/// Name of a delivery that is not made.
const NO_DELIVERY: &str = "msg_dry_run";
/// The span of a request that is not sent, in the caller's trace.
const NO_SPAN: u64 = 1;

/// A node that the payload reached.
#[derive(Debug)]
pub(crate) struct NodeRun {
    pub node_id: Arc<str>,
    pub made: Made,
    /// It runs once a delivery before it is done.
    pub is_after_delivery: bool,
}

/// The result of a node for a payload.
#[derive(Debug)]
pub(crate) enum Made {
    /// A reply, and the `replyId` that it is for unless that is the payload's own.
    Reply(Option<String>, Box<Reply>),
    /// A condition's value.
    Condition(bool),
    /// A line of the log.
    Message(String),
    /// A request to a target.
    Request(Box<ForwardRequest>),
    /// A message to NATS.
    Publication(Box<Publication>),
    /// The payload, to a worker.
    Delivery,
    /// Nothing; the nodes behind run.
    Nothing,
    /// Why the node could not do its part.
    Error(String),
}

/// Runs the nodes that the payload reaches, those behind a delivery as if it were done.
#[must_use]
pub(crate) fn dry_run(
    plan: &FlowPlan,
    payload: &Payload,
    caller: CallerKind,
    unix_seconds: u64,
) -> Vec<NodeRun> {
    let mut run = DryRun {
        payload,
        origin: Origin { caller, has_reply_id: true },
        unix_seconds,
        sheet: Sheet::default(),
        runs: Vec::new(),
        delivered: Vec::new(),
    };
    run.sheet.begin_event(payload.event.bytes().len());
    let mut walk = Walk::new(plan);
    run.steps(&mut walk, false);
    let reached = walk.reached();
    let mut next = 0;
    while let Some(&place) = run.delivered.get(next) {
        next += 1;
        run.steps(&mut Walk::behind(plan, place, &reached), true);
    }
    run.runs
}

struct DryRun<'p> {
    payload: &'p Payload,
    origin: Origin,
    unix_seconds: u64,
    sheet: Sheet,
    runs: Vec<NodeRun>,
    /// Places of the delivering steps that were reached.
    delivered: Vec<usize>,
}

impl DryRun<'_> {
    fn steps(&mut self, walk: &mut Walk<'_>, is_after_delivery: bool) {
        while let Some((place, step)) = walk.next() {
            let made = self.make(walk, place, step);
            if step.action.delivers() {
                self.delivered.push(place);
            }
            self.runs.push(NodeRun { node_id: Arc::clone(&step.node_id), made, is_after_delivery });
        }
    }

    fn make(&mut self, walk: &mut Walk<'_>, place: usize, step: &Step) -> Made {
        match &step.action {
            Action::Reply(node) => match rendered(node, self.payload, self.origin, &mut self.sheet) {
                // The path of its `replyId` leads to none.
                Ok(None) => Made::Nothing,
                Ok(Some(rendered)) => {
                    let to = match rendered.to() {
                        ReplyTo::Trigger => None,
                        ReplyTo::Named(id) => Some(id.to_string()),
                    };
                    Made::Reply(to, Box::new(rendered.into_reply()))
                }
                Err(error) => Made::Error(error.to_string()),
            },
            Action::Condition(condition) => {
                match decide(condition, self.payload, &mut self.sheet).map_err(NodeError::Condition) {
                    Ok(is_true) => {
                        walk.decide(place, is_true);
                        Made::Condition(is_true)
                    }
                    Err(error) => Made::Error(error.to_string()),
                }
            }
            Action::Debug(template) => self.message(template),
            Action::Forward(TargetNode::Nats(node)) => {
                match publication(node, self.payload, Cluster::NAME_DEFAULT) {
                    Ok(publication) => Made::Publication(Box::new(publication)),
                    Err(error) => Made::Error(error.to_string()),
                }
            }
            Action::Forward(TargetNode::Http(node)) => {
                match request(node, self.payload, NO_DELIVERY, self.unix_seconds, NO_SPAN) {
                    Ok(request) => Made::Request(Box::new(request)),
                    Err(error) => Made::Error(error.to_string()),
                }
            }
            Action::Worker(_) => Made::Delivery,
            Action::Pass => Made::Nothing,
        }
    }

    fn message(&mut self, template: &Template) -> Made {
        let (scratch, work) = self.sheet.scratch_and_work();
        scratch.clear();
        match template.render_within(self.payload, Escape::None, DEBUG_RENDER_BYTES_MAX, work, scratch) {
            Ok(()) => Made::Message(String::from_utf8_lossy(scratch).into_owned()),
            Err(error) => Made::Error(error.to_string()),
        }
    }
}

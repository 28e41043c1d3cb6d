//! A webhook as the engine uses it: credentials rendered, limits resolved, flows wired. Nothing here is looked up,
//! parsed or compiled again while a request waits.

use std::sync::Arc;

use super::backlog::Backlog;
use super::condition::Condition;
use super::options::{Deduplicate, HookOptions};
use super::runs::FlowRuns;
use super::target::TargetNode;
use crate::base::id::{Id, Token};
use crate::limit::{Concurrency, Rate};
use crate::model::CastBuffersAs;
use crate::reply::ReplyNode;
use crate::template::Template;
use crate::trigger::{Hidden, Parts, Tail};
use crate::verify::auth::Auth;
use crate::verify::basic::Basic;
use crate::verify::provider::Provider;
use crate::verify::signature::Signature;

/// One compiled webhook. Shared by all cores, never changed: a change makes a new one.
///
/// The order of the fields is kept: what every request reads comes first, so that a webhook that no cache holds costs
/// a request two lines of memory that lie side by side, and not four.
#[derive(Debug)]
#[repr(C)]
pub struct Hook {
    pub token: Token,
    pub enabled: bool,
    pub is_websocket: bool,
    pub wait_for_reply: bool,
    pub cast: CastBuffersAs,
    /// Bytes of a body, a message or a reply.
    pub payload_bytes: u32,
    /// The bucket of calls, none where the rate has no limit. Carried from one compiled hook to the next.
    pub rate: Option<Arc<Rate>>,
    /// Options that most webhooks do not set.
    pub options: Option<Box<HookOptions>>,
    /// The provider whose handshake it answers, and whose requests it accepts.
    pub provider: Provider,
    /// None: requests carry no signature, or nobody looks at it.
    pub signature: Option<Box<Signature>>,
    /// The enabled flows with a trigger on this webhook.
    pub flows: Box<[Arc<FlowPlan>]>,
    pub webhook_id: Id,
    /// The status of an HTTP answer, unless a reply sets another.
    pub response_code: u16,
    pub annotate_multipart: bool,
    /// The parts of an event that the flows read.
    pub reads: Reads,
    pub reply_timeout_seconds: u32,
    /// Calls at a time; 0 for no limit.
    pub concurrency_limit: u32,
    /// The count of calls at a time, carried as the rate is.
    pub concurrency: Arc<Concurrency>,
}

/// With the two counts of its `Arc`, a million of them are 160 MB: one byte more, and the allocator makes it 192.
const _: () = assert!(size_of::<Hook>() <= 160 - 2 * size_of::<usize>());

impl Hook {
    /// Whether a flow sends the body of an event on as it was received.
    #[must_use]
    pub fn sends_raw(&self) -> bool {
        matches!(self.reads, Reads::Whole { has_raw: true })
    }

    /// Whether the callers that may come in are those of `other`.
    #[must_use]
    pub fn has_credentials_of(&self, other: &Hook) -> bool {
        match (&self.options, &other.options) {
            (None, None) => true,
            (Some(one), Some(two)) => one.has_credentials_of(two),
            (Some(one), None) | (None, Some(one)) => one.has_credentials_of(&HookOptions::default()),
        }
    }

    /// Basic authentication, if it is on.
    #[must_use]
    pub fn basic(&self) -> Option<&Basic> {
        self.options.as_deref()?.basic.as_ref()
    }

    /// The credential that every call must carry, if there is one beside basic authentication.
    #[must_use]
    pub fn auth(&self) -> Option<&Auth> {
        self.options.as_deref()?.auth.as_ref()
    }

    /// The places in a request's head that hold a credential of the webhook, which stays out of payloads.
    #[must_use]
    pub fn hidden(&self) -> Hidden<'_> {
        self.options.as_deref().map_or_else(Hidden::default, HookOptions::hidden)
    }

    /// How repeats are told, if they are.
    #[must_use]
    pub fn deduplicate(&self) -> Option<&Deduplicate> {
        self.options.as_deref()?.deduplicate.as_deref()
    }

    /// Records that are kept of the webhook, where it says.
    #[must_use]
    pub fn record_events(&self) -> Option<u32> {
        self.options.as_deref()?.record_events
    }

    /// Whether payloads hold the body's bytes, too.
    #[must_use]
    pub fn has_raw_body(&self) -> bool {
        self.options.as_deref().is_some_and(|options| options.raw_body)
    }
}

/// The parts of an event that all flows of a webhook read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// There are templates only, and these parts are all that they look at.
    Templates(Parts),
    /// Some are delivered, and what is delivered is the whole payload.
    Whole {
        /// A delivering node sends the body as it was received.
        has_raw: bool,
    },
}

/// One flow as one webhook triggers it.
#[derive(Debug)]
pub struct FlowPlan {
    pub flow_id: Id,
    /// The webhook that triggers it.
    pub webhook_id: Id,
    /// Bytes of a reply to a caller of the webhook.
    pub reply_bytes_max: u32,
    /// Triggers that wait for its workers; the same for every webhook that triggers it.
    pub backlog: Arc<Backlog>,
    /// Counts of its recent runs; the same for every webhook that triggers it.
    pub runs: Arc<FlowRuns>,
    /// The part of the payload that is the same for each of its triggers.
    pub tail: Arc<Tail>,
    /// The nodes that the trigger's wires lead to, nearest first.
    pub steps: Box<[Step]>,
    /// The wires, where conditions decide which of the steps run, or steps run once a delivery is done. `None`: all of
    /// them, in their order.
    pub branches: Option<Box<Branches>>,
}

impl FlowPlan {
    /// Whether steps stand behind a step that is no condition.
    #[must_use]
    pub fn leads_on(&self, step: usize) -> bool {
        let branches = self.branches.as_deref();
        branches.and_then(|branches| branches.behind.get(step)).is_some_and(|behind| !behind[0].is_empty())
    }
}

/// How the steps of a flow with conditions are wired; steps are named by their places in [`FlowPlan::steps`].
#[derive(Debug)]
pub struct Branches {
    /// The steps that the trigger leads to itself.
    pub first: Box<[u16]>,
    /// The steps behind each step: behind a condition those of false and those of true, behind any other all in the
    /// first list.
    pub behind: Box<[[Box<[u16]>; 2]]>,
}

/// A node that a trigger reaches.
#[derive(Debug)]
pub struct Step {
    pub node_id: Arc<str>,
    pub action: Action,
}

/// The compiled action of a node. All webhooks that trigger the flow share it.
#[derive(Clone, Debug)]
pub enum Action {
    Reply(Arc<ReplyNode>),
    /// Decides which steps run behind it.
    Condition(Arc<Condition>),
    /// Logs what the template renders.
    Debug(Arc<Template>),
    Worker(WorkerPlan),
    Forward(TargetNode),
    /// Nothing: an annotation, or a node that decides or shows nothing.
    Pass,
}

impl Action {
    /// Whether the trigger is handed over, so that the steps behind run later.
    #[must_use]
    pub fn delivers(&self) -> bool {
        matches!(self, Action::Worker(_) | Action::Forward(_))
    }
}

/// A `WorkerNode` with its settings resolved.
#[derive(Clone, Debug)]
pub struct WorkerPlan {
    pub ack_timeout_seconds: u32,
    pub max_in_flight: u32,
}

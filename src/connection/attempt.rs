//! Deliveries to targets as they pass between cores and the threads that make their attempts: what is to be delivered,
//! how an attempt ended, and what is kept of a delivery that was given up.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::Behind;
use crate::deliver::entry::{DeliveryKind, Receipt, StoredDelivery, StoredEntry};
use crate::deliver::request::RequestError;
use crate::deliver::schedule::DeadReason;
use crate::metrics::Event;
use crate::registry::{Action, FlowPlan, TargetNode};
use crate::reply::{CallerKind, Reply, ReplyStream, StreamWatch};
use crate::trigger::Payload;

/// Bytes of an answer that a dead letter keeps ([deliveries](crate::guide::deliveries#dead-letters)).
pub const ANSWER_KEPT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of an answer that are kept between two attempts: of each trigger that waits.
const ANSWER_BETWEEN_BYTES_MAX: usize = 256;

/// Number of an attempt: it names no later one of the same delivery, and none of a core that has started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptId {
    /// Names the start of the core.
    pub(crate) start: u64,
    pub(crate) delivery: Key,
    pub(crate) attempt: u32,
}

/// A trigger for a target, on its way to the owner of its flow or kept by it.
#[derive(Clone, Debug)]
pub(crate) struct ForwardTrigger {
    pub(crate) plan: Arc<FlowPlan>,
    /// `plan.steps[step]` is the node.
    pub(crate) step: usize,
    pub(crate) payload: Payload,
    /// The same for all deliveries of an event.
    pub(crate) event_id: u128,
    pub(crate) accepted_unix_millis: u64,
    /// The caller's `replyId`.
    pub(crate) reply_id: Option<Arc<str>>,
    /// When the caller stops waiting; `None` if none waits.
    pub(crate) expires_nanos: Option<u64>,
    /// The nodes that run once it is done.
    pub(crate) behind: Option<Arc<Behind>>,
    /// Its share in the entry of a journal.
    pub(crate) receipt: Option<Receipt>,
}

impl ForwardTrigger {
    /// The node, compiled, and its id.
    pub(crate) fn node(&self) -> Option<(&TargetNode, &Arc<str>)> {
        let step = self.plan.steps.get(self.step)?;
        match &step.action {
            Action::Forward(node) => Some((node, &step.node_id)),
            _ => None,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum AttemptResult {
    /// The target answered, whatever it said.
    Answered(TargetAnswer),
    /// NATS has the message. Who reads it may reply.
    Published,
    Failed(AttemptError),
}

/// Answer of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetAnswer {
    pub status: u16,
    /// The fields, where a caller waits for them.
    pub headers: Vec<(String, String)>,
    /// The body where a caller waits for it, else its beginning.
    pub body: Bytes,
    /// The pause that `Retry-After` asks for.
    pub retry_after_nanos: Option<u64>,
}

impl TargetAnswer {
    /// Whether the delivery is done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The reply for a caller that waits.
    fn into_reply(self) -> Reply {
        let TargetAnswer { status, headers, body, .. } = self;
        let (response_code, body) = (Some(i64::from(status)), Some(body));
        Reply { response_code, headers, body, is_binary: true, ..Reply::default() }
    }
}

/// Answer of a target whose body is still being received, for a caller that waits.
#[derive(Debug)]
pub struct BegunAnswer {
    /// With the beginning of the body.
    pub answer: TargetAnswer,
    /// The rest of the body.
    pub stream: ReplyStream,
    /// Whether it is still being received.
    pub watch: StreamWatch,
}

impl BegunAnswer {
    /// The reply for the caller, and whether the rest of it is still being received.
    pub(crate) fn into_reply(self) -> (Reply, StreamWatch) {
        let BegunAnswer { answer, stream, watch } = self;
        let only_for = Some(CallerKind::Http);
        (Reply { only_for, stream: Some(stream), ..answer.into_reply() }, watch)
    }
}

/// Why an attempt got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// No request can be made of the payload.
    Request(RequestError),
    /// The name of the target has no address: why.
    Resolve(String),
    /// The address that the name leads to is not allowed.
    Denied(IpAddr),
    /// No connection could be made: why.
    Connect(String),
    /// TLS could not be agreed on: why.
    Tls(String),
    /// No complete answer within `timeoutSeconds`, or before the caller stopped waiting.
    TimedOut,
    /// The connection broke, or what was received on it is not HTTP: why.
    Broken(String),
    /// The body is larger than a reply may be.
    TooLarge,
    /// The caller that the answer was passed on to did not take it in time.
    NotTaken,
    /// NATS did not take the message: why.
    Refused(String),
    /// The threads that make attempts take no more, or have ended.
    Busy,
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptError::Request(error) => write!(f, "no request can be made: {error}"),
            AttemptError::Resolve(why) => write!(f, "the target's name has no address: {why}"),
            AttemptError::Denied(ip) => write!(f, "the target's address {ip} is not allowed"),
            AttemptError::Connect(why) => write!(f, "the target cannot be reached: {why}"),
            AttemptError::Tls(why) => write!(f, "TLS with the target failed: {why}"),
            AttemptError::TimedOut => f.write_str("the target did not answer in time"),
            AttemptError::Broken(why) => write!(f, "the target's answer is broken: {why}"),
            AttemptError::TooLarge => f.write_str("the target's answer is larger than a reply may be"),
            AttemptError::NotTaken => f.write_str("the caller did not take the target's answer in time"),
            AttemptError::Refused(why) => write!(f, "NATS did not take the message: {why}"),
            AttemptError::Busy => f.write_str("too many requests to targets are under way"),
        }
    }
}

impl std::error::Error for AttemptError {}

impl AttemptError {
    /// Why no later attempt can succeed, if none can.
    fn is_final(&self) -> Option<DeadReason> {
        match self {
            AttemptError::Request(RequestError::Loop) => Some(DeadReason::Loop),
            AttemptError::Request(RequestError::Template(..) | RequestError::Subject(_)) => {
                Some(DeadReason::Request)
            }
            _ => None,
        }
    }

    /// Status and words for a caller that waits: no addresses, no words of other programs.
    fn shown(&self) -> (i64, &'static str) {
        match self {
            AttemptError::Request(RequestError::Loop) => (502, "The request was forwarded too often"),
            AttemptError::Request(_) => (502, "No request to the target can be made of this one"),
            AttemptError::Resolve(_) => (502, "The target's name has no address"),
            AttemptError::Denied(_) => (502, "The target's address is not allowed"),
            AttemptError::Connect(_) => (502, "The target cannot be reached"),
            AttemptError::Tls(_) => (502, "TLS with the target failed"),
            AttemptError::TimedOut => (504, "The target did not answer in time"),
            AttemptError::Broken(_) => (502, "The target's answer is broken"),
            AttemptError::TooLarge => (502, "The target's answer is too large"),
            AttemptError::NotTaken => (504, "The target's answer was not taken in time"),
            AttemptError::Refused(_) => (502, "The target did not take the message"),
            AttemptError::Busy => (502, "Too many requests to targets are under way"),
        }
    }

    /// The metric that counts it.
    fn event(&self) -> Event {
        match self {
            AttemptError::Request(_) => Event::AttemptUnsendable,
            AttemptError::Resolve(_) | AttemptError::Connect(_) | AttemptError::Tls(_) => {
                Event::AttemptUnreachable
            }
            AttemptError::Denied(_) => Event::AttemptDenied,
            AttemptError::TimedOut => Event::AttemptTimeout,
            AttemptError::Refused(_) => Event::AttemptStatus,
            AttemptError::Broken(_)
            | AttemptError::TooLarge
            | AttemptError::NotTaken
            | AttemptError::Busy => Event::AttemptBroken,
        }
    }
}

impl AttemptResult {
    /// The metric that counts it.
    pub(crate) fn event(&self) -> Event {
        match self {
            AttemptResult::Answered(answer) if answer.is_success() => Event::AttemptOk,
            AttemptResult::Published => Event::AttemptOk,
            AttemptResult::Answered(_) => Event::AttemptStatus,
            AttemptResult::Failed(error) => error.event(),
        }
    }

    /// Why no later attempt can succeed, if none can.
    pub(crate) fn is_final(&self) -> Option<DeadReason> {
        const GONE: u16 = 410;
        match self {
            AttemptResult::Answered(answer) => (answer.status == GONE).then_some(DeadReason::Gone),
            AttemptResult::Published => None,
            AttemptResult::Failed(error) => error.is_final(),
        }
    }

    /// The reply for a caller that waits, if the attempt has one for it.
    pub(crate) fn into_reply(self) -> Option<Reply> {
        let reply = match self {
            AttemptResult::Published => return None,
            AttemptResult::Answered(answer) => answer.into_reply(),
            AttemptResult::Failed(error) => {
                let (status, message) = error.shown();
                let body = format!("{{\"error\":\"{message}\"}}");
                Reply { response_code: Some(status), body: Some(body.into()), ..Reply::default() }
            }
        };
        Some(reply)
    }

    /// The summary that a dead letter keeps, or the queue until the next attempt.
    pub(crate) fn summary(&self) -> LastAttempt {
        match self {
            AttemptResult::Answered(answer) => LastAttempt {
                status: Some(answer.status),
                error: format!("the target answered {}", answer.status),
                answer: answer.body.slice(..answer.body.len().min(ANSWER_KEPT_BYTES_MAX)),
            },
            AttemptResult::Published => LastAttempt::default(),
            AttemptResult::Failed(error) => {
                LastAttempt { status: None, error: error.to_string(), answer: Bytes::new() }
            }
        }
    }
}

/// The last attempt of a delivery that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastAttempt {
    /// The status, if the target answered.
    pub status: Option<u16>,
    pub error: String,
    /// The beginning of the answer's body.
    pub answer: Bytes,
}

impl LastAttempt {
    /// The same with less of the answer: what a trigger that waits may take.
    pub(crate) fn shortened(self) -> LastAttempt {
        let answer = Bytes::copy_from_slice(&self.answer[..self.answer.len().min(ANSWER_BETWEEN_BYTES_MAX)]);
        LastAttempt { answer, ..self }
    }
}

/// A delivery that was given up.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Names the delivery, as `webhook-id` did in each of its attempts.
    pub id: Arc<str>,
    /// The same for all deliveries of the event.
    pub event_id: u128,
    pub flow: Id,
    pub webhook: Id,
    pub node: Arc<str>,
    pub reason: DeadReason,
    /// How often it was tried.
    pub attempts: u32,
    pub accepted_unix_millis: u64,
    pub died_unix_millis: u64,
    /// `None` if it was never tried.
    pub last: Option<LastAttempt>,
    pub payload: Payload,
}

/// Why a dead letter is not delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReplayed {
    /// Its webhook, its flow or its node is gone, or it is not what was kept.
    Gone,
    /// Too much waits for the flow, the journal or the core: it can be tried again.
    Busy,
}

impl fmt::Display for NotReplayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotReplayed::Gone => "the webhook, the flow or the node that it was for is not there any more",
            NotReplayed::Busy => "too much is waiting to be delivered: try again later",
        })
    }
}

impl std::error::Error for NotReplayed {}

/// Told whether a dead letter is on its way again; on the thread of a core.
pub type ReplayCallback = Box<dyn FnOnce(Result<(), NotReplayed>) + Send>;

impl DeadLetter {
    /// The event of the letter with its one delivery, in the form that it is delivered again from.
    #[must_use]
    pub fn stored(&self) -> Vec<u8> {
        let delivery = StoredDelivery {
            flow: self.flow,
            node_id: Arc::clone(&self.node),
            tail: Arc::clone(&self.payload.tail),
            kind: DeliveryKind::Forward,
        };
        let entry = StoredEntry {
            webhook: self.webhook,
            event: self.payload.event.clone(),
            event_id: Some(self.event_id),
            reply_id: None,
            affinity: None,
            deliveries: vec![delivery],
        };
        let mut bytes = Vec::new();
        entry.write_front(&mut bytes);
        bytes.extend_from_slice(entry.event.bytes());
        bytes
    }
}

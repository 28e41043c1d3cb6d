//! Calls as the log of requests and traces tell of them, handed over by a core once they are answered. What becomes of
//! them is the sink's: nothing here waits.

use std::net::IpAddr;

use crate::base::id::Id;
use crate::base::trace::TraceContext;

/// A call that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCall {
    /// When it was answered, in milliseconds since 1970.
    pub unix_millis: u64,
    /// From its complete head to its answer, as far as a core had it.
    pub duration_nanos: u64,
    /// `None`: it was for no webhook.
    pub webhook: Option<Id>,
    /// Empty where no request was understood.
    pub method: Box<str>,
    /// The part of the path that follows the token; without the query, which may hold credentials.
    pub path: Box<str>,
    pub status: u16,
    /// Of the body, as far as it was received or declared.
    pub bytes: u64,
    pub refusal: Option<Box<str>>,
    pub request_id: Option<Box<str>>,
    pub peer: Option<IpAddr>,
    /// Its span, where traces are kept.
    pub span: Option<CallSpan>,
}

/// The span of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSpan {
    pub context: TraceContext,
    /// The caller's span; `None`: the trace begins here.
    pub parent: Option<u64>,
}

/// The span of a call that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct OpenSpan {
    pub(crate) span: CallSpan,
    /// Its `traceparent`, for what the call triggers.
    pub(crate) text: String,
}

/// Takes calls. Called on cores: must not block.
pub trait CallSink: Send + Sync {
    /// Takes a call, or drops and counts it.
    fn call(&self, call: ServedCall);
    /// Whether calls that were let in are wanted, and not only those that were refused.
    fn wants_all(&self) -> bool;
    /// Whether calls are to have spans.
    fn wants_spans(&self) -> bool;
}

/// A call as its core has it.
pub(crate) struct CallParts<'a> {
    pub(crate) webhook: Option<Id>,
    pub(crate) method: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) refusal: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) span: Option<CallSpan>,
    /// When it began, on the core's clock.
    pub(crate) since_nanos: u64,
}

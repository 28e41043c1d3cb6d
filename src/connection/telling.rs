//! A core tells of calls: to the sink that is there, and to the log at `debug`.

use std::borrow::Cow;

use super::calls::{CallParts, CallSpan, OpenSpan, ServedCall};
use super::context::CoreState;
use crate::base::trace::{TRACEPARENT_FIELD, TraceContext};
use crate::http;

/// Bytes of a path that are told.
const PATH_BYTES_MAX: usize = 512;
/// Bytes of a method that are told: more than any that is registered.
const METHOD_BYTES_MAX: usize = 32;

impl CoreState {
    /// Hands a call to those who are told of calls.
    #[cold]
    pub(crate) fn tell_call(&mut self, parts: CallParts<'_>) {
        tracing::debug!(
            id = parts.request_id,
            webhook = parts.webhook.map(tracing::field::display),
            status = parts.status,
            refusal = parts.refusal,
            "a request was decided"
        );
        let Some(sink) = &self.calls else { return };
        if parts.refusal.is_none() && !sink.wants_all() {
            return;
        }
        let now = self.read_clock();
        let shown = |bytes: &[u8], most: usize| match String::from_utf8_lossy(&bytes[..bytes.len().min(most)])
        {
            Cow::Borrowed(text) => Box::from(text),
            Cow::Owned(text) => text.into_boxed_str(),
        };
        sink.call(ServedCall {
            unix_millis: now.unix_millis,
            duration_nanos: now.nanos.saturating_sub(parts.since_nanos),
            webhook: parts.webhook,
            method: shown(parts.method, METHOD_BYTES_MAX),
            path: shown(parts.path, PATH_BYTES_MAX),
            status: parts.status,
            bytes: parts.bytes,
            refusal: parts.refusal.map(Box::from),
            request_id: parts.request_id.map(Box::from),
            peer: parts.peer,
            span: parts.span,
        });
    }

    /// The span of a request, a child of its caller's; `None` where no traces are kept, or this one is not to be.
    #[inline]
    pub(crate) fn begin_span(&mut self, request: &http::Request<'_>) -> Option<Box<OpenSpan>> {
        if self.has_spans { self.new_span(request) } else { None }
    }

    #[cold]
    fn new_span(&mut self, request: &http::Request<'_>) -> Option<Box<OpenSpan>> {
        let (high, low, span) =
            (self.span_ids.next_u64(), self.span_ids.next_u64(), self.span_ids.next_u64());
        let span = match request.field(TRACEPARENT_FIELD).and_then(TraceContext::parse) {
            Some(caller) if !caller.is_sampled => return None,
            Some(caller) => CallSpan { context: caller.child(span), parent: Some(caller.span) },
            None => {
                let trace = (u128::from(high) << u64::BITS | u128::from(low)).max(1);
                CallSpan {
                    context: TraceContext { trace, span: span.max(1), is_sampled: true },
                    parent: None,
                }
            }
        };
        Some(Box::new(OpenSpan { span, text: span.context.text() }))
    }
}

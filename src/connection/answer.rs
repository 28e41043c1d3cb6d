//! Responses: each is written into the connection's output, counted, and noted among the webhook's last requests.

use std::net::IpAddr;

use super::calls::{CallParts, OpenSpan};
use super::context::CoreState;
use super::recent::Note;
use crate::base::clock::Now;
use crate::base::request_id::RequestId;
use crate::http;
use crate::ingress::request;
use crate::ingress::respond::{self, Answer, Cors, Frame};
use crate::metrics::Outcome;
use crate::registry::Hook;
use crate::reply::{HttpReply, ReplyError};

/// One request, as far as its response depends on it.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a http::Request<'a>,
    /// `None`: it was for no webhook.
    pub(crate) hook: Option<&'a Hook>,
    /// Bytes of the body, as far as it was received or declared.
    pub(crate) bytes: usize,
    pub(crate) keep_alive: bool,
    pub(crate) now: Now,
    /// When its wait for a reply began; `None` if it did not wait.
    pub(crate) waited_since: Option<u64>,
    /// `None`: requests have no ids.
    pub(crate) id: Option<RequestId<'a>>,
    /// `None`: it has no span.
    pub(crate) span: Option<Box<OpenSpan>>,
    pub(crate) peer: Option<IpAddr>,
}

impl Exchange<'_> {
    /// Writes an answer of the engine's own.
    pub(crate) fn answer(&self, core: &mut CoreState, out: &mut Vec<u8>, answer: &Answer<'_>) {
        let cors = request::cors(core.rules.cors, self.hook, self.request);
        respond::answer(out, answer, &self.frame(cors, core.date.line(self.now.unix_millis)));
        core.metrics.count(answer.outcome());
        self.note(core, answer.status(), answer.refusal());
    }

    /// Writes the reply of a flow to a webhook's request.
    pub(crate) fn reply(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        hook: &Hook,
        reply: Result<HttpReply<'_>, ReplyError>,
    ) {
        if let Some(answer) = request::instead_of_reply(hook) {
            return self.answer(core, out, &answer);
        }
        match reply {
            Ok(reply) => {
                let cors = request::cors(core.rules.cors, self.hook, self.request);
                respond::reply(out, &reply, &self.frame(cors, core.date.line(self.now.unix_millis)));
                core.metrics.count(Outcome::Ok);
                self.note(core, reply.status, None);
            }
            Err(_) => self.answer(core, out, &Answer::BadReply("The workflow's reply is too large")),
        }
    }

    /// Notes that the connection becomes a WebSocket.
    pub(crate) fn upgraded(&self, core: &mut CoreState) {
        core.metrics.count(Outcome::Ok);
        self.note(core, SWITCHING_PROTOCOLS, None);
    }

    /// The `traceparent` of its span.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        self.span.as_ref().map(|open| open.text.as_str())
    }

    fn frame<'d>(&'d self, cors: Cors<'d>, date: &'d [u8]) -> Frame<'d> {
        Frame {
            date,
            keep_alive: self.keep_alive,
            http10: self.request.version() == http::Version::Http10,
            head_only: self.request.method() == http::Method::Head,
            cors,
            id: self.id,
        }
    }

    fn note(&self, core: &mut CoreState, status: u16, refusal: Option<&str>) {
        core.metrics.status(status);
        let payload = core.shown.take();
        let duration_nanos = self.waited_since.map(|since| self.now.nanos.saturating_sub(since));
        match duration_nanos {
            Some(nanos) => core.metrics.latency(nanos),
            // Counted when it leaves.
            None if core.awaited.is_some() => {}
            None => core.answered += 1,
        }
        if core.tells_calls {
            self.tell(core, status, refusal);
        }
        let Some(hook) = self.hook else { return };
        core.metrics.webhook(hook.webhook_id, status);
        if let Some(reason) = refusal {
            core.refusals.note(hook.webhook_id, reason, self.now);
        }
        core.recent.note(Note {
            webhook: hook.webhook_id,
            now: self.now,
            duration_nanos,
            method: self.request.method_bytes(),
            path: request::behind_token(hook, self.request.path()),
            query: request::shown_query(hook, self.request).as_deref(),
            status,
            bytes: self.bytes as u64,
            refusal,
            payload,
        });
    }
}

impl Exchange<'_> {
    /// Tells those who are told of calls.
    #[cold]
    fn tell(&self, core: &mut CoreState, status: u16, refusal: Option<&str>) {
        core.tell_call(CallParts {
            webhook: self.hook.map(|hook| hook.webhook_id),
            method: self.request.method_bytes(),
            path: match self.hook {
                Some(hook) => request::behind_token(hook, self.request.path()),
                None => request::path_without_token(self.request.path()),
            },
            status,
            bytes: self.bytes as u64,
            refusal,
            request_id: self.id.as_ref().map(RequestId::text),
            peer: self.peer,
            span: self.span.as_ref().map(|open| open.span),
            since_nanos: self.waited_since.unwrap_or(self.now.nanos),
        });
    }
}

const SWITCHING_PROTOCOLS: u16 = 101;

/// Writes a refusal that belongs to no request, and that ends the connection. `received` is what the connection was sent
/// and has not been consumed: where it begins as a HEAD no body follows (RFC 9110, 9.3.2).
pub(crate) fn refuse_into(core: &mut CoreState, out: &mut Vec<u8>, answer: &Answer<'_>, received: &[u8]) {
    let cors = if core.rules.cors { Cors::Any } else { Cors::Off };
    let unix_millis = core.now().unix_millis;
    let frame = Frame {
        date: core.date.line(unix_millis),
        keep_alive: false,
        http10: false,
        head_only: received.starts_with(b"HEAD "),
        cors,
        // There is no head to take one from.
        id: None,
    };
    respond::answer(out, answer, &frame);
    core.metrics.count(answer.outcome());
    core.metrics.status(answer.status());
    let since_nanos = core.now().nanos;
    core.tell_call(CallParts {
        webhook: None,
        method: b"",
        path: b"",
        status: answer.status(),
        bytes: 0,
        refusal: answer.refusal(),
        request_id: None,
        peer: None,
        span: None,
        since_nanos,
    });
}

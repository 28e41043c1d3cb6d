//! Responses: each is written into the connection's output, counted, and recorded among the webhook's last calls.

use super::calls::{CallParts, OpenSpan};
use super::context::CoreState;
use super::origin::RequestOrigin;
use super::present::Present;
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::request_id::RequestId;
use crate::http::{self, Framing};
use crate::ingress::framing::BodyFraming;
use crate::ingress::request;
use crate::ingress::respond::{self, Answer, Cors, Frame};
use crate::metrics::Outcome;
use crate::record::{Kind, NewAnswer, NewCall, OpenRecord, refusal_mark};
use crate::registry::Hook;
use crate::reply::{HttpReply, ReplyError};

/// One request, as far as its response and its record depend on it.
pub(crate) struct Exchange<'a> {
    pub(crate) request: &'a http::Request<'a>,
    /// `None`: it was for no webhook.
    pub(crate) hook: Option<&'a Hook>,
    pub(crate) origin: RequestOrigin<'a>,
    /// The body, if it is known to its end.
    pub(crate) body: Option<&'a [u8]>,
    /// Bytes of the body, as far as it was received or declared.
    pub(crate) bytes: usize,
    /// Time from the head to the end of the body.
    pub(crate) body_nanos: u64,
    /// The WebSocket that the connection becomes.
    pub(crate) websocket: Option<Id>,
    pub(crate) keep_alive: bool,
    pub(crate) now: Now,
    /// When its wait for a reply began; `None` if it did not wait.
    pub(crate) waited_since: Option<u64>,
    /// `None`: requests have no ids.
    pub(crate) id: Option<RequestId<'a>>,
    /// `None`: it has no span.
    pub(crate) span: Option<Box<OpenSpan>>,
}

impl<'a> Exchange<'a> {
    /// A request of which the head is known alone, and whose connection ends.
    pub(crate) fn new(
        request: &'a http::Request<'a>,
        hook: Option<&'a Hook>,
        origin: RequestOrigin<'a>,
        now: Now,
    ) -> Exchange<'a> {
        Exchange {
            request,
            hook,
            origin,
            body: None,
            bytes: 0,
            body_nanos: 0,
            websocket: None,
            keep_alive: false,
            now,
            waited_since: None,
            id: None,
            span: None,
        }
    }

    /// Writes an answer of the engine's own.
    pub(crate) fn answer(&self, core: &mut CoreState, out: &mut Vec<u8>, answer: &Answer<'_>) {
        let cors = request::cors(core.rules.cors, self.hook, self.request);
        let start = out.len();
        respond::answer(out, answer, &self.frame(cors, core.date.line(self.now.unix_millis)));
        core.metrics.count(answer.outcome());
        self.note(core, answer.status(), answer.refusal(), &out[start..]);
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
                let start = out.len();
                respond::reply(out, &reply, &self.frame(cors, core.date.line(self.now.unix_millis)));
                core.metrics.count(Outcome::Ok);
                self.note(core, reply.status, None, &out[start..]);
            }
            Err(_) => self.answer(core, out, &Answer::BadReply("The workflow's reply is too large")),
        }
    }

    /// Writes the head of a flow's reply whose body follows. Returns `false` if the response has no such body, and writes
    /// nothing.
    pub(crate) fn reply_head(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        hook: &Hook,
        reply: &HttpReply<'_>,
        framing: BodyFraming,
    ) -> bool {
        if request::instead_of_reply(hook).is_some() || !respond::can_stream(reply.status) {
            return false;
        }
        let cors = request::cors(core.rules.cors, self.hook, self.request);
        let frame = self.frame(cors, core.date.line(self.now.unix_millis));
        respond::reply_head(out, reply, &frame, framing);
        true
    }

    /// Notes the end of a reply that was sent while it was received: a part of the response, and how long it was.
    pub(crate) fn replied(
        &self,
        core: &mut CoreState,
        status: u16,
        refusal: Option<&str>,
        response: &[u8],
        response_bytes: u64,
    ) {
        core.metrics.count(if refusal.is_none() { Outcome::Ok } else { Outcome::BadReply });
        self.note_part(core, status, refusal, response, response_bytes);
    }

    /// Notes that the connection becomes a WebSocket, by this response. Returns its record.
    pub(crate) fn upgraded(&self, core: &mut CoreState, response: &[u8]) -> Present {
        core.metrics.count(Outcome::Ok);
        self.note(core, SWITCHING_PROTOCOLS, None, response)
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

    #[inline]
    fn note(&self, core: &mut CoreState, status: u16, refusal: Option<&str>, response: &[u8]) -> Present {
        self.note_part(core, status, refusal, response, response.len() as u64)
    }

    #[inline]
    fn note_part(
        &self,
        core: &mut CoreState,
        status: u16,
        refusal: Option<&str>,
        response: &[u8],
        response_bytes: u64,
    ) -> Present {
        core.metrics.status(status);
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
        let Some(hook) = self.hook else { return Present::Unrecorded };
        core.metrics.webhook(hook.webhook_id, status);
        if let Some(reason) = refusal {
            core.refusals.note(hook.webhook_id, reason, self.now);
        }
        let open = match core.present {
            Present::Unrecorded => {
                core.present = Present::Undecided;
                return Present::Unrecorded;
            }
            Present::Open(open) => {
                core.present = Present::Undecided;
                open
            }
            Present::Undecided => {
                if !self.is_recorded(core, hook, refusal.map(|reason| (status, reason))) {
                    return Present::Unrecorded;
                }
                self.open_record(core, hook)
            }
        };
        let nanos = core.exact_nanos();
        core.records.answer_in_part(&open, &NewAnswer { status, refusal, response, nanos }, response_bytes);
        Present::Open(open)
    }

    /// Begins the record of the call before its flows run, if it is to have one.
    pub(crate) fn begin_record(&self, core: &mut CoreState, hook: &Hook) {
        if core.present != Present::Undecided {
            return;
        }
        core.present = if self.is_recorded(core, hook, None) {
            let mut open = self.open_record(core, hook);
            open.verified_nanos = core.exact_nanos();
            Present::Open(open)
        } else {
            Present::Unrecorded
        };
    }

    /// Notes the call; returns whether it is recorded. `refused`: with this status, for this reason.
    #[inline]
    fn is_recorded(&self, core: &mut CoreState, hook: &Hook, refused: Option<(u16, &str)>) -> bool {
        let events = hook.record_events();
        if self.origin.replay_of.is_some() {
            core.records.note_call(hook.webhook_id, self.now);
            return core.records.keeps(events);
        }
        let mark = refused.map_or(0, |(status, reason)| {
            let request = self.request;
            refusal_mark(status, reason, request.method_bytes(), request.path(), request.query())
        });
        core.records.admit(hook.webhook_id, events, self.now, mark)
    }

    #[cold]
    fn open_record(&self, core: &mut CoreState, hook: &Hook) -> OpenRecord {
        let request = self.request;
        let hidden = hook.hidden();
        let body = self.body.unwrap_or_default();
        let query = request::shown_query(hook, request);
        let mut open = core.records.call(&NewCall {
            webhook: hook.webhook_id,
            now: self.now,
            events: hook.record_events(),
            kind: if hook.is_websocket { Kind::Connect } else { Kind::Request },
            is_sent: false,
            is_text: false,
            is_http10: request.version() == http::Version::Http10,
            is_whole: self.body.is_some(),
            is_chunked: request.framing() == Framing::Chunked,
            peer: self.origin.peer,
            connection: self.websocket,
            replay_of: self.origin.replay_of,
            method: request.method_bytes(),
            path: request::behind_token(hook, request.path()),
            query: query.as_deref(),
            fields: request.field_lines(),
            hidden_field: hidden.header,
            body,
            body_bytes: self.bytes as u64,
            request_id: self.id.as_ref().map_or(b"", RequestId::bytes),
        });
        open.body_nanos = self.body_nanos;
        open
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
                Some(hook) => match request::behind_token(hook, self.request.path()) {
                    // As in payloads.
                    b"" => b"/",
                    path => path,
                },
                None => request::path_without_token(self.request.path()),
            },
            status,
            bytes: self.bytes as u64,
            refusal,
            request_id: self.id.as_ref().map(RequestId::text),
            peer: self.origin.peer,
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

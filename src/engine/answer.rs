//! Responses on their way out: each is written into the connection's buffer, counted, and noted among the webhook's
//! last requests.

use super::core::Core;
use super::recent::Note;
use crate::base::clock::Now;
use crate::http;
use crate::ingress::request;
use crate::ingress::respond::{self, Answer, Frame};
use crate::metrics::Outcome;
use crate::registry::Hook;
use crate::reply::{HttpReply, ReplyError};

/// One request, as far as its response depends on it.
pub(super) struct Exchange<'a> {
    pub(super) core: &'a Core,
    pub(super) request: &'a http::Request<'a>,
    /// None: it was for no webhook.
    pub(super) hook: Option<&'a Hook>,
    /// Of the body, as far as it was taken or declared.
    pub(super) bytes: usize,
    pub(super) keep_alive: bool,
    pub(super) now: Now,
    /// Since when it waited; none where it did not.
    pub(super) waited_since: Option<u64>,
}

impl Exchange<'_> {
    /// Writes an answer of the engine's own.
    pub(super) fn answer(&self, out: &mut Vec<u8>, answer: &Answer<'_>) {
        let core = self.core;
        {
            let mut date = core.date.borrow_mut();
            respond::answer(out, answer, &self.frame(date.line(self.now.unix_millis)));
        }
        core.metrics.count(answer.outcome());
        self.note(answer.status(), answer.refusal());
    }

    /// Writes what a flow replied to a webhook's request.
    pub(super) fn reply(&self, out: &mut Vec<u8>, hook: &Hook, reply: Result<HttpReply<'_>, ReplyError>) {
        if let Some(answer) = request::instead_of_reply(hook) {
            return self.answer(out, &answer);
        }
        let core = self.core;
        match reply {
            Ok(reply) => {
                {
                    let mut date = core.date.borrow_mut();
                    respond::reply(out, &reply, &self.frame(date.line(self.now.unix_millis)));
                }
                core.metrics.count(Outcome::Ok);
                self.note(reply.status, None);
            }
            Err(_) => self.answer(out, &Answer::BadReply("The workflow's reply is too large")),
        }
    }

    /// The connection becomes a WebSocket.
    pub(super) fn upgraded(&self) {
        self.core.metrics.count(Outcome::Ok);
        self.note(SWITCHING_PROTOCOLS, None);
    }

    fn frame<'d>(&self, date: &'d [u8]) -> Frame<'d> {
        Frame {
            date,
            keep_alive: self.keep_alive,
            http10: self.request.version() == http::Version::Http10,
            head_only: self.request.method() == http::Method::Head,
            cors: self.core.rules.cors,
        }
    }

    fn note(&self, status: u16, refusal: Option<&str>) {
        let (core, now) = (self.core, self.now);
        core.metrics.status(status);
        let payload = core.shown.take();
        let duration_nanos = self.waited_since.map(|since| now.nanos.saturating_sub(since));
        match duration_nanos {
            Some(nanos) => core.metrics.latency(nanos),
            None => core.answered.set(core.answered.get() + 1),
        }
        let Some(hook) = self.hook else { return };
        core.recent.borrow_mut().note(Note {
            webhook: hook.webhook_id,
            now,
            duration_nanos,
            method: self.request.method_bytes(),
            path: request::behind_token(self.request.path()),
            query: self.request.query(),
            status,
            bytes: self.bytes as u64,
            refusal,
            payload,
        });
    }
}

const SWITCHING_PROTOCOLS: u16 = 101;

/// Writes a refusal that has no request to belong to, and that ends the connection. `received` is what the connection
/// was sent and has not been taken: where it begins as a HEAD no body follows (RFC 9110, 9.3.2).
pub(super) fn refuse_into(core: &Core, out: &mut Vec<u8>, answer: &Answer<'_>, now: Now, received: &[u8]) {
    let mut date = core.date.borrow_mut();
    let frame = Frame {
        date: date.line(now.unix_millis),
        keep_alive: false,
        http10: false,
        head_only: received.starts_with(b"HEAD "),
        cors: core.rules.cors,
    };
    respond::answer(out, answer, &frame);
    core.metrics.count(answer.outcome());
    core.metrics.status(answer.status());
}

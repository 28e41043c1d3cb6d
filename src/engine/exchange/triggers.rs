//! What a request that is whole sets off: verification, concurrency, and the flows of its webhook.

use std::sync::Arc;

use super::super::answer::Exchange;
use super::super::chains::{self, Known};
use super::super::core::Timer;
use super::super::flows::Busy;
use super::super::pending::{Outcome as Fate, Waited};
use super::super::spread::{Audience, Demand, demand, reply_at_once, run_flows};
use super::{From, Held, Triggered, is_trusted};
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::ingress::request::{self, AtBody};
use crate::ingress::respond::Answer;
use crate::registry::Hook;
use crate::reply::Rendered;
use crate::trigger::{self, BodyRefused, HttpData, Peer};
use crate::verify::provider::Provider;

/// A request that is whole.
pub(super) struct Whole<'a> {
    pub(super) from: &'a From<'a>,
    pub(super) hook: &'a Arc<Hook>,
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) body: &'a [u8],
}

impl Whole<'_> {
    /// Steps 8 to 10 of section 4: verification, concurrency, triggers.
    pub(super) fn decide(&self, out: &mut Vec<u8>) -> Triggered {
        let Whole { from, hook, exchange, body } = *self;
        if hook.signature.is_some() || !matches!(hook.provider, Provider::None) {
            from.core.worked();
        }
        match request::at_body(from.now, hook, exchange.request, body, &from.core.rules.public_url) {
            AtBody::Pass => self.trigger(out),
            AtBody::Answer(answer) => Triggered::Answer(answer),
            AtBody::Chain(pending) => match chains::known(from.core, hook, pending, body, from.now) {
                Known::Verdict(Ok(())) => self.trigger(out),
                Known::Verdict(Err(refusal)) => Triggered::Answer(request::refused_by_alexa(&refusal)),
                Known::Later(wait) => Triggered::Verify(Box::new(wait)),
            },
        }
    }

    /// Steps 9 and 10: concurrency, triggers. A template's reply is written to `out` at once.
    pub(super) fn trigger(&self, out: &mut Vec<u8>) -> Triggered {
        let Whole { from, hook, exchange, body } = *self;
        let core = from.core;
        if !hook.wait_for_reply {
            let listened = !hook.flows.is_empty() || from.tap.is_some();
            // A coding that cannot be undone is refused even where nobody listens, so that callers learn of it early.
            if (listened || exchange.request.field("content-encoding").is_some())
                && let Err(answer) =
                    self.run_flows(demand(core, hook, from.tap), None, &mut |_| Fate::NotWaiting)
            {
                return Triggered::Answer(answer);
            }
            return Triggered::Answer(request::default_answer(hook));
        }
        if !hook.concurrency.try_acquire(hook.concurrency_limit) {
            return Triggered::Answer(Answer::OverConcurrency);
        }
        let mut held = Held { core, hook, place: None };
        let mut replied = false;
        let send = &mut |reply: &Rendered<'_>| {
            if std::mem::replace(&mut replied, true) {
                return Fate::NotWaiting;
            }
            let http = reply.to_http(hook.response_code, hook.payload_bytes as usize);
            let fate =
                http.as_ref().map_or_else(|error| Fate::Refused(error.to_string()), |_| Fate::Accepted);
            exchange.reply(out, hook, http);
            fate
        };
        let deadline = from.now.nanos + u64::from(hook.reply_timeout_seconds) * NANOS_PER_SECOND;
        let demand = demand(core, hook, from.tap);
        // Where nobody comes to know the `replyId` nobody can reply later: there need be none.
        let tells_reply_id = demand.is_kept || demand.parts.has_reply_id() || hook.flows.is_empty();
        let place = tells_reply_id.then(|| held.take_place());
        let reply_id = place.map(|place| core.reply_id(place, hook.webhook_id));
        let waits = place.zip(reply_id.as_deref()).map(|(place, reply_id)| Waits {
            reply_id,
            place,
            until: deadline,
        });
        if let Err(answer) = self.run_flows(demand, waits.as_ref(), send) {
            return Triggered::Answer(answer);
        }
        if replied {
            return Triggered::Replied;
        }
        // A template's reply is there already: the request never waits.
        if let Some(Waited::Reply(reply)) = place.and_then(|place| core.pending.poll(place, None)) {
            return Triggered::Reply(reply);
        }
        let place = place.unwrap_or_else(|| held.take_place());
        core.pending.set_timer(place, core.set_timer(deadline, Timer::Reply(place)));
        Triggered::Wait(Box::new(held.keep(place, from.now, body.len())))
    }

    /// Writes what is demanded of the event once and runs every flow with it. `send` gets what templates reply, unless
    /// the event is kept: then the place of `waits` does.
    fn run_flows(
        &self,
        demand: Demand,
        waits: Option<&Waits<'_>>,
        send: &mut dyn FnMut(&Rendered<'_>) -> Fate,
    ) -> Result<(), Answer<'static>> {
        let Whole { from, hook, exchange: Exchange { request, .. }, body } = *self;
        let core = from.core;
        core.worked();
        let data = HttpData {
            method: request.method_bytes(),
            path: request::behind_token(request.path()),
            query: request.query(),
            fields: request.fields(),
            body,
            peer: from.peer.map_or(Peer::Local, Peer::Ip),
            peer_is_trusted: is_trusted(core, from.peer),
            hide_authorization: hook.basic.is_some(),
            cast: hook.cast,
            annotate_multipart: hook.annotate_multipart,
            payload_limit: hook.payload_bytes as usize,
            reply_id: waits.map(|waits| waits.reply_id),
        };
        let mut draft = core.draft.take();
        let written = match trigger::http_draft(&mut draft, from.now, &data, demand.parts) {
            Ok(written) => written,
            Err(refused) => {
                core.give_draft(draft);
                return Err(refusal(&refused));
            }
        };
        if !demand.is_kept {
            reply_at_once(core, hook, &written, hook.wait_for_reply, send);
            core.give_draft(draft);
            return Ok(());
        }
        let event = written.keep();
        core.give_draft(draft);
        let audience = Audience {
            tap: from.tap,
            affinity: None,
            reply_id: waits.map(|waits| waits.reply_id),
            place: waits.map(|waits| waits.place),
            expires_nanos: waits.map(|waits| waits.until),
            must: false,
        };
        run_flows(core, hook, event, &audience)
            .map_err(|Busy| Answer::Busy("The workflow's workers are behind, try again"))
    }
}

/// A caller that waits for a reply.
struct Waits<'a> {
    reply_id: &'a str,
    place: Key,
    until: u64,
}

fn refusal(refused: &BodyRefused) -> Answer<'static> {
    match refused {
        BodyRefused::TooLarge => Answer::TooLarge,
        other => Answer::Coding(other.status(), other.message()),
    }
}

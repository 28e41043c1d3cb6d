//! A complete request: verification, concurrency, and the flows of its webhook (steps 8 to 10 of section 4).

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Exchange;
use super::chains::CHAIN_WAIT_NANOS;
use super::context::CoreState;
use super::fanout::{Demand, TriggerContext, demand, reply_at_once, run_flows};
use super::message::ReplyOutcome;
use super::upgrade::Origin;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::slots::Key;
use crate::ingress::request::{self, AtBody};
use crate::ingress::respond::Answer;
use crate::registry::Hook;
use crate::reply::{self, Rendered, Reply};
use crate::trigger::{self, BodyRefused, HttpData, Payload, Peer, RawBody};
use crate::verify::alexa::{self, AlexaRefusal, FetchError, Lookup};
use crate::verify::provider::Provider;

/// A complete request.
pub(crate) struct CompleteRequest<'a> {
    pub(crate) origin: Origin<'a>,
    pub(crate) hook: &'a Arc<Hook>,
    pub(crate) exchange: &'a Exchange<'a>,
    pub(crate) body: &'a [u8],
}

/// Decision about a complete request.
#[must_use]
pub(crate) enum Decision {
    Answer(Answer<'static>),
    Reply(Box<Reply>),
    /// A template's reply, which has been written.
    Replied,
    WaitForReply(Box<ReplyWait>),
    WaitForChain(Box<ChainWait>),
}

/// A share of the webhook's concurrency, given back when dropped.
pub(crate) struct AdmissionGuard {
    hook: Arc<Hook>,
}

impl AdmissionGuard {
    /// Takes a share, if there is one.
    fn acquire(hook: &Arc<Hook>) -> Option<AdmissionGuard> {
        let is_admitted = hook.concurrency.try_acquire(hook.concurrency_limit);
        is_admitted.then(|| AdmissionGuard { hook: Arc::clone(hook) })
    }

    /// The webhook.
    pub(crate) fn hook(&self) -> &Arc<Hook> {
        &self.hook
    }
}

impl Drop for AdmissionGuard {
    fn drop(&mut self) {
        self.hook.concurrency.release();
    }
}

/// A request that waits for its reply. Ends with [`ReplyWait::end`].
pub(crate) struct ReplyWait {
    pub(crate) admission: AdmissionGuard,
    pub(crate) slot: Key,
    pub(crate) since: u64,
    pub(crate) deadline: u64,
    /// Bytes of the body.
    pub(crate) bytes: usize,
    /// The payload of its flows, where somebody watches.
    pub(crate) shown: Option<Payload>,
}

impl ReplyWait {
    /// Gives the slot back.
    pub(crate) fn end(&self, core: &mut CoreState) {
        core.metrics.wait_ended();
        core.pending.remove(self.slot);
    }
}

/// A request that waits for the chain that signed it.
pub(crate) struct ChainWait {
    pub(crate) hook: Arc<Hook>,
    pub(crate) pending: Box<alexa::Pending>,
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

impl ChainWait {
    /// The verdict about the request, from the outcome of the fetch.
    pub(crate) fn verdict(
        &self,
        outcome: Result<Arc<alexa::Chain>, FetchError>,
        body: &[u8],
        now: Now,
    ) -> Result<(), AlexaRefusal> {
        match outcome {
            Ok(chain) => alexa::finish(&self.pending, &chain, body, now),
            Err(error) => Err(AlexaRefusal::Fetch(error)),
        }
    }
}

impl CompleteRequest<'_> {
    /// Steps 8 to 10: verification, concurrency, triggers.
    pub(crate) fn decide(&self, core: &mut CoreState, out: &mut Vec<u8>) -> Decision {
        let CompleteRequest { hook, exchange, body, .. } = *self;
        if hook.signature.is_some() || !matches!(hook.provider, Provider::None) {
            core.worked();
        }
        match request::at_body(exchange.now, hook, exchange.request, body, &core.rules.public_url) {
            AtBody::Pass => self.trigger(core, out),
            AtBody::Answer(answer) => Decision::Answer(answer),
            AtBody::Chain(pending) => self.verify_chain(core, out, pending),
        }
    }

    fn verify_chain(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        pending: Box<alexa::Pending>,
    ) -> Decision {
        let now = self.exchange.now;
        let verdict = match core.chains.lookup(&pending.url, now) {
            Lookup::Good(chain) => alexa::finish(&pending, &chain, self.body, now),
            Lookup::Failed(error) => Err(AlexaRefusal::Fetch(error)),
            Lookup::Unknown => {
                let CoreState { chains, peers, .. } = core;
                match chains.ask(|| peers.own_sender(), &pending.url, self.origin.id, now) {
                    Err(error) => Err(AlexaRefusal::Fetch(error)),
                    Ok(ticket) => {
                        let deadline = now.nanos + CHAIN_WAIT_NANOS;
                        let hook = Arc::clone(self.hook);
                        return Decision::WaitForChain(Box::new(ChainWait {
                            hook,
                            pending,
                            ticket,
                            deadline,
                        }));
                    }
                }
            }
        };
        self.verified(core, out, verdict)
    }

    /// Continues with a request of which it is known whether Alexa signed it.
    pub(crate) fn verified(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        verdict: Result<(), AlexaRefusal>,
    ) -> Decision {
        match verdict {
            Ok(()) => self.trigger(core, out),
            Err(refusal) => Decision::Answer(request::refused_by_alexa(&refusal)),
        }
    }

    /// Steps 9 and 10: concurrency, triggers. A template's reply is written to `out` at once.
    fn trigger(&self, core: &mut CoreState, out: &mut Vec<u8>) -> Decision {
        let CompleteRequest { origin, hook, exchange, .. } = *self;
        if !hook.wait_for_reply {
            let is_read = !hook.flows.is_empty() || origin.observer.is_some();
            // A coding that cannot be undone is refused even where nobody reads, so that callers learn of it early.
            if is_read || exchange.request.field("content-encoding").is_some() {
                let demand = demand(core, hook, origin.observer);
                let mut caller = Caller { exchange, hook, out, reply: None, has_replied: true };
                if let Err(answer) = self.run(core, demand, None, &mut caller) {
                    return Decision::Answer(answer);
                }
            }
            return Decision::Answer(request::default_answer(hook));
        }
        let Some(admission) = AdmissionGuard::acquire(hook) else {
            return Decision::Answer(Answer::OverConcurrency);
        };
        let deadline = exchange.now.nanos + u64::from(hook.reply_timeout_seconds) * NANOS_PER_SECOND;
        let demand = demand(core, hook, origin.observer);
        // Where nobody learns the `replyId` nobody can reply later: there need be none.
        let tells_reply_id = demand.is_kept || demand.parts.has_reply_id() || hook.flows.is_empty();
        let slot = tells_reply_id.then(|| core.pending.insert_request(hook.payload_bytes));
        let reply_id = slot.map(|slot| core.reply_id(slot, hook.webhook_id));
        let target =
            slot.zip(reply_id.as_deref()).map(|(slot, reply_id)| ReplyTarget { reply_id, slot, deadline });
        let mut caller = Caller { exchange, hook, out, reply: None, has_replied: false };
        let run = self.run(core, demand, target.as_ref(), &mut caller);
        let decision = match run {
            Err(answer) => Decision::Answer(answer),
            Ok(()) => match caller.reply {
                Some(reply) => Decision::Reply(reply),
                None if caller.has_replied => Decision::Replied,
                // A flow may have named the slot in a reply to another caller's id.
                None => match slot.and_then(|slot| core.pending.take_reply(slot)) {
                    Some(reply) => Decision::Reply(reply),
                    None => return self.wait(core, admission, slot, deadline),
                },
            },
        };
        if let Some(slot) = slot {
            core.pending.remove(slot);
        }
        decision
    }

    fn wait(
        &self,
        core: &mut CoreState,
        admission: AdmissionGuard,
        slot: Option<Key>,
        deadline: u64,
    ) -> Decision {
        let slot = slot.unwrap_or_else(|| core.pending.insert_request(self.hook.payload_bytes));
        core.pending.suspend(slot, self.origin.id);
        core.metrics.wait_begun();
        Decision::WaitForReply(Box::new(ReplyWait {
            admission,
            slot,
            since: self.exchange.now.nanos,
            deadline,
            bytes: self.body.len(),
            shown: core.shown.take(),
        }))
    }

    /// Writes what is demanded of the event once and runs every flow with it.
    fn run(
        &self,
        core: &mut CoreState,
        demand: Demand,
        target: Option<&ReplyTarget<'_>>,
        caller: &mut Caller<'_>,
    ) -> Result<(), Answer<'static>> {
        let CompleteRequest { origin, hook, exchange: Exchange { request, now, .. }, body } = *self;
        core.worked();
        let data = HttpData {
            method: request.method_bytes(),
            path: request::behind_token(request.path()),
            query: request.query(),
            fields: request.fields(),
            body,
            peer: origin.peer.map_or(Peer::Local, Peer::Ip),
            peer_is_trusted: core.is_trusted(origin.peer),
            hide_authorization: hook.basic.is_some(),
            cast: hook.cast,
            annotate_multipart: hook.annotate_multipart,
            payload_limit: hook.payload_bytes as usize,
            reply_id: target.map(|target| target.reply_id),
        };
        let slot = target.map(|target| target.slot);
        let mut draft = std::mem::take(&mut core.draft);
        let written = match trigger::http_draft(&mut draft, *now, &data, demand.parts) {
            Ok(written) => written,
            Err(refused) => {
                core.give_draft(draft);
                return Err(refusal(&refused));
            }
        };
        if !demand.is_kept {
            let send = &mut |core: &mut CoreState, reply: &Rendered<'_>| caller.reply_now(core, reply);
            reply_at_once(core, hook, &written, hook.wait_for_reply, slot, send);
            core.give_draft(draft);
            return Ok(());
        }
        let mut event = written.keep();
        core.give_draft(draft);
        if hook.sends_raw() {
            let field = |name: &str| request.field(name).map(Box::from);
            event = event.with_raw(RawBody {
                bytes: Bytes::copy_from_slice(body),
                content_type: field("content-type"),
                content_encoding: field("content-encoding"),
            });
        }
        let context = TriggerContext {
            observer: origin.observer,
            affinity: None,
            reply_id: target.map(|target| target.reply_id),
            slot,
            expires_nanos: target.map(|target| target.deadline),
            must: false,
            websocket: None,
            receipt: None,
        };
        let send = &mut |_: &mut CoreState, reply: Box<Reply>| caller.keep(reply);
        run_flows(core, hook, event, &context, send).map_err(|not_taken| Answer::Busy(not_taken.reason()))
    }
}

/// A caller that may wait for a reply.
struct ReplyTarget<'a> {
    reply_id: &'a str,
    slot: Key,
    deadline: u64,
}

/// The caller, as its webhook's flows reply to it: the first reply counts.
struct Caller<'a> {
    exchange: &'a Exchange<'a>,
    hook: &'a Hook,
    out: &'a mut Vec<u8>,
    /// A reply that is to be written once all flows have run.
    reply: Option<Box<Reply>>,
    /// It has been replied to, or takes no reply.
    has_replied: bool,
}

impl Caller<'_> {
    /// Writes a template's reply.
    fn reply_now(&mut self, core: &mut CoreState, reply: &Rendered<'_>) -> ReplyOutcome {
        if std::mem::replace(&mut self.has_replied, true) {
            return ReplyOutcome::NotWaiting;
        }
        let http = reply.to_http(self.hook.response_code, self.hook.payload_bytes as usize);
        let outcome = http
            .as_ref()
            .map_or_else(|error| ReplyOutcome::Refused(error.to_string()), |_| ReplyOutcome::Accepted);
        self.exchange.reply(core, self.out, self.hook, http);
        outcome
    }

    /// Keeps a reply until all flows have run.
    fn keep(&mut self, reply: Box<Reply>) -> ReplyOutcome {
        if std::mem::replace(&mut self.has_replied, true) {
            return ReplyOutcome::NotWaiting;
        }
        let size = reply::check_size(reply.body.as_deref(), self.hook.payload_bytes as usize);
        self.reply = Some(reply);
        size.map_or_else(|error| ReplyOutcome::Refused(error.to_string()), |()| ReplyOutcome::Accepted)
    }
}

fn refusal(refused: &BodyRefused) -> Answer<'static> {
    match refused {
        BodyRefused::TooLarge => Answer::TooLarge,
        other => Answer::Coding(other.status(), other.message()),
    }
}

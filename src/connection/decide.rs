//! A complete request: verification, concurrency, and the flows of its webhook (steps 8 to 10 of [HTTP
//! requests](crate::guide::http_requests#steps)).

mod caller;
mod waits;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::caller::reply_status;
use self::caller::{Caller, ReplyTarget};
use self::waits::settle_key;
pub(crate) use self::waits::{AdmissionGuard, ChainWait, KeyWait, ReplyWait};

use super::answer::Exchange;
use super::context::CoreState;
use super::durable;
use super::fanout::{Demand, NotTaken, TriggerContext, demand, reply_at_once, run_flows};
use super::key_notes;
use super::shared_keys::SharedKey;
use super::upgrade::RequestOrigin;
use super::waiters::FETCH_WAIT_NANOS;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::ingress::request::{self, AtBody};
use crate::ingress::respond::Answer;
use crate::journal::Note;
use crate::limit::{CallKey, Claim, KeyOutcome, Taken};
use crate::metrics::Event;
use crate::registry::{Deduplicate, Hook};
use crate::reply::{Rendered, Reply};
use crate::template::Escape;
use crate::trigger::{self, BodyRefused, HttpData, Peer, RawBody};
use crate::verify::alexa::{self, AlexaRefusal, Lookup};
use crate::verify::provider::Provider;

/// A complete request.
pub(crate) struct CompleteRequest<'a> {
    pub(crate) origin: RequestOrigin<'a>,
    pub(crate) hook: &'a Arc<Hook>,
    pub(crate) exchange: &'a Exchange<'a>,
    pub(crate) body: &'a [u8],
    /// Number of its id, if that is made.
    pub(crate) number: u64,
}

/// Decision about a complete request.
#[must_use]
pub(crate) enum Decision {
    Answer(Answer<'static>),
    Reply(Box<Reply>),
    /// A template's reply, which has been written, with this status.
    Replied(u16),
    WaitForReply(Box<ReplyWait>),
    WaitForChain(Box<ChainWait>),
    WaitForKey(Box<KeyWait>),
}

/// Reason for refusing a call where no other node can be asked for its key.
const KEY_UNKNOWN: &str = "The cluster does not answer whether this is a repeat, try again later";
/// How long the claim of a key lasts whose node has ended, beside the time that its call may wait for a reply: no call
/// takes longer to be accepted, as a rule.
const CLAIM_SECONDS: u64 = 60;
/// Reason for refusing a call whose key another one has that may be refused still.
const KEY_CLAIMED: &str = "A call with the same key is being accepted, try again later";
impl CompleteRequest<'_> {
    /// Steps 8 to 10: verification, concurrency, triggers.
    pub(crate) fn decide(&self, core: &mut CoreState, out: &mut Vec<u8>) -> Decision {
        let CompleteRequest { origin, hook, exchange, body, .. } = *self;
        if origin.replay_of.is_some() {
            // It was genuine, and it is to trigger again.
            return self.trigger(core, out, None);
        }
        if hook.signature.is_some() || !matches!(hook.provider, Provider::None) {
            core.worked();
        }
        match request::at_body(exchange.now, hook, exchange.request, body, &core.rules.public_url) {
            AtBody::Pass => self.deduplicate(core, out),
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
                        let deadline = now.nanos + FETCH_WAIT_NANOS;
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
            Ok(()) => self.deduplicate(core, out),
            Err(refusal) => Decision::Answer(request::refused_by_alexa(&refusal)),
        }
    }

    /// The end of step 8: a call whose key was taken triggers nothing.
    fn deduplicate(&self, core: &mut CoreState, out: &mut Vec<u8>) -> Decision {
        let Some(deduplicate) = self.hook.deduplicate() else { return self.trigger(core, out, None) };
        let key = match self.key(core, deduplicate) {
            Ok(Some(key)) => key,
            Ok(None) => return self.trigger(core, out, None),
            Err(answer) => return Decision::Answer(answer),
        };
        let now = self.exchange.now;
        let claim = match deduplicate.keys.claim(key, now.unix_millis, deduplicate.window_millis) {
            Ok(claim) => claim,
            Err(taken) => return self.repeat(taken),
        };
        if core.key_claims.are_shared() {
            self.claim_everywhere(core, deduplicate, claim)
        } else {
            self.trigger_once(core, out, deduplicate, claim)
        }
    }

    /// The answer to a call whose key another one has.
    fn repeat(&self, taken: Taken) -> Decision {
        Decision::Answer(match taken {
            // What is answered now would be lost with the other call.
            Taken::Claimed if !self.hook.wait_for_reply => Answer::Busy(KEY_CLAIMED),
            Taken::Kept | Taken::Claimed => Answer::Duplicate(Box::new(request::default_answer(self.hook))),
        })
    }

    /// Has the key of the call claimed on the other nodes, too.
    fn claim_everywhere(&self, core: &mut CoreState, deduplicate: &Deduplicate, claim: Claim) -> Decision {
        let (hook, now) = (Arc::clone(self.hook), self.exchange.now);
        let reply_seconds = if hook.wait_for_reply { u64::from(hook.reply_timeout_seconds) } else { 0 };
        let key = SharedKey {
            webhook: hook.webhook_id,
            mark: deduplicate.mark,
            taken: claim.taken(),
            window_millis: deduplicate.window_millis,
            claim_seconds: CLAIM_SECONDS + reply_seconds,
            waits_for_others: !hook.wait_for_reply,
        };
        let CoreState { key_claims, peers, .. } = core;
        let (ticket, deadline) = key_claims.ask(peers.own_sender(), key, self.origin.id, now);
        Decision::WaitForKey(Box::new(KeyWait { hook, claim, ticket, deadline }))
    }

    /// Continues with a request whose key this node has, once it is known whether another node has it.
    pub(crate) fn claimed(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        claim: Claim,
        outcome: KeyOutcome,
    ) -> Decision {
        match (outcome, self.hook.deduplicate()) {
            (KeyOutcome::Claimed(shared), Some(deduplicate)) => {
                self.trigger_once(core, out, deduplicate, claim.share(shared))
            }
            // The hook is the one that the key was rendered for.
            (KeyOutcome::Claimed(_), None) => self.trigger(core, out, None),
            (KeyOutcome::Taken(taken), _) => self.repeat(taken),
            (KeyOutcome::Unknown, _) => Decision::Answer(Answer::Busy(KEY_UNKNOWN)),
        }
    }

    /// Triggers for a call that has its key, which is kept or given back by its answer.
    fn trigger_once(
        &self,
        core: &mut CoreState,
        out: &mut Vec<u8>,
        deduplicate: &Deduplicate,
        claim: Claim,
    ) -> Decision {
        let note = key_notes::note(self.hook, deduplicate, &claim);
        let decision = match self.trigger(core, out, Some(&note)) {
            Decision::WaitForReply(mut wait) => {
                wait.claim = Some(Box::new(claim));
                return Decision::WaitForReply(wait);
            }
            decision @ Decision::Answer(_) if !self.hook.wait_for_reply => {
                // Whatever status the webhook has for a call that was taken.
                let is_taken = matches!(&decision, Decision::Answer(answer) if answer.refusal().is_none());
                return match is_taken.then(|| durable::keep_key(core, &note, claim)) {
                    None | Some(Ok(())) => decision,
                    Some(Err((refused, _))) => {
                        core.metrics.event(Event::JournalRefused);
                        Decision::Answer(Answer::Busy(NotTaken::Journal(refused).reason()))
                    }
                };
            }
            decision => decision,
        };
        settle_key(core, &note, claim, decision.status(self.hook));
        if matches!(decision, Decision::Replied(_)) && core.awaited.is_some() {
            // It is counted when it leaves.
            core.answered = core.answered.saturating_sub(1);
        }
        decision
    }

    /// Renders the key of the call; `None` if it has none, because it renders empty or takes too much work.
    ///
    /// # Errors
    /// If the body's coding cannot be undone.
    fn key(
        &self,
        core: &mut CoreState,
        deduplicate: &Deduplicate,
    ) -> Result<Option<CallKey>, Answer<'static>> {
        core.worked();
        let mut draft = std::mem::take(&mut core.draft);
        let claims = request::claims(self.hook, self.exchange.request);
        let data = self.data(core.is_trusted(self.origin.peer), claims.as_deref(), None);
        let key = match trigger::http_draft(&mut draft, self.exchange.now, &data, deduplicate.reads) {
            Err(refused) => Err(refusal(&refused)),
            Ok(written) => {
                let mut text = Vec::new();
                let payload = written.payload(&deduplicate.tail);
                let rendered = deduplicate.key.render(&payload, Escape::None, &mut text);
                let is_key = rendered.is_ok() && !text.trim_ascii().is_empty();
                Ok(is_key.then(|| CallKey::of(&text)))
            }
        };
        core.give_draft(draft);
        key
    }

    /// Steps 9 and 10: concurrency, triggers. A template's reply is written to `out` at once. `note`: of the call's key, for
    /// the entry of its event.
    fn trigger(&self, core: &mut CoreState, out: &mut Vec<u8>, note: Option<&Note>) -> Decision {
        let CompleteRequest { origin, hook, exchange, .. } = *self;
        if !hook.wait_for_reply {
            let is_read = !hook.flows.is_empty() || origin.observer.is_some();
            // A coding that cannot be undone is refused even where nobody reads, so that callers learn of it early.
            if is_read || exchange.request.field("content-encoding").is_some() {
                exchange.begin_record(core, hook);
                let demand = demand(hook, origin.observer);
                let mut caller = Caller { exchange, hook, out, reply: None, has_replied: true, status: 0 };
                if let Err(answer) = self.run(core, demand, None, &mut caller, note) {
                    return Decision::Answer(answer);
                }
            }
            return Decision::Answer(request::default_answer(hook));
        }
        let Some(admission) = AdmissionGuard::acquire(hook, origin.replay_of.is_some()) else {
            return Decision::Answer(Answer::OverConcurrency);
        };
        let deadline = exchange.now.nanos + u64::from(hook.reply_timeout_seconds) * NANOS_PER_SECOND;
        exchange.begin_record(core, hook);
        let demand = demand(hook, origin.observer);
        // Where nobody learns the `replyId` nobody can reply later: there need be none.
        let tells_reply_id = demand.is_kept || demand.parts.has_reply_id() || hook.flows.is_empty();
        let slot = tells_reply_id.then(|| core.pending.insert_request(hook.payload_bytes));
        let reply_id = slot.map(|slot| core.reply_id(slot, hook.webhook_id));
        let target =
            slot.zip(reply_id.as_deref()).map(|(slot, reply_id)| ReplyTarget { reply_id, slot, deadline });
        let mut caller = Caller { exchange, hook, out, reply: None, has_replied: false, status: 0 };
        let run = self.run(core, demand, target.as_ref(), &mut caller, None);
        let decision = match run {
            Err(answer) => Decision::Answer(answer),
            Ok(()) => match caller.reply {
                Some(reply) => Decision::Reply(reply),
                None if caller.has_replied => Decision::Replied(caller.status),
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
            number: self.number,
            span: self.exchange.span.clone(),
            record: std::mem::take(&mut core.present),
            claim: None,
        }))
    }

    /// Writes what is demanded of the event once and runs every flow with it.
    fn run(
        &self,
        core: &mut CoreState,
        demand: Demand,
        target: Option<&ReplyTarget<'_>>,
        caller: &mut Caller<'_>,
        note: Option<&Note>,
    ) -> Result<(), Answer<'static>> {
        let CompleteRequest { origin, hook, exchange: Exchange { request, now, .. }, body, .. } = *self;
        core.worked();
        let claims = request::claims(hook, request);
        let reply_id = target.map(|target| target.reply_id);
        let data = self.data(core.is_trusted(origin.peer), claims.as_deref(), reply_id);
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
            core.note_flows_ran();
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
            note,
            websocket: None,
            receipt: None,
            record: core.present.open().map(|open| open.name()),
        };
        let send = &mut |_: &mut CoreState, reply: Box<Reply>| caller.keep(reply);
        let taken = run_flows(core, hook, event, &context, send);
        core.note_flows_ran();
        taken.map_err(|not_taken| Answer::Busy(not_taken.reason()))
    }

    /// The values of the request from which its payload is built.
    fn data<'a>(
        &'a self,
        peer_is_trusted: bool,
        claims: Option<&'a [u8]>,
        reply_id: Option<&'a str>,
    ) -> HttpData<'a, impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone> {
        let CompleteRequest { origin, hook, exchange, body, .. } = *self;
        let request = exchange.request;
        HttpData {
            method: request.method_bytes(),
            path: request::behind_token(hook, request.path()),
            query: request.query(),
            fields: request::shown_fields(request, exchange.id.as_ref(), exchange.traceparent()),
            body,
            peer: origin.peer.map_or(Peer::Local, Peer::Ip),
            peer_is_trusted,
            hidden: hook.hidden(),
            cast: hook.cast,
            annotate_multipart: hook.annotate_multipart,
            raw_body: hook.has_raw_body(),
            claims,
            payload_limit: hook.payload_bytes as usize,
            reply_id,
        }
    }
}

impl Decision {
    /// The status of a decision that is no wait.
    fn status(&self, hook: &Hook) -> u16 {
        match self {
            Decision::Answer(answer) => answer.status(),
            Decision::Reply(reply) => reply_status(hook, reply),
            Decision::Replied(status) => *status,
            Decision::WaitForReply(_) | Decision::WaitForChain(_) | Decision::WaitForKey(_) => 0,
        }
    }
}

fn refusal(refused: &BodyRefused) -> Answer<'static> {
    match refused {
        BodyRefused::TooLarge => Answer::TooLarge,
        other => Answer::Coding(other.status(), other.message()),
    }
}

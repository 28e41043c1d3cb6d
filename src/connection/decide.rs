//! A complete request: verification, concurrency, and the flows of its webhook (steps 8 to 10 of [HTTP
//! requests](crate::guide::http_requests#steps)).

use std::sync::Arc;

use bytes::Bytes;

use super::answer::Exchange;
use super::calls::OpenSpan;
use super::context::CoreState;
use super::durable;
use super::fanout::{Demand, NotTaken, TriggerContext, demand, reply_at_once, run_flows};
use super::key_notes;
use super::message::ReplyOutcome;
use super::present::Present;
use super::upgrade::Origin;
use super::waiters::FETCH_WAIT_NANOS;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::slots::Key;
use crate::ingress::request::{self, AtBody};
use crate::ingress::respond::Answer;
use crate::journal::Note;
use crate::limit::{CallKey, Claim, Taken};
use crate::metrics::Event;
use crate::record::NewAnswer;
use crate::registry::{Deduplicate, Hook};
use crate::reply::{self, Rendered, Reply};
use crate::template::Escape;
use crate::trigger::{self, BodyRefused, HttpData, Peer, RawBody};
use crate::verify::alexa::{self, AlexaRefusal, FetchError, Lookup};
use crate::verify::provider::Provider;

/// A complete request.
pub(crate) struct CompleteRequest<'a> {
    pub(crate) origin: Origin<'a>,
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
}

/// Reason for refusing a call whose key another one has that may be refused still.
const KEY_CLAIMED: &str = "A call with the same key is being accepted, try again later";
/// A limit of the concurrency that is none.
const UNLIMITED: u32 = 0;

/// A share of the webhook's concurrency, given back when dropped.
pub(crate) struct AdmissionGuard {
    hook: Arc<Hook>,
}

impl AdmissionGuard {
    /// Takes a share, if there is one; a replay is let in without one.
    fn acquire(hook: &Arc<Hook>, is_replay: bool) -> Option<AdmissionGuard> {
        let limit = if is_replay { UNLIMITED } else { hook.concurrency_limit };
        let is_admitted = hook.concurrency.try_acquire(limit);
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
    /// Number of its id, if that is made.
    pub(crate) number: u64,
    pub(crate) span: Option<Box<OpenSpan>>,
    /// Its record.
    pub(crate) record: Present,
    /// The key that it has taken, given back if it gets no good answer.
    claim: Option<Box<Claim>>,
}

impl ReplyWait {
    /// Keeps the key of the call, if the status of its answer says that it was taken: its answer waits for that.
    pub(crate) fn settle_key(&mut self, core: &mut CoreState, status: u16) {
        if let (Some(claim), Some(deduplicate)) = (self.claim.take(), self.admission.hook.deduplicate()) {
            let note = key_notes::note(&self.admission.hook, deduplicate, &claim);
            settle_key(core, &note, *claim, status);
        }
    }

    /// Whether the call has taken a key.
    pub(crate) fn has_key(&self) -> bool {
        self.claim.is_some()
    }

    /// The caller is gone: ends the wait, and its record.
    pub(crate) fn abandon(&self, core: &mut CoreState) {
        if let Some(open) = self.record.open() {
            let nanos = core.exact_nanos();
            let refusal = Some("The caller has gone before its reply");
            core.records.answer(&open, &NewAnswer { status: 0, refusal, response: b"", nanos });
        }
        self.end(core);
    }

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
            // What is answered now would be lost with the other call.
            Err(Taken::Claimed) if !self.hook.wait_for_reply => {
                return Decision::Answer(Answer::Busy(KEY_CLAIMED));
            }
            Err(Taken::Kept | Taken::Claimed) => {
                return Decision::Answer(Answer::Duplicate(Box::new(request::default_answer(self.hook))));
            }
        };
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
            Decision::WaitForReply(_) | Decision::WaitForChain(_) => 0,
        }
    }
}

/// The status with which a reply reaches the caller.
pub(crate) fn reply_status(hook: &Hook, reply: &Reply) -> u16 {
    let http = reply::to_http(reply, hook.response_code, hook.payload_bytes as usize);
    final_status(hook, http.ok().map(|http| http.status))
}

/// `status` is that of the reply; `None` if it cannot be sent.
fn final_status(hook: &Hook, status: Option<u16>) -> u16 {
    request::instead_of_reply(hook)
        .map_or_else(|| status.unwrap_or(Answer::BadReply("").status()), |answer| answer.status())
}

/// Keeps a key, or gives it back: the sender of a call that got an error sends it again.
fn settle_key(core: &mut CoreState, note: &Note, claim: Claim, status: u16) {
    if status < FIRST_ERROR_STATUS
        && let Err((_, claim)) = durable::keep_key(core, note, claim)
    {
        // Its flow has replied, so that it is not refused: the key is kept as long as the process lasts.
        claim.keep(core.now().unix_millis);
    }
}

/// RFC 9110, 15.5.
const FIRST_ERROR_STATUS: u16 = 400;

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
    /// The status of a reply that was written.
    status: u16,
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
        if self.hook.deduplicate().is_some() {
            self.status = final_status(self.hook, http.as_ref().ok().map(|http| http.status));
        }
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

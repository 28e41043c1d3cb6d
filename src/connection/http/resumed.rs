//! How the machine continues with a request that has waited: its reply, a chain, keys or a permit have arrived.

use std::sync::Arc;

use super::relay::{Relay, Relayed};
use super::steps::{AwaitedEvent, Ongoing, reply_with, settle, stays};
use super::{HttpMachine, Next, Waiting, WaitingRequest};
use crate::base::buffer::ReceiveBuffer;
use crate::connection::answer::Exchange;
use crate::connection::context::{CoreContext, CoreState};
use crate::connection::decide::{CompleteRequest, Decision, KeyWait, reply_status};
use crate::connection::message::ChainOutcome;
use crate::connection::upgrade::RequestOrigin;
use crate::ingress::request::Waited;
use crate::ingress::respond::Answer;
use crate::limit::{KeyOutcome, PermitKind};
use crate::metrics::Event;
use crate::registry::Hook;

impl HttpMachine {
    /// Continues with the request that waits for its reply, if it has one or is overdue.
    pub(crate) fn on_reply(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        is_overdue: bool,
    ) -> Next {
        let reply = match &self.waiting {
            Some(Waiting::Reply(waiting)) => context.pending.take_reply(waiting.wait.slot),
            _ => return Next::Wait,
        };
        if reply.is_none() && !is_overdue {
            return Next::Wait;
        }
        let Some(Waiting::Reply(waiting)) = self.waiting.take() else { return Next::Wait };
        let WaitingRequest { mut wait, request: suspended } = *waiting;
        wait.end(context.core);
        let mut buffer = ReceiveBuffer::default();
        self.http.resume(&suspended, &mut buffer);
        buffer.extend(self.carry.unread());
        context.buffers.release(&mut self.carry);
        self.carry = buffer;
        let core = &mut *context.core;
        let stays = stays(&self.http, &self.carry, core);
        let request = self.http.request(&self.carry);
        let hook = Arc::clone(wait.admission.hook());
        let mut exchange = Exchange {
            bytes: wait.bytes,
            keep_alive: stays,
            waited_since: Some(wait.since),
            id: core.request_id(&request, wait.number),
            span: wait.span.take(),
            ..Exchange::new(&request, Some(&hook), origin, core.now())
        };
        if let Some(reply) = reply.as_deref().filter(|reply| reply.stream.is_some()) {
            match Relay::begin(core, out, &mut exchange, &hook, reply, wait, origin.id) {
                Ok(mut relay) => {
                    relay.wait.span = exchange.span.take();
                    self.waiting = Some(Waiting::Relay(Box::new(relay)));
                    return self.relay(context, origin, out);
                }
                Err(back) => wait = back,
            }
        }
        core.present = std::mem::take(&mut wait.record);
        match reply {
            Some(reply) => {
                if wait.has_key() {
                    wait.settle_key(core, reply_status(&hook, &reply));
                }
                let start = out.len();
                reply_with(core, &exchange, out, &hook, &reply);
                core.gate_reply(start);
            }
            None => {
                core.metrics.event(Event::ReplyTimeout);
                exchange.answer(core, out, &Answer::ReplyTimeout);
            }
        }
        self.answered(context, origin, out, stays)
    }

    /// Continues with the request whose reply is sent while it is received.
    pub(super) fn relay(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
    ) -> Next {
        let Some(Waiting::Relay(relay)) = &mut self.waiting else { return Next::Wait };
        let relayed = relay.pump(out);
        match relayed {
            Relayed::Full => return Next::Pause,
            Relayed::Waits => return Next::Wait,
            Relayed::Complete | Relayed::Cut => {}
        }
        let Some(Waiting::Relay(mut relay)) = self.waiting.take() else { return Next::Wait };
        let core = &mut *context.core;
        let request = self.http.request(&self.carry);
        let hook = Arc::clone(relay.wait.admission.hook());
        let exchange = Exchange {
            bytes: relay.wait.bytes,
            keep_alive: relay.stays,
            waited_since: Some(relay.wait.since),
            id: core.request_id(&request, relay.wait.number),
            span: relay.wait.span.take(),
            ..Exchange::new(&request, Some(&hook), origin, core.now())
        };
        relay.end(core, &exchange, relayed);
        if relayed == Relayed::Cut && relay.ends_by_reset() {
            return Next::Reset;
        }
        let stays = relay.stays && relayed == Relayed::Complete;
        self.answered(context, origin, out, stays)
    }

    /// Continues with the request that waits for its chain with this ticket; `None`: any.
    pub(crate) fn on_chain(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        ticket: Option<u64>,
        outcome: ChainOutcome,
    ) -> Next {
        let wait = match self.waiting.take() {
            Some(Waiting::Chain(wait)) if ticket.is_none_or(|ticket| ticket == wait.ticket) => wait,
            other => {
                self.waiting = other;
                return Next::Wait;
            }
        };
        let now = context.core.now();
        let hook = Arc::clone(&wait.hook);
        self.decide_again(context, origin, out, &hook, |complete, core, out| {
            let verdict = wait.verdict(outcome, complete.body, now);
            complete.verified(core, out, verdict)
        })
    }

    /// Continues with the request that waits for its key with this ticket; `None`: any.
    pub(crate) fn on_key(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        ticket: Option<u64>,
        outcome: KeyOutcome,
    ) -> Next {
        let wait = match self.waiting.take() {
            Some(Waiting::Key(wait)) if ticket.is_none_or(|ticket| ticket == wait.ticket) => wait,
            other => {
                self.waiting = other;
                return Next::Wait;
            }
        };
        let KeyWait { hook, claim, .. } = *wait;
        self.decide_again(context, origin, out, &hook, |complete, core, out| {
            complete.claimed(core, out, claim, outcome)
        })
    }

    /// Decides the complete request that has waited.
    fn decide_again(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        hook: &Arc<Hook>,
        decide: impl FnOnce(&CompleteRequest<'_>, &mut CoreState, &mut Vec<u8>) -> Decision,
    ) -> Next {
        let core = &mut *context.core;
        let now = core.now();
        let HttpMachine { http, request: ongoing, carry, waiting } = self;
        let stays = stays(http, carry, core);
        let request = http.request(carry);
        let body = http.body(carry);
        let exchange = Exchange {
            body: Some(body),
            bytes: body.len(),
            keep_alive: stays,
            id: core.request_id(&request, ongoing.number),
            span: core.begin_span(&request),
            ..Exchange::new(&request, Some(hook), origin, now)
        };
        let complete = CompleteRequest { origin, hook, exchange: &exchange, body, number: ongoing.number };
        let decision = decide(&complete, core, out);
        match settle(core, &exchange, out, hook, decision) {
            Some(AwaitedEvent::Reply(wait)) => {
                let request = http.suspend(carry);
                *waiting = Some(Waiting::Reply(Box::new(WaitingRequest { wait, request })));
                core.buffers.release(carry);
                Next::Wait
            }
            // One that was signed by the chain may have to claim its key.
            Some(AwaitedEvent::Key(wait)) => {
                *waiting = Some(Waiting::Key(wait));
                Next::Wait
            }
            // A request that was verified waits for no other chain.
            Some(AwaitedEvent::Chain(_)) | None => self.answered(context, origin, out, stays),
        }
    }

    /// Continues with the request that waits for the keys with this ticket; `None`: any. Its head is decided again.
    pub(crate) fn on_keys(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        ticket: Option<u64>,
    ) -> Next {
        match self.waiting {
            Some(Waiting::Keys(wait)) if ticket.is_none_or(|ticket| ticket == wait.ticket) => {}
            _ => return Next::Wait,
        }
        self.waiting = None;
        self.request.waited = Waited::Keys;
        self.resume(context, origin, out)
    }

    /// Continues with the request that waits for a token of its webhook's rate with this ticket; `None`: any. Its head is
    /// decided again.
    pub(crate) fn on_permit(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        ticket: Option<u64>,
    ) -> Next {
        let kind = match self.waiting {
            Some(Waiting::Permit(wait)) if ticket.is_none_or(|ticket| ticket == wait.ticket) => wait.kind,
            _ => return Next::Wait,
        };
        self.waiting = None;
        self.request.waited = match kind {
            PermitKind::Token => Waited::Permit,
            PermitKind::Place => Waited::Place,
        };
        self.resume(context, origin, out)
    }

    /// The present request, at the front of the carry, has its answer: continues behind it.
    fn answered(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        stays: bool,
    ) -> Next {
        self.http.finish(&mut self.carry);
        self.request = Ongoing::default();
        if stays { self.resume(context, origin, out) } else { Next::Close { linger: false } }
    }
}

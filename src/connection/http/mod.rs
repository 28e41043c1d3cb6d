//! The HTTP machine of a connection: every request that is complete is decided, and its answer is appended to the output,
//! before one write is started.
//!
//! A request that arrived whole is parsed, decided and answered in the buffer that it arrived in. Unread bytes are carried
//! over in a buffer of the connection's own. A request that waits for its reply keeps its request line, and whatever
//! follows it: no body, no fields.

mod next;
mod relay;
mod resumed;
mod state;
mod steps;

use std::sync::Arc;

pub(crate) use self::next::{GATHER_BYTES, Next};
use self::relay::{RELAY_CHECK_NANOS, Relay};
use self::steps::{
    AwaitedEvent, Ongoing, attach, keep, refresh_keys, refuse, refused_as, settle, skip_head, stays,
    wait_for_keys, wait_for_permit,
};
use super::answer::{Exchange, refuse_into};
use super::buffers::OutOfMemory;
use super::context::{CoreContext, CoreState};
use super::decide::{ChainWait, CompleteRequest, KeyWait, ReplyWait};
use super::key_sets::KeysWait;
use super::pace::Pace;
use super::permits::PermitWait;
use super::timeouts::Timeout;
use super::upgrade::{ListenerKind, RequestOrigin, Upgrade, accept_websocket};
use crate::base::buffer::ReceiveBuffer;
use crate::http::{self, Awaiting, Limits, Step, Suspended};
use crate::ingress::request::{self, AtHead, IngressContext, Waited};
use crate::ingress::respond::Answer;
use crate::metrics::Outcome;
use crate::registry::Hook;

/// The answer to `/readyz` where new requests are better sent elsewhere.
const NOT_READY: Answer<'static> = Answer::Refused(Outcome::Health, 503, "Not ready");

/// Answer to a body for which there is no memory.
const NO_MEMORY: Answer<'static> = Answer::Busy("Too many large bodies at once, try again");

/// A request that waits.
enum Waiting {
    Reply(Box<WaitingRequest>),
    /// Its reply is being sent while it is received.
    Relay(Box<Relay>),
    Chain(Box<ChainWait>),
    /// Of `deduplicate`.
    Key(Box<KeyWait>),
    Keys(KeysWait),
    Permit(PermitWait),
}

/// A request that waits for its reply, and all that its answer depends on.
pub(crate) struct WaitingRequest {
    wait: Box<ReplyWait>,
    /// Its request line, and the bytes behind it as they were when the wait began.
    request: Suspended,
}

impl WaitingRequest {
    /// When the reply is overdue.
    pub(crate) fn deadline(&self) -> u64 {
        self.wait.deadline
    }

    /// Ends the wait without an answer: the caller is gone.
    pub(crate) fn abandon(&self, core: &mut CoreState) {
        self.wait.abandon(core);
    }
}

/// The machine.
pub(crate) struct HttpMachine {
    http: http::Connection,
    request: Ongoing,
    waiting: Option<Waiting>,
    /// Bytes that were received and not consumed.
    carry: ReceiveBuffer,
}

impl HttpMachine {
    /// A machine that has received nothing.
    pub(crate) fn new() -> HttpMachine {
        HttpMachine {
            http: http::Connection::new(Limits::default()),
            request: Ongoing::default(),
            waiting: None,
            carry: ReceiveBuffer::default(),
        }
    }

    /// A machine whose request waits.
    pub(crate) fn waiting(request: Box<WaitingRequest>) -> HttpMachine {
        HttpMachine { waiting: Some(Waiting::Reply(request)), ..HttpMachine::new() }
    }

    /// Takes bytes and decides them. The storage of `received` may be taken, and is given back.
    pub(crate) fn on_received(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        received: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Next {
        if let Some(pace) = &mut self.request.pace {
            pace.add(received.len());
        }
        if self.waiting.is_some() || !self.carry.is_empty() {
            let wanted = if self.waiting.is_some() { 0 } else { self.http.capacity_wanted(&self.carry) };
            if let Err(OutOfMemory) = context.buffers.append(&mut self.carry, received, wanted) {
                self.refuse(context.core, origin, out, &NO_MEMORY);
                return Next::Close { linger: true };
            }
            return self.resume(context, origin, out);
        }
        let mut buffer = ReceiveBuffer::default();
        buffer.restore_storage(std::mem::take(received));
        let mut next = self.process(context, origin, &mut buffer, out);
        if !buffer.is_empty() {
            let wanted = self.http.capacity_wanted(&buffer);
            if let Err(OutOfMemory) = context.buffers.append(&mut self.carry, buffer.unread(), wanted) {
                refuse(context.core, &self.http, &self.request, &buffer, origin, out, &NO_MEMORY);
                next = Next::Close { linger: true };
            }
        }
        *received = buffer.take_storage();
        next
    }

    /// Decides what was received before.
    pub(crate) fn resume(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
    ) -> Next {
        match self.waiting {
            None => {}
            Some(Waiting::Relay(_)) => return self.relay(context, origin, out),
            Some(_) => return Next::Wait,
        }
        let mut carry = std::mem::take(&mut self.carry);
        let next = self.process(context, origin, &mut carry, out);
        context.buffers.shrink(&mut carry);
        self.carry = carry;
        next
    }

    /// Decides every request that is complete in the buffer.
    fn process(
        &mut self,
        context: &mut CoreContext<'_>,
        origin: RequestOrigin<'_>,
        buffer: &mut ReceiveBuffer,
        out: &mut Vec<u8>,
    ) -> Next {
        let pin = context.pin;
        let core = &mut *context.core;
        let HttpMachine { http, request: ongoing, waiting, .. } = self;
        // The hook of the present request while its body is complete in the buffer: no count is touched for it.
        let mut present: Option<&Arc<Hook>> = None;
        let mut now = core.now();
        let mut has_decided = false;
        loop {
            // Checked after each request, so that at least one is decided each time.
            if out.len() >= GATHER_BYTES || (has_decided && core.is_turn_over()) {
                keep(ongoing, present);
                return Next::Pause;
            }
            let waited = std::mem::take(&mut ongoing.waited);
            match if waited == Waited::Nothing { http.poll(buffer) } else { Step::Head } {
                Step::NeedData => {
                    keep(ongoing, present);
                    if std::mem::take(&mut ongoing.owes_continue) && http.buffered_body() == 0 {
                        out.extend_from_slice(http::encode::CONTINUE);
                    }
                    return Next::Continue;
                }
                Step::Head => {
                    *ongoing = Ongoing { number: core.request_numbers.next_number(), ..Ongoing::default() };
                    now = core.call_time();
                    has_decided = false;
                    if origin.listener == ListenerKind::Workers {
                        return attach(core, http, buffer, out, origin, now);
                    }
                    let request = http.request(buffer);
                    let door = IngressContext {
                        core: core.index,
                        now,
                        peer: origin.peer,
                        trusted_proxies: &core.rules.trusted_proxies,
                        key_sets: &core.key_sets.cache,
                        waited,
                        is_replay: origin.replay_of.is_some(),
                    };
                    let at_head = request::at_head(door, pin, &request);
                    core.was_short();
                    let (answer, hook, stays) = match at_head {
                        AtHead::Keys { url } => match wait_for_keys(core, &url, origin.id, now) {
                            Ok(wait) => {
                                *waiting = Some(Waiting::Keys(wait));
                                return Next::Wait;
                            }
                            Err(answer) => (answer, None, false),
                        },
                        AtHead::Permit { webhook, kind } => {
                            match wait_for_permit(core, (webhook, kind), origin.id, now) {
                                Ok(wait) => {
                                    *waiting = Some(Waiting::Permit(wait));
                                    return Next::Wait;
                                }
                                Err(answer) => (answer, None, false),
                            }
                        }
                        AtHead::Take { hook, limit } => {
                            refresh_keys(core, hook, now);
                            ongoing.owes_continue = request.expects_continue();
                            ongoing.head_nanos = now.nanos;
                            present = Some(hook);
                            http.take_body(limit);
                            continue;
                        }
                        AtHead::Upgrade { hook } => {
                            refresh_keys(core, hook, now);
                            let id = core.records.connection_id(now);
                            let exchange = Exchange {
                                body: Some(&[]),
                                websocket: Some(id),
                                keep_alive: true,
                                id: core.request_id(&request, ongoing.number),
                                span: core.begin_span(&request),
                                ..Exchange::new(&request, Some(hook), origin, now)
                            };
                            match accept_websocket(core, &exchange, hook, id, out) {
                                Ok(accepted) => {
                                    skip_head(http, buffer);
                                    return Next::Upgrade(Box::new(Upgrade::WebSocket(accepted)));
                                }
                                Err(answer @ Answer::UpgradeRefused(_)) => (answer, Some(hook), false),
                                Err(answer) => (answer, Some(hook), true),
                            }
                        }
                        AtHead::Answer(Answer::Ready, hook) if !core.is_ready() => (NOT_READY, hook, true),
                        AtHead::Answer(answer, hook) => (answer, hook, true),
                        AtHead::Close(answer, hook) => (answer, hook, false),
                    };
                    // A proxy in front that miscounts the body must not have the rest of it read as a request: an answer
                    // by the head alone ends the connection unless the body has been received already.
                    let stays =
                        stays && http.keep_alive() && !core.is_draining && http.is_body_received(buffer);
                    let exchange = Exchange {
                        body: http.received_body(buffer),
                        bytes: request.declared_length(),
                        keep_alive: stays,
                        id: core.request_id(&request, ongoing.number),
                        span: core.begin_span(&request),
                        ..Exchange::new(&request, hook.map(|hook| &**hook), origin, now)
                    };
                    exchange.answer(core, out, &answer);
                    if !stays {
                        return Next::Close { linger: true };
                    }
                    has_decided = true;
                    ongoing.is_dropping = true;
                    let limit = request::drop_limit(hook.map(|hook| &**hook));
                    http.drop_body(limit);
                }
                Step::Dropped => *ongoing = Ongoing::default(),
                step @ (Step::TooLarge | Step::Refused(_)) => {
                    let answer = match step {
                        Step::Refused(rule) => {
                            Answer::Refused(refused_as(rule), rule.status(), rule.message())
                        }
                        _ => Answer::TooLarge,
                    };
                    keep(ongoing, present);
                    refuse(core, http, ongoing, buffer, origin, out, &answer);
                    return Next::Close { linger: true };
                }
                Step::Paused => return Next::Continue,
                Step::Request => {
                    let kept = ongoing.hook.take();
                    let Some(hook) = present.take().or(kept.as_ref()) else {
                        let answer = Answer::Refused(Outcome::Failed, 500, "The request lost its webhook");
                        refuse_into(core, out, &answer, buffer.unread());
                        return Next::Close { linger: true };
                    };
                    let stays = stays(http, buffer, core);
                    let request = http.request(buffer);
                    let body = http.body(buffer);
                    let exchange = Exchange {
                        body: Some(body),
                        bytes: body.len(),
                        body_nanos: now.nanos.saturating_sub(ongoing.head_nanos),
                        keep_alive: stays,
                        id: core.request_id(&request, ongoing.number),
                        span: core.begin_span(&request),
                        ..Exchange::new(&request, Some(hook), origin, now)
                    };
                    let number = ongoing.number;
                    let decision =
                        CompleteRequest { origin, hook, exchange: &exchange, body, number }.decide(core, out);
                    match settle(core, &exchange, out, hook, decision) {
                        None => {}
                        Some(AwaitedEvent::Reply(wait)) => {
                            let request = http.suspend(buffer);
                            buffer.consume(usize::MAX);
                            *waiting = Some(Waiting::Reply(Box::new(WaitingRequest { wait, request })));
                            return Next::Wait;
                        }
                        Some(AwaitedEvent::Chain(wait)) => {
                            *waiting = Some(Waiting::Chain(wait));
                            return Next::Wait;
                        }
                        Some(AwaitedEvent::Key(wait)) => {
                            *waiting = Some(Waiting::Key(wait));
                            return Next::Wait;
                        }
                    }
                    http.finish(buffer);
                    *ongoing = Ongoing::default();
                    has_decided = true;
                    if !stays {
                        return Next::Close { linger: false };
                    }
                }
            }
        }
    }

    /// Refuses the present request, whose rest is not waited for.
    pub(crate) fn refuse(
        &mut self,
        core: &mut CoreState,
        origin: RequestOrigin<'_>,
        out: &mut Vec<u8>,
        answer: &Answer<'_>,
    ) {
        refuse(core, &self.http, &self.request, &self.carry, origin, out, answer);
    }

    /// Returns when the present wait ends by time, as of `now`: that of the request that waits, or of the next receive.
    pub(crate) fn deadline(&mut self, core: &CoreState, now: u64) -> u64 {
        match &self.waiting {
            Some(Waiting::Reply(waiting)) if self.carry.is_empty() => {
                return Timeout::Quiet.after(now).min(waiting.deadline());
            }
            Some(Waiting::Reply(waiting)) => return waiting.deadline(),
            Some(Waiting::Relay(_)) => return now + RELAY_CHECK_NANOS,
            Some(Waiting::Chain(wait)) => return wait.deadline,
            Some(Waiting::Key(wait)) => return wait.deadline,
            Some(Waiting::Keys(wait)) => return wait.deadline,
            Some(Waiting::Permit(wait)) => return wait.deadline,
            None => {}
        }
        match self.http.awaiting() {
            Awaiting::Idle if core.is_draining => Timeout::DrainIdle.after(now),
            Awaiting::Idle => Timeout::Quiet.after(now),
            Awaiting::Head => core.rules.timeouts.head.after(*self.request.head_began.get_or_insert(now)),
            Awaiting::Body | Awaiting::Nothing => {
                let body = core.rules.timeouts.body;
                self.request.pace.get_or_insert_with(|| Pace::begin(now, body)).deadline()
            }
        }
    }

    /// Gives up what it holds of its core: the connection ends, or becomes a WebSocket. Returns the unread bytes.
    pub(crate) fn end(&mut self, core: &mut CoreState) -> ReceiveBuffer {
        match self.waiting.take() {
            Some(Waiting::Reply(waiting)) => waiting.abandon(core),
            Some(Waiting::Relay(relay)) => relay.abandon(core),
            _ => {}
        }
        std::mem::take(&mut self.carry)
    }
}

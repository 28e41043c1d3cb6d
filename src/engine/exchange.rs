//! What a connection does with the bytes it has: every request that is whole is decided, and its answer lies in the
//! connection's outgoing buffer, before one write leaves. Nothing here waits.

mod triggers;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use self::triggers::Whole;
use super::answer::{Exchange, refuse_into};
use super::chains::ChainWait;
use super::connection::{self, Connection, Ongoing, Upgrade};
use super::core::{Active, Core};
use super::pending::{Pending, Waited};
use super::socket::Upgraded;
use super::worker::Attached;
use crate::base::buffer::ReceiveBuffer;
use crate::base::clock::Now;
use crate::base::log::bounded_log;
use crate::base::slots::Key;
use crate::http::{self, Step};
use crate::ingress::request::{self, AtHead, Door};
use crate::ingress::respond::{self, Answer};
use crate::ingress::session::Session;
use crate::ingress::worker::{self, AtDoor};
use crate::metrics::Outcome;
use crate::registry::Hook;
use crate::reply::{self, Reply};
use crate::trigger::{Payload, Peer, UpgradeData};
use crate::verify::alexa::AlexaRefusal;
use crate::websocket::handshake::{Options, Protocols};

/// Bytes of answers that are gathered before they are sent although more requests wait in the buffer.
const GATHER_BYTES: usize = 64 * 1024;

/// What the connection's task does next.
#[must_use]
pub(super) enum Next {
    /// More bytes are needed; what is ready to be sent goes first.
    Read,
    /// Enough is ready to be sent, or the turn is over; there may be more to do with what was received.
    Flush,
    /// The request waits for a reply.
    Wait(Box<Waiting>),
    /// The request waits for the chain that signed it.
    Verify(Box<ChainWait>),
    /// The connection ends after what is ready is sent. Lingering, so that the peer sees a refusal.
    Close { linger: bool },
    /// The same, after a moment: an access token that is wrong may be one of many that are tried.
    Guessed,
    /// It becomes a WebSocket; the 101 is ready to be sent, and what follows the request lies in the buffer.
    Upgrade(Box<Upgrade>),
}

/// What the triggers of one request came to.
enum Triggered {
    Answer(Answer<'static>),
    Reply(Box<Reply>),
    /// A template's reply, which is written already.
    Replied,
    Wait(Box<Waiting>),
    Verify(Box<ChainWait>),
}

/// A share of the webhook's concurrency, and a place among those that wait where somebody may reply later. Both go back
/// however the wait ends.
struct Held<'a> {
    core: &'a Rc<Core>,
    hook: &'a Arc<Hook>,
    place: Option<Key>,
}

/// The same, for a wait that outlives the look at the request.
pub(super) struct Waiting {
    core: Rc<Core>,
    hook: Arc<Hook>,
    pub(super) place: Key,
    since: u64,
    /// Of the body.
    bytes: usize,
    /// What the flows got, where somebody looks.
    shown: Option<Payload>,
}

impl Held<'_> {
    /// Takes the place.
    fn take_place(&mut self) -> Key {
        let payload_limit = self.hook.payload_bytes as usize;
        *self.place.insert(self.core.pending.insert(Pending::request(payload_limit)))
    }

    /// For a wait at the place that was taken.
    fn keep(self, place: Key, now: Now, bytes: usize) -> Waiting {
        let waiting = Waiting {
            core: Rc::clone(self.core),
            hook: Arc::clone(self.hook),
            place,
            since: now.nanos,
            bytes,
            shown: self.core.shown.take(),
        };
        self.core.metrics.wait_begun();
        std::mem::forget(self);
        waiting
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.core.forget(place);
        }
        self.hook.concurrency.release();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.core.metrics.wait_ended();
        self.core.forget(self.place);
        self.hook.concurrency.release();
    }
}

/// Tells the operator of a worker that came with a token that is not valid.
#[cold]
fn log_refused_token(peer: Option<IpAddr>) {
    let peer = peer.map(tracing::field::display);
    bounded_log!(warn, listener = "workers", peer, "an access token was refused");
}

impl Connection {
    /// Decides every request that is whole in the buffer.
    pub(super) fn process(&mut self) -> Next {
        let now = self.core.begin_batch();
        let next = self.process_batch(now);
        self.core.end_batch(now);
        next
    }

    fn process_batch(&mut self, now: Now) -> Next {
        let core = Rc::clone(&self.core);
        let pin = core.registry.pin();
        let Connection { http, active, request: ongoing, tap, peer, door, .. } = self;
        let active = active.get_or_insert_with(|| core.take_active());
        // The hook of the request at hand while its body is whole in the buffer: no count is touched for it.
        let mut at_hand: Option<&Arc<Hook>> = None;
        let mut now = now;
        let mut has_decided = false;
        loop {
            // Looked at after each request, so that at least one is decided each time.
            if active.out.len() >= GATHER_BYTES || (has_decided && core.is_turn_over()) {
                if let Some(hook) = at_hand {
                    ongoing.hook = Some(Arc::clone(hook));
                }
                return Next::Flush;
            }
            match http.poll(&mut active.buffer) {
                Step::NeedData => {
                    if let Some(hook) = at_hand {
                        ongoing.hook = Some(Arc::clone(hook));
                    }
                    if std::mem::take(&mut ongoing.owes_continue) && http.buffered_body() == 0 {
                        active.out.extend_from_slice(http::encode::CONTINUE);
                    }
                    return Next::Read;
                }
                Step::Head => {
                    *ongoing = Ongoing::default();
                    now = core.call_time();
                    has_decided = false;
                    let request = http.request(&active.buffer);
                    if *door == connection::Door::Workers {
                        match attach(&core, &request, &mut active.out) {
                            Ok(attached) => {
                                skip_head(http, active);
                                return Next::Upgrade(Box::new(Upgrade::Worker(attached)));
                            }
                            Err(answer) => {
                                let exchange = Exchange {
                                    core: &core,
                                    request: &request,
                                    hook: None,
                                    bytes: 0,
                                    keep_alive: false,
                                    now,
                                    waited_since: None,
                                };
                                exchange.answer(&mut active.out, &answer);
                                return match answer {
                                    Answer::TokenRequired => {
                                        if request.field("authorization").is_some() {
                                            log_refused_token(*peer);
                                        }
                                        Next::Guessed
                                    }
                                    _ => Next::Close { linger: true },
                                };
                            }
                        }
                    }
                    let at_head = request::at_head(Door { core: core.index, now }, &pin, &request);
                    core.was_short();
                    let (answer, hook, stays) = match at_head {
                        AtHead::Take { hook, limit } => {
                            ongoing.owes_continue = request.expects_continue();
                            at_hand = Some(hook);
                            http.take_body(limit);
                            continue;
                        }
                        AtHead::Upgrade { hook } => {
                            match upgrade(&core, hook, &request, *peer, now, &mut active.out) {
                                Ok(upgraded) => {
                                    skip_head(http, active);
                                    return Next::Upgrade(Box::new(Upgrade::Webhook(upgraded)));
                                }
                                Err(answer @ Answer::UpgradeRefused(_)) => (answer, Some(hook), false),
                                Err(answer) => (answer, Some(hook), true),
                            }
                        }
                        AtHead::Answer(answer, hook) => (answer, hook, true),
                        AtHead::Close(answer, hook) => (answer, hook, false),
                    };
                    // A proxy in front that miscounts the body must not have the rest of it read as a request: an answer
                    // by the head alone ends the connection unless the body has been received already.
                    let stays = stays
                        && http.keep_alive()
                        && !core.draining.get()
                        && http.is_body_received(&active.buffer);
                    let exchange = Exchange {
                        core: &core,
                        request: &request,
                        hook: hook.map(|hook| &**hook),
                        bytes: request.declared_length(),
                        keep_alive: stays,
                        now,
                        waited_since: None,
                    };
                    exchange.answer(&mut active.out, &answer);
                    if !stays {
                        return Next::Close { linger: true };
                    }
                    ongoing.dropping = true;
                    has_decided = true;
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
                    if let Some(hook) = at_hand {
                        ongoing.hook = Some(Arc::clone(hook));
                    }
                    refuse(&core, http, ongoing, active, &answer, now);
                    return Next::Close { linger: true };
                }
                Step::Paused => return Next::Read,
                Step::Request => {
                    let kept = ongoing.hook.take();
                    let Some(hook) = at_hand.take().or(kept.as_ref()) else {
                        let answer = Answer::Refused(Outcome::Failed, 500, "The request lost its webhook");
                        refuse_into(&core, &mut active.out, &answer, now, active.buffer.unread());
                        return Next::Close { linger: true };
                    };
                    let request = http.request(&active.buffer);
                    let body = http.body(&active.buffer);
                    let from = From { core: &core, peer: *peer, tap: tap.as_ref(), now };
                    let stays = stays(http, &active.buffer, &core);
                    let exchange = Exchange {
                        core: &core,
                        request: &request,
                        hook: Some(hook),
                        bytes: body.len(),
                        keep_alive: stays,
                        now,
                        waited_since: None,
                    };
                    let whole = Whole { from: &from, hook, exchange: &exchange, body };
                    let triggered = whole.decide(&mut active.out);
                    if let Some(waits) = settle(&exchange, &mut active.out, hook, triggered) {
                        return waits;
                    }
                    http.finish(&mut active.buffer);
                    *ongoing = Ongoing::default();
                    if !stays {
                        return Next::Close { linger: false };
                    }
                    has_decided = true;
                }
            }
        }
    }

    /// Answers the request that waited.
    pub(super) fn replied(&mut self, mut waiting: Waiting, waited: Waited) -> Next {
        let core = Rc::clone(&self.core);
        // A batch of its own: the write that follows has its time from here, and the last batch may be long ago.
        let now = core.begin_batch();
        let Connection { http, active, request: ongoing, .. } = self;
        let active = active.get_or_insert_with(|| core.take_active());
        let stays = stays(http, &active.buffer, &core);
        let request = http.request(&active.buffer);
        core.shown.set(waiting.shown.take());
        let exchange = Exchange {
            core: &core,
            request: &request,
            hook: Some(&waiting.hook),
            bytes: waiting.bytes,
            keep_alive: stays,
            now,
            waited_since: Some(waiting.since),
        };
        match waited {
            Waited::Reply(reply) => reply_with(&exchange, &mut active.out, &waiting.hook, &reply),
            Waited::Timeout => exchange.answer(&mut active.out, &Answer::ReplyTimeout),
        }
        http.finish(&mut active.buffer);
        *ongoing = Ongoing::default();
        if stays { Next::Read } else { Next::Close { linger: false } }
    }

    /// The body of the request that waits.
    pub(super) fn body(&self) -> &[u8] {
        self.active.as_ref().map_or(&[], |active| self.http.body(&active.buffer))
    }

    /// Goes on with a request whose chain was waited for.
    pub(super) fn verified(&mut self, hook: &Arc<Hook>, verdict: Result<(), AlexaRefusal>) -> Next {
        let core = Rc::clone(&self.core);
        let now = core.begin_batch();
        let Connection { http, active, request: ongoing, tap, peer, .. } = self;
        let active = active.get_or_insert_with(|| core.take_active());
        let stays = stays(http, &active.buffer, &core);
        let request = http.request(&active.buffer);
        let from = From { core: &core, peer: *peer, tap: tap.as_ref(), now };
        let body = http.body(&active.buffer);
        let exchange = Exchange {
            core: &core,
            request: &request,
            hook: Some(hook),
            bytes: body.len(),
            keep_alive: stays,
            now,
            waited_since: None,
        };
        let triggered = match verdict {
            Ok(()) => Whole { from: &from, hook, exchange: &exchange, body }.trigger(&mut active.out),
            Err(refusal) => Triggered::Answer(request::refused_by_alexa(&refusal)),
        };
        let waits = settle(&exchange, &mut active.out, hook, triggered);
        core.end_batch(now);
        if let Some(waits) = waits {
            return waits;
        }
        http.finish(&mut active.buffer);
        *ongoing = Ongoing::default();
        if stays { Next::Read } else { Next::Close { linger: false } }
    }

    /// Refuses the request at hand, whose rest is not waited for.
    pub(super) fn refuse(&mut self, answer: &Answer<'_>) {
        let now = self.core.begin_batch();
        let core = Rc::clone(&self.core);
        let Connection { http, active, request: ongoing, .. } = self;
        let active = active.get_or_insert_with(|| core.take_active());
        refuse(&core, http, ongoing, active, answer, now);
    }
}

/// Refuses a request that did not come to its end, before the connection ends: in the name of its webhook where its
/// head was taken. One whose body is dropped has its answer: a second one would be taken for the next request's.
fn refuse(
    core: &Core,
    http: &http::Connection,
    ongoing: &Ongoing,
    active: &mut Active,
    answer: &Answer<'_>,
    now: Now,
) {
    match &ongoing.hook {
        _ if ongoing.dropping => {}
        None => refuse_into(core, &mut active.out, answer, now, active.buffer.unread()),
        Some(hook) => {
            let request = http.request(&active.buffer);
            let exchange = Exchange {
                core,
                request: &request,
                hook: Some(hook),
                bytes: http.buffered_body(),
                keep_alive: false,
                now,
                waited_since: None,
            };
            exchange.answer(&mut active.out, answer);
        }
    }
}

/// Whether the connection goes on after the request that is whole. One that is drained does while requests that have
/// come already wait in it: the last of them is told that it is the last.
fn stays(http: &http::Connection, buffer: &ReceiveBuffer, core: &Core) -> bool {
    http.keep_alive() && (!core.draining.get() || http.is_followed(buffer))
}

/// Takes the head of an accepted upgrade out of the buffer.
fn skip_head(http: &mut http::Connection, active: &mut Active) {
    http.drop_body(0);
    // There is no body: that was checked.
    let dropped = http.poll(&mut active.buffer);
    debug_assert_eq!(dropped, Step::Dropped);
}

/// Accepts a worker, or says why not.
fn attach(core: &Core, request: &http::Request<'_>, out: &mut Vec<u8>) -> Result<Attached, Answer<'static>> {
    match worker::at_door(request, &core.registry, &core.rules.access_token) {
        AtDoor::Answer(answer) => Err(answer),
        AtDoor::Attach { flow, accept } => {
            let backlog = core.registry.flow(flow).ok_or(Answer::FlowNotFound)?;
            if core.draining.get() {
                return Err(Answer::Busy("The server is stopping"));
            }
            accept.write(out, b"");
            core.metrics.count(Outcome::Ok);
            core.metrics.status(101);
            Ok(Attached { backlog })
        }
    }
}

/// Accepts a WebSocket of a webhook, or says why not.
fn upgrade(
    core: &Core,
    hook: &Arc<Hook>,
    request: &http::Request<'_>,
    peer: Option<std::net::IpAddr>,
    now: Now,
    out: &mut Vec<u8>,
) -> Result<Upgraded, Answer<'static>> {
    // What is said on it is the workflows' matter, and so is the protocol that it is said in.
    let protocols = Protocols::Any;
    let options = Options { deflate: true, context_takeover: core.rules.context_takeover, protocols };
    let accept = worker::check(request, &options)?;
    if core.draining.get() {
        return Err(Answer::Busy("The server is stopping"));
    }
    let session = Session::admit(hook).ok_or(Answer::OverConcurrency)?;
    let path = request::behind_token(request.path());
    let data = UpgradeData::new(
        path,
        request.query(),
        request.fields(),
        peer.map_or(Peer::Local, Peer::Ip),
        is_trusted(core, peer),
        hook.basic.is_some(),
    );
    accept.write(out, if core.rules.cors { respond::CORS_LINE } else { b"" });
    let exchange =
        Exchange { core, request, hook: Some(hook), bytes: 0, keep_alive: true, now, waited_since: None };
    exchange.upgraded();
    Ok(Upgraded { session, deflate: accept.deflate, data })
}

/// Whether the peer may say for whom it speaks.
fn is_trusted(core: &Core, peer: Option<std::net::IpAddr>) -> bool {
    peer.is_some_and(|ip| core.rules.trusted_proxies.iter().any(|net| net.contains(ip)))
}

/// Where a request came from.
struct From<'a> {
    core: &'a Rc<Core>,
    peer: Option<std::net::IpAddr>,
    tap: Option<&'a super::core::Tap>,
    now: Now,
}

/// Writes the answer where there is one; else what the request waits for.
fn settle(exchange: &Exchange<'_>, out: &mut Vec<u8>, hook: &Hook, triggered: Triggered) -> Option<Next> {
    match triggered {
        Triggered::Answer(answer) => exchange.answer(out, &answer),
        Triggered::Reply(reply) => reply_with(exchange, out, hook, &reply),
        Triggered::Replied => {}
        Triggered::Wait(waiting) => return Some(Next::Wait(waiting)),
        Triggered::Verify(wait) => return Some(Next::Verify(wait)),
    }
    None
}

fn reply_with(exchange: &Exchange<'_>, out: &mut Vec<u8>, hook: &Hook, reply: &Reply) {
    exchange.reply(out, hook, reply::to_http(reply, hook.response_code, hook.payload_bytes as usize));
}

/// What a broken rule counts as.
fn refused_as(refusal: http::Refusal) -> Outcome {
    match refusal.status() {
        414 | 431 => Outcome::HeadTooLarge,
        _ => Outcome::Malformed,
    }
}

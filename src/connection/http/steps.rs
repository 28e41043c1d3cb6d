//! Steps of the HTTP machine that depend on one request alone: its answer, its refusal, its upgrade.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::answer::{Exchange, refuse_into};
use super::super::context::CoreState;
use super::super::decide::{ChainWait, Decision, KeyWait, ReplyWait};
use super::super::key_sets::KeysWait;
use super::super::message::ConnectionId;
use super::super::pace::Pace;
use super::super::permits::PermitWait;
use super::super::upgrade::{RequestOrigin, Upgrade, accept_worker};
use super::super::waiters::{FETCH_WAIT_NANOS, Full};
use super::next::Next;
use crate::base::buffer::ReceiveBuffer;
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::http::{self, Step};
use crate::ingress::request::{self, Waited};
use crate::ingress::respond::Answer;
use crate::limit::PermitKind;
use crate::metrics::Outcome;
use crate::registry::Hook;
use crate::reply::{self, Reply};
use crate::verify::auth::Auth;

/// State of the present request between receives.
#[derive(Default)]
pub(super) struct Ongoing {
    /// Number of its id, if that is made.
    pub(super) number: u64,
    /// The webhook, once the head was taken.
    pub(super) hook: Option<Arc<Hook>>,
    /// The head was taken and is to be decided again: this was waited for.
    pub(super) waited: Waited,
    /// The body is dropped: the request has its answer.
    pub(super) is_dropping: bool,
    /// `100 Continue` is due, if the body has not begun by itself.
    pub(super) owes_continue: bool,
    /// Time of the first byte of an incomplete head.
    pub(super) head_began: Option<u64>,
    /// When the head was taken.
    pub(super) head_nanos: u64,
    /// Progress of the body.
    pub(super) pace: Option<Pace>,
}

/// The event that a suspended request waits for.
pub(super) enum AwaitedEvent {
    Reply(Box<ReplyWait>),
    Chain(Box<ChainWait>),
    Key(Box<KeyWait>),
}

/// Writes the answer where there is one; else returns what the request waits for.
pub(super) fn settle(
    core: &mut CoreState,
    exchange: &Exchange<'_>,
    out: &mut Vec<u8>,
    hook: &Hook,
    decision: Decision,
) -> Option<AwaitedEvent> {
    let start = out.len();
    match decision {
        Decision::Answer(answer) => exchange.answer(core, out, &answer),
        Decision::Reply(reply) => reply_with(core, exchange, out, hook, &reply),
        Decision::Replied(_) => {}
        Decision::WaitForReply(wait) => return Some(AwaitedEvent::Reply(wait)),
        Decision::WaitForChain(wait) => return Some(AwaitedEvent::Chain(wait)),
        Decision::WaitForKey(wait) => return Some(AwaitedEvent::Key(wait)),
    }
    core.gate_answer(start);
    None
}

pub(super) fn reply_with(
    core: &mut CoreState,
    exchange: &Exchange<'_>,
    out: &mut Vec<u8>,
    hook: &Hook,
    reply: &Reply,
) {
    let http = reply::to_http(reply, hook.response_code, hook.payload_bytes as usize);
    exchange.reply(core, out, hook, http);
}

/// Logs that a worker brought a token that is not valid.
#[cold]
fn log_refused_token(peer: Option<IpAddr>) {
    let peer = peer.map(tracing::field::display);
    bounded_log!(warn, listener = "workers", peer, "an access token was refused");
}

/// Decides a request on the workers' listener.
pub(super) fn attach(
    core: &mut CoreState,
    http: &mut http::Connection,
    buffer: &mut ReceiveBuffer,
    out: &mut Vec<u8>,
    origin: RequestOrigin<'_>,
    now: Now,
) -> Next {
    let request = http.request(buffer);
    let answer = match accept_worker(core, &request, out) {
        Ok(accepted) => {
            skip_head(http, buffer);
            return Next::Upgrade(Box::new(Upgrade::Worker(accepted)));
        }
        Err(answer) => answer,
    };
    Exchange::new(&request, None, origin, now).answer(core, out, &answer);
    match answer {
        Answer::TokenRequired => {
            if request.field("authorization").is_some() {
                log_refused_token(origin.peer);
            }
            Next::CloseDelayed
        }
        _ => Next::Close { linger: true },
    }
}

/// Refuses a request that is not complete, before the connection ends: in the name of its webhook where its head was
/// taken. One whose body is dropped has its answer: a second one would be taken for the next request's.
pub(super) fn refuse(
    core: &mut CoreState,
    http: &http::Connection,
    ongoing: &Ongoing,
    buffer: &ReceiveBuffer,
    origin: RequestOrigin<'_>,
    out: &mut Vec<u8>,
    answer: &Answer<'_>,
) {
    match &ongoing.hook {
        _ if ongoing.is_dropping => {}
        None => refuse_into(core, out, answer, buffer.unread()),
        Some(hook) => {
            let request = http.request(buffer);
            let exchange = Exchange {
                bytes: http.buffered_body(),
                id: core.request_id(&request, ongoing.number),
                span: core.begin_span(&request),
                ..Exchange::new(&request, Some(hook), origin, core.now())
            };
            exchange.answer(core, out, answer);
        }
    }
}

/// Whether the connection continues after the request that is complete. On a draining core it does while requests that
/// have been received already wait in it: the last of them is told that it is the last.
pub(super) fn stays(http: &http::Connection, buffer: &ReceiveBuffer, core: &CoreState) -> bool {
    http.keep_alive() && (!core.is_draining || http.is_followed(buffer))
}

/// Takes the head of an accepted upgrade out of the buffer.
pub(super) fn skip_head(http: &mut http::Connection, buffer: &mut ReceiveBuffer) {
    http.drop_body(0);
    // There is no body: that was checked.
    let dropped = http.poll(buffer);
    debug_assert_eq!(dropped, Step::Dropped);
}

/// The outcome that a broken rule counts as.
pub(super) fn refused_as(refusal: http::Refusal) -> Outcome {
    match refusal.status() {
        414 | 431 => Outcome::HeadTooLarge,
        _ => Outcome::Malformed,
    }
}

/// Keeps the hook of the present request until its body is complete.
pub(super) fn keep(ongoing: &mut Ongoing, present: Option<&Arc<Hook>>) {
    if let Some(hook) = present {
        ongoing.hook = Some(Arc::clone(hook));
    }
}

/// Asks for the keys of a URL, which the present request waits for.
///
/// # Errors
/// The answer, if too many key sets are asked for.
pub(super) fn wait_for_keys(
    core: &mut CoreState,
    url: &Arc<str>,
    connection: ConnectionId,
    now: Now,
) -> Result<KeysWait, Answer<'static>> {
    let CoreState { key_sets, peers, .. } = core;
    let ticket = key_sets.ask(|| peers.own_sender(), url, Some(connection), now);
    let ticket = ticket.map_err(|Full| Answer::Busy(request::NO_KEYS))?;
    Ok(KeysWait { ticket, deadline: now.nanos + FETCH_WAIT_NANOS })
}

/// Asks for a token of a webhook's rate, which the present request waits for.
///
/// # Errors
/// The answer, if too many webhooks are asked for.
pub(super) fn wait_for_permit(
    core: &mut CoreState,
    (webhook, kind): (Id, PermitKind),
    connection: ConnectionId,
    now: Now,
) -> Result<PermitWait, Answer<'static>> {
    let CoreState { permits, peers, .. } = core;
    let wait = permits.ask(|| peers.own_sender(), webhook, kind, connection, now);
    wait.map_err(|Full| Answer::Busy(request::NO_PERMIT))
}

/// Has the keys of a webhook fetched again where that is due; no request waits for them.
pub(super) fn refresh_keys(core: &mut CoreState, hook: &Hook, now: Now) {
    let Some(url) = hook.auth().and_then(Auth::key_set_url) else { return };
    let known = core.key_sets.cache.known(url, now);
    if known.is_stale && known.may_fetch {
        let CoreState { key_sets, peers, .. } = core;
        // If too many are asked for, a later request asks again.
        let _ = key_sets.ask(|| peers.own_sender(), url, None, now);
    }
}

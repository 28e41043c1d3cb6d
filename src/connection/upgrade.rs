//! Requests that turn their connection into a WebSocket: of a webhook's client, or of a worker.

use std::sync::Arc;

use super::answer::Exchange;
use super::context::CoreState;
pub(crate) use super::listener::ListenerKind;
pub(crate) use super::origin::RequestOrigin;
use super::present::Present;
use crate::base::id::Id;
use crate::http;
use crate::ingress::request;
use crate::ingress::respond::Answer;
use crate::ingress::session::Session;
use crate::ingress::worker::{self, AtDoor};
use crate::metrics::Outcome;
use crate::registry::{Backlog, Hook};
use crate::trigger::{Peer, UpgradeData};
use crate::websocket::DeflateParameters;
use crate::websocket::handshake::{HandshakeOptions, Protocols};

/// An upgrade that was accepted; the 101 is in the output.
pub(crate) enum Upgrade {
    WebSocket(AcceptedWebSocket),
    Worker(AcceptedWorker),
}

/// A WebSocket of a webhook.
pub(crate) struct AcceptedWebSocket {
    pub(crate) session: Session,
    pub(crate) deflate: Option<DeflateParameters>,
    pub(crate) data: UpgradeData,
    /// Names the connection among the records.
    pub(crate) id: Id,
    /// The record of the handshake.
    pub(crate) record: Present,
}

/// A worker.
pub(crate) struct AcceptedWorker {
    pub(crate) backlog: Arc<Backlog>,
}

/// Accepts a worker, or returns the answer that refuses it.
pub(crate) fn accept_worker(
    core: &mut CoreState,
    request: &http::Request<'_>,
    out: &mut Vec<u8>,
) -> Result<AcceptedWorker, Answer<'static>> {
    let now = core.now().unix_millis;
    match worker::at_door(request, &core.registry, &core.rules.access_tokens, now) {
        AtDoor::Answer(answer) => Err(answer),
        AtDoor::Attach { flow, accept } => {
            let backlog = core.registry.flow(flow).ok_or(Answer::FlowNotFound)?;
            if core.is_draining {
                return Err(Answer::Busy("The server is stopping"));
            }
            accept.write(out, b"");
            core.metrics.count(Outcome::Ok);
            core.metrics.status(101);
            Ok(AcceptedWorker { backlog })
        }
    }
}

/// Accepts a WebSocket of a webhook, or returns the answer that refuses it.
pub(crate) fn accept_websocket(
    core: &mut CoreState,
    exchange: &Exchange<'_>,
    hook: &Arc<Hook>,
    id: Id,
    out: &mut Vec<u8>,
) -> Result<AcceptedWebSocket, Answer<'static>> {
    let request = exchange.request;
    let peer = exchange.origin.peer;
    // Which protocol is spoken on it is the workflows' matter.
    let protocols = Protocols::Any;
    let options =
        HandshakeOptions { deflate: true, context_takeover: core.rules.context_takeover, protocols };
    let accept = worker::check(request, &options)?;
    if core.is_draining {
        return Err(Answer::Busy("The server is stopping"));
    }
    let session = Session::admit(hook).ok_or(Answer::OverConcurrency)?;
    let path = request::behind_token(hook, request.path());
    let data = UpgradeData::new(
        path,
        request.query(),
        request::shown_fields(request, exchange.id.as_ref(), exchange.traceparent()),
        peer.map_or(Peer::Local, Peer::Ip),
        core.is_trusted(peer),
        hook.hidden(),
        request::claims(hook, request).as_deref(),
    );
    let mut lines = Vec::new();
    request::cors(core.rules.cors, Some(hook), request).write(&mut lines, exchange.id.is_some());
    if let Some(id) = &exchange.id {
        id.write_line(&mut lines);
    }
    let start = out.len();
    accept.write(out, &lines);
    let record = exchange.upgraded(core, &out[start..]);
    Ok(AcceptedWebSocket { session, deflate: accept.deflate, data, id, record })
}

//! The WebSocket of a webhook's client ([websockets](crate::guide::websockets)): its messages become triggers, replies
//! become messages.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::context::CoreState;
use super::fanout::{TriggerContext, demand, reply_at_once, run_flows};
use super::message::{ConnectionId, ConnectionMessage, ReplyOutcome};
use super::present::Present;
use super::socket_records::{SocketRecords, end_close, end_message};
use super::upgrade::AcceptedWebSocket;
use super::websocket::{Expired, Handler, QuietMachine, SendError, WebSocketConnection};
use crate::base::buffer::ReceiveBuffer;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::workers::Affinity;
use crate::ingress::session::{Refreshed, Session};
use crate::ingress::socket::Closing;
use crate::limit::Shortage;
use crate::metrics::{ConnectionKind, Event as Counted};
use crate::reply::{self, Rendered, Reply};
use crate::trigger::{Event, RawBody, UpgradeData, WsEvent, websocket_draft};

/// A WebSocket session: its connection, and the handler of its messages.
pub(crate) struct WebSocketSession {
    connection: WebSocketConnection,
    client: SocketClient,
}

/// The client of a webhook, as its messages are handled.
struct SocketClient {
    session: Session,
    data: UpgradeData,
    /// The `replyId`, made when it is needed, and again after a quiet time: it follows from the slot.
    reply_id: Option<Box<str>>,
    slot: Key,
    /// Names the connection among the records.
    id: Id,
}

/// State kept of a session on whose connection nothing has happened for a moment.
pub(crate) struct QuietSession {
    connection: QuietMachine,
    session: Session,
    data: UpgradeData,
    slot: Key,
    id: Id,
}

impl QuietSession {
    /// Its webhook, and the name that its records know it by.
    pub(crate) fn name(&self) -> (Id, Id) {
        (self.session.hook().webhook_id, self.id)
    }

    /// The whole session.
    pub(crate) fn wake(self, deadline: u64) -> WebSocketSession {
        let QuietSession { connection, session, data, slot, id } = self;
        let payload_limit = session.hook().payload_bytes as usize;
        WebSocketSession {
            connection: WebSocketConnection::from_quiet(&connection, payload_limit, deadline),
            client: SocketClient { session, data, reply_id: None, slot, id },
        }
    }
}

impl WebSocketSession {
    /// Makes it small if there is nothing else to keep; else it is given back.
    pub(crate) fn into_quiet(self: Box<WebSocketSession>) -> Result<QuietSession, Box<WebSocketSession>> {
        match self.connection.to_quiet() {
            Some(connection) if self.client.reply_id.is_none() => {
                let SocketClient { session, data, slot, id, .. } = self.client;
                Ok(QuietSession { connection, session, data, slot, id })
            }
            _ => Err(self),
        }
    }

    /// Begins a session whose handshake was accepted. `carry` is what was received behind it.
    pub(crate) fn begin(
        core: &mut CoreState,
        id: ConnectionId,
        accepted: AcceptedWebSocket,
        carry: ReceiveBuffer,
    ) -> WebSocketSession {
        let AcceptedWebSocket { session, deflate, data, id: record_id, record } = accepted;
        let payload_limit = session.hook().payload_bytes as usize;
        core.counts.websockets.fetch_add(1, Ordering::Relaxed);
        core.metrics.connection_opened(ConnectionKind::WebSocket);
        let slot = core.pending.insert_websocket(id);
        let now = core.now().nanos;
        let mut connection = WebSocketConnection::new(deflate, payload_limit, carry, now);
        let mut client = SocketClient { session, data, reply_id: None, slot, id: record_id };
        // The webhook may have changed between its head and now.
        client.refresh(core, &mut connection);
        if core.is_draining {
            connection.close_for(core, Closing::Restart);
        }
        core.present = record;
        if !client.trigger(core, &mut connection, WsEvent::Connect, false) {
            connection.close_for(core, Closing::Busy);
        }
        core.present = Present::Undecided;
        connection.resume(core, &mut client);
        WebSocketSession { connection, client }
    }

    /// The connection.
    pub(crate) fn connection(&mut self) -> &mut WebSocketConnection {
        &mut self.connection
    }

    /// Its webhook, and the name that its records know it by.
    pub(crate) fn name(&self) -> (Id, Id) {
        (self.client.session.hook().webhook_id, self.client.id)
    }

    /// Takes received bytes.
    pub(crate) fn on_received(&mut self, core: &mut CoreState, received: &mut Vec<u8>) {
        self.connection.on_received(core, &mut self.client, received);
    }

    /// Continues with what was received in an earlier turn.
    pub(crate) fn resume(&mut self, core: &mut CoreState) {
        self.connection.resume(core, &mut self.client);
    }

    /// Notes that the send in flight has ended.
    pub(crate) fn on_sent(&mut self, core: &mut CoreState, bytes: usize) {
        self.connection.on_sent(core, &mut self.client, bytes);
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self, core: &mut CoreState) -> Expired {
        let expired = self.connection.on_deadline(core);
        if expired == Expired::Quiet {
            self.client.reply_id = None;
            self.connection.release(core);
        }
        expired
    }

    /// Takes a message.
    pub(crate) fn on_message(&mut self, core: &mut CoreState, message: ConnectionMessage) {
        let WebSocketSession { connection, client } = self;
        match message {
            ConnectionMessage::Reply { reply, sender } => {
                // The reply may be sent by one who knows of a change that has not arrived here yet.
                client.refresh(core, connection);
                let outcome = client.deliver(core, connection, &reply);
                core.tell_sender(sender, outcome);
            }
            ConnectionMessage::Permit { ticket } => client.on_permit(core, connection, Some(ticket)),
            ConnectionMessage::Refresh => client.refresh(core, connection),
            ConnectionMessage::CloseWebSocket(closing) => connection.close_for(core, closing),
            other => core.refuse_message(other),
        }
    }

    /// Ends the session: hands the disconnect trigger over and gives up what it holds. To be called once.
    pub(crate) fn end(&mut self, core: &mut CoreState) {
        let WebSocketSession { connection, client } = self;
        if core.permits.is_holding() {
            client.on_permit(core, connection, None);
        }
        core.pending.remove(client.slot);
        // The flows of now get the disconnect, whatever the session was closed for.
        let _ = client.session.refresh(&core.registry);
        client.session.end();
        core.metrics.connection_closed(ConnectionKind::WebSocket);
        let ended = connection.take_ended();
        let event = WsEvent::Disconnect { status_code: ended.code, reason: &ended.reason };
        client.records().begin_close(core);
        client.trigger(core, connection, event, true);
        end_close(core, ended.code, &ended.reason);
        connection.release(core);
    }
}

impl Handler for SocketClient {
    fn before_batch(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        self.refresh(core, connection);
    }

    fn on_message(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        text: bool,
        data: &[u8],
    ) {
        core.metrics.event(Counted::MessageReceived);
        if core.permits.is_holding() && self.is_held(core) {
            return self.hold(core, connection, text, data);
        }
        match self.spend(core, false) {
            None => self.accept(core, connection, text, data),
            Some(Shortage::Ask) => self.hold(core, connection, text, data),
            Some(shortage) => self.refuse_short(core, connection, text, data, shortage),
        }
    }
}

impl SocketClient {
    /// Data that its records have in common.
    fn records(&self) -> SocketRecords<'_> {
        SocketRecords { hook: self.session.hook(), id: self.id, path: self.data.path() }
    }

    /// Closes the connection for a message.
    fn refuse(&self, core: &mut CoreState, connection: &mut WebSocketConnection, closing: Closing) {
        end_message(core, Some((closing.code(), closing.reason())));
        connection.close_for(core, closing);
    }

    /// Spends a token of the webhook's rate for one more message; returns what is missing, if one is. `has_asked`: other
    /// nodes of a cluster were asked for one.
    fn spend(&self, core: &mut CoreState, has_asked: bool) -> Option<Shortage> {
        let rate = self.session.hook().rate.as_ref()?;
        let now = core.call_time();
        let taken = rate.take(core.index, now);
        core.was_short();
        taken.err().map(|throttled| rate.shortage(throttled, has_asked, now))
    }

    /// Takes a message that has its token.
    fn accept(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        text: bool,
        data: &[u8],
    ) {
        self.records().begin_message(core, text, data);
        if self.trigger(core, connection, WsEvent::Message { text, data }, false) {
            end_message(core, None);
        } else {
            self.refuse(core, connection, Closing::Busy);
        }
    }

    /// Closes the connection for a message that found no token.
    fn refuse_short(
        &self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        text: bool,
        data: &[u8],
        shortage: Shortage,
    ) {
        self.records().begin_message(core, text, data);
        if shortage == Shortage::CutOff {
            return self.refuse(core, connection, Closing::Busy);
        }
        core.metrics.event(Counted::MessageThrottled);
        self.refuse(core, connection, Closing::OverRate);
    }

    /// Whether earlier messages wait for a token.
    fn is_held(&self, core: &CoreState) -> bool {
        core.pending.websocket(self.slot).is_some_and(|id| core.permits.holds(id))
    }

    /// Keeps a message until a token is there.
    fn hold(&self, core: &mut CoreState, connection: &mut WebSocketConnection, text: bool, data: &[u8]) {
        let Some(id) = core.pending.websocket(self.slot) else { return };
        let (webhook, now) = (self.session.hook().webhook_id, core.now());
        let CoreState { permits, peers, .. } = core;
        if !permits.hold(|| peers.own_sender(), webhook, id, (text, data), now) {
            self.refuse_short(core, connection, text, data, Shortage::CutOff);
        }
    }

    /// Takes the messages that have waited for a token, as many as there are tokens.
    fn on_permit(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection, ticket: Option<u64>) {
        let Some(id) = core.pending.websocket(self.slot) else { return };
        let mut has_asked = true;
        for (text, data) in core.permits.release(id, ticket) {
            if !connection.is_open() {
                return;
            }
            if self.is_held(core) {
                self.hold(core, connection, text, &data);
                continue;
            }
            match self.spend(core, has_asked) {
                None => self.accept(core, connection, text, &data),
                Some(Shortage::Ask) => self.hold(core, connection, text, &data),
                Some(shortage) => self.refuse_short(core, connection, text, &data, shortage),
            }
            has_asked = false;
        }
    }

    /// Hands an event to the flows; returns `false` if it cannot be taken.
    fn trigger(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        event: WsEvent<'_>,
        last: bool,
    ) -> bool {
        if self.session.hook().flows.is_empty() {
            return true;
        }
        let demand = demand(self.session.hook(), None);
        core.worked();
        let mut draft = std::mem::take(&mut core.draft);
        let is_asked = demand.is_kept || demand.parts.has_reply_id();
        if is_asked && self.reply_id.is_none() {
            self.reply_id = Some(core.reply_id(self.slot, self.session.hook().webhook_id).into());
        }
        let reply_id = self.reply_id.as_deref().unwrap_or_default();
        let written = websocket_draft(&mut draft, core.now(), &self.data, event, reply_id, demand.parts);
        if demand.is_kept {
            let mut kept = written.keep();
            core.give_draft(draft);
            if self.session.hook().sends_raw() {
                kept = kept.with_raw(raw_body(event));
            }
            let event = kept;
            return self.run_flows(core, connection, event, last);
        }
        let hook = Arc::clone(self.session.hook());
        let records = SocketRecords { hook: &hook, id: self.id, path: self.data.path() };
        let send = &mut |core: &mut CoreState, reply: &Rendered<'_>| match reply.body() {
            // The connection of a disconnect trigger has ended.
            Some(body) if !last => say(core, connection, &records, !reply.is_binary(), body),
            _ => ReplyOutcome::NotWaiting,
        };
        reply_at_once(core, &hook, &written, true, Some(self.slot), send);
        core.give_draft(draft);
        true
    }

    fn run_flows(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        event: Event,
        last: bool,
    ) -> bool {
        let hook = Arc::clone(self.session.hook());
        let context = TriggerContext {
            observer: None,
            affinity: Some(Affinity { key: (core.number(), self.slot), last }),
            reply_id: self.reply_id.as_deref(),
            slot: Some(self.slot),
            expires_nanos: None,
            must: last,
            note: None,
            websocket: core.pending.websocket(self.slot),
            receipt: None,
            record: core.present.open().map(|open| open.name()),
        };
        let records = SocketRecords { hook: &hook, id: self.id, path: self.data.path() };
        let send = &mut |core: &mut CoreState, reply: Box<Reply>| {
            if last { ReplyOutcome::NotWaiting } else { deliver(core, connection, &records, &reply) }
        };
        run_flows(core, &hook, event, &context, send).is_ok()
    }

    /// Takes over what has changed in the model; closes the connection if it may not stay.
    fn refresh(&mut self, core: &mut CoreState, connection: &mut WebSocketConnection) {
        match self.session.refresh(&core.registry) {
            Refreshed::Unchanged => {}
            Refreshed::Changed => {
                connection.set_payload_limit(self.session.hook().payload_bytes as usize);
            }
            Refreshed::Ended(closing) => connection.close_for(core, closing),
        }
    }

    /// Takes a reply's message, its close, or both.
    fn deliver(
        &self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        reply: &Reply,
    ) -> ReplyOutcome {
        deliver(core, connection, &self.records(), reply)
    }
}

/// A message as the body of a request; other events have none.
fn raw_body(event: WsEvent<'_>) -> RawBody {
    let WsEvent::Message { text, data } = event else { return RawBody::default() };
    let media_type: &[u8] = if text { b"text/plain; charset=utf-8" } else { b"application/octet-stream" };
    RawBody {
        bytes: Bytes::copy_from_slice(data),
        content_type: Some(media_type.into()),
        content_encoding: None,
    }
}

/// Sends a reply's message, closes, or both.
fn deliver(
    core: &mut CoreState,
    connection: &mut WebSocketConnection,
    records: &SocketRecords<'_>,
    reply: &Reply,
) -> ReplyOutcome {
    if !connection.is_open() {
        return ReplyOutcome::NotWaiting;
    }
    if let Some(body) = &reply.body {
        match say(core, connection, records, !reply.is_binary, body) {
            ReplyOutcome::Accepted => {}
            unsent => return unsent,
        }
    }
    if let Some(close) = &reply.close {
        connection.close(core, close.code, &close.reason);
    }
    ReplyOutcome::Accepted
}

/// Sends a message.
fn say(
    core: &mut CoreState,
    connection: &mut WebSocketConnection,
    records: &SocketRecords<'_>,
    text: bool,
    message: &[u8],
) -> ReplyOutcome {
    if !connection.is_open() {
        // Where nobody is there any more it does not matter how long the message is.
        return ReplyOutcome::NotWaiting;
    }
    if let Err(error) = reply::check_size(Some(message), connection.payload_limit()) {
        return ReplyOutcome::Refused(error.to_string());
    }
    match connection.send(core, text, message) {
        Ok(()) => {
            core.metrics.event(Counted::MessageSent);
            records.sent(core, text, message);
            ReplyOutcome::Accepted
        }
        Err(SendError::Closed) => ReplyOutcome::NotWaiting,
        Err(SendError::TooSlow) => ReplyOutcome::Refused(Closing::TooSlow.reason().into()),
    }
}

//! The messages of a core's mailbox, and the rounds over all WebSockets, some in each turn.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::Core;
use crate::base::log::bounded_log;
use crate::connection::message::{ConnectionId, ConnectionMessage, CoreMessage, Inside};
use crate::connection::upgrade::ListenerKind;
use crate::connection::{flows, forwards, guests, receipts, replay, spill};
use crate::engine::message::Message;
use crate::engine::search::SearchOutcome;
use crate::ingress::socket::Closing;
use crate::io::Io;
use crate::registry::Pin;

/// WebSockets that a change of the model is brought to in one turn: each costs two or three misses of the cache.
const ROUND_PLACES: usize = 128;
impl<I: Io> Core<I> {
    /// Takes the messages of the mailbox, until it is empty or the turn is over.
    pub(super) fn on_woken(&mut self, pin: &Pin<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.on_woken(&mut self.io, &mut self.state, &mut self.released);
            self.list_released();
            self.deliver_posted(pin);
        }
        while let Some(message) = self.receiver.receive() {
            self.on_message(pin, message);
            self.deliver_posted(pin);
            if self.state.step(false) {
                // The rest has its turn after the output of this one has been started.
                self.io.waker().wake();
                return;
            }
        }
    }

    fn on_message(&mut self, pin: &Pin<'_>, message: Message<I::Stream>) {
        let state = &mut self.state;
        match message {
            Message::Core(CoreMessage::Reply { key, reply, sender }) => state.deliver(key, reply, sender),
            Message::Core(CoreMessage::Chain { url, outcome }) => {
                let now = state.now();
                for waiter in state.chains.arrived(&url, &outcome, now) {
                    let message =
                        ConnectionMessage::Chain { ticket: waiter.ticket, outcome: outcome.clone() };
                    state.post(waiter.connection, message);
                }
            }
            Message::Core(CoreMessage::AnswerBegun { id, begun }) => {
                forwards::on_answer_begun(state, id, *begun);
            }
            Message::Core(CoreMessage::Attempted { id, result }) => forwards::on_attempted(state, id, result),
            Message::Core(CoreMessage::LetterKept { start, key, is_kept }) => {
                forwards::on_letter(state, start, key, is_kept)
            }
            Message::Core(CoreMessage::Keys { url, fetched }) => {
                for waiter in state.key_sets.arrived(&url, fetched) {
                    let message = ConnectionMessage::KeysReady { ticket: waiter.ticket };
                    state.post(waiter.connection, message);
                }
            }
            Message::Core(CoreMessage::ReplyPassed { sender, outcome }) => state.tell_sender(sender, outcome),
            Message::Core(CoreMessage::Permit { webhook, kind }) => {
                for waiter in state.permits.arrived(webhook, kind) {
                    state.post(waiter.connection, ConnectionMessage::Permit { ticket: waiter.ticket });
                }
            }
            Message::Core(CoreMessage::Replay { stored, done }) => replay::take(state, &stored, done),
            Message::Core(CoreMessage::Inherit { entry, done }) => replay::inherit(state, &entry, done),
            Message::Core(CoreMessage::Trigger { backlog, trigger }) => flows::take(state, backlog, trigger),
            Message::Core(CoreMessage::Receipts(returned)) => {
                returned.into_iter().for_each(|receipt| receipts::take(state, receipt));
            }
            Message::Core(CoreMessage::OwnerRestarted { owner }) => spill::restore_owner(state, owner),
            Message::Core(CoreMessage::Worker { flow, from, event }) => {
                flows::on_worker(state, flow, from, event);
            }
            Message::Core(CoreMessage::Node { node, event }) => guests::on_event(state, node, event),
            Message::Core(CoreMessage::Connection { connection, message }) => state.post(connection, message),
            Message::Adopt { stream, inside } => self.adopt(stream, inside),
            Message::ModelChanged { deleted_flows } => {
                for &flow in &*deleted_flows {
                    flows::clear(state, flow);
                }
                if !deleted_flows.is_empty() {
                    self.post_to_workers(|| ConnectionMessage::FlowsDeleted);
                }
                self.changes.begin(self.state.pending.places());
            }
            Message::Records { webhooks, done } => {
                state.records.settle(&webhooks);
                done();
            }
            Message::Tls(tls) => state.tls = tls,
            Message::Search(search) => self.searches.begin(search, self.state.pending.places()),
            Message::Drain => self.begin_drain(pin),
        }
    }

    /// Serves a connection that was made inside the process.
    fn adopt(&mut self, stream: I::Stream, inside: Inside) {
        match self.io.adopt(stream) {
            Ok(socket) => {
                self.state.counts.connections.fetch_add(1, Ordering::Relaxed);
                let peer = match &inside {
                    Inside::Test(_) => Some(std::net::Ipv4Addr::LOCALHOST.into()),
                    Inside::Replay { peer, .. } => *peer,
                };
                self.accept(socket, ListenerKind::Ingress, peer, Some(inside));
            }
            // The other end sees its connection close.
            Err(error) => {
                bounded_log!(warn, %error, "a connection that was made inside the process cannot be watched")
            }
        }
    }

    /// Whether a round over the WebSockets is not at its end, or queues of flows have requested more than is done.
    pub(crate) fn has_rounds(&self) -> bool {
        !self.changes.is_over()
            || !self.restarts.is_over()
            || !self.searches.is_over()
            || !self.state.orders.is_empty()
    }

    /// Brings changes of the model, and the end of the process, to some of the WebSockets; does a piece of what the queues
    /// of flows have requested.
    pub(crate) fn continue_rounds(&mut self, pin: &Pin<'_>) {
        flows::continue_orders(&mut self.state);
        if let Some(places) = self.changes.piece(ROUND_PLACES) {
            for id in self.websockets(places) {
                self.state.post(id, ConnectionMessage::Refresh);
            }
        }
        if let Some(places) = self.restarts.piece(ROUND_PLACES) {
            for id in self.websockets(places) {
                self.state.post(id, ConnectionMessage::CloseWebSocket(Closing::Restart));
            }
        }
        self.continue_search();
        self.deliver_posted(pin);
    }

    /// Visits some of the WebSockets for the one that is searched for.
    fn continue_search(&mut self) {
        let Some((search, places)) = self.searches.piece(ROUND_PLACES) else { return };
        let (webhook, connection) = (search.webhook, search.connection);
        let outcome = match places {
            None => SearchOutcome::Missing,
            Some(places) => {
                let within = self.state.pending.websocket_slots_within(places);
                let is_it = |id| self.connections.is_websocket(id, webhook, connection);
                let Some(key) = within.into_iter().find_map(|(key, id)| is_it(id).then_some(key)) else {
                    return;
                };
                SearchOutcome::Found(self.state.reply_id(key, webhook))
            }
        };
        self.searches.end(outcome, self.state.pending.places());
    }

    pub(super) fn post_to_workers(&mut self, make: impl Fn() -> ConnectionMessage) {
        for id in self.connections.workers() {
            self.state.post(id, make());
        }
    }

    fn websockets(&self, places: Range<usize>) -> Vec<ConnectionId> {
        self.state.pending.websockets_within(places)
    }
}

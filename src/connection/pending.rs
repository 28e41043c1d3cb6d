//! Reply slots: the callers of a core that wait for a reply, or take messages at any time. Each has a place that its
//! `replyId` names.
//!
//! **Invariant**: a request's slot takes one outcome, the first; later replies are told that nobody waits.

use std::ops::Range;

use super::message::{ConnectionId, ReplyOutcome};
use crate::base::slots::{Key, Slots};
use crate::reply::{self, CallerKind, Reply};

/// A slot.
enum ReplySlotState {
    Request(PendingRequest),
    /// A WebSocket, which takes any number of messages.
    WebSocket(ConnectionId),
}

/// The slot of a request.
struct PendingRequest {
    /// The connection that is told about the outcome, once the request is suspended.
    connection: Option<ConnectionId>,
    reply: Option<Box<Reply>>,
    is_answered: bool,
    payload_limit: u32,
}

/// Result of handing in a reply.
pub(crate) enum Delivered {
    /// Decided; the connection is told, if one is named.
    Decided(ReplyOutcome, Option<ConnectionId>),
    /// The WebSocket decides.
    Forward(ConnectionId, Box<Reply>),
}

/// The reply slots of one core.
#[derive(Default)]
pub(crate) struct PendingReplies {
    slots: Slots<ReplySlotState>,
}

impl PendingReplies {
    /// Takes a slot for a request whose reply may have `payload_limit` bytes.
    pub(crate) fn insert_request(&mut self, payload_limit: u32) -> Key {
        let request = PendingRequest { connection: None, reply: None, is_answered: false, payload_limit };
        self.slots.insert(ReplySlotState::Request(request))
    }

    /// Takes a slot for a WebSocket.
    pub(crate) fn insert_websocket(&mut self, connection: ConnectionId) -> Key {
        self.slots.insert(ReplySlotState::WebSocket(connection))
    }

    /// Gives a slot back.
    pub(crate) fn remove(&mut self, key: Key) {
        self.slots.remove(key);
    }

    /// Hands a reply to the caller at `key`.
    pub(crate) fn deliver(&mut self, key: Key, reply: Box<Reply>) -> Delivered {
        match self.slots.get_mut(key) {
            None => Delivered::Decided(ReplyOutcome::NotWaiting, None),
            Some(ReplySlotState::WebSocket(_)) if !reply.fits(CallerKind::WebSocket) => {
                Delivered::Decided(ReplyOutcome::WrongCaller(CallerKind::WebSocket), None)
            }
            Some(ReplySlotState::WebSocket(connection)) => Delivered::Forward(*connection, reply),
            Some(ReplySlotState::Request(request)) if request.is_answered => {
                Delivered::Decided(ReplyOutcome::NotWaiting, None)
            }
            Some(ReplySlotState::Request(_)) if !reply.fits(CallerKind::Http) => {
                Delivered::Decided(ReplyOutcome::WrongCaller(CallerKind::Http), None)
            }
            Some(ReplySlotState::Request(request)) => {
                let size = reply::check_size(reply.body.as_deref(), request.payload_limit as usize);
                let outcome = match size {
                    Ok(()) => ReplyOutcome::Accepted,
                    Err(error) => ReplyOutcome::Refused(error.to_string()),
                };
                request.reply = Some(reply);
                request.is_answered = true;
                Delivered::Decided(outcome, request.connection)
            }
        }
    }

    /// Takes the reply of a request, if one has arrived.
    pub(crate) fn take_reply(&mut self, key: Key) -> Option<Box<Reply>> {
        match self.slots.get_mut(key) {
            Some(ReplySlotState::Request(request)) => request.reply.take(),
            _ => None,
        }
    }

    /// Names the connection that is told about the outcome.
    pub(crate) fn suspend(&mut self, key: Key, connection: ConnectionId) {
        if let Some(ReplySlotState::Request(request)) = self.slots.get_mut(key) {
            request.connection = Some(connection);
        }
    }

    /// The connection of a WebSocket's slot.
    pub(crate) fn websocket(&self, key: Key) -> Option<ConnectionId> {
        match self.slots.get(key) {
            Some(ReplySlotState::WebSocket(connection)) => Some(*connection),
            _ => None,
        }
    }

    /// Number of places of all slots, free ones among them.
    pub(crate) fn places(&self) -> usize {
        self.slots.places()
    }

    /// The connections of the WebSockets at some of the places.
    pub(crate) fn websockets_within(&self, places: Range<usize>) -> Vec<ConnectionId> {
        self.websocket_slots_within(places).into_iter().map(|(_, connection)| connection).collect()
    }

    /// The same with their slots.
    pub(crate) fn websocket_slots_within(&self, places: Range<usize>) -> Vec<(Key, ConnectionId)> {
        let slots = self.slots.iter_within(places).filter_map(|(key, pending)| match pending {
            ReplySlotState::WebSocket(connection) => Some((key, *connection)),
            ReplySlotState::Request(_) => None,
        });
        slots.collect()
    }

    /// Slots that are taken.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(bytes: usize) -> Box<Reply> {
        Box::new(Reply { body: Some(vec![b'x'; bytes].into()), ..Reply::default() })
    }

    const CONNECTION: ConnectionId = ConnectionId { index: 3, generation: 9 };

    #[test]
    fn the_first_reply_to_a_request_is_the_one_that_counts() {
        let mut pending = PendingReplies::default();
        let key = pending.insert_request(10);
        assert!(pending.take_reply(key).is_none());
        pending.suspend(key, CONNECTION);
        assert!(matches!(
            pending.deliver(key, reply(10)),
            Delivered::Decided(ReplyOutcome::Accepted, Some(CONNECTION))
        ));
        assert!(matches!(pending.deliver(key, reply(1)), Delivered::Decided(ReplyOutcome::NotWaiting, None)));
        assert_eq!(pending.take_reply(key).unwrap().body.unwrap().len(), 10);
        assert!(matches!(pending.deliver(key, reply(1)), Delivered::Decided(ReplyOutcome::NotWaiting, None)));
        pending.remove(key);
        assert!(matches!(pending.deliver(key, reply(1)), Delivered::Decided(ReplyOutcome::NotWaiting, None)));
    }

    #[test]
    fn a_reply_that_is_too_large_is_refused_and_ends_the_wait() {
        let mut pending = PendingReplies::default();
        let key = pending.insert_request(10);
        assert!(matches!(
            pending.deliver(key, reply(11)),
            Delivered::Decided(ReplyOutcome::Refused(_), None)
        ));
        assert!(pending.take_reply(key).is_some());
    }

    #[test]
    fn a_websocket_decides_about_each_reply_itself() {
        let mut pending = PendingReplies::default();
        let key = pending.insert_websocket(CONNECTION);
        for _ in 0..2 {
            assert!(matches!(pending.deliver(key, reply(1)), Delivered::Forward(CONNECTION, _)));
        }
        assert_eq!(pending.websockets_within(0..pending.places()), [CONNECTION]);
    }
}

//! Who waits for a reply: a request that holds its caller, or a WebSocket. Each has a slot on its core and a
//! `replyId` that names it and cannot be guessed.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::task::Waker;

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::core::Core;
use super::socket::Socket;
use crate::base::id::Id;
use crate::base::slots::{Key, Slots};
use crate::base::wheel::TimerId;
use crate::reply::{CallerKind, Reply};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Turns a place (core, slot, generation) into the part of a `replyId` that follows the webhook's id, and back.
///
/// The place and the tail of the webhook's id are one AES block under a key of this process: who does not have the
/// key can neither tell two ids apart nor make one that opens to a place (6 of the block's 16 bytes must come out
/// right, and the generation must be the slot's own).
pub(super) struct Seal {
    cipher: Aes128,
}

/// Where a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) core: u16,
    pub(super) key: Key,
    pub(super) webhook: Id,
}

/// Characters of a `replyId`: 24 of the webhook's id, a dot, 16 bytes in base64url.
const REPLY_ID_LENGTH: usize = 24 + 1 + 22;

impl Seal {
    /// A seal with a key of its own.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(super) fn new() -> Result<Seal, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Seal { cipher: Aes128::new(&key.into()) })
    }

    pub(super) fn close(&self, place: &Place) -> String {
        let mut block = [0; 16];
        block[..2].copy_from_slice(&place.core.to_le_bytes());
        block[2..6].copy_from_slice(&place.key.index.to_le_bytes());
        block[6..10].copy_from_slice(&place.key.generation.to_le_bytes());
        block[10..].copy_from_slice(&place.webhook.raw()[6..]);
        let mut block = block.into();
        self.cipher.encrypt_block(&mut block);
        let mut text = String::with_capacity(REPLY_ID_LENGTH);
        text.extend(place.webhook.digits().map(char::from));
        text.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(block, &mut text);
        text
    }

    /// None for what this process never made.
    pub(super) fn open(&self, reply_id: &str) -> Option<Place> {
        if reply_id.len() != REPLY_ID_LENGTH {
            return None;
        }
        let (webhook, sealed) = reply_id.split_once('.')?;
        // One spelling: capital digits would be a second.
        let webhook = Id::from_bytes(webhook.as_bytes()).filter(|id| id.digits() == webhook.as_bytes())?;
        let mut block = [0; 16];
        if BASE64_URL_SAFE_NO_PAD.decode_slice(sealed, &mut block) != Ok(block.len()) {
            return None;
        }
        let mut block = block.into();
        self.cipher.decrypt_block(&mut block);
        if block[10..] != webhook.raw()[6..] {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
        let core = u16::from_le_bytes([block[0], block[1]]);
        Some(Place { core, key: Key { index: word(2), generation: word(6) }, webhook })
    }
}

/// What came of a wait for a reply.
#[derive(Debug)]
pub(super) enum Waited {
    Reply(Box<Reply>),
    Timeout,
}

/// One that waits.
pub(super) enum Pending {
    /// A request. Boxed, so that each of many quiet WebSockets has a small place.
    Request(Box<Request>),
    /// A WebSocket, which takes any number of messages.
    Socket(Rc<Socket>),
}

/// A request that waits. Its task takes what is found here.
pub(super) struct Request {
    waited: Option<Waited>,
    waiter: Waiter,
    timer: Option<TimerId>,
    payload_limit: usize,
}

impl Pending {
    /// A request for which nothing has come.
    pub(super) fn request(payload_limit: usize) -> Pending {
        Pending::Request(Box::new(Request {
            waited: None,
            waiter: Waiter::Nobody,
            timer: None,
            payload_limit,
        }))
    }

    /// The timer of a request.
    pub(super) fn timer(&self) -> Option<TimerId> {
        match self {
            Pending::Request(request) => request.timer,
            Pending::Socket(_) => None,
        }
    }
}

/// Who is told that a request's wait is over.
#[derive(Default)]
pub(super) enum Waiter {
    #[default]
    Nobody,
    /// The connection's task.
    Task(Waker),
    /// The connection, which lies in the lot.
    Parked(Key),
}

impl Waiter {
    fn tell(&mut self, core: &Core) {
        match std::mem::take(self) {
            Waiter::Nobody => {}
            Waiter::Task(waker) => waker.wake(),
            Waiter::Parked(connection) => {
                let watch = core.connections.borrow().get(connection).map(Rc::clone);
                if let Some(watch) = watch {
                    core.lot.call(connection, &watch);
                }
            }
        }
    }
}

/// The places of one core.
#[derive(Default)]
pub(super) struct PendingReplies {
    slots: RefCell<Slots<Pending>>,
}

/// What became of a reply, for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent, or will be.
    Accepted,
    /// Nobody waits for it: unknown, answered or gone.
    NotWaiting,
    /// A node's reply is for the other kind of caller than this one: nothing was sent.
    WrongCaller(CallerKind),
    /// It cannot be sent, and why; a waiting caller has been told.
    Refused(String),
}

impl PendingReplies {
    pub(super) fn insert(&self, pending: Pending) -> Key {
        self.slots.borrow_mut().insert(pending)
    }

    pub(super) fn remove(&self, key: Key) -> Option<Pending> {
        self.slots.borrow_mut().remove(key)
    }

    /// Places of all that wait, free ones among them.
    pub(super) fn places(&self) -> usize {
        self.slots.borrow().places()
    }

    /// The WebSockets at some of the places.
    pub(super) fn sockets_within(&self, places: Range<usize>) -> Vec<Rc<Socket>> {
        let slots = self.slots.borrow();
        slots
            .iter_within(places)
            .filter_map(|(_, pending)| match pending {
                Pending::Socket(socket) => Some(Rc::clone(socket)),
                Pending::Request(_) => None,
            })
            .collect()
    }

    /// Hands a reply to the one that waits at `key`. The first wins.
    pub(super) fn deliver(&self, core: &Core, key: Key, reply: Box<Reply>) -> Outcome {
        let socket = {
            let mut slots = self.slots.borrow_mut();
            match slots.get_mut(key) {
                None => return Outcome::NotWaiting,
                Some(Pending::Request(request)) => {
                    if request.waited.is_some() {
                        return Outcome::NotWaiting;
                    }
                    if !reply.fits(CallerKind::Http) {
                        return Outcome::WrongCaller(CallerKind::Http);
                    }
                    let size = crate::reply::check_size(reply.body.as_deref(), request.payload_limit);
                    let outcome = match size {
                        Ok(()) => Outcome::Accepted,
                        Err(error) => Outcome::Refused(error.to_string()),
                    };
                    request.waited = Some(Waited::Reply(reply));
                    request.waiter.tell(core);
                    return outcome;
                }
                Some(Pending::Socket(socket)) => Rc::clone(socket),
            }
        };
        if !reply.fits(CallerKind::WebSocket) {
            return Outcome::WrongCaller(CallerKind::WebSocket);
        }
        socket.deliver(core, &reply)
    }

    /// Ends the wait at `key`, unless it ended already.
    pub(super) fn time_out(&self, core: &Core, key: Key) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(Pending::Request(request)) = slots.get_mut(key) else { return false };
        if request.waited.is_some() {
            return false;
        }
        request.waited = Some(Waited::Timeout);
        request.timer = None;
        request.waiter.tell(core);
        true
    }

    /// The request that waits at `key` goes without a task from now on: its connection is called out of the lot when
    /// the wait is over. False: it is over already.
    pub(super) fn park(&self, key: Key, connection: Key) -> bool {
        match self.slots.borrow_mut().get_mut(key) {
            Some(Pending::Request(request)) if request.waited.is_none() => {
                request.waiter = Waiter::Parked(connection);
                true
            }
            _ => false,
        }
    }

    /// Sets the timer of the request that waits at `key`, so that it can be cancelled.
    pub(super) fn set_timer(&self, key: Key, id: TimerId) {
        if let Some(Pending::Request(request)) = self.slots.borrow_mut().get_mut(key) {
            request.timer = Some(id);
        }
    }

    /// Takes what came, if it came, or remembers who is to be woken.
    pub(super) fn poll(&self, key: Key, waker: Option<&Waker>) -> Option<Waited> {
        let mut slots = self.slots.borrow_mut();
        let Some(Pending::Request(request)) = slots.get_mut(key) else { return None };
        if let Some(came) = request.waited.take() {
            return Some(came);
        }
        if let Some(waker) = waker
            && !matches!(&request.waiter, Waiter::Task(known) if known.will_wake(waker))
        {
            request.waiter = Waiter::Task(waker.clone());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_place_opens_to_itself_and_to_nothing_else() {
        let seal = Seal::new().unwrap();
        let webhook: Id = "0123456789abcdef01234567".parse().unwrap();
        let place = Place { core: 3, key: Key { index: 70_000, generation: 9 }, webhook };
        let id = seal.close(&place);
        assert_eq!(id.len(), REPLY_ID_LENGTH);
        assert_eq!(seal.open(&id), Some(place));
        assert_eq!(Seal::new().unwrap().open(&id), None, "another process's key");
        for at in 0..id.len() {
            let mut bad = id.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).unwrap();
            // The last character carries two bits that a lenient reader would drop.
            assert!(at + 1 == id.len() || seal.open(&bad).is_none_or(|found| found != place), "{bad}");
        }
    }
}

//! The state of the HTTP machine, for its connection.

use super::super::buffers::RECEIVE_BYTES_LARGE;
use super::super::pace::Pace;
use super::{HttpMachine, Waiting, WaitingRequest};
use crate::http::Awaiting;

impl HttpMachine {
    /// Whether the reply of the request that waits is overdue.
    pub(crate) fn is_overdue(&self, now: u64) -> bool {
        matches!(&self.waiting, Some(Waiting::Reply(waiting)) if waiting.deadline() <= now)
    }

    /// Whether a body is being received.
    pub(crate) fn wants_body(&self) -> bool {
        self.waiting.is_none() && self.http.awaiting() == Awaiting::Body
    }

    /// A step of the present body's time is over; returns `false` if it is too slow, or no body is being received.
    pub(crate) fn step_pace(&mut self) -> bool {
        self.request.pace.as_mut().is_some_and(Pace::step)
    }

    /// Whether a request waits for its reply.
    pub(crate) fn waits_for_reply(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Reply(_)))
    }

    /// Whether a reply is sent while it is received.
    pub(crate) fn is_relaying(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Relay(_)))
    }

    /// Whether a request waits for a chain.
    pub(crate) fn waits_for_chain(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Chain(_)))
    }

    /// Whether a request waits for its key of `deduplicate`.
    pub(crate) fn waits_for_key(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Key(_)))
    }

    /// Whether a request waits for keys.
    pub(crate) fn waits_for_keys(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Keys(_)))
    }

    /// Whether a request waits for a token.
    pub(crate) fn waits_for_permit(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Permit(_)))
    }

    /// Whether nothing of a request has been received.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.http.awaiting() == Awaiting::Idle
    }

    /// Whether bytes have been received that were not consumed.
    pub(crate) fn has_unread(&self) -> bool {
        !self.carry.is_empty()
    }

    /// Whether no more bytes should be received before some are consumed.
    pub(crate) fn is_full(&self) -> bool {
        self.carry.len() >= RECEIVE_BYTES_LARGE
    }

    /// Makes a waiting request small: it gives back what it does not need, where little has been received behind it.
    pub(crate) fn take_waiting(&mut self) -> Option<Box<WaitingRequest>> {
        if !self.carry.is_empty() {
            return None;
        }
        match self.waiting.take() {
            Some(Waiting::Reply(waiting)) => Some(waiting),
            other => {
                self.waiting = other;
                None
            }
        }
    }
}

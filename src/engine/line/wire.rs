//! What is to be sent on a line, and where its messages end.

use std::collections::VecDeque;

use super::Ended;
use crate::websocket;

/// The two ends of a line: the machine, and the bytes that wait to be sent.
pub(super) struct Wire {
    pub(super) machine: websocket::Connection,
    /// What is to be sent, and how much of it is.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    /// Where each message in `out` ends. Boxed, since a quiet line has none.
    pub(super) ends: Option<Box<Ends>>,
    /// The first who ended it is right.
    pub(super) ended: Option<Ended>,
    /// Whether anything was sent since a Close began to be waited for.
    pub(super) progress: bool,
}

/// Places in the bytes that are to be sent, in order.
#[derive(Default)]
pub(super) struct Ends(pub(super) VecDeque<usize>);

impl Wire {
    /// What lies in `out` now is whole messages.
    pub(super) fn note_end(&mut self) {
        self.ends.get_or_insert_default().0.push_back(self.out.len());
    }

    pub(super) fn forget_ends(&mut self) {
        if let Some(ends) = &mut self.ends {
            ends.0.clear();
        }
    }

    /// Where the message that is being sent ends.
    pub(super) fn front(&self) -> Option<usize> {
        self.ends.as_ref()?.0.iter().find(|end| **end > self.sent).copied()
    }

    /// Bytes that wait, beside the message that is being sent.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.front().unwrap_or(self.sent)
    }

    /// Takes back what waits behind the message that is being sent.
    pub(super) fn drop_backlog(&mut self) {
        if let Some(front) = self.front() {
            self.out.truncate(front);
            self.forget_ends();
            self.note_end();
        }
    }

    /// Moves what is left to the front, once what was sent is the larger part.
    pub(super) fn forget_sent(&mut self) {
        let ends = &mut self.ends.get_or_insert_default().0;
        while ends.front().is_some_and(|end| *end <= self.sent) {
            ends.pop_front();
        }
        if self.sent > self.out.len() / 2 {
            let sent = std::mem::take(&mut self.sent);
            self.out.drain(..sent);
            ends.iter_mut().for_each(|end| *end -= sent);
        }
    }
}

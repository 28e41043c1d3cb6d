//! The waits of a core by themselves: its reply slots and its timers as the engine keeps them, for who measures them.

use crate::base::slots::Key;
use crate::base::wheel::{TimerId, Wheel};
use crate::connection::context::Timer;
use crate::connection::message::{ConnectionId, ReplyOutcome};
use crate::connection::pending::{Delivered, PendingReplies};
use crate::reply::Reply;

/// Reply slots with a timer each, without the connections that they are for.
pub struct Waits {
    pending: PendingReplies,
    wheel: Wheel<Timer>,
    fired: Vec<Timer>,
    /// Slots by the number of their connection.
    slots: Vec<Option<Wait>>,
    free: Vec<u32>,
}

/// One of them.
#[derive(Clone, Copy)]
pub struct Wait {
    slot: Key,
    timer: TimerId,
    connection: ConnectionId,
}

impl Waits {
    /// No waits. `now` in nanoseconds.
    #[must_use]
    pub fn new(now: u64) -> Waits {
        Waits {
            pending: PendingReplies::default(),
            wheel: Wheel::new(now),
            fired: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Begins a wait for a reply of at most `payload_limit` bytes.
    pub fn begin(&mut self, deadline: u64, payload_limit: u32) -> Wait {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let connection = ConnectionId { index, generation: 0 };
        let slot = self.pending.insert_request(payload_limit);
        self.pending.suspend(slot, connection);
        let timer = self.wheel.insert(deadline, Timer::Connection(connection));
        let wait = Wait { slot, timer, connection };
        self.slots[index as usize] = Some(wait);
        wait
    }

    /// Hands in the reply of a wait and ends it. Returns whether it was taken.
    pub fn reply(&mut self, wait: Wait, reply: Box<Reply>) -> bool {
        let delivered = self.pending.deliver(wait.slot, reply);
        let is_taken = matches!(delivered, Delivered::Decided(ReplyOutcome::Accepted, Some(_)))
            && self.pending.take_reply(wait.slot).is_some();
        self.wheel.cancel(wait.timer);
        self.end(wait.connection);
        is_taken
    }

    /// Ends the waits that are overdue; returns their number.
    pub fn advance(&mut self, now: u64) -> usize {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.advance(now, &mut fired);
        let mut ended = 0;
        for timer in fired.drain(..) {
            if let Timer::Connection(connection) = timer {
                ended += usize::from(self.end(connection));
            }
        }
        self.fired = fired;
        ended
    }

    fn end(&mut self, connection: ConnectionId) -> bool {
        let Some(wait) = self.slots[connection.index as usize].take() else { return false };
        self.pending.remove(wait.slot);
        self.free.push(connection.index);
        true
    }
}

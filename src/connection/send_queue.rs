//! The messages that a WebSocket is to send, and where each ends: the peer may be behind by so many bytes and no more,
//! besides the message that is being sent.

use std::collections::VecDeque;

/// Bytes that are handed to the kernel at a time, unless a single message is larger: what is handed over can no longer be
/// taken back from a peer that does not read.
const BATCH_BYTES: usize = 64 * 1024;

/// Messages that are to be sent.
#[derive(Default)]
pub(crate) struct SendQueue {
    /// Bytes that no send has been started for.
    pub(crate) out: Vec<u8>,
    /// Ends of the messages in `out`, in order. Boxed, since a quiet connection has none.
    #[allow(clippy::box_collection, reason = "a quiet connection keeps a word for it")]
    ends: Option<Box<VecDeque<usize>>>,
    /// Bytes of the send in flight, behind its first message; `None`: none is in flight.
    in_flight: Option<usize>,
}

impl SendQueue {
    /// Notes that `out` now ends with a complete message.
    pub(crate) fn note_end(&mut self) {
        self.ends.get_or_insert_default().push_back(self.out.len());
    }

    /// Number of bytes that wait, besides the message that is being sent.
    pub(crate) fn waiting(&self) -> usize {
        match self.in_flight {
            Some(behind) => behind + self.out.len(),
            None => self.out.len() - self.first_end(),
        }
    }

    /// Number of bytes that no send has been started for, or whose send is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.in_flight.is_none()
    }

    /// Whether it keeps nothing, not even room.
    pub(crate) fn is_released(&self) -> bool {
        self.out.capacity() == 0 && self.ends.is_none() && self.in_flight.is_none()
    }

    /// Drops what can be taken back, besides the message that is to be sent next where none is in flight.
    pub(crate) fn drop_backlog(&mut self) {
        let kept = if self.in_flight.is_some() { 0 } else { self.first_end() };
        self.out.truncate(kept);
        self.ends = None;
        if kept > 0 {
            self.note_end();
        }
    }

    /// Takes the next batch to send: whole messages. `None` while a send is in flight, or if there is nothing to send.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        if self.in_flight.is_some() || self.out.is_empty() {
            return None;
        }
        let first = self.first_end();
        if self.out.len() <= BATCH_BYTES {
            self.in_flight = Some(self.out.len() - first);
            if let Some(ends) = &mut self.ends {
                ends.clear();
            }
            return Some(std::mem::take(&mut self.out));
        }
        let mut length = first;
        let ends = self.ends.get_or_insert_default();
        while let Some(&end) = ends.front()
            && (end <= BATCH_BYTES || end <= first)
        {
            length = end;
            ends.pop_front();
        }
        ends.iter_mut().for_each(|end| *end -= length);
        let rest = self.out.split_off(length);
        self.in_flight = Some(length - first);
        Some(std::mem::replace(&mut self.out, rest))
    }

    /// Notes that the send in flight has ended.
    pub(crate) fn on_sent(&mut self) {
        self.in_flight = None;
    }

    /// Frees what a quiet connection does not need; returns the output buffer.
    pub(crate) fn release(&mut self) -> Vec<u8> {
        self.ends = None;
        std::mem::take(&mut self.out)
    }

    /// The end of the first message in `out`.
    fn first_end(&self) -> usize {
        let first = self.ends.as_ref().and_then(|ends| ends.front().copied());
        first.unwrap_or(self.out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(messages: &[usize]) -> SendQueue {
        let mut queue = SendQueue::default();
        for &bytes in messages {
            queue.out.resize(queue.out.len() + bytes, b'x');
            queue.note_end();
        }
        queue
    }

    #[test]
    fn all_that_is_little_is_sent_at_once() {
        let mut queue = queue(&[10, 20, 30]);
        assert_eq!(queue.waiting(), 50);
        assert_eq!(queue.take().map(|out| out.len()), Some(60));
        assert_eq!((queue.waiting(), queue.take(), queue.is_empty()), (50, None, false));
        queue.on_sent();
        assert!(queue.is_empty() && queue.take().is_none());
    }

    #[test]
    fn a_backlog_is_sent_in_batches_of_whole_messages() {
        let mut queue = queue(&[30_000, 30_000, 30_000, 100_000, 5]);
        let mut sent = Vec::new();
        while let Some(out) = queue.take() {
            sent.push(out.len());
            queue.on_sent();
        }
        assert_eq!(sent, [60_000, 30_000, 100_000, 5]);
    }

    #[test]
    fn a_dropped_backlog_leaves_the_message_that_is_sent_next() {
        let mut idle = queue(&[10, 20]);
        idle.drop_backlog();
        assert_eq!((idle.out.len(), idle.waiting()), (10, 0));
        let mut sending = queue(&[10, 20]);
        let _ = sending.take();
        sending.out.extend_from_slice(b"more");
        sending.note_end();
        assert_eq!(sending.waiting(), 24);
        sending.drop_backlog();
        assert_eq!((sending.out.len(), sending.waiting()), (0, 20));
    }

    #[test]
    fn control_frames_between_messages_are_sent_with_them() {
        let mut queue = queue(&[10]);
        queue.out.extend_from_slice(b"pong");
        assert_eq!(queue.take().map(|out| out.len()), Some(14));
    }
}

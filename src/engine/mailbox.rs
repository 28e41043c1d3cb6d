//! Messages to a core, from other cores and from the control plane: a bounded lock-free queue, and the waker of the
//! core's kernel.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

use crate::io::Waker;

/// The sending half; cheap to clone.
pub(super) struct MailboxSender<T> {
    shared: Arc<MailboxState<T>>,
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> MailboxSender<T> {
        MailboxSender { shared: Arc::clone(&self.shared) }
    }
}

/// The receiving half; one is at work at a time.
pub(super) struct Receiver<T> {
    shared: Arc<MailboxState<T>>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { shared: Arc::clone(&self.shared) }
    }
}

struct MailboxState<T> {
    queue: ArrayQueue<T>,
    /// Absent until the core has opened its kernel; another one after each restart.
    waker: Mutex<Option<Waker>>,
}

/// The mailbox is full; the message is returned.
#[derive(Debug)]
pub(super) struct MailboxFull<T>(pub(super) T);

/// A mailbox that holds at most `capacity` messages.
pub(super) fn mailbox<T>(capacity: usize) -> (MailboxSender<T>, Receiver<T>) {
    let shared = Arc::new(MailboxState { queue: ArrayQueue::new(capacity), waker: Mutex::new(None) });
    (MailboxSender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> MailboxSender<T> {
    /// Puts a message in and wakes the receiver. Never blocks.
    ///
    /// # Errors
    /// [`MailboxFull`] with the message.
    pub(super) fn send(&self, message: T) -> Result<(), MailboxFull<T>> {
        self.shared.queue.push(message).map_err(MailboxFull)?;
        // Held by others for the length of a wake at most.
        if let Some(waker) = &*self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// Takes the next message, if there is one.
    pub(super) fn receive(&self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Sets the waker that senders use. Messages that were sent before wake it now.
    pub(super) fn set_waker(&self, waker: Waker) {
        waker.wake();
        *self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::io::Wake;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_full_mailbox_returns_the_message() {
        let (sender, receiver) = mailbox(2);
        assert!(sender.send(1).is_ok() && sender.clone().send(2).is_ok());
        assert_eq!(sender.send(3).unwrap_err().0, 3);
        assert_eq!((receiver.receive(), receiver.receive(), receiver.receive()), (Some(1), Some(2), None));
    }

    #[test]
    fn messages_wake_the_receiver_and_those_of_before_do_when_it_opens() {
        let (sender, receiver) = mailbox(8);
        sender.send(1).unwrap();
        let counted = Arc::new(Counted::default());
        receiver.set_waker(Arc::clone(&counted) as Waker);
        assert_eq!(counted.0.load(Ordering::Relaxed), 1);
        sender.send(2).unwrap();
        assert_eq!(counted.0.load(Ordering::Relaxed), 2);
    }
}

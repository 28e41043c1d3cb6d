//! Messages between cores, and from the control plane to a core: a bounded lock-free queue and an eventfd that the
//! receiving core watches on its own ring. Never a foreign waker (see the notes on the ring in `runtime`).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};

use crate::base::doze::Doze;

/// The sending half; cheap to clone.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { shared: Arc::clone(&self.shared) }
    }
}

/// The receiving half, one for each mailbox.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    /// Whether the receiver must be woken by the eventfd.
    doze: Doze,
    event: OwnedFd,
}

/// The mailbox is full; the message comes back.
#[derive(Debug)]
pub struct Full<T>(pub T);

/// A mailbox that holds at most `capacity` messages.
///
/// # Errors
/// If no eventfd can be made.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let shared = Arc::new(Shared { queue: ArrayQueue::new(capacity), doze: Doze::asleep(), event });
    Ok((Sender { shared: Arc::clone(&shared) }, Receiver { shared }))
}

impl<T> Sender<T> {
    /// Puts a message in and wakes the receiver if it sleeps. Never blocks.
    ///
    /// # Errors
    /// [`Full`] with the message.
    pub fn send(&self, message: T) -> Result<(), Full<T>> {
        self.shared.queue.push(message).map_err(Full)?;
        if self.shared.doze.must_wake() {
            // A counter that would overflow already has the receiver's attention.
            let _ = rustix::io::write(&self.shared.event, &1u64.to_ne_bytes());
        }
        Ok(())
    }
}

impl<T> Receiver<T> {
    /// The next message, if one is there.
    pub fn receive(&self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Says that the receiver will wait for the eventfd. False if a message came meanwhile: look again first.
    #[must_use]
    pub fn sleep(&self) -> bool {
        self.shared.doze.sleep(|| self.shared.queue.is_empty())
    }

    /// Empties the eventfd after it was readable.
    pub fn woken(&self) {
        let mut count = [0; 8];
        // Nothing in it is no harm: the wait was spurious.
        let _ = rustix::io::read(&self.shared.event, &mut count);
    }

    /// The eventfd, to be watched.
    ///
    /// # Errors
    /// If it cannot be duplicated.
    pub fn event(&self) -> io::Result<OwnedFd> {
        self.shared.event.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let (sender, receiver) = mailbox(2).unwrap();
        assert!(sender.send(1).is_ok() && sender.send(2).is_ok());
        assert_eq!(sender.send(3).unwrap_err().0, 3);
        assert_eq!((receiver.receive(), receiver.receive(), receiver.receive()), (Some(1), Some(2), None));
    }

    #[test]
    fn sleep_is_refused_while_a_message_waits() {
        let (sender, receiver) = mailbox(2).unwrap();
        assert!(receiver.sleep());
        sender.send(1).unwrap();
        assert!(!receiver.sleep());
        assert_eq!(receiver.receive(), Some(1));
        assert!(receiver.sleep());
    }

    #[test]
    fn nothing_is_lost_between_many_senders_and_a_receiver_that_sleeps() {
        const SENDERS: usize = 4;
        const EACH: usize = 5_000;
        let (sender, receiver) = mailbox::<usize>(64).unwrap();
        let threads: Vec<_> = (0..SENDERS)
            .map(|_| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        let mut message = n;
                        while let Err(Full(back)) = sender.send(message) {
                            message = back;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let event = receiver.event().unwrap();
        let mut received = 0;
        while received < SENDERS * EACH {
            while receiver.receive().is_some() {
                received += 1;
            }
            if received < SENDERS * EACH && receiver.sleep() {
                let mut fds = [rustix::event::PollFd::new(&event, rustix::event::PollFlags::IN)];
                rustix::event::poll(&mut fds, None).unwrap();
                receiver.woken();
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(received, SENDERS * EACH);
    }
}

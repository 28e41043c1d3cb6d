//! Wakes a backend that waits, through an eventfd that is written only while it waits.
//!
//! The eventfd is never read: both kernels watch it for writes (edge-triggered), and its counter would overflow after
//! 2^64 wakes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::interface::Wake;
use crate::base::sleep_flag::SleepFlag;

/// State shared by a backend and those who wake it.
#[derive(Debug)]
pub(super) struct EventWaker {
    flag: SleepFlag,
    event: OwnedFd,
}

impl EventWaker {
    pub(super) fn new() -> io::Result<EventWaker> {
        let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(EventWaker { flag: SleepFlag::new(), event })
    }

    /// Announces that the backend waits. Returns `false` if it was woken: it must not wait then.
    pub(super) fn begin_wait(&self) -> bool {
        self.flag.begin_wait()
    }

    /// Announces that the backend does not wait. Returns whether it was woken since the last call.
    pub(super) fn end_wait(&self) -> bool {
        self.flag.end_wait()
    }
}

impl AsFd for EventWaker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Wake for EventWaker {
    fn wake(&self) {
        if self.flag.should_notify() {
            // It could fail only for a counter that overflows.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(waker: &EventWaker) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&waker.event, &mut count).is_ok()
    }

    #[test]
    fn only_a_backend_that_waits_costs_a_system_call() {
        let waker = EventWaker::new().expect("an eventfd");
        waker.wake();
        waker.wake();
        assert!(!waker.begin_wait(), "it was woken before");
        assert!(waker.end_wait() && !waker.end_wait());
        assert!(!written(&waker));

        assert!(waker.begin_wait());
        waker.wake();
        waker.wake();
        assert!(written(&waker) && !written(&waker));
        assert!(waker.end_wait() && waker.begin_wait() && !waker.end_wait());
    }
}

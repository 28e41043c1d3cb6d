//! A connection's patience: one deadline, moved with a store, that ends whatever the connection's task waits for.
//!
//! Each connection has one entry on the core's wheel. Moving the deadline later does not touch the wheel: when the
//! entry fires too early, it is set again. What the task waits for is ended in one of two ways: a read on the ring is
//! cancelled and awaited (dropping it would lose bytes), any other future is dropped.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, Waker};

use monoio::io::{CancelHandle, Canceller};

use super::lot::Parked;
use crate::base::wheel::TimerId;

/// What the wheel's entry found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Patience {
    /// Not over yet: set the entry again for this moment.
    Until(u64),
    /// Over: the task has been told.
    Over,
}

/// The part of a connection that the wheel sees.
#[derive(Default)]
pub(super) struct Watch {
    /// Nanoseconds of the monotonic clock.
    deadline: Cell<u64>,
    /// The wheel's entry, and when it fires.
    armed: Cell<Option<(u64, TimerId)>>,
    expired: Cell<bool>,
    /// Whether the connection waits between requests, and may be ended without a loss.
    idle: Cell<bool>,
    waits: RefCell<Waits>,
    /// Whether the lot knows its socket.
    in_lot: Cell<bool>,
}

// With the counts of its `Rc` it fills a size of the allocator's: every connection keeps one while it is quiet.
const _: () = assert!(size_of::<Watch>() + 2 * size_of::<usize>() <= 128);

/// Who waits.
enum Waits {
    /// A task: what its read on the ring is cancelled by, and what it is woken by.
    Task { canceller: Option<Canceller>, waker: Option<Waker> },
    /// The connection itself, while it has none.
    Parked(Parked),
}

impl Default for Waits {
    fn default() -> Waits {
        Waits::Task { canceller: None, waker: None }
    }
}

/// The deadline passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expired;

impl Watch {
    pub(super) fn new(deadline: u64) -> Watch {
        Watch { deadline: Cell::new(deadline), ..Watch::default() }
    }

    /// Sets the moment at which the present wait ends, and forgets that an earlier one did.
    pub(super) fn set(&self, deadline: u64) {
        self.deadline.set(deadline);
        self.expired.set(false);
    }

    /// The wheel's entry, if one is set.
    pub(super) fn armed(&self) -> Option<(u64, TimerId)> {
        self.armed.get()
    }

    pub(super) fn set_armed(&self, entry: Option<(u64, TimerId)>) {
        self.armed.set(entry);
    }

    pub(super) fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    pub(super) fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// The handle for a read on the ring. The canceller is made at the first and let go with [`Self::release`].
    pub(super) fn handle(&self) -> CancelHandle {
        match &mut *self.waits.borrow_mut() {
            Waits::Task { canceller, .. } => canceller.get_or_insert_with(Canceller::new).handle(),
            // Nothing is read of what is parked: whatever this belongs to is never cancelled.
            Waits::Parked(_) => Canceller::new().handle(),
        }
    }

    /// Lets go of what a quiet connection does not need.
    pub(super) fn release(&self) {
        if let Waits::Task { canceller, waker } = &mut *self.waits.borrow_mut() {
            (*canceller, *waker) = (None, None);
        }
    }

    /// Called when the wheel's entry fires.
    pub(super) fn fired(&self, now: u64) -> Patience {
        if self.deadline.get() > now {
            return Patience::Until(self.deadline.get());
        }
        self.expire();
        Patience::Over
    }

    /// Ends the present wait at once.
    pub(super) fn expire(&self) {
        self.expired.set(true);
        let cancelled = match &mut *self.waits.borrow_mut() {
            Waits::Task { canceller, .. } => canceller.take(),
            Waits::Parked(_) => None,
        };
        let renewed = cancelled.map(Canceller::cancel);
        if let Waits::Task { canceller, .. } = &mut *self.waits.borrow_mut() {
            *canceller = renewed;
        }
        self.wake();
    }

    /// Wakes the task, so that it looks at what has changed.
    pub(super) fn wake(&self) {
        let waker = match &mut *self.waits.borrow_mut() {
            Waits::Task { waker, .. } => waker.take(),
            Waits::Parked(_) => None,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.get()
    }

    /// Keeps a connection that goes without a task from now on.
    pub(super) fn park(&self, parked: Parked) {
        self.in_lot.set(true);
        self.waits.replace(Waits::Parked(parked));
    }

    /// Gives it back.
    pub(super) fn unpark(&self) -> Option<Parked> {
        let mut waits = self.waits.borrow_mut();
        match std::mem::take(&mut *waits) {
            Waits::Parked(parked) => Some(parked),
            task => {
                *waits = task;
                None
            }
        }
    }

    pub(super) fn is_parked(&self) -> bool {
        matches!(*self.waits.borrow(), Waits::Parked(_))
    }

    /// Whether the connection has been parked before.
    pub(super) fn is_in_lot(&self) -> bool {
        self.in_lot.get()
    }

    /// Remembers who is to be woken.
    pub(super) fn remember(&self, waker: &Waker) {
        if let Waits::Task { waker: known, .. } = &mut *self.waits.borrow_mut()
            && !known.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *known = Some(waker.clone());
        }
    }

    /// Awaits a future that may be dropped, until the deadline. It is pinned by the caller, so that a waiting task
    /// holds it once.
    pub(super) fn until_expired<'f, F: Future>(
        &'f self,
        mut future: Pin<&'f mut F>,
    ) -> impl Future<Output = Result<F::Output, Expired>> + 'f {
        poll_fn(move |context| {
            if self.expired.get() {
                return Poll::Ready(Err(Expired));
            }
            match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => {
                    self.remember(context.waker());
                    Poll::Pending
                }
            }
        })
    }
}

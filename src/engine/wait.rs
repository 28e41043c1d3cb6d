//! Callers that wait for a reply. One that has waited for a second is left in the lot, as a quiet connection is: no task,
//! no buffer, no entry of its own on the wheel, only what its answer depends on. What ends its wait finds it by its
//! place among the pending replies, which then names the connection instead of a task's waker.
//!
//! **Invariant**: while a caller is in the lot, its place is [parked](super::pending::PendingReplies::park) and holds no
//! outcome; the outcome that comes first calls it out, once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::accept;
use super::connection::{Begun, Connection, QUIET_NANOS, Quiet, Received, Worked, run, uncount};
use super::core::{Core, RECEIVE_BYTES};
use super::exchange::{Next, Waiting};
use super::lot::{self, Left, Parked};
use super::watch::Watch;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::http;

/// While a caller waits whose buffer is full, how often it is asked whether it is still there.
const PROBE_NANOS: u64 = NANOS_PER_SECOND / 4;
/// No deadline: something else ends the wait.
const NEVER: u64 = u64::MAX;
/// What a caller in the lot may keep: its request line, and requests that it has sent already. The buffer that it goes on
/// with has room for as much again. With more, it keeps its task and its buffer.
const KEPT_BYTES_MAX: usize = RECEIVE_BYTES / 2;

/// A caller that waits without a task.
pub(super) struct Held {
    pub(super) quiet: Quiet,
    waiting: Box<Waiting>,
    request: http::Suspended,
}

impl Held {
    /// The connection that goes on, and what it waits for.
    fn connect(self, core: &Rc<Core>, key: Key, watch: Rc<Watch>) -> (Connection, Box<Waiting>) {
        let Held { quiet, waiting, request } = self;
        let mut active = core.take_active();
        let http = http::Connection::resume(http::Limits::default(), &request, &mut active.buffer);
        let mut connection = quiet.connect(Rc::clone(core), key, watch, http);
        connection.active = Some(active);
        (connection, waiting)
    }
}

/// Goes on with a caller that was in the lot.
pub(super) fn resume(core: &Rc<Core>, key: Key, watch: Rc<Watch>, held: Held, left: Left) {
    let (connection, waiting) = held.connect(core, key, watch);
    accept::spawn(core, run(connection, Begun::Waits(waiting, left)));
}

/// Ends one that is in the lot: the core ends.
pub(super) fn end(core: &Core, key: Key, held: Held) {
    drop(held);
    uncount(core, key);
}

/// What a wait came to.
pub(super) enum Wait<T> {
    Found(T),
    /// The caller is gone.
    Gone,
    /// Neither, for a moment.
    Lasts,
}

/// What ended a look at a caller that waits.
enum Woken<T> {
    Found(T),
    Readable,
    Expired,
}

impl Connection {
    /// Sends what is ready, waits for the reply and answers with it. None: the next request is looked at.
    pub(super) async fn wait_for_reply(&mut self, waiting: Box<Waiting>, parks: bool) -> Option<Worked> {
        if !self.flush().await {
            return Some(Worked::Closed);
        }
        let (core, place) = (Rc::clone(&self.core), waiting.place);
        let waited = match Box::pin(self.wait(|waker| core.pending.poll(place, Some(waker)), parks)).await {
            Wait::Found(waited) => waited,
            Wait::Gone => return Some(Worked::Closed),
            Wait::Lasts => return Some(Worked::Waits(waiting)),
        };
        match self.replied(*waiting, waited) {
            Next::Close { linger } => {
                self.close(linger).await;
                Some(Worked::Closed)
            }
            _ => None,
        }
    }

    /// Lets a request wait without a task. It comes back where that cannot be had, or where its wait is over.
    pub(super) fn park_waiting(
        mut self,
        waiting: Box<Waiting>,
    ) -> Result<(), (Box<Connection>, Box<Waiting>)> {
        let (core, place, key) = (Rc::clone(&self.core), waiting.place, self.key);
        let Some(active) = self.active.take() else { return Err((Box::new(self), waiting)) };
        if !core.pending.park(place, key) {
            self.active = Some(active);
            return Err((Box::new(self), waiting));
        }
        let request = self.http.suspend(&active.buffer);
        core.give_active(active);
        let Connection { stream, door, peer, tap, watch, .. } = self;
        core.disarm(&watch);
        let held = Held { quiet: Quiet { stream, door, peer, tap }, waiting, request };
        match lot::park(&core, key, &watch, Parked::Waiting(Box::new(held))) {
            Err(Parked::Waiting(held)) => {
                let (connection, waiting) = held.connect(&core, key, watch);
                Err((Box::new(connection), waiting))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits for what `poll` finds, and sees a caller that goes away. Where it `parks`, for a moment only.
    pub(super) async fn wait<T>(&mut self, poll: impl Fn(&Waker) -> Option<T>, mut parks: bool) -> Wait<T> {
        loop {
            let has_room = self.active.as_ref().is_none_or(|active| active.buffer.spare() > 0);
            self.set_deadline(match (parks, has_room) {
                (true, _) => self.now() + QUIET_NANOS,
                (false, true) => NEVER,
                (false, false) => self.now() + PROBE_NANOS,
            });
            match self.woken(&poll, has_room).await {
                Woken::Found(waited) => return Wait::Found(waited),
                Woken::Readable if matches!(self.receive_now(), Received::End) => return Wait::Gone,
                Woken::Readable => {}
                Woken::Expired if parks => {
                    if self.keeps_little() {
                        return Wait::Lasts;
                    }
                    parks = false;
                }
                Woken::Expired if self.stream.is_peer_gone() => return Wait::Gone,
                Woken::Expired => {}
            }
        }
    }

    /// Whether what has come behind the request that waits is little enough to be kept in the lot.
    fn keeps_little(&self) -> bool {
        self.active.as_ref().is_some_and(|active| self.http.suspended_bytes(&active.buffer) <= KEPT_BYTES_MAX)
    }

    /// Waits for what `find` finds, for bytes where there is room for them, or for the moment to look again.
    async fn woken<T>(&self, find: &impl Fn(&Waker) -> Option<T>, has_room: bool) -> Woken<T> {
        let mut readable = pin!(self.stream.readable());
        poll_fn(|context| {
            if let Some(found) = find(context.waker()) {
                return Poll::Ready(Woken::Found(found));
            }
            self.watch.remember(context.waker());
            if self.watch.is_expired() {
                return Poll::Ready(Woken::Expired);
            }
            if has_room {
                return readable.as_mut().poll(context).map(|_| Woken::Readable);
            }
            Poll::Pending
        })
        .await
    }
}

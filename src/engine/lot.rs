//! Where connections wait on which nothing happens. One that has been quiet for a second has no task: what it needs to
//! go on lies beside its [`Watch`], a few hundred bytes, and one epoll instance for each core tells when something
//! comes. The core's loop watches that instance as it watches any other descriptor, so both drivers have it.
//!
//! A connection leaves the lot when bytes come, when its time is over, when somebody on the core has something for it
//! (the reply that its caller waits for), or, unless its caller waits, when the core drains. It goes on in a task of its
//! own, as if it had never been here.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::connection;
use super::core::Core;
use super::fd;
use super::ready::Ready;
use super::socket;
use super::stream::Stream;
use super::wait;
use super::watch::Watch;
use crate::base::slots::Key;

/// Events that are taken from the kernel at a time.
const EVENTS_MAX: usize = 256;

/// A connection without a task.
pub(super) enum Parked {
    Http(connection::Quiet),
    Socket(socket::Quiet),
    Waiting(Box<wait::Held>),
}

impl Parked {
    fn stream(&self) -> &Stream {
        match self {
            Parked::Http(quiet) => &quiet.stream,
            Parked::Socket(quiet) => &quiet.stream,
            Parked::Waiting(held) => &held.quiet.stream,
        }
    }
}

/// Why a connection leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Bytes, or the end of them, have come.
    Readable,
    /// Its time is over, or somebody on the core wants something of it.
    Called,
}

/// The lot of a core.
pub(super) struct Lot {
    epoll: OwnedFd,
    /// Those that are called.
    called: RefCell<Vec<Key>>,
    /// Of the lot's task.
    waker: RefCell<Option<Waker>>,
    /// False once the kernel tells nothing any more: nobody is let in.
    open: Cell<bool>,
}

impl Lot {
    /// # Errors
    /// If there are no descriptors left.
    pub(super) fn new() -> io::Result<Lot> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let (called, waker) = (RefCell::default(), RefCell::default());
        Ok(Lot { epoll, called, waker, open: Cell::new(true) })
    }

    /// What the core's loop watches.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(super) fn ready(&self) -> io::Result<Ready> {
        Ready::new(self.epoll.try_clone()?)
    }

    /// Watches a socket until it can be read once.
    fn watch(&self, stream: &Stream, key: Key, known: bool) -> io::Result<()> {
        if !self.open.get() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let data = EventData::new_u64(u64::from(key.generation) << u32::BITS | u64::from(key.index));
        let flags = EventFlags::IN | EventFlags::ONESHOT;
        let socket = fd::borrow(stream);
        // A WebSocket's was known already while it spoke HTTP.
        if known || epoll::add(&self.epoll, socket, data, flags).is_err() {
            epoll::modify(&self.epoll, socket, data, flags)?;
        }
        Ok(())
    }

    /// Calls a connection out, if it is here.
    pub(super) fn call(&self, key: Key, watch: &Watch) {
        if watch.is_parked() {
            self.called.borrow_mut().push(key);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Lets a connection wait without a task; its deadline is set already. Given back where that cannot be had.
pub(super) fn park(core: &Core, key: Key, watch: &Watch, parked: Parked) -> Result<(), Parked> {
    // What was received already is told by no descriptor.
    if parked.stream().has_more() || core.lot.watch(parked.stream(), key, watch.is_in_lot()).is_err() {
        return Err(parked);
    }
    let waits = matches!(parked, Parked::Waiting(_));
    watch.park(parked);
    core.let_go();
    // What was wanted of it before it lay here. A core that drains lets those wait who wait for a reply.
    if watch.is_expired() || (core.draining.get() && !waits) {
        core.lot.call(key, watch);
    }
    Ok(())
}

/// Sends connections on their way for as long as the core serves.
pub(super) async fn keep(core: Rc<Core>, ready: Ready) {
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        let woken = {
            let mut readable = pin!(ready.readable());
            poll_fn(|context| {
                core.lot.waker.replace(Some(context.waker().clone()));
                core.begin_turn();
                let is_done = send_called(&core);
                core.end_turn();
                if !is_done {
                    return Poll::Ready(Ok(Woken::Again));
                }
                readable.as_mut().poll(context).map_ok(|()| Woken::Readable)
            })
            .await
        };
        let arrived = match woken {
            Ok(Woken::Again) => {
                core.pause().await;
                Ok(())
            }
            Ok(Woken::Readable) => arrivals(&core, &mut events).await,
            Err(error) => Err(error),
        };
        if let Err(error) = arrived {
            tracing::error!(core = core.index, %error, "quiet connections cannot be watched together any more");
            break;
        }
    }
    // Each watches for itself from here on.
    core.lot.open.set(false);
    for key in core.parked() {
        leave(&core, key, Left::Readable);
    }
}

/// What the lot's task goes on with.
enum Woken {
    /// More were called than a turn can send on.
    Again,
    /// Something has come on some of the connections.
    Readable,
}

/// Sends those on their way that are called, until none is left (true) or the turn is over.
fn send_called(core: &Rc<Core>) -> bool {
    while let Some(key) = { core.lot.called.borrow_mut().pop() } {
        leave(core, key, Left::Called);
        if core.step(true) {
            return core.lot.called.borrow().is_empty();
        }
    }
    true
}

/// Sends on those on which something has come.
async fn arrivals(core: &Rc<Core>, events: &mut Vec<Event>) -> io::Result<()> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        core.begin_turn();
        events.clear();
        epoll::wait(core.lot.epoll.as_fd(), rustix::buffer::spare_capacity(events), Some(&at_once))?;
        for event in &*events {
            let bits = event.data.u64();
            let key = Key { index: bits as u32, generation: (bits >> u32::BITS) as u32 };
            leave(core, key, Left::Readable);
        }
        core.worked();
        core.end_turn();
        if events.len() < events.capacity() {
            return Ok(());
        }
        core.pause().await;
    }
}

fn leave(core: &Rc<Core>, key: Key, left: Left) {
    let watch = core.connections.borrow().get(key).map(Rc::clone);
    let Some(watch) = watch else { return };
    match watch.unpark() {
        None => {}
        Some(Parked::Http(quiet)) => connection::resume(core, key, watch, quiet, left),
        Some(Parked::Socket(quiet)) => socket::resume(core, quiet),
        Some(Parked::Waiting(held)) => wait::resume(core, key, watch, *held, left),
    }
}

/// Ends what still waits when the core does, however it does: a connection refers to what refers to it.
pub(super) struct Emptied(pub(super) Rc<Core>);

impl Drop for Emptied {
    fn drop(&mut self) {
        let core = &self.0;
        core.lot.open.set(false);
        for key in core.parked() {
            let watch = core.connections.borrow().get(key).map(Rc::clone);
            match watch.and_then(|watch| watch.unpark()) {
                None => {}
                Some(Parked::Http(_)) => connection::uncount(core, key),
                Some(Parked::Socket(quiet)) => socket::end(core, &quiet),
                Some(Parked::Waiting(held)) => wait::end(core, key, *held),
            }
        }
    }
}

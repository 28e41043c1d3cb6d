//! The task of one connection: read, let the machines decide, write, wait. It knows sockets, buffers and patience;
//! what a request means is decided in `exchange` and below.
//!
//! A busy connection reads into a buffer of its own. One that has been quiet for a second gives the buffer back, ends
//! its task and waits in the lot (`lot`) for its next bytes.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::accept;
use super::core::{Active, Core, RECEIVE_BYTES_LARGE, Tap};
use super::exchange::{Next, Waiting};
use super::lot::{self, Left, Parked};
use super::pace::Pace;
use super::socket::{self, Upgraded};
use super::stream::Stream;
use super::watch::Watch;
use super::worker::{self, Attached};
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::http::{self, Awaiting};
use crate::ingress::respond::Answer;
use crate::metrics::{ConnectionKind, Outcome};
use crate::registry::Hook;

/// An idle connection is closed after 75 s (section 4).
const IDLE_NANOS: u64 = 75 * NANOS_PER_SECOND;
/// A head must be whole 10 s after its first byte (section 4).
const HEAD_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A response must be taken within 30 s (section 4).
pub(super) const WRITE_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// After this long without a byte a connection gives its buffers back.
pub(super) const QUIET_NANOS: u64 = NANOS_PER_SECOND;
/// Room that must be there before a read, or the buffer is compacted first.
const READ_BYTES_MIN: usize = 1024;

/// How reading ended.
pub(super) enum Received {
    Some,
    /// The peer sends nothing more, or is gone.
    End,
    /// Nothing for a moment, between two requests.
    Quiet,
    /// The patience for what is awaited is over.
    Expired,
    /// The core's bodies take all the memory they may.
    NoMemory,
}

/// What came of the requests that were received.
pub(super) enum Worked {
    ReadOn,
    Closed,
    Upgrade(Box<Upgrade>),
    /// A request waits for its reply, and has waited for a moment already.
    Waits(Box<Waiting>),
}

/// What a connection's task goes on with.
enum Turn {
    Received(Received),
    /// A request that waits; whether it may be left to the lot.
    Waits(Box<Waiting>, bool),
}

/// Which listener a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Ingress,
    Workers,
}

/// What a connection becomes when its upgrade is accepted.
pub(super) enum Upgrade {
    Webhook(Upgraded),
    Worker(Attached),
}

/// One connection.
pub(super) struct Connection {
    pub(super) core: Rc<Core>,
    pub(super) stream: Stream,
    pub(super) door: Door,
    /// None: a Unix socket, which has no address.
    pub(super) peer: Option<IpAddr>,
    pub(super) tap: Option<Tap>,
    pub(super) key: Key,
    pub(super) watch: Rc<Watch>,
    pub(super) http: http::Connection,
    pub(super) active: Option<Box<Active>>,
    pub(super) request: Ongoing,
}

/// What is remembered of the present request between reads.
#[derive(Default)]
pub(super) struct Ongoing {
    /// The webhook, once the head was taken.
    pub(super) hook: Option<Arc<Hook>>,
    /// The body is being dropped: the request has its answer.
    pub(super) dropping: bool,
    /// `100 Continue` is due, if the body has not begun by itself.
    pub(super) owes_continue: bool,
    /// When the first byte of an unfinished head came.
    pub(super) head_began: Option<u64>,
    /// How the body comes in.
    pub(super) pace: Option<Pace>,
}

/// What is left of a connection while nothing happens on it.
pub(super) struct Quiet {
    pub(super) stream: Stream,
    pub(super) door: Door,
    pub(super) peer: Option<IpAddr>,
    pub(super) tap: Option<Tap>,
}

impl Quiet {
    /// A connection that goes on, with this machine.
    pub(super) fn connect(
        self,
        core: Rc<Core>,
        key: Key,
        watch: Rc<Watch>,
        http: http::Connection,
    ) -> Connection {
        let Quiet { stream, door, peer, tap } = self;
        let request = Ongoing::default();
        Connection { core, stream, door, peer, tap, key, watch, http, active: None, request }
    }
}

/// Uncounts a connection, however it ends.
struct Counted<'c> {
    core: &'c Core,
    key: Key,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        uncount(self.core, self.key);
    }
}

/// Takes a connection that has ended off its core.
pub(super) fn uncount(core: &Core, key: Key) {
    core.remove_connection(key);
    core.shared.connections.fetch_sub(1, Ordering::Relaxed);
    core.metrics.connection_closed(ConnectionKind::Http);
}

/// Begins a connection: it waits for its first bytes. The caller has counted it in `core.shared.connections`.
pub(super) fn serve(core: &Rc<Core>, stream: Stream, door: Door, peer: Option<IpAddr>, tap: Option<Tap>) {
    let (key, watch) = core.add_connection(core.now().nanos + IDLE_NANOS);
    core.metrics.connection_opened(ConnectionKind::Http);
    watch.set_idle(true);
    let quiet = Quiet { stream, door, peer, tap };
    if let Err(parked) = lot::park(core, key, &watch, Parked::Http(quiet))
        && let Parked::Http(quiet) = parked
    {
        let connection = quiet.connect(Rc::clone(core), key, watch, fresh());
        accept::spawn(core, run(connection, Begun::Alone));
    }
}

fn fresh() -> http::Connection {
    http::Connection::new(http::Limits::default())
}

/// What a connection's task begins with.
pub(super) enum Begun {
    /// Nothing: it waits by itself.
    Alone,
    /// Something to be received.
    Readable,
    /// A request that waited without a task. Its caller has sent something, or has gone.
    Waits(Box<Waiting>, Left),
}

/// Goes on with a connection that was parked.
pub(super) fn resume(core: &Rc<Core>, key: Key, watch: Rc<Watch>, quiet: Quiet, left: Left) {
    watch.set_idle(false);
    // The engine drains: a request that has come already is served still. Else its time is over.
    if left == Left::Readable || (core.draining.get() && quiet.stream.has_pending()) {
        let connection = quiet.connect(Rc::clone(core), key, watch, fresh());
        accept::spawn(core, run(connection, Begun::Readable));
    } else {
        uncount(core, key);
    }
}

/// The task of a connection, from when something has come until it is quiet again, or ends.
pub(super) async fn run(mut connection: Connection, begun: Begun) {
    let core = Rc::clone(&connection.core);
    let counted = Counted { core: &core, key: connection.key };
    let mut turn = match begun {
        Begun::Alone => Turn::Received(connection.be_quiet().await),
        Begun::Readable => Turn::Received(connection.receive_now()),
        Begun::Waits(waiting, Left::Called) => Turn::Waits(waiting, true),
        Begun::Waits(waiting, Left::Readable) => match connection.receive_now() {
            Received::End => Turn::Received(Received::End),
            _ => Turn::Waits(waiting, true),
        },
    };
    loop {
        let worked = match turn {
            Turn::Received(received) => connection.be_busy(received).await,
            Turn::Waits(waiting, parks) => Box::pin(connection.go_on_waiting(waiting, parks)).await,
        };
        turn = match worked {
            Worked::Closed => break,
            Worked::Upgrade(upgrade) => {
                drop(counted);
                return connection.upgrade(*upgrade);
            }
            Worked::ReadOn => {
                connection = match connection.park() {
                    Ok(()) => return std::mem::forget(counted),
                    Err(connection) => *connection,
                };
                Turn::Received(connection.be_quiet().await)
            }
            Worked::Waits(waiting) => match connection.park_waiting(waiting) {
                Ok(()) => return std::mem::forget(counted),
                Err((back, waiting)) => {
                    connection = *back;
                    Turn::Waits(waiting, false)
                }
            },
        };
    }
    if let Some(active) = connection.active.take() {
        core.give_active(active);
    }
}

impl Connection {
    /// Lets it wait without a task. It comes back where that cannot be had, or where it is to end.
    fn park(self) -> Result<(), Box<Connection>> {
        let Connection { core, stream, door, peer, tap, key, watch, active, .. } = self;
        if let Some(active) = active {
            core.give_active(active);
        }
        watch.set_idle(true);
        core.set_deadline(key, &watch, core.now().nanos + IDLE_NANOS);
        let quiet = Quiet { stream, door, peer, tap };
        match lot::park(&core, key, &watch, Parked::Http(quiet)) {
            Err(Parked::Http(quiet)) => Err(Box::new(quiet.connect(core, key, watch, fresh()))),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Goes on with a request that waits, then with what comes behind it.
    async fn go_on_waiting(&mut self, waiting: Box<Waiting>, parks: bool) -> Worked {
        if let Some(worked) = self.wait_for_reply(waiting, parks).await {
            return worked;
        }
        match self.work().await {
            Worked::ReadOn => {
                let received = self.receive().await;
                self.be_busy(received).await
            }
            ended => ended,
        }
    }

    /// Serves until nothing has come for a moment ([`Worked::ReadOn`]) or the end.
    async fn be_busy(&mut self, mut received: Received) -> Worked {
        loop {
            match received {
                Received::Some => {}
                Received::Quiet => return Worked::ReadOn,
                Received::End => return Worked::Closed,
                Received::Expired => {
                    let slow = "The request took too long to arrive";
                    self.refuse(&Answer::Refused(Outcome::SlowRequest, 408, slow));
                    Box::pin(self.close(true)).await;
                    return Worked::Closed;
                }
                Received::NoMemory => {
                    self.refuse(&Answer::Busy("Too many large bodies at once, try again"));
                    Box::pin(self.close(true)).await;
                    return Worked::Closed;
                }
            }
            match self.work().await {
                Worked::ReadOn => {}
                ended => return ended,
            }
            received = self.receive().await;
        }
    }

    /// Decides all that was received, sends what is ready, waits where a request waits.
    async fn work(&mut self) -> Worked {
        loop {
            let reads = match self.process() {
                Next::Read => true,
                Next::Flush => false,
                unusual => match Box::pin(self.unusual(unusual)).await {
                    Some(worked) => return worked,
                    None => continue,
                },
            };
            if !self.flush().await {
                return Worked::Closed;
            }
            if self.core.is_turn_over() {
                self.core.pause().await;
            }
            if reads {
                return Worked::ReadOn;
            }
        }
    }

    /// What comes of what few requests need. None: the next request is looked at.
    async fn unusual(&mut self, next: Next) -> Option<Worked> {
        match next {
            Next::Read | Next::Flush => None,
            Next::Wait(waiting) => self.wait_for_reply(waiting, true).await,
            Next::Verify(wait) => {
                if !self.flush().await {
                    return Some(Worked::Closed);
                }
                match self.verify_later(*wait).await {
                    None => Some(Worked::Closed),
                    Some(Next::Wait(waiting)) => self.wait_for_reply(waiting, true).await,
                    Some(Next::Close { linger }) => {
                        self.close(linger).await;
                        Some(Worked::Closed)
                    }
                    Some(_) => None,
                }
            }
            Next::Close { linger } => {
                self.close(linger).await;
                Some(Worked::Closed)
            }
            Next::Guessed => {
                self.close_later().await;
                Some(Worked::Closed)
            }
            // The 101 leaves with whatever the first messages bring, unless it does not fit.
            Next::Upgrade(upgrade) => {
                Some(if self.flush().await { Worked::Upgrade(upgrade) } else { Worked::Closed })
            }
        }
    }

    /// Goes on as a WebSocket, in a task of its own: what HTTP needed is let go.
    fn upgrade(self, upgrade: Upgrade) {
        let Connection { core, stream, active, .. } = self;
        core.shared.connections.fetch_add(1, Ordering::Relaxed);
        let serving = Rc::clone(&core);
        match upgrade {
            Upgrade::Webhook(upgraded) => {
                accept::spawn(&core, socket::serve(serving, stream, active, upgraded));
            }
            Upgrade::Worker(attached) => {
                accept::spawn(&core, worker::serve(serving, stream, active, attached));
            }
        }
    }

    pub(super) fn set_deadline(&self, deadline: u64) {
        self.core.set_deadline(self.key, &self.watch, deadline);
    }

    pub(super) fn now(&self) -> u64 {
        self.core.now().nanos
    }

    /// Reads once, with the patience that what is awaited deserves.
    async fn receive(&mut self) -> Received {
        loop {
            match self.http.awaiting() {
                Awaiting::Idle => return self.receive_when_idle().await,
                Awaiting::Head => {
                    let began = *self.request.head_began.get_or_insert_with(|| self.core.now().nanos);
                    self.set_deadline(began + HEAD_NANOS);
                    return self.read().await.0;
                }
                Awaiting::Body | Awaiting::Nothing => {
                    let pace = *self.request.pace.get_or_insert_with(|| Pace::begin(self.core.now().nanos));
                    self.set_deadline(pace.deadline());
                    let (received, bytes) = self.read().await;
                    let Some(pace) = &mut self.request.pace else { return received };
                    pace.add(bytes);
                    match received {
                        Received::Expired if pace.step() => {}
                        other => return other,
                    }
                }
            }
        }
    }

    /// Between requests, while the connection was busy a moment ago: reads into its buffer for a second.
    async fn receive_when_idle(&mut self) -> Received {
        if self.core.draining.get() {
            return Received::Quiet;
        }
        self.watch.set_idle(true);
        // What was received last began the batch, a moment ago.
        self.set_deadline(self.core.now_of_batch().nanos + QUIET_NANOS);
        let received = self.read().await.0;
        self.watch.set_idle(false);
        if matches!(received, Received::Expired) { Received::Quiet } else { received }
    }

    /// Holds no buffer until something comes: what a parked connection does where nobody else can wait for it.
    async fn be_quiet(&mut self) -> Received {
        if let Some(active) = self.active.take() {
            self.core.give_active(active);
        }
        self.http.release();
        self.watch.release();
        if !self.core.draining.get() {
            self.watch.set_idle(true);
            self.set_deadline(self.now() + IDLE_NANOS);
            let ready = self.watch.until_expired(pin!(self.stream.readable())).await;
            self.watch.set_idle(false);
            match ready {
                Ok(Ok(())) => return self.receive_now(),
                Ok(Err(_)) => return Received::End,
                Err(_) if self.core.draining.get() => {}
                Err(_) => return Received::End,
            }
        }
        // The engine drains: a request that has come already is served still.
        if self.stream.has_pending() { self.receive_now() } else { Received::End }
    }

    /// Receives what is there without waiting.
    pub(super) fn receive_now(&mut self) -> Received {
        let core = &self.core;
        let active = self.active.get_or_insert_with(|| core.take_active());
        let mut storage = active.buffer.take_storage();
        let result = self.stream.try_receive(&mut storage);
        active.buffer.restore_storage(storage);
        match result {
            Ok(0) => Received::End,
            Ok(_) => Received::Some,
            // A spurious wake: the machine finds nothing new and waits again.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Received::Some
            }
            Err(_) => Received::End,
        }
    }

    /// Reads once into the buffer, growing it as the body that is coming deserves. Also says how many bytes came.
    async fn read(&mut self) -> (Received, usize) {
        let core = &self.core;
        let active = self.active.get_or_insert_with(|| core.take_active());
        let wanted = self.http.capacity_wanted(&active.buffer);
        if wanted > active.buffer.capacity() {
            if !core.grow(active, wanted) {
                return (Received::NoMemory, 0);
            }
        } else if active.buffer.spare() < READ_BYTES_MIN {
            active.buffer.compact();
            if active.buffer.spare() < READ_BYTES_MIN {
                active.buffer.grow_to(RECEIVE_BYTES_LARGE);
            }
        }
        let storage = active.buffer.take_storage();
        let (result, storage) = self.stream.read(storage, self.watch.handle()).await;
        active.buffer.restore_storage(storage);
        if active.buffer.spare() == 0 {
            // There is more where this came from: the next read takes it in one.
            active.buffer.grow_to(RECEIVE_BYTES_LARGE);
        }
        match result {
            Ok(0) => (Received::End, 0),
            Ok(bytes) => (Received::Some, bytes),
            Err(_) if self.watch.is_expired() => (Received::Expired, 0),
            Err(_) => (Received::End, 0),
        }
    }

    /// Sends all that is ready. False: the peer is gone or does not take it.
    ///
    /// On the ring the write is an operation like the reads: those of all connections that were served in one turn are
    /// handed to the kernel in one call. A call for each would let whoever reads the answers preempt the core each time
    /// (one and a half times the CPU for a request, where they share a CPU). On epoll it is made at once.
    pub(super) async fn flush(&mut self) -> bool {
        let Some(active) = &mut self.active else { return true };
        let mut sent = 0;
        while sent < active.out.len() || self.stream.holds_back() {
            if self.core.rules.on_ring {
                let (core, watch, key) = (&self.core, &self.watch, self.key);
                core.set_deadline(key, watch, core.now_of_batch().nanos + WRITE_NANOS);
                // Whoever takes a part of it gets the whole time again.
                let part = || core.set_deadline(key, watch, core.now().nanos + WRITE_NANOS);
                let out = std::mem::take(&mut active.out);
                let (result, out) = self.stream.write_all(out, watch, part).await;
                active.out = out;
                if result.is_err() {
                    return false;
                }
                break;
            }
            match self.stream.try_send(&active.out[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.core.set_deadline(self.key, &self.watch, self.core.now().nanos + WRITE_NANOS);
                    if !matches!(self.watch.until_expired(pin!(self.stream.writable())).await, Ok(Ok(()))) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        active.out.clear();
        self.core.shrink(active);
        true
    }
}

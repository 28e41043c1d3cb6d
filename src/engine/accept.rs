//! Accepting: each core waits for readiness of its listener and accepts what is there. No accept is ever in flight,
//! so stopping leaks nothing.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{SocketAddrAny, SocketFlags};

use super::answer;
use super::arrival;
use super::connection::{self, Door};
use super::core::Core;
use super::listen::Listener;
use super::plain::Plain;
use super::ready::Ready;
use super::stream::Stream;
use crate::base::log::bounded_log;
use crate::ingress::respond::Answer;
use crate::metrics::Event;

/// Connections that are accepted before others get a turn.
const ACCEPT_BATCH: usize = 64;
/// How long accepting rests when descriptors or memory have run out: the connections wait in the kernel meanwhile.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Connections over the cap that get the time to read why, on each core; more are told and cut.
const LINGERING_MAX: usize = 256;
const TURNED_AWAY_PAUSE: Duration = Duration::from_secs(1);
/// What a connection over the cap is told.
const TOO_MANY: Answer<'static> = Answer::Busy("Too many connections to this server at once");

/// Accepts until the core drains.
pub(super) async fn accept(core: Rc<Core>, listener: Listener, ready: Ready, door: Door, nonblocking: bool) {
    let flags = if nonblocking { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK } else { SocketFlags::CLOEXEC };
    let watch = super::watch::Watch::new(u64::MAX);
    let watch = Rc::new(watch);
    core.acceptors.borrow_mut().push(Rc::clone(&watch));
    while !core.draining.get() {
        if watch.until_expired(pin!(ready.readable())).await.is_err() {
            break;
        }
        core.begin_turn();
        let mut is_turn_over = false;
        for _ in 0..ACCEPT_BATCH {
            match accept_one(&listener, flags) {
                Ok((stream, peer)) => {
                    admit(&core, stream, door, peer);
                    is_turn_over = core.step(true);
                    if is_turn_over {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhausted(&error) => {
                    core.metrics.event(Event::AcceptError);
                    bounded_log!(error, %error, "no connection can be accepted for now: raise the limit of open files (ulimit -n)");
                    monoio::time::sleep(EXHAUSTED_PAUSE).await;
                    break;
                }
                // The peer went away between its handshake and this call: accept(2) passes such errors on.
                Err(_) => {}
            }
        }
        core.end_turn();
        if is_turn_over {
            core.pause().await;
        }
    }
    // Those that are through their handshake are served still. Then the socket itself stops listening: the thread's
    // own handle on it stays open until the core ends, and would go on taking connections that nobody accepts.
    while let Ok((stream, peer)) = accept_one(&listener, flags) {
        admit(&core, stream, door, peer);
    }
    let shut = match &listener {
        Listener::Tcp(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
        Listener::Unix(listener) => rustix::net::shutdown(listener, rustix::net::Shutdown::Both),
    };
    if let Err(error) = shut {
        tracing::warn!(%error, "a listener stays open until the process ends");
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return false };
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn accept_one(listener: &Listener, flags: SocketFlags) -> io::Result<(Stream, Option<IpAddr>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (fd, address) = rustix::net::acceptfrom_with(listener, flags)?;
            let peer =
                address.and_then(|address: SocketAddrAny| std::net::SocketAddr::try_from(address).ok());
            Ok((Stream::Plain(Plain::new(fd)?), peer.map(|peer| peer.ip().to_canonical())))
        }
        Listener::Unix(listener) => {
            let fd = rustix::net::accept_with(listener, flags)?;
            Ok((Stream::Plain(Plain::new(fd)?), None))
        }
    }
}

fn admit(core: &Rc<Core>, stream: Stream, door: Door, peer: Option<IpAddr>) {
    if core.shared.connections.fetch_add(1, Ordering::Relaxed) >= core.rules.connections {
        core.shared.connections.fetch_sub(1, Ordering::Relaxed);
        spawn(core, turn_away(Rc::clone(core), stream, door));
        return;
    }
    if door == Door::Ingress && core.is_arrival_long() {
        spawn(core, arrival::arrive(Rc::clone(core), stream, peer));
    } else {
        connection::serve(core, stream, door, peer, None);
    }
}

/// Tells a connection that there are too many, and waits a little for it to read that.
async fn turn_away(core: Rc<Core>, stream: Stream, door: Door) {
    let mut out = Vec::new();
    answer::refuse_into(&core, &mut out, &TOO_MANY, core.now(), b"");
    if door == Door::Ingress && core.tls.borrow().is_some() {
        // Without a handshake there is nothing else that the peer would understand.
        out = arrival::ALERT_INTERNAL_ERROR.to_vec();
    }
    // It either fits into the fresh socket's buffer or the peer is gone.
    let _ = stream.try_send(&out);
    stream.shutdown_write();
    if core.turned_away.get() < LINGERING_MAX {
        core.turned_away.set(core.turned_away.get() + 1);
        // The first bytes of its request, unread, would make the kernel take the answer back.
        let _ = monoio::time::timeout(TURNED_AWAY_PAUSE, stream.readable()).await;
        let _ = stream.discard();
        core.turned_away.set(core.turned_away.get() - 1);
    }
}

/// Runs a connection's task so that a panic in it costs that connection only.
pub(super) fn spawn(core: &Rc<Core>, future: impl Future<Output = ()> + 'static) {
    monoio::spawn(Caught { future, core: Rc::clone(core) });
}

pin_project_lite::pin_project! {
    struct Caught<F> {
        #[pin]
        future: F,
        core: Rc<Core>,
    }
}

impl<F: Future<Output = ()>> Future for Caught<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let future = this.future;
        this.core.begin_turn();
        // What the connection shares with others are cells that are consistent between any two calls.
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(context)));
        this.core.end_turn();
        polled.unwrap_or_else(|_| {
            this.core.metrics.event(Event::Panic);
            bounded_log!(error, "a connection's task panicked and was ended; the others go on");
            Poll::Ready(())
        })
    }
}

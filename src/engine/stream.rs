//! A connection's socket, whatever its family. All that a connection does with its socket goes through here, so that
//! those above know nothing of what lies between them and the descriptor.
//!
//! Two ways lead to the socket: operations on the ring, which are awaited ([`Stream::read`], [`Stream::write`]), and
//! calls that are made at once and never block ([`Stream::try_send`] and those after it).

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use monoio::io::CancelHandle;
use rustls::ServerConfig;

use super::core::Core;
use super::fd;
use super::plain::Plain;
use super::tls::Tls;
use super::watch::Watch;

/// A stream on the ring (or on epoll), or TLS on one.
pub(super) enum Stream {
    Plain(Plain),
    Tls(Box<Tls>),
}

impl Stream {
    /// The same socket with TLS on it; the handshake is still to come.
    ///
    /// # Errors
    /// If the configuration cannot serve at all.
    pub(super) fn with_tls(
        self,
        core: &Rc<Core>,
        config: Arc<ServerConfig>,
    ) -> Result<Stream, rustls::Error> {
        let Stream::Plain(socket) = self else { return Ok(self) };
        Tls::new(Rc::clone(core), socket, config).map(|tls| Stream::Tls(Box::new(tls)))
    }

    /// Waits until something can be read, without a buffer. Dropping the future loses nothing.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.readable().await,
            Stream::Tls(tls) if tls.has_more() => Ok(()),
            Stream::Tls(tls) => tls.socket().readable().await,
        }
    }

    /// Waits until something can be written. Dropping the future loses nothing.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.writable().await,
            Stream::Tls(tls) => tls.writable().await,
        }
    }

    /// Reads into the room behind `storage`'s length. Must be awaited to its end: a dropped read loses bytes; to
    /// end it early, cancel it through the handle's owner and await what it says.
    pub(super) async fn read(
        &mut self,
        storage: Vec<u8>,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Stream::Plain(socket) => socket.read(storage, handle).await,
            Stream::Tls(tls) => Box::pin(tls.read(storage, handle)).await,
        }
    }

    /// Writes what follows the first `sent` bytes, or a part of it. To be awaited to its end, as a read.
    pub(super) async fn write(
        &mut self,
        bytes: Vec<u8>,
        sent: usize,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Stream::Plain(socket) => socket.write(bytes, sent, handle).await,
            Stream::Tls(tls) => (tls.try_send(&bytes[sent..]), bytes),
        }
    }

    /// Writes all of `bytes`; `part` is told of each part that was taken before the last. A peer that does not take them
    /// until `watch` expires is cut off: ending the socket costs nothing while all goes well, and a handle to cancel by
    /// costs each write two look-ups. To be awaited to its end, as a read.
    pub(super) async fn write_all(
        &mut self,
        bytes: Vec<u8>,
        watch: &Watch,
        part: impl Fn(),
    ) -> (io::Result<()>, Vec<u8>) {
        let fd = self.as_raw_fd();
        match self {
            Stream::Plain(socket) => until_expired(fd, watch, socket.write_all(bytes, part)).await,
            Stream::Tls(tls) => until_expired(fd, watch, Box::pin(tls.write_all(bytes, part))).await,
        }
    }

    /// Sends what fits now. It is on its way once nothing [is held back](Self::holds_back) any more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing fits; else what the socket says.
    pub(super) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tls(tls) => tls.try_send(bytes),
            Stream::Plain(socket) => fd::send(socket, bytes),
        }
    }

    /// Whether something can be received that the descriptor knows nothing of any more.
    pub(super) fn has_more(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.has_more(),
            _ => false,
        }
    }

    /// Whether some of what was sent waits for room in the socket: to be sent with another call, of no more bytes if
    /// there are none.
    pub(super) fn holds_back(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.holds_back(),
            _ => false,
        }
    }

    /// Receives what is there now into the room behind `storage`'s length. 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; else what the socket says.
    pub(super) fn try_receive(&self, storage: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Stream::Tls(tls) => tls.try_receive(storage),
            Stream::Plain(socket) => fd::receive(socket, storage),
        }
    }

    /// Receives what is there now and forgets it.
    ///
    /// # Errors
    /// As [`Self::try_receive`].
    pub(super) fn discard(&self) -> io::Result<usize> {
        match self {
            Stream::Tls(tls) => tls.discard(),
            Stream::Plain(socket) => fd::discard(socket),
        }
    }

    /// Whether something waits to be received.
    pub(super) fn has_pending(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.has_pending(),
            Stream::Plain(socket) => fd::pending_bytes(socket),
        }
    }

    /// Whether the peer has closed or reset, although something may still wait to be received.
    pub(super) fn is_peer_gone(&self) -> bool {
        match self {
            Stream::Tls(tls) => tls.is_peer_gone(),
            Stream::Plain(socket) => fd::peer_gone(socket),
        }
    }

    /// Says that nothing more will be sent; what the peer still sends can be received.
    pub(super) fn shutdown_write(&self) {
        match self {
            Stream::Tls(tls) => tls.shutdown_write(),
            Stream::Plain(socket) => fd::shutdown_write(socket),
        }
    }
}

/// Awaits what a socket does, and ends the socket where that takes too long.
async fn until_expired<F: Future>(fd: RawFd, watch: &Watch, doing: F) -> F::Output {
    let mut doing = pin!(doing);
    let mut cut = false;
    poll_fn(|context| {
        let done = doing.as_mut().poll(context);
        if done.is_pending() {
            watch.remember(context.waker());
            if watch.is_expired() && !cut {
                cut = true;
                fd::shutdown(&fd);
            }
        }
        done
    })
    .await
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Plain(socket) => socket.as_raw_fd(),
            Stream::Tls(tls) => tls.as_raw_fd(),
        }
    }
}

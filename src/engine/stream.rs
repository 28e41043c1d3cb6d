//! A connection's socket, whatever its family. All that a connection does with its socket goes through here, so that
//! those above know nothing of what lies between them and the descriptor.
//!
//! Two ways lead to the socket: operations on the ring, which are awaited ([`Stream::read`], [`Stream::write`]), and
//! calls that are made at once and never block ([`Stream::try_send`] and those after it).

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::pin;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};

use super::fd;
use super::watch::Watch;

/// A TCP or Unix stream on the ring (or on epoll).
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Waits until something can be read, without a buffer. Dropping the future loses nothing.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable(false).await,
            Stream::Unix(stream) => stream.readable(false).await,
        }
    }

    /// Waits until something can be written. Dropping the future loses nothing.
    pub(super) async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.writable(false).await,
            Stream::Unix(stream) => stream.writable(false).await,
        }
    }

    /// Reads into the room behind `storage`'s length. Must be awaited to its end: a dropped read loses bytes; to
    /// end it early, cancel it through the handle's owner and await what it says.
    pub(super) async fn read(
        &mut self,
        storage: Vec<u8>,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        let room = storage.len()..storage.capacity();
        let slice = storage.slice_mut(room);
        let (result, slice) = match self {
            Stream::Tcp(stream) => stream.cancelable_read(slice, handle).await,
            Stream::Unix(stream) => stream.cancelable_read(slice, handle).await,
        };
        (result, slice.into_inner())
    }

    /// Writes what follows the first `sent` bytes, or a part of it. To be awaited to its end, as a read.
    pub(super) async fn write(
        &mut self,
        bytes: Vec<u8>,
        sent: usize,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        let slice = bytes.slice(sent..);
        let (result, slice) = match self {
            Stream::Tcp(stream) => stream.cancelable_write(slice, handle).await,
            Stream::Unix(stream) => stream.cancelable_write(slice, handle).await,
        };
        (result, slice.into_inner())
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
            Stream::Tcp(stream) => until_expired(fd, watch, write_parts(stream, bytes, part)).await,
            Stream::Unix(stream) => until_expired(fd, watch, write_parts(stream, bytes, part)).await,
        }
    }

    /// Sends what fits now.
    ///
    /// # Errors
    /// `WouldBlock` if nothing fits; else what the socket says.
    pub(super) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        fd::send(self, bytes)
    }

    /// Receives what is there now into the room behind `storage`'s length. 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; else what the socket says.
    pub(super) fn try_receive(&self, storage: &mut Vec<u8>) -> io::Result<usize> {
        fd::receive(self, storage)
    }

    /// Receives what is there now and forgets it.
    ///
    /// # Errors
    /// As [`Self::try_receive`].
    pub(super) fn discard(&self) -> io::Result<usize> {
        fd::discard(self)
    }

    /// Whether something waits to be received.
    pub(super) fn has_pending(&self) -> bool {
        fd::pending_bytes(self)
    }

    /// Whether the peer has closed or reset, although something may still wait to be received.
    pub(super) fn is_peer_gone(&self) -> bool {
        fd::peer_gone(self)
    }

    /// Says that nothing more will be sent; what the peer still sends can be received.
    pub(super) fn shutdown_write(&self) {
        fd::shutdown_write(self);
    }
}

async fn write_parts<S: AsyncWriteRent>(
    stream: &mut S,
    mut bytes: Vec<u8>,
    part: impl Fn(),
) -> (io::Result<()>, Vec<u8>) {
    let mut sent = 0;
    loop {
        let (result, slice) = stream.write(bytes.slice(sent..)).await;
        bytes = slice.into_inner();
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
            Ok(more) => sent += more,
            Err(error) => return (Err(error), bytes),
        }
        if sent == bytes.len() {
            return (Ok(()), bytes);
        }
        part();
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
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

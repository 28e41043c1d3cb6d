//! A connection's socket, whatever its family. All that a connection does with its socket goes through here, so that
//! those above know nothing of what lies between them and the descriptor.
//!
//! Two ways lead to the socket: operations on the ring, which are awaited ([`Stream::read`], [`Stream::write`]), and
//! calls that are made at once and never block ([`Stream::try_send`] and those after it).

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};

use super::fd;

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

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

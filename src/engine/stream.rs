//! A connection's socket, whatever its family.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};

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
}

impl Stream {
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
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}

//! A connected socket of any family on the core's loop.
//!
//! monoio's stream for Unix sockets is a descriptor and no more, so TCP sockets are dressed as one too: its stream for
//! TCP keeps two addresses that nobody asks for, 72 bytes for each connection. Both read and write by the same
//! operations.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::UnixStream;

/// A socket without anything between it and the peer.
pub(super) struct Plain(UnixStream);

impl Plain {
    /// Takes a connected stream socket, which does not block where the loop is epoll's.
    ///
    /// # Errors
    /// If epoll refuses it; the ring takes any.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Plain> {
        Ok(Plain(UnixStream::from_std(std::os::unix::net::UnixStream::from(socket))?))
    }

    /// Waits until something can be read, without a buffer. Dropping the future loses nothing.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.0.readable(false).await
    }

    /// Waits until something can be written. Dropping the future loses nothing.
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.0.writable(false).await
    }

    /// As [`super::stream::Stream::read`].
    pub(super) async fn read(
        &mut self,
        storage: Vec<u8>,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        let room = storage.len()..storage.capacity();
        let (result, slice) = self.0.cancelable_read(storage.slice_mut(room), handle).await;
        (result, slice.into_inner())
    }

    /// As [`super::stream::Stream::write`].
    pub(super) async fn write(
        &mut self,
        bytes: Vec<u8>,
        sent: usize,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        let (result, slice) = self.0.cancelable_write(bytes.slice(sent..), handle).await;
        (result, slice.into_inner())
    }

    /// Writes all of `bytes`; `part` is told of each part that was taken before the last. To be awaited to its end.
    pub(super) async fn write_all(
        &mut self,
        mut bytes: Vec<u8>,
        part: impl Fn(),
    ) -> (io::Result<()>, Vec<u8>) {
        let mut sent = 0;
        loop {
            let (result, slice) = self.0.write(bytes.slice(sent..)).await;
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
}

impl AsRawFd for Plain {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

//! Readiness of a descriptor that is no stream of ours (an eventfd, a listening socket) on the core's own ring.
//!
//! monoio offers readiness for its streams only, so the descriptor is dressed as one; it is never read or written
//! through it. Waiting this way can be dropped at any moment, unlike an accept, which would leak what it accepted.

use std::io;
use std::os::fd::OwnedFd;

use monoio::net::UnixStream;

/// Something to wait for.
pub(super) struct Ready {
    stream: UnixStream,
}

impl Ready {
    /// Watches `fd` (a duplicate: it is closed with this).
    ///
    /// # Errors
    /// If epoll refuses it; the ring takes any.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Ready> {
        Ok(Ready { stream: UnixStream::from_std(std::os::unix::net::UnixStream::from(fd))? })
    }

    /// Waits until a read (or an accept) would not block.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }
}

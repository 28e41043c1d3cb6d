//! Calls on sockets that are made directly, and what their errors mean. None of them blocks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags};

use super::listen::Listener;

/// Returns the address of a connected socket's peer: `Ok(None)` for a Unix socket.
///
/// # Errors
/// If the connection is gone already. Such a socket must not pass for a Unix socket, whose peers may be trusted.
pub(super) fn peer(listener: &Listener, socket: impl AsFd) -> io::Result<Option<IpAddr>> {
    match listener {
        Listener::Unix(_) => Ok(None),
        Listener::Tcp(_) => {
            let address = rustix::net::getpeername(socket)?.ok_or(Errno::NOTCONN)?;
            let address = SocketAddr::try_from(address)?;
            Ok(Some(address.ip().to_canonical()))
        }
    }
}

/// Accepts one connection of a listener that does not block.
pub(super) fn accept(listener: &Listener, flags: SocketFlags) -> Result<OwnedFd, Errno> {
    rustix::net::accept_with(listener, flags | SocketFlags::CLOEXEC)
}

/// Resets the peer at once, which drops what it has not taken and ends what is in flight. Setting `SO_LINGER` and
/// closing would come too late after a shutdown: what is sent until the descriptor closes ends with a FIN.
pub(super) fn reset(socket: impl AsFd) {
    // A Unix socket refuses, and drops what was not taken when it closes.
    let _ = rustix::net::connect_unspec(socket);
}

/// Ends both directions, and with them what is in flight on either.
pub(super) fn shut_down(socket: impl AsFd) {
    // A connection that is gone already has ended both.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

/// Says that nothing more will be sent.
pub(super) fn shut_down_write(socket: impl AsFd) {
    // A peer that is gone already has nothing left to be told.
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
}

/// Classes of errors of accept(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptError {
    /// No connection is waiting.
    Empty,
    /// The one connection failed; the next may not.
    Connection,
    /// Descriptors or memory ran out, or the socket does not listen: the next would fail too.
    Listener,
}

impl AcceptError {
    /// Classifies an error. accept(2) passes on what a connection died of before it was accepted.
    pub(super) fn of(errno: Errno) -> AcceptError {
        match errno {
            Errno::AGAIN => AcceptError::Empty,
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::PERM
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::TIMEDOUT => AcceptError::Connection,
            _ => AcceptError::Listener,
        }
    }
}

/// A socket, listener or other source of completions in 64 bits, as kernels hand them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompletionTag {
    pub(super) kind: u8,
    /// At most [`INDEX_MAX`].
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Sockets of one backend: what the index of a [`CompletionTag`] has room for, 16 times the descriptors that Linux gives a process
/// by default (`fs.nr_open`).
pub(super) const INDEX_MAX: u32 = (1 << 24) - 1;

impl CompletionTag {
    pub(super) fn pack(self) -> u64 {
        u64::from(self.kind) << 56 | u64::from(self.index & INDEX_MAX) << 32 | u64::from(self.generation)
    }

    pub(super) fn unpack(packed: u64) -> CompletionTag {
        let [kind, ..] = packed.to_be_bytes();
        CompletionTag { kind, index: (packed >> 32) as u32 & INDEX_MAX, generation: packed as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_kernel() {
        for tag in [
            CompletionTag { kind: 0, index: 0, generation: 0 },
            CompletionTag { kind: 255, index: INDEX_MAX, generation: u32::MAX },
            CompletionTag { kind: 3, index: 77, generation: 1 << 31 },
        ] {
            assert_eq!(CompletionTag::unpack(tag.pack()), tag);
        }
    }

    #[test]
    fn a_connection_that_died_early_does_not_stop_a_listener() {
        assert_eq!(AcceptError::of(Errno::CONNABORTED), AcceptError::Connection);
        assert_eq!(AcceptError::of(Errno::MFILE), AcceptError::Listener);
        assert_eq!(AcceptError::of(Errno::INVAL), AcceptError::Listener);
        assert_eq!(AcceptError::of(Errno::AGAIN), AcceptError::Empty);
    }
}

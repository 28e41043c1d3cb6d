//! Events of a ring: its completions, typed.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::interface::{Completion, ListenerId, SocketId};
use super::lease::BufferLease;
use crate::base::slots::Key;

/// A completion.
pub(super) enum KernelEvent {
    /// `armed` says whether the operation goes on.
    Accepted {
        listener: ListenerId,
        result: Result<OwnedFd, Errno>,
        armed: bool,
    },
    /// A lease with bytes, the end (`Ok(None)`), or an error.
    Received {
        socket: SocketId,
        result: Result<Option<BufferLease>, Errno>,
        armed: bool,
    },
    /// A poll ended: by readiness, or because the socket was shut down.
    Polled {
        socket: SocketId,
    },
    /// A connection was reset, or the socket was shut down.
    HungUp {
        socket: SocketId,
    },
    /// All was sent.
    Sent {
        socket: SocketId,
        bytes: Vec<u8>,
    },
    /// A part was sent. The rest waits for being resumed or abandoned.
    SentPart {
        socket: SocketId,
        send: Key,
    },
    SendFailed {
        socket: SocketId,
        bytes: Vec<u8>,
    },
    /// A cancel found nothing to cancel: the operation is about to complete, or to be tried again.
    AcceptNotCancelled {
        listener: ListenerId,
    },
    ReceiveNotCancelled {
        socket: SocketId,
    },
    /// The timeout fired.
    TimedOut,
    Woken {
        armed: bool,
    },
    /// A read or write of a file has ended.
    Transferred(Completion),
    /// Nothing that anybody waits for.
    Nothing,
}

//! The kernel: operations in, completions out.
//!
//! A core hands its operations to an [`Io`] and takes completions from it, one system call a turn. Three backends carry
//! the same trait: `ring` (io_uring), `epoll` (the same completions made from readiness), and the simulated kernel of
//! the tests, so that the whole engine runs from a seed.
//!
//! Not for: any word of HTTP, a decision, a clock. Time is an argument.
//!
//! # Accounts
//!
//! The backend knows what is in flight for each socket. [`Completion::Closed`] is the last completion that names a
//! [`SocketId`], whatever was under way when [`Operation::Close`] was started; the generation in the id makes a late
//! completion of an earlier socket vanish before it is seen. Above this module nobody counts operations or cancels one.
//!
//! # Order
//!
//! For one socket, `Received` completions arrive in the order of the bytes, then at most one `Ended`. One send is in
//! flight at a time: the next is started after `Sent` or `SendFailed` has returned the bytes of the last.

mod lease;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

pub use self::lease::{BufferLease, ReturnedBuffers};

/// A socket of one backend: its slot, and the generation of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    pub index: u32,
    pub generation: u32,
}

/// A listening socket of one backend, numbered in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// An operation for the kernel. What fails is a completion, never an error here.
#[derive(Debug)]
pub enum Operation {
    /// Accepts connections until [`Operation::StopAccepting`] or [`Completion::AcceptFailed`].
    Accept { listener: ListenerId },
    /// Stops accepting. What the kernel has accepted already still arrives, then [`Completion::AcceptStopped`]; the socket
    /// no longer listens from then on.
    StopAccepting { listener: ListenerId },
    /// Receives until told to stop, until the end, or until the socket is closed. Has no effect where it is armed already.
    Receive { socket: SocketId },
    /// As [`Operation::Receive`], for a socket that expects nothing soon: holds the least kernel memory until the next
    /// bytes arrive, which are received as ever. Changes over from an armed receive.
    Rest { socket: SocketId },
    /// Stops receiving: back pressure. What the kernel has received already may still arrive.
    StopReceiving { socket: SocketId },
    /// Sends all of `bytes`. Started again from its offset where the kernel takes a part.
    Send { socket: SocketId, bytes: Vec<u8> },
    /// Says that nothing more will be sent, once the send in flight has ended.
    ShutdownWrite { socket: SocketId },
    /// Closes the socket: cancels what is in flight, waits for it, closes.
    Close { socket: SocketId, how: CloseHow },
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// What was sent is still delivered by the kernel.
    Graceful,
    /// The peer is reset, and what it has not taken is dropped: for a peer that does not read, so that the kernel's
    /// buffers are freed at once.
    Reset,
}

/// Why nothing more is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer sends nothing more, and may still receive.
    HalfClosed,
    /// The connection was reset or failed.
    Broken,
}

/// A completion of an operation.
#[derive(Debug)]
pub enum Completion {
    /// A connection. `peer` is absent for a Unix socket.
    Accepted { listener: ListenerId, socket: SocketId, peer: Option<IpAddr> },
    /// Accepting failed for want of descriptors or memory and is no longer armed: start it again after a pause.
    AcceptFailed { listener: ListenerId, error: io::Error },
    /// The last completion of a listener.
    AcceptStopped { listener: ListenerId },
    /// Bytes, at least one.
    Received { socket: SocketId, lease: BufferLease },
    /// Nothing more is received.
    Ended { socket: SocketId, end: End },
    /// A part of a send was taken; more of it is under way.
    SendProgressed { socket: SocketId },
    /// All was sent. `bytes` is the buffer of the operation, unchanged.
    Sent { socket: SocketId, bytes: Vec<u8> },
    /// The send failed: the peer is gone, or the socket is being closed.
    SendFailed { socket: SocketId, bytes: Vec<u8> },
    /// The last completion that names this socket.
    Closed { socket: SocketId },
    /// A [`Waker`] of this backend was used, at least once since the last `Woken`.
    Woken,
}

/// Wakes a core that waits, from any thread.
pub trait Wake: Send + Sync {
    /// Makes the backend's present or next wait end with [`Completion::Woken`]. Never blocks.
    fn wake(&self);
}

/// A shared waker.
pub type Waker = Arc<dyn Wake>;

/// A kernel as one core sees it.
pub trait Io {
    /// A listening socket, opened by the caller.
    type Listener;
    /// A connected socket that was not accepted here.
    type Stream;

    /// Adds a listener. Nothing is accepted until [`Operation::Accept`].
    ///
    /// # Errors
    /// If the kernel refuses to watch it.
    fn add_listener(&mut self, listener: Self::Listener) -> io::Result<ListenerId>;

    /// Adds a connected socket, as if it had been accepted.
    ///
    /// # Errors
    /// If the kernel refuses to watch it.
    fn adopt(&mut self, stream: Self::Stream) -> io::Result<SocketId>;

    /// Returns a waker for this backend.
    fn waker(&self) -> Waker;

    /// Queues an operation. Never blocks and never fails: what fails is a completion. An operation that names a socket
    /// whose `Closed` has been delivered is dropped; the bytes of such a send are dropped with it.
    fn start(&mut self, operation: Operation);

    /// Hands what was queued to the kernel, waits for at least one completion or until `until` (nanoseconds of the
    /// caller's clock, as `now`), and appends completions to `completions`, at most [`COMPLETIONS_MAX`] of them; the rest
    /// arrive in the next turn. Returns at once where `until` is not after `now`. One system call.
    ///
    /// # Errors
    /// If the kernel no longer serves this backend at all; the core cannot go on then.
    fn wait(&mut self, now: u64, until: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// Counters since the start.
    fn counters(&self) -> Counters;
}

/// Completions of one turn: bounds the time until output leaves and timers fire.
pub const COMPLETIONS_MAX: usize = 512;

/// Counters of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Waits: system calls that hand over operations and take completions.
    pub waits: u64,
    /// Receives that ended because all receive buffers were lent.
    pub out_of_buffers: u64,
    /// Sends of which the kernel took only a part at a time.
    pub partial_sends: u64,
}

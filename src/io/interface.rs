//! The interface of every backend: operations, completions, and the trait that carries them.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::lease::BufferLease;
use crate::base::block::AlignedBlock;

/// A socket of one backend: its slot, and the generation of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    pub index: u32,
    pub generation: u32,
}

/// A listening socket of one backend, numbered in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// A file of one backend: its slot, and the generation of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    pub index: u32,
    pub generation: u32,
}

/// A block of a file that is read or written.
#[derive(Debug)]
pub struct Transfer {
    pub file: FileId,
    /// Place of the block in the file, a multiple of [`BLOCK_BYTES`](crate::base::block::BLOCK_BYTES).
    pub offset: u64,
    pub block: AlignedBlock,
}

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
    /// Stops receiving: back pressure. What the kernel has received already may still arrive. A connection that is reset
    /// meanwhile still ends ([`Completion::Ended`], `Broken`); an orderly end is seen once receiving continues.
    StopReceiving { socket: SocketId },
    /// Sends all of `bytes`. Started again from its offset where the kernel takes a part. One send is in flight for a
    /// socket at a time.
    Send { socket: SocketId, bytes: Vec<u8>, report: SendReport },
    /// Says that nothing more will be sent, once the send in flight has ended.
    ShutdownWrite { socket: SocketId },
    /// Writes a block to a file. Complete once it is as safe as the file was opened for. Several may be in flight, also for
    /// one file, and complete in any order.
    Write(Box<Transfer>),
    /// Fills a block from a file.
    Read(Box<Transfer>),
    /// Closes a file, once what is in flight for it has ended. Its transfers are still reported.
    CloseFile { file: FileId },
    /// Closes the socket: ends what is in flight, waits for it, closes. A send in flight, also one that was started in the
    /// same turn, ends with `Sent` or `SendFailed` before `Closed`; what was received meanwhile is dropped. A second one
    /// that asks for a reset makes it one.
    Close { socket: SocketId, how: CloseHow },
}

/// When the end of a send is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendReport {
    /// As soon as it is known.
    Prompt,
    /// If the kernel takes all of it at once: no later than the next wait that returns for another reason. A wait for the
    /// next request is then one system call, which a prompt report would end at once. If it does not take all of it, that
    /// is reported by [`Completion::SendProgressed`], and the end as soon as it is known.
    Deferred,
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// The kernel still delivers the bytes that were sent.
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
    /// A part of a send was taken, or none of a [`SendReport::Deferred`] one; more of it is under way.
    SendProgressed { socket: SocketId },
    /// All was sent. `bytes` is the buffer of the operation, unchanged.
    Sent { socket: SocketId, bytes: Vec<u8> },
    /// The send failed: the peer is gone, or the socket is being closed.
    SendFailed { socket: SocketId, bytes: Vec<u8> },
    /// The last completion that names this socket.
    Closed { socket: SocketId },
    /// A write has ended: all of the block is as safe as the file was opened for, or, after an error, any part of it is
    /// written or not, and never safe. The transfer is that of the operation.
    Written { transfer: Box<Transfer>, result: io::Result<()> },
    /// A read has ended; after an error the block holds anything.
    ReadDone { transfer: Box<Transfer>, result: io::Result<()> },
    /// A [`Waker`] of this backend was used, at least once since the last `Woken`. May also arrive without one.
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
    /// An open file.
    type File;

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

    /// Adds an open file.
    fn add_file(&mut self, file: Self::File) -> FileId;

    /// Returns a waker for this backend.
    fn waker(&self) -> Waker;

    /// Queues an operation. Never blocks and never fails: what fails is a completion. Once [`Operation::Close`] was started
    /// every other operation on that socket is dropped, the bytes of a send with it.
    fn start(&mut self, operation: Operation);

    /// Hands what was queued to the kernel, waits for a completion or until `until` (nanoseconds of the caller's clock, as
    /// `now`), and appends completions to `completions`, at most [`COMPLETIONS_MAX`] of them; the rest arrive in the next
    /// turn. Returns at once if `until` is not after `now`, and may return early with no completion. One system call.
    ///
    /// Leases that were dropped are given back to the kernel here. Receiving stalls while all of them are held.
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
    /// Parts that the kernel took of sends, without the last of each.
    pub partial_sends: u64,
}

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
//! - For one socket, `Received` completions arrive in the order of the bytes, then at most one `Ended`. Both directions are
//!   independent: `Sent` may come before or after a `Received` of the same wait.
//! - One send is in flight at a time: the next is started after `Sent` or `SendFailed` has returned the bytes of the last.
//! - After `StopReceiving`, pieces that the kernel has received already still arrive, and the end may; on io_uring up to 32
//!   pieces. A peer that resets a socket that does not receive is noticed by the next send or receive.
//! - After `Close` was started, later waits name the socket for a send in flight and for `Closed` only. Completions of the
//!   wait before, which its owner has not looked at yet, may still name it.
//! - An index is used again only behind its `Closed`, also within one wait.
//! - A reset is `Ended` with [`End::Broken`] and fails the send in flight, in either order.
//!
//! # Files
//!
//! A file is read and written in aligned blocks; nothing here opens one, since that blocks. A write is reported once it
//! is as safe as its file was opened for ([`Safety`]). A part of a block that was written is an error, and so is a flush
//! that failed: neither is tried again here, and its owner must not write the same bytes to the same place again, because
//! the kernel may have forgotten what it could not write.
//!
//! # Leases
//!
//! A core has [`BUFFERS`] receive buffers. One is free again at the first wait after its lease was dropped; while all are
//! lent nothing is received, and the sockets that had bytes go on in their order when some come back. Bytes that are
//! kept for longer than a turn are copied, or taken out of the lease. A lease may outlive its socket and its backend.

mod buffers;
mod disk_thread;
mod epoll;
mod event;
pub mod file;
mod files;
mod interface;
mod kernel;
mod lease;
pub mod listen;
mod queues;
mod ring;
mod sends;
mod socket;
mod transfers;
mod waker;

pub use self::file::{DiskFile, Safety};
pub use self::interface::{
    COMPLETIONS_MAX, CloseHow, Completion, Counters, End, FileId, Io, ListenerId, Operation, SendReport,
    SocketId, Transfer, Wake, Waker,
};
pub use self::kernel::{Backend, Kernel, Preference, choose};
pub use self::lease::{BUFFER_BYTES, BUFFERS, BufferLease, ReturnedBuffers};
pub use self::listen::Listener;

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

mod buffers;
mod epoll;
mod interface;
mod kernel;
mod lease;
pub mod listen;
mod queues;
mod ring;
mod socket;
mod waker;

pub use self::epoll::Epoll;
pub use self::interface::{
    COMPLETIONS_MAX, CloseHow, Completion, Counters, End, Io, ListenerId, Operation, SocketId, Wake, Waker,
};
pub use self::kernel::{Backend, Kernel, Preference, choose};
pub use self::lease::{BUFFER_BYTES, BUFFERS, BufferLease, ReturnedBuffers};
pub use self::listen::{BACKLOG, Listener};
pub use self::queues::RingSetup;
pub use self::ring::Ring;

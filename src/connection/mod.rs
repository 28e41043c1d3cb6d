//! Layer 7: one connection, without its socket: received bytes in, operations out.
//!
//! ```text
//!   accepted ──▶ preamble (PROXY, TLS) ──▶ idle ◀──▶ HTTP ──▶ WebSocket or worker
//!                        │                   │        │ ▲           │
//!                        │                   │        ▼ │           │
//!                        │                   │   waiting for reply  │
//!                        ▼                   ▼        ▼             ▼
//!                        └──────▶ lingering, or sending the rest ──▶ closed
//! ```
//!
//! A [`Connection`] takes the completions of its socket, the messages of its core and its deadline; each is one call. What
//! it wants done is collected until [`Connection::flush`], which the core calls once at the end of a turn: one send with
//! all the output of the turn, a change of how it receives, its close, its next deadline.
//!
//! Not here: sockets, other connections, other cores. A connection is lent a [`CoreContext`](context::CoreContext), never
//! the other connections.

mod answer;
mod attempt;
mod buffers;
pub(crate) mod calls;
mod chains;
mod close;
pub(crate) mod context;
mod decide;
pub(crate) mod durable;
mod ending;
pub(crate) mod event_journal;
pub(crate) mod fanout;
mod flow_queues;
pub(crate) mod flows;
mod flush;
mod forward_queues;
pub(crate) mod forwards;
mod gate;
pub(crate) mod guests;
mod http;
mod idle;
pub(crate) mod journal_state;
pub(crate) mod key_notes;
mod key_sets;
mod lending;
pub(crate) mod listener;
mod machine;
pub(crate) mod message;
mod origin;
pub(crate) mod pace;
pub(crate) mod pending;
mod permits;
mod preamble;
mod present;
pub(crate) mod receipts;
mod recording;
mod refusals;
mod release;
pub(crate) mod replay;
pub(crate) mod seal;
mod send_queue;
mod session;
mod shared_keys;
mod socket_records;
pub(crate) mod spill;
mod telling;
pub(crate) mod timeouts;
pub(crate) mod tls;
pub(crate) mod upgrade;
mod waiters;
mod websocket;
mod worker;

pub use self::attempt::{
    ANSWER_KEPT_BYTES_MAX, AttemptError, AttemptResult, BegunAnswer, DeadLetter, LastAttempt, NotReplayed,
    ReplayCallback, TargetAnswer,
};
pub use self::calls::{CallSink, CallSpan, ServedCall};
pub use self::chains::{ChainSource, Fetched};
pub use self::context::Services;
pub(crate) use self::flow_queues::owner_core;
pub use self::forward_queues::{
    Attempt, AttemptReport, CORE_ATTEMPTS_MAX, DeadLetters, Forwarder, LetterReport,
};
pub(crate) use self::idle::{IdleConnection, QuietConnection};
pub(crate) use self::machine::Connection;
pub use self::permits::{NoCluster, NodeLinks, PermitTold, Permits, RemoteReplies};
pub use self::shared_keys::{KeyTold, SharedKey, SharedKeys};
pub use self::waiters::KeysFetched;

//! Tidegate, a webhook ingress engine. What it does for its users is in the README and the [`guide`]; this page
//! is for readers and maintainers of the code. The files and tests that a change touches, and the words of the code, are in
//! [`guide::changing_tidegate`].
//!
//! # The life of a request
//!
//! 1. A core ([`engine`]: a thread with a kernel of its own, [`io`]) takes the completions of a turn: connections that were
//!    accepted, bytes that were received, sends that have ended. A connection stays on its core; while nothing happens on it
//!    it is a slot and an entry of the timer wheel.
//! 2. Received bytes go to their [`connection`], a machine without a socket. Where it is so configured, a PROXY header and
//!    TLS come first, bytes to bytes. A request that arrived whole is parsed in the buffer that it arrived in ([`http`]): it
//!    is slices of that buffer. A rule that is broken is a refusal, and nothing behind it is read.
//! 3. With the head alone, [`ingress::request`] decides: the webhook by its token ([`registry`]), method, rate
//!    ([`limit`]), basic authentication ([`verify`]), declared size.
//! 4. With the complete body, it asks whether the request is genuine ([`verify`]: handshakes, signatures, Alexa).
//! 5. Where flows listen, what they read of the payload is written once, as text ([`trigger`]): all of it for a worker
//!    or somebody who watches. Where a reply may arrive later, a reply slot is taken on this core, and its sealed name is
//!    the payload's `replyId`.
//! 6. Each flow becomes effects ([`deliver`]): conditions decide which of its nodes run ([`expression`]); a template is
//!    rendered and replies at once ([`template`], [`reply`]), or the trigger goes to the core that owns the flow: into its
//!    queue of workers, or into that of a target, whose requests other threads send ([`control::forward`]). The nodes behind
//!    a delivery run there when it is done.
//! 7. The answer is written into the connection's output ([`ingress::respond`]), after those of the requests before it. At
//!    the end of the turn the output of each connection becomes one send operation, and all operations of the turn are
//!    handed to the kernel by the system call that waits for the next. A request that waits holds back the ones behind it.
//!    Where the trigger is journalled ([`journal`]), its answer stands in the output and leaves once the write that holds the
//!    trigger is complete, and so do those behind it; the trigger is given to its flow then.
//!    Where the webhook is below its sampling, the call, its answer and its fates are copied into the core's batch of records
//!    ([`record`]), which a thread that is no core keeps.
//! 8. A reply from elsewhere (a worker on any core, the REST API) opens its `replyId`, finds core and slot, and goes to
//!    that core's mailbox; the first one counts, and the connection's deadline ends a wait without one.
//!
//! Changes come the other way: the REST API ([`admin`]) checks them ([`model`]), commits them ([`store`]), has what is
//! affected compiled and published ([`registry`]), and only then answers.
//!
//! # Layers
//!
//! A module at the top of the crate knows those of lower layers and no other of its own; `tests/layers.rs` reads the
//! imports and holds this.
//!
//! | layer | module | is for | is not for |
//! | --- | --- | --- | --- |
//! | 0 | [`base`] | clock, turns, timer wheel, slots with generations, receive buffer, JSON as text, encodings, ids | any word of webhooks or HTTP |
//! | 1 | [`http`] | HTTP/1.1 as a machine: head, framing, body, keep-alive, responses | knowing what a webhook is |
//! | 1 | [`websocket`] | RFC 6455 and RFC 7692 as a machine | the same |
//! | 1 | [`io`] | the kernel: operations in, completions out; io_uring, epoll, and a simulated one in the tests | any word of HTTP, decisions, a clock |
//! | 1 | [`proxy`] | the PROXY protocol's header, versions 1 and 2 | whom to believe |
//! | 2 | [`model`], [`settings`], [`template`], [`expression`], [`metrics`] | resources and what makes them valid; what an operator sets; Handlebars; conditions; counters of each core | storage, requests |
//! | 3 | [`verify`], [`trigger`], [`reply`], [`limit`], [`store`], [`journal`], [`record`] | one question each: is it genuine, what is the payload, what may a reply say, may it pass, keep the model, which bytes make an event durable, keep what was seen of a call | calling one another |
//! | 4 | [`registry`] | compiles the model into hooks and finds one by its token | changing the model |
//! | 5 | [`deliver`] | a flow and a trigger become effects; which worker gets which trigger, which target when | doing them |
//! | 6 | [`ingress`] | a request, a message, a worker's handshake, decided step by step; the fixed answers | reading sockets, waiting |
//! | 7 | [`connection`] | one connection as a machine: HTTP, WebSocket, worker; TLS and PROXY before them; timeouts; closing | sockets, other connections |
//! | 8 | [`engine`] | the cores: the turn, the connections of a core, timers, mailboxes, draining | deciding |
//! | 9 | [`admin`], [`control`] | REST API, console, metrics page; what is fetched from and sent to other machines | a core's time |
//! | 9 | [`cluster`] | several nodes as one, over NATS JetStream | a core's time, the engine's rules |
//! | 10 | [`cli`] | the command line, and the wiring of all of it | logic |
//!
//! Up to layer 7 nothing but [`io`] touches the kernel, except the store with its file and those who need the system's
//! random bytes: bytes in, time as
//! an argument, values out. So the same code is fuzzed, simulated from a seed, benchmarked, and served on io_uring or
//! epoll.
//!
//! # What holds everywhere
//!
//! - On the way of a request the only lock is that of the core's own cell of a webhook's tokens, which another core takes
//!   when its own cell is dry, for some nanoseconds. A refusal takes none, but once a tick.
//! - A core writes no cache line that another core writes, but for what is shared by its nature: those tokens, the
//!   concurrency count of a webhook that waits, the bounds of workers' queues, the process's count of connections, and
//!   the mailboxes.
//! - Every queue and every input has a bound with a name; what does not fit is refused when it arrives, and what was
//!   accepted continues.
//! - The outcome does not depend on how bytes were cut into reads. Nothing after a refusal is read as a request.
//! - A payload is valid JSON whatever came in; text that came in is escaped or validated before it is spliced.
//! - A turn of a core ends by time ([`base::turn`]): no connection, mailbox, timer or change of the model holds it for
//!   longer than [`base::turn::TURN_NANOS_MAX`], and no token is taken with a time that is older than the rate allows.
//! - A change of the model reaches every open WebSocket, whatever it is busy with ([`ingress::session`]).
//! - A `replyId` cannot be guessed or forged, and one that outlives its wait names nothing.
//! - What the REST API answered is on the disk and on every core. Where a change is on the disk and cannot be put into
//!   effect, its caller is told so, `/readyz` of the admin listener says 503, and it is tried again until it is.
//! - A panic costs one connection; one outside of any connection, that core's connections. The others go on.
//! - Only `base/clock.rs` reads a clock, only [`io`] names the ring, and `unsafe` is confined to the files
//!   that `tests/layers.rs` lists.
//! - No log, metric or error holds a credential, a token or a body, except that a `DebugNode`'s message, at `debug`, holds
//!   what the flow's author asks for.
//! - What callers send is escaped by [`base::visible`] wherever a terminal or a log shows it, and a line of the log that they
//!   can cause is bounded by [`base::log`].
//!
//! # What is deliberately absent
//!
//! - A tree of JSON on the way of a request: bodies are validated and spliced as text, and keep their digits.
//! - Tasks, futures and wakers on a core, and channels between cores: a core is woken through
//!   its kernel.
//! - Retries, queues or timers in the code that decides: time and what waits are the engine's, `deliver::workers`' and
//!   `deliver::targets`'.
//! - A second place where something is configured: [`settings::ENTRIES`] makes the file, the variables, the flags, the help
//!   and the guide's table.
//! - A way to change the model without the store, or a hook without the registry.
//! - HTTP/2 on the ingress, compressed responses, sessions, users. Access tokens have rights.
//! - Consensus or replication of our own: what nodes of a cluster agree on is what JetStream took.

// Tests share files with benches and other programs, for which they are public.
#![cfg_attr(not(test), warn(unreachable_pub))]

pub(crate) mod admin;
pub mod base;
pub mod cli;
pub mod cluster;
pub mod connection;
pub mod control;
pub mod deliver;
pub mod engine;
pub mod expression;
pub mod guide;
pub mod http;
pub mod ingress;
pub mod io;
pub mod journal;
pub mod limit;
pub mod metrics;
pub mod model;
pub mod proxy;
pub mod record;
pub mod registry;
pub mod reply;
pub mod settings;
pub mod store;
pub mod template;
pub mod trigger;
pub mod verify;
pub mod websocket;

//! Layer 9: several nodes as one, over NATS JetStream. The engine below knows nothing of it: what it needs of a cluster
//! it asks for through traits of its own, which this module implements and the command line wires.
//!
//! `P` is `cluster.name`; `inc` is an incarnation: a random id of each start of a process.
//!
//! | file | is for |
//! | --- | --- |
//! | `connection` | the client: servers, TLS, credentials, the thread that owns it, what it says of the servers |
//! | `publisher` | the messages of `NatsNode`s, which need no cluster |
//! | `names` | streams, buckets and subjects made of `P`, and the version that every record begins with |
//! | `journal/` | bundles on `P.j.<inc>`: one publish in flight, the same id until its fate is known; replay of another incarnation |
//! | `model/` | the bucket `KV_P_model`: writes of the store by compare and set, and the watch that every node follows |
//! | `membership/` | the bucket `KV_P_nodes`: heartbeats, leases, tombstones, and who adopts the open triggers of a dead node |
//! | `rate/` | tokens of a webhook's rate, leased in blocks from the stream `P_limit` |
//! | `slots/` | places of a webhook's concurrency, taken in blocks by compare and set |
//! | `keys` | keys of calls (`deduplicate`) that all nodes share, on the stream `P_keys` |
//! | `api` | requests of the REST API about what each node keeps for itself |
//! | `monitor` | whether the servers sync what they ack, by their monitoring ports |
//! | `replies` | replies to callers of other nodes, by subject |
//! | `links/` | messages of the cores to those of other nodes: the workers that nodes lend each other |
//! | `adoptions` | counts of what was taken over from nodes that ended |
//! | `node` | one node of a cluster: starts all of this, stops it in order, and tells its state |
//! | `tests/` | a simulated JetStream, driven from a seed, and the machines above on it |
//!
//! Each of `journal`, `model`, `membership`, `rate` and `slots` is a machine (events and the time in, operations on
//! JetStream out) and an adapter that carries its operations out; the simulation takes the adapter's place.

mod adoptions;
pub mod api;
pub mod connection;
pub mod journal;
mod keys;
pub mod links;
pub mod membership;
pub mod model;
mod monitor;
pub mod names;
pub mod node;
mod publisher;
pub mod rate;
pub mod replies;

pub use adoptions::Adoptions;
pub(crate) use connection::connected;
pub use connection::{ConnectError, Connection};
pub use keys::Keys;
pub use node::{Node, Replicas, Setup};
pub use publisher::Publisher;

//! Layer 9: the REST API ([guide](crate::guide::rest_api)), and the other pages of the admin listener.
//!
//! One table ([`routes::ROUTES`]) lists every path and method with its handler and its documentation; the router and
//! `/openapi.json` are both built from it. A request goes through the door ([`door`]: `Host`, `Origin`, access token)
//! to its handler, which reads the body, asks the [`Store`] on a thread that may wait for the disk, and answers. The
//! store tells the engine of each commit before the handler hears of it, so what was answered is what is served.
//!
//! # Decisions
//!
//! - 405 (with `Allow`) and 421 carry the type `Validation`; a foreign `Origin` is a 403 of the type `Forbidden`.
//! - An id that is not 24 hex digits names nothing: 404.
//! - Query parameters that a list does not know are a 400, but for those that the platform's clients send with any list.
//! - Blank parameters are as good as absent. Warnings of a resource stand in every answer that shows it alone.
//! - Without a token every path but the open ones is a 401, known or not.
//!
//! Not here: what happens on cores. That is reached through [`EngineAccess`].

mod activity;
mod backup;
mod bundle;
mod call;
mod console;
mod dead_letters;
mod door;
mod dry_run;
mod error;
mod export;
mod flows_import;
mod globals;
mod guide;
mod import;
mod import_flows;
mod import_plan;
mod kinds;
mod listener;
mod nodes;
mod openapi;
mod platform;
mod presets;
mod preview;
mod query;
mod recent;
mod record_replays;
mod record_shown;
mod record_stream;
mod replays;
mod requests;
mod resources;
mod route;
mod router;
mod routes;
mod schema_parts;
mod schemas;
mod schemas_documents;
mod schemas_records;
mod schemas_watch;
mod shape;
mod stats;
mod system;
mod testing;
mod tls;
mod token;
mod tokens;
mod unread;
mod warnings;
mod write_timeout;

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

pub(crate) use activity::{FlowActivity, NodeFailure};
pub(crate) use listener::{Listener, serve};
pub(crate) use router::router;
pub(crate) use stats::sample;
pub(crate) use tls::AdminTls;

use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::metrics::{Series, Snapshot};
use crate::model::{Flow, ModelError, Webhook};
use crate::record::{BookLimits, Record, Shelf};
use crate::settings::{Address, Limits, Settings};
use crate::store::{Affected, Store};
use crate::trigger::Tail;
use crate::verify::access::AccessTokens;
use crate::verify::secret::GUESS_DELAY;

/// Bytes of a request's body. A flow of the largest size the model takes fits.
pub(crate) const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bounds of a shelf that nothing is put on.
const NO_RECORDS: BookLimits = BookLimits { bytes: 0, age_millis: 0 };

/// A future that an engine answers with.
pub(crate) type EngineAnswer<T> = Pin<Box<dyn Future<Output = Result<T, (u16, String)>> + Send>>;

/// Header of a request that one node of a cluster passes to another, which answers it with what it has itself.
pub(crate) const PASSED_ON: &str = "tidegate-passed-on";

/// A request that is passed to the other nodes.
#[derive(Clone, Debug)]
pub(crate) struct ToNodes {
    pub method: &'static str,
    pub target: String,
    pub body: Vec<u8>,
    /// How long the answers are waited for.
    pub time: Duration,
}

/// Each other node by its id, with status and body if it answered.
pub(crate) type NodeAnswers = Pin<Box<dyn Future<Output = Vec<(String, Option<(u16, Vec<u8>)>)>> + Send>>;

/// Events of the other nodes, once their streams are open; `None` if there are no others.
pub(crate) type NodeEvents = Pin<Box<dyn Future<Output = Option<Receiver<Bytes>>> + Send>>;

/// The functions of the process that the admin listener needs.
pub(crate) trait EngineAccess: Send + Sync {
    /// Passes a request about what each node keeps to the other nodes of the cluster; nobody answers where there is none.
    fn ask_nodes(&self, _request: ToNodes) -> NodeAnswers {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Follows a stream of events, by its target, at the other nodes of the cluster.
    fn follow_nodes(&self, _target: String) -> NodeEvents {
        Box::pin(std::future::ready(None))
    }

    /// Compiles what is affected anew from the store and publishes it to the cores, before it returns. What is not in
    /// the store any more is taken away. Calls come in the order of the commits, on a thread that may wait.
    ///
    /// # Errors
    ///
    /// Why some of it is not in effect; the engine tries it again until it is.
    fn refresh(&self, store: &Store, affected: &Affected) -> Result<(), String>;

    /// Whether the webhook's templates compile.
    ///
    /// # Errors
    ///
    /// The field and what is wrong with it.
    fn check_webhook(&self, webhook: &Webhook) -> Result<(), ModelError>;

    /// Whether the flow's templates compile.
    ///
    /// # Errors
    ///
    /// The field and what is wrong with it.
    fn check_flow(&self, flow: &Flow) -> Result<(), ModelError>;

    /// Gives a reply ([replies and templates](crate::guide::replies_and_templates)) to the caller that waits for it;
    /// answers whether it was accepted, or a status and a message.
    fn reply(&self, reply_id: String, reply_json: Vec<u8>) -> EngineAnswer<bool>;

    /// Gives a reply to the open WebSocket of a webhook that its records know by this name, whichever core holds it; answers
    /// whether it was accepted, or a status and a message: 404 where there is none.
    fn send_to_websocket(&self, webhook: Id, connection: Id, reply_json: Vec<u8>) -> EngineAnswer<bool>;

    /// Sends a request through the ingress ([REST API](crate::guide::rest_api)); answers what came back, or a status
    /// and a message.
    fn test_request(&self, webhook: &Webhook, request: TestRequest) -> EngineAnswer<TestResponse>;

    /// Delivers the event of a dead letter again; returns once it is accepted. 404 if what it was for is gone, 503 if it can be
    /// tried again.
    fn replay(&self, event: Vec<u8>) -> EngineAnswer<()>;

    /// Has every core hand over what it has recorded, and when these webhooks were last called: what was answered before is
    /// on the shelf then.
    fn settle_records(&self, webhooks: &[Id]) -> EngineAnswer<()>;

    /// The payload of a recorded call as a flow of the webhook got it; `None` if it cannot be made. `connect` is the record
    /// of the WebSocket's handshake, `tail` for a webhook without flows.
    fn payload(&self, webhook: Id, record: &Record, connect: Option<&Record>, tail: &Tail)
    -> Option<Vec<u8>>;

    /// Sends the request of a record through the ingress; answers its response's status, or a status and a message.
    fn replay_request(&self, webhook: Id, replay: Replay) -> EngineAnswer<Replayed>;

    /// Whether the webhook is there.
    fn serves(&self, webhook: Id) -> bool;

    /// The present usage of these webhooks' limits; webhooks that do not exist are left out.
    fn usage(&self, webhooks: &[Id]) -> EngineAnswer<Vec<Usage>>;

    /// Counts of a flow's recent runs, on all cores.
    fn activity(&self, flow: Id) -> FlowActivity;

    /// The page of `/metrics`.
    fn metrics(&self) -> String;

    /// The counters of now, for the series of `/stats`.
    fn snapshot(&self) -> Snapshot;

    /// The state of the cluster, as this node knows it; `None` if the process is not a node.
    fn cluster(&self) -> Option<Value> {
        None
    }

    /// Has the node of a cluster tell balancers to send calls elsewhere; returns `false` if the process is none.
    fn drain_node(&self) -> bool {
        false
    }

    /// Whether new requests are taken.
    fn ready(&self) -> bool;
}

/// A request to be sent through the ingress, checked: it cannot break out of its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRequest {
    /// The path behind the token: begins with `/` or `?`, or is empty.
    pub path: String,
    /// In upper case.
    pub method: String,
    /// Without those that the engine sets (`Host`, `Content-Length`, …).
    pub headers: Vec<(String, String)>,
    /// The body's bytes; `None` for none.
    pub body: Option<Vec<u8>>,
}

/// The request of a record, to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// The record.
    pub record: Id,
    /// The address that it came from; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// Head and body.
    pub request: Vec<u8>,
}

/// The result of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Replayed {
    /// Status of the response.
    pub status_code: u16,
    /// From sending to the response.
    pub duration_ms: f64,
}

/// The response to a test request.
#[derive(Debug)]
pub(crate) struct TestResponse {
    /// The status.
    pub status_code: u16,
    /// In order, repeated ones apart.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// From sending to the last byte.
    pub duration_ms: f64,
    /// The payloads that it triggered, one for each flow.
    pub triggers: Vec<Box<RawValue>>,
}

/// The usage of a webhook's limits, and the limits: its own, or the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Which one.
    pub webhook: Id,
    /// Calls of the past window; `None` where the rate has no limit and is not counted.
    pub calls: Option<u32>,
    /// Calls that a window admits; `None` for no limit.
    pub calls_max: Option<u32>,
    /// Length of the window; `None` for no limit.
    pub window_seconds: Option<u32>,
    /// Waiting requests and open WebSockets.
    pub concurrent: u32,
    /// How many there may be; `None` for no limit.
    pub concurrent_max: Option<u32>,
    /// Bytes of a body, a message or a reply.
    pub payload_bytes_max: u32,
    /// How long a request waits for its reply.
    pub reply_timeout_seconds: u32,
    /// When it was last called, in milliseconds since 1970, where that is known.
    pub last_call_millis: Option<u64>,
}

/// Settings that the console shows.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// Where the ingress listens, its port resolved.
    pub ingress: Address,
    /// The scheme of its URLs: `http`, or `https` where it speaks TLS.
    pub scheme: &'static str,
    /// `ingress.public_url`.
    pub public_url: Option<String>,
    /// The URL of the ingress that senders sign.
    pub called_url: String,
    /// The limits of webhooks that set none of their own.
    pub limits: Limits,
}

impl Default for About {
    fn default() -> About {
        let settings = Settings::defaults(1);
        let scheme = settings.ingress.scheme();
        let called_url = settings.ingress.called_url(&settings.ingress.listen);
        let (ingress, limits) = (settings.ingress.listen, settings.limits);
        About { ingress, scheme, public_url: None, called_url, limits }
    }
}

/// The state that the handlers share.
pub(crate) struct AdminState {
    /// The model.
    pub store: Arc<Store>,
    /// The rest of the process.
    pub engine: Arc<dyn EngineAccess>,
    /// The valid tokens of `Authorization: Bearer`.
    pub tokens: Arc<AccessTokens>,
    /// `admin.hosts`: names, with or without a port, that are served beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// `admin.open_metrics`: `/metrics` and `/openapi.json` without a token.
    pub open_metrics: bool,
    /// How long a wrong token waits for its 401; [`GUESS_DELAY`] but in tests.
    pub guess_delay: Duration,
    /// Dates of resources.
    pub clock: Clock,
    /// The server's description in the console.
    pub about: About,
    /// The last hour of the counters, as [`sample`] keeps it.
    series: Mutex<Series>,
    /// Exports that wait for their download.
    exports: bundle::Exports,
    /// Places of streams.
    watches: Arc<Semaphore>,
    /// Dead letters that are delivered again.
    replays: replays::Replays,
    /// Recorded calls that are sent again.
    record_replays: replays::Replays,
    /// The records of calls.
    pub shelf: Arc<Shelf>,
}

impl AdminState {
    /// The state of a listener with the defaults of the settings. From here on the engine hears of every commit.
    pub(crate) fn new(store: Arc<Store>, engine: Arc<dyn EngineAccess>, access_token: &str) -> AdminState {
        let told = Arc::clone(&engine);
        store.observe(Box::new(move |store, affected| told.refresh(store, affected)));
        AdminState {
            store,
            engine,
            tokens: Arc::new(AccessTokens::only(access_token)),
            hosts: Vec::new(),
            open_metrics: false,
            guess_delay: GUESS_DELAY,
            clock: Clock::new(),
            about: About::default(),
            series: Mutex::default(),
            exports: bundle::Exports::default(),
            watches: Arc::new(Semaphore::new(record_stream::WATCHES_MAX)),
            replays: replays::Replays::default(),
            record_replays: replays::Replays::default(),
            shelf: Arc::new(Shelf::new(NO_RECORDS)),
        }
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        // A sample that panicked half-way leaves the ones before it whole.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

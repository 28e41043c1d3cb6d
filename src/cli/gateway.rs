//! Where the admin listener meets the engine: the trait that `admin` asks for, on top of registry, cores and counters.

mod inside;
mod rendering;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inside::{send, send_bytes};
use rendering::{render_certificates, render_letters};
use serde_json::value::RawValue;

use crate::admin::{
    self, EngineAnswer, FlowActivity, NodeFailure, Replay, Replayed, TestRequest, TestResponse, Usage,
};
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::ip_net::IpNet;
use crate::base::log::bounded_log;
use crate::cluster::Node;
use crate::cluster::api::PassedRequest;
use crate::cluster::journal::Heir;
use crate::cluster::membership::NodeState;
use crate::control::calls::Calls;
use crate::control::process;
use crate::control::records::KeptRecords;
use crate::engine::{self, Engine, Inside, Outcome, ReplayCallback, SearchOutcome};
use crate::ingress::recorded::{self, Viewer};
use crate::journal::LeftOpen;
use crate::metrics::{Metrics, Snapshot};
use crate::model::{Flow, ModelError, Webhook, time_text};
use crate::record::{Record, Shelf};
use crate::registry::{self, Registry};
use crate::reply;
use crate::store::letters::{LetterQuery, Letters};
use crate::store::{Affected, Source as _, Store};
use crate::trigger::Tail;
use crate::verify::access::AccessTokens;

/// How long a test request may take beyond what its webhook waits for a reply.
const TEST_GRACE: Duration = Duration::from_secs(10);
/// Payloads that one test request shows: one for each flow, and flows are few.
const TEST_PAYLOADS_MAX: usize = 1000;

/// The rest of the process, as the admin listener sees it.
pub(super) struct Gateway {
    pub(super) registry: Arc<Registry>,
    pub(super) engine: Arc<Engine>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Whether the process is draining: `/readyz` says so, and where a change is not in effect.
    pub(super) draining: AtomicBool,
    /// The data folder.
    pub(super) folder: PathBuf,
    pub(super) letters: Arc<Letters>,
    /// `None`: nothing is told of calls.
    pub(super) calls: Option<Arc<Calls>>,
    pub(super) tokens: Arc<AccessTokens>,
    /// The node of a cluster that this process is, if it is one.
    pub(super) cluster: Option<Arc<Node>>,
    pub(super) records: Arc<KeptRecords>,
    pub(super) shelf: Arc<Shelf>,
    /// `ingress.trusted_proxies`.
    pub(super) trusted_proxies: Vec<IpNet>,
}

/// Drops the dead letters of flows that were deleted, on a thread of its own: there may be a million.
fn drop_letters(store: &Store, affected: &Affected) {
    for &flow in &affected.flows {
        if !matches!(store.flow(&flow), Ok(None)) {
            continue;
        }
        let dropped = store.letters().and_then(|letters| {
            if letters.count(&flow, &LetterQuery::default(), None)?.0 > 0 {
                let drop_all = move || {
                    if let Err(error) = letters.remove_all(&flow) {
                        bounded_log!(error, %flow, %error, "the dead letters of a deleted flow cannot be dropped");
                    }
                };
                // Without a thread they go with their age.
                let _ = std::thread::Builder::new().name("drop-letters".to_owned()).spawn(drop_all);
            }
            Ok(())
        });
        if let Err(error) = dropped {
            bounded_log!(error, %flow, %error, "the dead letters of a deleted flow cannot be dropped");
        }
    }
}

fn passed_request(method: &str, target: String, body: Vec<u8>, is_stream: bool) -> PassedRequest {
    PassedRequest { method: method.to_owned(), target, is_stream, body: body.into() }
}

impl Heir for Gateway {
    fn inherit(&self, entry: Box<LeftOpen>, done: ReplayCallback) {
        self.engine.inherit(entry, done);
    }
}

impl admin::EngineAccess for Gateway {
    fn refresh(&self, store: &Store, affected: &Affected) -> Result<(), String> {
        let refreshed = self.registry.refresh(store, affected, self.clock.now());
        // Some of it may be published, whatever became of the rest.
        self.engine.changed(affected);
        drop_letters(store, affected);
        if affected.access_tokens {
            self.tokens.replace(&store.access_tokens().map_err(|error| error.to_string())?);
        }
        for &webhook in &affected.webhooks {
            if matches!(store.webhook(&webhook), Ok(None)) {
                self.records.forget(webhook);
            }
        }
        refreshed.map_err(|error| {
            bounded_log!(error, %error, webhooks = affected.webhooks.len(), "a change is kept and not in effect: it is tried again");
            error.to_string()
        })
    }

    fn check_webhook(&self, webhook: &Webhook) -> Result<(), ModelError> {
        registry::check_webhook(webhook)
    }

    fn check_flow(&self, flow: &Flow) -> Result<(), ModelError> {
        registry::check_flow(flow)
    }

    fn reply(&self, reply_id: String, reply_json: Vec<u8>) -> EngineAnswer<bool> {
        match reply::parse_body(&reply_json) {
            Ok(reply) => Box::pin(passed_on(Arc::clone(&self.engine), reply_id, reply)),
            Err(error) => Box::pin(std::future::ready(Err((400, error.to_string())))),
        }
    }

    fn send_to_websocket(&self, webhook: Id, connection: Id, reply_json: Vec<u8>) -> EngineAnswer<bool> {
        let reply = match reply::parse_body(&reply_json) {
            Ok(reply) => reply,
            Err(error) => return Box::pin(std::future::ready(Err((400, error.to_string())))),
        };
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let done: engine::SearchCallback = Arc::new(move |outcome| {
            // Another core may have found it, and nobody listens any more.
            let _ = tell.send(outcome);
        });
        self.engine.find_websocket(webhook, connection, &done);
        drop(done);
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            let search = async {
                let mut is_busy = false;
                while let Some(outcome) = told.recv().await {
                    match outcome {
                        SearchOutcome::Found(reply_id) => return Ok(reply_id),
                        SearchOutcome::Missing => {}
                        SearchOutcome::Busy => is_busy = true,
                    }
                }
                Err(if is_busy { (503, BUSY_CORE.into()) } else { (404, NO_WEBSOCKET.into()) })
            };
            let reply_id = tokio::time::timeout(SETTLE_LIMIT, search).await;
            let reply_id = reply_id.unwrap_or_else(|_| Err((503, BUSY_CORE.into())))?;
            passed_on(engine, reply_id, reply).await
        })
    }

    fn replay(&self, event: Vec<u8>) -> EngineAnswer<()> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let done = Box::new(move |outcome| {
            // The client of the API may have gone away meanwhile.
            let _ = tell.send(outcome);
        });
        self.engine.replay(event, done);
        Box::pin(async move {
            match told.await.unwrap_or(Err(engine::NotReplayed::Busy)) {
                Ok(()) => Ok(()),
                Err(gone @ engine::NotReplayed::Gone) => Err((404, gone.to_string())),
                Err(busy @ engine::NotReplayed::Busy) => Err((503, busy.to_string())),
            }
        })
    }

    fn test_request(&self, webhook: &Webhook, request: TestRequest) -> EngineAnswer<TestResponse> {
        let payloads: Arc<Mutex<Vec<Box<RawValue>>>> = Arc::default();
        let seen = Arc::clone(&payloads);
        let tap = Arc::new(move |bytes: Vec<u8>| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(payload) = String::from_utf8(bytes)
                && let Ok(payload) = RawValue::from_string(payload)
                && seen.len() < TEST_PAYLOADS_MAX
            {
                seen.push(payload);
            }
        });
        let stream = match self.engine.connect(Inside::Test(tap)) {
            Ok(stream) => stream,
            Err(error) => return Box::pin(std::future::ready(Err((503, error.to_string())))),
        };
        let limit = self.registry.by_id(webhook.id).map_or(TEST_GRACE, |hook| {
            TEST_GRACE + Duration::from_secs(u64::from(hook.reply_timeout_seconds))
        });
        let target = format!("/webhooks/{}{}", webhook.token.as_str(), request.path);
        let clock = self.clock;
        Box::pin(async move {
            let begun = clock.now();
            let sent = tokio::time::timeout(limit, send(stream, target, request)).await;
            let (status_code, headers, body) = match sent {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err((500, format!("the test request failed: {error:#}"))),
                Err(_) => return Err((504, "the test request got no response".into())),
            };
            let duration_ms = (clock.now().nanos - begun.nanos) as f64 / 1e6;
            let triggers = std::mem::take(&mut *payloads.lock().unwrap_or_else(PoisonError::into_inner));
            Ok(TestResponse { status_code, headers, body, duration_ms, triggers })
        })
    }

    fn settle_records(&self, webhooks: &[Id]) -> EngineAnswer<()> {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let records = Arc::clone(&self.records);
        let left = AtomicUsize::new(self.engine.cores());
        let done: engine::Settled = Arc::new(move || {
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let tell = tell.clone();
                // Who asked may have gone away meanwhile.
                records.settle(Box::new(move || {
                    let _ = tell.send(());
                }));
            }
        });
        self.engine.settle_records(&webhooks.into(), &done);
        Box::pin(async move {
            match tokio::time::timeout(SETTLE_LIMIT, told.recv()).await {
                Ok(_) => Ok(()),
                Err(_) => Err((503, BUSY_CORE.into())),
            }
        })
    }

    fn payload(
        &self,
        webhook: Id,
        record: &Record,
        connect: Option<&Record>,
        tail: &Tail,
    ) -> Option<Vec<u8>> {
        let hook = self.registry.by_id(webhook)?;
        let viewer = Viewer { trusted_proxies: &self.trusted_proxies, tail };
        recorded::payload(viewer, &hook, record, connect)
    }

    fn replay_request(&self, webhook: Id, replay: Replay) -> EngineAnswer<Replayed> {
        let inside = Inside::Replay { record: replay.record, peer: replay.peer };
        let stream = match self.engine.connect(inside) {
            Ok(stream) => stream,
            Err(error) => return Box::pin(std::future::ready(Err((503, error.to_string())))),
        };
        let limit = self.registry.by_id(webhook).map_or(TEST_GRACE, |hook| {
            TEST_GRACE + Duration::from_secs(u64::from(hook.reply_timeout_seconds))
        });
        let clock = self.clock;
        Box::pin(async move {
            let begun = clock.now();
            match tokio::time::timeout(limit, send_bytes(stream, &replay.request)).await {
                Ok(Ok(status_code)) => {
                    let duration_ms = (clock.now().nanos - begun.nanos) as f64 / 1e6;
                    Ok(Replayed { status_code, duration_ms })
                }
                Ok(Err(error)) => Err((500, format!("the replay failed: {error:#}"))),
                Err(_) => Err((504, "the replay got no response".into())),
            }
        })
    }

    fn serves(&self, webhook: Id) -> bool {
        self.registry.by_id(webhook).is_some()
    }

    fn usage(&self, webhooks: &[Id]) -> EngineAnswer<Vec<Usage>> {
        let now = self.clock.now();
        let hooks = webhooks.iter().filter_map(|id| self.registry.by_id(*id));
        let mut usages: Vec<Usage> = hooks
            .map(|hook| {
                let limit = hook.rate.as_ref().map(|rate| rate.limit());
                Usage {
                    webhook: hook.webhook_id,
                    calls: hook.rate.as_ref().map(|rate| rate.used(now)),
                    calls_max: limit.map(|(calls, _)| calls),
                    window_seconds: limit.map(|(_, seconds)| seconds),
                    concurrent: hook.concurrency.held(),
                    concurrent_max: (hook.concurrency_limit > 0).then_some(hook.concurrency_limit),
                    payload_bytes_max: hook.payload_bytes,
                    reply_timeout_seconds: hook.reply_timeout_seconds,
                    last_call_millis: None,
                }
            })
            .collect();
        let settled = self.settle_records(webhooks);
        let shelf = Arc::clone(&self.shelf);
        Box::pin(async move {
            settled.await?;
            let book = shelf.book();
            for usage in &mut usages {
                usage.last_call_millis = book.last_call(usage.webhook);
            }
            drop(book);
            Ok(usages)
        })
    }

    fn activity(&self, flow: Id) -> FlowActivity {
        let Some(runs) = self.registry.runs(flow) else { return FlowActivity::default() };
        let errors = runs.errors().into_iter().map(|error| NodeFailure {
            unix_millis: error.unix_millis,
            node: error.node.to_string(),
            message: error.message,
        });
        let hours = runs.hours().into_iter().map(|hour| (hour.unix_millis, hour.runs, hour.failures));
        FlowActivity { hours: hours.collect(), errors: errors.collect() }
    }

    fn metrics(&self) -> String {
        let mut page = String::new();
        self.metrics.render(&mut page);
        render_certificates(&mut page, &self.engine.tls().ends());
        process::render(&mut page, &self.folder);
        if let Some(calls) = &self.calls {
            calls.render(&mut page);
        }
        match self.letters.counts() {
            Ok(counts) => render_letters(&mut page, counts),
            Err(error) => bounded_log!(error, %error, "the dead letters cannot be counted"),
        }
        if let Some(node) = &self.cluster {
            node.render(&mut page);
        }
        page
    }

    fn ask_nodes(&self, request: admin::ToNodes) -> admin::NodeAnswers {
        let Some(node) = &self.cluster else { return Box::pin(std::future::ready(Vec::new())) };
        let admin::ToNodes { method, target, body, time } = request;
        let asked = node.ask(passed_request(method, target, body, false), time);
        Box::pin(
            async move { asked.await.into_iter().map(|(node, answer)| (node.to_string(), answer)).collect() },
        )
    }

    fn follow_nodes(&self, target: String) -> admin::NodeEvents {
        let Some(node) = &self.cluster else { return Box::pin(std::future::ready(None)) };
        let followed = node.follow_events(passed_request("GET", target, Vec::new(), true));
        Box::pin(async move { Some(followed.await) })
    }

    fn drain_node(&self) -> bool {
        let Some(node) = &self.cluster else { return false };
        self.draining.store(true, Ordering::Relaxed);
        self.engine.announce_end();
        node.membership().set_state(NodeState::Draining);
        true
    }

    fn cluster(&self) -> Option<serde_json::Value> {
        let node = self.cluster.as_ref()?;
        let mut status = node.status();
        let gauges = self.metrics.snapshot().total.journal.gauges;
        status["journal"] = serde_json::json!({
            "isWritable": gauges.down == 0, "openTriggers": gauges.open_entries, "openBytes": gauges.open_bytes,
            "oldest": (gauges.oldest_unix_millis > 0).then(|| time_text(gauges.oldest_unix_millis)),
        });
        Some(status)
    }

    fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot()
    }

    fn ready(&self) -> bool {
        let is_member = self.cluster.as_ref().is_none_or(|node| node.is_ready());
        !self.draining.load(Ordering::Relaxed)
            && !self.registry.is_behind()
            && self.engine.is_journal_up()
            && is_member
    }
}

impl Gateway {
    /// Puts into effect what could not be, until it is. Returns never.
    pub(super) async fn heal(self: Arc<Gateway>, store: Arc<Store>) {
        let mut pause = HEAL_PAUSE_MIN;
        loop {
            tokio::time::sleep(pause).await;
            if !self.registry.is_behind() {
                pause = HEAL_PAUSE_MIN;
                continue;
            }
            let (gateway, store) = (Arc::clone(&self), Arc::clone(&store));
            let healed = tokio::task::spawn_blocking(move || {
                let (affected, error) = gateway.registry.heal(&*store, gateway.clock.now());
                gateway.engine.changed(&affected);
                error
            });
            match healed.await {
                Ok(None) => bounded_log!(info, "all changes are in effect again"),
                Ok(Some(error)) => bounded_log!(error, %error, "a change is still not in effect"),
                Err(error) => bounded_log!(error, %error, "putting changes into effect failed"),
            }
            pause = (2 * pause).min(HEAL_PAUSE_MAX);
        }
    }
}

impl Gateway {
    /// Withdraws earlier tokens of webhooks once their grace has ended. Requests find them gone at that moment; this
    /// gives their memory back and closes their WebSockets. Returns never.
    pub(super) async fn withdraw_tokens(self: Arc<Gateway>, store: Arc<Store>) {
        loop {
            tokio::time::sleep(WITHDRAW_INTERVAL).await;
            let now = self.clock.now();
            let affected = self.registry.outdated(now.unix_millis);
            if affected == Affected::default() {
                continue;
            }
            let (gateway, store) = (Arc::clone(&self), Arc::clone(&store));
            let withdrawn = tokio::task::spawn_blocking(move || {
                let refreshed = gateway.registry.refresh(&*store, &affected, now);
                gateway.engine.changed(&affected);
                refreshed
            });
            if !matches!(withdrawn.await, Ok(Ok(()))) {
                bounded_log!(error, "a token whose grace has ended could not be withdrawn yet");
            }
        }
    }
}

/// How often it is checked whether the grace of a token has ended.
const WITHDRAW_INTERVAL: Duration = Duration::from_secs(1);

/// How soon, and how seldom at the least, what could not be put into effect is tried again.
const HEAL_PAUSE_MIN: Duration = Duration::from_secs(1);
const HEAL_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Hands a reply in; answers whether it was accepted.
async fn passed_on(
    engine: Arc<Engine>,
    reply_id: String,
    reply: reply::Reply,
) -> Result<bool, (u16, String)> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let done = Box::new(move |outcome| {
        // The client of the API may have gone away meanwhile.
        let _ = tell.send(outcome);
    });
    engine.reply(&reply_id, Box::new(reply), done);
    match told.await {
        Ok(Outcome::Accepted) => Ok(true),
        Ok(Outcome::NotWaiting | Outcome::WrongCaller(_)) => Ok(false),
        Ok(Outcome::Refused(reason)) => Err((400, reason)),
        Err(_) => Err((500, "the engine ended before the reply was passed on".into())),
    }
}

/// The message of an answer that a core has not given in time.
const BUSY_CORE: &str = "a core is too busy to say what it has seen";
/// The message of a WebSocket that is not there.
const NO_WEBSOCKET: &str = "the webhook has no open connection with this id";

/// How long the cores may take to hand over what they have recorded.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

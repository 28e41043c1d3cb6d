//! What the engine asks of the allocator for a request: counted in this process, over sockets, with the engine that
//! `tidegate serve` runs. A plain POST to a webhook without a flow asks for nothing; what a flow needs is the same
//! number every time.
//!
//! Only warm engines are counted: buffers have been made, the ring of last requests is full, and the tokens of a window
//! have been spent once. A failure says where the allocations come from.

mod counting;

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use common::{ACCESS_TOKEN, Wire, request};
use sockets::{FIN, PING, PONG, Socket, TEXT, frame};
use tidegate::base::clock::Clock;
use tidegate::control::Fetchers;
use tidegate::control::chains::Chains;
use tidegate::control::key_sets::KeySets;
use tidegate::engine::{Engine, Services};
use tidegate::metrics::Metrics;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::{Defaults, Registry};
use tidegate::settings::{Address, Driver, Durability, Settings};
use tidegate::store::Store;
use tidegate::verify::access::AccessTokens;

/// A rate that is counted and never reached, in windows of a second: a window's tokens have all come back once before
/// anything is counted.
const RATE_HIGH: u32 = 1_000_000_000;
const WINDOW: Duration = Duration::from_secs(1);
/// Requests that are counted.
const REQUESTS: usize = 2_000;
/// Rounds of them, at most.
const ROUNDS: usize = 3;
/// Requests whose allocations are looked at when there should be none.
const LOOKED_AT: usize = 200;
const BODY: &[u8] = br#"{"device":"boiler-17","value":30.25,"ok":true,"readings":[30.1,30.2,30.25]}"#;

/// What each needs today, and is not to grow beyond without a reason.
const REFUSAL_ALLOCATIONS_MAX: u64 = 0;
/// A template's reply is written where it leaves from.
const REPLY_ALLOCATIONS_MAX: u64 = 0;
/// The payload, what is queued and what is ordered, and the box in which a trigger goes to the owner of its flow.
const WORKER_ALLOCATIONS_MAX: u64 = 8;
/// As is one to a message.
const MESSAGE_ALLOCATIONS_MAX: u64 = 0;

/// Tests that run at the same time would count one another's.
static ALONE: Mutex<()> = Mutex::new(());

/// An engine of one core in this process, with a webhook.
struct Served {
    engine: Engine,
    registry: Arc<Registry>,
    webhook: Webhook,
    _folder: TempDir,
}

impl Served {
    /// With a webhook of these fields, and a flow of this node where there is one.
    fn start(driver: Driver, fields: Value, node: Option<Value>) -> Served {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a new store");
        let clock = Clock::new();
        let now = clock.now();
        let mut settings = Settings::defaults(1);
        settings.driver = driver;
        settings.journal.durability = Durability::Memory;
        // What is recorded is written into a batch, which is one allocation for all that it holds.
        settings.record.events = 0;
        settings.ingress.listen = local();
        settings.workers.listen = local();
        let application = Application::create(&json!({"name": "An application"}), now.unix_millis)
            .expect("a name is all it needs");
        let mut body = json!({"name": "A webhook", "limits": {
            "requestsPerWindow": RATE_HIGH, "windowSeconds": WINDOW.as_secs(), "concurrency": 100}});
        for (name, value) in fields.as_object().expect("fields") {
            body[name] = value.clone();
        }
        let owner = application.id;
        let webhook = Webhook::create(&body, owner, now.unix_millis).expect("a good webhook");
        store.insert_application(application).expect("a new application");
        store.insert_webhook(webhook.clone()).expect("a new webhook");
        if let Some(node) = node {
            let body = json!({"name": "A flow", "nodes": [node],
                "triggers": [{"type": "webhook", "key": webhook.id.to_string()}]});
            let flow = Flow::create(&body, owner, now.unix_millis).expect("a good flow");
            store.insert_flow(flow).expect("a new flow");
        }
        let registry = Arc::new(Registry::new(Defaults::new(settings.cores, &settings.limits)));
        registry.load(&store, now).expect("the model can be read");
        let metrics = Metrics::new(settings.cores);
        let chains = Chains::start(&settings.alexa, clock).expect("nothing is fetched");
        let key_sets = KeySets::start(None, clock).expect("nothing is fetched");
        let chains = Arc::new(Fetchers { chains, key_sets });
        let engine = Engine::start(
            &settings,
            &Arc::new(AccessTokens::only(ACCESS_TOKEN)),
            &registry,
            &metrics,
            &Services::with_chains(chains),
            None,
            clock,
        )
        .expect("the engine starts");
        Served { engine, registry, webhook, _folder: folder }
    }

    fn wire(&self) -> Wire {
        Wire::connect(tcp(self.engine.ingress()))
    }

    fn target(&self) -> String {
        format!("/webhooks/{}/readings?floor=1", self.webhook.token.as_str())
    }

    fn post(&self) -> Vec<u8> {
        request("POST", &self.target(), &[("Content-Type", "application/json")], BODY)
    }

    fn stop(self) {
        self.engine.drain();
        self.engine.join();
    }
}

fn local() -> Address {
    "127.0.0.1:0".parse().expect("an address")
}

fn tcp(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{} is no TCP address", path.display()),
    }
}

/// Requests that have used every buffer once.
const WARM_REQUESTS: usize = 16_384;

/// Asks until buffers and the window's tokens have all been used once.
fn warm(mut ask: impl FnMut()) {
    let begun = Instant::now();
    let mut asked = 0;
    while asked < WARM_REQUESTS || begun.elapsed() < 2 * WINDOW {
        ask();
        asked += 1;
    }
}

/// Runs a test alone, its own allocations left out.
fn alone(test: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    counting::leave_out(true);
    test();
}

/// Asserts that nothing is allocated while `ask` asks. What a request needs it needs each time; what a pause of the
/// machine makes the engine do (a connection that was quiet for a second gives its buffers back) it does once, and
/// another round does not have it.
#[track_caller]
fn allocates_nothing(mut ask: impl FnMut()) {
    warm(&mut ask);
    let mut counts = [0; ROUNDS];
    for count in &mut counts {
        let before = counting::count();
        (0..REQUESTS).for_each(|_| ask());
        *count = counting::count() - before;
        if *count == 0 {
            return;
        }
    }
    let places = counting::places(|| (0..LOOKED_AT).for_each(|_| ask()));
    panic!("{counts:?} allocations for {REQUESTS} requests each; of {LOOKED_AT} more:\n{places}");
}

/// Asserts that as much is allocated each time that `ask` asks, and at most `most`. When `ask` returns, the engine must be
/// done with what was asked. One in a hundred may differ, for the reason above.
#[track_caller]
fn allocates_the_same(most: u64, mut ask: impl FnMut()) {
    warm(&mut ask);
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let before = counting::count();
        ask();
        *counts.entry(counting::count() - before).or_default() += 1;
    }
    let usual = counts.iter().max_by_key(|(_, times)| **times).map(|(count, times)| (*count, *times));
    let (usual, times) = usual.expect("something was counted");
    if usual > most || times < REQUESTS - REQUESTS / 100 {
        let places = counting::places(&mut ask);
        panic!(
            "allocations of a request, and how often: {counts:?}, where {most} are allowed; the next one's:\n{places}"
        );
    }
    println!("{usual} allocations of each request");
}

/// Makes a module for each driver with a test for each of these functions, which take the driver.
macro_rules! on_each_driver {
    ($($test:ident),* $(,)?) => {
        mod on_io_uring {
            $(#[test] fn $test() { super::alone(|| super::$test(super::Driver::Auto)); })*
        }
        mod on_epoll {
            $(#[test] fn $test() { super::alone(|| super::$test(super::Driver::Epoll)); })*
        }
    };
}

on_each_driver! {
    a_plain_post_allocates_nothing,
    sixteen_pipelined_posts_allocate_nothing,
    a_refusal_over_the_rate_allocates_the_same_each_time,
    a_request_that_finds_no_webhook_allocates_the_same_each_time,
    a_templates_reply_allocates_the_same_each_time,
    a_trigger_for_a_worker_allocates_the_same_each_time,
    a_message_and_its_reply_allocate_the_same_each_time,
}

fn a_plain_post_allocates_nothing(driver: Driver) {
    let served = Served::start(driver, json!({}), None);
    let (mut wire, post) = (served.wire(), served.post());
    allocates_nothing(|| {
        wire.ask(&post).is(200, r#"{"success":true}"#);
    });
    served.stop();
}

fn sixteen_pipelined_posts_allocate_nothing(driver: Driver) {
    const DEPTH: usize = 16;
    let served = Served::start(driver, json!({}), None);
    let (mut wire, posts) = (served.wire(), served.post().repeat(DEPTH));
    allocates_nothing(|| {
        wire.send(&posts);
        for _ in 0..DEPTH {
            wire.response().is(200, r#"{"success":true}"#);
        }
    });
    served.stop();
}

fn a_refusal_over_the_rate_allocates_the_same_each_time(driver: Driver) {
    const DAY_SECONDS: u32 = 86_400;
    let limits = json!({"requestsPerWindow": 1, "windowSeconds": DAY_SECONDS});
    let served = Served::start(driver, json!({"limits": limits}), None);
    let (mut wire, post) = (served.wire(), served.post());
    assert_eq!(wire.ask(&post).status, 200, "the only token");
    allocates_the_same(REFUSAL_ALLOCATIONS_MAX, || {
        assert_eq!(wire.ask(&post).status, 429);
        healthy(&mut wire);
    });
    served.stop();
}

fn a_request_that_finds_no_webhook_allocates_the_same_each_time(driver: Driver) {
    let served = Served::start(driver, json!({}), None);
    let mut wire = served.wire();
    let target = format!("/webhooks/{}", "x".repeat(40));
    let post = request("POST", &target, &[("Content-Type", "application/json")], BODY);
    allocates_the_same(REFUSAL_ALLOCATIONS_MAX, || {
        assert_eq!(wire.ask(&post).status, 404);
        healthy(&mut wire);
    });
    served.stop();
}

/// An answer that shows that the engine is done with the request before.
fn healthy(wire: &mut Wire) {
    assert_eq!(wire.ask(request("GET", "/healthz", &[], b"")).status, 200);
}

fn a_templates_reply_allocates_the_same_each_time(driver: Driver) {
    let node = json!({"type": "WebhookReplyNode", "config": {
        "responseCodeTemplate": "201", "bodyTemplate": "{{data.body.device}}"}});
    let served = Served::start(driver, json!({"waitForReply": true}), Some(node));
    let (mut wire, post) = (served.wire(), served.post());
    allocates_the_same(REPLY_ALLOCATIONS_MAX, || {
        wire.ask(&post).is(201, "boiler-17");
        healthy(&mut wire);
    });
    served.stop();
}

fn a_trigger_for_a_worker_allocates_the_same_each_time(driver: Driver) {
    let node = json!({"id": "out", "type": "WorkerNode"});
    let served = Served::start(driver, json!({}), Some(node));
    let flow = served.registry.by_id(served.webhook.id).expect("it was loaded").flows[0].flow_id;
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", "tidegate.worker.v1")];
    let target = format!("/flows/{flow}/worker");
    let mut worker = Socket::open_with(tcp(served.engine.workers()), &target, &headers);
    worker.say(r#"{"type":"ready","credit":1}"#);
    let (mut wire, post) = (served.wire(), served.post());
    allocates_the_same(WORKER_ALLOCATIONS_MAX, || {
        wire.ask(&post).is(200, r#"{"success":true}"#);
        let trigger: Value = serde_json::from_str(&worker.text()).expect("JSON");
        assert_eq!(trigger["payload"]["data"]["body"]["device"], "boiler-17");
        let seq = trigger["seq"].as_u64().expect("a number");
        let ack = format!(r#"{{"type":"ack","seqs":[{seq}]}}"#);
        let ready = br#"{"type":"ready","credit":1}"#;
        // In one piece, so that they are heard in one turn. The Pong shows that the engine is done with the others.
        let frames = [frame(FIN | TEXT, ack.as_bytes()), frame(FIN | TEXT, ready), frame(FIN | PING, b"")];
        worker.send_bytes(&frames.concat()).expect(FIN | PONG, b"");
    });
    drop(worker);
    served.stop();
}

fn a_message_and_its_reply_allocate_the_same_each_time(driver: Driver) {
    let node = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "data.message.data",
        "bodyTemplateType": "path", "isWebsocketMessage": true, "encodingTemplate": "utf8"}});
    let served = Served::start(driver, json!({"isWebsocket": true}), Some(node));
    let mut socket = Socket::open_with(tcp(served.engine.ingress()), &served.target(), &[]);
    assert_eq!(socket.text(), "", "its `connect` has no message");
    allocates_the_same(MESSAGE_ALLOCATIONS_MAX, || {
        assert_eq!(socket.say("forty-two bytes of a message as they come.").text().len(), 42);
        socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    });
    drop(socket);
    served.stop();
}

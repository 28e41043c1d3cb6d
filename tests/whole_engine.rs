//! The whole engine on a simulated kernel, from a seed: its cores, connections and timers in one thread and in virtual time,
//! with callers that cut, pipeline, wait, half-close and reset, and WebSockets.
//!
//! What holds after each run: every request of a caller that stayed got one answer, its own, in order; nothing waits for
//! ever; when the callers are gone, no socket, buffer, slot, or byte of a body is kept, and every record of a call has its end.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone.

#[path = "whole/driver.rs"]
mod driver;
#[path = "whole/kernel/mod.rs"]
mod kernel;
#[path = "whole/websocket.rs"]
mod websocket;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;

use driver::{Core, Driver};
use kernel::{Config, Heard, Random, SimClient, SimKernel, World};
use serde_json::{Value, json};
use tidegate::base::clock::Now;
use tidegate::base::id::Id;
use tidegate::engine::{
    ChainSource, DrivenConfig, DrivenCores, DrivenKernel, Fetched, Holdings, KeysFetched, Services,
};
use tidegate::metrics::Metrics;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::record::{BookLimits, RecordQuery, RecordSink, Shelf};
use tidegate::registry::{Defaults, Registry};
use tidegate::settings::Settings;
use tidegate::store::Store;
use tidegate::verify::alexa::ChainUrl;
use websocket::WebSocketCaller;

/// Seeds that are run where the environment does not say.
const SEEDS: u64 = 300;
const INGRESS: u16 = 1;
const WORKERS: u16 = 2;
const ACCESS_TOKEN: &str = "whole-engine-access-token";
/// A simulation that has more to do than this will never end.
const STEPS_MAX: usize = 2_000_000;
/// The longest that virtual time moves at once.
const STEP_NANOS: u64 = 50_000_000;
const UNIX_MILLIS: u64 = 1_771_521_960_000;

/// Takes the batches of the cores onto a shelf.
struct Kept(Shelf);

impl RecordSink for Kept {
    fn take(&self, batch: Vec<u8>) {
        self.0.take(&batch, 1);
    }
}

struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}

    fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: KeysFetched) {}
}

/// A model with one webhook of each kind; the same for all seeds.
struct Model {
    registry: Arc<Registry>,
    settings: Settings,
    /// Answers at once.
    plain: String,
    /// Waits, and a template replies with the path.
    echo: String,
    /// Waits for a second, and nobody replies.
    silent: String,
    /// Takes WebSockets, and a template replies with the message.
    socket: String,
    /// All of them.
    webhooks: [Id; 4],
}

impl Model {
    fn new() -> Model {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a new store");
        let settings = Settings::defaults(4);
        let application = Application::create(&json!({"name": "a"}), UNIX_MILLIS).expect("a name");
        let owner = application.id;
        store.insert_application(application).expect("a new application");
        let webhook = |fields: Value| {
            let mut body = json!({"name": "w", "limits": {"requestsPerWindow": 0, "concurrency": 0}});
            for (name, value) in fields.as_object().expect("fields") {
                body[name] = value.clone();
            }
            let webhook = Webhook::create(&body, owner, UNIX_MILLIS).expect("a good webhook");
            store.insert_webhook(webhook.clone()).expect("a new webhook");
            webhook
        };
        let plain = webhook(json!({}));
        let echo = webhook(json!({"waitForReply": true}));
        let silent = webhook(json!({"waitForReply": true, "limits": {
            "requestsPerWindow": 0, "concurrency": 0, "replyTimeoutSeconds": 1}}));
        let reply = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "{{data.path}}"}});
        let flow = json!({"name": "f", "nodes": [reply],
            "triggers": [{"type": "webhook", "key": echo.id.to_string()}]});
        store.insert_flow(Flow::create(&flow, owner, UNIX_MILLIS).expect("a good flow")).expect("a new flow");
        let socket = webhook(json!({"isWebsocket": true}));
        let reply = json!({"type": "WebhookReplyNode", "config": {"bodyTemplate": "data.message.data",
            "bodyTemplateType": "path", "isWebsocketMessage": true, "encodingTemplate": "utf8"}});
        let flow = json!({"name": "s", "nodes": [reply],
            "triggers": [{"type": "webhook", "key": socket.id.to_string()}]});
        store.insert_flow(Flow::create(&flow, owner, UNIX_MILLIS).expect("a good flow")).expect("a new flow");
        let registry = Arc::new(Registry::new(Defaults::new(4, &settings.limits)));
        registry.load(&store, Now { nanos: 0, unix_millis: UNIX_MILLIS }).expect("the model can be read");
        let target =
            |webhook: &Webhook| format!("/webhooks/{}", webhook.to_api()["token"].as_str().expect("a token"));
        Model {
            plain: target(&plain),
            echo: target(&echo),
            silent: target(&silent),
            socket: target(&socket),
            webhooks: [plain.id, echo.id, silent.id, socket.id],
            registry,
            settings,
        }
    }
}

/// One core of the engine.
struct OneCore {
    cores: Rc<RefCell<DrivenCores<SimKernel>>>,
    index: usize,
    is_running: Rc<RefCell<bool>>,
}

impl Core for OneCore {
    fn turn(&mut self, _now: u64) {
        let is_running = self.cores.borrow_mut().turn(self.index).expect("the kernel serves");
        *self.is_running.borrow_mut() = is_running;
    }
}

/// An answer that a request must get.
#[derive(Debug)]
struct Expected {
    status: u16,
    body: Option<String>,
}

/// A caller: what it sends, and what it must hear.
struct Caller {
    client: Option<SimClient>,
    bytes: Vec<u8>,
    sent: usize,
    heard: Vec<u8>,
    expected: VecDeque<Expected>,
    /// It will reset its connection after so many bytes.
    resets_after: Option<usize>,
    /// It says that it sends nothing more once it has all its answers.
    half_closes: bool,
    has_shut_down: bool,
    is_done: bool,
}

impl Caller {
    fn new(model: &Model, client: SimClient, random: &mut Random) -> Caller {
        let (mut bytes, mut expected) = (Vec::new(), VecDeque::new());
        for number in 0..1 + random.below(12) {
            let (request, answer) = request(model, number, random);
            bytes.extend(request);
            expected.push_back(answer);
        }
        let resets_after = random.one_in(5).then(|| random.below(bytes.len() + 1));
        Caller {
            client: Some(client),
            bytes,
            sent: 0,
            heard: Vec::new(),
            expected,
            resets_after,
            half_closes: random.one_in(2),
            has_shut_down: false,
            is_done: false,
        }
    }

    fn go_on(&mut self, random: &mut Random) {
        if self.resets_after.is_some_and(|count| self.sent >= count)
            && let Some(client) = self.client.take()
        {
            self.is_done = true;
            return client.reset();
        }
        let Some(client) = &mut self.client else { return };
        if random.one_in(2) && self.sent < self.bytes.len() {
            let most = self.bytes.len().min(self.sent + 1 + random.below(4000));
            self.sent += client.send(&self.bytes[self.sent..most]).expect("nobody resets it");
        }
        if random.one_in(2) {
            match client.receive(&mut self.heard) {
                Heard::End => assert!(self.has_shut_down, "its connection ends: {:?}", self.expected),
                Heard::Reset => panic!("nobody resets it"),
                Heard::Bytes | Heard::Nothing => {}
            }
            self.check();
        }
        let client = self.client.as_mut().expect("it has not been reset");
        if self.expected.is_empty() && self.sent == self.bytes.len() {
            assert!(self.heard.is_empty(), "more than one answer to a request");
            if self.half_closes && !self.has_shut_down {
                self.has_shut_down = true;
                client.shutdown_write();
            } else {
                self.client = None;
                self.is_done = true;
            }
        }
    }

    /// Takes the answers that are complete, and compares them.
    fn check(&mut self) {
        while let Some((status, body, length)) = response(&self.heard) {
            self.heard.drain(..length);
            let expected = self.expected.pop_front().expect("an answer to no request");
            assert_eq!(status, expected.status, "{body}");
            if let Some(text) = expected.body {
                assert_eq!(body, text, "another request's answer");
            }
        }
    }
}

/// A request, and the answer that it must get.
fn request(model: &Model, number: usize, random: &mut Random) -> (Vec<u8>, Expected) {
    let host = "Host: a\r\n";
    let id = random.next();
    let magnitude = random.below(16);
    let body = "x".repeat(random.below(1 << magnitude));
    let length = body.len();
    match random.below(6) {
        0 => {
            let text =
                format!("POST {} HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n{body}", model.plain);
            (text.into_bytes(), Expected { status: 200, body: Some(r#"{"success":true}"#.into()) })
        }
        1 => {
            let size = format!("{length:x}\r\n");
            let chunk = if length > 0 { format!("{size}{body}\r\n") } else { String::new() };
            let head =
                format!("PUT {}/{number} HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n", model.echo);
            let text = format!("{head}{chunk}0\r\n\r\n");
            (text.into_bytes(), Expected { status: 200, body: Some(format!("/{number}")) })
        }
        2 | 3 => {
            let text = format!("GET {}/{id} HTTP/1.1\r\n{host}\r\n", model.echo);
            (text.into_bytes(), Expected { status: 200, body: Some(format!("/{id}")) })
        }
        4 if random.one_in(4) => {
            let text =
                format!("POST {} HTTP/1.1\r\n{host}Content-Length: {length}\r\n\r\n{body}", model.silent);
            (text.into_bytes(), Expected { status: 504, body: None })
        }
        4 => (format!("GET /none HTTP/1.1\r\n{host}\r\n").into_bytes(), Expected { status: 404, body: None }),
        _ => (
            format!("GET /healthz HTTP/1.1\r\n{host}\r\n").into_bytes(),
            Expected { status: 200, body: None },
        ),
    }
}

/// The first response in `bytes`, if it is complete: status, body, length in all.
fn response(bytes: &[u8]) -> Option<(u16, String, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII").to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let body = bytes.get(head..head + length)?;
    Some((status, String::from_utf8(body.to_vec()).expect("these bodies are text"), head + length))
}

#[test]
fn every_request_gets_its_own_answer_in_order_and_nothing_is_kept() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let model = Model::new();
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| simulate(&model, seed))) {
            eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
            resume_unwind(failure);
        }
    }
}

fn simulate(model: &Model, seed: u64) {
    let mut random = Random(seed ^ 0x5EED);
    let capacity_max = 1 << (8 + random.below(10));
    let world = World::new(seed, Config { capacity_max, ..Config::default() });
    let kernels = (0..1 + random.below(4)).map(|_| DrivenKernel {
        io: world.kernel(),
        ingress: world.listener(INGRESS),
        workers: world.listener(WORKERS),
        journal: None,
    });
    let kernels: Vec<_> = kernels.collect();
    let count = kernels.len();
    let clock_world = world.clone();
    let metrics = Metrics::new(count);
    let kept = Arc::new(Kept(Shelf::new(BookLimits { bytes: 1 << 26, age_millis: u64::MAX })));
    let config = DrivenConfig {
        settings: &model.settings,
        access_token: ACCESS_TOKEN,
        registry: &model.registry,
        metrics: &metrics,
        services: Services {
            records: Arc::clone(&kept) as Arc<dyn RecordSink>,
            ..Services::with_chains(Arc::new(NoChains))
        },
        tls: None,
        keeper: None,
        seed: 1,
        clock: Rc::new(move || {
            let nanos = clock_world.now();
            Now { nanos, unix_millis: UNIX_MILLIS + nanos / 1_000_000 }
        }),
    };
    let cores = Rc::new(RefCell::new(DrivenCores::new(&config, kernels).expect("the kernels serve")));
    let running: Vec<_> = (0..count).map(|_| Rc::new(RefCell::new(true))).collect();
    let one =
        |index: usize| OneCore { cores: Rc::clone(&cores), index, is_running: Rc::clone(&running[index]) };
    let mut driver = Driver::new(world.clone(), (0..count).map(one).collect());
    // Listening begins with the first turn.
    (0..count).for_each(|index| driver.cores[index].turn(0));
    let wanted = 1 + random.below(20);
    let (mut callers, mut sockets): (Vec<Caller>, Vec<WebSocketCaller>) = (Vec::new(), Vec::new());
    let is_done = |callers: &[Caller], sockets: &[WebSocketCaller]| {
        callers.len() + sockets.len() == wanted
            && callers.iter().all(|caller| caller.is_done)
            && sockets.iter().all(|socket| socket.is_done)
    };
    for _ in 0..STEPS_MAX {
        if callers.len() + sockets.len() < wanted
            && random.one_in(20)
            && let Some(client) = world.connect(INGRESS, None)
        {
            if random.one_in(3) {
                sockets.push(WebSocketCaller::new(&model.socket, client, &mut random));
            } else {
                callers.push(Caller::new(model, client, &mut random));
            }
        }
        driver.step(world.now() + STEP_NANOS);
        callers.iter_mut().for_each(|caller| caller.go_on(&mut random));
        sockets.iter_mut().for_each(|socket| socket.go_on(&mut random));
        if is_done(&callers, &sockets) {
            break;
        }
    }
    assert!(is_done(&callers, &sockets), "a caller waits for ever");
    // What is left is closed, and all that was taken is given back.
    let open = || (0..count).map(|core| world.open_sockets(core)).sum::<usize>();
    for _ in 0..STEPS_MAX {
        if open() == 0 && cores.borrow().connections() == 0 {
            break;
        }
        driver.step(world.now() + STEP_NANOS);
    }
    assert_eq!((open(), cores.borrow().connections()), (0, 0), "a socket is never closed");
    for core in 0..count {
        let holdings = cores.borrow().holdings(core);
        assert_eq!(Holdings { timers: 0, ..holdings }, Holdings::default(), "core {core} keeps something");
        assert_eq!(world.lent_buffers(core), 0, "core {core} keeps a buffer");
        let numbers = metrics.core(core).expect("its counters").numbers();
        assert_eq!((numbers.waiting(), numbers.event(tidegate::metrics::Event::Panic)), (0, 0));
    }
    assert!(cores.borrow().drain());
    for _ in 0..STEPS_MAX {
        if running.iter().all(|running| !*running.borrow()) {
            return every_record_has_its_end(&kept.0, model);
        }
        driver.step(world.now() + STEP_NANOS);
    }
    panic!("a core does not end");
}

/// What was recorded of a call ends as the call does: with its answer, or with its caller's leaving.
fn every_record_has_its_end(shelf: &Shelf, model: &Model) {
    for webhook in model.webhooks {
        let records = shelf.page(webhook, &RecordQuery::default(), 0, usize::MAX).records;
        assert!(records.len() <= 100);
        assert!(records.windows(2).all(|pair| pair[0].unix_millis() >= pair[1].unix_millis()));
        for record in &records {
            assert!(record.call().is_some() && record.answer().is_some(), "a record without an end");
        }
        let last = shelf.book().last_call(webhook);
        let newest = records.iter().filter(|record| record.call().is_some_and(|call| !call.is_sent));
        assert!(newest.map(|record| record.unix_millis()).max() <= last);
    }
}

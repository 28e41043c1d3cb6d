//! Forwarding on the whole engine and a simulated kernel, from a seed: targets that answer, fail, ask for a pause, are gone,
//! take their time, answer twice or never; messages to NATS; callers that wait and callers that do not.
//!
//! What holds after each run: every trigger that was answered 2xx is delivered or in the dead letters; triggers with one key
//! are delivered in order; a node behind a delivery runs for those that are done alone; a caller that waits gets its own
//! target's answer, or why there is none, whole or while it is received, and can tell one that broke off from a whole one;
//! nothing is kept.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone.

#[path = "whole/driver.rs"]
mod driver;
#[path = "whole/kernel/mod.rs"]
mod kernel;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use driver::{Core, Driver};
use kernel::{Config, Heard, Random, SimClient, SimKernel, World};
use serde_json::{Value, json};
use tidegate::base::clock::Now;
use tidegate::deliver::publication::publication;
use tidegate::deliver::request::request;
use tidegate::engine::{
    Attempt, AttemptError, AttemptReport, AttemptResult, BegunAnswer, ChainSource, DeadLetter, DeadLetters,
    DrivenConfig, DrivenCores, DrivenKernel, Fetched, Forwarder, Holdings, LetterReport, NoCluster, Services,
    TargetAnswer,
};
use tidegate::metrics::Metrics;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::{Defaults, Registry, TargetNode};
use tidegate::reply::{STREAM_BYTES_MAX, StreamRefused, StreamWriter, stream};
use tidegate::settings::Settings;
use tidegate::store::Store;
use tidegate::verify::alexa::ChainUrl;

/// Seeds that are run where the environment does not say.
const SEEDS: u64 = 60;
const INGRESS: u16 = 1;
const WORKERS: u16 = 2;
/// A simulation that has more to do than this will never end.
const STEPS_MAX: usize = 2_000_000;
/// The longest that virtual time moves at once.
const STEP_NANOS: u64 = 50_000_000;
const UNIX_MILLIS: u64 = 1_771_521_960_000;
const SECOND: u64 = 1_000_000_000;
/// Bytes that a reply may have: less than some targets have.
const REPLY_BYTES_MAX: usize = 200_000;

struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}

    fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: tidegate::engine::KeysFetched) {}
}

/// What cores have asked for and a step of the simulation has not seen.
#[derive(Default)]
struct Outside {
    attempts: Mutex<Vec<Attempt>>,
    letters: Mutex<Vec<(Arc<DeadLetter>, LetterReport)>>,
}

impl Forwarder for Outside {
    fn send(&self, attempt: Attempt) {
        self.attempts.lock().unwrap().push(attempt);
    }
}

impl DeadLetters for Outside {
    fn keep(&self, letter: Arc<DeadLetter>, report: LetterReport) {
        self.letters.lock().unwrap().push((letter, report));
    }
}

/// Webhooks and flows; the same for all seeds.
struct Model {
    registry: Arc<Registry>,
    settings: Settings,
    /// Answers at once; three nodes forward, one of them in order of `?key`, and one behind it.
    plain: String,
    /// Waits for a target.
    waits: String,
}

impl Model {
    fn new() -> Model {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a new store");
        let mut settings = Settings::defaults(4);
        settings.journal.retention_seconds = 600;
        let application = Application::create(&json!({"name": "a"}), UNIX_MILLIS).expect("a name");
        let owner = application.id;
        store.insert_application(application).expect("a new application");
        let webhook = |waits: bool| {
            let limits = json!({
                "requestsPerWindow": 0, "concurrency": 0, "replyTimeoutSeconds": 20, "payloadBytes": REPLY_BYTES_MAX,
            });
            let body = json!({"name": "w", "limits": limits, "waitForReply": waits});
            let webhook = Webhook::create(&body, owner, UNIX_MILLIS).expect("a good webhook");
            store.insert_webhook(webhook.clone()).expect("a new webhook");
            webhook
        };
        let (plain, waits) = (webhook(false), webhook(true));
        let forward = |id: &str, more: Value, behind: Value| {
            let mut config = json!({"url": format!("http://{id}/"), "timeoutSeconds": 5});
            config.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
            json!({"id": id, "type": "HttpForwardNode", "config": config, "outputIds": behind})
        };
        let flow = |webhook: &Webhook, first: Value, nodes: Value| {
            let trigger = json!({"type": "webhook", "key": webhook.id.to_string(), "outputIds": [first]});
            let body = json!({"name": "f", "triggers": [trigger], "nodes": nodes});
            store
                .insert_flow(Flow::create(&body, owner, UNIX_MILLIS).expect("a good flow"))
                .expect("a new flow");
        };
        let ordered = json!({"ordered": true, "orderKey": "{{data.query.key}}"});
        flow(
            &plain,
            json!(["ordered", "few", "publish"]),
            json!([
                forward("ordered", ordered, json!([["behind"]])),
                forward("few", json!({"maxInFlight": 2, "retry": {"attempts": 4}}), json!([])),
                forward("behind", json!({"requestsPerSecond": 20}), json!([])),
                {"id": "publish", "type": "NatsNode", "config": {"subject": "orders.{{data.query.key}}"}},
            ]),
        );
        flow(&waits, json!(["waits"]), json!([forward("waits", json!({}), json!([]))]));
        let registry = Arc::new(Registry::new(Defaults::new(4, &settings.limits)));
        registry.load(&store, Now { nanos: 0, unix_millis: UNIX_MILLIS }).expect("the model can be read");
        let target =
            |webhook: &Webhook| format!("/webhooks/{}", webhook.to_api()["token"].as_str().expect("a token"));
        Model { plain: target(&plain), waits: target(&waits), registry, settings }
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

/// A caller that sends one request after the other; each has a number of its own.
struct Caller {
    client: SimClient,
    key: usize,
    left: usize,
    /// The request that has no answer yet, and whether its caller waits for a target.
    pending: Option<(usize, bool)>,
    unsent: Vec<u8>,
    heard: Vec<u8>,
    /// It leaves within an answer.
    has_gone: bool,
}

/// What is known of all calls.
#[derive(Default)]
struct Known {
    calls: usize,
    /// The calls to the webhook that does not wait, which were answered 200: their keys.
    accepted: BTreeMap<usize, usize>,
    /// Of each node the calls that it has delivered, in order.
    delivered: BTreeMap<String, Vec<usize>>,
    /// Of each node the calls that it has given up.
    dead: BTreeMap<String, BTreeSet<usize>>,
    /// Of each waiting call the answer that its target gave.
    answers: BTreeMap<usize, u16>,
    /// Of each waiting call whose answer was passed on while it was received: its body, and whether it was whole.
    streams: BTreeMap<usize, Streamed>,
    /// Answers that broke off, as callers saw them, and callers that left within an answer.
    cuts: usize,
    left: usize,
    whole: usize,
}

/// An answer that is passed on while it is received.
#[derive(Clone)]
struct Streamed {
    body: Vec<u8>,
    is_whole: bool,
}

impl Caller {
    fn go_on(&mut self, model: &Model, known: &mut Known, random: &mut Random) {
        if self.pending.is_none() && self.left > 0 {
            self.left -= 1;
            let waits = random.one_in(3);
            let target = if waits { &model.waits } else { &model.plain };
            let (number, key) = (known.calls, self.key);
            known.calls += 1;
            let text = format!("GET {target}?number={number}&key={key} HTTP/1.1\r\nHost: a\r\n\r\n");
            self.unsent = text.into_bytes();
            self.pending = Some((number, waits));
        }
        if let Some(sent) = self.client.send(&self.unsent) {
            self.unsent.drain(..sent);
        }
        if self.pending.is_none() {
            return;
        }
        let has_ended = matches!(self.client.receive(&mut self.heard), Heard::End | Heard::Reset);
        let (end, received) = match response(&self.heard) {
            Received::Nothing if has_ended => panic!("closed without an answer"),
            Received::Nothing => return,
            Received::Part(head) if has_ended => {
                // It broke off: what arrived is the beginning of what the target said.
                let (number, waits) = self.pending.take().expect("an answer to no request");
                let streamed = known.streams.get(&number).expect("an answer that was passed on");
                assert!(waits && streamed.body.starts_with(&head.body), "other bytes than the target's");
                assert!(!streamed.is_whole, "a whole answer was cut");
                known.cuts += 1;
                self.left = 0;
                return;
            }
            Received::Part(_) => {
                if matches!(self.pending, Some((_, true))) && random.one_in(500) {
                    known.left += 1;
                    self.pending = None;
                    self.left = 0;
                    self.has_gone = true;
                }
                return;
            }
            Received::Whole(head, end) => (end, head),
        };
        self.heard.drain(..end);
        let status = received.status;
        let (number, waits) = self.pending.take().expect("an answer to no request");
        if waits {
            match (known.answers.get(&number), known.streams.get(&number)) {
                (Some(answer), Some(streamed)) if status == *answer && !received.body.is_empty() => {
                    assert!(streamed.is_whole, "an answer that broke off passed for a whole one");
                    assert_eq!(received.body, streamed.body, "other bytes than the target's");
                    known.whole += 1;
                }
                (Some(_), Some(_)) => {
                    assert!(status == 504 || status == 502, "{status} for a streamed answer")
                }
                (Some(answer), None) => assert_eq!(status, *answer, "another answer than the target's"),
                // Its result came too late, or never.
                (None, _) => assert!(status == 504 || status == 502, "{status} without an answer"),
            }
        } else {
            assert_eq!(status, 200);
            known.accepted.insert(number, self.key);
        }
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.pending.is_none()
    }
}

/// A response, or what there is of it.
struct Response {
    status: u16,
    body: Vec<u8>,
}

enum Received {
    Nothing,
    Part(Response),
    /// With the bytes that it has.
    Whole(Response, usize),
}

/// The first response.
fn response(bytes: &[u8]) -> Received {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else {
        return Received::Nothing;
    };
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII").to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut response = Response { status, body: Vec::new() };
    if !text.contains("\r\ntransfer-encoding: chunked\r\n") {
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse::<usize>().expect("a length"));
        response.body = bytes[head..].iter().copied().take(length).collect();
        return if response.body.len() == length {
            Received::Whole(response, head + length)
        } else {
            Received::Part(response)
        };
    }
    let mut at = head;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|window| window == b"\r\n") else {
            return Received::Part(response);
        };
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("a size is ASCII");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2;
        let there = (bytes.len() - at).min(size);
        response.body.extend_from_slice(&bytes[at..at + there]);
        if bytes.len() - at < size + 2 {
            return Received::Part(response);
        }
        assert_eq!(&bytes[at + size..at + size + 2], b"\r\n", "a chunk ends with its line");
        at += size + 2;
        if size == 0 {
            return Received::Whole(response, at);
        }
    }
}

/// An answer that is passed on to its caller piece by piece.
struct Streaming {
    at: u64,
    report: AttemptReport,
    begun: Option<Box<BegunAnswer>>,
    /// None once its body has ended.
    writer: Option<StreamWriter>,
    pieces: VecDeque<Vec<u8>>,
    /// Its target breaks off behind the pieces.
    breaks_off: bool,
    result: Option<AttemptResult>,
}

impl Streaming {
    /// Takes a step; false: it is over.
    fn go_on(&mut self, now: u64, random: &mut Random) -> bool {
        if self.at > now {
            return true;
        }
        self.at = now + random.below(200) as u64 * 1_000_000;
        if let Some(begun) = self.begun.take() {
            self.begun = self.report.begin(begun).err();
            return true;
        }
        if let Some(writer) = self.writer.take() {
            let ok = AttemptResult::Answered(TargetAnswer { status: 200, ..TargetAnswer::default() });
            let room = pin!(writer.room()).poll(&mut Context::from_waker(Waker::noop()));
            match room {
                Poll::Pending => {}
                Poll::Ready(false) => {
                    self.result = Some(ok);
                    return true;
                }
                Poll::Ready(true) => match self.pieces.pop_front() {
                    Some(piece) => {
                        if writer.push(piece.into()) == Err(StreamRefused::TooLarge) {
                            self.result = Some(AttemptResult::Failed(AttemptError::TooLarge));
                            return true;
                        }
                    }
                    None if self.breaks_off => {
                        let broken = AttemptError::Broken("it broke off".to_owned());
                        self.result = Some(AttemptResult::Failed(broken));
                        return true;
                    }
                    None => {
                        writer.finish();
                        self.result = Some(ok);
                        return true;
                    }
                },
            }
            self.writer = Some(writer);
            return true;
        }
        let Some(result) = self.result.take() else { return false };
        self.result = self.report.report(result).err();
        self.result.is_some()
    }
}

/// A result on its way to a core.
struct Answered {
    at: u64,
    report: AttemptReport,
    result: AttemptResult,
}

/// The targets, and whoever keeps dead letters.
struct Targets {
    outside: Arc<Outside>,
    answers: VecDeque<Answered>,
    streams: Vec<Streaming>,
    /// Targets do well from now on.
    is_healed: bool,
}

impl Targets {
    fn go_on(&mut self, now: u64, known: &mut Known, random: &mut Random) {
        let attempts = std::mem::take(&mut *self.outside.attempts.lock().unwrap());
        for attempt in attempts {
            self.take(attempt, now, known, random);
        }
        let mut left = VecDeque::new();
        for answered in self.answers.drain(..) {
            if answered.at > now {
                left.push_back(answered);
            } else if let Err(result) = answered.report.report(answered.result) {
                left.push_back(Answered { at: now + 1, report: answered.report, result });
            }
        }
        self.answers = left;
        self.streams.retain_mut(|streaming| streaming.go_on(now, random));
        let letters = std::mem::take(&mut *self.outside.letters.lock().unwrap());
        for (letter, report) in letters {
            let is_kept = self.is_healed || random.one_in(2);
            // A report that is lost has the letter offered again.
            if is_kept && random.one_in(8) && !self.is_healed {
                continue;
            }
            if is_kept {
                let number = number_of(&letter.payload);
                known.dead.entry(letter.node.to_string()).or_default().insert(number);
            }
            report.report(is_kept);
        }
    }

    fn take(&mut self, attempt: Attempt, now: u64, known: &mut Known, random: &mut Random) {
        let node = match &attempt.node {
            TargetNode::Http(node) => {
                request(node, &attempt.payload, &attempt.id, 1, 1).expect("a request can be made");
                node.target.trim_start_matches("http://").to_owned()
            }
            TargetNode::Nats(node) => {
                let made = publication(node, &attempt.payload, "tidegate").expect("a message can be made");
                assert!(made.subject.starts_with("orders."), "{}", made.subject);
                "publish".to_owned()
            }
        };
        let is_nats = matches!(attempt.node, TargetNode::Nats(_));
        let number = number_of(&attempt.payload);
        let waits = attempt.reply_bytes_max.is_some();
        let fate = if self.is_healed { 0 } else { random.below(12) };
        let (status, retry_after_nanos) = match fate {
            0..=4 => (200, None),
            5 | 6 => (500, None),
            7 => (410, None),
            8 => (429, Some(random.below(3) as u64 * SECOND)),
            // Its result is lost.
            9 if random.one_in(4) => return,
            _ => {
                let at = now + random.below(4_000) as u64 * 1_000_000;
                let result = AttemptResult::Failed(AttemptError::Connect("refused".to_owned()));
                return self.answers.push_back(Answered { at, report: attempt.report, result });
            }
        };
        let at = now + random.below(4_000) as u64 * 1_000_000;
        if status == 200 && !waits {
            known.delivered.entry(node).or_default().push(number);
        }
        if waits {
            known.answers.insert(number, status);
        }
        if is_nats {
            let refused = AttemptError::Refused("no stream".to_owned());
            let result =
                if status == 200 { AttemptResult::Published } else { AttemptResult::Failed(refused) };
            return self.answers.push_back(Answered { at, report: attempt.report, result });
        }
        let answer = TargetAnswer { status, retry_after_nanos, ..TargetAnswer::default() };
        if waits && random.one_in(2) {
            return self.pass_on(attempt, number, answer, at, known, random);
        }
        self.answers.push_back(Answered {
            at,
            report: attempt.report,
            result: AttemptResult::Answered(answer),
        });
    }
}

impl Targets {
    /// Has an answer passed on while it is received.
    fn pass_on(
        &mut self,
        attempt: Attempt,
        number: usize,
        answer: TargetAnswer,
        at: u64,
        known: &mut Known,
        random: &mut Random,
    ) {
        let length = match random.below(4) {
            0 | 1 => 1 + random.below(100),
            2 => 1 + random.below(REPLY_BYTES_MAX),
            _ => REPLY_BYTES_MAX - 5_000 + random.below(10_000),
        };
        let body: Vec<u8> = (0..length).map(|at| (at * 31 + number) as u8).collect();
        let bytes_max = attempt.reply_bytes_max.expect("a caller waits");
        // One whose length is known and over the limit is refused as a whole.
        let declared = (length <= bytes_max && random.one_in(2)).then_some(length as u64);
        let breaks_off = random.one_in(4);
        let first = random.below(length.min(100));
        let mut rest = &body[first..if breaks_off { first + random.below(length - first) } else { length }];
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(1 + random.below(rest.len().min(STREAM_BYTES_MAX)));
            pieces.push_back(piece.to_vec());
            rest = left;
        }
        let (writer, stream) = stream(first, declared, bytes_max);
        let answer = TargetAnswer { body: body[..first].to_vec().into(), ..answer };
        let begun = Some(Box::new(BegunAnswer { answer, stream, watch: writer.watch() }));
        known.streams.insert(number, Streamed { is_whole: !breaks_off && length <= bytes_max, body });
        let (report, writer) = (attempt.report, Some(writer));
        self.streams.push(Streaming { at, report, begun, writer, pieces, breaks_off, result: None });
    }
}

fn number_of(payload: &tidegate::trigger::Payload) -> usize {
    let mut bytes = Vec::new();
    payload.write(&mut bytes);
    let payload: Value = serde_json::from_slice(&bytes).expect("JSON");
    payload["data"]["query"]["number"].as_str().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn every_trigger_that_was_accepted_is_delivered_or_a_dead_letter() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let model = Model::new();
    let mut totals = Totals::default();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| simulate(&model, seed, &mut totals))) {
            eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
            resume_unwind(failure);
        }
    }
    if count >= SEEDS {
        assert!(
            totals.whole > 20 && totals.cuts > 5 && totals.left > 5,
            "some things are never tried: {totals:?}"
        );
    }
}

/// How often callers saw what, over all seeds.
#[derive(Debug, Default)]
struct Totals {
    whole: usize,
    cuts: usize,
    left: usize,
}

fn simulate(model: &Model, seed: u64, totals: &mut Totals) {
    let mut random = Random(seed ^ 0xF0_4A_2D);
    let world = World::new(seed, Config { capacity_max: 1 << 16, ..Config::default() });
    let kernels = (0..1 + random.below(3)).map(|_| DrivenKernel {
        io: world.kernel(),
        ingress: world.listener(INGRESS),
        workers: world.listener(WORKERS),
        journal: None,
    });
    let kernels: Vec<_> = kernels.collect();
    let count = kernels.len();
    let clock_world = world.clone();
    let metrics = Metrics::new(count);
    let outside = Arc::new(Outside::default());
    let config = DrivenConfig {
        settings: &model.settings,
        access_token: "whole-engine-access-token",
        registry: &model.registry,
        metrics: &metrics,
        services: Services {
            chains: Arc::new(NoChains),
            forwarder: Arc::clone(&outside) as Arc<dyn Forwarder>,
            dead_letters: Arc::clone(&outside) as Arc<dyn DeadLetters>,
            permits: Arc::new(NoCluster),
            keys: None,
            remote: Arc::new(NoCluster),
            node: None,
            links: None,
            calls: None,
            records: Arc::new(tidegate::record::NoRecords),
        },
        tls: None,
        keeper: None,
        seed,
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
    (0..count).for_each(|index| driver.cores[index].turn(0));
    let mut targets = Targets { outside, answers: VecDeque::new(), streams: Vec::new(), is_healed: false };
    let mut known = Known::default();
    let mut callers: Vec<Caller> = Vec::new();
    let mut wanted = 1 + random.below(6);
    for _ in 0..STEPS_MAX {
        if callers.len() < wanted
            && random.one_in(10)
            && let Some(client) = world.connect(INGRESS, None)
        {
            let (key, left) = (callers.len(), 1 + random.below(10));
            let (unsent, heard) = (Vec::new(), Vec::new());
            callers.push(Caller { client, key, left, pending: None, unsent, heard, has_gone: false });
        }
        driver.step(world.now() + STEP_NANOS);
        callers.iter_mut().for_each(|caller| caller.go_on(model, &mut known, &mut random));
        let before = callers.len();
        callers.retain(|caller| !caller.has_gone);
        wanted -= before - callers.len();
        targets.go_on(world.now(), &mut known, &mut random);
        if callers.len() == wanted && callers.iter().all(Caller::is_done) {
            break;
        }
    }
    assert!(callers.len() == wanted && callers.iter().all(Caller::is_done), "a caller waits for ever");
    callers.clear();
    targets.is_healed = random.one_in(2);
    let open = || (0..count).map(|core| cores.borrow().holdings(core).unacked_triggers).sum::<usize>();
    for _ in 0..STEPS_MAX {
        if open() == 0 && cores.borrow().connections() == 0 {
            break;
        }
        driver.step(world.now() + STEP_NANOS);
        targets.go_on(world.now(), &mut known, &mut random);
    }
    assert_eq!(open(), 0, "a trigger is never done");
    check(&known);
    totals.cuts += known.cuts;
    totals.left += known.left;
    totals.whole += known.whole;
    for core in 0..count {
        let holdings = cores.borrow().holdings(core);
        assert_eq!(Holdings { timers: 0, ..holdings }, Holdings::default(), "core {core} keeps something");
    }
    assert!(cores.borrow().drain());
    for _ in 0..STEPS_MAX {
        if running.iter().all(|running| !*running.borrow()) {
            return;
        }
        driver.step(world.now() + STEP_NANOS);
    }
    panic!("a core does not end");
}

fn check(known: &Known) {
    let nothing = (Vec::new(), BTreeSet::new());
    let delivered = |node: &str| known.delivered.get(node).unwrap_or(&nothing.0);
    let dead = |node: &str| known.dead.get(node).unwrap_or(&nothing.1);
    for node in ["ordered", "few", "publish"] {
        for number in known.accepted.keys() {
            assert!(delivered(node).contains(number) || dead(node).contains(number), "{node} lost {number}");
        }
        let all = delivered(node).iter().chain(dead(node));
        assert!(all.into_iter().all(|number| known.accepted.contains_key(number)), "{node} has one too many");
    }
    for number in delivered("behind").iter().chain(dead("behind")) {
        assert!(delivered("ordered").contains(number), "{number} ran behind a delivery that is not done");
    }
    for number in delivered("ordered") {
        let ran = delivered("behind").contains(number) || dead("behind").contains(number);
        // One whose result was lost may have died after all.
        assert!(ran || dead("ordered").contains(number), "nothing ran behind {number}");
    }
    // The first delivery of each: a repeat may come late.
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for number in delivered("ordered").iter().filter(|number| seen.insert(**number)) {
        let key = known.accepted[number];
        let before = last.insert(key, *number);
        assert!(before.is_none_or(|before| before < *number), "{number} overtook {before:?} of {key}");
    }
}

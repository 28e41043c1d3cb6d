//! The whole engine on a simulated kernel, from a seed: callers that wait, workers that reply once, twice or never and leave,
//! replies from outside, limits that change, over plain connections, behind a PROXY header and with TLS.
//!
//! What holds: the first reply wins and goes to the caller that it is for; no window of a webhook has more calls than its
//! limit and no more of them wait than may, whichever core took them; nobody is refused below a limit; nothing that is refused
//! is a trigger; in the end nothing is left. All of it is seen from outside, by the texts and times of what comes out.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone.

#[path = "whole/driver.rs"]
mod driver;
#[path = "whole/kernel/mod.rs"]
mod kernel;
#[path = "whole/ledger.rs"]
mod ledger;
#[path = "whole/model.rs"]
mod model;
#[path = "whole/replier.rs"]
mod replier;
#[path = "whole/transport.rs"]
mod transport;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use driver::{Core, Driver};
use kernel::{Config, Heard, Random, SimKernel, World};
use ledger::{Kind, Ledger};
use model::{GUARDED, Model, TEMPLATED, UNAWAITED, WEBHOOKS, WORKED};
use replier::{Replier, Told};
use tidegate::base::clock::Now;
use tidegate::engine::{
    ChainSource, DrivenConfig, DrivenCores, DrivenKernel, Fetched, Holdings, KeysFetched, Outcome, Services,
};
use tidegate::metrics::{Event, Metrics};
use tidegate::registry::{Defaults, Registry};
use tidegate::reply::parse_body;
use tidegate::settings::Settings;
use tidegate::store::Affected;
use tidegate::verify::alexa::ChainUrl;
use transport::{Tls, Transport};

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
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
/// `u:p`, as `Authorization: Basic` has it.
const CREDENTIALS: &str = "dTpw";

struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}

    fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: KeysFetched) {}
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

/// A caller: the requests that it pipelines, and its answers.
struct Caller {
    transport: Option<Transport>,
    /// Requests that are not sent yet, with their calls.
    left: VecDeque<(usize, Vec<u8>)>,
    outstanding: VecDeque<usize>,
    heard: Vec<u8>,
    /// It resets its connection with so many requests left.
    resets_at: Option<usize>,
}

/// A simulation that is under way.
struct Play<'a> {
    random: Random,
    model: Model,
    registry: Arc<Registry>,
    cores: Rc<RefCell<DrivenCores<SimKernel>>>,
    ledger: Ledger,
    callers: Vec<Caller>,
    workers: Vec<Replier>,
    /// The call of each `replyId`.
    reply_ids: BTreeMap<String, usize>,
    /// Replies to a call over a worker's connection, in order: their results come so.
    unsettled: BTreeMap<(usize, String), VecDeque<String>>,
    /// What became of replies from outside: call, text, outcome.
    outcomes: Arc<Mutex<Vec<(usize, String, bool)>>>,
    outside: usize,
    tls: Option<&'a Tls>,
    is_proxied: bool,
}

#[test]
fn the_first_reply_wins_limits_are_exact_and_nothing_is_left() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let tls = Tls::new();
    let mut seen = Seen::default();
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| simulate(seed, &tls))) {
            Ok(of_seed) => seen.add(&of_seed),
            Err(failure) => {
                eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
                resume_unwind(failure);
            }
        }
    }
    println!("{seen:?}");
    // The simulation would prove little if nothing of a kind ever happened.
    let Seen { worker, outside, template, over_rate, over_concurrency, timed_out, abandoned } = seen;
    let all = [worker, outside, template, over_rate, over_concurrency, timed_out, abandoned];
    assert!(seeds.end - seeds.start < 100 || all.iter().all(|count| *count > 10), "{all:?}");
}

/// How many calls ended how.
#[derive(Debug, Default)]
struct Seen {
    worker: usize,
    outside: usize,
    template: usize,
    over_rate: usize,
    over_concurrency: usize,
    timed_out: usize,
    abandoned: usize,
}

impl Seen {
    fn add(&mut self, other: &Seen) {
        self.worker += other.worker;
        self.outside += other.outside;
        self.template += other.template;
        self.over_rate += other.over_rate;
        self.over_concurrency += other.over_concurrency;
        self.timed_out += other.timed_out;
        self.abandoned += other.abandoned;
    }
}

fn simulate(seed: u64, tls: &Tls) -> Seen {
    let mut random = Random(seed ^ 0x5EED);
    let world = World::new(seed, Config { capacity_max: 1 << (9 + random.below(9)), ..Config::default() });
    let tls = random.one_in(3).then_some(tls);
    let is_proxied = random.one_in(3);
    let model = Model::new(&mut random);
    let mut settings = Settings::defaults(4);
    settings.ingress.proxy_protocol = is_proxied;
    settings.ingress.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let kernels = (0..1 + random.below(4)).map(|_| DrivenKernel {
        io: world.kernel(),
        ingress: world.listener(INGRESS),
        workers: world.listener(WORKERS),
        journal: None,
    });
    let kernels: Vec<_> = kernels.collect();
    let count = kernels.len();
    let registry = Arc::new(Registry::new(Defaults::new(count, &settings.limits)));
    registry.load(&model, now(0)).expect("a model in memory can always be read");
    let clock_world = world.clone();
    let metrics = Metrics::new(count);
    let config = DrivenConfig {
        settings: &settings,
        access_token: ACCESS_TOKEN,
        registry: &registry,
        metrics: &metrics,
        services: Services::with_chains(Arc::new(NoChains)),
        tls: tls.map(|tls| Arc::clone(&tls.server)),
        keeper: None,
        seed,
        clock: Rc::new(move || now(clock_world.now())),
    };
    let cores = Rc::new(RefCell::new(DrivenCores::new(&config, kernels).expect("the kernels serve")));
    let running: Vec<_> = (0..count).map(|_| Rc::new(RefCell::new(true))).collect();
    let one =
        |index: usize| OneCore { cores: Rc::clone(&cores), index, is_running: Rc::clone(&running[index]) };
    let mut driver = Driver::new(world.clone(), (0..count).map(one).collect());
    // Listening begins with the first turn.
    (0..count).for_each(|index| driver.cores[index].turn(0));
    let mut play = Play {
        random,
        model,
        registry: Arc::clone(&registry),
        cores: Rc::clone(&cores),
        ledger: Ledger::default(),
        callers: Vec::new(),
        workers: Vec::new(),
        reply_ids: BTreeMap::new(),
        unsettled: BTreeMap::new(),
        outcomes: Arc::default(),
        outside: 0,
        tls,
        is_proxied,
    };
    for index in 0..WEBHOOKS {
        play.ledger.limits(index, &play.model.webhooks[index], stamp(0));
    }
    play.run(&mut driver);
    let seen = play.end(&mut driver);
    for core in 0..count {
        let holdings = cores.borrow().holdings(core);
        assert_eq!(Holdings { timers: 0, ..holdings }, Holdings::default(), "core {core} keeps something");
        assert_eq!(world.lent_buffers(core), 0, "core {core} keeps a buffer");
        let numbers = metrics.core(core).expect("its counters").numbers();
        assert_eq!((numbers.waiting(), numbers.event(Event::Panic)), (0, 0));
    }
    for webhook in &play.model.webhooks {
        assert_eq!(
            registry.by_id(webhook.id).expect("it was loaded").concurrency.held(),
            0,
            "a place is kept"
        );
    }
    assert!(cores.borrow().drain());
    for _ in 0..STEPS_MAX {
        if running.iter().all(|running| !*running.borrow()) {
            return seen;
        }
        driver.step(world.now() + STEP_NANOS);
    }
    panic!("a core does not end");
}

/// The engine's clock at a time of the simulation.
fn now(nanos: u64) -> Now {
    Now { nanos, unix_millis: UNIX_MILLIS + nanos / 1_000_000 }
}

/// A time of the simulation as payloads and the ledger have it: nanoseconds since 1970.
fn stamp(nanos: u64) -> u64 {
    UNIX_MILLIS * 1_000_000 + nanos
}

impl Play<'_> {
    /// Calls, replies and changes, in any order, until all callers have what they came for.
    fn run(&mut self, driver: &mut Driver<OneCore>) {
        let world = driver.world.clone();
        let wanted = 1 + self.random.below(16);
        for _ in 0..STEPS_MAX {
            if self.callers.len() < wanted && self.random.one_in(30) {
                self.call(&world);
            }
            if self.workers.iter().filter(|worker| !worker.is_over()).count() < 6 && self.random.one_in(60) {
                self.attach(&world, false);
            }
            if self.random.one_in(3_000) {
                self.change(stamp(world.now()));
            }
            driver.step(world.now() + STEP_NANOS);
            self.go_on(stamp(world.now()));
            if self.callers.len() == wanted && self.callers.iter().all(|caller| caller.transport.is_none()) {
                return;
            }
        }
        panic!("a caller waits for ever");
    }

    /// Diligent workers take what is left; then everybody leaves.
    fn end(&mut self, driver: &mut Driver<OneCore>) -> Seen {
        let world = driver.world.clone();
        self.workers.iter_mut().for_each(|worker| worker.leave(&mut self.random));
        for _ in 0..WEBHOOKS {
            self.attach(&world, true);
        }
        // Long enough for every wait and every ack that is overdue.
        let until = world.now() + 20_000_000_000;
        for _ in 0..STEPS_MAX {
            if world.now() >= until {
                break;
            }
            driver.step((world.now() + STEP_NANOS).min(until));
            self.go_on(stamp(world.now()));
        }
        self.workers.clear();
        let open =
            |driver: &Driver<OneCore>| (0..driver.cores.len()).map(|core| world.open_sockets(core)).sum();
        for _ in 0..STEPS_MAX {
            if (open(driver), self.cores.borrow().connections()) == (0, 0) {
                break;
            }
            driver.step(world.now() + STEP_NANOS);
        }
        assert_eq!((open(driver), self.cores.borrow().connections()), (0, 0), "a socket is never closed");
        self.hear_outcomes();
        self.ledger.check();
        self.seen()
    }

    fn seen(&self) -> Seen {
        let count = |is: &dyn Fn(u16, &str) -> bool| {
            self.ledger
                .calls
                .iter()
                .filter_map(ledger::Call::answer)
                .filter(|(code, text)| is(*code, text))
                .count()
        };
        Seen {
            worker: count(&|code, text| code == 201 && text.starts_with('w')),
            outside: count(&|code, text| code == 201 && text.starts_with('r')),
            template: count(&|code, text| code == 201 && text.starts_with('/')),
            over_rate: count(&|_, text| text.contains("Over rate limit")),
            over_concurrency: count(&|_, text| text.contains("Over concurrency limit")),
            timed_out: count(&|code, _| code == 504),
            abandoned: self.ledger.calls.iter().filter(|call| call.answer().is_none()).count(),
        }
    }

    /// A caller connects.
    fn call(&mut self, world: &World) {
        let peer = Some(PROXY);
        let Some(client) = world.connect(INGRESS, peer) else { return };
        let header: &[u8] = if self.is_proxied { b"PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n" } else { b"" };
        let count = 1 + self.random.below(10);
        let left: VecDeque<_> = (0..count).map(|_| self.request()).collect();
        let resets_at = self.random.one_in(6).then(|| self.random.below(count));
        self.callers.push(Caller {
            transport: Some(Transport::new(client, header, self.tls)),
            left,
            outstanding: VecDeque::new(),
            heard: Vec::new(),
            resets_at,
        });
    }

    /// A request to be made, and its call.
    fn request(&mut self) -> (usize, Vec<u8>) {
        let index = self.random.below(WEBHOOKS);
        let kind = match self.random.below(12) {
            0 => Kind::Unknown,
            1 if index == GUARDED => Kind::Unauthorized,
            2 => Kind::TooLarge,
            _ => Kind::Good,
        };
        let is_replied = self.model.flows[index].nodes.iter().any(|node| node.id == "r");
        let waits = [WORKED, GUARDED].contains(&index) && !is_replied;
        let call = self.ledger.planned(index, kind, waits);
        let api = self.model.webhooks[index].to_api();
        let token = if kind == Kind::Unknown { "none" } else { api["token"].as_str().expect("a token") };
        let credentials = match (index, kind) {
            (GUARDED, Kind::Unauthorized) => "Authorization: Basic eDp5\r\n".to_owned(),
            (GUARDED, _) => format!("Authorization: Basic {CREDENTIALS}\r\n"),
            _ => String::new(),
        };
        let head = format!("/webhooks/{token}/{call} HTTP/1.1\r\nHost: a\r\n{credentials}");
        let text = match kind {
            Kind::TooLarge => format!("POST {head}Content-Length: 300\r\n\r\n{}", "x".repeat(300)),
            _ => format!("GET {head}\r\n"),
        };
        (call, text.into_bytes())
    }

    /// A worker attaches to each flow in turn.
    fn attach(&mut self, world: &World, is_diligent: bool) {
        let Some(client) = world.connect(WORKERS, None) else { panic!("the workers' listener is open") };
        let number = self.workers.len();
        let flow =
            if is_diligent { number % WEBHOOKS } else { WORKED + self.random.below(WEBHOOKS - WORKED) };
        let flow = self.model.flows[flow].id.to_string();
        self.workers.push(Replier::new(client, &flow, ACCESS_TOKEN, number, is_diligent));
    }

    /// Limits of a webhook change.
    fn change(&mut self, time: u64) {
        let index = self.random.below(WEBHOOKS);
        self.model.change(index, &mut self.random);
        let changed = &self.model.webhooks[index];
        self.ledger.limits(index, changed, time);
        let affected = Affected { webhooks: vec![changed.id], ..Affected::default() };
        let at = now(time - stamp(0));
        self.registry.refresh(&self.model, &affected, at).expect("a model in memory");
        assert!(self.cores.borrow().changed(&affected), "the mailboxes have room");
    }

    /// Everybody does a little.
    fn go_on(&mut self, time: u64) {
        for number in 0..self.callers.len() {
            self.caller_goes_on(number, time);
        }
        for number in 0..self.workers.len() {
            for told in self.workers[number].go_on(&mut self.random) {
                self.hear(number, told, time);
            }
        }
        self.hear_outcomes();
    }

    fn caller_goes_on(&mut self, number: usize, time: u64) {
        let caller = &mut self.callers[number];
        let Some(transport) = &mut caller.transport else { return };
        if caller.resets_at == Some(caller.left.len()) && self.random.one_in(20) {
            caller.transport.take().expect("it is there").reset();
            return caller.give_up(&mut self.ledger, time);
        }
        if transport.is_flushed()
            && self.random.one_in(6)
            && let Some((call, bytes)) = caller.left.pop_front()
        {
            self.ledger.sent(call, time);
            caller.outstanding.push_back(call);
            transport.send(&bytes);
        }
        let is_gone = transport.flush().is_none();
        let heard = transport.receive(&mut caller.heard);
        let mut closes = false;
        while let Some((status, body, length)) = response(&caller.heard, &mut closes) {
            caller.heard.drain(..length);
            let call = caller.outstanding.pop_front().expect("an answer to no request");
            self.ledger.answered(call, status, body, time);
        }
        let is_over = is_gone || matches!(heard, Heard::End | Heard::Reset);
        if closes {
            // What stands behind such an answer is never read.
            caller.transport = None;
            caller.give_up(&mut self.ledger, time);
        } else if caller.left.is_empty() && caller.outstanding.is_empty() {
            caller.transport = None;
        } else {
            let calls: Vec<_> = caller.outstanding.iter().map(|call| &self.ledger.calls[*call]).collect();
            assert!(
                !is_over,
                "its connection ends without a reason at {time}: {calls:?} {heard:?} {is_gone} {}",
                caller.heard.escape_ascii()
            );
        }
    }

    fn hear(&mut self, worker: usize, told: Told, time: u64) {
        match told {
            Told::Trigger { payload, attempt } => {
                let call = self.ledger.triggered(&payload, attempt, time);
                if let Some(reply_id) = payload["data"]["replyId"].as_str() {
                    self.reply_ids.insert(reply_id.to_owned(), call);
                    if self.random.one_in(4) {
                        self.reply_from_outside(call, reply_id, time);
                    }
                }
            }
            Told::Replied { reply_id, text } => {
                self.ledger.replied(self.reply_ids[&reply_id], text.clone(), time);
                self.unsettled.entry((worker, reply_id)).or_default().push_back(text);
            }
            Told::Result { reply_id, is_accepted } => {
                let call = self.reply_ids[&reply_id];
                let replies = self.unsettled.get_mut(&(worker, reply_id)).expect("it replied");
                let text = replies.pop_front().expect("one result for each reply");
                self.ledger.settled(call, &text, is_accepted);
            }
        }
    }

    /// Somebody replies as over the REST API.
    fn reply_from_outside(&mut self, call: usize, reply_id: &str, time: u64) {
        self.outside += 1;
        let text = format!("r{}", self.outside);
        let json = serde_json::json!({"replyId": reply_id, "responseCode": 201, "body": text}).to_string();
        let reply = parse_body(json.as_bytes()).expect("a good reply");
        self.ledger.replied(call, text.clone(), time);
        let outcomes = Arc::clone(&self.outcomes);
        let done = Box::new(move |outcome| {
            outcomes.lock().expect("one thread").push((call, text, outcome == Outcome::Accepted));
        });
        self.cores.borrow().reply(reply_id, Box::new(reply), done);
    }

    fn hear_outcomes(&mut self) {
        for (call, text, is_accepted) in self.outcomes.lock().expect("one thread").drain(..) {
            self.ledger.settled(call, &text, is_accepted);
        }
    }
}

impl Caller {
    /// It hears of none of its calls any more.
    fn give_up(&mut self, ledger: &mut Ledger, time: u64) {
        let unsent = self.left.drain(..).map(|(call, _)| call);
        for call in self.outstanding.drain(..).chain(unsent) {
            ledger.abandoned(call, time);
        }
    }
}

/// The first response in `bytes`, if it is complete: status, body, length in all; and whether it is the last one.
fn response(bytes: &[u8], closes: &mut bool) -> Option<(u16, String, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII").to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let body = bytes.get(head..head + length)?;
    *closes |= text.contains("connection: close");
    Some((status, String::from_utf8(body.to_vec()).expect("these bodies are text"), head + length))
}

/// Each webhook is there for what its name says.
#[test]
fn the_webhooks_are_those_that_the_rules_speak_of() {
    let model = Model::new(&mut Random(1));
    assert_eq!(model.webhooks.len(), WEBHOOKS);
    assert!(model.webhooks[TEMPLATED].wait_for_reply && !model.webhooks[UNAWAITED].wait_for_reply);
    assert!(!model.webhooks[GUARDED].basic_auth_username.is_empty());
}

//! The whole engine with a journal on a simulated disk, or on a simulated stream of JetStream, from a seed: lives of the
//! process that end by kill, power cut or in order, on a disk that fails, is late, tears, fills up and comes back, or a stream
//! whose messages and acks are late and lost, without a leader, full; each with another number of cores.
//!
//! A life ends by itself, or at any operation of its disk. On some disks bits flip in what is at rest, some lie: they say that
//! a write is safe which is not.
//!
//! What holds over all lives: every trigger that was answered with 2xx is delivered; what was refused is not, unless its
//! write had begun and the process ended before its journal was up again to take it back (a stream may have it all the same,
//! and then it is delivered); the messages of a WebSocket are
//! delivered in order; of the calls with one key one is answered as the first, over all lives, and a repeat of a call that
//! is not delivered in the end is refused; what one caller has forwarded is delivered in its order.
//!
//! A flipped bit costs the record that it is in, and what was promised in it is told with file and offset, or cut where it stands
//! at the end of what was written last; nothing else is lost. Of a disk that lies this is left: the end of a process costs
//! nothing; after a power cut the journal starts, what is missing may be lost or come again, and all that is accepted from
//! then on is kept.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone; with `TIDEGATE_SIM_ACCEPTED`, seeds
//! are run, from that one on, until so many triggers were accepted (`tools/lives`).

#[path = "whole/caller.rs"]
mod caller;
#[path = "whole/damage.rs"]
mod damage;
#[path = "whole/driver.rs"]
mod driver;
#[path = "whole/kernel/mod.rs"]
mod kernel;
#[path = "whole/ordered.rs"]
mod ordered;
#[path = "whole/segments.rs"]
mod segments;
#[path = "whole/stream.rs"]
mod stream;
#[path = "whole/talker.rs"]
mod talker;
#[path = "whole/worker.rs"]
mod worker;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use caller::{Caller, Story};
use driver::{Core, Driver};
use kernel::{Config, Disk, Faults, Random, SimKernel, World};
use ordered::{Outside, Target};
use segments::Shape;
use serde_json::json;
use stream::{SimStream, StreamFaults};
use talker::Talker;
use tidegate::base::clock::Now;
use tidegate::base::id::Id;
use tidegate::engine::{ChainSource, DrivenConfig, DrivenCores, DrivenKernel, Fetched, Services};
use tidegate::io::Safety;
use tidegate::journal::LeftOpen;
use tidegate::metrics::Metrics;
use tidegate::model::{Application, Flow, Webhook};
use tidegate::registry::{Defaults, Registry};
use tidegate::settings::Settings;
use tidegate::store::Store;
use tidegate::verify::alexa::ChainUrl;
use worker::SimWorker;

/// Seeds that are run where the environment does not say.
const SEEDS: u64 = 40;
/// Seeds after which a long run tells how far it is.
const TOLD_SEEDS: u64 = 500;
const INGRESS: u16 = 1;
const WORKERS: u16 = 2;
const ACCESS_TOKEN: &str = "whole-engine-access-token";
/// Small, so that segments are used up and used again.
const SEGMENT_BYTES: u32 = 64 * 1024;
/// A life that has more to do than this will never end.
const STEPS_MAX: usize = 2_000_000;
/// The longest that virtual time moves at once.
const STEP_NANOS: u64 = 20_000_000;
const UNIX_MILLIS: u64 = 1_771_521_960_000;

struct NoChains;

impl ChainSource for NoChains {
    fn fetch(&self, _url: &ChainUrl, _done: Fetched) {}

    fn fetch_keys(&self, _url: &Arc<str>, _known_nanos: u64, _done: tidegate::engine::KeysFetched) {}
}

/// A model with a webhook of each kind whose triggers go to workers; the same for all seeds.
struct Model {
    settings: Settings,
    store: Store,
    hook: String,
    /// No flow listens to it: only the keys of its calls are written.
    quiet: String,
    /// Its calls are forwarded, in the order of each caller.
    ordered: String,
    flow: String,
    socket: String,
    socket_flow: String,
}

impl Model {
    fn new() -> Model {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a new store");
        let application = Application::create(&json!({"name": "a"}), UNIX_MILLIS).expect("a name");
        let owner = application.id;
        store.insert_application(application).expect("a new application");
        let webhook = |is_websocket: bool| {
            let mut body = json!({"name": "w", "isWebsocket": is_websocket,
                "limits": {"requestsPerWindow": 0, "concurrency": 0}});
            if !is_websocket {
                body["deduplicate"] = json!({"key": "{{data.body.number}}"});
            }
            let mut webhook = Webhook::create(&body, owner, UNIX_MILLIS).expect("a good webhook");
            // The same in each run, so that a seed replays: they say which core owns a flow.
            webhook.id = Id::from_raw([1 + u8::from(is_websocket); 12]);
            store.insert_webhook(webhook.clone()).expect("a new webhook");
            let flow = json!({"name": "f",
                "nodes": [{"type": "WorkerNode", "config": {"ackTimeoutSeconds": 1}}],
                "triggers": [{"type": "webhook", "key": webhook.id.to_string()}]});
            let mut flow = Flow::create(&flow, owner, UNIX_MILLIS).expect("a good flow");
            flow.id = Id::from_raw([3 + u8::from(is_websocket); 12]);
            let id = flow.id.to_string();
            store.insert_flow(flow).expect("a new flow");
            (format!("/webhooks/{}", webhook.to_api()["token"].as_str().expect("a token")), id)
        };
        let quiet = json!({"name": "q", "deduplicate": {"key": "{{data.body.number}}"},
            "limits": {"requestsPerWindow": 0, "concurrency": 0}});
        let mut quiet = Webhook::create(&quiet, owner, UNIX_MILLIS).expect("a good webhook");
        quiet.id = Id::from_raw([5; 12]);
        let token = quiet.to_api()["token"].as_str().expect("a token").to_owned();
        store.insert_webhook(quiet).expect("a new webhook");
        let quiet = format!("/webhooks/{token}");
        let limits = json!({"requestsPerWindow": 0, "concurrency": 0});
        let mut ordered = Webhook::create(&json!({"name": "o", "limits": limits}), owner, UNIX_MILLIS)
            .expect("a good webhook");
        ordered.id = Id::from_raw([6; 12]);
        let token = ordered.to_api()["token"].as_str().expect("a token").to_owned();
        let config = json!({"url": "http://ordered/", "ordered": true, "orderKey": "{{data.body.key}}",
            "timeoutSeconds": 2, "retry": {"backoffSeconds": 0.1}});
        let flow = json!({"name": "f", "nodes": [{"id": "out", "type": "HttpForwardNode", "config": config}],
            "triggers": [{"type": "webhook", "key": ordered.id.to_string()}]});
        store.insert_webhook(ordered).expect("a new webhook");
        let mut flow = Flow::create(&flow, owner, UNIX_MILLIS).expect("a good flow");
        flow.id = Id::from_raw([7; 12]);
        store.insert_flow(flow).expect("a new flow");
        let ordered = format!("/webhooks/{token}");
        let (hook, flow) = webhook(false);
        let (socket, socket_flow) = webhook(true);
        Model { settings: Settings::defaults(4), store, hook, quiet, ordered, flow, socket, socket_flow }
    }

    /// A registry as a start makes it.
    fn registry(&self) -> Arc<Registry> {
        let registry = Arc::new(Registry::new(Defaults::new(4, &self.settings.limits)));
        registry
            .load(&self.store, Now { nanos: 0, unix_millis: UNIX_MILLIS })
            .expect("the model can be read");
        registry
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

#[test]
fn what_was_accepted_is_delivered_over_any_number_of_lives() {
    run(|| Keeping::Disk(Disk::default()));
}

#[test]
fn what_a_stream_has_accepted_is_delivered_over_any_number_of_lives() {
    run(|| Keeping::Stream(SimStream::default()));
}

/// What became of the calls of all seeds.
#[derive(Default)]
struct Totals {
    accepted: usize,
    refused: usize,
    repeated: usize,
    duplicates: usize,
    flips: usize,
    lied_cuts: usize,
    excused: usize,
}

impl Totals {
    fn add(&mut self, story: &Story) {
        self.accepted += story.accepted.len();
        self.refused += story.refused.len();
        self.repeated += story.delivered.values().filter(|count| **count > 1).count();
        self.duplicates += story.duplicates;
        self.flips += story.struck.len();
        self.lied_cuts += story.lied_cuts;
        self.excused += story.excused;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { accepted, refused, repeated, duplicates, flips, lied_cuts, excused } = self;
        write!(
            f,
            "accepted {accepted}, lost 0, refused {refused}, delivered more than once {repeated}, answered as \
             repeats {duplicates}; {flips} bits flipped, {lied_cuts} power cuts of disks that had lied: lost by \
             these {excused}"
        )
    }
}

fn run(keeping: impl Fn() -> Keeping) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let wanted = number("TIDEGATE_SIM_ACCEPTED");
    let seeds = match (number("TIDEGATE_SIM_SEED"), wanted) {
        (Some(seed), None) => seed..seed + 1,
        (first, Some(_)) => first.unwrap_or(0)..u64::MAX,
        (None, None) => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let model = Model::new();
    let mut totals = Totals::default();
    for (count, seed) in (1..).zip(seeds) {
        match catch_unwind(AssertUnwindSafe(|| simulate(&model, seed, &keeping()))) {
            Ok(story) => totals.add(&story),
            Err(failure) => {
                eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
                resume_unwind(failure);
            }
        }
        if wanted.is_some() && count % TOLD_SEEDS == 0 {
            println!("{count} seeds: {totals}");
        }
        if wanted.is_some_and(|wanted| totals.accepted as u64 >= wanted) {
            break;
        }
    }
    println!("{totals}");
}

/// How a seed's lives are.
struct Fate {
    safety: Safety,
    /// Workers ack whatever they get, so that the order of what they got is that of what was sent.
    is_diligent: bool,
    segments_max: usize,
    medium: Medium,
}

/// How a disk keeps what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    Sound,
    /// Bits flip in what is at rest.
    Flips,
    /// Writes are said to be safe that are not.
    Lies,
}

/// Who keeps the journal.
enum Keeping {
    Disk(Disk),
    Stream(SimStream),
}

impl Keeping {
    /// Nothing goes wrong from now on.
    fn heal(&self, delay_max: u64) {
        match self {
            Keeping::Disk(disk) => disk.set_faults(Faults { delay_max, ..Faults::default() }),
            Keeping::Stream(stream) => {
                let delay_max = delay_max as usize;
                stream.set_faults(StreamFaults { delay_max, ..StreamFaults::default() });
            }
        }
    }
}

fn simulate(model: &Model, seed: u64, keeping: &Keeping) -> Story {
    let mut random = Random(seed ^ 0xD15C);
    let fate = Fate {
        safety: if random.one_in(3) { Safety::Kernel } else { Safety::Disk },
        is_diligent: random.one_in(2),
        segments_max: 10 + random.below(30),
        medium: match random.below(6) {
            _ if matches!(keeping, Keeping::Stream(_)) => Medium::Sound,
            0 => Medium::Flips,
            1 => Medium::Lies,
            _ => Medium::Sound,
        },
    };
    let mut story = Story::default();
    for life in 0..1 + random.below(4) as u64 {
        live(model, &fate, (seed << 8) + life, keeping, &mut random, &mut story, false);
    }
    keeping.heal(5_000_000);
    live(model, &fate, (seed << 8) + 99, keeping, &mut random, &mut story, true);
    let lost: Vec<&u64> =
        story.accepted.iter().filter(|number| !story.delivered.contains_key(number)).collect();
    let (excused, lost): (Vec<&u64>, Vec<&u64>) =
        lost.into_iter().partition(|number| story.may_be_lost.contains(number));
    story.excused = excused.len();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), story.accepted.len());
    let refused: Vec<&u64> = story
        .refused
        .difference(&story.sent_again)
        .filter(|number| story.delivered.contains_key(number))
        .collect();
    assert!(
        refused.is_empty() || matches!(keeping, Keeping::Stream(_)),
        "refused and delivered: {refused:?}"
    );
    if fate.is_diligent && !story.has_panicked {
        for (socket, numbers) in &story.messages {
            assert!(numbers.is_sorted(), "the messages of socket {socket} are out of order: {numbers:?}");
        }
    }
    if !story.has_panicked {
        for (key, numbers) in &story.ordered {
            assert!(numbers.is_sorted(), "what has the key {key} is out of order: {numbers:?}");
        }
    }
    story
}

/// One life of the process. The last one goes on until everything is delivered.
fn live(
    model: &Model,
    fate: &Fate,
    seed: u64,
    keeping: &Keeping,
    random: &mut Random,
    story: &mut Story,
    is_last: bool,
) {
    let capacity_max = 1 << (10 + random.below(8));
    let disk = match keeping {
        Keeping::Disk(disk) => disk.clone(),
        Keeping::Stream(_) => Disk::default(),
    };
    let world = World::with_disk(seed, Config { capacity_max, ..Config::default() }, disk);
    let count = 1 + random.below(4);
    let shape = Shape {
        cores: count,
        safety: fate.safety,
        segment_bytes: SEGMENT_BYTES,
        // In the last there is room for what is left to be moved.
        segments_max: fate.segments_max * if is_last { 3 } else { 1 },
        salt: random.next(),
    };
    let (journals, keeper, left) = match keeping {
        Keeping::Disk(disk) => {
            if fate.medium == Medium::Flips {
                let before = damage::contents(disk, SEGMENT_BYTES);
                if let Some(struck) = damage::flip(disk, story, random) {
                    damage::check(&before, &damage::contents(disk, SEGMENT_BYTES), &struck, story);
                }
            }
            let (journals, faults) = segments::recover(disk, shape);
            if story.lied_cuts == 0 {
                damage::check_faults(&faults, story);
            }
            (journals.into_iter().map(Some).collect(), None, Vec::new())
        }
        Keeping::Stream(stream) => {
            let (keeper, left) = stream.begin(count, world.now());
            ((0..count).map(|_| None).collect::<Vec<_>>(), Some(keeper), left)
        }
    };
    // Nothing of this life is under way.
    story.unsure = 0;
    let kernels = journals.into_iter().map(|journal| DrivenKernel {
        io: world.kernel(),
        ingress: world.listener(INGRESS),
        workers: world.listener(WORKERS),
        journal,
    });
    let kernels: Vec<_> = kernels.collect();
    let clock_world = world.clone();
    let mut target = Target::default();
    let metrics = Metrics::new(count);
    let registry = model.registry();
    let config = DrivenConfig {
        settings: &model.settings,
        access_token: ACCESS_TOKEN,
        registry: &registry,
        metrics: &metrics,
        services: Services {
            forwarder: Arc::<Outside>::clone(&target.outside),
            dead_letters: Arc::<Outside>::clone(&target.outside),
            ..Services::with_chains(Arc::new(NoChains))
        },
        tls: None,
        keeper,
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

    let taken_over = take_over(&cores.borrow(), left, count);

    let (mut callers, mut talkers, mut workers) = (Vec::new(), Vec::new(), Vec::<SimWorker>::new());
    let mut refused = BTreeSet::new();
    let workers_max = if is_last || fate.is_diligent { 1 } else { random.below(3) };
    let wanted = if is_last { 0 } else { 1 + random.below(12) };
    let steps = if is_last { STEPS_MAX } else { 200 + random.below(6_000) };
    let (mut is_drained, mut is_killed) = (false, false);
    if let Keeping::Disk(disk) = keeping
        && !is_last
        && random.one_in(3)
    {
        disk.end_after(random.below(400) as u64);
    }
    for step in 0..steps {
        if callers.len() < wanted
            && random.one_in(20)
            && let Some(client) = world.connect(INGRESS, None)
        {
            callers.push(Caller::new(client, matches!(keeping, Keeping::Disk(_)), story, random));
        }
        if talkers.len() < wanted / 3
            && random.one_in(40)
            && let Some(client) = world.connect(INGRESS, None)
        {
            story.next += 1;
            talkers.push(Talker::new(&model.socket, client, story.next, random));
        }
        for flow in [&model.flow, &model.socket_flow] {
            let attached = workers.iter().filter(|worker| !worker.is_over).count();
            if attached < 2 * workers_max
                && (is_last || random.one_in(30))
                && !workers.iter().any(|worker| !worker.is_over && worker.flow == *flow)
                && let Some(client) = world.connect(WORKERS, None)
            {
                workers.push(SimWorker::new(client, flow, ACCESS_TOKEN, is_last || fate.is_diligent));
            }
        }
        match keeping {
            Keeping::Disk(disk) => {
                if !is_last && random.one_in(400) {
                    let lies_one_in = if fate.medium == Medium::Lies { 1 + random.below(8) } else { 0 };
                    disk.set_faults(Faults { lies_one_in, ..faults(random) });
                }
                if fate.medium == Medium::Flips
                    && random.one_in(2_000)
                    && let Some(struck) = damage::flip(disk, story, random)
                    && struck.is_completion
                {
                    // What this life has taken back in it comes again, too.
                    refused.clear();
                }
                if disk.is_at_end() {
                    is_killed = true;
                    break;
                }
            }
            Keeping::Stream(stream) => {
                if !is_last && random.one_in(400) {
                    stream.set_faults(stream_faults(random));
                }
                stream.go_on(world.now(), random);
                taken_over.purge_when_done(stream);
            }
        }
        if random.one_in(3_000) && (!is_last || step < 1_500) {
            // A core panics: what it had of its flows is lost, and its workers attach again.
            story.has_panicked = true;
            cores.borrow_mut().lose_queues(random.below(count));
            workers.clear();
        }
        driver.step(world.now() + STEP_NANOS);
        callers.iter_mut().for_each(|caller| caller.go_on(model, story, &mut refused, false, random));
        talkers.iter_mut().for_each(|talker| talker.go_on(random));
        for worker in &mut workers {
            worker.go_on(random).iter().for_each(|data| story.note(data));
        }
        target.go_on(world.now(), is_last || fate.is_diligent && random.one_in(2), story, random);
        if is_last && step % 64 == 0 {
            let open: u64 = (0..count).map(|core| open_entries(&metrics, core)).sum();
            if open == 0 && step > 2_000 {
                is_drained = true;
                break;
            }
        }
    }
    assert!(!is_last || is_drained, "something is never delivered");
    // What was refused is taken back as soon as the journal can be written again.
    if !is_killed {
        keeping.heal(1_000_000);
    }
    if !is_last && !is_killed && random.one_in(3) {
        assert!(cores.borrow().drain());
        for _ in 0..STEPS_MAX {
            if running.iter().all(|running| !*running.borrow()) {
                break;
            }
            driver.step(world.now() + STEP_NANOS);
            if let Keeping::Stream(stream) = keeping {
                stream.go_on(world.now(), random);
                taken_over.purge_when_done(stream);
            }
            callers.iter_mut().for_each(|caller| caller.go_on(model, story, &mut refused, true, random));
            talkers.iter_mut().for_each(|talker| talker.go_on(random));
            for worker in &mut workers {
                worker.go_on(random).iter().for_each(|data| story.note(data));
            }
            target.go_on(world.now(), true, story, random);
        }
        assert!(running.iter().all(|running| !*running.borrow()), "a core does not end");
        // A journal that is down to the end has had no segment to take back in what it could not write.
        let is_down = |core| metrics.core(core).expect("its counters").numbers().journal.gauges.down > 0;
        if !(0..count).any(is_down) {
            story.refused.extend(refused);
        }
    }
    for core in 0..count {
        let numbers = metrics.core(core).expect("its counters").numbers();
        assert_eq!(numbers.event(tidegate::metrics::Event::Panic), 0);
    }
    match keeping {
        Keeping::Disk(disk) if fate.safety == Safety::Disk && random.one_in(2) => {
            if disk.cut_power(random) {
                story.forget_promises();
            }
        }
        Keeping::Disk(disk) => disk.kill(random),
        Keeping::Stream(stream) => stream.crash(random),
    }
}

/// Entries of earlier lives on their way into the journals of this one.
struct TakenOver {
    wanted: usize,
    taken: Arc<AtomicUsize>,
}

impl TakenOver {
    /// The stream may forget them once they are all taken.
    fn purge_when_done(&self, stream: &SimStream) {
        if self.taken.load(Ordering::Relaxed) == self.wanted {
            stream.purge_earlier();
        }
    }
}

fn take_over(cores: &DrivenCores<SimKernel>, left: Vec<LeftOpen>, count: usize) -> TakenOver {
    let taken = Arc::new(AtomicUsize::new(0));
    let wanted = left.len();
    for entry in left {
        let core = usize::from(entry.sequence.core()) % count;
        let taken = Arc::clone(&taken);
        let done = Box::new(move |outcome: Result<(), _>| {
            // What is refused stays on the stream, for the next life.
            taken.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
        });
        cores.inherit(core, entry, done);
    }
    TakenOver { wanted, taken }
}

fn open_entries(metrics: &Metrics, core: usize) -> u64 {
    metrics.core(core).expect("its counters").numbers().journal.gauges.open_entries
}

/// What goes wrong next with the stream.
fn stream_faults(random: &mut Random) -> StreamFaults {
    let delay_max = [1, 1_000_000, 3_000_000_000][random.below(3)];
    let lost_one_in = [0, 3, 20][random.below(3)];
    StreamFaults {
        lost_one_in,
        delay_max,
        election: if random.one_in(4) { random.below(14) as u64 * 1_000_000_000 } else { 0 },
        is_full: random.one_in(6),
    }
}

/// What goes wrong next on the disk.
fn faults(random: &mut Random) -> Faults {
    let delay_max = [0, 1_000_000, 50_000_000][random.below(3)];
    match random.below(6) {
        0 => Faults { is_broken: true, delay_max, ..Faults::default() },
        1 => Faults { is_full: true, delay_max, ..Faults::default() },
        2 | 3 => Faults { write_fails_one_in: 2 + random.below(20), delay_max, ..Faults::default() },
        _ => Faults { delay_max, ..Faults::default() },
    }
}

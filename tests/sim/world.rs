//! A process in simulation: its cores, connections and workers, and the time that passes between them.
//!
//! What decides is the crate's own: the HTTP machine, the steps of a request, limits, slots, wheels, the registry, flows
//! and their queues. What is simulated is what moves bytes and messages: clients, mailboxes, workers, stalls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::base::id::Id;
use tidegate::base::slots::{Key, Slots};
use tidegate::base::wheel::{TimerId, Wheel};
use tidegate::deliver::workers::{FlowQueue, WorkerTrigger};
use tidegate::http::{Connection as Machine, Limits};
use tidegate::limit::CLOCK_STALE_NANOS_MAX;
use tidegate::registry::{Defaults, Hook, Registry};
use tidegate::reply::Reply;
use tidegate::settings::Settings;
use tidegate::store::Affected;

use super::model::{Model, Random, WEBHOOKS};
use super::observer::Observer;

pub const MILLISECOND: u64 = 1_000_000;
/// A simulation that has more to do than this will never end.
const EVENTS_MAX: u32 = 200_000;

/// What happens, to whom.
pub enum Event {
    Turn(usize),
    Arrive(usize, Mail),
    /// A worker is given a trigger.
    Given {
        worker: usize,
        seq: u64,
        trigger: Box<WorkerTrigger>,
    },
    Attach {
        flow: usize,
    },
    Change {
        webhook: usize,
    },
    Stall {
        core: usize,
        nanos: u64,
    },
}

/// What comes to a core: over a socket or from another core.
pub enum Mail {
    Bytes { connection: usize, bytes: Vec<u8> },
    Gone { connection: usize },
    Reply { key: Key, reply: Box<Reply> },
    Trigger { flow: usize, trigger: Box<WorkerTrigger> },
    Attached { worker: usize },
    Did { worker: usize, did: Did },
}

/// What a worker did.
pub enum Did {
    Ready(u32),
    Ack(u64),
    Nack(u64),
    Reply { reply_id: String, reply: Box<Reply> },
    Left,
}

#[derive(Clone, Copy)]
pub enum Timer {
    Reply(Key),
    Ack { flow: usize, flight: Key },
}

/// A request that holds its caller.
pub struct Waiting {
    pub call: usize,
    pub connection: usize,
    pub hook: Arc<Hook>,
    pub timer: TimerId,
    /// What came: a reply, or nothing in time.
    pub came: Option<Option<Box<Reply>>>,
}

pub struct Core {
    pub clock: u64,
    stalled_until: u64,
    turn_at: Option<u64>,
    inbox: VecDeque<Mail>,
    pub slots: Slots<Waiting>,
    pub wheel: Wheel<Timer>,
    /// Slots that something came for.
    pub ready: Vec<Key>,
}

pub struct Connection {
    pub core: usize,
    pub machine: Machine,
    pub buffer: ReceiveBuffer,
    /// The request that is being read: its hook, once it may be taken.
    pub hook: Option<Arc<Hook>>,
    pub waits: Option<Key>,
    pub closed: bool,
}

pub struct Worker {
    pub flow: usize,
    pub key: Option<Key>,
    pub attached: bool,
}

pub struct World {
    pub random: Random,
    pub time: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: HashMap<u64, Event>,
    scheduled: u64,
    pub model: Model,
    pub registry: Registry,
    pub cores: Vec<Core>,
    pub connections: Vec<Connection>,
    pub workers: Vec<Worker>,
    /// The queue of each flow, at its home.
    pub queues: BTreeMap<usize, FlowQueue<usize>>,
    pub observer: Observer,
    /// Workers do their best from now on.
    pub is_ending: bool,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random(seed);
        let cores = 1 + random.below(4) as usize;
        let model = Model::new(&mut random);
        let registry = Registry::new(Defaults {
            payload_bytes: 200,
            ..Defaults::new(cores, &Settings::defaults(cores).limits)
        });
        let time = 3_600 * NANOS_PER_SECOND + random.below(NANOS_PER_SECOND);
        registry.load(&model, at(time)).expect("a model in memory can always be read");
        let core = |_| Core {
            clock: time - CLOCK_STALE_NANOS_MAX,
            stalled_until: 0,
            turn_at: None,
            inbox: VecDeque::new(),
            slots: Slots::new(),
            wheel: Wheel::new(time - CLOCK_STALE_NANOS_MAX),
            ready: Vec::new(),
        };
        let mut world = World {
            random,
            time,
            events: BinaryHeap::new(),
            pending: HashMap::new(),
            scheduled: 0,
            model,
            registry,
            cores: (0..cores).map(core).collect(),
            connections: Vec::new(),
            workers: Vec::new(),
            queues: (0..WEBHOOKS).map(|flow| (flow, FlowQueue::default())).collect(),
            observer: Observer::default(),
            is_ending: false,
        };
        for index in 0..WEBHOOKS {
            world.observer.limits(index, &world.model.webhooks[index], time);
        }
        world
    }

    pub fn connect(&mut self, core: usize) -> usize {
        self.connections.push(Connection {
            core,
            machine: Machine::new(Limits::default()),
            buffer: ReceiveBuffer::default(),
            hook: None,
            waits: None,
            closed: false,
        });
        self.connections.len() - 1
    }

    pub fn schedule(&mut self, time: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((time, self.scheduled)));
        self.pending.insert(self.scheduled, event);
    }

    /// Puts mail on its way to a core; how long that takes is chance.
    pub fn post(&mut self, core: usize, mail: Mail) {
        let delay = self.random.below(3) * self.random.below(MILLISECOND);
        self.schedule(self.time + delay, Event::Arrive(core, mail));
    }

    /// The core that keeps a flow's queue.
    pub fn home(&self, flow: usize) -> usize {
        flow % self.cores.len()
    }

    pub fn flow_id(&self, flow: usize) -> Id {
        self.model.flows[flow].id
    }

    pub fn webhook_index(&self, hook: &Hook) -> usize {
        let same = |webhook: &tidegate::model::Webhook| webhook.id == hook.webhook_id;
        self.model.webhooks.iter().position(same).expect("a webhook of the model")
    }

    /// Lets everything happen that will.
    pub fn run(&mut self) {
        let mut events = 0;
        while let Some(Reverse((time, number))) = self.events.pop() {
            assert!(time >= self.time);
            self.time = time;
            let event = self.pending.remove(&number).expect("every event is scheduled once");
            self.happen(event);
            self.check();
            events += 1;
            assert!(events < EVENTS_MAX, "it never ends");
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(core) => self.turn(core),
            Event::Arrive(core, mail) => {
                self.cores[core].inbox.push_back(mail);
                self.wake(core, self.time);
            }
            Event::Given { worker, seq, trigger } => self.given(worker, seq, &trigger),
            Event::Attach { flow } => {
                self.workers.push(Worker { flow, key: None, attached: true });
                let (home, worker) = (self.home(flow), self.workers.len() - 1);
                self.schedule(self.time, Event::Arrive(home, Mail::Attached { worker }));
            }
            Event::Change { webhook } => {
                self.model.change(webhook, &mut self.random);
                let changed = &self.model.webhooks[webhook];
                self.observer.limits(webhook, changed, self.time);
                let affected =
                    Affected { webhooks: vec![changed.id], flows: Vec::new(), ..Affected::default() };
                self.registry.refresh(&self.model, &affected, at(self.time)).expect("a model in memory");
            }
            Event::Stall { core, nanos } => {
                self.cores[core].stalled_until = self.cores[core].stalled_until.max(self.time + nanos);
            }
        }
    }

    /// The core has something to do at `time`.
    fn wake(&mut self, core: usize, time: u64) {
        let turn = time.max(self.cores[core].stalled_until);
        if self.cores[core].turn_at.is_none_or(|before| before > turn) {
            self.cores[core].turn_at = Some(turn);
            self.schedule(turn, Event::Turn(core));
        }
    }

    /// One turn of a core's loop: the clock once, what is due, what came, who is answered.
    fn turn(&mut self, core: usize) {
        // An earlier turn was asked for meanwhile and has done this one's work.
        if self.cores[core].turn_at.is_none_or(|turn| turn > self.time) {
            return;
        }
        self.cores[core].turn_at = None;
        if self.time < self.cores[core].stalled_until {
            self.wake(core, self.time);
            return;
        }
        let lag = self.random.below(CLOCK_STALE_NANOS_MAX + 1);
        let clock = self.cores[core].clock.max(self.time - lag);
        self.cores[core].clock = clock;
        let mut due = Vec::new();
        self.cores[core].wheel.advance(clock, &mut due);
        for timer in due {
            match timer {
                Timer::Reply(key) => self.time_out(core, key),
                Timer::Ack { flow, flight } => self.late(flow, flight),
            }
        }
        while let Some(mail) = self.cores[core].inbox.pop_front() {
            self.receive(core, mail);
        }
        while let Some(key) = self.cores[core].ready.pop() {
            self.answer(core, key);
        }
        self.expire(core);
        if let Some(next) = self.cores[core].wheel.next_deadline() {
            self.wake(core, (next + CLOCK_STALE_NANOS_MAX).max(self.time + 1));
        }
    }

    fn receive(&mut self, core: usize, mail: Mail) {
        match mail {
            Mail::Bytes { connection, bytes } => {
                let to = &mut self.connections[connection];
                if !to.closed {
                    to.buffer.extend(&bytes);
                    self.read(connection);
                }
            }
            Mail::Gone { connection } => self.gone(connection),
            Mail::Reply { key, reply } => self.settle(core, key, reply),
            Mail::Trigger { flow, trigger } => self.offer(flow, *trigger),
            Mail::Attached { worker } => self.attached(worker),
            Mail::Did { worker, did } => self.did(worker, did),
        }
    }

    /// What holds whenever nothing is happening.
    fn check(&self) {
        for index in 0..WEBHOOKS {
            let hook = self.registry.by_id(self.model.webhooks[index].id).expect("it was loaded");
            let holding = self.observer.holding(index);
            assert_eq!(hook.concurrency.held() as usize, holding, "places of webhook {index}");
        }
        let waiting: usize = (0..WEBHOOKS).map(|index| self.observer.holding(index)).sum();
        assert_eq!(self.cores.iter().map(|core| core.slots.len()).sum::<usize>(), waiting);
    }
}

pub fn at(nanos: u64) -> Now {
    Now { nanos, unix_millis: nanos / MILLISECOND }
}

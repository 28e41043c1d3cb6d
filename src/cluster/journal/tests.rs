//! Cores and their bundles over a simulated JetStream, from a seed: acks that are lost or late, messages that are sent late
//! and twice, elections, a stream that is full; and what is open in it after a crash at any moment.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::{Shard, ShardAction, ShardAnswer};
use crate::base::clock::Now;
use crate::base::random::Random;
use crate::journal::{BatchFate, BundleReplay, EntryKind, Refused, RemoteConfig, RemoteJournal, Sequence};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// How long the stream knows ids.
const DUPLICATE_WINDOW: u64 = 120 * SECOND;
const WAIT: u64 = 10 * SECOND;
const STEPS: usize = 600;
const SEEDS: u64 = 40;

/// A mistake that is made on purpose: the simulation has to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// The stream acks what it has not stored.
    AckUnstored,
    /// A purge takes one more message than is not needed.
    PurgeTooMuch,
    /// Batches that are stored after their callers were refused are not delivered.
    ForgetLate,
    /// The completions of a batch that was refused are dropped with it.
    LoseCompletions,
}

/// The stream.
struct Stream {
    messages: VecDeque<(u64, Bytes)>,
    next: u64,
    known: HashMap<u64, (u64, u64)>,
    /// No leader until then.
    election_until: u64,
    is_full: bool,
    mistake: Mistake,
}

impl Stream {
    fn publish(&mut self, number: u64, message: &Bytes, now: u64) -> Option<ShardAnswer> {
        if now < self.election_until {
            return None;
        }
        if let Some(&(sequence, at)) = self.known.get(&number)
            && now - at < DUPLICATE_WINDOW
        {
            return Some(ShardAnswer::Stored { sequence });
        }
        if self.is_full {
            return Some(ShardAnswer::Full);
        }
        let sequence = self.next;
        self.next += 1;
        self.known.insert(number, (sequence, now));
        if self.mistake != Mistake::AckUnstored || !sequence.is_multiple_of(7) {
            self.messages.push_back((sequence, message.clone()));
        }
        Some(ShardAnswer::Stored { sequence })
    }

    fn purge(&mut self, below: u64) {
        let below = below + u64::from(self.mistake == Mistake::PurgeTooMuch);
        self.messages.retain(|(sequence, _)| *sequence >= below);
    }
}

/// A message on its way.
enum Event {
    Arrives { number: u64, message: Bytes, ack_at: Option<u64> },
    Acked { number: u64, answer: ShardAnswer },
    Purges { below: u64 },
    Purged { below: u64 },
}

#[derive(Clone, Debug)]
struct Fate {
    payload: Vec<u8>,
    deliveries: u16,
    done: BTreeSet<u16>,
    is_promised: bool,
    is_refused: bool,
    is_offered: bool,
}

impl Fate {
    fn is_done(&self) -> bool {
        self.done.len() == usize::from(self.deliveries)
    }
}

struct World {
    random: Random,
    now: u64,
    cores: Vec<RemoteJournal>,
    shard: Shard,
    stream: Stream,
    events: Vec<(u64, Event)>,
    fates: BTreeMap<Sequence, Fate>,
    published: HashMap<u64, Bytes>,
    is_calm: bool,
    mistake: Mistake,
}

impl World {
    fn new(seed: u64, mistake: Mistake) -> World {
        let mut random = Random::new(seed);
        let count = 1 + random.up_to(2);
        let core = |core| {
            RemoteJournal::new(RemoteConfig {
                core: core as u16,
                open_bytes_max: 256 * 1024,
                entry_bytes_max: 64 * 1024,
                wait_nanos: WAIT,
            })
        };
        World {
            random,
            now: SECOND,
            cores: (0..count).map(core).collect(),
            shard: Shard::default(),
            stream: Stream {
                messages: VecDeque::new(),
                next: 1,
                known: HashMap::new(),
                election_until: 0,
                is_full: false,
                mistake,
            },
            events: Vec::new(),
            fates: BTreeMap::new(),
            published: HashMap::new(),
            is_calm: false,
            mistake,
        }
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.random.up_to(count - 1) == 0
    }

    fn step(&mut self) {
        let pause = if self.one_in(20) { 500 * MILLI } else { 10 * MILLI };
        self.now += self.random.up_to(pause);
        if !self.is_calm {
            if self.one_in(80) {
                self.stream.election_until = self.now + (4 + self.random.up_to(9)) * SECOND;
            }
            if self.one_in(60) {
                self.stream.is_full = !self.stream.is_full;
            }
            for core in 0..self.cores.len() {
                if self.one_in(2) {
                    self.append(core);
                }
            }
        }
        self.arrive();
        self.complete();
        let mut actions = Vec::new();
        self.shard.on_time(self.now, &mut actions);
        for core in 0..self.cores.len() {
            self.cores[core].on_time(self.now);
            self.hear(core);
            if let Some(batch) = self.cores[core].next_batch(self.now) {
                self.shard.hand_over(core as u16, batch, self.now, &mut actions);
            }
        }
        self.carry_out(actions);
    }

    fn append(&mut self, core: usize) {
        let bytes = self.random.up_to(2_000) as usize;
        let mut payload = vec![0; bytes];
        payload.fill_with(|| self.random.next_u64() as u8);
        let deliveries = 1 + self.random.up_to(2) as u16;
        let now = Now { nanos: self.now, unix_millis: self.now / MILLI };
        match self.cores[core].append(EntryKind(1), deliveries, &[&payload], now) {
            Ok(sequence) => {
                let fate = Fate {
                    payload,
                    deliveries,
                    done: BTreeSet::new(),
                    is_promised: false,
                    is_refused: false,
                    is_offered: false,
                };
                assert!(self.fates.insert(sequence, fate).is_none(), "{sequence} was used twice");
            }
            Err(Refused::TooLarge) => panic!("it is not"),
            Err(Refused::Busy | Refused::Full | Refused::Down) => {}
        }
    }

    /// Notes the answers of a core to its callers.
    fn hear(&mut self, core: usize) {
        if let Some(failed) = self.cores[core].failed() {
            for (sequence, fate) in self.fates.range_mut(failed) {
                assert!(!fate.is_promised, "{sequence} was promised");
                fate.is_refused = true;
            }
        }
        for sequence in self.cores[core].recovered() {
            let fate = self.fates.get_mut(&sequence).expect("it was appended");
            assert!(fate.is_refused && !fate.is_offered, "{sequence} was not late");
            fate.is_offered = self.mistake != Mistake::ForgetLate;
        }
        let durable = self.cores[core].durable();
        for (_, fate) in self.fates.range_mut(Sequence::new(core as u16, 0)..=durable) {
            if !fate.is_refused {
                (fate.is_promised, fate.is_offered) = (true, true);
            }
        }
    }

    /// Deliveries end in any order.
    fn complete(&mut self) {
        let every = if self.is_calm { 1 } else { 6 };
        let mut ended = Vec::new();
        for (&sequence, fate) in &self.fates {
            if fate.is_offered {
                let open = (0..fate.deliveries).filter(|delivery| !fate.done.contains(delivery));
                ended.extend(open.map(|delivery| (sequence, delivery)));
            }
        }
        for (sequence, delivery) in ended {
            if self.random.up_to(every * 4) >= 4 {
                continue;
            }
            let journal = &mut self.cores[usize::from(sequence.core())];
            let fate = self.fates.get_mut(&sequence).expect("it is known");
            let entry = journal.entry(sequence).expect("an open entry is in memory");
            assert_eq!(entry.payload, fate.payload, "{sequence} is another");
            fate.done.insert(delivery);
            assert_eq!(journal.complete(sequence, delivery, self.now), fate.is_done());
        }
    }

    fn carry_out(&mut self, actions: Vec<ShardAction>) {
        for action in actions {
            match action {
                ShardAction::Publish { number, message } => self.send(number, message),
                ShardAction::Tell { core, batch, fate } => {
                    let fate = match (self.mistake, fate) {
                        // As one whose records all are gone.
                        (Mistake::LoseCompletions, BatchFate::Full) => BatchFate::Stored,
                        (_, fate) => fate,
                    };
                    self.cores[usize::from(core)].on_fate(batch, fate, self.now);
                    self.hear(usize::from(core));
                }
                ShardAction::Purge { below } => {
                    let at = self.now + self.random.up_to(20 * MILLI);
                    self.events.push((at, Event::Purges { below }));
                }
            }
        }
    }

    fn send(&mut self, number: u64, message: Bytes) {
        let first = self.published.entry(number).or_insert_with(|| message.clone());
        assert_eq!(*first, message, "another message under the same id");
        // It is lost, or waits in the client for long.
        if !self.is_calm && self.one_in(10) {
            return;
        }
        let is_late = !self.is_calm && self.one_in(10);
        let delay = if is_late { self.random.up_to(15 * SECOND) } else { self.random.up_to(20 * MILLI) };
        let at = self.now + delay;
        let is_ack_lost = !self.is_calm && self.one_in(10);
        let ack_delay = if !self.is_calm && self.one_in(10) { 5 * SECOND } else { 10 * MILLI };
        let ack_at = (!is_ack_lost).then(|| at + self.random.up_to(ack_delay));
        self.events.push((at, Event::Arrives { number, message, ack_at }));
    }

    fn arrive(&mut self) {
        self.events.sort_by_key(|(at, _)| *at);
        while self.events.first().is_some_and(|(at, _)| *at <= self.now) {
            let (at, event) = self.events.remove(0);
            let mut actions = Vec::new();
            match event {
                Event::Arrives { number, message, ack_at } => {
                    let answer = self.stream.publish(number, &message, at);
                    // Without a leader nobody answers, which the server may say at once.
                    let answer = answer.or_else(|| self.one_in(2).then_some(ShardAnswer::Unknown));
                    if let (Some(answer), Some(ack_at)) = (answer, ack_at) {
                        self.events.push((ack_at, Event::Acked { number, answer }));
                        self.events.sort_by_key(|(at, _)| *at);
                    }
                }
                Event::Acked { number, answer } => {
                    self.shard.on_answer(number, answer, self.now, &mut actions);
                }
                Event::Purges { below } => {
                    self.stream.purge(below);
                    self.events.push((at + MILLI, Event::Purged { below }));
                    self.events.sort_by_key(|(at, _)| *at);
                }
                Event::Purged { below } => self.shard.on_purged(below, true, self.now),
            }
            self.carry_out(actions);
        }
    }

    /// Checks the entries that a node would find that takes over now.
    fn check_replay(&self) {
        let mut replay = BundleReplay::default();
        for (_, message) in &self.stream.messages {
            replay.take(message).expect("whole bundles");
        }
        let found: BTreeMap<Sequence, _> =
            replay.finish().into_iter().map(|left| (left.sequence, left)).collect();
        for (sequence, fate) in &self.fates {
            if fate.is_promised && !fate.is_done() {
                let left =
                    found.get(sequence).unwrap_or_else(|| panic!("{sequence} was promised and is lost"));
                assert_eq!(left.payload, fate.payload, "{sequence} is another");
                assert!(
                    left.done.iter().all(|delivery| fate.done.contains(delivery)),
                    "{sequence} is not done"
                );
            }
        }
        assert!(found.keys().all(|sequence| self.fates.contains_key(sequence)), "an entry of nowhere");
    }
}

fn simulate(seed: u64, mistake: Mistake) {
    let mut world = World::new(seed, mistake);
    for step in 0..STEPS {
        world.step();
        if step % 10 == 0 {
            world.check_replay();
        }
    }
    world.is_calm = true;
    world.stream.is_full = false;
    world.stream.election_until = 0;
    for _ in 0..STEPS * 20 {
        world.step();
        let is_settled = world.cores.iter().all(RemoteJournal::is_settled) && world.shard.is_settled();
        if is_settled
            && world.events.is_empty()
            && world.fates.values().all(|fate| fate.is_done() || fate.is_refused)
        {
            break;
        }
    }
    world.check_replay();
    for (core, journal) in world.cores.iter_mut().enumerate() {
        assert!(journal.is_settled() && journal.is_up(), "core {core} does not settle");
        assert_eq!(journal.open_entries(), [], "core {core} has something open");
    }
    for (sequence, fate) in &world.fates {
        assert!(fate.is_promised || fate.is_refused, "the caller of {sequence} waits for ever");
        assert!(fate.is_done() || fate.is_refused, "{sequence} is never delivered");
    }
    // What nobody needs is purged, but for the last batches, whose successors would tell.
    for _ in 0..200 {
        world.step();
    }
    let left = world.stream.messages.len();
    assert!(left <= 2 * world.cores.len() + 1, "{left} messages stay");
}

#[test]
fn what_was_promised_is_found_after_a_crash_and_all_is_delivered_and_purged() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| simulate(seed, Mistake::None));
        if let Err(failure) = outcome {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(failure);
        }
    }
}

#[test]
fn mistakes_are_noticed() {
    for mistake in
        [Mistake::AckUnstored, Mistake::PurgeTooMuch, Mistake::ForgetLate, Mistake::LoseCompletions]
    {
        let is_noticed = (0..SEEDS).any(|seed| std::panic::catch_unwind(|| simulate(seed, mistake)).is_err());
        assert!(is_noticed, "{mistake:?}");
    }
}

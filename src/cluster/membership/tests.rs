//! Nodes on a simulated bucket, driven from a seed: acks that are late or lost, elections, partitions, pauses.

use std::collections::BTreeMap;

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::random::Random;

const MILLI: u64 = NANOS_PER_SECOND / 1_000;
/// Grain of the simulated time.
const STEP: u64 = 50 * MILLI;
const SEEDS: u64 = 60;
/// Simulated time of a run.
const RUN: u64 = 400 * NANOS_PER_SECOND;
/// The longest election.
const ELECTION: u64 = 9 * NANOS_PER_SECOND;

fn inc(number: u8) -> Incarnation {
    Incarnation::from_raw([number; 12])
}

/// The bucket: every write in its order.
#[derive(Default)]
struct Bucket {
    last: BTreeMap<Incarnation, u64>,
    log: Vec<(Incarnation, Option<NodeRecord>)>,
    /// No write is taken before.
    election_until: u64,
}

impl Bucket {
    fn write(&mut self, key: Incarnation, expected: u64, record: Option<NodeRecord>) -> MembershipAnswer {
        if self.last.get(&key).copied().unwrap_or(0) != expected {
            return MembershipAnswer::Conflict;
        }
        self.log.push((key, record));
        let revision = self.log.len() as u64;
        self.last.insert(key, revision);
        MembershipAnswer::Stored(revision)
    }
}

/// An answer on its way to a node.
struct Late {
    at: u64,
    inc: Incarnation,
    beat: u64,
    answer: MembershipAnswer,
}

struct Node {
    members: Members,
    /// How far its clock is ahead of the true time, which nothing may depend on.
    skew: u64,
    watched: usize,
    late: Vec<Late>,
    paused_until: u64,
    cut_until: u64,
    is_dead: bool,
}

impl Node {
    fn now(&self, time: u64) -> Now {
        Now { nanos: time + self.skew, unix_millis: 0 }
    }
}

struct World {
    bucket: Bucket,
    nodes: Vec<Node>,
    random: Random,
    adopted: Vec<Incarnation>,
    next: u8,
}

impl World {
    fn new(seed: u64, nodes: usize) -> World {
        let mut world = World {
            bucket: Bucket::default(),
            nodes: Vec::new(),
            random: Random::new(seed),
            adopted: Vec::new(),
            next: 1,
        };
        (0..nodes).for_each(|_| world.join());
        world
    }

    fn join(&mut self) {
        let members = Members::new(inc(self.next), NodeRecord::new("node", 0));
        self.next += 1;
        let skew = self.random.up_to(1_000) * NANOS_PER_SECOND;
        self.nodes.push(Node {
            members,
            skew,
            watched: 0,
            late: Vec::new(),
            paused_until: 0,
            cut_until: 0,
            is_dead: false,
        });
    }

    /// The node and everything that happens to it in one step.
    fn step(&mut self, at: usize, time: u64) {
        let is_cut = self.nodes[at].cut_until > time;
        let node = &mut self.nodes[at];
        if node.is_dead || node.paused_until > time {
            return;
        }
        let now = node.now(time);
        // The watch is late at times.
        if !is_cut && self.random.up_to(9) > 0 {
            for (revision, (key, record)) in self.bucket.log.iter().enumerate().skip(node.watched) {
                match record {
                    Some(record) => node.members.on_record(*key, revision as u64 + 1, record.clone(), now),
                    None => node.members.on_removed(*key),
                }
            }
            node.watched = self.bucket.log.len();
        }
        let (due, late) = std::mem::take(&mut node.late).into_iter().partition(|late| late.at <= time);
        node.late = late;
        let due: Vec<Late> = due;
        for late in due {
            node.members.on_answer(late.inc, late.beat, late.answer, now);
        }
        let mut operations = node.members.poll(now);
        while let Some(operation) = operations.pop() {
            let (key, expected, record) = match operation {
                Operation::Adopt { inc, .. } => {
                    let is_done = self.random.up_to(3) > 0;
                    self.adopted.extend(is_done.then_some(inc));
                    operations.extend(self.nodes[at].members.adopted(inc, is_done, now));
                    continue;
                }
                Operation::Put { inc, expected, record } => (inc, expected, Some(record)),
                Operation::Remove { inc, expected } => (inc, expected, None),
            };
            let beat = record.as_ref().map_or(0, |record| record.beat);
            let is_tombstone = record.as_ref().is_some_and(|record| record.state == NodeState::Dead);
            let lost = is_cut || self.bucket.election_until > time;
            let answer =
                if lost { MembershipAnswer::Unknown } else { self.bucket.write(key, expected, record) };
            if is_tombstone && matches!(answer, MembershipAnswer::Stored(_)) {
                self.must_be_over(key, time);
            }
            // An ack may be lost, or late.
            let is_lost = self.random.up_to(19) == 0;
            let most = if self.random.up_to(9) == 0 { 8_000 } else { 40 };
            let delay = self.random.up_to(most) * MILLI;
            let answer = if is_lost { MembershipAnswer::Unknown } else { answer };
            self.nodes[at].late.push(Late { at: time + delay, inc: key, beat, answer });
        }
    }

    /// A node whose tombstone was just written has no lease, and will get none.
    fn must_be_over(&self, key: Incarnation, time: u64) {
        for node in self.nodes.iter().filter(|node| node.members.inc() == key && !node.is_dead) {
            let now = node.now(time);
            assert!(!node.members.has_lease(now), "{key} has a lease at {time}");
        }
    }

    fn check(&self, time: u64) {
        for node in self.nodes.iter().filter(|node| !node.is_dead) {
            let buried = self.bucket.log.iter().any(|(key, record)| {
                *key == node.members.inc()
                    && record.as_ref().is_some_and(|record| record.state == NodeState::Dead)
            });
            assert!(!(buried && node.members.has_lease(node.now(time))), "a lease after the tombstone");
        }
    }
}

#[test]
fn no_node_is_buried_while_it_has_a_lease_and_all_that_end_are_adopted() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 4);
        let mut ended = Vec::new();
        let mut time = 0;
        while time < RUN {
            time += STEP;
            let quiet = time > RUN - 100 * NANOS_PER_SECOND;
            if !quiet && world.random.up_to(200) == 0 {
                let at = usize::try_from(world.random.up_to(world.nodes.len() as u64 - 1)).unwrap();
                let long = world.random.up_to(25) * NANOS_PER_SECOND;
                match world.random.up_to(4) {
                    0 => world.bucket.election_until = time + world.random.up_to(ELECTION),
                    1 => world.nodes[at].paused_until = time + long,
                    2 => world.nodes[at].cut_until = time + long,
                    3 if world.nodes.iter().filter(|node| !node.is_dead).count() > 2 => {
                        world.nodes[at].is_dead = true;
                    }
                    _ if world.nodes.len() < 7 => world.join(),
                    _ => {}
                }
            }
            for at in 0..world.nodes.len() {
                world.step(at, time);
                if world.nodes[at].members.is_fenced() && !world.nodes[at].is_dead {
                    let now = world.nodes[at].now(time);
                    ended.push(world.nodes[at].members.inc());
                    world.nodes[at].members.rejoin(inc(world.next), now);
                    world.next += 1;
                }
            }
            world.check(time);
        }
        ended.extend(world.nodes.iter().filter(|node| node.is_dead).map(|node| node.members.inc()));
        let alive: Vec<usize> = (0..world.nodes.len()).filter(|at| !world.nodes[*at].is_dead).collect();
        for &at in &alive {
            let node = &world.nodes[at];
            assert!(node.members.has_lease(node.now(time)), "seed {seed}: a node has no lease");
            assert_eq!(node.members.alive().count(), alive.len(), "seed {seed}: who is alive");
        }
        let joined = |inc: &Incarnation| world.bucket.last.contains_key(inc);
        for inc in ended.into_iter().filter(joined) {
            assert!(world.adopted.contains(&inc), "seed {seed}: {inc} was not adopted");
        }
    }
}

#[test]
fn a_node_that_leaves_in_order_is_adopted_at_once() {
    let mut world = World::new(7, 2);
    let mut time = 0;
    let mut run = |world: &mut World, seconds: u64| {
        for _ in 0..seconds * NANOS_PER_SECOND / STEP {
            time += STEP;
            world.step(0, time);
            world.step(1, time);
        }
        time
    };
    let now = run(&mut world, 20);
    let (leaving, left) = (world.nodes[0].now(now), world.nodes[0].members.inc());
    world.nodes[0].members.set_state(NodeState::Left, leaving);
    run(&mut world, 12);
    assert!(world.nodes[0].members.has_left() && !world.nodes[0].members.is_fenced());
    assert_eq!(world.adopted, [left]);
    assert!(!world.nodes[1].members.is_alive(left));
}

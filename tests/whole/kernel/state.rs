//! What the simulation consists of: time, events, connections, cores.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;

use super::core::Core;
use super::disk::Disk;
use super::network::Connection;

/// Numbers from a seed (SplitMix64).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// How unruly the network and the kernel are.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Longest time that bytes, ends and wakes travel, in nanoseconds.
    pub delay_max: u64,
    /// Bytes that one direction of a connection holds, at most.
    pub capacity_max: usize,
    /// A completion that is due is put off to a later wait, one time in this many. 0: never.
    pub defer_one_in: usize,
    /// Bytes are cut into pieces of any size; else as large as a buffer.
    pub cuts: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config { delay_max: 2_000_000, capacity_max: 256 << 10, defer_one_in: 4, cuts: true }
    }
}

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Something has arrived at the server's end of a connection, or there is room to send to its peer.
    Server(usize),
    /// A connection has arrived at a listener.
    Connect { connection: usize, address: u16 },
    /// A wake has arrived.
    Wake { core: usize },
    /// Something has arrived at a client. It asks for itself.
    Client,
    /// A transfer of a core ends.
    Transfer { core: usize, transfer: usize },
}

pub struct State {
    pub now: u64,
    pub random: Random,
    pub config: Config,
    pub connections: Vec<Connection>,
    pub cores: Vec<Core>,
    pub descriptors_exhausted: bool,
    pub disk: Disk,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
}

impl State {
    pub fn new(seed: u64, config: Config) -> State {
        State {
            now: 1_000_000_000,
            random: Random(seed),
            config,
            connections: Vec::new(),
            cores: Vec::new(),
            descriptors_exhausted: false,
            disk: Disk::default(),
            events: BinaryHeap::new(),
            scheduled: 0,
        }
    }

    /// A time from now on at which what is sent now arrives.
    pub fn arrival(&mut self) -> u64 {
        let delay = self.config.delay_max;
        // Mostly soon, sometimes late.
        let bound = if self.random.one_in(8) { delay } else { delay / 16 };
        self.now + self.random.below(bound as usize + 1) as u64
    }

    pub fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    pub fn next_event(&self) -> Option<u64> {
        self.events.peek().map(|Reverse((at, _, _))| *at)
    }

    pub fn advance(&mut self, until: u64) -> u64 {
        self.notice_wakes();
        let next = self.next_event().map_or(until, |at| at.min(until));
        self.now = self.now.max(next);
        while let Some(Reverse((at, _, event))) = self.events.peek().copied()
            && at <= self.now
        {
            self.events.pop();
            self.apply(event);
        }
        self.now
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Server(connection) => {
                if let Some((core, socket)) = self.connections[connection].server {
                    self.cores[core].activate(socket);
                }
            }
            Event::Connect { connection, address } => self.arrive(connection, address),
            Event::Wake { core } => self.cores[core].woken = true,
            Event::Client => {}
            Event::Transfer { core, transfer } => {
                let State { cores, disk, random, .. } = self;
                cores[core].end_transfer(transfer, disk, random);
            }
        }
    }

    /// Puts a connection into the backlog of one of those who listen.
    fn arrive(&mut self, connection: usize, address: u16) {
        let listeners = self.listeners(address);
        if listeners.is_empty() {
            return self.connections[connection].refuse(self.now);
        }
        let (core, listener) = listeners[self.random.below(listeners.len())];
        self.cores[core].listeners[listener].backlog.push_back(connection);
    }

    fn listeners(&self, address: u16) -> Vec<(usize, usize)> {
        let of_core = |(core, state): (usize, &Core)| {
            let listens = move |(at, listener): (usize, &super::core::ListenerState)| {
                (listener.address == address && !listener.stopped).then_some((core, at))
            };
            state.listeners.iter().enumerate().filter_map(listens).collect::<Vec<_>>()
        };
        self.cores.iter().enumerate().flat_map(of_core).collect()
    }

    pub fn connect(&mut self, address: u16, peer: Option<IpAddr>) -> Option<usize> {
        if self.listeners(address).is_empty() {
            return None;
        }
        let connection = self.pair();
        self.connections[connection].peer = peer;
        // A handshake that is through is in the backlog at once; its first bytes may come later.
        self.arrive(connection, address);
        Some(connection)
    }

    pub fn pair(&mut self) -> usize {
        let capacity = |random: &mut Random, most: usize| 1 + most / 2 + random.below(most / 2 + 1);
        let most = self.config.capacity_max;
        let (inbound, outbound) = (capacity(&mut self.random, most), capacity(&mut self.random, most));
        self.connections.push(Connection::new(inbound, outbound));
        self.connections.len() - 1
    }

    /// Lets wakes that threads or cores have asked for travel.
    pub fn notice_wakes(&mut self) {
        for core in 0..self.cores.len() {
            if self.cores[core].wake_asked() {
                let at = self.arrival();
                self.schedule(at, Event::Wake { core });
            }
        }
    }

    pub fn is_runnable(&mut self, core: usize) -> bool {
        self.notice_wakes();
        let now = self.now;
        let core = &mut self.cores[core];
        core.until.is_some_and(|until| until <= now) || core.has_work()
    }

    /// Takes all of `keys` in an order of the seed.
    pub fn shuffle<T>(&mut self, items: &mut VecDeque<T>) -> Vec<T> {
        let mut taken: Vec<T> = items.drain(..).collect();
        for at in (1..taken.len()).rev() {
            taken.swap(at, self.random.below(at + 1));
        }
        taken
    }
}

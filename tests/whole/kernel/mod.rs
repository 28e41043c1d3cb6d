//! A simulated kernel: [`tidegate::io::Io`] for any number of cores over one seeded network, in one thread and in virtual
//! time.
//!
//! Everything that a kernel may do differently each time is drawn from the seed: how bytes are cut and delayed, how much
//! of a send is taken, in which order and in which wait completions are reported, when wakes arrive, when buffers and
//! descriptors run out. [`World::advance`] moves time; nothing else does, and no wait blocks.
//!
//! Misuse that the real kernels would let pass (two sends at a time, a socket that was never reported) panics.

#![allow(dead_code, unused_imports, reason = "each test program uses its own part of the simulation")]

mod core;
mod disk;
mod network;
mod state;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

pub use self::core::{SimKernel, SimListener, SimStream};
pub use self::disk::{Disk, Faults, SimFile};
pub use self::network::{Heard, SimClient};
use self::state::State;
pub use self::state::{Config, Random};

/// A network and the cores on it. Clones share it.
#[derive(Clone)]
pub struct World(Rc<RefCell<State>>);

impl World {
    pub fn new(seed: u64, config: Config) -> World {
        World(Rc::new(RefCell::new(State::new(seed, config))))
    }

    /// A world with a disk that an earlier one has left.
    pub fn with_disk(seed: u64, config: Config, disk: Disk) -> World {
        let world = World::new(seed, config);
        world.0.borrow_mut().disk = disk;
        world
    }

    /// The disk.
    pub fn disk(&self) -> Disk {
        self.0.borrow().disk.clone()
    }

    /// Adds a core and returns its kernel.
    pub fn kernel(&self) -> SimKernel {
        SimKernel::new(self.0.clone())
    }

    /// Returns a listener on `address`, to be added to one kernel. Connections are spread over all listeners that share
    /// an address.
    pub fn listener(&self, address: u16) -> SimListener {
        SimListener { address }
    }

    /// Connects to `address`; `None` if nobody listens.
    pub fn connect(&self, address: u16, peer: Option<IpAddr>) -> Option<SimClient> {
        let connection = self.0.borrow_mut().connect(address, peer)?;
        Some(SimClient::new(self.0.clone(), connection))
    }

    /// Returns a connected pair: what a kernel adopts, and its peer.
    pub fn pair(&self) -> (SimStream, SimClient) {
        let connection = self.0.borrow_mut().pair();
        (SimStream { connection }, SimClient::new(self.0.clone(), connection))
    }

    /// Nanoseconds of virtual time.
    pub fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Moves time to the next event of the network or to `until`, whichever is first, and returns the new time.
    pub fn advance(&self, until: u64) -> u64 {
        self.0.borrow_mut().advance(until)
    }

    /// Time of the next event of the network.
    pub fn next_event(&self) -> Option<u64> {
        self.0.borrow().next_event()
    }

    /// Whether a wait of core `core` would return: it has completions, was woken, or its time has come.
    pub fn is_runnable(&self, core: usize) -> bool {
        self.0.borrow_mut().is_runnable(core)
    }

    /// Time until which core `core` waits, as it said last.
    pub fn waits_until(&self, core: usize) -> Option<u64> {
        self.0.borrow().cores[core].until
    }

    /// Lets descriptors run out, or come back.
    pub fn exhaust_descriptors(&self, exhausted: bool) {
        self.0.borrow_mut().descriptors_exhausted = exhausted;
    }

    /// Receive buffers of core `core` that are lent out.
    pub fn lent_buffers(&self, core: usize) -> usize {
        self.0.borrow_mut().cores[core].lent_buffers()
    }

    /// Sockets of core `core` that are not closed.
    pub fn open_sockets(&self, core: usize) -> usize {
        self.0.borrow().cores[core].sockets.len()
    }

    /// A number below `bound` from the seed, so that a test's own choices replay too.
    pub fn below(&self, bound: usize) -> usize {
        self.0.borrow_mut().random.below(bound)
    }
}

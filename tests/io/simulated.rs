//! The simulated kernel as a backend: its own seed for each run of a scenario, and time that passes when it waits.

use std::cell::Cell;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tidegate::io::Safety;

use crate::host;
use crate::kernel::{Config, Faults, Heard, SimClient, SimFile, SimKernel, SimListener, SimStream, World};

/// Seeds that each scenario runs with.
const SEEDS: u64 = 5;

thread_local! {
    static SEED: Cell<u64> = const { Cell::new(0) };
}

pub struct Simulated {
    world: World,
    kernel: SimKernel,
    address: u16,
}

impl host::World for Simulated {
    type Io = SimKernel;
    type Client = SimClient;

    // The capacity of a simulated connection has a bound.
    const MORE_THAN_FITS: usize = 1 << 20;

    fn open() -> Simulated {
        let world = World::new(SEED.get(), Config::default());
        let kernel = world.kernel();
        Simulated { world, kernel, address: 0 }
    }

    fn each_seed(scenario: fn()) {
        for seed in 0..SEEDS {
            SEED.set(seed);
            if let Err(failure) = catch_unwind(AssertUnwindSafe(scenario)) {
                eprintln!("with seed {seed}");
                resume_unwind(failure);
            }
        }
    }

    fn io(&mut self) -> &mut SimKernel {
        &mut self.kernel
    }

    fn listener(&mut self) -> SimListener {
        self.address += 1;
        self.world.listener(self.address)
    }

    fn try_connect(&mut self) -> Option<SimClient> {
        self.world.connect(self.address, Some(IpAddr::from([127, 0, 0, 1])))
    }

    fn pair(&mut self) -> (SimStream, SimClient) {
        self.world.pair()
    }

    fn file(&mut self, bytes: usize, safety: Safety) -> SimFile {
        let disk = self.world.disk();
        disk.set_faults(Faults { delay_max: 2_000_000, ..Faults::default() });
        let name = disk.names().len().to_string();
        assert!(disk.create(&name, vec![0; bytes]));
        disk.open(&name, safety).expect("it was made")
    }

    fn now(&mut self) -> u64 {
        self.world.now()
    }

    fn goes_on(&mut self, until: Option<u64>) -> bool {
        if until.is_some_and(|until| self.world.now() >= until) {
            return false;
        }
        if !self.world.is_runnable(self.kernel.core()) {
            let next =
                until.or(self.world.next_event()).expect("a wait without a limit, and nothing to wait for");
            self.world.advance(next);
        }
        true
    }
}

impl host::Client for SimClient {
    fn send(&mut self, bytes: &[u8]) -> Option<usize> {
        SimClient::send(self, bytes)
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> host::Heard {
        match SimClient::receive(self, into) {
            Heard::Bytes => host::Heard::Bytes,
            Heard::Nothing => host::Heard::Nothing,
            Heard::End => host::Heard::End,
            Heard::Reset => host::Heard::Reset,
        }
    }

    fn shutdown_write(&mut self) {
        SimClient::shutdown_write(self);
    }

    fn reset(self) {
        SimClient::reset(self);
    }

    fn shrink_receive_buffer(&mut self, bytes: usize) {
        SimClient::shrink_receive_buffer(self, bytes);
    }
}

/// The same seed gives the same completions at the same times.
#[test]
fn a_seed_replays() {
    let run = |seed| {
        SEED.set(seed);
        let mut host = host::Host::<Simulated>::new();
        let mut story = Vec::new();
        let (socket, mut client) = host.connection();
        host.receive(socket);
        for round in 0..200u32 {
            client.send(&vec![round as u8; 700]).expect("connected");
            host.turn();
            story.push((host.world.world.now(), host.seen(socket).received.len()));
        }
        story
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

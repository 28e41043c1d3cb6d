//! Cores on a simulated kernel, from a seed: whole programs in one thread and in virtual time.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone.

#[path = "whole/driver.rs"]
mod driver;
#[path = "whole/kernel/mod.rs"]
mod kernel;
#[path = "whole/relay.rs"]
mod relay;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use driver::Driver;
use kernel::{Config, Heard, SimClient, SimKernel, World};
use relay::{Mailboxes, Relay};
use tidegate::io::Io;

/// Seeds that are run where the environment does not say.
const SEEDS: u64 = 100;
const ADDRESS: u16 = 1;
/// A simulation that has more to do than this will never end.
const STEPS_MAX: usize = 400_000;

/// A client, and what it has sent and heard.
struct Caller {
    client: Option<SimClient>,
    bytes: Vec<u8>,
    sent: usize,
    heard: Vec<u8>,
    shut_down: bool,
    /// It heard the end that it waited for, or is gone.
    done: bool,
    /// It will reset the connection after so many bytes.
    resets_after: Option<usize>,
}

#[test]
fn messages_between_cores_and_bytes_of_callers_are_neither_lost_nor_mixed_up() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut failures = 0;
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            Ok(accept_failures) => failures += accept_failures,
            Err(failure) => {
                eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
                resume_unwind(failure);
            }
        }
    }
    assert!(failures > 0 || seeds.end - seeds.start < 100, "descriptors never ran out");
}

/// Runs one seed. Returns how often accepting failed.
fn simulate(seed: u64) -> usize {
    let mut random = kernel::Random(seed ^ 0x5EED);
    let capacity_max = 1 << (8 + random.below(10));
    let world = World::new(seed, Config { capacity_max, ..Config::default() });
    let mut kernels: Vec<SimKernel> = (0..1 + random.below(4)).map(|_| world.kernel()).collect();
    let mailboxes: Mailboxes =
        Rc::new(RefCell::new(kernels.iter().map(|kernel| (VecDeque::new(), kernel.waker())).collect()));
    let cores = kernels.drain(..).map(|mut kernel| {
        let listener = kernel.add_listener(world.listener(ADDRESS)).expect("a listener");
        Relay::new(kernel, listener, Rc::clone(&mailboxes))
    });
    let cores = cores.collect();
    let mut driver = Driver::new(world.clone(), cores);
    let mut callers = Vec::new();
    let count = 1 + random.below(30);
    for _ in 0..STEPS_MAX {
        if callers.len() < count && random.one_in(20) {
            callers.push(call(&world, &mut random));
        }
        if random.one_in(500) {
            world.exhaust_descriptors(random.one_in(3));
        }
        let until = world.now() + 1_000_000;
        driver.step(until);
        callers.iter_mut().for_each(|caller| go_on(caller, &mut random));
        if callers.len() == count && callers.iter().all(|caller| caller.done) {
            world.exhaust_descriptors(false);
            break;
        }
    }
    assert!(callers.len() == count && callers.iter().all(|caller| caller.done), "a caller waits for ever");
    // What is left is closed, and all that was lent comes back.
    callers.clear();
    let open = |driver: &Driver<Relay>| {
        (0..driver.cores.len()).map(|core| driver.world.open_sockets(core)).sum::<usize>()
    };
    for _ in 0..STEPS_MAX {
        let accepted: usize = driver.cores.iter().map(|core| core.accepted).sum();
        let closed: usize = driver.cores.iter().map(|core| core.closed).sum();
        if open(&driver) == 0 && accepted == count && closed == count {
            break;
        }
        driver.step(world.now() + 1_000_000);
    }
    assert_eq!(open(&driver), 0, "a socket is never closed");
    (0..driver.cores.len()).for_each(|core| assert_eq!(world.lent_buffers(core), 0, "a buffer is kept"));
    driver.cores.iter().map(|core| core.failures).sum()
}

fn call(world: &World, random: &mut kernel::Random) -> Caller {
    let magnitude = 4 + random.below(14);
    let length = random.below(1 << magnitude);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(length).collect();
    let resets_after = random.one_in(5).then(|| random.below(length + 1));
    let client = world.connect(ADDRESS, None).expect("somebody listens");
    Caller {
        client: Some(client),
        bytes,
        sent: 0,
        heard: Vec::new(),
        shut_down: false,
        done: false,
        resets_after,
    }
}

fn go_on(caller: &mut Caller, random: &mut kernel::Random) {
    let Some(client) = &mut caller.client else { return };
    if random.one_in(2) && !caller.shut_down {
        caller.sent += client.send(&caller.bytes[caller.sent..]).expect("nobody resets it");
        if caller.sent == caller.bytes.len() {
            caller.shut_down = true;
            client.shutdown_write();
        }
    }
    if random.one_in(2) {
        match client.receive(&mut caller.heard) {
            Heard::End => {
                assert!(
                    caller.heard == caller.bytes,
                    "{} of {} bytes",
                    caller.heard.len(),
                    caller.bytes.len()
                );
                caller.done = true;
            }
            Heard::Reset => panic!("nobody resets it"),
            Heard::Bytes | Heard::Nothing => {}
        }
        assert!(caller.bytes.starts_with(&caller.heard), "in order");
    }
    if caller.resets_after.is_some_and(|count| caller.sent >= count)
        && let Some(client) = caller.client.take()
    {
        caller.done = true;
        client.reset();
    }
}

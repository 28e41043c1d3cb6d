//! A process in simulation, from a seed: cores with clocks of their own that stall, clients that pipeline and drop,
//! mail that is late, workers that reply twice, refuse, fall silent and leave, limits that change.
//!
//! Held at every step: no window over its limit and nobody refused below it; as many places taken as requests wait; the
//! first reply wins and goes to the caller it is for; no trigger after a refusal. At the end: nothing is left.
//!
//! `TIDEGATE_SIM_SEEDS` says how many seeds are run, `TIDEGATE_SIM_SEED` which one alone.

#[path = "sim/model.rs"]
mod model;
#[path = "sim/observer.rs"]
mod observer;
#[path = "sim/request.rs"]
mod request;
#[path = "sim/worker.rs"]
mod worker;
#[path = "sim/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use model::{GUARDED, WEBHOOKS};
use observer::{Call, Fate};
use tidegate::base::clock::NANOS_PER_SECOND;
use world::{Event, MILLISECOND, Mail, World};

/// Seeds that are run where the environment does not say.
const SEEDS: u64 = 3_000;
/// `u:p`, as `Authorization: Basic` has it.
const CREDENTIALS: &str = "dTpw";

#[test]
fn what_is_promised_holds_whatever_happens_in_between() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seeds = match number("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut fates = [0u64; 5];
    for seed in seeds.clone() {
        match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
            Ok(of_seed) => fates.iter_mut().zip(of_seed).for_each(|(all, one)| *all += one),
            Err(failure) => {
                eprintln!("seed {seed} failed: TIDEGATE_SIM_SEED={seed} runs it alone");
                resume_unwind(failure);
            }
        }
    }
    println!("sent, refused, waiting, answered, gone: {fates:?}");
    // The simulation would prove little if nothing of a kind ever happened.
    let [_, refused, waiting, answered, gone] = fates;
    let enough = seeds.end - seeds.start < 100 || refused > 100 && answered > 100 && gone > 10;
    assert!(waiting == 0 && enough, "{fates:?}");
}

/// Runs one seed; how many calls had each fate.
fn simulate(seed: u64) -> [u64; 5] {
    let mut world = World::new(seed);
    let clients = 1 + world.random.below(12);
    for _ in 0..clients {
        client(&mut world);
    }
    for flow in 0..WEBHOOKS {
        for _ in 0..world.random.below(3) {
            let time = moment(&mut world);
            world.schedule(time, Event::Attach { flow });
        }
    }
    for _ in 0..world.random.below(4) {
        let (time, webhook) = (moment(&mut world), world.random.below(WEBHOOKS as u64) as usize);
        world.schedule(time, Event::Change { webhook });
    }
    for _ in 0..world.random.below(4) {
        let (time, core) = (moment(&mut world), world.random.below(world.cores.len() as u64) as usize);
        let nanos = world.random.below(1_500 * MILLISECOND);
        world.schedule(time, Event::Stall { core, nanos });
    }
    world.run();
    world.is_ending = true;
    for flow in 0..WEBHOOKS {
        world.schedule(world.time, Event::Attach { flow });
    }
    world.run();
    end(&world)
}

/// Some time in the first seconds.
fn moment(world: &mut World) -> u64 {
    world.time + world.random.below(5 * NANOS_PER_SECOND)
}

/// Writes what one client does: requests in a row, in pieces, and perhaps an early end.
fn client(world: &mut World) {
    let core = world.random.below(world.cores.len() as u64) as usize;
    let connection = world.connect(core);
    let mut time = moment(world);
    for _ in 0..1 + world.random.below(6) {
        let (number, webhook) = (world.observer.calls.len(), world.random.below(WEBHOOKS as u64) as usize);
        world.observer.outstanding.entry(connection).or_default().push_back(number);
        let (bytes, is_good) = request(world, webhook, number);
        let call = Call { webhook, connection, is_good, fate: Fate::Sent, accepted: 0, offered: 0 };
        world.observer.calls.push(call);
        let cut = world.random.below(bytes.len() as u64 + 1) as usize;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            time += world.random.below(3) * world.random.below(400 * MILLISECOND);
            let mail = Mail::Bytes { connection, bytes: piece.to_vec() };
            world.schedule(time, Event::Arrive(core, mail));
        }
    }
    if world.random.one_in(4) {
        time += world.random.below(2 * NANOS_PER_SECOND);
        world.schedule(time, Event::Arrive(core, Mail::Gone { connection }));
    }
}

/// A request to the webhook, and whether it is one that must be taken.
fn request(world: &mut World, webhook: usize, number: usize) -> (Vec<u8>, bool) {
    let random = &mut world.random;
    let (is_known, is_small) = (!random.one_in(16), !random.one_in(20));
    let has_credentials = webhook == GUARDED && !random.one_in(4);
    let token =
        if is_known { world.model.webhooks[webhook].token.as_str().to_owned() } else { "x".repeat(40) };
    let credentials = match has_credentials {
        true => format!("Authorization: Basic {CREDENTIALS}\r\n"),
        false => String::new(),
    };
    let pad = if is_small { String::new() } else { " ".repeat(300) };
    let body = format!("{{\"n\":{number}}}{pad}");
    let bytes = format!(
        "POST /webhooks/{token}/{number} HTTP/1.1\r\nHost: a\r\n{credentials}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    (bytes.into_bytes(), is_known && is_small && (has_credentials || webhook != GUARDED))
}

/// Nothing is left of anything: places, slots, timers, triggers, room, callers who were not told.
fn end(world: &World) -> [u64; 5] {
    for index in 0..WEBHOOKS {
        assert_eq!(world.observer.holding(index), 0);
        let backlog = world.registry.flow(world.flow_id(index)).expect("a flow of the model");
        assert_eq!((backlog.triggers(), world.queues[&index].open()), (0, 0), "triggers of flow {index}");
    }
    for core in &world.cores {
        assert_eq!((core.slots.len(), core.wheel.len()), (0, 0));
    }
    for (connection, outstanding) in &world.observer.outstanding {
        assert!(
            world.connections[*connection].closed || outstanding.is_empty(),
            "{outstanding:?} were not told"
        );
    }
    let mut fates = [0; 5];
    for call in &world.observer.calls {
        fates[call.fate as usize] += 1;
        let is_told = matches!(call.fate, Fate::Refused | Fate::Answered);
        assert!(is_told || world.connections[call.connection].closed, "{call:?}");
        assert!(call.fate != Fate::Refused || call.accepted + call.offered == 0, "{call:?}");
    }
    fates
}

//! The rate limiter, on one thread and on two; the timer wheel; and a reply that is awaited.

mod common;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::base::wheel::Wheel;
use tidegate::engine::Waits;
use tidegate::limit::{Rate, TICK_NANOS};
use tidegate::reply::Reply;

const WINDOW_SECONDS: u32 = 10;
/// Replies that are awaited while one more is.
const WAITING: u64 = 100_000;
const REPLY_NANOS: u64 = 60 * NANOS_PER_SECOND;
const REPLY_BYTES: u32 = 262_144;

fn rates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate");
    let begun = common::now();
    let high = Rate::new(1, common::RATE_HIGH, WINDOW_SECONDS);
    // A request every 10 µs, so that leases and returns are part of it.
    let mut now = begun;
    group.bench_function("accepted", |bencher| {
        bencher.iter(|| {
            now = Now { nanos: now.nanos + 10_000, ..now };
            high.take(black_box(0), now).is_ok()
        });
    });
    let low = Rate::new(1, 1, WINDOW_SECONDS);
    assert!(low.take(0, begun).is_ok(), "the only token");
    let over = Now { nanos: begun.nanos + TICK_NANOS, ..begun };
    group.bench_function("refused", |bencher| {
        bencher.iter(|| low.take(black_box(0), over).is_err());
    });
    let (high, low) = (Rate::new(2, common::RATE_HIGH, WINDOW_SECONDS), Rate::new(2, 1, WINDOW_SECONDS));
    assert!(low.take(0, begun).is_ok(), "the only token");
    for (name, rate) in [("accepted on two threads", &high), ("refused on two threads", &low)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| on_two_threads(rate, over, rounds));
        });
    }
    group.finish();
}

/// Time for so many calls on each of two threads, which are two cores to the limiter: where they do not disturb one
/// another, what one takes alone.
fn on_two_threads(rate: &Rate, begun: Now, rounds: u64) -> Duration {
    let together = Barrier::new(2);
    let calls = |core| {
        let mut now = begun;
        together.wait();
        let began = Instant::now();
        for _ in 0..rounds {
            now = Now { nanos: now.nanos + 10_000, ..now };
            black_box(rate.take(black_box(core), now).is_ok());
        }
        began.elapsed()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| calls(1));
        calls(0).max(other.join().expect("the other thread calls too"))
    })
}

/// A wait of the engine's, ended by its reply or by the time that it has.
fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("awaited reply");
    // So that as many wait at any time: one begins as one ends.
    let step = REPLY_NANOS / WAITING;
    let begun = || {
        let mut waits = Waits::new(0);
        for at in 1..=WAITING {
            waits.begin(at * step + REPLY_NANOS, REPLY_BYTES);
        }
        waits
    };
    group.bench_function(format!("set and replied beside {WAITING}"), |bencher| {
        let mut waits = begun();
        let reply = || Box::new(Reply { body: Some("{}".into()), ..Reply::default() });
        bencher.iter_batched(
            reply,
            |reply| {
                let wait = waits.begin(black_box(WAITING * step + REPLY_NANOS), REPLY_BYTES);
                assert!(waits.reply(wait, reply), "it waits");
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function(format!("set and expired beside {WAITING}"), |bencher| {
        bencher.iter_custom(|rounds| {
            let mut waits = begun();
            let (mut now, mut ended) = (WAITING * step, 0);
            let began = Instant::now();
            for _ in 0..rounds {
                now += step;
                waits.begin(now + REPLY_NANOS, REPLY_BYTES);
                ended += waits.advance(now) as u64;
            }
            let took = began.elapsed();
            assert!(ended + WAITING / 10 >= rounds, "{ended} of {rounds} have ended");
            took
        });
    });
    group.finish();
}

fn wheels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    for waiting in [0_u64, 1_000_000] {
        let mut wheel: Wheel<u64> = Wheel::new(0);
        for at in 0..waiting {
            wheel.insert((3600 + at % 600) * NANOS_PER_SECOND, at);
        }
        group.bench_function(format!("set and cancel beside {waiting}"), |bencher| {
            bencher.iter(|| {
                let id = wheel.insert(black_box(60 * NANOS_PER_SECOND), 1);
                wheel.cancel(id)
            });
        });
    }
    let (mut now, mut fired) = (0, Vec::new());
    group.bench_function("set and expire", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut wheel: Wheel<u64> = Wheel::new(now);
            let began = Instant::now();
            for at in 0..rounds {
                wheel.insert(now + NANOS_PER_SECOND + at * 1_000, at);
            }
            now += NANOS_PER_SECOND * 2 + rounds * 1_000;
            fired.clear();
            wheel.advance(now, &mut fired);
            let took = began.elapsed();
            assert_eq!(fired.len() as u64, rounds, "all that was set has expired");
            took
        });
    });
    group.finish();
}

criterion_group!(benches, rates, replies, wheels);
criterion_main!(benches);

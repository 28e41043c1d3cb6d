//! The rate limiter and the timer wheel.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::base::wheel::Wheel;
use tidegate::limit::{Rate, TICK_NANOS};

const WINDOW_SECONDS: u32 = 10;

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
            let began = std::time::Instant::now();
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

criterion_group!(benches, rates, wheels);
criterion_main!(benches);

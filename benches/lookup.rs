//! From a token to its webhook, among one, a thousand and a million, at random.

mod common;

use std::cell::OnceCell;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::base::id::{Token, TokenText};
use tidegate::registry::Registry;

fn lookups(criterion: &mut Criterion) {
    let now = common::now();
    let mut group = criterion.benchmark_group("lookup");
    for count in [1, 1_000, 1_000_000] {
        // Made when the first of its benchmarks is run: a test of one of them makes no other's million.
        let made: OnceCell<(Registry, Vec<Token>)> = OnceCell::new();
        let made = || {
            made.get_or_init(|| {
                let model = common::Model::of(count, now);
                let tokens = model.webhooks.iter().map(|webhook| webhook.token.key()).collect();
                (model.registry(now), tokens)
            })
        };
        // A walk in steps that share no factor with the count: every webhook, in no order that a cache could guess.
        let mut at = 0;
        group.bench_function(format!("of {count}"), |bencher| {
            let (registry, tokens) = made();
            bencher.iter(|| {
                at = (at + 611_953) % count;
                let pin = registry.pin();
                pin.find(black_box(&tokens[at])).map(|hook| hook.response_code)
            });
        });
        let unknown = TokenText::generate().key();
        group.bench_function(format!("unknown among {count}"), |bencher| {
            let (registry, _) = made();
            bencher.iter(|| registry.pin().find(black_box(&unknown)).is_some());
        });
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);

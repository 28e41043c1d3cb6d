//! The timer wheel against a sorted map.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::base::wheel::{TICK_NANOS, TimerId, Wheel};

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut now = choices.number();
    let mut wheel: Wheel<u32> = Wheel::new(now);
    // By the tick in which they are due, then by the order in which they were set.
    let mut model: BTreeMap<(u64, u32), TimerId> = BTreeMap::new();
    let mut gone: Vec<TimerId> = Vec::new();
    let mut key = 0;
    while !choices.is_over() {
        match choices.below(8) {
            0..4 => {
                let deadline = match choices.below(4) {
                    0 => choices.number(),
                    1 => now.saturating_sub(choices.number()),
                    _ => now.saturating_add(choices.number()),
                };
                let id = wheel.insert(deadline, key);
                // Past ones are due at once, in the order in which they were set.
                let tick = deadline.div_ceil(TICK_NANOS).min(u64::MAX / TICK_NANOS).max(now / TICK_NANOS);
                model.insert((tick, key), id);
                key += 1;
            }
            4 => {
                let Some((&place, &id)) = model.iter().nth(choices.below(64)) else { continue };
                assert!(wheel.cancel(id));
                model.remove(&place);
                gone.push(id);
            }
            5 => {
                if let Some(id) = gone.get(choices.below(64)) {
                    assert!(!wheel.cancel(*id), "a timer that fired or was cancelled is cancelled");
                }
            }
            _ => {
                let to = match choices.below(3) {
                    0 => wheel.next_deadline().unwrap_or(now),
                    1 => now.saturating_sub(choices.number()),
                    _ => now.saturating_add(choices.number()),
                };
                now = now.max(to);
                let mut fired = Vec::new();
                wheel.advance(to, &mut fired);
                let later = model.split_off(&(now / TICK_NANOS + 1, 0));
                let due = std::mem::replace(&mut model, later);
                assert_eq!(fired, due.keys().map(|(_, key)| *key).collect::<Vec<_>>());
                gone.extend(due.into_values());
            }
        }
        assert_eq!((wheel.len(), wheel.is_empty()), (model.len(), model.is_empty()));
        match (wheel.next_deadline(), model.first_key_value()) {
            (None, None) => {}
            // Never later than the first that is due, so that sleeping until then misses none.
            (Some(next), Some(((tick, _), _))) => assert!(next <= tick.saturating_mul(TICK_NANOS)),
            (next, first) => panic!("{next:?} for {first:?}"),
        }
    }
});

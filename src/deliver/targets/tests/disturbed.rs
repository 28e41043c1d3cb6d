//! Five nodes of one webhook at 1,000 calls a second, in virtual time: a target that never answers, one that is slow, one
//! that answers 500 and asks for pauses, one that is gone, and one that is fine, which has each call when it had it alone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::*;

/// Time between two calls.
const CALL_INTERVAL: u64 = SECOND / 1_000;
const CALLS: u64 = 20_000;
/// Attempts of a core, as of the engine.
const IN_FLIGHT_MAX: usize = 4_096;
const TIMEOUT: u64 = 30 * SECOND;

/// Answers of a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hangs,
    Slow,
    Fails,
    Gone,
    Fine,
}

const DISTURBERS: [Kind; 4] = [Kind::Hangs, Kind::Slow, Kind::Fails, Kind::Gone];

impl Kind {
    /// How long an attempt takes, and how it ends.
    fn answer(self, number: u64) -> (u64, AttemptEnd) {
        let failed =
            |retry_after_nanos, is_final| AttemptEnd::Failed(FailedAttempt { retry_after_nanos, is_final });
        match self {
            Kind::Hangs => (TIMEOUT, failed(None, None)),
            Kind::Slow => (2 * SECOND, AttemptEnd::Done),
            Kind::Fails if number.is_multiple_of(64) => (CALL_INTERVAL, failed(Some(SECOND), None)),
            Kind::Fails => (CALL_INTERVAL, failed(None, None)),
            Kind::Gone => (CALL_INTERVAL, failed(None, Some(DeadReason::Gone))),
            // Between 2 and 9 ms.
            Kind::Fine => ((2 + number * 7 % 8) * SECOND / 1_000, AttemptEnd::Done),
        }
    }
}

/// The time from each call to the end of its delivery by the target that is fine.
fn delays(kinds: &[Kind], max_in_flight: u32) -> Vec<u64> {
    let mut targets: Targets<(usize, u64)> = Targets::new(IN_FLIGHT_MAX, Random::new(7));
    let mut landings: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let mut keys: HashMap<u64, (Key, AttemptEnd)> = HashMap::new();
    let (mut delays, mut calls, mut flights) = (Vec::new(), 0, 0);
    let fine = kinds.iter().filter(|kind| **kind == Kind::Fine).count();
    while delays.len() < CALLS as usize * fine {
        let call = if calls < CALLS { calls * CALL_INTERVAL } else { u64::MAX };
        let landing = landings.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
        let due = targets.next_deadline().unwrap_or(u64::MAX);
        let now = call.min(landing).min(due);
        let mut orders = Vec::new();
        if now == landing {
            let Some(Reverse((_, flight, _))) = landings.pop() else { unreachable!("it was there") };
            let (key, end) = keys.remove(&flight).expect("it is under way");
            targets.landed(key, end, now, &mut orders);
        } else if now == due {
            targets.on_time(now, &mut orders);
        } else {
            for (node, _) in kinds.iter().enumerate() {
                let new = NewDelivery {
                    flow: flow(node as u8),
                    node: "node".into(),
                    rules: TargetRules { max_in_flight, ..RULES },
                    order_key: None,
                    expiry: Expiry::Retention(DAY),
                    attempts: 0,
                    item: (node, calls),
                };
                targets.offer(new, now, &mut orders);
            }
            calls += 1;
        }
        for order in orders {
            match order {
                TargetOrder::Send { delivery, .. } => {
                    let (node, number) = *targets.get(delivery).expect("what is sent is open");
                    let (time, end) = kinds[node].answer(number);
                    flights += 1;
                    keys.insert(flights, (delivery, end));
                    landings.push(Reverse((now + time, flights, node)));
                }
                TargetOrder::Done { item: (node, number) } if kinds[node] == Kind::Fine => {
                    delays.push(now - number * CALL_INTERVAL);
                }
                _ => {}
            }
        }
    }
    delays.sort_unstable();
    delays
}

#[test]
fn a_target_that_is_fine_has_each_call_as_soon_as_it_had_it_alone() {
    // As nodes are by default, and where each may have all attempts of the core.
    for max_in_flight in [100, u32::MAX] {
        let alone = delays(&[Kind::Fine], max_in_flight);
        let among: Vec<Kind> = DISTURBERS.into_iter().chain([Kind::Fine]).collect();
        let beside = delays(&among, max_in_flight);
        assert_eq!(alone.len(), beside.len());
        let p99 = |delays: &[u64]| delays[delays.len() * 99 / 100];
        assert_eq!((p99(&beside), beside.last()), (p99(&alone), alone.last()), "{max_in_flight} at a time");
    }
}

//! The rules of the queues, against a model that knows only what was offered and ordered.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::wheel::TICK_NANOS;

const IN_FLIGHT_MAX: usize = 6;
const NODES: usize = 4;

#[derive(Clone, Debug)]
enum Event {
    Offer { node: usize, key: Option<u8>, caller: bool },
    Land { which: usize, end: u8 },
    Wait { nanos: u64 },
    Clear { flow: u8 },
}

/// The rules of each node: one and several at a time, with and without a rate, with and without an end.
fn rules(node: usize) -> TargetRules {
    let attempts = [None, Some(3), Some(1), None][node];
    TargetRules {
        max_in_flight: [100, 1, 3, 2][node],
        interval_nanos: [0, 0, SECOND / 10, SECOND][node],
        retry: RetryRules { attempts, backoff_nanos: SECOND / 2 },
    }
}

fn flow_of(node: usize) -> u8 {
    u8::try_from(node % 2).unwrap()
}

/// A trigger as the model sees it.
#[derive(Clone, Debug)]
struct Known {
    node: usize,
    key: Option<u8>,
    caller_ends: Option<u64>,
    in_flight: Option<Key>,
    has_ended: bool,
    attempts: u32,
}

struct Model {
    targets: Targets<usize>,
    known: Vec<Known>,
    now: u64,
    starts: [Vec<u64>; NODES],
    paused_until: [u64; NODES],
}

impl Model {
    fn new(seed: u64) -> Model {
        Model {
            targets: Targets::new(IN_FLIGHT_MAX, Random::new(seed)),
            known: Vec::new(),
            now: 0,
            starts: Default::default(),
            paused_until: [0; NODES],
        }
    }

    fn step(&mut self, event: &Event) {
        let mut orders = Vec::new();
        match *event {
            Event::Offer { node, key, caller } => {
                let caller_ends = caller.then(|| self.now + 2 * SECOND);
                let item = self.known.len();
                self.known.push(Known {
                    node,
                    key,
                    caller_ends,
                    in_flight: None,
                    has_ended: false,
                    attempts: 0,
                });
                let new = NewDelivery {
                    flow: flow(flow_of(node)),
                    node: node.to_string().into(),
                    rules: rules(node),
                    order_key: key.map(|key| Box::from([key])),
                    expiry: caller_ends.map_or(Expiry::Retention(self.now + 60 * SECOND), Expiry::Caller),
                    attempts: 0,
                    item,
                };
                self.targets.offer(new, self.now, &mut orders);
            }
            Event::Land { which, end } => {
                let flights: Vec<usize> = self.flights();
                let Some(&item) = flights.get(which % flights.len().max(1)) else { return };
                let known = &mut self.known[item];
                let key = known.in_flight.take().expect("it is in flight");
                let end = match end {
                    _ if known.caller_ends.is_some() && end > 1 => AttemptEnd::GivenUp,
                    0 | 1 => AttemptEnd::Done,
                    2 => {
                        let paused = &mut self.paused_until[known.node];
                        *paused = (*paused).max(self.now + SECOND);
                        let retry_after_nanos = Some(SECOND);
                        AttemptEnd::Failed(FailedAttempt { retry_after_nanos, is_final: None })
                    }
                    3 => AttemptEnd::Failed(FailedAttempt {
                        retry_after_nanos: None,
                        is_final: Some(DeadReason::Gone),
                    }),
                    _ => AttemptEnd::Failed(FailedAttempt::default()),
                };
                self.targets.landed(key, end, self.now, &mut orders);
            }
            Event::Wait { nanos } => {
                self.now += nanos;
                self.targets.on_time(self.now, &mut orders);
            }
            Event::Clear { flow: number } => {
                for item in self.targets.clear(flow(number), self.now, &mut orders) {
                    let known = &mut self.known[item];
                    assert_eq!(flow_of(known.node), number);
                    assert!(!std::mem::replace(&mut known.has_ended, true));
                    known.in_flight = None;
                }
                // A node that is made again begins again.
                for node in (0..NODES).filter(|node| flow_of(*node) == number) {
                    self.starts[node].clear();
                    self.paused_until[node] = 0;
                }
            }
        }
        for order in orders {
            self.take(order);
        }
        self.check();
    }

    fn take(&mut self, order: TargetOrder<usize>) {
        match order {
            TargetOrder::Send { delivery, attempt } => {
                let item = *self.targets.get(delivery).expect("what is sent is open");
                let known = &mut self.known[item];
                assert!(!known.has_ended && known.in_flight.is_none());
                assert!(known.caller_ends.is_none_or(|ends| ends > self.now), "nobody waits for it");
                assert!(self.now >= self.paused_until[known.node], "the target asked for a pause");
                known.attempts += 1;
                assert_eq!(attempt, known.attempts);
                known.in_flight = Some(delivery);
                self.starts[known.node].push(self.now);
            }
            TargetOrder::Done { item } | TargetOrder::Expired { item } => self.end(item),
            TargetOrder::Dead { item, reason, attempts } => {
                assert_eq!(attempts, self.known[item].attempts);
                if reason == DeadReason::Attempts {
                    assert_eq!(Some(attempts), rules(self.known[item].node).retry.attempts);
                }
                self.end(item);
            }
        }
    }

    fn end(&mut self, item: usize) {
        let known = &mut self.known[item];
        assert!(known.in_flight.is_none(), "it is in flight");
        assert!(!std::mem::replace(&mut known.has_ended, true), "it has ended before");
    }

    fn flights(&self) -> Vec<usize> {
        (0..self.known.len()).filter(|item| self.known[*item].in_flight.is_some()).collect()
    }

    fn check(&self) {
        let flights = self.flights();
        assert_eq!(self.targets.in_flight(), flights.len());
        assert!(flights.len() <= IN_FLIGHT_MAX);
        assert_eq!(self.targets.open(), self.known.iter().filter(|known| !known.has_ended).count());
        for node in 0..NODES {
            let of_node = flights.iter().filter(|item| self.known[**item].node == node).count();
            assert!(of_node <= rules(node).max_in_flight as usize);
            let interval = rules(node).interval_nanos;
            for (count, pair) in self.starts[node].windows(2).enumerate() {
                assert!(pair[1] - pair[0] + TICK_NANOS >= interval, "start {count} of {node} is too early");
            }
            let starts = &self.starts[node];
            if let (Some(first), Some(last)) = (starts.first(), starts.last()) {
                let least = (starts.len() as u64 - 1) * interval;
                assert!(last - first + TICK_NANOS * starts.len() as u64 >= least);
            }
        }
        // Of a lane only the first that is open is in flight.
        let mut firsts: BTreeMap<(usize, u8), usize> = BTreeMap::new();
        for (item, known) in self.known.iter().enumerate().filter(|(_, known)| !known.has_ended) {
            if let Some(key) = known.key {
                let first = *firsts.entry((known.node, key)).or_insert(item);
                assert!(known.in_flight.is_none() || first == item, "{item} overtakes {first}");
            }
        }
    }

    /// Lets all attempts succeed until nothing is open.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            if self.targets.open() == 0 {
                return;
            }
            if self.flights().is_empty() {
                let due = self.targets.next_deadline().expect("what is open is in flight, or due some time");
                let nanos = due.saturating_sub(self.now);
                self.step(&Event::Wait { nanos });
            }
            self.step(&Event::Land { which: 0, end: 0 });
        }
        panic!("{} triggers never end", self.targets.open());
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..NODES, prop::option::of(0..2_u8), prop::bool::weighted(0.2))
            .prop_map(|(node, key, caller)| Event::Offer { node, key, caller }),
        6 => (0..20_usize, 0..6_u8).prop_map(|(which, end)| Event::Land { which, end }),
        4 => (0..3 * SECOND).prop_map(|nanos| Event::Wait { nanos }),
        1 => Just(Event::Wait { nanos: 30 * SECOND }),
        1 => (0..2_u8).prop_map(|flow| Event::Clear { flow }),
    ]
}

proptest! {
    #[test]
    fn every_trigger_ends_once_within_the_rules_of_its_node(
        seed in any::<u64>(),
        events in prop::collection::vec(any_event(), 0..120),
    ) {
        let mut model = Model::new(seed);
        for event in &events {
            model.step(event);
        }
        model.drain();
    }
}

//! Stories of the queues in virtual time, and their rules held against every order of events.

use std::collections::BTreeMap;

use super::*;
use crate::base::clock::NANOS_PER_SECOND;
use crate::deliver::schedule::RetryRules;

mod disturbed;
mod rules;

const SECOND: u64 = NANOS_PER_SECOND;
const DAY: u64 = 86_400 * SECOND;
const RULES: TargetRules = TargetRules {
    max_in_flight: 100,
    interval_nanos: 0,
    retry: RetryRules { attempts: None, backoff_nanos: SECOND },
};

fn flow(number: u8) -> Id {
    format!("{number:024x}").parse().unwrap()
}

/// Queues whose orders read as words: `a1` is the first attempt of a, `a done`, `a expired`, `a dead of …`.
struct Story {
    targets: Targets<&'static str>,
    /// Where the attempts are.
    sent: BTreeMap<&'static str, Key>,
    now: u64,
}

impl Story {
    fn new(in_flight_max: usize) -> Story {
        Story { targets: Targets::new(in_flight_max, Random::new(1)), sent: BTreeMap::new(), now: 0 }
    }

    fn offer(&mut self, name: &'static str) -> String {
        self.offer_with(name, |_| {})
    }

    fn offer_with(
        &mut self,
        name: &'static str,
        change: impl FnOnce(&mut NewDelivery<&'static str>),
    ) -> String {
        let mut new = NewDelivery {
            flow: flow(1),
            node: "node".into(),
            rules: RULES,
            order_key: None,
            expiry: Expiry::Retention(DAY),
            attempts: 0,
            item: name,
        };
        change(&mut new);
        self.tell(|targets, now, orders| targets.offer(new, now, orders))
    }

    fn land(&mut self, name: &'static str, end: AttemptEnd) -> String {
        let key = self.sent.remove(name).expect("it is in flight");
        self.tell(|targets, now, orders| targets.landed(key, end, now, orders))
    }

    fn done(&mut self, name: &'static str) -> String {
        self.land(name, AttemptEnd::Done)
    }

    fn fail(&mut self, name: &'static str) -> String {
        self.land(name, AttemptEnd::Failed(FailedAttempt::default()))
    }

    /// Goes on to the next moment at which something is due.
    fn wait(&mut self) -> String {
        self.now = self.targets.next_deadline().expect("something is due").max(self.now);
        self.tell(|targets, now, orders| targets.on_time(now, orders))
    }

    fn tell(
        &mut self,
        call: impl FnOnce(&mut Targets<&'static str>, u64, &mut Vec<TargetOrder<&'static str>>),
    ) -> String {
        let mut orders = Vec::new();
        call(&mut self.targets, self.now, &mut orders);
        let words = orders.into_iter().map(|order| match order {
            TargetOrder::Send { delivery, attempt } => {
                let name = *self.targets.get(delivery).expect("what is sent is open");
                self.sent.insert(name, delivery);
                format!("{name}{attempt}")
            }
            TargetOrder::Done { item } => format!("{item} done"),
            TargetOrder::Expired { item } => format!("{item} expired"),
            TargetOrder::Dead { item, reason, attempts } => {
                format!("{item} dead of {} after {attempts}", reason.name())
            }
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

fn keyed(key: &str) -> impl FnOnce(&mut NewDelivery<&'static str>) + use<> {
    let key: Box<[u8]> = key.as_bytes().into();
    |new| new.order_key = Some(key)
}

#[test]
fn a_trigger_is_tried_until_it_is_done() {
    let mut story = Story::new(100);
    assert_eq!(story.offer("a"), "a1");
    assert_eq!(story.fail("a"), "");
    assert_eq!(story.wait(), "a2");
    assert!(story.now <= SECOND);
    assert_eq!(story.fail("a"), "");
    assert_eq!(story.wait(), "a3");
    assert_eq!(story.done("a"), "a done");
    assert_eq!(
        (story.targets.open(), story.targets.in_flight(), story.targets.next_deadline()),
        (0, 0, None)
    );
}

#[test]
fn a_node_has_as_many_in_flight_as_it_allows_and_others_do_not_wait_for_it() {
    let mut story = Story::new(100);
    let two = |new: &mut NewDelivery<&'static str>| new.rules.max_in_flight = 2;
    assert_eq!((story.offer_with("a", two), story.offer_with("b", two)), ("a1".into(), "b1".into()));
    assert_eq!(story.offer_with("c", two), "");
    assert_eq!(story.offer_with("other", |new| new.node = "other".into()), "other1");
    assert_eq!(story.done("b"), "b done, c1");
}

#[test]
fn those_with_the_same_key_are_sent_one_after_the_other_also_when_one_fails() {
    let mut story = Story::new(100);
    assert_eq!(story.offer_with("a", keyed("x")), "a1");
    assert_eq!(
        (story.offer_with("b", keyed("x")), story.offer_with("c", keyed("y"))),
        ("".into(), "c1".into())
    );
    assert_eq!(story.fail("a"), "", "b waits for a");
    assert_eq!(story.done("c"), "c done");
    assert_eq!(story.wait(), "a2");
    assert_eq!(story.done("a"), "a done, b1");
    let gone = FailedAttempt { is_final: Some(DeadReason::Gone), ..FailedAttempt::default() };
    assert_eq!(story.offer_with("d", keyed("x")), "");
    assert_eq!(story.land("b", AttemptEnd::Failed(gone)), "b dead of gone after 1, d1");
}

#[test]
fn a_target_that_asks_for_a_pause_gets_it_from_the_whole_node() {
    let mut story = Story::new(100);
    assert_eq!((story.offer("a"), story.offer("b")), ("a1".into(), "b1".into()));
    let asked = FailedAttempt { retry_after_nanos: Some(60 * SECOND), is_final: None };
    assert_eq!(story.land("a", AttemptEnd::Failed(asked)), "");
    assert_eq!(story.offer("c"), "");
    assert_eq!(story.done("b"), "b done");
    assert_eq!(story.wait(), "a2, c1");
    assert_eq!(story.now, 60 * SECOND);
    assert_eq!((story.done("a"), story.done("c")), ("a done".into(), "c done".into()));
}

#[test]
fn a_pause_outlives_the_last_trigger() {
    let mut story = Story::new(100);
    story.offer("a");
    let asked = FailedAttempt { retry_after_nanos: Some(60 * SECOND), is_final: Some(DeadReason::Gone) };
    assert_eq!(story.land("a", AttemptEnd::Failed(asked)), "a dead of gone after 1");
    assert_eq!(story.offer("b"), "");
    assert_eq!(story.wait(), "b1");
    assert_eq!(story.now, 60 * SECOND);
    assert_eq!(story.done("b"), "b done");
    assert_eq!(story.targets.next_deadline(), None);
}

#[test]
fn a_rate_spreads_the_starts() {
    let mut story = Story::new(100);
    let half = |new: &mut NewDelivery<&'static str>| new.rules.interval_nanos = SECOND / 2;
    assert_eq!((story.offer_with("a", half), story.offer_with("b", half)), ("a1".into(), "".into()));
    assert_eq!(story.offer_with("c", half), "");
    assert_eq!((story.wait(), story.now <= SECOND / 2), ("b1".into(), true));
    assert_eq!((story.wait(), story.now <= SECOND), ("c1".into(), true));
    assert!(story.now >= SECOND - 2 * crate::base::wheel::TICK_NANOS);
}

#[test]
fn what_nobody_waits_for_is_not_sent_and_what_is_too_old_is_dead() {
    let mut story = Story::new(100);
    let one = |new: &mut NewDelivery<&'static str>| new.rules.max_in_flight = 1;
    assert_eq!(story.offer_with("a", one), "a1");
    let caller = |new: &mut NewDelivery<&'static str>| {
        one(new);
        new.expiry = Expiry::Caller(SECOND);
    };
    assert_eq!((story.offer_with("b", caller), story.offer_with("c", one)), ("".into(), "".into()));
    assert_eq!(story.wait(), "b expired");
    assert_eq!(story.now, SECOND);
    assert_eq!(story.wait(), "c dead of retention after 0");
    assert_eq!(story.now, DAY);
    assert_eq!(story.fail("a"), "a dead of retention after 1");
}

#[test]
fn a_last_attempt_is_made_when_the_retention_ends() {
    let mut story = Story::new(100);
    let short = |new: &mut NewDelivery<&'static str>| new.expiry = Expiry::Retention(SECOND / 1_000);
    assert_eq!(story.offer_with("a", short), "a1");
    assert_eq!(story.fail("a"), "");
    assert_eq!(story.wait(), "a2");
    assert!(story.now <= SECOND / 1_000);
    story.now = SECOND;
    assert_eq!(story.fail("a"), "a dead of retention after 2");
}

#[test]
fn targets_that_hang_leave_room_for_one_that_does_not() {
    let mut story = Story::new(8);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
    for (number, name) in names.into_iter().enumerate() {
        story.offer_with(name, |new| new.node = (number % 2).to_string().into());
    }
    // Two that hang have a third each, and as much is free.
    assert_eq!(story.targets.in_flight(), 6);
    for _ in 0..3 {
        assert_eq!(story.offer_with("fine", |new| new.node = "fine".into()), "fine1");
        assert_eq!(story.done("fine"), "fine done");
    }
    let first = *story.sent.keys().next().unwrap();
    let ended = story.done(first);
    assert!(ended.contains(", "), "another one has its turn: {ended}");
    assert_eq!(story.targets.in_flight(), 6);
}

#[test]
fn a_flow_that_is_gone_leaves_nothing_and_gives_others_their_turn() {
    let mut story = Story::new(2);
    assert_eq!(story.offer("a"), "a1");
    assert_eq!(story.offer_with("b", keyed("x")), "");
    assert_eq!(story.offer_with("c", |new| new.flow = flow(2)), "c1");
    assert_eq!(story.offer_with("d", |new| new.flow = flow(2)), "");
    let mut cleared = Vec::new();
    let orders = story.tell(|targets, now, orders| cleared = targets.clear(flow(1), now, orders));
    cleared.sort_unstable();
    assert_eq!((cleared.as_slice(), orders.as_str()), (&["a", "b"][..], ""));
    assert_eq!(story.land("a", AttemptEnd::Done), "", "its result is of no use");
    assert_eq!(story.done("c"), "c done, d1");
    assert_eq!(story.done("d"), "d done");
    assert_eq!(
        (story.targets.open(), story.targets.in_flight(), story.targets.next_deadline()),
        (0, 0, None)
    );
}

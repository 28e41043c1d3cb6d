//! Stories of one flow's queue, and its rules held against every order of events.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::trigger::{Hidden, Payload, Peer, Tail, UpgradeData, WsEvent, websocket_event};

mod rules;

const ACK_TIMEOUT: u64 = 30 * NANOS_PER_SECOND;

/// A trigger of one node, which is known by its path.
fn trigger(name: &str) -> WorkerTrigger {
    let data = UpgradeData::new(
        name.as_bytes(),
        None,
        std::iter::empty(),
        Peer::Local,
        false,
        Hidden::default(),
        None,
    );
    let now = Now { nanos: 0, unix_millis: 0 };
    let event = websocket_event(&mut Vec::new(), now, &data, WsEvent::Connect, "id");
    let id = "0123456789abcdef01234567".parse().unwrap();
    let tail = Tail::new(id, "", id, id, "", Arc::from(&b"{}"[..]));
    WorkerTrigger {
        node_id: "node".into(),
        payload: Payload { event, tail: Arc::new(tail) },
        ack_timeout_nanos: ACK_TIMEOUT,
        max_in_flight: 1000,
        affinity: None,
        reply_id: None,
        expires_nanos: None,
        attempt: 1,
        behind: None,
        receipt: None,
        record: None,
        guest: None,
    }
}

fn name_of(trigger: &WorkerTrigger) -> String {
    let mut payload = Vec::new();
    trigger.payload.write(&mut payload);
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    payload["data"]["path"].as_str().unwrap().trim_start_matches('/').to_owned()
}

/// The places of connections: any slots give distinct keys.
fn places(count: usize) -> Vec<Key> {
    let mut slots = Slots::new();
    (0..count).map(|_| slots.insert(())).collect()
}

/// A queue whose orders read as words: `1>a` is trigger 1 sent to worker a, `1>a*2` its second attempt, `done`,
/// `cancel`, `watch`.
#[derive(Default)]
struct Story {
    queue: FlowQueue<char>,
    keys: BTreeMap<char, Key>,
    /// By the trigger's name: its seq and flight where it went last.
    sent: BTreeMap<String, (u64, Key)>,
    now: u64,
}

impl Story {
    fn attach(&mut self, name: char, credit: u32) -> String {
        let key = self.queue.attach(name);
        self.keys.insert(name, key);
        if credit > 0 { self.ready(name, credit) } else { String::new() }
    }

    fn ready(&mut self, name: char, credit: u32) -> String {
        let key = self.keys[&name];
        self.tell(|queue, now, orders| queue.ready(key, credit, now, orders))
    }

    fn detach(&mut self, name: char) -> String {
        let key = self.keys[&name];
        self.tell(|queue, now, orders| queue.detach(key, now, orders))
    }

    fn offer(&mut self, name: &str) -> String {
        self.offer_with(name, |_| {})
    }

    fn offer_with(&mut self, name: &str, change: impl FnOnce(&mut WorkerTrigger)) -> String {
        let mut trigger = trigger(name);
        change(&mut trigger);
        self.tell(|queue, now, orders| queue.offer(trigger, now, orders))
    }

    fn offer_to(&mut self, node: &str, max_in_flight: u32, name: &str) -> String {
        self.offer_with(name, |trigger| {
            trigger.node_id = node.into();
            trigger.max_in_flight = max_in_flight;
        })
    }

    fn offer_tied(&mut self, name: &str, place: Key, last: bool) -> String {
        self.offer_with(name, |trigger| trigger.affinity = Some(Affinity { key: (0, place), last }))
    }

    fn ack(&mut self, worker: char, name: &str) -> String {
        let (key, seq) = (self.keys[&worker], self.sent[name].0);
        self.tell(|queue, now, orders| assert!(queue.ack(key, seq, now, orders)))
    }

    fn nack(&mut self, worker: char, name: &str) -> String {
        let (key, seq) = (self.keys[&worker], self.sent[name].0);
        self.tell(|queue, now, orders| assert!(queue.nack(key, seq, now, orders)))
    }

    fn late(&mut self, name: &str) -> String {
        let flight = self.sent[name].1;
        self.tell(|queue, now, orders| queue.late(flight, now, orders))
    }

    fn tell(&mut self, act: impl FnOnce(&mut FlowQueue<char>, u64, &mut Vec<Order<char>>)) -> String {
        let mut orders = Vec::new();
        act(&mut self.queue, self.now, &mut orders);
        let words: Vec<String> = orders
            .into_iter()
            .map(|order| match order {
                Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
                    assert_eq!(deadline_nanos, self.now + trigger.ack_timeout_nanos);
                    let name = name_of(&trigger);
                    let sent = match trigger.attempt {
                        1 => format!("{name}>{worker}"),
                        attempt => format!("{name}>{worker}*{attempt}"),
                    };
                    self.sent.insert(name, (seq, flight));
                    sent
                }
                Order::Done { .. } => "done".to_owned(),
                Order::Returned { .. } => "returned".to_owned(),
                Order::Cancel(_) => "cancel".to_owned(),
                Order::Watch { .. } => "watch".to_owned(),
            })
            .collect();
        words.join(" ")
    }
}

#[test]
fn a_queue_counts_the_workers_that_are_attached() {
    let mut queue = FlowQueue::<char>::default();
    assert_eq!(queue.workers(), 0);
    let first = queue.attach('a');
    queue.attach('b');
    assert_eq!(queue.workers(), 2);
    queue.detach(first, 0, &mut Vec::new());
    assert_eq!(queue.workers(), 1);
}

#[test]
fn a_trigger_waits_for_a_worker_and_a_worker_for_credit() {
    let mut story = Story::default();
    assert_eq!(story.offer("1"), "");
    assert_eq!(story.attach('a', 0), "");
    assert_eq!((story.queue.open(), story.queue.is_waiting()), (1, true));
    assert_eq!(story.ready('a', 1), "1>a");
    assert_eq!(story.offer("2"), "", "the credit is spent");
    assert_eq!(story.ack('a', "1"), "done", "an ack is no credit");
    assert_eq!(story.ready('a', 1), "2>a");
    assert_eq!(story.ack('a', "2"), "done");
    assert_eq!(story.queue.open(), 0);
}

#[test]
fn credits_add_up_and_never_overflow() {
    let mut story = Story::default();
    story.attach('a', 2);
    story.ready('a', 1);
    assert_eq!(
        [story.offer("1"), story.offer("2"), story.offer("3"), story.offer("4")],
        ["1>a", "2>a", "3>a", ""]
    );
    for _ in 0..3 {
        story.ready('a', u32::MAX);
    }
    let key = story.keys[&'a'];
    assert!(story.queue.workers.get(key).unwrap().credit <= CREDIT_MAX);
}

#[test]
fn the_least_loaded_worker_gets_the_next_and_equals_take_turns() {
    let mut story = Story::default();
    for worker in ['a', 'b', 'c'] {
        story.attach(worker, 100);
    }
    let sent: Vec<String> = (1..=6).map(|name| story.offer(&name.to_string())).collect();
    assert_eq!(sent, ["1>a", "2>b", "3>c", "4>a", "5>b", "6>c"]);
    story.ack('b', "2");
    story.ack('b', "5");
    assert_eq!(story.offer("7"), "7>b");
    assert_eq!(story.offer("8"), "8>b");
}

#[test]
fn a_worker_holds_no_more_than_the_node_allows() {
    let mut story = Story::default();
    story.attach('a', 100);
    assert_eq!(story.offer_to("two", 2, "1"), "1>a");
    assert_eq!(story.offer_to("two", 2, "2"), "2>a");
    assert_eq!(story.offer_to("two", 2, "3"), "");
    assert_eq!(story.offer_to("one", 1, "another's"), "another's>a", "its own limit is not reached");
    assert_eq!(story.ack('a', "another's"), "done", "it is none of the first node's");
    assert_eq!(story.ack('a', "1"), "done 3>a");
    assert_eq!(story.offer_to("two", 2, "4"), "");
    assert_eq!(story.offer_to("two", 4, "5"), "4>a 5>a", "the node lets a worker have more now");
}

#[test]
fn a_node_whose_workers_are_busy_holds_back_no_other() {
    let mut story = Story::default();
    story.attach('a', 1_000);
    for number in 0..100 {
        let sent = story.offer_to("blocked", 1, &format!("blocked {number}"));
        assert_eq!(sent, if number == 0 { "blocked 0>a" } else { "" });
        let name = format!("free {number}");
        assert_eq!(story.offer_to("free", 1, &name), format!("{name}>a"));
        assert_eq!(story.ack('a', &name), "done");
    }
    assert_eq!(story.ack('a', "blocked 0"), "done blocked 1>a");
}

#[test]
fn what_came_back_from_a_worker_holds_back_nothing_that_it_may_take() {
    let mut story = Story::default();
    story.attach('a', 1_000);
    story.attach('b', 0);
    for number in 0..200 {
        story.offer(&format!("unwanted {number}"));
        assert_eq!(story.nack('a', &format!("unwanted {number}")), "", "it is for b, which takes nothing");
    }
    assert_eq!(story.offer("new"), "new>a");
    assert_eq!(story.ready('b', 1), "unwanted 0>b*2");
    assert!(story.detach('b').starts_with("unwanted 0>a*3 unwanted 1>a*2"), "there is no other any more");
}

#[test]
fn triggers_of_a_connection_for_a_node_that_is_busy_hold_back_no_other_node() {
    let mut story = Story::default();
    let place = places(1)[0];
    let offer = |story: &mut Story, node: &'static str, name: &str| {
        story.offer_with(name, |trigger| {
            trigger.node_id = node.into();
            trigger.max_in_flight = 1;
            trigger.affinity = Some(Affinity { key: (0, place), last: false });
        })
    };
    story.attach('a', 100);
    story.attach('b', 100);
    assert_eq!(offer(&mut story, "m", "m1"), "m1>a");
    assert_eq!(offer(&mut story, "n", "n1"), "n1>a", "the connection has its home");
    assert_eq!([offer(&mut story, "m", "m2"), offer(&mut story, "n", "n2")], ["", ""]);
    assert_eq!(story.ack('a', "n1"), "done n2>a");
    assert_eq!(story.detach('a'), "m1>b*2 n2>b*2");
    assert_eq!(story.ack('b', "m1"), "done m2>b");
}

#[test]
fn what_is_not_wanted_or_late_goes_to_another_with_a_higher_attempt() {
    let mut story = Story::default();
    story.attach('a', 10);
    story.attach('b', 10);
    assert_eq!(story.offer("1"), "1>a");
    assert_eq!(story.nack('a', "1"), "1>b*2");
    assert_eq!(story.late("1"), "1>a*3");
    assert_eq!(story.ack('a', "1"), "done");
}

#[test]
fn what_is_not_wanted_comes_back_to_the_only_worker_there_is() {
    let mut story = Story::default();
    story.attach('a', 10);
    story.offer("1");
    assert_eq!(story.nack('a', "1"), "1>a*2");
    story.attach('b', 0);
    assert_eq!(story.nack('a', "1"), "", "there is another now, which has no credit yet");
    assert_eq!(story.ready('b', 1), "1>b*3");
}

#[test]
fn a_late_ack_is_known_to_be_late() {
    let mut story = Story::default();
    story.attach('a', 10);
    story.attach('b', 10);
    story.offer("1");
    let (seq, flight) = story.sent["1"];
    assert_eq!(story.late("1"), "1>b*2");
    let key = story.keys[&'a'];
    assert_eq!(story.tell(|queue, now, orders| assert!(!queue.ack(key, seq, now, orders))), "");
    assert_eq!(
        story.tell(|queue, now, orders| queue.late(flight, now, orders)),
        "",
        "a timer that came too late"
    );
    assert_eq!(story.ack('b', "1"), "done");
}

#[test]
fn a_worker_that_was_late_comes_after_the_others_until_it_acks() {
    let mut story = Story::default();
    story.attach('a', 10);
    story.attach('b', 10);
    assert_eq!([story.offer("1"), story.offer("2")], ["1>a", "2>b"]);
    assert_eq!(story.late("1"), "1>b*2");
    assert_eq!([story.offer("3"), story.offer("4")], ["3>b", "4>b"], "although a has nothing to do");
    story.detach('b');
    assert_eq!(story.ack('a', "4"), "done");
    story.attach('c', 10);
    story.ack('a', "1");
    story.ack('a', "2");
    story.ack('a', "3");
    assert_eq!(story.offer("5"), "5>c");
    assert_eq!(story.offer("6"), "6>a");
}

#[test]
fn what_a_worker_had_comes_before_what_waits_in_its_order() {
    let mut story = Story::default();
    story.attach('a', 3);
    for name in ["1", "2", "3", "4"] {
        story.offer(name);
    }
    story.ack('a', "2");
    assert_eq!(story.detach('a'), "");
    assert_eq!(story.queue.open(), 3);
    assert_eq!(story.attach('b', 10), "1>b*2 3>b*2 4>b");
}

#[test]
fn a_thousand_of_a_worker_that_died_are_given_out_once_each() {
    let mut story = Story::default();
    story.attach('a', 1000);
    for name in 0..1000 {
        story.offer(&name.to_string());
    }
    story.attach('b', 600);
    story.attach('c', 400);
    let sent = story.detach('a');
    let mut names: Vec<&str> = sent.split(' ').collect();
    assert_eq!(names.iter().filter(|sent| sent.ends_with(">b*2")).count(), 600);
    assert_eq!(names.iter().filter(|sent| sent.ends_with(">c*2")).count(), 400);
    names.sort_unstable();
    names.dedup_by_key(|sent| sent.split_once('>').unwrap().0);
    assert_eq!(names.len(), 1000);
}

#[test]
fn triggers_of_a_connection_stay_with_one_worker_in_order() {
    let mut story = Story::default();
    let place = places(1)[0];
    story.attach('a', 2);
    story.attach('b', 10);
    assert_eq!(story.offer_tied("1", place, false), "1>a");
    assert_eq!(story.offer_tied("2", place, false), "2>a", "although b has less to do");
    assert_eq!(story.offer_tied("3", place, true), "", "although b has credit");
    assert_eq!(story.offer("another's"), "another's>b");
    assert_eq!(story.ready('a', 5), "3>a");
    for name in ["1", "2", "3"] {
        story.ack('a', name);
    }
    assert!(story.queue.ties.is_empty(), "nothing is kept of a connection that has ended");
}

#[test]
fn triggers_that_waited_before_there_was_a_worker_are_not_overtaken() {
    let mut story = Story::default();
    let place = places(1)[0];
    for name in ["1", "2", "3"] {
        story.offer_tied(name, place, false);
    }
    assert_eq!(story.attach('a', 1), "1>a");
    assert_eq!(story.offer_tied("4", place, false), "");
    assert_eq!(story.attach('b', 10), "", "the connection has its home");
    assert_eq!(story.ready('a', 10), "2>a 3>a 4>a");
}

#[test]
fn a_connection_whose_worker_is_busy_holds_back_nobody() {
    let mut story = Story::default();
    let place = places(1)[0];
    for name in 0..200 {
        story.offer_tied(&name.to_string(), place, false);
    }
    story.offer("another's");
    assert_eq!(story.attach('a', 1), "0>a");
    assert_eq!(story.attach('b', 1), "another's>b");
}

#[test]
fn a_connection_moves_whole_when_its_worker_leaves() {
    let mut story = Story::default();
    let place = places(1)[0];
    story.attach('a', 2);
    for name in ["1", "2", "3"] {
        story.offer_tied(name, place, false);
    }
    story.attach('b', 1);
    story.attach('c', 10);
    assert_eq!(story.detach('a'), "1>b*2");
    assert_eq!(story.offer_tied("4", place, true), "");
    assert_eq!(story.ready('b', 10), "2>b*2 3>b 4>b");
    for name in ["1", "2", "3", "4"] {
        story.ack('b', name);
    }
    assert!(story.queue.ties.is_empty());
}

#[test]
fn a_nacked_trigger_of_a_connection_moves_alone() {
    let mut story = Story::default();
    let place = places(1)[0];
    story.attach('a', 10);
    story.attach('b', 10);
    story.offer_tied("1", place, false);
    assert_eq!(story.nack('a', "1"), "1>b*2");
    assert_eq!(story.offer_tied("2", place, true), "2>a");
    story.ack('a', "2");
    assert!(!story.queue.ties.is_empty(), "one of its triggers is with b");
    story.ack('b', "1");
    assert!(story.queue.ties.is_empty());
}

#[test]
fn a_connection_leaves_a_worker_that_hangs() {
    let mut story = Story::default();
    let place = places(1)[0];
    story.attach('a', 2);
    story.attach('b', 10);
    for name in ["1", "2", "3"] {
        story.offer_tied(name, place, false);
    }
    assert_eq!(story.late("1"), "1>b*2 3>b");
    assert_eq!(story.offer_tied("4", place, false), "4>b");
    assert_eq!(story.late("2"), "2>b*2");
}

#[test]
fn a_reply_acks_the_trigger_that_it_names_or_the_only_one_that_it_can_mean() {
    let mut story = Story::default();
    story.attach('a', 10);
    for name in ["1", "2", "3"] {
        story.offer_with(name, |trigger| trigger.reply_id = Some("x.y".into()));
    }
    let a = story.keys[&'a'];
    let mut reply = |seq| {
        let mut replied = Ok(());
        let orders = story.tell(|queue, now, orders| replied = queue.replied(a, "x.y", seq, now, orders));
        (orders, replied)
    };
    let (done, nothing) = (|| ("done".to_owned(), Ok(())), || (String::new(), Ok(())));
    assert_eq!(reply(None), (String::new(), Err(ReplyUnclear { unacked: 3 })), "no guess");
    assert_eq!(reply(None), nothing(), "it is told once");
    assert_eq!(reply(Some(2)), done());
    assert_eq!(reply(Some(2)), nothing(), "a second reply to it");
    assert_eq!(reply(Some(1)), done());
    assert_eq!(reply(None), done(), "only 3 is left");
    assert_eq!(reply(None), nothing());
}

/// With a search for each, this would take many minutes.
#[test]
fn a_worker_acks_as_many_triggers_of_one_connection_as_it_has() {
    const TRIGGERS: usize = 100_000;
    let mut queue = FlowQueue::default();
    let (worker, place) = (queue.attach('a'), places(1)[0]);
    let mut orders = Vec::new();
    queue.ready(worker, CREDIT_MAX, 0, &mut orders);
    let trigger = trigger("x");
    for _ in 0..TRIGGERS {
        let mut trigger = trigger.clone();
        trigger.max_in_flight = u32::MAX;
        trigger.reply_id = Some("x.y".into());
        trigger.affinity = Some(Affinity { key: (0, place), last: false });
        queue.offer(trigger, 0, &mut orders);
    }
    assert_eq!(orders.len(), TRIGGERS);
    orders.clear();
    for seq in (1..=TRIGGERS as u64).rev() {
        assert!(queue.ack(worker, seq, 0, &mut orders));
    }
    assert_eq!((orders.len(), queue.open()), (TRIGGERS, 0));
}

#[test]
fn what_nobody_waits_for_any_more_is_let_go() {
    let mut story = Story::default();
    let until = |nanos: u64| move |trigger: &mut WorkerTrigger| trigger.expires_nanos = Some(nanos);
    story.offer_with("1", until(10));
    story.offer_with("2", until(20));
    story.offer("3");
    let mut next = None;
    story.now = 10;
    assert_eq!(story.tell(|queue, now, orders| next = queue.expire(now, orders)), "done");
    assert_eq!(next, Some(20));
    story.now = 20;
    assert_eq!(story.attach('a', 10), "done 3>a", "it is not sent either");
    assert_eq!(story.tell(|queue, now, orders| next = queue.expire(now, orders)), "");
    assert_eq!(next, None);
}

#[test]
fn what_comes_back_with_an_end_is_watched() {
    let mut story = Story::default();
    story.attach('a', 1);
    story.offer_with("1", |trigger| trigger.expires_nanos = Some(10));
    assert_eq!(story.nack('a', "1"), "watch");
}

#[test]
fn a_flow_that_is_gone_lets_everything_go() {
    let mut story = Story::default();
    let place = places(1)[0];
    story.attach('a', 2);
    story.offer("in flight");
    story.offer_tied("in flight too", place, false);
    story.offer_tied("bound", place, false);
    story.offer("waiting");
    assert_eq!(story.tell(|queue, _, orders| queue.clear(orders)), ["done"; 4].join(" "));
    assert_eq!(story.queue.open(), 0);
    assert!(!story.queue.is_empty(), "the worker is there still");
    assert_eq!(story.detach('a'), "");
    assert!(story.queue.is_empty());
}

#[test]
fn load_is_shared() {
    let mut story = Story::default();
    let names: Vec<char> = (0..50).map(|index| char::from(b'A' + index)).collect();
    for name in &names {
        story.attach(*name, 1000);
    }
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    let mut open: VecDeque<(char, String)> = VecDeque::new();
    for number in 0..5000_usize {
        let name = number.to_string();
        let worker = story.offer(&name).chars().last().unwrap();
        *counts.entry(worker).or_default() += 1;
        open.push_back((worker, name));
        // The workers are done in another order than they began.
        if open.len() > 120 {
            let (worker, name) = open.remove(number * 7919 % open.len()).unwrap();
            story.ack(worker, &name);
        }
    }
    assert!(names.iter().all(|name| (90..=110).contains(&counts[name])), "{counts:?}");
}

#[test]
fn a_worker_that_leaves_leaves_no_timer_behind() {
    let mut wheel = crate::base::wheel::Wheel::new(0);
    let mut queue = FlowQueue::default();
    let mut orders = Vec::new();
    let worker = queue.attach('a');
    queue.ready(worker, 1, 0, &mut orders);
    queue.offer(trigger("one"), 0, &mut orders);
    let flight = orders.drain(..).find_map(|order| match order {
        Order::Send { flight, .. } => Some(flight),
        _ => None,
    });
    let timer = wheel.insert(1, ());
    queue.timed(flight.expect("it was sent"), timer);
    queue.detach(worker, 0, &mut orders);
    assert!(orders.iter().any(|order| matches!(order, Order::Cancel(cancelled) if *cancelled == timer)));
}

//! Stories of one flow's queue, and its rules held against every order of events.

use std::collections::BTreeMap;

use super::*;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::trigger::{Peer, Tail, UpgradeData, WsEvent, websocket_event};

mod rules;

const ACK_TIMEOUT: u64 = 30 * NANOS_PER_SECOND;

/// A trigger that is known by the name of its node.
fn trigger(name: &str) -> WorkerTrigger {
    let data = UpgradeData::new(b"/", None, std::iter::empty(), Peer::Local, false, false);
    let now = Now { nanos: 0, unix_millis: 0 };
    let event = websocket_event(&mut Vec::new(), now, &data, WsEvent::Connect, "id");
    let id = "0123456789abcdef01234567".parse().unwrap();
    let tail = Tail::new(id, "", id, id, "", Arc::from(&b"{}"[..]));
    WorkerTrigger {
        node_id: name.into(),
        payload: Payload { event, tail: Arc::new(tail) },
        ack_timeout_nanos: ACK_TIMEOUT,
        max_in_flight: 1000,
        affinity: None,
        reply_id: None,
        expires_nanos: None,
        attempt: 1,
    }
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
                    self.sent.insert(trigger.node_id.to_string(), (seq, flight));
                    match trigger.attempt {
                        1 => format!("{}>{worker}", trigger.node_id),
                        attempt => format!("{}>{worker}*{attempt}", trigger.node_id),
                    }
                }
                Order::Done { .. } => "done".to_owned(),
                Order::Cancel(_) => "cancel".to_owned(),
                Order::Watch { .. } => "watch".to_owned(),
            })
            .collect();
        words.join(" ")
    }
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
    let two_at_most = |trigger: &mut WorkerTrigger| trigger.max_in_flight = 2;
    assert_eq!(story.offer_with("1", two_at_most), "1>a");
    assert_eq!(story.offer_with("2", two_at_most), "2>a");
    assert_eq!(story.offer_with("3", two_at_most), "");
    assert_eq!(story.offer("another node's"), "another node's>a", "its own limit is not reached");
    assert_eq!(story.ack('a', "1"), "done");
    assert_eq!(story.ack('a', "another node's"), "done 3>a");
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
    for name in 0..(2 * LOOK_AHEAD) {
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
fn a_reply_acks_the_oldest_trigger_with_its_id() {
    let mut story = Story::default();
    story.attach('a', 10);
    let answers = |trigger: &mut WorkerTrigger| trigger.reply_id = Some("x.y".into());
    story.offer_with("1", answers);
    story.offer_with("2", answers);
    let a = story.keys[&'a'];
    assert_eq!(story.queue.seq_of_reply(a, "x.y"), Some(1));
    story.ack('a', "1");
    assert_eq!(story.queue.seq_of_reply(a, "x.y"), Some(2));
    story.ack('a', "2");
    assert_eq!(story.queue.seq_of_reply(a, "x.y"), None);
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

//! The queue of a flow's workers, told as stories.

use std::sync::Arc;

use super::workers::{Affinity, FlowQueue, Order, WorkerTrigger};
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::trigger::{HttpData, Payload, Peer, Tail, http_event};

const MANY: u32 = 1_000;

fn payload() -> Payload {
    let data = HttpData {
        method: b"GET",
        path: b"/",
        query: None,
        fields: std::iter::empty(),
        body: b"",
        peer: Peer::Local,
        peer_is_trusted: false,
        hide_authorization: false,
        cast: crate::model::CastBuffersAs::Array,
        annotate_multipart: false,
        payload_limit: 0,
        reply_id: None,
    };
    let event = http_event(&mut Vec::new(), Now { nanos: 0, unix_millis: 0 }, &data).unwrap();
    let id: Id = "0123456789abcdef01234567".parse().unwrap();
    Payload { event, tail: Arc::new(Tail::new(id, "a", id, id, "f", Arc::from(&b"{}"[..]))) }
}

/// A trigger of the one connection that there is; its name is the node's.
fn trigger(name: &str) -> WorkerTrigger {
    WorkerTrigger {
        node_id: name.into(),
        payload: payload(),
        ack_timeout_nanos: 1,
        max_in_flight: MANY,
        affinity: Some(Affinity { key: (0, Key { index: 0, generation: 0 }), last: false }),
        reply_id: None,
        expires_nanos: None,
        attempt: 1,
    }
}

/// What was sent, as `worker:name`, since it was asked last.
fn sent(orders: &mut Vec<Order<&'static str>>) -> Vec<String> {
    let send = |order| match order {
        Order::Send { worker, trigger, .. } => Some(format!("{worker}:{}", trigger.node_id)),
        _ => None,
    };
    orders.drain(..).filter_map(send).collect()
}

#[test]
fn a_connections_trigger_does_not_overtake_one_that_waits_for_its_workers_credit() {
    let (mut queue, mut orders) = (FlowQueue::default(), Vec::new());
    let worker = queue.attach("w");
    queue.offer(trigger("1"), 0, &mut orders);
    queue.offer(trigger("2"), 0, &mut orders);
    queue.ready(worker, 1, 0, &mut orders);
    queue.offer(trigger("3"), 0, &mut orders);
    queue.ready(worker, 2, 0, &mut orders);
    assert_eq!(sent(&mut orders), ["w:1", "w:2", "w:3"]);
}

#[test]
fn a_connections_triggers_stay_in_order_with_the_worker_that_comes_after_one_that_left() {
    let (mut queue, mut orders) = (FlowQueue::default(), Vec::new());
    let first = queue.attach("a");
    queue.ready(first, 2, 0, &mut orders);
    for name in ["1", "2", "3"] {
        queue.offer(trigger(name), 0, &mut orders);
    }
    let second = queue.attach("b");
    queue.ready(second, 1, 0, &mut orders);
    assert_eq!(sent(&mut orders), ["a:1", "a:2"], "the third is bound to the first worker");
    queue.detach(first, 0, &mut orders);
    queue.offer(trigger("4"), 0, &mut orders);
    queue.ready(second, 3, 0, &mut orders);
    assert_eq!(sent(&mut orders), ["b:1", "b:2", "b:3", "b:4"]);
}

#[test]
fn what_a_worker_does_not_want_moves_alone() {
    let (mut queue, mut orders) = (FlowQueue::default(), Vec::new());
    let (first, second) = (queue.attach("a"), queue.attach("b"));
    queue.ready(first, MANY, 0, &mut orders);
    queue.offer(trigger("1"), 0, &mut orders);
    assert!(queue.nack(first, 1, 0, &mut orders), "it waits, as the other worker takes nothing yet");
    queue.offer(trigger("2"), 0, &mut orders);
    queue.ready(second, MANY, 0, &mut orders);
    assert_eq!(sent(&mut orders), ["a:1", "a:2", "b:1"]);
}

#[test]
fn what_is_acked_or_cleared_leaves_nothing_behind() {
    let (mut queue, mut orders) = (FlowQueue::default(), Vec::new());
    let worker = queue.attach("w");
    for name in ["1", "2", "3", "4"] {
        queue.offer(trigger(name), 0, &mut orders);
    }
    queue.ready(worker, 2, 0, &mut orders);
    assert!(queue.ack(worker, 1, 0, &mut orders) && !queue.ack(worker, 1, 0, &mut orders));
    assert_eq!((queue.open(), queue.waiting()), (3, 2));
    queue.clear(&mut orders);
    let done = orders.iter().filter(|order| matches!(order, Order::Done { .. })).count();
    assert_eq!((done, queue.open()), (4, 0));
    // The connection's next one is not held back by those that are gone.
    queue.ready(worker, 1, 0, &mut orders);
    orders.clear();
    queue.offer(trigger("5"), 0, &mut orders);
    assert_eq!(sent(&mut orders), ["w:5"]);
}

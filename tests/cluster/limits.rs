//! Limits over the cluster.

use serde_json::json;

use super::common::eventually;
use super::common::nats::Nats;
use super::sockets::{FIN, Socket, TEXT, frame};
use super::{in_step, nodes};

#[test]
fn a_flood_over_all_nodes_gets_no_more_than_the_limit() {
    const LIMIT: u32 = 40;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<3>(&nats);
    // A window that the test does not outlast.
    let limits = json!({"requestsPerWindow": LIMIT, "windowSeconds": 600});
    let hook = nodes[0].webhook(json!({"limits": limits}));
    for node in &nodes {
        eventually("the webhook is there", || {
            // A method that no call has, and no token is spent on.
            let options = super::common::request("OPTIONS", &hook.target(""), &[], b"");
            (node.wire().ask(options).status == 204).then_some(())
        });
    }
    let passed: u32 = std::thread::scope(|scope| {
        let flood = |node: &super::Server| {
            let mut wire = node.wire();
            (0..LIMIT * 2).filter(|_| wire.ask(hook.post(b"x")).status == 200).count() as u32
        };
        let floods: Vec<_> = nodes.iter().map(|node| scope.spawn(move || flood(node))).collect();
        floods.into_iter().map(|flood| flood.join().expect("a flood ends")).sum()
    });
    assert!(passed <= LIMIT, "{passed} of {LIMIT} passed");
    assert!(passed >= LIMIT / 2, "{passed} of {LIMIT} passed");
}

#[test]
fn a_lone_caller_gets_all_of_the_limit_and_is_told_when_it_is_over() {
    const LIMIT: u32 = 30;
    let Some(mut nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let limits = json!({"requestsPerWindow": LIMIT, "windowSeconds": 600});
    let hook = nodes[0].webhook(json!({"limits": limits}));
    let mut wire = nodes[0].wire();
    for call in 0..LIMIT {
        assert_eq!(wire.ask(hook.post(b"x")).status, 200, "call {call} of {LIMIT}");
    }
    let refused = wire.ask(hook.post(b"x"));
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    // Where nobody can tell, the caller is told that, and not that it is over its limit.
    let other = nodes[0].webhook(json!({}));
    nats.kill();
    assert_eq!(nodes[0].wire().ask(other.post(b"x")).status, 503);
}

#[test]
fn messages_of_a_websocket_wait_for_their_tokens_in_order() {
    const LIMIT: usize = 60;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let limits = json!({"requestsPerWindow": LIMIT, "windowSeconds": 600});
    let hook = nodes[0].webhook(json!({"isWebsocket": true, "limits": limits}));
    nodes[0].echo_flow(&hook, &[]);
    let mut socket = Socket::open(&nodes[0], &hook);
    // The connect has taken the first.
    let messages: Vec<String> = (1..LIMIT).map(|number| format!("m{number}")).collect();
    let frames: Vec<u8> = messages.iter().flat_map(|text| frame(FIN | TEXT, text.as_bytes())).collect();
    socket.send_bytes(&frames);
    for text in &messages {
        assert_eq!(socket.text(), *text);
    }
    socket.say("one too many");
    assert_eq!(socket.closed().0, 1008);
}

#[test]
fn no_more_than_the_limit_wait_at_a_time_over_all_nodes() {
    const LIMIT: usize = 10;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let fields = json!({"isWebsocket": true, "limits": {"concurrency": LIMIT, "requestsPerWindow": 0}});
    let hook = nodes[0].webhook(fields);
    eventually("the webhook is on the other node", || {
        let options = super::common::request("OPTIONS", &hook.target(""), &[], b"");
        (nodes[1].wire().ask(options).status == 204).then_some(())
    });
    let mut open = Vec::new();
    let ask = |node: &super::Server| {
        let mut wire = node.wire();
        let status = wire.ask(super::sockets::upgrade(&hook.target(""), &[])).status;
        (status, wire)
    };
    for call in 0..LIMIT {
        let (status, wire) = ask(&nodes[call % 2]);
        assert_eq!(status, 101, "call {call} of {LIMIT}");
        open.push(wire);
    }
    for node in &nodes {
        assert_eq!(ask(node).0, 429);
    }
    // The places of those that end can be had on the other node.
    let kept = open.split_off(LIMIT / 2);
    drop(open);
    let again = eventually("a place is free", || {
        let (status, wire) = ask(&nodes[0]);
        (status == 101).then_some(wire)
    });
    drop((kept, again));
}

#[test]
fn the_places_of_a_node_that_was_killed_are_free_once_it_has_started_again() {
    const LIMIT: usize = 10;
    let Some(nats) = Nats::start() else { return };
    let [first, mut second] = nodes::<2>(&nats);
    let fields = json!({"isWebsocket": true, "limits": {"concurrency": LIMIT, "requestsPerWindow": 0}});
    let hook = first.webhook(fields);
    in_step(&first, &second);
    let ask = |node: &super::Server| {
        let mut wire = node.wire();
        (wire.ask(super::sockets::upgrade(&hook.target(""), &[])).status, wire)
    };
    let taken: Vec<_> = (0..LIMIT).map(|_| ask(&second)).collect();
    assert!(taken.iter().all(|(status, _)| *status == 101));
    assert_eq!(ask(&first).0, 429);
    second.crash();
    // It may be cut off only, as far as the other one knows.
    assert_eq!(ask(&first).0, 429);
    second.restart();
    let mut open = Vec::new();
    while open.len() < LIMIT {
        open.push(eventually("a place is free", || {
            let (status, wire) = ask(&first);
            (status == 101).then_some(wire)
        }));
    }
    assert_eq!(ask(&first).0, 429);
}

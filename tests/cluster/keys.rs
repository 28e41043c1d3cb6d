//! Keys of `deduplicate`: those of all nodes hold at any.

use std::collections::BTreeSet;

use serde_json::json;

use super::common::nats::Nats;
use super::common::{Hook, Response, Server, eventually, request};
use super::sockets::Worker;
use super::{in_step, nodes};

/// A POST of text.
fn post(node: &Server, hook: &Hook, body: &str) -> Response {
    node.wire().ask(request("POST", &hook.target(""), &[("Content-Type", "text/plain")], body.as_bytes()))
}

fn is_repeat(response: &Response) -> bool {
    assert_eq!(response.status, 200, "{response:?}");
    response.header("tidegate-duplicate") == Some("true")
}

#[test]
fn a_repeat_is_one_at_any_node_also_once_the_first_has_ended() {
    let Some(nats) = Nats::start() else { return };
    let mut nodes = nodes::<3>(&nats);
    let fields = json!({"deduplicate": {"key": "{{data.body}}"}, "limits": {"requestsPerWindow": 0}});
    let hook = nodes[0].webhook(fields);
    let fields = json!({"deduplicate": {"key": "{{data.body}}", "windowSeconds": 2}, "limits": {"requestsPerWindow": 0}});
    let other = nodes[0].webhook(fields);
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&nodes[0], &nodes[1]);
    in_step(&nodes[0], &nodes[2]);
    let mut worker = Worker::attach(&nodes[0], &flow, 100);
    for call in 0..6 {
        assert!(!is_repeat(&post(&nodes[call % 3], &hook, &call.to_string())), "call {call}");
    }
    for call in 0..6 {
        for node in &nodes {
            assert!(is_repeat(&post(node, &hook, &call.to_string())), "call {call}");
        }
    }
    let triggers: BTreeSet<String> =
        (0..6).map(|_| worker.take()["body"].as_str().expect("a body").to_owned()).collect();
    assert_eq!(triggers.len(), 6);
    // Another webhook's keys are others, and theirs come free.
    assert!(!is_repeat(&post(&nodes[0], &other, "0")));
    assert!(is_repeat(&post(&nodes[1], &other, "0")));
    eventually("the window is over", || (!is_repeat(&post(&nodes[2], &other, "0"))).then_some(()));
    nodes[1].crash();
    assert!(is_repeat(&post(&nodes[2], &hook, "1")), "its node has ended");
    nodes[1].restart();
    eventually("the node is back", || (super::status(&nodes[1])["ready"] == true).then_some(()));
    assert!(is_repeat(&post(&nodes[1], &hook, "0")) && is_repeat(&post(&nodes[1], &hook, "1")));
}

#[test]
fn of_calls_with_one_key_at_all_nodes_at_once_one_triggers() {
    const ROUNDS: usize = 20;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<3>(&nats);
    let hook = nodes[0]
        .webhook(json!({"deduplicate": {"key": "{{data.body}}"}, "limits": {"requestsPerWindow": 0}}));
    nodes[0].flow(&hook, json!([super::common::reply_node("seen")]));
    in_step(&nodes[0], &nodes[1]);
    in_step(&nodes[0], &nodes[2]);
    for round in 0..ROUNDS {
        let key = format!("round {round}");
        let statuses: Vec<(u16, bool)> = std::thread::scope(|scope| {
            let call = |node| {
                let response = post(node, &hook, &key);
                (response.status, response.header("tidegate-duplicate").is_some())
            };
            let calls: Vec<_> = nodes.iter().map(|node| scope.spawn(move || call(node))).collect();
            calls.into_iter().map(|call| call.join().expect("an answer")).collect()
        });
        let first = statuses.iter().filter(|answer| **answer == (200, false)).count();
        assert_eq!(first, 1, "round {round}: {statuses:?}");
    }
    let triggers: u64 = nodes.iter().map(|node| node.metric("tidegate_triggers_total", "")).sum();
    assert_eq!(triggers, ROUNDS as u64);
}

#[test]
fn a_call_that_is_refused_gives_its_key_back_everywhere_and_without_nats_none_is_taken() {
    let Some(mut nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let fields = json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1, "requestsPerWindow": 0},
        "deduplicate": {"key": "{{data.body}}"}});
    let hook = nodes[0].webhook(fields);
    nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    let plain = nodes[0]
        .webhook(json!({"deduplicate": {"key": "{{data.body}}"}, "limits": {"requestsPerWindow": 0}}));
    in_step(&nodes[0], &nodes[1]);
    // Nobody replies.
    assert_eq!(post(&nodes[0], &hook, "a").status, 504);
    eventually("the key is free at the other node", || {
        (post(&nodes[1], &hook, "a").status == 504).then_some(())
    });
    assert!(!is_repeat(&post(&nodes[0], &plain, "a")));
    nats.kill();
    // The node has accepted it itself; of another one it cannot know.
    assert!(is_repeat(&post(&nodes[0], &plain, "a")));
    assert_eq!(post(&nodes[0], &plain, "b").status, 503);
    nats.restart();
    eventually("the call is taken", || {
        let response = post(&nodes[1], &plain, "b");
        (response.status == 200).then(|| assert!(!is_repeat(&response)))
    });
}

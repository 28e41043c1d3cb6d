//! The smallest permissions, as the guide gives them.

use serde_json::json;

use super::common::nats::{Nats, NatsConfig};
use super::common::{Server, eventually, request};
use super::sockets::Worker;
use super::{in_step, status};

/// The configuration of NATS that the guide shows.
fn authorization() -> &'static str {
    let guide = include_str!("../../src/guide/cluster.md");
    let block = guide.split("```").find(|block| block.trim_start().starts_with("authorization {"));
    block.expect("the guide shows the permissions")
}

#[test]
fn a_node_needs_no_more_than_the_guide_says() {
    let config = NatsConfig { more: authorization().to_owned(), ..NatsConfig::default() };
    let Some(nats) = Nats::start_with(&config) else { return };
    let node = || {
        Server::start(|settings| {
            settings
                .set("TIDEGATE_CLUSTER_NATS", format!("nats://tidegate:change%20me@{}", nats.address))
                .set("TIDEGATE_CLUSTER_NAME", "hooks")
                .set("TIDEGATE_JOURNAL_DURABILITY", "fsync")
                .set("TIDEGATE_JOURNAL_MAX_BYTES", 64 * 1024 * 1024);
        })
    };
    let nodes = [node(), node()];
    for node in &nodes {
        eventually("a node is ready", || (status(node)["ready"] == true).then_some(()));
    }
    let hook = nodes[0].webhook(json!({}));
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    let mut worker = Worker::attach(&nodes[0], &flow, 10);
    let post = request("POST", &hook.target(""), &[("Content-Type", "application/json")], b"7");
    eventually("a trigger is stored", || (nodes[0].wire().ask(&post).status == 200).then_some(()));
    assert_eq!(worker.take()["body"], 7);
    // A key is claimed, kept, and found by the other node.
    let keyed = nodes[0].webhook(json!({"deduplicate": {"key": "{{data.body}}"}}));
    in_step(&nodes[0], &nodes[1]);
    assert_eq!(nodes[0].wire().ask(keyed.post(b"key")).status, 200);
    let repeat = nodes[1].wire().ask(keyed.post(b"key"));
    assert_eq!((repeat.status, repeat.header("tidegate-duplicate")), (200, Some("true")));
    // What the other node has recorded is shown at this one, in parts that are acknowledged.
    let records = nodes[1].done("GET", &hook.resource("/requests"), &serde_json::Value::Null);
    let expected = (json!(1), json!([]));
    assert_eq!((records["totalCount"].clone(), records["unreachable"].clone()), expected, "{records}");
    // A reply of another node, and a webhook that is deleted with its flow as one.
    let waiting = nodes[0].webhook(json!({"waitForReply": true}));
    let flow = nodes[0].flow(&waiting, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    let mut worker = Worker::attach(&nodes[0], &flow, 1);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| nodes[0].wire().ask(waiting.post(b"ping")));
        let trigger = worker.take();
        let path = format!("/replies/{}", trigger["replyId"].as_str().expect("a replyId"));
        assert_eq!(nodes[1].done("POST", &path, &json!({"body": "pong"}))["accepted"], true);
        assert_eq!(caller.join().expect("an answer").status, 200);
    });
    nodes[0].done("DELETE", &waiting.resource("?includeWorkflows=true"), &serde_json::Value::Null);
    let log = nats.log();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("Permissions Violation")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

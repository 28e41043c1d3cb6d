//! Open triggers of a node that is killed: another one delivers them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::common::nats::Nats;
use super::common::{eventually, request};
use super::sockets::Worker;
use super::{in_step, nodes, status};

/// A node is silent for 17 s before it is taken for dead.
const SILENCE: Duration = Duration::from_secs(50);

/// Stores a message in the stream of the journals.
fn store(nats: &Nats, subject: String, message: &'static [u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = async_nats::connect(nats.url()).await.expect("NATS serves");
        let context = async_nats::jetstream::new(client);
        let ack = context.publish(subject, message.into()).await.expect("it is sent");
        ack.await.expect("it is stored");
    });
}

#[test]
fn what_a_killed_node_leaves_open_is_delivered_by_another_and_a_record_of_a_later_version_holds_up_nothing() {
    const TRIGGERS: u64 = 20;
    let Some(nats) = Nats::start() else { return };
    let [first, mut second] = nodes::<2>(&nats);
    let hook = first.webhook(json!({}));
    let flow = first.flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&first, &second);
    let (own, killed) = (status(&first)["node"].clone(), status(&second)["node"].clone());
    let mut wire = second.wire();
    for number in 0..TRIGGERS {
        let headers = [("Content-Type", "application/json")];
        let post = request("POST", &hook.target(""), &headers, number.to_string().as_bytes());
        assert_eq!(wire.ask(post).status, 200);
    }
    // As a node would have written it that was upgraded first.
    store(&nats, format!("tidegate.j.{}", killed.as_str().expect("an id")), b"TGBUNDL\x63later");
    second.crash();
    let mut worker = Worker::attach(&first, &flow, 100);
    worker.socket.wait_at_most(SILENCE);
    let numbers: BTreeSet<u64> =
        (0..TRIGGERS).map(|_| worker.take()["body"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (0..TRIGGERS).collect());
    eventually("it is known who took the triggers over", || {
        let status = status(&first);
        let node = status["nodes"].as_array()?.iter().find(|node| node["id"] == killed)?.clone();
        (node["adoptedBy"] == own).then_some(())
    });
    assert_eq!(first.metric("tidegate_cluster_adopted_triggers_total", ""), TRIGGERS);
    assert_eq!(first.metric("tidegate_cluster_unreadable_records_total", ""), 1);
    assert!(!worker.socket.is_readable(), "nothing is delivered again and again");
}

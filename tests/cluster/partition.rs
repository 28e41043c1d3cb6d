//! A node that is cut off from NATS, while the others are not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::common::nats::Nats;
use super::common::tcp_relay::TcpRelay;
use super::common::{Response, Server, eventually, request};
use super::sockets::Worker;
use super::{in_step, node, node_at, status};

/// Longer than a lease, and than the silence after which the others take a node for dead.
const CUT: Duration = Duration::from_secs(20);

/// What a caller and a worker of another node see of a node that is cut off.
struct Seen<'s> {
    node: &'s Server,
    target: String,
    accepted: BTreeSet<u64>,
    next: u64,
}

impl Seen<'_> {
    fn post(&mut self) -> Response {
        let number = self.next;
        self.next += 1;
        let headers = [("Content-Type", "application/json"), ("Connection", "close")];
        let post = request("POST", &self.target, &headers, number.to_string().as_bytes());
        let response = self.node.wire().ask(post);
        if response.status == 200 {
            self.accepted.insert(number);
        }
        response
    }
}

fn cut_off(fault: impl FnOnce(&TcpRelay)) {
    let Some(nats) = Nats::start() else { return };
    let relay = TcpRelay::to(nats.address);
    let (first, second) = (node(&nats), node_at(format!("nats://{}", relay.address)));
    for node in [&first, &second] {
        eventually("a node is ready", || (status(node)["ready"] == true).then_some(()));
    }
    let hook = first.webhook(json!({"limits": {"requestsPerWindow": 0, "concurrency": 0}}));
    let flow = first.flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&first, &second);
    let mut worker = Worker::attach(&first, &flow, 10_000);
    let mut seen = Seen { node: &second, target: hook.target(""), accepted: BTreeSet::new(), next: 0 };
    for _ in 0..10 {
        assert_eq!(seen.post().status, 200);
    }
    fault(&relay);
    let (begun, mut refused) = (Instant::now(), 0);
    while begun.elapsed() < CUT {
        let response = seen.post();
        if response.status != 200 {
            assert_eq!(response.status, 503);
            assert!(response.header("retry-after").is_some());
            assert!(response.text().contains("journal cannot be written"), "{}", response.text());
            refused += 1;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(refused > 0, "without NATS nothing can be made durable");
    assert_eq!(second.call_raw("GET", "/readyz", "").status, 503);
    assert_eq!(first.call_raw("GET", "/readyz", "").status, 200);
    relay.heal();
    eventually("the node takes calls again", || (seen.post().status == 200).then_some(()));
    eventually("the node is ready again", || {
        (second.call_raw("GET", "/readyz", "").status == 200).then_some(())
    });
    let mut delivered = BTreeSet::new();
    while !seen.accepted.is_subset(&delivered) {
        delivered.insert(worker.take()["body"].as_u64().expect("a number"));
    }
    let (status, value) = second.call("GET", "/cluster", &Value::Null);
    assert_eq!((status, &value["connected"]), (200, &json!(true)), "{value}");
}

#[test]
fn a_node_whose_connections_to_nats_are_cut_refuses_and_heals_and_loses_nothing() {
    cut_off(TcpRelay::cut);
}

#[test]
fn a_node_whose_connections_to_nats_are_a_black_hole_refuses_and_heals_and_loses_nothing() {
    cut_off(TcpRelay::stall);
}

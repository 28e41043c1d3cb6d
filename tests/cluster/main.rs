//! Black-box tests of a cluster: nodes on loopback, with a server of NATS beside.

#[path = "../common/mod.rs"]
mod common;

#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;

mod adoption;
mod keys;
mod letters;
mod limits;
mod members;
mod model;
mod monitor;
mod partition;
mod permissions;
mod records;
mod replies;
mod workers;

use common::nats::Nats;
use common::{Server, eventually, request};
use serde_json::{Value, json};

/// A node of the cluster that this server of NATS carries.
fn node(nats: &Nats) -> Server {
    node_at(nats.url())
}

/// A node whose NATS is there.
fn node_at(url: String) -> Server {
    Server::start(|settings| {
        settings.set("TIDEGATE_CLUSTER_NATS", url).set("TIDEGATE_JOURNAL_MAX_BYTES", 64 * 1024 * 1024);
    })
}

/// Nodes that know each other.
fn nodes<const COUNT: usize>(nats: &Nats) -> [Server; COUNT] {
    let nodes: [Server; COUNT] = std::array::from_fn(|_| node(nats));
    for node in &nodes {
        eventually("a node is ready and knows the others", || {
            let status = status(node);
            let serving =
                status["nodes"].as_array()?.iter().filter(|node| node["state"] == "serving").count();
            (status["ready"] == true && serving == COUNT).then_some(())
        });
    }
    nodes
}

/// Waits until a node has what another one was told: changes take effect in their order.
fn in_step(from: &Server, to: &Server) {
    let last = from.webhook(json!({}));
    eventually("the webhook is there", || {
        let options = request("OPTIONS", &last.target(""), &[], b"");
        (to.wire().ask(options).status == 204).then_some(())
    });
}

/// The cluster as a node tells it.
fn status(node: &Server) -> Value {
    let (status, value) = node.call("GET", "/cluster", &Value::Null);
    assert_eq!(status, 200, "{value}");
    value
}

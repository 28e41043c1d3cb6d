//! What NATS promises with an ack (`cluster.monitor`).

use serde_json::{Value, json};

use super::common::nats::{Nats, NatsConfig};
use super::common::{Server, eventually};
use super::status;

fn node(nats: &Nats, monitor: &str) -> Server {
    Server::start(|settings| {
        settings.set("TIDEGATE_CLUSTER_NATS", nats.url()).set("TIDEGATE_JOURNAL_MAX_BYTES", 64 * 1024 * 1024);
        if !monitor.is_empty() {
            settings.set("TIDEGATE_CLUSTER_MONITOR", monitor);
        }
    })
}

fn syncs(node: &Server) -> Vec<String> {
    let monitor = status(node)["monitor"].clone();
    let servers = monitor.as_array().map(Vec::as_slice).unwrap_or_default();
    servers.iter().filter_map(|server| server["syncs"].as_str().map(str::to_owned)).collect()
}

/// Waits for a line of the log that warns.
fn warned(node: &Server, text: &str) {
    eventually("the node warns", || {
        let log = node.log();
        log.lines().any(|line| line.contains(text) && line.contains("WARN")).then_some(())
    });
}

#[test]
fn a_node_tells_whether_nats_syncs_what_it_acks() {
    let Some(synced) = Nats::start_with(&NatsConfig::synced()) else { return };
    let Some(late) = Nats::start() else { return };
    let gone = "http://127.0.0.1:9";
    let both = node(&synced, &format!("http://{},http://{},{gone}", synced.monitor, late.monitor));
    eventually("all are looked at", || (syncs(&both) == ["always", "later", "unknown"]).then_some(()));
    warned(&both, "NATS acks what it has not synced");
    warned(&both, "its monitoring port (cluster.monitor) does not tell");
    let good = node(&synced, &format!("http://{}", synced.monitor));
    eventually("it is looked at", || (syncs(&good) == ["always"]).then_some(()));
    assert!(!good.log().contains("NATS acks what it has not synced"), "{}", good.log());
    let silent = node(&late, "");
    warned(&silent, "cluster.monitor would say where it tells");
    assert_eq!(status(&silent)["monitor"], Value::Null);
}

#[test]
fn a_node_shows_what_each_node_tells_of_itself() {
    let Some(nats) = Nats::start() else { return };
    let mut nodes = super::nodes::<2>(&nats);
    let all = |node: &Server| node.done("GET", "/cluster?all=true", &Value::Null);
    for node in &nodes {
        let shown = all(node);
        let told = shown["nodes"].as_array().expect("nodes");
        assert_eq!(told.len(), 2);
        for one in told {
            assert_eq!(one["status"]["ready"], true, "{shown}");
            assert_eq!(one["status"]["journal"]["isWritable"], true, "{shown}");
            assert_eq!(one["status"]["model"]["behind"], 0, "{shown}");
        }
    }
    nodes[1].crash();
    let shown = all(&nodes[0]);
    let statuses: Vec<bool> =
        shown["nodes"].as_array().expect("nodes").iter().map(|one| one["status"].is_null()).collect();
    assert_eq!(statuses.iter().filter(|is_unknown| **is_unknown).count(), 1, "{shown}");
    assert_eq!(nodes[0].call("GET", "/cluster?some=1", &json!(null)).0, 400);
}

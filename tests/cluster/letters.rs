//! Dead letters: those of all nodes, at any node.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::common::eventually;
use super::common::nats::Nats;
use super::{in_step, nodes};

/// A target that refuses for good until it is told to accept, and counts what it has accepted.
fn target() -> (String, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (accepts, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (of_thread, counted) = (Arc::clone(&accepts), Arc::clone(&accepted));
    // It ends with the process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 65_536];
            // A request of these tests arrives in one piece.
            let _ = stream.read(&mut bytes);
            let status = if of_thread.load(Ordering::Relaxed) { "200 OK" } else { "410 Gone" };
            counted.fetch_add(usize::from(status == "200 OK"), Ordering::Relaxed);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (url, accepts, accepted)
}

#[test]
fn the_dead_letters_of_all_nodes_are_listed_shown_dropped_and_replayed_at_any() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let (url, accepts, accepted) = target();
    let hook = nodes[0].webhook(json!({}));
    let forward = json!([{"id": "f", "type": "HttpForwardNode", "config": {"url": url}}]);
    let flow = nodes[0].flow(&hook, forward);
    in_step(&nodes[0], &nodes[1]);
    for (node, calls) in [(0, 3), (1, 2)] {
        for _ in 0..calls {
            assert_eq!(nodes[node].wire().ask(hook.post(b"x")).status, 200);
        }
    }
    let letters = format!("/applications/{}/flows/{flow}/deadLetters", hook.application);
    let total = |node: usize| nodes[node].done("GET", &letters, &Value::Null)["totalCount"].clone();
    for node in [0, 1] {
        eventually("all letters are there", || (total(node) == 5).then_some(()));
    }
    let mut ids = BTreeSet::new();
    for page in 0..3 {
        let list = nodes[1].done("GET", &format!("{letters}?page={page}&perPage=2"), &Value::Null);
        let items = list["items"].as_array().expect("items");
        assert_eq!(items.len(), if page == 2 { 1 } else { 2 });
        ids.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
    }
    assert_eq!(ids.len(), 5);
    for id in &ids {
        let shown = nodes[0].done("GET", &format!("{letters}/{id}"), &Value::Null);
        assert_eq!(shown["payload"]["flowId"], json!(flow), "{shown}");
    }
    // Each is of one of the nodes: at the same node, one of the two is another's.
    let mut left = ids.iter();
    for (count, id) in left.by_ref().take(2).enumerate() {
        nodes[0].done("DELETE", &format!("{letters}/{id}"), &Value::Null);
        assert_eq!(total(1), 4 - count);
    }
    accepts.store(true, Ordering::Relaxed);
    for id in left {
        nodes[1].done("POST", &format!("{letters}/{id}/replay"), &Value::Null);
    }
    eventually("they are delivered", || (accepted.load(Ordering::Relaxed) == 3).then_some(()));
    assert_eq!((total(0), total(1)), (json!(0), json!(0)));
    let (status, _) = nodes[0].call("GET", &format!("{letters}/{}", ids.first().expect("one")), &Value::Null);
    assert_eq!(status, 404);
}

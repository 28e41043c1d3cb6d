//! The model that all nodes share.

use serde_json::{Value, json};

use super::common::nats::Nats;
use super::common::{Server, eventually};
use super::{node, nodes};

/// The number of an application's webhooks, as a node tells it.
fn webhooks(node: &Server, application: &str) -> Option<u64> {
    let (status, list) = node.call("GET", &format!("/applications/{application}/webhooks"), &Value::Null);
    (status == 200).then(|| list["totalCount"].as_u64())?
}

#[test]
fn a_change_on_any_node_is_served_by_all() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<3>(&nats);
    let hook = nodes[0].webhook(json!({}));
    for node in &nodes {
        eventually("the webhook is served", || {
            (node.wire().ask(hook.post(b"x")).status == 200).then_some(())
        });
    }
    // A change of another node's webhook, and the next one of what that has changed.
    let renamed = eventually("the second node changes it", || {
        let (status, changed) = nodes[1].call("PATCH", &hook.resource(""), &json!({"name": "renamed"}));
        (status == 200).then_some(changed)
    });
    assert_eq!(renamed["name"], "renamed");
    eventually("the third node changes what the second has", || {
        let (status, changed) = nodes[2].call("PATCH", &hook.resource(""), &json!({"responseCode": 202}));
        (status == 200 && changed["name"] == "renamed").then_some(())
    });
    // A webhook goes with its flows as one.
    nodes[0].flow(&hook, json!([{"id": "a", "type": "DebugNode", "config": {"message": "m"}}]));
    eventually("the second node deletes both", || {
        let path = hook.resource("?includeWorkflows=true");
        (nodes[1].call("DELETE", &path, &Value::Null).0 == 200).then_some(())
    });
    for node in &nodes {
        eventually("the webhook is gone", || (node.wire().ask(hook.post(b"x")).status == 404).then_some(()));
        eventually("and so is its flow", || {
            let path = format!("/applications/{}/flows", hook.application);
            (node.call("GET", &path, &Value::Null).1["totalCount"] == 0).then_some(())
        });
    }
}

#[test]
fn changes_of_many_nodes_at_once_are_all_kept() {
    const EACH: u64 = 15;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<3>(&nats);
    let hook = nodes[0].webhook(json!({}));
    let application = &hook.application;
    for node in &nodes {
        eventually("the application is there", || webhooks(node, application));
    }
    std::thread::scope(|scope| {
        for node in &nodes {
            scope.spawn(move || {
                for number in 0..EACH {
                    let body = json!({"name": format!("n{number}")});
                    let path = format!("/applications/{application}/webhooks");
                    let (status, made) = node.call("POST", &path, &body);
                    assert_eq!(status, 201, "{made}");
                }
            });
        }
    });
    for node in &nodes {
        eventually("every webhook is on every node", || {
            (webhooks(node, application) == Some(1 + 3 * EACH)).then_some(())
        });
    }
}

#[test]
fn a_node_without_nats_serves_what_it_knows_and_takes_no_change() {
    let Some(mut nats) = Nats::start() else { return };
    let mut first = node(&nats);
    eventually("the node is ready", || (first.call_raw("GET", "/readyz", "").status == 200).then_some(()));
    let hook = first.webhook(json!({}));
    assert_eq!(first.wire().ask(hook.post(b"x")).status, 200);
    nats.kill();
    assert_eq!(first.wire().ask(hook.post(b"x")).status, 200, "a token that it holds");
    let (status, refused) = first.call("PATCH", &hook.resource(""), &json!({"name": "other"}));
    assert_eq!(status, 503, "{refused}");
    // Started again without NATS it has its copy.
    first.crash();
    first.restart();
    let (status, kept) = first.call("GET", &hook.resource(""), &Value::Null);
    assert_eq!((status, &kept["id"]), (200, &json!(hook.id)));
    assert_eq!(first.call_raw("GET", "/readyz", "").status, 503);
    nats.restart();
    nats.wait();
    eventually("the node is ready again", || {
        (first.call_raw("GET", "/readyz", "").status == 200).then_some(())
    });
    assert_eq!(first.call("PATCH", &hook.resource(""), &json!({"name": "other"})).0, 200);
}

#[test]
fn a_node_that_was_away_gets_what_it_has_missed_and_a_token_is_one_on_all() {
    let Some(nats) = Nats::start() else { return };
    let [first, mut second] = nodes::<2>(&nats);
    let hook = first.webhook(json!({}));
    let gone = first.webhook(json!({}));
    eventually("both are on the second node", || {
        (second.wire().ask(gone.post(b"x")).status == 200).then_some(())
    });
    second.crash();
    assert_eq!(first.call("DELETE", &gone.resource(""), &Value::Null).0, 200);
    assert_eq!(first.call("PATCH", &hook.resource(""), &json!({"name": "missed"})).0, 200);
    second.restart();
    eventually("the second node has caught up", || {
        let (_, kept) = second.call("GET", &hook.resource(""), &Value::Null);
        (kept["name"] == "missed" && second.wire().ask(gone.post(b"x")).status == 404).then_some(())
    });
    let (status, made) = first.call("POST", "/tokens", &json!({"name": "ci", "rights": ["read"]}));
    assert_eq!(status, 201, "{made}");
    let bearer = format!("Bearer {}", made["token"].as_str().expect("a token"));
    let ask = |node: &Server| {
        let head = [("Authorization", bearer.as_str()), ("Connection", "close")];
        super::common::Wire::connect(node.admin)
            .ask(super::common::request("GET", "/applications", &head, b""))
            .status
    };
    eventually("the second node takes the token", || (ask(&second) == 200).then_some(()));
    let revoked = format!("/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(first.call("DELETE", &revoked, &Value::Null).0, 200);
    eventually("the second node takes it no longer", || (ask(&second) == 401).then_some(()));
}

//! Attempts: when there is another one, and when a delivery is given up.

use std::net::TcpListener;

use serde_json::json;

use super::target::{Answer, Target, closed_port};
use super::{attempts, call, dead, node, served, wait_until};

/// Pauses between attempts that no test notices.
const SOON: f64 = 0.001;

#[test]
fn a_failure_is_tried_again_under_the_same_name() {
    let target = Target::start(|number, _| match number {
        0 => Answer::status(500),
        1 => Answer::Respond(302, "location: /elsewhere\r\n", Vec::new()),
        2 => Answer::Close,
        _ => Answer::status(204),
    });
    let retry = json!({"retry": {"backoffSeconds": SOON}});
    let (server, hook, flow) = served(2, json!({}), node(&target.url("/in"), retry));
    call(&server, &hook, 0..1);
    wait_until("the delivery", 1, || server.metric("tidegate_deliveries_total", "done"));
    let received = target.received();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|request| request.line == "POST /in HTTP/1.1"), "redirects are not followed");
    assert!(received.iter().all(|request| request.header("webhook-id") == received[0].header("webhook-id")));
    assert!(received.iter().all(|request| request.body == received[0].body));
    assert_eq!(
        (attempts(&server, "status"), attempts(&server, "broken"), attempts(&server, "ok")),
        (2, 1, 1)
    );
    assert_eq!(server.metric("tidegate_deliveries_total", "retried"), 3);
    let path = format!("/applications/{}/flows/{flow}/errors", hook.application);
    let errors = server.done("GET", &path, &serde_json::Value::Null).to_string();
    assert!(errors.contains("the target answered 500"), "{errors}");
}

#[test]
fn a_delivery_is_given_up_after_its_attempts() {
    let target = Target::start(|_, _| Answer::status(503));
    let retry = json!({"retry": {"attempts": 3, "backoffSeconds": SOON}});
    let (server, hook, _) = served(1, json!({}), node(&target.url(""), retry));
    call(&server, &hook, 0..4);
    wait_until("the dead letters", 4, || dead(&server, "attempts"));
    assert_eq!((target.count(), server.metric("tidegate_deliveries_total", "dead")), (12, 4));
}

#[test]
fn a_target_that_is_gone_is_not_asked_again() {
    let target = Target::start(|_, _| Answer::status(410));
    let (server, hook, _) =
        served(1, json!({}), node(&target.url(""), json!({"retry": {"backoffSeconds": SOON}})));
    call(&server, &hook, 0..3);
    wait_until("the dead letters", 3, || dead(&server, "gone"));
    assert_eq!(target.count(), 3);
}

#[test]
fn a_delivery_is_given_up_when_its_retention_is_over() {
    let target = Target::start(|_, _| Answer::status(500));
    let server = crate::common::Server::start(|settings| {
        settings.set("TIDEGATE_JOURNAL_RETENTION_SECONDS", 1);
    });
    let hook = server.webhook(json!({}));
    server.flow(&hook, json!([node(&target.url(""), json!({"retry": {"backoffSeconds": 0.2}}))]));
    call(&server, &hook, 0..2);
    wait_until("the dead letters", 2, || dead(&server, "retention"));
    assert!(target.count() >= 4, "the last attempt is made at the end");
}

#[test]
fn a_target_that_asks_for_a_pause_is_left_alone() {
    let target = Target::start(|_, _| Answer::Respond(429, "retry-after: 3000\r\n", Vec::new()));
    let fine = Target::fine();
    let (server, hook, _) =
        served(2, json!({}), node(&target.url(""), json!({"retry": {"backoffSeconds": SOON}})));
    server.flow(&hook, json!([node(&fine.url(""), json!({}))]));
    call(&server, &hook, 0..1);
    wait_until("the answer", 1, || attempts(&server, "status"));
    call(&server, &hook, 1..50);
    fine.wait_for(50);
    assert_eq!(target.count(), 1, "the whole node waits");

    let moment = Target::start(|number, _| match number {
        0 => Answer::Respond(503, "retry-after: 1\r\n", Vec::new()),
        _ => Answer::status(200),
    });
    let other = server.webhook(json!({}));
    server.flow(&other, json!([node(&moment.url(""), json!({"retry": {"backoffSeconds": SOON}}))]));
    call(&server, &other, 0..1);
    moment.wait_for(2);
}

#[test]
fn a_target_that_hangs_is_a_time_out() {
    let target = Target::start(|_, _| Answer::Hang);
    let fields = json!({"timeoutSeconds": 1, "retry": {"attempts": 2, "backoffSeconds": SOON}});
    let (server, hook, _) = served(1, json!({}), node(&target.url(""), fields));
    call(&server, &hook, 0..2);
    wait_until("the dead letters", 2, || dead(&server, "attempts"));
    assert_eq!((attempts(&server, "timeout"), target.count()), (4, 4));
}

#[test]
fn a_target_that_is_down_gets_all_when_it_is_up() {
    let address = closed_port();
    let url = format!("http://{address}/");
    let (server, hook, _) = served(2, json!({}), node(&url, json!({"retry": {"backoffSeconds": 0.05}})));
    call(&server, &hook, 0..20);
    wait_until("the first attempts", 20, || attempts(&server, "unreachable"));
    let target =
        Target::start_on(TcpListener::bind(address).expect("the port is free"), |_, _| Answer::status(200));
    wait_until("the deliveries", 20, || server.metric("tidegate_deliveries_total", "done"));
    let mut numbers: Vec<u64> =
        target.received().iter().map(|request| request.json()["data"]["body"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<u64>>());
}

#[test]
fn what_waits_follows_a_change_of_the_flow() {
    let right = Target::fine();
    let wrong = Target::start(|_, _| Answer::status(404));
    let (server, hook, flow) =
        served(1, json!({}), node(&wrong.url("/wrong"), json!({"retry": {"backoffSeconds": 0.05}})));
    call(&server, &hook, 0..3);
    wait_until("the first attempts", 3, || attempts(&server, "status"));
    let path = format!("/applications/{}/flows/{flow}", hook.application);
    let id = server.done("GET", &path, &serde_json::Value::Null)["nodes"][0]["id"].clone();
    let mut mended = node(&right.url("/right"), json!({}));
    mended["id"] = id;
    server.done("PATCH", &path, &json!({"nodes": [mended]}));
    right.wait_for(3);
}

//! Dead letters: kept over a restart, and delivered again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::target::{Answer, Target};
use super::{call, dead, node, served, wait_until};

/// A target that refuses until it is told otherwise.
fn mendable() -> (Target, Arc<AtomicBool>) {
    let is_mended = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&is_mended);
    let target =
        Target::start(move |_, _| Answer::status(if answers.load(Ordering::SeqCst) { 204 } else { 410 }));
    (target, is_mended)
}

#[test]
fn dead_letters_are_delivered_again_under_the_same_name_and_are_gone_then() {
    let (target, is_mended) = mendable();
    let (server, hook, flow) = served(2, json!({}), node(&target.url("/in"), json!({})));
    call(&server, &hook, 0..5);
    wait_until("the dead letters", 5, || dead(&server, "gone"));
    let path = format!("/applications/{}/flows/{flow}/deadLetters", hook.application);
    let letters = || server.done("GET", &path, &Value::Null);
    wait_until("the letters", 5, || letters()["totalCount"].as_u64().unwrap_or(0));
    let listed = letters();
    let first = &listed["items"][4];
    assert_eq!(
        (&first["reason"], &first["lastStatus"], &first["attempts"]),
        (&json!("gone"), &json!(410), &json!(1))
    );
    let id = first["id"].as_str().expect("an id");
    let shown = server.done("GET", &format!("{path}/{id}"), &Value::Null);
    assert!(shown["payload"]["data"]["body"].as_u64().is_some_and(|body| body < 5), "{shown}");

    // It is given up again, under the same id.
    server.done("POST", &format!("{path}/{id}/replay"), &json!({}));
    wait_until("the letter once more", 6, || dead(&server, "gone"));
    wait_until("the letters", 5, || letters()["totalCount"].as_u64().unwrap_or(0));

    is_mended.store(true, Ordering::SeqCst);
    server.done("POST", &format!("{path}/{id}/replay"), &json!({}));
    wait_until("the delivery", 1, || server.metric("tidegate_deliveries_total", "done"));
    assert_eq!(letters()["totalCount"], 4);
    let received = target.received();
    let of_first = received.iter().filter(|request| request.header("webhook-id") == id);
    assert_eq!(of_first.count(), 3, "the same name in each attempt");

    let begun = server.done("POST", &format!("{path}/all/replay"), &json!({}));
    assert_eq!((&begun["total"], &begun["isRunning"]), (&json!(4), &json!(true)));
    wait_until("all of them", 5, || server.metric("tidegate_deliveries_total", "done"));
    wait_until("the end", 1, || u64::from(letters()["replay"]["isRunning"] == json!(false)));
    let list = letters();
    assert_eq!(
        (&list["totalCount"], &list["replay"]["replayed"], &list["replay"]["failed"]),
        (&json!(0), &json!(4), &json!(0))
    );
    let bodies: std::collections::BTreeSet<Vec<u8>> =
        target.received().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 5);
}

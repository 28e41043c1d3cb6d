//! Dead letters: kept over a restart, and delivered again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::target::{Answer, Target, closed_port};
use super::{Server, call, dead, node, served, wait_until};

/// A target that refuses until it is told otherwise.
fn mendable() -> (Target, Arc<AtomicBool>) {
    let is_mended = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&is_mended);
    let target =
        Target::start(move |_, _| Answer::status(if answers.load(Ordering::SeqCst) { 204 } else { 410 }));
    (target, is_mended)
}

#[test]
fn a_journal_is_read_offline_after_a_crash() {
    let refuses = closed_port();
    let server = Server::start(|settings| {
        settings.cores(2).set("TIDEGATE_JOURNAL_DURABILITY", "os");
    });
    let hook = server.webhook(json!({}));
    server.flow(&hook, json!([node(&format!("http://{refuses}/in"), json!({}))]));
    call(&server, &hook, 0..3);
    let run = |arguments: &[&str]| {
        let folder = server.folder().join("data");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_clear().arg("journal").args(arguments).arg("--data").arg(folder);
        let ended = command.output().expect("runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (ended.status.code(), text(ended.stdout), text(ended.stderr))
    };
    let (code, _, complaint) = run(&["list"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("a server runs on"), "{complaint}");
    server.signal(Signal::KILL);
    wait_until("the end", 1, || u64::from(run(&["list"]).0 == Some(0)));
    let (_, listed, _) = run(&["list", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let entries = listed.as_array().expect("a list");
    assert_eq!((entries.len(), &entries[0]["open"]), (3, &json!(1)));
    let (code, shown, _) = run(&["show", entries[0]["sequence"].as_str().expect("a name")]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((code, &shown["payload"]["data"]["method"]), (Some(0), &json!("post")));
    assert_eq!(run(&["show", "0-1"]).0, Some(1));
    assert_eq!(run(&["show", "x"]).0, Some(2));
    assert_eq!(run(&["verify"]).0, Some(0));

    // A byte of the first entry.
    let segment = server.folder().join("data/journal").join(entries[0]["segment"].as_str().expect("a file"));
    let offset = entries[0]["offset"].as_u64().expect("a number");
    let mut bytes = std::fs::read(&segment).expect("reads");
    bytes[offset as usize + 50] ^= 1;
    std::fs::write(&segment, bytes).expect("writes");
    let (code, report, _) = run(&["verify"]);
    let is_last = entries.iter().filter(|entry| entry["segment"] == entries[0]["segment"]).count() == 1;
    assert!(is_last || (code == Some(1) && report.contains(&format!("at {offset}"))), "{report}");
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

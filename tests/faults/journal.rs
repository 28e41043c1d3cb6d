//! A journal whose disk is full or fails: new triggers are refused, all else is served, nothing that was accepted is lost, and it
//! heals by itself.

use serde_json::{Value, json};

use crate::common::{Server, eventually, reply_node, request};
use crate::data_folder::{FailingDisk, SmallDisk};
use crate::sockets::Worker;

/// Room for the database and some segments.
const DISK_BYTES: usize = 44 * 1024 * 1024;

on_each_driver! {
    a_full_disk_refuses_triggers_and_heals,
    a_file_system_that_turns_read_only_refuses_triggers_and_loses_none,
}

fn a_full_disk_refuses_triggers_and_heals(driver: &str) {
    let Some(disk) = SmallDisk::new("a journal on a full disk", DISK_BYTES) else { return };
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .set("TIDEGATE_JOURNAL_DURABILITY", "fsync")
            // Segments of 4 MiB, and more of them than the disk has room for.
            .set("TIDEGATE_JOURNAL_MAX_BYTES", 64 << 20)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .on_disk(disk.folder.path());
    });
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode", "config": {}}]));
    let plain = server.webhook(json!({}));
    let replying = server.webhook(json!({"waitForReply": true}));
    server.flow(&replying, json!([reply_node("here")]));

    let post = |number: usize| {
        let body = json!({"number": number, "padding": "x".repeat(200_000)}).to_string();
        request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes())
    };
    let mut wire = server.wire();
    let accepted = (0..1_000).find(|&number| {
        let answer = wire.ask(post(number));
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        if answer.status == 503 {
            assert!(answer.text().contains("The journal "), "{answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
        answer.status == 503
    });
    let accepted = accepted.expect("the disk is full");
    assert!(accepted > 20, "{accepted} accepted");
    let is_ready = || server.call_raw("GET", "/readyz", "").status;
    eventually("it is not ready", || (is_ready() == 503).then_some(()));
    // Those that need no journal are served.
    assert_eq!(server.wire().ask(plain.post(b"x")).status, 200);
    server.wire().ask(replying.get()).is(200, "here");
    assert_eq!(server.metric("tidegate_journal_down", ""), 1);
    let log = server.log();
    assert_eq!(log.matches("the journal is full or cannot be written").count(), 1, "{log}");

    // What was accepted is delivered, and makes room.
    let mut worker = Worker::attach(&server, &flow, 10);
    for expected in 0..accepted {
        let (seq, _, payload) = worker.trigger();
        worker.ack(&[seq]).say(&json!({"type": "ready", "credit": 1}));
        assert_eq!(payload["data"]["body"]["number"], Value::from(expected));
    }
    eventually("it is ready again", || (is_ready() == 200).then_some(()));
    let mut wire = server.wire();
    for number in 0..20 {
        assert_eq!(wire.ask(post(number)).status, 200);
        let (seq, _, payload) = worker.trigger();
        worker.ack(&[seq]).say(&json!({"type": "ready", "credit": 1}));
        assert_eq!(payload["data"]["body"]["number"], Value::from(number));
    }
    assert!(server.log().contains("the journal can be written again"));
    println!("a journal on a full disk: accepted {accepted}, lost 0");
}

fn a_file_system_that_turns_read_only_refuses_triggers_and_loses_none(driver: &str) {
    let Some(failing) = FailingDisk::new("a file system that turns read-only") else { return };
    let mut server = Server::start(|settings| {
        settings
            .driver(driver)
            .set("TIDEGATE_JOURNAL_DURABILITY", "fsync")
            .set("TIDEGATE_JOURNAL_MAX_BYTES", 64 << 20)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .on_disk(failing.disk.folder.path());
    });
    let hook = server.webhook(json!({"deduplicate": {"key": "{{data.body.number}}"}}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode", "config": {}}]));
    let replying = server.webhook(json!({"waitForReply": true}));
    server.flow(&replying, json!([reply_node("here")]));
    let post = |number: usize| {
        let body = json!({"number": number}).to_string();
        request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes())
    };
    const BEFORE: usize = 50;
    let mut wire = server.wire();
    for number in 0..BEFORE {
        assert_eq!(wire.ask(post(number)).status, 200);
    }
    if let Err(error) = failing.fail() {
        return crate::common::skip::skip(
            "a file system that turns read-only",
            &format!("it cannot fail: {error}"),
        );
    }
    // From here on nothing is taken that has to be written, and all else is.
    let mut refused = 0;
    for number in BEFORE..2 * BEFORE {
        let answer = server.wire().ask(post(number));
        assert_eq!(answer.status, 503, "{answer:?}");
        refused += 1;
    }
    eventually("it is not ready", || (server.call_raw("GET", "/readyz", "").status == 503).then_some(()));
    server.wire().ask(replying.get()).is(200, "here");
    assert_eq!(server.metric("tidegate_journal_down", ""), 1);
    server.crash();
    failing.mount_again();
    server.restart();
    // What was answered is delivered, and known; what was refused is neither.
    for number in 0..2 * BEFORE {
        let answer = server.wire().ask(post(number));
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("tidegate-duplicate").is_some(), number < BEFORE, "{number}");
    }
    let mut worker = Worker::attach(&server, &flow, 1000);
    let mut numbers: Vec<u64> = (0..2 * BEFORE)
        .map(|_| {
            let (seq, _, payload) = worker.trigger();
            worker.ack(&[seq]);
            payload["data"]["body"]["number"].as_u64().expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..2 * BEFORE as u64).collect::<Vec<u64>>());
    println!("a file system that turns read-only: accepted {BEFORE}, refused {refused}, lost 0");
}

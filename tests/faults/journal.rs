//! A journal whose disk is full: new triggers are refused, all else is served, nothing that was accepted is lost, and it
//! heals by itself.

use serde_json::{Value, json};

use crate::common::{Server, eventually, reply_node, request};
use crate::data_folder::SmallDisk;
use crate::sockets::Worker;

/// Room for the database and some segments.
const DISK_BYTES: usize = 44 * 1024 * 1024;

on_each_driver! {
    a_full_disk_refuses_triggers_and_heals,
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

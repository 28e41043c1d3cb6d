//! Section 4, the end, and section 11, the process: who is too slow, too many or too much is told so.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::common::{Server, eventually, request};

on_each_driver! {
    a_head_that_does_not_come_to_its_end_is_a_408,
    over_the_cap_on_connections_a_new_one_is_told_so,
    over_the_cap_on_bodies_a_large_one_is_told_so,
    an_unknown_coding_is_a_415_and_the_limit_holds_for_what_comes_out,
}

const SUCCESS: &str = r#"{"success":true}"#;

fn a_head_that_does_not_come_to_its_end_is_a_408(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver);
    });
    let hook = server.webhook(json!({}));
    let mut wire = server.wire();
    // A request that is good first: the patience is for each head.
    wire.ask(hook.get()).is(200, SUCCESS);
    wire.send("GET / HTTP/1.1\r\nHost:");
    let response = wire.response();
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
    wire.closed();
}

fn over_the_cap_on_connections_a_new_one_is_told_so(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_CONNECTIONS", 2);
    });
    let hook = server.webhook(json!({}));
    let (mut first, mut second) = (server.wire(), server.wire());
    first.ask(hook.get()).is(200, SUCCESS);
    second.ask(hook.get()).is(200, SUCCESS);
    let mut third = server.wire();
    let response = third.response();
    assert_eq!((response.status, response.header("connection")), (503, Some("close")));
    assert!(response.header("retry-after").is_some(), "{response:?}");
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert!(body["error"].is_string(), "{body}");
    third.closed();
    // What was accepted goes on, and there is room again when one leaves.
    first.ask(hook.get()).is(200, SUCCESS);
    drop(second);
    eventually("there is room", || {
        let mut wire = server.wire();
        wire.send_what_goes(&hook.get());
        (wire.response().status == 200).then_some(())
    });
}

fn over_the_cap_on_bodies_a_large_one_is_told_so(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_BODY_BYTES", 300_000);
    });
    let hook = server.webhook(json!({}));
    let large = hook.post(&vec![b'x'; 200_000]);
    let (sent, unsent) = large.split_at(large.len() - 1);
    let mut first = server.wire();
    first.send(sent);
    // The first one's body holds the memory until its last byte has come.
    let refused = eventually("the second is refused", || {
        let mut second = server.wire();
        second.send_what_goes(&large);
        let response = second.response();
        if response.status != 503 {
            // The first one's body had not been read far enough yet.
            return None;
        }
        second.closed();
        Some(response)
    });
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    server.wire().ask(hook.post(b"a small one")).is(200, SUCCESS);
    first.ask(unsent).is(200, SUCCESS);
    server.wire().ask(&large).is(200, SUCCESS);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn an_unknown_coding_is_a_415_and_the_limit_holds_for_what_comes_out(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver);
    });
    let hook = server.webhook(json!({}));
    server.flow(&hook, json!([]));
    let ask = |coding: &str, body: &[u8]| {
        server.wire().ask(request("POST", &hook.target(""), &[("Content-Encoding", coding)], body))
    };
    let limit = 262_144;
    ask("gzip", &gzip(&vec![b'x'; limit])).is(200, SUCCESS);
    ask("gzip", &gzip(&vec![b'x'; limit + 1])).is(413, r#"{"error":"Content too large"}"#);
    ask("gzip", &gzip(&vec![b'x'; 8 * limit])).is(413, r#"{"error":"Content too large"}"#);
    ask("identity", b"a body").is(200, SUCCESS);
    for coding in ["zstd", "compress", "gzip, zstd", "x"] {
        let refused = ask(coding, b"a body");
        let accepted = refused.header("accept-encoding");
        assert_eq!((refused.status, accepted), (415, Some("gzip, deflate, br")), "{coding}");
    }
    let broken = ask("gzip", b"a body");
    assert_eq!((broken.status, broken.header("accept-encoding")), (400, None));
    assert_eq!(server.metric("tidegate_triggers_total", ""), 2);
}

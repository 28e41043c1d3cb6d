//! `deduplicate`: a call with a key that was taken triggers nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Hook, Response, Server, eventually, request};
use crate::{echo, refused, server};

const SUCCESS: &str = r#"{"success":true}"#;

/// A POST of JSON.
fn post(server: &Server, hook: &Hook, headers: &[(&str, &str)], body: &Value) -> Response {
    let headers = [&[("Content-Type", "application/json")], headers].concat();
    server.wire().ask(request("POST", &hook.target(""), &headers, body.to_string().as_bytes()))
}

fn is_repeat(response: &Response) -> bool {
    response.header("tidegate-duplicate").is_some_and(|value| {
        assert_eq!(value, "true");
        true
    })
}

fn triggers(server: &Server) -> u64 {
    server.metric("tidegate_triggers_total", "")
}

#[test]
fn a_repeat_is_answered_and_triggers_nothing_whichever_core_gets_it() {
    for cores in [1, 2] {
        let server = server(cores);
        let hook = server.webhook(json!({"responseCode": 202, "deduplicate":
            {"key": "{{data.headers.x-event}}:{{data.body.id}}:{{globals.tenant}}:{{triggerId}}"}}));
        server.flow(&hook, json!([crate::common::reply_node("seen")]));
        let event = [("X-Event", "created")];
        let (before, first) = (triggers(&server), post(&server, &hook, &event, &json!({"id": 1})));
        first.is(202, SUCCESS);
        assert!(!is_repeat(&first));
        // Connections are spread over the cores.
        for _ in 0..20 {
            let repeat = post(&server, &hook, &event, &json!({"id": 1}));
            repeat.is(202, SUCCESS);
            assert!(is_repeat(&repeat));
        }
        assert!(!is_repeat(&post(&server, &hook, &event, &json!({"id": 2}))));
        assert!(!is_repeat(&post(&server, &hook, &[("X-Event", "deleted")], &json!({"id": 1}))));
        assert_eq!(triggers(&server) - before, 3);
        assert_eq!(server.metric("tidegate_requests_total", "duplicate"), 20);
        // Kept while the key stays the same, whatever else changes; with another one all begins anew.
        server.patch(&hook, &json!({"responseCode": 200, "responseBody": {"body": "again?"}}));
        let repeat = post(&server, &hook, &event, &json!({"id": 1}));
        repeat.is(200, "again?");
        assert!(is_repeat(&repeat));
        server.patch(&hook, &json!({"deduplicate": {"key": "{{data.body.id}}"}}));
        assert!(!is_repeat(&post(&server, &hook, &event, &json!({"id": 1}))));
        assert!(is_repeat(&post(&server, &hook, &[], &json!({"id": 1}))));
        server.patch(&hook, &json!({"deduplicate": null}));
        assert!(!is_repeat(&post(&server, &hook, &[], &json!({"id": 1}))));
    }
}

#[test]
fn an_empty_key_is_none() {
    let server = server(2);
    let hook = server.webhook(json!({"deduplicate": {"key": "{{data.headers.x-id}} "}}));
    for _ in 0..3 {
        assert!(!is_repeat(&post(&server, &hook, &[], &json!({}))));
    }
    assert!(!is_repeat(&post(&server, &hook, &[("X-Id", "a")], &json!({}))));
    assert!(is_repeat(&post(&server, &hook, &[("X-Id", "a")], &json!({}))));
}

#[test]
fn a_key_can_be_taken_again_when_its_window_is_over() {
    let server = server(2);
    let hook = server.webhook(json!({"deduplicate": {"key": "{{data.body}}", "windowSeconds": 1}}));
    let begun = Instant::now();
    assert!(!is_repeat(&post(&server, &hook, &[], &json!("a"))));
    if is_repeat(&post(&server, &hook, &[], &json!("a"))) {
        eventually("the window is over", || {
            (!is_repeat(&post(&server, &hook, &[], &json!("a")))).then_some(())
        });
    }
    // A call's time is that of its turn, in whole milliseconds.
    assert!(begun.elapsed() >= Duration::from_millis(980), "the window was too short");
}

#[test]
fn a_call_that_was_refused_or_timed_out_takes_no_key() {
    let server = server(2);
    let hook = server.webhook(json!({
        "waitForReply": true,
        "limits": {"replyTimeoutSeconds": 1, "concurrency": 1, "payloadBytes": 64},
        "auth": {"type": "header", "name": "X-Key", "value": "k"},
        "deduplicate": {"key": "{{data.body.id}}"},
    }));
    let key = ("X-Key", "k");
    let call = |headers: &[(&str, &str)], id: &str| post(&server, &hook, headers, &json!({"id": id}));
    // Refused by the head.
    assert_eq!(call(&[], "a").status, 401);
    assert_eq!(call(&[key], &"x".repeat(80)).status, 413);
    // Refused by its coding.
    assert_eq!(call(&[key, ("Content-Encoding", "gzip")], "a").status, 400);
    // Nobody replies: a time-out, twice.
    for _ in 0..2 {
        assert_eq!(call(&[key], "a").status, 504);
    }
    // While one waits, its key is taken, and another call has no place.
    let mut waiting = server.wire();
    let first = request("GET", "/healthz", &[], b"");
    let second = request(
        "POST",
        &hook.target(""),
        &[key, ("Content-Type", "application/json")],
        json!({"id": "a"}).to_string().as_bytes(),
    );
    assert_eq!(waiting.ask([first, second].concat()).status, 200);
    let repeat = call(&[key], "a");
    repeat.is(200, SUCCESS);
    assert!(is_repeat(&repeat));
    assert_eq!(call(&[key], "b").status, 429);
    assert_eq!(waiting.response().status, 504);
    // Its key is free again, and that of the refused one was never taken.
    server.flow(
        &hook,
        json!([{"type": "WebhookReplyNode", "config":
        {"bodyTemplate": "done", "responseCodeTemplate": "{{data.query.status}}"}}]),
    );
    for id in ["a", "b"] {
        call(&[key], id).is(200, "done");
        let repeat = call(&[key], id);
        repeat.is(200, SUCCESS);
        assert!(is_repeat(&repeat));
    }
}

#[test]
fn an_error_of_a_flow_can_be_tried_again() {
    let server = server(2);
    let hook = echo(&server, json!({"deduplicate": {"key": "{{data.body}}"}}), "unused");
    let flow = server.done("GET", &format!("/applications/{}/flows", hook.application), &Value::Null);
    let flow =
        format!("/applications/{}/flows/{}", hook.application, flow["items"][0]["id"].as_str().unwrap());
    let node = |code: &str| json!({"nodes": [{"type": "WebhookReplyNode", "config": {"bodyTemplate": "x", "responseCodeTemplate": code}}]});
    server.done("PATCH", &flow, &node("503"));
    for _ in 0..2 {
        assert_eq!(post(&server, &hook, &[], &json!("a")).status, 503);
    }
    server.done("PATCH", &flow, &node("201"));
    assert_eq!(post(&server, &hook, &[], &json!("a")).status, 201);
    assert!(is_repeat(&post(&server, &hook, &[], &json!("a"))));
}

#[test]
fn a_caller_that_goes_away_while_it_waits_can_come_again() {
    let server = server(1);
    let hook = server.webhook(json!({"waitForReply": true, "deduplicate": {"key": "{{data.query.id}}"}}));
    let mut gone = server.wire();
    let held =
        [request("GET", "/healthz", &[], b""), request("GET", &hook.target("?id=1"), &[], b"")].concat();
    assert_eq!(gone.ask(held).status, 200);
    let get = || request("GET", &hook.target("?id=1"), &[], b"");
    assert!(is_repeat(&server.wire().ask(get())));
    gone.reset();
    server.flow(&hook, json!([crate::common::reply_node("here")]));
    eventually("the key is free", || {
        let response = server.wire().ask(get());
        (!is_repeat(&response)).then(|| response.is(200, "here").clone())
    });
}

#[test]
fn what_deduplicate_must_be_is_said_when_it_is_saved() {
    let server = server(1);
    let hook = server.webhook(json!({"deduplicate": {"key": "{{data.body.id}}"}}));
    let shown = server.done("GET", &hook.resource(""), &Value::Null);
    assert_eq!(shown["deduplicate"], json!({"key": "{{data.body.id}}", "windowSeconds": 86_400}));
    for (wrong, field) in [
        (json!("{{x}}"), "`deduplicate` must be an object"),
        (json!({}), "`deduplicate.key` is required"),
        (json!({"key": ""}), "`deduplicate.key` must"),
        (json!({"key": "{{"}), "`deduplicate.key` must be a template"),
        (json!({"key": "a", "windowSeconds": 0}), "`deduplicate.windowSeconds` must"),
        (json!({"key": "a", "windowSeconds": 86_401}), "`deduplicate.windowSeconds` must"),
        (json!({"key": "a", "window": 1}), "`deduplicate.window` is not"),
    ] {
        let message = refused(&server, &hook, &json!({"deduplicate": wrong}));
        assert!(message.starts_with(field), "{wrong}: {message}");
    }
}

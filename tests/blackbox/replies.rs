//! Sections 4 (step 10) and 7: requests that wait for a reply.

use serde_json::json;

use crate::common::{Server, reply_node};

on_each_driver! {
    a_flow_replies,
    the_first_reply_wins,
    without_a_reply_it_times_out,
}

const TIME_OUT: &str = r#"{"error":"Time out waiting for workflow reply"}"#;

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2);
    })
}

fn a_flow_replies(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "responseCode": 202}));
    server.flow(&hook, json!([reply_node("{\"hello\": \"world\"}")]));
    let mut wire = server.wire();
    for _ in 0..3 {
        let response = wire.ask(hook.post(b"a body"));
        response.is(202, "{\"hello\": \"world\"}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert!(response.header("content-security-policy").is_some());
        assert!(response.header("x-xss-protection").is_some());
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    }
    // A webhook that does not wait takes no reply.
    server.patch(&hook, &json!({"waitForReply": false}));
    wire.ask(hook.get()).is(202, r#"{"success":true}"#);
}

fn the_first_reply_wins(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node("first"), reply_node("second"), reply_node("third")]));
    let mut wire = server.wire();
    for _ in 0..10 {
        wire.ask(hook.get()).is(200, "first");
    }
    assert_eq!(server.metric("tidegate_replies_total", "true"), 10);
    assert_eq!(server.metric("tidegate_replies_total", "false"), 20);
}

fn without_a_reply_it_times_out(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    // One that waits although no flow listens, and one whose flow says nothing.
    let mut wire = server.wire();
    let response = wire.ask(hook.get());
    response.is(504, TIME_OUT);
    assert_eq!(response.header("content-type"), Some("application/json"));
    server.flow(&hook, json!([]));
    wire.ask(hook.post(b"a body")).is(504, TIME_OUT);
    assert_eq!(server.metric("tidegate_reply_timeouts_total", ""), 2);
}

#[test]
fn a_reply_to_nobody_is_not_accepted() {
    let server = server("auto");
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    server.flow(&hook, json!([]));
    let tested = server.test(&hook, &json!({"method": "GET"}));
    assert_eq!(tested["statusCode"], 504);
    let finished = tested["triggers"][0]["data"]["replyId"].as_str().expect("a replyId").to_owned();
    assert!(finished.starts_with(&format!("{}.", hook.id)), "{finished}");
    let unknown = format!("{}.AAAAAAAAAAAAAAAAAAAAAA", hook.id);
    for reply_id in [&finished, &unknown, "nobody", &hook.id] {
        let answer = server.done("POST", &format!("/replies/{reply_id}"), &json!({"body": "too late"}));
        assert_eq!(answer, json!({"success": true, "accepted": false}), "{reply_id}");
    }
}

//! `verificationType`: facebook, fitbit, twilio.

use serde_json::json;

use crate::harness::{Server, connect, request, response};
use std::io::Write as _;

const TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#;
const SUCCESS: &str = r#"{"success":true}"#;

#[test]
fn meta_is_answered_its_challenge_alone_and_without_a_trigger() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "facebook", "verificationCode": "a code &+ß", "responseCode": 202,
    }));
    let query = |token: &str, more: &str| format!("?hub.mode=subscribe&hub.verify_token={token}{more}");
    let good = "a%20code+%26%2B%C3%9F";
    let (_, triggers) = server.counted(|| {
        for (query, challenge) in [
            (query(good, "&hub.challenge=1158201444"), "1158201444"),
            (query(good, "&hub.challenge=%3Cb%3E+%26"), "<b> &"),
            (query(good, ""), ""),
            (format!("?hub.challenge=x&hub%2Everify_token={good}&hub.mode=sub%73cribe&other=1"), "x"),
        ] {
            let answer = server.get(&hook, &query);
            answer.is(200, challenge);
            assert_eq!(answer.field("content-type"), "text/plain", "{query}");
            assert_eq!(answer.field("x-content-type-options"), "nosniff", "{query}");
        }
        for query in [
            query("wrong", "&hub.challenge=1"),
            query("", "&hub.challenge=1"),
            query(good, "&hub.verify_token=wrong&hub.challenge=1"),
            query(good, "&hub.challenge=1&hub.challenge=2"),
            format!("?hub.mode=subscribe&hub.mode=x&hub.verify_token={good}&hub.challenge=1"),
            "?hub.mode=subscribe&hub.challenge=1".to_owned(),
        ] {
            let answer = server.get(&hook, &query);
            assert_eq!(answer.status, 403, "{query}");
            assert!(!answer.text().contains("code &"), "{answer:?}");
        }
    });
    assert_eq!(triggers, 0);
    let (_, triggers) = server.counted(|| {
        server.post(&hook, &[], b"{}").is(202, SUCCESS);
        server.get(&hook, "").is(202, SUCCESS);
        server.get(&hook, "?hub.mode=unsubscribe&hub.challenge=1").is(202, SUCCESS);
        server.send("POST", &hook, &query(good, "&hub.challenge=1"), &[], b"").is(202, SUCCESS);
    });
    assert_eq!(triggers, 4);
}

#[test]
fn fitbit_is_answered_204_or_404_and_every_other_request_204() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "fitbit", "verificationCode": "c0de+", "responseCode": 200,
    }));
    let (_, triggers) = server.counted(|| {
        server.get(&hook, "?verify=c0de%2B").is(204, "");
        for query in ["?verify=c0de+", "?verify=", "?verify", "?verify=c0de%2B&verify=c0de%2B", "?verify=x"] {
            server.get(&hook, query).refused(404, "Verification code does not match");
        }
    });
    assert_eq!(triggers, 0);
    let (_, triggers) = server.counted(|| {
        server.post(&hook, &[], b"[]").is(204, "");
        server.get(&hook, "?other=1").is(204, "");
        server.send("POST", &hook, "?verify=wrong", &[], b"").is(204, "");
    });
    assert_eq!(triggers, 3);
    server.patch(&hook, &json!({"waitForReply": true}));
    server.post(&hook, &[], b"[]").is(204, "");
}

#[test]
fn fitbit_sees_a_reply_that_does_not_come_in_time() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "fitbit", "verificationCode": "c0de", "waitForReply": true,
        "limits": {"replyTimeoutSeconds": 1},
    }));
    let flows = format!("/applications/{}/flows", hook.application);
    let flow = server.done("GET", &flows, &json!(null))["items"][0]["id"].clone();
    let flow = format!("{flows}/{}", flow.as_str().expect("an id"));
    server.done("PATCH", &flow, &json!({"nodes": []}));
    server.post(&hook, &[], b"[]").refused(504, "Time out waiting for workflow reply");
    server.get(&hook, "?verify=c0de").is(204, "");
}

#[test]
fn twilio_is_answered_in_its_markup_unless_a_reply_comes() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"verificationType": "twilio", "responseCode": 500}));
    let (answer, triggers) = server.counted(|| server.post(&hook, &[], b"{}"));
    answer.is(200, TWIML);
    assert_eq!(answer.field("content-type"), "text/xml");
    assert_eq!(triggers, 1);
    server.patch(&hook, &json!({"waitForReply": true, "responseCode": 200}));
    server.post(&hook, &[], b"{}").is(200, "seen");
}

#[test]
fn an_empty_code_verifies_nobody() {
    let server = Server::start(&[]);
    for fields in [json!({}), json!({"verificationCode": ""})] {
        let mut facebook = fields.clone();
        facebook["verificationType"] = json!("facebook");
        let hook = server.webhook(facebook);
        for query in ["?hub.mode=subscribe&hub.verify_token=&hub.challenge=1", "?hub.mode=subscribe"] {
            assert_eq!(server.get(&hook, query).status, 403, "{query}");
        }
        let mut fitbit = fields;
        fitbit["verificationType"] = json!("fitbit");
        let hook = server.webhook(fitbit);
        for query in ["?verify=", "?verify"] {
            assert_eq!(server.get(&hook, query).status, 404, "{query}");
        }
    }
}

#[test]
fn verification_comes_before_concurrency() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "facebook", "verificationCode": "code", "waitForReply": true,
        "limits": {"concurrency": 1},
    }));
    let flows = format!("/applications/{}/flows", hook.application);
    let flow = server.done("GET", &flows, &json!(null))["items"][0]["id"].clone();
    let flow = format!("{flows}/{}", flow.as_str().expect("an id"));
    server.done("PATCH", &flow, &json!({"nodes": []}));
    // Holds the webhook's only place until the test ends.
    let before = server.triggers();
    let mut first = connect(server.ingress);
    let target = format!("/webhooks/{}", hook.token);
    first.write_all(&request("POST", &target, &[], b"{}")).expect("the server takes it");
    while server.triggers() == before {
        std::thread::yield_now();
    }
    server.post(&hook, &[], b"{}").refused(429, "Over concurrency limit, request throttled");
    server.get(&hook, "?hub.mode=subscribe&hub.verify_token=code&hub.challenge=7").is(200, "7");
    server.done("PATCH", &flow, &json!({"enabled": false}));
    drop(first);
}

#[test]
fn basic_authentication_comes_before_a_handshake() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "fitbit", "verificationCode": "code", "basicAuthUsername": "user",
    }));
    assert_eq!(server.get(&hook, "?verify=code").status, 401);
    let mut stream = connect(server.ingress);
    let target = format!("/webhooks/{}?verify=code", hook.token);
    let fields = [("Authorization", "Basic dXNlcjo=")];
    stream.write_all(&request("GET", &target, &fields, b"")).expect("the server takes it");
    response(&mut stream).is(204, "");
}

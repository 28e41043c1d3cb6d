//! Callers that wait for the target's answer.

use serde_json::{Value, json};

use super::target::{Answer, Target, closed_port};
use super::{attempts, node, serve, served};
use crate::common::{Hook, Response, Server, request};

fn ask(server: &Server, hook: &Hook) -> Response {
    server.wire().ask(request(
        "POST",
        &hook.target("/x"),
        &[("Content-Type", "application/json")],
        b"{\"a\":1}",
    ))
}

#[test]
fn a_caller_gets_the_answer_of_the_target() {
    for cores in [1, 2] {
        let target = Target::start(|_, received| match received.json()["data"]["path"].as_str().unwrap() {
            "/x" => Answer::Respond(
                201,
                "content-type: text/plain; charset=utf-8\r\nx-mine: yes\r\nset-cookie: a=b\r\nx-xss-protection: 1\r\n",
                b"it is made".to_vec(),
            ),
            "/moved" => Answer::Respond(302, "location: https://example.org/\r\n", Vec::new()),
            "/teapot" => Answer::Respond(500, "content-type: application/json\r\n", b"{\"no\":1}".to_vec()),
            _ => Answer::Respond(204, "", Vec::new()),
        });
        let (server, hook, _) =
            served(cores, json!({"waitForReply": true}), node(&target.url(""), json!({})));
        let answer = ask(&server, &hook);
        answer.is(201, "it is made");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("x-mine"), Some("yes"));
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-xss-protection"), Some("0"), "it is the engine's to set");
        let get = |path: &str| server.wire().ask(request("GET", &hook.target(path), &[], b""));
        assert_eq!(get("/moved").header("location"), Some("https://example.org/"));
        get("/teapot").is(500, "{\"no\":1}");
        get("/empty").is(204, "");
        assert_eq!(target.count(), 4, "one attempt for each call");
        assert_eq!(server.metric("tidegate_dead_letters_total", ""), 0);
    }
}

#[test]
fn a_caller_is_told_why_there_is_no_answer() {
    let hangs = Target::start(|_, _| Answer::Hang);
    let closes = Target::start(|_, _| Answer::Close);
    let large = Target::start(|_, _| Answer::Respond(200, "", vec![b'x'; 5_000]));
    let closed = format!("http://{}/", closed_port());
    let server = serve(2);
    let cases: [(String, Value, u16, &str); 6] = [
        (hangs.url(""), json!({"timeoutSeconds": 1}), 504, "The target did not answer in time"),
        (closes.url(""), json!({}), 502, "The target's answer is broken"),
        (large.url(""), json!({}), 502, "The target's answer is too large"),
        (closed, json!({}), 502, "The target cannot be reached"),
        ("http://no-such-name.invalid/".to_owned(), json!({}), 502, "The target's name has no address"),
        (format!("https://{}/", closes.address), json!({}), 502, "TLS with the target failed"),
    ];
    for (url, more, status, error) in cases {
        let hook = server.webhook(json!({"waitForReply": true, "limits": {"payloadBytes": 4_999}}));
        server.flow(&hook, json!([node(&url, more)]));
        ask(&server, &hook).is(status, &json!({"error": error}).to_string());
    }
    assert_eq!(server.metric("tidegate_dead_letters_total", ""), 0, "the callers know");
}

#[test]
fn an_answer_as_large_as_a_reply_may_be_is_passed_on_whole() {
    let body: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let sent = body.clone();
    let target = Target::start(move |_, _| Answer::Respond(200, "", sent.clone()));
    let fields = json!({"waitForReply": true, "limits": {"payloadBytes": body.len()}});
    let (server, hook, _) = served(2, fields, node(&target.url(""), json!({})));
    let mut wire = server.wire();
    for _ in 0..3 {
        let answer = wire.ask(hook.post(b"x"));
        assert_eq!((answer.status, answer.body.len()), (200, body.len()));
        assert!(answer.body == body);
    }
}

#[test]
fn a_caller_that_has_its_reply_from_elsewhere_does_not_wait_for_the_target() {
    let target = Target::start(|_, _| Answer::Hang);
    let (server, hook, _) = served(1, json!({"waitForReply": true}), node(&target.url(""), json!({})));
    server.flow(&hook, json!([crate::common::reply_node("at once")]));
    ask(&server, &hook).is(200, "at once");
    target.wait_for(1);
}

#[test]
fn flows_that_forward_to_each_other_end() {
    let server = serve(2);
    let hook = server.webhook(json!({}));
    let url = format!("http://{}{}", server.ingress, hook.target(""));
    server.flow(&hook, json!([node(&url, json!({}))]));
    server.wire().ask(hook.post(b"round and round")).is(200, "{\"success\":true}");
    super::wait_until("the end", 1, || super::dead(&server, "loop"));
    assert_eq!((server.metric("tidegate_triggers_total", ""), attempts(&server, "ok")), (9, 8));

    let waiting = server.webhook(json!({"waitForReply": true}));
    let url = format!("http://{}{}", server.ingress, waiting.target(""));
    server.flow(&waiting, json!([node(&url, json!({}))]));
    ask(&server, &waiting).is(502, "{\"error\":\"The request was forwarded too often\"}");
}

#[test]
fn an_address_that_is_not_allowed_is_not_connected_to() {
    let target = Target::fine();
    let port = target.address.port();
    for (variable, networks) in [
        ("TIDEGATE_FORWARD_DENIED_NETWORKS", "127.0.0.0/8,::1"),
        ("TIDEGATE_FORWARD_ALLOWED_NETWORKS", "10.0.0.0/8"),
    ] {
        let server = Server::start(|settings| {
            settings.set(variable, networks);
        });
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let hook = server.webhook(json!({"waitForReply": true}));
            server.flow(&hook, json!([node(&format!("http://{host}:{port}/"), json!({}))]));
            ask(&server, &hook).is(502, "{\"error\":\"The target's address is not allowed\"}");
        }
        assert_eq!(attempts(&server, "denied"), 4);
    }
    assert_eq!(target.count(), 0);
}

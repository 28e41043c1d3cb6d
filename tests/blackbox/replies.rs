//! Sections 4 (step 10) and 7: requests that wait for a reply.

use serde_json::{Value, json};

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

/// A node whose reply has these headers.
fn node_with_headers(headers: &[(&str, &str)]) -> Value {
    let mut node = reply_node("a,b");
    let info = headers.iter().map(|(key, value)| json!({"keyTemplate": key, "valueTemplate": value}));
    node["config"]["headerInfo"] = info.collect();
    node
}

#[test]
fn a_replys_headers_go_out_save_those_that_are_the_engines() {
    let server = server("auto");
    let hook = server.webhook(json!({"waitForReply": true}));
    let headers = [
        ("X-Own", "of the flow"),
        ("Content-Type", "text/csv; charset=utf-8"),
        ("X-Content-Type-Options", "sniff"),
        ("Content-Security-Policy", "default-src *"),
        ("X-XSS-Protection", "1; mode=block"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=1"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Trailer", "X-Own"),
        ("TE", "trailers"),
        ("Proxy-Authenticate", "Basic"),
        ("Content-Length", "1"),
        ("Set-Cookie", "a=b"),
        ("X-Split", "a\r\nX-Smuggled: b"),
        ("X-Lf", "a\nX-Smuggled: b"),
    ];
    server.flow(&hook, json!([node_with_headers(&headers)]));
    let mut wire = server.wire();
    let response = wire.ask(hook.get());
    response.is(200, "a,b");
    assert_eq!(response.header("x-own"), Some("of the flow"));
    assert_eq!(response.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let policy = response.header("content-security-policy").expect("a policy");
    assert!(!policy.contains('*'), "{policy}");
    assert_ne!(response.header("x-xss-protection"), Some("1; mode=block"));
    let dropped = [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "trailer",
        "te",
        "proxy-authenticate",
        "set-cookie",
        "x-split",
        "x-lf",
        "x-smuggled",
    ];
    for name in dropped {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("content-length"), Some("3"));
    wire.ask(hook.get()).is(200, "a,b");
}

#[test]
fn a_replys_content_type_is_one_of_a_few() {
    let server = server("auto");
    for (said, expected) in [
        ("application/json", "application/json"),
        ("application/xml", "application/xml"),
        ("text/plain", "text/plain"),
        ("text/xml; charset=utf-8", "text/xml; charset=utf-8"),
        ("text/csv", "text/csv"),
        ("text/html", "application/json"),
        ("image/svg+xml", "application/json"),
        ("application/javascript", "application/json"),
        ("", "application/json"),
    ] {
        let hook = server.webhook(json!({"waitForReply": true}));
        server.flow(&hook, json!([node_with_headers(&[("Content-Type", said)])]));
        assert_eq!(server.wire().ask(hook.get()).header("content-type"), Some(expected), "{said:?}");
    }
}

#[test]
fn a_replys_code_is_its_own_or_the_webhooks() {
    let server = server("auto");
    for (template, expected) in [
        ("201", 201),
        ("", 203),
        (" {{data.missing}} ", 203),
        ("599", 599),
        ("600", 200),
        ("199", 200),
        ("0", 200),
        ("-1", 200),
        ("abc", 200),
        ("200.5", 200),
        ("{{data.method}}", 200),
    ] {
        let hook = server.webhook(json!({"waitForReply": true, "responseCode": 203}));
        let mut node = reply_node("{}");
        node["config"]["responseCodeTemplate"] = json!(template);
        server.flow(&hook, json!([node]));
        assert_eq!(server.wire().ask(hook.get()).status, expected, "{template:?}");
    }
    for code in [204, 304] {
        let hook = server.webhook(json!({"waitForReply": true, "responseCode": code}));
        server.flow(&hook, json!([reply_node("a body that is not sent")]));
        let mut wire = server.wire();
        for _ in 0..2 {
            assert_eq!(wire.ask(hook.get()).status, code);
        }
    }
}

#[test]
fn a_reply_over_the_limit_is_a_502() {
    let server = server("auto");
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"payloadBytes": 10}}));
    let flow = server.flow(&hook, json!([reply_node("1234567890")]));
    let mut wire = server.wire();
    wire.ask(hook.get()).is(200, "1234567890");
    let path = format!("/applications/{}/flows/{flow}", hook.application);
    let errors = || server.metric("tidegate_reply_node_errors_total", "");
    assert_eq!(errors(), 0);
    // The payload is kept where a worker gets it too.
    let worker = json!({"type": "WorkerNode"});
    for (count, nodes) in
        [(1, json!([reply_node("12345678901")])), (2, json!([reply_node("12345678901"), worker]))]
    {
        server.done("PATCH", &path, &json!({"nodes": nodes}));
        assert_eq!(wire.ask(hook.get()).status, 502);
        assert_eq!(errors(), count, "the node is told so");
    }
}

#[test]
fn what_is_no_reply_is_refused_by_the_api() {
    let server = server("auto");
    let hook = server.webhook(json!({}));
    let path = format!("/replies/{}.AAAAAAAAAAAAAAAAAAAAAA", hook.id);
    for body in ["", "[]", "{", r#"{"headers":1}"#, r#"{"responseCode":"x"}"#, r#"{"encoding":"x"}"#] {
        let response = server.call_raw("POST", &path, body);
        assert_eq!(response.status, 400, "{body}");
        assert_eq!(
            serde_json::from_slice::<Value>(&response.body).expect("JSON")["type"],
            "Validation",
            "{body}"
        );
    }
}

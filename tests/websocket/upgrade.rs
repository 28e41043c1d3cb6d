//! Which requests become WebSockets, and what the others are told (sections 4.1 to 4.6, 6 and 11).

use serde_json::json;

use crate::common::{Response, Server, eventually, request};
use crate::sockets::{KEY, Socket, upgrade};

on_each_driver! {
    requests_that_are_no_upgrade_are_told_what_is_needed,
    the_hundred_and_first_at_a_time_is_refused_until_one_ends,
    an_upgrade_whose_caller_is_gone_before_its_answer_leaves_its_place_free,
}

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

fn an_upgrade_whose_caller_is_gone_before_its_answer_leaves_its_place_free(driver: &str) {
    /// Enough that for some the reset is there before the answer is written.
    const CALLERS: usize = 300;
    let server = server(driver);
    let hook = server.webhook(json!({"isWebsocket": true, "limits": {"concurrency": CALLERS}}));
    for _ in 0..CALLERS {
        let mut wire = server.wire();
        wire.send(upgrade(&hook.target(""), &[]));
        wire.reset();
    }
    server.patch(&hook, &json!({"limits": {"concurrency": 1}}));
    eventually("the one place is free", || {
        (ask(&server, &upgrade(&hook.target(""), &[])).status == 101).then_some(())
    });
}

fn ask(server: &Server, bytes: &[u8]) -> Response {
    server.wire().ask(bytes)
}

fn requests_that_are_no_upgrade_are_told_what_is_needed(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    let http = server.webhook(json!({}));
    let target = hook.target("");
    // A webhook's own call without an upgrade; the connection goes on.
    let mut wire = server.wire();
    for method in ["GET", "POST", "PUT"] {
        let plain = wire.ask(request(method, &target, &[], b""));
        plain.is(426, r#"{"error":"This URL takes WebSocket connections only"}"#);
        assert_eq!(
            (plain.header("upgrade"), plain.header("connection")),
            (Some("websocket"), Some("upgrade"))
        );
    }
    // Whoever spells the upgrade out wrongly is told so.
    let cases: &[(u16, &[(&str, &str)])] = &[
        (426, &[("Upgrade", "")]),
        (426, &[("Connection", "keep-alive")]),
        (426, &[("Upgrade", "h2c")]),
        (426, &[("Sec-WebSocket-Version", "12")]),
        (426, &[("Sec-WebSocket-Version", "14")]),
        (426, &[("Sec-WebSocket-Version", "")]),
        (400, &[("Sec-WebSocket-Key", "")]),
        (400, &[("Sec-WebSocket-Key", "c2hvcnQ=")]),
        (400, &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ!==")]),
        (400, &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSBsb25nZXI=")]),
        (400, &[("Content-Length", "0"), ("Transfer-Encoding", "chunked")]),
    ];
    for (status, headers) in cases {
        let response = ask(&server, &upgrade(&target, headers));
        assert_eq!(response.status, *status, "{headers:?}: {response:?}");
        let of_version = headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Version");
        assert_eq!(response.header("sec-websocket-version").is_some(), *status == 426, "{headers:?}");
        if of_version {
            assert_eq!(response.header("sec-websocket-version"), Some("13"));
        }
    }
    let refused = ask(&server, &upgrade(&http.target(""), &[]));
    refused.is(400, r#"{"error":"This webhook takes HTTP requests only"}"#);
    assert_eq!(ask(&server, &upgrade("/webhooks/nobody", &[])).status, 404);
    assert_eq!(ask(&server, &upgrade("/elsewhere", &[])).status, 404);
    let head = String::from_utf8(upgrade(&target, &[])).expect("text");
    assert_eq!(ask(&server, head.replace("GET ", "POST ").as_bytes()).status, 426, "an upgrade is a GET");
    assert_eq!(ask(&server, head.replace("GET ", "TRACE ").as_bytes()).status, 405);
    assert_eq!(ask(&server, head.replace("Host: localhost\r\n", "").as_bytes()).status, 400);
    assert_eq!(
        ask(&server, head.replace(KEY, &format!("{KEY}\r\nSec-WebSocket-Key: {KEY}")).as_bytes()).status,
        400
    );
    // What must be there may be written as people write it.
    let headers = [("Connection", "keep-alive, uPGRADE"), ("Upgrade", "WebSocket")];
    Socket::open_with(server.ingress, &hook.target("/more?x=1"), &headers).close(1000, "").closed();
}

#[test]
fn the_first_subprotocol_that_is_offered_is_agreed_on() {
    let server = server("auto");
    let hook = server.webhook(json!({"isWebsocket": true}));
    for (offered, agreed) in
        [("ocpp1.6, ocpp2.0.1", Some("ocpp1.6")), ("no token, chat", Some("chat")), ("no token", None)]
    {
        let accepted = ask(&server, &upgrade(&hook.target(""), &[("Sec-WebSocket-Protocol", offered)]));
        assert_eq!(accepted.status, 101, "{offered}");
        assert_eq!(accepted.header("sec-websocket-protocol"), agreed, "{offered}");
    }
    assert_eq!(ask(&server, &upgrade(&hook.target(""), &[])).header("sec-websocket-protocol"), None);
}

#[test]
fn a_webhook_that_is_switched_off_is_not_there() {
    let server = server("auto");
    let hook = server.webhook(json!({"isWebsocket": true, "enabled": false}));
    ask(&server, &upgrade(&hook.target(""), &[])).is(404, r#"{"error":"Webhook not found"}"#);
    server.patch(&hook, &json!({"enabled": true}));
    Socket::open(&server, &hook).close(1000, "").closed();
}

#[test]
fn credentials_are_asked_for_before_the_upgrade() {
    let server = server("auto");
    let hook = server
        .webhook(json!({"isWebsocket": true, "basicAuthUsername": "user", "basicAuthPassword": "pass"}));
    let refused = ask(&server, &upgrade(&hook.target(""), &[]));
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")));
    let wrong = upgrade(&hook.target(""), &[("Authorization", "Basic dXNlcjp3cm9uZw==")]);
    assert_eq!(ask(&server, &wrong).status, 401);
    let headers = [("Authorization", "Basic dXNlcjpwYXNz")];
    Socket::open_with(server.ingress, &hook.target(""), &headers).close(1000, "").closed();
}

#[test]
fn connects_over_the_rate_are_refused_with_the_time_to_wait() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server
        .webhook(json!({"isWebsocket": true, "limits": {"requestsPerWindow": 3, "windowSeconds": 3600}}));
    let open: Vec<Socket> = (0..3).map(|_| Socket::open(&server, &hook)).collect();
    let refused = ask(&server, &upgrade(&hook.target(""), &[]));
    refused.is(429, r#"{"error":"Over rate limit, request throttled"}"#);
    let wait: u32 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    // A token may come back 10 ms late.
    assert!((1..=3601).contains(&wait), "{wait}");
    drop(open);
}

fn the_hundred_and_first_at_a_time_is_refused_until_one_ends(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    let mut open: Vec<Socket> = (0..100).map(|_| Socket::open(&server, &hook)).collect();
    for _ in 0..4 {
        let refused = ask(&server, &upgrade(&hook.target(""), &[]));
        refused.is(429, r#"{"error":"Over concurrency limit, request throttled"}"#);
    }
    // A place is free again once its WebSocket has ended, however it ended.
    open.pop().expect("one").close(1000, "").closed();
    open.push(Socket::open(&server, &hook));
    open.pop().expect("one").cut(true);
    let upgrade = upgrade(&hook.target(""), &[]);
    let refused = |response: &Response| response.status == 429;
    eventually("a place is free", || (!refused(&ask(&server, &upgrade))).then_some(()));
}

//! Black-box tests of `HttpForwardNode` (section 9): what a target is sent, when it is sent again, and what a caller gets
//! that waits.

#[path = "../common/mod.rs"]
mod common;
mod crash;
mod isolation;
mod letters;
mod retries;
mod secure;
mod signature;
#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "../sockets/mod.rs"]
mod sockets;
mod streaming;
mod target;
mod traces;
mod waiting;

use serde_json::{Value, json};

use common::{Hook, Server, eventually, request};
use sockets::{FIN, Socket, TEXT, Worker};
use target::{Answer, Target};

/// A server of so many cores whose limits no test reaches.
fn serve(cores: usize) -> Server {
    Server::start(|settings| {
        settings
            .cores(cores)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_LIMITS_CONCURRENCY", 0);
    })
}

/// A node that forwards to `url`, with these fields too.
fn node(url: &str, more: Value) -> Value {
    let mut config = json!({"url": url});
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({"type": "HttpForwardNode", "config": config})
}

/// A server with a webhook of these fields and a flow that forwards.
fn served(cores: usize, fields: Value, node: Value) -> (Server, Hook, String) {
    let server = serve(cores);
    let hook = server.webhook(fields);
    let flow = server.flow(&hook, json!([node]));
    (server, hook, flow)
}

/// Calls a webhook with a number as its body, so many times.
fn call(server: &Server, hook: &Hook, numbers: std::ops::Range<usize>) {
    let mut wire = server.wire();
    for number in numbers {
        let headers = [("Content-Type", "application/json")];
        let post = request("POST", &hook.target(""), &headers, number.to_string().as_bytes());
        wire.ask(post).is(200, "{\"success\":true}");
    }
}

fn dead(server: &Server, reason: &str) -> u64 {
    server.metric("tidegate_dead_letters_total", &format!("reason=\"{reason}\""))
}

fn attempts(server: &Server, outcome: &str) -> u64 {
    server.metric("tidegate_delivery_attempts_total", &format!("outcome=\"{outcome}\""))
}

/// Waits until a count is so high.
fn wait_until(what: &str, count: u64, look: impl Fn() -> u64) {
    eventually(what, || (look() >= count).then_some(()));
}

#[test]
fn a_target_gets_the_payload() {
    for cores in [1, 2] {
        let target = Target::fine();
        let url = target.url("/in?a=1");
        let (server, hook, flow) =
            served(cores, json!({}), node(&url, json!({"headers": {"X-Who": "{{data.body}}"}})));
        call(&server, &hook, 7..8);
        let received = target.wait_for(1).remove(0);
        assert_eq!(received.line, "POST /in?a=1 HTTP/1.1");
        for (name, value) in [
            ("content-type", "application/json"),
            ("tidegate-hops", "1"),
            ("x-who", "7"),
            ("host", &target.address.to_string()),
        ] {
            assert_eq!(received.header(name), value, "{name}");
        }
        assert!(received.header("webhook-id").starts_with("msg_"));
        assert!(received.header("user-agent").starts_with("Tidegate/"));
        assert!(!received.headers.contains_key("webhook-signature"));
        let payload = received.json();
        assert_eq!((&payload["data"]["body"], &payload["flowId"]), (&json!(7), &json!(flow)));
        wait_until("the delivery", 1, || server.metric("tidegate_deliveries_total", "done"));
        assert_eq!(attempts(&server, "ok"), 1);
    }
}

#[test]
fn a_target_gets_the_names_that_the_request_has_elsewhere() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // The first attempt fails: the second has a span of its own.
    let target = Target::start(|number, _| Answer::status(if number == 0 { 500 } else { 200 }));
    let url = target.url("/");
    let raw = json!({"body": "raw", "retry": {"backoffSeconds": 0.01}});
    let (server, hook, _) = served(1, json!({}), node(&url, raw));
    let headers = [("X-Request-Id", "an-id"), ("Traceparent", &caller), ("Tracestate", "a=1,b=2")];
    server.wire().ask(request("POST", &hook.target(""), &headers, b"x")).is(200, "{\"success\":true}");
    let mut spans = Vec::new();
    for received in target.wait_for(2) {
        assert_eq!((received.header("x-request-id"), received.header("tracestate")), ("an-id", "a=1,b=2"));
        let (front, span) = received.header("traceparent").split_at(36);
        assert_eq!((front, &span[16..]), (&*format!("00-{TRACE}-"), "-01"));
        spans.push(span.to_owned());
    }
    spans.push("00f067aa0ba902b7-01".to_owned());
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans.len(), 3, "{spans:?}");

    // Without them, an id is made and no trace begins; what is not a traceparent is not passed on.
    for headers in [&[][..], &[("Traceparent", "00-0-0-0"), ("Tracestate", "a=1")]] {
        let before = target.wait_for(0).len();
        server.wire().ask(request("POST", &hook.target(""), headers, b"x")).is(200, "{\"success\":true}");
        let received = target.wait_for(before + 1).remove(before);
        assert_eq!(received.header("x-request-id").len(), 16);
        assert!(
            !received.headers.contains_key("traceparent") && !received.headers.contains_key("tracestate")
        );
    }
}

#[test]
fn a_request_is_made_as_the_node_says() {
    let target = Target::fine();
    let url = target.url("/{{data.body.id}}?q={{data.body.q}}#cut");
    let fields = json!({"method": "PUT", "body": "<{{data.body.q}}>", "headers": {"Content-Type": "text/x", "X-Bad": "{{data.body.crlf}}"}});
    let (server, hook, _) = served(1, json!({}), node(&url, fields));
    let body = br#"{"id": "a b/\u00e9", "q": "<&", "crlf": "x\r\ny: z"}"#;
    server.wire().ask(request("POST", &hook.target(""), &[("Content-Type", "application/json")], body));
    let received = target.wait_for(1).remove(0);
    assert_eq!(received.line, "PUT /a%20b/%C3%A9?q=%3C& HTTP/1.1");
    assert_eq!((received.body.as_slice(), received.header("content-type")), (&b"<<&>"[..], "text/x"));
    assert!(!received.headers.contains_key("x-bad") && !received.headers.contains_key("y"));
}

#[test]
fn a_body_is_sent_on_as_it_was_received() {
    let target = Target::fine();
    let (server, hook, _) = served(1, json!({}), node(&target.url(""), json!({"body": "raw"})));
    let body = b"\x00\xff not JSON {";
    let headers = [("Content-Type", "application/x-mine; a=b")];
    server.wire().ask(request("POST", &hook.target(""), &headers, body));
    let received = target.wait_for(1).remove(0);
    assert_eq!((received.line.as_str(), received.body.as_slice()), ("POST / HTTP/1.1", &body[..]));
    assert_eq!(received.header("content-type"), "application/x-mine; a=b");
    let socket_hook = server.webhook(json!({"isWebsocket": true}));
    server.flow(&socket_hook, json!([node(&target.url("/ws"), json!({"body": "raw", "ordered": true}))]));
    let mut socket = Socket::open(&server, &socket_hook);
    socket.send(FIN | TEXT, b"hello");
    let received = target.wait_for(3);
    assert_eq!((received[1].line.as_str(), received[1].body.len()), ("POST /ws HTTP/1.1", 0), "it connected");
    assert_eq!(received[2].body, b"hello");
    assert_eq!(received[2].header("content-type"), "text/plain; charset=utf-8");
}

#[test]
fn a_signature_is_one_that_standard_webhooks_takes() {
    let server = serve(1);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let checked = server.webhook(json!({"signature": {"scheme": "standard-webhooks", "secret": secret}}));
    let url = format!("http://{}{}", server.ingress, checked.target(""));
    for (secret, status) in [(json!([secret, "AAAA"]), 200), (json!("AAAA"), 401)] {
        let hook = server.webhook(json!({"waitForReply": true}));
        let flow = server.flow(&hook, json!([node(&url, json!({"secret": secret}))]));
        let shown =
            server.done("GET", &format!("/applications/{}/flows/{flow}", hook.application), &Value::Null);
        assert!(!shown.to_string().contains("AAAA"), "{shown}");
        assert_eq!(server.wire().ask(hook.post(b"x")).status, status, "{secret}");
    }
}

#[test]
fn requests_with_a_key_are_sent_in_order_and_no_more_than_allowed_at_once() {
    let target = Target::start(|number, _| Answer::status(if number % 5 == 4 { 500 } else { 200 }));
    let fields = json!({"ordered": true, "orderKey": "same", "retry": {"backoffSeconds": 0.001}});
    let (server, hook, _) = served(2, json!({}), node(&target.url(""), fields));
    target.hold();
    call(&server, &hook, 0..20);
    target.release();
    wait_until("the deliveries", 20, || server.metric("tidegate_deliveries_total", "done"));
    assert_eq!(target.most_at_once(), 1);
    let mut bodies: Vec<u64> =
        target.received().iter().map(|received| received.json()["data"]["body"].as_u64().unwrap()).collect();
    assert!(bodies.len() >= 24, "some were tried again");
    bodies.dedup();
    assert_eq!(bodies, (0..20).collect::<Vec<u64>>());

    let few = Target::start(|_, _| Answer::status(200));
    let other = server.webhook(json!({}));
    server.flow(&other, json!([node(&few.url(""), json!({"maxInFlight": 3}))]));
    few.hold();
    call(&server, &other, 0..20);
    few.wait_for(3);
    assert_eq!(few.at_once(), 3);
    few.release();
    few.wait_for(20);
    assert_eq!(few.most_at_once(), 3);
}

#[test]
fn nodes_behind_a_delivery_run_when_it_is_done() {
    for cores in [1, 2] {
        let server = serve(cores);
        let hook = server.webhook(json!({}));
        let (first, last) =
            (Target::start(|number, _| Answer::status(if number == 0 { 500 } else { 200 })), Target::fine());
        let with = |id: &str, mut node: Value, behind: Value| {
            node["id"] = json!(id);
            node["outputIds"] = behind;
            node
        };
        let nodes = json!([
            with(
                "first",
                node(&first.url("/first"), json!({"retry": {"backoffSeconds": 0.001}})),
                json!([["work"]])
            ),
            with("work", json!({"type": "WorkerNode"}), json!([["last"]])),
            with("last", node(&last.url("/last"), json!({})), json!([])),
        ]);
        let fields = json!({"name": "f", "nodes": nodes,
            "triggers": [{"type": "webhook", "key": hook.id, "outputIds": [["first"]]}]});
        let flow = server.done("POST", &format!("/applications/{}/flows", hook.application), &fields);
        let mut worker = Worker::attach(&server, flow["id"].as_str().unwrap(), 10);
        call(&server, &hook, 5..6);
        let (seq, attempt, payload) = worker.trigger();
        assert_eq!((attempt, &payload["data"]["body"]), (1, &json!(5)));
        assert_eq!((first.count(), last.count()), (2, 0), "the last one waits for the ack");
        worker.ack(&[seq]);
        assert_eq!(last.wait_for(1)[0].json()["data"]["body"], 5);
    }
}

#[test]
fn a_flow_that_is_deleted_sends_nothing_more() {
    let target = Target::start(|_, _| Answer::status(500));
    let (server, hook, flow) = served(
        2,
        json!({}),
        node(&target.url(""), json!({"retry": {"backoffSeconds": 300}, "maxInFlight": 1})),
    );
    call(&server, &hook, 0..50);
    server.done("DELETE", &format!("/applications/{}/flows/{flow}", hook.application), &Value::Null);
    let mut server = server;
    server.terminate();
    assert!(server.ended().success());
    assert!(!server.log().contains("were not delivered"), "nothing is left that could be");
}

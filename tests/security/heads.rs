//! Section 7, the end, and section 4: no head of a response can be split by what it is made of.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use crate::common::{ACCESS_TOKEN, PATIENCE, Response, Server, Wire, request};

/// All names that a response of the ingress may have here; anything else was smuggled in.
const NAMES: [&str; 18] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-ours",
    "x-request-id",
    "x-xss-protection",
];

#[track_caller]
fn is_not_split(response: &Response) {
    for (name, value) in &response.headers {
        assert!(NAMES.contains(&name.as_str()), "{name} was smuggled in: {response:?}");
        assert!(!value.contains(['\r', '\n', '\0']), "{response:?}");
    }
}

/// Ends of lines and what follows them, as bytes of a query.
const SPLITS: [&str; 9] = [
    "a%0D%0ASet-Cookie:%20a=b",
    "a%0ASet-Cookie:%20a=b",
    "a%0DSet-Cookie:%20a=b",
    "a%0D%0A%0D%0A%3Chtml%3E",
    "%0D%0A%20folded",
    "a%00b",
    "a%C4%8D%C4%8ASet-Cookie:%20a=b",
    "a%E5%98%8D%E5%98%8ASet-Cookie:%20a=b",
    "a%0D%0AHTTP/1.1%20200%20OK%0D%0AContent-Length:%200",
];

#[test]
fn no_head_can_be_split_by_what_a_reply_is_made_of() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"waitForReply": true}));
    // Names, values, the status and the body, all of the caller's making.
    server.flow(
        &hook,
        json!([{"type": "WebhookReplyNode", "config": {
        "bodyTemplate": "{{{data.query.v}}}",
        "responseCodeTemplate": "{{{data.query.v}}}",
        "headerInfo": [
            {"keyTemplate": "x-ours", "valueTemplate": "{{{data.query.v}}}"},
            {"keyTemplate": "{{{data.query.v}}}", "valueTemplate": "value"},
            {"keyTemplate": "x-ours: {{{data.query.v}}}", "valueTemplate": "value"},
            {"keyTemplate": "Content-Type", "valueTemplate": "text/plain; x={{{data.query.v}}}"},
            {"keyTemplate": "Content-Length", "valueTemplate": "0"},
            {"keyTemplate": "Transfer-Encoding", "valueTemplate": "chunked"},
        ]}}]),
    );
    for split in SPLITS {
        let mut wire = server.wire();
        let response = wire.ask(request("GET", &hook.target(&format!("?v={split}")), &[], b""));
        assert_eq!(response.status, 200, "{split}: {response:?}");
        is_not_split(&response);
        // And the next response on the connection is the next one.
        assert_eq!(wire.ask(request("GET", "/healthz", &[], b"")).status, 200, "{split}");
    }
    // By replies from outside: a worker's, and those of the REST API.
    let waiting = server.webhook(json!({"waitForReply": true}));
    let flow = server.flow(&waiting, json!([{"type": "WorkerNode"}]));
    let mut worker = attach(&server, &flow);
    let values = ["a\r\nSet-Cookie: a=b", "a\nb", "a\rb", "a\u{0}b", "\r\n\r\nbody", "\r\nset-cookie"];
    for (number, value) in values.into_iter().enumerate() {
        let mut wire = server.wire();
        wire.send(waiting.get());
        let trigger = frame(&mut worker, "trigger");
        let reply_id = trigger["payload"]["data"]["replyId"].as_str().expect("it waits");
        let reply = json!({
            "type": "reply",
            "replyId": reply_id,
            "headers": {"X-Ours": value, value: "x", "Content-Type": format!("text/plain{value}")},
            "body": "a body",
        });
        if number % 2 == 0 {
            worker.send(Message::text(reply.to_string())).expect("the engine takes it");
            assert_eq!(frame(&mut worker, "replyResult")["accepted"], true);
        } else {
            let mut fields = reply.clone();
            fields.as_object_mut().expect("an object").remove("type");
            let answer = server.call_raw("POST", &format!("/replies/{reply_id}"), &fields.to_string());
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let response = wire.response();
        response.is(200, "a body");
        is_not_split(&response);
        assert_eq!(response.header("x-ours"), None, "{value:?}: such a header is dropped");
    }
}

type Worker = WebSocket<TcpStream>;

/// A worker that takes what the test sends.
fn attach(server: &Server, flow: &str) -> Worker {
    let stream = TcpStream::connect(server.workers).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut asked =
        format!("ws://{}/flows/{flow}/worker", server.workers).into_client_request().expect("a URL");
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    asked.headers_mut().insert("authorization", bearer.parse().expect("a value"));
    asked.headers_mut().insert("sec-websocket-protocol", "tidegate.worker.v1".parse().expect("a value"));
    let (mut worker, _) = tungstenite::client(asked, stream).expect("it may attach");
    let ready = json!({"type": "ready", "credit": 100});
    worker.send(Message::text(ready.to_string())).expect("the engine takes it");
    worker
}

/// The next frame, which must be of this type.
#[track_caller]
fn frame(worker: &mut Worker, kind: &str) -> Value {
    let message = worker.read().expect("a frame");
    let frame: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
    assert_eq!(frame["type"], kind, "{frame}");
    frame
}

#[test]
fn no_head_can_be_split_by_names_preflights_queries_and_paths() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"basicAuthUsername": "user"}));
    let open = server.webhook(json!({"verificationType": "facebook", "verificationCode": "code"}));
    for name in ["a\r\nSet-Cookie: a=b", "a\nb", "\u{0}", "\"quoted\""] {
        // Whether such a name is taken or not, no head shows it.
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Connection", "close")];
        let body = json!({"name": name}).to_string();
        let answer =
            Wire::connect(server.admin).ask(request("PATCH", &hook.resource(""), &headers, body.as_bytes()));
        assert_eq!(answer.header("set-cookie"), None, "{answer:?}");
        let response = server.wire().ask(hook.get());
        assert_eq!(response.status, 401);
        is_not_split(&response);
    }
    for asked in ["X-Ours", "x-a, x-b", "x-a\tx-b", "x-a: b", "x-a\u{e9}", "x-a;b=\"c\"", "x a", ",", ""] {
        let lines = [
            ("Origin", "http://a.example"),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", asked),
        ];
        let response = server.wire().ask(request("OPTIONS", &hook.target(""), &lines, b""));
        assert_eq!(response.status, 204, "{asked:?}: {response:?}");
        is_not_split(&response);
        let named = response.header("access-control-allow-headers");
        let are_names = ["X-Ours", "x-a, x-b"].contains(&asked);
        assert_eq!(named.is_some(), are_names, "{asked:?}: {response:?}");
    }
    // Ends of lines within a field are refused with the whole request.
    for asked in ["a\nSet-Cookie: b=c", "a\rb", "a\0b"] {
        let head = format!(
            "OPTIONS {} HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Headers: {asked}\r\n\r\n",
            hook.target("")
        );
        let response = server.wire().ask(head);
        is_not_split(&response);
        let named = response.header("access-control-allow-headers");
        assert_eq!((response.status, named), (400, None), "{asked:?}");
    }
    for split in SPLITS {
        for target in [
            hook.target(&format!("/{split}")),
            hook.target(&format!("?{split}={split}")),
            format!("/{split}"),
            format!("/webhooks/{split}"),
        ] {
            let response = server.wire().ask(request("GET", &target, &[], b""));
            assert!([401, 404].contains(&response.status), "{target}: {response:?}");
            is_not_split(&response);
        }
        // The challenge is the one thing of a query that is given back: as plain text that no browser guesses at.
        let verify = format!("?hub.mode=subscribe&hub.verify_token=code&hub.challenge={split}");
        let response = server.wire().ask(request("GET", &open.target(&verify), &[], b""));
        assert_eq!(response.status, 200, "{response:?}");
        is_not_split(&response);
        assert!(
            response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")),
            "{response:?}"
        );
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        let path = format!("/applications/{split}?filter={split}&page={split}");
        let answer = server.call_raw("GET", &path, "");
        assert!([400, 404].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    }
}

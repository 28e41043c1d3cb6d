//! Security from outside: secrets that must show up nowhere, the door of the admin listener, and heads that cannot be
//! split by what callers and authors send.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use common::{ACCESS_TOKEN, Response, Server, Wire, reply_node, request};

/// `Authorization: Basic` of `planted-user:planted-basic-password` and of a wrong password, as callers send it.
const RIGHT_BASIC: &str = "Basic cGxhbnRlZC11c2VyOnBsYW50ZWQtYmFzaWMtcGFzc3dvcmQ=";
const WRONG_BASIC: &str = "Basic cGxhbnRlZC11c2VyOnBsYW50ZWQtd3JvbmctcGFzc3dvcmQ=";

/// What must show up nowhere.
const SECRETS: [&str; 16] = [
    ACCESS_TOKEN,
    "planted-basic-password",
    "planted-global-secret",
    "planted-signature-secret",
    "planted-forward-secret",
    "planted-verification-code",
    "planted-body",
    "planted-query",
    "planted-reply",
    "planted-cookie",
    "planted-wrong-bearer",
    "planted-wrong-password",
    "planted-other-header",
    // Of RIGHT_BASIC and WRONG_BASIC.
    "cGxhbnRlZC11c2VyOnBsYW50ZWQtYmFzaWMtcGFzc3dvcmQ",
    "cGxhbnRlZC11c2VyOnBsYW50ZWQtd3JvbmctcGFzc3dvcmQ",
    "planted-client-key",
];

#[track_caller]
fn has_no_secret(place: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} shows up in {place}:\n{text}");
    }
}

/// Asserts a refusal that says nothing of what it was asked with.
#[track_caller]
fn is_refused_quietly(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    has_no_secret("a refusal", &format!("{response:?}"));
}

#[test]
fn secrets_show_up_in_no_log_no_metric_and_no_error() {
    let mut server = Server::start(|settings| {
        settings
            .cores(2)
            .set("TIDEGATE_LOG", "trace")
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_ADMIN_OPEN_METRICS", "true");
    });
    // A webhook with all that can be secret.
    let signature = json!({"scheme": "hmac", "header": "x-signature", "algorithm": "sha256", "encoding": "hex",
        "secret": ["planted-signature-secret", "{{secret}}"]});
    let hook = server.webhook(json!({
        "basicAuthUsername": "planted-user",
        "basicAuthPassword": "planted-basic-password",
        "signature": signature,
    }));
    let globals = json!({"globals": [{"key": "secret", "json": "\"planted-global-secret\""}]});
    server.done("PATCH", &format!("/applications/{}", hook.application), &globals);
    let verified = server.webhook(json!({
        "verificationType": "facebook", "verificationCode": "planted-verification-code"}));
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    let replied = server.webhook(json!({"waitForReply": true}));
    server.flow(&replied, json!([reply_node("planted-reply {{data.body.x}}")]));
    let socket = server.webhook(json!({"isWebsocket": true}));

    // The webhook token is a token too; the greeting on standard output shows that of the demonstration alone.
    let tokens: Vec<&str> =
        [&hook, &verified, &waiting, &replied, &socket].iter().map(|hook| hook.token.as_str()).collect();

    let long = "x".repeat(20_000);
    let headers = |basic: &'static str| {
        [
            ("Authorization", basic),
            ("Cookie", "session=planted-cookie"),
            ("X-Signature", "planted-other-header"),
            ("X-Api-Key", "planted-client-key"),
            ("Content-Type", "application/json"),
        ]
    };
    let target = hook.target("/path?key=planted-query");
    let body = br#"{"x":"planted-body"}"#;
    let ask = |bytes: &[u8]| {
        let mut wire = server.wire();
        wire.send_what_goes(bytes);
        wire.response()
    };
    is_refused_quietly(&ask(&request("POST", &target, &headers(WRONG_BASIC), body)), 401);
    is_refused_quietly(&ask(&request("POST", &target, &headers(RIGHT_BASIC), body)), 401);
    is_refused_quietly(&ask(&request("POST", "/webhooks/planted-query", &headers(RIGHT_BASIC), body)), 404);
    is_refused_quietly(&ask(&request("TRACE", &target, &headers(RIGHT_BASIC), body)), 405);
    is_refused_quietly(&ask(&request("POST", "/planted-query", &headers(RIGHT_BASIC), body)), 404);
    for (line, status) in [
        ("Authorization : planted-wrong-bearer", 400),
        ("X-Planted: planted-other-header\r\n folded", 400),
        ("Transfer-Encoding: planted-other-header", 501),
        ("Content-Length: planted-other-header", 400),
        ("Expect: planted-other-header", 417),
    ] {
        let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nCookie: planted-cookie\r\n{line}\r\n\r\n");
        let response = ask(head.as_bytes());
        // Some of these are ignored by rule; what counts is that nothing is repeated.
        is_refused_quietly(&response, if response.status == 401 { 401 } else { status });
    }
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nCookie: planted-cookie{long}\r\n\r\n");
    is_refused_quietly(&ask(head.as_bytes()), 431);
    is_refused_quietly(&ask(&request("GET", &format!("/webhooks/planted-query{long}"), &[], b"")), 414);
    let declared = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\nplanted-body",
        replied.target("")
    );
    is_refused_quietly(&ask(declared.as_bytes()), 413);
    let coded = [("Content-Encoding", "gzip")];
    is_refused_quietly(&ask(&request("POST", &replied.target(""), &coded, b"planted-body is no gzip")), 400);
    let verify = "?hub.mode=subscribe&hub.challenge=planted-query&hub.verify_token=planted-wrong-password";
    is_refused_quietly(&ask(&request("GET", &verified.target(verify), &[], b"")), 403);
    is_refused_quietly(&ask(&request("POST", &waiting.target(""), &[], b"planted-body")), 504);
    is_refused_quietly(&ask(&request("GET", &socket.target("?key=planted-query"), &[], b"")), 426);
    // One that succeeds, with its secrets in it.
    let answer = ask(&request("POST", &replied.target(""), &headers(WRONG_BASIC), body));
    answer.is(200, "planted-reply planted-body");

    admin_says_nothing(&server, &hook);
    workers_say_nothing(&server);

    // What the API shows of secrets.
    let shown = server.done("GET", &hook.resource(""), &Value::Null);
    assert_eq!(shown["signature"]["secret"], json!(["***", "***"]), "{shown}");
    assert!(!shown.to_string().contains("planted-signature-secret"), "{shown}");
    let list = server.done("GET", &format!("/applications/{}/webhooks", hook.application), &Value::Null);
    assert!(!list.to_string().contains("planted-signature-secret"), "{list}");
    // The last requests show payloads to who has the access token, and no credential of Basic authentication.
    for hook in [&hook, &replied, &waiting, &verified] {
        let seen = server.done("GET", &hook.resource("/requests"), &Value::Null).to_string();
        assert!(!seen.contains("planted-cookie") && !seen.contains("planted-basic-password"), "{seen}");
    }
    for path in ["/metrics", "/stats?seconds=60", "/settings", "/openapi.json", "/healthz", "/readyz", "/"] {
        let page = server.call_raw("GET", path, "");
        assert_eq!(page.status, 200, "{path}");
        has_no_secret(path, &String::from_utf8_lossy(&page.body));
        for token in &tokens {
            assert!(!String::from_utf8_lossy(&page.body).contains(token), "{path}");
        }
    }
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    let log = server.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG") || log.contains("stopped"), "it logs: {log}");
    has_no_secret("the log", &log);
    for token in tokens {
        assert!(!log.contains(token), "a webhook's token is in the log:\n{log}");
    }
}

/// Errors of the REST API that are made with secrets.
fn admin_says_nothing(server: &Server, hook: &common::Hook) {
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let send = |headers: &[(&str, &str)], method: &str, path: &str, body: &[u8]| {
        Wire::connect(server.admin).ask(request(method, path, headers, body))
    };
    let right = [("Authorization", bearer.as_str())];
    is_refused_quietly(
        &send(&[("Authorization", "Bearer planted-wrong-bearer")], "GET", "/applications", b""),
        401,
    );
    is_refused_quietly(&send(&[("Authorization", RIGHT_BASIC)], "GET", "/applications", b""), 401);
    is_refused_quietly(&send(&[], "GET", "/applications?access_token=planted-query", b""), 401);
    is_refused_quietly(&send(&right, "POST", "/applications", br#"{"name": "planted-body"#), 400);
    for fields in [
        json!({"basicAuthPassword": "planted-basic-password {{#if"}),
        json!({"verificationCode": "{{{planted-verification-code"}),
        json!({"verificationCode": ["planted-verification-code"]}),
        json!({"signature": {"scheme": "hmac", "secret": 7, "header": "planted header"}}),
        json!({"signature": {"scheme": "github", "secret": "{{#planted-signature-secret"}}),
        json!({"signature": {"scheme": "github", "secret": ["planted-signature-secret", 1]}}),
        json!({"signature": {"scheme": "github", "secret": {"planted": "planted-signature-secret"}}}),
        json!({"signature": "planted-signature-secret"}),
    ] {
        let response = send(&right, "PATCH", &hook.resource(""), fields.to_string().as_bytes());
        is_refused_quietly(&response, 400);
    }
    let flows = format!("/applications/{}/flows", hook.application);
    for node in [
        json!({"type": "HttpForwardNode", "config": {"url": "not a url", "secret": "planted-forward-secret"}}),
        json!({"type": "HttpForwardNode", "config": {"url": "http://a/", "secret": {"x": "planted-forward-secret"}}}),
        json!({"type": "HttpForwardNode", "config": {"url": "http://a/", "headers": {"a b": "planted-other-header"}}}),
    ] {
        let flow = json!({"name": "A flow", "nodes": [node]});
        is_refused_quietly(&send(&right, "POST", &flows, flow.to_string().as_bytes()), 400);
    }
    let node = json!({"type": "HttpForwardNode", "config": {"url": "http://a/", "secret": "planted-forward-secret"}});
    let flow = json!({"name": "A flow", "enabled": false, "nodes": [node]});
    // A version that has no such node refuses it; either way its secret is not given back.
    let made = send(&right, "POST", &flows, flow.to_string().as_bytes());
    has_no_secret("a flow", made.text());
    match made.status {
        201 => assert!(made.text().contains(r#""***""#), "{made:?}"),
        status => assert_eq!(status, 400, "{made:?}"),
    }
    let reply =
        json!({"replyId": "planted", "body": "planted-reply", "headers": {"x": "planted-other-header"}});
    let replied = send(&right, "POST", "/replies/planted-query", reply.to_string().as_bytes());
    has_no_secret("an answer to a reply", replied.text());
}

/// Refusals of the workers' listener.
fn workers_say_nothing(server: &Server) {
    let path = "/flows/0123456789abcdef01234567/worker";
    let attach = |authorization: &str| {
        Wire::connect(server.workers).ask(request("GET", path, &[("Authorization", authorization)], b""))
    };
    is_refused_quietly(&attach("Bearer planted-wrong-bearer"), 401);
    is_refused_quietly(&attach(RIGHT_BASIC), 401);
    is_refused_quietly(&attach(&format!("Bearer {ACCESS_TOKEN}")), 404);
}

/// A GET of the admin listener with these lines for a head, besides the access token.
fn with_lines(server: &Server, target: &str, lines: &str) -> Response {
    let head = format!(
        "GET {target} HTTP/1.1\r\n{lines}Authorization: Bearer {ACCESS_TOKEN}\r\nConnection: close\r\n\r\n"
    );
    Wire::connect(server.admin).ask(head)
}

/// Paths of each kind: open, with the token, the console, none at all.
const PATHS: [&str; 6] = ["/", "/healthz", "/metrics", "/applications", "/console/app.js", "/nothing"];

#[test]
fn the_admin_listener_answers_for_its_own_names_alone() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_ADMIN_HOSTS", "console.example.org, other.example.org:8443");
    });
    let port = server.admin.port();
    let own = [
        "localhost".to_owned(),
        "LocalHost".to_owned(),
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        "127.0.0.1".to_owned(),
        format!("[::1]:{port}"),
        "203.0.113.9".to_owned(),
        "console.example.org".to_owned(),
        "CONSOLE.example.org:9999".to_owned(),
        "other.example.org:8443".to_owned(),
    ];
    for host in own {
        assert_eq!(with_lines(&server, "/applications", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    let foreign = [
        "evil.example",
        "evil.example:80",
        "localhost.",
        "localhost.evil.example",
        "evil-localhost",
        "local host",
        "localhost@evil.example",
        "evil.example@localhost",
        "127.0.0.1.",
        "127.0.0.1.nip.io",
        "127.0.0.1.evil.example:8081",
        "127-0-0-1.evil.example",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1].evil.example",
        "[::1",
        "[localhost]",
        "::ffff:127.0.0.1.evil.example",
        "console.example.org.",
        "console.example.org.evil.example",
        "xconsole.example.org",
        "console.example.orgx",
        "other.example.org",
        "other.example.org:8444",
        "console.example.org, localhost",
        "localhost, evil.example",
        "*",
        "",
    ];
    for host in foreign {
        for path in PATHS {
            let response = with_lines(&server, path, &format!("Host: {host}\r\n"));
            assert_eq!(response.status, 421, "{host:?} at {path}: {response:?}");
            assert!(!response.text().contains("evil"), "{host:?} is repeated: {response:?}");
        }
    }
    // No name, two names, and a target that names another than `Host`.
    for (target, lines) in [
        ("/applications", ""),
        ("/applications", "Host: localhost\r\nHost: localhost\r\n"),
        ("/applications", "Host: localhost\r\nHost: evil.example\r\n"),
        ("http://evil.example/applications", "Host: localhost\r\n"),
    ] {
        let response = with_lines(&server, target, lines);
        assert!([400, 421].contains(&response.status), "{target} {lines:?}: {response:?}");
    }
}

#[test]
fn the_admin_listener_refuses_pages_of_other_origins() {
    let server = Server::start(|_| {});
    let port = server.admin.port();
    let host = format!("Host: localhost:{port}\r\n");
    let with = |path: &str, lines: &str| with_lines(&server, path, &format!("{host}{lines}"));
    for origin in [
        format!("http://localhost:{port}"),
        format!("http://LOCALHOST:{port}"),
        format!("https://localhost:{port}"),
    ] {
        assert_eq!(with("/applications", &format!("Origin: {origin}\r\n")).status, 200, "{origin}");
    }
    let other_port = if port == 65_535 { 1 } else { port + 1 };
    let foreign = [
        "null".to_owned(),
        String::new(),
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        "http://localhost".to_owned(),
        format!("http://localhost:{other_port}"),
        format!("http://localhost.:{port}"),
        format!("http://localhost.evil.example:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://localhost:{port}.evil.example"),
        format!("http://localhost:{port}/"),
        format!("http://localhost:{port}@evil.example"),
        format!("http://evil.example@localhost:{port}"),
        format!("http://evil.example http://localhost:{port}"),
        format!("http://localhost:{port}, http://evil.example"),
        format!("ftp://localhost:{port}"),
        format!("file://localhost:{port}"),
        format!("localhost:{port}"),
        format!("//localhost:{port}"),
    ];
    for origin in &foreign {
        for path in PATHS {
            let response = with(path, &format!("Origin: {origin}\r\n"));
            assert_eq!(response.status, 403, "{origin:?} at {path}: {response:?}");
            let cors = response.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{origin:?} at {path}");
        }
    }
    // Two of them, in either order: which one counts would be a guess.
    for (first, second) in [("localhost", "evil.example"), ("evil.example", "localhost")] {
        let lines = format!("Origin: http://{first}:{port}\r\nOrigin: http://{second}:{port}\r\n");
        assert_eq!(with("/applications", &lines).status, 403, "{lines:?}");
    }
    // A preflight of a foreign page is refused as well, and nothing invites one.
    let preflight = format!(
        "OPTIONS /applications HTTP/1.1\r\n{host}Origin: http://evil.example\r\n\
         Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
    );
    let response = Wire::connect(server.admin).ask(preflight);
    assert_eq!(response.status, 403, "{response:?}");
}

#[test]
fn wrong_tokens_wait_and_keep_nobody_else_waiting() {
    let server = Server::start(|_| {});
    let ask =
        |token: &str| request("GET", "/applications", &[("Authorization", &format!("Bearer {token}"))], b"");
    let almost = format!("{}x", &ACCESS_TOKEN[..ACCESS_TOKEN.len() - 1]);
    let wrong = [
        "",
        "x",
        "wrong-wrong-wrong-wrong",
        &almost,
        &format!("{ACCESS_TOKEN}x"),
        &ACCESS_TOKEN.to_uppercase(),
    ];
    let mut guessers: Vec<Wire> = (0..200).map(|_| Wire::connect(server.admin)).collect();
    let mut right = Wire::connect(server.admin);
    assert_eq!(right.ask(ask(ACCESS_TOKEN)).status, 200);
    for (number, guesser) in guessers.iter_mut().enumerate() {
        guesser.send(ask(wrong[number % wrong.len()]));
    }
    // The last one has only just been asked; whoever has the token overtakes it.
    assert_eq!(right.ask(ask(ACCESS_TOKEN)).status, 200);
    let last = guessers.last_mut().expect("some");
    assert!(!last.is_readable(), "a wrong token is told so at once");
    for guesser in &mut guessers {
        assert_eq!(guesser.response().status, 401);
    }
    // Several are no better than one.
    let twice = format!(
        "GET /applications HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ACCESS_TOKEN}\r\n\
         Authorization: Bearer {ACCESS_TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(Wire::connect(server.admin).ask(twice).status, 401);
}

/// All names that a response of the ingress may have here; anything else was smuggled in.
const NAMES: [&str; 17] = [
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
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a socket");
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

fn walk(folder: &Path, each: &mut dyn FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let data = fs::symlink_metadata(&path).expect("it is there");
        each(&path, data.mode() & 0o7777);
        if data.is_dir() {
            walk(&path, each);
        }
    }
}

#[test]
fn the_data_folder_is_its_owners_alone_whatever_the_umask() {
    let mut server = Server::start(|settings| {
        settings.prepare(|| {
            rustix::process::umask(rustix::fs::Mode::empty());
            Ok(())
        });
    });
    server.webhook(json!({}));
    let look = |server: &Server| {
        let data = server.folder().join("data");
        assert_eq!(fs::metadata(&data).expect("it is there").mode() & 0o7777, 0o700);
        let mut files = 0;
        walk(&data, &mut |path, mode| {
            files += 1;
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        });
        assert!(files >= 2, "{files} files");
    };
    look(&server);
    server.crash();
    server.restart();
    look(&server);
    server.terminate();
    assert_eq!(server.ended().code(), Some(0));
    look(&server);
}

//! Section 14: never a credential, a token or a body in a log; nor in a metric, in an error, or in what the REST API shows.
//! And the data folder, which holds them, is its owner's alone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::{ACCESS_TOKEN, Hook, Response, Server, Wire, reply_node, request};

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
        ("Transfer-Encoding: planted-other-header", 400),
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
fn admin_says_nothing(server: &Server, hook: &Hook) {
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

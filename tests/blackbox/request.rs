//! Section 4, steps 2 to 6 and 10: what happens to a request, in order.

use serde_json::{Value, json};

use crate::common::{Hook, Response, Server, Wire, reply_node, request};

on_each_driver! {
    another_path_is_not_found,
    the_five_methods_go_on_and_others_are_refused,
    head_is_answered_as_a_caller_without_a_wait_and_triggers_nothing,
    a_preflight_names_the_headers_that_were_asked_for,
    options_answers_senders_that_ask_whether_they_may_deliver,
    an_answer_by_the_head_ends_the_connection_unless_the_body_has_arrived,
    cors_is_on_every_response_unless_switched_off,
    a_webhook_that_is_switched_off_answers_and_triggers_nothing,
    over_the_rate_a_call_is_throttled,
    basic_authentication_is_asked_for,
    the_steps_come_in_their_order,
    the_response_code_is_the_webhooks,
    a_connection_stays_as_long_as_its_version_and_header_say,
}

const SUCCESS: &str = r#"{"success":true}"#;
const NOT_FOUND: &str = r#"{"error":"Webhook not found"}"#;
const OVER_RATE: &str = r#"{"error":"Over rate limit, request throttled"}"#;

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver);
    })
}

/// A refusal's body is an object with an `error` that says something.
fn assert_error(response: &Response) {
    let body: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
}

fn another_path_is_not_found(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({}));
    let mut wire = server.wire();
    let other = hook.token.chars().rev().collect::<String>();
    let paths = [
        "/".to_owned(),
        "/webhooks".to_owned(),
        "/webhooks/".to_owned(),
        "/webhook/".to_owned() + &hook.token,
        "/Webhooks/".to_owned() + &hook.token,
        format!("//webhooks/{}", hook.token),
        format!("/webhooks//{}", hook.token),
        format!("/webhooks/{other}"),
        hook.target("x"),
        hook.target("%2F"),
        format!("/webhooks/{}", &hook.token[..39]),
        format!("/webhooks/{}", hook.id),
        format!("/webhooks/{}", hook.token.to_uppercase()),
    ];
    for path in &paths {
        for method in ["GET", "POST", "OPTIONS"] {
            let response = wire.ask(request(method, path, &[], b""));
            response.is(404, NOT_FOUND);
            assert_eq!(response.header("content-type"), Some("application/json"), "{path}");
        }
    }
    // A body that has arrived is dropped, and the connection stays.
    wire.ask(request("POST", "/", &[], b"a body")).is(404, NOT_FOUND);
    for more in ["", "/", "/more", "/more/and/more", "?query", "/more?query=/", "/%00"] {
        wire.ask(request("GET", &hook.target(more), &[], b"")).is(200, SUCCESS);
    }
    let absolute = format!("http://elsewhere.example:8080{}", hook.target("/more"));
    wire.ask(request("GET", &absolute, &[], b"")).is(200, SUCCESS);
    wire.ask(request("GET", "http://elsewhere.example", &[], b"")).is(404, NOT_FOUND);
}

fn the_five_methods_go_on_and_others_are_refused(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({}));
    let mut wire = server.wire();
    for method in ["DELETE", "GET", "PATCH", "POST", "PUT"] {
        wire.ask(request(method, &hook.target(""), &[], b"")).is(200, SUCCESS);
        wire.ask(request(method, &hook.target(""), &[], b"a body")).is(200, SUCCESS);
    }
    for method in ["TRACE", "PROPFIND", "get", "GETS", "M-SEARCH"] {
        let response = wire.ask(request(method, &hook.target(""), &[], b"a body"));
        assert_eq!(response.status, 405, "{method}");
        assert_allow(&response);
        assert_error(&response);
    }
    wire.ask(hook.get()).is(200, SUCCESS);
    // Nothing of the ingress is behind CONNECT, and what follows it may be a tunnel's bytes.
    let mut tunnel = server.wire();
    let refused = tunnel.ask("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    assert_eq!((refused.status, refused.header("connection")), (405, Some("close")));
    tunnel.closed();
}

fn head_is_answered_as_a_caller_without_a_wait_and_triggers_nothing(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"responseCode": 202}));
    server.flow(&hook, json!([reply_node("a reply")]));
    let waits = server.webhook(json!({"waitForReply": true}));
    let guarded = server.webhook(json!({"basicAuthUsername": "somebody"}));
    let counted = server.webhook(json!({"limits": {"requestsPerWindow": 1, "windowSeconds": 3600}}));
    let mut wire = server.wire();
    let mut head = |target: &str| wire.send(request("HEAD", target, &[], b"")).response_to_head();
    for (target, status, length) in [
        (hook.target("/more?x=y"), 202, SUCCESS.len()),
        (waits.target(""), 200, SUCCESS.len()),
        (guarded.target(""), 401, r#"{"error":"Unauthorized"}"#.len()),
        (counted.target(""), 200, SUCCESS.len()),
        (counted.target(""), 429, OVER_RATE.len()),
        ("/webhooks/none".to_owned(), 404, NOT_FOUND.len()),
    ] {
        let response = head(&target);
        assert_eq!(response.status, status, "{target}");
        // What GET would have, without the body.
        assert_eq!(response.header("content-length"), Some(length.to_string().as_str()), "{target}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{target}");
    }
    assert_eq!(server.metric("tidegate_triggers_total", ""), 0);
    // No body followed: the next response begins where it should.
    wire.ask(hook.get()).is(202, SUCCESS);
}

fn options_answers_senders_that_ask_whether_they_may_deliver(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"limits": {"requestsPerWindow": 100, "windowSeconds": 10}}));
    let free = server.webhook(json!({"limits": {"requestsPerWindow": 0}}));
    let mut wire = server.wire();
    let asked = [("WebHook-Request-Origin", "eventemitter.example.com"), ("WebHook-Request-Rate", "120")];
    for (hook, rate) in [(&hook, "600"), (&free, "*")] {
        let response = wire.ask(request("OPTIONS", &hook.target(""), &asked, b""));
        response.is(204, "");
        assert_eq!(response.header("webhook-allowed-origin"), Some("eventemitter.example.com"));
        assert_eq!(response.header("webhook-allowed-rate"), Some(rate));
        let plain = wire.ask(request("OPTIONS", &hook.target(""), &[], b""));
        assert_eq!(
            (plain.header("webhook-allowed-origin"), plain.header("webhook-allowed-rate")),
            (None, None)
        );
    }
    wire.ask(request("OPTIONS", "*", &[], b"")).is(204, "");
    let asked = [("Access-Control-Request-Headers", "content-type, ,x-own,")];
    let response = wire.ask(request("OPTIONS", &hook.target(""), &asked, b""));
    assert_eq!(response.header("access-control-allow-headers"), Some("content-type, ,x-own,"));
}

fn an_answer_by_the_head_ends_the_connection_unless_the_body_has_arrived(driver: &str) {
    let server = server(driver);
    let guarded = server.webhook(json!({"basicAuthUsername": "somebody"}));
    let off = server.webhook(json!({"enabled": false}));
    let socket = server.webhook(json!({"isWebsocket": true}));
    let counted = server.webhook(json!({"limits": {"requestsPerWindow": 1, "windowSeconds": 3600}}));
    let hook = server.webhook(json!({}));
    server.wire().ask(counted.get()).is(200, SUCCESS);
    let hidden = String::from_utf8(hook.get()).expect("ASCII");
    for (method, target, status) in [
        ("POST", "/webhooks/none".to_owned(), 404),
        ("TRACE", hook.target(""), 405),
        ("POST", guarded.target(""), 401),
        ("POST", counted.target(""), 429),
        ("POST", socket.target(""), 426),
        ("POST", off.target(""), 200),
        ("OPTIONS", hook.target(""), 204),
        ("HEAD", hook.target(""), 200),
    ] {
        for framing in ["Content-Length: 400", "Transfer-Encoding: chunked"] {
            // What a proxy in front takes for the next request must not be read as one.
            let mut wire = server.wire();
            wire.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
            let response = if method == "HEAD" { wire.response_to_head() } else { wire.response() };
            assert_eq!(response.status, status, "{method} {framing}");
            let connection = response.header("connection").expect("Connection");
            assert!(connection.starts_with("close"), "{method} {framing}: {connection}");
            wire.send_what_goes(hidden.as_bytes());
            wire.closed();
        }
        for body in [
            "Content-Length: 6\r\n\r\na body",
            "Transfer-Encoding: chunked\r\n\r\n6\r\na body\r\n0\r\n\r\n",
            "\r\n",
        ] {
            let mut wire = server.wire();
            wire.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{body}{hidden}"));
            let response = if method == "HEAD" { wire.response_to_head() } else { wire.response() };
            assert_eq!(response.status, status, "{method} {body}");
            let connection = response.header("connection").unwrap_or_default();
            assert!(!connection.contains("close"), "{method} {body}");
            wire.response().is(200, SUCCESS);
        }
    }
}

fn assert_allow(response: &Response) {
    let mut methods: Vec<&str> = response.header("allow").expect("Allow").split(", ").collect();
    methods.sort_unstable();
    methods.retain(|method| *method != "OPTIONS");
    assert_eq!(methods, ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]);
}

fn a_preflight_names_the_headers_that_were_asked_for(driver: &str) {
    let server = server(driver);
    // Not counted, and before authentication: browsers send no credentials with it.
    let hook = server.webhook(json!({
        "limits": {"requestsPerWindow": 1, "windowSeconds": 3600}, "basicAuthUsername": "somebody",
    }));
    let mut wire = server.wire();
    for _ in 0..3 {
        let asked = "content-type, x-own";
        let headers = [
            ("Origin", "https://page.example"),
            ("Access-Control-Request-Method", "PUT"),
            ("Access-Control-Request-Headers", asked),
        ];
        let response = wire.ask(request("OPTIONS", &hook.target("/more"), &headers, b""));
        response.is(204, "");
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        assert_eq!(response.header("access-control-allow-headers"), Some(asked));
        let methods = response.header("access-control-allow-methods").expect("methods");
        for method in ["DELETE", "GET", "PATCH", "POST", "PUT"] {
            assert!(methods.split(", ").any(|named| named == method), "{method} in {methods}");
        }
    }
    let plain = wire.ask(request("OPTIONS", &hook.target(""), &[], b""));
    plain.is(204, "");
    assert_eq!(plain.header("access-control-allow-headers"), None);
    // What is no list of names is not sent back.
    let headers = [("Access-Control-Request-Headers", "a b, <script>")];
    let odd = wire.ask(request("OPTIONS", &hook.target(""), &headers, b""));
    assert_eq!((odd.status, odd.header("access-control-allow-headers")), (204, None));
    assert_eq!(wire.ask(hook.get()).status, 401, "the one call that may pass is there still");
}

/// One request for each answer that the ingress gives of itself, with its status.
fn one_of_each(hook: &Hook) -> Vec<(u16, Vec<u8>)> {
    vec![
        (200, hook.get()),
        (404, request("GET", "/", &[], b"")),
        (405, request("TRACE", &hook.target(""), &[], b"")),
        (204, request("OPTIONS", &hook.target(""), &[], b"")),
        (429, hook.get()),
        (400, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (505, b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec()),
    ]
}

fn cors_is_on_every_response_unless_switched_off(driver: &str) {
    for (setting, expected) in [("true", Some("*")), ("false", None)] {
        let server = Server::start(|settings| {
            settings.driver(driver).set("TIDEGATE_INGRESS_CORS", setting);
        });
        let once = json!({"limits": {"requestsPerWindow": 1, "windowSeconds": 3600}});
        let hook = server.webhook(once);
        for (status, bytes) in one_of_each(&hook) {
            let response = server.wire().ask(&bytes);
            assert_eq!(response.status, status, "{}", bytes.escape_ascii());
            assert_eq!(response.header("access-control-allow-origin"), expected, "{response:?}");
            assert!(response.header("date").is_some(), "{response:?}");
        }
        let locked = server.webhook(json!({"basicAuthUsername": "somebody"}));
        let response = server.wire().ask(locked.get());
        assert_eq!((response.status, response.header("access-control-allow-origin")), (401, expected));
        let small = server.webhook(json!({"limits": {"payloadBytes": 1}}));
        let response = server.wire().ask(small.post(b"12"));
        assert_eq!((response.status, response.header("access-control-allow-origin")), (413, expected));
        let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
        let response = server.wire().ask(waiting.get());
        assert_eq!((response.status, response.header("access-control-allow-origin")), (504, expected));
    }
}

fn a_webhook_that_is_switched_off_answers_and_triggers_nothing(driver: &str) {
    let server = server(driver);
    // The rate, the credentials and the code do not come into it.
    let hook = server.webhook(json!({
        "enabled": false, "responseCode": 418, "waitForReply": true, "basicAuthUsername": "somebody",
        "limits": {"requestsPerWindow": 1, "windowSeconds": 3600},
    }));
    server.flow(&hook, json!([]));
    let mut wire = server.wire();
    for _ in 0..3 {
        wire.ask(hook.post(b"a body")).is(200, SUCCESS);
    }
    assert_eq!(server.metric("tidegate_triggers_total", ""), 0);
    server.patch(&hook, &json!({"enabled": true}));
    assert_eq!(wire.ask(hook.get()).status, 401);
}

fn over_the_rate_a_call_is_throttled(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"limits": {"requestsPerWindow": 3, "windowSeconds": 3600}}));
    server.flow(&hook, json!([]));
    let mut wire = server.wire();
    for _ in 0..3 {
        wire.ask(hook.get()).is(200, SUCCESS);
    }
    for body in [&b""[..], b"a body"] {
        let response = wire.ask(hook.post(body));
        response.is(429, OVER_RATE);
        assert_eq!(response.header("content-type"), Some("application/json"));
        let after: u32 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
        // The window, and the tick by which a token may be late (section 11), in whole seconds.
        assert!((1..=3601).contains(&after), "{after}");
    }
    assert_eq!(server.metric("tidegate_triggers_total", ""), 3);
    // Another webhook has a rate of its own.
    wire.ask(server.webhook(json!({})).get()).is(200, SUCCESS);
}

fn basic_authentication_is_asked_for(driver: &str) {
    let server = server(driver);
    let hook = |username: &str, password: &str| {
        server.webhook(json!({"basicAuthUsername": username, "basicAuthPassword": password}))
    };
    let ask = |hook: &Hook, authorization: &[&str]| {
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", *value)).collect();
        server.wire().ask(request("POST", &hook.target(""), &headers, b"a body"))
    };
    let refused = |hook: &Hook, authorization: &[&str]| {
        let response = ask(hook, authorization);
        assert_eq!(response.status, 401, "{authorization:?}");
        let challenge = response.header("www-authenticate").expect("WWW-Authenticate");
        assert!(challenge.starts_with("Basic realm="), "{challenge}");
        assert_error(&response);
    };
    let both = hook("Aladdin", "open sesame");
    let right = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    ask(&both, &[right]).is(200, SUCCESS);
    ask(&both, &["basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]).is(200, SUCCESS);
    refused(&both, &[]);
    refused(&both, &[right, right]);
    for wrong in [
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZSE=",
        "Basic QWxhZGRpbjo=",
        "Basic Og==",
        "Basic",
        "Basic !",
        "Bearer x",
    ] {
        refused(&both, &[wrong]);
    }
    // A blank field matches the empty string, and both blank are none.
    let name_only = hook("user", "");
    ask(&name_only, &["Basic dXNlcjo="]).is(200, SUCCESS);
    refused(&name_only, &["Basic dXNlcjp4"]);
    refused(&name_only, &[]);
    let password_only = hook("", "pass");
    ask(&password_only, &["Basic OnBhc3M="]).is(200, SUCCESS);
    refused(&password_only, &["Basic dXNlcjpwYXNz"]);
    ask(&hook("", ""), &[]).is(200, SUCCESS);
    // A client that still sends its body sees the refusal.
    let mut wire = server.wire();
    wire.send_what_goes(&both.post(&vec![b'x'; 200_000]));
    assert_eq!(wire.response().status, 401);
    wire.closed();
}

fn the_steps_come_in_their_order(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({
        "basicAuthUsername": "somebody",
        "limits": {"requestsPerWindow": 1, "windowSeconds": 3600, "payloadBytes": 10},
    }));
    let too_large = [("Content-Length", "11")];
    let status = |method: &str, target: &str, headers: &[(&str, &str)]| {
        server.wire().ask(request(method, target, headers, b"")).status
    };
    assert_eq!(status("TRACE", "/webhooks/nowhere", &too_large), 404, "the path comes before the method");
    assert_eq!(status("TRACE", &hook.target(""), &too_large), 405, "the method before the rate");
    assert_eq!(status("POST", &hook.target(""), &too_large), 401, "authentication before size");
    assert_eq!(status("POST", &hook.target(""), &too_large), 429, "the rate before authentication");
}

fn the_response_code_is_the_webhooks(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({}));
    let mut wire = server.wire();
    for code in [200, 201, 202, 204, 299, 301, 304, 400, 404, 418, 500, 503, 599] {
        server.patch(&hook, &json!({"responseCode": code, "limits": {"requestsPerWindow": 0}}));
        let body = if [204, 304].contains(&code) { "" } else { SUCCESS };
        for sent in [&b""[..], b"a body"] {
            let response = wire.ask(hook.post(sent));
            response.is(code, body);
            assert_eq!(response.header("connection"), None, "{code}");
        }
    }
    for code in [0, 100, 199, 600, 1000] {
        let (status, answer) = server.call("PATCH", &hook.resource(""), &json!({"responseCode": code}));
        assert_eq!((status, &answer["type"]), (400, &json!("Validation")), "{code}");
        assert!(
            answer["message"].as_str().is_some_and(|message| message.contains("responseCode")),
            "{answer}"
        );
    }
}

fn a_connection_stays_as_long_as_its_version_and_header_say(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({}));
    let ask = |version: &str, connection: &str| -> (Wire, Response) {
        let target = hook.target("");
        let mut wire = server.wire();
        let response = wire.ask(format!("GET {target} HTTP/{version}\r\nHost: a\r\n{connection}\r\n"));
        response.is(200, SUCCESS);
        (wire, response)
    };
    for (version, connection) in [
        ("1.0", ""),
        ("1.0", "Connection: close\r\n"),
        ("1.1", "Connection: close\r\n"),
        ("1.1", "Connection: x, Close\r\n"),
    ] {
        let (mut wire, response) = ask(version, connection);
        assert_eq!(response.header("connection"), Some("close"), "{version} {connection}");
        wire.closed();
    }
    for (version, connection, said) in [
        ("1.1", "", None),
        ("1.1", "Connection: keep-alive\r\n", None),
        ("1.0", "Connection: keep-alive\r\n", Some("keep-alive")),
    ] {
        let (mut wire, response) = ask(version, connection);
        assert_eq!(response.header("connection"), said, "{version} {connection}");
        wire.ask(hook.get()).is(200, SUCCESS);
    }
    // HTTP/1.0 needs no Host.
    let mut wire = server.wire();
    wire.ask(format!("GET {} HTTP/1.0\r\n\r\n", hook.target(""))).is(200, SUCCESS);
    // A client that has said all still gets its answers.
    let mut wire = server.wire();
    wire.send([hook.get(), hook.post(b"a body")].concat()).finish();
    wire.response().is(200, SUCCESS);
    wire.response().is(200, SUCCESS);
    wire.closed();
}

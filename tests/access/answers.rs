//! What answers and payloads carry: `responseBody`, `cors`, `rawBody`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::common::{Server, request};
use crate::sockets::upgrade;
use crate::{call, echo, refused, server};

const SUCCESS: &str = r#"{"success":true}"#;

#[test]
fn a_response_body_takes_the_place_of_success() {
    let server = server(2);
    let body = json!({"contentType": "text/xml; charset=utf-8", "body": "<ok>ü</ok>"});
    let hook = server.webhook(json!({"responseBody": body, "responseCode": 202}));
    let mut wire = server.wire();
    let response = wire.ask(hook.get());
    response.is(202, "<ok>ü</ok>");
    assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    wire.send(request("HEAD", &hook.target(""), &[], b""));
    let head = wire.response_to_head();
    assert_eq!((head.status, head.header("content-length")), (202, Some("11")));
    // Empty, JSON by default, without a body at all.
    server.patch(&hook, &json!({"responseBody": {"body": ""}}));
    let response = wire.ask(hook.get());
    response.is(202, "");
    assert_eq!(response.header("content-type"), Some("application/json"));
    server.patch(&hook, &json!({"responseCode": 204}));
    wire.ask(hook.get()).is(204, "");
    // A reply, a refusal and a webhook that is off have their own.
    server
        .patch(&hook, &json!({"responseBody": {"body": "mine"}, "responseCode": 200, "waitForReply": true}));
    server.flow(&hook, json!([crate::common::reply_node("a reply")]));
    wire.ask(hook.get()).is(200, "a reply");
    server.patch(&hook, &json!({"waitForReply": false}));
    wire.ask(hook.get()).is(200, "mine");
    server.patch(&hook, &json!({"enabled": false}));
    wire.ask(hook.get()).is(200, SUCCESS);
    server.patch(&hook, &json!({"enabled": true, "responseBody": null}));
    wire.ask(hook.get()).is(200, SUCCESS);
    for (wrong, field) in [
        (json!("text"), "`responseBody` must"),
        (json!({}), "`responseBody.body` is required"),
        (json!({"body": 1}), "`responseBody.body` must"),
        (json!({"body": "", "contentType": "text"}), "`responseBody.contentType` must"),
        (json!({"body": "", "contentType": "text/plain\r\nx: y"}), "`responseBody.contentType` must"),
        (json!({"body": "", "contentType": "text/plain; a\r\nx: y"}), "`responseBody.contentType` must"),
        (json!({"body": "", "status": 200}), "`responseBody.status` is not"),
    ] {
        let message = refused(&server, &hook, &json!({"responseBody": wrong}));
        assert!(message.starts_with(field), "{wrong}: {message}");
    }
}

#[test]
fn cors_fields_are_those_of_the_webhook_or_else_of_the_server() {
    for server_has in [true, false] {
        let server = Server::start(|settings| {
            settings.cores(2).set("TIDEGATE_INGRESS_CORS", server_has);
        });
        let hook = server.webhook(json!({}));
        let origin = |sent: &str| {
            let response = call(&server, "GET", &hook, "", &[("Origin", sent)]);
            let header = |name: &str| response.header(name).unwrap_or("").to_owned();
            (header("access-control-allow-origin"), header("vary"))
        };
        let shows = |allowed: &str, vary: &str| (allowed.to_owned(), vary.to_owned());
        assert_eq!(origin("https://a.example"), shows(if server_has { "*" } else { "" }, ""));
        server.patch(&hook, &json!({"cors": true}));
        assert_eq!(origin("https://a.example"), shows("*", ""));
        server.patch(&hook, &json!({"cors": false}));
        assert_eq!(origin("https://a.example"), shows("", ""));
        server.patch(&hook, &json!({"cors": ["https://a.example", "http://localhost:3000"]}));
        for listed in ["https://a.example", "http://localhost:3000"] {
            assert_eq!(origin(listed), shows(listed, "Origin"));
        }
        for other in ["https://b.example", "https://a.example:8443", "https://a.example.evil", "null"] {
            assert_eq!(origin(other), shows("", "Origin"), "{other}");
        }
        server.patch(&hook, &json!({"cors": null}));
        assert_eq!(origin("https://a.example"), shows(if server_has { "*" } else { "" }, ""));
    }
}

#[test]
fn a_preflight_from_an_origin_that_is_not_listed_permits_nothing() {
    let server = server(1);
    let hook = server.webhook(json!({"cors": ["https://a.example"], "methods": ["POST"]}));
    let preflight = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "x-a"),
        ];
        server.wire().ask(request("OPTIONS", &hook.target(""), &headers, b""))
    };
    let listed = preflight("https://a.example");
    assert_eq!(listed.status, 204);
    let named = |name: &str| listed.headers.iter().any(|(known, _)| known == name);
    assert!(named("access-control-allow-origin") && named("access-control-allow-headers"), "{listed:?}");
    assert_eq!(listed.header("access-control-allow-methods"), Some("HEAD, OPTIONS, POST"));
    let other = preflight("https://b.example");
    assert_eq!((other.status, other.header("allow")), (204, Some("HEAD, OPTIONS, POST")));
    assert!(!other.headers.iter().any(|(name, _)| name.starts_with("access-control")), "{other:?}");
    // Refusals carry them too, and so does an upgrade.
    let refusal = call(&server, "GET", &hook, "", &[("Origin", "https://a.example")]);
    assert_eq!(
        (refusal.status, refusal.header("access-control-allow-origin")),
        (405, Some("https://a.example"))
    );
    let socket = server.webhook(json!({"isWebsocket": true, "cors": ["https://a.example"]}));
    let opened = server.wire().ask(upgrade(&socket.target(""), &[("Origin", "https://a.example")]));
    assert_eq!(
        (opened.status, opened.header("access-control-allow-origin")),
        (101, Some("https://a.example"))
    );
    for wrong in [
        json!("https://a.example"),
        json!([]),
        json!(["*"]),
        json!(["https://a.example/"]),
        json!(["https://A.example"]),
        json!(["a.example"]),
        json!([7]),
        json!(1),
    ] {
        let message = refused(&server, &hook, &json!({"cors": wrong}));
        assert!(message.starts_with("`cors` must be null or true or false, or a list"), "{wrong}: {message}");
    }
}

#[test]
fn a_raw_body_stands_beside_the_body_as_it_came() {
    let server = server(2);
    let hook = echo(&server, json!({"rawBody": true}), "{{{data.rawBody}}}|{{{jsonEncode data.body}}}");
    let post = |content_type: &str, body: &[u8]| {
        let headers = [("Content-Type", content_type)];
        server.wire().ask(request("POST", &hook.target(""), &headers, body))
    };
    let raw = |body: &[u8]| BASE64_STANDARD.encode(body);
    for (content_type, body, shown) in [
        ("application/json", &b"{ \"a\" : 1.0 }"[..], "{ \"a\" : 1.0 }"),
        ("application/json", b"{broken", "\"{broken\""),
        ("application/x-www-form-urlencoded", b"a=1&b=%FF", "{\"a\":\"1\",\"b\":\"\u{fffd}\"}"),
        ("application/octet-stream", &[0, 255], "[0,255]"),
        ("text/plain; charset=iso-8859-1", &[0xe4], "\"\u{e4}\""),
    ] {
        post(content_type, body).is(200, &format!("{}|{shown}", raw(body)));
    }
    call(&server, "POST", &hook, "", &[]).is(200, "|null");
    // Before its coding is undone, and on a webhook without the option not at all.
    let gzip = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0, 0, 0];
    let headers = [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")];
    let response = server.wire().ask(request("POST", &hook.target(""), &headers, &gzip));
    response.is(200, &format!("{}|\"hello\"", raw(&gzip)));
    server.patch(&hook, &json!({"rawBody": false}));
    post("text/plain", b"x").is(200, "|\"x\"");
    assert_eq!(server.done("GET", &hook.resource(""), &Value::Null)["rawBody"], false);
}

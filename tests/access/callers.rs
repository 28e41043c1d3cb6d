//! Who is let in: `methods`, `allowedNetworks`, `auth` with a header or a parameter of the query.

use serde_json::{Value, json};

use crate::common::{Server, request};
use crate::sockets::{Socket, upgrade};
use crate::{call, echo, refused, server};

const SUCCESS: &str = r#"{"success":true}"#;
const UNAUTHORIZED: &str = r#"{"error":"Unauthorized"}"#;
const ADDRESS: &str = r#"{"error":"Address not allowed"}"#;

#[test]
fn only_the_methods_of_a_list_are_let_in() {
    let server = server(2);
    let hook = server.webhook(json!({"methods": ["post", "PUT"]}));
    assert_eq!(server.done("GET", &hook.resource(""), &Value::Null)["methods"], json!(["POST", "PUT"]));
    let mut wire = server.wire();
    for method in ["POST", "PUT"] {
        wire.ask(request(method, &hook.target(""), &[], b"{}")).is(200, SUCCESS);
    }
    for method in ["GET", "PATCH", "DELETE", "TRACE"] {
        let response = wire.ask(request(method, &hook.target(""), &[], b""));
        response.is(405, r#"{"error":"Method not allowed"}"#);
        assert_eq!(response.header("allow"), Some("HEAD, OPTIONS, POST, PUT"));
    }
    // Senders look whether a URL is there.
    wire.send(request("HEAD", &hook.target(""), &[], b""));
    assert_eq!(wire.response_to_head().status, 200);
    let preflight = wire.ask(request("OPTIONS", &hook.target(""), &[], b""));
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("HEAD, OPTIONS, POST, PUT"));
    // The same connection, another list, and none.
    server.patch(&hook, &json!({"methods": ["GET"]}));
    assert_eq!(wire.ask(hook.get()).status, 200);
    assert_eq!(wire.ask(request("PUT", &hook.target(""), &[], b"")).status, 405);
    server.patch(&hook, &json!({"methods": null}));
    assert_eq!(wire.ask(request("PUT", &hook.target(""), &[], b"")).status, 200);
    for wrong in [json!([]), json!(["HEAD"]), json!("POST"), json!([1]), json!(["POST", "BREW"])] {
        let message = refused(&server, &hook, &json!({"methods": wrong}));
        assert!(message.starts_with("`methods` must be null or a list of some of: DELETE,"), "{message}");
    }
}

#[test]
fn only_addresses_of_the_networks_are_let_in() {
    let server = server(2);
    let hook = server.webhook(json!({"allowedNetworks": ["192.0.2.0/24", "127.0.0.1"]}));
    let mut wire = server.wire();
    wire.ask(hook.get()).is(200, SUCCESS);
    // A peer that is no trusted proxy speaks for nobody else.
    let forged = request("GET", &hook.target(""), &[("X-Forwarded-For", "198.51.100.1")], b"");
    wire.ask(&forged).is(200, SUCCESS);
    server.patch(&hook, &json!({"allowedNetworks": ["192.0.2.0/24"]}));
    wire.ask(hook.get()).is(403, ADDRESS);
    let forged = request("GET", &hook.target(""), &[("X-Forwarded-For", "192.0.2.1")], b"");
    wire.ask(&forged).is(403, ADDRESS);
    assert!(server.metric("tidegate_requests_total", "address") >= 2);
    server.patch(&hook, &json!({"allowedNetworks": null}));
    wire.ask(hook.get()).is(200, SUCCESS);
    for wrong in [json!([]), json!("10.0.0.0/8"), json!(["10.0.0.0/33"]), json!(["example.org"]), json!([1])]
    {
        let message = refused(&server, &hook, &json!({"allowedNetworks": wrong}));
        assert!(message.starts_with("`allowedNetworks` must"), "{message}");
    }
}

#[test]
fn a_trusted_proxy_names_the_address() {
    let server = Server::start(|settings| {
        settings.cores(2).set("TIDEGATE_INGRESS_TRUSTED_PROXIES", "127.0.0.0/8");
    });
    let hook = server.webhook(json!({"allowedNetworks": ["192.0.2.0/24", "2001:db8::/32"]}));
    let status = |forwarded: &str| {
        let fields: &[(&str, &str)] =
            if forwarded.is_empty() { &[] } else { &[("X-Forwarded-For", forwarded)] };
        call(&server, "GET", &hook, "", fields).status
    };
    for (forwarded, expected) in [
        ("192.0.2.9", 200),
        ("2001:db8::7", 200),
        ("192.0.2.9:4711", 200),
        ("198.51.100.1, 192.0.2.9", 200),
        ("192.0.2.9, 127.0.0.2", 200),
        ("192.0.2.9, 198.51.100.1", 403),
        ("198.51.100.1", 403),
        ("unknown", 403),
        ("", 403),
    ] {
        assert_eq!(status(forwarded), expected, "{forwarded:?}");
    }
}

#[test]
fn a_header_must_carry_one_of_the_values() {
    let server = server(2);
    let auth = json!({"type": "header", "name": "X-Api-Key", "value": ["{{globals.key}}", "old"]});
    let hook = echo(&server, json!({"auth": auth}), "{{data.headers.x-api-key}}|{{data.headers.x-other}}");
    let application = format!("/applications/{}", hook.application);
    let set = |key: &str| {
        let globals = json!({"globals": [{"key": "key", "json": format!("\"{key}\"")}]});
        server.done("PATCH", &application, &globals);
    };
    set("n3w & <y>");
    let mut wire = server.wire();
    let mut ask = |value: &str| {
        let headers: &[(&str, &str)] =
            if value.is_empty() { &[("X-Other", "o")] } else { &[("x-api-key", value), ("X-Other", "o")] };
        wire.ask(request("POST", &hook.target("?x-api-key=old"), headers, b"{}"))
    };
    for right in ["n3w & <y>", "old"] {
        // The credential is no business of the flows.
        ask(right).is(200, "|o");
    }
    for wrong in ["", "n3w", "N3w & <y>", "old ,old", "{{globals.key}}"] {
        let response = ask(wrong);
        response.is(401, UNAUTHORIZED);
        assert_eq!(response.header("www-authenticate"), Some("ApiKey realm=\"webhook\""));
    }
    // Another global, on the open connection.
    set("newest");
    assert_eq!((ask("newest").status, ask("n3w & <y>").status, ask("old").status), (200, 401, 200));
    // A template that renders empty lets nobody in.
    server.done("PATCH", &application, &json!({"globals": []}));
    assert_eq!((ask("newest").status, ask("").status, ask("old").status), (401, 401, 200));
    // Masked, kept, taken away.
    let shown = server.done("GET", &hook.resource(""), &Value::Null);
    assert_eq!(shown["auth"], json!({"type": "header", "name": "X-Api-Key", "value": ["***", "***"]}));
    server.patch(&hook, &json!({"auth": shown["auth"], "description": "saved again"}));
    assert_eq!((ask("old").status, ask("***").status), (200, 401));
    server.patch(&hook, &json!({"auth": null}));
    assert_eq!(ask("").status, 200);
}

#[test]
fn a_parameter_must_carry_one_of_the_values_and_stays_out_of_the_payload() {
    let server = server(2);
    let auth = json!({"type": "query", "name": "to ken", "value": "s&cret"});
    let hook = echo(&server, json!({"auth": auth}), "{{{jsonEncode data.query}}}");
    let get = |query: &str| call(&server, "GET", &hook, query, &[]);
    get("?a=1&to+ken=s%26cret&b=2").is(200, r#"{"a":"1","b":"2"}"#);
    get("/p?%74o%20ken=%73%26cret").is(200, "{}");
    for wrong in
        ["", "?to+ken=", "?to+ken", "?to+ken=wrong", "?to+ken=s%26cret&to+ken=s%26cret", "?To+ken=s%26cret"]
    {
        get(wrong).is(401, UNAUTHORIZED);
    }
    // Nor is it among the last requests.
    let requests = server.done("GET", &hook.resource("/requests"), &Value::Null).to_string();
    assert!(requests.contains("a=1&to+ken=***&b=2"), "{requests}");
    let shows = |value: &str| requests.contains(&format!("to+ken={value}"));
    assert!(!shows("s%26cret") && !shows("wrong"), "{requests}");
}

#[test]
fn what_auth_must_be_is_said_when_it_is_saved() {
    let server = server(1);
    let hook = server.webhook(json!({}));
    let named = |kind: &str, name: Value, value: Value| json!({"type": kind, "name": name, "value": value});
    for (auth, field) in [
        (json!("key"), "`auth` must be an object"),
        (json!({}), "`auth.type` must be one of"),
        (named("cookie", json!("a"), json!("b")), "`auth.type` must be one of"),
        (json!({"type": "header", "value": "x"}), "`auth.name` is required"),
        (named("header", json!("a b"), json!("x")), "`auth.name` must be the name"),
        (json!({"type": "query", "name": "k"}), "`auth.value` is required"),
        (named("query", json!("k"), json!("")), "`auth.value` must be"),
        (named("query", json!("k"), json!([])), "`auth.value` must be a string of 1"),
        (named("query", json!("k"), json!("{{")), "`auth.value` must be a template"),
        (named("query", json!("k"), json!("***")), "`auth.value` must be the secret itself"),
        (json!({"type": "query", "name": "k", "value": "v", "x": 1}), "`auth.x` is not a field"),
    ] {
        let message = refused(&server, &hook, &json!({"auth": auth}));
        assert!(message.starts_with(field), "{auth}: {message}");
    }
    // Both would read one header.
    let auth = named("header", json!("Authorization"), json!("Token x"));
    let message = refused(&server, &hook, &json!({"auth": auth, "basicAuthUsername": "u"}));
    assert!(message.starts_with("`auth` must not read the header Authorization"), "{message}");
    server.patch(&hook, &json!({"auth": auth}));
    assert_eq!(call(&server, "GET", &hook, "", &[("Authorization", "Token x")]).status, 200);
}

#[test]
fn basic_authentication_and_a_header_are_asked_for_together() {
    let server = server(1);
    let hook = server.webhook(json!({
        "basicAuthUsername": "u", "basicAuthPassword": "p",
        "auth": {"type": "header", "name": "X-Key", "value": "k"}}));
    let basic = ("Authorization", "Basic dTpw");
    let challenge = |headers: &[(&str, &str)]| {
        let response = call(&server, "GET", &hook, "", headers);
        (
            response.status,
            response.header("www-authenticate").unwrap_or("").split(' ').next().unwrap().to_owned(),
        )
    };
    assert_eq!(challenge(&[basic, ("X-Key", "k")]).0, 200);
    assert_eq!(challenge(&[("X-Key", "k")]), (401, "Basic".to_owned()));
    assert_eq!(challenge(&[basic]), (401, "ApiKey".to_owned()));
    assert_eq!(challenge(&[]), (401, "Basic".to_owned()));
}

#[test]
fn a_websocket_is_let_in_as_a_call_is_and_closed_when_that_changes() {
    for cores in [1, 2] {
        let server = server(cores);
        let fields = json!({"isWebsocket": true, "allowedNetworks": ["127.0.0.0/8"],
            "auth": {"type": "query", "name": "key", "value": "right"}});
        let hook = server.webhook(fields);
        server.flow(
            &hook,
            json!([{"type": "WebhookReplyNode", "config": {"isWebsocketMessage": true,
            "bodyTemplate": "{{{jsonEncode data.query}}}"}}]),
        );
        let refused = server.wire().ask(upgrade(&hook.target("?key=wrong"), &[]));
        refused.is(401, UNAUTHORIZED);
        let open = || Socket::open_with(server.ingress, &hook.target("?key=right&a=1"), &[]);
        let mut socket = open();
        assert_eq!(socket.text(), r#"{"a":"1"}"#);
        server.patch(&hook, &json!({"description": "nothing that concerns it"}));
        socket.say("hello");
        assert_eq!(socket.text(), r#"{"a":"1"}"#);
        server.patch(&hook, &json!({"auth": {"type": "query", "name": "key", "value": ["right", "other"]}}));
        let closed = (1008, "Webhook credentials changed".to_owned());
        assert_eq!(socket.closed(), closed);
        let mut socket = open();
        socket.text();
        server.patch(&hook, &json!({"allowedNetworks": ["192.0.2.0/24"]}));
        assert_eq!(socket.closed(), closed);
        server.wire().ask(upgrade(&hook.target("?key=right"), &[])).is(403, ADDRESS);
    }
}

#[test]
fn options_that_a_websocket_cannot_have_are_refused() {
    let server = server(1);
    let hook = server.webhook(json!({"isWebsocket": true}));
    for fields in [
        json!({"methods": ["GET"]}),
        json!({"deduplicate": {"key": "{{data.message.data}}"}}),
        json!({"responseBody": {"body": "x"}}),
        json!({"rawBody": true}),
    ] {
        let message = refused(&server, &hook, &fields);
        assert!(message.contains("must be off on a WebSocket webhook"), "{message}");
    }
    server
        .patch(&hook, &json!({"methods": null, "deduplicate": null, "responseBody": null, "rawBody": false}));
}

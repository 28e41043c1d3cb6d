//! `POST …/token`: another token for a webhook, and the grace of the old one.

use serde_json::{Value, json};

use crate::common::{Hook, Server, eventually, request};
use crate::server;
use crate::sockets::Socket;

const NOT_FOUND: &str = r#"{"error":"Webhook not found"}"#;

fn change(server: &Server, hook: &Hook, body: &Value) -> Value {
    server.done("POST", &hook.resource("/token"), body)
}

fn status(server: &Server, token: &str) -> u16 {
    server.wire().ask(request("GET", &format!("/webhooks/{token}/a?b=1"), &[], b"")).status
}

#[test]
fn the_old_token_is_gone_at_once_without_a_grace() {
    let server = server(2);
    let hook = crate::echo(&server, json!({}), "{{data.path}}");
    let mut wire = server.wire();
    wire.ask(request("GET", &hook.target("/a/b"), &[], b"")).is(200, "/a/b");
    let shown = change(&server, &hook, &Value::Null);
    let token = shown["token"].as_str().expect("text").to_owned();
    assert_eq!((token.len(), &shown["previousTokens"]), (40, &json!([])));
    assert_ne!(token, hook.token);
    // The same connection.
    wire.ask(request("GET", &hook.target("/a/b"), &[], b"")).is(404, NOT_FOUND);
    wire.ask(request("GET", &format!("/webhooks/{token}/a/b"), &[], b"")).is(200, "/a/b");
}

#[test]
fn tokens_of_any_length_serve_and_show_what_follows_them() {
    let server = server(1);
    let hook = crate::echo(&server, json!({}), "{{data.path}}");
    for length in [8, 9, 39, 40, 41, 128] {
        let token = "x-_Y".repeat(32)[..length].to_owned();
        assert_eq!(change(&server, &hook, &json!({"token": token}))["token"], json!(token));
        for more in ["", "/", "/a", "/a/b/c-and-more-than-forty-characters-of-a-path/x"] {
            let shown = if more.is_empty() { "/" } else { more };
            server.wire().ask(request("GET", &format!("/webhooks/{token}{more}"), &[], b"")).is(200, shown);
        }
        for wrong in [&token[1..], &token[..length - 1], &format!("{token}x")] {
            assert_eq!(status(&server, wrong), 404, "{wrong}");
        }
        let requests = server.done("GET", &hook.resource("/requests"), &Value::Null).to_string();
        assert!(!requests.contains(&token), "a token is among the last requests");
    }
}

#[test]
fn the_old_token_goes_on_until_its_grace_ends_over_restarts_too() {
    let mut server = server(2);
    let hook = server.webhook(json!({"limits": {"requestsPerWindow": 1000}}));
    let shown = change(&server, &hook, &json!({"token": "the-second", "graceSeconds": 2_592_000}));
    assert_eq!(shown["previousTokens"][0]["token"], json!(hook.token));
    assert!(shown["previousTokens"][0]["endsAt"].as_str().expect("text").ends_with('Z'));
    change(&server, &hook, &json!({"token": "the-third", "graceSeconds": 3600}));
    let all = [hook.token.as_str(), "the-second", "the-third"];
    for token in all {
        assert_eq!(status(&server, token), 200, "{token}");
    }
    // What it is changed to holds for all of them; so do its limits.
    server.patch(
        &hook,
        &json!({"responseCode": 202, "limits": {"requestsPerWindow": 5, "windowSeconds": 3600}}),
    );
    assert_eq!(all.map(|token| status(&server, token)), [202, 202, 429]);
    server.patch(&hook, &json!({"limits": {}}));
    server.crash();
    server.restart();
    for token in all {
        assert_eq!(status(&server, token), 202, "{token}");
    }
    // A deletion takes all of them, and they can be used again.
    server.done("DELETE", &hook.resource(""), &Value::Null);
    for token in all {
        assert_eq!(status(&server, token), 404, "{token}");
    }
    let other = server.webhook(json!({}));
    change(&server, &other, &json!({"token": "the-second"}));
    assert_eq!(status(&server, "the-second"), 200);
}

#[test]
fn a_grace_that_ends_takes_the_token_and_closes_its_websockets() {
    let mut server = server(2);
    let hook = server.webhook(json!({"isWebsocket": true}));
    let mut old = Socket::open(&server, &hook);
    let shown = change(&server, &hook, &json!({"graceSeconds": 2}));
    let token = shown["token"].as_str().expect("text").to_owned();
    let mut new = Socket::open_with(server.ingress, &format!("/webhooks/{token}"), &[]);
    assert_eq!(old.closed(), (1008, "Webhook credentials changed".to_owned()));
    let refused = server.wire().ask(crate::sockets::upgrade(&hook.target(""), &[]));
    refused.is(404, NOT_FOUND);
    new.say("it goes on");
    // The grace of another is over while no process is there.
    let http = server.webhook(json!({}));
    change(&server, &http, &json!({"token": "while-nobody-is-there", "graceSeconds": 1}));
    server.terminate();
    server.ended();
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.restart();
    assert_eq!((status(&server, &http.token), status(&server, "while-nobody-is-there")), (404, 200));
}

#[test]
fn a_token_that_another_webhook_has_is_a_409() {
    let server = server(1);
    let (one, two) = (server.webhook(json!({})), server.webhook(json!({})));
    change(&server, &one, &json!({"token": "of-the-one", "graceSeconds": 1}));
    let conflict = |token: &str| {
        let (status, error) = server.call("POST", &two.resource("/token"), &json!({"token": token}));
        if status != 200 {
            assert_eq!((status, &error["type"]), (409, &json!("Conflict")), "{error}");
        }
        status
    };
    assert_eq!(conflict("of-the-one"), 409);
    // In its grace it is taken, behind it it is not.
    eventually("the grace ends", || (conflict(&one.token) == 200).then_some(()));
    assert_eq!((status(&server, "of-the-one"), status(&server, &one.token)), (200, 200));
    server.done("DELETE", &one.resource(""), &Value::Null);
    assert_eq!((status(&server, "of-the-one"), status(&server, &one.token)), (404, 200));
    // A webhook may take its own back.
    change(&server, &two, &json!({"token": "of-the-two", "graceSeconds": 60}));
    let shown = change(&server, &two, &json!({"token": one.token}));
    assert_eq!((&shown["token"], &shown["previousTokens"]), (&json!(one.token), &json!([])));
    let (status, _) = server.call("POST", &two.resource("/token"), &json!({"token": "short"}));
    assert_eq!(status, 400);
}

//! Credentials that are templates over the application's globals: codes, basic authentication, secrets.

use serde_json::{Value, json};

use crate::harness::{Hook, Server, unix_seconds};
use crate::signatures::{OLD_SECRET, SECRET, post, signature, signed};

fn set_globals(server: &Server, hook: &Hook, globals: &[(&str, Value)]) {
    let globals: Vec<Value> =
        globals.iter().map(|(key, value)| json!({"key": key, "json": value.to_string()})).collect();
    server.done("PATCH", &format!("/applications/{}", hook.application), &json!({"globals": globals}));
}

#[test]
fn a_code_is_rendered_without_escapes_when_the_globals_change() {
    let server = Server::start(&[]);
    let hook = server
        .webhook(json!({"verificationType": "fitbit", "verificationCode": "{{globals.code}}-{{bare}}"}));
    let verify = |code: &str| server.get(&hook, &format!("?verify={code}")).status;
    set_globals(&server, &hook, &[("code", json!("a<&>\"'b")), ("bare", json!(12))]);
    assert_eq!(verify("a%3C%26%3E%22%27b-12"), 204);
    assert_eq!(verify("a%26lt%3B%26amp%3B%26gt%3B%26quot%3B%26%23x27%3Bb-12"), 404);
    set_globals(&server, &hook, &[("code", json!("new")), ("bare", json!(12))]);
    assert_eq!((verify("a%3C%26%3E%22%27b-12"), verify("new-12")), (404, 204));
}

#[test]
fn a_credential_that_renders_empty_refuses_everything() {
    let server = Server::start(&[]);
    let fitbit =
        server.webhook(json!({"verificationType": "fitbit", "verificationCode": "{{globals.none}}"}));
    for query in ["?verify=", "?verify", "?verify=%7B%7Bglobals.none%7D%7D"] {
        assert_eq!(server.get(&fitbit, query).status, 404, "{query}");
    }
    let meta =
        server.webhook(json!({"verificationType": "facebook", "verificationCode": "{{globals.none}}"}));
    assert_eq!(server.get(&meta, "?hub.mode=subscribe&hub.verify_token=&hub.challenge=1").status, 403);
    let basic = server.webhook(json!({"basicAuthUsername": "user", "basicAuthPassword": "{{globals.none}}"}));
    for credentials in ["dXNlcjo=", "Og==", "dXNlcjp7e2dsb2JhbHMubm9uZX19"] {
        let field = format!("Basic {credentials}");
        assert_eq!(server.post(&basic, &[("Authorization", &field)], b"{}").status, 401, "{credentials}");
    }
    let signed_with_nothing = signed("github", "", 0, b"{}");
    let github = server.webhook(json!({"signature": signature("github", json!("{{globals.none}}"))}));
    assert_eq!(post(&server, &github, &signed_with_nothing, b"{}").status, 401);
    set_globals(&server, &github, &[("none", json!(SECRET))]);
    assert_eq!(post(&server, &github, &signed_with_nothing, b"{}").status, 401);
    assert_eq!(post(&server, &github, &signed("github", SECRET, 0, b"{}"), b"{}").status, 200);
}

#[test]
fn a_global_that_is_no_secret_of_its_scheme_matches_nothing_and_the_others_go_on() {
    let server = Server::start(&[]);
    let secrets = json!(["{{globals.new}}", "{{globals.old}}"]);
    let hook = server.webhook(json!({"signature": signature("standard-webhooks", secrets)}));
    let status = |secret: &str| {
        let fields = signed("standard-webhooks", secret, unix_seconds(), b"{}");
        post(&server, &hook, &fields, b"{}").status
    };
    set_globals(&server, &hook, &[("new", json!("no base64!")), ("old", json!(OLD_SECRET))]);
    assert_eq!((status(SECRET), status(OLD_SECRET)), (401, 200));
    assert!(!server.log().contains("no base64!"), "a secret is in the log");
    set_globals(&server, &hook, &[("new", json!(format!("whsec_{SECRET}"))), ("old", json!(OLD_SECRET))]);
    assert_eq!((status(SECRET), status(OLD_SECRET)), (200, 200));
    set_globals(&server, &hook, &[("new", json!(SECRET))]);
    assert_eq!((status(SECRET), status(OLD_SECRET)), (200, 401));
}

#[test]
fn a_template_that_is_none_is_refused_when_it_is_saved() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({}));
    let path = format!("/applications/{}/webhooks/{}", hook.application, hook.id);
    for (fields, named) in [
        (json!({"verificationCode": "{{#if}}"}), "verificationCode"),
        (json!({"basicAuthUsername": "{{"}), "basicAuthUsername"),
        (json!({"basicAuthPassword": "{{globals.}}}"}), "basicAuthPassword"),
        (json!({"signature": signature("github", json!(["fine", "{{"]))}), "signature.secret"),
    ] {
        let (status, error) = server.call("PATCH", &path, &fields);
        let message = error["message"].as_str().expect("text");
        assert_eq!((status, message.contains(named)), (400, true), "{fields}: {error}");
    }
}

//! Presets: webhooks of known senders made as the console and the command line make them, and their samples, signed by
//! the server and not.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{ACCESS_TOKEN, Hook, Server, unix_seconds};

/// A secret that every scheme takes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A public key of Ed25519 (RFC 8032, section 7.1).
const ED25519: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// DER of a public key on P-256 up to its point (RFC 5480, section 2).
const P256_KEY_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn p256() -> (EcdsaKeyPair, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key");
    let public = BASE64_STANDARD.encode([P256_KEY_INFO, pair.public_key().as_ref()].concat());
    (pair, public)
}

fn presets(server: &Server) -> Vec<Value> {
    let answer = server.done("GET", "/presets", &Value::Null);
    answer["items"].as_array().expect("a list").clone()
}

/// The fields of a preset's webhook with secrets of the test.
fn fields(preset: &Value, p256: &str) -> Value {
    let mut fields = preset["webhook"].clone();
    for secret in preset["secrets"].as_array().expect("a list") {
        let value = match secret["form"].as_str().expect("a word") {
            "ed25519" => ED25519,
            "p256" => p256,
            _ => SECRET,
        };
        match secret["field"].as_str().expect("a field").split_once('.') {
            None => fields[secret["field"].as_str().expect("a field")] = json!(value),
            Some((object, member)) => fields[object][member] = json!(value),
        }
    }
    // No flow of these tests answers a call that waits as its sender wants it; that it is let in is what counts.
    fields["waitForReply"] = json!(false);
    fields
}

/// Sends the sample of a preset as the Test tab does.
fn test(server: &Server, hook: &Hook, preset: &Value, sign: bool) -> (u16, Value) {
    let sample = &preset["sample"];
    let body = json!({"headers": sample["headers"], "body": sample["body"], "sign": sign});
    let path = format!("/applications/{}/webhooks/{}/test", hook.application, hook.id);
    server.call("POST", &path, &body)
}

#[test]
fn every_sample_is_let_in_where_it_is_signed_and_nowhere_else() {
    let server = Server::start(&[]);
    let (_, public) = p256();
    let mut signed = 0;
    for preset in presets(&server) {
        let id = preset["id"].as_str().expect("an id").to_owned();
        let hook = server.webhook(fields(&preset, &public));
        let (status, answer) = test(&server, &hook, &preset, false);
        assert_eq!(status, 200, "{id}: {answer}");
        let refused = if id == "alexa" { 400 } else { 401 };
        assert_eq!(answer["statusCode"], refused, "{id}: {answer}");
        assert_eq!(answer["triggers"], json!([]), "{id}");

        let (status, answer) = test(&server, &hook, &preset, true);
        let needs_sender = ["alexa", "discord", "sendgrid"].contains(&id.as_str());
        if needs_sender {
            assert_eq!((status, &answer["type"]), (400, &json!("Validation")), "{id}: {answer}");
            assert!(answer["message"].as_str().expect("text").contains("sign"), "{answer}");
            assert_eq!(preset["canSign"], false, "{id}");
            continue;
        }
        signed += 1;
        assert_eq!(status, 200, "{id}: {answer}");
        let code = if id == "fitbit" { 204 } else { 200 };
        assert_eq!(answer["statusCode"], code, "{id}: {answer}");
        assert_eq!(answer["triggers"].as_array().map(Vec::len), Some(1), "{id}: {answer}");
        assert!(!answer.to_string().contains(SECRET), "{id}");
    }
    assert_eq!(signed, 13);
}

#[test]
fn what_is_given_is_not_signed_over() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "basicAuthUsername": "u", "basicAuthPassword": "p", "signature": {"scheme": "github", "secret": SECRET},
    }));
    let path = format!("/applications/{}/webhooks/{}/test", hook.application, hook.id);
    let status = |headers: Value| {
        let body = json!({"headers": headers, "body": {"n": 1}, "sign": true});
        server.done("POST", &path, &body)["statusCode"].as_u64()
    };
    assert_eq!(status(json!({})), Some(200));
    assert_eq!(status(json!({"Authorization": "Basic dTp4"})), Some(401));
    assert_eq!(status(json!({"X-Hub-Signature-256": format!("sha256={}", "0".repeat(64))})), Some(401));
    let (status, answer) = server.call("POST", &path, &json!({"sign": 1}));
    assert_eq!((status, &answer["message"]), (400, &json!("`sign` must be true or false")));
}

#[test]
fn templates_of_secrets_are_rendered_before_they_sign() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "basicAuthPassword": "{{globals.login}}", "signature": {"scheme": "stripe", "secret": "{{globals.key}}"},
    }));
    let path = format!("/applications/{}/webhooks/{}/test", hook.application, hook.id);
    let test = json!({"body": {"n": 1}, "sign": true});
    let (status, answer) = server.call("POST", &path, &test);
    assert_eq!(status, 400, "{answer}");
    assert!(answer["message"].as_str().expect("text").contains("renders empty"), "{answer}");
    let globals = json!([{"key": "login", "json": "\"é:1\""}, {"key": "key", "json": "\"k\""}]);
    server.done("PATCH", &format!("/applications/{}", hook.application), &json!({"globals": globals}));
    assert_eq!(server.done("POST", &path, &test)["statusCode"], 200);
}

#[test]
fn sendgrid_and_mailgun_are_held_to_their_signatures() {
    let server = Server::start(&[]);
    let (pair, public) = p256();
    let hook = server.webhook(json!({"signature": {"scheme": "sendgrid", "secret": [p256().1, public]}}));
    let body = br#"[{"event":"delivered"}]"#;
    let sign = |seconds: u64, body: &[u8]| {
        let text = [seconds.to_string().as_bytes(), body].concat();
        let tag = pair.sign(&SystemRandom::new(), &text).expect("a tag");
        BASE64_STANDARD.encode(tag.as_ref())
    };
    let post = |seconds: u64, tag: &str, body: &[u8]| {
        let seconds = seconds.to_string();
        let fields = [
            ("X-Twilio-Email-Event-Webhook-Timestamp", seconds.as_str()),
            ("X-Twilio-Email-Event-Webhook-Signature", tag),
        ];
        server.post(&hook, &fields, body).status
    };
    let now = unix_seconds();
    assert_eq!(post(now, &sign(now, body), body), 200);
    assert_eq!(post(now, &sign(now, body), b"[]"), 401);
    assert_eq!(post(now - 400, &sign(now - 400, body), body), 401);
    assert_eq!(post(now + 1, &sign(now, body), body), 401);
    assert_eq!(post(now, "AAAA", body), 401);

    let hook = server.webhook(json!({"signature": {"scheme": "mailgun", "secret": [SECRET, "k"]}}));
    let event = |key: &str, seconds: u64| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        let tag = hmac::sign(&key, format!("{seconds}tok").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"event-data": {}, "signature": {"timestamp": seconds.to_string(), "token": "tok", "signature": tag}})
    };
    for (body, status) in [
        (event("k", now), 200),
        (event(SECRET, now), 200),
        (event("x", now), 401),
        (event("k", now - 400), 401),
        (json!({}), 401),
        (json!([]), 401),
    ] {
        assert_eq!(server.post(&hook, &[], body.to_string().as_bytes()).status, status, "{body}");
    }
}

/// The command line, with something on standard input.
fn tidegate(server: &Server, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .args(["--server", &format!("http://{}", server.admin)])
        .env_clear()
        .env("TIDEGATE_ACCESS_TOKEN", ACCESS_TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // It may have no use for it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn created(server: &Server, arguments: &[&str], input: &str) -> (Value, String) {
    let output = tidegate(server, &[&["webhook", "create"], arguments].concat(), input);
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).expect("JSON"), said)
}

/// The value of the step that begins so.
fn step<'a>(created: &'a Value, text: &str) -> &'a str {
    let steps = created["atTheSender"].as_array().expect("a list");
    let step = steps.iter().find(|step| step["text"].as_str().is_some_and(|step| step.starts_with(text)));
    step.and_then(|step| step["value"].as_str()).unwrap_or_else(|| panic!("no {text} in {created}"))
}

#[test]
fn the_command_line_makes_a_webhook_of_a_preset_and_says_what_to_paste() {
    let server = Server::start(&[]);
    let listed = tidegate(&server, &["webhook", "presets"], "");
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert!(listed.lines().any(|line| line.starts_with("github ")), "{listed}");

    let (made, _) = created(&server, &["gh", "--preset", "github"], "");
    let secret = step(&made, "Secret");
    assert_eq!(secret.len(), 64);
    assert_eq!(made["signature"], json!({"scheme": "github", "secret": "***"}));
    let url = step(&made, "Payload URL");
    assert_eq!(
        url,
        format!("http://{}/webhooks/{}", server.ingress, made["token"].as_str().expect("a token"))
    );
    // The secret that was shown is the one that signs.
    let hook = Hook {
        id: made["id"].as_str().expect("an id").to_owned(),
        application: made["applicationId"].as_str().expect("an id").to_owned(),
        token: made["token"].as_str().expect("a token").to_owned(),
    };
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), b"{}");
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(server.post(&hook, &[("X-Hub-Signature-256", &format!("sha256={tag}"))], b"{}").status, 200);
    assert_eq!(server.post(&hook, &[], b"{}").status, 401);
    let shown = tidegate(&server, &["webhook", "show", "gh"], "");
    assert!(!String::from_utf8(shown.stdout).expect("text").contains(secret), "it is shown once");

    let (given, _) = created(&server, &["sl", "--preset", "slack", "--secret", "-"], "from-stdin\n");
    assert_eq!(given["signature"]["scheme"], "slack");
    assert!(!given.to_string().contains("from-stdin"));
    let (later, said) = created(&server, &["st", "--preset", "stripe", "--secret-later"], "");
    assert_eq!(later["signature"]["scheme"], "stripe");
    assert!(said.contains("tidegate webhook set \"st\" signature.secret="), "{said}");
    let (other, _) = created(
        &server,
        &["zo", "--preset", "zoom", "--set", "signature.secret=x", "--set", "enabled=false"],
        "",
    );
    assert_eq!((&other["enabled"], &other["signature"]["secret"]), (&json!(false), &json!("***")));
    let (sns, said) = created(&server, &["topic", "--preset", "sns"], "");
    assert!(step(&sns, "Endpoint").starts_with("http://sns:"), "{sns}");
    assert!(said.contains("is not checked"), "{said}");

    for (arguments, words) in [
        (&["a", "--preset", "nobody"][..], "they are: github, gitlab"),
        (&["a", "--preset", "stripe"], "--secret-later"),
        (&["a", "--preset", "discord", "--secret-later"], "Public Key"),
        (&["a", "--preset", "alexa", "--secret", "x"], "has none"),
        (&["a", "--preset", "discord", "--secret", "x"], "must be an Ed25519 public key"),
        (&["a", "--secret", "x"], "--preset"),
    ] {
        let output = tidegate(&server, &[&["webhook", "create"], arguments].concat(), "");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}

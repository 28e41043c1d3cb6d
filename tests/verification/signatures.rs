//! `signature` of a webhook: each scheme right, wrong, stale, replayed and rotated.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, Algorithm};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::{Hook, Response, Server, unix_seconds};

pub const SECRET: &str = "c2VjcmV0IG9mIHRoZSBzZW5kZXI=";
pub const OLD_SECRET: &str = "dGhlIG9sZCBzZWNyZXQ=";
const PUBLIC_URL: &str = "https://hooks.example.org/gate";
const SUCCESS: &str = r#"{"success":true}"#;
/// The window of the schemes that sign a time, in seconds.
const WINDOW: u64 = 300;

pub type Fields = Vec<(&'static str, String)>;

fn tag(algorithm: Algorithm, key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// What a sender of this scheme sends along with the body.
pub fn signed(scheme: &str, secret: &str, seconds: u64, body: &[u8]) -> Fields {
    let with_time = |text: String| [text.as_bytes(), body].concat();
    let secret_bytes = secret.as_bytes();
    match scheme {
        "standard-webhooks" => {
            let key = BASE64_STANDARD.decode(secret).expect("base64");
            let tag = tag(hmac::HMAC_SHA256, &key, &with_time(format!("msg_1.{seconds}.")));
            vec![
                ("webhook-id", "msg_1".to_owned()),
                ("webhook-timestamp", seconds.to_string()),
                ("webhook-signature", format!("v1,{}", base64(&tag))),
            ]
        }
        "github" | "meta" => {
            let tag = hex(&tag(hmac::HMAC_SHA256, secret_bytes, body));
            vec![("X-Hub-Signature-256", format!("sha256={tag}"))]
        }
        "stripe" => {
            let tag = hex(&tag(hmac::HMAC_SHA256, secret_bytes, &with_time(format!("{seconds}."))));
            vec![("Stripe-Signature", format!("t={seconds},v1={tag}"))]
        }
        "slack" => {
            let tag = hex(&tag(hmac::HMAC_SHA256, secret_bytes, &with_time(format!("v0:{seconds}:"))));
            vec![
                ("X-Slack-Request-Timestamp", seconds.to_string()),
                ("X-Slack-Signature", format!("v0={tag}")),
            ]
        }
        "zoom" => {
            let tag = hex(&tag(hmac::HMAC_SHA256, secret_bytes, &with_time(format!("v0:{seconds}:"))));
            vec![("x-zm-request-timestamp", seconds.to_string()), ("x-zm-signature", format!("v0={tag}"))]
        }
        "pagerduty" => {
            let tag = hex(&tag(hmac::HMAC_SHA256, secret_bytes, body));
            vec![("X-PagerDuty-Signature", format!("v1={},v1={tag}", "0".repeat(64)))]
        }
        "shopify" => {
            vec![("X-Shopify-Hmac-Sha256", base64(&tag(hmac::HMAC_SHA256, secret_bytes, body)))]
        }
        "fitbit" => {
            let key = [secret_bytes, b"&"].concat();
            vec![("X-Fitbit-Signature", base64(&tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key, body)))]
        }
        "hmac" => vec![("X-Sent-By", format!("v=1;{}", base64(&tag(hmac::HMAC_SHA512, secret_bytes, body))))],
        other => panic!("{other} is signed elsewhere"),
    }
}

/// All schemes that are about the body alone; Twilio's is about the URL too.
const SCHEMES: [&str; 10] = [
    "standard-webhooks",
    "github",
    "meta",
    "stripe",
    "slack",
    "shopify",
    "fitbit",
    "hmac",
    "zoom",
    "pagerduty",
];
/// Those of them that sign a time.
const TIMED: [&str; 4] = ["standard-webhooks", "stripe", "slack", "zoom"];

pub fn signature(scheme: &str, secret: Value) -> Value {
    let mut signature = json!({"scheme": scheme, "secret": secret});
    if scheme == "hmac" {
        for (name, value) in
            [("header", "x-sent-by"), ("algorithm", "sha512"), ("encoding", "base64"), ("prefix", "v=1;")]
        {
            signature[name] = json!(value);
        }
    }
    signature
}

pub fn post(server: &Server, hook: &Hook, fields: &Fields, body: &[u8]) -> Response {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server.post(hook, &fields, body)
}

#[test]
fn each_scheme_lets_its_senders_requests_through_and_no_other() {
    let server = Server::start(&[]);
    let body = br#"{"event":"paid"}"#;
    for scheme in SCHEMES {
        let hook = server.webhook(json!({"signature": signature(scheme, json!(SECRET))}));
        let now = unix_seconds();
        let good = signed(scheme, SECRET, now, body);
        let (_, triggers) = server.counted(|| {
            post(&server, &hook, &good, body).is(200, SUCCESS);
            // A replay within the time is let through: senders repeat what they think was lost.
            post(&server, &hook, &good, body).is(200, SUCCESS);
        });
        assert_eq!(triggers, 2, "{scheme}");

        let mut twice = good.clone();
        twice.push(good.last().expect("a field").clone());
        let none: Fields = good[..good.len() - 1].to_vec();
        let mut shorter = good.clone();
        let text = &mut shorter.last_mut().expect("a field").1;
        text.truncate(text.len() - 4);
        let (_, triggers) = server.counted(|| {
            for (what, fields, body) in [
                ("another secret", signed(scheme, OLD_SECRET, now, body), &body[..]),
                ("another body", good.clone(), br#"{"event":"paid" }"#),
                ("no body", good.clone(), b""),
                ("no signature", none, body),
                ("two signatures", twice, body),
                ("a shorter signature", shorter, body),
            ] {
                let answer = post(&server, &hook, &fields, body);
                assert_eq!(answer.status, 401, "{scheme}: {what}: {answer:?}");
                let error: Value = serde_json::from_slice(&answer.body).expect("JSON");
                assert!(error["error"].is_string(), "{scheme}: {what}");
                for secret in signed(scheme, SECRET, now, body).iter().map(|(_, value)| value) {
                    let expected = secret.rsplit(['=', ',', ';']).find(|part| part.len() > 20);
                    assert!(
                        !answer.text().contains(SECRET)
                            && expected.is_none_or(|expected| !answer.text().contains(expected)),
                        "{scheme}: {what}: {answer:?} shows what would be right"
                    );
                }
            }
        });
        assert_eq!(triggers, 0, "{scheme}");
    }
}

#[test]
fn a_time_that_was_signed_lies_within_five_minutes_of_now() {
    let server = Server::start(&[]);
    for scheme in TIMED {
        let hook = server.webhook(json!({"signature": signature(scheme, json!(SECRET))}));
        // The clock goes on while a request is on its way; a minute is more than it takes.
        for (offset, status) in [(-240, 200), (240, 200), (-301, 401), (361, 401), (-86_400, 401)] {
            let seconds = unix_seconds().saturating_add_signed(offset);
            let answer = post(&server, &hook, &signed(scheme, SECRET, seconds, b"{}"), b"{}");
            assert_eq!(answer.status, status, "{scheme}, {offset} s: {answer:?}");
        }
        let stale = signed(scheme, SECRET, unix_seconds() - WINDOW - 1, b"{}");
        assert!(post(&server, &hook, &stale, b"{}").text().contains("too old"), "{scheme}");
    }
}

#[test]
fn any_of_several_secrets_may_have_signed_and_one_that_was_taken_away_may_not() {
    let server = Server::start(&[]);
    for scheme in SCHEMES {
        let hook = server.webhook(json!({"signature": signature(scheme, json!([SECRET, OLD_SECRET]))}));
        for secret in [SECRET, OLD_SECRET] {
            let fields = signed(scheme, secret, unix_seconds(), b"{}");
            post(&server, &hook, &fields, b"{}").is(200, SUCCESS);
        }
        server.patch(&hook, &json!({"signature": signature(scheme, json!(["***"]))}));
        let status =
            |secret| post(&server, &hook, &signed(scheme, secret, unix_seconds(), b"{}"), b"{}").status;
        assert_eq!((status(SECRET), status(OLD_SECRET)), (200, 401), "{scheme}");
        server.patch(&hook, &json!({"signature": null}));
        server.post(&hook, &[], b"{}").is(200, SUCCESS);
    }
}

/// What Twilio sends for this URL and this form.
fn twilio(url: &str, sorted: &[(&str, &str)]) -> String {
    let pairs: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    base64(&tag(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes(), format!("{url}{pairs}").as_bytes()))
}

#[test]
fn twilio_signs_the_public_url_and_the_parameters() {
    let server = Server::start(&[("TIDEGATE_INGRESS_PUBLIC_URL", PUBLIC_URL)]);
    let hook = server.webhook(json!({"signature": signature("twilio", json!(SECRET))}));
    let url = format!("{PUBLIC_URL}/webhooks/{}", hook.token);
    let form = "application/x-www-form-urlencoded";
    let send = |more: &str, content_type: &str, tag: &str, body: &[u8]| {
        let fields = [("Content-Type", content_type), ("X-Twilio-Signature", tag)];
        server.send("POST", &hook, more, &fields, body).status
    };
    let pairs = [("Body", "a b&c"), ("From", "+41790000000")];
    let body = b"From=%2B41790000000&Body=a+b%26c";
    assert_eq!(send("/sms?x=1", form, &twilio(&format!("{url}/sms?x=1"), &pairs), body), 200);
    assert_eq!(send("", form, &twilio(&url, &pairs), body), 200);
    assert_eq!(send("", form, &twilio(&url.replace(".org", ".org:443"), &pairs), body), 200);
    let get = |tag: &str| server.send("GET", &hook, "?x=1", &[("X-Twilio-Signature", tag)], b"").status;
    assert_eq!(get(&twilio(&format!("{url}?x=1"), &[])), 200);
    assert_eq!(get(&twilio(&url, &[])), 401);
    let other = format!("http://localhost/webhooks/{}", hook.token);
    for (more, tag, body) in [
        ("", twilio(&other, &pairs), &body[..]),
        ("/other", twilio(&url, &pairs), body),
        ("", twilio(&url, &pairs), b"From=%2B41790000000&Body=a+b%26c&More=1"),
        ("", twilio(&url, &pairs[..1]), body),
    ] {
        assert_eq!(send(more, form, &tag, body), 401, "{more}");
    }
    // A body that is no form is covered by its hash in the URL, or not at all.
    let hash = hex(digest(&SHA256, b"{}").as_ref());
    let more = format!("?bodySHA256={hash}");
    let tag = twilio(&format!("{url}{more}"), &[]);
    assert_eq!(send(&more, "application/json", &tag, b"{}"), 200);
    assert_eq!(send(&more, "application/json", &tag, b"[]"), 401);
    assert_eq!(send("", "application/json", &twilio(&url, &[]), b"{}"), 401);
}

#[test]
fn twilio_signs_the_listeners_url_where_no_other_is_set() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": signature("twilio", json!(SECRET))}));
    let url = format!("http://{}/webhooks/{}", server.ingress, hook.token);
    let fields = [("X-Twilio-Signature", twilio(&url, &[]))];
    post(&server, &hook, &fields.to_vec(), b"").is(200, SUCCESS);
    post(&server, &hook, &fields.to_vec(), b"{}").refused(
        401,
        "X-Twilio-Signature does not cover the body: a form, or bodySHA256 in the URL is needed",
    );
}

#[test]
fn slacks_challenge_is_answered_once_its_signature_is_right() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": signature("slack", json!(SECRET)), "waitForReply": true}));
    let body = br#"{"token":"x","challenge":"3eZbrw1aBm2rZgRN","type":"url_verification"}"#;
    let (_, triggers) = server.counted(|| {
        let answer = post(&server, &hook, &signed("slack", SECRET, unix_seconds(), body), body);
        answer.is(200, "3eZbrw1aBm2rZgRN");
        assert_eq!(answer.field("content-type"), "text/plain");
        let wrong = post(&server, &hook, &signed("slack", OLD_SECRET, unix_seconds(), body), body);
        assert_eq!(wrong.status, 401);
        assert!(!wrong.text().contains("3eZbrw"), "{wrong:?}");
    });
    assert_eq!(triggers, 0);
    let event = br#"{"type":"event_callback","event":{"text":"url_verification"}}"#;
    post(&server, &hook, &signed("slack", SECRET, unix_seconds(), event), event).is(200, "seen");
}

#[test]
fn slacks_check_of_the_certificate_is_answered_without_a_signature() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": signature("slack", json!(SECRET))}));
    let form = vec![("Content-Type", "application/x-www-form-urlencoded".to_owned())];
    let (_, triggers) = server.counted(|| {
        post(&server, &hook, &form, b"ssl_check=1&token=x").is(200, "");
        // A signature that is sent is checked, and nothing else is let through.
        let wrong = signed("slack", OLD_SECRET, unix_seconds(), b"ssl_check=1");
        assert_eq!(post(&server, &hook, &wrong, b"ssl_check=1").status, 401);
        for body in [&b"ssl_check=0"[..], b"ssl_check=1&ssl_check=1", b"text=ssl_check", b"{\"ssl_check\":1}"]
        {
            assert_eq!(post(&server, &hook, &form, body).status, 401);
        }
    });
    assert_eq!(triggers, 0);
}

#[test]
fn zooms_validation_is_answered_by_the_secret_that_signed_it() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": signature("zoom", json!([SECRET, OLD_SECRET]))}));
    let body = br#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event":"endpoint.url_validation"}"#;
    let (_, triggers) = server.counted(|| {
        for secret in [SECRET, OLD_SECRET] {
            let encrypted = hex(&tag(hmac::HMAC_SHA256, secret.as_bytes(), b"qgg8vlvZRS6UYooatFL8Aw"));
            let answer = post(&server, &hook, &signed("zoom", secret, unix_seconds(), body), body);
            let expected =
                format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{encrypted}"}}"#);
            answer.is(200, &expected);
        }
        assert_eq!(post(&server, &hook, &signed("zoom", "another", unix_seconds(), body), body).status, 401);
    });
    assert_eq!(triggers, 0);
}

#[test]
fn discords_ping_is_answered_once_its_signature_is_right() {
    let keys = Ed25519KeyPair::generate().expect("a key pair");
    let public = hex(keys.public_key().as_ref());
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": {"scheme": "discord", "secret": public}}));
    let signed = |seconds: u64, body: &[u8]| -> Fields {
        let text = [seconds.to_string().as_bytes(), body].concat();
        vec![
            ("X-Signature-Timestamp", seconds.to_string()),
            ("X-Signature-Ed25519", hex(keys.sign(&text).as_ref())),
        ]
    };
    let now = unix_seconds();
    let (ping, call) = (&br#"{"id":"1","type":1}"#[..], &br#"{"id":"2","type":2}"#[..]);
    let (_, triggers) = server.counted(|| {
        post(&server, &hook, &signed(now, ping), ping).is(200, r#"{"type":1}"#);
        // Discord itself sends wrong signatures, to see that they are refused.
        assert_eq!(post(&server, &hook, &signed(now, call), ping).status, 401);
        assert_eq!(post(&server, &hook, &signed(now - WINDOW - 10, ping), ping).status, 401);
        assert_eq!(post(&server, &hook, &vec![], ping).status, 401);
        post(&server, &hook, &signed(now, call), call).is(200, SUCCESS);
    });
    assert_eq!(triggers, 1);
    let (status, error) = server.call(
        "POST",
        &format!("/applications/{}/webhooks", hook.application),
        &json!({"name": "n", "signature": {"scheme": "discord", "secret": "x"}}),
    );
    assert_eq!(status, 400, "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Ed25519 public key")), "{error}");
}

#[test]
fn a_handshake_carries_no_signature_and_what_follows_does() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({
        "verificationType": "facebook", "verificationCode": "code",
        "signature": signature("meta", json!(SECRET)),
    }));
    server.get(&hook, "?hub.mode=subscribe&hub.verify_token=code&hub.challenge=5").is(200, "5");
    server.get(&hook, "?hub.mode=other").refused(401, "X-Hub-Signature-256 is missing");
    post(&server, &hook, &signed("meta", SECRET, 0, b"{}"), b"{}").is(200, SUCCESS);
}

#[test]
fn the_signature_is_over_the_bytes_as_they_came() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({"signature": signature("github", json!(SECRET))}));
    let packed = crate::payloads::gzip(b"{\"a\":1}");
    let mut fields = signed("github", SECRET, 0, &packed);
    fields.push(("Content-Encoding", "gzip".to_owned()));
    post(&server, &hook, &fields, &packed).is(200, SUCCESS);
    let mut fields = signed("github", SECRET, 0, b"{\"a\":1}");
    fields.push(("Content-Encoding", "gzip".to_owned()));
    assert_eq!(post(&server, &hook, &fields, &packed).status, 401);
    // An unsigned body is not worth unpacking.
    let unsigned = server.post(&hook, &[("Content-Encoding", "compress")], b"{}");
    assert_eq!(unsigned.status, 401, "{unsigned:?}");
}

#[test]
fn a_signature_that_could_never_match_is_refused_when_it_is_saved() {
    let server = Server::start(&[]);
    let hook = server.webhook(json!({}));
    let path = format!("/applications/{}/webhooks", hook.application);
    for (fields, named) in [
        (
            json!({"name": "x", "signature": signature("standard-webhooks", json!("no base64!"))}),
            "signature.secret",
        ),
        (
            json!({"name": "x", "signature": signature("standard-webhooks", json!([SECRET, "?"]))}),
            "signature.secret",
        ),
        (json!({"name": "x", "signature": signature("github", json!(""))}), "signature.secret"),
        (
            json!({"name": "x", "signature": signature("github", json!("x")), "isWebsocket": true}),
            "signature",
        ),
    ] {
        let (status, error) = server.call("POST", &path, &fields);
        assert_eq!((status, &error["type"]), (400, &json!("Validation")), "{fields}: {error}");
        assert!(error["message"].as_str().expect("text").contains(named), "{fields}: {error}");
    }
    let shown =
        server.done("POST", &path, &json!({"name": "x", "signature": signature("github", json!(SECRET))}));
    assert_eq!(shown["signature"]["secret"], json!("***"));
}

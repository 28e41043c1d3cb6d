//! `auth` of the type `jwt`: JSON Web Tokens, with fixed keys and with those of a URL.

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::common::{Hook, Response, Server, Wire, request};
use crate::jwks_server::{Behaviour, KeyServer};
use crate::sockets::{Socket, upgrade};
use crate::{echo, refused, server};

const UNAUTHORIZED: &str = r#"{"error":"Unauthorized"}"#;
const UNAVAILABLE: &str = r#"{"error":"The keys of the token's issuer cannot be had, try again"}"#;

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token, signed by `sign`.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    let signature = sign(text.as_bytes());
    format!("{text}.{}", encoded(signature))
}

fn with_secret(secret: &str, header: &Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    token(header, claims, |text| hmac::sign(&key, text).as_ref().to_vec())
}

fn hs256(secret: &str, claims: &Value) -> String {
    with_secret(secret, &json!({"alg": "HS256", "typ": "JWT"}), claims)
}

/// A key pair on P-256 with a name.
pub struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn new(id: &'static str) -> Signer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random numbers");
        Signer { id, pair }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.id), claims)
    }

    fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": "ES256"});
        if let Some(id) = id {
            header["kid"] = json!(id);
        }
        token(&header, claims, |text| {
            self.pair.sign(&rand::SystemRandom::new(), text).expect("it signs").as_ref().to_vec()
        })
    }

    /// Its public key as a member of a key set.
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
    }

    /// Its public key in PEM: SEC 1's point behind the prefix of RFC 5480.
    fn pem(&self) -> String {
        const PREFIX: [u8; 26] = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let der = [&PREFIX[..], self.pair.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(der))
    }
}

fn call(server: &Server, hook: &Hook, token: &str) -> Response {
    let bearer = format!("Bearer {token}");
    let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", &bearer)] };
    server.wire().ask(request("POST", &hook.target(""), headers, b"{}"))
}

fn status(server: &Server, hook: &Hook, token: &str) -> u16 {
    call(server, hook, token).status
}

#[test]
fn a_token_of_a_secret_lets_in_and_its_claims_are_in_the_payload() {
    let server = server(2);
    let auth = json!({"type": "jwt", "secret": ["{{globals.secret}}", "old"]});
    let hook =
        echo(&server, json!({"auth": auth}), "{{{jsonEncode data.claims}}}|{{data.headers.authorization}}");
    let application = format!("/applications/{}", hook.application);
    server.done("PATCH", &application, &json!({"globals": [{"key": "secret", "json": "\"new\""}]}));
    let claims = json!({"sub": "device-1", "n": 1.50, "exp": now() + 60});
    for secret in ["new", "old"] {
        call(&server, &hook, &hs256(secret, &claims)).is(200, &format!("{claims}|"));
    }
    // The scheme in any case; the claims as they came.
    let wire = |authorization: &str| {
        server.wire().ask(request("POST", &hook.target(""), &[("authorization", authorization)], b""))
    };
    assert_eq!(wire(&format!("bEARER  {}", hs256("old", &claims))).status, 200);
    let exact = br#"{ "big" : 12345678901234567890.10, "half": "\ud83d" }"#;
    let text = format!("{}.{}", encoded(br#"{"alg":"HS256"}"#), encoded(exact));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"old"), text.as_bytes());
    call(&server, &hook, &format!("{text}.{}", encoded(tag)))
        .is(200, "{ \"big\" : 12345678901234567890.10, \"half\": \"\\ufffd\" }|");
    let good = hs256("old", &claims);
    let cut = &good[..good.len() - 1];
    for wrong in
        ["", "x", "a.b.c", "..", cut, &format!("{good}A"), &hs256("other", &claims), &hs256("", &claims)]
    {
        let response = call(&server, &hook, wrong);
        response.is(401, UNAUTHORIZED);
        assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"webhook\""), "{wrong}");
    }
    for wrong in [format!("Basic {good}"), format!("Bearer{good}"), good.clone()] {
        assert_eq!(wire(&wrong).status, 401, "{wrong}");
    }
    let twice = [("Authorization", &*format!("Bearer {good}")), ("Authorization", "Bearer x")];
    assert_eq!(server.wire().ask(request("POST", &hook.target(""), &twice, b"")).status, 401);
    // Another secret, on an open connection; one that renders empty lets nobody in.
    let mut open = server.wire();
    let bearer = format!("Bearer {}", hs256("new", &claims));
    let new = request("POST", &hook.target(""), &[("Authorization", bearer.as_str())], b"");
    assert_eq!(open.ask(&new).status, 200);
    server.done("PATCH", &application, &json!({"globals": []}));
    assert_eq!(open.ask(&new).status, 401);
    assert_eq!(status(&server, &hook, &hs256("", &claims)), 401);
}

#[test]
fn an_algorithm_that_is_not_listed_is_never_accepted() {
    let server = server(1);
    let signer = Signer::new("k");
    let hook = server.webhook(json!({"auth": {"type": "jwt", "key": signer.pem()}}));
    let claims = json!({"sub": "x"});
    assert_eq!(status(&server, &hook, &signer.sign(&claims)), 200);
    // Signed by nobody, in every spelling.
    for none in ["none", "None", "NONE", "nOnE", ""] {
        for signature in ["", "AA"] {
            let header = encoded(json!({"alg": none}).to_string());
            let unsigned = format!("{header}.{}.{signature}", encoded(claims.to_string()));
            assert_eq!(status(&server, &hook, &unsigned), 401, "{none} {signature}");
        }
    }
    // The public key, taken for a secret (CVE-2015-9235).
    for secret in [signer.pem(), signer.pem().trim_end().to_owned()] {
        assert_eq!(status(&server, &hook, &hs256(&secret, &claims)), 401);
    }
    // A header that brings its own key, or asks for what nobody understands.
    let other = Signer::new("other");
    let sign = |header: Value| {
        token(&header, &claims, |text| {
            other.pair.sign(&rand::SystemRandom::new(), text).expect("it signs").as_ref().to_vec()
        })
    };
    assert_eq!(status(&server, &hook, &sign(json!({"alg": "ES256", "jwk": other.jwk()}))), 401);
    assert_eq!(status(&server, &hook, &sign(json!({"alg": "ES256", "jku": "http://127.0.0.1/"}))), 401);
    let critical = json!({"alg": "ES256", "crit": ["exp"], "exp": 1});
    let signed = token(&critical, &claims, |text| {
        signer.pair.sign(&rand::SystemRandom::new(), text).expect("it signs").as_ref().to_vec()
    });
    assert_eq!(status(&server, &hook, &signed), 401);
    // Only what is listed.
    server.patch(
        &hook,
        &json!({"auth": {"type": "jwt", "key": signer.pem(), "algorithms": ["RS256", "EdDSA"]}}),
    );
    assert_eq!(status(&server, &hook, &signer.sign(&claims)), 401);
}

#[test]
fn an_ed25519_key_verifies_too() {
    let server = server(1);
    let pair = Ed25519KeyPair::generate().expect("random numbers");
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = BASE64_STANDARD.encode([&PREFIX[..], pair.public_key().as_ref()].concat());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    let hook = server.webhook(json!({"auth": {"type": "jwt", "key": [Signer::new("p").pem(), pem]}}));
    let signed = token(&json!({"alg": "EdDSA"}), &json!({}), |text| pair.sign(text).as_ref().to_vec());
    assert_eq!(status(&server, &hook, &signed), 200);
}

#[test]
fn times_issuer_and_audience_are_held_against_the_claims() {
    let server = server(1);
    let auth = json!({"type": "jwt", "secret": "s", "issuer": ["https://a.example", "b"], "audience": "me",
        "leewaySeconds": 10});
    let hook = server.webhook(json!({"auth": auth}));
    assert_eq!(server.done("GET", &hook.resource(""), &Value::Null)["auth"]["issuer"], auth["issuer"]);
    let good = json!({"iss": "b", "aud": "me"});
    let with = |fields: &[(&str, Value)]| {
        let mut claims = good.clone();
        for (name, value) in fields {
            claims[*name] = value.clone();
        }
        status(&server, &hook, &hs256("s", &claims))
    };
    assert_eq!(with(&[]), 200);
    for (name, value, expected) in [
        ("iss", json!("https://a.example"), 200),
        ("iss", json!("c"), 401),
        ("iss", json!(null), 401),
        ("iss", json!(7), 401),
        ("aud", json!(["you", "me"]), 200),
        ("aud", json!(["you"]), 401),
        ("aud", json!("Me"), 401),
        ("aud", json!(null), 401),
        ("exp", json!(now() + 100), 200),
        ("exp", json!(now() as f64 + 100.5), 200),
        ("exp", json!(now() - 5), 200),
        ("exp", json!(now() - 15), 401),
        ("exp", json!(0), 401),
        ("exp", json!((now() + 100).to_string()), 401),
        ("exp", json!(null), 401),
        ("exp", json!(-1e300), 401),
        ("nbf", json!(now() - 100), 200),
        ("nbf", json!(now() + 5), 200),
        ("nbf", json!(now() + 20), 401),
        ("nbf", json!("soon"), 401),
    ] {
        assert_eq!(with(&[(name, value.clone())]), expected, "{name} {value}");
    }
    for claims in [json!([]), json!("x"), json!(7)] {
        assert_eq!(status(&server, &hook, &hs256("s", &claims)), 401, "{claims}");
    }
    // Whom it does not say, it does not ask.
    server.patch(&hook, &json!({"auth": {"type": "jwt", "secret": "s"}}));
    assert_eq!(status(&server, &hook, &hs256("s", &json!({"iss": "x", "aud": "y"}))), 200);
}

#[test]
fn keys_of_a_url_are_fetched_when_a_token_needs_them_and_again_when_they_rotate() {
    for cores in [1, 2] {
        let keys = KeyServer::start();
        let server = server(cores);
        let (first, second) = (Signer::new("first"), Signer::new("second"));
        keys.set(Behaviour::Keys(vec![first.jwk()]));
        let auth = json!({"type": "jwt", "jwksUrl": keys.url()});
        let hook = echo(&server, json!({"auth": auth}), "{{data.claims.sub}}");
        // Garbage is refused before anything is asked.
        for wrong in ["", "x", "a.b.c", &hs256("s", &json!({}))] {
            assert_eq!(status(&server, &hook, wrong), 401, "{wrong}");
        }
        assert_eq!(keys.asked(), 0);
        for _ in 0..5 * cores {
            call(&server, &hook, &first.sign(&json!({"sub": "one"}))).is(200, "one");
        }
        assert_eq!(keys.asked(), 1, "all cores share one fetch");
        // A token without a name for its key, and one with a wrong name.
        call(&server, &hook, &first.sign_as(None, &json!({"sub": "two"}))).is(200, "two");
        assert_eq!(status(&server, &hook, &second.sign_as(Some("first"), &json!({}))), 401);
        // Within a minute of the last fetch an unknown key is unknown.
        keys.set(Behaviour::Keys(vec![second.jwk()]));
        for _ in 0..3 {
            assert_eq!(status(&server, &hook, &second.sign(&json!({}))), 401);
        }
        assert_eq!(keys.asked(), 1);
    }
}

#[test]
fn a_server_of_keys_that_hangs_holds_up_nobody_else() {
    let keys = KeyServer::start();
    let server = server(1);
    let signer = Signer::new("k");
    keys.set(Behaviour::Hang);
    let hook = server.webhook(json!({"auth": {"type": "jwt", "jwksUrl": keys.url()}}));
    let other = server.webhook(json!({}));
    let bearer = format!("Bearer {}", signer.sign(&json!({})));
    let mut waiting = server.wire();
    // One that is pipelined behind it waits for its turn.
    let post = request("POST", &hook.target(""), &[("Authorization", bearer.as_str())], b"{}");
    waiting.send([post.clone(), other.get()].concat());
    // So does one whose body is not there yet, and one that goes away.
    let mut slow = server.wire();
    slow.send(&post[..post.len() - 1]);
    let gone = server.wire();
    { gone }.send(&post).is_readable();
    let mut upgrading = server.wire();
    let socket = server.webhook(json!({"isWebsocket": true, "auth": {"type": "jwt", "jwksUrl": keys.url()}}));
    upgrading.send(upgrade(&socket.target(""), &[("Authorization", bearer.as_str())]));
    for _ in 0..20 {
        assert_eq!(server.wire().ask(other.get()).status, 200);
    }
    assert!(!waiting.is_readable());
    let refused = waiting.response();
    refused.is(503, UNAVAILABLE);
    assert!(refused.header("retry-after").is_some());
    slow.response().is(503, UNAVAILABLE);
    upgrading.response().is(503, UNAVAILABLE);
    // It recovers by itself.
    keys.set(Behaviour::Keys(vec![signer.jwk()]));
    crate::common::eventually("the keys are there", || {
        std::thread::sleep(Duration::from_millis(200));
        (status(&server, &hook, &signer.sign(&json!({}))) == 200).then_some(())
    });
}

#[test]
fn a_server_of_keys_that_lies_lets_nobody_in() {
    let signer = Signer::new("k");
    let secret = json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": encoded("s")});
    let mut encryption = signer.jwk();
    encryption["use"] = json!("enc");
    let mut other_algorithm = signer.jwk();
    other_algorithm["alg"] = json!("ES384");
    let mut broken = signer.jwk();
    broken["x"] = json!("AAAA");
    for behaviour in [
        Behaviour::Raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html".to_owned()),
        Behaviour::Raw("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned()),
        Behaviour::Raw("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned()),
        Behaviour::Raw("garbage\r\n\r\n".to_owned()),
        Behaviour::Raw(String::new()),
        Behaviour::Endless,
        Behaviour::Keys(Vec::new()),
        Behaviour::Keys(vec![json!("key"), json!({"kty": "EC"}), json!(7)]),
        Behaviour::Keys(vec![secret]),
        Behaviour::Keys(vec![encryption]),
        Behaviour::Keys(vec![other_algorithm]),
        Behaviour::Keys(vec![broken]),
    ] {
        let keys = KeyServer::start();
        let server = server(1);
        let said = format!("{behaviour:?}");
        keys.set(behaviour);
        let hook = server.webhook(json!({"auth": {"type": "jwt", "jwksUrl": keys.url()}}));
        for token in
            [signer.sign(&json!({})), with_secret("s", &json!({"alg": "HS256", "kid": "k"}), &json!({}))]
        {
            let status = status(&server, &hook, &token);
            assert!([401, 503].contains(&status), "{status} {said}");
        }
    }
    // A key that cannot be read leaves the others.
    let keys = KeyServer::start();
    let server = server(1);
    keys.set(Behaviour::Keys(vec![json!({"kty": "XX", "kid": "k"}), signer.jwk()]));
    let hook = server.webhook(json!({"auth": {"type": "jwt", "jwksUrl": keys.url()}}));
    assert_eq!(status(&server, &hook, &signer.sign(&json!({}))), 200);
}

#[test]
fn keys_over_tls_are_taken_where_the_server_has_a_root_that_is_known() {
    let signer = Signer::new("k");
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let elsewhere = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, own.cert.pem() + &elsewhere.cert.pem()).expect("a file");
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_FORWARD_ROOTS", roots.display());
    });
    for (key, wanted) in [(&own, 200), (&other, 503), (&elsewhere, 503)] {
        let keys = KeyServer::with_tls(key);
        keys.set(Behaviour::Keys(vec![signer.jwk()]));
        let hook = server.webhook(json!({"auth": {"type": "jwt", "jwksUrl": keys.url()}}));
        assert_eq!(status(&server, &hook, &signer.sign(&json!({}))), wanted);
        assert_eq!(keys.asked(), 1);
    }
    assert!(server.log().contains("TLS with its server failed"), "{}", server.log());
}

#[test]
fn a_changed_source_of_keys_counts_for_connections_that_are_open() {
    for cores in [1, 2] {
        let server = server(cores);
        let (first, second) = (Signer::new("k"), Signer::new("k"));
        let sources = [&first, &second].map(|signer| {
            let keys = KeyServer::start();
            keys.set(Behaviour::Keys(vec![signer.jwk()]));
            keys
        });
        let auth = |keys: &KeyServer| json!({"auth": {"type": "jwt", "jwksUrl": keys.url()}});
        let hook = server.webhook(auth(&sources[0]));
        let mut open: Vec<Wire> = (0..2 * cores).map(|_| server.wire()).collect();
        let post = |signer: &Signer| {
            let bearer = format!("Bearer {}", signer.sign(&json!({})));
            request("POST", &hook.target(""), &[("Authorization", bearer.as_str())], b"{}")
        };
        for (source, right, wrong) in [(0, &first, &second), (1, &second, &first), (0, &first, &second)] {
            server.patch(&hook, &auth(&sources[source]));
            for wire in &mut open {
                assert_eq!(wire.ask(post(right)).status, 200, "{source}");
                assert_eq!(wire.ask(post(wrong)).status, 401, "{source}");
            }
        }
        server.patch(&hook, &json!({"auth": null}));
        open.iter_mut().for_each(|wire| assert_eq!(wire.ask(hook.get()).status, 200));
    }
}

#[test]
fn a_websocket_opens_with_a_token_and_has_its_claims() {
    for cores in [1, 2] {
        let keys = KeyServer::start();
        let server = server(cores);
        let signer = Signer::new("k");
        keys.set(Behaviour::Keys(vec![signer.jwk()]));
        let hook =
            server.webhook(json!({"isWebsocket": true, "auth": {"type": "jwt", "jwksUrl": keys.url()}}));
        server.flow(
            &hook,
            json!([{"type": "WebhookReplyNode", "config": {"isWebsocketMessage": true,
            "bodyTemplate": "{{data.type}} {{data.claims.sub}} {{data.headers.authorization}}"}}]),
        );
        let bearer = format!("Bearer {}", signer.sign(&json!({"sub": "me"})));
        let headers = [("Authorization", bearer.as_str())];
        let mut socket = Socket::open_with(server.ingress, &hook.target(""), &headers);
        assert_eq!(socket.text(), "connect me ");
        socket.say("hello");
        assert_eq!(socket.text(), "message me ");
        server
            .wire()
            .ask(upgrade(&hook.target(""), &[("Authorization", "Bearer x.y.z")]))
            .is(401, UNAUTHORIZED);
        server.patch(&hook, &json!({"auth": {"type": "jwt", "secret": "s"}}));
        assert_eq!(socket.closed(), (1008, "Webhook credentials changed".to_owned()));
    }
}

#[test]
fn what_a_jwt_must_be_is_said_when_it_is_saved() {
    let server = server(1);
    let hook = server.webhook(json!({"auth": {"type": "jwt", "secret": "s"}}));
    let shown = server.done("GET", &hook.resource(""), &Value::Null);
    let expected = json!({"type": "jwt", "algorithms": ["HS256"], "secret": "***", "leewaySeconds": 60});
    assert_eq!(shown["auth"], expected);
    server.patch(&hook, &json!({"auth": shown["auth"]}));
    assert_eq!(status(&server, &hook, &hs256("s", &json!({}))), 200);
    let pem = Signer::new("k").pem();
    for (fields, field) in [
        (json!({}), "`auth.secret` or key or jwksUrl is required"),
        (json!({"secret": "s", "key": pem}), "`auth.secret` or key or jwksUrl is required"),
        (json!({"secret": ""}), "`auth.secret` must be"),
        (json!({"secret": "{{"}), "`auth.secret` must be a template"),
        (json!({"secret": "s", "algorithms": ["none"]}), "`auth.algorithms` must be a list of some of"),
        (json!({"secret": "s", "algorithms": []}), "`auth.algorithms` must be a list of some of"),
        (json!({"secret": "s", "algorithms": ["RS256"]}), "`auth.algorithms` must be HS256"),
        (json!({"key": pem, "algorithms": ["ES256", "HS256"]}), "`auth.algorithms` must be HS256"),
        (json!({"key": "no key"}), "`auth.key` must be a public key"),
        (json!({"jwksUrl": "http://example.org/keys"}), "`auth.jwksUrl` must be an https URL"),
        (json!({"jwksUrl": "ftp://example.org/keys"}), "`auth.jwksUrl` must be an https URL"),
        (json!({"jwksUrl": "https://u:p@example.org/keys"}), "`auth.jwksUrl` must be an https URL"),
        (json!({"jwksUrl": "/keys"}), "`auth.jwksUrl` must be an https URL"),
        (json!({"secret": "s", "issuer": []}), "`auth.issuer` must be"),
        (json!({"secret": "s", "audience": 7}), "`auth.audience` must be"),
        (json!({"secret": "s", "leewaySeconds": 3601}), "`auth.leewaySeconds` must be"),
        (json!({"secret": "s", "name": "x"}), "`auth.name` is not a field"),
    ] {
        let mut auth = fields.clone();
        auth["type"] = json!("jwt");
        let message = refused(&server, &hook, &json!({"auth": auth}));
        assert!(message.starts_with(field), "{fields}: {message}");
    }
    let message = refused(&server, &hook, &json!({"basicAuthUsername": "u"}));
    assert!(message.starts_with("`auth` must not read the header Authorization"), "{message}");
}

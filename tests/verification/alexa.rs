//! Alexa's requests, with chains of the test's own authority from an HTTPS server of its own.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::alexa_server::{Act, Authority, Chains, HOST, NOW, SUBJECT, rsa_key, sign};
use crate::harness::{Hook, PATIENCE, Response, Server, connect, request, response, unix_seconds};

const PATH: &str = "/echo.api/echo-api-cert.pem";
const SUCCESS: &str = r#"{"success":true}"#;
/// How long a chain lasts that ends during a test.
const CHAIN_SECONDS: u64 = 4;
/// Requests at once on a cold cache.
const MANY: usize = 200;

/// Everything that one of these tests needs.
struct World {
    server: Server,
    hook: Hook,
    chains: Chains,
    authority: Authority,
    key: KeyPair,
    _roots: TempDir,
}

impl World {
    fn new() -> World {
        World::with(HOST, &[])
    }

    /// The server of chains has a certificate for `name`.
    fn with(name: &str, variables: &[(&str, &str)]) -> World {
        let authority = Authority::new();
        let chains = Chains::start(&authority, name);
        let roots = tempfile::tempdir().expect("a folder");
        let file = roots.path().join("roots.pem");
        std::fs::write(&file, &authority.root_pem).expect("a file");
        let file = file.to_str().expect("a path of text");
        let address = chains.address.to_string();
        let own = [("TIDEGATE_ALEXA_ROOTS", file), ("TIDEGATE_ALEXA_CONNECT_TO", &address)];
        let server = Server::start(&[&own[..], variables].concat());
        let hook = server.webhook(json!({"verificationType": "alexa"}));
        let key = rsa_key();
        chains.put(PATH, Act::Body(authority.chain(&key, SUBJECT, NOW)));
        World { server, hook, chains, authority, key, _roots: roots }
    }

    /// A request that Amazon could have sent, with the chain at this path.
    fn send_from(&self, path: &str, body: &str) -> Response {
        let url = format!("https://{HOST}{path}");
        let signature = sign(&self.key, body.as_bytes());
        let fields = [("SignatureCertChainUrl", url.as_str()), ("Signature-256", &signature)];
        self.server.post(&self.hook, &fields, body.as_bytes())
    }

    fn send(&self, body: &str) -> Response {
        self.send_from(PATH, body)
    }

    /// Puts a chain under a path that nobody asked for yet, and sends a request with it.
    fn send_with_chain(&self, path: &str, chain: String) -> Response {
        self.chains.put(path, Act::Body(chain));
        self.send_from(path, &body_at(0, "LaunchRequest"))
    }
}

/// A body that was made this many seconds from now.
fn body_at(offset: i64, kind: &str) -> String {
    let mut time = Vec::new();
    tidegate::base::text::write_time(&mut time, unix_seconds().saturating_add_signed(offset) * 1000);
    let time = String::from_utf8(time).expect("ASCII");
    json!({"version": "1.0", "request": {"type": kind, "timestamp": time}}).to_string()
}

fn body() -> String {
    body_at(0, "LaunchRequest")
}

#[test]
fn a_request_that_amazons_leaf_signed_triggers_and_its_chain_is_fetched_once() {
    let world = World::new();
    let (_, triggers) = world.server.counted(|| {
        for _ in 0..3 {
            world.send(&body()).is(200, SUCCESS);
        }
        // The same chain, written otherwise.
        world.send_from("/echo.api/x/../echo-api-cert.pem", &body()).is(200, SUCCESS);
    });
    assert_eq!(triggers, 4);
    assert_eq!(world.chains.all_fetches(), 1);
    world.server.patch(&world.hook, &json!({"waitForReply": true}));
    world.send(&body()).is(200, "seen");
}

#[test]
fn a_chain_that_ends_while_it_is_known_is_fetched_anew() {
    let world = World::new();
    let ends = unix_seconds() + CHAIN_SECONDS;
    world.chains.put(PATH, Act::Body(world.authority.chain_until(&world.key, SUBJECT, ends)));
    world.send(&body()).is(200, SUCCESS);
    world.chains.put(PATH, Act::Body(world.authority.chain(&world.key, SUBJECT, NOW)));
    let begun = Instant::now();
    while world.chains.all_fetches() == 1 {
        world.send(&body()).is(200, SUCCESS);
        assert!(begun.elapsed() < PATIENCE, "a chain that has ended is used");
    }
    assert!(unix_seconds() > ends);
    world.send(&body()).is(200, SUCCESS);
    assert_eq!(world.chains.all_fetches(), 2);
}

#[test]
fn a_reply_is_waited_for_after_the_chain_and_responses_stay_in_order() {
    for driver in ["auto", "epoll"] {
        wait_for_chain_and_reply(&World::with(HOST, &[("TIDEGATE_DRIVER", driver)]));
    }
}

fn wait_for_chain_and_reply(world: &World) {
    world.server.patch(&world.hook, &json!({"waitForReply": true}));
    let body = body();
    let (signature, url) = (sign(&world.key, body.as_bytes()), format!("https://{HOST}{PATH}"));
    let fields = [("SignatureCertChainUrl", url.as_str()), ("Signature-256", &signature)];
    let target = format!("/webhooks/{}", world.hook.token);
    let first = String::from_utf8(request("POST", &target, &fields, body.as_bytes())).expect("text");
    let first = first.replace("Connection: close\r\n", "");
    let mut stream = connect(world.server.ingress);
    let second = request("GET", "/healthz", &[], b"");
    stream.write_all(&[first.as_bytes(), &second].concat()).expect("the server takes it");
    let both = response(&mut stream);
    assert_eq!(both.status, 200);
    let rest = both.text();
    assert!(rest.starts_with("seenHTTP/1.1 200 OK\r\n") && rest.ends_with(r#"{"status":"ok"}"#), "{rest}");
}

#[test]
fn a_request_that_breaks_a_rule_is_told_which() {
    let world = World::new();
    world.send(&body()).is(200, SUCCESS);
    let body = body();
    let url = format!("https://{HOST}{PATH}");
    let url = ("SignatureCertChainUrl", url.as_str());
    let good = sign(&world.key, body.as_bytes());
    let other = sign(&rsa_key(), body.as_bytes());
    let good = ("Signature-256", good.as_str());
    let (_, triggers) = world.server.counted(|| {
        for (fields, reason) in [
            (vec![], "SignatureCertChainUrl header is missing"),
            (vec![good], "SignatureCertChainUrl header is missing"),
            (vec![url, url, good], "SignatureCertChainUrl header is there more than once"),
            (vec![url], "Signature header is missing"),
            (vec![url, good, good], "Signature-256 header is there more than once"),
            (vec![url, ("Signature-256", "?")], "Signature-256 must be base64"),
            (vec![url, ("Signature-256", other.as_str())], "Signature-256 does not match the body"),
            // A signature of SHA-256 is none of SHA-1.
            (vec![url, ("Signature", good.1)], "Signature does not match the body"),
            // Signature-256 decides where both are sent.
            (
                vec![url, ("Signature", good.1), ("Signature-256", other.as_str())],
                "Signature-256 does not match the body",
            ),
        ] {
            world.server.post(&world.hook, &fields, body.as_bytes()).refused(400, reason);
        }
        let tampered = body.replace("LaunchRequest", "IntentRequest");
        world
            .server
            .post(&world.hook, &[url, good], tampered.as_bytes())
            .refused(400, "Signature-256 does not match the body");
        for body in ["", "{}", "[]", "request"] {
            world.send(body).refused(400, "the body must be JSON with one request object");
        }
        world.server.get(&world.hook, "").refused(400, "SignatureCertChainUrl header is missing");
    });
    assert_eq!(triggers, 0);
}

#[test]
fn each_chain_that_is_not_amazons_is_refused_for_what_is_wrong_with_it() {
    let world = World::new();
    let (authority, key) = (&world.authority, &world.key);
    let stranger = Authority::new();
    let elliptic = KeyPair::generate().expect("a key");
    let (_, triggers) = world.server.counted(|| {
        for (name, chain, wrong) in [
            ("expired", authority.chain(key, SUBJECT, (2001, 2002)), "has expired"),
            ("future", authority.chain(key, SUBJECT, (2089, 2090)), "is not valid yet"),
            (
                "name",
                authority.chain(key, "echo-api.amazon.com.example.org", NOW),
                "has a leaf without the name echo-api.amazon.com",
            ),
            (
                "wildcard",
                authority.chain(key, "*.amazon.com", NOW),
                "has a leaf without the name echo-api.amazon.com",
            ),
            ("stranger", stranger.chain(key, SUBJECT, NOW), "does not lead to a trusted root"),
            ("alone", authority.leaf(key, SUBJECT, NOW), "does not lead to a trusted root"),
            (
                "other-intermediate",
                authority.leaf(key, SUBJECT, NOW) + &stranger.intermediate_pem,
                "does not lead to a trusted root",
            ),
            ("elliptic", authority.chain(&elliptic, SUBJECT, NOW), "has a leaf without an RSA key"),
            ("text", "no certificate".to_owned(), "is not certificates in PEM"),
            ("empty", String::new(), "is not certificates in PEM"),
        ] {
            let answer = world.send_with_chain(&format!("/echo.api/{name}.pem"), chain);
            answer.refused(400, &format!("the certificate chain {wrong}"));
        }
    });
    assert_eq!(triggers, 0);
    world.send(&body()).is(200, SUCCESS);
}

#[test]
fn each_url_that_breaks_a_rule_is_refused_without_a_fetch() {
    let world = World::new();
    let body = body();
    let signature = sign(&world.key, body.as_bytes());
    for (url, rule) in [
        ("http://s3.amazonaws.com/echo.api/a.pem", "must begin with https://"),
        ("https://notamazon.com/echo.api/a.pem", "must have the host s3.amazonaws.com"),
        ("https://s3.amazonaws.com.example.org/echo.api/a.pem", "must have the host s3.amazonaws.com"),
        ("https://s3.amazonaws.com/EcHo.aPi/a.pem", "must have a path under /echo.api/"),
        ("https://s3.amazonaws.com/invalid.path/a.pem", "must have a path under /echo.api/"),
        ("https://s3.amazonaws.com/echo.api/../other/a.pem", "must have a path under /echo.api/"),
        (
            "https://s3.amazonaws.com/echo.api/%2e%2e/other/a.pem",
            "must have a path without escapes, and no query or fragment",
        ),
        (
            "https://s3.amazonaws.com/echo.api/..%2fother/a.pem",
            "must have a path without escapes, and no query or fragment",
        ),
        (
            "https://s3.amazonaws.com/echo.api/a.pem?x",
            "must have a path without escapes, and no query or fragment",
        ),
        ("https://s3.amazonaws.com:563/echo.api/a.pem", "must have the port 443, or none"),
        ("https://s3.amazonaws.com:0/echo.api/a.pem", "must have the port 443, or none"),
        ("https://user@s3.amazonaws.com/echo.api/a.pem", "must have no user information"),
        ("", "must begin with https://"),
    ] {
        let fields = [("SignatureCertChainUrl", url), ("Signature-256", signature.as_str())];
        let answer = world.server.post(&world.hook, &fields, body.as_bytes());
        answer.refused(400, &format!("SignatureCertChainUrl {rule}"));
    }
    assert_eq!(world.chains.all_fetches(), 0);
    for url in [format!("https://S3.AmazonAWS.com:443{PATH}"), format!("HTTPS://{HOST}{PATH}")] {
        let fields = [("SignatureCertChainUrl", url.as_str()), ("Signature-256", signature.as_str())];
        world.server.post(&world.hook, &fields, body.as_bytes()).is(200, SUCCESS);
    }
    assert_eq!(world.chains.all_fetches(), 1);
}

#[test]
fn the_bodys_time_lies_within_150_seconds_of_now_and_of_an_event_within_an_hour() {
    let world = World::new();
    let old = "request.timestamp is more than 150 seconds old";
    let old_event = "request.timestamp is more than 3600 seconds old";
    let new = "request.timestamp is more than 150 seconds in the future";
    let event = "AlexaSkillEvent.SkillEnabled";
    // The clock goes on while a request is on its way; a minute is more than it takes.
    for (offset, kind, refusal) in [
        (-90, "LaunchRequest", None),
        (150, "LaunchRequest", None),
        (-151, "LaunchRequest", Some(old)),
        (211, "LaunchRequest", Some(new)),
        (-3540, event, None),
        (-3601, event, Some(old_event)),
        (211, event, Some(new)),
        (-3540, "AlexaSkillEvent.Other", Some(old)),
    ] {
        let answer = world.send(&body_at(offset, kind));
        match refusal {
            None => answer.is(200, SUCCESS),
            Some(reason) => answer.refused(400, reason),
        }
    }
    let twice = body().replace(r#""timestamp""#, r#""timestamp":"2000-01-01T00:00:00Z","timestamp""#);
    for body in [&twice, r#"{"request":{"type":"LaunchRequest","timestamp":"now"}}"#] {
        world.send(body).refused(400, "request.timestamp must be there once, as an ISO 8601 time");
    }
}

#[test]
fn a_chain_that_cannot_be_had_is_a_refusal_and_asked_for_once_in_a_moment() {
    let world = World::new();
    for (path, act, reason) in [
        ("/echo.api/gone.pem", Act::Head("404 Not Found"), "the response was 404"),
        (
            "/echo.api/moved.pem",
            Act::Head("302 Found\r\nLocation: https://s3.amazonaws.com/echo.api/echo-api-cert.pem"),
            "the response was 302",
        ),
        ("/echo.api/declared.pem", Act::Endless { declared: true }, "the response is too large"),
        ("/echo.api/chunked.pem", Act::Endless { declared: false }, "the response is too large"),
        ("/echo.api/large.pem", Act::Body("a".repeat(64 * 1024 + 1)), "the response is too large"),
        ("/echo.api/broken.pem", Act::Head("200 OK\r\nbad field"), "the connection broke"),
    ] {
        world.chains.put(path, act);
        let reason = format!("the certificate chain could not be fetched: {reason}");
        for _ in 0..3 {
            world.send_from(path, &body()).refused(400, &reason);
        }
        assert_eq!(world.chains.fetches(path), 1, "{path}");
    }
    assert_eq!(world.chains.fetches(PATH), 0);
}

/// The URL is the caller's to invent, and nobody has to sign anything for it to be fetched.
#[test]
fn chains_that_cannot_be_had_are_a_line_a_minute_of_the_log() {
    let world = World::new();
    for number in 0..30 {
        let path = format!("/echo.api/invented-{number}.pem");
        world.chains.put(&path, Act::Head("404 Not Found"));
        world
            .send_from(&path, &body())
            .refused(400, "the certificate chain could not be fetched: the response was 404");
    }
    let log = world.server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("invented")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("\"WARN\""), "{log}");
}

#[test]
fn a_server_that_hangs_costs_its_request_five_seconds_and_nobody_else_anything() {
    let world = World::with(HOST, &[("TIDEGATE_CORES", "1")]);
    world.chains.put("/echo.api/hang.pem", Act::Hang);
    let body = body();
    let signature = sign(&world.key, body.as_bytes());
    let url = format!("https://{HOST}/echo.api/hang.pem");
    let fields = [("SignatureCertChainUrl", url.as_str()), ("Signature-256", &signature)];
    let target = format!("/webhooks/{}", world.hook.token);
    let bytes = request("POST", &target, &fields, body.as_bytes());
    let mut waits = connect(world.server.ingress);
    waits.write_all(&bytes).expect("the server takes it");
    // One that goes away meanwhile.
    connect(world.server.ingress).write_all(&bytes).expect("the server takes it");
    while world.chains.fetches("/echo.api/hang.pem") == 0 {
        std::thread::yield_now();
    }
    let plain = world.server.webhook(json!({}));
    world.server.post(&plain, &[], b"{}").is(200, SUCCESS);
    world.send(&body).is(200, SUCCESS);
    let reason = "the certificate chain could not be fetched: it took too long";
    response(&mut waits).refused(400, reason);
    world.send_from("/echo.api/hang.pem", &body).refused(400, reason);
    assert_eq!(world.chains.fetches("/echo.api/hang.pem"), 1);
}

#[test]
fn chains_come_from_a_server_that_tls_trusts_or_not_at_all() {
    let world = World::with("example.org", &[]);
    let reason = "the certificate chain could not be fetched: no trusted connection";
    world.send(&body()).refused(400, reason);
    assert_eq!(world.chains.all_fetches(), 0);
    // Nobody listens on this port.
    let world = World::with(HOST, &[("TIDEGATE_ALEXA_CONNECT_TO", "127.0.0.1:1")]);
    world.send(&body()).refused(400, reason);
}

#[test]
fn many_requests_at_once_on_a_cold_cache_make_one_fetch() {
    let world = World::new();
    let gate = Arc::new(AtomicBool::new(false));
    let chain = world.authority.chain(&world.key, SUBJECT, NOW);
    world.chains.put(PATH, Act::BodyBehind(chain, Arc::clone(&gate)));
    let body = body();
    let signature = sign(&world.key, body.as_bytes());
    let url = format!("https://{HOST}{PATH}");
    let fields = [("SignatureCertChainUrl", url.as_str()), ("Signature-256", &signature)];
    let bytes = request("POST", &format!("/webhooks/{}", world.hook.token), &fields, body.as_bytes());
    let (_, triggers) = world.server.counted(|| {
        let mut streams: Vec<_> = (0..MANY)
            .map(|_| {
                let mut stream = connect(world.server.ingress);
                stream.write_all(&bytes).expect("the server takes it");
                stream
            })
            .collect();
        gate.store(true, Ordering::Release);
        for stream in &mut streams {
            response(stream).is(200, SUCCESS);
        }
    });
    assert_eq!(triggers, MANY as u64);
    assert_eq!(world.chains.all_fetches(), 1);
}

#[test]
fn a_bad_file_of_roots_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("roots.pem");
    for (text, reason) in [(Some("no certificate"), "holds no certificate"), (None, "cannot be read")] {
        match text {
            Some(text) => std::fs::write(&file, text).expect("a file"),
            None => std::fs::remove_file(&file).expect("a file"),
        }
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .env("TIDEGATE_DATA", folder.path().join("data"))
            .env("TIDEGATE_INGRESS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_WORKERS_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_ALEXA_ROOTS", &file)
            .output()
            .expect("the program runs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("alexa.roots") && said.contains(reason), "{said}");
    }
}

#[test]
fn a_signature_is_asked_for_beside_alexas_own() {
    let world = World::new();
    world
        .server
        .patch(&world.hook, &json!({"signature": {"scheme": "hmac", "header": "x-also", "secret": "s"}}));
    let answer = world.send(&body());
    let error: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &error["error"]), (401, &json!("x-also is missing")));
    assert_eq!(world.chains.all_fetches(), 0);
}

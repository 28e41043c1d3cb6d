//! How a TLS session begins, and how it does not.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::client::Resumption;
use rustls::{HandshakeKind, ProtocolVersion};
use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, config, config_of, socket};
use crate::common::{Wire, eventually, request};

const HANDSHAKES: &str = "tidegate_tls_handshakes_total";

on_each_driver!(
    both_versions_are_served_with_http_1_1_inside,
    a_handshake_may_come_byte_by_byte,
    plain_http_is_told_that_this_is_tls,
    a_slow_handshake_is_cut,
);

fn both_versions_are_served_with_http_1_1_inside(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Arc::new(config_of(&authority, &[version]));
        let mut client = Client::connect(server.ingress, "localhost", &config);
        assert_eq!(client.tls().protocol_version(), Some(expected));
        assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        client.ask(&hook.post(b"x")).is(200, "{\"success\":true}");
        client.ask(&hook.get()).is(200, "{\"success\":true}");
    }
    // Offering nothing is as good: HTTP/1.1 is what is spoken.
    let mut silent = config(&authority);
    silent.alpn_protocols.clear();
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(silent));
    assert_eq!(client.tls().alpn_protocol(), None);
    client.ask(&hook.get()).is(200, "{\"success\":true}");
    assert_eq!(server.metric(HANDSHAKES, "full"), 3);
}

#[test]
fn a_client_that_speaks_other_protocols_alone_is_refused() {
    let authority = Authority::new();
    let server = authority.server("auto");
    for offered in [vec!["h2"], vec!["h2", "http/1.0"]] {
        let mut other = config(&authority);
        other.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let error = Client::try_on(socket(server.ingress), "localhost", &Arc::new(other)).err();
        let text = error.expect("nothing in common").to_string();
        // RFC 7301, 3.2: the server SHALL send a fatal `no_application_protocol` alert.
        assert!(text.contains("NoApplicationProtocol"), "{text}");
    }
    let mut both = config(&authority);
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = Client::connect(server.ingress, "localhost", &Arc::new(both));
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(server.metric(HANDSHAKES, "protocol"), 2);
}

fn a_handshake_may_come_byte_by_byte(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(config_of(&authority, &[version]));
        let name = "localhost".try_into().expect("a name");
        let mut tls = rustls::ClientConnection::new(config, name).expect("a client");
        let mut socket = socket(server.ingress);
        let mut answer = Vec::new();
        tls.writer().write_all(&hook.post(b"byte by byte")).expect("a buffer");
        while !answer.ends_with(b"{\"success\":true}") {
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records).expect("a vector");
            }
            for byte in &records {
                socket.write_all(std::slice::from_ref(byte)).expect("the server takes it");
            }
            assert!(tls.read_tls(&mut socket).expect("the server answers") > 0, "closed early");
            tls.process_new_packets().expect("a server that keeps the rules");
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = tls.reader().read(&mut some) {
                answer.extend_from_slice(&some[..read]);
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
    }
}

fn plain_http_is_told_that_this_is_tls(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    for bytes in [request("GET", "/healthz", &[], b""), b"\r\nGET / HTTP/1.1\r\n\r\n".to_vec(), b"P".to_vec()]
    {
        let mut wire = Wire::connect(server.ingress);
        let answer = wire.ask(bytes);
        answer.is(400, "{\"error\":\"This port speaks TLS: use https:// (or wss://)\"}");
        assert_eq!(answer.header("connection"), Some("close"));
        wire.finish().closed();
    }
    // A body that is still on its way does not take the answer back.
    let mut wire = Wire::connect(server.ingress);
    wire.send_what_goes(&request("POST", "/webhooks/x", &[], &vec![b'x'; 300_000]));
    assert_eq!(wire.response().status, 400);
    eventually("all are counted", || (server.metric(HANDSHAKES, "plain_http") == 4).then_some(()));
}

#[test]
fn what_is_no_tls_at_all_gets_an_alert() {
    let authority = Authority::new();
    let server = authority.server("auto");
    for bytes in [&[0x80, 0x2E, 1, 3, 1][..], &[0; 64], &[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]] {
        let mut socket = socket(server.ingress);
        socket.write_all(bytes).expect("the server takes it");
        socket.shutdown(Shutdown::Write).expect("it is open");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("the server closes in order");
        // A fatal alert (RFC 8446, 6), whatever its description.
        assert!(
            answer.starts_with(&[21, 3, 3, 0, 2, 2]),
            "{}: {}",
            bytes.escape_ascii(),
            answer.escape_ascii()
        );
    }
    eventually("all are counted", || (server.metric(HANDSHAKES, "failed") == 3).then_some(()));
    server.wire().finish().closed();
    eventually("it is counted", || (server.metric(HANDSHAKES, "gone") == 1).then_some(()));
    // A client that does not know the authority.
    let stranger = Arc::new(config(&Authority::new()));
    assert!(Client::try_on(socket(server.ingress), "localhost", &stranger).is_err());
    eventually("it is counted", || (server.metric(HANDSHAKES, "rejected") == 1).then_some(()));
    // One that knows no version of ours: a hello of TLS 1.0.
    let hello = tls_1_0_hello();
    let mut socket = socket(server.ingress);
    socket.write_all(&hello).expect("the server takes it");
    let mut answer = [0; 7];
    socket.read_exact(&mut answer).expect("an alert");
    assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert");
    eventually("it is counted", || (server.metric(HANDSHAKES, "incompatible") == 1).then_some(()));
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
}

/// A ClientHello of TLS 1.0 with one cipher suite and no extensions (RFC 2246, 7.4.1.2).
fn tls_1_0_hello() -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 0x2F, 1, 0]);
    let mut handshake = vec![1, 0, 0, body.len() as u8];
    handshake.extend(body);
    let mut record = vec![22, 3, 1, 0, handshake.len() as u8];
    record.extend(handshake);
    record
}

fn a_slow_handshake_is_cut(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let begun = Instant::now();
    let silent = socket(server.ingress);
    let mut halfway = socket(server.ingress);
    halfway.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("the server takes it");
    for mut socket in [silent, halfway] {
        let mut answer = Vec::new();
        // A reset is an end too: what was sent is not read any more.
        let _ = socket.read_to_end(&mut answer);
        assert!(begun.elapsed() > Duration::from_secs(9), "cut after {:?}", begun.elapsed());
    }
    eventually("both are counted", || (server.metric(HANDSHAKES, "timeout") == 2).then_some(()));
    eventually("both are gone", || (server.metric("tidegate_open_connections", "http") == 0).then_some(()));
}

#[test]
fn urls_are_https_where_nothing_else_is_said() {
    let authority = Authority::new();
    let server = authority.server("auto");
    let base = format!("https://{}", server.ingress);
    assert_eq!(server.done("GET", "/settings", &json!({}))["ingressUrl"], json!(base));
    let secret = "what Twilio and we know";
    let hook = server.webhook(json!({"signature": {"scheme": "twilio", "secret": secret}}));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    for (scheme, expected) in [("https", 200), ("http", 401)] {
        let url = format!("{scheme}://{}{}", server.ingress, hook.target(""));
        let tag = BASE64_STANDARD.encode(hmac::sign(&key, url.as_bytes()));
        let sent = request("GET", &hook.target(""), &[("X-Twilio-Signature", &tag)], b"");
        assert_eq!(client.ask(&sent).status, expected, "{url}");
    }
}

#[test]
fn a_ticket_is_taken_by_every_core_and_after_the_certificates_were_read_again() {
    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    let server = authority.server_with("auto", 2, &[&pair]);
    let hook = server.webhook(json!({}));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = config_of(&authority, &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let before = server.metric(HANDSHAKES, "resumed");
        let mut kinds = Vec::new();
        // The kernel gives connections to cores as it likes: with twelve, both get some.
        for round in 0..12 {
            let mut client = Client::connect(server.ingress, "localhost", &config);
            client.ask(&hook.get()).is(200, "{\"success\":true}");
            kinds.push(client.tls().handshake_kind());
            if round == 6 {
                crate::reload::hang_up(&server);
            }
        }
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
        assert_eq!(server.metric(HANDSHAKES, "resumed") - before, 11);
    }
    for core in ["core=\"0\"", "core=\"1\""] {
        assert!(
            server.metric("tidegate_requests_total", core) > 0,
            "{core} had none: the test shows nothing"
        );
    }
}

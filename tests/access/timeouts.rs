//! The settings `timeouts.*` and `drain_delay_seconds`: each set far below its default, so that its end can only be the
//! set one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::common::{PATIENCE, Server, eventually, request};
use crate::sockets::Socket;

const TOO_SLOW: &str = r#"{"error":"The request took too long to arrive"}"#;

fn server(variable: &'static str, value: u32) -> Server {
    Server::start(|settings| {
        settings.cores(1).set(variable, value);
    })
}

#[test]
fn a_head_that_is_not_complete_in_time_is_a_408() {
    let server = server("TIDEGATE_TIMEOUTS_HEAD", 1);
    let mut wire = server.wire();
    wire.send("GET / HTTP/1.1\r\nHost: a");
    wire.response().is(408, TOO_SLOW);
    wire.closed();
}

#[test]
fn a_body_without_progress_is_a_408() {
    let server = server("TIDEGATE_TIMEOUTS_BODY", 1);
    let hook = server.webhook(json!({}));
    let mut wire = server.wire();
    let whole = hook.post(b"a body");
    wire.send(&whole[..whole.len() - 1]);
    wire.response().is(408, TOO_SLOW);
}

#[test]
fn an_idle_connection_is_closed() {
    let server = server("TIDEGATE_TIMEOUTS_IDLE", 2);
    let hook = server.webhook(json!({}));
    let mut used = server.wire();
    assert_eq!(used.ask(hook.get()).status, 200);
    let mut unused = server.wire();
    used.closed();
    unused.closed();
}

#[test]
fn a_response_that_is_not_taken_is_cut() {
    let server = server("TIDEGATE_TIMEOUTS_WRITE", 1);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"payloadBytes": 4_000_000}}));
    server.flow(
        &hook,
        json!([{"type": "WebhookReplyNode",
        "config": {"bodyTemplateType": "path", "bodyTemplate": "data.body"}}]),
    );
    let mut wire = server.wire();
    wire.receive_buffer(4096);
    let body = vec![b'x'; 3_900_000];
    wire.send(request("POST", &hook.target(""), &[("Content-Type", "text/plain")], &body));
    eventually("the connection is cut", || {
        (server.metric("tidegate_open_connections", "kind=\"http\"") == 0).then_some(())
    });
}

#[test]
fn a_tls_handshake_that_does_not_begin_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let server = Server::start(|settings| {
        settings
            .set("TIDEGATE_TIMEOUTS_TLS_HANDSHAKE", 1)
            .set("TIDEGATE_INGRESS_TLS_CERTIFICATE", certificate.display())
            .set("TIDEGATE_INGRESS_TLS_KEY", key.display());
    });
    let mut stream = TcpStream::connect(server.ingress).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).expect("it is closed in order"), 0);
    assert_eq!(server.metric("tidegate_tls_handshakes_total", "timeout"), 1);
}

#[test]
fn a_silent_websocket_is_pinged_and_broken_as_the_settings_say() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_TIMEOUTS_WEBSOCKET_PING", 1).set("TIDEGATE_TIMEOUTS_WEBSOCKET_PONG", 1);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    let mut silent = Socket::open(&server, &hook);
    assert_eq!(silent.frame().first, 0x89, "a ping");
    silent.ended();
    let mut answering = Socket::open(&server, &hook);
    for _ in 0..2 {
        assert_eq!(answering.frame().first, 0x89);
        answering.send(0x8a, b"");
    }
}

#[test]
fn accepting_goes_on_for_the_drain_delay() {
    let mut server = server("TIDEGATE_DRAIN_DELAY_SECONDS", 2);
    let hook = server.webhook(json!({}));
    server.terminate();
    eventually("load balancers are told", || {
        (server.call_raw("GET", "/readyz", "").status == 503).then_some(())
    });
    // Refused only when the delay is over.
    let mut served = 0;
    while TcpStream::connect(server.ingress).is_ok_and(|stream| is_answered(stream, &hook.get())) {
        served += 1;
    }
    assert!(served > 0, "it stopped accepting at once");
    assert_eq!(server.ended().code(), Some(0));
}

/// Whether a request is answered; a connection that was not accepted any more ends, or is reset.
fn is_answered(mut stream: TcpStream, request: &[u8]) -> bool {
    let mut begin = [0; 9];
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(request).and_then(|()| stream.read_exact(&mut begin)).is_ok() && begin == *b"HTTP/1.1 "
}

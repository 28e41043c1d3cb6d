//! PROXY headers: believed from trusted proxies, and from nobody else.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, config, socket};
use crate::common::{Hook, Server, Wire, eventually, reply_node, request};

const HEADERS: &str = "tidegate_proxy_headers_total";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.2 56324 443\r\n";
const LINE_6: &[u8] = b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n";

on_each_driver!(
    the_header_says_whose_connection_it_is,
    a_header_may_come_byte_by_byte,
    a_header_comes_before_tls,
    what_is_no_header_ends_the_connection,
);

/// A server that asks for headers of these proxies.
fn server(driver: &str, trusted: &str) -> Server {
    Server::start(|settings| {
        settings
            .driver(driver)
            .set("TIDEGATE_INGRESS_PROXY_PROTOCOL", "true")
            .set("TIDEGATE_INGRESS_TRUSTED_PROXIES", trusted);
    })
}

/// A webhook that answers with the addresses that its flows see.
fn addresses(server: &Server) -> Hook {
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node("{{{data.headers.x-forwarded-for}}}")]));
    hook
}

/// Version 2: a header with this command and family.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short one").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, body].concat()
}

/// Version 2: TCP over IPv4 from 203.0.113.9, with an extension.
fn binary_inet() -> Vec<u8> {
    binary(0x21, 0x11, b"\xCB\x00\x71\x09\xC0\x00\x02\x02\xDC\x04\x01\xBB\x02\x00\x04host")
}

fn the_header_says_whose_connection_it_is(driver: &str) {
    let server = server(driver, "127.0.0.0/8");
    let hook = addresses(&server);
    for (header, expected) in [
        (LINE.to_vec(), "203.0.113.9"),
        (LINE_6.to_vec(), "2001:db8::9"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n".to_vec(), "203.0.113.9"),
        (binary_inet(), "203.0.113.9"),
        // The proxy's own connections, and callers that it does not name.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x20, 0, b""), "127.0.0.1"),
        (binary(0x21, 0x31, &[0; 216]), "127.0.0.1"),
    ] {
        let mut wire = server.wire();
        // In one segment, and the second request on the same connection without another header.
        wire.send([&header[..], &hook.get()].concat()).response().is(200, expected);
        wire.ask(hook.get()).is(200, expected);
    }
    assert_eq!(server.metric(HEADERS, "accepted"), 7);
}

#[test]
fn an_earlier_forwarded_for_is_kept_where_the_header_names_a_trusted_proxy() {
    let server = server("auto", "127.0.0.0/8,203.0.113.9");
    let hook = addresses(&server);
    let ask = |header: &[u8]| {
        let forwarded = [("X-Forwarded-For", "198.51.100.1")];
        let sent = request("GET", &hook.target(""), &forwarded, b"");
        server.wire().send([header, &sent].concat()).response().text().to_owned()
    };
    assert_eq!(ask(LINE), "198.51.100.1, 203.0.113.9");
    // Whom the header names is the peer: the proxy that sent it does not speak for that one's fields.
    assert_eq!(ask(LINE_6), "2001:db8::9");
}

fn a_header_may_come_byte_by_byte(driver: &str) {
    let server = server(driver, "127.0.0.1");
    let hook = addresses(&server);
    for header in [LINE.to_vec(), binary_inet()] {
        let mut wire = server.wire();
        for byte in [&header[..], &hook.get()].concat() {
            wire.send([byte]);
        }
        wire.response().is(200, "203.0.113.9");
    }
}

fn a_header_comes_before_tls(driver: &str) {
    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .set("TIDEGATE_INGRESS_PROXY_PROTOCOL", "true")
            .set("TIDEGATE_INGRESS_TRUSTED_PROXIES", "127.0.0.1")
            .set("TIDEGATE_INGRESS_TLS_CERTIFICATE", pair.certificate.display())
            .set("TIDEGATE_INGRESS_TLS_KEY", pair.key.display());
    });
    let hook = addresses(&server);
    let config = Arc::new(config(&authority));
    for header in [LINE.to_vec(), binary_inet()] {
        let mut socket = socket(server.ingress);
        socket.write_all(&header).expect("the server takes it");
        let mut client = Client::try_on(socket, "localhost", &config).expect("a handshake");
        client.ask(&hook.get()).is(200, "203.0.113.9");
    }
    let error = Client::try_on(socket(server.ingress), "localhost", &config);
    assert!(error.is_err(), "TLS without a header is served");
    let mut wire = server.wire();
    assert_eq!(wire.send([LINE, &hook.get()].concat()).response().status, 400, "plain HTTP behind a header");
}

fn what_is_no_header_ends_the_connection(driver: &str) {
    let server = server(driver, "127.0.0.1");
    let hook = addresses(&server);
    for (bytes, outcome) in [
        (hook.get(), "missing"),
        (b"PROXY TCP4 203.0.113.9 192.0.2.2 1 65536\r\n".to_vec(), "malformed"),
        (binary(0x21, 0x11, b"short"), "malformed"),
        (b"PROXY TCP4 203.0.1".to_vec(), "gone"),
    ] {
        let before = server.metric(HEADERS, &format!("\"{outcome}\""));
        let mut socket = socket(server.ingress);
        socket.write_all(&bytes).expect("the server takes it");
        // After the header's mistake nothing is read, so this is told to nobody either.
        let _ = socket.write_all(&hook.get());
        // It may have been reset already.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // A reset is as good an end: what came behind the mistake is not read.
        let _ = socket.read_to_end(&mut answer);
        assert_eq!(answer.escape_ascii().to_string(), "", "{outcome}");
        if outcome != "gone" {
            eventually(outcome, || {
                (server.metric(HEADERS, &format!("\"{outcome}\"")) == before + 1).then_some(())
            });
        }
    }
    // Said once, however many there are.
    let log = server.log();
    assert_eq!(log.matches("ingress.proxy_protocol is set and a connection was refused").count(), 1, "{log}");
    assert_eq!(server.metric("tidegate_requests_total", ""), 0);
}

#[test]
fn a_peer_that_is_no_trusted_proxy_is_refused() {
    let server = server("auto", "192.0.2.0/24");
    let hook = addresses(&server);
    let mut socket = socket(server.ingress);
    let _ = socket.write_all(&[LINE, &hook.get()].concat());
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", answer.escape_ascii());
    eventually("it is counted", || (server.metric(HEADERS, "untrusted") == 1).then_some(()));
    assert!(server.log().contains("not in ingress.trusted_proxies"), "{}", server.log());
    // A test request needs no header: it comes from inside.
    assert_eq!(server.test(&hook, &json!({}))["statusCode"], 200);
}

#[test]
fn a_header_that_does_not_come_is_not_waited_for() {
    let server = server("auto", "127.0.0.1");
    let begun = Instant::now();
    let silent = socket(server.ingress);
    let mut halfway = socket(server.ingress);
    halfway.write_all(b"PROXY TCP4 ").expect("the server takes it");
    for mut socket in [silent, halfway] {
        assert_eq!(socket.read(&mut [0; 8]).expect("a quiet end"), 0);
        assert!(begun.elapsed() > Duration::from_secs(9), "cut after {:?}", begun.elapsed());
    }
    eventually("both are counted", || (server.metric(HEADERS, "timeout") == 2).then_some(()));
}

/// A server on a Unix socket, gone with the test.
struct OnSocket {
    child: Child,
    folder: tempfile::TempDir,
}

impl OnSocket {
    fn start(variables: &[(&str, &str)]) -> OnSocket {
        let folder = tempfile::tempdir().expect("a folder");
        let child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .env_clear()
            .env("TIDEGATE_DATA", folder.path().join("data"))
            .env("TIDEGATE_CORES", "1")
            .env("TIDEGATE_JOURNAL_DURABILITY", "memory")
            .env("TIDEGATE_INGRESS_LISTEN", format!("unix:{}", folder.path().join("in").display()))
            .env("TIDEGATE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_WORKERS_LISTEN", format!("unix:{}", folder.path().join("work").display()))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        OnSocket { child, folder }
    }

    fn connect(&self) -> UnixStream {
        let path = self.folder.path().join("in");
        eventually("the socket is there", || UnixStream::connect(&path).ok())
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the other side says until it closes.
fn said(mut stream: impl std::io::Read) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and an end");
    answer
}

#[test]
fn a_unix_socket_takes_headers_of_whoever_may_open_it_and_tls_behind_them() {
    let last = request("GET", "/healthz", &[("Connection", "close")], b"");
    let server = OnSocket::start(&[("TIDEGATE_INGRESS_PROXY_PROTOCOL", "true")]);
    for header in [LINE.to_vec(), binary_inet(), binary(0x20, 0, b"")] {
        let mut stream = server.connect();
        stream.write_all(&[&header[..], &last].concat()).expect("the server takes it");
        assert!(said(stream).starts_with("HTTP/1.1 200 "));
    }
    let mut stream = server.connect();
    stream.write_all(b"GET").expect("the server takes it");
    // What it did not read makes a reset of the end.
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));

    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    let (certificate, key) = (pair.certificate.display().to_string(), pair.key.display().to_string());
    let server = OnSocket::start(&[
        ("TIDEGATE_INGRESS_PROXY_PROTOCOL", "true"),
        ("TIDEGATE_INGRESS_TLS_CERTIFICATE", &certificate),
        ("TIDEGATE_INGRESS_TLS_KEY", &key),
    ]);
    let mut stream = server.connect();
    stream.write_all(LINE).expect("the server takes it");
    let name = "localhost".try_into().expect("a name");
    let tls = rustls::ClientConnection::new(Arc::new(config(&authority)), name).expect("a client");
    let mut stream = rustls::StreamOwned::new(tls, stream);
    stream.write_all(&last).expect("the server takes it");
    assert!(said(stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn without_the_setting_a_header_is_a_bad_request() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_INGRESS_TRUSTED_PROXIES", "127.0.0.1");
    });
    for header in [LINE.to_vec(), binary_inet()] {
        let mut wire: Wire = server.wire();
        let sent = [header, request("GET", "/healthz", &[], b"")].concat();
        assert_eq!(wire.send_what_goes(&sent).response().status, 400);
    }
}

//! What goes through an established session: bodies, pipelines, records cut anywhere, and its end.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, config, config_of, socket};
use crate::common::{reply_node, request};

on_each_driver!(
    large_bodies_go_both_ways,
    pipelined_requests_are_answered_in_order,
    records_may_come_byte_by_byte,
    a_peer_that_reads_late_gets_all_of_it,
    an_end_is_said_and_understood,
    keys_may_change,
    a_broken_record_ends_the_connection,
);

/// As large as a body may be.
const BODY_BYTES: usize = 262_144;

fn large_bodies_go_both_ways(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(
        &hook,
        json!([{"type": "WebhookReplyNode", "config": {
            "bodyTemplateType": "path", "bodyTemplate": "data.body"
        }}]),
    );
    let body: String = (0..BODY_BYTES - 2).map(|index| char::from(b'a' + (index % 19) as u8)).collect();
    let body = format!("\"{body}\"");
    let sent = request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(config_of(&authority, &[version]));
        let mut client = Client::connect(server.ingress, "localhost", &config);
        for _ in 0..3 {
            let answer = client.ask(&sent);
            assert_eq!(answer.status, 200);
            assert!(answer.body == body.trim_matches('"').as_bytes(), "the body came back otherwise");
        }
    }
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    let too_large = request("POST", &hook.target(""), &[], &vec![b'x'; BODY_BYTES + 1]);
    client.ask(&too_large).is(413, "{\"error\":\"Content too large\"}");
}

fn pipelined_requests_are_answered_in_order(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"requestsPerWindow": 0}}));
    server.flow(&hook, json!([reply_node("{{data.query.n}}")]));
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    let requests: Vec<u8> =
        (0..300).flat_map(|n| request("GET", &hook.target(&format!("?n={n}")), &[], b"")).collect();
    client.send(&requests);
    for n in 0..300 {
        client.response().is(200, &n.to_string());
    }
}

fn records_may_come_byte_by_byte(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    let records = client.encrypt(&hook.post(b"byte by byte"));
    for byte in &records {
        client.send_records(std::slice::from_ref(byte));
    }
    client.response().is(200, "{\"success\":true}");
    // A head in records of a byte each, all in one segment.
    let mut records = Vec::new();
    for byte in hook.get() {
        records.extend(client.encrypt(&[byte]));
    }
    client.send_records(&records);
    client.response().is(200, "{\"success\":true}");
    // Two requests, the second cut within its record.
    let mut records = client.encrypt(&hook.get());
    records.extend(client.encrypt(&hook.get()));
    let (first, rest) = records.split_at(records.len() - 20);
    client.send_records(first);
    client.response().is(200, "{\"success\":true}");
    client.send_records(rest);
    client.response().is(200, "{\"success\":true}");
}

fn a_peer_that_reads_late_gets_all_of_it(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"requestsPerWindow": 0}}));
    let text = "0123456789abcdef".repeat(BODY_BYTES / 16 - 1);
    server.flow(&hook, json!([reply_node(&text)]));
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    // More than the sockets' buffers hold: the server has to wait within a response, and between two.
    let times = 64;
    let requests: Vec<u8> = (0..times).flat_map(|_| hook.get()).collect();
    client.send(&requests);
    std::thread::sleep(std::time::Duration::from_millis(200));
    for _ in 0..times {
        let answer = client.response();
        assert!(answer.status == 200 && answer.body == text.as_bytes(), "a response came otherwise");
    }
}

fn an_end_is_said_and_understood(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    let config = Arc::new(config(&authority));
    // By the server, after the last response and after a refusal.
    for last in [
        request("GET", &hook.target(""), &[("Connection", "close")], b""),
        b"GET / HTTP/1.1\r\nbad head\r\n\r\n".to_vec(),
    ] {
        let mut client = Client::connect(server.ingress, "localhost", &config);
        client.ask(&last);
        client.closed();
    }
    // By the client: the server says the same, and that with a `close_notify`.
    let mut client = Client::connect(server.ingress, "localhost", &config);
    client.ask(&hook.get()).is(200, "{\"success\":true}");
    client.tls_mut().send_close_notify();
    let records = client.encrypt(b"");
    client.send_records(&records);
    client.closed();
    // A client that goes away without a word is let go too.
    let mut client = Client::connect(server.ingress, "localhost", &config);
    client.ask(&hook.get());
    drop(client);
    crate::common::eventually("all are gone", || {
        (server.metric("tidegate_open_connections", "http") == 0).then_some(())
    });
}

fn keys_may_change(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    let config = Arc::new(config_of(&authority, &[&rustls::version::TLS13]));
    let mut client = Client::connect(server.ingress, "localhost", &config);
    for _ in 0..3 {
        // RFC 8446, 4.6.3: the server has to change its own keys and say so before it sends anything else.
        client.tls_mut().refresh_traffic_keys().expect("TLS 1.3");
        client.ask(&hook.post(b"with new keys")).is(200, "{\"success\":true}");
    }
}

fn a_broken_record_ends_the_connection(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({}));
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    client.ask(&hook.get()).is(200, "{\"success\":true}");
    let mut records = client.encrypt(&hook.get());
    let last = records.len() - 1;
    records[last] ^= 1;
    records.extend(client.encrypt(&hook.get()));
    client.send_records(&records);
    let error = client.read(&mut [0; 64]).expect_err("no answer to what nobody sent");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    let other = &mut Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    other.ask(&hook.get()).is(200, "{\"success\":true}");
}

#[test]
fn a_record_that_does_not_come_to_its_end_is_not_waited_for() {
    let authority = Authority::new();
    let server = authority.server("auto");
    let mut client = Client::connect(server.ingress, "localhost", &Arc::new(config(&authority)));
    let records = client.encrypt(&request("GET", "/healthz", &[], b""));
    // A byte each 4 s would keep the connection for as long as its record is: it has 30 s.
    let begun = std::time::Instant::now();
    let mut cut = false;
    for byte in records.iter().cycle() {
        if client.socket().write_all(std::slice::from_ref(byte)).is_err() || has_ended(client.socket()) {
            cut = true;
            break;
        }
        assert!(begun.elapsed().as_secs() < 60, "it is served for ever");
        std::thread::sleep(std::time::Duration::from_secs(4));
        if begun.elapsed().as_secs() > 45 {
            break;
        }
    }
    assert!(cut && begun.elapsed().as_secs() >= 28, "cut: {cut}, after {:?}", begun.elapsed());
}

fn has_ended(mut socket: &std::net::TcpStream) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let mut bytes = [0; 1024];
    let ended = loop {
        match socket.read(&mut bytes) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    socket.set_nonblocking(false).expect("a socket");
    ended
}

#[test]
fn curl_is_served_over_both_versions() {
    let authority = Authority::new();
    let server = authority.server("auto");
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node("{{data.method}} {{data.body}}")]));
    let url = format!("https://localhost:{}{}", server.ingress.port(), hook.target(""));
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(authority.root_file())
            .args(version.split(' '))
            .args(["--header", "Content-Type: text/plain", "--data", "over curl", &url, &url])
            .output();
        let output = match output {
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && std::env::var_os("CI").is_none() =>
            {
                eprintln!("left out: there is no curl");
                return;
            }
            output => output.expect("curl runs"),
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "post over curlpost over curl");
    }
}

#[test]
fn over_the_cap_a_client_gets_an_alert() {
    let authority = Authority::new();
    let pair = authority.give("localhost", &["localhost"]);
    let server = crate::common::Server::start(|settings| {
        settings
            .set("TIDEGATE_INGRESS_TLS_CERTIFICATE", pair.certificate.display())
            .set("TIDEGATE_INGRESS_TLS_KEY", pair.key.display())
            .set("TIDEGATE_LIMITS_CONNECTIONS", 1);
    });
    let config = Arc::new(config(&authority));
    let first = Client::connect(server.ingress, "localhost", &config);
    let error = Client::try_on(socket(server.ingress), "localhost", &config).err().expect("one too many");
    assert!(error.to_string().contains("InternalError"), "{error}");
    drop(first);
    crate::common::eventually("there is room again", || {
        Client::try_on(socket(server.ingress), "localhost", &config).ok()
    });
}

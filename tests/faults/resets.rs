//! Callers that break off: a reset after each byte of a request, and after each byte of an answer. Nothing stays
//! behind, nothing panics, and the next caller is served.

use serde_json::json;

use crate::common::{ACCESS_TOKEN, Hook, Server, Wire, eventually, reply_node, request};

on_each_driver! {
    a_reset_after_each_byte_of_a_request_leaves_nothing_behind,
    a_reset_after_each_byte_of_an_answer_leaves_nothing_behind,
}

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// A reply that makes the answer a few hundred bytes.
const REPLY: &str = r#"{"a reply":"of some length, so that there are bytes to break off at"}"#;

/// A plain webhook, one that waits for a reply and gets it, one that waits in vain, and a WebSocket.
fn hooks(server: &Server) -> [Hook; 4] {
    let plain = server.webhook(json!({}));
    let replied = server.webhook(json!({"waitForReply": true}));
    server.flow(&replied, json!([reply_node(REPLY)]));
    let limits = json!({"replyTimeoutSeconds": 3600});
    let waiting = server.webhook(json!({"waitForReply": true, "limits": limits}));
    let socket = server.webhook(json!({"isWebsocket": true}));
    [plain, replied, waiting, socket]
}

fn upgrade(target: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    request("GET", target, &[&own, more].concat(), b"")
}

fn chunked(hook: &Hook) -> Vec<u8> {
    let head =
        format!("POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", hook.target("/path"));
    [head.as_bytes(), b"5;x=y\r\nhello\r\n3\r\n{}\n\r\n0\r\nA-Trailer: x\r\n\r\n"].concat()
}

/// All are gone, and all works.
fn nothing_is_left(server: &Server, [plain, replied, waiting, _]: &[Hook; 4]) {
    eventually("no connection is open and no request waits", || {
        let left =
            server.metric("tidegate_open_connections", "") + server.metric("tidegate_waiting_requests", "");
        (left == 0).then_some(())
    });
    plain_and_replied_work(server, plain, replied);
    // A slot for each that may wait: none is held by a caller that is gone.
    let held: Vec<Wire> = (0..100).map(|_| server.hold(waiting).expect("a slot is free")).collect();
    drop(held);
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

fn plain_and_replied_work(server: &Server, plain: &Hook, replied: &Hook) {
    server.wire().ask(plain.get()).is(200, r#"{"success":true}"#);
    server.wire().ask(replied.get()).is(200, REPLY);
}

fn a_reset_after_each_byte_of_a_request_leaves_nothing_behind(driver: &str) {
    let server = server(driver);
    let hooks = hooks(&server);
    let [plain, replied, waiting, socket] = &hooks;
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let attach = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", "tidegate.worker.v1")];
    let flow = server.flow(socket, json!([{"type": "WorkerNode"}]));
    let frames = b"\x81\x85\0\0\0\0hello\x88\x82\0\0\0\0\x03\xe8";
    let requests = [
        (server.ingress, plain.post(b"a body that is not read to its end")),
        (server.ingress, chunked(plain)),
        (server.ingress, [replied.get(), replied.get()].concat()),
        (server.ingress, [waiting.get(), plain.get()].concat()),
        (server.ingress, [upgrade(&socket.target(""), &[]), frames.to_vec()].concat()),
        (server.workers, upgrade(&format!("/flows/{flow}/worker"), &attach)),
    ];
    let mut broken = 0;
    for (address, bytes) in &requests {
        for end in 0..=bytes.len() {
            let mut wire = Wire::connect(*address);
            wire.send(&bytes[..end]);
            // In order now and then, by a reset else.
            if end % 8 == 7 {
                drop(wire)
            } else {
                wire.reset()
            }
            broken += 1;
        }
    }
    nothing_is_left(&server, &hooks);
    println!("resets within requests, {driver}: {broken}, left behind 0");
}

fn a_reset_after_each_byte_of_an_answer_leaves_nothing_behind(driver: &str) {
    let server = server(driver);
    let hooks = hooks(&server);
    let [plain, replied, _, socket] = &hooks;
    let mut broken = 0;
    for bytes in [plain.get(), replied.get(), upgrade(&socket.target(""), &[])] {
        let length = {
            let mut wire = server.wire();
            wire.send(&bytes);
            wire.read_some(usize::MAX).len()
        };
        assert!(length > 50, "an answer of {length} bytes");
        for end in 0..=length {
            let mut wire = server.wire();
            // More behind it, so that the engine writes into a connection that is gone.
            wire.send(bytes.repeat(if bytes.starts_with(b"GET /webhooks/") { 3 } else { 1 }));
            let mut read = 0;
            while read < end {
                read += wire.read_some(end - read).len();
            }
            wire.reset();
            broken += 1;
        }
    }
    nothing_is_left(&server, &hooks);
    println!("resets within answers, {driver}: {broken}, left behind 0");
}

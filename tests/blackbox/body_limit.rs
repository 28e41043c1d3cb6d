//! Section 4, step 7: how large a body may be, and that who sends a larger one learns of it.

use serde_json::json;

use crate::common::{Hook, Server, Wire, request};

on_each_driver! {
    a_declared_length_over_the_limit_is_refused_before_the_body,
    a_chunked_body_is_refused_at_the_first_byte_over,
    exactly_the_limit_passes,
    the_refusal_reaches_a_client_that_is_still_sending,
    continue_is_said_when_the_head_is_good_and_not_before,
}

const LIMIT: usize = 262_144;
const SUCCESS: &str = r#"{"success":true}"#;
const TOO_LARGE: &str = r#"{"error":"Content too large"}"#;

fn server(driver: &str) -> (Server, Hook) {
    let server = Server::start(|settings| {
        settings.driver(driver);
    });
    let hook = server.webhook(json!({}));
    (server, hook)
}

fn head(hook: &Hook, headers: &[(&str, &str)]) -> Vec<u8> {
    request("POST", &hook.target(""), headers, b"")
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Reads the refusal: the connection ends with it.
#[track_caller]
fn refused(wire: &mut Wire) {
    let response = wire.response();
    response.is(413, TOO_LARGE);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    wire.closed();
}

fn a_declared_length_over_the_limit_is_refused_before_the_body(driver: &str) {
    let (server, hook) = server(driver);
    for length in ["262145", "262146", "9999999999", "999999999999999999"] {
        for expect in [&[][..], &[("Expect", "100-continue")]] {
            let headers = [expect, &[("Content-Length", length)]].concat();
            let mut wire = server.wire();
            // The response is a 413 at once, not a `100 Continue`: not a byte of the body is sent.
            wire.send(head(&hook, &headers));
            refused(&mut wire);
        }
    }
    let small = server.webhook(json!({"limits": {"payloadBytes": 5}}));
    let mut wire = server.wire();
    wire.ask(small.post(b"12345")).is(200, SUCCESS);
    wire.send(small.post(b"123456"));
    refused(&mut wire);
}

fn a_chunked_body_is_refused_at_the_first_byte_over(driver: &str) {
    let (server, hook) = server(driver);
    let chunked = head(&hook, &[("Transfer-Encoding", "chunked")]);
    let whole = vec![b'x'; LIMIT];
    // All that may come has come; one byte more is announced, and it is over.
    let mut wire = server.wire();
    wire.send(&chunked).send(chunk(&whole)).send("1\r\ny");
    refused(&mut wire);
    // In one chunk that is larger by one, whether its last byte comes or not.
    let mut wire = server.wire();
    wire.send(&chunked)
        .send_what_goes(format!("{:x}\r\n", LIMIT + 1).as_bytes())
        .send_what_goes(&whole)
        .send_what_goes(b"y");
    refused(&mut wire);
    // Announced far beyond what any counter holds.
    for size in ["ffffffffffffffff", "7fffffffffffffff", "100000000"] {
        let mut wire = server.wire();
        wire.send(&chunked).send(format!("{size}\r\nx"));
        refused(&mut wire);
    }
    // In chunks of a few bytes.
    let small = server.webhook(json!({"limits": {"payloadBytes": 10}}));
    let chunked = head(&small, &[("Transfer-Encoding", "chunked")]);
    let mut wire = server.wire();
    wire.send(&chunked)
        .send(chunk(b"12345"))
        .send(chunk(b"67890"))
        .send("0\r\n\r\n")
        .response()
        .is(200, SUCCESS);
    wire.send(&chunked).send(chunk(b"12345")).send(chunk(b"67890")).send(chunk(b"1"));
    refused(&mut wire);
}

fn exactly_the_limit_passes(driver: &str) {
    let (server, hook) = server(driver);
    let whole = vec![b'x'; LIMIT];
    let mut wire = server.wire();
    wire.ask(hook.post(&whole)).is(200, SUCCESS);
    let chunked = head(&hook, &[("Transfer-Encoding", "chunked")]);
    wire.send(&chunked).send(chunk(&whole)).send("0\r\n\r\n").response().is(200, SUCCESS);
    wire.send(&chunked);
    for part in whole.chunks(10_000) {
        wire.send(chunk(part));
    }
    wire.send("0;last=\"1\"\r\nTrailer: 1\r\n\r\n").response().is(200, SUCCESS);
    wire.ask(hook.get()).is(200, SUCCESS);
}

fn the_refusal_reaches_a_client_that_is_still_sending(driver: &str) {
    let (server, hook) = server(driver);
    // Four megabytes are more than the buffers of both sockets hold: a close without lingering would be a reset.
    let body = vec![b'x'; 4 * 1024 * 1024];
    let mut wire = server.wire();
    wire.send(hook.post(&body));
    refused(&mut wire);
    let mut wire = server.wire();
    wire.send(head(&hook, &[("Transfer-Encoding", "chunked")])).send(chunk(&body)).send("0\r\n\r\n");
    refused(&mut wire);
    // Refused for another reason, with more of a body than is read and dropped.
    let locked = server.webhook(json!({"basicAuthUsername": "somebody"}));
    let mut wire = server.wire();
    let response = wire.ask(locked.post(&body));
    assert_eq!((response.status, response.header("connection")), (401, Some("close")));
    wire.closed();
    let mut wire = server.wire();
    let response = wire
        .send(head(&locked, &[("Transfer-Encoding", "chunked")]))
        .send(chunk(&body))
        .send("0\r\n\r\n")
        .response();
    assert_eq!(response.status, 401);
    wire.closed();
}

fn continue_is_said_when_the_head_is_good_and_not_before(driver: &str) {
    let (server, hook) = server(driver);
    let expects = |length: &'static str| [("Expect", "100-continue"), ("Content-Length", length)];
    let mut wire = server.wire();
    let response = wire.ask(head(&hook, &expects("5")));
    assert_eq!((response.status, response.headers.len()), (100, 0), "{response:?}");
    wire.ask("12345").is(200, SUCCESS);
    // Chunked, and in the other case.
    let headers = [("expect", "100-Continue"), ("Transfer-Encoding", "chunked")];
    assert_eq!(wire.ask(head(&hook, &headers)).status, 100);
    wire.ask("1\r\n1\r\n0\r\n\r\n").is(200, SUCCESS);
    // No body: nothing to ask for.
    wire.ask(head(&hook, &[("Expect", "100-continue")])).is(200, SUCCESS);
    // HTTP/1.0 knows nothing of it (RFC 9110, 10.1.1).
    let target = hook.target("");
    server
        .wire()
        .ask(format!("POST {target} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n12345"))
        .is(200, SUCCESS);
    // A refusal of steps 2 to 6 says no `100 Continue`, and closes: what comes next cannot be told.
    let locked = server.webhook(json!({"basicAuthUsername": "somebody"}));
    for (status, target) in [(401, locked.target("")), (404, "/".to_owned())] {
        let mut wire = server.wire();
        let response = wire.ask(request("POST", &target, &expects("5"), b""));
        assert_eq!((response.status, response.header("connection")), (status, Some("close")));
        wire.closed();
    }
}

//! Section 14: where io_uring cannot be had the same engine serves on epoll.

use serde_json::json;

use crate::common::{ACCESS_TOKEN, Server, Wire, request};

const SUCCESS: &str = r#"{"success":true}"#;

#[test]
fn where_io_uring_is_refused_it_serves_on_epoll_and_says_so() {
    let server = Server::start(|settings| {
        settings.refuse_io_uring().cores(2);
    });
    let hook = server.webhook(json!({}));
    server.wire().ask(hook.post(b"a body")).is(200, SUCCESS);
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("epoll")).collect();
    assert_eq!(lines.len(), 1, "one line says so: {log}");
    assert!(lines[0].contains("io_uring"), "{log}");
}

#[test]
fn where_io_uring_can_be_had_nothing_is_said_of_epoll() {
    let server = Server::start(|settings| {
        settings.driver("io_uring");
    });
    assert!(!server.log().contains("epoll"), "{}", server.log());
}

#[test]
fn the_listeners_of_the_cores_say_that_they_live() {
    let server = Server::start(|_| {});
    for listener in [server.ingress, server.workers] {
        assert_eq!(
            crate::common::Wire::connect(listener).ask(request("GET", "/healthz", &[], b"")).status,
            200
        );
        let mut wire = crate::common::Wire::connect(listener);
        assert_eq!(wire.send(request("HEAD", "/healthz", &[], b"")).response_to_head().status, 200);
    }
}

#[test]
fn a_connection_too_many_is_refused_with_cors_as_every_response_is() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_LIMITS_CONNECTIONS", 1);
    });
    let mut first = server.wire();
    assert_eq!(first.ask(request("GET", "/healthz", &[], b"")).status, 200);
    let response = server.wire().response();
    assert_eq!((response.status, response.header("access-control-allow-origin")), (503, Some("*")));
}

#[test]
fn a_rest_body_that_is_too_large_is_refused_where_a_client_sees_it() {
    const BYTES: usize = 8 * 1024 * 1024;
    let server = Server::start(|_| {});
    let head = |framing: &str| {
        format!(
            "POST /applications HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{framing}\r\n\r\n",
            ACCESS_TOKEN
        )
    };
    let body = vec![b' '; BYTES];
    // The client sends all of it before it reads.
    for (framing, chunk) in [
        (format!("Content-Length: {BYTES}"), String::new()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{BYTES:x}\r\n")),
    ] {
        let mut wire = Wire::connect(server.admin);
        wire.send(head(&framing)).send(chunk).send(&body);
        assert_eq!(wire.response().status, 413, "{framing}");
    }
    // It is answered before the body where the body does not come.
    let mut wire = Wire::connect(server.admin);
    assert_eq!(wire.ask(head(&format!("Content-Length: {BYTES}"))).status, 413);
    let mut wire = Wire::connect(server.admin);
    let asks = format!("Content-Length: {BYTES}\r\nExpect: 100-continue");
    assert_eq!(wire.ask(head(&asks)).status, 413, "and not 100");
}

//! Section 4, step 1: what breaks the rules of RFC 9112 is refused, and nothing behind it is read as a request.

use serde_json::{Value, json};

use crate::common::{Hook, Server};

on_each_driver! {
    each_broken_rule_is_refused_and_ends_the_connection,
    what_is_just_within_the_limits_passes,
    a_refusal_comes_in_its_turn,
    a_request_that_has_its_answer_gets_no_second_one,
    a_refused_head_request_gets_no_body,
    a_body_that_breaks_a_rule_is_among_the_webhooks_requests,
    nothing_of_a_refused_connection_is_left_for_another,
}

const SUCCESS: &str = r#"{"success":true}"#;

/// A request that must never be answered.
fn smuggled(hook: &Hook) -> String {
    format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", hook.target("/smuggled"))
}

/// Requests that break one rule: what it is, the status, and the bytes; `TARGET` stands for the webhook's.
fn broken() -> Vec<(&'static str, u16, Vec<u8>)> {
    let mut cases: Vec<(&str, u16, Vec<u8>)> = Vec::new();
    let mut case = |what, status, bytes: &str| cases.push((what, status, bytes.as_bytes().to_vec()));

    case("LF after the request line", 400, "GET TARGET HTTP/1.1\nHost: a\r\n\r\n");
    case("LF after a field", 400, "GET TARGET HTTP/1.1\r\nHost: a\n\r\n");
    case("LF for the empty line", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\n\n");
    case("LF throughout", 400, "GET TARGET HTTP/1.1\nHost: a\n\n");
    case("CR in a value", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n");
    case("CR at the end of a value", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n");
    case("CR in a name", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX\rY: a\r\n\r\n");
    case("CR in the request line", 400, "GET TARGET\r HTTP/1.1\r\nHost: a\r\n\r\n");
    case("space before the colon", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n");
    case("tab before the colon", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX\t: a\r\n\r\n");
    case(
        "a length with space before the colon",
        400,
        "POST TARGET HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n12345",
    );
    case("a folded line", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n");
    case("a line folded with a tab", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n");
    case("a folded first line", 400, "GET TARGET HTTP/1.1\r\n Host: a\r\n\r\n");
    case("no Host", 400, "GET TARGET HTTP/1.1\r\n\r\n");
    case("two Hosts", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    case("the same Host twice", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n");
    case("NUL in a value", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n");
    case("NUL in a name", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n");
    case("NUL in the target", 400, "GET TARGET\0 HTTP/1.1\r\nHost: a\r\n\r\n");
    case("NUL before the method", 400, "\0GET TARGET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("another control character in a value", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n");
    case("DEL in a value", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX: a\x7Fb\r\n\r\n");
    case("an escape in the target", 400, "GET TARGET\x1B HTTP/1.1\r\nHost: a\r\n\r\n");
    case("an empty name", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n");
    case("a field without a colon", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX\r\n\r\n");
    case("a name that is no token", 400, "GET TARGET HTTP/1.1\r\nHost: a\r\nX(Y): a\r\n\r\n");
    case("no target", 400, "GET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("two spaces before the target", 400, "GET  TARGET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("two spaces before the version", 400, "GET TARGET  HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a space in the target", 400, "GET TARGET x HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a space before the method", 400, " GET TARGET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a method that is no token", 400, "G(T TARGET HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a fragment in the target", 400, "GET TARGET#x HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a target that is not ASCII", 400, "GET TARGETé HTTP/1.1\r\nHost: a\r\n\r\n");
    case("a target that is no path", 400, "GET webhooks HTTP/1.1\r\nHost: a\r\n\r\n");

    case("HTTP/2.0", 505, "GET TARGET HTTP/2.0\r\nHost: a\r\n\r\n");
    case("HTTP/1.2", 505, "GET TARGET HTTP/1.2\r\nHost: a\r\n\r\n");
    case("HTTP/0.9", 505, "GET TARGET HTTP/0.9\r\nHost: a\r\n\r\n");
    case("HTTP/2's preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    for (what, lengths) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two lengths in a list", "Content-Length: 5, 6\r\n"),
        ("a length with a plus", "Content-Length: +5\r\n"),
        ("a length below nothing", "Content-Length: -5\r\n"),
        ("a hexadecimal length", "Content-Length: 0x5\r\n"),
        ("a length with a space within", "Content-Length: 5 5\r\n"),
        ("a length with a fraction", "Content-Length: 5.0\r\n"),
        ("an empty length", "Content-Length:\r\n"),
        ("a length that overflows", "Content-Length: 18446744073709551621\r\n"),
        ("length and coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ("length nothing and coding", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        case(what, 400, &format!("POST TARGET HTTP/1.1\r\nHost: a\r\n{lengths}\r\n12345"));
    }
    for (what, coding) in [
        ("gzip", "gzip"),
        ("chunked then gzip", "chunked, gzip"),
        ("identity", "identity"),
        ("almost chunked", "xchunked"),
        ("chunked and more", "chunkedx"),
        ("gzip then chunked", "gzip, chunked"),
    ] {
        case(
            what,
            if coding == "gzip, chunked" { 501 } else { 400 },
            &format!("POST TARGET HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"),
        );
    }
    case(
        "a coding in 1.0",
        400,
        "POST TARGET HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );

    for (what, chunks) in [
        ("a size that is no number", "g\r\n12345\r\n0\r\n\r\n"),
        ("no size", "\r\n12345\r\n0\r\n\r\n"),
        ("a size with a plus", "+5\r\n12345\r\n0\r\n\r\n"),
        ("a size below nothing", "-5\r\n12345\r\n0\r\n\r\n"),
        ("a size with a prefix", "0x5\r\n12345\r\n0\r\n\r\n"),
        ("a space before the size", " 5\r\n12345\r\n0\r\n\r\n"),
        ("a space after the size", "5 \r\n12345\r\n0\r\n\r\n"),
        ("a size that overflows", "10000000000000005\r\n12345\r\n0\r\n\r\n"),
        ("LF after the size", "5\n12345\r\n0\r\n\r\n"),
        ("CR after the size", "5\r12345\r\n0\r\n\r\n"),
        ("LF after an extension", "5;x\n12345\r\n0\r\n\r\n"),
        ("CR in an extension", "5;x\ry\r\n12345\r\n0\r\n\r\n"),
        ("NUL in an extension", "5;x=\"\0\"\r\n12345\r\n0\r\n\r\n"),
        ("more data than the size says", "5\r\n123456\r\n0\r\n\r\n"),
        ("less data than the size says", "5\r\n1234\r\n0\r\n\r\n"),
        ("LF after the data", "5\r\n12345\n0\r\n\r\n"),
        ("LF after the last chunk", "0\n\r\n"),
        ("LF for the end", "0\r\n\n"),
        ("a trailer that ends with LF", "0\r\nX: a\n\r\n"),
        ("a trailer with space before the colon", "0\r\nX : a\r\n\r\n"),
        ("a folded trailer", "0\r\nX: a\r\n b\r\n\r\n"),
        ("a trailer without a name", "0\r\n: a\r\n\r\n"),
        ("NUL in a trailer", "0\r\nX: \0\r\n\r\n"),
    ] {
        case(
            what,
            400,
            &format!("POST TARGET HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
        );
    }
    let long = "x".repeat(16_400);
    let chunked = "POST TARGET HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    case("extensions over 16 KiB", 431, &format!("{chunked}5;{long}\r\n12345\r\n0\r\n\r\n"));
    case("trailers over 16 KiB", 431, &format!("{chunked}0\r\nX: {long}\r\n\r\n"));
    case(
        "small extensions over 16 KiB",
        431,
        &format!("{chunked}{}0\r\n\r\n", "1;x=12345678\r\n1\r\n".repeat(2_000)),
    );
    case("a head over 16 KiB", 431, &format!("GET TARGET HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"));
    case("101 fields", 431, &format!("GET TARGET HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(100)));
    case("a target over 8 KiB", 414, &format!("GET TARGET{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8_192)));
    case("a target over 16 KiB", 414, &format!("GET TARGET{long} HTTP/1.1\r\nHost: a\r\n\r\n"));
    // A TLS hello on the plain port, as far as its first lengths.
    cases.push(("TLS", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".to_vec()));
    cases.push((
        "a target with a byte over 0x7F",
        400,
        b"GET TARGET\xFF HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
    ));
    cases
}

fn with_target(bytes: &[u8], hook: &Hook) -> Vec<u8> {
    match memchr::memmem::find(bytes, b"TARGET") {
        Some(at) => [&bytes[..at], hook.target("").as_bytes(), &bytes[at + 6..]].concat(),
        None => bytes.to_vec(),
    }
}

fn server(driver: &str) -> (Server, Hook) {
    let server = Server::start(|settings| {
        settings.driver(driver);
    });
    let hook = server.webhook(json!({"limits": {"requestsPerWindow": 0}}));
    server.flow(&hook, json!([]));
    (server, hook)
}

fn each_broken_rule_is_refused_and_ends_the_connection(driver: &str) {
    let (server, hook) = server(driver);
    let mut wrong = Vec::new();
    for (what, status, bytes) in broken() {
        let mut wire = server.wire();
        wire.send_what_goes(&[with_target(&bytes, &hook), smuggled(&hook).into_bytes()].concat());
        let response = wire.response();
        let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let said = body["error"].as_str().is_some_and(|error| !error.is_empty());
        if response.status != status || !said || response.header("connection") != Some("close") {
            wrong.push(format!("{what}: {status} expected, got {response:?}"));
        }
        wire.closed();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.metric("tidegate_triggers_total", ""), 0, "none of them triggered");
}

fn what_is_just_within_the_limits_passes(driver: &str) {
    let (server, hook) = server(driver);
    let target = hook.target("/");
    let mut wire = server.wire();
    let fields = "X: a\r\n".repeat(99);
    wire.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).is(200, SUCCESS);
    let longest = format!("{target}{}", "x".repeat(8_192 - target.len()));
    wire.ask(format!("GET {longest} HTTP/1.1\r\nHost: a\r\n\r\n")).is(200, SUCCESS);
    let head =
        |filled: usize| format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(filled));
    wire.ask(head(16_384 - head(0).len())).is(200, SUCCESS);
    let over = wire.ask(head(16_385 - head(0).len()));
    assert_eq!(over.status, 431);
    wire.closed();
    // What looks odd and is right.
    let mut wire = server.wire();
    for request in [
        format!("GET {target} HTTP/1.1\r\nhOsT:a\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: \t a \t\r\nX:\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: \u{e9}\"(),/:;<=>?@[\\]{{}}\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX!#$%&'*+-.^_`|~9: a\r\n\r\n"),
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\n12345"),
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n05;a;b=c;d=\"e;\\\"\"\r\n12345\r\n000\r\nX: a\r\n\r\n"
        ),
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let response = wire.ask(&request);
        assert_eq!((response.status, response.text()), (200, SUCCESS), "{request:?}");
    }
}

fn a_refusal_comes_in_its_turn(driver: &str) {
    let (server, hook) = server(driver);
    let good = String::from_utf8(hook.get()).expect("ASCII");
    let mut wire = server.wire();
    wire.send(format!("{good}{good}GET / HTTP/1.1\r\nNo Host: a\r\n\r\n{}", smuggled(&hook)));
    wire.response().is(200, SUCCESS);
    wire.response().is(200, SUCCESS);
    assert_eq!(wire.response().status, 400);
    wire.closed();
    assert_eq!(server.metric("tidegate_triggers_total", ""), 2);
}

fn a_request_that_has_its_answer_gets_no_second_one(driver: &str) {
    let (server, hook) = server(driver);
    let off = server.webhook(json!({"enabled": false}));
    for (status, method, target) in
        [(404, "POST", "/".to_owned()), (405, "TRACE", hook.target("")), (200, "POST", off.target(""))]
    {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        for apart in [false, true] {
            let mut wire = server.wire();
            if apart {
                assert_eq!(wire.ask(format!("{head}1\r\na\r\n")).status, status, "{method} {target}");
                wire.send(format!("z\r\n{}", smuggled(&hook)));
            } else {
                wire.send(format!("{head}z\r\n{}", smuggled(&hook)));
                assert_eq!(wire.response().status, status, "{method} {target}");
            }
            wire.closed();
        }
    }
    assert_eq!(server.metric("tidegate_triggers_total", ""), 0);
}

fn a_refused_head_request_gets_no_body(driver: &str) {
    let (server, hook) = server(driver);
    let target = hook.target("");
    for (status, request) in [
        (400, format!("HEAD {target} HTTP/1.1\r\n\r\n")),
        (417, format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n")),
        (501, format!("HEAD {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")),
        (414, format!("HEAD /{} HTTP/1.1\r\n", "x".repeat(9_000))),
    ] {
        let mut wire = server.wire();
        wire.send(request);
        let response = wire.response_to_head();
        assert_eq!((response.status, response.header("connection")), (status, Some("close")));
        wire.closed();
    }
}

fn a_body_that_breaks_a_rule_is_among_the_webhooks_requests(driver: &str) {
    let (server, hook) = server(driver);
    let target = hook.target("/a");
    let head =
        format!("POST {target}?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    for apart in [false, true] {
        let mut wire = server.wire();
        if apart {
            wire.send(&head);
            std::thread::yield_now();
            wire.send("z\r\n");
        } else {
            wire.send(format!("{head}z\r\n"));
        }
        assert_eq!(wire.response().status, 400);
        wire.closed();
    }
    let seen = server.done("GET", &hook.resource("/requests"), &Value::Null);
    let seen = seen["items"].as_array().expect("a list");
    // Equal refusals in succession are one.
    let counts: u64 = seen.iter().filter_map(|request| request["count"].as_u64()).sum();
    assert_eq!((seen.len(), counts), (1, 2));
    for request in seen {
        assert_eq!((&request["status"], &request["method"]), (&json!(400), &json!("POST")));
        assert_eq!((&request["path"], &request["bytes"]), (&json!("/a?b"), &json!(3)));
        assert_eq!(request["refusal"], json!("A chunk size must be 1 to 16 hexadecimal digits"));
    }
}

fn nothing_of_a_refused_connection_is_left_for_another(driver: &str) {
    let (server, hook) = server(driver);
    let good = String::from_utf8(hook.get()).expect("ASCII");
    for _ in 0..20 {
        // Bytes lie unread behind the refusal when the connection ends.
        let mut wire = server.wire();
        wire.send(format!("{good}GET / HTTP/1.1\r\nNo Host: a\r\n\r\n{}", smuggled(&hook).repeat(3)));
        wire.response().is(200, SUCCESS);
        assert_eq!(wire.response().status, 400);
        wire.closed();
        drop(wire);
        // The next connection may get the buffers of the one before: it must find them empty.
        let mut next = server.wire();
        next.ask(&good).is(200, SUCCESS);
        assert!(!next.is_readable(), "a response to what another connection sent");
    }
    assert_eq!(server.metric("tidegate_triggers_total", ""), 40);
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
}

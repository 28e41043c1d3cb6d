//! The request line: method, target, version, and what may stand before it.

use super::super::Refusal::{self, *};
use super::super::{Connection, Limits, Step};
use super::{NEXT, refused, taken};
use crate::base::buffer::ReceiveBuffer;

/// The request line is refused so.
#[track_caller]
fn line_refused(line: &str, refusal: Refusal) {
    refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), refusal);
}

/// The target is taken and read as this path and query.
#[track_caller]
fn check_target(method: &str, target: &str, path: &str, query: Option<&str>) {
    let (read, _) = taken(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let bytes = |text: &str| text.as_bytes().to_vec();
    assert_eq!((read.target, read.path, read.query), (bytes(target), bytes(path), query.map(bytes)));
}

#[test]
fn a_target_in_each_of_its_four_forms_is_taken() {
    check_target("GET", "/", "/", None);
    check_target("GET", "/a/b?c=d?e", "/a/b", Some("c=d?e"));
    check_target("GET", "/a?", "/a", Some(""));
    check_target("GET", "//a//b", "//a//b", None);
    check_target("GET", "/%00%zz", "/%00%zz", None);
    check_target("GET", "/{id}/[x]|y", "/{id}/[x]|y", None);
    check_target("GET", "/a?b[]={c}|^`\\", "/a", Some("b[]={c}|^`\\"));
    check_target("GET", "http://h.example/a?b", "/a", Some("b"));
    check_target("GET", "HTTPS://h.example:8443/a", "/a", None);
    check_target("GET", "http://h.example", "/", None);
    check_target("GET", "http://h.example?b", "/", Some("b"));
    check_target("GET", "http://[::1]:80/a", "/a", None);
    check_target("OPTIONS", "*", "*", None);
    check_target("OPTIONS", "/a", "/a", None);
    check_target("CONNECT", "h.example:443", "/", None);
    check_target("CONNECT", "[2001:db8::1]:443", "/", None);
}

#[test]
fn a_target_in_no_form_is_refused() {
    for target in [
        "a",
        "*",
        "?a",
        "/a#b",
        "/a?b#c",
        "#",
        "/a\"",
        "/a<b",
        "/a>b",
        "/a\\b",
        "/a^",
        "/a`",
        "/?<",
        "/?\"",
        "ftp://h/",
        "http:",
        "http:/h",
        "https",
        "//h\u{e9}",
        "h.example:443",
        "javascript:1",
    ] {
        line_refused(&format!("GET {target} HTTP/1.1"), Target);
    }
    for target in [
        "h.example",
        "h.example:",
        ":443",
        "/a",
        "*",
        "h:x",
        "h:65536",
        "[::1]",
        "[::1]:",
        "u@h:1",
        "http://h:80/",
    ] {
        line_refused(&format!("CONNECT {target} HTTP/1.1"), Target);
    }
    for target in [
        "http:///a",
        "http://:80/a",
        "http://?a",
        "http://u@h/",
        "http://u:p@h/",
        "http://a b:1/",
        "http://h:x/",
        "http://[1/",
        "http://#",
    ] {
        let refusal = if target.contains(' ') { RequestLine } else { HostInvalid };
        line_refused(&format!("GET {target} HTTP/1.1"), refusal);
    }
    line_refused("OPTIONS *x HTTP/1.1", Target);
    line_refused("OPTIONS ** HTTP/1.1", Target);
}

#[test]
fn a_control_character_or_a_byte_over_127_in_a_target_is_refused() {
    for byte in (0..=0x1F_u8).chain([0x7F, 0x80, 0xFF]) {
        let bytes = [b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let refusal = match byte {
            b'\n' => BareLf,
            _ => RequestLine,
        };
        refused(&bytes, refusal);
    }
    refused("GET /café HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(), Target);
}

#[test]
fn between_the_three_parts_stands_one_space_each() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET / ",
        "GET",
        "GET\t/\tHTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / a HTTP/1.1",
        "GET / a HTTP/2.0",
        "/ HTTP/1.1",
    ] {
        let refusal = match line {
            "GET\t/\tHTTP/1.1" | "/ HTTP/1.1" => MethodName,
            _ => RequestLine,
        };
        line_refused(line, refusal);
    }
    line_refused(" GET / HTTP/1.1", MethodName);
}

#[test]
fn a_method_is_a_token_of_at_most_32_bytes() {
    let (read, _) = taken(format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(32)).as_bytes());
    assert_eq!(read.method, "M".repeat(32).as_bytes());
    assert_eq!(taken(b"get / HTTP/1.1\r\nHost: a\r\n\r\n").0.method, b"get");
    assert_eq!(taken(b"M-SEARCH! / HTTP/1.1\r\nHost: a\r\n\r\n").0.method, b"M-SEARCH!");
    line_refused(&format!("{} / HTTP/1.1", "M".repeat(33)), MethodName);
    line_refused("G(T / HTTP/1.1", MethodName);
    line_refused("G\0T / HTTP/1.1", MethodName);
    line_refused("G\u{e9}T / HTTP/1.1", MethodName);
    line_refused("GET: / HTTP/1.1", MethodName);
}

#[test]
fn garbage_is_refused_at_its_first_byte_that_cannot_be_right() {
    use super::driver::{Plan, Seen, drive};
    for (bytes, refusal) in [
        (&b"\x16\x03\x01\x02"[..], MethodName),
        (b"\0", MethodName),
        (b"SSH-2.0-x\r", RequestLine),
        (b"GE\x80", MethodName),
        (b"GET /\n", BareLf),
        (b"GET\n", BareLf),
        (&[b'A'; 33], MethodName),
    ] {
        assert_eq!(
            drive(bytes.chunks(1), &Plan::default()),
            [Seen::Refused(refusal)],
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn other_versions_than_1_0_and_1_1_are_refused() {
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9"] {
        line_refused(&format!("GET / {version}"), VersionUnsupported);
    }
    for version in [
        "HTTP/2",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/1.10",
        "HTTP/11.1",
        "http/1.1",
        "HTTPS/1.1",
        "HTTP/1,1",
        "HTTP 1.1",
        "ICY/1.0",
    ] {
        line_refused(&format!("GET / {version}"), RequestLine);
    }
    refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionUnsupported);
    assert!(!taken(b"GET / HTTP/1.0\r\n\r\n").0.is_http11);
}

#[test]
fn one_empty_line_before_a_request_is_forgiven_and_a_second_is_not() {
    taken(&[b"\r\n", NEXT].concat());
    refused(b"\r\n\r\n", EmptyLines);
    refused(b"\n", BareLf);
    refused(b"\r\n\n", BareLf);
    refused(b"\r\r\n", BareCr);
    refused(b"\r\n\rG", BareCr);
    refused(b"\rGET / HTTP/1.1\r\n", BareCr);
    refused(b"\r\n ", MethodName);
}

#[test]
fn a_target_may_have_8_kib_and_no_more() {
    let with_target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1)).into_bytes();
    assert_eq!(taken(&with_target(8192)).0.target.len(), 8192);
    refused(&with_target(8193), TargetTooLong);
    // Whatever follows: the target shows it first.
    refused(&with_target(70_000), TargetTooLong);
    refused(&[b"GET /", &[b'a'; 8192][..]].concat(), TargetTooLong);
}

#[test]
fn the_authority_of_a_target_that_is_a_url_takes_the_place_of_host() {
    let host = |line: &str, fields: &str| {
        let bytes = format!("{line} HTTP/1.1\r\n{fields}\r\n");
        let mut connection = Connection::new(Limits::default());
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(bytes.as_bytes());
        assert_eq!(connection.poll(&mut buffer), Step::Head, "{bytes}");
        connection.request(&buffer).field("host").map(|host| String::from_utf8(host.to_vec()).unwrap())
    };
    for (target, expected) in [
        ("http://a.example/webhooks/T", "a.example"),
        ("HTTPS://a.example:8443?q", "a.example:8443"),
        ("http://[::1]:80", "[::1]:80"),
        ("/webhooks/T", "b.example"),
    ] {
        assert_eq!(host(&format!("GET {target}"), "Host: b.example\r\n").as_deref(), Some(expected));
        assert_eq!(host(&format!("GET {target}"), "X: y\r\nhOST:b.example \r\n").as_deref(), Some(expected));
    }
    // An empty Host is one, too.
    assert_eq!(host("GET http://a.example/", "Host:\r\n").as_deref(), Some("a.example"));
}

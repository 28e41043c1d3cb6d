//! Field lines, and what fields mean for the connection.

use super::super::Refusal::{self, *};
use super::driver::{Plan, Seen, drive_cut};
use super::{Framing, NEXT, refused, taken, with_fields};

/// A request with these field lines is refused so.
#[track_caller]
fn check_refused(fields: &str, refusal: Refusal) {
    refused(&with_fields(fields), refusal);
}

/// A request with this one field besides Host reads its value so.
#[track_caller]
fn check_value(line: &[u8], value: &[u8]) {
    let (read, _) = taken(&[b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat());
    assert_eq!(read.fields[1].1, value, "{}", line.escape_ascii());
}

#[test]
fn a_value_is_read_without_the_white_space_around_it() {
    check_value(b"x:y", b"y");
    check_value(b"x: \t y z\t ", b"y z");
    check_value(b"x:", b"");
    check_value(b"x: \t", b"");
    check_value(b"x: a\tb:c;\"d\"", b"a\tb:c;\"d\"");
    check_value(b"x: caf\xc3\xa9 \xff", b"caf\xc3\xa9 \xff");
    check_value(b"!#$%&'*+-.^_`|~09AZ: y", b"y");
}

#[test]
fn fields_keep_their_order_and_their_names() {
    let (read, _) = taken(b"GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\na: 2\r\nB: 3\r\n\r\n");
    let names: Vec<_> = read.fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(names, [(&b"Host"[..], &b"a"[..]), (b"B", b"1"), (b"a", b"2"), (b"B", b"3")]);
}

#[test]
fn a_field_means_something_by_its_name_and_not_by_its_length() {
    // As long as Host, Expect, Upgrade, Connection, X-Request-Id, Content-Length and Transfer-Encoding.
    for length in [4, 6, 7, 10, 12, 14, 17] {
        let name = "x".repeat(length);
        let fields = format!("{name}: chunked, close, upgrade, websocket, 1\r\n{name}: 2\r\n");
        let (read, body) = taken(&with_fields(&fields));
        assert_eq!(
            (read.framing, read.expects_continue, read.upgrade_websocket),
            (Framing::None, false, false)
        );
        assert_eq!(body, b"");
        let (read, _) = taken(format!("GET http://b/ HTTP/1.1\r\nHost: a\r\n{name}: y\r\n\r\n").as_bytes());
        let values: Vec<&[u8]> = read.fields.iter().map(|(_, value)| &value[..]).collect();
        assert_eq!(values, [&b"b"[..], b"y"], "a target's authority takes the place of Host alone");
    }
}

#[test]
fn a_line_that_is_no_field_is_refused() {
    for line in [
        "x : y",
        "x\t: y",
        ": y",
        "x",
        "x y: z",
        "x\u{e9}: y",
        "(x): y",
        "x@y: z",
        "\"x\": y",
        "x\0: y",
        "\0",
    ] {
        check_refused(&format!("{line}\r\n"), FieldLine);
    }
}

#[test]
fn a_folded_line_is_refused_wherever_it_stands() {
    check_refused("x: y\r\n z\r\n", ObsFold);
    check_refused("x: y\r\n\tz\r\n", ObsFold);
    check_refused("x:\r\n y\r\n", ObsFold);
    check_refused("Transfer-Encoding:\r\n chunked\r\n", ObsFold);
    refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", ObsFold);
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", ObsFold);
}

#[test]
fn a_cr_or_an_lf_that_stands_alone_is_refused_wherever_it_stands() {
    check_refused("x: y\n", BareLf);
    check_refused("x: y\nz: w\r\n", BareLf);
    check_refused("x\n: y\r\n", BareLf);
    check_refused("x: y\r\n\n", BareLf);
    check_refused("\n", BareLf);
    check_refused("x: y\rz\r\n", BareCr);
    check_refused("x\r: y\r\n", BareCr);
    check_refused("x: y\r\r\n", BareCr);
    check_refused("\rx: y\r\n", BareCr);
    refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf);
    refused(b"GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr);
    refused(b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BareCr);
    refused(b"GET / HTTP/1.1\n\nHost: a\r\n\r\n", BareLf);
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n\rGET", BareCr);
    refused(b"GET /\r/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine);
}

#[test]
fn control_characters_in_names_and_values_are_refused() {
    for byte in (0..0x20_u8).chain([0x7F]).filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n')) {
        refused(&[b"GET / HTTP/1.1\r\nHost: a\r\nx: y", &[byte][..], b"z\r\n\r\n"].concat(), FieldLine);
        refused(&[b"GET / HTTP/1.1\r\nHost: a\r\nx", &[byte][..], b"z: y\r\n\r\n"].concat(), FieldLine);
        refused(&[b"GET / HTTP/1.1\r\nHost: a\r\nx:", &[byte][..], b"\r\n\r\n"].concat(), FieldLine);
    }
}

#[test]
fn a_request_of_1_1_has_one_host_and_its_value_is_one() {
    refused(b"GET / HTTP/1.1\r\n\r\n", HostMissing);
    refused(b"GET http://a/ HTTP/1.1\r\n\r\n", HostMissing);
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HostRepeated);
    refused(b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nhOST: b\r\n\r\n", HostRepeated);
    refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", HostRepeated);
    taken(b"GET / HTTP/1.0\r\n\r\n");
    for host in [
        "",
        "a",
        "a.example",
        "a.example:",
        "a.example:80",
        "127.0.0.1:65535",
        "[::1]",
        "[::1]:80",
        "[::ffff:1.2.3.4]",
        "a_b-c~!$&'()*+,;=",
    ] {
        taken(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    for host in [
        ":80",
        "a b",
        "a, b",
        "a:b",
        "a:80:80",
        "a:-1",
        "a:+80",
        "a:65536",
        "a:99999999999999999999",
        "u@a",
        "a/b",
        "a?b",
        "a#b",
        "a%41",
        "http://a",
        "[::1",
        "[]",
        "[:]",
        "[.]",
        "[::1]a",
        "[::1]80",
        "[v1.a]",
        "[::1%25eth0]",
        "::1",
        "a\"",
        "<a>",
        "a\\b",
        "a\u{e9}",
    ] {
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), HostInvalid);
    }
}

#[test]
fn a_length_is_digits_and_nothing_else() {
    assert_eq!(taken(&[&with_fields("Content-Length: 3\r\n")[..], b"abc"].concat()).1, b"abc");
    assert_eq!(taken(&[&with_fields("content-LENGTH:003 \r\n")[..], b"abc"].concat()).1, b"abc");
    assert_eq!(taken(&with_fields("Content-Length: 0\r\n")).0.framing, Framing::None);
    for length in [
        "",
        "+5",
        "-5",
        "-0",
        "5a",
        "a",
        "0x5",
        "5.0",
        "5 5",
        "5,5",
        "5, 5",
        "5;",
        "\"5\"",
        "1e1",
        "\u{0665}",
        "5\t5",
        "1_000",
        "1000000000000000000",
        "18446744073709551621",
        "99999999999999999999999999999999999",
    ] {
        check_refused(&format!("Content-Length: {length}\r\n"), LengthInvalid);
    }
    check_refused("Content-Length: 5\r\nContent-Length: 6\r\n", LengthRepeated);
    check_refused("Content-Length: 5\r\nContent-Length: 5\r\n", LengthRepeated);
    check_refused("Content-Length: 0\r\nCONTENT-LENGTH: 0\r\n", LengthRepeated);
    check_refused("Content-Length: 5\r\nContent-Length: x\r\n", LengthInvalid);
}

#[test]
fn a_length_and_a_transfer_coding_together_are_refused() {
    for coding in ["chunked", "gzip", "identity", ""] {
        check_refused(&format!("Content-Length: 5\r\nTransfer-Encoding: {coding}\r\n"), LengthAndChunked);
        check_refused(&format!("Transfer-Encoding: {coding}\r\nContent-Length: 0\r\n"), LengthAndChunked);
    }
    refused(b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", LengthAndChunked);
}

#[test]
fn the_only_transfer_coding_is_chunked_once() {
    for coding in ["chunked", "Chunked", "CHUNKED", "\tchunked "] {
        let request = with_fields(&format!("Transfer-Encoding: {coding}\r\n"));
        assert_eq!(taken(&[&request[..], b"0\r\n\r\n"].concat()).0.framing, Framing::Chunked, "{coding}");
    }
    for coding in [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked, identity",
        "chunked;q=1",
        "xchunked",
        "chunkedx",
        "chunk",
        "chunked chunked",
        "\"chunked\"",
        "'chunked'",
        "chunked\u{a0}",
        "\u{a0}chunked",
        "x",
        "chunked, \u{ff}",
    ] {
        check_refused(&format!("Transfer-Encoding: {coding}\r\n"), CodingNotFinal);
    }
    for coding in ["gzip, chunked", "gzip,deflate , CHUNKED", "identity, chunked", "chunked;q=1, chunked"] {
        check_refused(&format!("Transfer-Encoding: {coding}\r\n"), CodingUnsupported);
    }
    for coding in [
        "",
        ",",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked,,chunked",
        "chunked, gzip, chunked",
        "gzip,, chunked",
    ] {
        check_refused(&format!("Transfer-Encoding: {coding}\r\n"), CodingRepeated);
    }
    check_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CodingRepeated);
    check_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", CodingRepeated);
    // One list over two fields means what it means in one field.
    check_refused("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", CodingUnsupported);
    check_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", CodingNotFinal);
    check_refused("Transfer-Encoding : chunked\r\n", FieldLine);
    check_refused("Transfer-Encoding: \x0bchunked\r\n", FieldLine);
    for coding in ["chunked", "gzip", ""] {
        let request = format!("POST / HTTP/1.0\r\nTransfer-Encoding: {coding}\r\n\r\n");
        refused(request.as_bytes(), CodingInHttp10);
    }
}

#[test]
fn a_connection_stays_by_default_in_1_1_and_on_demand_in_1_0() {
    for (version, connection, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Keep-Alive\r\n", true),
        ("1.1", "Connection: x, CLOSE ,y\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.1", "Connection: close, keep-alive\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.1", "Connection: \"close\"\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: close\r\n", false),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "Connection: upgrade\r\n", false),
    ] {
        let bytes =
            [format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n").as_bytes(), NEXT].concat();
        let seen = drive_cut(&bytes, &Plan::default());
        match stays {
            true => {
                assert!(matches!(seen[..], [Seen::Request(..), Seen::Request(..)]), "{version} {connection}")
            }
            false => assert!(matches!(seen[..], [Seen::Request(..), Seen::Close]), "{version} {connection}"),
        }
    }
}

#[test]
fn only_an_expectation_of_100_continue_is_met() {
    let expects = |version: &str, fields: &str, body: &str| {
        taken(format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n{body}").as_bytes()).0.expects_continue
    };
    assert!(expects("1.1", "Expect: 100-continue\r\nContent-Length: 1\r\n", "a"));
    assert!(expects("1.1", "expect: 100-Continue \r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    // Nothing follows that could wait, and 1.0 does not know it.
    assert!(!expects("1.1", "Expect: 100-continue\r\n", ""));
    assert!(!expects("1.1", "Expect: 100-continue\r\nContent-Length: 0\r\n", ""));
    assert!(!expects("1.0", "Expect: 100-continue\r\nContent-Length: 1\r\n", "a"));
    assert!(!expects("1.0", "Expect: else\r\nContent-Length: 1\r\n", "a"));
    // A list, of which empty members do not count (RFC 9110, 5.6.1), over one field or several.
    for list in ["100-continue, 100-continue", ",100-continue", "100-continue,", " , 100-Continue ,,"] {
        assert!(expects("1.1", &format!("Expect: {list}\r\nContent-Length: 1\r\n"), "a"), "{list}");
    }
    assert!(expects("1.1", "Expect:\r\nExpect: 100-continue\r\nContent-Length: 1\r\n", "a"));
    for none in ["", ",", " , ,"] {
        assert!(!expects("1.1", &format!("Expect: {none}\r\nContent-Length: 1\r\n"), "a"), "{none}");
    }
    for other in ["200-ok", "100-continue, x", ",x", "100-continue;x", "\"100-continue\"", "100 continue"] {
        check_refused(&format!("Expect: {other}\r\n"), Expectation);
    }
    check_refused("Expect: 100-continue\r\nExpect: x\r\n", Expectation);
}

#[test]
fn an_upgrade_to_websocket_needs_both_fields_and_1_1() {
    let asks = |version: &str, fields: &str| {
        taken(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes()).0.upgrade_websocket
    };
    assert!(asks("1.1", "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"));
    assert!(asks("1.1", "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"));
    assert!(!asks("1.1", "Upgrade: websocket\r\n"));
    assert!(!asks("1.1", "Connection: upgrade\r\n"));
    assert!(!asks("1.1", "Connection: upgrade\r\nUpgrade: websockets\r\n"));
    assert!(!asks("1.0", "Upgrade: websocket\r\nConnection: upgrade\r\n"));
}

#[test]
fn a_head_may_have_16_kib_and_100_fields_and_no_more() {
    let of_bytes = |bytes: usize| {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nx: \r\n\r\n".len();
        with_value("GET / HTTP/1.1\r\nHost: a\r\nx: ", bytes - rest)
    };
    assert_eq!(of_bytes(16_384).len(), 16_384);
    taken(&of_bytes(16_384));
    // The empty line before it is not of the head.
    taken(&[b"\r\n", &of_bytes(16_384)[..]].concat());
    refused(&of_bytes(16_385), HeadTooLarge);
    refused(&of_bytes(100_000), HeadTooLarge);
    // The limit is reached first, whatever else is wrong behind it.
    refused(&[&of_bytes(16_386)[..16_384], b"\n\n"].concat(), HeadTooLarge);
    refused(&[&of_bytes(16_386)[..16_382], b"\n\n"].concat(), BareLf);
    taken(&with_fields(&"x: y\r\n".repeat(99)));
    check_refused(&"x: y\r\n".repeat(100), TooManyFields);
    check_refused(&"x:\r\n".repeat(1000), TooManyFields);
}

fn with_value(before: &str, bytes: usize) -> Vec<u8> {
    format!("{before}{}\r\n\r\n", "v".repeat(bytes)).into_bytes()
}

//! Bodies: by length, chunked, taken and dropped, and their limits.

use super::super::{Connection, Limits, Refusal, Refusal::*, Step};
use super::driver::{Plan, Seen, drive_cut};
use super::{NEXT, taken, with_fields};
use crate::base::buffer::ReceiveBuffer;

fn chunked(body: &[u8]) -> Vec<u8> {
    [&with_fields("Transfer-Encoding: chunked\r\n")[..], body].concat()
}

/// The chunked body is read as this, and the request behind it is read too; dropped, it is dropped whole.
#[track_caller]
fn check_chunks(body: &[u8], decoded: &[u8]) {
    let bytes = [&chunked(body)[..], NEXT].concat();
    let seen = drive_cut(&bytes, &Plan::default());
    assert!(
        matches!(&seen[..], [Seen::Request(_, body), Seen::Request(..)] if body == decoded),
        "{}: {seen:?}",
        body.escape_ascii()
    );
    let dropped = drive_cut(&bytes, &Plan { is_dropping: true, ..Plan::default() });
    assert!(matches!(dropped[..], [Seen::Dropped(_), Seen::Dropped(_)]), "{}", body.escape_ascii());
}

/// The chunked body is refused, taken or dropped, and nothing behind it is read as a request.
#[track_caller]
fn check_chunks_refused(body: &[u8], refusal: Refusal) {
    let bytes = [&chunked(body)[..], NEXT].concat();
    for is_dropping in [false, true] {
        let seen = drive_cut(&bytes, &Plan { is_dropping, ..Plan::default() });
        assert_eq!(seen, [Seen::Refused(refusal)], "{}", body.escape_ascii());
    }
}

#[test]
fn chunks_are_put_together() {
    check_chunks(b"0\r\n\r\n", b"");
    check_chunks(b"5\r\nhello\r\n0\r\n\r\n", b"hello");
    check_chunks(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world");
    check_chunks(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n00\r\n\r\n", b"abc");
    check_chunks(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789");
    check_chunks(b"0000000000000001\r\na\r\n0000000000000000\r\n\r\n", b"a");
    check_chunks(b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n");
    check_chunks(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n");
}

#[test]
fn extensions_and_trailers_are_checked_and_dropped() {
    check_chunks(b"1;a\r\nx\r\n0;b=c\r\n\r\n", b"x");
    check_chunks(b"1;a=b;c=\"d;\\\"\t\xc3\xa9\";e\r\nx\r\n0\r\n\r\n", b"x");
    check_chunks(b"1;a=\"\"\r\nx\r\n0\r\n\r\n", b"x");
    check_chunks(b"1\r\nx\r\n0\r\na: b\r\nc:\r\n\r\n", b"x");
    check_chunks(b"0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n", b"");
    for (body, refusal) in [
        (&b"1;\r\nx\r\n0\r\n\r\n"[..], ChunkExtension),
        (b"1;;a\r\nx\r\n", ChunkExtension),
        (b"1; a\r\nx\r\n", ChunkExtension),
        (b"1;a \r\nx\r\n", ChunkExtension),
        (b"1;a=\r\nx\r\n", ChunkExtension),
        (b"1;=b\r\nx\r\n", ChunkExtension),
        (b"1;a==b\r\nx\r\n", ChunkExtension),
        (b"1;a=\"b\r\nx\r\n", ChunkExtension),
        (b"1;a=\"b\"c\r\nx\r\n", ChunkExtension),
        (b"1;a=\"\\\r\"\r\nx\r\n", ChunkExtension),
        (b"1;a\0\r\nx\r\n", ChunkExtension),
        (b"1;a\nx\r\n", BareLf),
        (b"1;a=\"\n\"\r\nx\r\n", BareLf),
        (b"1;a=b\rc\r\nx\r\n", BareCr),
        (b"0\r\na b: c\r\n\r\n", Trailer),
        (b"0\r\na\r\n\r\n", Trailer),
        (b"0\r\n: c\r\n\r\n", Trailer),
        (b"0\r\na : c\r\n\r\n", Trailer),
        (b"0\r\na: b\r\n c\r\n\r\n", Trailer),
        (b"0\r\na: \0\r\n\r\n", Trailer),
        (b"0\r\na: b\n\r\n", BareLf),
        (b"0\r\na\n: b\r\n\r\n", BareLf),
        (b"0\r\na: b\rc\r\n\r\n", BareCr),
        (b"0\r\n\n", BareLf),
        (b"0\r\n\r\r", BareCr),
        (b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", Trailer),
    ] {
        check_chunks_refused(body, refusal);
    }
}

#[test]
fn a_chunk_size_is_hexadecimal_digits_and_nothing_else() {
    for size in [
        "",
        " 5",
        "5 ",
        "+5",
        "-5",
        "0x5",
        "5h",
        "g",
        "\t5",
        "5\t",
        "\"5\"",
        "5,",
        "\0",
        "5\0",
        "\u{665}",
        "_5",
        "00000000000000005",
        "10000000000000000",
    ] {
        check_chunks_refused(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes(), ChunkSize);
    }
    check_chunks_refused(b"5\nhello\r\n0\r\n\r\n", BareLf);
    check_chunks_refused(b"\nhello", BareLf);
    check_chunks_refused(b"5\r\rhello\r\n0\r\n\r\n", BareCr);
    check_chunks_refused(b"5\rhello\r\n0\r\n\r\n", BareCr);
    check_chunks_refused(b"5\r\nhello\r\n0\r\r\n\r\n", BareCr);
}

#[test]
fn behind_a_chunk_stands_its_crlf() {
    check_chunks_refused(b"5\r\nhello!\r\n0\r\n\r\n", ChunkEnd);
    check_chunks_refused(b"5\r\nhello\n0\r\n\r\n", ChunkEnd);
    check_chunks_refused(b"5\r\nhello\r0\r\n\r\n", ChunkEnd);
    check_chunks_refused(b"5\r\nhello0\r\n\r\n", ChunkEnd);
    check_chunks_refused(b"4\r\nhello\r\n0\r\n\r\n", ChunkEnd);
    check_chunks_refused(b"5\r\nhello\r\n\r\n0\r\n\r\n", ChunkSize);
}

#[test]
fn extensions_and_trailers_have_16_kib_together_and_no_more() {
    // `;` and the name; name, colon and value with their CRLF.
    let body = |extension: usize, trailer: usize| {
        format!("1;{}\r\nx\r\n0\r\na:{}\r\n\r\n", "e".repeat(extension - 1), "t".repeat(trailer - 4))
            .into_bytes()
    };
    check_chunks(&body(8192, 8192), b"x");
    check_chunks_refused(&body(8192, 8193), ChunkOverhead);
    check_chunks_refused(&body(8193, 8192), ChunkOverhead);
    check_chunks_refused(&body(16_385, 4), ChunkOverhead);
    check_chunks_refused(&body(2, 16_383), ChunkOverhead);
    // Spread thin over many chunks and many lines, too.
    check_chunks_refused(&b"1;a\r\nx\r\n".repeat(8193), ChunkOverhead);
    check_chunks_refused(&[b"0\r\n", &b"a:\r\n".repeat(4097)[..]].concat(), ChunkOverhead);
    check_chunks(&[b"0\r\n", &b"a:\r\n".repeat(4096)[..], b"\r\n"].concat(), b"");
}

#[test]
fn a_length_is_read_to_its_last_byte_and_no_further() {
    let (read, body) = taken(&[&with_fields("Content-Length: 11\r\n")[..], b"hello\r\n\r\n\0!"].concat());
    assert_eq!((read.framing, &body[..]), (super::Framing::Length(11), &b"hello\r\n\r\n\0!"[..]));
    let bytes = [&with_fields("Content-Length: 5\r\n")[..], b"hello", NEXT].concat();
    for is_dropping in [false, true] {
        let seen = drive_cut(&bytes, &Plan { is_dropping, ..Plan::default() });
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for is_dropping in [false, true] {
        let plan = Plan { body_bytes_max: 10, is_dropping, limits: Limits::default() };
        let is_taken = |bytes: &[u8]| {
            let seen = drive_cut(&[bytes, NEXT].concat(), &plan);
            match &seen[..] {
                [Seen::Request(..), Seen::Request(..)] if !is_dropping => true,
                [Seen::Dropped(_), Seen::Dropped(_)] if is_dropping => true,
                [Seen::TooLarge(_)] => false,
                other => panic!("{}: {other:?}", bytes.escape_ascii()),
            }
        };
        assert!(is_taken(&[&with_fields("Content-Length: 10\r\n")[..], b"0123456789"].concat()));
        assert!(!is_taken(&[&with_fields("Content-Length: 11\r\n")[..], b"0123456789a"].concat()));
        assert!(is_taken(&chunked(b"a\r\n0123456789\r\n0\r\n\r\n")));
        assert!(is_taken(&chunked(b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n")));
        assert!(!is_taken(&chunked(b"b\r\n0123456789a\r\n0\r\n\r\n")));
        assert!(!is_taken(&chunked(b"5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n")));
        assert!(!is_taken(&chunked(b"ffffffffffffffff\r\n")));
    }
}

#[test]
fn a_body_over_the_limit_is_seen_before_a_byte_of_it_has_come() {
    for bytes in [with_fields("Content-Length: 262145\r\n"), chunked(b"40001\r\n")] {
        let seen = drive_cut(&bytes, &Plan::default());
        assert!(matches!(seen[..], [Seen::TooLarge(_)]), "{seen:?}");
    }
    assert_eq!(drive_cut(&chunked(b"40000\r\n"), &Plan::default()), []);
}

#[test]
fn a_large_body_is_the_same_in_chunks_and_whole() {
    let body: Vec<u8> = (0..262_144_u32).map(|n| (n % 251) as u8).collect();
    let whole = [&with_fields("Content-Length: 262144\r\n")[..], &body].concat();
    let mut in_chunks = chunked(b"");
    for chunk in body.chunks(1021) {
        in_chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        in_chunks.extend_from_slice(chunk);
        in_chunks.extend_from_slice(b"\r\n");
    }
    in_chunks.extend_from_slice(b"0\r\n\r\n");
    for bytes in [whole, in_chunks] {
        for size in [1, 1000, 4096, bytes.len()] {
            let seen = super::driver::drive(bytes.chunks(size), &Plan::default());
            assert!(matches!(&seen[..], [Seen::Request(_, taken)] if *taken == body), "pieces of {size}");
        }
    }
}

#[test]
fn a_body_is_received_once_its_last_byte_is() {
    for (head, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5;x=\"y\"\r\nhello\r\n0\r\nTrailer: t\r\n\r\n"),
        ("", ""),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
        for behind in ["", "GET / HTTP/1.1\r\n"] {
            for length in 0..=body.len() {
                let whole = length == body.len();
                let mut connection = Connection::new(Limits::default());
                let mut buffer = ReceiveBuffer::default();
                buffer.extend(head.as_bytes());
                buffer.extend(&body.as_bytes()[..length]);
                if whole {
                    buffer.extend(behind.as_bytes());
                }
                assert_eq!(connection.poll(&mut buffer), Step::Head);
                assert_eq!(connection.is_body_received(&buffer), whole, "{length} of {body:?}");
                connection.drop_body(1024);
                assert_eq!(connection.poll(&mut buffer) == Step::Dropped, whole, "{length} of {body:?}");
            }
        }
    }
    // A body that breaks a rule never ends.
    let mut connection = Connection::new(Limits::default());
    let mut buffer = ReceiveBuffer::default();
    buffer.extend(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n0\r\n\r\n");
    assert_eq!(connection.poll(&mut buffer), Step::Head);
    assert!(!connection.is_body_received(&buffer));
}

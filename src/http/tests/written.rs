//! The bytes of responses, and that a client reads them as they are meant.

use super::super::encode::{
    self, CONTINUE, DateField, content_length, end_of_head, field, has_body, is_field_name, is_field_value,
    status_line,
};

#[test]
fn a_response_is_written_as_it_should_stand_on_the_wire() {
    let mut out = Vec::new();
    let mut date = DateField::new();
    status_line(&mut out, 200);
    out.extend_from_slice(date.line(784_111_777_000));
    field(&mut out, b"connection", b"keep-alive");
    content_length(&mut out, 5);
    end_of_head(&mut out);
    out.extend_from_slice(b"hello");
    let expected = "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(out.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

#[test]
fn every_status_is_read_back_by_a_client_with_a_reason_or_none() {
    for status in 100..=999 {
        let mut out = Vec::new();
        status_line(&mut out, status);
        end_of_head(&mut out);
        let mut fields = [httparse::EMPTY_HEADER; 1];
        let mut response = httparse::Response::new(&mut fields);
        assert_eq!(response.parse(&out), Ok(httparse::Status::Complete(out.len())), "{status}");
        assert_eq!((response.version, response.code), (Some(1), Some(status)));
    }
    for (status, line) in [
        (101, "HTTP/1.1 101 Switching Protocols\r\n"),
        (204, "HTTP/1.1 204 No Content\r\n"),
        (413, "HTTP/1.1 413 Content Too Large\r\n"),
        (431, "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
        (599, "HTTP/1.1 599 \r\n"),
    ] {
        let mut out = Vec::new();
        status_line(&mut out, status);
        assert_eq!(out, line.as_bytes());
    }
    assert_eq!(CONTINUE, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_chunk_is_its_length_in_hexadecimal_and_its_bytes() {
    for (length, digits) in
        [(1, "1"), (15, "f"), (16, "10"), (255, "ff"), (4096, "1000"), (0x1_2f0e, "12f0e")]
    {
        let (mut out, bytes) = (b"before".to_vec(), vec![b'x'; length]);
        encode::chunk(&mut out, &bytes);
        assert_eq!(out, [b"before", digits.as_bytes(), b"\r\n", &bytes, b"\r\n"].concat());
    }
    let mut out = Vec::new();
    encode::chunk(&mut out, b"");
    assert_eq!(out, b"", "one without bytes would be the last");
}

#[test]
fn informational_answers_204_and_304_have_no_body() {
    for status in 100..600 {
        assert_eq!(has_body(status), !matches!(status, 100..200 | 204 | 304), "{status}");
    }
}

#[test]
fn a_date_is_renewed_with_its_second() {
    let mut date = DateField::default();
    assert_eq!(date.line(999), b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    assert_eq!(date.line(1000), b"date: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
    assert_eq!(date.line(1_772_323_199_999), b"date: Sat, 28 Feb 2026 23:59:59 GMT\r\n");
    assert_eq!(
        date.line(0),
        b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
        "a clock that was set back is followed"
    );
}

#[test]
fn nothing_that_could_end_a_line_is_a_name_or_a_value() {
    for name in ["x", "X-a.b_c", "!#$%&'*+-.^_`|~"] {
        assert!(is_field_name(name.as_bytes()), "{name}");
    }
    for name in ["", " ", "x ", "x:", "x\r", "x\n", "x\0", "é", "a b", "(x)"] {
        assert!(!is_field_name(name.as_bytes()), "{name}");
    }
    for byte in 0..=255_u8 {
        let is_control = (byte < 0x20 && byte != b'\t') || byte == 0x7F;
        assert_eq!(is_field_value(&[b'a', byte, b'b']), !is_control, "{byte}");
    }
    assert!(encode::is_field_value(b""));
}

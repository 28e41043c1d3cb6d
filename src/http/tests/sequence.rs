//! One request after the other on one connection, and what the machine says between its steps.

use super::super::{Awaiting, Connection, Limits, Refusal, Step};
use super::driver::{Plan, Seen, drive, drive_cut};
use super::{NEXT, with_fields};
use crate::base::buffer::ReceiveBuffer;

fn targets(seen: &[Seen]) -> Vec<&str> {
    let target = |seen| match seen {
        &Seen::Request(ref read, _) | &Seen::Dropped(ref read) | &Seen::TooLarge(ref read) => {
            std::str::from_utf8(&read.target).expect("a target of these tests")
        }
        Seen::Refused(refusal) => refusal.name(),
        Seen::Close => "close",
    };
    seen.iter().map(target).collect()
}

#[test]
fn pipelined_requests_come_out_in_their_order() {
    let bytes = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\
        POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx: y\r\n\r\n\r\nGET /4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
        GET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /6 HTTP/1.1\r\nHost: a\r\n\r\n";
    let plan = Plan::default();
    assert_eq!(targets(&drive_cut(bytes, &plan)), ["/1", "/2", "/3", "/4", "/5", "close"]);
    assert_eq!(
        targets(&drive_cut(bytes, &Plan { is_dropping: true, ..plan })),
        ["/1", "/2", "/3", "/4", "/5", "close"]
    );
}

#[test]
fn nothing_behind_a_refused_request_is_read_as_one() {
    for (flaw, name) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "host_missing"),
        (b"GET / HTTP/1.1\r\nHost: a\nx: y\r\n\r\n", "bare_lf"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "version"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "length_and_chunked",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
            "chunk_size",
        ),
        (b"\r\n\r\n", "empty_lines"),
    ] {
        let bytes = [NEXT, flaw, NEXT, NEXT].concat();
        assert_eq!(targets(&drive_cut(&bytes, &Plan::default())), ["/next", name]);
    }
}

#[test]
fn a_thousand_pipelined_requests_are_all_read() {
    let bytes = NEXT.repeat(1000);
    for size in [7, 4096, bytes.len()] {
        assert_eq!(drive(bytes.chunks(size), &Plan::default()).len(), 1000);
    }
}

#[test]
fn a_request_at_hand_holds_back_those_behind_it() {
    let mut connection = Connection::new(Limits::default());
    let mut buffer = ReceiveBuffer::default();
    buffer.extend(&[NEXT, NEXT].concat());
    assert_eq!(connection.poll(&mut buffer), Step::Head);
    assert_eq!(connection.awaiting(), Awaiting::Nothing);
    connection.finish(&mut buffer);
    assert_eq!(connection.poll(&mut buffer), Step::Paused, "it is not whole yet and cannot be finished");
    connection.take_body(0);
    assert_eq!(connection.poll(&mut buffer), Step::Request);
    assert_eq!(connection.poll(&mut buffer), Step::Paused);
    connection.take_body(7);
    connection.drop_body(7);
    assert_eq!(connection.poll(&mut buffer), Step::Paused, "what was decided stays");
    assert_eq!(connection.request(&buffer).target(), b"/next");
    assert_eq!(connection.request(&buffer).field("host"), Some(&b"a"[..]));
    connection.finish(&mut buffer);
    assert_eq!(buffer.unread(), NEXT);
    assert_eq!(connection.poll(&mut buffer), Step::Head);
}

#[test]
fn what_is_awaited_tells_idle_head_and_body_apart() {
    let mut connection = Connection::new(Limits::default());
    let mut buffer = ReceiveBuffer::default();
    let mut feed = |connection: &mut Connection, bytes: &[u8]| {
        buffer.extend(bytes);
        let step = connection.poll(&mut buffer);
        (step, connection.awaiting(), connection.buffered_body())
    };
    assert_eq!(feed(&mut connection, b""), (Step::NeedData, Awaiting::Idle, 0));
    assert_eq!(feed(&mut connection, b"\r\n"), (Step::NeedData, Awaiting::Idle, 0));
    assert_eq!(feed(&mut connection, b"G"), (Step::NeedData, Awaiting::Head, 0));
    let rest = b"ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(feed(&mut connection, rest), (Step::Head, Awaiting::Nothing, 0));
    connection.take_body(5);
    assert_eq!(feed(&mut connection, b""), (Step::NeedData, Awaiting::Body, 0));
    assert_eq!(feed(&mut connection, b"he"), (Step::NeedData, Awaiting::Body, 2));
    assert_eq!(feed(&mut connection, b"lloGET"), (Step::Request, Awaiting::Nothing, 5));
    connection.finish(&mut buffer);
    assert_eq!(connection.awaiting(), Awaiting::Idle);
    assert_eq!(connection.poll(&mut buffer), Step::NeedData);
    assert_eq!(connection.awaiting(), Awaiting::Head);
    buffer.extend(b"/ ");
    assert_eq!(connection.poll(&mut buffer), Step::Refused(Refusal::MethodName));
    assert_eq!(connection.awaiting(), Awaiting::Nothing);
}

#[test]
fn the_buffer_that_is_wanted_follows_what_has_come() {
    let mut connection = Connection::new(Limits::default());
    let mut buffer = ReceiveBuffer::with_capacity(8 * 1024);
    let head = with_fields("Content-Length: 262144\r\n");
    buffer.extend(&head);
    assert_eq!(connection.capacity_wanted(&buffer), 0);
    assert_eq!(connection.poll(&mut buffer), Step::Head);
    connection.take_body(262_144);
    let mut sizes = Vec::new();
    let mut left = 262_144;
    while connection.poll(&mut buffer) == Step::NeedData {
        let wanted = connection.capacity_wanted(&buffer);
        if wanted > 0 {
            assert!(wanted > buffer.capacity());
            buffer.grow_to(wanted);
            sizes.push(wanted);
        }
        assert!(buffer.capacity() - buffer.len() >= left.min(4096), "a read has room");
        // As much as fits, like a read.
        let room = (buffer.capacity() - buffer.len()).min(left).min(1500);
        assert!(room > 0, "the body can always go on");
        buffer.extend(&vec![b'x'; room]);
        left -= room;
    }
    assert_eq!(left, 0);
    assert_eq!(connection.body(&buffer).len(), 262_144);
    assert_eq!(sizes, [64 * 1024, head.len() + 262_144]);
}

#[test]
fn a_chunked_body_needs_no_more_room_than_its_limit_and_a_read() {
    let mut connection = Connection::new(Limits::default());
    let mut buffer = ReceiveBuffer::with_capacity(16 * 1024);
    let head = with_fields("Transfer-Encoding: chunked\r\n");
    buffer.extend(&head);
    assert_eq!(connection.poll(&mut buffer), Step::Head);
    connection.take_body(100_000);
    let mut bytes = b"1\r\nx\r\n".repeat(100_000);
    bytes.extend_from_slice(b"0\r\n\r\n");
    let mut rest = &bytes[..];
    while connection.poll(&mut buffer) == Step::NeedData {
        buffer.compact();
        let wanted = connection.capacity_wanted(&buffer);
        buffer.grow_to(wanted);
        let room = buffer.spare().min(rest.len());
        assert!(room > 0);
        buffer.extend(&rest[..room]);
        rest = &rest[room..];
    }
    assert!(rest.is_empty());
    assert_eq!(connection.body(&buffer).len(), 100_000);
    assert!(buffer.capacity() <= head.len() + 100_000 + 4096, "{}", buffer.capacity());
}

#[test]
fn other_limits_are_kept_too() {
    let small = Limits { head_bytes: 64, fields: 2, target_bytes: 8, chunk_overhead_bytes: 4 };
    let plan = Plan { limits: small, ..Plan::default() };
    let names = |bytes: &[u8]| {
        let seen = drive_cut(bytes, &plan);
        targets(&seen).concat()
    };
    assert_eq!(names(b"GET /1234567 HTTP/1.1\r\nHost: a\r\nx: y\r\n\r\n"), "/1234567");
    assert_eq!(names(b"GET /12345678 HTTP/1.1\r\nHost: a\r\n\r\n"), "target_too_long");
    assert_eq!(names(b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nz: w\r\n\r\n"), "too_many_fields");
    assert_eq!(
        names(b"GET / HTTP/1.1\r\nHost: a\r\nx: 01234567890123456789012345678901234567890\r\n\r\n"),
        "head_too_large"
    );
    let huge = Limits { head_bytes: u32::MAX, ..small };
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\nx: ", &[b'v'; 70_000][..], b"\r\n\r\n"].concat();
    let seen = drive_cut(&bytes, &Plan { limits: huge, ..Plan::default() });
    assert_eq!(
        seen,
        [Seen::Refused(Refusal::HeadTooLarge)],
        "spans count with 16 bits, so no limit is larger"
    );
}

#[test]
fn a_request_that_waits_is_suspended_with_what_came_behind_it() {
    let head =
        b"POST http://a/next?q HTTP/1.1\r\nHost: a\r\nX-Request-Id: an-id\r\nContent-Length: 5\r\n\r\nhello";
    for behind in [&b""[..], b"GET", NEXT] {
        let mut connection = Connection::new(Limits::default());
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(&[NEXT, head, behind].concat());
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.take_body(0);
        assert_eq!(connection.poll(&mut buffer), Step::Request);
        connection.finish(&mut buffer);
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.take_body(5);
        assert_eq!(connection.poll(&mut buffer), Step::Request);

        let suspended = connection.suspend(&buffer);
        assert_eq!(suspended.kept_bytes(), "POST http://a/next?qan-id".len() + behind.len());
        let mut buffer = ReceiveBuffer::default();
        let mut connection = Connection::new(Limits::default());
        connection.resume(&suspended, &mut buffer);
        assert_eq!(connection.poll(&mut buffer), Step::Paused);
        assert_eq!(connection.is_followed(&buffer), !behind.is_empty());
        assert!(connection.keep_alive());
        let request = connection.request(&buffer);
        assert_eq!((request.method_bytes(), request.path()), (&b"POST"[..], &b"/next"[..]));
        assert_eq!((request.query(), request.fields().count()), (Some(&b"q"[..]), 0));
        assert_eq!(request.request_id().map(|id| id.bytes().to_vec()).as_deref(), Some(&b"an-id"[..]));
        assert_eq!(connection.body(&buffer), b"", "the body has been read, and is not kept");
        connection.finish(&mut buffer);
        assert_eq!(buffer.unread(), behind);
        let next = connection.poll(&mut buffer);
        assert_eq!(next == Step::Head, behind == NEXT, "{next:?}");
    }
}

#[test]
fn a_body_of_a_declared_length_may_be_there_with_its_head() {
    let received = |fields: &str, body: &[u8]| {
        let mut connection = Connection::new(Limits::default());
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(&[&with_fields(fields)[..], body].concat());
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        connection.received_body(&buffer).map(<[u8]>::to_vec)
    };
    assert_eq!(received("", b"GET"), Some(Vec::new()), "there is none");
    assert_eq!(received("Content-Length: 3\r\n", b"abcGET"), Some(b"abc".to_vec()));
    assert_eq!(received("Content-Length: 3\r\n", b"ab"), None);
    assert_eq!(received("Content-Length: 1000000\r\n", b"ab"), None);
    assert_eq!(
        received("Transfer-Encoding: chunked\r\n", b"1\r\na\r\n0\r\n\r\n"),
        None,
        "it is not decoded yet"
    );
}

#[test]
fn the_field_lines_are_those_that_were_sent() {
    for lines in ["Host: a\r\n", "Host: a\r\nX:  y \r\nx:z\r\n"] {
        let mut connection = Connection::new(Limits::default());
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(format!("GET /a?b HTTP/1.1\r\n{lines}\r\nbehind").as_bytes());
        assert_eq!(connection.poll(&mut buffer), Step::Head);
        assert_eq!(connection.request(&buffer).field_lines(), format!("{lines}\r\nbehind").as_bytes());
    }
}

/// Bytes of the machine of an idle connection, of which a process may have a million.
const IDLE_BYTES_MAX: usize = 168;

#[test]
fn an_idle_connection_keeps_little() {
    assert!(size_of::<Connection>() <= IDLE_BYTES_MAX, "{}", size_of::<Connection>());
}

//! Cases that other suites do not have: both roles, the states, the bounds on buffered bytes.

use super::*;
use crate::websocket::connection::PONG_BACKLOG_BYTES;
use crate::websocket::frame::CODE_NONE;

#[test]
fn a_message_in_one_frame_is_read_where_it_lies() {
    let mut end = End::server();
    end.received.extend(&[raw(FIN, 1, b"where it lies"), raw(FIN, 2, b"next")].concat());
    let event = end.connection.poll(&mut end.received, &mut end.out, &mut end.scratch);
    assert_eq!(event, Event::Message { text: true });
    let message = end.connection.message(&end.received, &end.scratch);
    assert_eq!(message, b"where it lies");
    assert_eq!(message.as_ptr(), end.received.unread().as_ptr());
    end.connection.done(&mut end.received);
    assert_eq!(end.connection.message(&end.received, &end.scratch), b"");
    assert_eq!(end.received.len(), raw(FIN, 2, b"next").len());
}

#[test]
fn an_event_that_was_not_released_is_released_by_the_next_poll() {
    let mut end = End::server();
    end.received.extend(&[raw(FIN, 1, b"one"), fragments(1, &[b"t", b"w", b"o"])].concat());
    for _ in 0..2 {
        let event = end.connection.poll(&mut end.received, &mut end.out, &mut end.scratch);
        assert_eq!(event, Event::Message { text: true });
    }
    assert_eq!(end.connection.message(&end.received, &end.scratch), b"two");
}

#[test]
fn a_quiet_connection_holds_no_bytes() {
    let mut end = End::server();
    end.receive(&[raw(0, 1, b"a"), raw(FIN, 9, b"p"), raw(FIN, 0, b"b"), raw(FIN, 10, b"")].concat());
    assert!(end.received.is_empty());
    assert_eq!(end.connection.frame_bytes_missing(), 0);
}

#[test]
fn headers_and_pings_between_fragments_take_no_room() {
    let mut end = End::server();
    end.receive(&raw(0, 2, b"x"));
    for _ in 0..2_000 {
        end.receive(&[raw(0, 0, b"x"), raw(FIN, 9, &[7; 125])].concat());
        end.out.clear();
        assert!(end.received.len() <= 2_001);
    }
    end.receive(&raw(FIN, 0, b"")[..3]);
    assert_eq!(end.received.len(), 2_001 + 3);
    end.receive(&raw(FIN, 0, b"")[3..]);
    assert_eq!(end.seen, [Seen::Binary(vec![b'x'; 2_001])]);
}

#[test]
fn what_is_missing_of_a_frame_is_told() {
    let mut end = End::server();
    end.receive(&raw(FIN, 2, &[1; 1_000])[..100]);
    assert_eq!(end.connection.frame_bytes_missing(), 1_000 - (100 - 8));
}

#[test]
fn a_flood_of_pings_is_bounded_and_its_newest_is_answered() {
    let mut end = End::server();
    for i in 0..10_000_u32 {
        end.receive(&raw(FIN, 9, &[&i.to_be_bytes()[..], &[0; 121]].concat()));
        assert!(end.out.len() < PONG_BACKLOG_BYTES + 127);
    }
    let waiting = end.out.len();
    end.connection.settle(&mut end.out);
    assert_eq!(end.out.len(), waiting);
    end.out.clear();
    end.connection.settle(&mut end.out);
    assert_eq!(end.out, answer(0x8a, &[&9_999_u32.to_be_bytes()[..], &[0; 121]].concat()));
    end.connection.settle(&mut end.out);
    assert_eq!(end.out.len(), 127);
}

#[test]
fn what_is_sent_is_one_frame_each_and_one_buffer() {
    let mut end = End::server();
    assert!(end.send(true, b"Hello"));
    assert!(end.connection.ping(&mut end.out, &[1; 200]));
    assert!(end.send(false, &[9; 300]));
    let expected = [&b"\x81\x05Hello\x89\x7d"[..], &[1; 125], b"\x82\x7e\x01\x2c", &[9; 300]].concat();
    assert_eq!(end.out, expected);
}

#[test]
fn after_our_close_messages_are_dropped_until_theirs_comes() {
    let mut end = End::server();
    end.receive(&[raw(0, 1, b"half a mes"), raw(FIN, 0, b"sage, cut")[..9].to_vec()].concat());
    assert!(end.connection.close(&mut end.out, 1012, "Restart"));
    assert!(!end.connection.is_over() && !end.connection.is_open());
    assert!(!end.send(true, b"late") && !end.connection.ping(&mut end.out, b""));
    assert!(!end.connection.close(&mut end.out, 1000, ""));
    assert_eq!(end.out, answered_close(1012, "Restart"));
    end.receive(&raw(FIN, 0, b"sage, cut")[9..]);
    // Whatever its size, encoding or text.
    end.receive(&raw(FIN, 1, b"\xff\xff"));
    end.receive(&raw(0, 2, &vec![0; LIMIT + 1]));
    end.receive(&[raw(FIN, 9, b"ping"), raw(FIN, 0, b"")].concat());
    assert!(end.received.is_empty());
    end.receive(&raw(FIN, 8, b"\x03\xf4bye"));
    assert_eq!(end.seen, [Seen::Close(1012, "bye".into())]);
    assert_eq!(end.out, answered_close(1012, "Restart"));
    assert!(end.connection.is_over());
}

#[test]
fn a_bad_frame_after_our_close_ends_it_without_another() {
    let mut end = End::server();
    end.connection.close(&mut end.out, 1000, "");
    end.receive(&raw(FIN, 3, b""));
    assert_eq!(end.seen, [Seen::Failed(Failure::ReservedOpcode)]);
    assert_eq!(end.out, answered_close(1000, ""));
    assert!(end.connection.is_over());
}

#[test]
fn a_close_says_only_what_may_be_said() {
    for (code, reason, expected) in [
        (CODE_NONE, "unheard", answer(0x88, b"")),
        (1006, "", answered_close(1000, "")),
        (0, "why", answered_close(1000, "why")),
        (4999, "", answered_close(4999, "")),
        (1008, &"ä".repeat(99), answered_close(1008, &"ä".repeat(61))),
    ] {
        let mut end = End::server();
        end.connection.close(&mut end.out, code, reason);
        assert_eq!(end.out, expected);
    }
}

#[test]
fn after_a_failure_nothing_is_looked_at() {
    let mut end = End::server();
    end.receive(&[raw(FIN, 3, b""), raw(FIN, 1, b"Hello"), raw(FIN, 8, b"")].concat());
    end.receive(&raw(FIN, 9, b""));
    assert_eq!(end.seen, [Seen::Failed(Failure::ReservedOpcode)]);
    assert_eq!(end.out, answered_close(1002, "Unknown opcode"));
    assert!(end.received.is_empty() && end.connection.is_over());
    assert!(!end.send(true, b"late"));
}

#[test]
fn a_server_takes_masked_frames_only_and_a_client_the_others() {
    check_failed(b"\x81\x05Hello", &[], Failure::NotMasked);
    check_failed(b"\x89\x00", &[], Failure::NotMasked);
    let mut client = End::new(Role::Client, None, LIMIT);
    client.receive(b"\x01\x03Hel\x89\x01!\x80\x02lo");
    assert_eq!(client.seen, [Seen::Text("Hello".into())]);
    assert_eq!(client.out[..2], [0x8a, 0x81]);
    client.receive(&raw(FIN, 1, b"Hello"));
    assert_eq!(client.seen[1..], [Seen::Failed(Failure::Masked)]);
}

#[test]
fn a_connection_is_at_rest_where_nothing_of_a_message_or_a_frame_is_kept() {
    let mut end = End::server();
    assert!(end.connection.is_at_rest(), "at its start");
    let message = raw(FIN, 1, b"hello");
    for cut in 1..message.len() {
        end.receive(&message[..cut]);
        // What is no whole head of a frame is still the buffer's.
        assert_eq!(end.connection.is_at_rest(), end.connection.frame_bytes_missing() == 0, "{cut} bytes");
        end.receive(&message[cut..]);
        assert!(end.connection.is_at_rest(), "a message later");
    }
    end.receive(&raw(0, 1, b"a"));
    assert!(!end.connection.is_at_rest(), "a fragment waits for the next");
    end.receive(&raw(FIN, 0, b"b"));
    assert!(end.connection.is_at_rest());
    end.received.extend(&message);
    let event = end.connection.poll(&mut end.received, &mut end.out, &mut end.scratch);
    assert_eq!(event, Event::Message { text: true });
    assert!(!end.connection.is_at_rest(), "a message is lent");
    end.connection.done(&mut end.received);
    assert!(end.connection.is_at_rest());
    assert!(end.connection.close(&mut end.out, 1000, ""));
    assert!(!end.connection.is_at_rest(), "it is closing");
    let mut end = End::new(Role::Server, Some(TAKEOVER), LIMIT);
    assert!(end.connection.is_at_rest());
    end.send(true, &[b'x'; 5_000]);
    assert!(!end.connection.is_at_rest(), "a window is kept");
}

#[test]
fn lengths_that_break_the_rules_fail() {
    check_failed(b"\x82\xfe\x00\x7d\0\0\0\0", &[], Failure::LengthNotMinimal);
    check_failed(b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", &[], Failure::LengthNotMinimal);
    check_failed(b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", &[], Failure::LengthHighBit);
}

#[test]
fn a_limit_of_nothing_lets_empty_messages_through() {
    assert_eq!(outcome(None, 0, &raw(FIN, 1, b"")).0, [Seen::Text(String::new())]);
    assert_eq!(outcome(None, 0, &raw(FIN, 1, b"x")).0, [Seen::Failed(Failure::TooLarge)]);
}

#[test]
fn only_messages_worth_it_are_compressed() {
    let mut end = End::new(Role::Server, Some(NO_TAKEOVER), LIMIT);
    end.send(true, b"short");
    assert_eq!(end.out, b"\x81\x05short");
    end.out.clear();
    end.send(true, &[b'x'; 5_000]);
    assert_eq!(end.out[0], 0xc1);
    assert!(end.out.len() < 100);
}

#[test]
fn a_window_too_small_to_keep_to_means_sending_plain() {
    let deflate = DeflateParameters { client_max_window_bits: Some(8), ..TAKEOVER };
    let mut end = End::new(Role::Client, Some(deflate), LIMIT);
    end.send(true, &[b'x'; 5_000]);
    assert_eq!(end.out[0], 0x81);
}

//! The cases of the Autobahn test suite, as a local table: their numbers are its own.

use super::*;
use crate::websocket::frame::CODE_NONE;

fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

#[test]
fn case_1_messages_of_every_length_class() {
    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        check(&raw(FIN, 1, &vec![b'*'; length]), &[text(&"*".repeat(length))], b"");
        check(&raw(FIN, 2, &vec![0xfe; length]), &[Seen::Binary(vec![0xfe; length])], b"");
    }
}

#[test]
fn case_2_pings_are_answered_with_their_payload() {
    for payload in [&b""[..], b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]] {
        check(&raw(FIN, 9, payload), &[], &answer(0x8a, payload));
    }
    check_failed(&raw(FIN, 9, &[0xfe; 126]), &[], Failure::LongControl);
    check(&raw(FIN, 10, b"unsolicited"), &[Seen::Pong], b"");
    let ten: Vec<Vec<u8>> = (0..10).map(|i| format!("payload-{i}").into_bytes()).collect();
    let pings: Vec<u8> = ten.iter().flat_map(|payload| raw(FIN, 9, payload)).collect();
    let pongs: Vec<u8> = ten.iter().flat_map(|payload| answer(0x8a, payload)).collect();
    check(&pings, &[], &pongs);
}

#[test]
fn case_3_reserved_bits_fail_after_what_came_before() {
    for bits in 1..8 {
        check_failed(&raw(FIN | bits << 4, 1, b"Hello"), &[], Failure::ReservedBits);
        check_failed(&raw(FIN | bits << 4, 9, b""), &[], Failure::ReservedBits);
        check_failed(&raw(FIN | bits << 4, 8, b""), &[], Failure::ReservedBits);
        let second = [raw(FIN, 1, b"Hello"), raw(FIN | bits << 4, 1, b"Hello"), raw(FIN, 9, b"")].concat();
        check_failed(&second, &[text("Hello")], Failure::ReservedBits);
    }
}

#[test]
fn case_4_reserved_opcodes_fail() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check_failed(&raw(FIN, opcode, b""), &[], Failure::ReservedOpcode);
        let second = [raw(FIN, 1, b"Hello"), raw(FIN, opcode, b"x"), raw(FIN, 9, b"")].concat();
        check_failed(&second, &[text("Hello")], Failure::ReservedOpcode);
    }
}

#[test]
fn case_5_fragments_make_one_message_and_control_frames_come_between() {
    // 5.1, 5.2
    check_failed(&[raw(0, 9, b"frag"), raw(FIN, 0, b"ment")].concat(), &[], Failure::FragmentedControl);
    check_failed(&[raw(0, 10, b"frag"), raw(FIN, 0, b"ment")].concat(), &[], Failure::FragmentedControl);
    // 5.3 to 5.5
    check(&fragments(1, &[b"frag", b"ment"]), &[text("fragment")], b"");
    check(&fragments(2, &[b"frag", b"", b"ment"]), &[Seen::Binary(b"fragment".to_vec())], b"");
    check(&fragments(1, &[b"", b"", b""]), &[text("")], b"");
    // 5.6 to 5.8
    let between = [raw(0, 1, b"frag"), raw(FIN, 9, b"ping"), raw(FIN, 0, b"ment")].concat();
    check(&between, &[text("fragment")], &answer(0x8a, b"ping"));
    let early = [raw(0, 1, b""), raw(FIN, 9, b"ping"), raw(FIN, 10, b""), raw(FIN, 0, b"ment")].concat();
    check(&early, &[Seen::Pong, text("ment")], &answer(0x8a, b"ping"));
    // 5.9 to 5.14
    for bits in [0, FIN] {
        let orphan = [raw(bits, 0, b"non-continuation"), raw(FIN, 1, b"Hello")].concat();
        check_failed(&orphan, &[], Failure::NothingToContinue);
    }
    // 5.15
    let after = [fragments(1, &[b"frag", b"ment"]), raw(0, 0, b"x"), raw(FIN, 1, b"y")].concat();
    check_failed(&after, &[text("fragment")], Failure::NothingToContinue);
    // 5.18
    let second = [raw(0, 1, b"frag"), raw(FIN, 1, b"ment")].concat();
    check_failed(&second, &[], Failure::MessageUnfinished);
    // 5.19, 5.20
    let many = [
        raw(0, 1, b"f1"),
        raw(0, 0, b"f2"),
        raw(FIN, 9, b"p1"),
        raw(0, 0, b"f3"),
        raw(0, 0, b"f4"),
        raw(FIN, 9, b"p2"),
        raw(FIN, 0, b"f5"),
        raw(FIN, 2, b"next"),
    ];
    check(
        &many.concat(),
        &[text("f1f2f3f4f5"), Seen::Binary(b"next".to_vec())],
        &[answer(0x8a, b"p1"), answer(0x8a, b"p2")].concat(),
    );
}

const KOSME: &[u8] = "κόσμε".as_bytes();

#[test]
fn case_6_text_is_utf8_wherever_it_is_split() {
    // 6.2
    let greeting = "Hello-µ@ßöäüàá-UTF-8!!";
    for split in 0..=greeting.len() {
        let (head, tail) = greeting.as_bytes().split_at(split);
        check(&fragments(1, &[head, tail]), &[text(greeting)], b"");
    }
    let bytes: Vec<&[u8]> = KOSME.chunks(1).collect();
    check(&fragments(1, &bytes), &[text("κόσμε")], b"");
    // 6.5 to 6.22: first and last of each length, around the surrogates, noncharacters
    for good in [
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{10000}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{10ffff}",
        "\u{fdd0}",
        "\u{1fffe}",
        "\u{10fffe}",
    ] {
        check(&raw(FIN, 1, good.as_bytes()), &[text(good)], b"");
    }
    for bad in [
        &b"\xf8\x88\x80\x80\x80"[..], // five bytes
        b"\xfc\x84\x80\x80\x80\x80",
        b"\xf7\xbf\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf\x80\xbf",
        b"\xc0\x20\xc1\x20",
        b"\xe0\x20",
        b"\xf0\x20",
        b"\xc0", // sequences that miss their end
        b"\xe0\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf", // overlong
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xed\xa0\x80", // surrogates
        b"\xed\xad\xbf",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
    ] {
        check_failed(&raw(FIN, 1, bad), &[], Failure::BadUtf8);
        check_failed(&raw(FIN, 1, &[KOSME, bad, b"edited"].concat()), &[], Failure::BadUtf8);
        check_failed(&fragments(1, &[KOSME, bad]), &[], Failure::BadUtf8);
        check(&raw(FIN, 2, bad), &[Seen::Binary(bad.to_vec())], b"");
    }
}

#[test]
fn case_6_4_a_bad_byte_fails_before_its_frame_ends() {
    for (good, bad) in [(&b"\xf4"[..], 0x90), (b"\xed", 0xa0), (b"", 0x80), (b"\xe1\xbd", b'x')] {
        // Within a frame whose end never comes: 100 more bytes are promised.
        let mut frame = raw(FIN, 1, &[KOSME, good, &[bad], &[b'x'; 100]].concat());
        frame.truncate(frame.len() - 100);
        let mut end = End::server();
        end.receive(&frame[..frame.len() - 1]);
        assert_eq!(end.seen, []);
        end.receive(&frame[frame.len() - 1..]);
        assert_eq!(end.seen, [Seen::Failed(Failure::BadUtf8)]);
        // And in a fragment that is not the last.
        let mut end = End::server();
        end.receive(&[raw(0, 1, KOSME), raw(0, 0, good), raw(0, 0, &[bad])].concat());
        assert_eq!(end.seen, [Seen::Failed(Failure::BadUtf8)]);
    }
}

#[test]
fn case_7_a_close_is_echoed_and_what_follows_is_ignored() {
    // 7.1.1 to 7.1.5
    let after = [
        raw(FIN, 1, b"Hello"),
        raw(0, 1, b"frag"),
        raw(FIN, 8, b"\x03\xe8"),
        raw(FIN, 8, b"\x03\xe8"),
        raw(FIN, 9, b""),
        raw(FIN, 0, b"ment"),
        vec![0xff; 300],
    ];
    check(&after.concat(), &[text("Hello"), Seen::Close(1000, String::new())], &answered_close(1000, ""));
    // 7.3.1 to 7.3.6
    check(&raw(FIN, 8, b""), &[Seen::Close(CODE_NONE, String::new())], &answer(0x88, b""));
    check_failed(&raw(FIN, 8, b"a"), &[], Failure::CloseOfOneByte);
    let longest = "*".repeat(123);
    let close = [&b"\x03\xe8"[..], longest.as_bytes()].concat();
    check(&raw(FIN, 8, &close), &[Seen::Close(1000, longest)], &answered_close(1000, ""));
    check_failed(&raw(FIN, 8, &[&close[..], b"*"].concat()), &[], Failure::LongControl);
    // 7.5.1
    check_failed(&raw(FIN, 8, b"\x03\xe8\xce\xba\xed\xa0\x80"), &[], Failure::CloseReason);
    assert_eq!(Failure::CloseReason.code(), 1007);
}

#[test]
fn case_7_7_and_7_9_close_codes() {
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999_u16]
    {
        let close = raw(FIN, 8, &code.to_be_bytes());
        check(&close, &[Seen::Close(code, String::new())], &answered_close(code, ""));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        check_failed(&raw(FIN, 8, &code.to_be_bytes()), &[], Failure::CloseCode);
    }
}

#[test]
fn case_9_the_limit_is_told_from_the_header_and_summed_over_fragments() {
    let full = vec![b'x'; LIMIT];
    let whole = String::from_utf8(full.clone()).unwrap();
    let mut end = End::server();
    end.receive(&raw(FIN, 1, &full));
    let pieces: Vec<&[u8]> = full.chunks(4096).collect();
    end.receive(&fragments(1, &pieces));
    assert_eq!(end.seen, [text(&whole), text(&whole)]);
    // One byte more: refused before a byte of the payload has come.
    let over = raw(FIN, 1, &vec![b'x'; LIMIT + 1]);
    check_failed(&over[..14], &[], Failure::TooLarge);
    let huge = [&[0x82, 0xff][..], &(i64::MAX as u64).to_be_bytes(), &[0; 4]].concat();
    check_failed(&huge, &[], Failure::TooLarge);
    let summed = [raw(0, 2, &full), raw(0, 0, b""), raw(FIN, 0, b"x")[..6].to_vec()].concat();
    let mut end = End::server();
    end.receive(&summed);
    assert_eq!(end.seen, [Seen::Failed(Failure::TooLarge)]);
    assert_eq!(end.out, answered_close(1008, "Message too large"));
}

#[test]
fn case_12_compressed_messages_of_every_size() {
    for (deflate, limit) in [(NO_TAKEOVER, LIMIT), (TAKEOVER, LIMIT)] {
        for length in [0, 16, 64, 256, 1024, 4096, 8192, 32_768, 131_072] {
            let message: String = ('a'..='z').cycle().take(length).collect();
            let mut sender = Scratch::new();
            let payload = match sender.deflate(None, message.as_bytes(), 15) {
                Some(payload) => payload.to_vec(),
                None => [
                    &[0][..],
                    &(length as u16).to_le_bytes(),
                    &(!length as u16).to_le_bytes(),
                    message.as_bytes(),
                    b"\0",
                ]
                .concat(),
            };
            let thirds: Vec<&[u8]> = payload.chunks(payload.len() / 3 + 1).collect();
            let mut frames = fragments(1, &thirds);
            frames[0] |= RSV1;
            let bytes = [raw(FIN | RSV1, 1, &payload), frames, raw(FIN, 1, b"plain")].concat();
            let expected = [text(&message), text(&message), text("plain")];
            assert_eq!(outcome(Some(deflate), limit, &bytes), (expected.to_vec(), Vec::new()));
        }
    }
}

#[test]
fn case_12_what_cannot_be_inflated_or_is_no_text_fails() {
    let failed = |bytes: &[u8], limit: usize, failure: Failure| {
        let (seen, out) = outcome(Some(NO_TAKEOVER), limit, bytes);
        assert_eq!(seen, [Seen::Failed(failure)]);
        assert_eq!(out, answered_close(failure.code(), failure.reason()));
    };
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    failed(&raw(FIN | RSV1, 1, b"\xff\xff\xff"), LIMIT, Failure::BadDeflate);
    failed(&raw(FIN | RSV1, 1, hello), 4, Failure::TooLarge);
    failed(&raw(FIN | RSV1, 1, b"\x00\x01\x00\xfe\xff\x80\x00"), LIMIT, Failure::BadUtf8);
    // RSV1 belongs to the first frame of a message, and to data.
    failed(&[raw(RSV1, 1, hello), raw(FIN | RSV1, 0, b"")].concat(), LIMIT, Failure::ReservedBits);
    failed(&raw(FIN | RSV1, 9, b""), LIMIT, Failure::ReservedBits);
    // Compressed bytes are bounded too, from the header on.
    let endless = [&[0xc2, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    failed(&endless, LIMIT, Failure::TooLarge);
}

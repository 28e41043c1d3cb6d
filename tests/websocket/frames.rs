//! What breaks RFC 6455 or a limit, and the Close that says so (section 6).

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Hook, Server, echo_fields, eventually, reply_node};
use crate::lifecycle::QUIET;
use crate::payload::staffed;
use crate::sockets::{BINARY, CLOSE, CONTINUATION, FIN, PING, Socket, TEXT, frame, header};

on_each_driver! {
    broken_frames_are_closed_with_their_code,
    a_message_too_large_is_refused_as_soon_as_that_is_known,
    a_limit_that_changes_holds_for_connections_that_are_open,
    a_quiet_connection_keeps_what_was_agreed_on,
    a_message_over_the_rate_closes,
    a_reader_too_slow_is_closed,
}

/// The largest message.
const LIMIT: usize = 262_144;

fn server(driver: &str) -> (Server, Hook) {
    let server = Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    (server, hook)
}

fn broken_frames_are_closed_with_their_code(driver: &str) {
    let (server, hook) = server(driver);
    let unmasked = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
    let cases: Vec<(Vec<u8>, u16)> = vec![
        (unmasked(FIN | TEXT, b"x"), 1002),
        (frame(FIN | 0x40 | TEXT, b"x"), 1002),
        (frame(FIN | 0x20 | TEXT, b"x"), 1002),
        (frame(FIN | 3, b"x"), 1002),
        (frame(FIN | 11, b"x"), 1002),
        (frame(FIN | CONTINUATION, b"x"), 1002),
        ([frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat(), 1002),
        (frame(PING, b"x"), 1002),
        (frame(FIN | PING, &[0; 126]), 1002),
        (frame(FIN | CLOSE, b"x"), 1002),
        (frame(FIN | CLOSE, &1005u16.to_be_bytes()), 1002),
        (frame(FIN | CLOSE, &999u16.to_be_bytes()), 1002),
        (frame(FIN | CLOSE, &[&1000u16.to_be_bytes()[..], b"\xff"].concat()), 1007),
        ([&[FIN | TEXT, 0x80 | 126, 0, 1][..], &[0; 5]].concat(), 1002),
        (frame(FIN | TEXT, b"\xff"), 1007),
        (frame(FIN | TEXT, b"\xed\xa0\x80"), 1007),
        (frame(FIN | TEXT, b"gr\xc3"), 1007),
        // The rest of the message, and of its frame, is not waited for.
        (frame(TEXT, b"\xc0\xaf"), 1007),
        ([frame(TEXT, b"ok \xe2\x82"), frame(CONTINUATION, b"\xff")].concat(), 1007),
        ([header(FIN | TEXT, 1000), vec![0xff; 8]].concat(), 1007),
    ];
    for (bytes, code) in cases {
        let mut client = Socket::open(&server, &hook);
        client.send_bytes(&bytes);
        let ended = client.closed();
        assert_eq!(ended.0, code, "{}: {ended:?}", bytes[..bytes.len().min(20)].escape_ascii());
    }
}

fn a_message_too_large_is_refused_as_soon_as_that_is_known(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    let too_large = (1008, "Message too large".to_owned());
    let mut heads = vec![header(FIN | BINARY, LIMIT as u64 + 1), header(BINARY, u64::MAX >> 1)];
    // Summed over fragments.
    heads.push([frame(BINARY, &[7; LIMIT]), header(CONTINUATION, 1)].concat());
    heads.push(
        [
            [frame(BINARY, &[7; LIMIT / 4])].concat(),
            frame(CONTINUATION, &[7; LIMIT / 4]).repeat(3),
            header(FIN | CONTINUATION, 1),
        ]
        .concat(),
    );
    for head in heads {
        let mut client = Socket::open(&server, &hook);
        worker.take_event("connect");
        client.send_bytes(&head);
        assert_eq!(client.closed(), too_large);
        assert_eq!(
            worker.take_event("disconnect"),
            json!({"statusCode": 1008, "reason": "Message too large"})
        );
    }
    // The limit itself passes, whole and in fragments.
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    client.send(FIN | TEXT, &[b'x'; LIMIT]);
    assert_eq!(worker.take_event("message")["length"], json!(LIMIT));
    client.send(TEXT, &[b'x'; LIMIT]).send(FIN | CONTINUATION, b"");
    assert_eq!(worker.take_event("message")["length"], json!(LIMIT));
}

fn a_limit_that_changes_holds_for_connections_that_are_open(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    let limit = |bytes: usize| server.patch(&hook, &json!({"limits": {"payloadBytes": bytes}}));
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    for bytes in [10, LIMIT + 1, 10] {
        limit(bytes);
        client.send(FIN | BINARY, &vec![7; bytes]);
        assert_eq!(worker.take_event("message")["length"], json!(bytes));
    }
    client.send(FIN | BINARY, &[7; 11]);
    assert_eq!(client.closed(), (1008, "Message too large".to_owned()));
}

/// The extension and the limit are kept of a connection that is quiet, as it was agreed on and as it has become.
fn a_quiet_connection_keeps_what_was_agreed_on(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let mut client = Socket::open_with(server.ingress, &hook.target(""), &offer);
    worker.take_event("connect");
    for limit in [20, 30] {
        std::thread::sleep(QUIET);
        server.patch(&hook, &json!({"limits": {"payloadBytes": limit}}));
        client.send(FIN | 0x40 | TEXT, &deflated(limit));
        assert_eq!(worker.take_event("message")["length"], json!(limit));
    }
    std::thread::sleep(QUIET);
    client.send(FIN | 0x40 | TEXT, &deflated(31));
    assert_eq!(client.closed(), (1008, "Message too large".to_owned()));
    worker.take_event("disconnect");
}

/// A message of so many bytes, as permessage-deflate sends it.
fn deflated(size: usize) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b'x'; size]).expect("memory");
    encoder.flush().expect("memory");
    let mut bytes = encoder.get_ref().clone();
    assert_eq!(bytes.split_off(bytes.len() - 4), b"\x00\x00\xff\xff", "RFC 7692, 7.2.1");
    bytes
}

#[test]
fn the_limit_is_on_what_is_inflated() {
    let (server, hook, _, mut worker) = staffed("auto", json!({}));
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let mut client = Socket::open_with(server.ingress, &hook.target(""), &offer);
    worker.take_event("connect");
    client.send(FIN | 0x40 | TEXT, &deflated(LIMIT));
    assert_eq!(worker.take_event("message")["length"], json!(LIMIT));
    for size in [LIMIT + 1, 64 * 1024 * 1024] {
        let mut client = Socket::open_with(server.ingress, &hook.target(""), &offer);
        worker.take_event("connect");
        client.send(FIN | 0x40 | TEXT, &deflated(size));
        assert_eq!(client.closed(), (1008, "Message too large".to_owned()));
        assert_eq!(worker.take_event("disconnect")["statusCode"], json!(1008));
    }
}

/// The window of what was sent is memory that a connection holds for nothing while nothing is said on it. Whether it is
/// there shows in the size of what repeats an earlier message.
#[test]
fn a_quiet_connection_gives_up_the_window_of_what_was_sent() {
    let server = Server::start(|settings| {
        settings
            .set("TIDEGATE_WEBSOCKET_CONTEXT_TAKEOVER", "true")
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    let echo = json!({"isWebsocketMessage": true, "bodyTemplate": "{{{data.message.data}}}"});
    server.flow(&hook, json!([{"type": "WebhookReplyNode", "config": echo}]));
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let mut client = Socket::open_with(server.ingress, &hook.target(""), &offer);
    assert!(client.frame().payload.is_empty(), "the connect trigger has no text to send back");
    // No two parts of it are alike.
    let text: String = (0..400_u64).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let mut size = || {
        client.say(&text);
        client.frame().payload.len()
    };
    let whole = size();
    // On a busy machine a second may pass between two of them.
    eventually("one refers to the one before it", || (size() * 4 < whole).then_some(()));
    // After a second of silence, as soon as its timer fires.
    eventually("the window is gone", || {
        std::thread::sleep(Duration::from_millis(1_500));
        (size() * 2 > whole).then_some(())
    });
    eventually("the window is there again", || (size() * 4 < whole).then_some(()));
}

/// Deflates a message as RFC 7692, 7.2.1 says, with what the compressor has seen before.
fn deflate(compressor: &mut flate2::Compress, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    compressor.compress_vec(text, &mut out, flate2::FlushCompress::Sync).expect("room for it");
    assert_eq!(out.split_off(out.len() - 4), b"\x00\x00\xff\xff", "RFC 7692, 7.2.1");
    out
}

/// With `websocket.context_takeover` a message refers to those before it, both ways, and without it to none.
#[test]
fn context_is_taken_over_where_the_setting_says_so() {
    // Twice the same, and nothing else repeats: alone it shrinks to half, behind itself to almost nothing.
    let half: Vec<u8> =
        (0..1000u32).map(|at| b'!' + (at.wrapping_mul(2_654_435_761) >> 24) as u8 % 90).collect();
    let text = half.repeat(2);
    for takes_over in [true, false] {
        let server = Server::start(|settings| {
            settings.set("TIDEGATE_WEBSOCKET_CONTEXT_TAKEOVER", takes_over);
        });
        let hook = server.webhook(json!({"isWebsocket": true}));
        server.echo_flow(&hook, &[]);
        let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
        let mut client = Socket::open_with(server.ingress, &hook.target(""), &offer);
        let mut compressor = flate2::Compress::new(flate2::Compression::best(), false);
        let mut inflater = flate2::Decompress::new(false);
        // Several: after a second of silence, which a busy machine may make, the window is gone.
        let mut sizes = [0; 6];
        for size in &mut sizes {
            if !takes_over {
                compressor.reset();
                inflater.reset(false);
            }
            client.send(FIN | 0x40 | TEXT, &deflate(&mut compressor, &text));
            let frame = client.frame();
            assert_eq!(frame.first, FIN | 0x40 | TEXT, "it is worth deflating");
            *size = frame.payload.len();
            let deflated = [&frame.payload[..], b"\x00\x00\xff\xff"].concat();
            let mut inflated = Vec::with_capacity(2 * text.len());
            inflater
                .decompress_vec(&deflated, &mut inflated, flate2::FlushDecompress::Sync)
                .expect("deflate");
            assert_eq!(inflated, text);
        }
        let is_shorter = sizes[1..].iter().any(|size| size * 10 < sizes[0]);
        assert_eq!(is_shorter, takes_over, "{sizes:?} bytes");
    }
}

fn a_message_over_the_rate_closes(driver: &str) {
    let (server, hook, _, mut worker) =
        staffed(driver, json!({"limits": {"requestsPerWindow": 5, "windowSeconds": 3600}}));
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    // The connect was the first call. Pings are none.
    for name in ["2", "3", "4", "5"] {
        client.say(name).send(FIN | PING, b"").frame();
        assert_eq!(worker.take_event("message")["data"], json!(name));
    }
    client.say("6").say("7");
    let reason = "Over rate limit, request throttled";
    assert_eq!(client.closed(), (1008, reason.to_owned()));
    assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1008, "reason": reason}));
}

fn a_reader_too_slow_is_closed(driver: &str) {
    // Far more than the buffers on the way hold.
    const MESSAGES: usize = 100;
    let (server, hook, flow, mut worker) = staffed(driver, json!({}));
    let path = format!("/applications/{}/flows/{flow}", hook.application);
    server.done("PATCH", &path, &echo_fields(&hook, &[json!({"type": "WorkerNode"})]));
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    let message = frame(FIN | TEXT, &[b'x'; LIMIT]);
    for _ in 0..MESSAGES {
        client.send_what_goes(&message);
    }
    let mut echoes = 0;
    let ended = loop {
        let frame = client.frame();
        if frame.first == FIN | CLOSE {
            break frame.payload;
        }
        assert_eq!((frame.first, frame.payload.len()), (FIN | TEXT, LIMIT), "what is sent is whole");
        echoes += 1;
    };
    assert_eq!(ended, [&1008u16.to_be_bytes()[..], b"Too slow for what is sent"].concat());
    assert!(echoes < MESSAGES, "what waited was dropped");
    let mut data = worker.take();
    while data["type"] == "message" {
        data = worker.take();
    }
    assert_eq!(data["message"], json!({"statusCode": 1008, "reason": "Too slow for what is sent"}));
}

#[test]
fn replies_of_templates_are_messages_of_their_kind() {
    let (server, hook) = server("auto");
    let node = |config: Value| {
        let mut node = reply_node("");
        node["config"] = config;
        node
    };
    server.flow(
        &hook,
        json!([
            node(json!({"isWebsocketMessage": true, "bodyTemplate": "{{data.type}}: {{{data.message.data}}}"})),
            node(json!({"isWebsocketMessage": true, "bodyTemplate": "00ff", "encodingTemplate": "hex"})),
            node(json!({"isWebsocketMessage": true, "bodyTemplate": "data.missing", "bodyTemplateType": "path"})),
            node(json!({"isWebsocketMessage": false, "bodyTemplate": "for HTTP alone"})),
            node(json!({"isWebsocketMessage": true, "bodyTemplate": ""})),
        ]),
    );
    let mut client = Socket::open(&server, &hook);
    let kinds = |client: &mut Socket, text: &str| {
        client.expect(FIN | TEXT, text.as_bytes()).expect(FIN | BINARY, b"\x00\xff");
        // A path that leads to nothing, and an empty template.
        client.expect(FIN | TEXT, b"").expect(FIN | TEXT, b"");
    };
    kinds(&mut client, "connect: ");
    client.say("<b>");
    kinds(&mut client, "message: <b>");
    client.close(1000, "").closed();
    assert_eq!(server.metric("tidegate_reply_node_errors_total", ""), 3, "one for each trigger");
}

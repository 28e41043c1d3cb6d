//! Answers of targets that reach a waiting caller while they are received.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::json;

use super::target::{Answer, Target};
use super::{attempts, node, served, wait_until};
use crate::common::{Hook, PATIENCE, Server, eventually};

/// A target whose one answer is written step by step, as the test says.
fn stepwise() -> (Target, Sender<Vec<u8>>) {
    let (steps, receiver) = channel::<Vec<u8>>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let target = Target::start(move |_, _| match receiver.lock().unwrap().take() {
        Some(steps) => Answer::Write(Box::new(move |socket| write_steps(socket, &steps))),
        None => Answer::Respond(200, "content-type: text/plain\r\n", b"another".to_vec()),
    });
    (target, steps)
}

fn write_steps(socket: &mut TcpStream, steps: &Receiver<Vec<u8>>) {
    while let Ok(step) = steps.recv() {
        socket.write_all(&step).expect("the other side reads");
    }
}

/// A caller whose bytes are read as they are.
struct Caller(TcpStream);

impl Caller {
    fn connect(server: &Server) -> Caller {
        let socket = TcpStream::connect(server.ingress).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Caller(socket)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server takes it");
    }

    /// Reads until `end` has been read.
    fn read_to(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let mut byte = [0];
            let read = self.0.read(&mut byte).expect("bytes");
            assert_eq!(read, 1, "closed within {:?}", String::from_utf8_lossy(&bytes));
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).expect("text")
    }

    /// Reads to the end of the connection; whether it was one without a reset.
    fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => (bytes, true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, false),
            Err(error) => panic!("{error}"),
        }
    }
}

fn get(hook: &Hook, version: &str, path: &str) -> Vec<u8> {
    let more = if version == "1.1" { "" } else { "Connection: keep-alive\r\n" };
    format!("GET {} HTTP/{version}\r\nHost: a\r\n{more}\r\n", hook.target(path)).into_bytes()
}

const LENGTH_KNOWN: &str = "HTTP/1.1 201 Made\r\nconnection: close\r\ncontent-type: text/plain\r\nx-mine: yes\r\ncontent-length: 11\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 201 Made\r\nconnection: close\r\ncontent-type: text/plain\r\nx-mine: yes\r\ntransfer-encoding: chunked\r\n\r\n";
const TO_THE_END: &str =
    "HTTP/1.1 201 Made\r\nconnection: close\r\ncontent-type: text/plain\r\nx-mine: yes\r\n\r\n";

#[test]
fn head_and_first_bytes_reach_the_caller_while_the_rest_is_under_way() {
    for cores in [1, 2] {
        for (head, framing) in [
            (LENGTH_KNOWN, ["first", " ", "", "other"]),
            (CHUNKED, ["5\r\nfirst\r\n", "1\r\n \r\n", "5\r\nother\r\n", "0\r\n\r\n"]),
        ] {
            let (target, steps) = stepwise();
            let (server, hook, _) =
                served(cores, json!({"waitForReply": true}), node(&target.url(""), json!({})));
            let mut caller = Caller::connect(&server);
            // A second request in the same packet waits for the end of the first answer.
            caller.send(&[get(&hook, "1.1", "/a"), get(&hook, "1.1", "/b")].concat());
            steps.send(head.into()).unwrap();
            let got = caller.read_to("\r\n\r\n").to_ascii_lowercase();
            assert!(got.starts_with("http/1.1 201 created\r\n"), "{got}");
            assert!(got.contains("\r\nx-mine: yes\r\n") && got.contains("x-xss-protection: 0"), "{got}");
            assert_eq!(got.contains("content-length: 11\r\n"), head == LENGTH_KNOWN, "{got}");
            assert_eq!(got.contains("transfer-encoding: chunked\r\n"), head == CHUNKED, "{got}");
            for part in framing {
                steps.send(part.into()).unwrap();
                assert_eq!(caller.read_to(part), part);
            }
            drop(steps);
            let second = caller.read_to("another");
            assert!(second.starts_with("HTTP/1.1 200 OK\r\n"), "{second}");
            assert_eq!(target.count(), 2);
            wait_until("the attempts", 2, || attempts(&server, "ok"));
        }
    }
}

#[test]
fn a_caller_of_http_1_0_is_told_the_length_or_sees_the_end_of_the_connection() {
    for (head, parts) in [(LENGTH_KNOWN, ["first", " other"]), (TO_THE_END, ["first", " other"])] {
        let (target, steps) = stepwise();
        let (server, hook, _) = served(1, json!({"waitForReply": true}), node(&target.url(""), json!({})));
        let mut caller = Caller::connect(&server);
        caller.send(&get(&hook, "1.0", "/a"));
        steps.send(head.into()).unwrap();
        let got = caller.read_to("\r\n\r\n").to_ascii_lowercase();
        assert!(!got.contains("transfer-encoding"), "{got}");
        let stays = head == LENGTH_KNOWN;
        assert!(got.contains(if stays { "connection: keep-alive" } else { "connection: close" }), "{got}");
        for part in parts {
            steps.send(part.into()).unwrap();
            assert_eq!(caller.read_to(part), part);
        }
        drop(steps);
        if stays {
            caller.send(&get(&hook, "1.0", "/b"));
            caller.read_to("another");
        } else {
            assert_eq!(caller.read_to_end(), (Vec::new(), true));
        }
    }
}

#[test]
fn a_caller_can_tell_that_an_answer_broke_off() {
    let cases = [
        ("1.1", LENGTH_KNOWN, "first", "first", true),
        ("1.1", CHUNKED, "5\r\nfirst\r\n", "5\r\nfirst\r\n", true),
        ("1.1", CHUNKED, "5\r\nfirst\r\nnonsense\r\n", "5\r\nfirst\r\n", true),
        ("1.0", LENGTH_KNOWN, "first", "first", true),
        // Its end is that of the connection: only a reset tells.
        ("1.0", CHUNKED, "5\r\nfirst\r\n", "first", false),
    ];
    for (version, head, sent, received, is_orderly) in cases {
        let (target, steps) = stepwise();
        let (server, hook, flow) = served(2, json!({"waitForReply": true}), node(&target.url(""), json!({})));
        let mut caller = Caller::connect(&server);
        caller.send(&[get(&hook, version, "/a"), get(&hook, version, "/b")].concat());
        steps.send(head.into()).unwrap();
        caller.read_to("\r\n\r\n");
        steps.send(sent.into()).unwrap();
        assert_eq!(caller.read_to(received), received);
        drop(steps);
        assert_eq!(caller.read_to_end(), (Vec::new(), is_orderly), "{version} {head}");
        assert_eq!(target.count(), 1, "the request behind is not answered");
        wait_until("the attempt", 1, || attempts(&server, "broken"));
        let path = format!("/applications/{}/flows/{flow}/errors", hook.application);
        let errors = server.done("GET", &path, &json!({}));
        assert!(errors.to_string().contains("the target's answer is broken"), "{errors}");
        assert_eq!(server.metric("tidegate_dead_letters_total", ""), 0, "the caller knows");
    }
}

#[test]
fn an_answer_over_the_limit_of_replies_is_cut_where_it_exceeds_it() {
    let target = Target::start(|_, _| {
        Answer::Write(Box::new(|socket| {
            socket.write_all(CHUNKED.as_bytes()).expect("the other side reads");
            let chunk = [b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat();
            while socket.write_all(&chunk).is_ok() {}
        }))
    });
    let fields = json!({"waitForReply": true, "limits": {"payloadBytes": 100_000}});
    let (server, hook, _) = served(1, fields, node(&target.url(""), json!({})));
    let mut caller = Caller::connect(&server);
    caller.send(&get(&hook, "1.1", ""));
    caller.read_to("\r\n\r\n");
    let (bytes, is_orderly) = caller.read_to_end();
    let body = bytes.iter().filter(|byte| **byte == b'x').count();
    assert!(is_orderly && !bytes.ends_with(b"0\r\n\r\n"));
    assert!((90_000..=100_000).contains(&body), "{body}");
    wait_until("the attempt", 1, || attempts(&server, "broken"));
}

#[test]
fn a_target_is_held_back_by_a_caller_that_does_not_read() {
    const BYTES: usize = 64 * 1024 * 1024;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let target = Target::start(move |_, _| {
        let count = Arc::clone(&count);
        Answer::Write(Box::new(move |socket| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BYTES}\r\n\r\n");
            socket.write_all(head.as_bytes()).expect("the other side reads");
            for _ in 0..BYTES / 4096 {
                socket.write_all(&[b'x'; 4096]).expect("the other side reads");
                count.fetch_add(4096, Ordering::Relaxed);
            }
        }))
    });
    let fields = json!({"waitForReply": true, "limits": {"payloadBytes": BYTES}});
    let (server, hook, _) = served(1, fields, node(&target.url(""), json!({})));
    let mut caller = Caller::connect(&server);
    caller.send(&get(&hook, "1.1", ""));
    caller.read_to("\r\n\r\n");
    // The kernel's buffers on both ways are full once nothing moves any more.
    let mut before = 0;
    eventually("the buffers to be full", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = written.load(Ordering::Relaxed);
        (now > 0 && std::mem::replace(&mut before, now) == now).then_some(())
    });
    assert!(written.load(Ordering::Relaxed) < BYTES / 2, "{written:?}");
    let mut body = vec![0; BYTES];
    caller.0.read_exact(&mut body).expect("all of it");
    assert!(body.iter().all(|byte| *byte == b'x'));
    wait_until("the attempt", 1, || attempts(&server, "ok"));
}

#[test]
fn a_caller_that_leaves_sets_its_target_free() {
    let target = Target::start(|_, _| {
        Answer::Write(Box::new(|socket| {
            socket.write_all(CHUNKED.as_bytes()).expect("the other side reads");
            // Nothing more, until the other side closes.
            socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
        }))
    });
    let fields = json!({"waitForReply": true, "limits": {"concurrency": 1}});
    let more = json!({"timeoutSeconds": 3600, "maxInFlight": 1});
    let (server, hook, _) = served(2, fields, node(&target.url(""), more));
    for round in 1..=3 {
        let mut caller = Caller::connect(&server);
        caller.send(&get(&hook, "1.1", ""));
        caller.read_to("\r\n\r\n");
        // The place of the call is taken until its answer is complete.
        server
            .wire()
            .ask(get(&hook, "1.1", ""))
            .is(429, "{\"error\":\"Over concurrency limit, request throttled\"}");
        drop(caller);
        wait_until("the attempt", round, || attempts(&server, "ok"));
    }
    assert_eq!(target.count(), 3);
}

#[test]
fn an_answer_that_takes_longer_than_the_node_allows_is_cut() {
    let (target, steps) = stepwise();
    let (server, hook, _) =
        served(1, json!({"waitForReply": true}), node(&target.url(""), json!({"timeoutSeconds": 1})));
    let mut caller = Caller::connect(&server);
    caller.send(&get(&hook, "1.1", ""));
    steps.send(CHUNKED.into()).unwrap();
    caller.read_to("\r\n\r\n");
    assert_eq!(caller.read_to_end(), (Vec::new(), true));
    wait_until("the attempt", 1, || attempts(&server, "timeout"));
}

#[test]
fn an_answer_under_way_is_finished_by_a_server_that_ends() {
    let (target, steps) = stepwise();
    let (mut server, hook, _) = served(2, json!({"waitForReply": true}), node(&target.url(""), json!({})));
    let mut caller = Caller::connect(&server);
    caller.send(&get(&hook, "1.1", ""));
    steps.send(LENGTH_KNOWN.into()).unwrap();
    caller.read_to("\r\n\r\n");
    server.terminate();
    wait_until("the end of accepting", 1, || u64::from(TcpStream::connect(server.ingress).is_err()));
    steps.send("first other".into()).unwrap();
    assert_eq!(caller.read_to_end(), (b"first other".to_vec(), true));
    assert!(server.ended().success());
}

#[test]
fn the_record_of_a_call_has_the_answer_that_was_passed_on() {
    let (target, steps) = stepwise();
    let (server, hook, _) = served(1, json!({"waitForReply": true}), node(&target.url(""), json!({})));
    let mut wire = server.wire();
    wire.send(get(&hook, "1.1", "/a"));
    steps.send(LENGTH_KNOWN.into()).unwrap();
    steps.send("first".into()).unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"first") {
        got.extend(wire.read_some(usize::MAX));
    }
    steps.send(" other".into()).unwrap();
    assert_eq!(wire.read_some(usize::MAX), b" other");
    let record = eventually("the record", || {
        let list = server.done("GET", &hook.resource("/requests"), &json!({}));
        let id = list["items"][0]["id"].as_str()?.to_owned();
        let record = server.done("GET", &hook.resource(&format!("/requests/{id}")), &json!({}));
        (record["status"] == 201).then_some(record)
    });
    assert_eq!(record["response"]["body"]["text"], "first other", "{record}");
    assert_eq!(record["responseBytes"], got.len() + " other".len(), "{record}");
}

#[test]
fn a_call_whose_answer_broke_off_has_taken_no_key() {
    let (target, steps) = stepwise();
    let fields = json!({"waitForReply": true, "deduplicate": {"key": "same"}});
    let (server, hook, _) = served(1, fields, node(&target.url(""), json!({})));
    let mut caller = Caller::connect(&server);
    caller.send(&get(&hook, "1.1", ""));
    steps.send(CHUNKED.into()).unwrap();
    caller.read_to("\r\n\r\n");
    drop(steps);
    caller.read_to_end();
    server.wire().ask(get(&hook, "1.1", "")).is(200, "another");
    assert_eq!(server.wire().ask(get(&hook, "1.1", "")).header("tidegate-duplicate"), Some("true"));
}

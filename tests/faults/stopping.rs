//! Section 14: SIGTERM under load. Every request that was whole with the server before the signal has its answer, or
//! came behind one whose answer says `Connection: close`: its sender knows that it was not looked at (RFC 9112, 9.6).

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::json;

use crate::common::{PATIENCE, Server, eventually, reply_node};

on_each_driver! {
    a_signal_under_load_loses_no_request_that_was_sent,
}

const ROUNDS: usize = 3;
/// Callers of each kind.
const CALLERS: usize = 8;
/// Requests that a pipelining caller sends in one write.
const PIPELINED: usize = 20;
/// Answers before the signal, of all callers.
const WARM: usize = 2_000;

/// Requests that went out in one write, and what became of them.
struct Sent {
    kind: &'static str,
    /// When the last byte was with the kernel.
    at: Instant,
    requests: usize,
    answered: usize,
    /// The last answer said that the connection closes and that nothing behind is answered.
    told: bool,
    /// What the connection said when no more answers came.
    end: String,
}

/// One kind of caller: what it sends in one write, how many requests that is, and whether its connection stays.
struct Kind {
    name: &'static str,
    bytes: Vec<u8>,
    requests: usize,
    reuse: bool,
}

/// Reads so many whole answers, or as many as come; each of ours has its length. Also says whether the last one told
/// that it is the last, and why no more came.
fn read_answers(stream: &mut TcpStream, unread: &mut Vec<u8>, wanted: usize) -> (usize, bool, String) {
    let (mut answered, mut told) = (0, false);
    while answered < wanted {
        if let Some(length) = whole_answer(unread) {
            assert!(unread.starts_with(b"HTTP/1.1 200 "), "{:?}", unread.escape_ascii().to_string());
            let answer = unread.drain(..length).collect::<Vec<u8>>().to_ascii_lowercase();
            told = memchr::memmem::find(&answer, b"\r\nconnection: close\r\n").is_some();
            answered += 1;
            continue;
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes) {
            Ok(0) => return (answered, told, "closed".to_owned()),
            Err(error) => return (answered, told, error.to_string()),
            Ok(count) => unread.extend_from_slice(&bytes[..count]),
        }
    }
    (answered, told, String::new())
}

/// The length of the answer that stands whole at the beginning.
fn whole_answer(bytes: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head of ASCII").to_ascii_lowercase();
    let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?;
    let length = head + length.parse::<usize>().expect("a length");
    (bytes.len() >= length).then_some(length)
}

fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).ok()?;
    Some(stream)
}

/// Asks until nobody answers. With `reuse` over one connection as long as it lasts; else over a new one each time.
fn call(address: SocketAddr, kind: &Kind, answers: &AtomicUsize) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut open: Option<(TcpStream, Vec<u8>)> = None;
    loop {
        let Some((mut stream, mut unread)) = open.take().or_else(|| Some((connect(address)?, Vec::new())))
        else {
            return all;
        };
        if stream.write_all(&kind.bytes).is_err() {
            // It was closed between two requests; only part of this one went out.
            continue;
        }
        let at = Instant::now();
        let (answered, told, end) = read_answers(&mut stream, &mut unread, kind.requests);
        let sent = Sent { kind: kind.name, at, requests: kind.requests, answered, told, end };
        answers.fetch_add(sent.answered, Ordering::Relaxed);
        let whole = sent.answered == sent.requests;
        all.push(sent);
        if whole && kind.reuse {
            open = Some((stream, unread));
        }
    }
}

fn a_signal_under_load_loses_no_request_that_was_sent(driver: &str) {
    let mut server = Server::start(|settings| {
        settings
            .driver(driver)
            .cores(2)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_LIMITS_CONCURRENCY", 0);
    });
    let plain = server.webhook(json!({}));
    let replied = server.webhook(json!({"waitForReply": true}));
    server.flow(&replied, json!([reply_node("{\"a\":\"reply\"}")]));
    for round in 0..ROUNDS {
        let answers = AtomicUsize::new(0);
        let address = server.ingress;
        let pipelined = [plain.post(b"a body"), replied.get()].concat().repeat(PIPELINED / 2);
        let kinds = [
            Kind { name: "a request at a time", bytes: plain.post(b"a body"), requests: 1, reuse: true },
            Kind { name: "a reply at a time", bytes: replied.get(), requests: 1, reuse: true },
            Kind { name: "a connection each", bytes: plain.get(), requests: 1, reuse: false },
            Kind { name: "pipelined", bytes: pipelined, requests: PIPELINED, reuse: true },
        ];
        let (signal, sent) = thread::scope(|scope| {
            let mut callers = Vec::new();
            for kind in &kinds {
                for _ in 0..CALLERS {
                    let answers = &answers;
                    callers.push(scope.spawn(move || call(address, kind, answers)));
                }
            }
            eventually("there is load", || (answers.load(Ordering::Relaxed) > WARM).then_some(()));
            let signal = Instant::now();
            server.terminate();
            let sent: Vec<Sent> =
                callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect();
            (signal, sent)
        });
        let status = server.ended();
        assert_eq!(status.code(), Some(0), "{}", server.log());
        let unanswered = |which: &dyn Fn(&&Sent) -> bool| -> usize {
            sent.iter().filter(which).map(|sent| sent.requests - sent.answered).sum()
        };
        let answered: usize = sent.iter().map(|sent| sent.answered).sum();
        println!(
            "SIGTERM under load, {driver}, round {round}: answered {answered}, refused after the signal {}, told that \
             they were not looked at {}, lost {}, ended in {:?}",
            unanswered(&|sent| sent.at >= signal),
            unanswered(&|sent| sent.at < signal && sent.told),
            unanswered(&|sent| sent.at < signal && !sent.told),
            signal.elapsed()
        );
        let lost = sent.iter().filter(|sent| sent.at < signal && !sent.told && sent.answered < sent.requests);
        let lost: Vec<String> = lost
            .map(|sent| {
                let before = signal - sent.at;
                format!(
                    "{}, {before:?} before: {} of {}, {}",
                    sent.kind, sent.answered, sent.requests, sent.end
                )
            })
            .collect();
        assert!(lost.is_empty(), "sent whole before the signal and not answered: {lost:#?}");
        server.restart();
    }
}

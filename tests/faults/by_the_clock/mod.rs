//! How long who is slow or silent is waited for: section 4, the end, and section 6. These limits are real time, so this
//! one test takes as long as the longest of them (75 s and a little); all of it runs side by side, on both drivers.
//!
//! Held to: nobody is cut off before the time, and everybody is some time after it, however busy the machine.

mod late_reply;
mod silence;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Hook, PATIENCE, Server, eventually, reply_node};

/// The limits, in seconds.
const HEAD: u64 = 10;
const BODY: u64 = 30;
const IDLE: u64 = 75;
const RESPONSE: u64 = 30;
/// A head's next byte, and a slow body's next few, come at this pace.
const DRIP: Duration = Duration::from_millis(500);

/// What a connection was sent until it ended, and how long that took from its first byte.
struct End {
    text: String,
    after: Duration,
}

impl End {
    /// Asserts a 408 and the end, not before `seconds` were over.
    #[track_caller]
    fn is_408_after(&self, seconds: u64, what: &str) {
        assert!(self.text.starts_with("HTTP/1.1 408 "), "{what}: {:?} after {:?}", self.text, self.after);
        assert!(self.text.to_ascii_lowercase().contains("connection: close"), "{what}: {:?}", self.text);
        self.came_after(seconds, what);
    }

    /// Asserts an end without a word, not before `seconds` were over.
    #[track_caller]
    fn is_silent_after(&self, seconds: u64, what: &str) {
        assert_eq!(self.text, "", "{what}");
        self.came_after(seconds, what);
    }

    #[track_caller]
    fn came_after(&self, seconds: u64, what: &str) {
        assert!(self.after >= Duration::from_secs(seconds), "{what}: cut off after {:?}", self.after);
        println!("{what}: {:.1} s of {seconds}", self.after.as_secs_f64());
    }
}

/// Sends `first`, then a piece of `more` at each drip, and reads until the connection ends.
fn slowly(server: &Server, first: &[u8], more: &[u8], piece: usize, limit: u64) -> End {
    let mut stream = TcpStream::connect(server.ingress).expect("it accepts");
    stream.set_nodelay(true).expect("a socket");
    let begun = Instant::now();
    stream.write_all(first).expect("it takes it");
    let mut pieces = more.chunks(piece);
    let mut received = Vec::new();
    let patience = Duration::from_secs(limit) + PATIENCE;
    loop {
        assert!(begun.elapsed() < patience, "it is open still after {:?}", begun.elapsed());
        stream.set_read_timeout(Some(DRIP)).expect("a socket");
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => received.extend_from_slice(&bytes[..count]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                if let Some(piece) = pieces.next() {
                    // It may have ended at this moment; then the next read says so.
                    let _ = stream.write_all(piece);
                }
            }
            Err(error) => panic!("it broke off after {:?}: {error}", begun.elapsed()),
        }
    }
    End { text: String::from_utf8(received).expect("text"), after: begun.elapsed() }
}

fn head_of_post(hook: &Hook, length: usize, more: &str) -> Vec<u8> {
    let target = hook.target("");
    format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n").into_bytes()
}

/// One that takes nothing of its answers: far more than the buffers on the way hold.
fn an_untaken_response(driver: &str) {
    const REPLY_BYTES: usize = 200_000;
    const ANSWERS: usize = 100;
    let server = start(driver);
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, json!([reply_node(&"x".repeat(REPLY_BYTES))]));
    let mut stream = TcpStream::connect(server.ingress).expect("it accepts");
    let begun = Instant::now();
    stream.write_all(&hook.get().repeat(ANSWERS)).expect("it takes it");
    let open = || server.metric("tidegate_open_connections", "kind=\"http\"");
    eventually("it is in", || (open() > 0).then_some(()));
    while open() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(RESPONSE) + PATIENCE, "it is open still");
        thread::sleep(DRIP / 5);
    }
    let what = format!("{driver}: an untaken response");
    End { text: String::new(), after: begun.elapsed() }.is_silent_after(RESPONSE, &what);
}

fn start(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

fn all_limits(driver: &str) {
    let server = &start(driver);
    let hook = &server.webhook(json!({}));
    let say = |what: &str| format!("{driver}: {what}");
    thread::scope(|scope| {
        scope.spawn(|| an_untaken_response(driver));
        scope.spawn(|| {
            let first = format!("GET {} HTTP/1.1\r\nHost: a\r\nX-Slow: ", hook.target(""));
            let end = slowly(server, first.as_bytes(), &[b'x'; 200], 1, HEAD);
            end.is_408_after(HEAD, &say("a head that drips"));
        });
        scope.spawn(|| {
            let end = slowly(server, b"G", &[], 1, HEAD);
            end.is_408_after(HEAD, &say("one byte of a head"));
        });
        scope.spawn(|| {
            let first = [head_of_post(hook, 100, ""), b"some".to_vec()].concat();
            slowly(server, &first, &[], 1, BODY).is_408_after(BODY, &say("a body that stops"));
        });
        scope.spawn(|| {
            // 20 bytes at each drip are 40 a second: there is progress, but too little.
            let end = slowly(server, &head_of_post(hook, 100_000, ""), &[b'x'; 100_000], 20, BODY);
            end.is_408_after(BODY, &say("a body of 40 bytes a second"));
        });
        scope.spawn(|| {
            let first = format!(
                "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
                hook.target("")
            );
            slowly(server, first.as_bytes(), &[], 1, BODY).is_408_after(BODY, &say("a chunk that stops"));
        });
        scope.spawn(|| {
            let first = head_of_post(hook, 10, "Expect: 100-continue\r\n");
            let end = slowly(server, &first, &[], 1, BODY);
            let text = end.text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").expect("it was asked for");
            let end = End { text: text.to_owned(), after: end.after };
            end.is_408_after(BODY, &say("a body that was asked for and never comes"));
        });
        scope.spawn(|| {
            // 200 bytes at each drip are up to 400 a second, for longer than the limit: slow, and fast enough.
            const PIECES: usize = 70;
            let body = vec![b'x'; 200 * PIECES];
            let first = head_of_post(hook, body.len(), "Connection: close\r\n");
            let end = slowly(server, &first, &body, 200, BODY);
            assert!(end.text.starts_with("HTTP/1.1 200 "), "a body of 400 bytes a second: {:?}", end.text);
            end.came_after(BODY, &say("a body of 400 bytes a second is taken"));
        });
        scope.spawn(|| {
            slowly(server, b"", &[], 1, IDLE).is_silent_after(IDLE, &say("a connection that says nothing"));
        });
        scope.spawn(|| {
            let end = slowly(server, &hook.get(), &[], 1, IDLE);
            let (_, rest) = end.text.split_once(r#"{"success":true}"#).expect("it has its answer");
            let end = End { text: rest.to_owned(), after: end.after };
            end.is_silent_after(IDLE, &say("a connection that says nothing more"));
        });
        // Others are served all the while.
        let begun = Instant::now();
        let (mut wire, mut served) = (server.wire(), 0);
        while begun.elapsed() < Duration::from_secs(IDLE) {
            wire.ask(hook.get()).is(200, r#"{"success":true}"#);
            served += 1;
            thread::sleep(DRIP);
        }
        println!("{driver}: {served} requests of another were served meanwhile");
    });
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
}

#[test]
fn who_is_slow_is_cut_off_when_the_time_is_over_and_not_before() {
    thread::scope(|scope| {
        for driver in ["io_uring", "epoll"] {
            scope.spawn(move || all_limits(driver));
            scope.spawn(move || late_reply::a_late_reply_reaches_a_caller_that_takes_it_slowly(driver));
            scope.spawn(move || silence::silence_is_pinged_and_then_broken(driver));
        }
    });
}

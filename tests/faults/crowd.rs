//! Ten thousand who are slow at once, and one who is not: that one is served throughout.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::common::{Server, Wire, eventually, reply_node, request};

on_each_driver! {
    ten_thousand_who_are_slow_do_not_keep_anyone_from_being_served,
}

const SLOW_HEADS: usize = 4_000;
const SLOW_BODIES: usize = 4_000;
const SLOW_READERS: usize = 2_000;
/// A slow reader's window: small, so that the kernel does not hold some MiB for each.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;
/// Descriptors beside those of the crowd, here and in the server.
const DESCRIPTORS_BESIDE: u64 = 500;
/// Among so many of the crowd comes one request of the normal client.
const CROWD_TO_ONE: usize = 50;
const REQUESTS: usize = 500;
const REPLY_BYTES: usize = 64 * 1024;
/// Answers that a slow reader asks for: more than the buffers on the way hold.
const ANSWERS: usize = 16;

fn ten_thousand_who_are_slow_do_not_keep_anyone_from_being_served(driver: &str) {
    if !raise_open_files() {
        return;
    }
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .cores(2)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_LIMITS_CONCURRENCY", 0);
    });
    let hook = server.webhook(json!({}));
    let large = server.webhook(json!({"waitForReply": true}));
    server.flow(&large, json!([reply_node(&"x".repeat(REPLY_BYTES))]));
    let head = format!("GET {} HTTP/1.1\r\nHost: a\r\nX-Slow: ", hook.target(""));
    let body = hook.post(&[b'x'; 1000]);
    let answers = request("GET", &large.target(""), &[], b"").repeat(ANSWERS);

    let mut slow: Vec<Wire> = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    let mut ask = |normal: &mut Wire, begun: Instant| {
        normal.ask(hook.post(b"a body")).is(200, r#"{"success":true}"#);
        times.push(begun.elapsed());
    };
    let mut normal = server.wire();
    // The heads last: they have 10 s, the others 30.
    for (count, sent) in [
        (SLOW_READERS, &answers[..]),
        (SLOW_BODIES, &body[..body.len() - 900]),
        (SLOW_HEADS, head.as_bytes()),
    ] {
        for number in 0..count {
            let mut wire = server.wire();
            wire.receive_buffer(RECEIVE_BUFFER_BYTES);
            wire.send_what_fits(sent);
            slow.push(wire);
            if number % CROWD_TO_ONE == 0 {
                ask(&mut normal, Instant::now());
            }
        }
    }
    let open = || server.metric("tidegate_open_connections", "kind=\"http\"");
    let crowd = SLOW_HEADS + SLOW_BODIES + SLOW_READERS;
    // The last few may wait in the kernel for a moment.
    let held = eventually("all of them are in", || Some(open()).filter(|&open| open > crowd as u64));
    for number in 0..REQUESTS {
        // By turns over one connection and over new ones.
        match number % 5 {
            0 => ask(&mut server.wire(), Instant::now()),
            _ => ask(&mut normal, Instant::now()),
        }
    }
    let begun = Instant::now();
    drop(slow);
    eventually("only the normal one is open", || (open() == 1).then_some(()));
    let recovered = begun.elapsed();
    normal.ask(hook.get()).is(200, r#"{"success":true}"#);
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    times.sort_unstable();
    println!(
        "a crowd, {driver}: held {held}, others served {}, refused 0, lost 0, p50 {:?}, p99 {:?}, recovered in \
         {recovered:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

/// Each connection is a descriptor here and in the server. False: there may not be so many.
fn raise_open_files() -> bool {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("the soft limit may be raised");
    let wanted = (SLOW_HEADS + SLOW_BODIES + SLOW_READERS) as u64 + DESCRIPTORS_BESIDE;
    let is_enough = limit.maximum.is_none_or(|maximum| maximum >= wanted);
    if !is_enough {
        let why = format!("a process may open {:?} descriptors, and {wanted} are needed", limit.maximum);
        crate::common::skip::skip("ten thousand slow callers", &why);
    }
    is_enough
}

//! Section 11: rate and concurrency, however the calls are spread over connections and cores.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::{Hook, Server, Wire, eventually};
use crate::sockets::Socket;

const SUCCESS: &str = r#"{"success":true}"#;
const OVER_RATE: &str = r#"{"error":"Over rate limit, request throttled"}"#;
const OVER_CONCURRENCY: &str = r#"{"error":"Over concurrency limit, request throttled"}"#;
/// The default of both limits.
const LIMIT: usize = 100;

/// As many connections as there are cores to be met, and many more.
fn wires(server: &Server, count: usize) -> Vec<Wire> {
    (0..count).map(|_| server.wire()).collect()
}

fn a_hundred_calls_pass_and_the_next_does_not(cores: usize) {
    let server = Server::start(|settings| {
        settings.cores(cores);
    });
    // A long window, so that the machine's speed does not come into it.
    let hook = server.webhook(json!({"limits": {"windowSeconds": 3600}}));
    let mut wires = wires(&server, 50);
    for _ in 0..LIMIT / wires.len() {
        for wire in &mut wires {
            wire.ask(hook.get()).is(200, SUCCESS);
        }
    }
    for wire in &mut wires {
        wire.ask(hook.get()).is(429, OVER_RATE);
    }
    assert_eq!(server.metric("tidegate_throttles_total", "rate"), wires.len() as u64);
}

#[test]
fn a_hundred_calls_pass_and_the_next_does_not_on_one_core() {
    a_hundred_calls_pass_and_the_next_does_not(1);
}

#[test]
fn a_hundred_calls_pass_and_the_next_does_not_on_two_cores() {
    a_hundred_calls_pass_and_the_next_does_not(2);
}

#[test]
fn a_hundred_calls_pass_and_the_next_does_not_on_four_cores() {
    a_hundred_calls_pass_and_the_next_does_not(4);
}

#[test]
fn what_was_spent_stays_spent_although_the_limit_is_switched_off_and_on() {
    let server = Server::start(|_| {});
    let limits = |calls: u32| json!({"limits": {"requestsPerWindow": calls, "windowSeconds": 3600}});
    let hook = server.webhook(limits(2));
    let mut wire = server.wire();
    for expected in [200, 200, 429] {
        assert_eq!(wire.ask(hook.get()).status, expected);
    }
    server.patch(&hook, &limits(0));
    assert!((0..5).all(|_| wire.ask(hook.get()).status == 200));
    server.patch(&hook, &limits(2));
    wire.ask(hook.get()).is(429, OVER_RATE);
    server.patch(&hook, &limits(3));
    for expected in [200, 429] {
        assert_eq!(wire.ask(hook.get()).status, expected);
    }
}

#[test]
fn what_the_engine_sends_is_not_counted_by_the_rate() {
    const REPLIES: usize = 20;
    let server = Server::start(|_| {});
    let limits = json!({"limits": {"requestsPerWindow": 3, "windowSeconds": 3600}});
    let mut fields = limits;
    fields["isWebsocket"] = json!(true);
    let hook = server.webhook(fields);
    let node = json!({"type": "WebhookReplyNode", "config": {
        "isWebsocketMessage": true, "bodyTemplate": "{{data.type}}", "replyIdPath": "data.replyId",
    }});
    // Each event is answered by as many messages as there are nodes: far more than the rate.
    let nodes: Vec<serde_json::Value> = (0..REPLIES).map(|_| node.clone()).collect();
    server.flow(&hook, json!(nodes));
    let mut socket = Socket::open(&server, &hook);
    for kind in ["connect", "message", "message"] {
        for reply in 0..REPLIES {
            assert_eq!(socket.frame().payload, kind.as_bytes(), "reply {reply} to {kind}");
        }
        socket.say("next");
    }
    // The upgrade and two messages were the three calls; the third message is the fourth.
    assert_eq!(socket.closed().0, 1008);
}

#[test]
fn test_requests_count_as_any_others() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"limits": {"requestsPerWindow": 3, "windowSeconds": 3600}}));
    server.wire().ask(hook.get()).is(200, SUCCESS);
    for expected in [200, 200, 429] {
        assert_eq!(server.test(&hook, &json!({"body": {"n": 1}}))["statusCode"], expected);
    }
    server.wire().ask(hook.get()).is(429, OVER_RATE);
}

#[test]
fn calls_that_come_at_once_share_the_limit() {
    let server = Server::start(|settings| {
        settings.cores(4);
    });
    let hook = server.webhook(json!({"limits": {"windowSeconds": 3600}}));
    let (threads, calls) = (8, 50);
    let passed: usize = std::thread::scope(|scope| {
        let each = |_| {
            let (server, hook) = (&server, &hook);
            scope.spawn(move || {
                let mut wire = server.wire();
                (0..calls).filter(|_| wire.ask(hook.get()).status == 200).count()
            })
        };
        let threads: Vec<_> = (0..threads).map(each).collect();
        threads.into_iter().map(|thread| thread.join().expect("no call failed")).sum()
    });
    assert_eq!(passed, LIMIT);
}

#[test]
fn no_window_sees_more_than_the_limit_and_tokens_come_back() {
    const PER_WINDOW: usize = 5;
    const WINDOW: Duration = Duration::from_secs(1);
    let server = Server::start(|settings| {
        settings.cores(4);
    });
    let hook = server
        .webhook(json!({"limits": {"requestsPerWindow": PER_WINDOW, "windowSeconds": WINDOW.as_secs()}}));
    let mut passed: Vec<(Instant, Instant)> = Vec::new();
    let mut wires = wires(&server, 16);
    let begun = Instant::now();
    while passed.len() < 3 * PER_WINDOW {
        assert!(begun.elapsed() < crate::common::PATIENCE, "tokens come back");
        for wire in &mut wires {
            let sent = Instant::now();
            if wire.ask(hook.get()).status == 200 {
                passed.push((sent, Instant::now()));
            }
        }
    }
    // The server decided between the two moments, so that of any six calls that passed, first sent to last
    // received is never shorter than the window, on however slow a machine.
    for calls in passed.windows(PER_WINDOW + 1) {
        let took = calls[PER_WINDOW].1 - calls[0].0;
        assert!(took >= WINDOW, "{} calls passed in {took:?}", calls.len());
    }
}

/// As many requests that wait as the webhook may have, on a connection each.
fn hold_all(server: &Server, hook: &Hook, count: usize) -> Vec<Wire> {
    let held: Vec<Wire> = (0..count).map(|_| eventually("a slot is free", || server.hold(hook))).collect();
    assert!(held.iter().all(|wire| !wire.is_readable()), "one that waits was answered");
    held
}

fn as_many_wait_as_may_and_the_next_is_refused(driver: &str, cores: usize) {
    let server = Server::start(|settings| {
        settings.driver(driver).cores(cores);
    });
    let limits = json!({"requestsPerWindow": 0, "replyTimeoutSeconds": 3600});
    let hook = server.webhook(json!({"waitForReply": true, "limits": limits}));
    let says_more_and_goes = |mut wire: Wire| {
        wire.send("GET / HTTP/1.1\r\n");
    };
    for goes in [Wire::reset as fn(Wire), drop, says_more_and_goes] {
        let held = hold_all(&server, &hook, LIMIT);
        for _ in 0..10 {
            let response = server.wire().ask(hook.post(b"a body"));
            response.is(429, OVER_CONCURRENCY);
            let after: u32 = response.header("retry-after").expect("Retry-After").parse().expect("seconds");
            assert!(after >= 1, "nobody knows when a place is free: a moment later, not at once");
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
        // The slots are free again when the clients went away; the next round takes them all.
        held.into_iter().for_each(goes);
    }
    drop(hold_all(&server, &hook, LIMIT));
}

#[test]
fn as_many_wait_as_may_on_one_core() {
    as_many_wait_as_may_and_the_next_is_refused("auto", 1);
}

#[test]
fn as_many_wait_as_may_on_two_cores() {
    as_many_wait_as_may_and_the_next_is_refused("auto", 2);
}

#[test]
fn as_many_wait_as_may_on_four_cores() {
    as_many_wait_as_may_and_the_next_is_refused("auto", 4);
}

#[test]
fn as_many_wait_as_may_on_epoll() {
    as_many_wait_as_may_and_the_next_is_refused("epoll", 2);
}

#[test]
fn a_request_that_does_not_wait_holds_no_place() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"limits": {"concurrency": 1}}));
    // Their bodies are on the way all at once.
    let post = hook.post(b"a body");
    let mut wires = wires(&server, 10);
    for wire in &mut wires {
        wire.send(&post[..post.len() - 1]);
    }
    for wire in &mut wires {
        wire.ask(&post[post.len() - 1..]).is(200, SUCCESS);
    }
}

#[test]
fn a_slot_is_free_after_its_answer_and_after_its_time_out() {
    let server = Server::start(|_| {});
    let limits = json!({"concurrency": 1, "requestsPerWindow": 0, "replyTimeoutSeconds": 1});
    let hook = server.webhook(json!({"waitForReply": true, "limits": limits}));
    let mut wire = server.wire();
    assert_eq!(wire.ask(hook.get()).status, 504);
    assert_eq!(wire.ask(hook.get()).status, 504);
    server.flow(&hook, json!([crate::common::reply_node("{}")]));
    for _ in 0..50 {
        assert_eq!(wire.ask(hook.get()).status, 200);
    }
}

#[test]
fn a_client_that_leaves_with_requests_behind_the_one_that_waits_frees_its_slot() {
    let server = Server::start(|_| {});
    let limits = json!({"concurrency": 1, "requestsPerWindow": 0, "replyTimeoutSeconds": 3600});
    let hook = server.webhook(json!({"waitForReply": true, "limits": limits}));
    let large = vec![b'x'; 4 * 1024 * 1024];
    // What is more than the buffers on the way take hides an orderly end behind it, not a reset.
    let leaves = [(hook.get(), drop as fn(Wire)), (hook.get(), Wire::reset), (large, Wire::reset)];
    for (behind, goes) in leaves {
        let mut held = eventually("the slot is free", || server.hold(&hook));
        held.send_what_fits(&behind);
        goes(held);
    }
    drop(eventually("the slot is free", || server.hold(&hook)));
}

#[test]
fn the_metrics_say_how_many_wait() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 3600}}));
    let waiting = || server.metric("tidegate_waiting_requests", "");
    let held = hold_all(&server, &hook, 10);
    assert_eq!(waiting(), 10);
    drop(held);
    eventually("none waits any more", || (waiting() == 0).then_some(()));
}

#[test]
fn a_limit_of_nothing_is_none() {
    let server = Server::start(|_| {});
    let limits = json!({"requestsPerWindow": 0, "concurrency": 0, "replyTimeoutSeconds": 3600});
    let hook = server.webhook(json!({"waitForReply": true, "limits": limits}));
    drop(hold_all(&server, &hook, 3 * LIMIT));
}

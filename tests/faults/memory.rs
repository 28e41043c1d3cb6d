//! Memory that runs out by the program's own rule (`limits.body_bytes`) or by the system's (`RLIMIT_MEMLOCK`).

use std::time::Instant;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use crate::common::{Response, Server, Wire, eventually};
use crate::process::{NOBODY, is_root_or_skipped};

on_each_driver! {
    over_the_cap_on_bodies_callers_are_told_and_it_recovers,
}

const SUCCESS: &str = r#"{"success":true}"#;
const CALLERS: usize = 64;
const BODY_BYTES: usize = 200_000;
/// A fraction of what the callers send together.
const CAP_BYTES: usize = 2_000_000;

fn over_the_cap_on_bodies_callers_are_told_and_it_recovers(driver: &str) {
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .set("TIDEGATE_LIMITS_BODY_BYTES", CAP_BYTES)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({}));
    let large = hook.post(&vec![b'x'; BODY_BYTES]);
    let (sent, unsent) = large.split_at(large.len() - 1);
    let mut open: Vec<Wire> = Vec::new();
    let mut refused: Vec<Response> = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = server.wire();
        caller.send_what_goes(sent);
        // One that is let in says nothing before its last byte.
        open.push(caller);
        server.wire().ask(hook.post(b"a small one meanwhile")).is(200, SUCCESS);
    }
    // What the cap leaves room for is let in, each other one is told: once all that are over it were told, as many
    // wait as there is room for.
    let room = CAP_BYTES / BODY_BYTES;
    eventually("those over the cap are told", || {
        let (told, waiting): (Vec<Wire>, Vec<Wire>) = open.drain(..).partition(Wire::is_readable);
        open = waiting;
        for mut caller in told {
            let response = caller.response();
            caller.closed();
            refused.push(response);
        }
        (open.len() <= room).then_some(())
    });
    for response in &refused {
        assert_eq!((response.status, response.header("connection")), (503, Some("close")), "{response:?}");
        assert!(response.header("retry-after").is_some(), "{response:?}");
    }
    assert!(!open.is_empty(), "some are let in");
    let held = open.len();
    let begun = Instant::now();
    // Who was let in is served to its end, and then there is room again.
    for mut caller in open {
        caller.ask(unsent).is(200, SUCCESS);
    }
    for _ in 0..refused.len() {
        server.wire().ask(&large).is(200, SUCCESS);
    }
    println!(
        "bodies over the cap, {driver}: held {held}, refused {}, lost 0, recovered in {:?}",
        refused.len(),
        begun.elapsed()
    );
}

/// Whether the program finds io_uring here, as the user that the tests run as.
fn has_io_uring() -> bool {
    let server = Server::start(|settings| {
        settings.cores(1);
    });
    !server.log().contains("serving on epoll")
}

/// What Debian and Docker give an ordinary user, in bytes.
const LOCKED_BYTES: u64 = 8 * 1024 * 1024;

#[test]
fn an_ordinary_user_with_little_memory_to_lock_is_served_on_many_cores() {
    if !is_root_or_skipped("an ordinary user with little memory to lock") {
        return;
    }
    for cores in [1, 4, 16] {
        let mut server = Server::start(|settings| {
            settings.cores(cores).user(NOBODY).prepare(|| {
                let limit = Rlimit { current: Some(LOCKED_BYTES), maximum: Some(LOCKED_BYTES) };
                Ok(setrlimit(Resource::Memlock, limit)?)
            });
        });
        let hook = server.webhook(json!({"limits": {"requestsPerWindow": 0}}));
        for _ in 0..4 * cores {
            server.wire().ask(hook.get()).is(200, SUCCESS);
        }
        server.terminate();
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        let log = server.log();
        let on = if log.contains("serving on epoll") { "epoll" } else { "io_uring" };
        // One ring fits into what an ordinary user may lock, wherever there is io_uring at all.
        assert!(cores > 1 || on == "io_uring" || !has_io_uring(), "{log}");
        println!(
            "8 MiB of locked memory, {cores} cores: served on {on}; said so: {}",
            log.contains("RLIMIT_MEMLOCK")
        );
    }
}

#[test]
fn without_any_memory_to_lock_it_serves_and_says_on_what() {
    if !is_root_or_skipped("without any memory to lock") {
        return;
    }
    let server = Server::start(|settings| {
        settings
            .cores(4)
            .user(NOBODY)
            .prepare(|| Ok(setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: Some(0) })?));
    });
    let hook = server.webhook(json!({}));
    server.wire().ask(hook.get()).is(200, SUCCESS);
    let log = server.log();
    assert!(
        log.contains("serving on epoll") || log.contains("RLIMIT_MEMLOCK"),
        "it says nothing of it: {log}"
    );
    println!("no locked memory: served on epoll: {}", log.contains("serving on epoll"));
}

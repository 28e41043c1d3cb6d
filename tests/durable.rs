//! Black-box tests of the journal (sections 9 and 12): what was answered with 2xx is delivered, whatever becomes of the
//! process.

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "sockets/mod.rs"]
mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use common::{Hook, PATIENCE, Server, eventually, request};
use sockets::Worker;

/// Makes a module for each driver with a test for each of these functions, which take the driver's name.
macro_rules! on_each_driver {
    ($($test:ident),* $(,)?) => {
        mod on_io_uring {
            $(#[test] fn $test() { super::$test("io_uring"); })*
        }
        mod on_epoll {
            $(#[test] fn $test() { super::$test("epoll"); })*
        }
    };
}

on_each_driver! {
    what_was_accepted_survives_a_crash,
    what_was_acked_is_not_delivered_again,
    more_than_memory_holds_waits_on_the_disk_in_order,
    nothing_accepted_under_load_is_lost_in_a_crash,
    nothing_accepted_under_load_is_lost_by_a_stop,
}

/// A server with a journal, a webhook, and a flow of one worker node.
fn served(driver: &str, cores: usize) -> (Server, Hook, String) {
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .cores(cores)
            .set("TIDEGATE_JOURNAL_DURABILITY", "fsync")
            // Small segments, so that several are used.
            .set("TIDEGATE_JOURNAL_MAX_BYTES", 256 << 20)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_LIMITS_CONCURRENCY", 0);
    });
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode", "config": {}}]));
    (server, hook, flow)
}

fn post(hook: &Hook, number: u64, padding: usize) -> Vec<u8> {
    let body = json!({"number": number, "padding": "x".repeat(padding)}).to_string();
    request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes())
}

/// Triggers the flow over one connection; each body is its number.
fn trigger(server: &Server, hook: &Hook, numbers: std::ops::Range<u64>, padding: usize) {
    let mut wire = server.wire();
    for number in numbers {
        assert_eq!(wire.ask(post(hook, number, padding)).status, 200);
    }
}

fn number(payload: &Value) -> u64 {
    payload["data"]["body"]["number"].as_u64().expect("a number")
}

/// Open triggers, as the metrics tell.
fn open(server: &Server) -> u64 {
    server.metric("tidegate_journal_open_triggers", "")
}

fn what_was_accepted_survives_a_crash(driver: &str) {
    let (mut server, hook, flow) = served(driver, 2);
    trigger(&server, &hook, 0..30, 10);
    server.crash();
    // Any number of cores takes over what others have left.
    for cores in [1, 3] {
        server.restart_with("TIDEGATE_CORES", &cores.to_string());
        trigger(&server, &hook, 30 * cores..30 * (cores + 1), 10);
        server.crash();
    }
    server.restart_with("TIDEGATE_CORES", "2");
    let mut worker = Worker::attach(&server, &flow, 1000);
    let mut numbers: Vec<u64> = (0..90)
        .map(|_| {
            let (seq, attempt, payload) = worker.trigger();
            worker.ack(&[seq]);
            assert_eq!(attempt, 1);
            number(&payload)
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..60).chain(90..120).collect::<Vec<u64>>());
    eventually("all is done", || (open(&server) == 0).then_some(()));
}

fn what_was_acked_is_not_delivered_again(driver: &str) {
    let (mut server, hook, flow) = served(driver, 2);
    trigger(&server, &hook, 0..20, 10);
    let mut worker = Worker::attach(&server, &flow, 10);
    for expected in 0..10 {
        let (seq, _, payload) = worker.trigger();
        worker.ack(&[seq]);
        assert_eq!(number(&payload), expected);
    }
    eventually("acks are noted", || (open(&server) == 10).then_some(()));
    drop(worker);
    server.terminate();
    assert!(server.ended().success());
    server.restart();
    let mut worker = Worker::attach(&server, &flow, 100);
    for expected in 10..20 {
        let (seq, _, payload) = worker.trigger();
        worker.ack(&[seq]);
        assert_eq!(number(&payload), expected);
    }
    trigger(&server, &hook, 20..21, 10);
    assert_eq!(number(&worker.trigger().2), 20, "nothing else comes before it");
}

fn more_than_memory_holds_waits_on_the_disk_in_order(driver: &str) {
    // Of one flow 64 MiB are kept in memory.
    const COUNT: u64 = 340;
    let (server, hook, flow) = served(driver, 1);
    trigger(&server, &hook, 0..COUNT, 200_000);
    let other = server.webhook(json!({}));
    let other_flow = server.flow(&other, json!([{"type": "WorkerNode", "config": {}}]));
    trigger(&server, &other, 0..1, 10);
    let mut worker = Worker::attach(&server, &other_flow, 10);
    assert_eq!(number(&worker.trigger().2), 0, "a flow that is stuck does not hold up another");
    let mut worker = Worker::attach(&server, &flow, 10);
    for expected in 0..COUNT {
        let (seq, _, payload) = worker.trigger();
        assert_eq!(number(&payload), expected);
        worker.ack(&[seq]).say(&json!({"type": "ready", "credit": 1}));
        if expected == COUNT / 2 {
            trigger(&server, &hook, COUNT..COUNT + 5, 10);
        }
    }
    for expected in COUNT..COUNT + 5 {
        assert_eq!(number(&worker.trigger().2), expected);
    }
}

/// Posts numbers until the connection breaks; returns those that were answered with 200.
fn post_until_it_breaks(address: SocketAddr, hook: &Hook, numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut accepted = Vec::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return accepted };
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    for number in numbers {
        if stream.write_all(&post(hook, number, 100)).is_err() {
            break;
        }
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") || !answer.ends_with(b"}") {
            match stream.read(&mut piece) {
                Ok(length) if length > 0 => answer.extend_from_slice(&piece[..length]),
                _ => return accepted,
            }
        }
        if answer.starts_with(b"HTTP/1.1 200 ") {
            accepted.push(number);
        }
    }
    accepted
}

/// Takes all that waits, and acks it, as long as something comes.
fn deliver_all(server: &Server, flow: &str, delivered: &mut BTreeMap<u64, u64>) {
    let mut worker = Worker::attach(server, flow, 1_000_000);
    let mut heard = Instant::now();
    while open(server) > 0 {
        assert!(heard.elapsed() < PATIENCE, "{} are not delivered", open(server));
        while worker.socket.is_readable() {
            let (seq, _, payload) = worker.trigger();
            worker.ack(&[seq]);
            *delivered.entry(number(&payload)).or_default() += 1;
            heard = Instant::now();
        }
    }
}

fn nothing_accepted_under_load_is_lost_in_a_crash(driver: &str) {
    // `tools/crashes` runs many more.
    let setting = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let rounds: u64 = setting("TIDEGATE_CRASH_ROUNDS", 4);
    let callers: u64 = setting("TIDEGATE_CRASH_CALLERS", 8);
    let mut recovered = Duration::ZERO;
    let (mut server, hook, flow) = served(driver, 2);
    let (mut accepted, mut delivered) = (Vec::new(), BTreeMap::<u64, u64>::new());
    for round in 0..rounds {
        let address = server.ingress;
        let hook = &hook;
        std::thread::scope(|scope| {
            let callers: Vec<_> = (0..callers)
                .map(|caller| {
                    let first = (round * callers + caller) << 32;
                    scope.spawn(move || post_until_it_breaks(address, hook, first..))
                })
                .collect();
            std::thread::sleep(Duration::from_millis(150 + 70 * (round % 10)));
            server.crash();
            accepted.extend(callers.into_iter().flat_map(|caller| caller.join().expect("a caller")));
        });
        let begun = Instant::now();
        server.restart_with("TIDEGATE_CORES", &(1 + round % 3).to_string());
        recovered = recovered.max(begun.elapsed());
        // Some is delivered between two crashes, and not all of it acked.
        let mut worker = Worker::attach(&server, &flow, 10);
        for _ in 0..10 {
            let (seq, _, payload) = worker.trigger();
            if seq % 2 == 0 {
                worker.ack(&[seq]);
            }
            *delivered.entry(number(&payload)).or_default() += 1;
        }
        // From time to time all of it is: else the segments of so many starts would fill the journal.
        if round % 8 == 7 || round + 1 == rounds {
            drop(worker);
            deliver_all(&server, &flow, &mut delivered);
        }
    }
    assert!(accepted.len() > 50, "{} accepted", accepted.len());
    let lost: Vec<&u64> = accepted.iter().filter(|number| !delivered.contains_key(number)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), accepted.len());
    let twice = delivered.values().filter(|count| **count > 1).count();
    println!(
        "kill -9 under load, {driver}: {rounds} rounds, accepted {}, lost 0, delivered more than once {twice}, served again in at most {} ms",
        accepted.len(),
        recovered.as_millis()
    );
}

fn nothing_accepted_under_load_is_lost_by_a_stop(driver: &str) {
    const CALLERS: u64 = 8;
    let (mut server, hook, flow) = served(driver, 2);
    let (address, of) = (server.ingress, &hook);
    let accepted: Vec<u64> = std::thread::scope(|scope| {
        let caller = |caller: u64| scope.spawn(move || post_until_it_breaks(address, of, caller << 32..));
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        std::thread::sleep(Duration::from_millis(300));
        server.terminate();
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller")).collect()
    });
    assert!(server.ended().success());
    assert!(accepted.len() > 50, "{} accepted", accepted.len());
    server.restart();
    let mut worker = Worker::attach(&server, &flow, 1_000_000);
    let mut delivered = BTreeSet::new();
    for _ in 0..accepted.len() {
        let (seq, attempt, payload) = worker.trigger();
        worker.ack(&[seq]);
        assert!(delivered.insert(number(&payload)) && attempt == 1, "nothing was delivered before");
    }
    assert!(accepted.iter().all(|number| delivered.contains(number)), "something is lost");
    eventually("all is done", || (open(&server) == 0).then_some(()));
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let (server, hook, _) = served("auto", 1);
    trigger(&server, &hook, 0..1, 10);
    let (status, log) = server.run_second();
    assert!(!status.success() && log.contains("is in use by process"), "{log}");
    eventually("it is open", || (open(&server) == 1).then_some(()));
}

#[test]
fn a_segment_that_is_missing_stops_the_start_in_words() {
    let (mut server, hook, flow) = served("auto", 1);
    trigger(&server, &hook, 0..5, 10);
    server.crash();
    let journal = server.folder().join("data/journal");
    let (from, to) = (journal.join("0-1.segment"), server.folder().join("elsewhere"));
    std::fs::rename(&from, &to).expect("it is there");
    let (status, log) = server.run_second();
    assert!(!status.success() && log.contains("0-1.segment missing"), "{log}");
    std::fs::rename(&to, &from).expect("it is there");
    server.restart();
    let mut worker = Worker::attach(&server, &flow, 10);
    (0..5).for_each(|expected| assert_eq!(number(&worker.trigger().2), expected));
}

#[test]
fn what_waits_of_a_flow_that_was_changed_is_delivered_and_of_one_that_was_deleted_is_not() {
    let (mut server, hook, flow) = served("auto", 1);
    let deleted = server.flow(&hook, json!([{"type": "WorkerNode", "config": {}}]));
    trigger(&server, &hook, 0..5, 10);
    let path = |flow: &str| format!("/applications/{}/flows/{flow}", hook.application);
    let nodes = json!({"nodes": [{"id": "another", "type": "WorkerNode", "config": {}}]});
    server.done("PATCH", &path(&flow), &nodes);
    server.crash();
    server.restart();
    server.done("DELETE", &path(&deleted), &Value::Null);
    server.crash();
    server.restart();
    let mut worker = Worker::attach(&server, &flow, 10);
    for expected in 0..5 {
        let (seq, _, payload) = worker.trigger();
        worker.ack(&[seq]);
        assert_eq!(number(&payload), expected);
    }
    eventually("all is done", || (open(&server) == 0).then_some(()));
}

/// Takes one request of a forward, answers it, and returns its `webhook-id` and its body.
fn take_forward(target: &TcpListener, status: &str) -> (String, Value) {
    let (mut stream, _) = target.accept().expect("a request");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut piece).expect("a whole request");
        assert!(length > 0, "a whole request");
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).expect("text").to_ascii_lowercase();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {head}")).trim().to_owned()
        };
        let length: usize = field("content-length:").parse().expect("a number");
        if bytes.len() < end + 4 + length {
            continue;
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).expect("it reads");
        return (field("webhook-id:"), serde_json::from_slice(&bytes[end + 4..]).expect("JSON"));
    }
}

#[test]
fn a_forward_is_tried_again_after_a_crash_under_the_same_id() {
    let (mut server, _, _) = served("auto", 2);
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/target", target.local_addr().expect("bound"));
    let hook = server.webhook(json!({}));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let config = json!({"url": url, "secret": secret, "retry": {"backoffSeconds": 0.2}});
    server.flow(&hook, json!([{"id": "out", "type": "HttpForwardNode", "config": config}]));
    trigger(&server, &hook, 7..8, 10);
    let (id, payload) = take_forward(&target, "500 No");
    assert_eq!(number(&payload), 7);
    server.crash();
    server.restart();
    let (again, payload) = take_forward(&target, "200 OK");
    assert_eq!((&again, number(&payload)), (&id, 7));
    eventually("it is done", || (open(&server) == 0).then_some(()));
    server.terminate();
    assert!(server.ended().success());
    server.restart();
    trigger(&server, &hook, 8..9, 10);
    let (other, payload) = take_forward(&target, "200 OK");
    assert_eq!(number(&payload), 8);
    assert_ne!(other, id);
}

/// Whether an answer says that the call is a repeat.
fn is_repeat(answer: &common::Response) -> bool {
    answer.header("tidegate-duplicate") == Some("true")
}

#[test]
fn keys_of_calls_outlive_a_crash_whatever_listens_and_whatever_number_of_cores() {
    const WINDOW: Duration = Duration::from_secs(6);
    let (mut server, ..) = served("auto", 2);
    let keyed = |options: Value| {
        let mut body = json!({"deduplicate": {"key": "{{data.body.number}}"}});
        body.as_object_mut().expect("an object").extend(options.as_object().expect("an object").clone());
        server.webhook(body)
    };
    // Its triggers are written; no flow listens; a template replies; a worker replies.
    let (written, quiet) = (keyed(json!({})), keyed(json!({})));
    let flow = server.flow(&written, json!([{"type": "WorkerNode", "config": {}}]));
    let templated = keyed(json!({"waitForReply": true}));
    server.flow(&templated, json!([common::reply_node("seen")]));
    let replied = keyed(json!({"waitForReply": true}));
    let replier = server.flow(&replied, json!([{"type": "WorkerNode", "config": {}}]));
    let short = keyed(json!({"deduplicate":
        {"key": "{{data.body.number}}", "windowSeconds": WINDOW.as_secs()}}));
    let hooks = [&written, &quiet, &templated, &replied];
    let call = |server: &Server, hook: &Hook, number: u64| {
        let answer = server.wire().ask(post(hook, number, 10));
        assert_eq!(answer.status, 200);
        answer
    };
    let replying = |server: &Server, number: u64| {
        let mut worker = Worker::attach(server, &replier, 10);
        let mut wire = server.wire();
        wire.send(post(&replied, number, 10));
        let (_, _, payload) = worker.trigger();
        let reply_id = payload["data"]["replyId"].clone();
        worker.say(&json!({"type": "reply", "replyId": reply_id, "body": "done"}));
        wire.response()
    };
    let begun = Instant::now();
    for hook in [&written, &quiet, &templated, &short] {
        assert!(!is_repeat(&call(&server, hook, 1)));
    }
    assert!(!is_repeat(&replying(&server, 1)));
    let ended = begun.elapsed();
    for cores in ["1", "3"] {
        server.crash();
        server.restart_with("TIDEGATE_CORES", cores);
        for hook in hooks {
            assert!(is_repeat(&call(&server, hook, 1)), "{cores} cores");
            assert!(!is_repeat(&if std::ptr::eq(hook, &replied) {
                replying(&server, cores.parse::<u64>().expect("a number") + 1)
            } else {
                call(&server, hook, cores.parse::<u64>().expect("a number") + 1)
            }));
        }
        if begun.elapsed() < WINDOW {
            let is_repeat = is_repeat(&call(&server, &short, 1));
            assert!(is_repeat || begun.elapsed() >= WINDOW, "the window is too short");
        }
    }
    // A window goes on where it was, and ends when it would have.
    eventually("the window is over", || (!is_repeat(&call(&server, &short, 1))).then_some(()));
    assert!(begun.elapsed() >= WINDOW, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < WINDOW + ended + Duration::from_secs(4), "{:?}", begun.elapsed());
    // Each key has triggered once.
    let mut worker = Worker::attach(&server, &flow, 10);
    let mut numbers: Vec<u64> = (0..3).map(|_| number(&worker.trigger().2)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 4]);
    // Another template's keys are others, also after a restart.
    let template = json!({"deduplicate": {"key": "{{data.body.number}}{{data.body.more}}"}});
    server.patch(&quiet, &template);
    server.crash();
    server.restart();
    assert!(!is_repeat(&call(&server, &quiet, 1)));
    assert!(is_repeat(&call(&server, &quiet, 1)));
}

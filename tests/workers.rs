//! Black-box tests of attached workers (section 10): who gets which trigger, and what becomes of it.

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of WebSocket webhooks, which use all of it")]
#[path = "sockets/mod.rs"]
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use common::{ACCESS_TOKEN, Hook, Server, Wire, request};
use sockets::{BINARY, FIN, PING, PONG, Socket, TEXT, Worker, frame, upgrade};

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
    a_request_is_answered_by_a_worker,
    a_worker_that_dies_loses_nothing,
    fifty_workers_share_the_load,
    a_worker_that_never_reads_costs_only_itself,
    a_connection_stays_with_one_worker,
}

/// A server of two cores, a webhook with these fields, and a flow of one worker node with this config.
fn served(driver: &str, fields: Value, config: Value) -> (Server, Hook, String) {
    let server = Server::start(|settings| {
        settings
            .driver(driver)
            .cores(2)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0)
            .set("TIDEGATE_LIMITS_CONCURRENCY", 0);
    });
    let hook = server.webhook(fields);
    let flow = server.flow(&hook, json!([{"type": "WorkerNode", "config": config}]));
    (server, hook, flow)
}

/// Triggers the flow so many times; each body is its number.
fn trigger(server: &Server, hook: &Hook, numbers: std::ops::Range<usize>) {
    let mut wire = server.wire();
    for number in numbers {
        let headers = [("Content-Type", "application/json")];
        let post = request("POST", &hook.target(""), &headers, number.to_string().as_bytes());
        assert_eq!(wire.ask(post).status, 200);
    }
}

fn number(payload: &Value) -> u64 {
    payload["data"]["body"].as_u64().expect("a number")
}

#[test]
fn who_may_attach() {
    let (server, _, flow) = served("auto", json!({}), json!({}));
    let bearer = format!("Bearer {ACCESS_TOKEN}");
    let own = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", "other, tidegate.worker.v1")];
    let target = format!("/flows/{flow}/worker");
    let ask =
        |target: &str, headers: &[(&str, &str)]| Wire::connect(server.workers).ask(upgrade(target, headers));
    let refused = |target: &str, headers: &[(&str, &str)]| ask(target, headers).status;
    assert_eq!(refused(&target, &own[1..]), 401);
    assert_eq!(refused(&target, &[("Authorization", "Bearer wrong"), own[1]]), 401);
    assert_eq!(refused(&target, &[("Authorization", ACCESS_TOKEN), own[1]]), 401);
    assert_eq!(refused("/flows/0123456789abcdef01234567/worker", &own), 404);
    assert_eq!(
        refused("/flows/0123456789abcdef01234567/worker", &own[1..]),
        401,
        "who has no token learns nothing"
    );
    assert_eq!(refused("/flows/x/worker", &own), 404);
    assert_eq!(refused(&format!("{target}/"), &own), 404);
    assert_eq!(refused(&target, &own[..1]), 400);
    assert_eq!(refused(&target, &[own[0], ("Sec-WebSocket-Protocol", "tidegate.worker.v2")]), 400);
    assert_eq!(refused(&target, &[own[0], own[1], ("Sec-WebSocket-Version", "8")]), 426);
    assert_eq!(refused(&target, &[own[0], own[1], ("Upgrade", "")]), 426);
    let post = request("POST", &target, &own[..1], b"");
    assert_eq!(Wire::connect(server.workers).ask(post).status, 405);
    // The access token has no place on the ingress, nor workers.
    assert_eq!(server.wire().ask(upgrade(&target, &own)).status, 404);
    let mut worker = Socket::open_with(server.workers, &target, &own);
    worker.send(FIN | PING, b"").expect(FIN | PONG, b"").close(1000, "").closed();
}

#[test]
fn credits_add_up_and_are_spent() {
    let (server, hook, flow) = served("auto", json!({}), json!({}));
    trigger(&server, &hook, 0..6);
    let mut worker = Worker::attach(&server, &flow, 1);
    let (first, attempt, payload) = worker.trigger();
    assert_eq!((first, attempt, number(&payload)), (1, 1, 0));
    assert!(payload["data"].get("replyId").is_none(), "nobody waits for a reply");
    worker.ack(&[1]).socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    assert!(!worker.socket.is_readable(), "an ack is no credit");
    worker.say(&json!({"type": "ready", "credit": 1})).say(&json!({"type": "ready", "credit": 2}));
    for expected in 1..4 {
        let (seq, _, payload) = worker.trigger();
        assert_eq!((seq, number(&payload)), (expected + 1, expected));
    }
    worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    assert!(!worker.socket.is_readable());
    // Several are acked at once; unknown and repeated ones are named, and nothing else comes of them.
    worker.ack(&[2, 3, 3, 77]);
    let error = worker.hear("error");
    assert_eq!(error["message"], "seq 3 is not an unacked trigger of this connection, nor are 1 others");
    worker.ack(&[4]).say(&json!({"type": "ready", "credit": 5}));
    assert_eq!(number(&worker.trigger().2), 4);
    assert_eq!(number(&worker.trigger().2), 5);
}

#[test]
fn a_node_says_how_many_a_worker_holds() {
    let (server, hook, flow) = served("auto", json!({}), json!({"maxInFlight": 2}));
    trigger(&server, &hook, 0..3);
    let mut worker = Worker::attach(&server, &flow, 100);
    worker.trigger();
    let (second, ..) = worker.trigger();
    worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    assert!(!worker.socket.is_readable());
    worker.ack(&[second]);
    assert_eq!(number(&worker.trigger().2), 2);
}

#[test]
fn a_node_whose_workers_are_busy_holds_back_no_other() {
    const CALLS: usize = 100;
    let (server, hook, _) = served("auto", json!({}), json!({}));
    let flow = server.flow(
        &hook,
        json!([
            {"id": "busy", "type": "WorkerNode", "config": {"maxInFlight": 1}},
            {"id": "free", "type": "WorkerNode"},
        ]),
    );
    let mut worker = Worker::attach(&server, &flow, 1_000);
    trigger(&server, &hook, 0..CALLS);
    let mut got = (0, 0);
    while got.1 < CALLS {
        let frame = worker.hear("trigger");
        if frame["nodeId"] == "free" {
            worker.ack(&[frame["seq"].as_u64().expect("a number")]);
            got.1 += 1;
        } else {
            got.0 += 1;
        }
    }
    assert_eq!(got, (1, CALLS));
}

#[test]
fn a_reply_acks_the_trigger_that_it_names() {
    let (server, hook, flow) = served("auto", json!({"isWebsocket": true}), json!({}));
    let mut worker = Worker::attach(&server, &flow, 10);
    let mut client = Socket::open(&server, &hook);
    client.say("first").say("second");
    let triggers: Vec<(u64, u64, Value)> = (0..3).map(|_| worker.trigger()).collect();
    let reply_id = triggers[0].2["data"]["replyId"].clone();
    // Which of the three it answers cannot be known.
    worker.say(&json!({"type": "reply", "replyId": reply_id, "body": "to one of them"}));
    let mut heard: Vec<Value> = (0..2).map(|_| json_of(&worker.socket.text())).collect();
    heard.sort_by_key(|frame| frame["type"].to_string());
    assert!(heard[0]["message"].as_str().expect("a text").contains("names none by seq"), "{heard:?}");
    assert_eq!(heard[1]["accepted"], true);
    client.expect(FIN | TEXT, b"to one of them");
    worker.say(&json!({"type": "reply", "seq": triggers[2].0, "replyId": reply_id, "body": "to the second"}));
    worker.hear("replyResult");
    client.expect(FIN | TEXT, b"to the second");
    // The two others come again, to the next worker.
    worker.socket.cut(false);
    let mut next = Worker::attach(&server, &flow, 10);
    let again: Vec<(u64, Value)> =
        (0..2).map(|_| next.trigger()).map(|(_, attempt, payload)| (attempt, payload)).collect();
    let told: Vec<&Value> = again.iter().map(|(_, payload)| &payload["data"]["message"]["data"]).collect();
    assert_eq!(told, [&Value::Null, &json!("first")]);
    assert!(again.iter().all(|(attempt, _)| *attempt == 2), "{again:?}");
    next.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    assert!(!next.socket.is_readable(), "the one that was answered is done");
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn what_is_not_wanted_or_not_acked_in_time_comes_again() {
    let (server, hook, flow) = served("auto", json!({}), json!({"ackTimeoutSeconds": 1}));
    let mut first = Worker::attach(&server, &flow, 10);
    let mut second = Worker::attach(&server, &flow, 0);
    second.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    trigger(&server, &hook, 0..1);
    let (seq, attempt, payload) = first.trigger();
    assert_eq!(attempt, 1);
    first.say(&json!({"type": "nack", "seq": seq}));
    second.say(&json!({"type": "ready", "credit": 10}));
    let (_, attempt, again) = second.trigger();
    assert_eq!((attempt, &again), (2, &payload), "the same payload, byte for byte");
    // The second one says nothing.
    let (seq, attempt, again) = first.trigger();
    assert_eq!((attempt, &again), (3, &payload));
    first.ack(&[seq]);
    // An ack that comes too late is one of nothing.
    second.ack(&[1]).hear("error");
    assert_eq!(server.metric("tidegate_deliveries_total", "retried"), 2);
}

/// Waits until the server has read what a worker sent: its credit is known before the first trigger is shared out.
fn wait_until_ready(worker: &mut Worker) {
    worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
}

fn a_request_is_answered_by_a_worker(driver: &str) {
    let fields = json!({"waitForReply": true, "responseCode": 203, "limits": {"replyTimeoutSeconds": 20}});
    let (server, hook, flow) = served(driver, fields, json!({}));
    let mut workers: Vec<Worker> = (0..4).map(|_| Worker::attach(&server, &flow, 2)).collect();
    workers.iter_mut().for_each(wait_until_ready);
    for round in 0..2 {
        let mut callers: Vec<Wire> = (0..4).map(|_| server.hold(&hook).expect("it waits")).collect();
        for (index, worker) in workers.iter_mut().enumerate() {
            let (seq, _, payload) = worker.trigger();
            let id = payload["data"]["replyId"].clone();
            worker.say(&json!({"type": "reply", "replyId": id, "body": {"worker": index}, "headers": {"X-Seq": seq}}));
            let result = worker.hear("replyResult");
            assert_eq!((&result["replyId"], &result["accepted"]), (&id, &json!(true)));
            // The first reply wins, and it acked the trigger.
            worker.say(&json!({"type": "reply", "replyId": id, "responseCode": 500}));
            assert_eq!(worker.hear("replyResult")["accepted"], json!(false));
            worker.ack(&[seq]).hear("error");
        }
        let mut answered: Vec<u64> = callers
            .iter_mut()
            .map(|caller| {
                let response = caller.response();
                assert_eq!(
                    (response.status, response.header("x-seq")),
                    (203, Some(&*(round + 1).to_string()))
                );
                let body: Value = serde_json::from_slice(&response.body).expect("JSON");
                body["worker"].as_u64().expect("a number")
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, [0, 1, 2, 3], "each had its share");
    }
}

#[test]
fn a_request_that_no_worker_takes_runs_into_its_time_out() {
    let fields = json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}});
    let (server, hook, flow) = served("auto", fields, json!({}));
    let time_out = r#"{"error":"Time out waiting for workflow reply"}"#;
    server.wire().ask(hook.get()).is(504, time_out);
    // Who comes later does not get what nobody waits for.
    let mut worker = Worker::attach(&server, &flow, 10);
    let mut held = server.hold(&hook).expect("it waits");
    let (seq, _, payload) = worker.trigger();
    assert_eq!(seq, 1);
    held.response().is(504, time_out);
    let id = payload["data"]["replyId"].clone();
    worker.say(&json!({"type": "reply", "replyId": id, "body": "too late"}));
    assert_eq!(worker.hear("replyResult")["accepted"], json!(false));
}

#[test]
fn what_is_no_frame_is_named_and_nothing_else_comes_of_it() {
    let (server, hook, flow) = served("auto", json!({}), json!({}));
    let mut worker = Worker::attach(&server, &flow, 1);
    let frames: &[(&str, &str)] = &[
        ("", "a frame must be a JSON object"),
        ("{", "a frame must be a JSON object"),
        ("[1]", "a frame must be a JSON object"),
        ("{}", "type must be one of"),
        (r#"{"type":"dance"}"#, "type must be one of"),
        (r#"{"type":"ready","credit":-1}"#, "credit must be"),
        (r#"{"type":"ack","seqs":[1.5]}"#, "seqs must be"),
        (r#"{"type":"ack","seqs":[1]}"#, "seq 1 is not"),
        (r#"{"type":"nack","seq":18446744073709551615}"#, "seq 18446744073709551615 is not"),
        (r#"{"type":"reply","replyId":7}"#, "replyId must be"),
        (r#"{"type":"reply","replyId":"x.y","encoding":"rot13"}"#, "encoding"),
    ];
    for (text, said) in frames {
        worker.socket.say(text);
        let error = worker.hear("error");
        assert!(error["message"].as_str().expect("text").starts_with(said), "{text}: {error}");
    }
    worker.socket.send(FIN | BINARY, br#"{"type":"ready","credit":1}"#);
    assert_eq!(worker.hear("error")["message"], "a frame must be a text message");
    for unknown in ["x.y", "", &format!("{}.AAAAAAAAAAAAAAAAAAAAAA", hook.id)] {
        worker.say(&json!({"type": "reply", "replyId": unknown}));
        assert_eq!(worker.hear("replyResult")["accepted"], json!(false));
    }
    trigger(&server, &hook, 0..1);
    worker.trigger();
}

#[test]
fn a_frame_may_be_two_mebibytes() {
    const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
    let fields = json!({"waitForReply": true, "limits": {"payloadBytes": FRAME_BYTES_MAX}});
    let (server, hook, flow) = served("auto", fields, json!({}));
    let mut worker = Worker::attach(&server, &flow, 10);
    let mut held = server.hold(&hook).expect("it waits");
    let id = worker.trigger().2["data"]["replyId"].clone();
    let empty = json!({"type": "reply", "replyId": id, "body": ""}).to_string();
    let filler = "x".repeat(FRAME_BYTES_MAX - empty.len());
    worker.say(&json!({"type": "reply", "replyId": id, "body": filler}));
    assert_eq!(worker.hear("replyResult")["accepted"], json!(true));
    assert_eq!(held.response().body.len(), filler.len());
    worker.socket.send_bytes(&sockets::header(FIN | TEXT, FRAME_BYTES_MAX as u64 + 1));
    assert_eq!(worker.socket.closed(), (1008, "Message too large".to_owned()));
}

#[test]
fn a_reply_over_the_payload_limit_is_an_error_to_its_sender() {
    let fields = json!({"waitForReply": true, "limits": {"payloadBytes": 10}});
    let (server, hook, flow) = served("auto", fields, json!({}));
    let mut worker = Worker::attach(&server, &flow, 10);
    let mut held = server.hold(&hook).expect("it waits");
    let id = worker.trigger().2["data"]["replyId"].clone();
    worker.say(&json!({"type": "reply", "replyId": id, "body": "eleven byte"}));
    worker.hear("error");
    assert_eq!(worker.hear("replyResult")["accepted"], json!(false));
    assert_eq!(held.response().status, 502);
}

#[test]
fn a_flow_that_is_deleted_closes_its_workers() {
    let (server, hook, flow) = served("auto", json!({}), json!({}));
    let mut workers: Vec<Worker> = (0..4).map(|_| Worker::attach(&server, &flow, 1)).collect();
    workers.iter_mut().for_each(wait_until_ready);
    trigger(&server, &hook, 0..10);
    for worker in &mut workers {
        worker.trigger();
    }
    server.done("DELETE", &format!("/applications/{}/flows/{flow}", hook.application), &Value::Null);
    for worker in &mut workers {
        assert_eq!(worker.socket.closed(), (1008, "Flow deleted".to_owned()));
    }
}

fn a_worker_that_dies_loses_nothing(driver: &str) {
    const TRIGGERS: usize = 1000;
    let (server, hook, flow) = served(driver, json!({}), json!({}));
    let mut dies = Worker::attach(&server, &flow, TRIGGERS as u32);
    trigger(&server, &hook, 0..TRIGGERS);
    for expected in 0..TRIGGERS {
        let (_, attempt, payload) = dies.trigger();
        assert_eq!((attempt, number(&payload)), (1, expected as u64), "in order");
    }
    let mut others: Vec<Worker> = (0..3).map(|_| Worker::attach(&server, &flow, TRIGGERS as u32)).collect();
    for other in &mut others {
        other.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    }
    dies.socket.cut(true);
    let mut seen = BTreeSet::new();
    let mut last = vec![None; others.len()];
    let mut counts = vec![0; others.len()];
    while seen.len() < TRIGGERS {
        let ready = others.iter().position(|other| other.socket.is_readable());
        let Some(index) = ready else { continue };
        let (seq, attempt, payload) = others[index].trigger();
        let number = number(&payload);
        assert_eq!(attempt, 2);
        assert!(seen.insert(number), "{number} came twice");
        assert!(last[index].is_none_or(|last| last < number), "each worker's come in order");
        last[index] = Some(number);
        counts[index] += 1;
        others[index].ack(&[seq]);
    }
    assert!(counts.iter().all(|count| *count >= TRIGGERS / 3 - 1), "{counts:?}");
    // That was all of it.
    for other in &mut others {
        other.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
        assert!(!other.socket.is_readable());
    }
}

fn fifty_workers_share_the_load(driver: &str) {
    const WORKERS: usize = 50;
    const EACH: usize = 20;
    let (server, hook, flow) = served(driver, json!({}), json!({}));
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| Worker::attach(&server, &flow, 1000)).collect();
    for worker in &mut workers {
        worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    }
    trigger(&server, &hook, 0..WORKERS * EACH);
    let mut counts = vec![0; WORKERS];
    while counts.iter().sum::<usize>() < WORKERS * EACH {
        for (worker, count) in workers.iter_mut().zip(&mut counts) {
            // None is acked before all have come, so that nobody has less to do for having been asked first.
            while worker.socket.is_readable() {
                worker.trigger();
                *count += 1;
            }
        }
    }
    let most = EACH + EACH / 10;
    assert!(counts.iter().all(|count| (EACH - EACH / 10..=most).contains(count)), "{counts:?}");
}

fn a_worker_that_never_reads_costs_only_itself(driver: &str) {
    const TRIGGERS: usize = 400;
    let (server, hook, flow) = served(driver, json!({}), json!({"ackTimeoutSeconds": 1}));
    let mut silent = Worker::attach(&server, &flow, 100_000);
    silent.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    let mut floods = Worker::attach(&server, &flow, 0);
    let mut works = Worker::attach(&server, &flow, 100_000);
    works.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    // One asks for answers without end and reads none: what waits for it has a bound.
    let garbage = frame(FIN | TEXT, b"{}").repeat(1000);
    let floods_until_closed = std::thread::spawn(move || {
        for _ in 0..200 {
            floods.socket.send_what_goes(&garbage);
        }
    });
    let mut wire = server.wire();
    for number in 0..TRIGGERS {
        let body = format!("{number:050000}");
        let post = request("POST", &hook.target(""), &[("Content-Type", "text/plain")], body.as_bytes());
        assert_eq!(wire.ask(&post).status, 200);
    }
    // Half of them went to the silent one, and come to the one that works when they are late. On a busy machine the one
    // that works may be late itself.
    let mut first = BTreeMap::new();
    while first.len() < TRIGGERS {
        let frame: Value = serde_json::from_str(&works.socket.text()).expect("JSON");
        if frame["type"] == "trigger" {
            works.ack(&[frame["seq"].as_u64().expect("a number")]);
            let body = frame["payload"]["data"]["body"].as_str().expect("text").to_owned();
            first.entry(body).or_insert(frame["attempt"].as_u64().expect("a number"));
        }
    }
    let late = first.values().filter(|attempt| **attempt > 1).count();
    assert!((1..TRIGGERS).contains(&late), "{late} had been with another");
    floods_until_closed.join().expect("it ends");
    assert_eq!(server.wire().ask(request("GET", "/healthz", &[], b"")).status, 200);
}

fn a_connection_stays_with_one_worker(driver: &str) {
    const CLIENTS: usize = 12;
    const MESSAGES: usize = 50;
    let (server, hook, flow) = served(driver, json!({"isWebsocket": true}), json!({}));
    let mut workers: Vec<Worker> = (0..3).map(|_| Worker::attach(&server, &flow, 100_000)).collect();
    workers.iter_mut().for_each(wait_until_ready);
    let mut clients: Vec<Socket> = (0..CLIENTS)
        .map(|name| Socket::open_with(server.ingress, &hook.target(""), &[("X-Name", &name.to_string())]))
        .collect();
    for index in 0..MESSAGES {
        for client in &mut clients {
            client.say(&index.to_string());
        }
    }
    for client in &mut clients {
        client.close(1000, "").closed();
    }
    let mut heard: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
    let mut count = 0;
    while count < CLIENTS * (MESSAGES + 2) {
        for (index, worker) in workers.iter_mut().enumerate() {
            while worker.socket.is_readable() {
                let data = worker.take();
                let name = data["headers"]["x-name"].as_str().expect("a name").to_owned();
                let what =
                    data["message"]["data"].as_str().or(data["type"].as_str()).expect("text").to_owned();
                heard.entry((name, index)).or_default().push(what);
                count += 1;
            }
        }
    }
    assert_eq!(heard.len(), CLIENTS, "each connection had one worker");
    let mut expected = vec!["connect".to_owned()];
    expected.extend((0..MESSAGES).map(|index| index.to_string()));
    expected.push("disconnect".to_owned());
    assert!(heard.values().all(|heard| *heard == expected), "{heard:?}");
    let used: BTreeSet<usize> = heard.keys().map(|(_, worker)| *worker).collect();
    assert_eq!(used.len(), workers.len(), "and each worker some connections");
}

#[test]
fn a_worker_behind_a_condition_gets_what_it_lets_through() {
    let (server, hook, flow) = served("auto", json!({}), json!({}));
    let path = format!("/applications/{}/flows/{flow}", hook.application);
    let wired = json!({
        "triggers": [{"type": "webhook", "key": hook.id, "outputIds": [["even"]]}],
        "nodes": [
            {"id": "even", "type": "ConditionalNode", "config": {"expression": "{{data.body}} % 2 === 0"},
                "outputIds": [["odd"], ["worker"]]},
            {"id": "worker", "type": "WorkerNode"},
            {"id": "odd", "type": "AnnotationNode"},
        ],
    });
    server.done("PATCH", &path, &wired);
    let mut worker = Worker::attach(&server, &flow, 100);
    trigger(&server, &hook, 0..10);
    for expected in [0, 2, 4, 6, 8] {
        let (seq, _, payload) = worker.trigger();
        assert_eq!(number(&payload), expected);
        worker.ack(&[seq]);
    }
    worker.socket.send(FIN | PING, b"").expect(FIN | PONG, b"");
    assert!(!worker.socket.is_readable(), "the odd ones stay away");
}

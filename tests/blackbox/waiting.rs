//! Section 4, step 10: callers that wait longer than a moment, which is when the engine lets go of all that they do not
//! need. Whatever ends the wait must find them still, each with its own outcome.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Hook, Server, Wire, eventually, request};
use crate::sockets::Worker;

on_each_driver! {
    each_caller_gets_its_own_reply_and_the_first_one,
    a_time_out_ends_a_long_wait_and_the_connection_goes_on,
    what_comes_behind_a_long_wait_is_answered_after_it,
    a_caller_that_leaves_frees_its_place,
    a_drain_and_a_deletion_leave_a_caller_its_reply,
    a_reply_and_a_time_out_at_once_give_one_response,
}

const SUCCESS: &str = r#"{"success":true}"#;
const TIME_OUT: &str = r#"{"error":"Time out waiting for workflow reply"}"#;
/// Longer than the second after which a wait lasts.
const LONG: Duration = Duration::from_millis(1800);

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// A webhook that waits for so long, and the flow whose worker replies.
fn hook(server: &Server, seconds: u64) -> (Hook, String) {
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": seconds}}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    (hook, flow)
}

/// The path and the `replyId` of the next request.
fn taken(worker: &mut Worker) -> (String, String) {
    let data = worker.take();
    let text = |name: &str| data[name].as_str().expect("a string").to_owned();
    (text("path"), text("replyId"))
}

fn reply(server: &Server, reply_id: &str, body: &str) -> Value {
    server.done("POST", &format!("/replies/{reply_id}"), &json!({"body": body}))["accepted"].clone()
}

/// Callers that wait, each with a path of its own, and the name of each one's place.
fn callers(server: &Server, (hook, flow): &(Hook, String), count: u32) -> Vec<(Wire, String, String)> {
    let mut worker = Worker::attach(server, flow, count);
    let call = |index: u32| {
        let mut wire = server.wire();
        wire.send(request("POST", &hook.target(&format!("/caller-{index}")), &[], b"a body"));
        let (path, reply_id) = taken(&mut worker);
        assert_eq!(path, format!("/caller-{index}"));
        (wire, path, reply_id)
    };
    (0..count).map(call).collect()
}

fn each_caller_gets_its_own_reply_and_the_first_one(driver: &str) {
    let server = server(driver);
    let waiting = hook(&server, 60);
    let mut callers = callers(&server, &waiting, 20);
    thread::sleep(LONG);
    for (_, path, reply_id) in callers.iter().rev() {
        assert_eq!(reply(&server, reply_id, path), json!(true));
        assert_eq!(reply(&server, reply_id, "a second one"), json!(false));
    }
    for (wire, path, _) in &mut callers {
        wire.response().is(200, path);
        assert!(!wire.is_readable(), "one response for a request");
    }
    // A name that is used up is nobody's, although its caller waits again.
    let (wire, _, used_up) = &mut callers[0];
    wire.send(waiting.0.get());
    assert_eq!(reply(&server, used_up, "too late"), json!(false));
}

fn a_time_out_ends_a_long_wait_and_the_connection_goes_on(driver: &str) {
    let server = server(driver);
    let plain = server.webhook(json!({}));
    let (hook, _) = hook(&server, 2);
    let mut wire = server.wire();
    for _ in 0..2 {
        wire.ask(hook.post(b"a body")).is(504, TIME_OUT);
        wire.ask(plain.get()).is(200, SUCCESS);
    }
    assert_eq!(server.metric("tidegate_reply_timeouts_total", ""), 2);
    let path = hook.resource("/requests");
    let seen = server.done("GET", &path, &Value::Null)["items"][0].clone();
    assert_eq!((&seen["method"], &seen["status"], &seen["bytes"]), (&json!("POST"), &json!(504), &json!(6)));
}

fn what_comes_behind_a_long_wait_is_answered_after_it(driver: &str) {
    let server = server(driver);
    let marked = [220, 221, 222].map(|code| server.webhook(json!({"responseCode": code})));
    let waiting = hook(&server, 60);
    let mut callers = callers(&server, &waiting, 2);
    let long = marked[2].post(&[b'x'; 30_000]);
    for (wire, _, _) in &mut callers {
        wire.send(marked[0].get());
    }
    thread::sleep(LONG);
    // The second one's buffer is too full for what it sends to be kept aside.
    callers[0].0.send(marked[1].get());
    callers[1].0.send(marked[1].get()).send_what_fits(&long);
    thread::sleep(LONG);
    for (wire, path, reply_id) in &mut callers {
        assert!(!wire.is_readable(), "a request that waits holds back those behind it");
        assert_eq!(reply(&server, reply_id, path), json!(true));
        wire.response().is(200, path);
        wire.response().is(220, SUCCESS);
        wire.response().is(221, SUCCESS);
    }
    callers[1].0.response().is(222, SUCCESS);
    callers[0].0.ask(marked[0].get()).is(220, SUCCESS);
}

fn a_caller_that_leaves_frees_its_place(driver: &str) {
    let server = server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"concurrency": 1}}));
    for resets in [false, true] {
        let held = eventually("there is a place", || server.hold(&hook));
        thread::sleep(LONG);
        assert_eq!(server.wire().ask(hook.get()).status, 429);
        if resets { held.reset() } else { drop(held) }
    }
    eventually("there is a place again", || server.hold(&hook));
}

fn a_drain_and_a_deletion_leave_a_caller_its_reply(driver: &str) {
    let mut server = server(driver);
    let waiting = hook(&server, 60);
    let mut callers = callers(&server, &waiting, 2);
    thread::sleep(LONG);
    server.done("DELETE", &waiting.0.resource(""), &Value::Null);
    let (wire, path, reply_id) = &mut callers[0];
    assert_eq!(reply(&server, reply_id, path), json!(true));
    wire.response().is(200, path);
    server.terminate();
    wire.closed();
    let (wire, path, reply_id) = &mut callers[1];
    // It waits through the drain, as long as a request may.
    thread::sleep(LONG);
    assert!(!wire.is_readable());
    assert_eq!(reply(&server, reply_id, path), json!(true));
    let response = wire.response();
    response.is(200, path);
    assert_eq!(response.header("connection"), Some("close"));
    wire.closed();
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

fn a_reply_and_a_time_out_at_once_give_one_response(driver: &str) {
    const CALLERS: u32 = 40;
    let server = server(driver);
    let waiting = hook(&server, 2);
    let mut callers = callers(&server, &waiting, CALLERS);
    thread::sleep(LONG);
    // Some replies come before the time-outs, some after, some with them.
    let accepted: Vec<bool> =
        callers.iter().map(|(_, path, reply_id)| reply(&server, reply_id, path) == json!(true)).collect();
    for ((wire, path, _), accepted) in callers.iter_mut().zip(&accepted) {
        let response = wire.response();
        if *accepted {
            response.is(200, path)
        } else {
            response.is(504, TIME_OUT)
        };
        assert!(!wire.is_readable(), "one response for a request");
    }
    let late = accepted.iter().filter(|accepted| !**accepted).count() as u64;
    assert_eq!(server.metric("tidegate_reply_timeouts_total", ""), late);
}

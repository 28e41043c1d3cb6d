//! Section 15: what is kept of calls, and that they can be sent again.

use serde_json::{Value, json};

use crate::common::{Hook, Server, eventually, reply_node, request};
use crate::sockets::Socket;

/// Longer than the silence after which a WebSocket is kept small.
const QUIET: std::time::Duration = std::time::Duration::from_secs(3);

/// What was recorded of a webhook, the newest first.
fn records(server: &Server, hook: &Hook, query: &str) -> Vec<Value> {
    let list = server.done("GET", &hook.resource(&format!("/requests{query}")), &Value::Null);
    list["items"].as_array().expect("items").clone()
}

fn whole(server: &Server, hook: &Hook, record: &Value) -> Value {
    let id = record["id"].as_str().expect("an id");
    server.done("GET", &hook.resource(&format!("/requests/{id}")), &Value::Null)
}

fn replay(server: &Server, hook: &Hook, record: &Value) -> (u16, Value) {
    let id = record["id"].as_str().expect("an id");
    server.call("POST", &hook.resource(&format!("/requests/{id}/replay")), &Value::Null)
}

fn last_call(server: &Server, hook: &Hook) -> Value {
    let path = format!("/applications/{}/webhooks/usage?ids={}", hook.application, hook.id);
    server.done("GET", &path, &Value::Null)["items"][0]["lastCall"].clone()
}

#[test]
fn a_call_of_a_webhook_without_a_flow_is_seen_whole() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server.webhook(json!({}));
    let body = b"{\"value\": 1.00}";
    let headers = [("Content-Type", "application/json"), ("X-One", "two")];
    server.wire().ask(request("POST", &hook.target("/up?a=1"), &headers, body)).is(200, "{\"success\":true}");
    let listed = &records(&server, &hook, "")[0];
    assert_eq!(
        (&listed["method"], &listed["path"], &listed["status"]),
        (&json!("POST"), &json!("/up?a=1"), &json!(200))
    );
    assert_eq!(listed["payload"]["data"]["body"], json!({"value": 1.0}));
    assert_eq!(listed["payload"]["data"]["headers"]["x-one"], json!("two"));
    assert_eq!((&listed["payload"]["triggerId"], &listed["flows"]), (&json!(hook.id), &json!([])));
    let shown = whole(&server, &hook, listed);
    assert_eq!(shown["request"]["body"]["text"], json!("{\"value\": 1.00}"));
    assert!(shown["request"]["headers"].to_string().contains("[\"X-One\",\"two\"]"), "{shown}");
    assert_eq!(shown["response"]["body"]["text"], json!("{\"success\":true}"));
    assert_eq!(shown["isReplayable"], json!(true));
}

#[test]
fn a_flood_of_refusals_on_one_webhook_leaves_the_records_and_last_calls_of_all_others() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let quiet: Vec<Hook> = (0..20).map(|_| server.webhook(json!({}))).collect();
    for hook in &quiet {
        server.wire().ask(hook.post(b"kept")).is(200, "{\"success\":true}");
    }
    let before: Vec<Value> = quiet.iter().map(|hook| last_call(&server, hook)).collect();
    let flooded = server.webhook(json!({"limits": {"requestsPerWindow": 1}}));
    let mut wire = server.wire();
    for _ in 0..40 {
        wire.send(flooded.get().repeat(500));
        for _ in 0..500 {
            wire.response();
        }
    }
    for (hook, before) in quiet.iter().zip(before) {
        assert_eq!(records(&server, hook, "").len(), 1);
        assert_eq!(last_call(&server, hook), before);
    }
    let list = records(&server, &flooded, "?status=429");
    let count: u64 = list.iter().map(|record| record["count"].as_u64().expect("a count")).sum();
    assert!(list.len() <= 2 && count >= 19_990, "{} records of {count}", list.len());
    assert_eq!(last_call(&server, &flooded), list[0]["lastTime"]);
}

#[test]
fn credentials_are_masked() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"auth": {"type": "header", "name": "X-Key", "value": "s3cret-key"}}));
    for key in ["s3cret-key", "s3cret-wrong"] {
        let headers =
            [("x-key", key), ("Authorization", "Bearer s3cret-token"), ("Cookie", "a=s3cret-cookie")];
        server.wire().ask(request("POST", &hook.target(""), &headers, b"x"));
    }
    let list = records(&server, &hook, "");
    assert_eq!(list.iter().map(|record| record["status"].clone()).collect::<Vec<_>>(), [401, 200]);
    let all: String = list.iter().map(|record| whole(&server, &hook, record).to_string()).collect();
    assert!(!all.contains("s3cret") && all.matches("\"***\"").count() >= 6, "{all}");
    assert_eq!(replay(&server, &hook, &list[0]).0, 409, "what was refused is not let in by a replay");
}

#[test]
fn a_replay_is_the_request_byte_for_byte_also_of_a_call_whose_payload_nobody_kept() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let limits = json!({"requestsPerWindow": 3, "windowSeconds": 3600});
    let hook = server.webhook(json!({"limits": limits}));
    let bytes: Vec<u8> = (0..=255).collect();
    let headers = [
        ("Content-Type", "application/octet-stream"),
        ("X-Case", " kept  "),
        ("Authorization", "Basic eA=="),
    ];
    server.wire().ask(request("PUT", &hook.target("/a%20b?c=%26&c"), &headers, &bytes));
    let chunked = format!(
        "PATCH {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        hook.target("")
    );
    server.wire().ask(chunked).is(200, "{\"success\":true}");
    server.wire().ask(hook.get());
    assert_eq!(server.wire().ask(hook.get()).status, 429);
    // Nobody looked before, and there was no flow; now there is one, and the token is another.
    let token = server.done("POST", &hook.resource("/token"), &json!({"token": "another-token"}));
    assert_eq!(token["token"], json!("another-token"));
    let list = records(&server, &hook, "");
    let of = |record: &Value, name: &str| whole(&server, &hook, record)["request"][name].clone();
    for record in &list {
        let (status, answer) = replay(&server, &hook, record);
        assert_eq!((status, &answer["statusCode"]), (200, &json!(200)), "{record}: {answer}");
        let made = server.done(
            "GET",
            &hook.resource(&format!("/requests/{}", answer["id"].as_str().expect("an id"))),
            &Value::Null,
        );
        for name in ["replayOf", "method", "path", "peer", "bytes"] {
            let expected = if name == "replayOf" { &record["id"] } else { &record[name] };
            assert_eq!(&made[name], expected, "{name} of {record}");
        }
        for name in ["version", "headers", "body"] {
            assert_eq!(made["request"][name], of(record, name), "{name} of {record}");
        }
    }
    assert_eq!(
        server.wire().ask(request("GET", "/webhooks/another-token", &[], b"")).status,
        429,
        "no replay was counted"
    );
}

#[test]
fn all_that_a_filter_finds_is_replayed_with_progress() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({}));
    for path in ["/a", "/a", "/b"] {
        server.wire().ask(request("POST", &hook.target(path), &[], b"x"));
    }
    let answer = server.done("POST", &hook.resource("/requests/replay?search=/a"), &Value::Null);
    assert_eq!((&answer["total"], &answer["success"]), (&json!(2), &json!(true)));
    eventually("the replay ends", || {
        let list = server.done("GET", &hook.resource("/requests"), &Value::Null);
        (list["replay"]["isRunning"] == json!(false)).then(|| {
            assert_eq!((&list["replay"]["replayed"], &list["replay"]["failed"]), (&json!(2), &json!(0)));
            assert_eq!(list["totalCount"], json!(5));
        })
    });
}

#[test]
fn a_reply_that_is_awaited_is_seen_before_it_comes_and_with_what_its_flow_did() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 60}}));
    let wire = server.hold(&hook).expect("it waits");
    let waiting = &records(&server, &hook, "")[0];
    assert_eq!((&waiting["status"], &waiting["durationMs"]), (&Value::Null, &Value::Null));
    drop(wire);
    eventually("the caller's end is seen", || {
        let record = &records(&server, &hook, "")[0];
        record["refusal"].as_str().filter(|refusal| refusal.contains("gone")).map(str::to_owned)
    });
    let flow = server.flow(&hook, json!([reply_node("{{data.path}}")]));
    server.wire().ask(request("POST", &hook.target("/x"), &[], b"")).is(200, "/x");
    let replied = whole(&server, &hook, &records(&server, &hook, "")[0]);
    assert_eq!(replied["response"]["body"]["text"], json!("/x"));
    assert_eq!((&replied["flows"][0]["flowId"], &replied["flows"][0]["fate"]), (&json!(flow), &json!("ran")));
    assert_eq!(replied["payload"]["flowId"], json!(flow));
}

#[test]
fn a_websockets_messages_are_seen_in_both_directions() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"isWebsocket": true}));
    server.echo_flow(&hook, &[]);
    let mut socket = Socket::open(&server, &hook);
    socket.say("hello");
    assert_eq!(socket.text(), "hello");
    socket.close(1000, "bye");
    let list = eventually("the end is seen", || {
        let list = records(&server, &hook, "");
        (list.len() == 4).then_some(list)
    });
    let told = |record: &Value| {
        let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        (text("kind"), text("direction"), record["status"].as_u64())
    };
    let mut all: Vec<_> = list.iter().rev().map(told).collect();
    all[1..3].sort();
    let expected =
        [("connect", "in", 101), ("message", "in", 200), ("message", "out", 200), ("close", "in", 1000)];
    assert_eq!(all, expected.map(|(kind, way, status)| (kind.to_owned(), way.to_owned(), Some(status))));
    assert!(list.iter().all(|record| record["connectionId"] == list[0]["connectionId"]));
    let received = records(&server, &hook, "?kind=message&search=HELLO");
    assert_eq!(received.len(), 2);
    let taken = received.iter().find(|record| record["direction"] == "in").expect("received");
    assert_eq!(taken["payload"]["data"]["message"]["data"], json!("hello"));
    assert_eq!(whole(&server, &hook, taken)["request"]["body"]["text"], json!("hello"));
    assert_eq!(replay(&server, &hook, taken).0, 409);
}

#[test]
fn a_webhook_keeps_as_many_as_it_says_or_none() {
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_RECORD_EVENTS", 2);
    });
    let counts =
        [(json!({}), 2), (json!({"record": {"events": 0}}), 0), (json!({"record": {"events": 4}}), 4)];
    for (fields, expected) in counts {
        let hook = server.webhook(fields);
        for step in 0..5 {
            server.wire().ask(request("POST", &hook.target(&format!("/{step}")), &[], b""));
        }
        let list = records(&server, &hook, "");
        assert_eq!(list.len(), expected);
        assert!(last_call(&server, &hook).is_string());
    }
}

#[test]
fn records_outlive_a_restart_and_a_crash() {
    let mut server = Server::start(|settings| {
        settings.set("TIDEGATE_JOURNAL_DURABILITY", "os").cores(2);
    });
    let hook = server.webhook(json!({}));
    for step in 0..3 {
        server.wire().ask(request("POST", &hook.target(&format!("/{step}")), &[], b"body"));
    }
    // Asking has the cores hand over; what is on the shelf has been written.
    let before = records(&server, &hook, "");
    assert_eq!(before.len(), 3);
    server.crash();
    server.restart();
    assert_eq!(records(&server, &hook, ""), before);
    server.wire().ask(request("POST", &hook.target("/3"), &[], b""));
    server.terminate();
    server.ended();
    server.restart();
    let after = records(&server, &hook, "");
    assert_eq!((after.len(), &after[1..]), (4, &before[..]));
    assert_eq!(last_call(&server, &hook), after[0]["time"]);
    // A webhook that is deleted takes its records along.
    server.done("DELETE", &hook.resource(""), &Value::Null);
    let other = server.webhook(json!({}));
    assert!(records(&server, &other, "").is_empty());
}

#[test]
fn a_message_is_sent_on_any_connection_and_it_is_closed_whichever_core_holds_it() {
    for driver in ["io_uring", "epoll"] {
        let server = Server::start(|settings| {
            settings.driver(driver).cores(2);
        });
        let hook = server.webhook(json!({"isWebsocket": true, "record": {"events": 1000}}));
        let other = server.webhook(json!({"isWebsocket": true}));
        // So many that no core has them all.
        let mut sockets: Vec<(String, Socket)> = Vec::new();
        for number in 0..24 {
            let target = hook.target(&format!("/{number}"));
            sockets.push((format!("/{number}"), Socket::open_with(server.ingress, &target, &[])));
        }
        let list = records(&server, &hook, "?kind=connect&perPage=1000");
        let path = |hook: &Hook, connection: &str| hook.resource(&format!("/connections/{connection}"));
        let mut ids = Vec::new();
        for (at, socket) in &mut sockets {
            let record = list.iter().find(|record| record["path"] == json!(at)).expect("its handshake");
            let id = record["connectionId"].as_str().expect("an id").to_owned();
            let answer = server.done("POST", &path(&hook, &id), &json!({"body": format!("for {at}")}));
            assert_eq!(answer, json!({"success": true, "accepted": true}));
            assert_eq!(socket.text(), format!("for {at}"));
            ids.push(id);
        }
        // Quiet ones are kept in another form, after the engine's own clock: there is nothing to be seen of it.
        std::thread::sleep(QUIET);
        let quiet = server.done("POST", &path(&hook, &ids[1]), &json!({"body": "still there?"}));
        assert_eq!(quiet["accepted"], json!(true));
        assert_eq!(sockets[1].1.text(), "still there?");
        // Bytes and a close in one; the record of each is there.
        let (_, first) = &mut sockets[0];
        let close =
            json!({"body": "AQI=", "encoding": "base64", "close": {"code": 4001, "reason": "enough"}});
        server.done("POST", &path(&hook, &ids[0]), &close);
        assert_eq!(first.frame().payload, [1, 2]);
        assert_eq!(first.closed(), (4001, "enough".to_owned()));
        eventually("its end is recorded", || {
            let told = records(&server, &hook, &format!("?connection={}", ids[0]));
            let kinds: Vec<_> =
                told.iter().map(|record| (record["kind"].clone(), record["direction"].clone())).collect();
            let expected = [("close", "in"), ("message", "out"), ("message", "out"), ("connect", "in")];
            (kinds == expected.map(|(kind, way)| (json!(kind), json!(way)))).then_some(())
        });
        let message = json!({"body": "x"});
        for (hook, id, status) in [
            // One that has ended, one of another webhook, one that never was.
            (&hook, ids[0].as_str(), 404),
            (&other, ids[1].as_str(), 404),
            (&hook, "000000000000000000000001", 404),
        ] {
            assert_eq!(server.call("POST", &path(hook, id), &message).0, status, "{id}");
        }
        assert_eq!(server.call("POST", &path(&hook, &ids[1]), &json!({"nothing": 1})).0, 400);
    }
}

#[test]
fn a_replay_triggers_although_its_key_was_taken_and_takes_none() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server.webhook(json!({"deduplicate": {"key": "{{data.query.id}}", "windowSeconds": 60}}));
    server.flow(&hook, json!([crate::common::reply_node("seen")]));
    let triggers = || server.metric("tidegate_triggers_total", "");
    let call = |id: &str| server.wire().ask(request("GET", &hook.target(&format!("?id={id}")), &[], b""));
    assert_eq!(call("1").header("tidegate-duplicate"), None);
    assert_eq!(call("1").header("tidegate-duplicate"), Some("true"));
    let list = records(&server, &hook, "");
    let (first, repeat) = (&list[1], &list[0]);
    let before = triggers();
    for (record, times) in [(first, 1), (first, 2), (repeat, 3)] {
        let (status, answer) = replay(&server, &hook, record);
        assert_eq!((status, &answer["statusCode"]), (200, &json!(200)), "{answer}");
        assert_eq!(triggers() - before, times, "{answer}");
    }
    assert_eq!(call("1").header("tidegate-duplicate"), Some("true"), "the key is still that of the call");
}

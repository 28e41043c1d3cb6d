//! The three kinds of trigger (section 6), exactly.

use serde_json::{Value, json};

use crate::common::{Hook, Server, eventually};
use crate::sockets::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Socket, TEXT, Worker};

on_each_driver! {
    a_connection_triggers_connect_messages_and_disconnect,
    a_disconnect_says_how_the_connection_ended,
    triggers_of_one_connection_are_in_order,
}

/// A server, a WebSocket webhook, and a worker that gets what it triggers.
pub fn staffed(driver: &str, fields: Value) -> (Server, Hook, String, Worker) {
    let server = Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let mut given = json!({"isWebsocket": true});
    given.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let hook = server.webhook(given);
    let flow = server.flow(&hook, json!([{"id": "node-1", "type": "WorkerNode"}]));
    let worker = Worker::attach(&server, &flow, 100_000);
    (server, hook, flow, worker)
}

fn a_connection_triggers_connect_messages_and_disconnect(driver: &str) {
    let (server, hook, flow, mut worker) =
        staffed(driver, json!({"castBuffersAs": "hex", "waitForReply": true}));
    let headers = [("X-Room", "5"), ("Cookie", "secret"), ("X-Room", "6")];
    let target = hook.target("/door/a%20b?x=1&x=2&y=%C3%BC");
    let mut client = Socket::open_with(server.ingress, &target, &headers);
    let frame = worker.hear("trigger");
    assert_eq!(
        (&frame["seq"], &frame["attempt"], &frame["nodeId"]),
        (&json!(1), &json!(1), &json!("node-1"))
    );
    worker.ack(&[1]);
    let mut payload = frame["payload"].clone();
    let time = payload["time"].take();
    assert_eq!(time.as_str().expect("a time").len(), "2026-02-19T17:26:00.123Z".len());
    let reply_id = payload["data"]["replyId"].take();
    assert!(reply_id.as_str().expect("an id").starts_with(&format!("{}.", hook.id)));
    let headers = json!({
        "host": "localhost", "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": crate::sockets::KEY, "x-room": "5, 6", "x-forwarded-for": "127.0.0.1",
        // Made for the handshake; the messages of the connection have it too.
        "x-request-id": payload["data"]["headers"]["x-request-id"],
    });
    assert_eq!(headers["x-request-id"].as_str().expect("an id").len(), 16);
    let mut data = json!({
        "type": "connect", "message": {}, "path": "/door/a%20b", "headers": headers,
        "query": {"x": ["1", "2"], "y": "ü"}, "replyId": null,
    });
    let whole = |data: &Value| {
        json!({
            "time": null, "data": data, "applicationId": hook.application, "applicationName": "An application",
            "triggerId": hook.id, "triggerType": "webhook", "relayId": "000000000000000000000000",
            "relayType": "public", "flowId": flow, "flowName": "A flow", "globals": {},
        })
    };
    assert_eq!(payload, whole(&data));

    data["type"] = json!("message");
    let messages: &[(u8, &[u8], Value)] = &[
        (TEXT, "grüße \"x\" \\ \u{1}".as_bytes(), json!({"data": "grüße \"x\" \\ \u{1}", "length": 15})),
        (TEXT, b"", json!({"data": "", "length": 0})),
        (TEXT, b"{\"a\":1}", json!({"data": "{\"a\":1}", "length": 7})),
        (BINARY, b"\x00\x01\xff", json!({"data": "AAH/", "length": 3, "encoding": "base64"})),
        (BINARY, b"text", json!({"data": "dGV4dA==", "length": 4, "encoding": "base64"})),
        (BINARY, b"", json!({"data": "", "length": 0, "encoding": "base64"})),
    ];
    for (opcode, bytes, message) in messages {
        client.send(FIN | opcode, bytes);
        let (seq, _, mut payload) = worker.trigger();
        worker.ack(&[seq]);
        payload["time"].take();
        assert_eq!(payload["data"]["replyId"].take(), reply_id, "the connection's own");
        data["message"] = message.clone();
        assert_eq!(payload, whole(&data));
    }

    client.close(4001, "that was äll").closed();
    let (_, _, mut payload) = worker.trigger();
    payload["time"].take();
    assert_eq!(payload["data"]["replyId"].take(), reply_id);
    data["type"] = json!("disconnect");
    data["message"] = json!({"statusCode": 4001, "reason": "that was äll"});
    assert_eq!(payload, whole(&data));
}

fn a_disconnect_says_how_the_connection_ended(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    type End = fn(&mut Socket);
    let ends: &[(End, u16, &str)] = &[
        (|client| drop(client.close(1000, "").closed()), 1000, ""),
        (|client| drop(client.close(1001, "going").closed()), 1001, "going"),
        (|client| drop(client.close(3999, "").closed()), 3999, ""),
        (|client| drop(client.send(FIN | CLOSE, b"").closed()), 1005, ""),
        (|client| drop(client.send(0x40 | FIN | TEXT, b"x").closed()), 1002, "Reserved bit set"),
    ];
    for (end, code, reason) in ends {
        let mut client = Socket::open(&server, &hook);
        assert_eq!(worker.take_event("connect"), json!({}));
        end(&mut client);
        assert_eq!(worker.take_event("disconnect"), json!({"statusCode": code, "reason": reason}));
    }
    for reset in [false, true] {
        let client = Socket::open(&server, &hook);
        worker.take_event("connect");
        client.cut(reset);
        assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1006, "reason": ""}));
    }
    // Half a message is none.
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    client.send(TEXT, b"half");
    client.cut(false);
    assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1006, "reason": ""}));
}

#[test]
fn authorization_is_hidden_where_the_webhook_asks_for_it() {
    for (fields, shown) in
        [(json!({}), true), (json!({"basicAuthUsername": "user", "basicAuthPassword": "pass"}), false)]
    {
        let (server, hook, _, mut worker) = staffed("auto", fields);
        let headers = [("Authorization", "Basic dXNlcjpwYXNz")];
        let _client = Socket::open_with(server.ingress, &hook.target(""), &headers);
        assert_eq!(worker.take()["headers"].get("authorization").is_some(), shown);
    }
}

fn triggers_of_one_connection_are_in_order(driver: &str) {
    const CLIENTS: usize = 8;
    const MESSAGES: usize = 200;
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    std::thread::scope(|scope| {
        for name in 0..CLIENTS {
            let (server, hook) = (&server, &hook);
            scope.spawn(move || {
                let mut client =
                    Socket::open_with(server.ingress, &hook.target(""), &[("X-Name", &name.to_string())]);
                let all: Vec<u8> = (0..MESSAGES)
                    .flat_map(|index| crate::sockets::frame(FIN | TEXT, index.to_string().as_bytes()))
                    .collect();
                client.send_bytes(&all).close(1000, "").closed();
            });
        }
        let mut heard = vec![Vec::new(); CLIENTS];
        for _ in 0..CLIENTS * (MESSAGES + 2) {
            let data = worker.take();
            let name: usize = data["headers"]["x-name"].as_str().expect("a name").parse().expect("a number");
            heard[name].push(match data["type"].as_str() {
                Some("message") => data["message"]["data"].as_str().expect("text").to_owned(),
                kind => kind.expect("a type").to_owned(),
            });
        }
        let mut expected = vec!["connect".to_owned()];
        expected.extend((0..MESSAGES).map(|index| index.to_string()));
        expected.push("disconnect".to_owned());
        assert!(heard.iter().all(|heard| *heard == expected));
    });
}

#[test]
fn fragments_and_pings_between_them_are_one_message() {
    let (server, hook, _, mut worker) = staffed("auto", json!({}));
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    client.send(TEXT, "gr\u{fc}".as_bytes().split_at(3).0).send(FIN | PING, b"there?");
    client.expect(FIN | PONG, b"there?");
    client
        .send(CONTINUATION, "\u{fc}".as_bytes().split_at(1).1)
        .send(CONTINUATION, b"")
        .send(FIN | PONG, b"");
    assert!(!client.is_readable(), "an unasked pong has no answer");
    client.send(FIN | CONTINUATION, b"n");
    assert_eq!(worker.take_event("message"), json!({"data": "grün", "length": 5}));
    client.send(BINARY, b"\x00").send(FIN | CONTINUATION, b"\x01");
    assert_eq!(worker.take_event("message"), json!({"data": "AAE=", "length": 2, "encoding": "base64"}));
}

#[test]
fn without_a_flow_everything_goes_on() {
    let server = Server::start(|settings| {
        settings.cores(2);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    let mut client = Socket::open(&server, &hook);
    client.say("nobody hears it").send(FIN | PING, b"").expect(FIN | PONG, b"");
    client.close(1000, "").closed();
    eventually("it is gone", || (server.metric("tidegate_open_connections", "websocket") == 0).then_some(()));
}

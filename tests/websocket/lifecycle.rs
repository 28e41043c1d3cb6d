//! How the engine ends WebSockets, and that their disconnect triggers are not lost (sections 6, 12, 14).

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Server, eventually};
use crate::payload::staffed;
use crate::sockets::{BINARY, FIN, Socket, TEXT, Worker, frame};

on_each_driver! {
    a_process_that_stops_says_goodbye_and_hands_the_disconnects_over,
    a_change_of_the_webhook_closes_and_triggers_one_disconnect,
    new_credentials_end_a_connection_that_is_never_quiet,
    a_close_without_an_answer_is_cut,
    what_the_workers_are_behind_with_is_refused,
    connections_that_were_quiet_go_on_where_they_were,
    replies_reach_a_connection_that_is_busy,
}

/// Longer than a connection is quiet before it is made small.
pub const QUIET: Duration = Duration::from_millis(2500);

fn connections_that_were_quiet_go_on_where_they_were(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    let mut spoken_to = Socket::open(&server, &hook);
    let data = worker.take();
    let reply_id = data["replyId"].as_str().expect("a WebSocket has one").to_owned();
    let mut speaking = Socket::open(&server, &hook);
    worker.take_event("connect");
    let mut leaving = Socket::open(&server, &hook);
    worker.take_event("connect");
    let mut breaking = Some(Socket::open(&server, &hook));
    worker.take_event("connect");
    let mut http = server.wire();
    for round in 0..2 {
        std::thread::sleep(QUIET);
        assert_eq!(http.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
        speaking.say(&format!("round {round}"));
        assert_eq!(worker.take_event("message")["data"], format!("round {round}"));
        let reply = json!({"body": "for the quiet one"});
        assert_eq!(server.done("POST", &format!("/replies/{reply_id}"), &reply)["accepted"], true);
        assert_eq!(spoken_to.text(), "for the quiet one");
    }
    std::thread::sleep(QUIET);
    leaving.close(1000, "enough");
    assert_eq!(leaving.closed().0, 1000);
    assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1000, "reason": "enough"}));
    breaking.take().expect("it is open").cut(true);
    assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1006, "reason": ""}));
    server.patch(&hook, &json!({"enabled": false}));
    for socket in [&mut spoken_to, &mut speaking] {
        assert_eq!(socket.closed(), (1008, "Webhook disabled".to_owned()));
        assert_eq!(
            worker.take_event("disconnect"),
            json!({"statusCode": 1008, "reason": "Webhook disabled"})
        );
    }
}

fn replies_reach_a_connection_that_is_busy(driver: &str) {
    /// More than leaves in one call.
    const LARGE: usize = 1_500_000;
    let (server, hook, _, mut worker) = staffed(driver, json!({"limits": {"payloadBytes": LARGE}}));
    let mut client = Socket::open(&server, &hook);
    let data = worker.take();
    let reply_id = data["replyId"].as_str().expect("a WebSocket has one").to_owned();
    let reply = |body: &Value| {
        let accepted = server.done("POST", &format!("/replies/{reply_id}"), body);
        assert_eq!(accepted["accepted"], true);
    };
    for round in 0..20 {
        client.say(&format!("round {round}"));
        assert_eq!(worker.take_event("message")["data"], format!("round {round}"));
        reply(&json!({"body": format!("for round {round}")}));
        assert_eq!(client.text(), format!("for round {round}"));
    }
    let large = "x".repeat(LARGE);
    reply(&json!({"body": large}));
    client.say("while the large one leaves");
    assert_eq!(worker.take_event("message")["data"], "while the large one leaves");
    assert!(client.text() == large, "not the large one");
    client.say("behind it");
    assert_eq!(worker.take_event("message")["data"], "behind it");
    reply(&json!({"close": {"code": 4000, "reason": "done"}}));
    assert_eq!(client.closed(), (4000, "done".to_owned()));
    assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 4000, "reason": "done"}));
}

fn a_process_that_stops_says_goodbye_and_hands_the_disconnects_over(driver: &str) {
    const CLIENTS: usize = 20;
    let (mut server, hook, _, mut worker) = staffed(driver, json!({}));
    let mut clients: Vec<Socket> = (0..CLIENTS).map(|_| Socket::open(&server, &hook)).collect();
    for _ in 0..CLIENTS {
        worker.take_event("connect");
    }
    server.terminate();
    for client in &mut clients {
        assert_eq!(client.closed(), (1012, "Restarting".to_owned()));
    }
    for _ in 0..CLIENTS {
        assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1012, "reason": "Restarting"}));
    }
    assert_eq!(worker.socket.closed(), (1012, "Restarting".to_owned()));
    assert_eq!(server.ended().code(), Some(0));
}

fn a_change_of_the_webhook_closes_and_triggers_one_disconnect(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({"basicAuthUsername": "{{user}}"}));
    let application = format!("/applications/{}", hook.application);
    let globals = |user: &str| json!({"globals": [{"key": "user", "json": format!("\"{user}\"")}]});
    server.done("PATCH", &application, &globals("user"));
    let credentials = [("Authorization", "Basic dXNlcjo=")];
    let open = || Socket::open_with(server.ingress, &hook.target(""), &credentials);
    let mut both = |what: &dyn Fn(), reason: &str| {
        let mut clients = [open(), open()];
        for _ in 0..2 {
            worker.take_event("connect");
        }
        what();
        for client in &mut clients {
            assert_eq!(client.closed(), (1008, reason.to_owned()));
            assert_eq!(worker.take_event("disconnect"), json!({"statusCode": 1008, "reason": reason}));
        }
    };
    both(&|| server.patch(&hook, &json!({"enabled": false})), "Webhook disabled");
    server.patch(&hook, &json!({"enabled": true}));
    both(&|| server.patch(&hook, &json!({"basicAuthPassword": "new"})), "Webhook credentials changed");
    server.patch(&hook, &json!({"basicAuthPassword": ""}));
    both(&|| drop(server.done("PATCH", &application, &globals("other"))), "Webhook credentials changed");
    server.done("PATCH", &application, &globals("user"));
    // What changes nothing of that leaves it open.
    let mut client = open();
    worker.take_event("connect");
    server.patch(&hook, &json!({"name": "Another name"}));
    server.done("PATCH", &application, &json!({"name": "Another"}));
    client.say("still here");
    assert_eq!(worker.take_event("message")["data"], json!("still here"));
    server.done("DELETE", &hook.resource(""), &Value::Null);
    assert_eq!(client.closed(), (1008, "Webhook deleted".to_owned()));
    assert_eq!(worker.take_event("disconnect")["reason"], json!("Webhook deleted"));
}

fn new_credentials_end_a_connection_that_is_never_quiet(driver: &str) {
    const WEBHOOKS: usize = 40;
    const ROUNDS: usize = 8;
    /// How often a client sends.
    const PAUSE: Duration = Duration::from_millis(1);
    let (server, own, _, _worker) = staffed(driver, json!({}));
    let fields = json!({"name": "w", "isWebsocket": true, "basicAuthPassword": "{{password}}"});
    let webhooks = format!("/applications/{}/webhooks", own.application);
    // The one that is called is published among many: the others' changes come before and after its own.
    let mut called = own;
    for number in 0..WEBHOOKS {
        let created = server.done("POST", &webhooks, &fields);
        if number == WEBHOOKS / 2 {
            let text = |name: &str| created[name].as_str().expect("a string").to_owned();
            called.id = text("id");
            called.token = text("token");
        }
    }
    let set_password = |password: &str| {
        let globals = json!([{"key": "password", "json": format!("\"{password}\"")}]);
        server.done("PATCH", &format!("/applications/{}", called.application), &json!({"globals": globals}));
    };
    set_password("a");
    for round in 0..ROUNDS {
        // Of the webhook itself, and of the globals that its password is rendered from.
        let (change, credentials) = match round % 2 {
            0 => ("b", "Basic OmE="),
            _ => ("a", "Basic OmI="),
        };
        let mut client =
            Socket::open_with(server.ingress, &called.target(""), &[("Authorization", credentials)]);
        let ended = std::thread::spawn(move || {
            while !client.is_readable() {
                client.send_what_goes(&frame(FIN | TEXT, b"x"));
                std::thread::sleep(PAUSE);
            }
            client.close_received()
        });
        std::thread::sleep(10 * PAUSE);
        set_password(change);
        let ended = ended.join().expect("the client ends");
        assert_eq!(ended, (1008, "Webhook credentials changed".to_owned()), "round {round}");
    }
}

fn a_close_without_an_answer_is_cut(driver: &str) {
    let (server, hook, _, mut worker) = staffed(driver, json!({}));
    let mut client = Socket::open(&server, &hook);
    worker.take_event("connect");
    server.patch(&hook, &json!({"enabled": false}));
    assert_eq!(client.close_received().0, 1008);
    assert_eq!(worker.take_event("disconnect")["statusCode"], json!(1008));
    // Neither an answer nor the end of the connection comes from this side.
    client.say("it goes on sending");
    client.ended();
    eventually("its place is free", || {
        (server.metric("tidegate_open_connections", "websocket") == 0).then_some(())
    });
}

fn what_the_workers_are_behind_with_is_refused(driver: &str) {
    /// Payload bytes that one flow may have unacked (`FLOW_BYTES_MAX`).
    const BACKLOG_BYTES: usize = 64 * 1024 * 1024;
    const MESSAGE_BYTES: usize = 196_608;
    let server = Server::start(|settings| {
        settings.driver(driver).cores(2).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let mut client = Socket::open(&server, &hook);
    // In base64 each is 256 KiB and more.
    let message = frame(FIN | BINARY, &[0; MESSAGE_BYTES]);
    for _ in 0..BACKLOG_BYTES / (256 * 1024) {
        client.send_what_goes(&message);
    }
    let busy = (1013, "Too busy, try again".to_owned());
    assert_eq!(client.closed(), busy);
    // Nor is there room for the connect of another.
    server.done("POST", &format!("/applications/{}/flows", hook.application), &json!({"name": "idle"}));
    let mut second = Socket::open(&server, &hook);
    second.send_what_goes(&message);
    assert_eq!(second.closed(), busy);
    // All that was taken is there, with each connection's disconnect.
    let mut worker = Worker::attach(&server, &flow, 1000);
    let mut kinds = Vec::new();
    while kinds.iter().filter(|kind| *kind == "disconnect").count() < 2 {
        kinds.push(worker.take()["type"].as_str().expect("a type").to_owned());
    }
    let messages = kinds.iter().filter(|kind| *kind == "message").count();
    assert!((250..256).contains(&messages), "{messages}");
    assert_eq!(kinds[0], "connect");
    // There is room again.
    let mut client = Socket::open(&server, &hook);
    client.say("welcome");
    worker.take_event("connect");
    assert_eq!(worker.take_event("message")["data"], json!("welcome"));
}

#[test]
fn a_flow_holds_its_number_of_triggers_and_no_more() {
    /// Triggers that one flow may have unacked (`FLOW_TRIGGERS_MAX`).
    const TRIGGERS: usize = 65_536;
    let server = Server::start(|settings| {
        settings.cores(1).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = server.webhook(json!({"isWebsocket": true}));
    server.flow(&hook, json!([{"type": "WorkerNode"}]));
    let mut client = Socket::open(&server, &hook);
    // With the connect they are as many as may be.
    client.send_bytes(&frame(FIN | TEXT, b"x").repeat(TRIGGERS - 1)).send(FIN | crate::sockets::PING, b"");
    client.expect(FIN | crate::sockets::PONG, b"");
    client.say("one too many");
    assert_eq!(client.closed().0, 1013);
}

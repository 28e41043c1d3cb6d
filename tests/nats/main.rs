//! Black-box tests of `NatsNode` (section 9), with a server of NATS beside.

#[path = "../common/mod.rs"]
mod common;
mod journal;
mod keys;
mod secure;

use std::future::Future;

use async_nats::jetstream;
use async_nats::jetstream::stream::Stream;
use serde_json::{Value, json};

use common::nats::{Nats, NatsConfig};
use common::{Hook, Server, eventually, request};

/// What a stream holds of a message.
struct Stored {
    subject: String,
    headers: async_nats::HeaderMap,
    payload: Value,
}

impl Stored {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

/// A client of the test itself.
struct Client {
    runtime: tokio::runtime::Runtime,
    jetstream: jetstream::Context,
}

impl Client {
    fn of(nats: &Nats) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async_nats::connect(nats.url())).expect("NATS serves");
        // It has a task of its own.
        let jetstream = runtime.block_on(async { jetstream::new(client) });
        Client { runtime, jetstream }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn stream(&self, name: &str, subject: &str) -> Stream {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            ..Default::default()
        };
        // Right after the loss of a server nobody may lead JetStream.
        eventually("a new stream", || self.run(self.jetstream.create_stream(config.clone())).ok())
    }

    fn count(&self, stream: &Stream) -> u64 {
        self.run(stream.get_info()).expect("the stream is there").state.messages
    }

    /// The message `sequence`, once it is there.
    fn wait_for(&self, stream: &Stream, sequence: u64) -> Stored {
        let message = eventually("a message", || self.run(stream.get_raw_message(sequence)).ok());
        Stored {
            subject: message.subject.to_string(),
            payload: serde_json::from_slice(&message.payload).expect("JSON"),
            headers: message.headers,
        }
    }
}

/// A server of Tidegate that publishes to one of NATS.
fn serve(nats: &Nats, durability: &str) -> Server {
    let url = nats.url();
    Server::start(|settings| {
        settings.set("TIDEGATE_NATS_URL", url).set("TIDEGATE_JOURNAL_DURABILITY", durability);
    })
}

fn node(config: Value) -> Value {
    json!([{"id": "publish", "type": "NatsNode", "config": config}])
}

fn call(server: &Server, hook: &Hook, body: &Value) -> common::Response {
    let headers = [("Content-Type", "application/json")];
    server.wire().ask(request("POST", &hook.target("?shop=7"), &headers, body.to_string().as_bytes()))
}

fn attempts(server: &Server, outcome: &str) -> u64 {
    server.metric("tidegate_delivery_attempts_total", &format!("outcome=\"{outcome}\""))
}

fn done(server: &Server) -> u64 {
    server.metric("tidegate_deliveries_total", "done")
}

#[test]
fn a_stream_gets_the_payload_under_the_subject_that_the_node_makes() {
    let Some(nats) = Nats::start() else { return };
    let client = Client::of(&nats);
    let orders = client.stream("ORDERS", "orders.>");
    let all = client.stream("ALL", "tidegate.>");
    let server = serve(&nats, "memory");
    let hook = server.webhook(json!({}));
    let config = json!({"subject": "orders.{{data.body.region}}", "stream": "ORDERS",
        "headers": {"X-Shop": "{{data.query.shop}}", "X-Bad": "{{data.body.bad}}"}});
    server.flow(&hook, node(config));
    server.flow(&hook, node(json!({})));
    assert_eq!(call(&server, &hook, &json!({"region": "eu.west", "bad": "a\r\nb: c"})).status, 200);
    let stored = client.wait_for(&orders, 1);
    assert_eq!(stored.subject, "orders.eu.west");
    assert_eq!((stored.header("X-Shop"), stored.header("X-Bad")), ("7", ""));
    assert!(stored.header("Nats-Msg-Id").starts_with("msg_"));
    assert_eq!(stored.payload["data"]["body"]["region"], "eu.west");
    let stored = client.wait_for(&all, 1);
    assert_eq!(stored.subject, format!("tidegate.{}.{}", hook.application, hook.id));
    eventually("two deliveries", || (done(&server) == 2).then_some(()));
    assert_eq!(attempts(&server, "ok"), 2);
}

#[test]
fn a_message_that_no_stream_takes_waits_for_one() {
    let Some(nats) = Nats::start() else { return };
    let client = Client::of(&nats);
    let server = serve(&nats, "memory");
    let hook = server.webhook(json!({}));
    let other = client.stream("OTHER", "other.>");
    server.flow(&hook, node(json!({"subject": "orders.new"})));
    // That of another stream than the one which takes the subject.
    server.flow(&hook, node(json!({"subject": "other.new", "stream": "ORDERS"})));
    assert_eq!(call(&server, &hook, &json!(1)).status, 200);
    eventually("two refusals", || (attempts(&server, "status") >= 2).then_some(()));
    let orders = client.stream("ORDERS", "orders.>");
    assert_eq!(client.wait_for(&orders, 1).payload["data"]["body"], 1);
    assert_eq!((client.count(&orders), client.count(&other)), (1, 0));
}

#[test]
fn what_is_accepted_while_nats_is_down_is_published_when_it_is_back() {
    let Some(mut nats) = Nats::start() else { return };
    let client = Client::of(&nats);
    let orders = client.stream("ORDERS", "orders.>");
    let server = serve(&nats, "os");
    let hook = server.webhook(json!({}));
    server.flow(&hook, node(json!({"subject": "orders.new"})));
    assert_eq!(call(&server, &hook, &json!(0)).status, 200);
    client.wait_for(&orders, 1);
    nats.kill();
    for number in 1..4 {
        assert_eq!(call(&server, &hook, &json!(number)).status, 200);
    }
    nats.restart();
    nats.wait();
    let mut bodies: Vec<Value> =
        (2..5).map(|sequence| client.wait_for(&orders, sequence).payload["data"]["body"].clone()).collect();
    bodies.sort_by_key(Value::as_u64);
    assert_eq!(bodies, [1, 2, 3].map(Value::from));
    eventually("four deliveries", || (done(&server) == 4).then_some(()));
    assert_eq!(client.count(&orders), 4, "a repeat was stored");
}

#[test]
fn a_repeat_after_a_crash_is_dropped_by_the_stream() {
    let Some(nats) = Nats::start() else { return };
    let client = Client::of(&nats);
    let orders = client.stream("ORDERS", "orders.>");
    let mut server = serve(&nats, "os");
    let hook = server.webhook(json!({}));
    server.flow(&hook, node(json!({"subject": "orders.new"})));
    for round in 1..4 {
        assert_eq!(call(&server, &hook, &json!(round)).status, 200);
        client.wait_for(&orders, round);
        // Before it is written that it is done, if the machine is quick.
        server.crash();
        server.restart();
    }
    assert_eq!(call(&server, &hook, &json!("last")).status, 200);
    client.wait_for(&orders, 4);
    eventually("the journal is empty", || {
        (server.metric("tidegate_journal_open_triggers", "") == 0).then_some(())
    });
    assert_eq!(client.count(&orders), 4, "a repeat was stored");
}

#[test]
fn a_subject_that_reaches_too_far_is_a_dead_letter() {
    let Some(nats) = Nats::start() else { return };
    let server = serve(&nats, "memory");
    let hook = server.webhook(json!({}));
    let flow = server.flow(&hook, node(json!({"subject": "{{data.body.subject}}"})));
    let subjects = ["$JS.API.STREAM.DELETE.ORDERS", "a..b", "tidegate.j.x", "a.>"];
    for subject in subjects {
        assert_eq!(call(&server, &hook, &json!({"subject": subject})).status, 200);
    }
    let path = format!("/applications/{}/flows/{flow}/deadLetters", hook.application);
    let letters = eventually("the dead letters", || {
        let letters = server.done("GET", &path, &Value::Null);
        (letters["totalCount"] == subjects.len()).then_some(letters)
    });
    for letter in letters["items"].as_array().expect("a list") {
        assert_eq!(letter["reason"], "request");
        assert!(letter["lastError"].as_str().is_some_and(|error| error.contains("subject")), "{letter}");
    }
}

#[test]
fn a_caller_waits_for_who_reads_the_stream_and_learns_of_a_failure() {
    let Some(nats) = Nats::start() else { return };
    let client = Client::of(&nats);
    let orders = client.stream("ORDERS", "orders.>");
    let server = serve(&nats, "memory");
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, node(json!({"subject": "{{data.body.subject}}"})));
    let failed = call(&server, &hook, &json!({"subject": "nobody.takes.it"}));
    failed.is(502, "{\"error\":\"The target did not take the message\"}");
    call(&server, &hook, &json!({"subject": "a b"}))
        .is(502, "{\"error\":\"No request to the target can be made of this one\"}");
    let mut wire = server.wire();
    let body = json!({"subject": "orders.new"}).to_string();
    wire.send(request("POST", &hook.target(""), &[("Content-Type", "application/json")], body.as_bytes()));
    let stored = client.wait_for(&orders, 1);
    let reply = stored.payload["data"]["replyId"].as_str().expect("a waiting caller").to_owned();
    let accepted =
        server.done("POST", &format!("/replies/{reply}"), &json!({"responseCode": 201, "body": "read"}));
    assert_eq!(accepted["accepted"], true);
    wire.response().is(201, "read");
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    let more = "authorization { user: \"te:st\", password: \"s3c ret/+@\" }".to_owned();
    let Some(nats) = Nats::start_with(&NatsConfig { more, ..NatsConfig::default() }) else { return };
    let url = format!("nats://te%3Ast:s3c%20ret%2F%2B%40@{}", nats.address);
    let server = Server::start(|settings| {
        settings.set("TIDEGATE_NATS_URL", url).set("TIDEGATE_LOG", "debug");
    });
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, node(json!({"subject": "nobody"})));
    // Logged in, or the answer were another one.
    eventually("NATS is reached", || {
        let answer = call(&server, &hook, &json!(1));
        answer.text().contains("did not take").then_some(())
    });
    let log = server.log();
    assert!(log.contains("NATS is connected") && !log.contains("s3c"), "{log}");
}

#[test]
fn without_a_server_the_delivery_says_so() {
    let server = Server::start(|_| {});
    let hook = server.webhook(json!({"waitForReply": true}));
    server.flow(&hook, node(json!({})));
    call(&server, &hook, &json!(1)).is(502, "{\"error\":\"The target cannot be reached\"}");
}

//! Records: those of all nodes, at any node.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::common::nats::Nats;
use super::common::{ACCESS_TOKEN, Server, eventually};
use super::sockets::Socket;
use super::{in_step, nodes};

/// The live stream of a webhook's records at a node.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(node: &Server, path: &str) -> Stream {
        let mut stream = TcpStream::connect(node.admin).expect("the admin listener");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ACCESS_TOKEN}\r\nAccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut stream = Stream(BufReader::new(stream));
        while !stream.line().starts_with(": open") {}
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).expect("a line of the stream") > 0, "the stream goes on");
        line
    }

    /// The path of the next call that is told.
    fn next(&mut self) -> String {
        loop {
            let line = self.line();
            if let Some(data) = line.strip_prefix("data: ") {
                let item: Value = serde_json::from_str(data).expect("an item");
                return item["path"].as_str().expect("a path").to_owned();
            }
        }
    }
}

#[test]
fn the_records_of_all_nodes_are_listed_shown_streamed_and_replayed_at_any() {
    let Some(nats) = Nats::start() else { return };
    let mut nodes = nodes::<2>(&nats);
    let hook = nodes[0].webhook(json!({}));
    in_step(&nodes[0], &nodes[1]);
    let path = format!("/applications/{}/webhooks/{}/requests", hook.application, hook.id);
    let mut streams: Vec<Stream> =
        nodes.iter().map(|node| Stream::open(node, &format!("{path}?payload=false"))).collect();
    let mut called = Vec::new();
    for call in 0..6 {
        let place = format!("/{call}");
        let body = vec![b'x'; if call == 0 { 60_000 } else { 10 }];
        let request = super::request("POST", &hook.target(&place), &[], &body);
        assert_eq!(nodes[call % 2].wire().ask(request).status, 200);
        called.push(place);
    }
    for stream in &mut streams {
        let told: BTreeSet<String> = (0..6).map(|_| stream.next()).collect();
        assert_eq!(told, called.iter().cloned().collect());
    }
    let paths = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items");
        items.iter().map(|item| item["path"].as_str().expect("a path").to_owned()).collect()
    };
    for node in &nodes {
        let list = node.done("GET", &path, &Value::Null);
        assert_eq!((&list["totalCount"], &list["unreachable"]), (&json!(6), &json!([])), "{list}");
        let times: Vec<&str> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .filter_map(|item| item["time"].as_str())
            .collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        let listed = paths(&list);
        let all: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!((listed.len(), all), (6, called.iter().cloned().collect()));
        let pages: Vec<String> = (0..3)
            .flat_map(|page| {
                paths(&node.done("GET", &format!("{path}?page={page}&perPage=2&payload=false"), &Value::Null))
            })
            .collect();
        assert_eq!(pages, listed);
        for item in list["items"].as_array().expect("items") {
            let id = item["id"].as_str().expect("an id");
            let whole = node.done("GET", &format!("{path}/{id}"), &Value::Null);
            assert_eq!((&whole["path"], &whole["isReplayable"]), (&item["path"], &json!(true)));
            assert!(whole["payload"]["data"].is_object(), "{whole}");
        }
        let narrowed = node.done("GET", &format!("{path}?search=%2F3"), &Value::Null);
        assert_eq!(paths(&narrowed), ["/3"]);
    }
    // Both are replayed at one node: one of them is another's.
    let list = nodes[0].done("GET", &path, &Value::Null);
    let ids: Vec<&str> =
        list["items"].as_array().expect("items").iter().filter_map(|item| item["id"].as_str()).collect();
    for id in &ids[..2] {
        let replayed = nodes[0].done("POST", &format!("{path}/{id}/replay"), &Value::Null);
        assert_eq!(replayed["statusCode"], 200, "{replayed}");
    }
    let begun = nodes[1].done("POST", &format!("{path}/replay"), &json!({"ids": ids}));
    assert_eq!(begun["total"], 6, "{begun}");
    eventually("all are sent again", || {
        let list = nodes[0].done("GET", &path, &Value::Null);
        let is_over = list["replay"]["isRunning"] == false && list["replay"]["replayed"] == 6;
        (is_over && list["totalCount"] == 14).then_some(())
    });
    let (status, _) = nodes[0].call("GET", &format!("{path}/{}", "0".repeat(24)), &Value::Null);
    assert_eq!(status, 404);
    // A node that is killed is named until the others know that it has ended.
    let killed = super::status(&nodes[1])["node"].clone();
    nodes[1].crash();
    let list = nodes[0].done("GET", &path, &Value::Null);
    assert_eq!(list["unreachable"], json!([killed]), "{list}");
    let (status, error) = nodes[0].call("GET", &format!("{path}/{}", "0".repeat(24)), &Value::Null);
    assert_eq!(status, 503, "{error}");
}

#[test]
fn a_message_is_sent_on_a_connection_of_another_node_and_it_is_closed() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let hook = nodes[0].webhook(json!({"isWebsocket": true}));
    in_step(&nodes[0], &nodes[1]);
    let mut socket = Socket::open(&nodes[0], &hook);
    let list = nodes[1].done("GET", &hook.resource("/requests?kind=connect"), &Value::Null);
    let id = list["items"][0]["connectionId"].as_str().expect("a connection").to_owned();
    let path = hook.resource(&format!("/connections/{id}"));
    let sent = nodes[1].done("POST", &path, &json!({"body": "from elsewhere"}));
    assert_eq!(sent, json!({"success": true, "accepted": true}));
    assert_eq!(socket.text(), "from elsewhere");
    // Refused where it is open, and not here.
    assert_eq!(nodes[1].call("POST", &path, &json!({"nothing": 1})).0, 400);
    nodes[1].done("POST", &path, &json!({"close": {"code": 4001, "reason": "enough"}}));
    assert_eq!(socket.closed(), (4001, "enough".to_owned()));
    eventually("the connection is no more", || {
        (nodes[1].call("POST", &path, &json!({"body": "x"})).0 == 404).then_some(())
    });
}

#[test]
fn an_answer_of_another_node_may_be_larger_than_a_message_of_nats() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let hook = nodes[0].webhook(json!({}));
    in_step(&nodes[0], &nodes[1]);
    let path = format!("/applications/{}/webhooks/{}/requests", hook.application, hook.id);
    let body = vec![b'\x01'; 64 * 1024];
    let calls = 70;
    for _ in 0..calls {
        assert_eq!(nodes[0].wire().ask(hook.post(&body)).status, 200);
    }
    let response = nodes[1].call_raw("GET", &path, "");
    assert!(response.body.len() > 8 * 1024 * 1024, "{} bytes", response.body.len());
    let list: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((&list["count"], &list["unreachable"]), (&json!(calls), &json!([])));
}

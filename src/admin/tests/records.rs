//! Records of calls: lists, one record, replays.

use serde_json::json;

use super::*;
use crate::record::{CallAnswer as RecordAnswer, Entry, RecordedCall};

/// A call that was recorded.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) path: &'static str,
    pub(super) status: u16,
    pub(super) refusal: &'static str,
    pub(super) body: &'static [u8],
    pub(super) is_chunked: bool,
    pub(super) is_whole: bool,
}

pub(super) const SEEN: Seen = Seen {
    path: "/b?c=d",
    status: 202,
    refusal: "",
    body: b"{\"n\":1.00}",
    is_chunked: false,
    is_whole: true,
};

fn number(number: u64) -> Id {
    format!("{number:024x}").parse().expect("an id")
}

impl Seen {
    /// The entries of the call as record `id` of a webhook.
    pub(super) fn batch(&self, webhook: Id, id: u64) -> Vec<u8> {
        let call = RecordedCall {
            events: 100,
            is_whole: self.is_whole,
            is_chunked: self.is_chunked,
            peer: Some([192, 0, 2, 9].into()),
            body_bytes: self.body.len() as u64,
            fields: b"Host: a\r\nX-Two:  b\r\nAuthorization: ***\r\n",
            body: self.body,
            ..RecordedCall::request(
                number(id),
                webhook,
                1_771_521_960_123 + id,
                b"POST",
                self.path.as_bytes(),
            )
        };
        let mut batch = Vec::new();
        Entry::Call(call).write(&mut batch);
        batch.extend(self.answer(webhook, id));
        batch
    }

    /// The entry of its answer.
    pub(super) fn answer(&self, webhook: Id, id: u64) -> Vec<u8> {
        let response = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        let answer = RecordAnswer {
            record: number(id),
            webhook,
            status: self.status,
            duration_nanos: 250_000,
            body_nanos: 0,
            verify_nanos: 1_000,
            flows_nanos: 2_000,
            wait_nanos: 0,
            response_bytes: response.len() as u64,
            refusal: self.refusal.as_bytes(),
            response,
        };
        let mut batch = Vec::new();
        Entry::Answer(answer).write(&mut batch);
        batch
    }
}

/// A webhook, its path, and a server with these calls recorded, numbered from 1.
fn recorded(seen: &[Seen]) -> (Server, String, Id) {
    let server = Server::new();
    let app = server.application();
    let hook = server.webhook(&app, &json!({"name": "h"}));
    let webhook: Id = id_of(&hook).parse().expect("an id");
    for (id, seen) in (1..).zip(seen) {
        server.state.shelf.take(&seen.batch(webhook, id), 0);
    }
    (server, hook, webhook)
}

#[test]
fn records_are_listed_with_their_payloads_byte_for_byte() {
    let refused = Seen { status: 404, refusal: "Not found", ..SEEN };
    let (server, hook, _) = recorded(&[SEEN, refused]);
    let answered = server.get(&format!("{hook}/requests"));
    assert_eq!((&answered.json["count"], &answered.json["totalCount"]), (&json!(2), &json!(2)));
    assert_eq!((&answered.json["page"], &answered.json["perPage"]), (&json!(0), &json!(100)));
    assert_eq!(answered.json["webhookId"], id_of(&hook));
    assert_eq!(answered.json["lastCall"], "2026-02-19T17:26:00.125Z");
    let [newest, oldest] = [0, 1].map(|at| &answered.json["items"][at]);
    assert_eq!((&newest["refusal"], &newest["status"]), (&json!("Not found"), &json!(404)));
    let expected = json!({
        "id": number(1).to_string(), "time": "2026-02-19T17:26:00.124Z", "kind": "request", "direction": "in",
        "connectionId": null, "method": "POST", "path": "/b?c=d", "peer": "192.0.2.9", "status": 202,
        "durationMs": 0.25, "bytes": 10, "responseBytes": 46, "refusal": null, "count": 1,
        "lastTime": "2026-02-19T17:26:00.124Z", "replayOf": null, "requestId": null, "flows": [], "payload": {"n": 1.0},
    });
    assert_eq!(*oldest, expected);
    assert!(answered.text.contains("\"payload\":{\"n\":1.00}"), "{}", answered.text);
    let narrowed = server.get(&format!("{hook}/requests?status=2xx&payload=false&perPage=1&search=x-two"));
    assert_eq!(
        (&narrowed.json["totalCount"], &narrowed.json["items"][0]["payload"]),
        (&json!(1), &Value::Null)
    );
    for bad in
        ["status=x", "kind=x", "connection=x", "since=x", "perPage=0", "nothing=1", "payload=x", "updates=x"]
    {
        let name = bad.split('=').next().expect("a name");
        check_error(&server.get(&format!("{hook}/requests?{bad}")), 400, "Validation", name);
    }
}

#[test]
fn one_record_is_shown_with_request_and_response() {
    let (server, hook, _) = recorded(&[SEEN, Seen { body: b"\xff", is_chunked: true, ..SEEN }]);
    let shown = server.get(&format!("{hook}/requests/{}", number(1))).json;
    assert_eq!(
        shown["request"],
        json!({
            "version": "HTTP/1.1",
            "headers": [["Host", "a"], ["X-Two", "b"], ["Authorization", "***"]],
            "body": {"text": "{\"n\":1.00}", "base64": null, "bytes": 10, "isWhole": true},
        })
    );
    assert_eq!(
        shown["response"],
        json!({
            "status": 202, "reason": "Accepted", "headers": [["Content-Length", "2"]],
            "body": {"text": "{}", "base64": null, "bytes": 2, "isWhole": true},
        })
    );
    assert_eq!(shown["steps"], json!({"bodyMs": 0.0, "verifyMs": 0.001, "flowsMs": 0.002, "waitMs": 0.0}));
    assert_eq!(shown["isReplayable"], true);
    let other = server.get(&format!("{hook}/requests/{}", number(2))).json;
    assert_eq!(
        (&other["request"]["body"]["text"], &other["request"]["body"]["base64"]),
        (&Value::Null, &json!("/w=="))
    );
    for missing in [NOBODY, "x"] {
        check_error(&server.get(&format!("{hook}/requests/{missing}")), 404, "NotFound", "record");
    }
}

#[test]
fn a_replay_sends_the_request_byte_for_byte_to_the_present_token() {
    let (server, hook, webhook) = recorded(&[SEEN, Seen { is_chunked: true, path: "", ..SEEN }]);
    let token = server.state.store.webhook(&webhook).expect("read").expect("there").token;
    for id in 1..=2 {
        let answered = server.send("POST", &format!("{hook}/requests/{}/replay", number(id)), &Value::Null);
        assert_eq!(answered.json, json!({"success": true, "statusCode": 202, "durationMs": 0.5, "id": null}));
    }
    let sent: Vec<Replay> = std::mem::take(&mut server.engine.replays.lock().expect("not poisoned"));
    let text = |replay: &Replay| String::from_utf8(replay.request.clone()).expect("text");
    let fields = "Host: a\r\nX-Two:  b\r\nAuthorization: ***\r\n";
    let token = token.as_str();
    assert_eq!(
        text(&sent[0]),
        format!("POST /webhooks/{token}/b?c=d HTTP/1.1\r\n{fields}\r\n{{\"n\":1.00}}")
    );
    assert_eq!(
        text(&sent[1]),
        format!("POST /webhooks/{token} HTTP/1.1\r\n{fields}\r\na\r\n{{\"n\":1.00}}\r\n0\r\n\r\n")
    );
    assert_eq!((sent[0].record, sent[0].peer), (number(1), Some([192, 0, 2, 9].into())));
}

#[test]
fn what_was_not_let_in_or_is_not_whole_is_not_replayed() {
    let (server, hook, _) = recorded(&[
        Seen { status: 401, refusal: "Unauthorized", ..SEEN },
        Seen { is_whole: false, status: 400, refusal: "cut", ..SEEN },
        Seen { status: 429, refusal: "Over rate limit, request throttled", ..SEEN },
        Seen { status: 503, refusal: "Busy", ..SEEN },
    ]);
    let replay =
        |id: u64| server.send("POST", &format!("{hook}/requests/{}/replay", number(id)), &Value::Null);
    check_error(&replay(1), 409, "Conflict", "refused");
    check_error(&replay(2), 409, "Conflict", "end");
    assert_eq!((replay(3).status, replay(4).status), (200, 200));
}

#[test]
fn a_selection_or_what_a_filter_finds_is_replayed_with_progress() {
    let refused = Seen { status: 401, refusal: "Unauthorized", ..SEEN };
    let (server, hook, _) = recorded(&[SEEN, refused, Seen { path: "/z", ..SEEN }]);
    let path = format!("{hook}/requests/replay");
    let all = server.send("POST", &path, &Value::Null).json;
    assert_eq!((&all["success"], &all["total"]), (&json!(true), &json!(2)), "the refused one is left out");
    for bad in [json!({"ids": "x"}), json!({"ids": ["x"]}), json!({"other": 1}), json!([])] {
        assert_eq!(server.send("POST", &path, &bad).status, 400, "{bad}");
    }
    let (other, hook, _) = recorded(&[SEEN, Seen { path: "/z", ..SEEN }]);
    let chosen =
        other.send("POST", &format!("{hook}/requests/replay"), &json!({"ids": [number(2).to_string()]})).json;
    assert_eq!(chosen["total"], 1);
    let (third, hook, _) = recorded(&[SEEN, Seen { path: "/z", ..SEEN }]);
    assert_eq!(
        third.send("POST", &format!("{hook}/requests/replay?search=/z"), &Value::Null).json["total"],
        1
    );
}

#[test]
fn a_message_for_a_connection_reaches_the_engine_by_the_connections_id() {
    let server = Server::new();
    let app = server.application();
    let socket = server.webhook(&app, &json!({"name": "s", "isWebsocket": true}));
    let plain = server.webhook(&app, &json!({"name": "p"}));
    let path = |hook: &str, connection: &str| format!("{hook}/connections/{connection}");
    let known = number(1).to_string();
    let sent = server.ask("POST", &path(&socket, &known), r#"{"body": {"n": 1.00}}"#);
    assert_eq!((sent.status, &sent.json["success"]), (200, &json!(true)), "{}", sent.text);
    let replies = server.engine.replies.lock().expect("not poisoned").clone();
    assert_eq!(replies, [(known.clone(), r#"{"body": {"n": 1.00}}"#.to_owned())]);
    for unknown in [number(0).to_string(), "x".to_owned()] {
        check_error(&server.ask("POST", &path(&socket, &unknown), "{}"), 404, "NotFound", "connection");
    }
    check_error(&server.ask("POST", &path(&socket, &known), "[]"), 400, "Validation", "object");
    check_error(&server.ask("POST", &path(&plain, &known), "{}"), 409, "Conflict", "WebSockets");
}

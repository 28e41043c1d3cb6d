//! Replies to a `replyId` of another webhook than the one that triggered the flow (section 7): a request pushes to a
//! WebSocket, a message answers a request that waits. `isWebsocketMessage` is held against the webhook that the
//! `replyId` belongs to.

use serde_json::{Value, json};

use crate::common::{Hook, Server, Wire, eventually, reply_node, request};
use crate::sockets::{FIN, Socket, TEXT, Worker};

/// How often each case is tried: connections spread over the cores as the kernel likes.
const TRIES: usize = 4;

const PUSHED: &str = "pushed";

/// A caller that waits, with its `replyId`.
enum Caller {
    Request(Wire),
    Socket(Socket),
}

impl Caller {
    /// Calls a webhook whose flow has this worker.
    fn call(server: &Server, hook: &Hook, worker: &mut Worker, is_websocket: bool) -> (Caller, String) {
        let caller = if is_websocket {
            Caller::Socket(Socket::open(server, hook))
        } else {
            let mut wire = server.wire();
            wire.send(hook.get());
            Caller::Request(wire)
        };
        let mut data = worker.take();
        // A connection of a try before says goodbye first.
        while data["type"] == "disconnect" {
            data = worker.take();
        }
        let reply_id = data["replyId"].as_str().expect("a replyId").to_owned();
        assert!(reply_id.starts_with(&hook.id));
        (caller, reply_id)
    }

    /// The next reply it gets must be this one.
    #[track_caller]
    fn gets(&mut self, text: &str) {
        match self {
            Caller::Request(wire) => {
                wire.response().is(200, text);
            }
            Caller::Socket(socket) => {
                socket.expect(FIN | TEXT, text.as_bytes());
            }
        }
    }
}

/// A webhook that replies to whatever `replyId` it is sent.
struct Pusher {
    hook: Hook,
    is_websocket: bool,
}

impl Pusher {
    /// `flag` is the node's `isWebsocketMessage`. With a worker in its flow the event is kept, not a draft.
    fn new(server: &Server, is_websocket: bool, flag: bool, has_worker: bool) -> Pusher {
        let hook = server.webhook(json!({"isWebsocket": is_websocket}));
        let mut node = reply_node(PUSHED);
        node["config"]["replyIdPath"] = json!(if is_websocket { "data.message.data" } else { "data.body" });
        node["config"]["isWebsocketMessage"] = json!(flag);
        let worker = json!({"type": "WorkerNode"});
        server.flow(&hook, if has_worker { json!([node, worker]) } else { json!([node]) });
        Pusher { hook, is_websocket }
    }

    fn push(&self, server: &Server, reply_id: &str) {
        if self.is_websocket {
            let mut socket = Socket::open(server, &self.hook);
            socket.say(reply_id).close(1000, "").closed();
        } else {
            let headers = [("Content-Type", "text/plain")];
            let post = request("POST", &self.hook.target(""), &headers, reply_id.as_bytes());
            server.wire().ask(post).is(200, r#"{"success":true}"#);
        }
    }
}

fn targets(server: &Server) -> Vec<(bool, Hook, Worker)> {
    [false, true]
        .into_iter()
        .map(|is_websocket| {
            let hook = server.webhook(json!({"isWebsocket": is_websocket, "waitForReply": !is_websocket}));
            let flow = server.flow(&hook, json!([{"type": "WorkerNode"}]));
            (is_websocket, hook, Worker::attach(server, &flow, 100_000))
        })
        .collect()
}

fn start(cores: usize) -> Server {
    Server::start(|settings| {
        settings.cores(cores).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// Every webhook pushes to every caller; a reply of the wrong kind leaves the caller as it was.
fn a_reply_goes_where_its_flag_fits_the_callers_webhook(cores: usize) {
    let server = start(cores);
    let wrong = || server.metric("tidegate_reply_node_errors_total", "wrong_caller");
    let mut targets = targets(&server);
    let mut expected_wrong = 0;
    for case in 0..8 {
        let [from_socket, flag, has_worker] = [1, 2, 4].map(|bit| case & bit != 0);
        let pusher = Pusher::new(&server, from_socket, flag, has_worker);
        for (is_websocket, hook, worker) in &mut targets {
            for _ in 0..TRIES {
                let (mut caller, reply_id) = Caller::call(&server, hook, worker, *is_websocket);
                pusher.push(&server, &reply_id);
                if flag == *is_websocket {
                    caller.gets(PUSHED);
                    continue;
                }
                expected_wrong += 1;
                eventually("the reply is counted", || (wrong() == expected_wrong).then_some(()));
                // It still waits, and takes a reply from outside, which has no flag.
                let path = format!("/replies/{reply_id}");
                let answer = server.done("POST", &path, &json!({"body": "from outside"}));
                assert_eq!(answer, json!({"success": true, "accepted": true}));
                caller.gets("from outside");
            }
        }
    }
    assert_eq!(wrong(), expected_wrong);
    assert_eq!(server.metric("tidegate_reply_node_errors_total", ""), expected_wrong, "nothing else failed");
}

/// A worker of any flow, and the REST API, reply to either kind of caller.
fn replies_from_outside_fit_every_caller(cores: usize) {
    let server = start(cores);
    let mut targets = targets(&server);
    let elsewhere = server.webhook(json!({}));
    let flow = server.flow(&elsewhere, json!([{"type": "WorkerNode"}]));
    let mut stranger = Worker::attach(&server, &flow, 10);
    for (is_websocket, hook, worker) in &mut targets {
        for by_worker in [false, true].repeat(TRIES) {
            let (mut caller, reply_id) = Caller::call(&server, hook, worker, *is_websocket);
            if by_worker {
                stranger.say(&json!({"type": "reply", "replyId": reply_id, "body": "hello"}));
                assert_eq!(stranger.hear("replyResult")["accepted"], true);
            } else {
                let answer = server.done("POST", &format!("/replies/{reply_id}"), &json!({"body": "hello"}));
                assert_eq!(answer["accepted"], true);
            }
            caller.gets("hello");
        }
    }
    assert_eq!(server.metric("tidegate_reply_node_errors_total", ""), 0);
}

#[test]
fn on_one_core_a_reply_goes_where_its_flag_fits_the_callers_webhook() {
    a_reply_goes_where_its_flag_fits_the_callers_webhook(1);
}

#[test]
fn on_two_cores_a_reply_goes_where_its_flag_fits_the_callers_webhook() {
    a_reply_goes_where_its_flag_fits_the_callers_webhook(2);
}

#[test]
fn on_one_core_replies_from_outside_fit_every_caller() {
    replies_from_outside_fit_every_caller(1);
}

#[test]
fn on_two_cores_replies_from_outside_fit_every_caller() {
    replies_from_outside_fit_every_caller(2);
}

#[test]
fn a_node_for_the_other_kind_does_not_answer_who_sent_the_trigger() {
    let server = start(1);
    let errors = |reason: &str| server.metric("tidegate_reply_node_errors_total", reason);
    let flagged = |text: &str, flag: bool| -> Value {
        let mut node = reply_node(text);
        node["config"]["isWebsocketMessage"] = json!(flag);
        node
    };
    let waiting = server.webhook(json!({"waitForReply": true}));
    server.flow(&waiting, json!([flagged("for a socket", true), flagged("for a request", false)]));
    server.wire().ask(waiting.get()).is(200, "for a request");
    assert_eq!(errors("wrong_caller"), 1);
    // Where nobody waits there is no `replyId`, and nothing to hold the flag against.
    let unheard = server.webhook(json!({}));
    server.flow(&unheard, json!([flagged("for a socket", true), flagged("for a request", false)]));
    server.wire().ask(unheard.get()).is(200, r#"{"success":true}"#);
    assert_eq!(errors(""), 1);
    let sockets = server.webhook(json!({"isWebsocket": true}));
    server.flow(&sockets, json!([flagged("for a request", false), flagged("for a socket", true)]));
    let mut client = Socket::open(&server, &sockets);
    client.expect(FIN | TEXT, b"for a socket");
    assert_eq!((errors("wrong_caller"), errors("")), (2, 2));
}

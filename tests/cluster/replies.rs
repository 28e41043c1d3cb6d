//! Replies to callers of another node.

use serde_json::json;

use super::common::nats::Nats;
use super::nodes;
use super::sockets::Worker;

#[test]
fn a_caller_of_one_node_is_replied_to_at_another() {
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let hook = nodes[0].webhook(json!({"waitForReply": true}));
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    let mut worker = Worker::attach(&nodes[0], &flow, 1);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| nodes[0].wire().ask(hook.post(b"ping")));
        let payload = worker.take();
        let reply_id = payload["replyId"].as_str().expect("a replyId");
        let reply = json!({"responseCode": 201, "body": "pong", "headers": {"X-From": "elsewhere"}});
        let (status, answer) = nodes[1].call("POST", &format!("/replies/{reply_id}"), &reply);
        assert_eq!((status, &answer["accepted"]), (200, &json!(true)), "{answer}");
        let response = caller.join().expect("an answer");
        assert_eq!((response.status, response.body.as_slice()), (201, &b"pong"[..]));
        // The first one was it.
        let (status, answer) = nodes[1].call("POST", &format!("/replies/{reply_id}"), &reply);
        assert_eq!((status, &answer["accepted"]), (200, &json!(false)), "{answer}");
    });
}

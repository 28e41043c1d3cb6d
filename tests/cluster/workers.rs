//! Workers that are attached to another node than the one that was called.

use serde_json::json;

use super::common::eventually;
use super::common::nats::Nats;
use super::sockets::{Socket, Worker};
use super::{in_step, nodes};

#[test]
fn a_worker_of_one_node_gets_the_triggers_of_all_and_a_third_node_replies() {
    const CALLS: usize = 20;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<3>(&nats);
    let hook = nodes[0].webhook(json!({"waitForReply": true}));
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&nodes[0], &nodes[1]);
    let mut worker = Worker::attach(&nodes[0], &flow, 1);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut wire = nodes[1].wire();
            (0..CALLS).map(|call| wire.ask(hook.post(call.to_string().as_bytes()))).collect::<Vec<_>>()
        });
        for call in 0..CALLS {
            let (seq, attempt, payload) = worker.trigger();
            assert_eq!((attempt, &payload["data"]["body"]), (1, &json!(call.to_string().as_bytes())));
            let reply_id = payload["data"]["replyId"].as_str().expect("a replyId").to_owned();
            if call % 2 == 0 {
                let reply = json!({"body": call.to_string()});
                let answer = nodes[2].done("POST", &format!("/replies/{reply_id}"), &reply);
                assert_eq!(answer["accepted"], true, "{answer}");
                worker.ack(&[seq]);
            } else {
                worker.say(&json!({"type": "reply", "replyId": reply_id, "body": call.to_string()}));
                assert_eq!(worker.hear("replyResult")["accepted"], true);
            }
            worker.say(&json!({"type": "ready", "credit": 1}));
        }
        for (call, response) in caller.join().expect("answers").iter().enumerate() {
            assert_eq!((response.status, response.body.as_slice()), (200, call.to_string().as_bytes()));
        }
    });
    eventually("all is acked", || {
        (nodes[1].metric("tidegate_deliveries_total", "done") == CALLS as u64).then_some(())
    });
    assert_eq!(nodes[0].metric("tidegate_deliveries_total", "done"), 0);
}

#[test]
fn the_triggers_of_a_websocket_stay_with_one_worker_of_another_node_in_order() {
    const MESSAGES: usize = 50;
    let Some(nats) = Nats::start() else { return };
    let nodes = nodes::<2>(&nats);
    let hook = nodes[0].webhook(json!({"isWebsocket": true, "limits": {"requestsPerWindow": 0}}));
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&nodes[0], &nodes[1]);
    let mut workers = [Worker::attach(&nodes[0], &flow, 3), Worker::attach(&nodes[0], &flow, 3)];
    let mut socket = Socket::open(&nodes[1], &hook);
    for message in 0..MESSAGES {
        socket.say(&message.to_string());
    }
    // One of them gets the connect, and with it all the rest.
    let home = eventually("a worker has the connection", || {
        workers.iter().position(|worker| worker.socket.is_readable())
    });
    let worker = &mut workers[home];
    let (seq, _, payload) = worker.trigger();
    assert_eq!(payload["data"]["type"], "connect", "{payload}");
    worker.ack(&[seq]);
    for message in 0..MESSAGES {
        worker.say(&json!({"type": "ready", "credit": 1}));
        let (seq, attempt, payload) = worker.trigger();
        assert_eq!((attempt, &payload["data"]["message"]["data"]), (1, &json!(message.to_string())));
        worker.ack(&[seq]);
    }
    assert!(!workers[1 - home].socket.is_readable());
}

#[test]
fn a_trigger_of_a_worker_whose_node_is_killed_goes_to_another() {
    let Some(nats) = Nats::start() else { return };
    let mut nodes = nodes::<3>(&nats);
    let hook = nodes[0].webhook(json!({}));
    let flow = nodes[0].flow(&hook, json!([{"id": "w", "type": "WorkerNode", "config": {}}]));
    in_step(&nodes[0], &nodes[1]);
    let mut first = Worker::attach(&nodes[0], &flow, 1);
    assert_eq!(nodes[1].wire().ask(hook.post(b"x")).status, 200);
    let (_, attempt, _) = first.trigger();
    assert_eq!(attempt, 1);
    let mut second = Worker::attach(&nodes[2], &flow, 1);
    nodes[0].crash();
    let (seq, attempt, payload) = second.trigger();
    assert_eq!((attempt, &payload["data"]["body"]), (2, &json!(b"x")));
    second.ack(&[seq]);
    eventually("it is done", || (nodes[1].metric("tidegate_deliveries_total", "done") == 1).then_some(()));
}

//! A worker on a core's kernel in memory, which reports the end of a send promptly only where that was asked for.

use serde_json::json;

use super::*;
use crate::connection::flows::ORDERS_PIECE;
use crate::io::SendReport;
use crate::registry::Backlog;
use crate::websocket::{self, Role, Scratch};

const WORKER: SocketId = SocketId { index: 1, generation: 0 };
/// The first of the sockets of callers.
const CALLER: u32 = 2;
/// Callers, each with a body of so many bytes: several times what is sent ahead of a worker's reading.
const CALLERS: u32 = 7;
const BODY_BYTES: usize = 100_000;

impl Scene {
    /// A flow that has a worker's node, and its worker, which takes nothing yet.
    fn with_worker() -> Scene {
        let mut scene = Scene::with_flow(Some(json!([{"id": "w", "type": "WorkerNode"}])));
        let flow = scene.flow.unwrap();
        scene.complete(Completion::Accepted { listener: WORKERS, socket: WORKER, peer: None });
        let upgrade = format!(
            "GET /flows/{flow}/worker HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tidegate.worker.v1\r\nAuthorization: Bearer {ACCESS_TOKEN}\r\n\r\n"
        );
        let (answer, _) = sent_to_worker(scene.receive_on(WORKER, upgrade.as_bytes())).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        scene.complete(Completion::Sent { socket: WORKER, bytes: answer });
        scene
    }

    /// Calls the webhook, until its flow has so many triggers.
    fn call(&mut self, triggers: usize) -> Arc<Backlog> {
        let backlog = self.core.state.registry.flow(self.flow.unwrap()).expect("the flow is there");
        while backlog.triggers() < triggers {
            let request = self.request.clone();
            let started = self.receive(&request);
            self.sent(started);
        }
        backlog
    }

    fn ready(&mut self) -> Vec<Operation> {
        let (mut client, mut frame) = (websocket::Connection::new(Role::Client, None, 1_000), Vec::new());
        client.send(&mut frame, &mut Scratch::new(), true, br#"{"type":"ready","credit":100}"#);
        self.receive_on(WORKER, &frame)
    }
}

/// Takes what was started for the worker: the bytes of a send that is in flight, and how its end is to be reported.
fn sent_to_worker(started: Vec<Operation>) -> Option<(Vec<u8>, SendReport)> {
    started.into_iter().find_map(|operation| match operation {
        Operation::Send { socket: WORKER, bytes, report } => Some((bytes, report)),
        _ => None,
    })
}

#[test]
fn a_worker_gets_all_that_it_has_credit_for_without_anything_else_happening() {
    let mut scene = Scene::with_worker();
    let request = String::from_utf8(scene.request.clone()).unwrap();
    let head = request.replacen("GET", "POST", 1).replacen("\r\n\r\n", "\r\n", 1);
    for index in CALLER..CALLER + CALLERS {
        let socket = SocketId { index, generation: 0 };
        scene.complete(Completion::Accepted { listener: INGRESS, socket, peer: None });
        scene.receive_on(socket, format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n").as_bytes());
        let body = vec![b'x'; BODY_BYTES];
        body.chunks(4_096).for_each(|piece| _ = scene.receive_on(socket, piece));
    }
    let mut started = scene.ready();
    let mut heard = Vec::new();
    while let Some((bytes, report)) = sent_to_worker(started) {
        heard.extend_from_slice(&bytes);
        // Nothing else happens on this core that a late report would come with.
        if report == SendReport::Deferred {
            break;
        }
        started = scene.complete(Completion::Sent { socket: WORKER, bytes });
    }
    let triggers = heard.windows(17).filter(|window| *window == br#"{"type":"trigger""#).count();
    assert_eq!(triggers, CALLERS as usize);
}

#[test]
fn much_that_is_done_for_one_frame_has_the_clock_read() {
    let mut scene = Scene::with_worker();
    scene.call(100);
    let before = scene.readings.get();
    scene.ready();
    // One at the beginning of the turn, one since.
    assert!(scene.readings.get() - before >= 2, "{}", scene.readings.get() - before);
}

#[test]
fn what_the_queue_of_a_flow_asks_for_is_done_in_pieces_and_all_of_it() {
    let mut scene = Scene::with_worker();
    let many = 3 * ORDERS_PIECE + 7;
    let backlog = scene.call(many);
    let deleted_flows = [scene.flow.unwrap()].into();
    assert!(scene.mailbox.send(Message::ModelChanged { deleted_flows }).is_ok());
    scene.complete(Completion::Woken);
    let mut left = many;
    loop {
        let done = left - backlog.triggers();
        assert!((1..=ORDERS_PIECE).contains(&done), "{done} of {many} in one turn");
        left -= done;
        if left == 0 {
            break;
        }
        assert!(scene.turns.is_behind(&scene.core), "the rest has its turn at once");
        scene.turn();
    }
    assert!(scene.core.state.orders.is_empty());
}

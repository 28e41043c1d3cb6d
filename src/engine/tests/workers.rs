//! A worker on a core's kernel in memory, which reports the end of a send promptly only where that was asked for.

use serde_json::json;

use super::*;
use crate::io::SendReport;
use crate::websocket::{self, Role, Scratch};

const WORKER: SocketId = SocketId { index: 1, generation: 0 };
/// The first of the sockets of callers.
const CALLER: u32 = 2;
/// Callers, each with a body of so many bytes: several times what is sent ahead of a worker's reading.
const CALLERS: u32 = 7;
const BODY_BYTES: usize = 100_000;

/// Takes what was started for the worker: the bytes of a send that is in flight, and how its end is to be reported.
fn sent_to_worker(started: Vec<Operation>) -> Option<(Vec<u8>, SendReport)> {
    started.into_iter().find_map(|operation| match operation {
        Operation::Send { socket: WORKER, bytes, report } => Some((bytes, report)),
        _ => None,
    })
}

#[test]
fn a_worker_gets_all_that_it_has_credit_for_without_anything_else_happening() {
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
    let request = String::from_utf8(scene.request.clone()).unwrap();
    let head = request.replacen("GET", "POST", 1).replacen("\r\n\r\n", "\r\n", 1);
    for index in CALLER..CALLER + CALLERS {
        let socket = SocketId { index, generation: 0 };
        scene.complete(Completion::Accepted { listener: INGRESS, socket, peer: None });
        scene.receive_on(socket, format!("{head}Content-Length: {BODY_BYTES}\r\n\r\n").as_bytes());
        let body = vec![b'x'; BODY_BYTES];
        body.chunks(4_096).for_each(|piece| _ = scene.receive_on(socket, piece));
    }
    let (mut client, mut ready) = (websocket::Connection::new(Role::Client, None, 1_000), Vec::new());
    client.send(&mut ready, &mut Scratch::new(), true, br#"{"type":"ready","credit":100}"#);
    let mut started = scene.receive_on(WORKER, &ready);
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

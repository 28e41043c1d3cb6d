//! SIGTERM while TLS connections are open.

use std::sync::Arc;

use serde_json::json;

use crate::authority::Authority;
use crate::client::{Client, config, socket};
use crate::common::eventually;

on_each_driver!(what_is_in_flight_is_answered_and_the_rest_ends_in_order);

fn what_is_in_flight_is_answered_and_the_rest_ends_in_order(driver: &str) {
    let authority = Authority::new();
    let mut server = authority.server(driver);
    let hook = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 2}}));
    let socket_hook = server.webhook(json!({"isWebsocket": true}));
    let config = Arc::new(config(&authority));
    let mut waits = Client::connect(server.ingress, "localhost", &config);
    waits.send(&hook.get());
    let mut idle = Client::connect(server.ingress, "localhost", &config);
    idle.ask(&crate::common::request("GET", "/healthz", &[], b""));
    let mut talks = crate::websocket::open(&server, &authority, &socket_hook);
    // One that has not even begun its handshake.
    let _silent = socket(server.ingress);
    eventually("the request waits", || (server.metric("tidegate_waiting_requests", "") == 1).then_some(()));
    let begun = std::time::Instant::now();
    server.terminate();
    // The idle one ends at once, and says so.
    idle.closed();
    let answer = waits.response();
    assert_eq!(answer.status, 504, "what was in flight has its answer");
    waits.closed();
    let close = match talks.read() {
        Ok(tungstenite::Message::Close(Some(frame))) => u16::from(frame.code),
        other => panic!("{other:?} where a Close was to come"),
    };
    assert_eq!(close, 1012);
    let _ = talks.flush();
    assert!(server.ended().success());
    assert!(begun.elapsed().as_secs() < 9, "it waited for who said nothing: {:?}", begun.elapsed());
}

//! WebSockets over TLS, by tungstenite.

use std::sync::Arc;

use serde_json::json;
use tungstenite::{Message, WebSocket};

use crate::authority::Authority;
use crate::client::{Client, config};
use crate::common::{Hook, Server};

on_each_driver!(
    messages_go_both_ways,
    a_large_message_comes_back_whole,
    many_messages_at_once_are_answered_in_order,
);

/// Opens a WebSocket of a webhook.
pub fn open(server: &Server, authority: &Authority, hook: &Hook) -> WebSocket<Client> {
    let client = Client::connect(server.ingress, "localhost", &Arc::new(config(authority)));
    let url = format!("wss://localhost{}", hook.target(""));
    let (socket, response) = tungstenite::client(url, client).expect("a WebSocket");
    assert_eq!(response.status(), 101);
    socket
}

/// Asserts that the other side answers still.
pub fn is_alive(socket: &mut WebSocket<Client>) {
    socket.send(Message::Ping("still there?".into())).expect("it is open");
    assert_eq!(socket.read().expect("an answer"), Message::Pong("still there?".into()));
}

fn messages_go_both_ways(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    server.echo_flow(&hook, &[]);
    let mut socket = open(&server, &authority, &hook);
    for text in ["one", "two", ""] {
        socket.send(Message::text(text)).expect("it is open");
        assert_eq!(socket.read().expect("an answer"), Message::text(text));
    }
    is_alive(&mut socket);
    socket.close(None).expect("it is open");
    loop {
        match socket.read() {
            Ok(Message::Close(_)) => {}
            Ok(other) => panic!("{other:?} after the Close"),
            Err(error) => {
                // With the `close_notify` that says so: else rustls would say that it was cut.
                assert!(matches!(error, tungstenite::Error::ConnectionClosed), "{error}");
                break;
            }
        }
    }
}

fn a_large_message_comes_back_whole(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"isWebsocket": true}));
    server.echo_flow(&hook, &[]);
    let mut socket = open(&server, &authority, &hook);
    let text: String = (0..200_000u32).map(|index| char::from(b'a' + (index % 23) as u8)).collect();
    for _ in 0..3 {
        socket.send(Message::text(text.as_str())).expect("it is open");
        assert!(socket.read().expect("an answer") == Message::text(text.as_str()), "it came back otherwise");
    }
}

fn many_messages_at_once_are_answered_in_order(driver: &str) {
    let authority = Authority::new();
    let server = authority.server(driver);
    let hook = server.webhook(json!({"isWebsocket": true, "limits": {"requestsPerWindow": 0}}));
    server.echo_flow(&hook, &[]);
    let mut socket = open(&server, &authority, &hook);
    for index in 0..500 {
        socket.write(Message::text(format!("{index} {}", "x".repeat(index)))).expect("it is open");
    }
    socket.flush().expect("it is open");
    for index in 0..500 {
        let expected = Message::text(format!("{index} {}", "x".repeat(index)));
        assert_eq!(socket.read().expect("an answer"), expected);
    }
}

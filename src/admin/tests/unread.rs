//! Refusals whose request's body comes only when the answer is there: the connection goes on, or its end is announced.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{NOBODY, Server, TOKEN};
use crate::admin::{Listener, serve};

/// The admin listener on a port of its own, until it is dropped.
struct Listening {
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _server: Server,
}

impl Listening {
    fn start() -> Listening {
        let server = Server::new();
        let router = server.router.clone();
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = Listener::tcp(([127, 0, 0, 1], 0).into()).expect("binds");
                tell.send(listener.address().expect("an address")).expect("awaited");
                serve(listener, None, router, async {
                    let _ = stopped.await;
                })
                .await;
            });
        });
        let address = told.recv().expect("listens");
        Listening { address, stop: Some(stop), thread: Some(thread), _server: server }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The status of the next response, and whether it announces the connection's end.
fn response(stream: &mut TcpStream) -> (u16, bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head of a response");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).expect("its body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.contains("\r\nconnection: close\r\n"))
}

#[test]
fn the_body_of_a_refused_request_may_come_after_the_answer() {
    let listening = Listening::start();
    let token = format!("Authorization: Bearer {TOKEN}");
    let origin = format!("{token}\r\nOrigin: http://elsewhere.example");
    for (target, more, status) in [
        ("POST /nowhere", token.as_str(), 404),
        ("PUT /applications", &token, 405),
        ("POST /applications/import", &token, 404),
        ("POST /applications", "X-A: 1", 401),
        ("POST /applications", "Authorization: Bearer wrong", 401),
        ("POST /applications", &origin, 403),
        (&format!("PATCH /applications/{NOBODY}/flows/none"), &token, 404),
        ("GET /applications?colour=1", &token, 400),
        ("DELETE /applications/none", &token, 404),
        ("POST /healthz", &token, 405),
        ("POST /", &token, 405),
        ("OPTIONS /applications", &token, 204),
    ] {
        for (framing, body) in
            [("Content-Length: 5", "12345"), ("Transfer-Encoding: chunked", "5\r\n12345\r\n0\r\n\r\n")]
        {
            let mut stream = TcpStream::connect(listening.address).expect("connects");
            let head = format!("{target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{framing}\r\n\r\n");
            stream.write_all(head.as_bytes()).expect("sent");
            assert_eq!(response(&mut stream), (status, false), "{target} {more}");
            stream.write_all(body.as_bytes()).expect("sent");
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
            assert_eq!(response(&mut stream).0, 200, "after {target} {more} {framing}");
        }
    }
}

#[test]
fn a_body_that_is_not_read_ends_the_connection_and_the_answer_says_so() {
    let listening = Listening::start();
    let huge = format!("Content-Length: {}", 17 * 1024 * 1024);
    for (target, more) in [
        ("POST /nowhere", "Content-Length: 5\r\nExpect: 100-continue"),
        ("POST /nowhere", huge.as_str()),
        ("POST /applications", huge.as_str()),
    ] {
        let mut stream = TcpStream::connect(listening.address).expect("connects");
        let token = format!("Authorization: Bearer {TOKEN}");
        let head = format!("{target} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n{more}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let (status, closes) = response(&mut stream);
        assert!(closes && (status == 404 || status == 413), "{target} {more}: {status} {closes}");
    }
}

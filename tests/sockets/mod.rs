//! WebSockets for black-box tests, frame by frame: a webhook's client that sends what no library would ([`Socket`]),
//! and a worker ([`Worker`]).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{ACCESS_TOKEN, Hook, PATIENCE, Server};

/// The key of RFC 6455, 1.3, and what must be made of it.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A mask; any will do.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// First bytes of frames.
pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// An open WebSocket.
pub struct Socket {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// The request for an upgrade, with further headers.
pub fn upgrade(target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let given = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let own = given.iter().filter(|(name, _)| headers.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> = own.chain(headers).filter(|(_, value)| !value.is_empty()).copied().collect();
    crate::common::request("GET", target, &all, b"")
}

/// A frame as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    bytes
}

/// The head of a client's frame that says it has this length.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

impl Socket {
    /// Opens a WebSocket of a webhook.
    #[track_caller]
    pub fn open(server: &Server, hook: &Hook) -> Socket {
        Socket::open_with(server.ingress, &hook.target(""), &[])
    }

    /// Opens one with further headers of the request.
    #[track_caller]
    pub fn open_with(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Socket {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        let mut socket = Socket { stream, unread: Vec::new() };
        socket.send_bytes(&upgrade(target, headers));
        let end = loop {
            match memchr::memmem::find(&socket.unread, b"\r\n\r\n") {
                Some(end) => break end,
                None => assert!(socket.fill(), "closed within the head"),
            }
        };
        let head: Vec<u8> = socket.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let accept = format!("sec-websocket-accept: {}\r\n", ACCEPT.to_ascii_lowercase());
        assert!(head.contains(&accept), "{head}");
        assert!(
            head.contains("access-control-allow-origin: *\r\n") || target.starts_with("/flows/"),
            "{head}"
        );
        let offers = headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Extensions");
        assert_eq!(head.contains("permessage-deflate"), offers, "{head}");
        socket
    }

    /// Has it wait so long for what comes next.
    pub fn wait_at_most(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a time-out");
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> &mut Socket {
        self.stream.write_all(bytes).expect("the server takes it");
        self
    }

    /// Sends as much as the server takes: it may close meanwhile.
    pub fn send_what_goes(&mut self, bytes: &[u8]) -> &mut Socket {
        match self.stream.write_all(bytes) {
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {}
            sent => sent.expect("the server takes it or closes"),
        }
        self
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, first: u8, payload: &[u8]) -> &mut Socket {
        self.send_bytes(&frame(first, payload))
    }

    /// Sends a text message.
    #[track_caller]
    pub fn say(&mut self, text: &str) -> &mut Socket {
        self.send(FIN | TEXT, text.as_bytes())
    }

    /// Sends a Close.
    #[track_caller]
    pub fn close(&mut self, code: u16, reason: &str) -> &mut Socket {
        self.send(FIN | CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        loop {
            if let Some((header, length)) = self.whole_frame() {
                let bytes: Vec<u8> = self.unread.drain(..header + length).collect();
                return Frame { first: bytes[0], payload: bytes[header..].to_vec() };
            }
            assert!(self.fill(), "the server closed within a frame or instead of one");
        }
    }

    /// The lengths of the next frame's head and payload, once it is whole.
    fn whole_frame(&self) -> Option<(usize, usize)> {
        let bytes = &self.unread;
        let second = *bytes.get(1)?;
        assert_eq!(second & 0x80, 0, "RFC 6455, 5.1: a server masks nothing");
        let (header, length) = match second {
            126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).expect("a length of ours");
        (bytes.len() >= header + length).then_some((header, length))
    }

    /// The next message, which must be text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        let frame = self.frame();
        assert_eq!(frame.first, FIN | TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("RFC 6455, 5.6: text is UTF-8")
    }

    /// Asserts that the next frame is this one.
    #[track_caller]
    pub fn expect(&mut self, first: u8, payload: &[u8]) -> &mut Socket {
        assert_eq!(self.frame(), Frame { first, payload: payload.to_vec() });
        self
    }

    /// The next frame must be a Close, which is answered where it was the server's: code and reason. Then it ends.
    #[track_caller]
    pub fn closed(&mut self) -> (u16, String) {
        let ended = self.close_received();
        self.send_what_goes(&frame(FIN | CLOSE, &ended.0.to_be_bytes()));
        self.ended();
        ended
    }

    /// The next frame must be a Close, which is left without an answer.
    #[track_caller]
    pub fn close_received(&mut self) -> (u16, String) {
        let frame = self.frame();
        assert_eq!(frame.first, FIN | CLOSE, "{:?}", &frame.payload[..frame.payload.len().min(100)]);
        match frame.payload.split_at_checked(2) {
            None => (1005, String::new()),
            Some((code, reason)) => {
                let code = u16::from_be_bytes([code[0], code[1]]);
                (code, String::from_utf8(reason.to_vec()).expect("RFC 6455, 5.5.1: a reason is UTF-8"))
            }
        }
    }

    /// Reads to the end of the connection, which must be all that comes.
    #[track_caller]
    pub fn ended(&mut self) {
        while self.fill() {}
        assert_eq!(self.unread.escape_ascii().to_string(), "", "something was sent after the Close");
    }

    /// Ends the connection without a Close, in order or with a reset.
    pub fn cut(self, reset: bool) {
        if reset {
            rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
        } else {
            self.stream.shutdown(Shutdown::Both).expect("a socket");
        }
    }

    /// Reads what is there, whatever it is.
    pub fn read_some(&mut self) {
        self.fill();
        self.unread.clear();
    }

    /// Reads to the end of the connection, whatever comes.
    pub fn read_to_end(&mut self) {
        while self.fill() {}
        self.unread.clear();
    }

    /// Whether something is there to be read, without waiting.
    pub fn is_readable(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        !self.unread.is_empty() || peeked.is_ok()
    }

    /// Reads once. False: the peer closed or broke the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(read) => {
                    self.unread.extend_from_slice(&bytes[..read]);
                    return read > 0;
                }
                // Whatever signal it was, nothing was read.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }
}

/// A worker of a flow.
pub struct Worker {
    pub socket: Socket,
}

impl Worker {
    /// Attaches, and takes as many triggers as `credit` says.
    #[track_caller]
    pub fn attach(server: &Server, flow: &str, credit: u32) -> Worker {
        let bearer = format!("Bearer {ACCESS_TOKEN}");
        let headers = [("Authorization", bearer.as_str()), ("Sec-WebSocket-Protocol", "tidegate.worker.v1")];
        let target = format!("/flows/{flow}/worker");
        let mut worker = Worker { socket: Socket::open_with(server.workers, &target, &headers) };
        if credit > 0 {
            worker.say(&json!({"type": "ready", "credit": credit}));
        }
        worker
    }

    /// Sends a frame.
    #[track_caller]
    pub fn say(&mut self, frame: &Value) -> &mut Worker {
        self.socket.say(&frame.to_string());
        self
    }

    /// Acks.
    #[track_caller]
    pub fn ack(&mut self, seqs: &[u64]) -> &mut Worker {
        self.say(&json!({"type": "ack", "seqs": seqs}))
    }

    /// The next frame, of this type.
    #[track_caller]
    pub fn hear(&mut self, kind: &str) -> Value {
        let text = self.socket.text();
        let frame: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame, a trigger: its seq, attempt and payload.
    #[track_caller]
    pub fn trigger(&mut self) -> (u64, u64, Value) {
        let mut frame = self.hear("trigger");
        let number = |name: &str| frame[name].as_u64().expect("a number");
        (number("seq"), number("attempt"), frame["payload"].take())
    }

    /// The next trigger, which is acked: its `data`.
    #[track_caller]
    pub fn take(&mut self) -> Value {
        let (seq, _, mut payload) = self.trigger();
        self.ack(&[seq]);
        payload["data"].take()
    }

    /// The next trigger, of this type, which is acked: its `message`.
    #[track_caller]
    pub fn take_event(&mut self, kind: &str) -> Value {
        let mut data = self.take();
        assert_eq!(data["type"], kind, "{data}");
        data["message"].take()
    }
}

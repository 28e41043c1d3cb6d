//! A WebSocket client of the simulated network: it says messages, and must hear each of them again, in order.

use std::collections::VecDeque;

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, Event, Role, Scratch};

use crate::kernel::{Heard, Random, SimClient};

/// Of the handshake (RFC 6455, 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPTED: &[u8] = b"HTTP/1.1 101 ";
/// The close code of an orderly end.
const NORMAL: u16 = 1000;

/// A client.
pub struct WebSocketCaller {
    client: Option<SimClient>,
    machine: Connection,
    scratch: Scratch,
    buffer: ReceiveBuffer,
    /// Bytes to be sent.
    out: Vec<u8>,
    /// Bytes of the handshake's answer.
    answer: Vec<u8>,
    is_upgraded: bool,
    left: usize,
    expected: VecDeque<String>,
    /// It will reset its connection when so many messages are left.
    resets_at: Option<usize>,
    pub is_done: bool,
}

impl WebSocketCaller {
    pub fn new(target: &str, client: SimClient, random: &mut Random) -> WebSocketCaller {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let left = random.below(12);
        let resets_at = random.one_in(5).then(|| random.below(left + 1));
        WebSocketCaller {
            client: Some(client),
            machine: Connection::new(Role::Client, None, 1 << 20),
            scratch: Scratch::new(),
            buffer: ReceiveBuffer::default(),
            out: request.into_bytes(),
            answer: Vec::new(),
            is_upgraded: false,
            left,
            // Of the connect trigger, which has no message.
            expected: VecDeque::from([String::new()]),
            resets_at,
            is_done: false,
        }
    }

    pub fn go_on(&mut self, random: &mut Random) {
        if self.is_upgraded
            && self.resets_at == Some(self.left)
            && let Some(client) = self.client.take()
        {
            self.is_done = true;
            return client.reset();
        }
        let Some(mut client) = self.client.take() else { return };
        if random.one_in(2) {
            let most = self.out.len().min(1 + random.below(3000));
            let sent = client.send(&self.out[..most]).expect("nobody resets it");
            self.out.drain(..sent);
        }
        if self.is_upgraded && self.left > 0 && self.out.is_empty() && random.one_in(4) {
            self.say(random);
        }
        if self.is_upgraded && self.left == 0 && self.expected.is_empty() {
            // Without effect once it has closed.
            self.machine.close(&mut self.out, NORMAL, "done");
        }
        if random.one_in(2) {
            let mut heard = Vec::new();
            match client.receive(&mut heard) {
                Heard::Bytes | Heard::Nothing => {}
                Heard::End => {
                    assert!(self.machine.is_over() && self.expected.is_empty(), "{:?}", self.expected);
                    self.is_done = true;
                    return;
                }
                Heard::Reset => panic!("nobody resets it"),
            }
            self.hear(&heard);
        }
        self.client = Some(client);
    }

    fn say(&mut self, random: &mut Random) {
        let magnitude = random.below(15);
        let text = format!("{}{}", random.next(), "x".repeat(random.below(1 << magnitude)));
        self.machine.send(&mut self.out, &mut self.scratch, true, text.as_bytes());
        self.expected.push_back(text);
        self.left -= 1;
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        if !self.is_upgraded {
            self.answer.extend_from_slice(bytes);
            let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            assert!(self.answer.starts_with(ACCEPTED), "{:?}", String::from_utf8_lossy(&self.answer));
            let rest = self.answer.split_off(end + 4);
            self.is_upgraded = true;
            self.buffer.extend(&rest);
            bytes = b"";
        }
        self.buffer.extend(bytes);
        loop {
            match self.machine.poll(&mut self.buffer, &mut self.out, &mut self.scratch) {
                Event::NeedData => return,
                Event::Pong => {}
                Event::Message { .. } => {
                    let message = self.machine.message(&self.buffer, &self.scratch).to_vec();
                    let expected = self.expected.pop_front().expect("an answer to no message");
                    assert!(message == expected.as_bytes(), "another message's answer");
                }
                Event::Close { code } => assert_eq!(code, NORMAL),
                Event::Failed(failure) => panic!("{failure:?}"),
            }
        }
    }
}

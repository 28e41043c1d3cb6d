//! A worker of the simulated network: it takes triggers, and acks them, or does not.

use serde_json::{Value, json};
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, Event, Role, Scratch};

use crate::kernel::{Heard, Random, SimClient};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Triggers that it takes at a time.
const CREDIT: usize = 50;

/// A worker.
pub struct SimWorker {
    client: SimClient,
    machine: Connection,
    scratch: Scratch,
    buffer: ReceiveBuffer,
    out: Vec<u8>,
    answer: Vec<u8>,
    is_upgraded: bool,
    /// It acks at once whatever it gets.
    is_diligent: bool,
    pub flow: String,
    /// Its connection has ended.
    pub is_over: bool,
}

impl SimWorker {
    pub fn new(client: SimClient, flow: &str, token: &str, is_diligent: bool) -> SimWorker {
        let request = format!(
            "GET /flows/{flow}/worker HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {token}\r\n\
             Sec-WebSocket-Protocol: tidegate.worker.v1\r\n\r\n"
        );
        SimWorker {
            client,
            machine: Connection::new(Role::Client, None, 1 << 21),
            scratch: Scratch::new(),
            buffer: ReceiveBuffer::default(),
            out: request.into_bytes(),
            answer: Vec::new(),
            is_upgraded: false,
            is_diligent,
            flow: flow.to_owned(),
            is_over: false,
        }
    }

    /// Does a little; returns the `data` of the triggers that it got.
    pub fn go_on(&mut self, random: &mut Random) -> Vec<Value> {
        if self.is_over {
            return Vec::new();
        }
        match self.client.send(&self.out) {
            Some(sent) => drop(self.out.drain(..sent)),
            None => self.is_over = true,
        }
        let mut heard = Vec::new();
        match self.client.receive(&mut heard) {
            Heard::Bytes | Heard::Nothing => {}
            Heard::End | Heard::Reset => self.is_over = true,
        }
        self.hear(&heard, random)
    }

    fn hear(&mut self, mut bytes: &[u8], random: &mut Random) -> Vec<Value> {
        let mut got = Vec::new();
        if !self.is_upgraded {
            self.answer.extend_from_slice(bytes);
            let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else {
                return got;
            };
            if !self.answer.starts_with(b"HTTP/1.1 101 ") {
                self.is_over = true;
                return got;
            }
            let rest = self.answer.split_off(end + 4);
            self.is_upgraded = true;
            self.buffer.extend(&rest);
            bytes = b"";
            self.say(&json!({"type": "ready", "credit": CREDIT}));
        }
        self.buffer.extend(bytes);
        loop {
            match self.machine.poll(&mut self.buffer, &mut self.out, &mut self.scratch) {
                Event::NeedData => return got,
                Event::Pong => {}
                Event::Message { .. } => {
                    let message = self.machine.message(&self.buffer, &self.scratch).to_vec();
                    let mut frame: Value = serde_json::from_slice(&message).expect("JSON");
                    if frame["type"] != "trigger" {
                        continue;
                    }
                    let seq = frame["seq"].clone();
                    got.push(frame["payload"]["data"].take());
                    if self.is_diligent || !random.one_in(6) {
                        self.say(&json!({"type": "ack", "seqs": [seq]}));
                    } else if random.one_in(2) {
                        self.say(&json!({"type": "nack", "seq": seq}));
                    }
                    self.say(&json!({"type": "ready", "credit": 1}));
                }
                Event::Close { .. } | Event::Failed(_) => {
                    self.is_over = true;
                    return got;
                }
            }
        }
    }

    fn say(&mut self, frame: &Value) {
        self.machine.send(&mut self.out, &mut self.scratch, true, frame.to_string().as_bytes());
    }
}

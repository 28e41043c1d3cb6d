//! A worker of the simulated network that replies once, twice or never, refuses, falls silent and leaves.

use serde_json::{Value, json};
use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, Event, Role, Scratch};

use crate::kernel::{Heard, Random, SimClient};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a worker has to tell.
#[derive(Debug)]
pub enum Told {
    /// It got a trigger.
    Trigger { payload: Value, attempt: u64 },
    /// It replied to a call with a text.
    Replied { reply_id: String, text: String },
    /// What became of its reply.
    Result { reply_id: String, is_accepted: bool },
}

/// A worker.
pub struct Replier {
    client: Option<SimClient>,
    machine: Connection,
    scratch: Scratch,
    buffer: ReceiveBuffer,
    out: Vec<u8>,
    answer: Vec<u8>,
    is_upgraded: bool,
    /// It does what it is there for.
    is_diligent: bool,
    number: usize,
    replies: usize,
}

impl Replier {
    pub fn new(client: SimClient, flow: &str, token: &str, number: usize, is_diligent: bool) -> Replier {
        let request = format!(
            "GET /flows/{flow}/worker HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nAuthorization: Bearer {token}\r\n\
             Sec-WebSocket-Protocol: tidegate.worker.v1\r\n\r\n"
        );
        Replier {
            client: Some(client),
            machine: Connection::new(Role::Client, None, 1 << 21),
            scratch: Scratch::new(),
            buffer: ReceiveBuffer::default(),
            out: request.into_bytes(),
            answer: Vec::new(),
            is_upgraded: false,
            is_diligent,
            number,
            replies: 0,
        }
    }

    /// Whether its connection has ended.
    pub fn is_over(&self) -> bool {
        self.client.is_none()
    }

    /// Leaves, in order or not.
    pub fn leave(&mut self, random: &mut Random) {
        if let Some(client) = self.client.take()
            && random.one_in(2)
        {
            client.reset();
        }
    }

    /// Does a little.
    pub fn go_on(&mut self, random: &mut Random) -> Vec<Told> {
        let Some(client) = &mut self.client else { return Vec::new() };
        match client.send(&self.out) {
            Some(sent) => drop(self.out.drain(..sent)),
            None => self.client = None,
        }
        let mut heard = Vec::new();
        if let Some(client) = &mut self.client
            && matches!(client.receive(&mut heard), Heard::End | Heard::Reset)
        {
            self.client = None;
        }
        let mut told = Vec::new();
        self.hear(&heard, random, &mut told);
        if !self.is_diligent && self.is_upgraded && random.one_in(400) {
            self.leave(random);
        }
        told
    }

    fn hear(&mut self, mut bytes: &[u8], random: &mut Random, told: &mut Vec<Told>) {
        if !self.is_upgraded {
            self.answer.extend_from_slice(bytes);
            let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            assert!(self.answer.starts_with(b"HTTP/1.1 101 "), "{}", self.answer.escape_ascii());
            let rest = self.answer.split_off(end + 4);
            self.is_upgraded = true;
            self.buffer.extend(&rest);
            bytes = b"";
            let credit = if self.is_diligent { 1_000 } else { 1 + random.below(6) };
            self.say(&json!({"type": "ready", "credit": credit}));
        }
        self.buffer.extend(bytes);
        loop {
            match self.machine.poll(&mut self.buffer, &mut self.out, &mut self.scratch) {
                Event::NeedData => return,
                Event::Pong => {}
                Event::Message { .. } => {
                    let message = self.machine.message(&self.buffer, &self.scratch).to_vec();
                    let frame: Value = serde_json::from_slice(&message).expect("JSON");
                    self.frame(frame, random, told);
                }
                Event::Close { .. } => return self.client = None,
                Event::Failed(failure) => panic!("{failure:?}"),
            }
        }
    }

    fn frame(&mut self, mut frame: Value, random: &mut Random, told: &mut Vec<Told>) {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        match frame["type"].as_str() {
            Some("trigger") => {
                let (payload, seq) = (frame["payload"].take(), frame["seq"].clone());
                let attempt = frame["attempt"].as_u64().expect("a number");
                let reply_id = payload["data"]["replyId"].as_str().map(str::to_owned);
                told.push(Told::Trigger { payload, attempt });
                self.act(seq, reply_id, random, told);
                self.say(&json!({"type": "ready", "credit": 1}));
            }
            Some("replyResult") => told.push(Told::Result {
                reply_id: text(&frame["replyId"]),
                is_accepted: frame["accepted"].as_bool().expect("yes or no"),
            }),
            _ => panic!("{frame}"),
        }
    }

    fn act(&mut self, seq: Value, reply_id: Option<String>, random: &mut Random, told: &mut Vec<Told>) {
        let Some(reply_id) = reply_id else {
            return match random.below(8) {
                0 if !self.is_diligent => {}
                1 if !self.is_diligent => self.say(&json!({"type": "nack", "seq": seq})),
                _ => self.say(&json!({"type": "ack", "seqs": [seq]})),
            };
        };
        match random.below(8) {
            0 if !self.is_diligent => {}
            1 if !self.is_diligent => self.say(&json!({"type": "nack", "seq": seq})),
            2 if !self.is_diligent => self.say(&json!({"type": "ack", "seqs": [seq]})),
            3 | 4 => (0..2).for_each(|_| self.reply(&reply_id, told)),
            _ => self.reply(&reply_id, told),
        }
    }

    fn reply(&mut self, reply_id: &str, told: &mut Vec<Told>) {
        self.replies += 1;
        let text = format!("w{}.{}", self.number, self.replies);
        self.say(&json!({"type": "reply", "replyId": reply_id, "responseCode": 201, "body": text}));
        told.push(Told::Replied { reply_id: reply_id.to_owned(), text });
    }

    fn say(&mut self, frame: &Value) {
        self.machine.send(&mut self.out, &mut self.scratch, true, frame.to_string().as_bytes());
    }
}

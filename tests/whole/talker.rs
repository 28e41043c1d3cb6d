//! A WebSocket client of the simulated network that says numbers, and hears nothing.

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, Event, Role, Scratch};

use crate::kernel::{Heard, Random, SimClient};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A client whose messages are its number, a colon, and a count.
pub struct Talker {
    client: Option<SimClient>,
    machine: Connection,
    scratch: Scratch,
    buffer: ReceiveBuffer,
    out: Vec<u8>,
    answer: Vec<u8>,
    is_upgraded: bool,
    number: u64,
    said: u64,
    left: usize,
}

impl Talker {
    pub fn new(target: &str, client: SimClient, number: u64, random: &mut Random) -> Talker {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        Talker {
            client: Some(client),
            machine: Connection::new(Role::Client, None, 1 << 20),
            scratch: Scratch::new(),
            buffer: ReceiveBuffer::default(),
            out: request.into_bytes(),
            answer: Vec::new(),
            is_upgraded: false,
            number,
            said: 0,
            left: random.below(40),
        }
    }

    pub fn go_on(&mut self, random: &mut Random) {
        let Some(mut client) = self.client.take() else { return };
        if self.is_upgraded && self.left == 0 && random.one_in(50) {
            // Its end is a trigger as well.
            return client.reset();
        }
        if self.is_upgraded && self.left > 0 && self.out.is_empty() && random.one_in(4) {
            self.left -= 1;
            self.said += 1;
            let magnitude = random.below(12);
            let padding = "x".repeat(random.below(1 << magnitude));
            let text = format!("{}:{} {padding}", self.number, self.said);
            self.machine.send(&mut self.out, &mut self.scratch, true, text.as_bytes());
        }
        match client.send(&self.out) {
            Some(sent) => drop(self.out.drain(..sent)),
            None => return,
        }
        let mut heard = Vec::new();
        match client.receive(&mut heard) {
            Heard::Bytes | Heard::Nothing => {}
            // It is told to come back later where its trigger is not taken.
            Heard::End | Heard::Reset => return,
        }
        if self.is_upgraded {
            self.buffer.extend(&heard);
        } else {
            self.answer.extend_from_slice(&heard);
            if let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") {
                if !self.answer.starts_with(b"HTTP/1.1 101 ") {
                    // The process stops.
                    return;
                }
                let rest = self.answer.split_off(end + 4);
                self.is_upgraded = true;
                self.buffer.extend(&rest);
            }
        }
        if self.is_upgraded {
            loop {
                match self.machine.poll(&mut self.buffer, &mut self.out, &mut self.scratch) {
                    Event::NeedData => break,
                    Event::Pong => {}
                    Event::Message { .. } => panic!("nobody says anything"),
                    Event::Close { code } => {
                        assert!([1012, 1013].contains(&code), "{code}");
                        self.left = 0;
                    }
                    Event::Failed(failure) => panic!("{failure:?}"),
                }
            }
        }
        self.client = Some(client);
    }
}

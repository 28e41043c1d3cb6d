//! Callers of the simulated network, and what became of all their calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use crate::Model;
use crate::damage::Struck;
use crate::kernel::{Heard, Random, SimClient};

/// What became of everything, over all lives.
#[derive(Default)]
pub struct Story {
    pub next: u64,
    pub accepted: BTreeSet<u64>,
    /// Answered as calls whose keys were not taken.
    pub first: BTreeSet<u64>,
    /// Of numbers up to this one, keys that this life has yet to answer for may be lost by a bit that has flipped.
    pub unsure: u64,
    /// Numbers that were sent again, which is their key.
    pub sent_again: BTreeSet<u64>,
    /// Answers to repeats.
    pub duplicates: usize,
    /// Refused in a life that went on for long enough to take back what had been written of it.
    pub refused: BTreeSet<u64>,
    pub delivered: BTreeMap<u64, u32>,
    /// The messages of each WebSocket in the order in which they were delivered for the first time.
    pub messages: BTreeMap<u64, Vec<u64>>,
    /// The numbers of each `orderKey` in the order in which they were delivered for the first time.
    pub ordered: BTreeMap<u64, Vec<u64>>,
    /// Callers that there were: each has a key of its own.
    pub callers: u64,
    /// Records in which bits were flipped.
    pub struck: Vec<Struck>,
    /// Numbers that a fault of the disk may cost, and which nobody could keep.
    pub may_be_lost: BTreeSet<u64>,
    /// Those of them that were lost.
    pub excused: usize,
    /// Power cuts of a disk that had lied.
    pub lied_cuts: usize,
    /// A core has lost what it had: what was offered to it just after is delivered before what is offered again.
    pub has_panicked: bool,
}

impl Story {
    /// The power was cut of a disk that had said that writes were safe which were not. What was open may be lost, and what was
    /// done, taken back or remembered may come again: of that nothing is promised. All that is accepted afterwards is.
    pub fn forget_promises(&mut self) {
        self.lied_cuts += 1;
        let open = self.accepted.iter().filter(|number| !self.delivered.contains_key(number));
        self.may_be_lost.extend(open);
        self.refused.clear();
        self.first.clear();
    }

    pub fn note(&mut self, data: &Value) {
        if let Some(number) = data["body"]["number"].as_u64() {
            *self.delivered.entry(number).or_default() += 1;
        } else if let Some(text) = data["message"]["data"].as_str()
            && data["type"] == "message"
        {
            let (socket, number) = text.split_once(':').expect("as it was said");
            let of = self.messages.entry(socket.parse().expect("a number")).or_default();
            let number = number.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
            if !of.contains(&number) {
                of.push(number);
            }
        }
    }
}

/// Whether a number is sent to the webhook without a flow.
pub fn is_quiet(number: u64) -> bool {
    number.is_multiple_of(6)
}

/// Whether a number is forwarded, in the order of its caller.
fn is_ordered(number: u64) -> bool {
    number % 6 == 1
}

/// A caller that posts numbers, several at a time.
pub struct Caller {
    client: SimClient,
    bytes: Vec<u8>,
    heard: Vec<u8>,
    waiting: VecDeque<u64>,
    left: usize,
    /// What it forwards keeps its order by.
    key: u64,
    /// Keys outlive the process.
    keys_last: bool,
    /// It says that it sends nothing more, once it has sent all.
    half_closes: bool,
    /// Its last request asks for the end of the connection.
    closes: bool,
    /// It was refused, which ends its connection.
    is_refused: bool,
    is_over: bool,
}

impl Caller {
    pub fn new(client: SimClient, keys_last: bool, story: &mut Story, random: &mut Random) -> Caller {
        story.callers += 1;
        let left = 1 + random.below(30);
        Caller {
            client,
            bytes: Vec::new(),
            heard: Vec::new(),
            waiting: VecDeque::new(),
            left,
            key: story.callers,
            keys_last,
            half_closes: random.one_in(4),
            closes: random.one_in(4),
            is_refused: false,
            is_over: false,
        }
    }

    pub fn go_on(
        &mut self,
        model: &Model,
        story: &mut Story,
        refused: &mut BTreeSet<u64>,
        is_draining: bool,
        random: &mut Random,
    ) {
        if self.is_over {
            return;
        }
        if self.left > 0 && self.waiting.len() < 8 && random.one_in(3) {
            self.left -= 1;
            // A sender that has no answer, or lost it, sends again.
            let again = 1 + random.below(story.next as usize + 1) as u64;
            // One that is ordered once only, so that its number says its place.
            let number = if random.one_in(4) && !is_ordered(again) { again } else { story.next + 1 };
            if number <= story.next {
                story.sent_again.insert(number);
            }
            story.next = story.next.max(number);
            self.waiting.push_back(number);
            let magnitude = random.below(14);
            let padding = "x".repeat(random.below(1 << magnitude));
            let body = json!({"number": number, "key": self.key, "padding": padding}).to_string();
            let connection = if self.closes && self.left == 0 { "Connection: close\r\n" } else { "" };
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{connection}",
                match number {
                    _ if is_quiet(number) => &model.quiet,
                    _ if is_ordered(number) => &model.ordered,
                    _ => &model.hook,
                }
            );
            self.bytes.extend(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
        }
        if !self.bytes.is_empty() {
            match self.client.send(&self.bytes) {
                Some(sent) => drop(self.bytes.drain(..sent)),
                None => self.is_over = true,
            }
        }
        match self.client.receive(&mut self.heard) {
            Heard::Bytes | Heard::Nothing => {}
            Heard::End | Heard::Reset => self.is_over = true,
        }
        while let Some((status, length)) = response(&self.heard) {
            let head = String::from_utf8_lossy(&self.heard[..length]).to_ascii_lowercase();
            let is_duplicate = head.contains("tidegate-duplicate: true");
            self.heard.drain(..length);
            let number = self.waiting.pop_front().expect("an answer to no request");
            match status {
                200 => {
                    if is_duplicate {
                        story.duplicates += 1;
                    } else {
                        let is_first = number <= story.unsure || story.first.insert(number);
                        assert!(is_first || !self.keys_last, "{number} triggers again");
                    }
                    if !is_quiet(number) {
                        story.accepted.insert(number);
                    }
                }
                503 => {
                    self.is_refused = true;
                    refused.insert(number);
                }
                other => panic!("{other}"),
            }
        }
        let is_whole = self.waiting.is_empty() || self.is_refused || is_draining;
        assert!(!self.is_over || is_whole, "a request has no answer: {:?}", self.waiting);
        if self.left == 0 && self.bytes.is_empty() && std::mem::take(&mut self.half_closes) {
            self.client.shutdown_write();
        }
        self.is_over |= self.left == 0 && self.waiting.is_empty();
    }
}

/// Status and length of the first response in `bytes`, if it is complete.
fn response(bytes: &[u8]) -> Option<(u16, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).expect("a head is ASCII").to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    bytes.get(head..head + length)?;
    Some((status, head + length))
}

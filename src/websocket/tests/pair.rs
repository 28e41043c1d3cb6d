//! A client and a server machine that talk to each other: random messages, reads, pings and closes from a seed.

use std::collections::VecDeque;

use super::*;
use crate::websocket::frame::CODE_NONE;

/// Both ends of one connection, and what is on its way between them.
struct Pair {
    ends: [End; 2],
    wires: [VecDeque<u8>; 2],
    /// The messages of each end that the other must see, in order.
    sent: [Vec<Seen>; 2],
    random: Seeded,
}

impl Pair {
    fn new(seed: u64, deflate: Option<DeflateParameters>) -> Pair {
        let end = |role| End::new(role, deflate, LIMIT);
        Pair {
            ends: [end(Role::Server), end(Role::Client)],
            wires: Default::default(),
            sent: Default::default(),
            random: Seeded(seed),
        }
    }

    fn send(&mut self, from: usize) {
        let length = match self.random.below(8) {
            0 => 0,
            1..=4 => self.random.below(300),
            5 | 6 => self.random.below(5_000),
            _ => self.random.below(LIMIT + 1),
        };
        let end = &mut self.ends[from];
        if self.random.one_in(2) {
            let text: String = "grüße 漢字 🦀 {\"a\":1} ".chars().cycle().take(length / 2).collect();
            assert!(end.send(true, text.as_bytes()));
            self.sent[from].push(Seen::Text(text));
        } else {
            let noisy = self.random.one_in(3);
            let random = &mut self.random;
            let bytes: Vec<u8> =
                (0..length).map(|i| if noisy { random.next() as u8 } else { (i % 17) as u8 }).collect();
            assert!(end.send(false, &bytes));
            self.sent[from].push(Seen::Binary(bytes));
        }
    }

    /// Some of what was sent arrives, in one read.
    fn deliver(&mut self, to: usize) {
        let from = 1 - to;
        self.wires[from].extend(self.ends[from].out.drain(..));
        if self.wires[from].is_empty() {
            return;
        }
        let most = if self.random.one_in(4) { 20 } else { 100_000 };
        let size = (1 + self.random.below(most)).min(self.wires[from].len());
        let read: Vec<u8> = self.wires[from].drain(..size).collect();
        self.ends[to].receive(&read);
    }

    fn settle(&mut self) {
        while self.wires.iter().any(|wire| !wire.is_empty())
            || self.ends.iter().any(|end| !end.out.is_empty())
        {
            self.deliver(0);
            self.deliver(1);
        }
    }
}

fn messages(end: &End) -> Vec<Seen> {
    end.seen.iter().filter(|seen| matches!(seen, Seen::Text(_) | Seen::Binary(_))).cloned().collect()
}

#[test]
fn what_one_end_sends_the_other_sees_in_order() {
    for seed in 0..60 {
        let deflate = [None, Some(NO_TAKEOVER), Some(TAKEOVER)][seed as usize % 3];
        let mut pair = Pair::new(seed, deflate);
        let mut pings = [0; 2];
        for _ in 0..30 {
            let side = pair.random.below(2);
            match pair.random.below(5) {
                0 | 1 => pair.send(side),
                2 => {
                    let end = &mut pair.ends[side];
                    assert!(end.connection.ping(&mut end.out, &seed.to_be_bytes()));
                    pings[side] += 1;
                    if pings[side] % 3 == 0 {
                        end.connection.release();
                    }
                }
                _ => pair.deliver(side),
            }
        }
        pair.settle();
        let code = 1000 + pair.random.below(3) as u16;
        let closer = pair.random.below(2);
        let end = &mut pair.ends[closer];
        assert!(end.connection.close(&mut end.out, code, "done"));
        pair.settle();
        for (end, (sent, pings)) in pair.ends.iter().zip(pair.sent.iter().rev().zip(pings)) {
            assert_eq!(messages(end), *sent, "seed {seed}");
            assert!(end.connection.is_over() && end.received.is_empty());
            let pongs = end.seen.iter().filter(|seen| **seen == Seen::Pong).count();
            // A ping may meet so much that waits to be sent that only the newest is answered.
            assert!(pongs <= pings && (pongs > 0) == (pings > 0), "seed {seed}");
        }
        assert_eq!(pair.ends[closer].seen.last(), Some(&Seen::Close(code, String::new())));
        assert_eq!(pair.ends[1 - closer].seen.last(), Some(&Seen::Close(code, "done".into())));
    }
}

#[test]
fn two_closes_that_cross_end_both() {
    let mut pair = Pair::new(1, None);
    for (end, code) in pair.ends.iter_mut().zip([1000, CODE_NONE]) {
        assert!(end.connection.close(&mut end.out, code, ""));
    }
    pair.settle();
    assert_eq!(pair.ends[0].seen, [Seen::Close(CODE_NONE, String::new())]);
    assert_eq!(pair.ends[1].seen, [Seen::Close(1000, String::new())]);
    assert!(pair.ends.iter().all(|end| end.connection.is_over()));
}

#[test]
fn what_was_sent_before_makes_a_message_short_where_contexts_are_taken_over() {
    let mut random = Seeded(1);
    let payload: Vec<u8> = (0..4_000).map(|_| random.next() as u8).collect();
    for (deflate, is_shorter) in [(NO_TAKEOVER, false), (TAKEOVER, true)] {
        for role in [Role::Server, Role::Client] {
            let mut end = End::new(role, Some(deflate), LIMIT);
            let mut sizes = [0; 2];
            for size in &mut sizes {
                assert!(end.send(false, &payload));
                *size = end.out.len();
                end.out.clear();
            }
            assert_eq!(sizes[1] < sizes[0] / 10, is_shorter, "{role:?} {sizes:?}");
        }
    }
}

#[test]
fn a_compressor_that_is_shared_keeps_to_the_window_of_each_connection() {
    let mut random = Seeded(2);
    let half: Vec<u8> = (0..2_000).map(|_| random.next() as u8).collect();
    let payload = half.repeat(2);
    let mut shared = Scratch::new();
    for bits in [15, 9, 15, 12, 9, 9] {
        let compressed = shared.deflate(None, &payload, bits).map(<[u8]>::to_vec);
        assert_eq!(
            compressed,
            Scratch::new().deflate(None, &payload, bits).map(<[u8]>::to_vec),
            "{bits} bits"
        );
        assert_eq!(compressed.is_some(), bits >= 12, "the second half is like the first, 2,000 bytes before");
    }
}

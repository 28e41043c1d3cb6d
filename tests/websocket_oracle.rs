//! The WebSocket machine against tungstenite: the same frames, good and bad, from a seed; the same messages, or both
//! refuse. Where the two may differ is listed in `websocket_oracle/compare.rs`.

#[path = "websocket_oracle/compare.rs"]
mod compare;

use compare::{LIMIT, Seen, compare, frames, ours, theirs};
use tidegate::websocket::{Connection, Role, Scratch};
use tungstenite::Message;
use tungstenite::protocol::WebSocketContext;

/// Numbers that look random and come again with the same seed (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn sequences_of_frames_are_read_as_tungstenite_reads_them() {
    let mut outcomes = [0; 3];
    for seed in 0..6_000 {
        let mut random = Seeded(seed);
        let role = if seed % 3 == 0 { Role::Client } else { Role::Server };
        let mut left = 4 + random.next() % 120;
        let bytes = frames(role, || {
            left = left.checked_sub(1)?;
            Some(random.next() as u8)
        });
        compare(role, &bytes);
        match ours(role, None, &bytes, bytes.len()).0.last() {
            Some(Seen::Failed(_)) => outcomes[0] += 1,
            Some(Seen::Close(..)) => outcomes[1] += 1,
            _ => outcomes[2] += 1,
        }
    }
    // The seeds reach every end, or they show little.
    assert!(outcomes.iter().all(|count| *count > 300), "{outcomes:?}");
}

#[test]
fn frames_with_a_flipped_bit_or_a_cut_are_read_as_tungstenite_reads_them() {
    for seed in 0..4_000 {
        let mut random = Seeded(seed ^ 0xf1_1b);
        let role = if seed % 3 == 0 { Role::Client } else { Role::Server };
        let mut left = 8 + random.next() % 60;
        let mut bytes = frames(role, || {
            left = left.checked_sub(1)?;
            // Below the values that break a rule: the flip is the only flaw.
            Some((random.next() % 248) as u8)
        });
        if bytes.is_empty() {
            continue;
        }
        let at = (random.next() % bytes.len() as u64) as usize;
        match seed % 2 {
            0 => bytes[at] ^= 1 << (random.next() % 8),
            _ => bytes.truncate(at),
        }
        compare(role, &bytes);
    }
}

#[test]
fn noise_is_refused_by_both() {
    for seed in 0..4_000 {
        let mut random = Seeded(seed ^ 0x1dea);
        let length = random.next() % 64;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        compare(if seed % 2 == 0 { Role::Client } else { Role::Server }, &bytes);
    }
}

/// Lengths at the edges of the encodings.
const LENGTHS: [usize; 9] = [0, 1, 2, 124, 125, 126, 127, 1_000, LIMIT];

#[test]
fn what_we_send_tungstenite_reads() {
    for (from, to) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
        let mut connection = Connection::new(from, None, LIMIT);
        let (mut out, mut scratch, mut sent) = (Vec::new(), Scratch::new(), Vec::new());
        for length in LENGTHS {
            let text = "tidegate ".repeat(length)[..length].to_owned().into_bytes();
            assert!(connection.send(&mut out, &mut scratch, true, &text));
            assert!(connection.send(&mut out, &mut scratch, false, &vec![0xfe; length]));
            assert!(connection.ping(&mut out, &text));
            sent.extend([Seen::Text(text), Seen::Binary(vec![0xfe; length])]);
        }
        assert!(connection.close(&mut out, 1012, "Restart"));
        sent.push(Seen::Close(1012, b"Restart".to_vec()));
        assert_eq!(theirs(to, &out).0, sent);
    }
}

/// A socket that keeps what is written and has nothing to read.
#[derive(Default)]
struct Sink(Vec<u8>);

impl std::io::Read for Sink {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_tungstenite_sends_we_read() {
    for (from, to) in [
        (tungstenite::protocol::Role::Server, Role::Client),
        (tungstenite::protocol::Role::Client, Role::Server),
    ] {
        let mut context = WebSocketContext::new(from, None);
        let (mut sink, mut sent) = (Sink::default(), Vec::new());
        for length in LENGTHS {
            let text = "tidegate ".repeat(length)[..length].to_owned();
            context.write(&mut sink, Message::text(text.clone())).unwrap();
            context.write(&mut sink, Message::binary(vec![0xfe; length])).unwrap();
            sent.extend([Seen::Text(text.into_bytes()), Seen::Binary(vec![0xfe; length])]);
        }
        context.close(&mut sink, None).unwrap();
        sent.push(Seen::Close(1005, Vec::new()));
        for read in [1, 1_000, sink.0.len()] {
            assert_eq!(ours(to, None, &sink.0, read).0, sent);
        }
    }
}

#[test]
fn each_ping_of_a_flood_is_answered_where_the_answers_are_taken() {
    let (unmasked, masked): (&[u8], &[u8]) = (&[0x89, 2, b'h', b'i'], &[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
    for (role, ping) in [(Role::Client, unmasked), (Role::Server, masked)] {
        compare(role, &ping.repeat(10_000));
    }
}

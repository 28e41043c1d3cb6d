//! How the machine behaves, told from outside: what came of some bytes, however they were cut into reads.

mod conformance;
mod machine;
mod pair;

use super::frame::{Header, Opcode};
use super::{Connection, DeflateParameters, Event, Failure, Role, Scratch, mask};
use crate::base::buffer::ReceiveBuffer;

pub(crate) const LIMIT: usize = 262_144;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const NO_TAKEOVER: DeflateParameters = DeflateParameters {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: None,
};
pub(crate) const TAKEOVER: DeflateParameters =
    DeflateParameters { server_no_context_takeover: false, client_no_context_takeover: false, ..NO_TAKEOVER };

/// An event with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Pong,
    Close(u16, String),
    Failed(Failure),
}

/// One end: a machine with the buffers that an engine would give it.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) received: ReceiveBuffer,
    pub(crate) out: Vec<u8>,
    pub(crate) scratch: Scratch,
    pub(crate) seen: Vec<Seen>,
}

impl End {
    pub(crate) fn new(role: Role, deflate: Option<DeflateParameters>, limit: usize) -> End {
        End {
            connection: Connection::new(role, deflate, limit),
            received: ReceiveBuffer::default(),
            out: Vec::new(),
            scratch: Scratch::new(),
            seen: Vec::new(),
        }
    }

    pub(crate) fn server() -> End {
        End::new(Role::Server, None, LIMIT)
    }

    /// Bytes arrive, in one read.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.received.extend(bytes);
        loop {
            let event = self.connection.poll(&mut self.received, &mut self.out, &mut self.scratch);
            let bytes = self.connection.message(&self.received, &self.scratch);
            let text = || String::from_utf8(bytes.to_vec()).unwrap();
            self.seen.push(match event {
                Event::NeedData => return,
                Event::Message { text: true } => Seen::Text(text()),
                Event::Message { text: false } => Seen::Binary(bytes.to_vec()),
                Event::Pong => Seen::Pong,
                Event::Close { code } => Seen::Close(code, text()),
                Event::Failed(failure) => Seen::Failed(failure),
            });
            self.connection.done(&mut self.received);
        }
    }

    pub(crate) fn send(&mut self, text: bool, payload: &[u8]) -> bool {
        self.connection.send(&mut self.out, &mut self.scratch, text, payload)
    }
}

/// A frame of a client with these first four bits and this opcode.
pub(crate) fn raw(bits: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header {
        fin: true,
        compressed: false,
        opcode: Opcode::Text,
        key: Some(KEY),
        length: payload.len() as u64,
    };
    header.write(&mut bytes);
    bytes[0] = bits | opcode;
    let from = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(&mut bytes[from..], KEY);
    bytes
}

pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;

/// Frames `first`, continuations, and a last one with FIN, of the pieces of a message.
pub(crate) fn fragments(opcode: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let last = pieces.len() - 1;
    let frame = |(i, piece): (usize, &&[u8])| {
        raw(if i == last { FIN } else { 0 }, if i == 0 { opcode } else { 0 }, piece)
    };
    pieces.iter().enumerate().flat_map(frame).collect()
}

/// A server's frame, as it is expected in `out`.
pub(crate) fn answer(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125);
    [&[first, payload.len() as u8], payload].concat()
}

pub(crate) fn answered_close(code: u16, reason: &str) -> Vec<u8> {
    answer(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A server's events and output for `bytes`: checked to be the same in one read, byte by byte, and in reads of other
/// sizes.
pub(crate) fn outcome(
    deflate: Option<DeflateParameters>,
    limit: usize,
    bytes: &[u8],
) -> (Vec<Seen>, Vec<u8>) {
    let run = |read: usize| {
        let mut end = End::new(Role::Server, deflate, limit);
        for read in bytes.chunks(read) {
            end.receive(read);
        }
        (end.seen, end.out)
    };
    let whole = run(bytes.len().max(1));
    for read in [1, 2, 3, 7, 1000] {
        assert_eq!(run(read), whole, "in reads of {read}: {:x?}", &bytes[..bytes.len().min(200)]);
    }
    whole
}

pub(crate) fn check(bytes: &[u8], seen: &[Seen], out: &[u8]) {
    assert_eq!(outcome(None, LIMIT, bytes), (seen.to_vec(), out.to_vec()), "{bytes:x?}");
}

/// The bytes fail the connection, after `before`, and the Close says why.
pub(crate) fn check_failed(bytes: &[u8], before: &[Seen], failure: Failure) {
    let (seen, out) = outcome(None, LIMIT, bytes);
    assert_eq!(seen, [before, &[Seen::Failed(failure)]].concat(), "{bytes:x?}");
    assert!(out.ends_with(&answered_close(failure.code(), failure.reason())), "{bytes:x?}");
}

/// Numbers that look random and come again with the same seed (SplitMix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

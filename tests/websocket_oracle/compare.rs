//! One input, three readers: our machine in one read, our machine in small reads, and tungstenite. Shared by the
//! seeded test and the fuzz target.
//!
//! # Where the two may differ, and why
//! - A length in more bytes than it needs: tungstenite takes it, RFC 6455 section 5.2 says MUST NOT, we refuse it.
//! - Close code 1014: registered with IANA, so we take it; tungstenite knows the registry up to 1013.
//! - A Close with a code that may not be sent: tungstenite answers 1002 and shows it as a Close, we as a failure.
//! - When a bad frame is refused: tungstenite waits for its end, we refuse it with the first byte that shows it.
//! - What a Close is echoed with: tungstenite repeats the reason, we only the code.

use std::io::{self, Read, Write};

use tidegate::base::buffer::ReceiveBuffer;
use tidegate::websocket::{Connection, DeflateParameters, Event, Failure, Role, Scratch};
use tungstenite::Message;
use tungstenite::protocol::{self, WebSocketConfig, WebSocketContext};

/// The limit on a message in both: more than a control frame, so that only data meets it.
pub const LIMIT: usize = 2_000;
/// The longest header.
const HEADER_MAX: usize = 14;

/// What came out of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong,
    Close(u16, Vec<u8>),
    /// Refused; by tungstenite for a reason that is not compared.
    Failed(Option<Failure>),
}

/// What is read at once at most. What is to be sent is taken after each read, before it reaches the 16 KiB behind which
/// we answer the last Ping alone (RFC 6455 section 5.5.3); tungstenite answers each.
const READ_BYTES_MAX: usize = 4096;

/// Our machine's events and what it wants sent.
#[must_use]
pub fn ours(
    role: Role,
    deflate: Option<DeflateParameters>,
    bytes: &[u8],
    read: usize,
) -> (Vec<Seen>, Vec<u8>) {
    let mut connection = Connection::new(role, deflate, LIMIT);
    let (mut buffer, mut out, mut scratch) = (ReceiveBuffer::default(), Vec::new(), Scratch::new());
    let (mut seen, mut sent) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(read.clamp(1, READ_BYTES_MAX)) {
        buffer.extend(piece);
        loop {
            let event = connection.poll(&mut buffer, &mut out, &mut scratch);
            let bytes = || connection.message(&buffer, &scratch).to_vec();
            seen.push(match event {
                Event::NeedData => break,
                Event::Message { text: true } => Seen::Text(bytes()),
                Event::Message { text: false } => Seen::Binary(bytes()),
                Event::Pong => Seen::Pong,
                Event::Close { code } => Seen::Close(code, bytes()),
                Event::Failed(failure) => Seen::Failed(Some(failure)),
            });
        }
        assert!(
            buffer.len() <= LIMIT + LIMIT / 8 + 1024 + HEADER_MAX + 125,
            "a message or a control frame is held"
        );
        sent.append(&mut out);
    }
    (seen, unmasked(&sent))
}

/// What was sent, all control frames, without the keys of a client, which are random.
fn unmasked(mut sent: &[u8]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut plain = Vec::new();
    while let [first, second, rest @ ..] = sent {
        plain.extend([*first, second & !MASKED]);
        let key_length = if second & MASKED != 0 { 4 } else { 0 };
        let (key, rest) = rest.split_at(key_length);
        let (payload, rest) = rest.split_at(usize::from(second & !MASKED));
        plain.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key.get(i % 4).unwrap_or(&0)));
        sent = rest;
    }
    plain
}

/// A socket of bytes in memory that would block where they end.
#[derive(Default)]
struct Memory {
    received: Vec<u8>,
    at: usize,
    sent: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.received.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = (&self.received[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sent.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn their_role(role: Role) -> protocol::Role {
    match role {
        Role::Server => protocol::Role::Server,
        Role::Client => protocol::Role::Client,
    }
}

/// tungstenite's messages, up to its first Close or error, and what it sent.
#[must_use]
pub fn theirs(role: Role, bytes: &[u8]) -> (Vec<Seen>, Vec<u8>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut context = WebSocketContext::new(their_role(role), Some(config));
    let mut memory = Memory { received: bytes.to_vec(), ..Memory::default() };
    let mut seen = Vec::new();
    loop {
        match context.read(&mut memory) {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Pong(_)) => seen.push(Seen::Pong),
            Ok(Message::Ping(_) | Message::Frame(_)) => {}
            Ok(Message::Close(frame)) => {
                let (code, reason) = frame.map_or((1005, Vec::new()), |frame| {
                    (u16::from(frame.code), frame.reason.as_bytes().to_vec())
                });
                seen.push(Seen::Close(code, reason));
                break;
            }
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => {
                seen.push(Seen::Failed(None));
                break;
            }
        }
    }
    (seen, memory.sent)
}

/// Asserts that both read `bytes` the same way, and ours however they are cut.
pub fn compare(role: Role, bytes: &[u8]) {
    let whole = ours(role, None, bytes, bytes.len());
    for read in [1, 5] {
        assert_eq!(ours(role, None, bytes, read), whole, "in reads of {read}: {bytes:x?}");
    }
    let (mut seen, out) = whole;
    let (mut reference, sent) = theirs(role, bytes);
    match seen.last() {
        Some(Seen::Failed(Some(failure))) => {
            let failure = *failure;
            seen.pop();
            // A control frame whose length takes more than seven bits is too long or badly told: the same to us.
            if matches!(failure, Failure::LengthNotMinimal | Failure::LongControl) {
                assert!(reference.starts_with(&seen), "{bytes:x?}");
                return;
            }
            if reference == seen {
                // Still waiting for the end of the frame that we refused: let it come.
                reference = theirs(role, &[bytes, &[0; LIMIT + HEADER_MAX]].concat()).0;
            }
            assert_eq!(reference.len(), seen.len() + 1, "{failure:?} {bytes:x?}");
            match reference.pop() {
                Some(Seen::Failed(_)) => {}
                Some(Seen::Close(1002, _)) => assert_eq!(failure, Failure::CloseCode, "{bytes:x?}"),
                other => panic!("we refuse ({failure:?}) what tungstenite takes: {other:?} {bytes:x?}"),
            }
            assert_eq!(seen, reference, "{bytes:x?}");
        }
        Some(Seen::Close(1014, _)) => {
            seen.pop();
            reference.pop();
            assert_eq!(seen, reference, "{bytes:x?}");
        }
        Some(Seen::Close(..)) => assert_eq!(seen, reference, "{bytes:x?}"),
        _ => {
            assert_eq!(seen, reference, "{bytes:x?}");
            assert_eq!(out, unmasked(&sent), "{bytes:x?}");
        }
    }
}

/// Where a sequence of frames stands.
#[derive(Default)]
struct Stream {
    /// A message has begun and not ended.
    within: bool,
    /// How many bytes of text it has.
    text: usize,
}

/// What text is made of: a character of each length.
const TEXT: &str = "aé漢🦀 ";

/// Frames of a peer of `role`, mostly good, made of `choices` until those end.
#[must_use]
pub fn frames(role: Role, mut choices: impl FnMut() -> Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut stream = Stream::default();
    while let Some(kind) = choices() {
        let Some(frame) = frame(role, kind, &mut stream, &mut choices) else { break };
        bytes.extend_from_slice(&frame);
    }
    bytes
}

fn frame(
    role: Role,
    kind: u8,
    stream: &mut Stream,
    choices: &mut impl FnMut() -> Option<u8>,
) -> Option<Vec<u8>> {
    let (flaw, size, content) = (choices()?, choices()?, choices()?);
    let fin = kind & 0x10 == 0;
    let mut first = match kind % 8 {
        0 => 0x89,
        1 => 0x8a,
        2 if flaw < 64 => 0x88,
        _ if stream.within => {
            stream.within = !fin;
            u8::from(fin) << 7
        }
        data => {
            *stream = Stream { within: !fin, text: 0 };
            u8::from(fin) << 7 | if data % 2 == 0 { 1 } else { 2 }
        }
    };
    let control = first & 8 != 0;
    let length = match size {
        _ if control => usize::from(size) % 126,
        0..=199 => usize::from(size) % 40,
        200..=239 => 100 + usize::from(size) % 40,
        240..=252 => usize::from(content) * 4,
        _ => LIMIT - 2 + usize::from(size % 4),
    };
    let mut payload: Vec<u8> = match content % 8 {
        // Fragments go on where the last one stopped, wherever that was; most messages end with a character.
        whole @ 0..=3 => {
            let from = stream.text % TEXT.len();
            let mut to = from + length;
            while fin && !control && whole != 3 && !TEXT.is_char_boundary(to % TEXT.len()) {
                to += 1;
            }
            if !control {
                stream.text += to - from;
            }
            TEXT.bytes().cycle().skip(from).take(to - from).collect()
        }
        4..=6 => vec![b'a' + content / 16; length],
        _ => (0..length).map(|i| (i as u8).wrapping_mul(content)).collect(),
    };
    if first == 0x88 && length >= 2 {
        let code = [1000, 1001, 1011, 1012, 1013, 1014, 3000, 4999, 1005, 999, 1004, 1016, 5000]
            [usize::from(content) % 13];
        payload[..2].copy_from_slice(&u16::to_be_bytes(code));
    }
    // One frame in thirty or so breaks a rule.
    let mut masked = role == Role::Server;
    let mut wide = 0;
    match flaw {
        255 => first ^= 0x10 << (content % 3),
        254 => first ^= 1 << (content % 4),
        253 => masked = !masked,
        252 => first ^= 0x80,
        251 => wide = 2,
        250 => wide = 8,
        249 => payload.resize(length + 126, b'x'),
        248 => payload.push(0x80 | content),
        _ => {}
    }
    let mask = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 if wide == 0 => bytes.push(mask | short as u8),
        long @ 0..=65_535 if wide != 8 => {
            bytes.push(mask | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        long => {
            bytes.push(mask | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    if masked {
        let key = [content, size, flaw, kind];
        bytes.extend_from_slice(&key);
        bytes.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    } else {
        bytes.extend_from_slice(&payload);
    }
    Some(bytes)
}

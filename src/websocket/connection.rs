//! One WebSocket after its handshake: frames in, events out, and the frames to send appended to a buffer.
//!
//! ```text
//!            close()                       Close comes
//!   Open ───────────────▶ CloseSent ───────────────────▶ Closed
//!    │                        │                            ▲
//!    ├── Close comes (echoed) ┼────────────────────────────┘
//!    └── bad frame (Close sent) ──▶ Failed
//! ```
//!
//! In `CloseSent` messages are dropped unread and nothing but the peer's Close is waited for. `Failed` is RFC 6455's
//! "fail the connection": nothing after it is looked at, not even a Close, so the caller writes what is in `out`,
//! shuts its side down and drops what still comes. `Closed` and `Failed` are final.
//!
//! # Where a message lies
//! `unread = [message so far: length][gap][not yet looked at]`. A payload is unmasked where it lies; a further
//! fragment is moved down to the end of what is there, and its header becomes part of the gap. So a message that came
//! in one frame is never copied, a fragmented one is moved once, and the gap is closed before more is read.

use super::deflate::{self, Scratch, Takeover};
use super::extensions::DeflateParameters;
use super::failure::Failure;
use super::frame::{self, CODE_NONE, FrameRules, Header, Opcode};
use super::role::Role;
use super::{mask, utf8};
use crate::base::buffer::ReceiveBuffer;

/// While this many bytes wait to be sent, pings are not answered one by one: the newest is, when there is room
/// (RFC 6455 section 5.5.3). A hundred answers of the largest size, so that no honest peer meets it.
pub(crate) const PONG_BACKLOG_BYTES: usize = 16 * 1024;

/// The next event of [`Connection::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing more in what was received: call again with more bytes.
    NeedData,
    /// A message, in [`Connection::message`] until [`Connection::done`].
    Message {
        /// Text, which is UTF-8; else bytes.
        text: bool,
    },
    /// A Pong, asked for or not.
    Pong,
    /// The peer's Close; an echo was appended unless this end had closed before. The reason is in
    /// [`Connection::message`].
    Close {
        /// Its status code, 1005 where it had none.
        code: u16,
    },
    /// The peer broke the protocol or the limit; a Close that says so was appended unless one had been sent before.
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    CloseSent,
    Closed,
    Failed,
}

/// A message whose last frame has not ended.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    text: bool,
    compressed: bool,
}

/// The machine. Holds positions, never bytes of a message; 128 bytes at most.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    state: State,
    deflate: Option<DeflateParameters>,
    incoming: Option<Incoming>,
    /// Whether a data frame's header was read and its payload has not ended.
    in_frame: bool,
    /// Whether that frame ends its message.
    fin: bool,
    /// Whether an event's bytes wait for [`Self::done`].
    lent: bool,
    /// Whether they lie in the scratch.
    inflated: bool,
    /// The current frame's key, turned by what was unmasked. Zero where frames are not masked.
    key: [u8; 4],
    /// Payload bytes of the current data frame still to come.
    frame_left: u64,
    max_message_bytes: usize,
    length: usize,
    gap: usize,
    /// How much of the message, if it is text, is known to be whole characters.
    checked: usize,
    /// The payload of the newest ping that could not be answered yet.
    owed_pong: Option<Box<[u8]>>,
    takeover: Option<Box<Takeover>>,
}

const _: () = assert!(size_of::<Connection>() <= 128);

impl Connection {
    /// A connection whose handshake is done, with what it agreed on. Messages of up to `max_message_bytes` pass.
    #[must_use]
    pub fn new(role: Role, deflate: Option<DeflateParameters>, max_message_bytes: usize) -> Connection {
        Connection {
            role,
            state: State::Open,
            deflate,
            incoming: None,
            in_frame: false,
            fin: false,
            lent: false,
            inflated: false,
            key: [0; 4],
            frame_left: 0,
            max_message_bytes,
            length: 0,
            gap: 0,
            checked: 0,
            owed_pong: None,
            takeover: None,
        }
    }

    /// Messages of up to this many bytes pass from here on. Of one that has begun, what has come is not judged again.
    pub fn set_max_message_bytes(&mut self, bytes: usize) {
        self.max_message_bytes = bytes;
    }

    /// The next event in `buf`. Pongs, the echo of a Close and the Close of a failure are appended to `out`. The last
    /// event's bytes are released if [`Self::done`] was not called; call until [`Event::NeedData`].
    pub fn poll(&mut self, buf: &mut ReceiveBuffer, out: &mut Vec<u8>, scratch: &mut Scratch) -> Event {
        self.done(buf);
        self.settle(out);
        match self.state {
            State::Closed | State::Failed => {
                buf.consume(buf.len());
                return Event::NeedData;
            }
            // What had come of a message before this end closed is of no use.
            State::CloseSent => self.forget(buf),
            State::Open => {}
        }
        match self.advance(buf, out, scratch) {
            Ok(event) => event,
            Err(failure) => {
                self.fail(failure, buf, out);
                Event::Failed(failure)
            }
        }
    }

    /// The bytes of the last event: a message, or the reason of a Close. Empty after [`Self::done`].
    #[must_use]
    pub fn message<'b>(&self, buf: &'b ReceiveBuffer, scratch: &'b Scratch) -> &'b [u8] {
        match (self.lent, self.inflated) {
            (true, true) => scratch.message(),
            _ => self.message_in(buf),
        }
    }

    /// Whether the last event's message is [`Scratch::message`]; else it is [`Self::message_in`] the buffer.
    #[must_use]
    pub fn is_inflated(&self) -> bool {
        self.lent && self.inflated
    }

    /// The last event's message, where it lies in the buffer: as [`Self::message`].
    #[must_use]
    pub fn message_in<'b>(&self, buf: &'b ReceiveBuffer) -> &'b [u8] {
        if self.lent && !self.inflated { &buf.unread()[..self.length] } else { &[] }
    }

    /// Releases the bytes of the last event.
    pub fn done(&mut self, buf: &mut ReceiveBuffer) {
        if self.lent {
            self.lent = false;
            self.forget(buf);
        }
    }

    /// Appends a message in one frame; `text` must be UTF-8. Without effect, and false, once this end has closed.
    pub fn send(&mut self, out: &mut Vec<u8>, scratch: &mut Scratch, text: bool, payload: &[u8]) -> bool {
        if self.state != State::Open {
            return false;
        }
        self.settle(out);
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let compressed = match self.deflate {
            None => None,
            Some(agreed) => {
                let kept = agreed.takes_over(self.role).then(|| &mut **self.takeover.get_or_insert_default());
                scratch.deflate(kept, payload, agreed.window_bits(self.role))
            }
        };
        append(out, self.role, opcode, compressed.is_some(), compressed.unwrap_or(payload));
        true
    }

    /// Appends a Ping; of `payload`, the first 125 bytes. Without effect, and false, once this end has closed.
    pub fn ping(&mut self, out: &mut Vec<u8>, payload: &[u8]) -> bool {
        if self.state != State::Open {
            return false;
        }
        let payload = &payload[..payload.len().min(frame::CONTROL_PAYLOAD_MAX)];
        append(out, self.role, Opcode::Ping, false, payload);
        true
    }

    /// Begins the close handshake: appends a Close and from then on waits for the peer's. 1005 sends one without a
    /// code; another code that may not be sent (RFC 6455 section 7.4) goes out as 1000. The reason is cut at 123
    /// bytes, between characters. Without effect, and false, if this end has closed before.
    pub fn close(&mut self, out: &mut Vec<u8>, code: u16, reason: &str) -> bool {
        if self.state != State::Open {
            return false;
        }
        const NORMAL: u16 = 1000;
        let code = if code == CODE_NONE || frame::is_close_code(code) { code } else { NORMAL };
        append_close(out, self.role, code, reason);
        self.state = State::CloseSent;
        self.owed_pong = None;
        true
    }

    /// Appends the Pong that was put off because too much was waiting, once there is room. [`Self::poll`] and
    /// [`Self::send`] do it too; call it when `out` was written and nothing comes in.
    pub fn settle(&mut self, out: &mut Vec<u8>) {
        if out.len() < PONG_BACKLOG_BYTES
            && let Some(payload) = self.owed_pong.take()
        {
            append(out, self.role, Opcode::Pong, false, &payload);
        }
    }

    /// Gives up what a quiet connection can do without: with context takeover, the window of what was sent.
    pub fn release(&mut self) {
        if let Some(kept) = &mut self.takeover {
            kept.release_sent();
        }
    }

    /// Whether [`Self::new`] with what was agreed on and the largest message would make the same connection: it is open,
    /// and nothing of a message, a frame or a window is kept.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Open
            && self.incoming.is_none()
            && !(self.in_frame || self.lent)
            && (self.length, self.gap, self.checked) == (0, 0, 0)
            && self.owed_pong.is_none()
            && self.takeover.is_none()
    }

    /// The extension's parameters that the handshake agreed on.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParameters> {
        self.deflate
    }

    /// Whether messages can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether nothing more is read or sent: once `out` is written the transport can be closed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Closed | State::Failed)
    }

    /// Payload bytes of the current frame that are still to come, for sizing the receive buffer. At most the limit
    /// on a message while open; where messages are dropped it may be anything.
    #[must_use]
    pub fn frame_bytes_missing(&self) -> u64 {
        self.frame_left
    }

    fn advance(
        &mut self,
        buf: &mut ReceiveBuffer,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<Event, Failure> {
        loop {
            if self.in_frame {
                if !self.take_payload(buf)? {
                    return Ok(Event::NeedData);
                }
                if let Some(event) = self.end_frame(buf, scratch)? {
                    return Ok(event);
                }
                continue;
            }
            let rules = FrameRules { masked: self.role == Role::Server, deflate: self.deflate.is_some() };
            let ahead = &buf.unread()[self.length + self.gap..];
            let Some((header, size)) = Header::parse(ahead, rules)? else {
                self.close_gap(buf);
                return Ok(Event::NeedData);
            };
            if header.opcode.is_control() {
                // A control frame's length is below 126.
                if ahead.len() < size + header.length as usize {
                    self.close_gap(buf);
                    return Ok(Event::NeedData);
                }
                if let Some(event) = self.take_control(header, size, buf, out)? {
                    return Ok(event);
                }
            } else {
                self.begin_frame(header)?;
                self.skip(size, buf);
            }
        }
    }

    fn begin_frame(&mut self, header: Header) -> Result<(), Failure> {
        let incoming = match (header.opcode, self.incoming) {
            (Opcode::Continuation, None) => return Err(Failure::NothingToContinue),
            (Opcode::Continuation, Some(incoming)) => incoming,
            (_, Some(_)) => return Err(Failure::MessageUnfinished),
            (opcode, None) => Incoming { text: opcode == Opcode::Text, compressed: header.compressed },
        };
        let max = match incoming.compressed {
            true => deflate::compressed_bytes_max(self.max_message_bytes),
            false => self.max_message_bytes,
        };
        if self.state == State::Open && header.length > max.saturating_sub(self.length) as u64 {
            return Err(Failure::TooLarge);
        }
        self.incoming = Some(incoming);
        self.in_frame = true;
        self.fin = header.fin;
        self.key = header.key.unwrap_or_default();
        self.frame_left = header.length;
        Ok(())
    }

    /// Takes what has come of the current frame's payload; whether that was all of it.
    fn take_payload(&mut self, buf: &mut ReceiveBuffer) -> Result<bool, Failure> {
        let from = self.length + self.gap;
        let come = usize::try_from(self.frame_left).unwrap_or(usize::MAX).min(buf.len() - from);
        self.frame_left -= come as u64;
        if self.state == State::Open {
            let (start, end) = (self.length, self.length + come);
            let bytes = buf.unread_mut();
            if self.gap > 0 {
                bytes.copy_within(from..from + come, start);
            }
            if self.role == Role::Server {
                mask::apply(&mut bytes[start..end], self.key);
                self.key = mask::turn(self.key, come);
            }
            self.length = end;
            if let Some(Incoming { text: true, compressed: false }) = self.incoming {
                self.checked +=
                    utf8::whole_characters(&bytes[self.checked..end]).map_err(|_| Failure::BadUtf8)?;
            }
        } else {
            self.skip(come, buf);
        }
        if self.frame_left > 0 {
            self.close_gap(buf);
        }
        Ok(self.frame_left == 0)
    }

    fn end_frame(&mut self, buf: &ReceiveBuffer, scratch: &mut Scratch) -> Result<Option<Event>, Failure> {
        self.in_frame = false;
        if !self.fin {
            return Ok(None);
        }
        let Some(Incoming { text, compressed }) = self.incoming.take() else { return Ok(None) };
        if self.state != State::Open {
            return Ok(None);
        }
        if let (true, Some(agreed)) = (compressed, self.deflate) {
            let kept = agreed.takes_over(self.peer()).then(|| &mut **self.takeover.get_or_insert_default());
            scratch.inflate(kept, &buf.unread()[..self.length], self.max_message_bytes)?;
            if text && !utf8::is_utf8(scratch.message()) {
                return Err(Failure::BadUtf8);
            }
        } else if text && self.checked < self.length {
            return Err(Failure::BadUtf8);
        }
        self.lent = true;
        self.inflated = compressed;
        Ok(Some(Event::Message { text }))
    }

    /// A whole control frame lies `size` bytes of header behind the gap.
    fn take_control(
        &mut self,
        header: Header,
        size: usize,
        buf: &mut ReceiveBuffer,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Failure> {
        let from = self.length + self.gap + size;
        let length = header.length as usize;
        let payload = &mut buf.unread_mut()[from..from + length];
        if let Some(key) = header.key {
            mask::apply(payload, key);
        }
        match header.opcode {
            Opcode::Close => {
                let code = frame::parse_close(payload)?;
                if self.state == State::Open {
                    append_close(out, self.role, code, "");
                }
                self.state = State::Closed;
                self.owed_pong = None;
                self.takeover = None;
                self.incoming = None;
                let code_bytes = size_of::<u16>().min(length);
                buf.consume(from + code_bytes);
                (self.length, self.gap) = (length - code_bytes, 0);
                self.lent = true;
                self.inflated = false;
                return Ok(Some(Event::Close { code }));
            }
            Opcode::Ping if self.state == State::Open => self.answer(payload, out),
            _ => {}
        }
        self.skip(size + length, buf);
        Ok((header.opcode == Opcode::Pong).then_some(Event::Pong))
    }

    fn answer(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if out.len() < PONG_BACKLOG_BYTES {
            self.owed_pong = None;
            append(out, self.role, Opcode::Pong, false, payload);
        } else {
            self.owed_pong = Some(payload.into());
        }
    }

    fn fail(&mut self, failure: Failure, buf: &mut ReceiveBuffer, out: &mut Vec<u8>) {
        if self.state == State::Open {
            append_close(out, self.role, failure.code(), failure.reason());
        }
        self.state = State::Failed;
        self.owed_pong = None;
        self.incoming = None;
        self.in_frame = false;
        self.frame_left = 0;
        self.takeover = None;
        self.forget(buf);
        buf.consume(buf.len());
    }

    fn forget(&mut self, buf: &mut ReceiveBuffer) {
        buf.consume(self.length + self.gap);
        (self.length, self.gap, self.checked) = (0, 0, 0);
    }

    /// Passes over `size` bytes behind the gap.
    fn skip(&mut self, size: usize, buf: &mut ReceiveBuffer) {
        self.gap += size;
        if self.length == 0 {
            buf.consume(self.gap);
            self.gap = 0;
        }
    }

    /// Before more is read. What lies behind the gap is less than a header or a control frame, so this is cheap.
    fn close_gap(&mut self, buf: &mut ReceiveBuffer) {
        if self.gap > 0 {
            buf.remove(self.length..self.length + self.gap);
            self.gap = 0;
        }
    }

    fn peer(&self) -> Role {
        match self.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        }
    }
}

fn append_close(out: &mut Vec<u8>, role: Role, code: u16, reason: &str) {
    let mut payload = [0; frame::CONTROL_PAYLOAD_MAX];
    let reason = frame::fitting_reason(reason).as_bytes();
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    let length = if code == CODE_NONE { 0 } else { 2 + reason.len() };
    append(out, role, Opcode::Close, false, &payload[..length]);
}

fn append(out: &mut Vec<u8>, role: Role, opcode: Opcode, compressed: bool, payload: &[u8]) {
    let key = (role == Role::Client).then(random_key);
    let header = Header { fin: true, compressed, opcode, key, length: payload.len() as u64 };
    out.reserve(frame::HEADER_MAX + payload.len());
    header.write(out);
    let from = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(&mut out[from..], key);
    }
}

/// "The masking key needs to be unpredictable" (RFC 6455 section 5.3).
fn random_key() -> [u8; 4] {
    getrandom::u32().expect("the system has random bytes once it is up").to_ne_bytes()
}

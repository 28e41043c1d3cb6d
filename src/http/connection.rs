//! The machine: one connection's requests, one after the other.

use super::chunks::{ChunkStep, Chunks};
use super::head::{self, Field, HEAD_BYTES_MAX, Head, Request, Span};
use super::limits::Limits;
use super::message::Framing;
use super::refusal::Refusal;
use super::scan::LineScan;
use crate::base::buffer::ReceiveBuffer;

/// Bytes that a read should have room for.
const READ_ROOM: usize = 4096;
/// The first size that a buffer grows to; from there by this factor, so that a body must have come for a good part
/// before memory is given to the rest of it.
const GROW_FIRST: usize = 64 * 1024;
const GROW_FACTOR: usize = 4;
/// The longest head that is kept to be compared with the next one: most are shorter, and comparing costs a connection
/// this much memory while it is busy.
const LAST_HEAD_BYTES_MAX: usize = 1024;

/// The machine's next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// More bytes are needed; what is in the buffer must stay there.
    NeedData,
    /// A head is there: look at [`Connection::request`], then call [`Connection::take_body`] or
    /// [`Connection::drop_body`], then poll again.
    Head,
    /// The body is whole: look at [`Connection::request`] and [`Connection::body`], then [`Connection::finish`].
    Request,
    /// The body that was to be dropped is over, and the request with it.
    Dropped,
    /// A request is at hand and not finished.
    Paused,
    /// A body that was taken is over its limit (413), or one that was dropped over what is read for that.
    TooLarge,
    /// A rule is broken: answer, close, and read nothing more as a request.
    Refused(Refusal),
}

/// The part of a message that the next bytes belong to, which decides the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaiting {
    /// A request that has not begun.
    Idle,
    /// A head of which a part is there.
    Head,
    /// A body.
    Body,
    /// Nothing: a request is at hand, or the connection is over.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Looking for the end of a head, perhaps behind an empty line.
    Head {
        scan: LineScan,
        skipped_line: bool,
    },
    /// The head is there, what to do with the body is not said.
    Decide,
    TakeLength,
    TakeChunked(Chunks),
    /// So many bytes are still to be dropped. The head goes first.
    DropLength {
        left: u64,
        head: bool,
    },
    DropChunked {
        chunks: Chunks,
        room: u64,
        head: bool,
    },
    Whole,
    TooLarge,
    Refused(Refusal),
}

/// The HTTP/1.1 server machine. Positions are counted from the buffer's first unread byte, which is the first of the
/// request at hand.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    state: State,
    head: Head,
    fields: Vec<Field>,
    /// The bytes that `head` and `fields` were read from; empty if they were many.
    last_head: Vec<u8>,
    head_bytes: u32,
    /// Where the decoded body ends.
    body_end: usize,
    /// Where the bytes that were not yet looked at begin.
    raw: usize,
    limit: usize,
}

/// A request that waits for its answer without a buffer.
#[derive(Debug)]
pub struct Suspended {
    head: Head,
    /// The request line as far as the target's end, then what came behind the request.
    bytes: Box<[u8]>,
}

#[cfg(test)]
impl Suspended {
    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl Connection {
    /// A connection on which nothing has come.
    #[must_use]
    pub fn new(limits: Limits) -> Connection {
        Connection {
            limits: Limits { head_bytes: limits.head_bytes.min(HEAD_BYTES_MAX), ..limits },
            state: State::Head { scan: LineScan::new(), skipped_line: false },
            head: Head::default(),
            fields: Vec::new(),
            last_head: Vec::new(),
            head_bytes: 0,
            body_end: 0,
            raw: 0,
            limit: 0,
        }
    }

    /// Looks at what has been received.
    pub fn poll(&mut self, buffer: &mut ReceiveBuffer) -> Step {
        match self.state {
            State::Head { scan, skipped_line } => self.poll_head(buffer, scan, skipped_line),
            State::Decide | State::Whole => Step::Paused,
            State::TakeLength => {
                self.raw = self.body_end.min(buffer.len());
                if self.raw < self.body_end {
                    return Step::NeedData;
                }
                self.state = State::Whole;
                Step::Request
            }
            State::TakeChunked(chunks) => self.take_chunked(buffer, chunks),
            State::DropLength { left, head } => {
                if head {
                    buffer.consume(self.head_bytes as usize);
                }
                let here = left.min(buffer.len() as u64);
                buffer.consume(here as usize);
                if here < left {
                    self.state = State::DropLength { left: left - here, head: false };
                    return Step::NeedData;
                }
                self.restart();
                Step::Dropped
            }
            State::DropChunked { chunks, room, head } => {
                if head {
                    buffer.consume(self.head_bytes as usize);
                }
                self.drop_chunked(buffer, chunks, room)
            }
            State::TooLarge => Step::TooLarge,
            State::Refused(refusal) => Step::Refused(refusal),
        }
    }

    fn poll_head(&mut self, buffer: &mut ReceiveBuffer, mut scan: LineScan, mut skipped_line: bool) -> Step {
        // RFC 9112, 2.2: at least one empty line before a request should be ignored. One is.
        while !scan.has_begun() && buffer.unread().first().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            match buffer.unread() {
                [b'\r', b'\n', ..] if skipped_line => return self.refuse(Refusal::EmptyLines),
                [b'\r', b'\n', ..] => {
                    buffer.consume(2);
                    skipped_line = true;
                    self.state = State::Head { scan, skipped_line };
                }
                [b'\r'] => return Step::NeedData,
                [b'\r', ..] => return self.refuse(Refusal::BareCr),
                _ => return self.refuse(Refusal::BareLf),
            }
        }
        let bytes = buffer.unread();
        // Clients that keep a connection mostly send the same head again. What a head means depends on its bytes alone,
        // so the one that was understood last needs no second reading.
        if !scan.has_begun() && !self.last_head.is_empty() && bytes.starts_with(&self.last_head) {
            return self.head_is_there(self.last_head.len());
        }
        let end = match scan.find_end(bytes, &self.limits) {
            Ok(Some(end)) => end,
            Ok(None) => {
                self.state = State::Head { scan, skipped_line };
                return Step::NeedData;
            }
            Err(refusal) => return self.refuse(refusal),
        };
        match head::parse(&bytes[..end], &mut self.fields, &self.limits) {
            Ok(head) => {
                self.head = head;
                self.last_head.clear();
                if end <= LAST_HEAD_BYTES_MAX {
                    self.last_head.extend_from_slice(&bytes[..end]);
                }
                self.head_is_there(end)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn head_is_there(&mut self, end: usize) -> Step {
        self.head_bytes = end as u32;
        self.body_end = end;
        self.raw = end;
        self.state = State::Decide;
        Step::Head
    }

    fn take_chunked(&mut self, buffer: &mut ReceiveBuffer, mut chunks: Chunks) -> Step {
        loop {
            let room = (self.limit - self.buffered_body()) as u64;
            match chunks.step(buffer.unread(), &mut self.raw, room, &self.limits) {
                ChunkStep::Data { from, length } => {
                    if from > self.body_end {
                        buffer.unread_mut().copy_within(from..from + length, self.body_end);
                    }
                    self.body_end += length;
                }
                ChunkStep::NeedData => {
                    // All control bytes were used: the gap between body and end of buffer is closed.
                    buffer.remove(self.body_end..self.raw);
                    self.raw = self.body_end;
                    self.state = State::TakeChunked(chunks);
                    return Step::NeedData;
                }
                ChunkStep::End => {
                    self.state = State::Whole;
                    return Step::Request;
                }
                ChunkStep::TooLarge => {
                    self.state = State::TooLarge;
                    return Step::TooLarge;
                }
                ChunkStep::Refused(refusal) => return self.refuse(refusal),
            }
        }
    }

    fn drop_chunked(&mut self, buffer: &mut ReceiveBuffer, mut chunks: Chunks, mut room: u64) -> Step {
        let mut place = 0;
        loop {
            match chunks.step(buffer.unread(), &mut place, room, &self.limits) {
                ChunkStep::Data { length, .. } => room -= length as u64,
                ChunkStep::NeedData => {
                    buffer.consume(place);
                    self.state = State::DropChunked { chunks, room, head: false };
                    return Step::NeedData;
                }
                ChunkStep::End => {
                    buffer.consume(place);
                    self.restart();
                    return Step::Dropped;
                }
                ChunkStep::TooLarge => {
                    self.state = State::TooLarge;
                    return Step::TooLarge;
                }
                ChunkStep::Refused(refusal) => return self.refuse(refusal),
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Step {
        self.state = State::Refused(refusal);
        Step::Refused(refusal)
    }

    fn restart(&mut self) {
        self.state = State::Head { scan: LineScan::new(), skipped_line: false };
        self.head_bytes = 0;
        self.body_end = 0;
        self.raw = 0;
    }

    /// The request at hand. Valid from [`Step::Head`] until [`Self::finish`] or the poll after [`Self::drop_body`].
    #[must_use]
    pub fn request<'b>(&'b self, buffer: &'b ReceiveBuffer) -> Request<'b> {
        Request { head: &self.head, fields: &self.fields, bytes: buffer.unread() }
    }

    /// The body, decoded. Valid after [`Step::Request`].
    #[must_use]
    pub fn body<'b>(&self, buffer: &'b ReceiveBuffer) -> &'b [u8] {
        &buffer.unread()[self.head_bytes as usize..self.body_end]
    }

    /// After [`Step::Head`]: the body is wanted, at most `limit` bytes of it.
    pub fn take_body(&mut self, limit: usize) {
        if !matches!(self.state, State::Decide) {
            return;
        }
        self.limit = limit;
        self.state = match self.head.framing {
            Framing::None => State::TakeLength,
            Framing::Length(length) if length > limit as u64 => State::TooLarge,
            Framing::Length(length) => {
                self.body_end = self.head_bytes as usize + length as usize;
                State::TakeLength
            }
            Framing::Chunked => State::TakeChunked(Chunks::new()),
        };
    }

    /// After [`Step::Head`]: whether the whole body has been received already.
    #[must_use]
    pub fn is_body_received(&self, buffer: &ReceiveBuffer) -> bool {
        let received = buffer.len() - (self.head_bytes as usize).min(buffer.len());
        match self.head.framing {
            Framing::None => true,
            Framing::Length(length) => received as u64 >= length,
            Framing::Chunked => {
                let (mut chunks, mut place) = (Chunks::new(), self.head_bytes as usize);
                loop {
                    match chunks.step(buffer.unread(), &mut place, u64::MAX, &self.limits) {
                        ChunkStep::Data { .. } => {}
                        ChunkStep::End => return true,
                        ChunkStep::NeedData | ChunkStep::TooLarge | ChunkStep::Refused(_) => return false,
                    }
                }
            }
        }
    }

    /// After [`Step::Head`]: the body, where its length is declared and all of it has been received already. Empty where
    /// there is none.
    #[must_use]
    pub fn received_body<'b>(&self, buffer: &'b ReceiveBuffer) -> Option<&'b [u8]> {
        let received = buffer.unread().get(self.head_bytes as usize..)?;
        match self.head.framing {
            Framing::None => Some(&[]),
            Framing::Length(length) => received.get(..usize::try_from(length).ok()?),
            Framing::Chunked => None,
        }
    }

    /// After [`Step::Head`]: the body is not wanted; up to `limit` bytes of it are read to get to the next request.
    pub fn drop_body(&mut self, limit: u64) {
        if !matches!(self.state, State::Decide) {
            return;
        }
        self.state = match self.head.framing {
            Framing::None => State::DropLength { left: 0, head: true },
            Framing::Length(length) if length > limit => State::TooLarge,
            Framing::Length(length) => State::DropLength { left: length, head: true },
            Framing::Chunked => State::DropChunked { chunks: Chunks::new(), room: limit, head: true },
        };
    }

    /// Gives up the request at hand; the next one may be polled for.
    pub fn finish(&mut self, buffer: &mut ReceiveBuffer) {
        if matches!(self.state, State::Whole) {
            buffer.consume(self.raw);
            self.restart();
        }
    }

    /// Bytes of the body that is taken which have been found, decoded; of a body that was refused, those before the
    /// place where it was.
    #[must_use]
    pub fn buffered_body(&self) -> usize {
        match self.state {
            State::TakeLength => self.raw - self.head_bytes as usize,
            State::TakeChunked(_) | State::Whole | State::TooLarge | State::Refused(_) => {
                self.body_end - self.head_bytes as usize
            }
            _ => 0,
        }
    }

    /// Whether the connection may go on after the request at hand (RFC 9112, 9.3).
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.head.keep_alive
    }

    /// Whether something has come behind the request that is whole.
    #[must_use]
    pub fn is_followed(&self, buffer: &ReceiveBuffer) -> bool {
        matches!(self.state, State::Whole) && buffer.len() > self.raw
    }

    /// The part of a message that the next bytes belong to.
    #[must_use]
    pub fn awaiting(&self) -> Awaiting {
        match self.state {
            State::Head { scan, .. } if !scan.has_begun() => Awaiting::Idle,
            State::Head { .. } => Awaiting::Head,
            State::TakeLength
            | State::TakeChunked(_)
            | State::DropLength { .. }
            | State::DropChunked { .. } => Awaiting::Body,
            State::Decide | State::Whole | State::TooLarge | State::Refused(_) => Awaiting::Nothing,
        }
    }

    /// Bytes that the buffer should be able to hold for the next read. A head needs no more than its limit. A body
    /// gets four times what it has filled, at most what it needs: what is announced and never sent costs little.
    #[must_use]
    pub fn capacity_wanted(&self, buffer: &ReceiveBuffer) -> usize {
        let most = match self.state {
            State::TakeLength => self.body_end,
            State::TakeChunked(_) => self.head_bytes as usize + self.limit + READ_ROOM,
            _ => return 0,
        };
        let room = buffer.capacity() - buffer.len();
        if room >= READ_ROOM || buffer.len() + room >= most {
            return 0;
        }
        let next = (buffer.capacity() * GROW_FACTOR).max(GROW_FIRST);
        // The last step is taken at once where it is short: each one moves what has come.
        if next >= most / 2 { most } else { next }
    }

    /// Of a request that is whole and waits: what its answer depends on, and what came behind it.
    #[must_use]
    pub fn suspend(&self, buffer: &ReceiveBuffer) -> Suspended {
        let unread = buffer.unread();
        let line = &unread[..self.head.line_end()];
        let id = self.head.request_id.in_bytes(unread);
        let behind = unread.get(self.raw..).unwrap_or_default();
        let mut head = self.head;
        head.request_id = Span::at(line.len(), id.len());
        Suspended { head, bytes: [line, id, behind].concat().into_boxed_slice() }
    }

    /// Continues with such a request, on a connection with nothing at hand: its bytes are appended to `buffer`, which is
    /// empty. It has neither fields nor a body any more.
    pub fn resume(&mut self, suspended: &Suspended, buffer: &mut ReceiveBuffer) {
        let kept = suspended.head.line_end() + suspended.head.request_id.length();
        buffer.extend(&suspended.bytes);
        self.fields.clear();
        // The fields of the head that was understood last are gone.
        self.last_head.clear();
        self.head = suspended.head;
        self.state = State::Whole;
        self.head_bytes = kept as u32;
        (self.body_end, self.raw) = (kept, kept);
    }
}

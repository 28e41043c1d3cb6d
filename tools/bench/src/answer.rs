//! Reads HTTP/1.1 answers as they come in, cheaply: a head that is the same as the last one is not parsed again.

use std::fmt;

/// A head that has no end by then is refused.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body_bytes: u64,
}

/// What a server must not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// No status line.
    Status,
    /// A head without an end.
    Head,
    /// Neither a length nor chunks: its end would be the connection's.
    Length,
    /// A chunk that is none.
    Chunk,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Malformed::Status => "an answer that begins with no status line",
            Malformed::Head => "an answer whose head does not end",
            Malformed::Length => "an answer with neither a length nor chunks",
            Malformed::Chunk => "an answer with a broken chunk",
        })
    }
}

/// The last head that was parsed; connections share one.
#[derive(Debug, Default)]
pub struct Known {
    head: Vec<u8>,
    status: u16,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, Default)]
enum Framing {
    #[default]
    Missing,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Body {
        answer: Answer,
        left: u64,
    },
    /// The line with a chunk's size; the digits so far.
    Size {
        answer: Answer,
        size: u64,
        digits: bool,
        extension: bool,
    },
    /// A chunk's bytes and the line end behind them.
    Chunk {
        answer: Answer,
        left: u64,
    },
    /// The trailers: bytes of the present line.
    Trailers {
        answer: Answer,
        line: u32,
    },
}

/// The answers of one connection.
#[derive(Debug)]
pub struct Reader {
    state: State,
    partial: Vec<u8>,
    /// Whether the requests are HEAD: no body follows whatever the head says.
    head_only: bool,
}

impl Reader {
    #[must_use]
    pub fn new(head_only: bool) -> Reader {
        Reader { state: State::Head, partial: Vec::new(), head_only }
    }

    /// Whether the connection stands between two answers.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Head) && self.partial.is_empty()
    }

    /// Takes bytes; `each` is told of every answer that ends within them.
    ///
    /// # Errors
    /// If this is no answer that a client may read on after.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        known: &mut Known,
        mut each: impl FnMut(Answer),
    ) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.take_head(bytes, known, &mut each)?,
                State::Body { answer, left } => {
                    let here = left.min(bytes.len() as u64);
                    self.state = State::Body { answer, left: left - here };
                    if here == left {
                        self.end(answer, &mut each);
                    }
                    &bytes[here as usize..]
                }
                State::Size { answer, size, digits, extension } => {
                    self.state = match (bytes[0], bytes[0].is_ascii_hexdigit() && !extension) {
                        (byte, true) if size < 1 << 40 => {
                            let digit = (byte as char).to_digit(16).unwrap_or(0);
                            State::Size {
                                answer,
                                size: size * 16 + u64::from(digit),
                                digits: true,
                                extension,
                            }
                        }
                        (b'\n', _) if digits && size == 0 => State::Trailers { answer, line: 0 },
                        (b'\n', _) if digits => State::Chunk {
                            answer: Answer { body_bytes: answer.body_bytes + size, ..answer },
                            left: size + 2,
                        },
                        (b'\r' | b';' | b' ', _) if digits => {
                            State::Size { answer, size, digits, extension: true }
                        }
                        (_, _) if extension => State::Size { answer, size, digits, extension },
                        _ => return Err(Malformed::Chunk),
                    };
                    &bytes[1..]
                }
                State::Chunk { answer, left } => {
                    let here = left.min(bytes.len() as u64);
                    self.state = if here == left {
                        State::Size { answer, size: 0, digits: false, extension: false }
                    } else {
                        State::Chunk { answer, left: left - here }
                    };
                    &bytes[here as usize..]
                }
                State::Trailers { answer, line } => {
                    match bytes[0] {
                        b'\n' if line == 0 => self.end(answer, &mut each),
                        b'\n' => self.state = State::Trailers { answer, line: 0 },
                        b'\r' => {}
                        _ => self.state = State::Trailers { answer, line: line + 1 },
                    }
                    &bytes[1..]
                }
            };
        }
        Ok(())
    }

    fn end(&mut self, answer: Answer, each: &mut impl FnMut(Answer)) {
        self.state = State::Head;
        each(answer);
    }

    fn take_head<'b>(
        &mut self,
        bytes: &'b [u8],
        known: &mut Known,
        each: &mut impl FnMut(Answer),
    ) -> Result<&'b [u8], Malformed> {
        let before = self.partial.len();
        let rest = if before == 0 {
            match known.learn(bytes)? {
                Some(length) => &bytes[length..],
                None => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(&[]);
                }
            }
        } else {
            self.partial.extend_from_slice(bytes);
            match known.learn(&self.partial)? {
                Some(length) => {
                    self.partial.clear();
                    &bytes[length - before..]
                }
                None => return Ok(&[]),
            }
        };
        let answer = Answer { status: known.status, body_bytes: 0 };
        match (known.status, known.framing) {
            // An interim answer: the final one follows.
            (100..200, _) => {}
            (204 | 304, _) => each(answer),
            (_, _) if self.head_only => each(answer),
            (_, Framing::Length(0)) => each(answer),
            (_, Framing::Length(length)) => {
                self.state = State::Body { answer: Answer { body_bytes: length, ..answer }, left: length };
            }
            (_, Framing::Chunked) => {
                self.state = State::Size { answer, size: 0, digits: false, extension: false };
            }
            (_, Framing::Missing) => return Err(Malformed::Length),
        }
        Ok(rest)
    }
}

impl Known {
    /// The length of the head that the bytes begin with, if it is whole.
    fn learn(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        if !self.head.is_empty() && bytes.starts_with(&self.head) {
            return Ok(Some(self.head.len()));
        }
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > HEAD_BYTES_MAX { Err(Malformed::Head) } else { Ok(None) };
        };
        let head = &bytes[..end + 4];
        let status =
            head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or(Malformed::Status)?;
        self.status = std::str::from_utf8(status)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .filter(|status| (100..1000).contains(status))
            .ok_or(Malformed::Status)?;
        self.framing = Framing::Missing;
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let digits = std::str::from_utf8(value).map_err(|_| Malformed::Length)?;
                self.framing = Framing::Length(digits.parse().map_err(|_| Malformed::Length)?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.framing = Framing::Chunked;
                break;
            }
        }
        self.head.clear();
        self.head.extend_from_slice(head);
        Ok(Some(end + 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read from `bytes`, whole and one byte at a time.
    fn check(bytes: &[u8], expected: Result<&[(u16, u64)], Malformed>) {
        for step in [bytes.len(), 1] {
            let (mut reader, mut known, mut answers) = (Reader::new(false), Known::default(), Vec::new());
            let result = bytes.chunks(step).try_for_each(|part| {
                reader.take(part, &mut known, |answer| answers.push((answer.status, answer.body_bytes)))
            });
            assert_eq!(result.map(|()| &answers[..]), expected, "in steps of {step}");
            assert!(expected.is_err() || reader.is_between());
        }
    }

    #[test]
    fn answers_are_counted_with_their_status_and_length() {
        check(crate::ANSWER, Ok(&[(200, 16)]));
        check(&crate::ANSWER.repeat(3), Ok(&[(200, 16); 3]));
        check(
            b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\nab",
            Ok(&[(204, 0), (429, 2)]),
        );
        check(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok(&[(200, 0)]));
        check(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na;x=1\r\n0123456789\r\n5\r\n01234\r\n0\r\nx: y\r\n\r\n",
            Ok(&[(200, 15)]),
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        check(b"SSH-2.0-x\r\n\r\n", Err(Malformed::Status));
        check(b"HTTP/1.1 200 OK\r\n\r\n", Err(Malformed::Length));
        check(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n", Err(Malformed::Chunk));
    }
}

//! Looking for the end of a head while it comes, each byte once.
//!
//! A head that can never be right is refused at the byte that shows it: a line that ends with LF alone, a method
//! that is none, a target or a head that is too long. So garbage, and TLS on a plain port, get their answer at once
//! instead of a time-out; and the answer never depends on how the bytes were cut into pieces.

use super::limits::Limits;
use super::refusal::Refusal;
use super::token::is_token;

/// Bytes of a method: the longest registered one has 17 (UPDATEREDIRECTREF).
const METHOD_BYTES_MAX: usize = 32;

/// How far a head was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineScan {
    /// Bytes that were looked at.
    seen: usize,
    part: HeadPart,
}

/// The part of a head that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum HeadPart {
    Method,
    Target {
        from: usize,
    },
    /// The version and the fields; only line ends matter.
    Lines,
}

impl LineScan {
    pub(super) fn new() -> LineScan {
        LineScan { seen: 0, part: HeadPart::Method }
    }

    /// Whether a byte of the head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.seen > 0
    }

    /// Where the head ends, behind its empty line, if it does. `bytes` are all that came of it so far: those that
    /// were there at the last call must be there still.
    pub(super) fn find_end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let head_bytes_max = limits.head_bytes as usize;
        let window = &bytes[..bytes.len().min(head_bytes_max)];
        if matches!(self.part, HeadPart::Method) {
            self.pass_method(window)?;
        }
        if let HeadPart::Target { from } = self.part {
            self.pass_target(window, from, limits.target_bytes as usize)?;
        }
        if matches!(self.part, HeadPart::Lines) {
            while let Some(offset) = memchr::memchr(b'\n', &window[self.seen..]) {
                let at = self.seen + offset;
                // A method, a space and a target stand before it.
                if window[at - 1] != b'\r' {
                    return Err(Refusal::BareLf);
                }
                if window[at - 2] == b'\n' {
                    return Ok(Some(at + 1));
                }
                self.seen = at + 1;
            }
        }
        self.seen = window.len();
        if bytes.len() >= head_bytes_max { Err(Refusal::HeadTooLarge) } else { Ok(None) }
    }

    fn pass_method(&mut self, window: &[u8]) -> Result<(), Refusal> {
        let Some(end) = window[self.seen..].iter().position(|&byte| !is_token(byte)).map(|at| self.seen + at)
        else {
            return if window.len() > METHOD_BYTES_MAX { Err(Refusal::MethodName) } else { Ok(()) };
        };
        match window[end] {
            _ if end > METHOD_BYTES_MAX => Err(Refusal::MethodName),
            b' ' if end > 0 => {
                self.seen = end + 1;
                self.part = HeadPart::Target { from: end + 1 };
                Ok(())
            }
            b'\n' => Err(Refusal::BareLf),
            b'\r' => Err(Refusal::RequestLine),
            _ => Err(Refusal::MethodName),
        }
    }

    fn pass_target(&mut self, window: &[u8], from: usize, target_bytes_max: usize) -> Result<(), Refusal> {
        let end = memchr::memchr3(b' ', b'\r', b'\n', &window[self.seen..]).map(|at| self.seen + at);
        if end.unwrap_or(window.len()) - from > target_bytes_max {
            return Err(Refusal::TargetTooLong);
        }
        match end.map(|at| window[at]) {
            None => {}
            Some(b'\n') => return Err(Refusal::BareLf),
            // HTTP/0.9 had no version.
            Some(b'\r') => return Err(Refusal::RequestLine),
            Some(_) => self.part = HeadPart::Lines,
        }
        self.seen = end.map_or(window.len(), |at| at + 1);
        Ok(())
    }
}

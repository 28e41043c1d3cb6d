//! What the fields of a head mean for the connection: where the body ends, whether the connection stays, what the
//! client waits for (RFC 9112, 6, 7.1, 9).

use super::Refusal;
use super::head::{Framing, Head, Version};
use super::target::is_host_value;
use super::token::has_token;

/// Digits of a Content-Length: as many as always fit into 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;

/// What has been seen in the fields so far.
#[derive(Default)]
pub(super) struct Seen {
    has_host: bool,
    length: Option<u64>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    websocket: bool,
    expects_continue: bool,
    other_expectation: bool,
}

/// What Transfer-Encoding said, over all its fields.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    /// `chunked` alone in one field.
    Chunked,
    /// Chunked more than once, or a list with nothing in it.
    Malformed,
    /// Another coding is among them.
    Other,
}

impl Coding {
    fn and(self, value: &[u8]) -> Coding {
        let mut codings = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        if self == Coding::Other || codings.any(|coding| !coding.is_empty() && !is_chunked(coding)) {
            Coding::Other
        } else if self == Coding::None && is_chunked(value) {
            Coding::Chunked
        } else {
            Coding::Malformed
        }
    }
}

impl Seen {
    /// Takes in a field; its value stands without white space around it.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if std::mem::replace(&mut self.has_host, true) {
                    return Err(Refusal::HostRepeated);
                }
                if !is_host_value(value) {
                    return Err(Refusal::HostInvalid);
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let is_continue = value.eq_ignore_ascii_case(b"100-continue");
                self.expects_continue |= is_continue;
                self.other_expectation |= !is_continue;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.websocket |= has_token(value, b"websocket"),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
                self.upgrade |= has_token(value, b"upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let earlier = self.length.replace(length(value)?);
                if earlier.is_some() {
                    return Err(Refusal::LengthRepeated);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.coding = self.coding.and(value),
            _ => {}
        }
        Ok(())
    }

    /// All fields are seen: writes into the head what they mean together.
    pub(super) fn conclude(&self, head: &mut Head) -> Result<(), Refusal> {
        let is_http11 = head.version == Version::Http11;
        if is_http11 && !self.has_host {
            return Err(Refusal::HostMissing);
        }
        // RFC 9112, 6.1: both lengths is an attack until proven otherwise; a coding in 1.0 is faulty framing.
        match self.coding {
            Coding::None => {}
            _ if self.length.is_some() => return Err(Refusal::LengthAndChunked),
            _ if !is_http11 => return Err(Refusal::CodingInHttp10),
            Coding::Malformed => return Err(Refusal::CodingRepeated),
            Coding::Other => return Err(Refusal::CodingUnsupported),
            Coding::Chunked => {}
        }
        // RFC 9110, 10.1.1: expectations of HTTP/1.0 are ignored.
        if is_http11 && self.other_expectation {
            return Err(Refusal::Expectation);
        }
        head.framing = match self.length {
            _ if self.coding == Coding::Chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        };
        head.keep_alive = !self.close && (is_http11 || self.keep_alive);
        head.expects_continue = is_http11 && self.expects_continue && head.framing != Framing::None;
        head.upgrade_websocket = is_http11 && self.upgrade && self.websocket;
        Ok(())
    }
}

/// RFC 9110, 8.6: `1*DIGIT`. No sign, no list, no white space inside.
fn length(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::LengthInvalid);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

//! The meaning of a head's fields for the connection: where the body ends, whether the connection stays open, what the
//! client waits for (RFC 9112, 6, 7.1, 9).

use super::message::{Framing, Version};
use super::refusal::Refusal;
use super::target::is_host_value;
use super::token::{has_token, members};
use crate::base::request_id::{REQUEST_ID_FIELD, RequestId};

/// Digits of a Content-Length: as many as always fit into 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;

/// The meaning of a head's fields, taken together, for the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    pub(super) upgrade_websocket: bool,
}

/// The state of the fields seen so far.
#[derive(Default)]
pub(super) struct FramingFields<'h> {
    has_host: bool,
    length: Option<u64>,
    codings: Codings,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    websocket: bool,
    expects_continue: bool,
    other_expectation: bool,
    /// `X-Request-Id`; empty once it was repeated.
    request_id: Option<&'h [u8]>,
}

/// The members of Transfer-Encoding, over all its fields.
#[derive(Clone, Copy, Default)]
struct Codings {
    is_sent: bool,
    chunked: u32,
    has_other: bool,
    has_empty: bool,
    ends_in_chunked: bool,
}

impl Codings {
    fn field(&mut self, value: &[u8]) {
        self.is_sent = true;
        for member in members(value) {
            if member.is_empty() {
                self.has_empty = true;
                continue;
            }
            self.ends_in_chunked = member.eq_ignore_ascii_case(b"chunked");
            self.chunked += u32::from(self.ends_in_chunked);
            self.has_other |= !self.ends_in_chunked;
        }
    }

    /// Whether the body is chunked.
    fn conclude(&self) -> Result<bool, Refusal> {
        match self {
            Codings { is_sent: false, .. } => Ok(false),
            Codings { ends_in_chunked: false, has_other: true, .. } => Err(Refusal::CodingNotFinal),
            Codings { chunked: 1, has_other: true, has_empty: false, .. } => Err(Refusal::CodingUnsupported),
            Codings { chunked: 1, has_other: false, has_empty: false, .. } => Ok(true),
            _ => Err(Refusal::CodingRepeated),
        }
    }
}

impl<'h> FramingFields<'h> {
    /// Takes in a field; its value stands without white space around it.
    pub(super) fn field(&mut self, name: &[u8], value: &'h [u8]) -> Result<(), Refusal> {
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
                for expectation in members(value).filter(|member| !member.is_empty()) {
                    let is_continue = expectation.eq_ignore_ascii_case(b"100-continue");
                    self.expects_continue |= is_continue;
                    self.other_expectation |= !is_continue;
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.websocket |= has_token(value, b"websocket"),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.close |= has_token(value, b"close");
                self.keep_alive |= has_token(value, b"keep-alive");
                self.upgrade |= has_token(value, b"upgrade");
            }
            12 if name.eq_ignore_ascii_case(REQUEST_ID_FIELD.as_bytes()) => {
                // Which of two counts would be a guess.
                self.request_id = Some(if self.request_id.is_some() { b"" } else { value });
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let earlier = self.length.replace(length(value)?);
                if earlier.is_some() {
                    return Err(Refusal::LengthRepeated);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.codings.field(value),
            _ => {}
        }
        Ok(())
    }

    /// The id of the request, where the caller gave one.
    pub(super) fn request_id(&self) -> Option<&'h [u8]> {
        RequestId::given(self.request_id?).map(|_| self.request_id)?
    }

    /// All fields are seen: what they mean together.
    pub(super) fn conclude(&self, version: Version) -> Result<Meaning, Refusal> {
        let is_http11 = version == Version::Http11;
        if is_http11 && !self.has_host {
            return Err(Refusal::HostMissing);
        }
        // RFC 9112, 6.1: both lengths is an attack until proven otherwise; a coding in 1.0 is faulty framing.
        if self.codings.is_sent && self.length.is_some() {
            return Err(Refusal::LengthAndChunked);
        }
        if self.codings.is_sent && !is_http11 {
            return Err(Refusal::CodingInHttp10);
        }
        let is_chunked = self.codings.conclude()?;
        // RFC 9110, 10.1.1: expectations of HTTP/1.0 are ignored.
        if is_http11 && self.other_expectation {
            return Err(Refusal::Expectation);
        }
        let framing = match self.length {
            _ if is_chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        };
        Ok(Meaning {
            framing,
            keep_alive: !self.close && (is_http11 || self.keep_alive),
            expects_continue: is_http11 && self.expects_continue && framing != Framing::None,
            upgrade_websocket: is_http11 && self.upgrade && self.websocket,
        })
    }
}

/// RFC 9110, 8.6: `1*DIGIT`. No sign, no list, no white space inside.
fn length(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::LengthInvalid);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

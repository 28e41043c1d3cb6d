//! The chunked coding (RFC 9112, 7.1), decoded where it lies, one control byte at a time and data in bulk.
//!
//! Strict: 1 to 16 hexadecimal digits and no white space; extensions by their grammar, without the optional white
//! space that the RFC calls bad; CRLF only; trailers as fields, which are checked and dropped.

use super::limits::Limits;
use super::refusal::Refusal;
use super::token::is_token;

/// Digits of a chunk size: as many as fit into 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size,
    ExtensionName { begun: bool },
    ExtensionValue,
    ExtensionToken,
    Quoted,
    QuotedPair,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

/// The decoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    at: At,
    digits: u8,
    /// Bytes of the present chunk that are still to come.
    left: u64,
    /// Bytes of extensions (from their `;` on) and of trailer lines (with their CRLF) so far.
    overhead: u32,
}

/// The next thing that the decoder found in the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkStep {
    /// It used all of the control bytes there were.
    NeedData,
    /// `data[range]` of what it was given is data: `from..from + length`.
    Data {
        from: usize,
        length: usize,
    },
    /// The body is over.
    End,
    /// The chunk that begins is larger than `room`.
    TooLarge,
    Refused(Refusal),
}

impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks { at: At::Size, digits: 0, left: 0, overhead: 0 }
    }

    /// Goes on from `*place` in `bytes` until there is something to say, and moves `*place` behind what was used.
    /// `room` is how much data may still come.
    pub(super) fn step(&mut self, bytes: &[u8], place: &mut usize, room: u64, limits: &Limits) -> ChunkStep {
        if self.at == At::Data {
            let length = (bytes.len() - *place).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            if length == 0 {
                return ChunkStep::NeedData;
            }
            let from = *place;
            *place += length;
            self.left -= length as u64;
            if self.left == 0 {
                self.at = At::DataCr;
            }
            return ChunkStep::Data { from, length };
        }
        while let Some(&byte) = bytes.get(*place) {
            *place += 1;
            if let Err(refusal) = self.control(byte, limits) {
                return ChunkStep::Refused(refusal);
            }
            match self.at {
                At::Data if self.left > room => return ChunkStep::TooLarge,
                At::Data => return self.step(bytes, place, room, limits),
                At::End => return ChunkStep::End,
                _ => {}
            }
        }
        ChunkStep::NeedData
    }

    fn control(&mut self, byte: u8, limits: &Limits) -> Result<(), Refusal> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == SIZE_DIGITS_MAX {
                    return Err(Refusal::ChunkSize);
                }
                self.digits += 1;
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, b'\r') if self.digits > 0 => At::SizeLf,
            (At::Size, b';') if self.digits > 0 => {
                self.overhead(limits, At::ExtensionName { begun: false })?
            }
            (At::Size, b'\n') => return Err(Refusal::BareLf),
            (At::Size, _) => return Err(Refusal::ChunkSize),

            (At::ExtensionName { .. }, byte) if is_token(byte) => {
                self.overhead(limits, At::ExtensionName { begun: true })?
            }
            (At::ExtensionName { begun: true }, b'=') => self.overhead(limits, At::ExtensionValue)?,
            (At::ExtensionValue, b'"') => self.overhead(limits, At::Quoted)?,
            (At::ExtensionValue | At::ExtensionToken, byte) if is_token(byte) => {
                self.overhead(limits, At::ExtensionToken)?
            }
            (At::ExtensionName { begun: true } | At::ExtensionToken | At::QuotedEnd, b';') => {
                self.overhead(limits, At::ExtensionName { begun: false })?
            }
            (At::ExtensionName { begun: true } | At::ExtensionToken | At::QuotedEnd, b'\r') => At::SizeLf,
            (At::Quoted, b'"') => self.overhead(limits, At::QuotedEnd)?,
            (At::Quoted, b'\\') => self.overhead(limits, At::QuotedPair)?,
            (At::Quoted | At::QuotedPair, b'\t' | b' '..=b'~' | 0x80..) => {
                self.overhead(limits, At::Quoted)?
            }
            (
                At::ExtensionName { .. }
                | At::ExtensionValue
                | At::ExtensionToken
                | At::Quoted
                | At::QuotedPair
                | At::QuotedEnd,
                b'\n',
            ) => return Err(Refusal::BareLf),
            (
                At::ExtensionName { .. }
                | At::ExtensionValue
                | At::ExtensionToken
                | At::Quoted
                | At::QuotedPair
                | At::QuotedEnd,
                _,
            ) => return Err(Refusal::ChunkExtension),

            (At::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 { At::TrailerStart } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::DataCr | At::DataLf, _) => return Err(Refusal::ChunkEnd),

            (At::TrailerStart, b'\r') => At::LastLf,
            (At::TrailerStart | At::TrailerName, byte) if is_token(byte) => {
                self.overhead(limits, At::TrailerName)?
            }
            (At::TrailerName, b':') => self.overhead(limits, At::TrailerValue)?,
            (At::TrailerStart | At::TrailerName, b'\n') => return Err(Refusal::BareLf),
            (At::TrailerStart | At::TrailerName, _) => return Err(Refusal::Trailer),
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => self.overhead(limits, At::TrailerValue)?,
            (At::TrailerValue, b'\r') => self.overhead(limits, At::TrailerLf)?,
            (At::TrailerValue, b'\n') => return Err(Refusal::BareLf),
            (At::TrailerValue, _) => return Err(Refusal::Trailer),
            (At::TrailerLf, b'\n') => self.overhead(limits, At::TrailerStart)?,
            (At::LastLf, b'\n') => At::End,
            (At::SizeLf | At::TrailerLf | At::LastLf, _) => return Err(Refusal::BareCr),
            (At::Data | At::End, _) => self.at,
        };
        Ok(())
    }

    fn overhead(&mut self, limits: &Limits, next: At) -> Result<At, Refusal> {
        self.overhead += 1;
        if self.overhead > limits.chunk_overhead_bytes { Err(Refusal::ChunkOverhead) } else { Ok(next) }
    }
}

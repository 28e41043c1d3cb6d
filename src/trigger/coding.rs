//! Undoes a body's `Content-Encoding` (RFC 9110, section 8.4), within a limit.
//!
//! Each stage stops as soon as it has written one byte more than the limit, so that a body that unfolds into gigabytes
//! costs no more memory than one that is allowed.

use std::borrow::Cow;
use std::fmt;
use std::io::Read as _;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use smallvec::SmallVec;

use super::request::HttpData;

/// How often a body may have been coded. One is usual; a proxy may add another.
const CODINGS_MAX: usize = 2;

/// The value of `Accept-Encoding` in a 415 (RFC 9110, section 12.5.3).
pub(crate) const ACCEPTED_CODINGS: &str = "gzip, deflate, br";

/// Bytes that the output of a stage grows by at first.
const FIRST_BYTES: usize = 4096;

/// Why there is no payload for a request: its `Content-Encoding` cannot be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRefused {
    /// A coding other than gzip, deflate, br and identity, or more than two.
    UnsupportedCoding,
    /// More bytes than the limit come out.
    TooLarge,
    /// The body is not what its coding says, or ends early.
    BadCoding,
}

impl BodyRefused {
    /// The status that the caller gets.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            BodyRefused::UnsupportedCoding => 415,
            BodyRefused::TooLarge => 413,
            BodyRefused::BadCoding => 400,
        }
    }

    /// The message for the caller.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            BodyRefused::UnsupportedCoding => "Content-Encoding must be gzip, deflate or br",
            BodyRefused::TooLarge => "Content too large",
            BodyRefused::BadCoding => "Content does not match its Content-Encoding",
        }
    }
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for BodyRefused {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 1950, or bare RFC 1951, which many senders take the name for.
    Deflate,
    /// RFC 7932.
    Brotli,
}

/// The body as it was before its `Content-Encoding` was applied. An empty body is empty whatever its coding.
///
/// # Errors
/// If a coding is unknown, more than `payload_limit` bytes come out at any stage, or the body is not so coded.
pub(crate) fn undo_codings<'a, F>(data: &HttpData<'a, F>) -> Result<Cow<'a, [u8]>, BodyRefused>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
{
    if data.body.is_empty() {
        return Ok(Cow::Borrowed(data.body));
    }
    let mut body = Cow::Borrowed(data.body);
    // They are listed in the order in which they were applied.
    for coding in codings(data.fields.clone())?.into_iter().rev() {
        body = Cow::Owned(decode(coding, &body, data.payload_limit)?);
    }
    Ok(body)
}

fn codings<'a>(
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<SmallVec<[Coding; CODINGS_MAX]>, BodyRefused> {
    let mut codings = SmallVec::new();
    for (_, value) in fields.filter(|(name, _)| name.eq_ignore_ascii_case(b"content-encoding")) {
        for name in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            if name.is_empty() || is(b"identity") {
                continue;
            }
            if codings.len() == CODINGS_MAX {
                return Err(BodyRefused::UnsupportedCoding);
            }
            codings.push(if is(b"gzip") || is(b"x-gzip") {
                Coding::Gzip
            } else if is(b"deflate") {
                Coding::Deflate
            } else if is(b"br") {
                Coding::Brotli
            } else {
                return Err(BodyRefused::UnsupportedCoding);
            });
        }
    }
    Ok(codings)
}

fn decode(coding: Coding, body: &[u8], limit: usize) -> Result<Vec<u8>, BodyRefused> {
    match coding {
        Coding::Gzip => gunzip(body, limit),
        Coding::Deflate => inflate(body, limit),
        Coding::Brotli => unbrotli(body, limit),
    }
}

/// Members one after the other (RFC 1952, section 2.2). Zero bytes behind the last one are padding, which some senders
/// and tape programs leave.
fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyRefused> {
    let mut out = Vec::new();
    let mut rest = body;
    loop {
        let one_more = (limit as u64).saturating_add(1) - out.len() as u64;
        let mut member = GzDecoder::new(rest).take(one_more);
        let result = member.read_to_end(&mut out);
        if out.len() > limit {
            return Err(BodyRefused::TooLarge);
        }
        result.map_err(|_| BodyRefused::BadCoding)?;
        rest = member.into_inner().into_inner();
        if rest.iter().all(|&byte| byte == 0) {
            return Ok(out);
        }
    }
}

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyRefused> {
    if has_zlib_header(body) {
        match inflate_as(body, limit, true) {
            // Bare deflate can begin like a zlib header by chance.
            Err(BodyRefused::BadCoding) => {}
            result => return result,
        }
    }
    inflate_as(body, limit, false)
}

/// RFC 1950, section 2.2: method 8, a window of at most 32 KiB, and the two bytes a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    let [method, flags, ..] = *body else { return false };
    method & 0x0f == 8 && method >> 4 <= 7 && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31)
}

fn inflate_as(body: &[u8], limit: usize, zlib: bool) -> Result<Vec<u8>, BodyRefused> {
    let mut machine = Decompress::new(zlib);
    let mut output = Output::new(limit);
    let mut rest = body;
    loop {
        let room = output.room()?;
        let (taken, written) = (machine.total_in(), machine.total_out());
        let status =
            machine.decompress(rest, room, FlushDecompress::None).map_err(|_| BodyRefused::BadCoding)?;
        let (taken, written) = (machine.total_in() - taken, machine.total_out() - written);
        rest = &rest[taken as usize..];
        output.wrote(written as usize);
        match status {
            Status::StreamEnd if rest.is_empty() => return output.finish(),
            Status::StreamEnd => return Err(BodyRefused::BadCoding),
            Status::Ok | Status::BufError if taken == 0 && written == 0 => {
                return Err(BodyRefused::BadCoding);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

fn unbrotli(body: &[u8], limit: usize) -> Result<Vec<u8>, BodyRefused> {
    // Strict: no windows beyond the 16 MiB of RFC 7932.
    let mut state = Box::new(BrotliState::new_strict(
        StandardAlloc::default(),
        StandardAlloc::default(),
        StandardAlloc::default(),
    ));
    let mut output = Output::new(limit);
    let (mut unread, mut taken, mut total) = (body.len(), 0, 0);
    loop {
        let room = output.room()?;
        let (mut free, mut written) = (room.len(), 0);
        let result = BrotliDecompressStream(
            &mut unread,
            &mut taken,
            body,
            &mut free,
            &mut written,
            room,
            &mut total,
            &mut state,
        );
        output.wrote(written);
        match result {
            BrotliResult::ResultSuccess if unread == 0 => return output.finish(),
            BrotliResult::NeedsMoreOutput => {}
            _ => return Err(BodyRefused::BadCoding),
        }
    }
}

/// The output of a stage. Invariant: `filled <= bytes.len() <= limit + 1`.
struct Output {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output {
    fn new(limit: usize) -> Output {
        Output { bytes: Vec::new(), filled: 0, limit }
    }

    /// Room to write to, at least a byte of it.
    fn room(&mut self) -> Result<&mut [u8], BodyRefused> {
        if self.filled > self.limit {
            return Err(BodyRefused::TooLarge);
        }
        if self.filled == self.bytes.len() {
            let doubled = (2 * self.filled).max(FIRST_BYTES);
            self.bytes.resize(doubled.min(self.limit.saturating_add(1)), 0);
        }
        Ok(&mut self.bytes[self.filled..])
    }

    fn wrote(&mut self, count: usize) {
        self.filled += count;
    }

    fn finish(mut self) -> Result<Vec<u8>, BodyRefused> {
        if self.filled > self.limit {
            return Err(BodyRefused::TooLarge);
        }
        self.bytes.truncate(self.filled);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_by_doubling_and_ends_behind_the_limit() {
        const LIMIT: usize = 1 << 20;
        let (mut output, mut sizes) = (Output::new(LIMIT), Vec::new());
        while let Ok(room) = output.room() {
            let size = room.len();
            sizes.push(size);
            output.wrote(size);
        }
        assert_eq!(sizes.iter().sum::<usize>(), LIMIT + 1, "one byte more tells that it is too large");
        assert!(sizes.len() <= 10, "{sizes:?}");
        assert!(matches!(output.finish(), Err(BodyRefused::TooLarge)));
    }
}

//! Parameters of header fields: a content type's boundary, and what a part's `Content-Disposition` says.

use std::borrow::Cow;

use crate::base::text::percent_decode_strict_into;

/// Characters of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// What a `Content-Disposition: form-data` says (RFC 7578, section 4.2).
pub(super) struct Disposition<'a> {
    pub(super) name: Cow<'a, str>,
    /// There is one, though it may be empty, where the part is a file.
    pub(super) filename: Option<Cow<'a, str>>,
}

impl<'a> Disposition<'a> {
    /// Reads the value of the field; `None` if it is not `form-data` with a name.
    pub(super) fn parse(value: &'a [u8]) -> Option<Disposition<'a>> {
        let mut parameters = Parameters { rest: value };
        if !parameters.kind().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let (mut name, mut filename, mut extended) = (None, None, None);
        while !parameters.is_at_end() {
            let (key, value) = parameters.parameter()?;
            let is = |known: &[u8]| key.eq_ignore_ascii_case(known);
            if is(b"name") {
                name = name.or(Some(text(value)));
            } else if is(b"filename") {
                filename = filename.or(Some(text(value)));
            } else if is(b"filename*") {
                extended = extended.or(extended_text(&value));
            }
        }
        Some(Disposition { name: name?, filename: filename.or(extended) })
    }
}

/// The boundary that a content type names, if it may be one.
pub(super) fn boundary(content_type: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut parameters = Parameters { rest: content_type };
    parameters.kind();
    while !parameters.is_at_end() {
        let (key, value) = parameters.parameter()?;
        if key.eq_ignore_ascii_case(b"boundary") {
            let printable = value.iter().all(|byte| (b' '..=b'~').contains(byte));
            let fits = (1..=BOUNDARY_BYTES_MAX).contains(&value.len()) && value.last() != Some(&b' ');
            return (printable && fits).then_some(value);
        }
    }
    None
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// `UTF-8'language'percent-encoded` (RFC 8187, section 3.2.1), which senders write against RFC 7578.
fn extended_text<'a>(value: &[u8]) -> Option<Cow<'a, str>> {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let mut bytes = Vec::new();
    let clean = percent_decode_strict_into(&mut bytes, encoded, false);
    let readable = clean && charset.eq_ignore_ascii_case(b"utf-8");
    if readable { String::from_utf8(bytes).ok().map(Cow::Owned) } else { None }
}

/// Reads `kind *( ";" name "=" ( token / quoted-string ) )` (RFC 2045, section 5.1).
struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    fn kind(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (kind, rest) = self.rest.split_at(end);
        self.rest = rest;
        kind.trim_ascii()
    }

    /// Passes over semicolons and white space; whether nothing is left then.
    fn is_at_end(&mut self) -> bool {
        let between = |byte: &&u8| matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n');
        let count = self.rest.iter().take_while(between).count();
        self.rest = &self.rest[count..];
        self.rest.is_empty()
    }

    fn parameter(&mut self) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        let equals = memchr::memchr2(b'=', b';', self.rest).filter(|&at| self.rest[at] == b'=')?;
        let name = self.rest[..equals].trim_ascii();
        self.rest = self.rest[equals + 1..].trim_ascii_start();
        if let Some(rest) = self.rest.strip_prefix(b"\"") {
            self.rest = rest;
            return Some((name, self.quoted()?));
        }
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some((name, Cow::Borrowed(value.trim_ascii_end())))
    }

    /// The rest of a quoted string. A backslash is taken away in front of a quote or a backslash only: in a file's
    /// name it may be the separator of folders.
    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let mut owned: Option<Vec<u8>> = None;
        loop {
            let at = memchr::memchr2(b'"', b'\\', self.rest)?;
            let piece = &self.rest[..at];
            if self.rest[at] == b'"' {
                self.rest = &self.rest[at + 1..];
                return Some(match owned {
                    None => Cow::Borrowed(piece),
                    Some(text) => Cow::Owned([&text, piece].concat()),
                });
            }
            let text = owned.get_or_insert_default();
            text.extend_from_slice(piece);
            let escaped = matches!(self.rest.get(at + 1), Some(b'"' | b'\\'));
            text.push(if escaped { self.rest[at + 1] } else { b'\\' });
            self.rest = &self.rest[at + 1 + usize::from(escaped)..];
        }
    }
}

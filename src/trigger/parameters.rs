//! Parameters of header fields: `value *( ";" name "=" ( token / quoted-string ) )` (RFC 2045, section 5.1).

use std::borrow::Cow;

/// A cursor over a field with parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    pub(super) fn new(field: &'a [u8]) -> Parameters<'a> {
        Parameters { rest: field }
    }

    /// Takes what stands before the parameters, and the separator behind it: a semicolon, or the comma that some senders
    /// write for it.
    pub(super) fn take_value(&mut self) -> &'a [u8] {
        let end = memchr::memchr2(b';', b',', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        value.trim_ascii()
    }

    /// Skips semicolons and white space. Returns whether nothing is left then.
    pub(super) fn is_at_end(&mut self) -> bool {
        let between = |byte: &&u8| matches!(byte, b';' | b' ' | b'\t' | b'\r' | b'\n');
        let count = self.rest.iter().take_while(between).count();
        self.rest = &self.rest[count..];
        self.rest.is_empty()
    }

    /// Takes the next parameter: its name and its value. `None` if there is no `=`, or if a quoted value does not end, or
    /// is followed by more than white space.
    pub(super) fn next_parameter(&mut self) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        let equals = memchr::memchr2(b'=', b';', self.rest).filter(|&at| self.rest[at] == b'=')?;
        let name = self.rest[..equals].trim_ascii();
        self.rest = self.rest[equals + 1..].trim_ascii_start();
        if let Some(rest) = self.rest.strip_prefix(b"\"") {
            self.rest = rest;
            let value = self.quoted()?;
            let behind = self.rest.trim_ascii_start();
            return (behind.is_empty() || behind[0] == b';').then_some((name, value));
        }
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (value, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some((name, Cow::Borrowed(value.trim_ascii_end())))
    }

    /// Takes the rest of a quoted string. A backslash is removed in front of a quote or a backslash only: in a file's name
    /// it may be the separator of folders.
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

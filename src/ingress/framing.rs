//! The framing of a response whose body is sent while it is received (RFC 9112, 6).

use crate::http::encode;

/// The way in which a caller learns where a body ends that is not known to its end yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// It has so many bytes.
    Length(u64),
    /// In the chunked coding.
    Chunked,
    /// With the connection: HTTP/1.0 has no other way.
    UntilClose,
}

impl BodyFraming {
    /// The framing for a body of so many bytes, if that is known.
    #[must_use]
    pub fn of(length: Option<u64>, http10: bool) -> BodyFraming {
        match length {
            Some(length) => BodyFraming::Length(length),
            None if http10 => BodyFraming::UntilClose,
            None => BodyFraming::Chunked,
        }
    }

    /// Writes a part of the body.
    pub fn write(self, out: &mut Vec<u8>, part: &[u8]) {
        match self {
            BodyFraming::Length(_) | BodyFraming::UntilClose => out.extend_from_slice(part),
            BodyFraming::Chunked => encode::chunk(out, part),
        }
    }

    /// Writes the end of the body.
    pub fn end(self, out: &mut Vec<u8>) {
        if self == BodyFraming::Chunked {
            out.extend_from_slice(encode::LAST_CHUNK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(length: Option<u64>, http10: bool) -> String {
        let framing = BodyFraming::of(length, http10);
        let mut out = Vec::new();
        for part in [b"first".as_slice(), b"", &[b'x'; 16]] {
            framing.write(&mut out, part);
        }
        framing.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_body_without_a_length_is_in_chunks_or_ends_with_the_connection() {
        let body = "firstxxxxxxxxxxxxxxxx";
        assert_eq!(written(Some(21), false), body);
        assert_eq!(written(Some(21), true), body);
        assert_eq!(written(None, true), body);
        assert_eq!(written(None, false), "5\r\nfirst\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}

//! Bytes of a body as a JSON value.

use std::borrow::Cow;

use encoding_rs::Encoding;

use crate::base::json;
use crate::base::text::{base64_into, hex_into};
use crate::model::CastBuffersAs;

/// Writes text as a string, and bytes that are not text in their charset as `cast` says.
pub(super) fn write_text(
    out: &mut Vec<u8>,
    bytes: &[u8],
    charset: Option<&'static Encoding>,
    cast: CastBuffersAs,
) {
    match decode(bytes, charset) {
        Some(text) => json::escape_into(out, &text),
        None => write_cast(out, bytes, cast),
    }
}

/// The text that bytes stand for: UTF-8 unless a charset is declared. `None` if they are not text in it.
pub(super) fn decode<'a>(bytes: &'a [u8], charset: Option<&'static Encoding>) -> Option<Cow<'a, str>> {
    match charset.filter(|&charset| charset != encoding_rs::UTF_8) {
        None => simdutf8::basic::from_utf8(bytes).ok().map(Cow::Borrowed),
        Some(charset) => {
            // A byte order mark overrules the declaration (Encoding Standard, "decode").
            let (text, _, malformed) = charset.decode(bytes);
            (!malformed).then_some(text)
        }
    }
}

/// Writes bytes as a JSON value.
pub(super) fn write_cast(out: &mut Vec<u8>, bytes: &[u8], cast: CastBuffersAs) {
    match cast {
        CastBuffersAs::Array => write_array(out, bytes),
        CastBuffersAs::Binary => json::escape_bytes_latin1_into(out, bytes),
        CastBuffersAs::Utf8 => json::escape_lossy_into(out, bytes),
        CastBuffersAs::Base64 => {
            out.push(b'"');
            base64_into(out, bytes);
            out.push(b'"');
        }
        CastBuffersAs::Hex => {
            out.push(b'"');
            hex_into(out, bytes);
            out.push(b'"');
        }
    }
}

/// Writes bytes as a list of integers.
fn write_array(out: &mut Vec<u8>, bytes: &[u8]) {
    /// Characters of the largest byte and its comma.
    const CHARACTERS: usize = 4;
    out.reserve(CHARACTERS * bytes.len() + 2);
    out.push(b'[');
    for (place, &byte) in bytes.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if byte >= 100 {
            out.push(b'0' + byte / 100);
        }
        if byte >= 10 {
            out.push(b'0' + byte / 10 % 10);
        }
        out.push(b'0' + byte % 10);
    }
    out.push(b']');
}

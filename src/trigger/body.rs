//! The `body` of a payload, by its content type.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::content_type::ContentType;
use super::{multipart, query};
use crate::base::json::{self, Halves, Raw};
use crate::base::text::{base64_into, hex_into};
use crate::model::CastBuffersAs;

/// A JSON body nested deeper than this is left as a string (section 5 of the specification).
pub const JSON_DEPTH_MAX: usize = 128;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Writes a body as a JSON value: `null` if it is empty.
pub(super) fn write(
    out: &mut Vec<u8>,
    body: &[u8],
    content_type: &[u8],
    cast: CastBuffersAs,
    annotate_multipart: bool,
) {
    if body.is_empty() {
        out.extend_from_slice(b"null");
        return;
    }
    let content_type = ContentType::parse(content_type);
    if content_type.is_json() {
        return write_json(out, body, content_type.charset(), cast);
    }
    let written = if content_type.is(b"application/x-www-form-urlencoded") {
        query::write_form(out, body, content_type.charset());
        true
    } else if content_type.is(b"multipart/form-data") {
        multipart::write(out, body, &content_type, cast, annotate_multipart)
    } else if content_type.is(b"application/octet-stream") {
        write_cast(out, body, cast);
        true
    } else {
        false
    };
    if !written {
        write_text(out, body, content_type.charset(), cast);
    }
}

/// Splices JSON in as it came, decoded from its charset where that is another than UTF-8; text that is not JSON is a
/// string.
fn write_json(out: &mut Vec<u8>, body: &[u8], charset: Option<&'static Encoding>, cast: CastBuffersAs) {
    let Some(text) = decode(body, charset) else { return write_cast(out, body, cast) };
    let json = text.as_bytes().strip_prefix(BYTE_ORDER_MARK).unwrap_or(text.as_bytes());
    match json::check(json, JSON_DEPTH_MAX) {
        Some(Halves::None) => out.extend_from_slice(Raw::trusted(json).bytes()),
        Some(Halves::Some) => json::replace_halves_into(out, json),
        None => json::escape_into(out, &text),
    }
}

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
fn decode<'a>(bytes: &'a [u8], charset: Option<&'static Encoding>) -> Option<Cow<'a, str>> {
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

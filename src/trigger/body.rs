//! The `body` of a payload, by its content type.

use super::{multipart, query};
use crate::base::json::{self, Raw};
use crate::base::text::{base64_into, hex_into};
use crate::model::CastBuffersAs;

/// A JSON body nested deeper than this is left as a string (section 5 of the specification).
pub const JSON_DEPTH_MAX: usize = 128;

/// What a content type means for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form<'a> {
    Json,
    UrlEncoded,
    /// With the whole content type, which names the boundary.
    Multipart(&'a [u8]),
    Bytes,
    Text,
}

impl Form<'_> {
    /// Reads a `Content-Type` (RFC 9110, section 8.3): the type in any case; parameters matter for multipart only.
    fn of(content_type: &[u8]) -> Form<'_> {
        let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
        let media_type = content_type[..end].trim_ascii();
        let is = |name: &[u8]| media_type.eq_ignore_ascii_case(name);
        let suffix = media_type.last_chunk::<5>();
        if is(b"application/json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json")) {
            Form::Json
        } else if is(b"application/x-www-form-urlencoded") {
            Form::UrlEncoded
        } else if is(b"multipart/form-data") {
            Form::Multipart(content_type)
        } else if is(b"application/octet-stream") {
            Form::Bytes
        } else {
            Form::Text
        }
    }
}

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
    let written = match Form::of(content_type) {
        Form::Json => {
            let valid = json::validate(body, JSON_DEPTH_MAX);
            if valid {
                out.extend_from_slice(Raw::trusted(body).bytes());
            }
            valid
        }
        Form::UrlEncoded => utf8(body).is_some_and(|text| query::write_form(out, text)),
        Form::Multipart(content_type) => multipart::write(out, body, content_type, cast, annotate_multipart),
        Form::Bytes => {
            write_cast(out, body, cast);
            true
        }
        Form::Text => false,
    };
    if !written {
        write_text(out, body, cast);
    }
}

fn utf8(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Writes text as a string, and what is no text as `cast` says.
pub(super) fn write_text(out: &mut Vec<u8>, bytes: &[u8], cast: CastBuffersAs) {
    match utf8(bytes) {
        Some(text) => json::escape_into(out, text),
        None => write_cast(out, bytes, cast),
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

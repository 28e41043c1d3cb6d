//! The `body` of a payload, by its content type.

use encoding_rs::Encoding;

use super::cast::{decode, write_cast, write_text};
use super::content_type::ContentType;
use super::{multipart, query};
use crate::base::json::{self, Halves, Raw};
use crate::model::CastBuffersAs;

/// A JSON body nested deeper than this is left as a string ([trigger payload](crate::guide::trigger_payload)).
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

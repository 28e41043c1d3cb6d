//! Queries and `application/x-www-form-urlencoded` bodies: pairs between `&`, as the URL standard reads them.
//!
//! A query is always shown, its bad escapes kept and its bad UTF-8 replaced; a body that has either is no form.

use std::borrow::Cow;

use super::members::Members;
use crate::base::json;
use crate::base::text::{percent_decode_into, percent_decode_strict_into};

/// Writes a query as an object.
pub(super) fn write(out: &mut Vec<u8>, query: &[u8]) {
    if query.is_empty() {
        out.extend_from_slice(b"{}");
        return;
    }
    let mut members = Members::new();
    for (key, value) in pairs(query) {
        members.push(lossy(key), lossy(value));
    }
    members.write(out, |out, value| json::escape_into(out, value));
}

/// Writes a form as an object; answers `false`, and writes nothing, if the body is none.
pub(super) fn write_form(out: &mut Vec<u8>, body: &str) -> bool {
    let mut members = Members::new();
    for (key, value) in pairs(body.as_bytes()) {
        let (Some(key), Some(value)) = (strict(key), strict(value)) else { return false };
        members.push(key, value);
    }
    members.write(out, |out, value| json::escape_into(out, value));
    true
}

/// Keys and values, not decoded. Empty pairs are passed over; a pair without `=` has an empty value.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let equals = memchr::memchr(b'=', pair);
        equals.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]))
    })
}

fn is_encoded(text: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', text).is_some()
}

fn lossy(text: &[u8]) -> Cow<'_, str> {
    if !is_encoded(text) {
        return String::from_utf8_lossy(text);
    }
    let mut bytes = Vec::new();
    percent_decode_into(&mut bytes, text, true);
    let text = String::from_utf8(bytes);
    Cow::Owned(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn strict(text: &[u8]) -> Option<Cow<'_, str>> {
    if !is_encoded(text) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let mut bytes = Vec::new();
    if !percent_decode_strict_into(&mut bytes, text, true) {
        return None;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

//! `encodeURI` and its three relatives, as ECMA-262 (section 19.2.6) has them, on texts.

use crate::base::steps;
use crate::base::text::{hex_decode_slice, percent_decode_strict_into};

/// Bytes that both encoders keep, besides letters and digits.
const UNRESERVED: &[u8] = b"-_.!~*'()";
/// Further bytes that `encodeURI` keeps, and that `decodeURI` does not decode.
const RESERVED: &[u8] = b";/?:@&=+$,#";

/// `encodeURIComponent(text)`, or `encodeURI(text)` if `whole`.
pub(super) fn encode_uri(text: &str, whole: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    steps::count(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) || whole && RESERVED.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

/// `decodeURIComponent(text)`, or `decodeURI(text)` if `whole`. `None` where JavaScript throws: an escape that is
/// none, or bytes that are not UTF-8.
pub(super) fn decode_uri(text: &str, whole: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    steps::count(text.len());
    if !whole {
        return percent_decode_strict_into(&mut out, text.as_bytes(), false)
            .then(|| String::from_utf8(out).ok())
            .flatten();
    }
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        let escape = rest.get(at..at + 3)?;
        let mut byte = [0];
        if !hex_decode_slice(&mut byte, &escape[1..]) {
            return None;
        }
        if RESERVED.contains(&byte[0]) {
            out.extend_from_slice(escape);
        } else {
            out.push(byte[0]);
        }
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    String::from_utf8(out).ok()
}

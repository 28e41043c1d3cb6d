//! Queries and `application/x-www-form-urlencoded` bodies: pairs between `&`, as the URL standard reads them.
//!
//! Both are always shown: a `%` that begins no escape stays as it is, and bytes that are not text in the charset become
//! U+FFFD. The charset is UTF-8; a body may name another, in its content type or in a field of its own.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::members::JsonMembers;
use crate::base::json;
use crate::base::text::percent_decode_into;

/// Fields that name the charset of a form: the one of the HTML Standard, and the one that PayPal's notifications have.
const CHARSET_FIELDS: [&[u8]; 2] = [b"_charset_", b"charset"];

/// Writes a query as an object, without the parameters named `hidden`.
pub(super) fn write(out: &mut Vec<u8>, query: &[u8], hidden: Option<&str>) {
    if query.is_empty() {
        out.extend_from_slice(b"{}");
        return;
    }
    let mut members = JsonMembers::new();
    for (key, value) in pairs(query) {
        let key = lossy(key);
        if hidden != Some(&*key) {
            members.push(key, lossy(value));
        }
    }
    members.write(out, |out, value| json::escape_into(out, value));
}

/// Appends a query as it was sent, with `***` for the values of the parameters named `hidden`.
pub(super) fn write_masked(out: &mut Vec<u8>, query: &[u8], hidden: &str) {
    for (place, pair) in query.split(|&byte| byte == b'&').enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        let key = pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        if lossy(key) == hidden {
            out.extend_from_slice(key);
            out.extend_from_slice(b"=***");
        } else {
            out.extend_from_slice(pair);
        }
    }
}

/// Writes a form as an object. `declared` is the charset of its content type, which goes before one that a field names.
pub(super) fn write_form(out: &mut Vec<u8>, body: &[u8], declared: Option<&'static Encoding>) {
    let charset = declared.or_else(|| charset_field(body)).unwrap_or(encoding_rs::UTF_8);
    if !charset.is_ascii_compatible() && body.contains(&0) {
        // The form itself is in UTF-16, its escapes and all: some programs encode every text that they send.
        return write_pairs(out, charset.decode(body).0.as_bytes(), encoding_rs::UTF_8);
    }
    // A form of a page in UTF-16 is sent in UTF-8 (Encoding Standard, "get an output encoding").
    write_pairs(out, body, charset.output_encoding());
}

fn write_pairs(out: &mut Vec<u8>, body: &[u8], charset: &'static Encoding) {
    let mut members = JsonMembers::new();
    for (key, value) in pairs(body) {
        members.push(decode(key, charset), decode(value, charset));
    }
    members.write(out, |out, value| json::escape_into(out, value));
}

fn charset_field(body: &[u8]) -> Option<&'static Encoding> {
    let value = |name: &[u8]| pairs(body).find(|(key, _)| *key == name).map(|(_, value)| value);
    CHARSET_FIELDS.iter().find_map(|name| Encoding::for_label(value(name)?))
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

fn decode<'a>(text: &'a [u8], charset: &'static Encoding) -> Cow<'a, str> {
    if charset == encoding_rs::UTF_8 {
        return lossy(text);
    }
    let mut bytes = Vec::new();
    percent_decode_into(&mut bytes, text, true);
    Cow::Owned(charset.decode_without_bom_handling(&bytes).0.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_query_is_as_it_was_but_for_the_values_of_one_name() {
        for (query, expected) in [
            ("", ""),
            ("token=s", "token=***"),
            ("a=1&token=s&b=2&token=&token", "a=1&token=***&b=2&token=***&token=***"),
            ("tok%65n=s&Token=s&a=token=s", "tok%65n=***&Token=s&a=token=s"),
            ("&&a", "&&a"),
        ] {
            let mut out = Vec::new();
            write_masked(&mut out, query.as_bytes(), "token");
            assert_eq!(out.escape_ascii().to_string(), expected, "{query}");
        }
    }
}

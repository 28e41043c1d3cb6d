//! `Content-Disposition` of a part (RFC 7578, section 4.2).

use std::borrow::Cow;

use super::super::parameters::Parameters;
use crate::base::text::percent_decode_strict_into;

/// A `Content-Disposition: form-data`.
pub(super) struct Disposition<'a> {
    pub(super) name: Cow<'a, str>,
    /// Present, though it may be empty, where the part is a file.
    pub(super) filename: Option<Cow<'a, str>>,
}

impl<'a> Disposition<'a> {
    /// Reads the value of the field; `None` if it is not `form-data` with a name. Of a parameter that is sent in both
    /// forms the extended one counts (RFC 6266, section 4.3), whatever their order.
    pub(super) fn parse(value: &'a [u8]) -> Option<Disposition<'a>> {
        let mut parameters = Parameters::new(value);
        if !parameters.take_value().eq_ignore_ascii_case(b"form-data") {
            return None;
        }
        let (mut name, mut filename) = (None, None);
        let (mut extended_name, mut extended_filename) = (None, None);
        while !parameters.is_at_end() {
            let (key, value) = parameters.next_parameter()?;
            let is = |known: &[u8]| key.eq_ignore_ascii_case(known);
            if is(b"name") {
                name = name.or(Some(text(value)));
            } else if is(b"name*") {
                extended_name = extended_name.or(extended_text(&value));
            } else if is(b"filename") {
                filename = filename.or(Some(text(value)));
            } else if is(b"filename*") {
                extended_filename = extended_filename.or(extended_text(&value));
            }
        }
        Some(Disposition { name: extended_name.or(name)?, filename: extended_filename.or(filename) })
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// `charset'language'percent-encoded` (RFC 8187, section 3.2.1), which senders write against RFC 7578. In UTF-8, or in
/// ISO-8859-1, which RFC 5987 had beside it.
fn extended_text<'a>(value: &[u8]) -> Option<Cow<'a, str>> {
    let mut pieces = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, encoded) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let mut bytes = Vec::new();
    if !percent_decode_strict_into(&mut bytes, encoded, false) {
        return None;
    }
    if charset.eq_ignore_ascii_case(b"utf-8") {
        String::from_utf8(bytes).ok().map(Cow::Owned)
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Some(Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()))
    } else {
        None
    }
}

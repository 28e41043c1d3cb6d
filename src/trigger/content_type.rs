//! `Content-Type` as senders write it: media type, `charset`, `boundary` (RFC 9110, section 8.3).
//!
//! A field that holds a list counts by its first member. A comma that is followed by a parameter instead of another type
//! (`multipart/form-data, boundary=x`) is read as the semicolon that was meant.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::parameters::Parameters;

/// Characters of a boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// A content type that was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentType<'a> {
    /// Without white space around it, in the case that it was sent in; empty if there is none.
    media_type: &'a [u8],
    parameters: Parameters<'a>,
}

impl<'a> ContentType<'a> {
    pub(super) fn parse(field: &'a [u8]) -> ContentType<'a> {
        let mut parameters = Parameters::new(first_member(field));
        let media_type = parameters.take_value();
        ContentType { media_type, parameters }
    }

    /// Whether the media type is `name`, in any case.
    pub(super) fn is(&self, name: &[u8]) -> bool {
        self.media_type.eq_ignore_ascii_case(name)
    }

    /// Whether the media type is JSON: `application/json`, or anything with the suffix `+json` (RFC 6839, section 3.1).
    pub(super) fn is_json(&self) -> bool {
        let suffix = self.media_type.last_chunk::<5>();
        self.is(b"application/json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"))
    }

    /// The encoding that the `charset` parameter names, if the Encoding Standard knows it.
    pub(super) fn charset(&self) -> Option<&'static Encoding> {
        self.parameter(b"charset").and_then(|label| Encoding::for_label(&label))
    }

    /// The boundary, if there is one and it can be one.
    pub(super) fn boundary(&self) -> Option<Cow<'a, [u8]>> {
        let value = self.parameter(b"boundary")?;
        let printable = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        let fits = (1..=BOUNDARY_BYTES_MAX).contains(&value.len()) && value.last() != Some(&b' ');
        (printable && fits).then_some(value)
    }

    /// The first parameter of that name. A parameter that cannot be read hides those behind it.
    fn parameter(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let mut parameters = self.parameters;
        while !parameters.is_at_end() {
            let (key, value) = parameters.next_parameter()?;
            if key.eq_ignore_ascii_case(name) {
                return Some(value);
            }
        }
        None
    }
}

/// The first member of a list of media types. A comma within quotes, or one that no other media type follows, belongs to
/// the member.
fn first_member(field: &[u8]) -> &[u8] {
    // Empty members do not count (RFC 9110, section 5.6.1).
    let empty = field.iter().take_while(|byte| matches!(byte, b',' | b' ' | b'\t')).count();
    let field = &field[empty..];
    let mut quoted = false;
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'"', b',', b'\\', &field[at..]) {
        let place = at + found;
        at = place + 1;
        match field[place] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at = (place + 2).min(field.len()),
            b',' if !quoted && begins_with_media_type(&field[place + 1..]) => return &field[..place],
            _ => {}
        }
    }
    field
}

/// Whether `type/subtype` stands at the beginning, before any parameter.
fn begins_with_media_type(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| matches!(byte, b';' | b',')).unwrap_or(text.len());
    let member = text[..end].trim_ascii();
    let is_token = |part: &[u8]| !part.is_empty() && part.iter().all(|&byte| is_token_byte(byte));
    memchr::memchr(b'/', member)
        .is_some_and(|slash| is_token(&member[..slash]) && is_token(&member[slash + 1..]))
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: &str, media_type: &str, charset: Option<&str>, boundary: Option<&str>) {
        let parsed = ContentType::parse(field.as_bytes());
        assert_eq!(String::from_utf8_lossy(parsed.media_type), media_type, "{field}");
        assert_eq!(parsed.charset().map(Encoding::name), charset, "{field}");
        assert_eq!(parsed.boundary().as_deref(), boundary.map(str::as_bytes), "{field}");
    }

    #[test]
    fn types_and_their_parameters_are_read_as_senders_write_them() {
        check("", "", None, None);
        check("application/json", "application/json", None, None);
        check(" text/plain ; Charset=\"ISO-8859-1\"", "text/plain", Some("windows-1252"), None);
        check("text/plain;charset=shift_jis;x=y", "text/plain", Some("Shift_JIS"), None);
        check("text/plain;charset=utf8", "text/plain", Some("UTF-8"), None);
        check("text/plain;charset=klingon", "text/plain", None, None);
        check("text/plain; charset=; charset=utf-8", "text/plain", None, None);
        check("text/plain; charset", "text/plain", None, None);
    }

    #[test]
    fn of_a_list_the_first_member_counts() {
        check("application/json, application/json", "application/json", None, None);
        check("application/json,text/plain;charset=utf-16", "application/json", None, None);
        check("text/plain;charset=utf-8, text/html; charset=big5", "text/plain", Some("UTF-8"), None);
        check("multipart/form-data; boundary=\"a,b/c\"", "multipart/form-data", None, Some("a,b/c"));
        check("multipart/form-data; boundary=a,b", "multipart/form-data", None, Some("a,b"));
        check("text/plain; x=\"\\\",a/b\"; charset=utf-8", "text/plain", Some("UTF-8"), None);
    }

    #[test]
    fn empty_members_of_a_list_do_not_count() {
        for field in
            [", application/json", ",,application/json", " , ,application/json,", "application/json,,"]
        {
            assert!(ContentType::parse(field.as_bytes()).is_json(), "{field}");
        }
        check(",", "", None, None);
        check(", multipart/form-data; boundary=x, text/plain", "multipart/form-data", None, Some("x"));
    }

    #[test]
    fn a_comma_before_a_parameter_is_the_semicolon_that_was_meant() {
        check("multipart/form-data, boundary=x", "multipart/form-data", None, Some("x"));
        check(
            "multipart/form-data,boundary=x; charset=utf-8",
            "multipart/form-data",
            Some("UTF-8"),
            Some("x"),
        );
        check("application/json, charset=utf-8", "application/json", Some("UTF-8"), None);
    }
}

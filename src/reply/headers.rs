//! Which headers of a reply go out.

use smallvec::SmallVec;

use crate::http::encode::{is_field_name, is_field_value};

/// Headers of one reply: what proxies take (nginx and Apache stop at 100 fields).
pub(super) const HEADERS_MAX: usize = 100;
/// Bytes of all names and values of one reply: what clients read of a head (16 KiB in Node.js).
pub(super) const HEADER_BYTES_MAX: usize = 16 * 1024;

/// The media types of a reply; any other is replaced by the first.
const MEDIA_TYPES: [&str; 5] = ["application/json", "application/xml", "text/plain", "text/xml", "text/csv"];

/// Fields that a reply does not set, in lower case: those of the connection (RFC 9110, 7.6.1), those of the framing, and
/// the engine's own. So is every one that begins with `proxy-`.
const DROPPED: [&str; 15] = [
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
    "keep-alive",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
    "x-xss-protection",
];
const DROPPED_PREFIX: &[u8] = b"proxy-";

/// Names and values; few replies have more than these.
pub(crate) type HeaderList<'a> = SmallVec<[(&'a str, &'a str); 4]>;

/// The headers that go out: well-formed, not the engine's own, and within the limits.
pub(super) fn clean<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> HeaderList<'a> {
    let mut left = HEADER_BYTES_MAX;
    headers
        .filter_map(|(name, value)| {
            let (name, value) = (trim(name), trim(value));
            (may_be_sent(name) && is_field_value(value.as_bytes())).then_some((name, value))
        })
        .take(HEADERS_MAX)
        .map_while(|(name, value)| {
            left = left.checked_sub(name.len() + value.len())?;
            Some((name, value))
        })
        .collect()
}

/// The media type, with its parameters, of the first `content-type`; or the first of those allowed, where it is another
/// one or a reader could take it for another one.
pub(super) fn content_type<'a>(mut headers: impl Iterator<Item = (&'a str, &'a str)>) -> &'a str {
    let given = headers.find(|(name, _)| trim(name).eq_ignore_ascii_case("content-type"));
    let Some((_, value)) = given else { return MEDIA_TYPES[0] };
    let value = trim(value);
    let media_type = value.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
    let is_allowed = MEDIA_TYPES.iter().any(|allowed| allowed.eq_ignore_ascii_case(media_type));
    if is_allowed && value.len() <= HEADER_BYTES_MAX && is_one_media_type(value) {
        value
    } else {
        MEDIA_TYPES[0]
    }
}

/// Whether every reader takes the value for one media type.
///
/// The Fetch standard ("extract a MIME type") splits the value at commas and takes the last type that it can read, so
/// that `text/plain; a=b, text/html` is HTML. A comma within a quoted string does not split, but where such a string
/// ends is read differently by different readers. So a value with a comma is not sent; neither is one with bytes over
/// 0x7F, which clients decode differently.
fn is_one_media_type(value: &str) -> bool {
    is_field_value(value.as_bytes()) && value.is_ascii() && !value.contains(',')
}

fn may_be_sent(name: &str) -> bool {
    let starts_as_proxy = name
        .as_bytes()
        .get(..DROPPED_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(DROPPED_PREFIX));
    is_field_name(name.as_bytes())
        && !starts_as_proxy
        && !DROPPED.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
}

/// Without the blanks around, which are no part of a value (RFC 9110, 5.5). Line ends stay: they make it none.
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean_one<'a>(name: &'a str, value: &'a str) -> Option<(&'a str, &'a str)> {
        clean([(name, value)].into_iter()).pop()
    }

    fn as_texts(headers: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> + Clone {
        headers.iter().map(|(name, value)| (&**name, &**value))
    }

    #[test]
    fn headers_of_a_reply_go_out_as_they_are() {
        for (name, value) in [
            ("X-Request-Id", "a b"),
            ("location", "https://e.x/?a=b"),
            ("Access-Control-Allow-Origin", "*"),
            ("x", ""),
            ("x", "é"),
        ] {
            assert_eq!(clean_one(name, value), Some((name, value)));
        }
        assert_eq!(clean_one(" x-a ", "\t b "), Some(("x-a", "b")));
    }

    #[test]
    fn headers_of_the_connection_and_of_the_engine_are_dropped_in_any_case() {
        for name in DROPPED.into_iter().chain([
            "proxy-authenticate",
            "Proxy-X",
            "SET-COOKIE",
            "X-Content-Type-Options",
        ]) {
            assert_eq!(clean_one(name, "x"), None, "{name}");
        }
    }

    #[test]
    fn headers_that_would_break_the_head_are_dropped() {
        for (name, value) in [
            ("x", "a\r\nset-cookie: b"),
            ("x", "a\n"),
            ("x", "\ra"),
            ("x", "a\0b"),
            ("x", "a\u{7f}"),
            ("x:y", "a"),
            ("x y", "a"),
            ("", "a"),
            ("x\r\n", "a"),
            ("\r\n x", "a"),
            ("x", "\u{1}"),
            ("é", "a"),
        ] {
            assert_eq!(clean_one(name, value), None, "{name:?}: {value:?}");
        }
    }

    #[test]
    fn headers_beyond_the_limits_are_left_out() {
        let many: Vec<_> = (0..HEADERS_MAX + 5).map(|i| (format!("x-{i}"), "v".to_owned())).collect();
        assert_eq!(clean(as_texts(&many)).len(), HEADERS_MAX);
        let large: Vec<_> = (0..5).map(|i| (format!("x-{i}"), "v".repeat(HEADER_BYTES_MAX / 4))).collect();
        assert_eq!(clean(as_texts(&large)).len(), 3);
    }

    #[test]
    fn a_media_type_is_one_of_five_or_json() {
        for (given, expected) in [
            ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
            (" Text/CSV ", "Text/CSV"),
            ("application/xml", "application/xml"),
            ("text/xml;charset=x", "text/xml;charset=x"),
            ("application/json", "application/json"),
            ("text/html", "application/json"),
            ("text/plain\r\nx: y", "application/json"),
            ("text/plain2", "application/json"),
            ("text/plain; a=b, text/html", "application/json"),
            ("text/plain,text/html", "application/json"),
            ("application/json, application/json", "application/json"),
            ("text/plain; a=\", text/html;\"", "application/json"),
            ("text/plain; a=\"b\"", "text/plain; a=\"b\""),
            ("text/plain; a=\"b, text/html", "application/json"),
            ("text/plain;", "text/plain;"),
            ("text/plain\u{c};", "application/json"),
            ("text/plain; a=é", "application/json"),
            ("", "application/json"),
        ] {
            let headers = [("X", "y"), ("content-TYPE", given)];
            assert_eq!(content_type(headers.into_iter()), expected, "{given:?}");
        }
        assert_eq!(content_type(std::iter::empty()), "application/json");
    }

    proptest::proptest! {
        #[test]
        fn no_line_end_and_no_dropped_field_gets_through(
            headers in proptest::collection::vec(("[a-zA-Z \r\n:\\-]{0,12}|(?i:set-cookie|connection|proxy-a)", "(?s).{0,12}"), 0..6)
        ) {
            for (name, value) in clean(as_texts(&headers)) {
                proptest::prop_assert!(!name.is_empty() && !name.contains(['\r', '\n', ':', ' ', '\0']));
                proptest::prop_assert!(!value.contains(['\r', '\n', '\0']));
                let lower = name.to_ascii_lowercase();
                proptest::prop_assert!(!DROPPED.contains(&lower.as_str()) && !lower.starts_with("proxy-"));
            }
            proptest::prop_assert!(!content_type(as_texts(&headers)).contains(['\r', '\n', '\0']));
        }
    }
}

//! The message that a `NatsNode` makes of a payload. Nothing is published here.

use bytes::Bytes;

use super::request::{HEADER_BYTES_MAX, RequestError, render};
use crate::base::id::Id;
use crate::http::encode::is_field_value;
use crate::registry::NatsNode;
use crate::template::Work;
use crate::trigger::Payload;

/// Longest subject: what NATS recommends is less, and what it takes ends with its control line of 4 KiB.
const SUBJECT_BYTES_MAX: usize = 250;

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub subject: String,
    /// Names, and values that are valid.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Makes the message. `own_prefix` is the first token of the cluster's own subjects.
///
/// # Errors
/// [`RequestError`].
pub fn publication(
    node: &NatsNode,
    payload: &Payload,
    own_prefix: &str,
) -> Result<Publication, RequestError> {
    let mut work = Work::of_event(payload.event.bytes().len());
    let subject = render("subject", &node.subject, payload, SUBJECT_BYTES_MAX + 1, &mut work)?;
    check_subject(&subject, own_prefix).map_err(RequestError::Subject)?;
    let mut headers = Vec::with_capacity(node.headers.len());
    for (name, value) in &node.headers {
        let text = render("headers", value, payload, HEADER_BYTES_MAX, &mut work)?;
        // As in a request: a value that would break the head is left out.
        let value = String::from_utf8(text).ok().filter(|value| is_field_value(value.as_bytes()));
        headers.extend(value.map(|value| (name.clone(), value.trim().to_owned())));
    }
    let mut body = Vec::with_capacity(payload.len());
    payload.write(&mut body);
    let subject = String::from_utf8(subject).map_err(|_| RequestError::Subject(NOT_TEXT))?;
    Ok(Publication { subject, headers, body: body.into() })
}

const NOT_TEXT: &str = "must be text";

/// Checks a subject that callers may have a part in: it must reach nothing that its author did not mean.
fn check_subject(subject: &[u8], own_prefix: &str) -> Result<(), &'static str> {
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err("must have 250 bytes at most");
    }
    let text = std::str::from_utf8(subject).map_err(|_| NOT_TEXT)?;
    if text.split('.').any(str::is_empty) {
        return Err("must have no empty token: nothing before, between or behind its dots");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must have no white space and no control characters");
    }
    if text.contains(['*', '>']) {
        return Err("must have no wildcard (`*`, `>`)");
    }
    if text.starts_with(['$', '_']) {
        return Err("must not begin with `$` or `_`, which are the subjects of NATS itself");
    }
    let own = text.strip_prefix(own_prefix).and_then(|rest| rest.strip_prefix('.'));
    // The subject of a node that names none stands beside those of the cluster.
    let is_application = |rest: &str| rest.split('.').next().is_some_and(|id| id.parse::<Id>().is_ok());
    if text == own_prefix || own.is_some_and(|rest| !is_application(rest)) {
        return Err("must not be a subject of the cluster itself");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reaches_nothing_that_its_author_did_not_mean() {
        let check = |subject: &str| check_subject(subject.as_bytes(), "tidegate");
        for good in
            ["orders", "orders.new.é", "tidegate.0123456789abcdef01234567.x", "tidegates", "a.$b", "a._"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("", "empty token"),
            (".a", "empty token"),
            ("a.", "empty token"),
            ("a..b", "empty token"),
            ("a b", "white space"),
            ("a\r\nPUB x", "white space"),
            ("a\u{a0}b", "white space"),
            ("a\u{0}", "control"),
            ("a.*", "wildcard"),
            (">", "wildcard"),
            ("$JS.API.STREAM.DELETE.x", "NATS itself"),
            ("_INBOX.x", "NATS itself"),
            ("tidegate", "cluster"),
            ("tidegate.j.0", "cluster"),
            ("tidegate.n.0123456789abcdef01234567.work", "cluster"),
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.contains(word), "{bad:?}: {error}");
        }
        assert!(check(&"x".repeat(250)).is_ok() && check(&"x".repeat(251)).is_err());
        assert!(check_subject(b"a\xff", "tidegate").is_err());
    }
}

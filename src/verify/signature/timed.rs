//! Schemes that sign a timestamp along with the body: stripe and slack; and the timestamp rule they share.

use super::tag::{Tag, any_matches, from_hex};
use super::{Mismatch, SignedRequest, TIMESTAMP_TOLERANCE_SECONDS};
use crate::base::clock::Now;
use crate::base::json::Raw;
use aws_lc_rs::hmac;
use smallvec::SmallVec;

/// More digits than a timestamp in seconds has for the next thirty thousand years.
const TIMESTAMP_DIGITS_MAX: usize = 12;

const STRIPE: &str = "Stripe-Signature";
const SLACK: &str = "X-Slack-Signature";
const SLACK_TIMESTAMP: &str = "X-Slack-Request-Timestamp";
/// The only version of Slack's signatures, in the field and in what is signed.
const SLACK_VERSION: &[u8] = b"v0=";

/// Refuses `text` unless it is a number of seconds since 1970 that lies near enough to now. What was signed is the
/// text itself, so it is read strictly: digits only.
pub(super) fn timestamp<'s>(field: &'s str, text: &[u8], now: Now) -> Result<(), Mismatch<'s>> {
    let digits = (1..=TIMESTAMP_DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    if !digits {
        return Err(Mismatch::Malformed { field, must: "seconds since 1970, in digits" });
    }
    let seconds = text.iter().fold(0, |seconds, digit| seconds * 10 + u64::from(digit - b'0'));
    let now = now.unix_seconds();
    if seconds.saturating_add(TIMESTAMP_TOLERANCE_SECONDS) < now {
        Err(Mismatch::TooOld(field))
    } else if seconds > now.saturating_add(TIMESTAMP_TOLERANCE_SECONDS) {
        Err(Mismatch::TooNew(field))
    } else {
        Ok(())
    }
}

/// `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`
/// (<https://docs.stripe.com/webhooks#verify-manually>).
pub(super) fn stripe<'s>(
    keys: &[hmac::Key],
    request: &SignedRequest<'_>,
    now: Now,
) -> Result<(), Mismatch<'s>> {
    let malformed = Mismatch::Malformed { field: STRIPE, must: "t=<seconds>,v1=<hex>" };
    let value = request.fields.once(STRIPE).map_err(Mismatch::not_once(STRIPE))?;
    let mut seconds = None;
    let mut tags: SmallVec<[Tag; 2]> = SmallVec::new();
    for part in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        if let Some(text) = part.strip_prefix(b"t=") {
            if seconds.replace(text).is_some() {
                return Err(malformed);
            }
        } else if let Some(text) = part.strip_prefix(b"v1=") {
            tags.extend(from_hex(text));
        }
    }
    let seconds = seconds.filter(|_| !tags.is_empty()).ok_or(malformed)?;
    timestamp(STRIPE, seconds, now)?;
    let matches = any_matches(keys, &[seconds, b".", request.body], &tags);
    if matches { Ok(()) } else { Err(Mismatch::Wrong(STRIPE)) }
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
pub(super) fn slack<'s>(
    keys: &[hmac::Key],
    request: &SignedRequest<'_>,
    now: Now,
) -> Result<(), Mismatch<'s>> {
    let seconds = request.fields.once(SLACK_TIMESTAMP).map_err(Mismatch::not_once(SLACK_TIMESTAMP))?;
    let value = request.fields.once(SLACK).map_err(Mismatch::not_once(SLACK))?;
    timestamp(SLACK_TIMESTAMP, seconds, now)?;
    let tag = value.strip_prefix(SLACK_VERSION).and_then(from_hex);
    let tag = tag.ok_or(Mismatch::Malformed { field: SLACK, must: "v0=<hex>" })?;
    let matches = any_matches(keys, &[b"v0:", seconds, b":", request.body], &[tag]);
    if matches { Ok(()) } else { Err(Mismatch::Wrong(SLACK)) }
}

/// The challenge of Slack's `url_verification` request, to be answered with 200 and `text/plain` in place of a
/// trigger (<https://docs.slack.dev/reference/events/url_verification>). To be asked only of a body whose signature
/// was found right: an unsigned body would be reflected otherwise.
#[must_use]
pub fn slack_challenge(body: &[u8]) -> Option<String> {
    // Looked at for every request of Slack's, so the cheap test comes first.
    memchr::memmem::find(body, b"url_verification")?;
    let event = Raw::document(body)?;
    if event.get("type")?.as_str()? != "url_verification" {
        return None;
    }
    Some(event.get("challenge")?.as_str()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, unix_seconds: u64) -> Result<(), Mismatch<'static>> {
        timestamp("T", text.as_bytes(), Now { nanos: 0, unix_millis: unix_seconds * 1000 + 999 })
    }

    #[test]
    fn a_timestamp_may_lie_five_minutes_from_now_either_way() {
        assert_eq!(check("1000000", 1_000_000), Ok(()));
        assert_eq!(check("1000000", 1_000_300), Ok(()));
        assert_eq!(check("1000000", 1_000_301), Err(Mismatch::TooOld("T")));
        assert_eq!(check("1000300", 1_000_000), Ok(()));
        assert_eq!(check("1000301", 1_000_000), Err(Mismatch::TooNew("T")));
        assert_eq!(check("999999999999", 1_000_000), Err(Mismatch::TooNew("T")));
        assert_eq!(check("0", 1_000_000), Err(Mismatch::TooOld("T")));
    }

    #[test]
    fn a_timestamp_is_digits_and_nothing_else() {
        for text in ["", " 1000000", "+1000000", "-1", "1000000.0", "1e6", "0x10", "1000000000000", "١"] {
            assert!(matches!(check(text, 1_000_000), Err(Mismatch::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn the_challenge_of_a_url_verification_is_found() {
        let body = br#"{"token":"x","challenge":"3eZbrw1a\u0042 \"","type":"url_verification"}"#;
        assert_eq!(slack_challenge(body).as_deref(), Some("3eZbrw1aB \""));
    }

    #[test]
    fn other_events_have_no_challenge() {
        for body in [
            &br#"{"type":"event_callback","challenge":"x","text":"url_verification"}"#[..],
            br#"{"type":"url_verification"}"#,
            br#"{"type":"url_verification","challenge":1}"#,
            br#"{"type":"url_verification","challenge":"x""#,
            br#"["url_verification"]"#,
            b"type=url_verification&challenge=x",
            b"",
        ] {
            assert_eq!(slack_challenge(body), None, "{}", String::from_utf8_lossy(body));
        }
    }
}

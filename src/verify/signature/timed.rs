//! The timestamp that a sender signs along with the body, and how near to now it must be; stripe's scheme.

use smallvec::SmallVec;

use super::keys::SignatureKeys;
use super::mismatch::Mismatch;
use super::request::{SignedRequest, Unsigned};
use super::tag::{Tag, from_hex};
use crate::base::clock::Now;
use crate::base::text::{hex_into, parse_time};

/// How far a sender's timestamp may lie from now, either way, in seconds
/// ([verification](crate::guide::verification#verification); the senders' own libraries have the same number).
pub(crate) const TIMESTAMP_TOLERANCE_SECONDS: u64 = 300;

/// More digits than a timestamp in seconds has for the next thirty thousand years.
const SECONDS_DIGITS_MAX: usize = 12;
/// Digits of a timestamp in milliseconds, until the year 2286.
const MILLIS_DIGITS: usize = 13;

const STRIPE: &str = "Stripe-Signature";

/// How a sender writes its timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// Seconds since 1970.
    Seconds,
    /// Seconds or milliseconds since 1970, or a date and time of RFC 3339.
    Any,
}

impl Written {
    fn must(self) -> &'static str {
        match self {
            Written::Seconds => "seconds since 1970, in digits",
            Written::Any => "seconds or milliseconds since 1970, in digits, or a time of RFC 3339",
        }
    }

    /// Seconds since 1970. What was signed is the text itself, so it is read strictly.
    fn seconds(self, text: &[u8]) -> Option<u64> {
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let number = || text.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
        match self {
            _ if is_number && text.len() <= SECONDS_DIGITS_MAX => Some(number()),
            Written::Seconds => None,
            Written::Any if is_number => (text.len() == MILLIS_DIGITS).then(|| number() / 1000),
            Written::Any => {
                let millis = parse_time(str::from_utf8(text).ok()?)?;
                u64::try_from(millis / 1000).ok()
            }
        }
    }
}

/// Refuses a timestamp that is not written so, or is further than the tolerance from now, either way.
pub(super) fn check<'s>(
    field: &'s str,
    text: &[u8],
    written: Written,
    tolerance_seconds: u64,
    now: Now,
) -> Result<(), Mismatch<'s>> {
    let Some(seconds) = written.seconds(text) else {
        return Err(Mismatch::Malformed { field, must: written.must() });
    };
    let now = now.unix_seconds();
    if seconds.saturating_add(tolerance_seconds) < now {
        Err(Mismatch::TooOld(field))
    } else if seconds > now.saturating_add(tolerance_seconds) {
        Err(Mismatch::TooNew(field))
    } else {
        Ok(())
    }
}

/// As [`check`], for the senders whose own libraries have 300 seconds.
pub(super) fn timestamp<'s>(field: &'s str, text: &[u8], now: Now) -> Result<(), Mismatch<'s>> {
    check(field, text, Written::Seconds, TIMESTAMP_TOLERANCE_SECONDS, now)
}

/// `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`
/// (<https://docs.stripe.com/webhooks#verify-manually>).
pub(super) fn stripe(
    keys: &SignatureKeys,
    request: &SignedRequest<'_>,
    now: Now,
) -> Result<usize, Mismatch<'static>> {
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
    keys.matching(&[seconds, b".", request.body], &tags).ok_or(Mismatch::Wrong(STRIPE))
}

/// The field that makes a request genuine to [`stripe`]; `None` where there is no key to sign with.
pub(super) fn sign_stripe(
    keys: &SignatureKeys,
    request: &Unsigned<'_>,
    now: Now,
) -> Option<Vec<(String, String)>> {
    let seconds = now.unix_seconds().to_string();
    let tag = keys.sign_parts(&[seconds.as_bytes(), b".", request.body])?;
    let mut value = format!("t={seconds},v1=").into_bytes();
    hex_into(&mut value, tag.as_ref());
    // Hex is ASCII.
    Some(vec![(STRIPE.to_owned(), String::from_utf8(value).unwrap_or_default())])
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
    fn a_configured_timestamp_may_be_in_milliseconds_or_a_date() {
        let check = |text: &str| {
            let now = Now { nanos: 0, unix_millis: 1_771_521_960_123 };
            super::check("T", text.as_bytes(), Written::Any, 10, now)
        };
        for text in [
            "1771521960",
            "1771521951",
            "1771521960123",
            "2026-02-19T17:26:00Z",
            "2026-02-19T18:26:05.5+01:00",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        assert_eq!(check("1771521949"), Err(Mismatch::TooOld("T")));
        assert_eq!(check("2026-02-19T17:26:11Z"), Err(Mismatch::TooNew("T")));
        for text in ["", "17715219601234", "yesterday", "2026-02-19", "1.5", "1969-12-31T23:59:59Z"] {
            assert!(check(text).is_err(), "{text}");
        }
    }
}

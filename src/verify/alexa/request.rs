//! The fields that an Alexa request must carry, and the age that it may have.

use super::age::{EVENT_AGE_MILLIS_MAX, TOLERANCE_MILLIS};
use super::digest::Digest;
use super::refusal::AlexaRefusal;
use super::rules::ChainUrl;
use crate::base::clock::Now;
use crate::base::json::{Kind, Raw};
use crate::base::text::{base64_decode, parse_time};
use crate::verify::fields::{Fields, NotOnce};

/// Types of requests that Amazon delivers up to an hour after they were made.
const EVENTS: [&str; 5] = [
    "AlexaSkillEvent.SkillEnabled",
    "AlexaSkillEvent.SkillDisabled",
    "AlexaSkillEvent.SkillPermissionChanged",
    "AlexaSkillEvent.SkillPermissionAccepted",
    "AlexaSkillEvent.SkillAccountLinked",
];

const URL_FIELD: &str = "SignatureCertChainUrl";
/// The base64 of a signature by a key of 8192 bits, the largest that is taken.
const SIGNATURE_BASE64_BYTES_MAX: usize = 1368;

/// A request that is right as far as can be said without its chain: see [`super::finish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Where the chain is.
    pub url: ChainUrl,
    /// The digest of the signed body.
    pub digest: Digest,
    /// The signature.
    pub signature: Box<[u8]>,
}

/// Reads what a request carries, and refuses it where that alone is reason enough. The body's timestamp is checked
/// here, when the request came, rather than after a fetch that it may have to wait for.
///
/// # Errors
/// [`AlexaRefusal`], a 400 without a trigger.
pub fn begin<'a>(fields: &dyn Fields<'a>, body: &[u8], now: Now) -> Result<Pending, AlexaRefusal> {
    let url = fields.once(URL_FIELD).map_err(|why| AlexaRefusal::Field(URL_FIELD, why))?;
    let url = ChainUrl::parse(url).map_err(AlexaRefusal::Url)?;
    let (digest, signature) = signature(fields)?;
    check_time(body, now)?;
    Ok(Pending { url, digest, signature })
}

/// `Signature-256` wins where both are sent, also where it is wrong.
fn signature(fields: &dyn Fields<'_>) -> Result<(Digest, Box<[u8]>), AlexaRefusal> {
    let (digest, text) = match fields.once(Digest::Sha256.field()) {
        Err(NotOnce::Missing) => (Digest::Sha1, fields.once(Digest::Sha1.field())),
        found => (Digest::Sha256, found),
    };
    let text = text.map_err(|why| AlexaRefusal::Field(digest.field(), why))?;
    let signature = Some(text).filter(|text| (1..=SIGNATURE_BASE64_BYTES_MAX).contains(&text.len()));
    let signature = signature.and_then(base64_decode).ok_or(AlexaRefusal::MalformedSignature(digest))?;
    Ok((digest, signature.into_boxed_slice()))
}

/// The body's timestamp counts; a key that decides is there exactly once, since readers differ in which of two they
/// take.
fn check_time(body: &[u8], now: Now) -> Result<(), AlexaRefusal> {
    let envelope = Raw::document(body).ok_or(AlexaRefusal::NoRequest)?;
    let request = member_once(envelope, "request").flatten();
    let request = request.filter(|request| request.kind() == Kind::Object).ok_or(AlexaRefusal::NoRequest)?;
    let timestamp = member_once(request, "timestamp").flatten().and_then(|timestamp| timestamp.as_str());
    let timestamp = timestamp.and_then(|text| parse_time(&text)).ok_or(AlexaRefusal::Timestamp)?;
    let kind = member_once(request, "type").ok_or(AlexaRefusal::NoRequest)?.and_then(|kind| kind.as_str());

    let now = i64::try_from(now.unix_millis).unwrap_or(i64::MAX);
    let distance = timestamp.abs_diff(now);
    if timestamp > now {
        return if distance > TOLERANCE_MILLIS { Err(AlexaRefusal::TooNew) } else { Ok(()) };
    }
    let is_event = kind.is_some_and(|kind| EVENTS.contains(&&*kind));
    let age_millis_max = if is_event { EVENT_AGE_MILLIS_MAX } else { TOLERANCE_MILLIS };
    if distance > age_millis_max { Err(AlexaRefusal::TooOld { age_millis_max }) } else { Ok(()) }
}

/// The value of a key of an object: `Some(None)` where there is none, `None` where there are several.
fn member_once<'a>(object: Raw<'a>, key: &str) -> Option<Option<Raw<'a>>> {
    let mut found = object.entries().filter(|(name, _)| name == key).map(|(_, value)| value);
    let first = found.next();
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::write_time;

    /// 2026-02-19T17:26:00Z
    const NOW: Now = Now { nanos: 0, unix_millis: 1_771_521_960_000 };
    const URL: &[u8] = b"https://s3.amazonaws.com/echo.api/echo-api-cert.pem";

    fn body(timestamp: &str, kind: &str) -> String {
        format!(r#"{{"version":"1.0","request":{{"type":"{kind}","timestamp":"{timestamp}"}}}}"#)
    }

    fn time(body: &str) -> Result<(), AlexaRefusal> {
        check_time(body.as_bytes(), NOW)
    }

    fn at(offset_millis: i64, kind: &str) -> Result<(), AlexaRefusal> {
        let mut text = Vec::new();
        write_time(&mut text, NOW.unix_millis.saturating_add_signed(offset_millis));
        time(&body(&String::from_utf8(text).expect("ASCII"), kind))
    }

    fn begun(list: &[(&str, &[u8])]) -> Result<Pending, AlexaRefusal> {
        let fields: Vec<(&[u8], &[u8])> =
            list.iter().map(|(name, value)| (name.as_bytes(), *value)).collect();
        begin(&fields.iter().copied(), body("2026-02-19T17:26:00Z", "LaunchRequest").as_bytes(), NOW)
    }

    #[test]
    fn a_timestamp_may_lie_150_seconds_from_now_either_way() {
        let too_old = Err(AlexaRefusal::TooOld { age_millis_max: TOLERANCE_MILLIS });
        for (offset_millis, expected) in [
            (0, Ok(())),
            (-150_000, Ok(())),
            (-150_001, too_old.clone()),
            (-3_600_000, too_old),
            (150_000, Ok(())),
            (150_001, Err(AlexaRefusal::TooNew)),
        ] {
            assert_eq!(at(offset_millis, "IntentRequest"), expected, "{offset_millis}");
        }
    }

    #[test]
    fn five_events_may_be_an_hour_old_but_no_further_in_the_future() {
        for kind in EVENTS {
            assert_eq!(at(-3_600_000, kind), Ok(()), "{kind}");
            assert_eq!(
                at(-3_600_001, kind),
                Err(AlexaRefusal::TooOld { age_millis_max: EVENT_AGE_MILLIS_MAX })
            );
            assert_eq!(at(150_000, kind), Ok(()));
            assert_eq!(at(150_001, kind), Err(AlexaRefusal::TooNew));
        }
        for kind in ["AlexaSkillEvent.SomethingElse", "alexaskillevent.skillenabled", ""] {
            assert_eq!(
                at(-150_001, kind),
                Err(AlexaRefusal::TooOld { age_millis_max: TOLERANCE_MILLIS }),
                "{kind}"
            );
        }
    }

    #[test]
    fn timestamps_are_read_with_their_offsets() {
        assert_eq!(time(&body("2026-02-19T18:26:00+01:00", "LaunchRequest")), Ok(()));
        assert_eq!(time(&body("2026-02-19T17:26:00.5Z", "LaunchRequest")), Ok(()));
        assert!(time(&body("2026-02-19T17:26:00+01:00", "LaunchRequest")).is_err());
    }

    #[test]
    fn a_timestamp_that_does_not_parse_is_refused() {
        for text in [
            "",
            "now",
            "1771521960",
            "2026-02-19",
            "2026-02-19T17:26:00",
            "2026-02-30T17:26:00Z",
            " 2026-02-19T17:26:00Z",
        ] {
            assert_eq!(time(&body(text, "LaunchRequest")), Err(AlexaRefusal::Timestamp), "{text}");
        }
        for value in
            ["1771521960", "1771521960000", "null", "true", "[]", r#"["2026-02-19T17:26:00Z"]"#, "{}"]
        {
            let body = format!(r#"{{"request":{{"type":"LaunchRequest","timestamp":{value}}}}}"#);
            assert_eq!(time(&body), Err(AlexaRefusal::Timestamp), "{value}");
        }
        assert_eq!(time(r#"{"request":{}}"#), Err(AlexaRefusal::Timestamp));
        assert_eq!(
            time(r#"{"timestamp":"2026-02-19T17:26:00Z","request":{}}"#),
            Err(AlexaRefusal::Timestamp)
        );
    }

    #[test]
    fn a_key_that_decides_and_is_repeated_is_refused() {
        let good = r#""timestamp":"2026-02-19T17:26:00Z""#;
        for other in [good, r#""timestamp":"2000-01-01T00:00:00Z""#, r#""\u0074imestamp":null"#] {
            for (first, second) in [(good, other), (other, good)] {
                let body = format!(r#"{{"request":{{{first},{second}}}}}"#);
                assert_eq!(time(&body), Err(AlexaRefusal::Timestamp), "{body}");
            }
        }
        let request = format!(r#""request":{{{good}}}"#);
        assert_eq!(time(&format!("{{{request},{request}}}")), Err(AlexaRefusal::NoRequest));
        let types = r#""type":"LaunchRequest","type":"AlexaSkillEvent.SkillEnabled""#;
        assert_eq!(time(&format!(r#"{{"request":{{{good},{types}}}}}"#)), Err(AlexaRefusal::NoRequest));
        // Elsewhere in the body a repeated key is nobody's business.
        assert_eq!(time(&format!(r#"{{"a":{{"timestamp":1,"timestamp":2}},{request}}}"#)), Ok(()));
    }

    #[test]
    fn a_body_without_a_request_is_refused() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"request":null}"#,
            r#"{"request":"x"}"#,
            r#"{"request":{"#,
            "request=1",
        ] {
            assert_eq!(time(body), Err(AlexaRefusal::NoRequest), "{body}");
        }
    }

    #[test]
    fn signature_256_wins_where_both_are_sent() {
        let sha1: (&str, &[u8]) = ("signature", b"AQ==");
        let sha256: (&str, &[u8]) = ("SIGNATURE-256", b"Ag==");
        let url: (&str, &[u8]) = ("signaturecertchainurl", URL);
        let pending = begun(&[url, sha1]).expect("good");
        assert_eq!((pending.digest, &pending.signature[..]), (Digest::Sha1, &[1][..]));
        for both in [[url, sha1, sha256], [sha256, url, sha1]] {
            let pending = begun(&both).expect("good");
            assert_eq!((pending.digest, &pending.signature[..]), (Digest::Sha256, &[2][..]));
            assert_eq!(pending.url.path(), "/echo.api/echo-api-cert.pem");
        }
        let wrong: (&str, &[u8]) = ("Signature-256", b"?");
        assert_eq!(begun(&[url, sha1, wrong]), Err(AlexaRefusal::MalformedSignature(Digest::Sha256)));
        assert_eq!(
            begun(&[url, sha1, sha256, sha256]),
            Err(AlexaRefusal::Field("Signature-256", NotOnce::Repeated))
        );
    }

    #[test]
    fn missing_repeated_and_malformed_fields_are_refused() {
        let signature: (&str, &[u8]) = ("Signature", b"AQ==");
        let url: (&str, &[u8]) = (URL_FIELD, URL);
        assert_eq!(begun(&[signature]), Err(AlexaRefusal::Field(URL_FIELD, NotOnce::Missing)));
        assert_eq!(begun(&[signature, url, url]), Err(AlexaRefusal::Field(URL_FIELD, NotOnce::Repeated)));
        assert_eq!(begun(&[url]), Err(AlexaRefusal::Field("Signature", NotOnce::Missing)));
        assert_eq!(
            begun(&[url, signature, signature]),
            Err(AlexaRefusal::Field("Signature", NotOnce::Repeated))
        );
        let long = "A".repeat(SIGNATURE_BASE64_BYTES_MAX + 4);
        for malformed in ["", "=", "A", "AQ== AQ==", "AQ==,AQ==", "hé", &long] {
            assert_eq!(
                begun(&[url, ("Signature", malformed.as_bytes())]),
                Err(AlexaRefusal::MalformedSignature(Digest::Sha1)),
                "{malformed}"
            );
        }
        assert!(matches!(begun(&[signature, (URL_FIELD, b"http://x/")]), Err(AlexaRefusal::Url(_))));
    }
}

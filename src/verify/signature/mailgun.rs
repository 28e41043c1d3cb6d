//! Mailgun's scheme (<https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks>): the
//! body holds a timestamp, a token and the HMAC-SHA256 of both.
//!
//! The rest of the body is not signed: a caller that has seen one event can send another with its three values for as
//! long as the timestamp is taken. The token is unique for each event.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::keys::SignatureKeys;
use super::mismatch::Mismatch;
use super::request::{SignedRequest, Unsigned};
use super::tag::{Tag, from_hex};
use super::timed::timestamp;
use super::twilio::is_form;
use crate::base::clock::Now;
use crate::base::json::{self, Kind, Raw};
use crate::base::text::hex_into;
use crate::verify::query::{Parameter, parameter};

/// The member of an event that holds the others.
const SIGNATURE: &str = "signature";
/// The member that is signed with the key of the primary account, where a subaccount sends.
const PARENT: &str = "parent-signature";

const TIMESTAMP_FIELD: &str = "signature.timestamp";
const TOKEN_FIELD: &str = "signature.token";
const TAG_FIELD: &str = "signature.signature";

/// The values of a request, as text.
struct SignedValues<'b> {
    timestamp: Cow<'b, [u8]>,
    token: Cow<'b, [u8]>,
    tags: SmallVec<[Tag; 2]>,
}

/// The number of the key that signed.
pub(super) fn check(
    keys: &SignatureKeys,
    request: &SignedRequest<'_>,
    now: Now,
) -> Result<usize, Mismatch<'static>> {
    let values = if is_form(request.fields.once("Content-Type").unwrap_or_default()) {
        of_form(request.body)?
    } else {
        of_event(request.body)?
    };
    if values.tags.is_empty() {
        return Err(Mismatch::Malformed { field: TAG_FIELD, must: "a tag in hex digits" });
    }
    timestamp(TIMESTAMP_FIELD, &values.timestamp, now)?;
    keys.matching(&[&values.timestamp, &values.token], &values.tags).ok_or(Mismatch::Wrong(TAG_FIELD))
}

/// The object `signature` of an event.
fn of_event(body: &[u8]) -> Result<SignedValues<'_>, Mismatch<'static>> {
    let signature = Raw::document(body).and_then(|event| event.get(SIGNATURE));
    let signature = signature.ok_or(Mismatch::Missing(SIGNATURE))?;
    let text = |name: &str| {
        let value = signature.get(name)?;
        match value.kind() {
            Kind::Number => Some(Cow::Borrowed(value.bytes())),
            _ => value.as_str().map(|text| match text {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
        }
    };
    Ok(SignedValues {
        timestamp: text("timestamp").ok_or(Mismatch::Missing(TIMESTAMP_FIELD))?,
        token: text("token").ok_or(Mismatch::Missing(TOKEN_FIELD))?,
        tags: [SIGNATURE, PARENT].iter().filter_map(|name| from_hex(&text(name)?)).collect(),
    })
}

/// The parameters of a form, as Mailgun's routes send it.
fn of_form(body: &[u8]) -> Result<SignedValues<'static>, Mismatch<'static>> {
    let text = |name: &str, field: &'static str| match parameter(body, name) {
        Parameter::Once(value) => Ok(value),
        Parameter::Missing => Err(Mismatch::Missing(field)),
        Parameter::Repeated => Err(Mismatch::Repeated(field)),
    };
    Ok(SignedValues {
        timestamp: Cow::Owned(text("timestamp", "timestamp")?),
        token: Cow::Owned(text("token", "token")?),
        tags: from_hex(&text(SIGNATURE, SIGNATURE)?).into_iter().collect(),
    })
}

/// The body with a `signature` of now in it; `None` where it is not an event, or there is no key to sign with.
pub(super) fn sign(keys: &SignatureKeys, request: &Unsigned<'_>, now: Now) -> Option<Vec<u8>> {
    let event = Raw::document(request.body).filter(|event| event.kind() == Kind::Object)?;
    let seconds = now.unix_seconds().to_string();
    let tag = keys.sign_parts(&[seconds.as_bytes(), request.id.as_bytes()])?;
    let mut body = format!(r#"{{"{SIGNATURE}":{{"timestamp":"{seconds}","token":"#).into_bytes();
    json::escape_into(&mut body, request.id);
    body.extend_from_slice(br#","signature":""#);
    hex_into(&mut body, tag.as_ref());
    body.extend_from_slice(b"\"}");
    for (name, value) in event.entries().filter(|(name, _)| name != SIGNATURE) {
        body.push(b',');
        json::escape_into(&mut body, &name);
        body.push(b':');
        body.extend_from_slice(value.bytes());
    }
    body.push(b'}');
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    const NOW: Now = Now { nanos: 0, unix_millis: 1_770_920_772_000 };

    fn keys() -> SignatureKeys {
        SignatureKeys::Hmac(Box::new([hmac::Key::new(hmac::HMAC_SHA256, b"key-0123")]))
    }

    fn check(body: &str, content_type: &str) -> Result<usize, String> {
        let fields = [(&b"content-type"[..], content_type.as_bytes())];
        let request = SignedRequest { url: b"", fields: &fields.iter().copied(), body: body.as_bytes() };
        super::check(&keys(), &request, NOW).map_err(|mismatch| mismatch.to_string())
    }

    /// Python: `hmac.new(b"key-0123", b"1770920772" + b"e0b5", "sha256").hexdigest()`
    const TAG: &str = "46deaf57fcddb3668dd270a55084939b5cc50e23e715d83f3274fca28f4c16ef";

    #[test]
    fn an_event_and_a_form_are_read() {
        let event = |timestamp: &str, tag: &str| {
            format!(
                r#"{{"signature":{{"token":"e0b5","timestamp":{timestamp},"signature":"{tag}"}},"event-data":{{}}}}"#
            )
        };
        assert_eq!(check(&event("\"1770920772\"", TAG), "application/json"), Ok(0));
        assert_eq!(check(&event("1770920772", TAG), "application/json"), Ok(0));
        let form = format!("timestamp=1770920772&token=e0b5&signature={TAG}&subject=x");
        assert_eq!(check(&form, "application/x-www-form-urlencoded"), Ok(0));
        for (body, word) in [
            (event("\"1770920773\"", TAG), "does not match"),
            (event("\"1770920172\"", TAG), "too old"),
            (event("null", TAG), "signature.timestamp is missing"),
            (event("\"1770920772\"", ""), "hex digits"),
            ("{}".to_owned(), "signature is missing"),
            ("[]".to_owned(), "signature is missing"),
            (String::new(), "signature is missing"),
        ] {
            let message = check(&body, "application/json").expect_err(&body);
            assert!(message.contains(word), "{body}: {message}");
        }
        let twice = format!("{form}&token=e0b5");
        assert!(check(&twice, "application/x-www-form-urlencoded").is_err());
    }

    #[test]
    fn the_tag_of_the_primary_account_counts_too() {
        let body = format!(
            r#"{{"signature":{{"token":"e0b5","timestamp":"1770920772","signature":"00","parent-signature":"{TAG}"}}}}"#
        );
        assert_eq!(check(&body, "application/json"), Ok(0));
    }

    #[test]
    fn a_signed_event_keeps_its_other_members() {
        let event = br#"{"signature":{"old":1},"event-data":{"n":1.00},"a\"b":[]}"#;
        let unsigned = Unsigned { url: b"", content_type: "application/json", body: event, id: "t\"1" };
        let signed = String::from_utf8(sign(&keys(), &unsigned, NOW).expect("signed")).expect("text");
        assert!(signed.ends_with(r#","event-data":{"n":1.00},"a\"b":[]}"#), "{signed}");
        assert_eq!(check(&signed, "application/json"), Ok(0));
        assert_eq!(sign(&keys(), &Unsigned { body: b"[]", ..unsigned }, NOW), None);
    }
}

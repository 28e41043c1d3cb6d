//! Handshakes within signed requests: a body that asks to be answered instead of triggering anything.
//!
//! Asked only of a body whose signature was found right: an unsigned body would be reflected otherwise. The one exception
//! is Slack's check of the certificate, which is unsigned by design and answered with nothing.

use std::borrow::Cow;

use super::keys::SignatureKeys;
use super::request::SignedRequest;
use crate::base::json::{self, Raw};
use crate::base::text::hex_into;
use crate::verify::query::{Parameter, parameter};

/// The answer to a handshake, with 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub content_type: &'static str,
    pub body: Cow<'static, [u8]>,
}

/// `url_verification` (<https://docs.slack.dev/reference/events/url_verification>).
pub(super) fn slack(body: &[u8]) -> Option<Challenge> {
    // Looked at for every request of Slack's, so the cheap test comes first.
    memchr::memmem::find(body, b"url_verification")?;
    let event = Raw::document(body)?;
    if event.get("type")?.as_str()? != "url_verification" {
        return None;
    }
    let challenge = event.get("challenge")?.as_str()?.into_owned();
    Some(Challenge { content_type: "text/plain", body: Cow::Owned(challenge.into_bytes()) })
}

/// `ssl_check`, which Slack sends to commands without a signature, to see whether the certificate holds
/// (<https://docs.slack.dev/interactivity/implementing-slash-commands>).
pub(super) fn slack_ssl_check(request: &SignedRequest<'_>) -> Option<Challenge> {
    memchr::memmem::find(request.body, b"ssl_check")?;
    let is_unsigned = request.fields.once("X-Slack-Signature").is_err();
    let asks = parameter(request.body, "ssl_check") == Parameter::Once(b"1".to_vec());
    (is_unsigned && asks).then_some(Challenge { content_type: "text/plain", body: Cow::Borrowed(b"") })
}

/// `endpoint.url_validation` (<https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint>). `key` is
/// the number of the key that signed the request, and signs the answer.
pub(super) fn zoom(body: &[u8], keys: &SignatureKeys, key: usize) -> Option<Challenge> {
    memchr::memmem::find(body, b"endpoint.url_validation")?;
    let event = Raw::document(body)?;
    if event.get("event")?.as_str()? != "endpoint.url_validation" {
        return None;
    }
    let token = event.get("payload")?.get("plainToken")?.as_str()?;
    let encrypted = keys.sign(key, token.as_bytes())?;
    let mut body = b"{\"plainToken\":".to_vec();
    json::escape_into(&mut body, &token);
    body.extend_from_slice(b",\"encryptedToken\":\"");
    hex_into(&mut body, encrypted.as_ref());
    body.extend_from_slice(b"\"}");
    Some(Challenge { content_type: "application/json", body: Cow::Owned(body) })
}

/// Discord's PING (<https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-acknowledging-ping-requests>)
/// and its answer, PONG: both of type 1.
pub(super) fn discord(body: &[u8]) -> Option<Challenge> {
    let interaction = Raw::document(body)?;
    let is_ping = interaction.get("type")?.as_i64()? == 1;
    is_ping.then_some(Challenge { content_type: "application/json", body: Cow::Borrowed(b"{\"type\":1}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    fn text(challenge: Option<Challenge>) -> Option<String> {
        challenge.map(|challenge| String::from_utf8(challenge.body.into_owned()).unwrap())
    }

    #[test]
    fn the_challenge_of_slacks_url_verification_is_found() {
        let body = br#"{"token":"x","challenge":"3eZbrw1a\u0042 \"","type":"url_verification"}"#;
        assert_eq!(text(slack(body)).as_deref(), Some("3eZbrw1aB \""));
        for body in [
            &br#"{"type":"event_callback","challenge":"x","text":"url_verification"}"#[..],
            br#"{"type":"url_verification"}"#,
            br#"{"type":"url_verification","challenge":1}"#,
            br#"{"type":"url_verification","challenge":"x""#,
            br#"["url_verification"]"#,
            b"type=url_verification&challenge=x",
            b"",
        ] {
            assert_eq!(slack(body), None, "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn zooms_validation_is_answered_with_its_token_signed() {
        let keys = SignatureKeys::Hmac(Box::new([
            hmac::Key::new(hmac::HMAC_SHA256, b"old"),
            hmac::Key::new(hmac::HMAC_SHA256, b"secret"),
        ]));
        let body = br#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
        // Python: hmac.new(b"secret", b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hexdigest()
        let expected = concat!(
            r#"{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","#,
            r#""encryptedToken":"72cef096bfd47c0b8664df30d07721641e4abd7e885ba432204260db477a9a3e"}"#
        );
        assert_eq!(text(zoom(body, &keys, 1)).as_deref(), Some(expected));
        for other in [
            &br#"{"payload":{},"event":"endpoint.url_validation"}"#[..],
            br#"{"payload":{"plainToken":"x"},"event":"meeting.started","note":"endpoint.url_validation"}"#,
            b"endpoint.url_validation",
            b"",
        ] {
            assert_eq!(zoom(other, &keys, 1), None);
        }
    }

    #[test]
    fn discords_ping_is_answered_and_other_interactions_are_not() {
        assert_eq!(text(discord(br#"{"id":"1","type":1,"version":1}"#)).as_deref(), Some(r#"{"type":1}"#));
        for other in [&br#"{"type":2}"#[..], br#"{"type":"1"}"#, br#"{"data":{"type":1}}"#, b"", b"1"] {
            assert_eq!(discord(other), None);
        }
    }
}

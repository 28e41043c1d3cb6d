//! The handshakes of `verificationType`: facebook, fitbit and twilio
//! ([verification](crate::guide::verification#verification)). Alexa's is in [`super::alexa`].

use crate::model::VerificationType;
use crate::verify::query::{Parameter, parameter};
use crate::verify::secret::Expected;
use std::borrow::Cow;

/// The response that tells Twilio to do nothing (TwiML).
pub(crate) const EMPTY_TWIML: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#;
/// The body of a response unless the webhook or a reply sets another (step 10 of [HTTP
/// requests](crate::guide::http_requests#steps)).
pub(crate) const SUCCESS: &str = r#"{"success":true}"#;

const JSON: &str = "application/json";

/// A webhook's `verificationType` with its rendered code. 16 bytes.
#[derive(Clone, Debug)]
pub enum Provider {
    /// `none`: every request passes.
    None,
    /// `facebook`: Meta's subscription handshake.
    Facebook(Expected),
    /// `fitbit`: Fitbit's subscriber verification.
    Fitbit(Expected),
    /// `twilio`: no handshake; the default response is TwiML.
    Twilio,
    /// `alexa`: the caller goes on with [`super::alexa::begin`].
    Alexa,
}

/// The decision of a provider's handshake about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum ProviderVerdict {
    /// It is not part of a handshake: go on.
    Pass,
    /// It is: this is the answer, and there is no trigger. A signature is not asked for, since handshakes carry none.
    Answer(ProviderAnswer),
}

/// A response decided by a provider, or the default one. A status that carries no body has an empty one here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderAnswer {
    /// Its status code.
    pub status: u16,
    /// `Content-Type`; `None` where there is no body to have one.
    pub content_type: Option<&'static str>,
    /// Its body.
    pub body: Cow<'static, [u8]>,
}

impl Provider {
    /// `code` is `verificationCode` after rendering; an empty one verifies nobody.
    #[must_use]
    pub fn compile(kind: VerificationType, code: &str) -> Provider {
        match kind {
            VerificationType::None => Provider::None,
            VerificationType::Facebook => Provider::Facebook(Expected::secret(code.as_bytes())),
            VerificationType::Fitbit => Provider::Fitbit(Expected::secret(code.as_bytes())),
            VerificationType::Twilio => Provider::Twilio,
            VerificationType::Alexa => Provider::Alexa,
        }
    }

    /// Whether the request is part of the provider's handshake, and the answer if it is. `method` as it was sent,
    /// `query` what follows the `?` of the target.
    pub fn verify(&self, method: &[u8], query: Option<&[u8]>) -> ProviderVerdict {
        let Some(query) = query.filter(|_| method == b"GET") else { return ProviderVerdict::Pass };
        match self {
            Provider::Facebook(code) => facebook(code, query),
            Provider::Fitbit(code) => fitbit(code, query),
            Provider::None | Provider::Twilio | Provider::Alexa => ProviderVerdict::Pass,
        }
    }

    /// The response where no reply brings another, in place of `response_code` and `{"success":true}`.
    #[must_use]
    pub fn default_response(&self, response_code: u16) -> ProviderAnswer {
        match self {
            Provider::Fitbit(_) => no_content(),
            Provider::Twilio => {
                ProviderAnswer { status: 200, content_type: Some("text/xml"), body: text(EMPTY_TWIML) }
            }
            Provider::None | Provider::Facebook(_) | Provider::Alexa => {
                ProviderAnswer { status: response_code, content_type: Some(JSON), body: text(SUCCESS) }
            }
        }
    }

    /// The answer in place of a reply from a workflow: Fitbit accepts only 204. A reply that was not given in time is a
    /// 504 all the same.
    #[must_use]
    pub fn instead_of_reply(&self) -> Option<ProviderAnswer> {
        matches!(self, Provider::Fitbit(_)).then(no_content)
    }
}

/// <https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests>
fn facebook(code: &Expected, query: &[u8]) -> ProviderVerdict {
    match parameter(query, "hub.mode") {
        Parameter::Once(mode) if mode == b"subscribe" => {}
        Parameter::Repeated => return refused("hub.mode is given more than once"),
        Parameter::Once(_) | Parameter::Missing => return ProviderVerdict::Pass,
    }
    match parameter(query, "hub.verify_token") {
        Parameter::Once(token) if code.equals(&token) => {}
        _ => return refused("hub.verify_token does not match"),
    }
    let challenge = match parameter(query, "hub.challenge") {
        Parameter::Once(challenge) => challenge,
        Parameter::Missing => Vec::new(),
        Parameter::Repeated => return refused("hub.challenge is given more than once"),
    };
    ProviderVerdict::Answer(ProviderAnswer {
        status: 200,
        content_type: Some("text/plain"),
        body: Cow::Owned(challenge),
    })
}

/// <https://dev.fitbit.com/build/reference/web-api/developer-guide/using-subscriptions/#Verifying-a-Subscriber>
fn fitbit(code: &Expected, query: &[u8]) -> ProviderVerdict {
    match parameter(query, "verify") {
        Parameter::Missing => ProviderVerdict::Pass,
        Parameter::Once(given) if code.equals(&given) => ProviderVerdict::Answer(no_content()),
        Parameter::Once(_) | Parameter::Repeated => ProviderVerdict::Answer(ProviderAnswer {
            status: 404,
            content_type: Some(JSON),
            body: text(r#"{"error":"Verification code does not match"}"#),
        }),
    }
}

fn refused(why: &'static str) -> ProviderVerdict {
    let body = format!(r#"{{"error":"Verification failed: {why}"}}"#);
    ProviderVerdict::Answer(ProviderAnswer {
        status: 403,
        content_type: Some(JSON),
        body: Cow::Owned(body.into_bytes()),
    })
}

fn no_content() -> ProviderAnswer {
    ProviderAnswer { status: 204, content_type: None, body: Cow::Borrowed(b"") }
}

fn text(text: &'static str) -> Cow<'static, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facebook() -> Provider {
        Provider::compile(VerificationType::Facebook, "s3cret &+ß")
    }

    fn fitbit() -> Provider {
        Provider::compile(VerificationType::Fitbit, "c0de")
    }

    fn get(provider: &Provider, query: &str) -> Option<(u16, String)> {
        match provider.verify(b"GET", Some(query.as_bytes())) {
            ProviderVerdict::Pass => None,
            ProviderVerdict::Answer(answer) => {
                Some((answer.status, String::from_utf8(answer.body.into_owned()).expect("text")))
            }
        }
    }

    #[test]
    fn facebook_gets_its_challenge_back_as_plain_text_for_the_right_token() {
        let query = b"hub.mode=subscribe&hub.challenge=11582%3Cb%3E+01&hub.verify_token=s3cret+%26%2B%C3%9F";
        let ProviderVerdict::Answer(answer) = facebook().verify(b"GET", Some(query)) else {
            panic!("no answer")
        };
        assert_eq!(answer.status, 200);
        assert_eq!(answer.content_type, Some("text/plain"));
        assert_eq!(&*answer.body, b"11582<b> 01");
    }

    #[test]
    fn facebook_is_refused_for_a_wrong_missing_or_repeated_parameter() {
        let token = "hub.verify_token=s3cret+%26%2B%C3%9F";
        for query in [
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong",
            &format!("hub.mode=subscribe&hub.challenge=1&{token}x"),
            &format!("hub.mode=subscribe&hub.challenge=1&{token}&{token}"),
            &format!("hub.mode=subscribe&hub.challenge=1&hub.challenge=2&{token}"),
            &format!("hub.mode=subscribe&hub.mode=subscribe&hub.challenge=1&{token}"),
        ] {
            assert_eq!(get(&facebook(), query).map(|(status, _)| status), Some(403), "{query}");
        }
    }

    #[test]
    fn facebook_requests_that_are_no_handshake_trigger_as_usual() {
        let handshake = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=s3cret+%26%2B%C3%9F";
        for method in [&b"POST"[..], b"PUT", b"PATCH", b"DELETE", b"get"] {
            assert_eq!(facebook().verify(method, Some(handshake.as_bytes())), ProviderVerdict::Pass);
        }
        for query in ["", "hub.mode=unsubscribe", "hub.challenge=1", "hub.mode=Subscribe", "mode=subscribe"] {
            assert_eq!(get(&facebook(), query), None, "{query}");
        }
        assert_eq!(facebook().verify(b"GET", None), ProviderVerdict::Pass);
    }

    #[test]
    fn fitbit_is_answered_204_for_the_right_code_and_404_for_a_wrong_one() {
        assert_eq!(get(&fitbit(), "verify=c0de"), Some((204, String::new())));
        assert_eq!(get(&fitbit(), "x=1&verify=%630de"), Some((204, String::new())));
        for query in ["verify=wrong", "verify=", "verify", "verify=c0de&verify=c0de", "verify=C0de"] {
            assert_eq!(get(&fitbit(), query).map(|(status, _)| status), Some(404), "{query}");
        }
        assert_eq!(get(&fitbit(), "Verify=c0de"), None);
        assert_eq!(fitbit().verify(b"POST", Some(b"verify=wrong")), ProviderVerdict::Pass);
    }

    #[test]
    fn an_empty_code_verifies_nobody() {
        let facebook = Provider::compile(VerificationType::Facebook, "");
        let fitbit = Provider::compile(VerificationType::Fitbit, "");
        for query in
            ["hub.mode=subscribe&hub.challenge=1&hub.verify_token=", "hub.mode=subscribe&hub.challenge=1"]
        {
            assert_eq!(get(&facebook, query).map(|(status, _)| status), Some(403), "{query}");
        }
        for query in ["verify=", "verify"] {
            assert_eq!(get(&fitbit, query).map(|(status, _)| status), Some(404), "{query}");
        }
    }

    #[test]
    fn the_default_response_is_what_the_provider_wants() {
        let success = Provider::None.default_response(202);
        assert_eq!((success.status, success.content_type), (202, Some("application/json")));
        assert_eq!(&*success.body, br#"{"success":true}"#);
        assert_eq!(facebook().default_response(202), success);
        assert_eq!(Provider::Alexa.default_response(202), success);
        assert_eq!(fitbit().default_response(202), no_content());
        let twiml = Provider::Twilio.default_response(202);
        assert_eq!((twiml.status, twiml.content_type), (200, Some("text/xml")));
        assert_eq!(&*twiml.body, br#"<?xml version="1.0" encoding="UTF-8"?><Response></Response>"#);
    }

    #[test]
    fn only_fitbit_stands_in_for_a_reply() {
        assert_eq!(fitbit().instead_of_reply(), Some(no_content()));
        for other in [Provider::None, Provider::Twilio, Provider::Alexa, facebook()] {
            assert_eq!(other.instead_of_reply(), None);
        }
    }

    #[test]
    fn twilio_alexa_and_none_have_no_handshake() {
        for provider in [Provider::None, Provider::Twilio, Provider::Alexa] {
            assert_eq!(get(&provider, "hub.mode=subscribe&verify=x"), None);
        }
    }
}

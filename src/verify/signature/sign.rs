//! Signing as a sender does: what the Test tab of the console sends is genuine to its webhook.

use std::fmt;

use super::{Scheme, Signature, SignedRequest, mailgun, standard, timed, twilio};
use crate::base::clock::Now;

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The URL as the sender knows it, query included.
    pub url: &'a [u8],
    /// The value of `Content-Type`; empty for none.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// An id that no other request has, for schemes that sign one.
    pub id: &'a str,
}

/// What makes a request genuine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedFields {
    /// Header fields to send along.
    pub fields: Vec<(String, String)>,
    /// The body in place of the one that was given, where the scheme signs within it.
    pub body: Option<Vec<u8>>,
}

/// Why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSign {
    /// The webhook has the sender's public key, which only verifies.
    PublicKey,
    /// Every secret renders empty.
    NoSecret,
    /// The scheme signs no such body.
    Body(&'static str),
}

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CannotSign::PublicKey => "only the sender can sign: the webhook has its public key alone",
            CannotSign::NoSecret => "there is no secret to sign with: signature.secret renders empty",
            CannotSign::Body(must) => must,
        })
    }
}

impl std::error::Error for CannotSign {}

impl Signature {
    /// Signs a request under the first of the secrets, as the scheme's sender does.
    ///
    /// # Errors
    /// [`CannotSign`] where there is nothing to sign with, or the scheme signs no such body.
    pub fn sign(&self, request: &Unsigned<'_>, now: Now) -> Result<SignedFields, CannotSign> {
        if self.keys.are_public() {
            return Err(CannotSign::PublicKey);
        }
        if self.keys.sign(0, b"").is_none() {
            return Err(CannotSign::NoSecret);
        }
        let fields = match &self.scheme {
            Scheme::Tagged(tagged) => tagged.sign(&self.keys, request, now),
            Scheme::StandardWebhooks => standard::sign(&self.keys, request, now),
            Scheme::Stripe => timed::sign_stripe(&self.keys, request, now),
            Scheme::Twilio => {
                let fields = [(&b"content-type"[..], request.content_type.as_bytes())];
                let request =
                    SignedRequest { url: request.url, fields: &fields.iter().copied(), body: request.body };
                twilio::sign(&self.keys, &request).map_err(|_| {
                    CannotSign::Body(
                        "Twilio signs forms, and other bodies by their hash in the URL (bodySHA256): \
                         the body must be a form or empty",
                    )
                })?
            }
            Scheme::Mailgun => {
                let body = mailgun::sign(&self.keys, request, now)
                    .ok_or(CannotSign::Body("Mailgun signs within the body, which must be a JSON object"))?;
                return Ok(SignedFields { fields: Vec::new(), body: Some(body) });
            }
        };
        fields.map(|fields| SignedFields { fields, body: None }).ok_or(CannotSign::NoSecret)
    }
}

//! Signing as a sender does: what the Test tab of the console sends is genuine to its webhook.

use super::request::{SignedRequest, Unsigned};
use super::signed::{CannotSign, SignedFields};
use super::{Scheme, Signature, mailgun, standard, timed, twilio};
use crate::base::clock::Now;

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

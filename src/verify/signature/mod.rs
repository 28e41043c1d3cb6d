//! Signatures of senders: `signature` of a webhook (section 8). Checked over the raw body, in constant time.
//!
//! | scheme | field | signed | tag |
//! | --- | --- | --- | --- |
//! | `standard-webhooks` | `webhook-signature` | `id.timestamp.body` | HMAC-SHA256, base64, `v1,` |
//! | `github`, `meta` | `X-Hub-Signature-256` | body | HMAC-SHA256, hex, `sha256=` |
//! | `stripe` | `Stripe-Signature` | `timestamp.body` | HMAC-SHA256, hex, `v1=` |
//! | `slack` | `X-Slack-Signature` | `v0:timestamp:body` | HMAC-SHA256, hex, `v0=` |
//! | `shopify` | `X-Shopify-Hmac-Sha256` | body | HMAC-SHA256, base64 |
//! | `twilio` | `X-Twilio-Signature` | URL and parameters | HMAC-SHA1, base64 |
//! | `fitbit` | `X-Fitbit-Signature` | body | HMAC-SHA1 with `secret&`, base64 |
//! | `hmac` | as configured | body | as configured |
//!
//! A handshake of [`super::provider`] carries no signature; it comes first, and what it answers is not checked here.

mod body;
mod mismatch;
mod standard;
mod tag;
mod timed;
mod twilio;
#[cfg(test)]
mod vectors;

pub use mismatch::Mismatch;
pub use standard::StandardKey;
pub use timed::slack_challenge;

use crate::base::clock::Now;
use crate::model::SignatureScheme;
use crate::verify::fields::Fields;
use aws_lc_rs::hmac;
use body::BodyTag;

/// How far a sender's timestamp may lie from now, either way, in seconds (section 8; the senders' own libraries have
/// the same number).
pub const TIMESTAMP_TOLERANCE_SECONDS: u64 = 300;

/// A compiled `signature`: a scheme and the keys of its secrets.
#[derive(Clone, Debug)]
pub struct Signature {
    scheme: Scheme,
    /// One for each secret that is not empty. With none of them, nothing matches.
    keys: Box<[hmac::Key]>,
}

#[derive(Clone, Debug)]
enum Scheme {
    /// One field with a tag of the body alone.
    Body(Box<BodyTag>),
    StandardWebhooks,
    Stripe,
    Slack,
    Twilio,
}

/// What of a request its signature is about.
#[derive(Clone, Copy)]
pub struct SignedRequest<'a> {
    /// The URL as the sender knows it, query included: `ingress.public_url` and the target.
    pub url: &'a [u8],
    /// The header fields.
    pub fields: &'a dyn Fields<'a>,
    /// The body as it came, before any content coding is undone.
    pub body: &'a [u8],
}

/// A rendered secret that its scheme cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// Which of the secrets, counted from 0.
    pub index: usize,
    /// What it must be.
    pub must: &'static str,
}

impl std::fmt::Display for SecretError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "signature.secret {}", self.must)
    }
}

impl std::error::Error for SecretError {}

impl Signature {
    /// `secrets` are the rendered templates, any of which may have signed. One that rendered empty matches nothing;
    /// where all did, everything is refused.
    ///
    /// # Errors
    /// [`SecretError`] where a secret is not what the scheme's secrets look like.
    pub fn compile<S: AsRef<str>>(scheme: &SignatureScheme, secrets: &[S]) -> Result<Signature, SecretError> {
        let secrets = secrets.iter().map(AsRef::as_ref).enumerate().filter(|(_, secret)| !secret.is_empty());
        let keys = secrets.map(|(index, secret)| {
            let key = match scheme {
                SignatureScheme::StandardWebhooks => standard::key(secret),
                SignatureScheme::Fitbit => Ok(body::fitbit_key(secret)),
                _ => Ok(hmac::Key::new(algorithm(scheme), secret.as_bytes())),
            };
            key.map_err(|must| SecretError { index, must })
        });
        let keys = keys.collect::<Result<_, SecretError>>()?;
        let scheme = match scheme {
            SignatureScheme::StandardWebhooks => Scheme::StandardWebhooks,
            SignatureScheme::Stripe => Scheme::Stripe,
            SignatureScheme::Slack => Scheme::Slack,
            SignatureScheme::Twilio => Scheme::Twilio,
            SignatureScheme::Github | SignatureScheme::Meta => Scheme::Body(Box::new(BodyTag::github())),
            SignatureScheme::Shopify => Scheme::Body(Box::new(BodyTag::shopify())),
            SignatureScheme::Fitbit => Scheme::Body(Box::new(BodyTag::fitbit())),
            SignatureScheme::Hmac(hmac) => Scheme::Body(Box::new(BodyTag::hmac(hmac))),
        };
        Ok(Signature { scheme, keys })
    }

    /// Whether the request carries a signature of one of the secrets, made within the scheme's time.
    ///
    /// # Errors
    /// [`Mismatch`], a 401 without a trigger. It names what was wrong, never what would have been right.
    pub fn check(&self, request: &SignedRequest<'_>, now: Now) -> Result<(), Mismatch<'_>> {
        match &self.scheme {
            Scheme::Body(tag) => tag.check(&self.keys, request),
            Scheme::StandardWebhooks => standard::check(&self.keys, request, now),
            Scheme::Stripe => timed::stripe(&self.keys, request, now),
            Scheme::Slack => timed::slack(&self.keys, request, now),
            Scheme::Twilio => twilio::check(&self.keys, request),
        }
    }

    /// Whether a request that passed may be Slack's `url_verification`: see [`slack_challenge`].
    #[must_use]
    pub fn answers_slack_challenges(&self) -> bool {
        matches!(self.scheme, Scheme::Slack)
    }
}

fn algorithm(scheme: &SignatureScheme) -> hmac::Algorithm {
    match scheme {
        SignatureScheme::Twilio | SignatureScheme::Fitbit => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        SignatureScheme::Hmac(hmac) => body::algorithm(hmac.algorithm),
        SignatureScheme::StandardWebhooks
        | SignatureScheme::Github
        | SignatureScheme::Stripe
        | SignatureScheme::Slack
        | SignatureScheme::Shopify
        | SignatureScheme::Meta => hmac::HMAC_SHA256,
    }
}

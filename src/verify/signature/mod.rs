//! Signatures of senders: `signature` of a webhook ([verification](crate::guide::verification#verification)). Checked
//! over the raw body, in constant time.
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
//! | `discord` | `X-Signature-Ed25519` | timestamp and body | Ed25519, hex |
//! | `zoom` | `x-zm-signature` | `v0:timestamp:body` | HMAC-SHA256, hex, `v0=` |
//! | `pagerduty` | `X-PagerDuty-Signature` | body | HMAC-SHA256, hex, `v1=`, several |
//! | `sendgrid` | `X-Twilio-Email-Event-Webhook-Signature` | timestamp and body | ECDSA P-256 with SHA-256, base64 |
//! | `mailgun` | `signature` of the body | timestamp and token | HMAC-SHA256, hex |
//! | `hmac`, `ed25519` | as configured | as configured | as configured |
//!
//! A handshake of [`super::provider`] carries no signature; it comes first, and what it answers is not checked here. The
//! handshakes of Slack, Discord and Zoom are signed requests: see [`Signature::challenge`].

mod challenge;
mod keys;
mod mailgun;
mod mismatch;
mod request;
mod sign;
mod signed;
mod standard;
mod tag;
mod tagged;
mod timed;
mod twilio;
#[cfg(test)]
mod vectors;

pub(crate) use challenge::Challenge;
pub(crate) use mismatch::Mismatch;
pub(crate) use request::{SignedRequest, Unsigned};
pub(crate) use standard::StandardKey;

use aws_lc_rs::hmac;

use crate::base::clock::Now;
use crate::model::{HmacAlgorithm, SignatureScheme, SignerKind};
use keys::{Ed25519Key, P256Key, SignatureKeys};
use tagged::Tagged;

/// A compiled `signature`: a scheme and the keys of its secrets.
#[derive(Clone, Debug)]
pub struct Signature {
    scheme: Scheme,
    keys: SignatureKeys,
    handshake: SignedHandshake,
}

#[derive(Clone, Debug)]
enum Scheme {
    /// A tag in one field.
    Tagged(Box<Tagged>),
    StandardWebhooks,
    Stripe,
    Twilio,
    Mailgun,
}

/// The handshake that a sender makes within signed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignedHandshake {
    None,
    Slack,
    Zoom,
    Discord,
}

/// A request whose signature was found right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verified {
    /// The number of the key that signed.
    key: usize,
}

/// A rendered secret that its scheme cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// Which of the secrets, counted from 0.
    pub index: usize,
    /// The requirement that the secret breaks.
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
        let mut keys = KeyList::new(scheme);
        for (index, secret) in secrets.iter().map(AsRef::as_ref).enumerate() {
            if !secret.is_empty() {
                keys.push(scheme, secret).map_err(|must| SecretError { index, must })?;
            }
        }
        let handshake = match scheme {
            SignatureScheme::Slack => SignedHandshake::Slack,
            SignatureScheme::Zoom => SignedHandshake::Zoom,
            SignatureScheme::Discord => SignedHandshake::Discord,
            _ => SignedHandshake::None,
        };
        let tagged = |tagged| Scheme::Tagged(Box::new(tagged));
        let scheme = match scheme {
            SignatureScheme::StandardWebhooks => Scheme::StandardWebhooks,
            SignatureScheme::Stripe => Scheme::Stripe,
            SignatureScheme::Twilio => Scheme::Twilio,
            SignatureScheme::Slack => tagged(Tagged::slack()),
            SignatureScheme::Github | SignatureScheme::Meta => tagged(Tagged::github()),
            SignatureScheme::Shopify => tagged(Tagged::shopify()),
            SignatureScheme::Fitbit => tagged(Tagged::fitbit()),
            SignatureScheme::Discord => tagged(Tagged::discord()),
            SignatureScheme::Zoom => tagged(Tagged::zoom()),
            SignatureScheme::Pagerduty => tagged(Tagged::pagerduty()),
            SignatureScheme::Sendgrid => tagged(Tagged::sendgrid()),
            SignatureScheme::Mailgun => Scheme::Mailgun,
            SignatureScheme::Header(header) => tagged(Tagged::configured(header)),
        };
        Ok(Signature { scheme, keys: keys.finish(), handshake })
    }

    /// Whether the request carries a signature of one of the secrets, made within the scheme's time.
    ///
    /// # Errors
    /// [`Mismatch`], a 401 without a trigger. It names what was wrong, never what would have been right.
    pub fn check(&self, request: &SignedRequest<'_>, now: Now) -> Result<Verified, Mismatch<'_>> {
        let key = match &self.scheme {
            Scheme::Tagged(tagged) => tagged.check(&self.keys, request, now),
            Scheme::StandardWebhooks => standard::check(&self.keys, request, now),
            Scheme::Stripe => timed::stripe(&self.keys, request, now),
            Scheme::Twilio => twilio::check(&self.keys, request),
            Scheme::Mailgun => mailgun::check(&self.keys, request, now),
        };
        key.map(|key| Verified { key })
    }

    /// The answer to a handshake that its sender makes without a signature.
    #[must_use]
    pub fn unsigned_challenge(&self, request: &SignedRequest<'_>) -> Option<Challenge> {
        match self.handshake {
            SignedHandshake::Slack => challenge::slack_ssl_check(request),
            SignedHandshake::None | SignedHandshake::Zoom | SignedHandshake::Discord => None,
        }
    }

    /// The answer to a handshake within a signed request, which triggers nothing.
    #[must_use]
    pub fn challenge(&self, verified: Verified, body: &[u8]) -> Option<Challenge> {
        match self.handshake {
            SignedHandshake::None => None,
            SignedHandshake::Slack => challenge::slack(body),
            SignedHandshake::Zoom => challenge::zoom(body, &self.keys, verified.key),
            SignedHandshake::Discord => challenge::discord(body),
        }
    }
}

/// Keys while a signature is compiled.
enum KeyList {
    Hmac(Vec<hmac::Key>),
    Ed25519(Vec<Ed25519Key>),
    P256(Vec<P256Key>),
}

impl KeyList {
    fn new(scheme: &SignatureScheme) -> KeyList {
        match scheme {
            SignatureScheme::Discord => KeyList::Ed25519(Vec::new()),
            SignatureScheme::Sendgrid => KeyList::P256(Vec::new()),
            SignatureScheme::Header(header) if header.signer == SignerKind::Ed25519 => {
                KeyList::Ed25519(Vec::new())
            }
            _ => KeyList::Hmac(Vec::new()),
        }
    }

    fn push(&mut self, scheme: &SignatureScheme, secret: &str) -> Result<(), &'static str> {
        match self {
            KeyList::Ed25519(keys) => keys.push(Ed25519Key::parse(secret)?),
            KeyList::P256(keys) => keys.push(P256Key::parse(secret)?),
            KeyList::Hmac(keys) => keys.push(match scheme {
                SignatureScheme::StandardWebhooks => standard::key(secret)?,
                // Fitbit signs as OAuth 1.0 does with no token: the client's secret and `&` are the key.
                SignatureScheme::Fitbit => hmac::Key::new(algorithm(scheme), format!("{secret}&").as_bytes()),
                _ => hmac::Key::new(algorithm(scheme), secret.as_bytes()),
            }),
        }
        Ok(())
    }

    fn finish(self) -> SignatureKeys {
        match self {
            KeyList::Hmac(keys) => SignatureKeys::Hmac(keys.into_boxed_slice()),
            KeyList::Ed25519(keys) => SignatureKeys::Ed25519(keys.into_boxed_slice()),
            KeyList::P256(keys) => SignatureKeys::P256(keys.into_boxed_slice()),
        }
    }
}

fn algorithm(scheme: &SignatureScheme) -> hmac::Algorithm {
    let algorithm = match scheme {
        SignatureScheme::Twilio | SignatureScheme::Fitbit => HmacAlgorithm::Sha1,
        SignatureScheme::Header(header) => match header.signer {
            SignerKind::Hmac(algorithm) => algorithm,
            SignerKind::Ed25519 => HmacAlgorithm::default(),
        },
        _ => HmacAlgorithm::Sha256,
    };
    match algorithm {
        HmacAlgorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        HmacAlgorithm::Sha256 => hmac::HMAC_SHA256,
        HmacAlgorithm::Sha512 => hmac::HMAC_SHA512,
    }
}

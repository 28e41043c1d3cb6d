//! `auth` of the type `jwt` ([verification](crate::guide::verification#who-may-call)): the JSON Web Token (RFC 7519) in
//! `Authorization: Bearer`. The library jsonwebtoken checks signature, issuer and audience; the times are checked here,
//! against the time of the call.
//!
//! - [`KeySet`]: the keys that tokens are verified with, fixed ones or those of a URL;
//! - [`KeySetCache`]: what is known of the key sets of URLs.
//!
//! Not here: fetching key sets (`control/key_sets`).

mod cache;
mod keys;
#[cfg(test)]
mod tests;

pub use cache::{FetchedKeys, KeySetCache, KnownKeys};
pub use keys::{KeyError, KeySet, KeySetError};

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::de::IgnoredAny;

use crate::base::clock::Now;
use crate::base::json::{self, Halves, Kind, Raw};
use crate::model::{JwtAlgorithm, JwtConfig};
use crate::verify::fields::credentials;

/// Levels of nesting of claims, as of any JSON in a payload.
const CLAIMS_DEPTH_MAX: usize = 128;
const MILLIS_PER_SECOND: f64 = 1_000.0;

/// A compiled `auth` of the type `jwt`.
#[derive(Debug)]
pub struct Jwt {
    /// The algorithms that may have signed, each with what the library is to check.
    rules: Box<[(Algorithm, Validation)]>,
    keys: JwtKeySource,
    leeway_seconds: f64,
    /// The configuration that it was compiled from, to detect a change.
    source: Box<JwtConfig>,
    /// The rendered secrets or keys, for the same.
    rendered: Box<[String]>,
}

#[derive(Debug)]
enum JwtKeySource {
    Fixed(KeySet),
    Url(Arc<str>),
}

/// Verdict about a call's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// A token that lets the call in.
    Good,
    /// No token, or one that does not.
    Refused,
    /// The key that signed is not among the known ones.
    UnknownKey,
}

/// The kinds of a webhook's keys, rendered.
pub enum RenderedKeys {
    Secrets(Vec<String>),
    Public(Vec<String>),
    Url(String),
}

impl Jwt {
    /// Compiles. A key that rendered empty or is none verifies nothing; `told` gets each of the latter.
    pub fn compile(config: &JwtConfig, rendered: RenderedKeys, mut told: impl FnMut(usize, KeyError)) -> Jwt {
        let rules = config.algorithms.iter().map(|algorithm| {
            let algorithm = library_algorithm(*algorithm);
            (algorithm, validation(config, algorithm))
        });
        let (keys, rendered) = match rendered {
            RenderedKeys::Secrets(secrets) => (JwtKeySource::Fixed(KeySet::of_secrets(&secrets)), secrets),
            RenderedKeys::Public(keys) => (JwtKeySource::Fixed(KeySet::of_pem(&keys, &mut told)), keys),
            RenderedKeys::Url(url) => (JwtKeySource::Url(url.as_str().into()), vec![url]),
        };
        Jwt {
            rules: rules.collect(),
            keys,
            leeway_seconds: f64::from(config.leeway_seconds),
            source: Box::new(config.clone()),
            rendered: rendered.into(),
        }
    }

    /// The URL of the keys, where they are not fixed.
    #[must_use]
    pub fn key_set_url(&self) -> Option<&Arc<str>> {
        match &self.keys {
            JwtKeySource::Fixed(_) => None,
            JwtKeySource::Url(url) => Some(url),
        }
    }

    /// Whether both let the same callers in.
    #[must_use]
    pub fn is_same(&self, other: &Jwt) -> bool {
        self.source == other.source && self.rendered == other.rendered
    }

    /// Checks the token in the value of the field `Authorization`. `known` are the keys of the URL.
    pub fn check(&self, authorization: Option<&[u8]>, known: Option<&KeySet>, now: Now) -> Verdict {
        let Some(token) = authorization.and_then(|value| credentials(value, BEARER)) else {
            return Verdict::Refused;
        };
        // The library refuses `none`, and every other algorithm that it has no name for, as no header at all.
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Verdict::Refused };
        let rule = self.rules.iter().find(|(algorithm, _)| *algorithm == header.alg);
        let Some((_, validation)) = rule.filter(|_| !is_critical(token)) else { return Verdict::Refused };
        let set = match (&self.keys, known) {
            (JwtKeySource::Fixed(set), _) => set,
            (JwtKeySource::Url(_), Some(known)) => known,
            (JwtKeySource::Url(_), None) => return Verdict::UnknownKey,
        };
        let mut candidates = set.candidates(header.alg, header.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return if self.key_set_url().is_some() { Verdict::UnknownKey } else { Verdict::Refused };
        }
        let is_signed =
            candidates.any(|key| jsonwebtoken::decode::<IgnoredAny>(token, key, validation).is_ok());
        match is_signed && claims(token).is_some_and(|claims| self.is_in_time(&claims, now)) {
            true => Verdict::Good,
            false => Verdict::Refused,
        }
    }

    /// RFC 7519, 4.1.4 and 4.1.5. A claim that is there and is no number is not a time.
    fn is_in_time(&self, claims: &[u8], now: Now) -> bool {
        let claims = Raw::trusted(claims);
        let now = now.unix_millis as f64 / MILLIS_PER_SECOND;
        let is_met = |name: &str, meets: &dyn Fn(f64) -> bool| {
            claims.get(name).is_none_or(|claim| claim.as_number().and(claim.as_f64()).is_some_and(meets))
        };
        is_met("exp", &|exp| now < exp + self.leeway_seconds)
            && is_met("nbf", &|nbf| now >= nbf - self.leeway_seconds)
    }
}

/// The scheme of RFC 6750.
const BEARER: &[u8] = b"bearer";

/// Returns the claims of the token in the value of the field `Authorization`, a JSON object; `None` if there is none. They
/// are not verified here.
#[must_use]
pub fn unverified_claims(authorization: &[u8]) -> Option<Vec<u8>> {
    claims(credentials(authorization, BEARER)?)
}

/// The claims of a token.
fn claims(token: &[u8]) -> Option<Vec<u8>> {
    let payload = part(token, 1)?;
    let halves = json::check(&payload, CLAIMS_DEPTH_MAX)?;
    if Raw::trusted(&payload).kind() != Kind::Object {
        return None;
    }
    Some(match halves {
        Halves::None => Raw::trusted(&payload).bytes().to_vec(),
        Halves::Some => {
            let mut replaced = Vec::with_capacity(payload.len());
            json::replace_halves_into(&mut replaced, &payload);
            replaced
        }
    })
}

/// Whether the header lists extensions that must be understood (RFC 7515, 4.1.11): none is.
fn is_critical(token: &[u8]) -> bool {
    let header = part(token, 0).unwrap_or_default();
    Raw::document(&header).is_none_or(|header| header.get("crit").is_some())
}

/// A part of a token, decoded. Three parts make a token; with other than three the library refuses it.
fn part(token: &[u8], place: usize) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(token.split(|byte| *byte == b'.').nth(place)?).ok()
}

fn validation(config: &JwtConfig, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    // It would ask the system's clock.
    validation.validate_exp = false;
    validation.validate_aud = !config.audience.is_empty();
    if !config.audience.is_empty() {
        validation.set_audience(&config.audience);
        validation.required_spec_claims.insert("aud".to_owned());
    }
    if !config.issuer.is_empty() {
        validation.set_issuer(&config.issuer);
        validation.required_spec_claims.insert("iss".to_owned());
    }
    validation
}

fn library_algorithm(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

//! The keys that tokens are verified with: secrets, public keys in PEM, or a JSON Web Key Set (RFC 7517).

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// Keys of one set that are kept; the largest known ones have some dozens.
const KEYS_MAX: usize = 256;
/// Keys that are tried for a token that names none: a verification takes up to 100 µs.
const TRIED_MAX: usize = 8;
/// Bytes of a point on P-256 and on P-384, uncompressed (SEC 1, 2.3.3).
const P256_BYTES: usize = 65;
const P384_BYTES: usize = 97;

/// Keys.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Box<[JsonWebKey]>,
}

#[derive(Debug)]
struct JsonWebKey {
    /// `kid`.
    id: Option<Box<str>>,
    kind: KeyKind,
    /// `alg`: the one algorithm that it is for.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// A text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a public key in PEM: RSA, P-256, P-384 or Ed25519")
    }
}

impl std::error::Error for KeyError {}

/// Why a document is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySetError {
    /// It is not JSON with a list `keys`.
    Malformed,
    /// No key in it can verify a signature.
    NoKey,
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeySetError::Malformed => "is no JSON Web Key Set",
            KeySetError::NoKey => "holds no public key for signatures",
        })
    }
}

impl std::error::Error for KeySetError {}

impl KeySet {
    /// Secrets; an empty one is left out.
    pub(super) fn of_secrets(secrets: &[String]) -> KeySet {
        let key = |secret: &String| JsonWebKey {
            id: None,
            kind: KeyKind::Secret,
            algorithm: None,
            key: DecodingKey::from_secret(secret.as_bytes()),
        };
        KeySet { keys: secrets.iter().filter(|secret| !secret.is_empty()).map(key).collect() }
    }

    /// Public keys in PEM; `told` gets each that is none.
    pub(super) fn of_pem(keys: &[String], told: &mut dyn FnMut(usize, KeyError)) -> KeySet {
        let mut set = Vec::new();
        for (index, pem) in keys.iter().enumerate() {
            match JsonWebKey::of_pem(pem.as_bytes()) {
                Some(key) => set.push(key),
                None => told(index, KeyError),
            }
        }
        KeySet { keys: set.into() }
    }

    /// Whether a text is a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn check_pem(pem: &str) -> Result<(), KeyError> {
        JsonWebKey::of_pem(pem.as_bytes()).map(drop).ok_or(KeyError)
    }

    /// Reads a JSON Web Key Set. A key that is secret, for encryption, or of a kind that is not known is left out.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(document: &[u8]) -> Result<KeySet, KeySetError> {
        let document: Value = serde_json::from_slice(document).map_err(|_| KeySetError::Malformed)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        let keys: Box<[JsonWebKey]> = keys.iter().filter_map(JsonWebKey::of_jwk).take(KEYS_MAX).collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(KeySet { keys }) }
    }

    /// The keys that may have signed with the algorithm: those that the token names, or all if it names none or the keys
    /// have no names.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        let suits = move |key: &&JsonWebKey| {
            let is_named = match (id, &key.id) {
                (Some(id), Some(own)) => **own == *id,
                (None, _) | (_, None) => true,
            };
            is_named && key.suits(algorithm)
        };
        self.keys.iter().filter(suits).take(TRIED_MAX).map(|key| &key.key)
    }
}

impl JsonWebKey {
    fn of_pem(pem: &[u8]) -> Option<JsonWebKey> {
        let key = DecodingKey::from_ec_pem(pem)
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .or_else(|_| DecodingKey::from_rsa_pem(pem))
            .ok()?;
        let kind = match key.family() {
            AlgorithmFamily::Rsa => KeyKind::Rsa,
            AlgorithmFamily::Ed => KeyKind::Ed25519,
            AlgorithmFamily::Ec => match key.as_bytes().len() {
                P256_BYTES => KeyKind::P256,
                P384_BYTES => KeyKind::P384,
                _ => return None,
            },
            AlgorithmFamily::Hmac => return None,
        };
        Some(JsonWebKey { id: None, kind, algorithm: None, key })
    }

    fn of_jwk(value: &Value) -> Option<JsonWebKey> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let kind = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => KeyKind::Rsa,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => KeyKind::P256,
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => KeyKind::P384,
            AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => KeyKind::Ed25519,
            // A secret that everybody can read is none.
            _ => return None,
        };
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let algorithm = match jwk.common.key_algorithm {
            None => None,
            // One for encryption has no name among those of signatures.
            Some(named) => Some(named.to_string().parse().ok()?),
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(JsonWebKey { id: jwk.common.key_id.map(Into::into), kind, algorithm, key })
    }

    fn suits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => KeyKind::Secret,
            Algorithm::ES256 => KeyKind::P256,
            Algorithm::ES384 => KeyKind::P384,
            Algorithm::EdDSA => KeyKind::Ed25519,
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => KeyKind::Rsa,
        };
        self.kind == kind && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

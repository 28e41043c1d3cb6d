//! `signature` of a webhook: which sender's scheme every request must satisfy, and with which secrets (section 8).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{ModelError, StoredError};
use super::fields::{Fields, must_be_one_of, text, word_of};
use super::{MASK, NAME_CHARS_MAX, TEXT_CHARS_MAX};

/// A scheme and its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureConfig {
    /// How requests are signed.
    pub scheme: SignatureScheme,
    /// With what.
    pub secret: Secrets,
}

/// How a sender signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureScheme {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    StandardWebhooks,
    /// `X-Hub-Signature-256`.
    Github,
    /// `Stripe-Signature`.
    Stripe,
    /// `X-Slack-Signature`.
    Slack,
    /// `X-Shopify-Hmac-SHA256`.
    Shopify,
    /// `X-Twilio-Signature`, over the URL and the parameters.
    Twilio,
    /// Meta's `X-Hub-Signature-256`.
    Meta,
    /// `X-Fitbit-Signature`.
    Fitbit,
    /// Any other sender that puts an HMAC of the body into a header.
    Hmac(HmacScheme),
}

/// An HMAC of the raw body in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacScheme {
    /// Name of the header, as it was written.
    pub header: String,
    /// `algorithm`; default `sha256`.
    pub algorithm: HmacAlgorithm,
    /// `encoding`; default `hex`.
    pub encoding: HmacEncoding,
    /// What stands before the code in the header; default nothing.
    pub prefix: String,
}

/// Hash of an HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How an HMAC is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HmacEncoding {
    /// Hex digits.
    #[default]
    Hex,
    /// Base64.
    Base64,
}

const SCHEME_HMAC: &str = "hmac";

const SCHEMES: [(&str, Option<SignatureScheme>); 9] = [
    ("standard-webhooks", Some(SignatureScheme::StandardWebhooks)),
    ("github", Some(SignatureScheme::Github)),
    ("stripe", Some(SignatureScheme::Stripe)),
    ("slack", Some(SignatureScheme::Slack)),
    ("shopify", Some(SignatureScheme::Shopify)),
    ("twilio", Some(SignatureScheme::Twilio)),
    ("meta", Some(SignatureScheme::Meta)),
    ("fitbit", Some(SignatureScheme::Fitbit)),
    (SCHEME_HMAC, None),
];

const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
    [("sha1", HmacAlgorithm::Sha1), ("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512)];

const ENCODINGS: [(&str, HmacEncoding); 2] = [("hex", HmacEncoding::Hex), ("base64", HmacEncoding::Base64)];

impl SignatureScheme {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        SCHEMES.iter().find(|(_, scheme)| scheme.as_ref() == Some(self)).map_or(SCHEME_HMAC, |(word, _)| word)
    }
}

/// Templates of secrets, any of which may have signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Secrets {
    /// One.
    One(String),
    /// Several, for rotation; never empty.
    Many(Vec<String>),
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.as_slice().len())
    }
}

impl Secrets {
    /// Most secrets of one webhook or node: a rotation needs two.
    pub const COUNT_MAX: usize = 16;

    /// The templates, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Secrets::One(secret) => std::slice::from_ref(secret),
            Secrets::Many(secrets) => secrets,
        }
    }

    /// Reads `secret` at `path`. [`MASK`] stands for what `before` holds: the whole of it, or in a list the one at
    /// the same place.
    pub(super) fn read(value: &Value, path: &str, before: Option<&Secrets>) -> Result<Secrets, ModelError> {
        let nothing_to_keep = || {
            ModelError::new(path, format!("must be the secret itself: {MASK} keeps one, and there is none"))
        };
        if value.as_str() == Some(MASK) {
            return before.cloned().ok_or_else(nothing_to_keep);
        }
        let one = |value: &Value| {
            text(value, &(1..=TEXT_CHARS_MAX))
                .map(str::to_owned)
                .map_err(|must| ModelError::new(path, format!("{must}, or a list of such strings")))
        };
        let Some(list) = value.as_array() else { return one(value).map(Secrets::One) };
        if list.is_empty() || list.len() > Self::COUNT_MAX {
            return Err(ModelError::new(path, format!("must be a list of 1 to {} strings", Self::COUNT_MAX)));
        }
        let mut secrets = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            if value.as_str() == Some(MASK) {
                let kept = before.and_then(|before| before.as_slice().get(index));
                secrets.push(kept.cloned().ok_or_else(nothing_to_keep)?);
            } else {
                secrets.push(one(value)?);
            }
        }
        Ok(Secrets::Many(secrets))
    }

    /// As many masks as there are secrets.
    pub(super) fn masked(&self) -> Value {
        match self {
            Secrets::One(_) => Value::from(MASK),
            Secrets::Many(secrets) => Value::from(vec![MASK; secrets.len()]),
        }
    }
}

impl SignatureConfig {
    /// Reads `signature`; `null` for none.
    pub(super) fn read(
        value: &Value,
        before: Option<&SignatureConfig>,
    ) -> Result<Option<SignatureConfig>, ModelError> {
        if value.is_null() {
            return Ok(None);
        }
        let mut fields = Fields::of(value, "signature")?;
        let word = fields.value("scheme").and_then(Value::as_str);
        let scheme = SCHEMES
            .iter()
            .find(|(known, _)| Some(*known) == word)
            .ok_or_else(|| fields.error("scheme", must_be_one_of(&SCHEMES)))?;
        let scheme = match &scheme.1 {
            Some(scheme) => scheme.clone(),
            None => SignatureScheme::Hmac(HmacScheme::read(&mut fields)?),
        };
        let Some(secret) = fields.value("secret") else {
            return Err(fields.error("secret", "is required: a string or a list of strings"));
        };
        let secret = Secrets::read(secret, "signature.secret", before.map(|before| &before.secret))?;
        fields.finish_strict(&format!("a signature of the scheme {}", scheme.as_str()))?;
        Ok(Some(SignatureConfig { scheme, secret }))
    }

    /// As the API shows it.
    pub(super) fn to_api(&self) -> Value {
        self.to_value(self.secret.masked())
    }

    /// As the store keeps it.
    pub(super) fn to_stored(&self) -> StoredSignature {
        let secret = match &self.secret {
            Secrets::One(secret) => Value::from(secret.as_str()),
            Secrets::Many(secrets) => Value::from(secrets.as_slice()),
        };
        StoredSignature(self.to_value(secret))
    }

    pub(super) fn from_stored(stored: StoredSignature) -> Result<SignatureConfig, StoredError> {
        match SignatureConfig::read(&stored.0, None) {
            Ok(Some(signature)) => Ok(signature),
            Ok(None) => Err(StoredError("signature: null".to_owned())),
            Err(error) => Err(StoredError(error.to_string())),
        }
    }

    fn to_value(&self, secret: Value) -> Value {
        let mut shown = Map::new();
        shown.insert("scheme".to_owned(), Value::from(self.scheme.as_str()));
        shown.insert("secret".to_owned(), secret);
        if let SignatureScheme::Hmac(hmac) = &self.scheme {
            shown.insert("header".to_owned(), Value::from(hmac.header.as_str()));
            shown.insert("algorithm".to_owned(), Value::from(word_of(&ALGORITHMS, hmac.algorithm)));
            shown.insert("encoding".to_owned(), Value::from(word_of(&ENCODINGS, hmac.encoding)));
            shown.insert("prefix".to_owned(), Value::from(hmac.prefix.as_str()));
        }
        Value::Object(shown)
    }
}

impl HmacScheme {
    fn read(fields: &mut Fields<'_>) -> Result<HmacScheme, ModelError> {
        let header = fields.required_string("header", 1..=NAME_CHARS_MAX)?;
        if !is_field_name(&header) {
            return Err(fields.error("header", "must be the name of an HTTP header"));
        }
        Ok(HmacScheme {
            header,
            algorithm: fields.one_of("algorithm", &ALGORITHMS)?.unwrap_or_default(),
            encoding: fields.one_of("encoding", &ENCODINGS)?.unwrap_or_default(),
            prefix: fields.string("prefix", 0..=NAME_CHARS_MAX)?.unwrap_or_default(),
        })
    }
}

/// RFC 9110, section 5.6.2: a token.
pub(super) fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// The signature in a webhook's record, secrets in clear.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoredSignature(Value);

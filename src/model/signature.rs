//! `signature` of a webhook: which sender's scheme every request must satisfy, and with which secrets
//! ([verification](crate::guide::verification#verification)).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::common::{MASK, NAME_CHARS_MAX, TEXT_CHARS_MAX};
use super::error::{ModelError, StoredError};
use super::fields::{Fields, text, word_of};
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows, words};

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
    /// Discord's `X-Signature-Ed25519`, over the timestamp and the body.
    Discord,
    /// Zoom's `x-zm-signature`.
    Zoom,
    /// `X-PagerDuty-Signature`.
    Pagerduty,
    /// SendGrid's `X-Twilio-Email-Event-Webhook-Signature`, over the timestamp and the body.
    Sendgrid,
    /// Mailgun's `signature` in the body, over a timestamp and a token.
    Mailgun,
    /// Any other sender that puts a tag into a header.
    Header(Box<HeaderScheme>),
}

/// A tag in a header, described by its webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderScheme {
    /// The algorithm of the tag.
    pub signer: SignerKind,
    /// Name of the header, as it was written.
    pub header: String,
    /// `encoding`; default `hex`.
    pub encoding: HmacEncoding,
    /// The text before the tag; default nothing.
    pub prefix: String,
    /// The separator of several tags, or of a tag and a timestamp; `None`: the header is one tag.
    pub separator: Option<String>,
    /// Where the time of signing stands; none: no time is signed.
    pub timestamp: Option<TimestampSource>,
    /// Name of the header that `{{id}}` of `signed` is; default `webhook-id`.
    pub id_header: String,
    /// The signed text; default the body.
    pub signed: SignedTemplate,
    /// How far the time of signing may be from now, either way; default 300.
    pub tolerance_seconds: u32,
}

/// The algorithm of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerKind {
    /// `hmac`, with `algorithm`; default `sha256`.
    Hmac(HmacAlgorithm),
    /// `ed25519`; the secret is the sender's public key.
    Ed25519,
}

/// Where the time of signing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimestampSource {
    /// In a header of its own.
    Header(String),
    /// In the member of the signature's header that begins so, as Stripe's `t=`.
    Member(String),
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedPart {
    Text(String),
    Timestamp,
    Body,
    Url,
    Id,
}

/// The signed text: a template with `{{timestamp}}`, `{{body}}`, `{{url}}` and `{{id}}` in it. Never rendered to text,
/// since a body may be any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTemplate {
    source: String,
    parts: Vec<SignedPart>,
}

/// The names that a [`SignedTemplate`] may hold.
const SIGNED_NAMES: [(&str, SignedPart); 4] = [
    ("timestamp", SignedPart::Timestamp),
    ("body", SignedPart::Body),
    ("url", SignedPart::Url),
    ("id", SignedPart::Id),
];

impl SignedTemplate {
    fn body() -> SignedTemplate {
        SignedTemplate { source: SIGNED.to_owned(), parts: vec![SignedPart::Body] }
    }

    /// # Errors
    /// The requirement that it breaks.
    fn parse(source: &str) -> Result<SignedTemplate, String> {
        const MUST: &str = "must be text with {{timestamp}}, {{body}}, {{url}} and {{id}} in it";
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some(start) = rest.find("{{") {
            let (text, tag) = rest.split_at(start);
            if !text.is_empty() {
                parts.push(SignedPart::Text(text.to_owned()));
            }
            let end = tag.find("}}").ok_or(MUST)?;
            let name = tag[2..end].trim();
            let known = SIGNED_NAMES.iter().find(|(known, _)| *known == name);
            let (_, part) = known.ok_or_else(|| format!("{MUST}, not {{{{{name}}}}}"))?;
            parts.push(part.clone());
            rest = &tag[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(SignedPart::Text(rest.to_owned()));
        }
        if !parts.contains(&SignedPart::Body) {
            return Err("must hold {{body}}: what is not signed can be changed on its way".to_owned());
        }
        Ok(SignedTemplate { source: source.to_owned(), parts })
    }

    /// The parts in order.
    #[must_use]
    pub fn parts(&self) -> &[SignedPart] {
        &self.parts
    }
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
const SCHEME_ED25519: &str = "ed25519";

/// The header of a message's id in Standard Webhooks.
const ID_HEADER: &str = "webhook-id";
/// The member of a signature's header that holds its time, as Stripe and others write it.
const TIMESTAMP_PREFIX: &str = "t=";
/// The text that is signed unless a webhook says otherwise.
const SIGNED: &str = "{{body}}";
/// The tolerance of most senders' own libraries.
const TOLERANCE_SECONDS: u32 = 300;
const TOLERANCE_SECONDS_MAX: u32 = 86_400;
/// Characters of a separator.
const SEPARATOR_CHARS_MAX: usize = 8;

/// The schemes; those without a value are described by further fields.
const SCHEMES: [(&str, Option<SignatureScheme>); 15] = [
    ("standard-webhooks", Some(SignatureScheme::StandardWebhooks)),
    ("github", Some(SignatureScheme::Github)),
    ("stripe", Some(SignatureScheme::Stripe)),
    ("slack", Some(SignatureScheme::Slack)),
    ("shopify", Some(SignatureScheme::Shopify)),
    ("twilio", Some(SignatureScheme::Twilio)),
    ("meta", Some(SignatureScheme::Meta)),
    ("fitbit", Some(SignatureScheme::Fitbit)),
    ("discord", Some(SignatureScheme::Discord)),
    ("zoom", Some(SignatureScheme::Zoom)),
    ("pagerduty", Some(SignatureScheme::Pagerduty)),
    ("sendgrid", Some(SignatureScheme::Sendgrid)),
    ("mailgun", Some(SignatureScheme::Mailgun)),
    (SCHEME_HMAC, None),
    (SCHEME_ED25519, None),
];

const ALGORITHMS: [(&str, HmacAlgorithm); 3] =
    [("sha1", HmacAlgorithm::Sha1), ("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512)];

const ENCODINGS: [(&str, HmacEncoding); 2] = [("hex", HmacEncoding::Hex), ("base64", HmacEncoding::Base64)];

/// The kind of a secret, or of several.
pub(super) const SECRETS: FieldKind = FieldKind::Either(&[
    FieldKind::Text { least: 1, most: TEXT_CHARS_MAX },
    FieldKind::Texts { least: 1, most: Secrets::COUNT_MAX, things: "strings" },
]);

/// The row of a secret that is masked.
pub(super) const SECRET: FieldSpec = FieldSpec::new(
    "secret",
    SECRETS,
    "Any of several may have signed. Templates over the globals. Shown as ***; a PATCH with *** keeps it.",
);

/// The fields of a signature. `header` and those after it are for the schemes `hmac` and `ed25519` alone.
pub(crate) static SIGNATURE: ObjectSpec = ObjectSpec::new(
    "a signature",
    &[
        &rows! {
            "scheme": Word(&words(&SCHEMES)), required => "The sender's way of signing.";
        },
        &[SECRET.required()],
        &rows! {
            "header": text(1, NAME_CHARS_MAX) =>
                "The header with the signature, such as X-Signature. Required with hmac and ed25519, and only there, \
                as all that follow.";
            "algorithm": Word(&words(&ALGORITHMS)), or_text("sha256") => "The hash of hmac.";
            "encoding": Word(&words(&ENCODINGS)), or_text("hex") => "How the signature is written.";
            "prefix": text(0, NAME_CHARS_MAX), or_text("") => "The text before the signature, such as sha256=.";
            "separator": text(1, SEPARATOR_CHARS_MAX) =>
                "The text between several members of the header, such as a comma. Missing: the header is one signature.";
            "timestampHeader": text(1, NAME_CHARS_MAX) =>
                "The header with the time of signing; the signature's own for a member of it.";
            "timestampPrefix": text(1, NAME_CHARS_MAX), or_text(TIMESTAMP_PREFIX) => "The beginning of that member.";
            "idHeader": text(1, NAME_CHARS_MAX), or_text(ID_HEADER) => "The header that {{id}} of what is signed is.";
            "signed": text(1, NAME_CHARS_MAX), or_text(SIGNED) =>
                "What is signed, with {{timestamp}}, {{body}}, {{url}} and {{id}} in it.";
            "toleranceSeconds": integer(1, TOLERANCE_SECONDS_MAX), or_number(TOLERANCE_SECONDS) =>
                "How far the time of signing may be from now.";
        },
    ],
);

impl SignatureScheme {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            SignatureScheme::Header(header) => match header.signer {
                SignerKind::Hmac(_) => SCHEME_HMAC,
                SignerKind::Ed25519 => SCHEME_ED25519,
            },
            fixed => {
                SCHEMES.iter().find(|(_, scheme)| scheme.as_ref() == Some(fixed)).map_or("", |(word, _)| word)
            }
        }
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
        let must_be = || ModelError::new(path, format!("must be {SECRETS}"));
        let one = |value: &Value| text(value, &(1..=TEXT_CHARS_MAX)).map(str::to_owned).ok_or_else(must_be);
        let Some(list) = value.as_array() else { return one(value).map(Secrets::One) };
        if list.is_empty() || list.len() > Self::COUNT_MAX {
            return Err(must_be());
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

    /// In clear.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Secrets::One(secret) => Value::from(secret.as_str()),
            Secrets::Many(secrets) => Value::from(secrets.as_slice()),
        }
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
    pub(crate) fn read(
        value: &Value,
        before: Option<&SignatureConfig>,
    ) -> Result<Option<SignatureConfig>, ModelError> {
        if value.is_null() {
            return Ok(None);
        }
        let mut fields = Fields::of(value, "signature", &SIGNATURE)?;
        let word = fields.value("scheme").and_then(Value::as_str);
        let scheme =
            SCHEMES.iter().find(|(known, _)| Some(*known) == word).ok_or_else(|| fields.must_be("scheme"))?;
        let scheme = match &scheme.1 {
            Some(scheme) => scheme.clone(),
            None => SignatureScheme::Header(Box::new(HeaderScheme::read(scheme.0, &mut fields)?)),
        };
        let Some(secret) = fields.value("secret") else {
            return Err(fields.missing("secret"));
        };
        let secret = Secrets::read(secret, "signature.secret", before.map(|before| &before.secret))?;
        fields.finish_as(&format!("a signature of the scheme {}", scheme.as_str()), &mut Map::new())?;
        Ok(Some(SignatureConfig { scheme, secret }))
    }

    /// As the API shows it.
    pub(super) fn to_api(&self) -> Value {
        self.to_value(self.secret.masked())
    }

    /// As the store keeps it.
    pub(super) fn to_stored(&self) -> StoredSignature {
        StoredSignature(self.to_value(self.secret.to_value()))
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
        if let SignatureScheme::Header(header) = &self.scheme {
            header.show(&mut shown);
        }
        Value::Object(shown)
    }
}

impl HeaderScheme {
    fn read(scheme: &str, fields: &mut Fields<'_>) -> Result<HeaderScheme, ModelError> {
        let signer = if scheme == SCHEME_ED25519 {
            SignerKind::Ed25519
        } else {
            SignerKind::Hmac(fields.one_of("algorithm", &ALGORITHMS)?.unwrap_or_default())
        };
        let header = field_name(fields, "header")?
            .ok_or_else(|| fields.error("header", "is required: the name of an HTTP header"))?;
        let encoding = fields.one_of("encoding", &ENCODINGS)?.unwrap_or_default();
        let prefix = fields.string("prefix")?.unwrap_or_default();
        let separator = fields.string("separator")?;
        let timestamp_header = field_name(fields, "timestampHeader")?;
        let timestamp_prefix = fields.string("timestampPrefix")?;
        let timestamp = match timestamp_header {
            None if timestamp_prefix.is_some() => {
                return Err(fields.error("timestampHeader", "is required with timestampPrefix"));
            }
            None => None,
            Some(name) if name.eq_ignore_ascii_case(&header) => {
                if separator.is_none() {
                    return Err(fields.error(
                        "separator",
                        "is required where the timestamp is a member of the signature's header",
                    ));
                }
                let prefix = timestamp_prefix.unwrap_or_else(|| TIMESTAMP_PREFIX.to_owned());
                Some(TimestampSource::Member(prefix))
            }
            Some(_) if timestamp_prefix.is_some() => {
                return Err(fields.error("timestampPrefix", "is for a timestampHeader that is the header"));
            }
            Some(name) => Some(TimestampSource::Header(name)),
        };
        let signed = match fields.string("signed")? {
            None => SignedTemplate::body(),
            Some(source) => SignedTemplate::parse(&source).map_err(|must| fields.error("signed", must))?,
        };
        if timestamp.is_none() && signed.parts.contains(&SignedPart::Timestamp) {
            return Err(fields.error("timestampHeader", "is required where {{timestamp}} is signed"));
        }
        // A time that is not signed can be set by anybody.
        if timestamp.is_some() && !signed.parts.contains(&SignedPart::Timestamp) {
            return Err(fields.error("signed", "must hold {{timestamp}} where there is a timestampHeader"));
        }
        let id_header = field_name(fields, "idHeader")?.unwrap_or_else(|| ID_HEADER.to_owned());
        let tolerance_seconds = fields.integer_or_default("toleranceSeconds")?;
        Ok(HeaderScheme {
            signer,
            header,
            encoding,
            prefix,
            separator,
            timestamp,
            id_header,
            signed,
            tolerance_seconds,
        })
    }

    /// Adds its fields; those that were left out stay out, but for the four that have always been shown.
    fn show(&self, shown: &mut Map<String, Value>) {
        let mut show = |name: &str, value: Value| {
            shown.insert(name.to_owned(), value);
        };
        show("header", Value::from(self.header.as_str()));
        if let SignerKind::Hmac(algorithm) = self.signer {
            show("algorithm", Value::from(word_of(&ALGORITHMS, algorithm)));
        }
        show("encoding", Value::from(word_of(&ENCODINGS, self.encoding)));
        show("prefix", Value::from(self.prefix.as_str()));
        if let Some(separator) = &self.separator {
            show("separator", Value::from(separator.as_str()));
        }
        match &self.timestamp {
            None => {}
            Some(TimestampSource::Header(name)) => show("timestampHeader", Value::from(name.as_str())),
            Some(TimestampSource::Member(prefix)) => {
                show("timestampHeader", Value::from(self.header.as_str()));
                show("timestampPrefix", Value::from(prefix.as_str()));
            }
        }
        if self.id_header != ID_HEADER {
            show("idHeader", Value::from(self.id_header.as_str()));
        }
        if self.signed != SignedTemplate::body() {
            show("signed", Value::from(self.signed.source.as_str()));
        }
        if self.tolerance_seconds != TOLERANCE_SECONDS {
            show("toleranceSeconds", Value::from(self.tolerance_seconds));
        }
    }
}

fn field_name(fields: &mut Fields<'_>, name: &'static str) -> Result<Option<String>, ModelError> {
    match fields.string(name)? {
        Some(text) if !is_field_name(&text) => Err(fields.error(name, "must be the name of an HTTP header")),
        text => Ok(text),
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

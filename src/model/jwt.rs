//! `auth` of the type `jwt`: which JSON Web Tokens (RFC 7519) every call must carry one of.

use serde_json::{Map, Value};

use super::common::NAME_CHARS_MAX;
use super::error::ModelError;
use super::fields::{Fields, text, word_of};
use super::signature::{SECRETS, Secrets};
use super::spec::{FieldKind, FieldSpec, ObjectSpec, rows, words};

/// The tokens that are accepted, in `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Those that may have signed. Never empty, and all of the kind of the keys.
    pub algorithms: Vec<JwtAlgorithm>,
    pub keys: JwtKeys,
    /// One of these must be the claim `iss`; empty: anything.
    pub issuer: Vec<String>,
    /// One of these must be in the claim `aud`; empty: anything.
    pub audience: Vec<String>,
    /// How far the clocks may be apart.
    pub leeway_seconds: u32,
}

/// The keys that tokens are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// Shared secrets, as templates over the globals.
    Secret(Secrets),
    /// Public keys in PEM, as templates over the globals.
    Public(Secrets),
    /// The URL of a JSON Web Key Set (RFC 7517).
    Url(String),
}

/// A signature's algorithm (RFC 7518, 3.1; RFC 8037). `none` is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

const ALGORITHMS: [(&str, JwtAlgorithm); 12] = [
    ("HS256", JwtAlgorithm::Hs256),
    ("HS384", JwtAlgorithm::Hs384),
    ("HS512", JwtAlgorithm::Hs512),
    ("RS256", JwtAlgorithm::Rs256),
    ("RS384", JwtAlgorithm::Rs384),
    ("RS512", JwtAlgorithm::Rs512),
    ("PS256", JwtAlgorithm::Ps256),
    ("PS384", JwtAlgorithm::Ps384),
    ("PS512", JwtAlgorithm::Ps512),
    ("ES256", JwtAlgorithm::Es256),
    ("ES384", JwtAlgorithm::Es384),
    ("EdDSA", JwtAlgorithm::EdDsa),
];

impl JwtAlgorithm {
    /// Its name in a token's header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        word_of(&ALGORITHMS, self)
    }

    /// Whether it signs with a secret that both sides have.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        matches!(self, JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512)
    }
}

/// Most issuers and most audiences.
const NAMES_MAX: usize = 16;
/// Bytes of a URL of a key set.
const URL_BYTES_MAX: usize = 2_048;
/// The usual leeway of libraries.
const LEEWAY_SECONDS: u32 = 60;
const LEEWAY_SECONDS_MAX: u32 = 3_600;

/// The row `type` of a variant of `auth`.
pub(super) const fn type_row(word: &'static str) -> FieldSpec {
    FieldSpec::new("type", FieldKind::Const(word), "").required()
}

/// A claim's values.
const NAMES: FieldKind = FieldKind::Either(&[
    FieldKind::Text { least: 1, most: NAME_CHARS_MAX },
    FieldKind::Texts { least: 1, most: NAMES_MAX, things: "strings" },
]);

/// The fields of `auth` of the type `jwt`.
pub(super) static JWT: ObjectSpec = ObjectSpec::new(
    "auth",
    &[
        &[type_row("jwt")],
        &rows! {
            "algorithms": Words(&words(&ALGORITHMS)) =>
                "HS256 with a secret by default, else every one that verifies with a public key.";
            "secret": SECRETS => "A shared secret, or several. Templates over the globals.";
            "key": SECRETS => "A public key in PEM, or several. Templates over the globals.";
            "jwksUrl": text(1, URL_BYTES_MAX) =>
                "https URL of a JSON Web Key Set; keys are fetched when a token needs them.";
            "issuer": NAMES => "Values of the claim iss, one of which a token must have. Missing: any.";
            "audience": NAMES => "Values of the claim aud, one of which a token must have. Missing: any.";
            "leewaySeconds": integer(0, LEEWAY_SECONDS_MAX), or_number(LEEWAY_SECONDS) =>
                "How far the clocks may be apart.";
        },
    ],
);

impl JwtConfig {
    /// Reads the fields beside `type`. Masked secrets stand for those of `before`.
    pub(super) fn read(fields: &mut Fields<'_>, before: Option<&JwtConfig>) -> Result<JwtConfig, ModelError> {
        let keys = JwtKeys::read(fields, before)?;
        let algorithms = algorithms(fields, &keys)?;
        Ok(JwtConfig {
            algorithms,
            keys,
            issuer: names(fields, "issuer")?,
            audience: names(fields, "audience")?,
            leeway_seconds: fields.integer_or_default("leewaySeconds")?,
        })
    }

    /// Adds its fields, secrets masked or in clear.
    pub(super) fn show(&self, shown: &mut Map<String, Value>, masked: bool) {
        let mut show = |name: &str, value: Value| shown.insert(name.to_owned(), value);
        show("algorithms", self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect());
        match &self.keys {
            JwtKeys::Secret(secret) if masked => show("secret", secret.masked()),
            JwtKeys::Secret(secret) => show("secret", secret.to_value()),
            JwtKeys::Public(key) => show("key", key.to_value()),
            JwtKeys::Url(url) => show("jwksUrl", Value::from(url.as_str())),
        };
        for (name, values) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            match values.as_slice() {
                [] => {}
                [one] => drop(show(name, Value::from(one.as_str()))),
                several => drop(show(name, Value::from(several))),
            }
        }
        show("leewaySeconds", Value::from(self.leeway_seconds));
    }
}

impl JwtKeys {
    fn read(fields: &mut Fields<'_>, before: Option<&JwtConfig>) -> Result<JwtKeys, ModelError> {
        let kept = match before.map(|before| &before.keys) {
            Some(JwtKeys::Secret(secret)) => Some(secret),
            _ => None,
        };
        match (fields.value("secret"), fields.value("key"), fields.value("jwksUrl")) {
            (Some(secret), None, None) => Secrets::read(secret, "auth.secret", kept).map(JwtKeys::Secret),
            (None, Some(key), None) => Secrets::read(key, "auth.key", None).map(JwtKeys::Public),
            (None, None, Some(url)) => {
                let url = text(url, &(1..=URL_BYTES_MAX)).ok_or_else(|| fields.must_be("jwksUrl"))?;
                check_url(url).map_err(|must| fields.error("jwksUrl", must))?;
                Ok(JwtKeys::Url(url.to_owned()))
            }
            _ => Err(fields.error("secret", "or key or jwksUrl is required, and one of them alone")),
        }
    }
}

fn algorithms(fields: &mut Fields<'_>, keys: &JwtKeys) -> Result<Vec<JwtAlgorithm>, ModelError> {
    let is_secret = matches!(keys, JwtKeys::Secret(_));
    let Some(list) = fields.list("algorithms")? else {
        if is_secret {
            return Ok(vec![JwtAlgorithm::Hs256]);
        }
        let all = ALGORITHMS.iter().map(|(_, algorithm)| *algorithm);
        return Ok(all.filter(|algorithm| !algorithm.is_symmetric()).collect());
    };
    let mut algorithms = Vec::new();
    for value in list {
        let found = ALGORITHMS.iter().find(|(word, _)| value.as_str() == Some(word));
        let (_, algorithm) = found.ok_or_else(|| fields.must_be("algorithms"))?;
        if algorithm.is_symmetric() != is_secret {
            let must = "must be HS256, HS384 or HS512 with a secret, and none of them with a public key";
            return Err(fields.error("algorithms", must));
        }
        algorithms.push(*algorithm);
    }
    Ok(algorithms)
}

/// A string or a list of strings; none if it is absent.
fn names(fields: &mut Fields<'_>, name: &'static str) -> Result<Vec<String>, ModelError> {
    let Some(value) = fields.value(name) else { return Ok(Vec::new()) };
    let list = match value {
        Value::Array(list) if (1..=NAMES_MAX).contains(&list.len()) => list.as_slice(),
        Value::String(_) => std::slice::from_ref(value),
        _ => return Err(fields.must_be(name)),
    };
    let one = |value: &Value| text(value, &(1..=NAME_CHARS_MAX)).map(str::to_owned);
    list.iter().map(one).collect::<Option<_>>().ok_or_else(|| fields.must_be(name))
}

/// Checks the URL of a key set: whoever answers there decides who is let in, so only a listener of this machine may
/// be asked in plain text.
fn check_url(url: &str) -> Result<(), &'static str> {
    const MUST: &str = "must be an https URL, or an http URL of this machine (localhost, 127.0.0.1, [::1])";
    let parsed: hyper::Uri = url.parse().map_err(|_| MUST)?;
    let host = parsed.host().unwrap_or_default();
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['#', '@']);
    match parsed.scheme_str() {
        Some("https") if is_plain && !host.is_empty() => Ok(()),
        Some("http") if is_plain && is_local => Ok(()),
        _ => Err(MUST),
    }
}

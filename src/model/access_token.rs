//! Access tokens beside the first one: a name, rights, an end, and the digest of a secret that is shown once.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::common::{NAME_CHARS_MAX, time_text};
use super::error::{ModelError, StoredError};
use super::fields::Fields;
use super::spec::{FieldSpec, ObjectSpec, rows, words};
use crate::base::id::Id;
use crate::base::text::{hex_decode_slice, hex_into, parse_time};

/// Bytes of the digest of a token: SHA-256. A token is random, so that a slow hash would add nothing.
pub(crate) const DIGEST_BYTES: usize = 32;

/// Something that a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Look at everything that the API shows.
    Read = 1,
    /// Change applications, webhooks, flows and globals, and send test requests.
    Write = 2,
    /// Attach to flows as a worker.
    Worker = 4,
    /// Reply to triggers over the API.
    Reply = 8,
}

const RIGHTS: [(&str, Right); 4] =
    [("read", Right::Read), ("write", Right::Write), ("worker", Right::Worker), ("reply", Right::Reply)];

/// The fields of the body that makes an access token.
pub(crate) static ACCESS_TOKEN_POST: ObjectSpec = ObjectSpec::new("an access token", &[&WRITTEN]);

/// The fields of an access token as it is shown.
pub(crate) static ACCESS_TOKEN: ObjectSpec = ObjectSpec::new(
    "an access token",
    &[&WRITTEN, &rows! { "id": Id, read_only => ""; "creationDate": Time, read_only => ""; }],
);

const WRITTEN: [FieldSpec; 3] = rows! {
    "name": text(1, NAME_CHARS_MAX), required => "Unique: the log tells tokens apart by it.";
    "rights": Words(&words(&RIGHTS)), required =>
        "`read`: look at everything; `write`: change everything but tokens; `worker`: attach to flows; `reply`: reply \
        over the API.";
    "expires": Time, nullable => "Its end, in the future; null: none.";
};

impl Right {
    /// The API's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        RIGHTS.iter().find(|(_, right)| *right == self).map_or("", |(word, _)| word)
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// All of them.
    pub const ALL: Rights = Rights(15);
    /// The API's words.
    pub const WORDS: [&'static str; 4] = words(&RIGHTS);

    /// Whether a right is among them.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// The API's words for them.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        RIGHTS.iter().filter(|(_, right)| self.has(*right)).map(|(word, _)| *word).collect()
    }

    fn read(words: &[Value]) -> Option<Rights> {
        let right = |word: &Value| RIGHTS.iter().find(|(known, _)| word.as_str() == Some(known));
        let bits = words.iter().map(|word| right(word).map(|(_, right)| *right as u8));
        bits.collect::<Option<Vec<u8>>>().map(|bits| Rights(bits.iter().fold(0, |all, bit| all | bit)))
    }
}

/// A token as it is kept: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    pub id: Id,
    /// Milliseconds since 1970.
    pub creation_date: u64,
    /// No two tokens have one name: the log tells them apart by it.
    pub name: String,
    pub rights: Rights,
    /// When it ends, in milliseconds since 1970; `None` for never.
    pub expires: Option<u64>,
    /// The SHA-256 of the secret.
    pub digest: [u8; DIGEST_BYTES],
}

impl AccessToken {
    /// Reads the body of a POST. `digest` is that of the new secret.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn create(body: &Value, digest: [u8; DIGEST_BYTES], now: u64) -> Result<AccessToken, ModelError> {
        let mut fields = Fields::of(body, "", &ACCESS_TOKEN_POST)?;
        let name = fields.required_string("name")?;
        if name.chars().any(char::is_control) {
            return Err(fields.error("name", "must have no control characters"));
        }
        let rights = fields.value("rights").and_then(Value::as_array).filter(|words| !words.is_empty());
        let rights = rights.and_then(|words| Rights::read(words));
        let rights = rights.ok_or_else(|| fields.must_be("rights"))?;
        let expires = match fields.value("expires") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let millis =
                    value.as_str().and_then(parse_time).and_then(|millis| u64::try_from(millis).ok());
                let millis = millis.filter(|millis| *millis > now);
                let must = "must be a time of RFC 3339 in the future, or null for a token without an end";
                Some(millis.ok_or_else(|| fields.error("expires", must))?)
            }
        };
        fields.finish_strict()?;
        Ok(AccessToken { id: Id::generate(now), creation_date: now, name, rights, expires, digest })
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_api(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "name": self.name,
            "rights": self.rights.words(),
            "creationDate": time_text(self.creation_date),
            "expires": self.expires.map(time_text),
        })
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        let mut digest = Vec::new();
        hex_into(&mut digest, &self.digest);
        let stored = StoredToken {
            id: self.id,
            creation_date: self.creation_date,
            name: self.name.clone(),
            rights: self.rights.0,
            expires: self.expires,
            digest: String::from_utf8(digest).unwrap_or_default(),
        };
        serde_json::to_vec(&stored).expect("strings and numbers always serialize")
    }

    /// Reads what [`AccessToken::to_stored`] wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_stored(bytes: &[u8]) -> Result<AccessToken, StoredError> {
        let bad = |what: &str| StoredError(format!("access token: {what}"));
        let stored: StoredToken = serde_json::from_slice(bytes).map_err(|error| bad(&error.to_string()))?;
        let mut digest = [0; DIGEST_BYTES];
        if !hex_decode_slice(&mut digest, stored.digest.as_bytes()) {
            return Err(bad("digest"));
        }
        Ok(AccessToken {
            id: stored.id,
            creation_date: stored.creation_date,
            name: stored.name,
            rights: Rights(stored.rights & Rights::ALL.0),
            expires: stored.expires,
            digest,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredToken {
    id: Id,
    creation_date: u64,
    name: String,
    rights: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    digest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_771_521_960_123;

    #[test]
    fn a_token_is_read_shown_and_kept() {
        let body = json!({"name": "ci", "rights": ["write", "read"], "expires": "2027-01-01T00:00:00Z"});
        let token = AccessToken::create(&body, [7; DIGEST_BYTES], NOW).expect("a token");
        assert_eq!(AccessToken::from_stored(&token.to_stored()), Ok(token.clone()));
        let shown = token.to_api();
        assert_eq!(shown["rights"], json!(["read", "write"]));
        assert_eq!(shown["expires"], "2027-01-01T00:00:00.000Z");
        assert!(!shown.to_string().contains("0707"), "the digest is not shown");
        assert!(token.rights.has(Right::Read) && !token.rights.has(Right::Worker));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (json!([]), "body"),
            (json!({"rights": ["read"]}), "name"),
            (json!({"name": "", "rights": ["read"]}), "name"),
            (json!({"name": "a\nb", "rights": ["read"]}), "name"),
            (json!({"name": "a"}), "rights"),
            (json!({"name": "a", "rights": []}), "rights"),
            (json!({"name": "a", "rights": ["all"]}), "rights"),
            (json!({"name": "a", "rights": "read"}), "rights"),
            (json!({"name": "a", "rights": ["read"], "expires": "2020-01-01T00:00:00Z"}), "expires"),
            (json!({"name": "a", "rights": ["read"], "expires": 7}), "expires"),
            (json!({"name": "a", "rights": ["read"], "token": "x"}), "token"),
        ] {
            let error = AccessToken::create(&body, [0; DIGEST_BYTES], NOW).expect_err("refused");
            assert_eq!(error.field(), field, "{body}");
        }
        assert_eq!(Rights::WORDS.to_vec(), Rights::ALL.words());
    }
}

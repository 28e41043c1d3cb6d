//! Access tokens of the operator's side: the first one, which may do everything, and those that were made with a name.
//!
//! A presented token is found by its digest. Looking digests up in a map takes time that depends on the digest alone,
//! from which no token can be guessed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::secret::sha256;
use crate::model::{AccessToken, DIGEST_BYTES, Right, Rights};

/// The name of the first token in the log.
pub const FIRST_TOKEN: &str = "access-token";

/// The owner of a presented token, and its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// For the log.
    pub name: Arc<str>,
    pub rights: Rights,
    /// When it ends, in milliseconds since 1970.
    expires: Option<u64>,
}

/// The tokens that are taken. Shared by the admin listener and the cores.
pub struct AccessTokens {
    /// By digest.
    granted: RwLock<HashMap<[u8; DIGEST_BYTES], Granted>>,
    first: [u8; DIGEST_BYTES],
}

impl AccessTokens {
    /// The first token alone. An empty one would let everyone in: nothing equals it.
    #[must_use]
    pub fn only(first: &str) -> AccessTokens {
        let tokens = AccessTokens { granted: RwLock::default(), first: sha256(first.as_bytes()) };
        if !first.is_empty() {
            tokens.put_first();
        }
        tokens
    }

    fn put_first(&self) {
        let granted = Granted { name: FIRST_TOKEN.into(), rights: Rights::ALL, expires: None };
        self.granted.write().unwrap_or_else(PoisonError::into_inner).insert(self.first, granted);
    }

    /// Takes a token from here on.
    pub fn insert(&self, token: &AccessToken) {
        if token.digest == self.first {
            return;
        }
        let name = token.name.as_str().into();
        let granted = Granted { name, rights: token.rights, expires: token.expires };
        self.granted.write().unwrap_or_else(PoisonError::into_inner).insert(token.digest, granted);
    }

    /// Takes these and no others, but for the first.
    pub fn replace(&self, tokens: &[AccessToken]) {
        let own = |token: &&AccessToken| token.digest != self.first;
        let granted = tokens.iter().filter(own).map(|token| {
            let name = token.name.as_str().into();
            (token.digest, Granted { name, rights: token.rights, expires: token.expires })
        });
        let mut all = self.granted.write().unwrap_or_else(PoisonError::into_inner);
        let first = all.remove(&self.first);
        *all = granted.collect();
        all.extend(first.map(|first| (self.first, first)));
    }

    /// Takes a token no longer.
    pub fn remove(&self, token: &AccessToken) {
        if token.digest != self.first {
            self.granted.write().unwrap_or_else(PoisonError::into_inner).remove(&token.digest);
        }
    }

    /// The owner and the rights of a token; `None` for one that is not valid at `now` (milliseconds since 1970).
    #[must_use]
    pub fn find(&self, presented: &[u8], now: u64) -> Option<Granted> {
        let granted = self.granted.read().unwrap_or_else(PoisonError::into_inner);
        let found = granted.get(&sha256(presented))?;
        found.expires.is_none_or(|expires| expires > now).then(|| found.clone())
    }
}

/// Shows nothing of the tokens, their digests included.
impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokens(…)")
    }
}

impl Granted {
    /// Whether it has a right.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }
}

/// The digest that a secret is kept as.
#[must_use]
pub fn digest_of(secret: &str) -> [u8; DIGEST_BYTES] {
    sha256(secret.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(name: &str, secret: &str) -> AccessToken {
        let body = json!({"name": name, "rights": ["read"], "expires": "2027-01-01T00:00:00Z"});
        AccessToken::create(&body, digest_of(secret), 1_771_521_960_123).expect("a token")
    }

    #[test]
    fn a_token_is_found_until_it_ends_or_is_removed() {
        let tokens = AccessTokens::only("the-first-token");
        let ci = token("ci", "its-secret");
        tokens.insert(&ci);
        let now = 1_771_521_960_123;
        assert_eq!(tokens.find(b"the-first-token", now).map(|granted| granted.rights), Some(Rights::ALL));
        let granted = tokens.find(b"its-secret", now).expect("found");
        assert_eq!(&*granted.name, "ci");
        assert!(granted.may(Right::Read) && !granted.may(Right::Write));
        assert_eq!(tokens.find(b"its-secret", 1_800_000_000_000), None);
        for other in [&b""[..], b"its-secre", b"its-secret ", b"ci"] {
            assert_eq!(tokens.find(other, now), None);
        }
        tokens.remove(&ci);
        assert_eq!(tokens.find(b"its-secret", now), None);
    }

    #[test]
    fn the_first_token_can_neither_be_replaced_nor_removed_and_an_empty_one_lets_nobody_in() {
        let tokens = AccessTokens::only("the-first-token");
        let same = token("same", "the-first-token");
        tokens.insert(&same);
        assert_eq!(tokens.find(b"the-first-token", 0).map(|granted| granted.rights), Some(Rights::ALL));
        tokens.remove(&same);
        assert!(tokens.find(b"the-first-token", 0).is_some());
        assert_eq!(AccessTokens::only("").find(b"", 0), None);
        assert_eq!(format!("{tokens:?}"), "AccessTokens(…)");
    }
}

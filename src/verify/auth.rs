//! `auth` of a webhook ([verification](crate::guide::verification#who-may-call)): the credential that every call must
//! carry besides, or in place of, basic authentication.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::verify::fields::Fields;
use crate::verify::jwt::{Jwt, KeySet, Verdict};
use crate::verify::query::{Parameter, parameter};
use crate::verify::secret::Expected;

/// A compiled `auth`.
#[derive(Debug)]
pub enum Auth {
    /// A header with one of these values.
    Header { name: Box<str>, values: Values },
    /// A parameter of the query with one of these values.
    Query { name: Box<str>, values: Values },
    /// A JSON Web Token.
    Jwt(Box<Jwt>),
}

/// The values that are right, any of them.
#[derive(Clone, Debug)]
pub struct Values(Box<[Expected]>);

impl Values {
    /// Compiles rendered values; one that rendered empty equals nothing.
    pub fn new<S: AsRef<str>>(rendered: impl IntoIterator<Item = S>) -> Values {
        Values(rendered.into_iter().map(|value| Expected::secret(value.as_ref().as_bytes())).collect())
    }

    /// Whether `presented` is one of them. Every one is compared, so that the time does not tell which it is.
    #[must_use]
    pub fn have(&self, presented: &[u8]) -> bool {
        self.0.iter().fold(false, |found, value| found | value.equals(presented))
    }

    fn is_same(&self, other: &Values) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, two)| one.is_same(two))
    }
}

impl Auth {
    /// Checks whether a request with these fields and this query carries the credential, exactly once. `known` are the
    /// keys of a token's issuer, where they are at a URL.
    pub fn check<'a>(
        &self,
        fields: &dyn Fields<'a>,
        query: Option<&[u8]>,
        known: Option<&KeySet>,
        now: Now,
    ) -> Verdict {
        let is_good = match self {
            Auth::Header { name, values } => fields.once(name).is_ok_and(|value| values.have(value)),
            Auth::Query { name, values } => match parameter(query.unwrap_or_default(), name) {
                Parameter::Once(value) => values.have(&value),
                Parameter::Missing | Parameter::Repeated => false,
            },
            Auth::Jwt(jwt) => return jwt.check(fields.once("authorization").ok(), known, now),
        };
        if is_good { Verdict::Good } else { Verdict::Refused }
    }

    /// The URL of the keys that tokens are verified with, where they are at one.
    #[must_use]
    pub fn key_set_url(&self) -> Option<&Arc<str>> {
        match self {
            Auth::Jwt(jwt) => jwt.key_set_url(),
            Auth::Header { .. } | Auth::Query { .. } => None,
        }
    }

    /// Whether the credential is a token with claims.
    #[must_use]
    pub fn has_claims(&self) -> bool {
        matches!(self, Auth::Jwt(_))
    }

    /// Whether both let the same callers in.
    #[must_use]
    pub fn is_same(&self, other: &Auth) -> bool {
        match (self, other) {
            (Auth::Header { name, values }, Auth::Header { name: other_name, values: others }) => {
                name.eq_ignore_ascii_case(other_name) && values.is_same(others)
            }
            (Auth::Query { name, values }, Auth::Query { name: other_name, values: others }) => {
                name == other_name && values.is_same(others)
            }
            (Auth::Jwt(jwt), Auth::Jwt(other)) => jwt.is_same(other),
            _ => false,
        }
    }

    /// The header that holds the credential.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Auth::Header { name, .. } => Some(name),
            Auth::Jwt(_) => Some("authorization"),
            Auth::Query { .. } => None,
        }
    }

    /// The parameter of the query that holds the credential.
    #[must_use]
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Auth::Query { name, .. } => Some(name),
            Auth::Header { .. } | Auth::Jwt(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type List = [(&'static [u8], &'static [u8])];

    fn check<'a>(auth: &Auth, fields: &dyn Fields<'a>, query: Option<&[u8]>) -> bool {
        auth.check(fields, query, None, Now { nanos: 0, unix_millis: 0 }) == Verdict::Good
    }

    fn passes(auth: &Auth, fields: &List, query: &str) -> bool {
        check(auth, &fields.iter().copied(), Some(query.as_bytes()))
    }

    #[test]
    fn a_header_must_be_there_once_with_one_of_the_values() {
        let auth = Auth::Header { name: "X-Key".into(), values: Values::new(["new", "old", ""]) };
        for right in ["new", "old"] {
            assert!(check(&auth, &[(&b"x-key"[..], right.as_bytes())].iter().copied(), None));
        }
        let wrong: [&List; 6] = [
            &[],
            &[(b"x-key", b"")],
            &[(b"x-key", b"newer")],
            &[(b"x-key", b"ne")],
            &[(b"x-keys", b"new")],
            &[(b"x-key", b"new"), (b"X-Key", b"new")],
        ];
        for fields in wrong {
            assert!(!passes(&auth, fields, "X-Key=new"), "{fields:?}");
        }
    }

    #[test]
    fn a_parameter_must_be_there_once_with_one_of_the_values() {
        let auth = Auth::Query { name: "key".into(), values: Values::new(["a b&c", "old"]) };
        for right in ["key=a+b%26c", "x=1&%6bey=old", "key=old&keys=x"] {
            assert!(passes(&auth, &[], right), "{right}");
        }
        for wrong in ["", "key", "key=", "KEY=old", "key=old&key=old", "key=older", "old"] {
            assert!(!passes(&auth, &[(b"key", b"old")], wrong), "{wrong}");
        }
        assert!(!check(&auth, &std::iter::empty(), None));
    }

    #[test]
    fn values_that_all_render_empty_refuse_everything() {
        let auth = Auth::Header { name: "x-key".into(), values: Values::new([""]) };
        assert!(!passes(&auth, &[(b"x-key", b"")], ""));
    }

    #[test]
    fn a_change_of_name_or_values_is_another_credential() {
        let header =
            |name: &str, values: &[&str]| Auth::Header { name: name.into(), values: Values::new(values) };
        let query =
            |name: &str, values: &[&str]| Auth::Query { name: name.into(), values: Values::new(values) };
        assert!(header("x-key", &["a"]).is_same(&header("X-Key", &["a"])));
        for other in [
            header("x-key", &["b"]),
            header("x-key", &["a", "b"]),
            header("y", &["a"]),
            query("x-key", &["a"]),
        ] {
            assert!(!header("x-key", &["a"]).is_same(&other), "{other:?}");
        }
        assert!(!query("key", &["a"]).is_same(&query("KEY", &["a"])));
    }
}

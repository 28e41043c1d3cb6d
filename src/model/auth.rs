//! `auth` of a webhook: the credential that every call must carry
//! ([verification](crate::guide::verification#who-may-call)).

use serde_json::{Map, Value};

use super::common::NAME_CHARS_MAX;
use super::error::ModelError;
use super::fields::{Fields, must_be_one_of, word_of};
use super::jwt::JwtConfig;
use super::signature::{Secrets, is_field_name};

/// A credential that every call must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// A header with one of these values.
    Header(NamedSecret),
    /// A parameter of the query with one of these values.
    Query(NamedSecret),
    /// A JSON Web Token.
    Jwt(Box<JwtConfig>),
}

/// A name and the values that are right for it, as templates over the globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    pub name: String,
    pub value: Secrets,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthKind {
    Header,
    Query,
    Jwt,
}

const KINDS: [(&str, AuthKind); 3] =
    [("header", AuthKind::Header), ("query", AuthKind::Query), ("jwt", AuthKind::Jwt)];

impl AuthConfig {
    /// Reads `auth`, whose masked secrets stand for those of `before`.
    pub(super) fn read(value: &Value, before: Option<&AuthConfig>) -> Result<AuthConfig, ModelError> {
        let mut fields = Fields::of(value, "auth")?;
        let kind = fields.one_of("type", &KINDS)?;
        let kind = kind.ok_or_else(|| fields.error("type", must_be_one_of(&KINDS)))?;
        let auth = match (kind, before) {
            (AuthKind::Header, Some(AuthConfig::Header(before))) => {
                AuthConfig::Header(NamedSecret::read(&mut fields, Some(before))?)
            }
            (AuthKind::Header, _) => AuthConfig::Header(NamedSecret::read(&mut fields, None)?),
            (AuthKind::Query, Some(AuthConfig::Query(before))) => {
                AuthConfig::Query(NamedSecret::read(&mut fields, Some(before))?)
            }
            (AuthKind::Query, _) => AuthConfig::Query(NamedSecret::read(&mut fields, None)?),
            (AuthKind::Jwt, Some(AuthConfig::Jwt(before))) => {
                AuthConfig::Jwt(Box::new(JwtConfig::read(&mut fields, Some(before))?))
            }
            (AuthKind::Jwt, _) => AuthConfig::Jwt(Box::new(JwtConfig::read(&mut fields, None)?)),
        };
        if let AuthConfig::Header(named) = &auth
            && !is_field_name(&named.name)
        {
            return Err(fields.error("name", "must be the name of an HTTP header"));
        }
        fields.finish_strict("auth")?;
        Ok(auth)
    }

    /// In JSON, secrets masked or in clear.
    pub(super) fn to_value(&self, masked: bool) -> Value {
        let mut shown = Map::new();
        let kind = match self {
            AuthConfig::Header(_) => AuthKind::Header,
            AuthConfig::Query(_) => AuthKind::Query,
            AuthConfig::Jwt(_) => AuthKind::Jwt,
        };
        shown.insert("type".to_owned(), Value::from(word_of(&KINDS, kind)));
        match self {
            AuthConfig::Header(named) | AuthConfig::Query(named) => {
                let value = if masked { named.value.masked() } else { named.value.to_value() };
                shown.insert("name".to_owned(), Value::from(named.name.as_str()));
                shown.insert("value".to_owned(), value);
            }
            AuthConfig::Jwt(config) => config.show(&mut shown, masked),
        }
        Value::Object(shown)
    }

    /// Whether the credential is in the header `Authorization`.
    pub(super) fn reads_authorization(&self) -> bool {
        match self {
            AuthConfig::Header(named) => named.name.eq_ignore_ascii_case("authorization"),
            AuthConfig::Query(_) => false,
            AuthConfig::Jwt(_) => true,
        }
    }
}

impl NamedSecret {
    fn read(fields: &mut Fields<'_>, before: Option<&NamedSecret>) -> Result<NamedSecret, ModelError> {
        let name = fields.required_string("name", 1..=NAME_CHARS_MAX)?;
        let Some(value) = fields.value("value") else {
            return Err(fields.error("value", "is required: a string or a list of strings"));
        };
        let value = Secrets::read(value, "auth.value", before.map(|before| &before.value))?;
        Ok(NamedSecret { name, value })
    }
}

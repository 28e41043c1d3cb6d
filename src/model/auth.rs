//! `auth` of a webhook: the credential that every call must carry (section 8).

use serde_json::{Value, json};

use super::NAME_CHARS_MAX;
use super::error::ModelError;
use super::fields::{Fields, must_be_one_of};
use super::signature::{Secrets, is_field_name};

/// A credential that every call must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthConfig {
    /// A header with one of these values.
    Header(NamedSecret),
    /// A parameter of the query with one of these values.
    Query(NamedSecret),
}

/// A name and the values that are right for it, as templates over the globals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSecret {
    pub name: String,
    pub value: Secrets,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Header,
    Query,
}

const KINDS: [(&str, Kind); 2] = [("header", Kind::Header), ("query", Kind::Query)];

impl AuthConfig {
    /// Reads `auth`, whose masked secrets stand for those of `before`.
    pub(super) fn read(value: &Value, before: Option<&AuthConfig>) -> Result<AuthConfig, ModelError> {
        let mut fields = Fields::of(value, "auth")?;
        let kind = fields.one_of("type", &KINDS)?;
        let kind = kind.ok_or_else(|| fields.error("type", must_be_one_of(&KINDS)))?;
        let kept = match (kind, before) {
            (Kind::Header, Some(AuthConfig::Header(named)))
            | (Kind::Query, Some(AuthConfig::Query(named))) => Some(named),
            _ => None,
        };
        let name = fields.required_string("name", 1..=NAME_CHARS_MAX)?;
        if kind == Kind::Header && !is_field_name(&name) {
            return Err(fields.error("name", "must be the name of an HTTP header"));
        }
        let Some(value) = fields.value("value") else {
            return Err(fields.error("value", "is required: a string or a list of strings"));
        };
        let value = Secrets::read(value, "auth.value", kept.map(|named| &named.value))?;
        fields.finish_strict("auth")?;
        let named = NamedSecret { name, value };
        Ok(if kind == Kind::Header { AuthConfig::Header(named) } else { AuthConfig::Query(named) })
    }

    /// In JSON, secrets masked or in clear.
    pub(super) fn to_value(&self, masked: bool) -> Value {
        let (kind, named) = match self {
            AuthConfig::Header(named) => ("header", named),
            AuthConfig::Query(named) => ("query", named),
        };
        let value = if masked { named.value.masked() } else { named.value.to_value() };
        json!({"type": kind, "name": named.name, "value": value})
    }

    /// Whether the credential is in the header `Authorization`.
    pub(super) fn reads_authorization(&self) -> bool {
        matches!(self, AuthConfig::Header(named) if named.name.eq_ignore_ascii_case("authorization"))
    }
}

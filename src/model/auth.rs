//! `auth` of a webhook: the credential that every call must carry
//! ([verification](crate::guide::verification#who-may-call)).

use serde_json::{Map, Value};

use super::common::NAME_CHARS_MAX;
use super::error::ModelError;
use super::fields::{Fields, word_of};
use super::jwt::{JWT, JwtConfig, type_row};
use super::signature::{SECRETS, Secrets, is_field_name};
use super::spec::{FieldSpec, ObjectSpec, rows, words};

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

/// The field that tells the variants apart.
static UNTYPED: ObjectSpec =
    ObjectSpec::new("auth", &[&rows! { "type": Word(&words(&KINDS)), required => ""; }]);

static HEADER: ObjectSpec = ObjectSpec::new("auth", &[&[type_row("header")], &NAMED]);
static QUERY: ObjectSpec = ObjectSpec::new("auth", &[&[type_row("query")], &NAMED]);

const NAMED: [FieldSpec; 2] = rows! {
    "name": text(1, NAME_CHARS_MAX), required => "Of the header or the parameter.";
    "value": SECRETS, required =>
        "Any of several is right. Templates over the globals. Shown as ***; a PATCH with *** keeps it.";
};

/// The variants of `auth`, each with a sentence about it.
pub(crate) static AUTHS: [(&ObjectSpec, &str); 3] = [
    (&HEADER, "A header of every call must have the value, or one of the values"),
    (&QUERY, "The same for a parameter of the query, which stays out of the payload"),
    (
        &JWT,
        "Authorization: Bearer must be a JSON Web Token; one of secret, key and jwksUrl says how it is verified",
    ),
];

impl AuthConfig {
    /// Reads `auth`, whose masked secrets stand for those of `before`.
    pub(super) fn read(value: &Value, before: Option<&AuthConfig>) -> Result<AuthConfig, ModelError> {
        let mut fields = Fields::of(value, "auth", &UNTYPED)?;
        let kind = fields.one_of("type", &KINDS)?.ok_or_else(|| fields.must_be("type"))?;
        fields.narrow(match kind {
            AuthKind::Header => &HEADER,
            AuthKind::Query => &QUERY,
            AuthKind::Jwt => &JWT,
        });
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
        fields.finish_strict()?;
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
        let name = fields.required_string("name")?;
        let Some(value) = fields.value("value") else {
            return Err(fields.missing("value"));
        };
        let value = Secrets::read(value, "auth.value", before.map(|before| &before.value))?;
        Ok(NamedSecret { name, value })
    }
}

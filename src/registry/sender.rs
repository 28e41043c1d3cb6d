//! The credentials of a webhook, from the side of a caller who has them all: test requests are made genuine with it.

use super::compile::{self, ApplicationPart};
use crate::base::id::Id;
use crate::base::text::base64_into;
use crate::model::{Application, AuthConfig, NamedSecret, Webhook};
use crate::trigger::Tail;
use crate::verify::signature::Signature;

/// The credentials and the signature that a webhook's callers send, its templates rendered.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The value of `Authorization`; `None` where the webhook asks for none, or lets nobody in.
    pub authorization: Option<String>,
    /// The header or the parameter of the query that `auth` asks for, and its value.
    pub auth: Option<(AuthPlace, String)>,
    /// The signature of its requests.
    pub signature: Option<Signature>,
}

impl Sender {
    /// A caller of `webhook`, which belongs to `application`.
    #[must_use]
    pub(crate) fn of(application: &Application, webhook: &Webhook) -> Sender {
        let part = ApplicationPart::new(application);
        let config = webhook.signature.as_ref();
        Sender {
            authorization: authorization(&part, webhook),
            auth: auth(&part, webhook),
            signature: config.map(|config| compile::signature(&part, webhook, config)),
        }
    }
}

/// Returns the rest of a payload that is for no flow: of `webhook`, which belongs to `application`.
#[must_use]
pub(crate) fn tail_of(application: &Application, webhook: Id) -> Tail {
    let globals = ApplicationPart::new(application).globals();
    Tail::of_webhook(application.id, &application.name, webhook, globals)
}

/// Where a credential is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuthPlace {
    /// In the header of this name.
    Header(String),
    /// In the parameter of this name.
    Query(String),
}

/// The first value of `auth` that does not render empty.
fn auth(part: &ApplicationPart, webhook: &Webhook) -> Option<(AuthPlace, String)> {
    let value = |named: &NamedSecret| {
        let mut rendered = named.value.as_slice().iter().filter_map(|source| compile::render(part, source));
        rendered.find(|value| !value.is_empty())
    };
    match webhook.options.auth.as_ref()? {
        AuthConfig::Header(named) => Some((AuthPlace::Header(named.name.clone()), value(named)?)),
        AuthConfig::Query(named) => Some((AuthPlace::Query(named.name.clone()), value(named)?)),
        // Its issuer makes it.
        AuthConfig::Jwt(_) => None,
    }
}

/// RFC 7617, section 2. A field that has a template and renders empty lets nobody in.
fn authorization(part: &ApplicationPart, webhook: &Webhook) -> Option<String> {
    let fields = [&webhook.basic_auth_username, &webhook.basic_auth_password];
    let [username, password] = fields.map(|source| compile::render(part, source));
    if username.is_none() && password.is_none() {
        return None;
    }
    let (username, password) = (username.as_deref(), password.as_deref());
    if username == Some("") || password == Some("") {
        return None;
    }
    let user_pass = format!("{}:{}", username.unwrap_or_default(), password.unwrap_or_default());
    let mut value = b"Basic ".to_vec();
    base64_into(&mut value, user_pass.as_bytes());
    // Base64 is ASCII.
    String::from_utf8(value).ok()
}

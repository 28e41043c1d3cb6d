//! What a webhook asks of its callers, from the side of a caller who has it all: test requests are made genuine with it.

use super::compile::{self, ApplicationPart};
use crate::base::text::base64_into;
use crate::model::{Application, Webhook};
use crate::verify::signature::Signature;

/// The credentials and the signature that a webhook's callers send, its templates rendered.
#[derive(Debug)]
pub struct Sender {
    /// The value of `Authorization`; `None` where the webhook asks for none, or lets nobody in.
    pub authorization: Option<String>,
    /// What its requests are signed with.
    pub signature: Option<Signature>,
}

impl Sender {
    /// A caller of `webhook`, which belongs to `application`.
    #[must_use]
    pub fn of(application: &Application, webhook: &Webhook) -> Sender {
        let part = ApplicationPart::new(application);
        let config = webhook.signature.as_ref();
        Sender {
            authorization: authorization(&part, webhook),
            signature: config.map(|config| compile::signature(&part, webhook, config)),
        }
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

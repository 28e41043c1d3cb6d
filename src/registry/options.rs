//! Options that most webhooks do not set, compiled: one allocation of a hook, and none if all of them are absent.

use std::sync::Arc;

use crate::base::ip_net::IpNet;
use crate::limit::{CallKey, KeyStore};
use crate::model::{CorsConfig, MethodSet, ResponseBodyConfig};
use crate::template::Template;
use crate::trigger::{Hidden, Parts, Tail};
use crate::verify::auth::Auth;
use crate::verify::basic::Basic;

/// Options of a compiled webhook.
#[derive(Debug, Default)]
pub struct HookOptions {
    /// `None`: every caller passes.
    pub basic: Option<Basic>,
    /// `None`: every caller passes.
    pub auth: Option<Auth>,
    /// `None`: all methods that webhooks take.
    pub methods: Option<MethodSet>,
    /// `None`: any address. Never empty.
    pub networks: Option<Box<[IpNet]>>,
    /// `None`: `{"success":true}`.
    pub response_body: Option<Arc<ResponseBodyConfig>>,
    /// `None`: as the server's setting says.
    pub cors: Option<Box<CorsConfig>>,
    /// `None`: no call is a repeat.
    pub deduplicate: Option<Box<Deduplicate>>,
    /// Whether payloads hold the body's bytes, too.
    pub raw_body: bool,
    /// Records that are kept of the webhook; `None`: as the server's setting says.
    pub record_events: Option<u32>,
    /// When the hook's token is over, in milliseconds since 1970: it is an earlier one of the webhook.
    pub ends_millis: Option<u64>,
}

/// Tells the keys of one template of `deduplicate` from those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateMark(pub [u8; 4]);

impl TemplateMark {
    /// The mark of a template's text.
    pub(super) fn of(source: &str) -> TemplateMark {
        let [a, b, c, d, ..] = *CallKey::of(source.as_bytes()).raw();
        TemplateMark([a, b, c, d])
    }
}

/// A compiled `deduplicate`.
#[derive(Debug)]
pub struct Deduplicate {
    /// The template's text.
    pub(super) source: Box<str>,
    pub mark: TemplateMark,
    /// The template of a call's key.
    pub key: Template,
    /// The parts of an event that the template looks at.
    pub reads: Parts,
    /// The rest of the payload that the template is rendered over.
    pub tail: Tail,
    pub window_millis: u64,
    /// The keys that were taken, carried from one compiled hook to the next.
    pub keys: Arc<KeyStore>,
}

impl HookOptions {
    /// Itself, or `None` where all of it is off.
    pub(super) fn boxed(self) -> Option<Box<HookOptions>> {
        let is_off = self.basic.is_none()
            && self.auth.is_none()
            && self.methods.is_none()
            && self.networks.is_none()
            && self.response_body.is_none()
            && self.cors.is_none()
            && self.deduplicate.is_none()
            && !self.raw_body
            && self.record_events.is_none();
        (!is_off).then(|| Box::new(self))
    }

    /// Whether the callers that may come in are those of `other`.
    pub(super) fn has_credentials_of(&self, other: &HookOptions) -> bool {
        let basic = match (&self.basic, &other.basic) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        let auth = match (&self.auth, &other.auth) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        basic && auth && self.networks == other.networks
    }

    /// The places in a request's head that hold a credential of the webhook.
    pub(super) fn hidden(&self) -> Hidden<'_> {
        Hidden {
            authorization: self.basic.is_some(),
            header: self.auth.as_ref().and_then(Auth::header),
            parameter: self.auth.as_ref().and_then(Auth::parameter),
        }
    }
}

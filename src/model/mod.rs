//! Floor 2: the resources that a user writes — applications, webhooks and flows — and what makes them valid.
//!
//! A resource is read from the JSON of a REST body ([`Webhook::create`], [`Webhook::patch`]), refused with an error
//! that names the field and what it must be ([`ModelError`]), shown as the API shows it ([`Webhook::to_api`], secrets
//! masked) and written compactly for the store ([`Webhook::to_stored`], secrets in clear). Every field that the rest
//! of the engine reads is typed here: nothing above this floor looks at a `Value` again.
//!
//! Not here: the syntax of templates (the registry compiles them, and says so before a resource is saved), storage,
//! and requests.
//!
//! # Fields
//!
//! Four kinds of field may stand in a body: those below, which are checked; read-only ones (`id`, `token`, dates, …),
//! which are ignored, so that what `GET` answered can be sent back; those that the platform knows and Tidegate has no
//! use for ([`known`]), which are kept and given back; and any other, which is refused.

mod access_token;
mod application;
mod auth;
mod cast;
mod error;
mod fields;
mod flow;
mod flow_trigger;
mod flow_version;
mod forward;
mod global;
mod jwt;
pub mod known;
mod logic;
mod node;
mod options;
mod reply_node;
mod signature;
mod token;
mod webhook;
mod wiring;

pub use access_token::{AccessToken, DIGEST_BYTES, Right, Rights};
pub use application::Application;
pub use auth::{AuthConfig, NamedSecret};
pub use cast::CastBuffersAs;
pub use error::{ModelError, StoredError};
pub use flow::{FLOW_CLASSES, Flow, FlowClass};
pub use flow_trigger::{FlowTrigger, OutputIds, TriggerKind, WEBHOOK_TRIGGER};
pub use flow_version::{DEVELOP, FlowVersion};
pub use forward::{
    FORWARD_METHODS, ForwardBody, ForwardMethod, HttpForwardConfig, NatsConfig, Retry, WorkerConfig,
};
pub use global::{
    GLOBAL_JSON_CHARS_MAX, GLOBALS_MAX, Global, GlobalChange, merged_json, read_change_of, read_changes,
};
pub use jwt::{JwtAlgorithm, JwtConfig, JwtKeys};
pub use logic::{ConditionalConfig, DebugConfig};
pub use node::{FlowNode, NODE_TYPES, NOT_YET, NodeKind};
pub use options::{CorsConfig, DeduplicateConfig, MethodSet, ResponseBodyConfig, WebhookOptions};
pub use reply_node::{BodyTemplateType, HeaderTemplate, WebhookReplyConfig};
pub use signature::{
    HeaderScheme, HmacAlgorithm, HmacEncoding, Secrets, SignatureConfig, SignatureScheme, SignedPart,
    SignedTemplate, SignerKind, TimestampSource,
};
pub use token::{PreviousToken, TokenChange};
pub use webhook::{HookLimits, VerificationType, Webhook};
pub use wiring::Wires;

/// Fields that Tidegate or the platform adds to what it shows and that mean nothing in a body.
pub(crate) type Extra = serde_json::Map<String, serde_json::Value>;

/// What the API shows in place of a secret, and what a PATCH sends to keep it.
pub const MASK: &str = "***";

/// A name: characters, as the platform's schemas count them.
pub const NAME_CHARS_MAX: usize = 255;
/// A description, and a verification code: characters, as the platform's schemas count them.
pub const TEXT_CHARS_MAX: usize = 32_767;

/// A time as the API shows it: RFC 3339 with milliseconds.
pub(crate) fn time_text(unix_millis: u64) -> String {
    let mut out = Vec::with_capacity("2026-02-19T17:26:00.123Z".len());
    crate::base::text::write_time(&mut out, unix_millis);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests;

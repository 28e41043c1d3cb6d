//! Layer 2: the resources that a user writes — applications, webhooks and flows — and what makes them valid.
//!
//! A resource is read from the JSON of a REST body ([`Webhook::create`], [`Webhook::patch`]), refused with an error
//! that names the field and what it must be ([`ModelError`]), shown as the API shows it ([`Webhook::to_api`], secrets
//! masked) and written compactly for the store ([`Webhook::to_stored`], secrets in clear). Every field that the rest of
//! the engine reads is typed here: no higher layer reads a `Value` again.
//!
//! Not here: the syntax of templates (the registry compiles them, and says so before a resource is saved), storage,
//! and requests.
//!
//! # Fields
//!
//! Four kinds of field may stand in a body: those below, which are checked; read-only ones (`id`, `token`, dates, …),
//! which are ignored, so that what `GET` answered can be sent back; those that the platform knows and Tidegate has no
//! use for ([`known`]), which are kept and given back; and any other, which is refused. Each has a row in the table of its
//! object ([`ObjectSpec`]): parsers, `/openapi.json`, the console's forms and the guide read the same rows.

mod access_token;
mod application;
mod auth;
mod cast;
mod common;
mod error;
mod fields;
mod flow;
mod flow_trigger;
mod flow_version;
mod forward;
mod global;
mod jwt;
pub(crate) mod known;
mod logic;
mod nats;
mod node;
mod options;
mod previous_token;
mod reply_node;
mod signature;
mod spec;
mod token;
mod webhook;
mod wiring;
pub(crate) mod yaml;

pub(crate) use access_token::{ACCESS_TOKEN, ACCESS_TOKEN_POST, AccessToken, DIGEST_BYTES, Right, Rights};
pub(crate) use application::APPLICATION;
pub use application::Application;
pub(crate) use auth::{AUTHS, AuthConfig, NamedSecret};
pub use cast::CastBuffersAs;
pub(crate) use common::time_text;
pub(crate) use common::{MASK, NAME_CHARS_MAX};
pub use error::ModelError;
pub(crate) use error::StoredError;
pub use flow::Flow;
pub(crate) use flow::{FLOW, FLOW_CLASSES, FlowClass};
pub use flow_trigger::TriggerKind;
pub(crate) use flow_trigger::{TRIGGER, WEBHOOK_TRIGGER};
pub(crate) use flow_version::{FLOW_VERSION, FLOW_VERSION_PATCH, FlowVersion};
pub(crate) use forward::{ForwardBody, ForwardMethod, HttpForwardConfig, Retry, WorkerConfig};
pub(crate) use global::{
    GLOBAL, GLOBALS_MAX, Global, GlobalChange, merged_json, read_change_of, read_changes,
};
pub use jwt::{JwtAlgorithm, JwtConfig, JwtKeys};
pub(crate) use logic::ConditionalConfig;
pub(crate) use nats::NatsConfig;
pub(crate) use node::{FlowNode, HEADER_TEMPLATE, NODE, NODE_CONFIGS, NODE_TYPES, NodeKind};
pub(crate) use options::{CorsConfig, DeduplicateConfig, MethodSet, RecordConfig, ResponseBodyConfig};
pub(crate) use previous_token::PreviousToken;
#[cfg(test)]
pub(crate) use reply_node::HeaderTemplate;
pub(crate) use reply_node::{BodyTemplateType, WebhookReplyConfig};
pub(crate) use signature::{
    HeaderScheme, HmacAlgorithm, HmacEncoding, SIGNATURE, Secrets, SignatureConfig, SignatureScheme,
    SignedPart, SignerKind, TimestampSource,
};
pub use spec::{DefaultValue, FieldAccess, FieldKind, FieldSpec, ObjectSpec};
pub(crate) use token::{TOKEN_POST, TokenChange};
pub use webhook::{HookLimits, Webhook};
pub(crate) use webhook::{VerificationType, WEBHOOK};
pub(crate) use wiring::Wires;

/// The tables of fields that the guide shows, each under its heading. A field that is an object of its own is shown with
/// its members.
pub static TABLES: &[(&str, &ObjectSpec)] = &[
    ("Application", &APPLICATION),
    ("Global", &GLOBAL),
    ("Webhook", &WEBHOOK),
    ("Signature", &SIGNATURE),
    ("Credential in a header or the query", AUTHS[0].0),
    ("Credential in a JSON Web Token", AUTHS[2].0),
    ("Change of a token", &TOKEN_POST),
    ("Flow", &FLOW),
    ("Version of a flow", &FLOW_VERSION),
    ("Trigger", &TRIGGER),
    ("Node", &NODE),
    ("WebhookReplyNode", NODE_CONFIGS[0]),
    ("Header of a reply", &HEADER_TEMPLATE),
    ("ConditionalNode", NODE_CONFIGS[1]),
    ("DebugNode", NODE_CONFIGS[2]),
    ("HttpForwardNode", NODE_CONFIGS[4]),
    ("WorkerNode", NODE_CONFIGS[5]),
    ("NatsNode", NODE_CONFIGS[6]),
    ("Access token", &ACCESS_TOKEN),
];

#[cfg(test)]
mod tests;

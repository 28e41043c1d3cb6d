//! A node of a flow: its type, its configuration, and where it leads ([flows](crate::guide::flows#nodes)).

use serde_json::{Map, Value};

use super::common::{Extra, NODE_ID_CHARS_MAX, TEXT_CHARS_MAX};
use super::error::ModelError;
use super::fields::Fields;
use super::flow_trigger::{META, OUTPUT_IDS, OutputIds};
use super::forward::{HTTP_FORWARD, HttpForwardConfig, WORKER, WorkerConfig};
use super::logic::{CONDITIONAL, ConditionalConfig, DEBUG, DebugConfig};
use super::nats::{NATS, NatsConfig};
use super::reply_node::{BodyTemplateType, HeaderTemplate, WebhookReplyConfig};
use super::spec::{ObjectSpec, rows, words};

/// One step of a flow, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowNode {
    /// 1 to 1,024 characters, unique in the flow; made up where the body names none.
    pub id: String,
    /// Its type and what that type reads from `config`.
    pub kind: NodeKind,
    /// `config` as it was written, secrets in clear.
    pub config: Option<Map<String, Value>>,
    /// Data of an editor about it.
    pub meta: Option<Value>,
    /// The nodes it leads to; `None` where the body does not say.
    pub output_ids: Option<OutputIds>,
    /// Fields kept for the platform's clients.
    pub extra: Extra,
}

/// The type of a node, with its configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Replies from a template.
    WebhookReply(WebhookReplyConfig),
    /// Decides which nodes run behind it.
    Conditional(ConditionalConfig),
    /// Logs a message; the nodes behind it run.
    Debug(DebugConfig),
    /// A note for those who read the flow; the nodes behind it run.
    Annotation,
    /// Sends a request to a URL.
    HttpForward(HttpForwardConfig),
    /// Hands the trigger to an attached worker.
    Worker(WorkerConfig),
    /// Publishes the payload to NATS.
    Nats(NatsConfig),
}

/// The types that run here, as a flow names them.
pub(crate) const NODE_TYPES: [&str; 7] = [
    "WebhookReplyNode",
    "ConditionalNode",
    "DebugNode",
    "AnnotationNode",
    "HttpForwardNode",
    "WorkerNode",
    "NatsNode",
];

/// The fields of a node. `config` depends on the type ([`NODE_CONFIGS`]).
pub(crate) static NODE: ObjectSpec = ObjectSpec::new(
    "a node",
    &[
        &rows! {
            "id": text(1, NODE_ID_CHARS_MAX) => "Unique in the flow; one is made if it is missing.";
            "type": Word(&NODE_TYPES), required => "";
            "config": AnyObject => "The configuration, by the type.";
        },
        &[META, OUTPUT_IDS],
    ],
);

/// The fields of the configurations, in the order of [`NODE_TYPES`].
pub(crate) static NODE_CONFIGS: [&ObjectSpec; 7] =
    [&WEBHOOK_REPLY, &CONDITIONAL, &DEBUG, &ANNOTATION, &HTTP_FORWARD, &WORKER, &NATS];

static WEBHOOK_REPLY: ObjectSpec = ObjectSpec::new(
    "the config of a WebhookReplyNode",
    &[&rows! {
        "replyIdPath": text(0, TEXT_CHARS_MAX), or_text("data.replyId") =>
            "Payload path of the replyId. Empty: data.replyId, the caller.";
        "responseCodeTemplate": text(0, TEXT_CHARS_MAX) => "A template, such as 201. Empty: the webhook's own.";
        "bodyTemplate": text(0, BODY_TEMPLATE_CHARS_MAX) =>
            "{{x}} is escaped for HTML, {{{x}}} is not, {{jsonEncode x}} is JSON.";
        "bodyTemplateType": Word(&words(&BODY_TEMPLATE_TYPES)), or_text("string") =>
            "Whether the body is a template or a payload path; an object at a path is sent as JSON.";
        "headerInfo": Objects { schema: "HeaderTemplate", most: REPLY_HEADERS_MAX } => "Templates of headers.";
        "isWebsocketMessage": Boolean, or_flag(false) =>
            "Sends a message to the connection instead of a response.";
        "encodingTemplate": text(0, TEXT_CHARS_MAX) =>
            "How the text becomes bytes: utf8, base64, hex, binary. Empty: utf8.";
    }],
);

/// The fields of a header of a reply.
pub(crate) static HEADER_TEMPLATE: ObjectSpec = ObjectSpec::new(
    "a header of a WebhookReplyNode",
    &[&rows! {
        "keyTemplate": text(0, TEXT_CHARS_MAX), required => "";
        "valueTemplate": text(0, TEXT_CHARS_MAX), required => "";
    }],
);

/// A note for people: its fields are kept as they are.
static ANNOTATION: ObjectSpec = ObjectSpec::new("the config of an AnnotationNode", &[]);

/// Longest body template: half of what a REST body may hold.
const BODY_TEMPLATE_CHARS_MAX: usize = 1024 * 1024;
/// Most headers of a reply: as many as a request's head may have ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const REPLY_HEADERS_MAX: usize = 100;

const BODY_TEMPLATE_TYPES: [(&str, BodyTemplateType); 2] =
    [("string", BodyTemplateType::String), ("path", BodyTemplateType::Path)];

impl NodeKind {
    /// The type's name.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            NodeKind::WebhookReply(_) => NODE_TYPES[0],
            NodeKind::Conditional(_) => NODE_TYPES[1],
            NodeKind::Debug(_) => NODE_TYPES[2],
            NodeKind::Annotation => NODE_TYPES[3],
            NodeKind::HttpForward(_) => NODE_TYPES[4],
            NodeKind::Worker(_) => NODE_TYPES[5],
            NodeKind::Nats(_) => NODE_TYPES[6],
        }
    }
}

impl FlowNode {
    /// Reads a node at `path`. `before` are the flow's nodes until now, for the secrets that are to stay.
    pub(super) fn read(value: &Value, path: &str, before: &[FlowNode]) -> Result<FlowNode, ModelError> {
        let mut fields = Fields::of(value, path, &NODE)?;
        let id = fields.string("id")?.unwrap_or_default();
        let before = before.iter().find(|node| node.id == id).map(|node| &node.kind);
        let type_path = fields.path_of("type");
        let type_name = fields.value("type").and_then(Value::as_str);
        let mut config = fields.object("config")?.cloned();
        let given = config.clone().map_or_else(|| Value::Object(Map::new()), Value::Object);
        let config_path = fields.path_of("config");
        let kind = match type_name {
            Some("WebhookReplyNode") => NodeKind::WebhookReply(read_reply(&given, &config_path)?),
            Some("ConditionalNode") => NodeKind::Conditional(ConditionalConfig::read(&given, &config_path)?),
            Some("DebugNode") => NodeKind::Debug(DebugConfig::read(&given, &config_path)?),
            Some("AnnotationNode") => NodeKind::Annotation,
            Some("HttpForwardNode") => {
                let before = match before {
                    Some(NodeKind::HttpForward(before)) => Some(before),
                    _ => None,
                };
                let forward = HttpForwardConfig::read(&given, &config_path, before)?;
                if let (Some(config), Some(secret)) = (&mut config, &forward.secret) {
                    config.insert("secret".to_owned(), serde_json::to_value(secret).unwrap_or_default());
                }
                NodeKind::HttpForward(forward)
            }
            Some("WorkerNode") => NodeKind::Worker(WorkerConfig::read(&given, &config_path)?),
            Some("NatsNode") => NodeKind::Nats(NatsConfig::read(&given, &config_path)?),
            Some(other) => {
                let shown: String = other.chars().take(super::common::NAME_CHARS_MAX).collect();
                let must =
                    format!("`{shown}` does not run here: it must be one of {}", NODE_TYPES.join(", "));
                return Err(ModelError::new(type_path, must));
            }
            None => {
                return Err(ModelError::new(type_path, format!("must be one of {}", NODE_TYPES.join(", "))));
            }
        };
        let meta = fields.object("meta")?.cloned().map(Value::Object);
        let output_ids = OutputIds::read(&mut fields)?;
        fields.finish_strict()?;
        Ok(FlowNode { id, kind, config, meta, output_ids, extra: Map::new() })
    }

    /// The node in JSON: for the API with its secret masked, for the store in clear.
    pub(super) fn to_value(&self, masked: bool) -> Value {
        let mut shown = Map::new();
        shown.insert("id".to_owned(), Value::from(self.id.as_str()));
        shown.insert("type".to_owned(), Value::from(self.kind.type_name()));
        if let Some(config) = &self.config {
            let mut config = config.clone();
            if let NodeKind::HttpForward(HttpForwardConfig { secret: Some(secret), .. }) = &self.kind
                && masked
            {
                config.insert("secret".to_owned(), secret.masked());
            }
            shown.insert("config".to_owned(), Value::Object(config));
        }
        if let Some(meta) = &self.meta {
            shown.insert("meta".to_owned(), meta.clone());
        }
        if let Some(output_ids) = &self.output_ids {
            shown.insert("outputIds".to_owned(), output_ids.to_value());
        }
        shown.extend(self.extra.clone());
        Value::Object(shown)
    }
}

fn read_reply(value: &Value, path: &str) -> Result<WebhookReplyConfig, ModelError> {
    let mut fields = Fields::of(value, path, &WEBHOOK_REPLY)?;
    let mut config = WebhookReplyConfig::default();
    if let Some(reply_id_path) = fields.string("replyIdPath")?
        && !reply_id_path.is_empty()
    {
        config.reply_id_path = reply_id_path;
    }
    if let Some(template) = fields.string("responseCodeTemplate")? {
        config.response_code_template = template;
    }
    if let Some(template) = fields.string("bodyTemplate")? {
        config.body_template = template;
    }
    if let Some(kind) = fields.one_of("bodyTemplateType", &BODY_TEMPLATE_TYPES)? {
        config.body_template_type = kind;
    }
    if let Some(list) = fields.list("headerInfo")? {
        for (index, value) in list.iter().enumerate() {
            let mut header =
                Fields::of(value, fields.path_of(&format!("headerInfo[{index}]")), &HEADER_TEMPLATE)?;
            config.header_info.push(HeaderTemplate {
                key_template: header.required_string("keyTemplate")?,
                value_template: header.required_string("valueTemplate")?,
            });
            header.finish_strict()?;
        }
    }
    if let Some(is_websocket_message) = fields.boolean("isWebsocketMessage")? {
        config.is_websocket_message = is_websocket_message;
    }
    if let Some(template) = fields.string("encodingTemplate")? {
        config.encoding_template = template;
    }
    fields.finish_strict()?;
    Ok(config)
}

//! The configuration of a `WebhookReplyNode` ([replies and templates](crate::guide::replies_and_templates)).

/// The reply of a `WebhookReplyNode`. Templates are kept as they were written; the registry compiles them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookReplyConfig {
    /// Payload path of the `replyId`.
    pub reply_id_path: String,
    /// Template of the status; empty for the webhook's own.
    pub response_code_template: String,
    /// Template or payload path of the body.
    pub body_template: String,
    /// Which of the two `body_template` is.
    pub body_template_type: BodyTemplateType,
    /// Templates of header names and values, in order.
    pub header_info: Vec<HeaderTemplate>,
    /// Whether it answers a WebSocket's message rather than a request.
    pub is_websocket_message: bool,
    /// Template of the message's encoding; empty for `utf8`.
    pub encoding_template: String,
}

/// The type of `bodyTemplate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyTemplateType {
    /// A Handlebars template over the payload.
    #[default]
    String,
    /// A payload path.
    Path,
}

/// One header of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// Template of the name.
    pub key_template: String,
    /// Template of the value.
    pub value_template: String,
}

impl Default for WebhookReplyConfig {
    fn default() -> WebhookReplyConfig {
        WebhookReplyConfig {
            reply_id_path: "data.replyId".to_owned(),
            response_code_template: String::new(),
            body_template: String::new(),
            body_template_type: BodyTemplateType::String,
            header_info: Vec::new(),
            is_websocket_message: false,
            encoding_template: String::new(),
        }
    }
}

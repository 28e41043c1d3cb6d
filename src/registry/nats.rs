//! A `NatsNode`, compiled: the templates of its messages.

use std::sync::Arc;

use super::forward::{ForwardRules, template};
use crate::base::clock::NANOS_PER_SECOND;
use crate::model::{HttpForwardConfig, ModelError, NatsConfig, Retry};
use crate::template::Template;

/// Name of the target of all `NatsNode`s, in the metrics.
const TARGET: &str = "nats";
/// Time for the ack of a message: an election of the stream's leader takes 4 to 9 s.
const ACK_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// The subject of a node that names none.
const SUBJECT_DEFAULT: &str = "tidegate.{{applicationId}}.{{triggerId}}";

/// A node that publishes to JetStream.
#[derive(Debug)]
pub struct NatsNode {
    pub target: Arc<str>,
    pub subject: Template,
    /// The stream that must take the messages.
    pub stream: Option<Arc<str>>,
    /// Names, and templates of the values.
    pub headers: Box<[(String, Template)]>,
    /// How long one attempt may take.
    pub timeout_nanos: u64,
    pub rules: ForwardRules,
}

impl NatsNode {
    /// Compiles a node.
    ///
    /// # Errors
    /// The field that is not what it must be.
    pub(super) fn compile(config: &NatsConfig) -> Result<NatsNode, ModelError> {
        let headers = config
            .headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), template(&format!("config.headers.{name}"), value)?)));
        Ok(NatsNode {
            target: TARGET.into(),
            subject: template("config.subject", config.subject.as_deref().unwrap_or(SUBJECT_DEFAULT))?,
            stream: config.stream.as_deref().map(Arc::from),
            headers: headers.collect::<Result<_, ModelError>>()?,
            timeout_nanos: ACK_NANOS,
            rules: ForwardRules::new(HttpForwardConfig::MAX_IN_FLIGHT_DEFAULT, None, &Retry::default()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(subject: Option<&str>, header: &str) -> Result<NatsNode, ModelError> {
        NatsNode::compile(&NatsConfig {
            subject: subject.map(str::to_owned),
            stream: Some("S".to_owned()),
            headers: vec![("X-A".to_owned(), header.to_owned())],
        })
    }

    #[test]
    fn a_node_has_its_templates_and_names_those_that_do_not_compile() {
        let node = compile(None, "{{data.path}}").unwrap();
        assert_eq!((node.stream.as_deref(), node.rules.attempts), (Some("S"), None));
        assert!(compile(Some("{{"), "").unwrap_err().to_string().contains("config.subject"));
        assert!(compile(Some("a"), "{{/x}}").unwrap_err().to_string().contains("config.headers.X-A"));
    }
}

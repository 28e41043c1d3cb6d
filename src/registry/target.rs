//! A node that delivers to a target outside of the process, of either kind.

use std::sync::Arc;

use super::forward::{ForwardNode, ForwardRules};
use super::nats::NatsNode;

/// A node that delivers to a target outside of the process.
#[derive(Clone, Debug)]
pub enum TargetNode {
    Http(Arc<ForwardNode>),
    Nats(Arc<NatsNode>),
}

impl TargetNode {
    /// Name of the target, for the metrics.
    #[must_use]
    pub fn target(&self) -> &Arc<str> {
        match self {
            TargetNode::Http(node) => &node.target,
            TargetNode::Nats(node) => &node.target,
        }
    }

    /// When and how fast its triggers are sent.
    #[must_use]
    pub fn rules(&self) -> ForwardRules {
        match self {
            TargetNode::Http(node) => node.rules,
            TargetNode::Nats(node) => node.rules,
        }
    }

    /// How long one attempt may take.
    #[must_use]
    pub fn timeout_nanos(&self) -> u64 {
        match self {
            TargetNode::Http(node) => node.timeout_nanos,
            TargetNode::Nats(node) => node.timeout_nanos,
        }
    }
}

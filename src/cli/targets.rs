//! Attempts of deliveries, each to the threads that make its kind.

use crate::base::log::bounded_log;
use crate::cluster::Publisher;
use crate::control::forward::ForwardThreads;
use crate::engine::{Attempt, AttemptError, AttemptResult, Forwarder};
use crate::registry::TargetNode;

/// Everything that makes attempts.
pub(super) struct TargetThreads {
    pub(super) http: ForwardThreads,
    /// `None`: no server of NATS is set.
    pub(super) nats: Option<Publisher>,
}

impl Forwarder for TargetThreads {
    fn send(&self, attempt: Attempt) {
        match (&attempt.node, &self.nats) {
            (TargetNode::Http(_), _) => self.http.send(attempt),
            (TargetNode::Nats(_), Some(nats)) => nats.send(attempt),
            (TargetNode::Nats(_), None) => {
                bounded_log!(warn, "a NatsNode cannot publish: neither nats.url nor cluster.nats is set");
                let unset = AttemptError::Connect("nats.url is not set".to_owned());
                // A core that is too busy to hear of it counts it as lost.
                let _ = attempt.report.report(AttemptResult::Failed(unset));
            }
        }
    }
}

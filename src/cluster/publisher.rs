//! Publishes the messages of `NatsNode`s, each with its ack awaited.

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

use super::connection::Connection;
use crate::deliver::publication::{Publication, publication};
use crate::engine::{Attempt, AttemptError, AttemptReport, AttemptResult, CORE_ATTEMPTS_MAX, Forwarder};
use crate::metrics::TargetsInFlight;
use crate::registry::{NatsNode, TargetNode};

/// Pause before a result is reported again to a core that had no room for it.
const REPORT_PAUSE: Duration = Duration::from_millis(1);
/// How often that is tried: for as long as the core waits for a result that may be lost.
const REPORTS_MAX: usize = 10_000;

/// Publishes on the connection's thread.
pub struct Publisher {
    connection: Arc<Connection>,
    shared: Arc<Shared>,
}

struct Shared {
    /// First token of the subjects that are the cluster's own.
    own_prefix: String,
    counts: Arc<TargetsInFlight>,
    room: Semaphore,
}

impl Publisher {
    /// A publisher for so many cores.
    #[must_use]
    pub fn new(
        connection: Arc<Connection>,
        own_prefix: &str,
        counts: &Arc<TargetsInFlight>,
        cores: usize,
    ) -> Publisher {
        let shared = Shared {
            own_prefix: own_prefix.to_owned(),
            counts: Arc::clone(counts),
            room: Semaphore::new(cores * CORE_ATTEMPTS_MAX),
        };
        Publisher { connection, shared: Arc::new(shared) }
    }
}

impl Forwarder for Publisher {
    fn send(&self, attempt: Attempt) {
        let (jetstream, shared) = (self.connection.jetstream.clone(), Arc::clone(&self.shared));
        self.connection.spawn(async move {
            let TargetNode::Nats(node) = &attempt.node else {
                let elsewhere = AttemptError::Connect("this is no subject of NATS".to_owned());
                return report(&attempt.report, AttemptResult::Failed(elsewhere)).await;
            };
            let result = match shared.room.try_acquire() {
                Ok(_permit) => {
                    let _in_flight = shared.counts.begin(&node.target);
                    let publish = publish(&jetstream, &shared.own_prefix, node, &attempt);
                    // Both awaits of a publish may last: for room in the client, and for the ack.
                    let time = Duration::from_nanos(attempt.timeout_nanos);
                    tokio::time::timeout(time, publish).await.unwrap_or(Err(AttemptError::TimedOut))
                }
                Err(_) => Err(AttemptError::Busy),
            };
            let result = result.map_or_else(AttemptResult::Failed, |()| AttemptResult::Published);
            report(&attempt.report, result).await;
        });
    }
}

/// Publishes a message and awaits its ack. A repeat that the stream has dropped is done, too.
async fn publish(
    jetstream: &async_nats::jetstream::Context,
    own_prefix: &str,
    node: &NatsNode,
    attempt: &Attempt,
) -> Result<(), AttemptError> {
    let made = publication(node, &attempt.payload, own_prefix).map_err(AttemptError::Request)?;
    let Publication { subject, headers, body } = made;
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value = value.parse::<HeaderValue>().map_err(|error| AttemptError::Refused(error.to_string()))?;
        map.insert(name.as_str(), value);
    }
    map.insert(NATS_MESSAGE_ID, &*attempt.id);
    if let Some(stream) = &node.stream {
        map.insert(NATS_EXPECTED_STREAM, &**stream);
    }
    let sent = jetstream.publish_with_headers(subject, map, body).await.map_err(|error| failure(&error))?;
    sent.await.map(drop).map_err(|error| failure(&error))
}

/// The attempt's error for a failure.
fn failure(error: &PublishError) -> AttemptError {
    match error.kind() {
        PublishErrorKind::StreamNotFound => {
            AttemptError::Refused("no stream takes the subject, or its leader is gone".to_owned())
        }
        PublishErrorKind::TimedOut => AttemptError::TimedOut,
        PublishErrorKind::BrokenPipe => AttemptError::Connect("NATS is not connected".to_owned()),
        _ => AttemptError::Refused(error.to_string()),
    }
}

/// Reports a result, again while the core is too busy to take it.
async fn report(report: &AttemptReport, result: AttemptResult) {
    let mut unreported = result;
    for _ in 0..REPORTS_MAX {
        match report.report(unreported) {
            Ok(()) => return,
            Err(back) => unreported = back,
        }
        tokio::time::sleep(REPORT_PAUSE).await;
    }
}

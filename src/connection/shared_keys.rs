//! Keys of calls (`deduplicate`) that all nodes of a cluster share: a call that has claimed its key on its own node waits
//! until it is known whether another node has it.

use std::sync::Arc;

use super::message::{ConnectionId, ConnectionMessage, CoreMessage, OwnSender};
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::limit::{KeyOutcome, TakenKey};
use crate::registry::TemplateMark;

/// How long a call waits at the most. The outcome is told before: as soon as the longest `cluster.ack_timeout` is over.
const KEY_WAIT_NANOS: u64 = 310 * NANOS_PER_SECOND;

/// A key to be claimed over all nodes.
#[derive(Clone, Debug)]
pub struct SharedKey {
    pub webhook: Id,
    /// Of the template that it was rendered from.
    pub mark: TemplateMark,
    pub taken: TakenKey,
    pub window_millis: u64,
    /// How long its call may take: then the claim of a node that has ended is over.
    pub claim_seconds: u64,
    /// Whether a claim of another call is waited for a moment: it is likely kept or given back.
    pub waits_for_others: bool,
}

/// Called once with the outcome.
pub type KeyTold = Box<dyn FnOnce(KeyOutcome) + Send>;

/// Claims keys over all nodes.
pub trait SharedKeys: Send + Sync {
    /// Claims a key, and calls `done` with the outcome within the time that a call waits for its trigger to be stored; on
    /// any thread. Never blocks.
    fn claim(&self, key: SharedKey, done: KeyTold);
}

/// The claims of one core.
pub(crate) struct KeyClaims {
    /// `None`: the process is alone.
    source: Option<Arc<dyn SharedKeys>>,
    next_ticket: u64,
}

impl KeyClaims {
    /// None are under way.
    pub(crate) fn new(source: Option<Arc<dyn SharedKeys>>) -> KeyClaims {
        KeyClaims { source, next_ticket: 0 }
    }

    /// Whether keys are shared with other nodes.
    pub(crate) fn are_shared(&self) -> bool {
        self.source.is_some()
    }

    /// Asks for a key, which a call of this connection waits for; returns the ticket and the deadline of the wait.
    pub(crate) fn ask(
        &mut self,
        own: OwnSender,
        key: SharedKey,
        connection: ConnectionId,
        now: Now,
    ) -> (u64, u64) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let done: KeyTold = Box::new(move |outcome| {
            let message = ConnectionMessage::Key { ticket, outcome };
            // A claim that nobody takes is given back.
            if !own(CoreMessage::Connection { connection, message }) {
                bounded_log!(warn, "a core is too busy to be told of a key: its call is refused later");
            }
        });
        if let Some(source) = &self.source {
            source.claim(key, done);
        }
        (ticket, now.nanos + KEY_WAIT_NANOS)
    }
}

//! Requests of a core that wait for a token of their webhook's rate, which another node may have. A core asks once for
//! a webhook and continues; each request that waits is told by a message to its connection, and decided again.

use std::sync::Arc;

use super::message::{ConnectionId, CoreMessage, OwnSender};
use super::waiters::{Full, Waiter, Waiters};
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::log::bounded_log;

/// How long a request waits at most: some answers of a cluster that works, and a sign that it does not.
pub(crate) const PERMIT_WAIT_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Webhooks that one core asks for at a time: all that call in the first moment of a node.
const ASKED_MAX: usize = 65_536;

/// Gets tokens of rates that several nodes share.
pub trait Permits: Send + Sync {
    /// Asks for a token of a webhook's rate, and calls `done` once its [`crate::limit::Rate`] has one or says that there
    /// are none; on any thread. Never blocks.
    fn ask(&self, webhook: Id, done: PermitTold);
}

/// Called once.
pub type PermitTold = Box<dyn FnOnce() + Send>;

/// Of a process whose rates are its own: nobody asks.
pub struct NoPermits;

impl Permits for NoPermits {
    fn ask(&self, _webhook: Id, done: PermitTold) {
        done();
    }
}

/// A request that waits for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PermitWait {
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

/// The requests of one core that wait for tokens.
pub(crate) struct PermitQueue {
    source: Arc<dyn Permits>,
    waiters: Waiters<Id>,
}

impl PermitQueue {
    /// Nobody waits.
    pub(crate) fn new(source: Arc<dyn Permits>) -> PermitQueue {
        PermitQueue { source, waiters: Waiters::new(ASKED_MAX, PERMIT_WAIT_NANOS) }
    }

    /// A webhook's rate has a token, or has none for sure: returns the requests that waited.
    pub(crate) fn arrived(&mut self, webhook: Id) -> Vec<Waiter> {
        self.waiters.arrived(&webhook)
    }

    /// Asks for a token of a webhook unless it was asked for, and adds a request that waits.
    ///
    /// # Errors
    /// If too many are asked for.
    pub(crate) fn ask(
        &mut self,
        own: impl FnOnce() -> OwnSender,
        webhook: Id,
        connection: ConnectionId,
        now: Now,
    ) -> Result<PermitWait, Full> {
        let place = self.waiters.join(&webhook, Some(connection), now)?;
        if place.is_first {
            let own = own();
            self.source.ask(
                webhook,
                Box::new(move || {
                    if !own(CoreMessage::Permit { webhook }) {
                        bounded_log!(
                            warn,
                            "a core is too busy to be told of a token: its requests wait longer"
                        );
                    }
                }),
            );
        }
        Ok(PermitWait { ticket: place.ticket, deadline: now.nanos + PERMIT_WAIT_NANOS })
    }
}

//! Requests of a core to other nodes of a cluster, through traits that are nothing where there is no cluster.
//!
//! Requests that wait for a token of their webhook's rate: a core asks once for a webhook and continues; each request that
//! waits is told by a message to its connection, and decided again.

use std::collections::HashMap;
use std::sync::Arc;

use super::message::{ConnectionId, CoreMessage, OwnSender, ReplyCallback, ReplyOutcome};
use super::waiters::{Full, Waiter, Waiters};
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::deliver::lending::NodeEvent;
use crate::limit::PermitKind;
use crate::reply::Reply;

/// How long a request waits at most: some answers of a cluster that works, and a sign that it does not.
pub(crate) const PERMIT_WAIT_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Webhooks that one core asks for at a time: all that call in the first moment of a node.
const ASKED_MAX: usize = 65_536;

/// Gets tokens of rates that several nodes share.
pub trait Permits: Send + Sync {
    /// Asks for a token of a webhook's rate, and calls `done` once its [`crate::limit::Rate`] has one or says that there
    /// are none; on any thread. Never blocks.
    fn ask(&self, webhook: Id, kind: PermitKind, done: PermitTold);
}

/// Called once.
pub type PermitTold = Box<dyn FnOnce() + Send>;

/// Passes replies to the callers of other nodes.
pub trait RemoteReplies: Send + Sync {
    /// Passes a reply to the node that its `replyId` names, and calls `done` with the outcome; on any thread. Never blocks.
    fn send(&self, node: Id, reply_id: &str, reply: Box<Reply>, done: ReplyCallback);
}

/// Sends messages to the other nodes of a cluster. Nothing here blocks.
pub trait NodeLinks: Send + Sync {
    /// Sends a message to one node: in order, or [`NodeEvent::Gone`] is received from it.
    fn send(&self, node: Id, event: NodeEvent);

    /// Sends a message to all other nodes that are there.
    fn broadcast(&self, event: NodeEvent);
}

/// The links of a core, where there is a cluster.
pub(crate) type CoreLinks = Option<Arc<dyn NodeLinks>>;

/// Of a process that is alone: nobody asks.
pub struct NoCluster;

impl Permits for NoCluster {
    fn ask(&self, _webhook: Id, _kind: PermitKind, done: PermitTold) {
        done();
    }
}

impl RemoteReplies for NoCluster {
    fn send(&self, _node: Id, _reply_id: &str, _reply: Box<Reply>, done: ReplyCallback) {
        done(ReplyOutcome::NotWaiting);
    }
}

/// A request that waits for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PermitWait {
    pub(crate) kind: PermitKind,
    pub(crate) ticket: u64,
    pub(crate) deadline: u64,
}

/// Messages of one WebSocket that wait for a token: about as many as a client sends before an answer reaches it.
const HELD_MESSAGES_MAX: usize = 256;
/// Bytes of them.
const HELD_BYTES_MAX: usize = 1024 * 1024;

/// A message of a WebSocket that waits: whether it is text, and its bytes.
pub(crate) type HeldMessage = (bool, Box<[u8]>);

/// The messages of one WebSocket that wait.
#[derive(Default)]
struct HeldMessages {
    wait: Option<PermitWait>,
    messages: Vec<HeldMessage>,
    bytes: usize,
}

/// The requests and messages of one core that wait for tokens.
pub(crate) struct PermitQueue {
    source: Arc<dyn Permits>,
    waiters: Waiters<(Id, PermitKind)>,
    held: HashMap<ConnectionId, HeldMessages>,
}

impl PermitQueue {
    /// Nobody waits.
    pub(crate) fn new(source: Arc<dyn Permits>) -> PermitQueue {
        PermitQueue { source, waiters: Waiters::new(ASKED_MAX, PERMIT_WAIT_NANOS), held: HashMap::new() }
    }

    /// Whether messages of any WebSocket wait.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether messages of a WebSocket wait.
    pub(crate) fn holds(&self, connection: ConnectionId) -> bool {
        self.held.contains_key(&connection)
    }

    /// Keeps a message of a WebSocket behind those that wait already, and asks for a token; returns `false` if it has no
    /// room.
    pub(crate) fn hold(
        &mut self,
        own: impl FnOnce() -> OwnSender,
        webhook: Id,
        connection: ConnectionId,
        (text, data): (bool, &[u8]),
        now: Now,
    ) -> bool {
        let held = self.held.entry(connection).or_default();
        if held.messages.len() >= HELD_MESSAGES_MAX || held.bytes + data.len() > HELD_BYTES_MAX {
            self.held.remove(&connection);
            return false;
        }
        held.bytes += data.len();
        held.messages.push((text, data.into()));
        if held.wait.is_some_and(|wait| now.nanos < wait.deadline) {
            return true;
        }
        let wait = self.ask(own, webhook, PermitKind::Token, connection, now);
        match (wait, self.held.get_mut(&connection)) {
            (Ok(wait), Some(held)) => held.wait = Some(wait),
            _ => drop(self.held.remove(&connection)),
        }
        self.holds(connection)
    }

    /// Returns the messages of a WebSocket that have waited with this ticket; `None`: with any.
    pub(crate) fn release(&mut self, connection: ConnectionId, ticket: Option<u64>) -> Vec<HeldMessage> {
        let is_theirs = |held: &HeldMessages| {
            ticket.is_none_or(|ticket| held.wait.is_some_and(|wait| wait.ticket == ticket))
        };
        match self.held.get(&connection).is_some_and(is_theirs) {
            true => self.held.remove(&connection).map_or_else(Vec::new, |held| held.messages),
            false => Vec::new(),
        }
    }

    /// A webhook's rate has a token, or has none for sure: returns the requests that waited.
    pub(crate) fn arrived(&mut self, webhook: Id, kind: PermitKind) -> Vec<Waiter> {
        self.waiters.arrived(&(webhook, kind))
    }

    /// Asks for a token of a webhook unless it was asked for, and adds a request that waits.
    ///
    /// # Errors
    /// If too many are asked for.
    pub(crate) fn ask(
        &mut self,
        own: impl FnOnce() -> OwnSender,
        webhook: Id,
        kind: PermitKind,
        connection: ConnectionId,
        now: Now,
    ) -> Result<PermitWait, Full> {
        let place = self.waiters.join(&(webhook, kind), Some(connection), now)?;
        if place.is_first {
            let own = own();
            self.source.ask(
                webhook,
                kind,
                Box::new(move || {
                    if !own(CoreMessage::Permit { webhook, kind }) {
                        bounded_log!(
                            warn,
                            "a core is too busy to be told of a token: its requests wait longer"
                        );
                    }
                }),
            );
        }
        Ok(PermitWait { kind, ticket: place.ticket, deadline: now.nanos + PERMIT_WAIT_NANOS })
    }
}

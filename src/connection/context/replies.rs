//! Replies on their way to callers: of this core, of another, of another node of the cluster.

use super::CoreState;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::base::slots::Key;
use crate::connection::message::{ConnectionMessage, CoreMessage, ReplyOutcome, ReplySender};
use crate::connection::pending::Delivered;
use crate::connection::seal::Place;
use crate::deliver::NodeError;
use crate::metrics::Event;
use crate::reply::Reply;

/// Reasons why a reply is not passed on.
const STREAMED: &str = "a reply that is still being received is for the callers of this node";
const TOO_BUSY: &str = "the engine is too busy to pass the reply on: send it again";

impl CoreState {
    /// Returns the `replyId` of a slot of this core.
    pub(crate) fn reply_id(&self, key: Key, webhook: Id) -> String {
        self.seal.close(&Place { core: self.number(), key, webhook })
    }

    /// Whether `reply_id` names a slot of this core: which.
    pub(crate) fn own_slot(&self, reply_id: &str) -> Option<Key> {
        self.seal.open(reply_id).filter(|place| place.core == self.number()).map(|place| place.key)
    }

    /// Passes a reply to its caller, on this core or another.
    pub(crate) fn reply(&mut self, reply_id: &str, reply: Box<Reply>, sender: ReplySender) {
        let Some(Place { core, key, .. }) = self.seal.open(reply_id) else {
            return self.reply_elsewhere(reply_id, reply, sender);
        };
        if core == self.number() {
            return self.deliver(key, reply, sender);
        }
        if usize::from(core) >= self.peers.count() {
            return self.tell_sender(sender, ReplyOutcome::NotWaiting);
        }
        if let Err(CoreMessage::Reply { sender, .. }) =
            self.peers.send(usize::from(core), CoreMessage::Reply { key, reply, sender })
        {
            self.tell_sender(sender, ReplyOutcome::Refused(TOO_BUSY.into()));
        }
    }

    /// Passes a reply to the node of the cluster that its `replyId` names, if it names one.
    fn reply_elsewhere(&mut self, reply_id: &str, reply: Box<Reply>, sender: ReplySender) {
        let Some(node) = self.seal.other_node(reply_id) else {
            return self.tell_sender(sender, ReplyOutcome::NotWaiting);
        };
        if reply.stream.is_some() {
            // A caller of another node has its own node's targets.
            return self.tell_sender(sender, ReplyOutcome::Refused(STREAMED.into()));
        }
        let own = self.peers.own_sender();
        let done = move |outcome| {
            if !own(CoreMessage::ReplyPassed { sender, outcome }) {
                bounded_log!(warn, "a core is too busy to be told what became of a reply");
            }
        };
        self.remote.send(node, reply_id, reply, Box::new(done));
    }

    /// Hands a reply to the caller at a slot of this core.
    pub(crate) fn deliver(&mut self, key: Key, reply: Box<Reply>, sender: ReplySender) {
        match self.pending.deliver(key, reply) {
            Delivered::Decided(outcome, told) => {
                if let Some(connection) = told {
                    self.post(connection, ConnectionMessage::ReplyReady);
                }
                self.tell_sender(sender, outcome);
            }
            Delivered::Forward(connection, reply) => {
                self.post(connection, ConnectionMessage::Reply { reply, sender });
            }
        }
    }

    /// Counts the outcome of a reply and tells its sender.
    pub(crate) fn tell_sender(&mut self, sender: ReplySender, outcome: ReplyOutcome) {
        match sender {
            ReplySender::Node => self.count_node_reply(&outcome),
            ReplySender::Callback(callback) => {
                self.count_reply(&outcome);
                callback(outcome);
            }
            ReplySender::Worker { worker, reply_id } => {
                self.count_reply(&outcome);
                let result = ConnectionMessage::ReplyResult { reply_id, outcome };
                self.post_to_worker(worker, result, "the outcome of a worker's reply");
            }
        }
    }

    fn count_reply(&self, outcome: &ReplyOutcome) {
        match outcome {
            ReplyOutcome::Accepted => self.metrics.event(Event::ReplyAccepted),
            ReplyOutcome::NotWaiting | ReplyOutcome::WrongCaller(_) | ReplyOutcome::Refused(_) => {
                self.metrics.event(Event::ReplyRefused);
            }
        }
    }

    /// Counts the outcome of a node's reply.
    pub(crate) fn count_node_reply(&self, outcome: &ReplyOutcome) {
        self.count_reply(outcome);
        match outcome {
            ReplyOutcome::Accepted | ReplyOutcome::NotWaiting => {}
            ReplyOutcome::WrongCaller(caller) => {
                self.metrics.event(Event::ReplyNodeWrongCaller);
                tracing::debug!(error = %NodeError::Caller(*caller), "a node's reply was not sent");
            }
            ReplyOutcome::Refused(error) => {
                self.metrics.event(Event::ReplyNodeRefused);
                tracing::debug!(%error, "a node's reply was not sent");
            }
        }
    }
}

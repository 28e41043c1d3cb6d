//! Messages: from one core to another, and from one connection of a core to another. A connection never reaches into
//! another one; it leaves a message, which the core delivers before it handles anything else.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use super::attempt::{AttemptId, AttemptResult, BegunAnswer, ForwardTrigger, ReplayCallback};
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::deliver::entry::Receipt;
use crate::deliver::lending::{LentWorker, NodeEvent};
use crate::deliver::workers::WorkerTrigger;
use crate::ingress::socket::Closing;
use crate::io::SocketId;
use crate::journal::{LeftOpen, Sequence};
use crate::limit::{KeyOutcome, PermitKind};
use crate::record::{CallRecord, record_of};
use crate::registry::Backlog;
use crate::reply::{CallerKind, Reply};
use crate::verify::alexa::{Chain, ChainUrl, FetchError};
use crate::verify::jwt::FetchedKeys;

/// Name of a connection on its core: that of its socket. It finds nothing once the connection has ended.
pub(crate) type ConnectionId = SocketId;

/// Result of the fetch of a certificate chain.
pub(crate) type ChainOutcome = Result<Arc<Chain>, FetchError>;

/// Outcome of a reply, for its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyOutcome {
    /// It was sent, or will be.
    Accepted,
    /// Nobody waits for it: unknown, answered or gone.
    NotWaiting,
    /// A node's reply is for the other kind of caller than this one: nothing was sent.
    WrongCaller(CallerKind),
    /// It cannot be sent, and why; a waiting caller has been told.
    Refused(String),
}

/// Told about the outcome of a reply, on the thread of the core that had it.
pub(crate) type ReplyCallback = Box<dyn FnOnce(ReplyOutcome) + Send>;

/// Gets each payload that the requests of a test connection make.
pub(crate) type PayloadObserver = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

/// Purpose of a connection that was made inside the process.
#[derive(Clone)]
pub enum Inside {
    /// A test request.
    Test(PayloadObserver),
    /// The request of a record, from the address that it came from. It was let in once.
    Replay { record: Id, peer: Option<IpAddr> },
}

/// Address of an attached worker: its core and its connection there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WorkerAddress {
    pub(crate) core: u16,
    pub(crate) connection: ConnectionId,
}

/// A worker as the queue of its flow reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerPlace {
    Here(WorkerAddress),
    /// On another node of the cluster.
    Lent(LentWorker),
}

/// Something that a worker did, for the owner of its flow's queue.
#[derive(Debug)]
pub(crate) enum WorkerAction {
    Ready(u32),
    Ack(u64),
    Nack(u64),
    /// Sent a reply for this `replyId`, which acks the trigger that it answers: that of `seq`, where it names one.
    Replied {
        reply_id: Box<str>,
        seq: Option<u64>,
    },
}

/// A change of a worker, for the owner of its flow's queue.
pub(crate) enum WorkerEvent {
    Attached(Arc<Backlog>),
    Acted(Vec<WorkerAction>),
    Gone,
}

/// Sender of a reply, who is told about its outcome.
pub(crate) enum ReplySender {
    /// A node of a flow: its outcome is counted.
    Node,
    /// A caller outside the cores.
    Callback(ReplyCallback),
    /// A worker.
    Worker { worker: WorkerAddress, reply_id: String },
}

/// A trigger for a delivering node, on its way to the owner of the flow.
#[derive(Clone)]
pub(crate) enum DeliveryTrigger {
    Worker(Box<WorkerTrigger>),
    Forward(Box<ForwardTrigger>),
}

impl DeliveryTrigger {
    /// Bytes that are reserved for it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            DeliveryTrigger::Worker(trigger) => trigger.payload.kept_len(),
            DeliveryTrigger::Forward(trigger) => trigger.payload.kept_len(),
        }
    }

    /// Its share in the entry of a journal.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        match self {
            DeliveryTrigger::Worker(trigger) => trigger.receipt,
            DeliveryTrigger::Forward(trigger) => trigger.receipt,
        }
    }

    /// The record of the call that it is of.
    pub(crate) fn record(&self) -> Option<CallRecord> {
        match self {
            DeliveryTrigger::Worker(trigger) => trigger.record,
            DeliveryTrigger::Forward(trigger) => record_of(trigger.event_id)
                .map(|record| CallRecord { record, webhook: trigger.plan.webhook_id }),
        }
    }

    /// Gives it its share in the entry of a journal.
    pub(crate) fn set_receipt(&mut self, receipt: Receipt) {
        match self {
            DeliveryTrigger::Worker(trigger) => trigger.receipt = Some(receipt),
            DeliveryTrigger::Forward(trigger) => trigger.receipt = Some(receipt),
        }
    }

    /// Sets when it was accepted, for one of an earlier run.
    pub(crate) fn set_accepted(&mut self, unix_millis: u64) {
        if let DeliveryTrigger::Forward(trigger) = self {
            trigger.accepted_unix_millis = unix_millis;
        }
    }
}

/// A message for another core.
pub(crate) enum CoreMessage {
    /// A reply for a caller of this core.
    Reply { key: Key, reply: Box<Reply>, sender: ReplySender },
    /// A certificate chain, or why there is none.
    Chain { url: ChainUrl, outcome: ChainOutcome },
    /// The result of a fetch of a key set.
    Keys { url: Arc<str>, fetched: FetchedKeys },
    /// The outcome of a reply that was passed to another node.
    ReplyPassed { sender: ReplySender, outcome: ReplyOutcome },
    /// A rate that several nodes share has a token, or has none for sure.
    Permit { webhook: Id, kind: PermitKind },
    /// The answer of a target whose body is still being received, before the result of its attempt.
    AnswerBegun { id: AttemptId, begun: Box<BegunAnswer> },
    /// The result of an attempt to deliver to a target.
    Attempted { id: AttemptId, result: AttemptResult },
    /// Whether a dead letter is kept.
    LetterKept { start: u64, key: Key, is_kept: bool },
    /// The event of a dead letter, to be delivered again.
    Replay { stored: Vec<u8>, done: ReplayCallback },
    /// An entry of the journal of a node that is gone, to be taken over.
    Inherit { entry: Box<LeftOpen>, done: ReplayCallback },
    /// A trigger for a delivering node of a flow that this core owns; its room is reserved.
    Trigger { backlog: Arc<Backlog>, trigger: DeliveryTrigger },
    /// Receipts of deliveries of this core's journal.
    Receipts(Vec<Receipt>),
    /// A core has started again after a panic, and has lost what it had of the flows that it owns.
    OwnerRestarted { owner: u16 },
    /// A change of a worker of a flow whose queue this core owns.
    Worker { flow: Id, from: WorkerAddress, event: WorkerEvent },
    /// A message of another node of the cluster about a flow that this core owns, or about that node.
    Node { node: Id, event: NodeEvent },
    /// A message for a connection of this core.
    Connection { connection: ConnectionId, message: ConnectionMessage },
}

/// A message for a connection.
pub(crate) enum ConnectionMessage {
    /// The suspended request has an outcome in its reply slot.
    ReplyReady,
    /// There is more of the reply that is passed on while it is received.
    StreamReady,
    /// The chain that a suspended request waits for, by the ticket of its wait.
    Chain { ticket: u64, outcome: ChainOutcome },
    /// The key set that a suspended request waits for is there, or cannot be had; by the ticket of its wait.
    KeysReady { ticket: u64 },
    /// A token of the rate that is waited for is there, or there is none; by the ticket of the wait.
    Permit { ticket: u64 },
    /// Whether the suspended request has its key on all nodes, by the ticket of its wait.
    Key { ticket: u64, outcome: KeyOutcome },
    /// A reply for the client of a WebSocket.
    Reply { reply: Box<Reply>, sender: ReplySender },
    /// A trigger for a worker.
    Trigger { seq: u64, trigger: Box<WorkerTrigger> },
    /// A mistake of a worker, in words for its developer.
    Complaint(String),
    /// Outcome of a worker's reply.
    ReplyResult { reply_id: String, outcome: ReplyOutcome },
    /// Closes a worker.
    CloseWorker(Closing),
    /// Flows were deleted: closes the workers of these.
    FlowsDeleted,
    /// Closes the WebSocket of a webhook.
    CloseWebSocket(Closing),
    /// These entries of the journal were not written and never will be.
    NotWritten(Range<Sequence>),
    /// The model has changed.
    Refresh,
    /// The core stops: a connection between two requests ends.
    Drain,
}

/// The other cores, as one core sees them.
pub(crate) trait Peers {
    /// Number of cores, this one included.
    fn count(&self) -> usize;

    /// Leaves a message for a core (this one too). Never blocks.
    ///
    /// # Errors
    /// The message, if the core has too many already or does not exist.
    fn send(&self, core: usize, message: CoreMessage) -> Result<(), CoreMessage>;

    /// Returns a sender for this core's own mailbox, for other threads.
    fn own_sender(&self) -> OwnSender;

    /// Returns this core's own mailbox, for other threads that have much to send.
    fn own_mailbox(&self) -> OwnMailbox;
}

/// The mailbox of a core, for any thread. It returns a message that it has no room for.
pub(crate) type OwnMailbox = Arc<dyn Fn(CoreMessage) -> Result<(), CoreMessage> + Send + Sync>;

/// Sends to a core from any thread; returns whether there was room.
pub(crate) type OwnSender = Box<dyn FnOnce(CoreMessage) -> bool + Send>;

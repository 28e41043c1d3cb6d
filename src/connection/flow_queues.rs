//! The queues of the flows that a core owns: state only; [`flows`](super::flows) carries out what they ask for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::message::{DeliveryTrigger, WorkerAddress, WorkerPlace};
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::base::wheel::TimerId;
use crate::deliver::Behind;
use crate::deliver::entry::Receipt;
use crate::deliver::lending::Lending;
use crate::deliver::workers::{FlowQueue, Order};
use crate::record::CallRecord;
use crate::registry::Backlog;
use crate::trigger::Payload;

/// Pause before a message is sent again that its receiver had no room for.
pub(crate) const REDELIVER_NANOS: u64 = NANOS_PER_SECOND / 100;

/// The flows of a core that have a worker or a trigger.
pub(crate) type FlowQueues = HashMap<Id, OwnedFlow, ahash::RandomState>;

/// The actions that a queue requests.
pub(crate) type QueueActions = Vec<Order<WorkerPlace>>;

/// Actions that a flow's queue has requested and that are not carried out yet.
pub(crate) struct PendingOrders {
    pub(crate) flow: Id,
    /// The flow's backlog when they were requested; `None`: the flow was not there.
    pub(crate) backlog: Option<Arc<Backlog>>,
    pub(crate) orders: std::vec::IntoIter<Order<WorkerPlace>>,
}

/// One flow at its owner.
pub(crate) struct OwnedFlow {
    pub(crate) queue: FlowQueue<WorkerPlace>,
    pub(crate) workers: HashMap<WorkerAddress, Key, ahash::RandomState>,
    pub(crate) backlog: Arc<Backlog>,
    /// The timer that looks for triggers that nobody waits for any more.
    pub(crate) sweep: Option<TimerId>,
    /// Workers of other nodes of the cluster.
    pub(crate) lending: Lending,
    /// The timer that looks after them, and when it fires.
    pub(crate) lending_timer: Option<(u64, TimerId)>,
    /// Workers that the other nodes have been told of.
    pub(crate) announced: HashSet<Key, ahash::RandomState>,
}

impl OwnedFlow {
    /// A flow without workers and triggers.
    pub(crate) fn new(backlog: Arc<Backlog>) -> OwnedFlow {
        OwnedFlow {
            queue: FlowQueue::default(),
            workers: HashMap::default(),
            backlog,
            sweep: None,
            lending: Lending::default(),
            lending_timer: None,
            announced: HashSet::default(),
        }
    }

    /// The timers that are set.
    pub(crate) fn into_timers(self) -> impl Iterator<Item = TimerId> {
        self.sweep.into_iter().chain(self.lending_timer.map(|(_, timer)| timer))
    }
}

/// Returns the core that owns a flow's queue.
pub(crate) fn owner_core(flow: Id, cores: usize) -> usize {
    // FNV-1a: the same on every core, and spread for ids made in a row.
    let hash = flow.raw().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % cores.max(1) as u64) as usize
}

/// A message that its receiver had no room for and that may not be lost: sent again after a pause.
pub(crate) enum Undelivered {
    /// A trigger that was taken; its room is not reserved.
    Trigger { backlog: Arc<Backlog>, trigger: DeliveryTrigger },
    /// A worker has left.
    WorkerGone { flow: Id, from: WorkerAddress },
}

/// A delivery that is done and has nodes behind it.
pub(crate) struct FinishedDelivery {
    pub(crate) behind: Arc<Behind>,
    pub(crate) payload: Payload,
    /// The caller's `replyId`, where a reply is awaited or a WebSocket takes messages.
    pub(crate) reply_id: Option<Arc<str>>,
    /// After this moment nobody waits for a reply.
    pub(crate) expires_nanos: Option<u64>,
    /// Its share in the entry of a journal.
    pub(crate) receipt: Option<Receipt>,
    /// The record of the call that it is of.
    pub(crate) record: Option<CallRecord>,
}

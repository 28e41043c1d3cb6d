//! The items of a flow's queue, the actions that it returns, and its state of a connection.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::base::id::Id;
use crate::base::slots::Key;
use crate::base::wheel::TimerId;
use crate::deliver::Behind;
use crate::deliver::affinity::Affinity;
use crate::deliver::entry::Receipt;
use crate::record::CallRecord;
use crate::trigger::Payload;

/// A trigger for a worker.
#[derive(Clone, Debug)]
pub struct WorkerTrigger {
    pub node_id: Arc<str>,
    pub payload: Payload,
    pub ack_timeout_nanos: u64,
    /// At most so many of the node unacked with one worker.
    pub max_in_flight: u32,
    /// Triggers with the same one stay with one worker: the place of a WebSocket. `last` ends it. Such a trigger has no
    /// `expires_nanos`.
    pub affinity: Option<Affinity>,
    /// The caller's `replyId`, where a reply is awaited.
    pub reply_id: Option<Arc<str>>,
    /// After this moment nobody waits for it any more.
    pub expires_nanos: Option<u64>,
    /// 1 the first time.
    pub attempt: u32,
    /// The nodes that run once it is acked.
    pub behind: Option<Arc<Behind>>,
    /// Its share in the entry of a journal.
    pub receipt: Option<Receipt>,
    /// The record of the call that it is of.
    pub record: Option<CallRecord>,
    /// Set if it is a trigger of another node of a cluster.
    pub guest: Option<Guest>,
}

/// The name of a trigger of another node, as that node gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guest {
    pub node: Id,
    /// The worker that it was sent to.
    pub worker: u64,
    /// The other node's attachment of this worker.
    pub link: u64,
    pub seq: u64,
}

/// Something to be done for the queue.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "an order is carried out at once: a list of them is never kept")]
pub enum Order<W> {
    /// Send the trigger to the worker; `seq` is the worker's own. Set a timer for `flight`, to fire at `deadline`, and
    /// tell [`FlowQueue::timed`](super::FlowQueue::timed) of it.
    Send { worker: W, seq: u64, trigger: WorkerTrigger, flight: Key, deadline_nanos: u64 },
    /// The trigger is done with (acked, or nobody waits for it any more): what it took is free. `acked`: nodes run behind
    /// it, and take over its share in the journal's entry.
    /// `recorded`: the call has a record.
    Done {
        bytes: usize,
        acked: Option<Box<WorkerTrigger>>,
        receipt: Option<Receipt>,
        recorded: Option<Box<RecordedEnd>>,
        guest: Option<Guest>,
    },
    /// A trigger of another node failed with its worker: what it took is free, and its node gives it to another one.
    Returned { bytes: usize, guest: Guest },
    /// A timer is not needed any more.
    Cancel(TimerId),
    /// Something that came back waits and is of no use after this moment: call [`FlowQueue::expire`](super::FlowQueue::expire)
    /// then.
    Watch { expires_nanos: u64 },
}

/// The end of a trigger whose call has a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEnd {
    pub of: CallRecord,
    pub node_id: Arc<str>,
    pub attempt: u32,
    /// Whether a worker acked it; else nobody waits for it any more.
    pub is_acked: bool,
}

/// A reply names no `seq`, and several unacked triggers of its worker have its `replyId`: it acks none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyUnclear {
    /// How many they are.
    pub unacked: u32,
}

impl fmt::Display for ReplyUnclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unacked = self.unacked;
        write!(
            f,
            "a reply acked nothing: {unacked} unacked triggers have its replyId, and it names none by seq"
        )
    }
}

impl std::error::Error for ReplyUnclear {}

/// A trigger with its place in the order of arrival.
pub(super) struct Item {
    pub(super) trigger: WorkerTrigger,
    pub(super) arrival: u64,
    /// The worker that it came back from, which gets it again only if there is no other.
    pub(super) not: Option<Key>,
}

pub(super) struct ItemInFlight {
    pub(super) worker: Key,
    pub(super) seq: u64,
    pub(super) item: Item,
    pub(super) timer: Option<TimerId>,
}

/// The place of a WebSocket connection.
pub(super) type TieKey = (u16, Key);

/// State of a WebSocket connection whose triggers all go to one worker.
#[derive(Default)]
pub(super) struct Tie {
    /// Its home.
    pub(super) worker: Option<Key>,
    /// Queued triggers by node; only nodes that have some.
    pub(super) lanes: BTreeMap<Arc<str>, Lane>,
    /// Unacked triggers, wherever they are.
    pub(super) open: u32,
    pub(super) ended: bool,
}

/// The triggers of one connection that are queued for one node.
#[derive(Default)]
pub(super) struct Lane {
    /// By arrival; never empty between two calls.
    pub(super) queue: BTreeMap<u64, Item>,
    /// Where it stands in the node's queue.
    pub(super) place: Option<(List, u64)>,
}

/// Which workers may take what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Every worker.
    Free,
    /// Every worker but this one, where it came from; this one, too, while it is the only one.
    Except(Key),
    /// This worker, which its connection is tied to.
    Only(Key),
}

impl Tie {
    /// Whether a worker is its home, or one that the first of what waits came back from.
    pub(super) fn is_about(&self, worker: Key) -> bool {
        let came_back = |lane: &Lane| lane.place.is_some_and(|(list, _)| list == List::Except(worker));
        self.worker == Some(worker) || self.lanes.values().any(came_back)
    }

    /// Puts a trigger into the lane of its node.
    pub(super) fn push(&mut self, item: Item) {
        let lane = self.lanes.entry(Arc::clone(&item.trigger.node_id)).or_default();
        lane.queue.insert(item.arrival, item);
    }
}

/// A trigger that failed with a worker, for another; and an order to watch its end, where it has one. That of another node
/// goes back there.
pub(super) fn came_back<W>(flight: ItemInFlight, orders: &mut Vec<Order<W>>) -> Option<Item> {
    let mut item = flight.item;
    if let Some(guest) = item.trigger.guest {
        orders.push(Order::Returned { bytes: item.trigger.payload.kept_len(), guest });
        return None;
    }
    item.trigger.attempt += 1;
    item.not = Some(flight.worker);
    orders.extend(item.trigger.expires_nanos.map(|expires_nanos| Order::Watch { expires_nanos }));
    Some(item)
}

/// The end of a trigger, if its call has a record.
pub(super) fn recorded_end(trigger: &WorkerTrigger, is_acked: bool) -> Option<Box<RecordedEnd>> {
    let WorkerTrigger { record, node_id, attempt, .. } = trigger;
    record.map(|of| Box::new(RecordedEnd { of, node_id: Arc::clone(node_id), attempt: *attempt, is_acked }))
}

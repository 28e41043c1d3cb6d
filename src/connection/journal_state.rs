//! The journal of a core and what waits for it: state only; [`durable`](super::durable) says what becomes of it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::attempt::{NotReplayed, ReplayCallback};
use super::event_journal::EventJournal;
use super::message::{ConnectionId, DeliveryTrigger};
use crate::base::id::Id;
use crate::deliver::entry::{Receipt, StoredEntry};
use crate::journal::Sequence;
use crate::limit::Claim;
use crate::registry::Backlog;

/// The journal of a core.
pub(crate) struct CoreJournal {
    pub(crate) journal: EventJournal,
    /// Entries that are not durable, the oldest first.
    pub(crate) pending: VecDeque<PendingEntry>,
    /// Connections with answers that wait, by the entries that they wait for, the oldest first.
    pub(crate) gated: VecDeque<(Sequence, ConnectionId)>,
    /// Deliveries of which shares have been returned, and not all.
    pub(crate) shares: HashMap<(Sequence, u16), u64, ahash::RandomState>,
    /// Receipts to be returned to other cores, by core.
    pub(crate) returned: Vec<Vec<Receipt>>,
    /// Ends of WebSockets that the journal did not take: they are never refused.
    pub(crate) refused: VecDeque<Box<StoredEntry>>,
    /// Entries whose deliveries are to be sorted into their flows, the oldest first: those that an earlier run has left open,
    /// and while there are any, those that were accepted behind them.
    pub(crate) restored: VecDeque<Restored>,
    /// Deliveries beyond what memory holds, to be read back: by flow, the oldest first.
    pub(crate) spilled: HashMap<Id, SpilledFlow, ahash::RandomState>,
    /// The flows of `spilled` in the order in which they are served.
    pub(crate) spill_order: VecDeque<Id>,
    /// Events of dead letters that are not durable, the oldest first.
    pub(crate) replays: VecDeque<(Sequence, ReplayCallback)>,
    /// New entries are refused until there is a segment for them.
    pub(crate) is_refusing: bool,
    /// Memory that entries are written in.
    pub(crate) draft: Vec<u8>,
    /// Whether a timer is set that sends receipts again.
    pub(crate) is_timed: bool,
    /// Whether a timer is set that tries again what was refused.
    pub(crate) is_retrying: bool,
}

/// An entry whose deliveries are to be sorted into their flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restored {
    pub(crate) sequence: Sequence,
    /// Those of the flows of one owner core alone, which has lost them; `None`: all of them.
    pub(crate) owner: Option<u16>,
}

/// An entry that is not durable.
pub(crate) struct PendingEntry {
    pub(crate) sequence: Sequence,
    /// The WebSocket of the event, which is closed if the entry fails.
    pub(crate) websocket: Option<ConnectionId>,
    /// Kept for another try if the entry fails: it is never refused.
    pub(crate) entry: Option<Box<StoredEntry>>,
    pub(crate) deliveries: Vec<PendingDelivery>,
    /// The key of the call, which is given back if the entry fails: its sender sends it again.
    pub(crate) claim: Option<Box<Claim>>,
}

/// A delivery of an entry that is not durable.
pub(crate) enum PendingDelivery {
    /// Its room is reserved.
    Offer(Arc<Backlog>, DeliveryTrigger),
    /// It is read back when there is room.
    Spill(Arc<Backlog>),
}

impl PendingDelivery {
    /// The flow.
    pub(crate) fn flow(&self) -> Id {
        match self {
            PendingDelivery::Offer(backlog, _) | PendingDelivery::Spill(backlog) => backlog.flow(),
        }
    }

    /// Gives back what was reserved for it.
    pub(crate) fn give_up(self) {
        if let PendingDelivery::Offer(backlog, trigger) = self {
            backlog.release(trigger.bytes());
        }
    }
}

/// Deliveries of a flow that are on the disk only.
pub(crate) struct SpilledFlow {
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) waiting: VecDeque<(Sequence, u16)>,
}

impl CoreJournal {
    /// The journal of one of `cores` cores. `open` are the entries that are open.
    pub(crate) fn new(journal: EventJournal, open: Vec<Sequence>, cores: usize) -> CoreJournal {
        let restored = open.into_iter().map(|sequence| Restored { sequence, owner: None }).collect();
        CoreJournal {
            journal,
            pending: VecDeque::new(),
            gated: VecDeque::new(),
            shares: HashMap::default(),
            returned: std::iter::repeat_with(Vec::new).take(cores).collect(),
            refused: VecDeque::new(),
            restored,
            spilled: HashMap::default(),
            spill_order: VecDeque::new(),
            replays: VecDeque::new(),
            is_refusing: false,
            draft: Vec::new(),
            is_timed: false,
            is_retrying: false,
        }
    }

    /// Forgets what names connections and timers: the core has lost them.
    pub(crate) fn lose_connections(&mut self) {
        self.gated.clear();
        (self.is_timed, self.is_retrying) = (false, false);
    }

    /// Whether deliveries of a flow wait on the disk: what follows waits behind them.
    pub(crate) fn is_spilling(&self, flow: Id) -> bool {
        self.spilled.contains_key(&flow)
    }

    /// Has a delivery of an entry that is on the disk read back when its flow has room.
    pub(crate) fn spill(&mut self, backlog: &Arc<Backlog>, sequence: Sequence, delivery: u16) {
        let CoreJournal { spilled, spill_order, .. } = self;
        let spilled = spilled.entry(backlog.flow()).or_insert_with(|| {
            spill_order.push_back(backlog.flow());
            SpilledFlow { backlog: Arc::clone(backlog), waiting: VecDeque::new() }
        });
        spilled.waiting.push_back((sequence, delivery));
    }
    /// Tells that the events of dead letters up to this one are durable.
    pub(crate) fn tell_replays(&mut self, durable: Sequence) {
        while self.replays.front().is_some_and(|(sequence, _)| *sequence <= durable) {
            if let Some((_, done)) = self.replays.pop_front() {
                done(Ok(()));
            }
        }
    }

    /// Tells that these events will never be durable; what came before them was.
    pub(crate) fn fail_replays(&mut self, failed: &Range<Sequence>) {
        while self.replays.front().is_some_and(|(sequence, _)| *sequence < failed.end) {
            if let Some((sequence, done)) = self.replays.pop_front() {
                done(if sequence < failed.start { Ok(()) } else { Err(NotReplayed::Busy) });
            }
        }
    }

    /// Takes the first of what waits of a flow off.
    pub(crate) fn drop_spilled(&mut self, flow: Id) {
        let Some(spilled) = self.spilled.get_mut(&flow) else { return };
        spilled.waiting.pop_front();
        if spilled.waiting.is_empty() {
            self.spilled.remove(&flow);
            self.spill_order.retain(|waiting| *waiting != flow);
        }
    }
}

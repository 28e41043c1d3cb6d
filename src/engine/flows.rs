//! Triggers for workers: every flow has a home core, chosen by its id, which keeps the flow's queue
//! ([`FlowQueue`]). Triggers, credits and acks of other cores come to it through its mailbox; what it orders goes to
//! the core of the worker the same way.
//!
//! **Invariant**: room for a trigger is reserved in the flow's [`Backlog`] before it is offered, and given back once,
//! when the queue is done with it. What cannot be reserved is refused at the door.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use super::core::{Core, Message, Timer};
use super::mailbox::Full;
use super::worker;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::base::slots::Key;
use crate::base::wheel::TimerId;
use crate::deliver::workers::{FlowQueue, Order, ReplyUnclear, WorkerTrigger};
use crate::metrics::Event;
use crate::registry::Backlog;

/// How long until a home that was too busy is asked again.
const RETRY: std::time::Duration = std::time::Duration::from_millis(10);

/// Where a worker is attached: its core and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WorkerAddress {
    pub(super) core: u16,
    pub(super) key: Key,
}

/// What a worker did, for its flow's home.
#[derive(Debug)]
pub(super) enum Did {
    Ready(u32),
    Ack(u64),
    Nack(u64),
    /// Sent a reply for this `replyId`, which acks the trigger that it answers: that of `seq`, where it names one.
    Replied {
        reply_id: Box<str>,
        seq: Option<u64>,
    },
}

/// What the home of a flow is told of a worker.
pub(super) enum WorkerEvent {
    Attached(Arc<Backlog>),
    Did(Vec<Did>),
    Gone,
}

/// A trigger cannot be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// One flow at its home.
pub(super) struct Home {
    queue: FlowQueue<WorkerAddress>,
    workers: HashMap<WorkerAddress, Key, ahash::RandomState>,
    backlog: Arc<Backlog>,
    /// The timer that looks for triggers that nobody waits for any more.
    sweep: Option<TimerId>,
}

/// The flows that are at home on a core and have a worker or a trigger.
pub(super) type Homes = HashMap<Id, Home, ahash::RandomState>;

type Orders = Vec<Order<WorkerAddress>>;

/// The core that keeps a flow's queue.
fn home_of(flow: Id, cores: usize) -> usize {
    // FNV-1a: the same on every core, and spread for ids made in a row.
    let hash = flow.raw().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % cores.max(1) as u64) as usize
}

/// Offers a trigger whose room is reserved.
///
/// # Errors
/// If the flow's home is too busy to be told; the room has been given back.
pub(super) fn offer(core: &Rc<Core>, backlog: &Arc<Backlog>, trigger: WorkerTrigger) -> Result<(), Busy> {
    let home = home_of(backlog.flow(), core.mailboxes.len());
    if home == core.index {
        take(core, Arc::clone(backlog), trigger);
        return Ok(());
    }
    let bytes = trigger.payload.len();
    let message = Message::Trigger { backlog: Arc::clone(backlog), trigger: Box::new(trigger) };
    match core.mailboxes[home].send(message) {
        Ok(()) => Ok(()),
        Err(Full(_)) => {
            backlog.release(bytes);
            Err(Busy)
        }
    }
}

/// Offers a trigger that may not be lost: a home that is too busy is asked again.
pub(super) fn offer_until_taken(core: &Rc<Core>, backlog: &Arc<Backlog>, trigger: WorkerTrigger) {
    if offer(core, backlog, trigger.clone()).is_ok() {
        return;
    }
    let (core, backlog) = (Rc::clone(core), Arc::clone(backlog));
    monoio::spawn(async move {
        loop {
            monoio::time::sleep(RETRY).await;
            backlog.reserve_anyway(trigger.payload.len());
            if offer(&core, &backlog, trigger.clone()).is_ok() {
                return;
            }
        }
    });
}

/// Tells the home of a flow what a worker did.
///
/// # Errors
/// The event, if the home is too busy to be told.
pub(super) fn tell(
    core: &Rc<Core>,
    flow: Id,
    from: WorkerAddress,
    event: WorkerEvent,
) -> Result<(), WorkerEvent> {
    let home = home_of(flow, core.mailboxes.len());
    if home == core.index {
        hear(core, flow, from, event);
        return Ok(());
    }
    match core.mailboxes[home].send(Message::Worker { flow, from, event }) {
        Err(Full(Message::Worker { event, .. })) => Err(event),
        _ => Ok(()),
    }
}

/// At home: a trigger came.
pub(super) fn take(core: &Rc<Core>, backlog: Arc<Backlog>, trigger: WorkerTrigger) {
    let flow = backlog.flow();
    if backlog.is_deleted() {
        // It was on its way when the flow was deleted: no worker will ever take it.
        backlog.release(trigger.payload.len());
        return;
    }
    let now = core.now().nanos;
    let mut orders = Orders::new();
    {
        let mut homes = core.homes.borrow_mut();
        let home = homes.entry(flow).or_insert_with(|| Home::new(backlog));
        let expires = trigger.expires_nanos;
        home.queue.offer(trigger, now, &mut orders);
        if let Some(expires) = expires
            && home.sweep.is_none()
            && home.queue.is_waiting()
        {
            home.sweep = Some(core.set_timer(expires, Timer::Sweep(flow)));
        }
    }
    carry_out(core, flow, orders);
}

/// At home: a worker did something.
pub(super) fn hear(core: &Rc<Core>, flow: Id, from: WorkerAddress, event: WorkerEvent) {
    let now = core.now().nanos;
    let mut orders = Orders::new();
    // One complaint for all that is wrong in what came at once: lies cost the liar, not the mailboxes.
    let mut wrong: Option<(u64, usize)> = None;
    let mut unclear: Option<ReplyUnclear> = None;
    {
        let mut homes = core.homes.borrow_mut();
        if let WorkerEvent::Attached(backlog) = &event {
            let home = homes.entry(flow).or_insert_with(|| Home::new(Arc::clone(backlog)));
            let key = home.queue.attach(from);
            home.workers.insert(from, key);
            return;
        }
        let Some(home) = homes.get_mut(&flow) else { return };
        let Some(&worker) = home.workers.get(&from) else { return };
        match event {
            WorkerEvent::Attached(_) => {}
            WorkerEvent::Gone => {
                home.workers.remove(&from);
                home.queue.detach(worker, now, &mut orders);
            }
            WorkerEvent::Did(all) => {
                for did in all {
                    let known = match did {
                        Did::Ready(credit) => {
                            home.queue.ready(worker, credit, now, &mut orders);
                            continue;
                        }
                        Did::Ack(seq) => (home.queue.ack(worker, seq, now, &mut orders), seq),
                        Did::Nack(seq) => (home.queue.nack(worker, seq, now, &mut orders), seq),
                        Did::Replied { reply_id, seq } => {
                            let acked = home.queue.replied(worker, &reply_id, seq, now, &mut orders);
                            unclear = unclear.or(acked.err());
                            continue;
                        }
                    };
                    if let (false, seq) = known {
                        wrong = Some(wrong.map_or((seq, 0), |(first, more)| (first, more + 1)));
                    }
                }
            }
        }
    }
    carry_out(core, flow, orders);
    if let Some((seq, more)) = wrong {
        let others = if more > 0 { format!(", nor are {more} others") } else { String::new() };
        complain(core, from, format!("seq {seq} is not an unacked trigger of this connection{others}"));
    }
    if let Some(unclear) = unclear {
        complain(core, from, unclear.to_string());
    }
}

/// At home: a worker was too slow with a trigger.
pub(super) fn late(core: &Rc<Core>, flow: Id, flight: Key) {
    let mut orders = Orders::new();
    if let Some(home) = core.homes.borrow_mut().get_mut(&flow) {
        home.queue.late(flight, core.now().nanos, &mut orders);
    }
    carry_out(core, flow, orders);
}

/// At home: triggers that nobody waits for any more may be among those that wait.
pub(super) fn sweep(core: &Rc<Core>, flow: Id) {
    let mut orders = Orders::new();
    if let Some(home) = core.homes.borrow_mut().get_mut(&flow) {
        let next = home.queue.expire(core.now().nanos, &mut orders);
        home.sweep = next.map(|next| core.set_timer(next, Timer::Sweep(flow)));
    }
    carry_out(core, flow, orders);
}

/// The flow is gone from the model.
pub(super) fn gone(core: &Rc<Core>, flow: Id) {
    let mut orders = Orders::new();
    if let Some(home) = core.homes.borrow_mut().get_mut(&flow) {
        home.queue.clear(&mut orders);
    }
    carry_out(core, flow, orders);
    // With its workers: one of a flow that is created again under this id has another backlog.
    let home = core.homes.borrow_mut().remove(&flow);
    if let Some(sweep) = home.and_then(|home| home.sweep) {
        core.cancel_timer(sweep);
    }
}

/// Triggers that are not acked, of all flows at home here, and whether any of them has a worker.
pub(super) fn open(core: &Core) -> (usize, bool) {
    let homes = core.homes.borrow();
    (homes.values().map(|home| home.queue.open()).sum(), homes.values().any(|home| home.queue.workers() > 0))
}

/// Does what the queue wants done.
fn carry_out(core: &Rc<Core>, flow: Id, orders: Orders) {
    for order in orders {
        match order {
            Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
                let timer = core.set_timer(deadline_nanos, Timer::Ack(flow, flight));
                if let Some(home) = core.homes.borrow_mut().get_mut(&flow) {
                    home.queue.timed(flight, timer);
                }
                if trigger.attempt > 1 {
                    core.metrics.event(Event::DeliveryRetried);
                }
                give(core, worker, seq, Box::new(trigger));
            }
            Order::Done { bytes } => {
                core.metrics.event(Event::DeliveryDone);
                if let Some(home) = core.homes.borrow().get(&flow) {
                    home.backlog.release(bytes);
                }
            }
            Order::Cancel(timer) => core.cancel_timer(timer),
            Order::Watch { expires_nanos } => {
                if let Some(home) = core.homes.borrow_mut().get_mut(&flow)
                    && home.sweep.is_none()
                {
                    home.sweep = Some(core.set_timer(expires_nanos, Timer::Sweep(flow)));
                }
            }
        }
    }
    if let Entry::Occupied(home) = core.homes.borrow_mut().entry(flow)
        && home.get().queue.is_empty()
    {
        let home = home.remove();
        if let Some(sweep) = home.sweep {
            core.cancel_timer(sweep);
        }
    }
}

fn give(core: &Rc<Core>, worker: WorkerAddress, seq: u64, trigger: Box<WorkerTrigger>) {
    if usize::from(worker.core) == core.index {
        worker::give(core, worker.key, seq, trigger);
    } else if let Some(mailbox) = core.mailboxes.get(usize::from(worker.core)) {
        // The ack times out, and the trigger goes to another worker then.
        if mailbox.send(Message::Give { worker: worker.key, seq, trigger }).is_err() {
            note_dropped(core, worker.core, "a trigger for a worker");
        }
    }
}

fn complain(core: &Rc<Core>, worker: WorkerAddress, message: String) {
    if usize::from(worker.core) == core.index {
        worker::complain(core, worker.key, &message);
    } else if let Some(mailbox) = core.mailboxes.get(usize::from(worker.core))
        && mailbox.send(Message::Complaint { worker: worker.key, message }).is_err()
    {
        note_dropped(core, worker.core, "what is wrong with a worker's ack");
    }
}

/// Counts a message that another core's full mailbox did not take.
fn note_dropped(core: &Core, receiver: u16, what: &str) {
    core.metrics.event(Event::MailboxFull);
    bounded_log!(
        warn,
        core = core.index,
        receiver,
        what,
        "a message to another core is dropped: its mailbox is full"
    );
}

impl Home {
    fn new(backlog: Arc<Backlog>) -> Home {
        Home { queue: FlowQueue::default(), workers: HashMap::default(), backlog, sweep: None }
    }
}

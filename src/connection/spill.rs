//! Deliveries that are on the disk only: those that memory had no room for, and all that an earlier run has left open. They
//! are read back in order when their flow has room again; what follows them in their flow waits behind them.

use super::context::CoreState;
use super::event_journal::ReadFrom;
use super::fanout;
use super::flow_queues::owner_core;
use super::flows;
use super::journal_state::{CoreJournal, Restored};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::deliver::entry::{Receipt, StoredEntry};
use crate::journal::{EntryId, NotRead, Sequence};
use crate::metrics::Event;

/// The result of reading a delivery back.
enum SpillOutcome {
    /// It was offered, or is done.
    Taken,
    /// It stands elsewhere, or there is no room for it now.
    Waits,
}

/// The next delivery to read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An entry whose deliveries are sorted into their flows.
    Restored(Sequence),
    /// The first of what waits of a flow.
    Spilled(Id, Sequence),
}

impl Wanted {
    /// The entry to be read.
    pub(crate) fn sequence(self) -> Sequence {
        match self {
            Wanted::Restored(sequence) | Wanted::Spilled(_, sequence) => sequence,
        }
    }
}

/// The next delivery to read back; `None` if there is none, or no room for it.
pub(crate) fn next(core: &mut CoreState) -> Option<Wanted> {
    let journal = core.journal.as_mut()?;
    if let Some(first) = journal.restored.front() {
        return Some(Wanted::Restored(first.sequence));
    }
    // Each in its turn: a flow that fills up at once holds back no other.
    for _ in 0..journal.spill_order.len() {
        let flow = journal.spill_order.pop_front()?;
        let Some(spilled) = journal.spilled.get(&flow) else { continue };
        journal.spill_order.push_back(flow);
        if let Some(&(sequence, _)) = spilled.waiting.front()
            && (spilled.backlog.has_room() || spilled.backlog.is_deleted())
        {
            return Some(Wanted::Spilled(flow, sequence));
        }
    }
    None
}

/// The owner of some flows has lost what it had of them: it is offered again. What it has done already and not told is
/// delivered twice.
pub(crate) fn restore_owner(core: &mut CoreState, owner: u16) {
    let cores = core.peers.count();
    let Some(journal) = &mut core.journal else { return };
    let is_lost = |flow: &Id| owner_core(*flow, cores) == usize::from(owner);
    // What waits of them here is among what is open.
    journal.spilled.retain(|flow, _| !is_lost(flow));
    journal.spill_order.retain(|flow| !is_lost(flow));
    let open = journal.journal.open_entries().into_iter();
    journal.restored.extend(open.map(|sequence| Restored { sequence, owner: Some(owner) }));
}

/// Whether anything waits for being read back.
pub(crate) fn is_waiting(core: &CoreState) -> bool {
    core.journal.as_ref().is_some_and(|journal| !journal.restored.is_empty() || !journal.spilled.is_empty())
}

/// Removes a delivery from those to be read back: it is done.
pub(crate) fn skip(core: &mut CoreState, wanted: Wanted) {
    let Some(journal) = &mut core.journal else { return };
    match wanted {
        Wanted::Restored(_) => {
            journal.restored.pop_front();
        }
        Wanted::Spilled(flow, _) => journal.drop_spilled(flow),
    }
}

/// Moves a delivery that cannot be read behind the others.
pub(crate) fn postpone(core: &mut CoreState, wanted: Wanted) {
    let Some(journal) = &mut core.journal else { return };
    match wanted {
        Wanted::Restored(_) => {
            let first = journal.restored.pop_front();
            journal.restored.extend(first);
        }
        Wanted::Spilled(flow, _) => {
            if let Some(spilled) = journal.spilled.get_mut(&flow) {
                let first = spilled.waiting.pop_front();
                spilled.waiting.extend(first);
            }
        }
    }
}

/// Takes what a read has brought, in order, as far as there is room.
pub(crate) fn on_read(core: &mut CoreState, wanted: Wanted, from: ReadFrom<'_>) {
    match wanted {
        Wanted::Restored(_) => restore_all(core, from),
        Wanted::Spilled(flow, _) => offer_all(core, flow, from),
    }
}

/// Sorts the deliveries of entries into their flows: they are offered, or wait there.
fn restore_all(core: &mut CoreState, from: ReadFrom<'_>) {
    while let Some(&Restored { sequence, owner }) =
        core.journal.as_ref().and_then(|journal| journal.restored.front())
    {
        match read_entry(core, from, sequence) {
            ReadEntry::Elsewhere => return,
            ReadEntry::Nothing => {}
            ReadEntry::Entry(stored, accepted) => {
                let cores = core.peers.count();
                for (delivery, of) in (0..).zip(&stored.deliveries) {
                    if owner.is_none_or(|owner| owner_core(of.flow, cores) == usize::from(owner)) {
                        restore(core, (&stored, accepted), sequence, delivery);
                    }
                }
            }
        }
        if let Some(journal) = &mut core.journal {
            journal.restored.pop_front();
        }
        core.worked();
        // The rest is read again: a turn has its end.
        if core.is_turn_over() {
            return;
        }
    }
}

fn restore(core: &mut CoreState, entry: (&StoredEntry, u64), sequence: Sequence, delivery: u16) {
    let flow = entry.0.deliveries.get(usize::from(delivery)).map(|of| of.flow);
    let is_behind =
        flow.is_some_and(|flow| core.journal.as_ref().is_some_and(|journal| journal.is_spilling(flow)));
    if !is_behind && let SpillOutcome::Taken = take(core, entry, sequence, delivery) {
        return;
    }
    let backlog = flow.and_then(|flow| core.registry.flow(flow));
    if let (Some(backlog), Some(journal)) = (backlog, &mut core.journal) {
        journal.spill(&backlog, sequence, delivery);
    }
}

/// Offers what waits of a flow.
fn offer_all(core: &mut CoreState, flow: Id, from: ReadFrom<'_>) {
    loop {
        let first = core.journal.as_ref().and_then(|journal| journal.spilled.get(&flow)?.waiting.front());
        let Some(&(sequence, delivery)) = first else { return };
        match read_entry(core, from, sequence) {
            ReadEntry::Elsewhere => return,
            ReadEntry::Nothing => {}
            ReadEntry::Entry(stored, accepted) => match take(core, (&stored, accepted), sequence, delivery) {
                SpillOutcome::Waits => return,
                SpillOutcome::Taken => {}
            },
        }
        if let Some(journal) = &mut core.journal {
            journal.drop_spilled(flow);
        }
        core.worked();
        // The rest is read again: a turn has its end.
        if core.is_turn_over() {
            return;
        }
    }
}

/// An entry in a read.
enum ReadEntry {
    /// With the time at which it was accepted.
    Entry(Box<StoredEntry>, u64),
    /// It is done, or damaged, which was told.
    Nothing,
    Elsewhere,
}

fn read_entry(core: &mut CoreState, from: ReadFrom<'_>, sequence: Sequence) -> ReadEntry {
    let now = core.now().nanos;
    let Some(journal) = &mut core.journal else { return ReadEntry::Nothing };
    let stored = match journal.journal.entry(from, sequence) {
        Ok(entry) => StoredEntry::read(entry.payload).map(|stored| (stored, entry.unix_millis)),
        Err(NotRead::NotOpen) => return ReadEntry::Nothing,
        Err(NotRead::Elsewhere) => return ReadEntry::Elsewhere,
        Err(NotRead::Damaged(fault)) => {
            bounded_log!(error, core = core.index, %fault, "an open trigger of the journal is damaged and lost");
            None
        }
    };
    match stored {
        Some((stored, accepted)) => ReadEntry::Entry(Box::new(stored), accepted),
        None => {
            journal.journal.complete_entry(sequence, now);
            ReadEntry::Nothing
        }
    }
}

/// Offers a delivery, if it is not done and there is room for it.
fn take(
    core: &mut CoreState,
    (stored, accepted): (&StoredEntry, u64),
    sequence: Sequence,
    delivery: u16,
) -> SpillOutcome {
    let (number, now) = (core.number(), core.now().nanos);
    let is_done = |journal: &CoreJournal| journal.journal.is_done(sequence, delivery);
    if core.journal.as_ref().is_none_or(|journal| is_done(journal)) {
        return SpillOutcome::Taken;
    }
    let of = stored.deliveries.get(usize::from(delivery));
    let flow = of.and_then(|of| Some((of, core.registry.flow(of.flow)?)));
    let restored =
        flow.and_then(|(of, backlog)| Some((backlog, fanout::restore(core, stored, of, accepted)?)));
    let Some((backlog, mut trigger)) = restored else {
        if let (Some(of), true) = (of, of.is_some_and(|of| core.registry.flow(of.flow).is_some())) {
            core.metrics.event(Event::DeliveryDead);
            bounded_log!(
                warn,
                flow = %of.flow,
                node = ?of.node_id,
                "a trigger of the journal is dropped: its flow has no such node any more"
            );
        }
        if let Some(journal) = &mut core.journal {
            journal.journal.complete(sequence, delivery, now);
        }
        return SpillOutcome::Taken;
    };
    if !backlog.reserve(trigger.bytes()) {
        return SpillOutcome::Waits;
    }
    let entry = EntryId { core: number, sequence };
    if let Some(journal) = &mut core.journal {
        // Of an earlier offer that was lost.
        journal.shares.remove(&(sequence, delivery));
    }
    trigger.set_receipt(Receipt { entry, delivery, share: Receipt::WHOLE });
    flows::offer_until_taken(core, &backlog, trigger);
    SpillOutcome::Taken
}

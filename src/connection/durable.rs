//! Triggers that are accepted only once they are on the disk: an event is appended to the core's journal with all of its
//! deliveries, which are offered to the owners of their flows, as its caller is answered, when the write is durable.
//!
//! **Invariants**: what is offered is durable, so nothing that is refused is delivered; an entry is open until all of its
//! receipts are back, so nothing that was answered is lost.

use std::ops::Range;
use std::sync::Arc;

use super::context::{CoreState, Timer};
use super::flows;
use super::journal_state::{PendingDelivery, PendingEntry, Restored};
use super::message::{ConnectionId, ConnectionMessage};
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::deliver::entry::{Receipt, StoredEntry};
use crate::ingress::socket::Closing;
use crate::journal::{EntryId, EntryKind, Note, Refused, Sequence};
use crate::limit::Claim;
use crate::metrics::Event;
use crate::record::{NewAnswer, OpenRecord};
use crate::registry::Backlog;

/// Entries that hold an event and its deliveries, as [`StoredEntry`] writes them.
const EVENT: EntryKind = EntryKind(1);
/// Bytes of the memory that entries are written in which are kept.
const DRAFT_KEEP_BYTES: usize = 64 * 1024;
/// The reason where the journal cannot be written.
pub(crate) const JOURNAL_DOWN: &str = "The journal cannot be written, try again later";
/// Status of a call whose entry could not be written.
const REFUSED_STATUS: u16 = 503;
/// Pause before the end of a WebSocket is tried again that the journal did not take.
const RETRY_NANOS: u64 = NANOS_PER_SECOND;

/// Appends an event with its deliveries, in the order of those of the entry. `websocket` is closed if the write fails; an
/// entry that `must` be taken is kept until it is.
///
/// # Errors
/// If the journal does not take it: what was reserved for its deliveries has been given back.
pub(crate) fn accept(
    core: &mut CoreState,
    entry: StoredEntry,
    deliveries: Vec<PendingDelivery>,
    websocket: Option<ConnectionId>,
    must: bool,
    note: Option<&Note>,
) -> Result<Sequence, Refused> {
    append(core, entry, deliveries, Manner { websocket, must, note, accepted: core.now() })
}

/// As [`accept`], of an event that was accepted at another time.
///
/// # Errors
/// As [`accept`].
pub(crate) fn accept_as_of(
    core: &mut CoreState,
    entry: StoredEntry,
    deliveries: Vec<PendingDelivery>,
    accepted: Now,
) -> Result<Sequence, Refused> {
    append(core, entry, deliveries, Manner { websocket: None, must: false, note: None, accepted })
}

/// How an event is accepted.
struct Manner<'a> {
    websocket: Option<ConnectionId>,
    must: bool,
    note: Option<&'a Note>,
    accepted: Now,
}

fn append(
    core: &mut CoreState,
    entry: StoredEntry,
    deliveries: Vec<PendingDelivery>,
    Manner { websocket, must, note, accepted }: Manner<'_>,
) -> Result<Sequence, Refused> {
    let Some(journal) = &mut core.journal else { return Err(Refused::Down) };
    let mut front = std::mem::take(&mut journal.draft);
    front.clear();
    entry.write_front(&mut front);
    let count = u16::try_from(deliveries.len()).unwrap_or(u16::MAX);
    let appended = journal.journal.append(EVENT, count, note, &[&front, entry.event.bytes()], accepted);
    if front.capacity() <= DRAFT_KEEP_BYTES {
        journal.draft = front;
    }
    match appended {
        Ok(sequence) => {
            let entry = must.then(|| Box::new(entry));
            journal.pending.push_back(PendingEntry { sequence, websocket, entry, deliveries, claim: None });
        }
        Err(refused) => {
            // Those that are only behind catch up by themselves.
            journal.is_refusing |= matches!(refused, Refused::Full | Refused::Down);
            deliveries.into_iter().for_each(PendingDelivery::give_up);
            if must {
                journal.refused.push_back(Box::new(entry));
                retry_later(core);
            }
            core.metrics.event(Event::JournalRefused);
        }
    }
    appended
}

/// Takes what the journal says of its writes: entries that failed, and those that are durable. Connections whose answers
/// may leave are appended to `released`.
pub(crate) fn on_written(core: &mut CoreState, released: &mut Vec<ConnectionId>) {
    let failed = core.journal.as_mut().and_then(|journal| journal.journal.failed());
    if let Some(failed) = failed {
        fail(core, &failed);
    }
    let Some(journal) = &mut core.journal else { return };
    if let Some(remote) = journal.journal.remote() {
        let recovered = remote.recovered().into_iter();
        journal.restored.extend(recovered.map(|sequence| Restored { sequence, owner: None }));
    }
    let durable = journal.journal.durable();
    while journal.gated.front().is_some_and(|(sequence, _)| *sequence <= durable) {
        released.extend(journal.gated.pop_front().map(|(_, connection)| connection));
    }
    if let Some(journal) = &mut core.journal {
        journal.tell_replays(durable);
    }
    offer_durable(core);
}

/// Whether entries are durable whose deliveries are not offered yet.
pub(crate) fn has_durable(core: &CoreState) -> bool {
    let first = core.journal.as_ref().and_then(|journal| journal.pending.front());
    first.is_some_and(|pending| pending.sequence <= core.durable())
}

/// Offers the deliveries of entries that are durable, until the turn is over.
pub(crate) fn offer_durable(core: &mut CoreState) {
    while has_durable(core)
        && let Some(pending) = core.journal.as_mut().and_then(|journal| journal.pending.pop_front())
    {
        offer(core, pending);
        if core.step(true) {
            return;
        }
    }
}

/// Keeps the key of the call that was accepted, once it is durable: with the entry of the call, which has its note, or else
/// alone.
///
/// # Errors
/// If the journal does not take it, with the claim.
pub(crate) fn keep_key(core: &mut CoreState, note: &Note, claim: Claim) -> Result<(), (Refused, Claim)> {
    let (awaited, unix_millis) = (core.awaited, core.now().unix_millis);
    let Some(journal) = &mut core.journal else {
        claim.keep(unix_millis);
        return Ok(());
    };
    if let Some(pending) = journal.pending.back_mut().filter(|last| awaited == Some(last.sequence)) {
        pending.claim = Some(Box::new(claim));
        return Ok(());
    }
    match journal.journal.append_note(note) {
        Ok(Some(sequence)) => {
            core.awaited = Some(sequence);
            let claim = Some(Box::new(claim));
            let (websocket, entry, deliveries) = (None, None, Vec::new());
            journal.pending.push_back(PendingEntry { sequence, websocket, entry, deliveries, claim });
        }
        Ok(None) => claim.keep(unix_millis),
        Err(refused) => {
            journal.is_refusing |= matches!(refused, Refused::Full | Refused::Down);
            return Err((refused, claim));
        }
    }
    Ok(())
}

/// Offers the deliveries of an entry.
fn offer(core: &mut CoreState, mut pending: PendingEntry) {
    if let Some(claim) = pending.claim.take() {
        claim.keep(core.now().unix_millis);
    }
    if pending.deliveries.is_empty() {
        return;
    }
    if let Some(journal) = &mut core.journal
        && !journal.restored.is_empty()
    {
        // Others of its flows may still be behind those.
        journal.restored.push_back(Restored { sequence: pending.sequence, owner: None });
        return pending.deliveries.into_iter().for_each(PendingDelivery::give_up);
    }
    let entry = EntryId { core: core.number(), sequence: pending.sequence };
    for (delivery, offered) in (0..).zip(pending.deliveries) {
        match offered {
            PendingDelivery::Offer(backlog, trigger)
                if core.journal.as_ref().is_some_and(|journal| journal.is_spilling(backlog.flow())) =>
            {
                // Others of its flow have begun to wait before it.
                backlog.release(trigger.bytes());
                spill(core, &backlog, pending.sequence, delivery);
            }
            PendingDelivery::Offer(backlog, mut trigger) => {
                trigger.set_receipt(Receipt { entry, delivery, share: Receipt::WHOLE });
                flows::offer_until_taken(core, &backlog, trigger);
            }
            PendingDelivery::Spill(backlog) => spill(core, &backlog, pending.sequence, delivery),
        }
    }
}

fn spill(core: &mut CoreState, backlog: &Arc<Backlog>, sequence: Sequence, delivery: u16) {
    if let Some(journal) = &mut core.journal {
        journal.spill(backlog, sequence, delivery);
    }
}

/// Entries will never be durable: their callers are refused.
fn fail(core: &mut CoreState, failed: &Range<Sequence>) {
    let Some(journal) = &mut core.journal else { return };
    journal.fail_replays(failed);
    let mut entries = Vec::new();
    while journal.pending.front().is_some_and(|pending| pending.sequence < failed.end) {
        entries.extend(journal.pending.pop_front());
    }
    let mut connections = Vec::new();
    while journal.gated.front().is_some_and(|(sequence, _)| *sequence < failed.end) {
        connections.extend(journal.gated.pop_front().map(|(_, connection)| connection));
    }
    connections.dedup();
    for pending in entries {
        // What came before was durable.
        if pending.sequence < failed.start {
            offer(core, pending);
            continue;
        }
        core.metrics.event(Event::JournalRefused);
        note_refusal(core, &pending);
        pending.deliveries.into_iter().for_each(PendingDelivery::give_up);
        if let (Some(entry), Some(journal)) = (pending.entry, &mut core.journal) {
            journal.refused.push_back(entry);
            retry_later(core);
        } else if let Some(connection) = pending.websocket {
            core.post(connection, ConnectionMessage::CloseWebSocket(Closing::Busy));
        }
    }
    for connection in connections {
        core.post(connection, ConnectionMessage::NotWritten(failed.clone()));
    }
}

/// Has the record of a call say how it was answered in the end: its answer was written before, and did not leave.
fn note_refusal(core: &mut CoreState, pending: &PendingEntry) {
    let record = pending.deliveries.iter().find_map(|delivery| match delivery {
        PendingDelivery::Offer(_, trigger) => trigger.record(),
        PendingDelivery::Spill(_) => None,
    });
    if let Some(of) = record.filter(|_| pending.websocket.is_none()) {
        let nanos = core.now().nanos;
        let answer = NewAnswer { status: REFUSED_STATUS, refusal: Some(JOURNAL_DOWN), response: b"", nanos };
        core.records.answer(&OpenRecord::of(of, nanos), &answer);
    }
}

fn retry_later(core: &mut CoreState) {
    let at = core.now().nanos + RETRY_NANOS;
    if let Some(journal) = &mut core.journal
        && !std::mem::replace(&mut journal.is_retrying, true)
    {
        core.set_timer(at, Timer::Refused);
    }
}

/// Tries again what the journal did not take.
pub(crate) fn retry(core: &mut CoreState) {
    let Some(journal) = &mut core.journal else { return };
    journal.is_retrying = false;
    for mut entry in std::mem::take(&mut journal.refused) {
        let mut deliveries = Vec::new();
        entry.deliveries.retain(|delivery| {
            // Nothing is delivered for a flow that was deleted meanwhile.
            let backlog = core.registry.flow(delivery.flow);
            deliveries.extend(backlog.map(PendingDelivery::Spill));
            deliveries.last().is_some_and(|last| last.flow() == delivery.flow)
        });
        if !deliveries.is_empty() {
            // What is refused again is kept again.
            let _ = accept(core, *entry, deliveries, None, true, None);
        }
    }
}

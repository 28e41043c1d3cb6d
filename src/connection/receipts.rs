//! Receipts of deliveries that are done. They go back to the core whose journal keeps the entry, together at the end of a
//! turn, and again where its mailbox was full: a receipt that is lost would be a delivery that is repeated after a restart.

use super::context::{CoreState, Timer};
use super::flow_queues::REDELIVER_NANOS;
use super::message::CoreMessage;
use crate::deliver::entry::Receipt;

/// Returns a receipt to the core of its entry.
pub(crate) fn give_back(core: &mut CoreState, receipt: Receipt) {
    if receipt.entry.core == core.number() {
        return take(core, receipt);
    }
    let of_entry =
        core.journal.as_mut().and_then(|journal| journal.returned.get_mut(usize::from(receipt.entry.core)));
    if let Some(returned) = of_entry {
        returned.push(receipt);
    }
}

/// At the core of the entry: notes a delivery as done once all of its shares are back.
pub(crate) fn take(core: &mut CoreState, receipt: Receipt) {
    let now = core.now().nanos;
    let Some(journal) = &mut core.journal else { return };
    let key = (receipt.entry.sequence, receipt.delivery);
    let returned = receipt.share + journal.shares.remove(&key).unwrap_or(0);
    if returned < Receipt::WHOLE {
        journal.shares.insert(key, returned);
        return;
    }
    journal.journal.complete(receipt.entry.sequence, receipt.delivery, now);
}

/// Sends what was returned in this turn.
pub(crate) fn send(core: &mut CoreState) {
    let CoreState { journal, peers, .. } = core;
    let Some(journal) = journal else { return };
    let mut is_left = false;
    for (owner, returned) in journal.returned.iter_mut().enumerate() {
        if returned.is_empty() {
            continue;
        }
        if let Err(CoreMessage::Receipts(unsent)) =
            peers.send(owner, CoreMessage::Receipts(std::mem::take(returned)))
        {
            *returned = unsent;
            is_left = true;
        }
    }
    // The next turn sends them again.
    if is_left && !std::mem::replace(&mut journal.is_timed, true) {
        core.set_timer(core.now().nanos + REDELIVER_NANOS, Timer::Receipts);
    }
}

/// Receipts are sent again at the end of this turn.
pub(crate) fn on_timer(core: &mut CoreState) {
    if let Some(journal) = &mut core.journal {
        journal.is_timed = false;
    }
}

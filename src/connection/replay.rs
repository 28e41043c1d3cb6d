//! Dead letters that are delivered again: each is accepted as an event with one delivery, like one that has just arrived, and
//! its keeper drops it once that is durable. A crash between the two delivers it twice and loses nothing. Likewise entries
//! that a node that is gone has left open.

use super::attempt::{NotReplayed, ReplayCallback};
use super::context::CoreState;
use super::durable;
use super::fanout;
use super::flows;
use super::journal_state::PendingDelivery;
use crate::base::clock::Now;
use crate::base::log::bounded_log;
use crate::deliver::entry::StoredEntry;
use crate::journal::{LeftOpen, Refused};

/// Accepts the event of a dead letter once more.
pub(crate) fn take(core: &mut CoreState, stored: &[u8], done: ReplayCallback) {
    let accepted = core.now().unix_millis;
    let restored = StoredEntry::read(stored).and_then(|entry| {
        let delivery = entry.deliveries.first()?.clone();
        let backlog = core.registry.flow(delivery.flow)?;
        let trigger = fanout::restore(core, &entry, &delivery, accepted)?;
        Some((entry, backlog, trigger))
    });
    let Some((entry, backlog, trigger)) = restored else { return done(Err(NotReplayed::Gone)) };
    if core.journal.is_none() {
        if !backlog.reserve(trigger.bytes()) {
            return done(Err(NotReplayed::Busy));
        }
        flows::offer_until_taken(core, &backlog, trigger);
        return done(Ok(()));
    }
    let now = core.now();
    accept(core, entry, vec![PendingDelivery::Spill(backlog)], now, done);
}

/// Takes over an entry: what of it is not done becomes one of this journal, accepted when it was.
pub(crate) fn inherit(core: &mut CoreState, left: &LeftOpen, done: ReplayCallback) {
    let Some(mut entry) = StoredEntry::read(&left.payload) else {
        bounded_log!(error, core = core.index, sequence = %left.sequence, "an open trigger of another node cannot be read");
        return done(Err(NotReplayed::Gone));
    };
    let mut deliveries = Vec::new();
    let mut number = 0;
    entry.deliveries.retain(|delivery| {
        let is_open = !left.done.contains(&number);
        number += 1;
        // Nothing is delivered for a flow that was deleted meanwhile.
        let backlog = core.registry.flow(delivery.flow).filter(|_| is_open);
        let is_kept = backlog.is_some();
        deliveries.extend(backlog.map(PendingDelivery::Spill));
        is_kept
    });
    if deliveries.is_empty() {
        return done(Ok(()));
    }
    let accepted = Now { unix_millis: left.unix_millis, ..core.now() };
    accept(core, entry, deliveries, accepted, done);
}

fn accept(
    core: &mut CoreState,
    entry: StoredEntry,
    deliveries: Vec<PendingDelivery>,
    accepted: Now,
    done: ReplayCallback,
) {
    match durable::accept_as_of(core, entry, deliveries, accepted) {
        Ok(sequence) => {
            if let Some(journal) = &mut core.journal {
                journal.replays.push_back((sequence, done));
            }
        }
        Err(Refused::TooLarge) => done(Err(NotReplayed::Gone)),
        Err(Refused::Full | Refused::Down | Refused::Busy) => done(Err(NotReplayed::Busy)),
    }
}

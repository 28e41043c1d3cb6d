//! Dead letters that are delivered again: each is accepted as an event with one delivery, like one that has just arrived, and
//! its keeper drops it once that is durable. A crash between the two delivers it twice and loses nothing.

use super::attempt::{NotReplayed, ReplayCallback};
use super::context::CoreState;
use super::durable;
use super::fanout;
use super::flows;
use super::journal_state::PendingDelivery;
use crate::deliver::entry::StoredEntry;
use crate::journal::Refused;

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
    match durable::accept(core, entry, vec![PendingDelivery::Spill(backlog)], None, false) {
        Ok(sequence) => {
            if let Some(journal) = &mut core.journal {
                journal.replays.push_back((sequence, done));
            }
        }
        Err(Refused::TooLarge) => done(Err(NotReplayed::Gone)),
        Err(Refused::Full | Refused::Down | Refused::Busy) => done(Err(NotReplayed::Busy)),
    }
}

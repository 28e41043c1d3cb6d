//! The journal of a core that another machine keeps: its batches go to a carrier, and their fates come back.

use std::sync::Arc;

use super::gauging::JournalGauging;
use super::parts::BatchCarrier;
use crate::base::clock::NANOS_PER_SECOND;
use crate::connection::context::{CoreState, Timer};
use crate::connection::event_journal::ReadFrom;
use crate::connection::message::ConnectionId;
use crate::connection::{durable, receipts, spill};
use crate::io::Waker;
use crate::journal::RemoteJournal;

/// Interval at which it is checked whether there is room for what is open and not offered.
const SPILL_NANOS: u64 = NANOS_PER_SECOND / 100;
/// Flows that are served at once: one that has less room than it seems to is served again and again.
const SPILL_ROUNDS_MAX: usize = 64;

/// The batches of a core.
pub(super) struct JournalBatches {
    carrier: Arc<dyn BatchCarrier>,
    waker: Waker,
    /// When the batch under way was handed over.
    since: u64,
    is_spill_timed: bool,
    timer_at: Option<u64>,
    gauges: JournalGauging,
}

impl JournalBatches {
    pub(super) fn new(carrier: Arc<dyn BatchCarrier>, waker: Waker) -> JournalBatches {
        let gauges = JournalGauging::default();
        JournalBatches { carrier, waker, since: 0, is_spill_timed: false, timer_at: None, gauges }
    }

    pub(super) fn into_carrier(self) -> Arc<dyn BatchCarrier> {
        self.carrier
    }

    /// Ends a turn: hands over what waits.
    pub(super) fn advance(&mut self, core: &mut CoreState) {
        receipts::send(core);
        let (number, now) = (core.number(), core.now().nanos);
        let Some(journal) = batches(core) else { return };
        if let Some(batch) = journal.next_batch(now) {
            self.since = now;
            self.carrier.carry(number, batch, &self.waker);
        }
        if let Some(deadline) = batches(core).and_then(|journal| journal.deadline())
            && self.timer_at.is_none_or(|at| deadline < at)
        {
            self.timer_at = Some(deadline);
            core.set_timer(deadline, Timer::Journal);
        }
        if !self.is_spill_timed && spill::is_waiting(core) {
            self.is_spill_timed = true;
            core.set_timer(now + SPILL_NANOS, Timer::Spill);
        }
        self.gauges.tell_if_due(core);
    }

    /// Takes the fates of batches. Connections whose answers may leave are appended to `released`.
    pub(super) fn take_fates(&mut self, core: &mut CoreState, released: &mut Vec<ConnectionId>) {
        let (number, now) = (core.number(), core.now().nanos);
        while let Some((batch, fate)) = self.carrier.fate(number) {
            core.metrics.journal.wrote(now.saturating_sub(self.since));
            if let Some(journal) = batches(core) {
                journal.on_fate(batch, fate, now);
            }
            durable::on_written(core, released);
            self.gauges.tell(core);
        }
    }

    /// The timer of the journal has fired: callers may have waited for too long.
    pub(super) fn on_timer(&mut self, core: &mut CoreState, released: &mut Vec<ConnectionId>) {
        self.timer_at = None;
        let now = core.now().nanos;
        let Some(journal) = batches(core) else { return };
        let was_up = journal.is_up();
        journal.on_time(now);
        if was_up && !journal.is_up() {
            durable::on_written(core, released);
        }
        // There may be room again.
        self.gauges.tell(core);
    }

    /// Offers what is open and was not offered, as far as there is room.
    pub(super) fn on_spill_timer(&mut self, core: &mut CoreState) {
        self.is_spill_timed = false;
        for _ in 0..SPILL_ROUNDS_MAX {
            let Some(wanted) = spill::next(core) else { return };
            spill::on_read(core, wanted, ReadFrom::Memory);
            if core.is_turn_over() {
                return;
            }
        }
    }
}

/// The journal as batches.
fn batches(core: &mut CoreState) -> Option<&mut RemoteJournal> {
    core.journal.as_mut().and_then(|journal| journal.journal.remote())
}

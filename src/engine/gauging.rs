//! The reports of a core about its journal: gauges, whether it takes entries, and lines of the log.

use crate::base::clock::NANOS_PER_SECOND;
use crate::base::log::bounded_log;
use crate::connection::context::CoreState;
use crate::journal::RESERVED_SEGMENTS;
use crate::metrics::JournalGauges;

/// Interval at which the gauges of the journal are brought up to date.
const GAUGES_NANOS: u64 = NANOS_PER_SECOND / 10;

/// State of what is told.
pub(super) struct JournalGauging {
    due_at: u64,
    /// Whether the journal was up when it was looked at last.
    was_up: bool,
}

impl Default for JournalGauging {
    fn default() -> JournalGauging {
        JournalGauging { due_at: 0, was_up: true }
    }
}

impl JournalGauging {
    /// Brings the gauges up to date if it is time.
    pub(super) fn tell_if_due(&mut self, core: &mut CoreState) {
        if self.due_at <= core.now().nanos {
            self.tell(core);
        }
    }

    /// Brings the gauges up to date.
    pub(super) fn tell(&mut self, core: &mut CoreState) {
        let now = core.now().nanos;
        self.due_at = now + GAUGES_NANOS;
        let Some(journal) = &mut core.journal else { return };
        let stats = journal.journal.stats(now);
        if journal.is_refusing && journal.journal.is_up() && stats.spare_segments > RESERVED_SEGMENTS {
            journal.is_refusing = false;
        }
        let is_down = journal.is_refusing || !journal.journal.is_up();
        core.metrics.journal.set(JournalGauges {
            segment_bytes: stats.segment_bytes,
            open_bytes: stats.open_bytes,
            open_entries: stats.open_entries as u64,
            oldest_unix_millis: stats.oldest_unix_millis.unwrap_or(0),
            written_records: stats.written_records,
            written_bytes: stats.written_bytes,
            failed_writes: stats.failed_writes,
            down: u64::from(is_down),
        });
        self.tell_state(core);
    }

    /// Tells the process and the log when the journal goes down and comes up.
    fn tell_state(&mut self, core: &mut CoreState) {
        let Some(journal) = &core.journal else { return };
        let is_up = journal.journal.is_up() && !journal.is_refusing;
        if std::mem::replace(&mut self.was_up, is_up) == is_up {
            return;
        }
        core.note_journal(is_up);
        if is_up {
            bounded_log!(info, core = core.index, "the journal can be written again");
        } else {
            bounded_log!(
                error,
                core = core.index,
                "the journal is full or cannot be written: triggers are answered with 503 until it can"
            );
        }
    }
}

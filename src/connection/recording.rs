//! A core records its calls: the fates of deliveries, the times of steps, the batch.

use super::context::{CoreState, Timer};
use super::present::Present;
use crate::record::{CallRecord, HAND_OVER_NANOS, NewFate, OpenRecord};

impl CoreState {
    /// Hands over what was recorded, or has a timer do it.
    pub(super) fn end_records(&mut self) {
        if self.records.is_full() {
            self.records.hand_over();
        } else if self.records.wants_timer() {
            self.set_timer(self.now().nanos + HAND_OVER_NANOS, Timer::Records);
        }
    }

    /// Notes what became of a call, if it has a record.
    pub(crate) fn note_fate(&mut self, of: Option<CallRecord>, fate: &NewFate<'_>) {
        if let Some(of) = of {
            let now = self.now();
            self.records.fate(of, fate, now);
        }
    }

    /// Notes that the flows of the present call have run.
    pub(crate) fn note_flows_ran(&mut self) {
        if let Present::Open(open) = self.present {
            self.present = Present::Open(OpenRecord { ran_nanos: self.exact_nanos(), ..open });
        }
    }

    /// Reads the clock, for a call that is recorded.
    pub(crate) fn exact_nanos(&self) -> u64 {
        self.read_clock().nanos
    }
}

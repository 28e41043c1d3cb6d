//! The end of a core: first the requests in flight, then the webhooks' WebSockets, whose disconnects are triggers
//! still, then the workers, who get what is left ([operations](crate::guide::operations)). The cores go through it
//! together, since each may have what another's request waits for.

use std::sync::atomic::Ordering;

use crate::base::clock::NANOS_PER_SECOND;
use crate::connection::context::{CoreState, SharedCounts};
use crate::connection::flows;

/// How long what is in flight may take ([limits and refusals](crate::guide::limits_and_refusals#limits)).
const DRAIN_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// How long the peers of closed WebSockets get beyond that to answer.
const CLOSE_NANOS: u64 = 5 * NANOS_PER_SECOND;
/// How long the journal gets at the end: more than a write takes, and enough for one more attempt if it is down.
const SETTLE_NANOS: u64 = 3 * NANOS_PER_SECOND;
/// Interval at which a draining core checks whether it is done.
pub(super) const CHECK_NANOS: u64 = NANOS_PER_SECOND / 100;

/// The phase of a draining core, named by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrainStage {
    Requests,
    WebSockets,
    Triggers,
    Workers,
}

/// Work of a draining core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    CloseWebSockets,
    CloseWorkers,
    Finish,
}

/// A drain that is under way.
#[derive(Debug)]
pub(super) struct Drain {
    stage: DrainStage,
    ends: u64,
    /// When the journal is waited for no longer, once all else is done.
    settles: Option<u64>,
}

impl Drain {
    /// A drain that begins at `now`.
    pub(super) fn begin(now: u64) -> Drain {
        Drain { stage: DrainStage::Requests, ends: now + DRAIN_NANOS, settles: None }
    }

    /// Checks how far the cores are; one step. `is_settled` says whether nothing of the journal is under way.
    pub(super) fn check(&mut self, core: &CoreState, is_settled: bool) -> Step {
        let now = core.now().nanos;
        let (unacked, has_worker) = flows::open(core);
        let step = self.advance(now, &core.counts, unacked > 0 && has_worker);
        if step == Step::Finish && !is_settled && now < *self.settles.get_or_insert(now + SETTLE_NANOS) {
            return Step::Wait;
        }
        if step == Step::CloseWorkers && unacked > 0 && core.journal.is_none() {
            tracing::warn!(
                core = core.index,
                triggers = unacked,
                "triggers that were not delivered are lost: journal.durability is memory"
            );
        }
        step
    }

    fn advance(&mut self, now: u64, counts: &SharedCounts, has_triggers: bool) -> Step {
        let connections = counts.connections.load(Ordering::Relaxed);
        let websockets = counts.websockets.load(Ordering::Relaxed);
        let workers = counts.workers.load(Ordering::Relaxed);
        match self.stage {
            DrainStage::Requests if connections > websockets + workers && now < self.ends => Step::Wait,
            DrainStage::Requests => {
                self.stage = DrainStage::WebSockets;
                Step::CloseWebSockets
            }
            DrainStage::WebSockets if websockets > 0 && now < self.ends + CLOSE_NANOS => Step::Wait,
            DrainStage::WebSockets => {
                self.stage = DrainStage::Triggers;
                Step::Wait
            }
            DrainStage::Triggers if has_triggers && now < self.ends => Step::Wait,
            DrainStage::Triggers => {
                self.stage = DrainStage::Workers;
                Step::CloseWorkers
            }
            DrainStage::Workers if workers > 0 && now < self.ends + CLOSE_NANOS => Step::Wait,
            DrainStage::Workers => Step::Finish,
        }
    }
}

/// Logs how many connections are cut off at the end.
pub(super) fn log_left(core: usize, connections: usize) {
    if connections > 0 {
        tracing::warn!(core, connections, "not all that was in flight ended in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(connections: usize, websockets: usize, workers: usize) -> SharedCounts {
        SharedCounts {
            connections: connections.into(),
            websockets: websockets.into(),
            workers: workers.into(),
            journals_down: 0.into(),
            is_ending: false.into(),
        }
    }

    #[test]
    fn requests_come_first_then_websockets_then_triggers_then_workers() {
        let mut drain = Drain::begin(0);
        assert_eq!(drain.advance(0, &counts(3, 1, 1), true), Step::Wait);
        assert_eq!(drain.advance(0, &counts(2, 1, 1), true), Step::CloseWebSockets);
        assert_eq!(drain.advance(0, &counts(2, 1, 1), true), Step::Wait);
        assert_eq!(drain.advance(0, &counts(1, 0, 1), true), Step::Wait);
        assert_eq!(drain.advance(0, &counts(1, 0, 1), true), Step::Wait);
        assert_eq!(drain.advance(0, &counts(1, 0, 1), false), Step::CloseWorkers);
        assert_eq!(drain.advance(0, &counts(1, 0, 1), false), Step::Wait);
        assert_eq!(drain.advance(0, &counts(0, 0, 0), false), Step::Finish);
    }

    #[test]
    fn each_stage_ends_by_time() {
        let mut drain = Drain::begin(0);
        let stuck = counts(3, 1, 1);
        assert_eq!(drain.advance(DRAIN_NANOS - 1, &stuck, true), Step::Wait);
        assert_eq!(drain.advance(DRAIN_NANOS, &stuck, true), Step::CloseWebSockets);
        assert_eq!(drain.advance(DRAIN_NANOS + CLOSE_NANOS - 1, &stuck, true), Step::Wait);
        assert_eq!(drain.advance(DRAIN_NANOS + CLOSE_NANOS, &stuck, true), Step::Wait);
        assert_eq!(drain.advance(DRAIN_NANOS + CLOSE_NANOS, &stuck, true), Step::CloseWorkers);
        assert_eq!(drain.advance(DRAIN_NANOS + CLOSE_NANOS, &stuck, true), Step::Finish);
    }
}

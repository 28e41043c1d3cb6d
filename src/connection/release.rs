//! The output of a connection whose answers wait for the journal: what may be sent of it, and what becomes of it when the
//! journal cannot be written.

use std::ops::Range;

use super::answer::refuse_into;
use super::close::Linger;
use super::context::CoreState;
use super::durable::JOURNAL_DOWN;
use super::gate::{Aside, Gate};
use super::machine::{Connection, Phase};
use super::message::Inside;
use crate::ingress::respond::Answer;
use crate::journal::Sequence;

impl Connection {
    /// Returns the state of a connection that was made inside the process.
    pub(super) fn aside(inside: Option<Inside>) -> Option<Box<Aside>> {
        inside.map(|inside| Box::new(Aside { inside: Some(inside), ..Aside::default() }))
    }

    /// Whether the first of the output waits for the journal.
    pub(super) fn is_gated(&self) -> bool {
        let first = self.aside.as_ref().and_then(|aside| aside.gates.queue.front());
        first.is_some_and(|gate| gate.start == 0)
    }

    /// Takes over the answers of the last call that wait.
    pub(super) fn take_gates(&mut self, core: &mut CoreState) {
        let CoreState { gates, journal, .. } = core;
        if let Some(journal) = journal {
            journal.gated.extend(gates.iter().map(|gate| (gate.sequence, self.id)));
        }
        self.aside.get_or_insert_default().gates.queue.extend(gates.drain(..));
    }

    /// Frees what a quiet connection does not need.
    pub(super) fn release_aside(&mut self) {
        if self.aside.as_ref().is_some_and(|aside| aside.inside.is_none() && aside.gates.queue.is_empty()) {
            self.aside = None;
        }
    }

    /// Takes the output that may be sent.
    pub(super) fn take_released(&mut self, core: &mut CoreState) -> Vec<u8> {
        let Some(aside) = &mut self.aside else { return std::mem::take(&mut self.out) };
        let (now, durable) = (core.now().nanos, core.durable());
        let metrics = &core.metrics;
        let released = aside.gates.open(durable, self.out.len(), |gate| {
            if let Some(since) = gate.since {
                metrics.latency(now.saturating_sub(since));
            }
        });
        if released == self.out.len() {
            return std::mem::take(&mut self.out);
        }
        if released == 0 {
            return Vec::new();
        }
        aside.gates.advance(released);
        let rest = self.out.split_off(released);
        std::mem::replace(&mut self.out, rest)
    }

    /// Entries of the journal were not written and never will be: the first answer that waits for one of them becomes a
    /// refusal, and the connection ends with it.
    pub(crate) fn on_not_written(&mut self, core: &mut CoreState, failed: &Range<Sequence>) {
        let Some(start) = self.aside.as_mut().and_then(|aside| aside.gates.fail(failed)) else { return };
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.out.truncate(start);
        refuse_into(core, &mut self.out, &Answer::Busy(JOURNAL_DOWN), b"");
        self.end_machine(core, Phase::Lingering(Box::new(Linger::HTTP)));
    }
}

impl CoreState {
    /// The newest entry that is durable; without a journal nothing waits for one.
    pub(crate) fn durable(&self) -> Sequence {
        self.journal.as_ref().map_or(Sequence::from_raw(u64::MAX), |journal| journal.journal.durable())
    }

    /// Has the answer that was just written from `start` on wait for the entry of its event, if there is one.
    pub(crate) fn gate_answer(&mut self, start: usize) {
        if let Some(sequence) = self.awaited.take() {
            self.gates.push(Gate { sequence, start, since: Some(self.now().nanos) });
        }
    }

    /// Has the reply that was just written from `start` on, after a wait that is counted, wait for its call's key, if it has
    /// one.
    pub(crate) fn gate_reply(&mut self, start: usize) {
        if let Some(sequence) = self.awaited.take() {
            self.gates.push(Gate { sequence, start, since: None });
        }
    }
}

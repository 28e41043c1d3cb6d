//! A turn of a core: wait, completions, due timers, output, in this order, until the core is done.
//!
//! The clock is read once a turn, unless work of unknown length was done since, and the registry is pinned once. A turn is
//! bounded in completions by the kernel, in the bytes of a connection by what it gathers before it sends, and in time:
//! what does not fit into it has the next one, after the output of this one has been started. Connections with more to do
//! than one turn allows come last, and at least one of them each turn: a call that has just arrived does not stand behind
//! all that others have pipelined.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::core::Core;
use crate::connection::context::Timer;
use crate::connection::durable;
use crate::io::{Completion, Io};
use crate::registry::Registry;

/// Runs a core until it has drained.
///
/// # Errors
/// If its kernel no longer serves.
pub(super) fn run<I: Io>(core: &mut Core<I>) -> io::Result<()> {
    // Once: its count is shared by all cores.
    let registry = Arc::clone(&core.state.registry);
    let mut turns = Turns::default();
    while !core.is_finished {
        turns.run_one(core, &registry)?;
    }
    Ok(())
}

/// Work that is left over from turns whose time was over.
#[derive(Default)]
pub(super) struct Turns {
    received: Vec<Completion>,
    completions: VecDeque<Completion>,
    due: Vec<Timer>,
    timers: VecDeque<Timer>,
}

impl Turns {
    /// Whether the next turn begins at once, with work that is left over.
    pub(super) fn is_behind<I: Io>(&self, core: &Core<I>) -> bool {
        !self.completions.is_empty()
            || !self.timers.is_empty()
            || !core.state.continued.is_empty()
            || core.has_rounds()
            || durable::has_durable(&core.state)
    }

    /// Runs one turn. `registry` is the core's own.
    ///
    /// # Errors
    /// As [`run`].
    pub(super) fn run_one<I: Io>(&mut self, core: &mut Core<I>, registry: &Registry) -> io::Result<()> {
        let now = core.state.now().nanos;
        let until = if self.is_behind(core) { Some(now) } else { core.state.wheel.next_deadline() };
        core.io.wait(now, until, &mut self.received)?;
        self.completions.extend(self.received.drain(..));
        core.state.begin_turn();
        let pin = registry.pin();
        core.continue_rounds(&pin);
        core.offer_durable(&pin);
        while !core.state.is_turn_over()
            && let Some(completion) = self.completions.pop_front()
        {
            core.on_completion(&pin, completion);
            let _ = core.state.step(true);
        }
        core.state.wheel.advance(core.state.now().nanos, &mut self.due);
        self.timers.extend(self.due.drain(..));
        while !core.state.is_turn_over()
            && let Some(timer) = self.timers.pop_front()
        {
            let is_short = timer.is_of_one();
            core.on_timer(&pin, timer);
            let _ = core.state.step(is_short);
        }
        core.on_continued(&pin);
        core.state.end_turn();
        core.advance_journal();
        core.flush();
        Ok(())
    }
}

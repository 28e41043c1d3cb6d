//! A core: its kernel, its connections, and the state that it lends to them. What it does with a completion, a message, a
//! timer; [`turn`](super::turn) says when.

mod messages;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use super::drain::{self, CHECK_NANOS, Drain, Step};
use super::heap;
use super::keeper::{self, Keeper};
use super::mailbox::Receiver;
use super::message::Message;
use super::parts::JournalParts;
use super::search::Searches;
use super::table::Table;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::log::bounded_log;
use crate::base::slots::Round;
use crate::connection::Connection;
use crate::connection::context::{CoreContext, CoreState, Timer};
use crate::connection::fanout;
use crate::connection::flows;
use crate::connection::forwards;
use crate::connection::message::{ConnectionId, ConnectionMessage, Inside};
use crate::connection::timeouts::NEVER;
use crate::connection::upgrade::ListenerKind;
use crate::connection::{durable, guests, receipts};
use crate::ingress::socket::Closing;
use crate::io::{Completion, Io, ListenerId, Operation};
use crate::metrics::Event;
use crate::registry::Pin;

/// Pause after accepting failed for want of descriptors or memory: the connections wait in the kernel meanwhile.
const ACCEPT_PAUSE_NANOS: u64 = NANOS_PER_SECOND / 10;
/// Messages between connections that take a negligible time together.
const POSTED_SHORT: usize = 16;
/// Connections over the limit that get the time to read why, on each core; more are told and cut.
const REFUSED_MAX: usize = 256;
/// After this many buffers were given back to the allocator, its memory goes back to the system, this much later.
const FREED_MIN: usize = 64;
const RETURN_MEMORY_NANOS: u64 = 2 * NANOS_PER_SECOND;

/// Counts of what a core holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub connections: usize,
    /// Slots of callers that wait for a reply or take messages.
    pub reply_slots: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Bytes that bodies hold beyond their first buffers.
    pub body_bytes: usize,
    /// Triggers that are not delivered.
    pub unacked_triggers: usize,
}

/// One engine thread's world.
pub(super) struct Core<I: Io> {
    pub(super) io: I,
    pub(super) state: CoreState,
    connections: Table,
    /// Connections with something to be flushed at the end of the turn.
    flushed: Vec<ConnectionId>,
    receiver: Receiver<Message<I::Stream>>,
    listeners: Vec<(ListenerId, ListenerKind)>,
    journal: Option<Keeper<I::File>>,
    /// Connections whose answers have become durable.
    released: Vec<ConnectionId>,
    drain: Option<Drain>,
    /// Brings changes of the model to the WebSockets.
    changes: Round,
    /// Brings the end of the process to the WebSockets.
    restarts: Round,
    searches: Searches,
    refused: usize,
    returns_memory: bool,
    pub(super) is_finished: bool,
}

impl<I: Io> Core<I> {
    /// A core that accepts on its listeners.
    ///
    /// # Errors
    /// If the kernel refuses a listener.
    pub(super) fn new(
        mut io: I,
        mut state: CoreState,
        receiver: Receiver<Message<I::Stream>>,
        listeners: Vec<(I::Listener, ListenerKind)>,
        journal: Option<JournalParts<I::File>>,
    ) -> io::Result<Core<I>> {
        let journal = journal.map(|parts| {
            state.journal = Some(parts.journal);
            Keeper::new(&mut io, parts.keeper)
        });
        let mut added = Vec::new();
        for (listener, kind) in listeners {
            let id = io.add_listener(listener)?;
            io.start(Operation::Accept { listener: id });
            added.push((id, kind));
        }
        receiver.set_waker(io.waker());
        Ok(Core {
            io,
            state,
            connections: Table::default(),
            flushed: Vec::new(),
            receiver,
            listeners: added,
            journal,
            released: Vec::new(),
            drain: None,
            changes: Round::default(),
            restarts: Round::default(),
            searches: Searches::default(),
            refused: 0,
            returns_memory: false,
            is_finished: false,
        })
    }

    /// Takes a completion.
    pub(super) fn on_completion(&mut self, pin: &Pin<'_>, completion: Completion) {
        match completion {
            Completion::Received { socket, lease } => {
                self.with(pin, socket, |connection, context| connection.on_received(context, lease));
            }
            Completion::Sent { socket, bytes } => {
                self.with(pin, socket, |connection, context| connection.on_sent(context, bytes));
            }
            Completion::SendProgressed { socket } => {
                self.with(pin, socket, |connection, context| connection.on_progress(context));
            }
            Completion::SendFailed { socket, bytes } => {
                self.with(pin, socket, |connection, context| connection.on_send_failed(context, bytes));
            }
            Completion::Ended { socket, end } => {
                self.with(pin, socket, |connection, context| connection.on_ended(context, end));
            }
            Completion::Closed { socket } => self.on_closed(socket),
            Completion::Accepted { listener, socket, peer } => {
                let kind = self.listeners.iter().find(|(id, _)| *id == listener).map(|(_, kind)| *kind);
                self.accept(socket, kind.unwrap_or(ListenerKind::Ingress), peer, None);
            }
            Completion::AcceptFailed { listener, error } => self.on_accept_failed(listener, &error),
            Completion::AcceptStopped { .. } => {}
            Completion::Woken => self.on_woken(pin),
            Completion::Written { transfer, result } => {
                if let Some(journal) = &mut self.journal {
                    journal.on_written(&mut self.state, *transfer, result, &mut self.released);
                }
                self.list_released();
            }
            Completion::ReadDone { transfer, result } => {
                if let Some(journal) = &mut self.journal {
                    journal.on_read(&mut self.state, *transfer, result);
                }
            }
        }
        self.deliver_posted(pin);
    }

    /// Calls a connection, so that a panic in it costs that connection only; then lists it to be flushed.
    fn with(
        &mut self,
        pin: &Pin<'_>,
        id: ConnectionId,
        call: impl FnOnce(&mut Connection, &mut CoreContext<'_>),
    ) {
        let Some(connection) = self.connections.get_mut(id, &self.state.wheel) else { return };
        let mut context = CoreContext { core: &mut self.state, pin };
        // What a connection shares with others is consistent between any two calls.
        if catch_unwind(AssertUnwindSafe(|| call(connection, &mut context))).is_err() {
            self.state.metrics.event(Event::Panic);
            bounded_log!(error, "a connection panicked and was ended; the others continue");
            let state = &mut self.state;
            // A machine that panics again is dropped as it is.
            let _ = catch_unwind(AssertUnwindSafe(|| connection.abandon(state)));
        }
        if !std::mem::replace(&mut connection.is_listed, true) {
            self.flushed.push(id);
        }
    }

    /// Delivers the messages that connections have left for each other, and runs the nodes behind what is delivered.
    fn deliver_posted(&mut self, pin: &Pin<'_>) {
        let mut delivered = 0;
        loop {
            delivered += 1;
            if delivered > POSTED_SHORT {
                self.state.worked();
            }
            if !self.state.finished.is_empty() {
                fanout::run_finished(&mut self.state);
            }
            let Some((id, message)) = self.state.posted.pop_front() else { return };
            if self.connections.has(id) {
                self.with(pin, id, |connection, context| connection.on_message(context, message));
            } else {
                self.state.refuse_message(message);
            }
        }
    }

    fn accept(
        &mut self,
        socket: ConnectionId,
        listener: ListenerKind,
        peer: Option<std::net::IpAddr>,
        inside: Option<Inside>,
    ) {
        let state = &mut self.state;
        let counts = &state.counts;
        let connection = if inside.is_none()
            && counts.connections.fetch_add(1, Ordering::Relaxed) >= state.rules.connections
        {
            counts.connections.fetch_sub(1, Ordering::Relaxed);
            self.refused += 1;
            let mut refused = Connection::refused(state, socket, listener);
            if self.refused > REFUSED_MAX {
                refused.cut_after_output();
            }
            refused
        } else {
            Connection::new(state, socket, listener, peer, inside)
        };
        self.connections.insert(socket, connection);
        self.list(socket);
    }

    fn list(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id, &self.state.wheel)
            && !std::mem::replace(&mut connection.is_listed, true)
        {
            self.flushed.push(id);
        }
    }

    fn on_closed(&mut self, socket: ConnectionId) {
        let Some(mut connection) = self.connections.remove(socket, &self.state.wheel) else { return };
        if let Some(timer) = connection.alarm.timer.take() {
            self.state.wheel.cancel(timer);
        }
        self.refused -= usize::from(connection.is_refused());
        connection.abandon(&mut self.state);
        connection.uncount(&mut self.state);
    }

    fn on_accept_failed(&mut self, listener: ListenerId, error: &io::Error) {
        self.state.metrics.event(Event::AcceptError);
        bounded_log!(error, %error, "no connection can be accepted for now: raise the limit of open files (ulimit -n)");
        self.state.set_timer(self.state.now().nanos + ACCEPT_PAUSE_NANOS, Timer::Accept(listener));
    }

    /// Stops accepting and ends the connections between two requests; what is in flight continues.
    fn begin_drain(&mut self, _pin: &Pin<'_>) {
        if self.drain.is_some() {
            return;
        }
        self.state.is_draining = true;
        for (listener, _) in &self.listeners {
            self.io.start(Operation::StopAccepting { listener: *listener });
        }
        for id in self.connections.ids() {
            self.state.post(id, ConnectionMessage::Drain);
        }
        let now = self.state.now().nanos;
        self.drain = Some(Drain::begin(now));
        self.state.set_timer(now + CHECK_NANOS, Timer::Drain);
    }

    fn continue_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let is_settled = keeper::is_settled(&self.state);
        match drain.check(&self.state, is_settled) {
            Step::Wait => {}
            Step::CloseWebSockets => {
                self.restarts.begin(self.state.pending.places());
            }
            Step::CloseWorkers => {
                self.post_to_workers(|| ConnectionMessage::CloseWorker(Closing::Restart));
            }
            Step::Finish => {
                drain::log_left(self.state.index, self.connections.len());
                self.state.records.end();
                self.is_finished = true;
                return;
            }
        }
        self.state.set_timer(self.state.now().nanos + CHECK_NANOS, Timer::Drain);
    }

    /// Does what a timer was set for.
    pub(super) fn on_timer(&mut self, pin: &Pin<'_>, timer: Timer) {
        match timer {
            Timer::Connection(id) => self.on_alarm(pin, id),
            Timer::Ack(flow, flight) => flows::on_ack_overdue(&mut self.state, flow, flight),
            Timer::Sweep(flow) => flows::sweep(&mut self.state, flow),
            Timer::Lending(flow) => guests::on_time(&mut self.state, flow),
            Timer::Targets => forwards::on_time(&mut self.state),
            Timer::Attempt(delivery) => forwards::on_attempt_lost(&mut self.state, delivery),
            Timer::Letter(key) => forwards::offer_letter(&mut self.state, key),
            Timer::Redeliver => flows::redeliver(&mut self.state),
            Timer::Receipts => receipts::on_timer(&mut self.state),
            Timer::Refused => durable::retry(&mut self.state),
            Timer::Journal => {
                if let Some(journal) = &mut self.journal {
                    journal.on_timer(&mut self.state, &mut self.released);
                    self.list_released();
                }
            }
            Timer::Spill => {
                if let Some(journal) = &mut self.journal {
                    journal.on_spill_timer(&mut self.state);
                }
            }
            Timer::Records => {
                let now = self.state.now();
                self.state.records.on_timer(now);
            }
            Timer::Accept(listener) if !self.state.is_draining => {
                self.io.start(Operation::Accept { listener });
            }
            Timer::Accept(_) => {}
            Timer::Drain => self.continue_drain(),
            Timer::ReturnMemory => {
                self.returns_memory = false;
                self.state.buffers.clear();
                heap::return_memory();
            }
        }
        self.deliver_posted(pin);
    }

    fn on_alarm(&mut self, pin: &Pin<'_>, id: ConnectionId) {
        let now = self.state.now().nanos;
        let Some(connection) = self.connections.get_mut(id, &self.state.wheel) else { return };
        (connection.alarm.armed, connection.alarm.timer) = (NEVER, None);
        if connection.is_listed {
            // What was received in this turn may have ended what the timer was set for.
            connection.set_deadline(&self.state, now);
        }
        if connection.deadline() <= now {
            self.with(pin, id, |connection, context| connection.on_deadline(context));
        } else {
            arm(&mut self.state, connection, id);
        }
    }

    /// Offers what has become durable and was left over from the last turn.
    pub(super) fn offer_durable(&mut self, pin: &Pin<'_>) {
        if durable::has_durable(&self.state) {
            durable::offer_durable(&mut self.state);
            self.deliver_posted(pin);
        }
    }

    /// Starts what the journal wants done.
    pub(super) fn advance_journal(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.advance(&mut self.io, &mut self.state);
        }
    }

    /// Has the output of connections flushed whose answers may leave.
    fn list_released(&mut self) {
        for id in std::mem::take(&mut self.released) {
            self.list(id);
        }
    }

    /// Starts what the connections of this turn want done, all of it at once.
    pub(super) fn flush(&mut self) {
        let Core { io, state, connections, flushed, .. } = self;
        let mut listed = std::mem::take(flushed);
        for id in listed.drain(..) {
            let Some(connection) = connections.get_mut(id, &state.wheel) else { continue };
            connection.is_listed = false;
            connection.flush(state, &mut |operation| io.start(operation));
            arm(state, connection, id);
            if connection.is_quiet() && connections.shrink(id) {
                state.buffers.note_freed();
            }
        }
        self.flushed = listed;
        if self.state.buffers.freed() >= FREED_MIN && !std::mem::replace(&mut self.returns_memory, true) {
            let at = self.state.now().nanos + RETURN_MEMORY_NANOS;
            self.state.set_timer(at, Timer::ReturnMemory);
        }
    }

    /// Continues with connections that have more to do: one, and as many others as the turn has time for. Those that have
    /// more to do after that have their next turn behind the others.
    pub(super) fn on_continued(&mut self, pin: &Pin<'_>) {
        for _ in 0..self.state.continued.len() {
            let Some(id) = self.state.continued.pop_front() else { return };
            self.with(pin, id, |connection, context| connection.on_continue(context));
            self.deliver_posted(pin);
            if self.state.is_turn_over() {
                return;
            }
        }
    }

    /// Counts what the core holds.
    pub(super) fn holdings(&self) -> Holdings {
        Holdings {
            connections: self.connections.len(),
            reply_slots: self.state.pending.len(),
            timers: self.state.wheel.len(),
            body_bytes: self.state.buffers.body_bytes(),
            unacked_triggers: flows::open(&self.state).0,
        }
    }

    /// Takes the journal of a core that has ended by a panic, for the core that replaces it.
    pub(super) fn take_journal(&mut self) -> Option<JournalParts<I::File>> {
        let parts = self.journal.take()?.into_parts(&mut self.state)?;
        // The room of what was lost; without a journal here no receipt is returned.
        flows::clear_all(&mut self.state);
        Some(parts)
    }

    /// Ends all that is left, so that every session's end is told and every count is right. The core ends.
    pub(super) fn abandon(&mut self) {
        self.state.begin_turn();
        for id in self.connections.ids() {
            let Some(mut connection) = self.connections.remove(id, &self.state.wheel) else { continue };
            let state = &mut self.state;
            let _ = catch_unwind(AssertUnwindSafe(|| connection.abandon(state)));
            connection.uncount(state);
        }
        self.state.records.end();
    }
}

/// Moves a connection's entry on the wheel to its deadline. A later deadline costs nothing: the entry fires too early and
/// is set again.
fn arm(state: &mut CoreState, connection: &mut Connection, id: ConnectionId) {
    let deadline = connection.deadline();
    let alarm = &mut connection.alarm;
    if deadline >= alarm.armed {
        return;
    }
    if let Some(timer) = alarm.timer.take() {
        state.wheel.cancel(timer);
    }
    alarm.armed = deadline;
    alarm.timer = Some(state.wheel.insert(deadline, Timer::Connection(id)));
}

//! One connection: its state, and what it does with each event.

mod received;

use std::net::IpAddr;

use super::answer::refuse_into;
use super::close::Linger;
use super::context::{CoreContext, CoreState};
use super::gate::Aside;
use super::http::{GATHER_BYTES, HttpMachine, Next, WaitingRequest};
use super::message::{ConnectionId, ConnectionMessage, Inside};
use super::preamble::{ALERT_INTERNAL_ERROR, Preamble};
use super::session::WebSocketSession;
use super::timeouts::{NEVER, Span, Timeout};
use super::tls::Tls;
use super::upgrade::{ListenerKind, RequestOrigin};
use super::websocket::Expired;
use super::worker::WorkerSession;
use crate::base::id::Id;
use crate::base::wheel::TimerId;
use crate::ingress::respond::Answer;
use crate::io::CloseHow;
use crate::limit::KeyOutcome;
use crate::metrics::{ConnectionKind, Outcome};
use crate::verify::alexa::FetchError;

/// Answer to a connection over the limit.
const TOO_MANY: Answer<'static> = Answer::Busy("Too many connections to this server at once");
/// Answer to a request that does not arrive in time.
const TOO_SLOW: Answer<'static> =
    Answer::Refused(Outcome::SlowRequest, 408, "The request took too long to arrive");

/// State of a connection.
pub(super) enum Phase {
    /// A PROXY header or a TLS handshake is being received.
    Preamble(Box<Preamble>),
    /// Nothing of a request has been received for a moment.
    Idle,
    /// HTTP, with a request a moment ago.
    Http(Box<HttpMachine>),
    /// A request has been waiting for its reply for a moment.
    Waiting(Box<WaitingRequest>),
    WebSocket(Box<WebSocketSession>),
    Worker(Box<WorkerSession>),
    /// The answer to a wrong access token is held back until the deadline.
    Delayed,
    /// The output is sent, the write side shut down, and what the peer still sends is dropped.
    Lingering(Box<Linger>),
    /// The output is sent, then the socket is closed.
    Ending,
    /// The socket is closed.
    Closed(CloseHow),
}

/// How bytes are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    Armed,
    /// With the least kernel memory.
    Resting,
    Stopped,
    /// Nothing more is received.
    Ended,
}

/// The kind that a connection is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Preamble,
    Http,
    WebSocket,
    Worker,
    /// Over the limit: counted nowhere.
    Refused,
}

/// The entry of a connection on its core's wheel: kept by the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alarm {
    /// When the entry fires; [`NEVER`] without one.
    pub(crate) armed: u64,
    pub(crate) timer: Option<TimerId>,
}

/// One connection.
pub(crate) struct Connection {
    pub(super) phase: Phase,
    /// Output that no send has been started for, as plaintext.
    pub(super) out: Vec<u8>,
    pub(super) tls: Option<Box<Tls>>,
    pub(super) aside: Option<Box<Aside>>,
    pub(super) id: ConnectionId,
    pub(super) deadline: u64,
    pub(crate) alarm: Alarm,
    /// Plaintext bytes of the send in flight.
    pub(super) sending_bytes: u32,
    pub(super) peer: Option<IpAddr>,
    pub(super) listener: ListenerKind,
    pub(super) kind: Kind,
    pub(super) reception: Reception,
    pub(super) is_sending: bool,
    /// Its end may be reported late, which means that the kernel has taken all of it.
    pub(super) is_send_deferred: bool,
    /// It expects nothing soon.
    pub(super) is_quiet: bool,
    /// Requests have been received that wait for the output to be sent.
    pub(super) is_paused: bool,
    pub(super) is_shut_down: bool,
    pub(super) is_close_started: bool,
    /// The core has it on its list of those to be flushed.
    pub(crate) is_listed: bool,
}

impl Connection {
    /// A connection that was accepted, and counted in `counts.connections`.
    pub(crate) fn new(
        core: &mut CoreState,
        id: ConnectionId,
        listener: ListenerKind,
        peer: Option<IpAddr>,
        inside: Option<Inside>,
    ) -> Connection {
        let mut connection = Connection::blank(id, listener, peer, inside);
        if connection.aside.is_some() {
            connection.begin_http(core);
            return connection;
        }
        match Preamble::begin(core, listener, peer) {
            Ok(None) => connection.begin_http(core),
            Ok(Some(preamble)) => connection.phase = Phase::Preamble(Box::new(preamble)),
            Err(event) => {
                core.metrics.event(event);
                connection.close(CloseHow::Graceful);
            }
        }
        connection
    }

    /// A connection that is counted as nothing yet.
    fn blank(
        id: ConnectionId,
        listener: ListenerKind,
        peer: Option<IpAddr>,
        inside: Option<Inside>,
    ) -> Connection {
        Connection {
            phase: Phase::Idle,
            out: Vec::new(),
            tls: None,
            aside: Connection::aside(inside),
            id,
            deadline: NEVER,
            alarm: Alarm { armed: NEVER, timer: None },
            sending_bytes: 0,
            peer,
            listener,
            kind: Kind::Preamble,
            reception: Reception::Stopped,
            is_sending: false,
            is_send_deferred: false,
            is_quiet: false,
            is_paused: false,
            is_shut_down: false,
            is_close_started: false,
            is_listed: false,
        }
    }

    /// A connection over the limit: it is told so, and not counted.
    pub(crate) fn refused(core: &mut CoreState, id: ConnectionId, listener: ListenerKind) -> Connection {
        let mut connection = Connection::blank(id, listener, None, None);
        connection.kind = Kind::Refused;
        connection.phase = Phase::Lingering(Box::new(Linger::REFUSED));
        if core.tls.of(listener).is_some() {
            // Without a handshake there is nothing else that the peer would understand.
            connection.out = ALERT_INTERNAL_ERROR.to_vec();
        } else {
            refuse_into(core, &mut connection.out, &TOO_MANY, b"");
        }
        connection
    }

    /// Ends it once its output has been sent, without waiting for the peer.
    pub(crate) fn cut_after_output(&mut self) {
        self.phase = Phase::Ending;
    }

    fn begin_http(&mut self, core: &mut CoreState) {
        self.phase = Phase::Idle;
        self.kind = Kind::Http;
        core.metrics.connection_opened(ConnectionKind::Http);
        self.deadline = Timeout::Quiet.after(core.now().nanos);
    }

    /// When [`Self::on_deadline`] is due, as of the last flush.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Whether it expects nothing soon.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Whether it is a worker's.
    pub(crate) fn is_worker(&self) -> bool {
        matches!(self.phase, Phase::Worker(_))
    }

    /// The webhook of a WebSocket, and the name that its records know it by.
    pub(crate) fn websocket_name(&self) -> Option<(Id, Id)> {
        match &self.phase {
            Phase::WebSocket(session) => Some(session.name()),
            _ => None,
        }
    }

    /// Whether it is over the limit and being told so.
    pub(crate) fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// A part of the send in flight was taken: any progress restarts the write timeout.
    pub(crate) fn on_progress(&mut self, core: &CoreState) {
        self.is_send_deferred = false;
        self.deadline = core.rules.timeouts.write.after(core.now().nanos);
        match &mut self.phase {
            Phase::WebSocket(session) => session.connection().on_progress(),
            Phase::Worker(session) => session.connection().on_progress(),
            _ => {}
        }
    }

    /// The send in flight has ended.
    pub(crate) fn on_sent(&mut self, context: &mut CoreContext<'_>, bytes: Vec<u8>) {
        let sent = self.sending_bytes as usize;
        self.is_sending = false;
        context.buffers.give_out(bytes);
        match &mut self.phase {
            Phase::WebSocket(session) => session.on_sent(context.core, sent),
            Phase::Worker(session) => session.on_sent(context.core, sent),
            // It has its turn behind the others that have more to do.
            Phase::Http(_) if self.is_paused => context.continued.push_back(self.id),
            _ => {}
        }
    }

    /// The send in flight failed.
    pub(crate) fn on_send_failed(&mut self, context: &mut CoreContext<'_>, bytes: Vec<u8>) {
        self.is_sending = false;
        context.buffers.give_out(bytes);
        self.out.clear();
        if !matches!(self.phase, Phase::Closed(_)) {
            self.end_machine(context.core, Phase::Closed(CloseHow::Reset));
        }
    }

    /// Continues with requests that were received in an earlier turn.
    pub(crate) fn on_continue(&mut self, context: &mut CoreContext<'_>) {
        match &mut self.phase {
            Phase::Http(_) if self.is_paused => {
                self.is_paused = false;
                self.with_machine(context, |machine, context, origin, out| {
                    machine.resume(context, origin, out)
                });
            }
            Phase::WebSocket(session) if self.is_paused => {
                session.resume(context.core);
                self.continue_later(context.core);
            }
            Phase::Worker(session) if self.is_paused => {
                session.resume(context.core);
                self.continue_later(context.core);
            }
            _ => return,
        }
        if self.reception == Reception::Ended && !self.is_paused {
            self.end_machine(context.core, Phase::Ending);
        }
    }

    /// Has the core call [`Self::on_continue`] in its next turn if messages wait for it.
    pub(super) fn continue_later(&mut self, core: &mut CoreState) {
        self.is_paused = match &mut self.phase {
            Phase::WebSocket(session) => session.connection().is_paused(),
            Phase::Worker(session) => session.connection().is_paused(),
            _ => return,
        };
        if self.is_paused {
            core.continued.push_back(self.id);
        }
    }

    /// Takes a message.
    pub(crate) fn on_message(&mut self, context: &mut CoreContext<'_>, message: ConnectionMessage) {
        match (&mut self.phase, message) {
            (_, ConnectionMessage::NotWritten(failed)) => self.on_not_written(context.core, &failed),
            (Phase::WebSocket(session), message) => session.on_message(context.core, message),
            (Phase::Worker(session), message) => session.on_message(context.core, message),
            (Phase::Waiting(_), ConnectionMessage::ReplyReady) => {
                self.resume_waiting();
                self.on_reply(context, false);
            }
            (Phase::Http(_), ConnectionMessage::ReplyReady) => self.on_reply(context, false),
            (Phase::Http(machine), ConnectionMessage::StreamReady) if machine.is_relaying() => {
                self.relay(context);
            }
            (Phase::Http(_), ConnectionMessage::Chain { ticket, outcome }) => {
                self.with_machine(context, |machine, context, origin, out| {
                    machine.on_chain(context, origin, out, Some(ticket), outcome)
                });
            }
            (Phase::Http(_), ConnectionMessage::Key { ticket, outcome }) => {
                self.with_machine(context, |machine, context, origin, out| {
                    machine.on_key(context, origin, out, Some(ticket), outcome)
                });
            }
            (Phase::Http(_), ConnectionMessage::KeysReady { ticket }) => {
                self.with_machine(context, |machine, context, origin, out| {
                    machine.on_keys(context, origin, out, Some(ticket))
                });
            }
            (Phase::Http(_), ConnectionMessage::Permit { ticket }) => {
                self.with_machine(context, |machine, context, origin, out| {
                    machine.on_permit(context, origin, out, Some(ticket))
                });
            }
            (Phase::Idle, ConnectionMessage::Drain) => self.is_quiet = false,
            (_, message) => context.refuse_message(message),
        }
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self, context: &mut CoreContext<'_>) {
        let now = context.now().nanos;
        match &mut self.phase {
            Phase::WebSocket(session) => match session.on_deadline(context.core) {
                Expired::Stays => {}
                Expired::Quiet => self.is_quiet = true,
                Expired::Cut => self.end_session(context.core),
            },
            Phase::Worker(session) => match session.on_deadline(context.core) {
                Expired::Stays => {}
                Expired::Quiet => self.is_quiet = true,
                Expired::Cut => self.end_session(context.core),
            },
            // A peer that does not read: the kernel's buffers are freed at once.
            _ if self.is_sending && !self.is_send_deferred => {
                self.end_machine(context.core, Phase::Closed(CloseHow::Reset));
            }
            Phase::Preamble(preamble) => {
                let event = preamble.end_event(context.core, true);
                context.metrics.event(event);
                self.close(CloseHow::Graceful);
            }
            Phase::Idle if self.is_quiet || context.is_draining => self.phase = Phase::Ending,
            Phase::Idle => self.be_quiet(now, context.rules.timeouts.idle),
            Phase::Http(machine) => {
                if machine.waits_for_reply() {
                    self.wait_on(context);
                } else if machine.is_relaying() {
                    self.relay(context);
                } else if machine.waits_for_chain() {
                    self.with_machine(context, |machine, context, origin, out| {
                        machine.on_chain(context, origin, out, None, Err(FetchError::TimedOut))
                    });
                } else if machine.waits_for_key() {
                    self.with_machine(context, |machine, context, origin, out| {
                        machine.on_key(context, origin, out, None, KeyOutcome::Unknown)
                    });
                } else if machine.waits_for_keys() {
                    self.with_machine(context, |machine, context, origin, out| {
                        machine.on_keys(context, origin, out, None)
                    });
                } else if machine.waits_for_permit() {
                    self.with_machine(context, |machine, context, origin, out| {
                        machine.on_permit(context, origin, out, None)
                    });
                } else if machine.is_idle() {
                    machine.end(context.core);
                    context.buffers.note_freed();
                    self.phase = if context.is_draining { Phase::Ending } else { Phase::Idle };
                    self.be_quiet(now, context.rules.timeouts.idle);
                } else if !machine.step_pace() {
                    self.refuse(context.core, &TOO_SLOW);
                }
            }
            Phase::Waiting(_) => {
                self.resume_waiting();
                self.on_reply(context, true);
            }
            Phase::Delayed => self.phase = Phase::Lingering(Box::new(Linger::HTTP)),
            Phase::Lingering(_) => self.close(CloseHow::Graceful),
            Phase::Ending | Phase::Closed(_) => {}
        }
    }

    /// Nothing has happened for a moment.
    fn be_quiet(&mut self, now: u64, idle: Span) {
        self.release_aside();
        self.is_quiet = true;
        self.deadline = now + idle.nanos().saturating_sub(Timeout::Quiet.nanos());
    }

    /// A request has waited for a moment, or its reply is overdue.
    fn wait_on(&mut self, context: &mut CoreContext<'_>) {
        let Phase::Http(machine) = &mut self.phase else { return };
        if machine.is_overdue(context.now().nanos) {
            return self.on_reply(context, true);
        }
        if let Some(waiting) = machine.take_waiting() {
            context.buffers.note_freed();
            self.deadline = waiting.deadline();
            self.phase = Phase::Waiting(waiting);
            self.is_quiet = true;
        }
    }

    fn resume_waiting(&mut self) {
        if let Phase::Waiting(waiting) = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.phase = Phase::Http(Box::new(HttpMachine::waiting(waiting)));
            self.is_quiet = false;
        }
    }

    fn on_reply(&mut self, context: &mut CoreContext<'_>, is_overdue: bool) {
        self.with_machine(context, |machine, context, origin, out| {
            machine.on_reply(context, origin, out, is_overdue)
        });
    }

    /// Sends more of a reply that is being received.
    fn relay(&mut self, context: &mut CoreContext<'_>) {
        self.with_machine(context, |machine, context, origin, out| machine.resume(context, origin, out));
    }

    fn with_machine(
        &mut self,
        context: &mut CoreContext<'_>,
        work: impl FnOnce(&mut HttpMachine, &mut CoreContext<'_>, RequestOrigin<'_>, &mut Vec<u8>) -> Next,
    ) {
        self.prepare_output(context.core);
        let origin = origin(self.id, self.listener, self.peer, self.aside.as_deref());
        let Phase::Http(machine) = &mut self.phase else { return };
        let next = work(machine, context, origin, &mut self.out);
        self.apply(context, next);
    }

    pub(super) fn prepare_output(&mut self, core: &mut CoreState) {
        if self.out.capacity() == 0 {
            self.out = core.buffers.take_out();
        }
    }

    fn apply(&mut self, context: &mut CoreContext<'_>, next: Next) {
        if !context.gates.is_empty() {
            self.take_gates(context.core);
        }
        match next {
            Next::Continue | Next::Wait => {}
            Next::Pause => {
                self.is_paused = true;
                let is_held = self.is_gated() && self.out.len() < GATHER_BYTES;
                if (self.out.is_empty() || is_held) && !self.is_sending {
                    context.continued.push_back(self.id);
                }
            }
            Next::Close { linger } => self.close_after(context.core, linger),
            Next::Reset => {
                self.out.clear();
                self.end_machine(context.core, Phase::Closed(CloseHow::Reset));
            }
            Next::CloseDelayed => {
                self.end_machine(context.core, Phase::Delayed);
                self.deadline = Timeout::Guess.after(context.now().nanos);
            }
            Next::Upgrade(upgrade) => self.upgrade(context.core, *upgrade),
        }
    }
}

pub(super) fn origin(
    id: ConnectionId,
    listener: ListenerKind,
    peer: Option<IpAddr>,
    aside: Option<&Aside>,
) -> RequestOrigin<'_> {
    let (observer, replay_of) = match aside.and_then(|aside| aside.inside.as_ref()) {
        None => (None, None),
        Some(Inside::Test(observer)) => (Some(observer), None),
        Some(Inside::Replay { record, .. }) => (None, Some(*record)),
    };
    RequestOrigin { id, listener, peer, observer, replay_of }
}

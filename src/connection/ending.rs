//! The ends of a connection: after its output, by a refusal, by an upgrade, by the end of its core.

use std::sync::atomic::Ordering;

use super::close::Linger;
use super::context::CoreState;
use super::machine::{Connection, Kind, Phase, origin};
use super::session::WebSocketSession;
use super::upgrade::Upgrade;
use super::worker::WorkerSession;
use crate::base::buffer::ReceiveBuffer;
use crate::ingress::respond::Answer;
use crate::io::CloseHow;
use crate::metrics::ConnectionKind;

impl Connection {
    /// Ends the connection after its output has been sent.
    pub(super) fn close_after(&mut self, core: &mut CoreState, linger: bool) {
        let has_unread = matches!(&self.phase, Phase::Http(machine) if machine.has_unread());
        let phase =
            if linger || has_unread { Phase::Lingering(Box::new(Linger::HTTP)) } else { Phase::Ending };
        self.end_machine(core, phase);
    }

    /// Refuses the present request, and closes.
    pub(super) fn refuse(&mut self, core: &mut CoreState, answer: &Answer<'_>) {
        self.prepare_output(core);
        if let Phase::Http(machine) = &mut self.phase {
            let origin = origin(self.id, self.listener, self.peer, self.aside.as_deref());
            machine.refuse(core, origin, &mut self.out, answer);
        }
        self.close_after(core, true);
    }

    pub(super) fn upgrade(&mut self, core: &mut CoreState, upgrade: Upgrade) {
        let carry = match &mut self.phase {
            Phase::Http(machine) => machine.end(core),
            _ => ReceiveBuffer::default(),
        };
        core.metrics.connection_closed(ConnectionKind::Http);
        match upgrade {
            Upgrade::WebSocket(accepted) => {
                self.kind = Kind::WebSocket;
                let session = WebSocketSession::begin(core, self.id, accepted, carry);
                self.phase = Phase::WebSocket(Box::new(session));
                self.continue_later(core);
            }
            Upgrade::Worker(accepted) => {
                self.kind = Kind::Worker;
                let session = WorkerSession::begin(core, self.id, accepted, carry);
                self.phase = Phase::Worker(Box::new(session));
                self.continue_later(core);
            }
        }
    }

    /// Ends a WebSocket: its peer may see the Close before the socket is closed.
    pub(super) fn end_session(&mut self, core: &mut CoreState) {
        let linger = Phase::Lingering(Box::new(Linger::WEBSOCKET));
        self.end_machine(core, linger);
    }

    /// Gives up what the machine holds of its core, and continues with `phase`.
    pub(super) fn end_machine(&mut self, core: &mut CoreState, phase: Phase) {
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Http(mut machine) => {
                let mut carry = machine.end(core);
                core.buffers.release(&mut carry);
            }
            Phase::Waiting(waiting) => waiting.abandon(core),
            Phase::WebSocket(mut session) => session.end(core),
            Phase::Worker(mut session) => session.end(core),
            // A socket that is being closed stays so.
            Phase::Closed(how) => self.phase = Phase::Closed(how),
            Phase::Preamble(_) | Phase::Idle | Phase::Delayed | Phase::Lingering(_) | Phase::Ending => {}
        }
    }

    pub(super) fn close(&mut self, how: CloseHow) {
        self.phase = Phase::Closed(how);
    }

    /// Ends the connection whatever it does: its machine has panicked, or the core ends.
    pub(crate) fn abandon(&mut self, core: &mut CoreState) {
        self.out = Vec::new();
        self.end_machine(core, Phase::Closed(CloseHow::Reset));
    }

    /// Uncounts the connection: its socket is closed.
    pub(crate) fn uncount(&self, core: &mut CoreState) {
        let counts = &core.counts;
        match self.kind {
            Kind::Refused => return,
            Kind::Preamble => {}
            Kind::Http => core.metrics.connection_closed(ConnectionKind::Http),
            Kind::WebSocket => {
                counts.websockets.fetch_sub(1, Ordering::Relaxed);
            }
            Kind::Worker => {
                counts.workers.fetch_sub(1, Ordering::Relaxed);
            }
        }
        counts.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

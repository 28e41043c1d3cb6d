//! The bytes that a connection receives, and their end.

use super::{Connection, Phase, Reception, origin};
use crate::connection::close::Linger;
use crate::connection::context::{CoreContext, CoreState};
use crate::connection::http::HttpMachine;
use crate::connection::preamble::Progress;
use crate::connection::timeouts::Timeout;
use crate::connection::tls::TlsEnd;
use crate::io::{BufferLease, CloseHow, End};
use crate::metrics::Event;

impl Connection {
    /// Takes received bytes.
    pub(crate) fn on_received(&mut self, context: &mut CoreContext<'_>, mut lease: BufferLease) {
        if self.reception == Reception::Resting {
            self.reception = Reception::Armed;
        }
        if let Phase::Preamble(preamble) = &mut self.phase {
            let progress =
                preamble.on_received(context.core, &mut self.peer, &mut self.tls, &mut lease, &mut self.out);
            match progress {
                Progress::Continue => return,
                Progress::Complete => self.begin_http(context.core),
                Progress::Refused(event, linger) => return self.refuse_preamble(context.core, event, linger),
            }
        }
        if self.tls.is_some() && !matches!(self.phase, Phase::Lingering(_) | Phase::Delayed | Phase::Ending) {
            self.on_ciphertext(context, &lease);
        } else if !lease.is_empty() {
            self.on_plaintext(context, &mut lease);
        }
    }

    fn refuse_preamble(&mut self, core: &mut CoreState, event: Event, linger: Option<Timeout>) {
        core.metrics.event(event);
        match linger {
            Some(timeout) => self.phase = Phase::Lingering(Box::new(Linger::for_at_most(timeout))),
            None => self.close(CloseHow::Graceful),
        }
    }

    fn on_ciphertext(&mut self, context: &mut CoreContext<'_>, ciphertext: &[u8]) {
        let Some(tls) = &mut self.tls else { return };
        let mut plaintext = context.buffers.take_out();
        let result =
            tls.decrypt(ciphertext, &mut plaintext, context.now().nanos, context.rules.timeouts.body);
        let is_over = tls.is_over();
        if !plaintext.is_empty() {
            self.on_plaintext(context, &mut plaintext);
        }
        context.buffers.give_out(plaintext);
        match result {
            Ok(()) if is_over => self.on_ended(context, End::HalfClosed),
            Ok(()) => {}
            Err(TlsEnd::Timeout) => self.end_machine(context.core, Phase::Ending),
            Err(TlsEnd::Failed(error)) => {
                tracing::debug!(?error, "a TLS session failed");
                // The alert is in the output of TLS; nothing else can be sent any more.
                self.out.clear();
                let linger = Linger::for_at_most(Timeout::Alert);
                self.end_machine(context.core, Phase::Lingering(Box::new(linger)));
            }
        }
    }

    fn on_plaintext(&mut self, context: &mut CoreContext<'_>, received: &mut Vec<u8>) {
        let now = context.now().nanos;
        if matches!(self.phase, Phase::Idle) {
            self.phase = Phase::Http(Box::new(HttpMachine::new()));
        }
        if matches!(self.phase, Phase::Waiting(_)) {
            self.resume_waiting();
        }
        self.is_quiet = false;
        if matches!(self.phase, Phase::Http(_)) {
            self.prepare_output(context.core);
        }
        let origin = origin(self.id, self.listener, self.peer, self.aside.as_deref());
        match &mut self.phase {
            Phase::Http(machine) => {
                let next = machine.on_received(context, origin, received, &mut self.out);
                self.apply(context, next);
            }
            Phase::WebSocket(session) => {
                session.on_received(context.core, received);
                self.continue_later(context.core);
            }
            Phase::Worker(session) => {
                session.on_received(context.core, received);
                self.continue_later(context.core);
            }
            Phase::Lingering(linger) => {
                if linger.on_received(received.len(), now) {
                    self.phase = Phase::Ending;
                }
            }
            // Closing a socket with unread bytes would reset it before the peer has read the answer.
            Phase::Ending => self.phase = Phase::Lingering(Box::new(Linger::HTTP)),
            Phase::Preamble(_) | Phase::Idle | Phase::Waiting(_) | Phase::Delayed | Phase::Closed(_) => {}
        }
    }

    /// Nothing more is received.
    pub(crate) fn on_ended(&mut self, context: &mut CoreContext<'_>, end: End) {
        self.reception = Reception::Ended;
        if end == End::Broken {
            self.out.clear();
            return self.end_machine(context.core, Phase::Closed(CloseHow::Reset));
        }
        match &self.phase {
            // A caller whose reply is under way is gone, as one that waits.
            Phase::Http(machine) if machine.is_relaying() => self.end_machine(context.core, Phase::Ending),
            // Requests that have been received still get their answers.
            Phase::Http(machine) if self.is_paused && machine.has_unread() => {}
            Phase::WebSocket(_) | Phase::Worker(_) if self.is_paused => {}
            Phase::Preamble(preamble) => {
                let event = preamble.end_event(context.core, false);
                context.metrics.event(event);
                self.close(CloseHow::Graceful);
            }
            // Its answer is sent after the pause, to a peer that still reads.
            Phase::Delayed | Phase::Closed(_) => {}
            _ => self.end_machine(context.core, Phase::Ending),
        }
    }
}

//! The end of a connection's turn: what it wants done becomes operations.

use super::context::CoreState;
use super::machine::{Connection, Phase, Reception};
use super::timeouts::{NEVER, Timeout};
use crate::io::{CloseHow, Operation, SendReport};

impl Connection {
    /// Starts the operations of the turn, and sets the next deadline.
    pub(crate) fn flush(&mut self, core: &mut CoreState, start: &mut dyn FnMut(Operation)) {
        let now = core.now().nanos;
        self.gather(core);
        if !self.is_sending && !matches!(self.phase, Phase::Delayed | Phase::Closed(_)) {
            self.send(core, start);
        }
        let is_sent = !self.is_sending && self.out.is_empty();
        match &mut self.phase {
            Phase::Ending if is_sent => self.phase = Phase::Closed(CloseHow::Graceful),
            Phase::Lingering(linger) if is_sent => {
                linger.on_output_sent(now);
                if !std::mem::replace(&mut self.is_shut_down, true) {
                    start(Operation::ShutdownWrite { socket: self.id });
                }
                if self.reception == Reception::Ended {
                    self.phase = Phase::Closed(CloseHow::Graceful);
                }
            }
            _ => {}
        }
        if let Phase::Closed(how) = self.phase {
            if !std::mem::replace(&mut self.is_close_started, true) {
                start(Operation::Close { socket: self.id, how });
            }
            self.deadline = NEVER;
            return;
        }
        self.receive(start);
        self.set_deadline(core, now);
    }

    /// Collects the output of the sessions, and ends those that are over.
    fn gather(&mut self, core: &mut CoreState) {
        let connection = match &mut self.phase {
            Phase::WebSocket(session) => session.connection(),
            Phase::Worker(session) => session.connection(),
            _ => return,
        };
        // The 101 comes first.
        if !self.is_sending
            && let Some(mut output) = connection.take_output(core)
        {
            if self.out.is_empty() {
                std::mem::swap(&mut self.out, &mut output);
            } else {
                self.out.append(&mut output);
            }
            core.buffers.give_out(output);
        }
        if connection.is_over() {
            self.end_session(core);
        }
    }

    /// Starts a send of all the output, if there is any.
    fn send(&mut self, core: &mut CoreState, start: &mut dyn FnMut(Operation)) {
        let released = self.take_released(core);
        let plaintext = released.len();
        let bytes = match &mut self.tls {
            None => released,
            Some(tls) => {
                let is_encrypted = tls.encrypt(&released).is_ok();
                if matches!(self.phase, Phase::Ending | Phase::Lingering(_)) && self.out.is_empty() {
                    tls.say_goodbye();
                }
                let bytes = tls.take_output();
                core.buffers.give_out(released);
                if !is_encrypted && bytes.is_empty() && !matches!(self.phase, Phase::Lingering(_)) {
                    self.end_machine(core, Phase::Closed(CloseHow::Reset));
                    return;
                }
                bytes
            }
        };
        if bytes.is_empty() {
            core.buffers.give_out(bytes);
            return;
        }
        self.sending_bytes = u32::try_from(plaintext).unwrap_or(u32::MAX);
        self.is_sending = true;
        let report = self.send_report();
        self.is_send_deferred = report == SendReport::Deferred;
        self.deadline = core.rules.timeouts.write.after(core.now().nanos);
        start(Operation::Send { socket: self.id, bytes, report });
    }

    /// Whether something is done once the output has been sent: requests that wait for it, or the end.
    fn send_report(&mut self) -> SendReport {
        let has_more = match &mut self.phase {
            Phase::Http(_) => self.is_paused || self.reception == Reception::Ended,
            Phase::WebSocket(session) => session.connection().awaits_sent(),
            Phase::Worker(session) => session.awaits_sent(),
            _ => true,
        };
        if has_more || !self.out.is_empty() { SendReport::Prompt } else { SendReport::Deferred }
    }

    /// Changes how bytes are received.
    fn receive(&mut self, start: &mut dyn FnMut(Operation)) {
        if self.reception == Reception::Ended {
            return;
        }
        let wanted = match &self.phase {
            Phase::Http(machine) if machine.is_full() && !machine.wants_body() => Reception::Stopped,
            Phase::Idle | Phase::Waiting(_) | Phase::WebSocket(_) | Phase::Worker(_) if self.is_quiet => {
                Reception::Resting
            }
            _ => Reception::Armed,
        };
        if wanted == self.reception {
            return;
        }
        self.reception = wanted;
        let socket = self.id;
        start(match wanted {
            Reception::Resting => Operation::Rest { socket },
            Reception::Stopped => Operation::StopReceiving { socket },
            Reception::Armed | Reception::Ended => Operation::Receive { socket },
        });
    }

    /// Sets the deadline to that of what the connection does now.
    pub(crate) fn set_deadline(&mut self, core: &CoreState, now: u64) {
        self.deadline = match &mut self.phase {
            Phase::WebSocket(session) => session.connection().deadline(),
            Phase::Worker(session) => session.connection().deadline(),
            // Set when the send was started, or made progress.
            _ if self.is_sending && !self.is_send_deferred => self.deadline,
            Phase::Preamble(preamble) if core.is_draining && preamble.is_idle() => {
                Timeout::DrainIdle.after(now).min(preamble.deadline)
            }
            Phase::Preamble(preamble) => preamble.deadline,
            Phase::Idle if core.is_draining => Timeout::DrainIdle.after(now),
            // It has its turn among those that are continued, or its answers wait for the journal.
            Phase::Http(_) if self.is_paused => NEVER,
            Phase::Http(machine) => machine.deadline(core, now),
            Phase::Lingering(linger) => linger.deadline(),
            Phase::Idle | Phase::Waiting(_) | Phase::Delayed | Phase::Ending | Phase::Closed(_) => {
                self.deadline
            }
        };
    }
}

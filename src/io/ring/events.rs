//! Events of the kernel: the completions that they make, and what follows from them for the socket.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use super::{Armed, Ring, WantedOperation, admit, arm, key};
use crate::base::slots::Key;
use crate::io::event::KernelEvent;
use crate::io::interface::{Completion, End, ListenerId, SocketId};
use crate::io::lease::BufferLease;
use crate::io::socket::{self, AcceptError};

impl Ring {
    pub(super) fn on_event(&mut self, event: KernelEvent, completions: &mut Vec<Completion>) {
        match event {
            KernelEvent::Received { socket, result, armed } => {
                self.on_received(socket, result, armed, completions)
            }
            KernelEvent::Sent { socket, bytes } => {
                completions.push(Completion::Sent { socket, bytes });
                self.on_send_ended(socket, false, completions);
            }
            KernelEvent::SendFailed { socket, bytes } => {
                completions.push(Completion::SendFailed { socket, bytes });
                self.on_send_ended(socket, true, completions);
            }
            KernelEvent::SentPart { socket, send } => self.on_sent_part(socket, send, completions),
            KernelEvent::Polled { socket } => self.on_polled(socket, completions),
            KernelEvent::HungUp { socket } => self.on_hung_up(socket, completions),
            KernelEvent::Accepted { listener, result, armed } => {
                self.on_accepted(listener, result, armed, completions)
            }
            KernelEvent::ReceiveNotCancelled { socket } => {
                if let Some(state) = self.sockets.get(key(socket))
                    && state.cancelling
                    && !state.closing
                {
                    self.queues.cancel_receive(socket);
                }
            }
            KernelEvent::AcceptNotCancelled { listener } => {
                if self.listeners.get(listener.0 as usize).is_some_and(|state| state.armed) {
                    self.queues.cancel_accept(listener);
                }
            }
            KernelEvent::Transferred(completion) => completions.push(completion),
            KernelEvent::TimedOut => self.timeout_at = None,
            KernelEvent::Woken { armed } => {
                if !armed {
                    self.queues.watch_wakes(self.waker.as_fd());
                }
            }
            KernelEvent::Nothing => {}
        }
    }

    fn on_received(
        &mut self,
        id: SocketId,
        result: Result<Option<BufferLease>, Errno>,
        armed: bool,
        completions: &mut Vec<Completion>,
    ) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if !armed {
            socket.armed = Armed::Nothing;
            socket.cancelling = false;
        }
        if socket.closing {
            completions.extend(self.finish_close(id));
            return;
        }
        match result {
            // It was reset, which is the last that is told of what is received.
            _ if socket.ended => return,
            Ok(Some(lease)) => {
                if socket.wanted == WantedOperation::Rest {
                    socket.wanted = WantedOperation::Receive;
                }
                socket.pieces_left = socket.pieces_left.saturating_sub(1);
                completions.push(Completion::Received { socket: id, lease });
            }
            Ok(None) => {
                socket.ended = true;
                let end = if socket.broken { End::Broken } else { End::HalfClosed };
                completions.push(Completion::Ended { socket: id, end });
            }
            Err(Errno::NOBUFS) => {
                self.counters.out_of_buffers += 1;
                socket.starved = true;
                self.starved.push_back(key(id));
            }
            // Cancelled, or there was nothing after all.
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                socket.ended = true;
                completions.push(Completion::Ended { socket: id, end: End::Broken });
            }
        }
        arm(&mut self.queues, id, socket);
    }

    fn on_polled(&mut self, id: SocketId, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        socket.armed = Armed::Nothing;
        if socket.closing {
            completions.extend(self.finish_close(id));
        } else if socket.wanted != WantedOperation::Nothing {
            socket.wanted = WantedOperation::Receive;
            socket.armed = Armed::Piece;
            self.queues.receive_once(id, socket.fd.as_fd());
        }
    }

    fn on_hung_up(&mut self, id: SocketId, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        socket.watching = false;
        if socket.closing {
            completions.extend(self.finish_close(id));
        } else if socket.wanted == WantedOperation::Nothing && !std::mem::replace(&mut socket.ended, true) {
            completions.push(Completion::Ended { socket: id, end: End::Broken });
        }
    }

    fn on_sent_part(&mut self, id: SocketId, send: Key, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get(key(id)) else { return };
        if socket.closing {
            let bytes = self.queues.abandon_send(send).unwrap_or_default();
            completions.push(Completion::SendFailed { socket: id, bytes });
            return self.on_send_ended(id, true, completions);
        }
        self.counters.partial_sends += 1;
        self.queues.resume_send(send, socket.fd.as_fd());
        completions.push(Completion::SendProgressed { socket: id });
    }

    fn on_send_ended(&mut self, id: SocketId, failed: bool, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        socket.sending = false;
        socket.broken |= failed;
        if socket.closing {
            completions.extend(self.finish_close(id));
        } else if std::mem::take(&mut socket.shut_down_after_send) {
            socket::shut_down_write(&socket.fd);
        }
    }

    fn on_accepted(
        &mut self,
        id: ListenerId,
        result: Result<OwnedFd, Errno>,
        armed: bool,
        completions: &mut Vec<Completion>,
    ) {
        let Some(state) = self.listeners.get_mut(id.0 as usize) else { return };
        state.armed = armed;
        let stopping = state.stopping;
        match result {
            Ok(fd) => {
                if let Some(listener) = &state.listener {
                    completions.extend(admit(&mut self.sockets, id, listener, fd));
                }
            }
            Err(errno) if !stopping && !armed => match AcceptError::of(errno) {
                AcceptError::Listener => {
                    completions.push(Completion::AcceptFailed { listener: id, error: errno.into() });
                    return;
                }
                // Another handle on the socket made it nonblocking, which the ring's accept would spin on.
                AcceptError::Empty => {
                    if let Some(Err(error)) = state.listener.as_ref().map(|l| l.set_nonblocking(false)) {
                        completions.push(Completion::AcceptFailed { listener: id, error });
                        return;
                    }
                }
                AcceptError::Connection => {}
            },
            Err(_) => {}
        }
        if !armed && stopping {
            self.finish_stop(id);
        } else if !armed {
            self.accept(id);
        }
    }
}

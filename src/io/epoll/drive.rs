//! A turn of the active sockets: the writes and reads that they are ready for.

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::{BufferPool, Epoll, EpollSend, EpollSocket, activate};
use crate::base::slots::Key;
use crate::io::interface::{Completion, End, SendReport, SocketId};
use crate::io::lease::BufferLease;
use crate::io::socket;

/// Pieces that one socket receives in a turn, of 16 KiB at most each: bounds what one peer holds up.
const PIECES_MAX: usize = 4;
/// Writes to one socket in a turn. A second tells that the kernel takes no more; a peer on this machine may have made
/// room meanwhile.
const WRITES_MAX: usize = 4;
/// Completions that one socket makes in a turn at most: pieces, the end, a send.
const COMPLETIONS_OF_SOCKET: usize = PIECES_MAX + 2;

/// Outcome of one attempt to receive.
enum ReceiveOutcome {
    Bytes(BufferLease),
    Ended(End),
    Empty,
    OutOfBuffers,
}

impl Epoll {
    /// Does what the active sockets can, each once and within its bounds.
    pub(super) fn drive(&mut self, bound: usize, completions: &mut Vec<Completion>) {
        for _ in 0..self.active.len() {
            if completions.len() + self.deferred.len() + COMPLETIONS_OF_SOCKET > bound {
                break;
            }
            let Some(key) = self.active.pop_front() else { break };
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.active = false;
                self.write(key, completions);
                self.read(key, completions);
            }
        }
    }

    fn write(&mut self, key: Key, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let Some(send) = socket.send.filter(|_| socket.writable) else { return };
        let Some(sending) = self.sends.get_mut(send) else { return };
        let id = SocketId { index: key.index, generation: key.generation };
        let mut failed = false;
        let mut progressed = false;
        for _ in 0..WRITES_MAX {
            let rest = &sending.bytes[sending.sent..];
            match rustix::net::send(&socket.fd, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(length) => {
                    sending.sent += length;
                    progressed = true;
                }
                Err(Errno::AGAIN) => socket.writable = false,
                Err(Errno::INTR) => {}
                Err(_) => failed = true,
            }
            if failed || !socket.writable || sending.sent == sending.bytes.len() {
                break;
            }
        }
        if !failed && sending.sent < sending.bytes.len() {
            let was_deferred =
                std::mem::replace(&mut sending.report, SendReport::Prompt) == SendReport::Deferred;
            if progressed || was_deferred {
                self.counters.partial_sends += u64::from(progressed);
                completions.push(Completion::SendProgressed { socket: id });
            }
            if socket.writable {
                activate(&mut self.active, key, socket);
            }
            return;
        }
        socket.send = None;
        socket.broken |= failed;
        if std::mem::take(&mut socket.shut_down_after_send) {
            socket::shut_down_write(&socket.fd);
        }
        let Some(EpollSend { bytes, report, .. }) = self.sends.remove(send) else { return };
        match (failed, report) {
            (true, _) => completions.push(Completion::SendFailed { socket: id, bytes }),
            (false, SendReport::Prompt) => completions.push(Completion::Sent { socket: id, bytes }),
            (false, SendReport::Deferred) => self.deferred.push(Completion::Sent { socket: id, bytes }),
        }
    }

    fn read(&mut self, key: Key, completions: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let id = SocketId { index: key.index, generation: key.generation };
        for _ in 0..PIECES_MAX {
            if !socket.wanted || !socket.readable || socket.ended {
                return;
            }
            match receive(socket, &mut self.buffers) {
                ReceiveOutcome::Bytes(lease) => completions.push(Completion::Received { socket: id, lease }),
                ReceiveOutcome::Ended(end) => {
                    socket.ended = true;
                    completions.push(Completion::Ended { socket: id, end });
                }
                ReceiveOutcome::Empty => {}
                ReceiveOutcome::OutOfBuffers => {
                    self.counters.out_of_buffers += 1;
                    break;
                }
            }
        }
        if socket.wanted && socket.readable && !socket.ended {
            activate(&mut self.active, key, socket);
        }
    }
}

fn receive(socket: &mut EpollSocket, buffers: &mut BufferPool) -> ReceiveOutcome {
    let Some((number, mut bytes)) = buffers.take() else { return ReceiveOutcome::OutOfBuffers };
    bytes.clear();
    match rustix::net::recv(&socket.fd, spare_capacity(&mut bytes), RecvFlags::DONTWAIT) {
        Ok((_, length)) if length > 0 => {
            // Less than there was room for: there is no more. What arrives later is a new event.
            socket.readable = bytes.len() == bytes.capacity() || socket.hung_up;
            ReceiveOutcome::Bytes(BufferLease::new(number, bytes, &buffers.home))
        }
        outcome => {
            buffers.free.push((number, bytes));
            match outcome {
                Ok(_) => ReceiveOutcome::Ended(if socket.broken { End::Broken } else { End::HalfClosed }),
                Err(Errno::AGAIN) => {
                    socket.readable = false;
                    ReceiveOutcome::Empty
                }
                Err(Errno::INTR) => ReceiveOutcome::Empty,
                Err(_) => ReceiveOutcome::Ended(End::Broken),
            }
        }
    }
}

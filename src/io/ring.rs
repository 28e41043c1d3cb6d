//! The io_uring backend: what is armed and in flight for each socket.
//!
//! A socket that receives has one multishot receive armed, which takes a provided buffer for each piece that arrives.
//! [`Operation::Rest`] changes it for a one-shot poll (256 bytes of the kernel instead of 864). What arrives then is
//! received piece by piece, polling in between, until the socket has shown that it is busy again: cancelling a receive
//! is expensive where many are armed, because the kernel looks for it in one of 256 chains.
//!
//! A socket is closed by shutting it down, which ends whatever is in flight on it at once, and closing the descriptor
//! after the last completion.

mod events;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::net::SocketFlags;

use super::disk_thread::Direction;
use super::file::DiskFile;
use super::files::Files;
use super::interface::{
    COMPLETIONS_MAX, CloseHow, Completion, Counters, FileId, Io, ListenerId, Operation, SendReport, SocketId,
    Transfer, Waker,
};
use super::listen::{BACKLOG, Listener};
use super::queues::{Queues, RingSetup};
use super::socket::{self, AcceptError, INDEX_MAX};
use super::waker::EventWaker;
use crate::base::slots::{Key, Slots};

/// Pieces that a socket receives after a rest before a receive stays armed for it. One that speaks now and then is never
/// cancelled; one that is busy pays for a poll twice.
const PIECES_AFTER_REST: u8 = 2;
/// Completions that one event makes at most: what is kept free of a turn's bound.
const COMPLETIONS_OF_EVENT: usize = 2;

/// The io_uring of one core, for the thread that opened it.
pub struct Ring {
    // Dropped first: it ends what is in flight before the descriptors close.
    queues: Queues,
    sockets: Slots<RingSocket>,
    files: Files,
    listeners: Vec<RingListener>,
    /// Sockets whose receive ended because no buffer was left, in that order.
    starved: VecDeque<Key>,
    /// Completions that did not come from the kernel, and those beyond a turn's bound.
    ready: VecDeque<Completion>,
    waker: Arc<EventWaker>,
    /// Something depends on the end of a send that may make no completion: the next wait does not wait.
    awaits_silent: bool,
    /// Time at which the armed timeout fires, of the caller's clock.
    timeout_at: Option<u64>,
    counters: Counters,
}

struct RingSocket {
    fd: OwnedFd,
    armed: Armed,
    wanted: WantedOperation,
    /// Pieces to be received before a receive stays armed.
    pieces_left: u8,
    /// The armed receive is being cancelled.
    cancelling: bool,
    /// In the queue of those that wait for a buffer.
    starved: bool,
    /// A poll for resets is in flight.
    watching: bool,
    /// Nothing more is received.
    ended: bool,
    sending: bool,
    /// A send has failed, and taken the error with it that a receive would report.
    broken: bool,
    /// The write side is shut down once the send in flight has ended.
    shut_down_after_send: bool,
    closing: bool,
}

/// The receiving operation in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Armed {
    Nothing,
    /// A receive that goes on until cancelled.
    Receive,
    /// A receive of one piece, which does not wait.
    Piece,
    Poll,
}

/// The operation that the owner requested last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantedOperation {
    Nothing,
    Receive,
    Rest,
}

struct RingListener {
    /// Absent once it has stopped.
    listener: Option<Listener>,
    armed: bool,
    stopping: bool,
}

impl Ring {
    /// Opens a ring for the calling thread.
    ///
    /// # Errors
    /// If the kernel refuses it, or no descriptor is left.
    pub fn open(setup: RingSetup) -> io::Result<Ring> {
        let waker = Arc::new(EventWaker::new()?);
        let mut queues = Queues::open(setup)?;
        queues.watch_wakes(waker.as_fd());
        Ok(Ring {
            queues,
            sockets: Slots::new(),
            files: Files::default(),
            listeners: Vec::new(),
            starved: VecDeque::new(),
            ready: VecDeque::new(),
            waker,
            awaits_silent: false,
            timeout_at: None,
            counters: Counters::default(),
        })
    }

    // ---- what the owner starts

    fn want(&mut self, id: SocketId, wanted: WantedOperation) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if socket.closing || socket.ended {
            return;
        }
        socket.wanted = wanted;
        if wanted == WantedOperation::Rest {
            socket.pieces_left = PIECES_AFTER_REST;
        }
        // A poll stays armed whatever is wanted: it takes nothing.
        if socket.armed == Armed::Receive && wanted != WantedOperation::Receive && !socket.cancelling {
            socket.cancelling = true;
            self.queues.cancel_receive(id);
        }
        if wanted == WantedOperation::Nothing && !std::mem::replace(&mut socket.watching, true) {
            self.queues.watch_hang_up(id, socket.fd.as_fd());
        }
        arm(&mut self.queues, id, socket);
    }

    fn send(&mut self, id: SocketId, bytes: Vec<u8>, report: SendReport) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if socket.closing {
            return;
        }
        debug_assert!(!socket.sending, "one send is in flight at a time");
        if socket.sending {
            self.ready.push_back(Completion::SendFailed { socket: id, bytes });
        } else if bytes.is_empty() {
            self.ready.push_back(Completion::Sent { socket: id, bytes });
        } else {
            socket.sending = true;
            self.queues.send(id, socket.fd.as_fd(), bytes, report == SendReport::Deferred);
        }
    }

    fn shut_down_write(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if socket.sending {
            socket.shut_down_after_send = true;
            self.awaits_silent = true;
        } else if !socket.closing {
            socket::shut_down_write(&socket.fd);
        }
    }

    fn close(&mut self, id: SocketId, how: CloseHow) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if how == CloseHow::Reset {
            socket::reset(&socket.fd);
        }
        if socket.closing {
            return;
        }
        socket.closing = true;
        if socket.armed != Armed::Nothing || socket.sending || socket.watching {
            socket::shut_down(&socket.fd);
            self.awaits_silent |= socket.sending;
        } else if let Some(closed) = self.finish_close(id) {
            self.ready.push_back(closed);
        }
    }

    /// Closes the descriptor of a socket that is closing and has nothing in flight.
    fn finish_close(&mut self, id: SocketId) -> Option<Completion> {
        let socket = self.sockets.get(key(id))?;
        if !socket.closing || socket.sending || socket.watching || socket.armed != Armed::Nothing {
            return None;
        }
        let socket = self.sockets.remove(key(id))?;
        self.queues.close(socket.fd);
        Some(Completion::Closed { socket: id })
    }

    fn accept(&mut self, id: ListenerId) {
        let Some(state) = self.listeners.get_mut(id.0 as usize) else { return };
        if let Some(listener) = &state.listener
            && !state.armed
            && !state.stopping
        {
            state.armed = true;
            self.queues.accept(id, listener.as_fd());
        }
    }

    fn stop_accepting(&mut self, id: ListenerId) {
        let Some(state) = self.listeners.get_mut(id.0 as usize) else { return };
        if std::mem::replace(&mut state.stopping, true) {
            return;
        }
        if state.armed {
            self.queues.cancel_accept(id);
        } else {
            self.finish_stop(id);
        }
    }

    /// Takes the connections that are through their handshake, and makes the socket itself stop listening: with another
    /// handle on it open it would go on taking connections that nobody accepts.
    fn finish_stop(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(id.0 as usize).and_then(|state| state.listener.take())
        else {
            return;
        };
        if listener.set_nonblocking(true).is_ok() {
            // As many again may arrive meanwhile.
            for _ in 0..2 * BACKLOG {
                match socket::accept(&listener, SocketFlags::empty()) {
                    Ok(fd) => {
                        self.ready.extend(admit(&mut self.sockets, id, &listener, fd));
                    }
                    Err(errno) if AcceptError::of(errno) == AcceptError::Connection => {}
                    Err(_) => break,
                }
            }
        }
        socket::shut_down(&listener);
        self.ready.push_back(Completion::AcceptStopped { listener: id });
    }

    fn transfer(&mut self, direction: Direction, transfer: Box<Transfer>) {
        match self.files.get(transfer.file) {
            Ok(file) => self.queues.transfer(file, direction, transfer),
            Err(error) => self.ready.push_back(direction.completion(transfer, Err(error))),
        }
    }

    // ---- a turn

    /// Arms the receives that ended for want of buffers, as many as there are buffers now.
    fn rearm_starved(&mut self) {
        let mut buffers = self.queues.available_buffers();
        while buffers > 0
            && let Some(starved) = self.starved.pop_front()
        {
            let Some(socket) = self.sockets.get_mut(starved) else { continue };
            socket.starved = false;
            arm(&mut self.queues, SocketId { index: starved.index, generation: starved.generation }, socket);
            buffers -= usize::from(socket.armed == Armed::Receive);
        }
    }

    /// Returns whether something can be done without waiting for the kernel.
    fn has_work(&mut self) -> bool {
        std::mem::take(&mut self.awaits_silent)
            || !self.ready.is_empty()
            || !self.queues.is_drained()
            || !self.starved.is_empty() && self.queues.available_buffers() > 0
    }

    /// Makes the armed timeout fire at `until` at the latest. One that fires earlier is left alone: it costs a wake-up,
    /// and changing it for each wait would cost more.
    fn set_timeout(&mut self, now: u64, until: u64) {
        if self.timeout_at.is_none_or(|armed| until < armed) {
            self.queues.set_timeout(until - now, self.timeout_at.is_some());
            self.timeout_at = Some(until);
        }
    }
}

fn admit(
    sockets: &mut Slots<RingSocket>,
    id: ListenerId,
    listener: &Listener,
    fd: OwnedFd,
) -> Option<Completion> {
    // One that is gone already is not reported.
    let peer = socket::peer(listener, &fd).ok()?;
    let socket = insert(sockets, fd)?;
    Some(Completion::Accepted { listener: id, socket, peer })
}

fn insert(sockets: &mut Slots<RingSocket>, fd: OwnedFd) -> Option<SocketId> {
    if sockets.len() >= INDEX_MAX as usize {
        return None;
    }
    let key = sockets.insert(RingSocket {
        fd,
        armed: Armed::Nothing,
        wanted: WantedOperation::Nothing,
        pieces_left: 0,
        cancelling: false,
        starved: false,
        watching: false,
        ended: false,
        sending: false,
        broken: false,
        shut_down_after_send: false,
        closing: false,
    });
    Some(SocketId { index: key.index, generation: key.generation })
}

/// Arms what a socket wants, if nothing is in flight and it may.
fn arm(queues: &mut Queues, id: SocketId, socket: &mut RingSocket) {
    if socket.armed != Armed::Nothing || socket.ended || socket.closing || socket.starved {
        return;
    }
    match socket.wanted {
        WantedOperation::Nothing => {}
        WantedOperation::Receive if socket.pieces_left == 0 => {
            socket.armed = Armed::Receive;
            queues.receive(id, socket.fd.as_fd());
        }
        WantedOperation::Receive | WantedOperation::Rest => {
            socket.armed = Armed::Poll;
            queues.poll(id, socket.fd.as_fd());
        }
    }
}

fn key(id: SocketId) -> Key {
    Key { index: id.index, generation: id.generation }
}

impl Io for Ring {
    type Listener = Listener;
    type Stream = OwnedFd;
    type File = DiskFile;

    fn add_listener(&mut self, listener: Listener) -> io::Result<ListenerId> {
        // The ring fails an operation that would wait on a socket that is not to.
        listener.set_nonblocking(false)?;
        let id = ListenerId(u32::try_from(self.listeners.len()).map_err(io::Error::other)?);
        self.listeners.push(RingListener { listener: Some(listener), armed: false, stopping: false });
        Ok(id)
    }

    fn adopt(&mut self, stream: OwnedFd) -> io::Result<SocketId> {
        rustix::io::ioctl_fionbio(&stream, false)?;
        insert(&mut self.sockets, stream).ok_or_else(|| io::Error::from(io::ErrorKind::QuotaExceeded))
    }

    fn add_file(&mut self, file: DiskFile) -> FileId {
        self.files.insert(file)
    }

    fn waker(&self) -> Waker {
        Arc::<EventWaker>::clone(&self.waker)
    }

    fn start(&mut self, operation: Operation) {
        match operation {
            Operation::Accept { listener } => self.accept(listener),
            Operation::StopAccepting { listener } => self.stop_accepting(listener),
            Operation::Receive { socket } => self.want(socket, WantedOperation::Receive),
            Operation::Rest { socket } => self.want(socket, WantedOperation::Rest),
            Operation::StopReceiving { socket } => self.want(socket, WantedOperation::Nothing),
            Operation::Send { socket, bytes, report } => self.send(socket, bytes, report),
            Operation::ShutdownWrite { socket } => self.shut_down_write(socket),
            Operation::Close { socket, how } => self.close(socket, how),
            Operation::Write(transfer) => self.transfer(Direction::Write, transfer),
            Operation::Read(transfer) => self.transfer(Direction::Read, transfer),
            Operation::CloseFile { file } => self.files.close(file),
        }
    }

    fn wait(&mut self, now: u64, until: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.counters.waits += 1;
        self.queues.publish_buffers();
        self.rearm_starved();
        let waits = until.is_none_or(|until| until > now) && !self.has_work() && self.waker.begin_wait();
        if let Some(until) = until
            && waits
        {
            self.set_timeout(now, until);
        }
        let entered = self.queues.enter(waits);
        if self.waker.end_wait() {
            self.ready.push_back(Completion::Woken);
        }
        entered?;
        let bound = completions.len() + COMPLETIONS_MAX;
        // Before the kernel's: an index that is free since a `Closed` may be used again by what follows.
        while completions.len() < bound
            && let Some(completion) = self.ready.pop_front()
        {
            completions.push(completion);
        }
        while self.ready.is_empty()
            && completions.len() + COMPLETIONS_OF_EVENT <= bound
            && let Some(event) = self.queues.next_event().or_else(|| self.queues.next_silent())
        {
            self.on_event(event, completions);
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

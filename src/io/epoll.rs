//! The epoll backend: the same completions, made from readiness.
//!
//! A socket is watched once, edge-triggered, for its whole life; what it is ready for is remembered here and tried when
//! its owner wants it. Operations that were started are tried at the start of the next wait, so that a turn has one
//! wait as on io_uring, besides a call for each read and write.

mod drive;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::disk_thread::{Direction, DiskThread};
use super::file::DiskFile;
use super::files::Files;
use super::interface::{
    COMPLETIONS_MAX, CloseHow, Completion, Counters, End, FileId, Io, ListenerId, Operation, SendReport,
    SocketId, Transfer, Waker,
};
use super::lease::{BUFFER_BYTES, BUFFERS, ReturnedBuffers, is_reusable};
use super::listen::{BACKLOG, Listener};
use super::socket::{self, AcceptError, CompletionTag, INDEX_MAX};
use super::waker::EventWaker;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::{Key, Slots};

/// Connections that one listener accepts in a turn.
const ACCEPTS_MAX: usize = 64;
/// Events of one wait. The others are reported by the next.
const EVENTS_MAX: usize = 512;
mod kind {
    pub(super) const LISTENER: u8 = 1;
    pub(super) const SOCKET: u8 = 2;
    pub(super) const WAKE: u8 = 3;
}

/// The epoll instance of one core.
pub struct Epoll {
    epoll: OwnedFd,
    sockets: Slots<EpollSocket>,
    files: Files,
    disk: DiskThread,
    listeners: Vec<EpollListener>,
    sends: Slots<EpollSend>,
    /// Sockets that may have something to do, each once.
    active: VecDeque<Key>,
    ready: VecDeque<Completion>,
    /// Ends of sends that do not end a wait.
    deferred: Vec<Completion>,
    buffers: BufferPool,
    waker: Arc<EventWaker>,
    events: Vec<epoll::Event>,
    counters: Counters,
}

struct EpollSocket {
    fd: OwnedFd,
    send: Option<Key>,
    wanted: bool,
    readable: bool,
    writable: bool,
    /// The peer has ended its side: reading goes on until that is reached.
    hung_up: bool,
    /// A send has failed, and taken the error with it that a receive would report.
    broken: bool,
    ended: bool,
    /// In the queue of active sockets.
    active: bool,
    shut_down_after_send: bool,
}

struct EpollSend {
    bytes: Vec<u8>,
    sent: usize,
    report: SendReport,
}

struct EpollListener {
    /// Absent once it has stopped.
    listener: Option<Listener>,
    armed: bool,
}

/// The receive buffers, as many as the ring provides to the kernel, so that both backends run dry alike.
struct BufferPool {
    free: Vec<(u16, Vec<u8>)>,
    home: Rc<ReturnedBuffers>,
}

impl BufferPool {
    fn new() -> BufferPool {
        BufferPool { free: (0..BUFFERS).map(|number| (number, Vec::new())).collect(), home: Rc::default() }
    }

    fn take(&mut self) -> Option<(u16, Vec<u8>)> {
        let (number, bytes) = self.free.pop()?;
        Some((number, if is_reusable(&bytes) { bytes } else { Vec::with_capacity(BUFFER_BYTES) }))
    }
}

impl Epoll {
    /// Opens an epoll instance.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn open() -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = Arc::new(EventWaker::new()?);
        let data = tag(kind::WAKE, Key { index: 0, generation: 0 });
        epoll::add(&epoll, &*waker, data, EventFlags::IN | EventFlags::ET)?;
        Ok(Epoll {
            epoll,
            sockets: Slots::new(),
            files: Files::default(),
            disk: DiskThread::default(),
            listeners: Vec::new(),
            sends: Slots::new(),
            active: VecDeque::new(),
            ready: VecDeque::new(),
            deferred: Vec::new(),
            buffers: BufferPool::new(),
            waker,
            events: Vec::with_capacity(EVENTS_MAX),
            counters: Counters::default(),
        })
    }

    fn insert(&mut self, fd: OwnedFd) -> io::Result<SocketId> {
        if self.sockets.len() >= INDEX_MAX as usize {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        let key = self.sockets.insert(EpollSocket {
            fd,
            send: None,
            wanted: false,
            // Its first event says.
            readable: false,
            writable: true,
            hung_up: false,
            broken: false,
            ended: false,
            active: false,
            shut_down_after_send: false,
        });
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let added = match self.sockets.get(key) {
            Some(socket) => epoll::add(&self.epoll, &socket.fd, tag(kind::SOCKET, key), flags),
            None => Err(Errno::BADF),
        };
        if let Err(errno) = added {
            self.sockets.remove(key);
            return Err(errno.into());
        }
        Ok(SocketId { index: key.index, generation: key.generation })
    }

    // ---- what the owner starts

    fn want(&mut self, id: SocketId, wanted: bool) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        socket.wanted = wanted;
        if wanted && socket.readable && !socket.ended {
            activate(&mut self.active, key(id), socket);
        }
    }

    fn send(&mut self, id: SocketId, bytes: Vec<u8>, report: SendReport) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        debug_assert!(socket.send.is_none(), "one send is in flight at a time");
        if socket.send.is_some() {
            self.ready.push_back(Completion::SendFailed { socket: id, bytes });
        } else if bytes.is_empty() {
            self.ready.push_back(Completion::Sent { socket: id, bytes });
        } else {
            socket.send = Some(self.sends.insert(EpollSend { bytes, sent: 0, report }));
            if socket.writable {
                activate(&mut self.active, key(id), socket);
            }
        }
    }

    fn shut_down_write(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(key(id)) else { return };
        if socket.send.is_some() {
            socket.shut_down_after_send = true;
        } else {
            socket::shut_down_write(&socket.fd);
        }
    }

    fn close(&mut self, id: SocketId, how: CloseHow) {
        let Some(socket) = self.sockets.remove(key(id)) else { return };
        if how == CloseHow::Reset {
            socket::reset(&socket.fd);
        }
        if let Some(sending) = socket.send.and_then(|send| self.sends.remove(send)) {
            self.ready.push_back(Completion::SendFailed { socket: id, bytes: sending.bytes });
        }
        // Another handle on an adopted socket would keep it in the epoll instance.
        let _ = epoll::delete(&self.epoll, &socket.fd);
        self.ready.push_back(Completion::Closed { socket: id });
    }

    fn accept(&mut self, id: ListenerId) {
        let Some(state) = self.listeners.get_mut(id.0 as usize) else { return };
        let Some(listener) = &state.listener else { return };
        if state.armed {
            return;
        }
        // Exclusive: of the cores that share a Unix socket one is woken.
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        match epoll::add(&self.epoll, listener, tag(kind::LISTENER, listener_key(id)), flags) {
            Ok(()) => state.armed = true,
            Err(errno) => {
                self.ready.push_back(Completion::AcceptFailed { listener: id, error: errno.into() });
            }
        }
    }

    fn stop_accepting(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(id.0 as usize).and_then(|state| state.listener.take())
        else {
            return;
        };
        let _ = epoll::delete(&self.epoll, &listener);
        // Those that are through their handshake are still served; as many again may arrive meanwhile.
        for _ in 0..2 * BACKLOG {
            match self.accept_one(id, &listener) {
                Ok(accepted) => self.ready.extend(accepted),
                Err(_) => break,
            }
        }
        socket::shut_down(&listener);
        self.ready.push_back(Completion::AcceptStopped { listener: id });
    }

    /// Accepts one connection: `Ok(None)` for one that is gone already.
    fn accept_one(&mut self, id: ListenerId, listener: &Listener) -> Result<Option<Completion>, Errno> {
        match socket::accept(listener, SocketFlags::NONBLOCK) {
            Ok(fd) => match socket::peer(listener, &fd) {
                Ok(peer) => {
                    let socket = self
                        .insert(fd)
                        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOBUFS))?;
                    Ok(Some(Completion::Accepted { listener: id, socket, peer }))
                }
                Err(_) => Ok(None),
            },
            Err(errno) if AcceptError::of(errno) == AcceptError::Connection => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn transfer(&mut self, direction: Direction, transfer: Box<Transfer>) {
        let started = match self.files.get(transfer.file) {
            Ok(file) => self.disk.start(&self.waker, file, direction, transfer),
            Err(error) => Err((transfer, error)),
        };
        if let Err((transfer, error)) = started {
            self.ready.push_back(direction.completion(transfer, Err(error)));
        }
    }

    // ---- a turn

    fn take_events(&mut self, timeout: Option<Timespec>) -> io::Result<()> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let tag = CompletionTag::unpack(event.data.u64());
            match tag.kind {
                kind::LISTENER => self.on_acceptable(ListenerId(tag.index)),
                kind::SOCKET => {
                    self.on_ready(Key { index: tag.index, generation: tag.generation }, event.flags)
                }
                // The waker's state says the rest.
                _ => {}
            }
        }
        self.events = events;
        Ok(())
    }

    fn on_acceptable(&mut self, id: ListenerId) {
        let Some(listener) = self.listeners.get_mut(id.0 as usize).and_then(|state| state.listener.take())
        else {
            return;
        };
        for _ in 0..ACCEPTS_MAX {
            match self.accept_one(id, &listener) {
                Ok(accepted) => self.ready.extend(accepted),
                Err(Errno::AGAIN) => break,
                Err(errno) => {
                    let _ = epoll::delete(&self.epoll, &listener);
                    self.listeners[id.0 as usize].armed = false;
                    self.ready.push_back(Completion::AcceptFailed { listener: id, error: errno.into() });
                    break;
                }
            }
        }
        self.listeners[id.0 as usize].listener = Some(listener);
    }

    fn on_ready(&mut self, key: Key, flags: EventFlags) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        let failed = flags.intersects(EventFlags::HUP | EventFlags::ERR);
        socket.hung_up |= failed || flags.intersects(EventFlags::RDHUP);
        socket.readable |= failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP);
        socket.writable |= failed || flags.intersects(EventFlags::OUT);
        if failed && !socket.wanted && !std::mem::replace(&mut socket.ended, true) {
            let id = SocketId { index: key.index, generation: key.generation };
            self.ready.push_back(Completion::Ended { socket: id, end: End::Broken });
        }
        if socket.wanted && socket.readable && !socket.ended || socket.send.is_some() && socket.writable {
            activate(&mut self.active, key, socket);
        }
    }

    /// Returns whether something can be done without waiting for the kernel.
    fn has_work(&self) -> bool {
        // A socket is active with a send that can be written, or because it can be read: for that it needs a buffer.
        let can_progress = !self.buffers.free.is_empty()
            || self.active.iter().any(|key| {
                self.sockets.get(*key).is_some_and(|socket| socket.send.is_some() && socket.writable)
            });
        !self.ready.is_empty() || !self.active.is_empty() && can_progress
    }

    fn take_ready(&mut self, bound: usize, completions: &mut Vec<Completion>) {
        while completions.len() < bound
            && let Some(completion) = self.ready.pop_front()
        {
            completions.push(completion);
        }
    }
}

fn activate(active: &mut VecDeque<Key>, key: Key, socket: &mut EpollSocket) {
    if !std::mem::replace(&mut socket.active, true) {
        active.push_back(key);
    }
}

fn key(id: SocketId) -> Key {
    Key { index: id.index, generation: id.generation }
}

fn listener_key(id: ListenerId) -> Key {
    Key { index: id.0, generation: 0 }
}

fn tag(kind: u8, key: Key) -> EventData {
    EventData::new_u64(CompletionTag { kind, index: key.index, generation: key.generation }.pack())
}

fn timespec(nanos: u64) -> Timespec {
    Timespec { tv_sec: (nanos / NANOS_PER_SECOND) as i64, tv_nsec: (nanos % NANOS_PER_SECOND) as _ }
}

impl Io for Epoll {
    type Listener = Listener;
    type Stream = OwnedFd;
    type File = DiskFile;

    fn add_listener(&mut self, listener: Listener) -> io::Result<ListenerId> {
        listener.set_nonblocking(true)?;
        let id = ListenerId(u32::try_from(self.listeners.len()).map_err(io::Error::other)?);
        self.listeners.push(EpollListener { listener: Some(listener), armed: false });
        Ok(id)
    }

    fn adopt(&mut self, stream: OwnedFd) -> io::Result<SocketId> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        self.insert(stream)
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
            // A socket that rests holds no more than one that does not.
            Operation::Receive { socket } | Operation::Rest { socket } => self.want(socket, true),
            Operation::StopReceiving { socket } => self.want(socket, false),
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
        self.buffers.home.take(&mut self.buffers.free);
        let bound = completions.len() + COMPLETIONS_MAX;
        // What was started since the last wait, and what a bound has left over.
        self.take_ready(bound, completions);
        self.drive(bound, completions);
        let waits = until.is_none_or(|until| until > now)
            && completions.is_empty()
            && !self.has_work()
            && self.waker.begin_wait();
        let timeout = match until {
            Some(until) if waits => Some(timespec(until - now)),
            None if waits => None,
            _ => Some(timespec(0)),
        };
        let taken = self.take_events(timeout);
        if self.waker.end_wait() {
            self.ready.push_back(Completion::Woken);
            self.ready.extend(std::iter::from_fn(|| self.disk.next()));
        }
        taken?;
        completions.append(&mut self.deferred);
        self.take_ready(bound, completions);
        if self.ready.is_empty() {
            self.drive(bound, completions);
        }
        completions.append(&mut self.deferred);
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

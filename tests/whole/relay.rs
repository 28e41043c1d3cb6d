//! The smallest engine that uses all of a kernel: each core hands what it receives to the next core, which hands it back
//! to be sent. It shows that the simulation loses and reorders nothing by itself, with messages between cores.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tidegate::io::{CloseHow, Completion, End, Io, ListenerId, Operation, SendReport, SocketId, Waker};

use crate::driver::Core;
use crate::kernel::SimKernel;

/// What waits to be sent before receiving stops.
const BEHIND_BYTES: usize = 64 * 1024;
/// Silence after which a socket rests, in nanoseconds.
const QUIET_NANOS: u64 = 3_000_000;
/// Pause after accepting has failed, in nanoseconds.
const ACCEPT_PAUSE: u64 = 5_000_000;

pub enum Message {
    /// To the next core.
    There { core: usize, socket: SocketId, bytes: Vec<u8> },
    /// Back to the core of the socket.
    Back { socket: SocketId, bytes: Vec<u8> },
}

/// Mailboxes of all cores.
pub type Mailboxes = Rc<RefCell<Vec<(VecDeque<Message>, Waker)>>>;

#[derive(Default)]
struct Connection {
    output: VecDeque<u8>,
    /// Bytes at the next core.
    away: usize,
    sending: bool,
    stopped: bool,
    ended: bool,
    shut_down: bool,
    closing: bool,
    last_received: u64,
}

pub struct Relay {
    kernel: SimKernel,
    listener: ListenerId,
    mailboxes: Mailboxes,
    connections: BTreeMap<(u32, u32), Connection>,
    /// Time at which accepting is tried again.
    accept_at: Option<u64>,
    pub accepted: usize,
    pub closed: usize,
    pub failures: usize,
}

impl Relay {
    pub fn new(mut kernel: SimKernel, listener: ListenerId, mailboxes: Mailboxes) -> Relay {
        kernel.start(Operation::Accept { listener });
        Relay {
            kernel,
            listener,
            mailboxes,
            connections: BTreeMap::new(),
            accept_at: None,
            accepted: 0,
            closed: 0,
            failures: 0,
        }
    }

    fn post(&self, core: usize, message: Message) {
        let (queue, waker) = &mut self.mailboxes.borrow_mut()[core];
        queue.push_back(message);
        waker.wake();
    }

    fn on_completion(&mut self, now: u64, completion: Completion) {
        match completion {
            Completion::Accepted { socket, .. } => {
                self.accepted += 1;
                let fresh = Connection { last_received: now, ..Connection::default() };
                assert!(self.connections.insert(key(socket), fresh).is_none());
                self.kernel.start(Operation::Receive { socket });
            }
            Completion::AcceptFailed { .. } => {
                self.failures += 1;
                self.accept_at = Some(now + ACCEPT_PAUSE);
            }
            Completion::AcceptStopped { .. } => panic!("nobody has asked"),
            Completion::Received { socket, lease } => {
                let Some(connection) = self.connections.get_mut(&key(socket)) else { panic!("{socket:?}") };
                connection.last_received = now;
                connection.away += lease.len();
                let cores = self.mailboxes.borrow().len();
                let core = self.kernel.core();
                self.post((core + 1) % cores, Message::There { core, socket, bytes: lease.to_vec() });
                self.go_on(socket);
            }
            Completion::Ended { socket, end } => {
                let Some(connection) = self.connections.get_mut(&key(socket)) else { panic!("{socket:?}") };
                connection.ended = true;
                if end == End::Broken {
                    self.close(socket, CloseHow::Reset);
                } else {
                    self.go_on(socket);
                }
            }
            Completion::SendProgressed { .. } => {}
            Completion::Sent { socket, .. } => {
                if let Some(connection) = self.connections.get_mut(&key(socket)) {
                    connection.sending = false;
                }
                self.go_on(socket);
            }
            Completion::SendFailed { socket, .. } => self.close(socket, CloseHow::Graceful),
            Completion::Closed { socket } => {
                assert!(self.connections.remove(&key(socket)).is_some_and(|connection| connection.closing));
                self.closed += 1;
            }
            Completion::Written { .. } | Completion::ReadDone { .. } => panic!("it has no file"),
            Completion::Woken => self.read_mail(),
        }
    }

    fn read_mail(&mut self) {
        let messages = std::mem::take(&mut self.mailboxes.borrow_mut()[self.kernel.core()].0);
        for message in messages {
            match message {
                Message::There { core, socket, bytes } => self.post(core, Message::Back { socket, bytes }),
                Message::Back { socket, bytes } => {
                    // It may be closed by now.
                    let Some(connection) = self.connections.get_mut(&key(socket)) else { continue };
                    connection.away -= bytes.len();
                    connection.output.extend(bytes);
                    self.go_on(socket);
                }
            }
        }
    }

    /// Starts what a connection can do next.
    fn go_on(&mut self, socket: SocketId) {
        let Some(connection) = self.connections.get_mut(&key(socket)) else { return };
        if connection.closing {
            return;
        }
        let behind = connection.away + connection.output.len() > BEHIND_BYTES;
        if behind != connection.stopped && !connection.ended {
            connection.stopped = behind;
            self.kernel.start(match behind {
                true => Operation::StopReceiving { socket },
                false => Operation::Receive { socket },
            });
        }
        if !connection.sending && !connection.output.is_empty() {
            connection.sending = true;
            let bytes = connection.output.drain(..).collect();
            self.kernel.start(Operation::Send { socket, bytes, report: SendReport::Prompt });
        }
        if connection.ended && connection.away == 0 && !connection.sending && connection.output.is_empty() {
            if !std::mem::replace(&mut connection.shut_down, true) {
                self.kernel.start(Operation::ShutdownWrite { socket });
            }
            self.close(socket, CloseHow::Graceful);
        }
    }

    fn close(&mut self, socket: SocketId, how: CloseHow) {
        if let Some(connection) = self.connections.get_mut(&key(socket)) {
            connection.closing = true;
            self.kernel.start(Operation::Close { socket, how });
        }
    }

    fn on_time(&mut self, now: u64) {
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.kernel.start(Operation::Accept { listener: self.listener });
        }
        for ((index, generation), connection) in &mut self.connections {
            if connection.last_received + QUIET_NANOS <= now && !connection.stopped && !connection.ended {
                connection.last_received = now;
                let socket = SocketId { index: *index, generation: *generation };
                self.kernel.start(Operation::Rest { socket });
            }
        }
    }
}

impl Core for Relay {
    fn turn(&mut self, now: u64) {
        let mut completions = Vec::new();
        self.kernel.wait(now, self.accept_at, &mut completions).expect("the simulation serves");
        completions.into_iter().for_each(|completion| self.on_completion(now, completion));
        self.on_time(now);
    }
}

fn key(socket: SocketId) -> (u32, u32) {
    (socket.index, socket.generation)
}

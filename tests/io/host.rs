//! The owner of a backend in tests: keeps what every socket has reported, and holds the order that the interface
//! promises.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use tidegate::io::{
    BufferLease, CloseHow, Completion, End, Io, ListenerId, Operation, Safety, SendReport, SocketId, Transfer,
};

/// A backend and the clients that can reach it.
pub trait World: Sized {
    type Io: Io;
    type Client: Client;

    /// More bytes than the kernel takes for a peer that does not read, on any of its defaults.
    const MORE_THAN_FITS: usize = 16 << 20;

    fn open() -> Self;
    /// Runs a scenario as often as this world differs.
    fn each_seed(scenario: fn()) {
        scenario();
    }
    fn io(&mut self) -> &mut Self::Io;
    /// Opens a listener that [`World::connect`] reaches from then on.
    fn listener(&mut self) -> <Self::Io as Io>::Listener;
    /// Connects, as far as the kernel accepts: `None` if the connection is refused.
    fn try_connect(&mut self) -> Option<Self::Client>;
    /// A connected pair: what the backend adopts, and its peer.
    fn pair(&mut self) -> (<Self::Io as Io>::Stream, Self::Client);
    /// A file of `bytes` zeros.
    fn file(&mut self, bytes: usize, safety: Safety) -> <Self::Io as Io>::File;
    /// Nanoseconds of the clock that waits are told.
    fn now(&mut self) -> u64;

    /// Called after a wait that reported nothing. Returns whether it would go on: a real one has waited already.
    fn goes_on(&mut self, _until: Option<u64>) -> bool {
        false
    }

    fn connect(&mut self) -> Self::Client {
        self.try_connect().expect("connects")
    }
}

/// The other end of a connection. Nothing here blocks.
pub trait Client {
    /// Sends a part of `bytes` and returns how much, or `None` if the connection is gone.
    fn send(&mut self, bytes: &[u8]) -> Option<usize>;
    fn receive(&mut self, into: &mut Vec<u8>) -> Heard;
    fn shutdown_write(&mut self);
    /// Resets the connection.
    fn reset(self);
    /// Asks for the smallest buffer for what it receives. Before anything is sent.
    fn shrink_receive_buffer(&mut self, bytes: usize);
}

/// Outcome of one attempt to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Bytes,
    Nothing,
    End,
    Reset,
}

/// Time of one turn that finds nothing, in nanoseconds.
const TURN_NANOS: u64 = 1_000_000;
/// Turns until what is awaited must have happened: far more than the slowest machine takes.
const TURNS_MAX: u32 = 60_000;

/// All that one socket has reported.
#[derive(Debug, Default)]
pub struct Seen {
    pub received: Vec<u8>,
    /// Leases that are held back, if so asked.
    pub leases: Vec<BufferLease>,
    pub ended: Option<End>,
    /// What is being sent.
    pub sending: Option<Vec<u8>>,
    pub sent: u32,
    pub failed: u32,
    pub progressed: u32,
    pub closing: bool,
    pub closed: bool,
    pub peer: Option<IpAddr>,
}

pub struct Host<W: World> {
    pub world: W,
    pub listener: ListenerId,
    pub sockets: HashMap<SocketId, Seen>,
    /// Indices of the sockets that are open.
    open: HashSet<u32>,
    /// Accepted and not yet taken by a test.
    pub accepted: Vec<SocketId>,
    pub accept_errors: Vec<io::Error>,
    pub accept_stopped: bool,
    pub woken: u64,
    /// Transfers that have ended: whether it was a write, and how.
    pub transferred: Vec<(bool, Box<Transfer>, io::Result<()>)>,
    /// Leases are kept in [`Seen::leases`] instead of being dropped.
    pub hold_leases: bool,
    /// Sends that were started.
    sends: u64,
}

impl<W: World> Host<W> {
    /// A backend with a listener that accepts.
    pub fn new() -> Host<W> {
        let mut world = W::open();
        let listener = world.listener();
        let listener = world.io().add_listener(listener).expect("a listener is added");
        let mut host = Host {
            world,
            listener,
            sockets: HashMap::new(),
            open: HashSet::new(),
            accepted: Vec::new(),
            accept_errors: Vec::new(),
            accept_stopped: false,
            woken: 0,
            transferred: Vec::new(),
            hold_leases: false,
            sends: 0,
        };
        host.start(Operation::Accept { listener });
        // What is started reaches the kernel in the next wait.
        host.turn();
        host
    }

    pub fn start(&mut self, operation: Operation) {
        self.world.io().start(operation);
    }

    /// One wait, as short as there is nothing.
    pub fn turn(&mut self) {
        let now = self.world.now();
        self.wait(now, Some(now + TURN_NANOS));
    }

    pub fn wait(&mut self, now: u64, until: Option<u64>) {
        let mut completions = Vec::new();
        self.world.io().wait(now, until, &mut completions).expect("the kernel serves");
        while completions.is_empty() && self.world.goes_on(until) {
            let now = self.world.now();
            self.world.io().wait(now, until, &mut completions).expect("the kernel serves");
        }
        assert!(completions.len() <= tidegate::io::COMPLETIONS_MAX);
        completions.into_iter().for_each(|completion| self.take(completion));
    }

    /// Turns until `done`, calling it in each.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Host<W>) -> bool) {
        for _ in 0..TURNS_MAX {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("never happened: {what}");
    }

    /// Turns a little: what should not happen has had its chance.
    pub fn settle(&mut self) {
        (0..20).for_each(|_| self.turn());
    }

    /// Connects a client; its socket receives nothing yet.
    pub fn connection(&mut self) -> (SocketId, W::Client) {
        let client = self.world.connect();
        self.until("a connection is accepted", |host| !host.accepted.is_empty());
        (self.accepted.remove(0), client)
    }

    pub fn receive(&mut self, socket: SocketId) {
        self.start(Operation::Receive { socket });
    }

    pub fn rest(&mut self, socket: SocketId) {
        self.start(Operation::Rest { socket });
    }

    pub fn stop(&mut self, socket: SocketId) {
        self.start(Operation::StopReceiving { socket });
    }

    pub fn send(&mut self, socket: SocketId, bytes: &[u8]) {
        let seen = self.sockets.get_mut(&socket).expect("a socket that is known");
        assert!(seen.sending.is_none(), "a test sends one after the other");
        seen.sending = Some(bytes.to_vec());
        // Both ways of reporting promise the same, but for the time.
        self.sends += 1;
        let report = if self.sends.is_multiple_of(2) { SendReport::Prompt } else { SendReport::Deferred };
        self.start(Operation::Send { socket, bytes: bytes.to_vec(), report });
    }

    /// Closes and waits for the end.
    pub fn close(&mut self, socket: SocketId, how: CloseHow) {
        self.start_close(socket, how);
        self.until("a socket closes", |host| host.sockets[&socket].closed);
    }

    pub fn start_close(&mut self, socket: SocketId, how: CloseHow) {
        self.sockets.get_mut(&socket).expect("a socket that is known").closing = true;
        self.start(Operation::Close { socket, how });
    }

    pub fn seen(&mut self, socket: SocketId) -> &mut Seen {
        self.sockets.get_mut(&socket).expect("a socket that is known")
    }

    /// Sends all of `bytes` from the client, whatever pieces the kernel takes.
    pub fn feed(&mut self, client: &mut W::Client, bytes: &[u8]) {
        let mut sent = 0;
        self.until("a client's bytes are taken", |_| {
            sent += client.send(&bytes[sent..]).expect("the connection is there");
            sent == bytes.len()
        });
    }

    /// Receives at the client until it has `count` bytes.
    pub fn drain(&mut self, client: &mut W::Client, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("a client receives", |_| {
            while bytes.len() < count && client.receive(&mut bytes) == Heard::Bytes {}
            bytes.len() >= count
        });
        bytes
    }

    /// Waits until the client hears the end of the connection, and returns which.
    pub fn hear_end(&mut self, client: &mut W::Client, into: &mut Vec<u8>) -> Heard {
        let mut end = Heard::Nothing;
        self.until("a client hears the end", |_| {
            while end == Heard::Nothing || end == Heard::Bytes {
                end = client.receive(into);
                if end == Heard::Nothing {
                    return false;
                }
            }
            true
        });
        end
    }

    fn take(&mut self, completion: Completion) {
        match completion {
            Completion::Accepted { listener, socket, peer } => {
                assert_eq!(listener, self.listener);
                assert!(self.open.insert(socket.index), "an index is used again only after its `Closed`");
                let fresh = self.sockets.insert(socket, Seen { peer, ..Seen::default() }).is_none();
                assert!(fresh, "a generation is never used again");
                self.accepted.push(socket);
            }
            Completion::AcceptFailed { error, .. } => self.accept_errors.push(error),
            Completion::AcceptStopped { .. } => self.accept_stopped = true,
            Completion::Received { socket, lease } => {
                let seen = self.open(socket);
                assert!(seen.ended.is_none() && !seen.closing && !lease.is_empty(), "{seen:?}");
                seen.received.extend_from_slice(&lease);
                if self.hold_leases {
                    self.seen(socket).leases.push(lease);
                }
            }
            Completion::Ended { socket, end } => {
                let seen = self.open(socket);
                assert!(!seen.closing && seen.ended.replace(end).is_none());
            }
            Completion::SendProgressed { socket } => {
                let seen = self.open(socket);
                assert!(seen.sending.is_some());
                seen.progressed += 1;
            }
            Completion::Sent { socket, bytes } => {
                let seen = self.open(socket);
                assert_eq!(seen.sending.take().as_ref(), Some(&bytes), "the bytes come back unchanged");
                seen.sent += 1;
            }
            Completion::SendFailed { socket, bytes } => {
                let seen = self.open(socket);
                assert_eq!(seen.sending.take().as_ref(), Some(&bytes), "the bytes come back unchanged");
                seen.failed += 1;
            }
            Completion::Closed { socket } => {
                let seen = self.open(socket);
                assert!(seen.closing && seen.sending.is_none(), "{seen:?}");
                seen.closed = true;
                self.open.remove(&socket.index);
            }
            Completion::Woken => self.woken += 1,
            Completion::Written { transfer, result } => self.transferred.push((true, transfer, result)),
            Completion::ReadDone { transfer, result } => self.transferred.push((false, transfer, result)),
        }
    }

    /// A socket that a completion may name.
    fn open(&mut self, socket: SocketId) -> &mut Seen {
        let seen = self.sockets.get_mut(&socket).expect("a completion names a socket that was accepted");
        assert!(!seen.closed, "`Closed` is the last completion of a socket");
        seen
    }

    /// Registers a socket that was adopted.
    pub fn adopt(&mut self) -> (SocketId, W::Client) {
        let (stream, client) = self.world.pair();
        let socket = self.world.io().adopt(stream).expect("a stream is adopted");
        assert!(self.open.insert(socket.index));
        self.sockets.insert(socket, Seen::default());
        (socket, client)
    }
}

/// Numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// Bytes that show where they belong: the first `count` of stream `stream`.
pub fn pattern(stream: u64, count: usize) -> Vec<u8> {
    let mut random = Random(stream);
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

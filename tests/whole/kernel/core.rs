//! One core's kernel: what is wanted and under way for each of its sockets.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate::base::block::BLOCK_BYTES;
use tidegate::base::slots::{Key, Slots};
use tidegate::io::{
    BUFFER_BYTES, BUFFERS, BufferLease, COMPLETIONS_MAX, CloseHow, Completion, Counters, End, FileId, Io,
    ListenerId, Operation, ReturnedBuffers, SendReport, SocketId, Transfer, Wake, Waker,
};

use super::disk::{Disk, SimFile};
use super::state::{Event, Random, State};

/// A listener on an address of the simulated network.
#[derive(Debug)]
pub struct SimListener {
    pub(super) address: u16,
}

/// A connected socket that nobody has accepted.
#[derive(Debug)]
pub struct SimStream {
    pub(super) connection: usize,
}

pub struct ListenerState {
    pub address: u16,
    pub backlog: VecDeque<usize>,
    pub stopped: bool,
    armed: bool,
    stopping: bool,
}

/// What the simulation keeps of a core.
pub struct Core {
    pub sockets: Slots<Socket>,
    pub listeners: Vec<ListenerState>,
    files: Slots<SimFile>,
    transfers: BTreeMap<usize, Transferring>,
    transfers_begun: usize,
    /// Time until which it waits.
    pub until: Option<u64>,
    /// A wake has arrived.
    pub woken: bool,
    wake: Arc<SimWaker>,
    /// A wake is on its way.
    wake_under_way: bool,
    active: VecDeque<Key>,
    /// Sockets that wait for a buffer.
    starved: VecDeque<Key>,
    ready: VecDeque<Completion>,
    /// Ends of sends that do not end a wait.
    deferred: Vec<Completion>,
    free: Vec<(u16, Vec<u8>)>,
    home: Rc<ReturnedBuffers>,
    counters: Counters,
}

/// A transfer that has not ended.
struct Transferring {
    transfer: Box<Transfer>,
    file: SimFile,
    /// Its number on the disk; `None`: it is a read.
    write: Option<u64>,
}

#[derive(Debug)]
pub struct Socket {
    connection: usize,
    wanted: Wanted,
    ended: bool,
    broken: bool,
    active: bool,
    sending: Option<(Vec<u8>, usize)>,
    report: SendReport,
    shut_down_after_send: bool,
    closing: Option<CloseHow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// So many pieces were received already when it was told to stop.
    Last(u8),
    All,
}

#[derive(Debug, Default)]
struct SimWaker {
    asked: AtomicBool,
}

impl Wake for SimWaker {
    fn wake(&self) {
        self.asked.store(true, Ordering::Release);
    }
}

impl Core {
    fn new() -> Core {
        Core {
            sockets: Slots::new(),
            listeners: Vec::new(),
            files: Slots::new(),
            transfers: BTreeMap::new(),
            transfers_begun: 0,
            until: Some(0),
            woken: false,
            wake: Arc::default(),
            wake_under_way: false,
            active: VecDeque::new(),
            starved: VecDeque::new(),
            ready: VecDeque::new(),
            deferred: Vec::new(),
            free: (0..BUFFERS).map(|number| (number, Vec::with_capacity(BUFFER_BYTES))).collect(),
            home: Rc::default(),
            counters: Counters::default(),
        }
    }

    /// Takes note of a wake. Returns whether it is the first since the last was reported.
    pub fn wake_asked(&mut self) -> bool {
        self.wake.asked.swap(false, Ordering::AcqRel) && !std::mem::replace(&mut self.wake_under_way, true)
    }

    pub fn activate(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key)
            && !std::mem::replace(&mut socket.active, true)
        {
            self.active.push_back(key);
        }
    }

    fn collect_buffers(&mut self) {
        let before = self.free.len();
        self.home.take(&mut self.free);
        for (_, bytes) in &mut self.free[before..] {
            if bytes.capacity() < BUFFER_BYTES {
                *bytes = Vec::with_capacity(BUFFER_BYTES);
            }
        }
        assert!(self.free.len() <= usize::from(BUFFERS), "a buffer was returned twice");
        if !self.free.is_empty() {
            for key in std::mem::take(&mut self.starved) {
                self.activate(key);
            }
        }
    }

    pub fn lent_buffers(&mut self) -> usize {
        self.collect_buffers();
        usize::from(BUFFERS) - self.free.len()
    }

    /// Whether a wait would report something.
    pub fn has_work(&mut self) -> bool {
        self.collect_buffers();
        let accepts = |listener: &ListenerState| {
            listener.armed && (!listener.backlog.is_empty() || listener.stopping)
                || listener.stopping && !listener.stopped
        };
        self.woken || !self.ready.is_empty() || !self.active.is_empty() || self.listeners.iter().any(accepts)
    }
}

/// The kernel of one core.
pub struct SimKernel {
    state: Rc<RefCell<State>>,
    core: usize,
}

impl SimKernel {
    pub(super) fn new(state: Rc<RefCell<State>>) -> SimKernel {
        let core = state.borrow().cores.len();
        state.borrow_mut().cores.push(Core::new());
        SimKernel { state, core }
    }

    /// Number of this core in its world.
    pub fn core(&self) -> usize {
        self.core
    }
}

/// One wait of one core.
struct Turn<'a> {
    state: &'a mut State,
    core: usize,
    completions: &'a mut Vec<Completion>,
    bound: usize,
}

impl Turn<'_> {
    fn this(&mut self) -> &mut Core {
        &mut self.state.cores[self.core]
    }

    fn is_full(&self) -> bool {
        self.completions.len() >= self.bound
    }

    /// Puts something off to a later wait, by chance.
    fn defers(&mut self) -> bool {
        let many = self.state.config.defer_one_in;
        many > 0 && self.state.random.one_in(many)
    }

    fn take_ready(&mut self) {
        while !self.is_full()
            && let Some(completion) = self.this().ready.pop_front()
        {
            self.completions.push(completion);
        }
    }

    fn accept(&mut self) {
        for at in 0..self.this().listeners.len() {
            if self.defers() {
                continue;
            }
            let exhausted = self.state.descriptors_exhausted;
            let listener = ListenerId(at as u32);
            while !self.is_full() && (self.this().listeners[at].armed || self.this().listeners[at].stopping) {
                let state = &mut self.this().listeners[at];
                if state.backlog.is_empty() || exhausted {
                    break;
                }
                if let Some(connection) = state.backlog.pop_front() {
                    self.admit(listener, connection);
                }
            }
            let full = self.is_full();
            let state = &mut self.this().listeners[at];
            if state.stopping && !state.stopped && !full {
                // What is left in the backlog is refused.
                state.stopped = true;
                state.armed = false;
                let backlog = std::mem::take(&mut state.backlog);
                let now = self.state.now;
                backlog.into_iter().for_each(|connection| self.state.connections[connection].refuse(now));
                self.completions.push(Completion::AcceptStopped { listener });
            } else if state.armed && exhausted && !state.backlog.is_empty() && !full {
                state.armed = false;
                let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
                self.completions.push(Completion::AcceptFailed { listener, error });
            }
        }
    }

    fn admit(&mut self, listener: ListenerId, connection: usize) {
        let socket = self.this().insert(connection);
        let core = self.core;
        let of = &mut self.state.connections[connection];
        of.server = Some((core, key(socket)));
        let peer = of.peer;
        self.completions.push(Completion::Accepted { listener, socket, peer });
    }

    fn drive_all(&mut self) {
        let mut active = std::mem::take(&mut self.this().active);
        let keys = self.state.shuffle(&mut active);
        for key in keys {
            if self.completions.len() + COMPLETIONS_OF_SOCKET > self.bound || self.defers() {
                self.this().active.push_back(key);
                continue;
            }
            if let Some(socket) = self.this().sockets.get_mut(key) {
                socket.active = false;
                self.drive(key);
            }
        }
    }

    fn drive(&mut self, key: Key) {
        // In any order: the two directions are independent.
        if self.state.random.one_in(2) {
            self.write(key);
            self.read(key);
        } else {
            self.read(key);
            self.write(key);
        }
        self.finish_close(key);
    }

    fn read(&mut self, key: Key) {
        for _ in 0..PIECES_MAX {
            if !self.read_piece(key) {
                return;
            }
        }
        self.this().activate(key);
    }

    /// Receives one piece. Returns whether there may be more.
    fn read_piece(&mut self, key: Key) -> bool {
        let (now, cuts) = (self.state.now, self.state.config.cuts);
        let core = &mut self.state.cores[self.core];
        let Some(socket) = core.sockets.get_mut(key) else { return false };
        if socket.ended || socket.closing.is_some() {
            return false;
        }
        let id = id(key);
        let connection = &mut self.state.connections[socket.connection];
        // A reset is told whether or not something is wanted.
        if socket.wanted == Wanted::Nothing && !connection.inbound.is_reset(now) {
            return false;
        }
        let broken = connection.inbound.is_reset(now) || socket.broken;
        if broken || connection.inbound.is_at_end(now) {
            socket.ended = true;
            let end = if broken { End::Broken } else { End::HalfClosed };
            self.completions.push(Completion::Ended { socket: id, end });
            return false;
        }
        if !connection.inbound.has_bytes(now) {
            return false;
        }
        let Some((number, mut bytes)) = core.free.pop() else {
            core.counters.out_of_buffers += 1;
            core.starved.push_back(key);
            return false;
        };
        socket.wanted = match socket.wanted {
            Wanted::Last(pieces) if pieces > 1 => Wanted::Last(pieces - 1),
            Wanted::Last(_) => Wanted::Nothing,
            other => other,
        };
        let most = match cuts && self.state.random.one_in(2) {
            true => 1 + self.state.random.below(100),
            false => BUFFER_BYTES,
        };
        connection.inbound.take(now, most, &mut bytes);
        let lease = BufferLease::new(number, bytes, &core.home);
        self.completions.push(Completion::Received { socket: id, lease });
        true
    }

    fn write(&mut self, key: Key) {
        let (now, at) = (self.state.now, self.state.arrival());
        let cut = self.state.config.cuts && self.state.random.one_in(2);
        let core = &mut self.state.cores[self.core];
        let Some(socket) = core.sockets.get_mut(key) else { return };
        let Some((bytes, sent)) = &mut socket.sending else { return };
        let connection = &mut self.state.connections[socket.connection];
        if socket.broken || connection.inbound.is_reset(now) || connection.client_closed {
            socket.broken = true;
            return self.end_send(key, false);
        }
        let mut count = connection.outbound.room().min(bytes.len() - *sent);
        if cut {
            count = count.min(1 + self.state.random.below(count));
        }
        let was_deferred = std::mem::replace(&mut socket.report, SendReport::Prompt) == SendReport::Deferred;
        if count == 0 {
            // There is room when the client has received.
            if was_deferred {
                self.completions.push(Completion::SendProgressed { socket: id(key) });
            }
            return;
        }
        let at = connection.outbound.push(at, &bytes[*sent..*sent + count]);
        *sent += count;
        let whole = *sent == bytes.len();
        if whole && was_deferred {
            socket.report = SendReport::Deferred;
        }
        self.state.schedule(at, Event::Client);
        if whole {
            return self.end_send(key, true);
        }
        self.this().counters.partial_sends += 1;
        self.completions.push(Completion::SendProgressed { socket: id(key) });
        self.this().activate(key);
    }

    fn end_send(&mut self, key: Key, whole: bool) {
        let Some(socket) = self.state.cores[self.core].sockets.get_mut(key) else { return };
        let Some((bytes, _)) = socket.sending.take() else { return };
        let shut_down = std::mem::take(&mut socket.shut_down_after_send);
        let (socket, connection, report) = (id(key), socket.connection, socket.report);
        match (whole, report) {
            (false, _) => self.completions.push(Completion::SendFailed { socket, bytes }),
            (true, SendReport::Prompt) => self.completions.push(Completion::Sent { socket, bytes }),
            (true, SendReport::Deferred) => self.this().deferred.push(Completion::Sent { socket, bytes }),
        }
        if shut_down {
            self.state.shut_down_write(connection);
        }
        // A connection that is broken ends its receive as well.
        self.this().activate(key);
    }

    /// Closes a socket that is closing, some wait or other after it was told to.
    fn finish_close(&mut self, key: Key) {
        let Some(how) = self.this().sockets.get(key).and_then(|socket| socket.closing) else { return };
        if self.defers() {
            return self.this().activate(key);
        }
        self.end_send(key, false);
        let Some(socket) = self.this().sockets.remove(key) else { return };
        self.state.close_server(socket.connection, how);
        let deferred = std::mem::take(&mut self.this().deferred);
        self.completions.extend(deferred);
        self.completions.push(Completion::Closed { socket: id(key) });
    }
}

/// Pieces that one socket receives in a wait.
const PIECES_MAX: usize = 4;
/// Completions that one socket makes in a wait at most.
const COMPLETIONS_OF_SOCKET: usize = PIECES_MAX + 4;

impl Core {
    fn insert(&mut self, connection: usize) -> SocketId {
        id(self.sockets.insert(Socket {
            connection,
            wanted: Wanted::Nothing,
            ended: false,
            broken: false,
            active: false,
            sending: None,
            report: SendReport::Prompt,
            shut_down_after_send: false,
            closing: None,
        }))
    }
}

impl State {
    fn shut_down_write(&mut self, connection: usize) {
        let at = self.arrival();
        let at = self.connections[connection].outbound.end(at);
        self.schedule(at, Event::Client);
    }

    fn close_server(&mut self, connection: usize, how: CloseHow) {
        let (now, at) = (self.now, self.arrival());
        let of = &mut self.connections[connection];
        of.server = None;
        of.server_closed = true;
        // Bytes that nobody reads are answered by a reset, which overtakes what was sent.
        let at = if how == CloseHow::Reset || !of.inbound.is_empty() {
            of.reset_client(now, at);
            at
        } else {
            of.outbound.end(at)
        };
        of.inbound.clear();
        self.schedule(at, Event::Client);
    }

    fn begin_transfer(&mut self, core: usize, transfer: Box<Transfer>, is_write: bool) {
        assert!(transfer.offset.is_multiple_of(BLOCK_BYTES as u64), "a transfer is aligned");
        let of = &mut self.cores[core];
        let key = Key { index: transfer.file.index, generation: transfer.file.generation };
        let Some(file) = of.files.get(key).cloned() else {
            let result = Err(rustix::io::Errno::BADF.into());
            return of.ready.push_back(match is_write {
                true => Completion::Written { transfer, result },
                false => Completion::ReadDone { transfer, result },
            });
        };
        let write = is_write.then(|| self.disk.begin_write(&file, transfer.offset, transfer.block.bytes()));
        let number = of.transfers_begun;
        of.transfers_begun += 1;
        of.transfers.insert(number, Transferring { transfer, file, write });
        let at = self.now + self.disk.delay(&mut self.random);
        self.schedule(at, Event::Transfer { core, transfer: number });
    }

    fn start(&mut self, core: usize, operation: Operation) {
        let pieces = self.random.below(3) as u8;
        let of = &mut self.cores[core];
        match operation {
            Operation::Write(transfer) => self.begin_transfer(core, transfer, true),
            Operation::Read(transfer) => self.begin_transfer(core, transfer, false),
            Operation::CloseFile { file } => {
                of.files.remove(Key { index: file.index, generation: file.generation });
            }
            Operation::Accept { listener } => {
                let listener = &mut of.listeners[listener.0 as usize];
                listener.armed = !listener.stopping;
            }
            Operation::StopAccepting { listener } => of.listeners[listener.0 as usize].stopping = true,
            Operation::Receive { socket } | Operation::Rest { socket } => of.want(socket, Wanted::All),
            Operation::StopReceiving { socket } => {
                of.want(socket, if pieces == 0 { Wanted::Nothing } else { Wanted::Last(pieces) });
            }
            Operation::Send { socket, bytes, report } => {
                let Some(state) = of.open(socket) else { return };
                assert!(state.sending.is_none(), "one send is in flight at a time");
                if bytes.is_empty() {
                    of.ready.push_back(Completion::Sent { socket, bytes });
                } else {
                    state.sending = Some((bytes, 0));
                    state.report = report;
                    of.activate(key(socket));
                }
            }
            Operation::ShutdownWrite { socket } => {
                let Some(state) = of.open(socket) else { return };
                let connection = state.connection;
                if state.sending.is_some() {
                    state.shut_down_after_send = true;
                } else {
                    self.shut_down_write(connection);
                }
            }
            Operation::Close { socket, how } => {
                let Some(state) = of.sockets.get_mut(key(socket)) else { return };
                if state.closing != Some(CloseHow::Reset) {
                    state.closing = Some(how);
                }
                of.activate(key(socket));
            }
        }
    }
}

impl Core {
    pub fn end_transfer(&mut self, number: usize, disk: &Disk, random: &mut Random) {
        let Some(Transferring { mut transfer, file, write }) = self.transfers.remove(&number) else { return };
        let completion = match write {
            Some(write) => {
                let result = disk.end_write(write, random).map_err(io::Error::from);
                Completion::Written { transfer, result }
            }
            None => {
                let result =
                    disk.read(&file, transfer.offset, transfer.block.bytes_mut()).map_err(io::Error::from);
                Completion::ReadDone { transfer, result }
            }
        };
        self.ready.push_back(completion);
    }

    /// A socket that operations reach: one that is not closing.
    fn open(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(key(id)).filter(|socket| socket.closing.is_none())
    }

    fn want(&mut self, id: SocketId, wanted: Wanted) {
        if let Some(socket) = self.open(id) {
            // One that has stopped already receives nothing more.
            if !(matches!(wanted, Wanted::Last(_)) && socket.wanted != Wanted::All) {
                socket.wanted = wanted;
            }
            self.activate(key(id));
        }
    }
}

fn id(key: Key) -> SocketId {
    SocketId { index: key.index, generation: key.generation }
}

fn key(id: SocketId) -> Key {
    Key { index: id.index, generation: id.generation }
}

impl Io for SimKernel {
    type Listener = SimListener;
    type Stream = SimStream;
    type File = SimFile;

    fn add_listener(&mut self, listener: SimListener) -> io::Result<ListenerId> {
        let listeners = &mut self.state.borrow_mut().cores[self.core].listeners;
        listeners.push(ListenerState {
            address: listener.address,
            backlog: VecDeque::new(),
            stopped: false,
            armed: false,
            stopping: false,
        });
        Ok(ListenerId(listeners.len() as u32 - 1))
    }

    fn adopt(&mut self, stream: SimStream) -> io::Result<SocketId> {
        let state = &mut *self.state.borrow_mut();
        let socket = state.cores[self.core].insert(stream.connection);
        state.connections[stream.connection].server = Some((self.core, key(socket)));
        Ok(socket)
    }

    fn add_file(&mut self, file: SimFile) -> FileId {
        let Key { index, generation } = self.state.borrow_mut().cores[self.core].files.insert(file);
        FileId { index, generation }
    }

    fn waker(&self) -> Waker {
        let state = self.state.borrow();
        Arc::<SimWaker>::clone(&state.cores[self.core].wake)
    }

    fn start(&mut self, operation: Operation) {
        self.state.borrow_mut().start(self.core, operation);
    }

    fn wait(&mut self, _now: u64, until: Option<u64>, completions: &mut Vec<Completion>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        state.notice_wakes();
        // Sometimes a wait reports little.
        let most = if state.random.one_in(8) { 16 } else { COMPLETIONS_MAX };
        let core = &mut state.cores[self.core];
        core.until = until;
        core.counters.waits += 1;
        core.collect_buffers();
        let bound = completions.len() + most;
        let mut turn = Turn { state, core: self.core, completions, bound };
        turn.take_ready();
        turn.accept();
        turn.drive_all();
        if std::mem::take(&mut turn.this().woken) {
            turn.this().wake_under_way = false;
            turn.completions.push(Completion::Woken);
        }
        // Never alone: a wait that would report nothing else has not ended.
        if !turn.completions.is_empty() || until.is_some_and(|until| until <= turn.state.now) {
            let deferred = std::mem::take(&mut turn.this().deferred);
            turn.completions.extend(deferred);
        }
        Ok(())
    }

    fn counters(&self) -> Counters {
        self.state.borrow().cores[self.core].counters
    }
}

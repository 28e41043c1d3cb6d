//! What one core owns. Everything here is touched by its own thread only, save the sending halves of the others'
//! mailboxes.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use rustls::ServerConfig;

use super::chains::{ChainSource, Chains};
use super::flows::{self, Homes, WorkerAddress, WorkerEvent};
use super::heap;
use super::lot::Lot;
use super::mailbox::{Full, Sender};
use super::pending::{Outcome, PendingReplies, Place, Seal};
use super::ready::Ready;
use super::recent::Recent;
use super::spare::Spare;
use super::turn;
use super::watch::{Patience, Watch};
use super::worker::Desk;
use crate::base::buffer::ReceiveBuffer;
use crate::base::clock::{Clock, NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::slots::{Key, Round, Slots};
use crate::base::turn::Turn;
use crate::base::wheel::{TimerId, Wheel};
use crate::deliver::workers::WorkerTrigger;
use crate::deliver::{Effect, NodeError};
use crate::http::encode::DateField;
use crate::metrics::{CoreMetrics, Event};
use crate::registry::{Backlog, FlowPlan, Registry};
use crate::reply::{Reply, Sheet};
use crate::trigger::Payload;
use crate::verify::alexa::{Chain, ChainUrl, FetchError};
use crate::verify::secret::Expected;
use crate::websocket;

/// Bytes of a connection's receive buffer when it becomes busy: a request of a device with room to spare. Ten thousand
/// connections that speak once a second hold 40 MB of them.
pub(super) const RECEIVE_BYTES: usize = 4 * 1024;
/// What it grows to once a read fills it: takes a burst of pipelined requests in one read, and the longest head. With
/// 4 KiB such a burst costs 1.8 times as much.
pub(super) const RECEIVE_BYTES_LARGE: usize = 16 * 1024;
/// Buffers that a core keeps for the next connection that becomes busy; more are given back to the allocator.
const POOL_BUFFERS: usize = 256;
/// After this many buffers and tasks went back to the allocator, its memory goes back to the system, this much later.
const LET_GO_MIN: usize = 64;
const GIVE_BACK_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Bytes of an outgoing buffer or a draft that is kept; a larger one was for something large and is let go.
pub(super) const OUT_KEEP_BYTES: usize = 64 * 1024;

/// What a core is told from outside.
pub(super) enum Message {
    /// A reply for one that waits here.
    Reply { key: Key, reply: Box<Reply>, done: Option<Done> },
    /// What came of the fetch of a certificate chain.
    Chain { url: ChainUrl, outcome: Result<Arc<Chain>, FetchError> },
    /// A connection that was made inside the process.
    Adopt { stream: std::os::unix::net::UnixStream, tap: Tap },
    /// A trigger for a flow that is at home here; its room is reserved.
    Trigger { backlog: Arc<Backlog>, trigger: Box<WorkerTrigger> },
    /// What a worker did, for its flow, which is at home here.
    Worker { flow: Id, from: WorkerAddress, event: WorkerEvent },
    /// A trigger for a worker that is attached here.
    Give { worker: Key, seq: u64, trigger: Box<WorkerTrigger> },
    /// Something that a worker here did wrong.
    Complaint { worker: Key, message: String },
    /// What became of the reply of a worker here.
    ReplyResult { worker: Key, reply_id: String, outcome: Outcome },
    /// The model was changed, and the registry with it. These flows were deleted.
    ModelChanged { deleted_flows: Arc<[Id]> },
    /// Certificates and keys for the connections that come from now on.
    Tls(Arc<ServerConfig>),
    /// Somebody looks at the last requests.
    Recent { ask: Ask },
    /// Stop accepting, finish what is in flight.
    Drain,
}

/// Told what became of a reply, on the thread of the core that had it.
pub type Done = Box<dyn FnOnce(Outcome) + Send>;

/// What is asked of a core's last requests.
pub(super) type Ask = Box<dyn FnOnce(&mut Recent, Now) + Send>;

/// Gets each payload that the requests of a test connection make.
pub type Tap = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

/// What fires on a core's wheel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// A connection's patience.
    Connection(Key),
    /// A reply that did not come.
    Reply(Key),
    /// A worker's ack of a trigger that did not come.
    Ack(Id, Key),
    /// A flow's triggers that nobody waits for any more.
    Sweep(Id),
    /// A certificate chain that did not come.
    Chain(Key),
    /// Memory that was freed goes back to the system.
    GiveBack,
}

/// Settings that connections ask for.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) cors: bool,
    /// Whether the cores run on io_uring.
    pub(super) on_ring: bool,
    /// How callers reach the ingress, without a slash at its end: what Twilio signs begins with it.
    pub(super) public_url: String,
    pub(super) trusted_proxies: Vec<crate::settings::IpNet>,
    /// Whether connections of the ingress begin with a PROXY header.
    pub(super) proxy_protocol: bool,
    /// Connections of the whole process.
    pub(super) connections: usize,
    /// Bytes beyond the first buffer that bodies may take on one core.
    pub(super) body_bytes: usize,
    /// What workers must bring to attach.
    pub(super) access_token: Expected,
    /// Whether WebSocket compression may remember earlier messages.
    pub(super) context_takeover: bool,
}

/// Buffers of a connection that is doing something.
pub(super) struct Active {
    pub(super) buffer: ReceiveBuffer,
    pub(super) out: Vec<u8>,
}

impl Active {
    fn new() -> Active {
        Active { buffer: ReceiveBuffer::with_capacity(RECEIVE_BYTES), out: Vec::with_capacity(1024) }
    }
}

/// Counts that all cores share, written once for a connection and never for a request.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// All that are open, WebSockets and workers among them.
    pub(super) connections: AtomicUsize,
    pub(super) sockets: AtomicUsize,
    pub(super) workers: AtomicUsize,
}

/// One engine thread's world.
pub(super) struct Core {
    pub(super) index: usize,
    pub(super) clock: Clock,
    pub(super) rules: Arc<Rules>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<CoreMetrics>,
    pub(super) seal: Arc<Seal>,
    pub(super) shared: Arc<Shared>,
    pub(super) mailboxes: Vec<Sender<Message>>,
    pub(super) pending: PendingReplies,
    pub(super) chains: Chains,
    pub(super) connections: RefCell<Slots<Rc<Watch>>>,
    /// Those without a task.
    pub(super) lot: Lot,
    pub(super) draining: Cell<bool>,
    pub(super) date: RefCell<DateField>,
    wheel: RefCell<Wheel<Timer>>,
    /// The moment the ticker sleeps until, and how to wake it earlier.
    pub(super) ticker: Watch,
    /// Ends the core when it expires.
    pub(super) stop: Watch,
    /// Ends accepting.
    pub(super) acceptors: RefCell<Vec<Rc<Watch>>>,
    #[allow(clippy::vec_box, reason = "a connection holds its buffers boxed, and gives the box back")]
    pool: RefCell<Vec<Box<Active>>>,
    /// Buffers and tasks that went back to the allocator since memory went back to the system.
    let_go: Cell<usize>,
    /// What the bodies that are coming in take beyond their first buffers.
    pub(super) body_bytes: Cell<usize>,
    /// Buffers that such bodies lay in.
    pub(super) spare: Spare,
    /// What the ingress speaks TLS with; none: it does not.
    pub(super) tls: RefCell<Option<Arc<ServerConfig>>>,
    /// Connections over the cap that are being told so.
    pub(super) turned_away: Cell<usize>,
    /// Buffers of WebSockets that have nothing to send.
    outs: RefCell<Vec<Vec<u8>>>,
    /// Where WebSocket messages are inflated and deflated.
    pub(super) scratch: RefCell<websocket::Scratch>,
    /// Where payloads and frames are built.
    pub(super) draft: Cell<Vec<u8>>,
    pub(super) effects: Cell<Vec<Effect>>,
    /// Where templates' replies are written.
    pub(super) sheet: Cell<Sheet>,
    pub(super) recent: RefCell<Recent>,
    /// The payload of the request at hand, where somebody looks at its webhook.
    pub(super) shown: Cell<Option<Payload>>,
    /// Responses of the present batch, and when it began.
    pub(super) answered: Cell<u64>,
    batch: Cell<Now>,
    /// The turn that is under way, once its time was asked for.
    pub(super) turn: Cell<Option<Turn>>,
    /// None on epoll.
    pub(super) always_ready: Option<Ready>,
    /// Brings changes of the model to the WebSockets.
    pub(super) round: RefCell<Round>,
    /// The flows that are at home here.
    pub(super) homes: RefCell<Homes>,
    /// The workers that are attached here.
    pub(super) workers: RefCell<Slots<Rc<Desk>>>,
}

impl Core {
    /// # Errors
    /// If there are no descriptors left.
    #[allow(clippy::too_many_arguments, reason = "called in one place, with what a core is made of")]
    pub(super) fn new(
        index: usize,
        clock: Clock,
        rules: Arc<Rules>,
        registry: Arc<Registry>,
        metrics: Arc<CoreMetrics>,
        seal: Arc<Seal>,
        shared: Arc<Shared>,
        mailboxes: Vec<Sender<Message>>,
        chains: Arc<dyn ChainSource>,
    ) -> io::Result<Core> {
        let always_ready = if rules.on_ring { Some(turn::always_ready()?) } else { None };
        Ok(Core {
            index,
            clock,
            rules,
            registry,
            metrics,
            seal,
            shared,
            mailboxes,
            pending: PendingReplies::default(),
            chains: Chains::new(chains),
            connections: RefCell::new(Slots::new()),
            lot: Lot::new()?,
            draining: Cell::new(false),
            date: RefCell::new(DateField::new()),
            wheel: RefCell::new(Wheel::new(clock.now().nanos)),
            ticker: Watch::new(u64::MAX),
            stop: Watch::new(u64::MAX),
            acceptors: RefCell::new(Vec::new()),
            pool: RefCell::new(Vec::new()),
            let_go: Cell::new(0),
            body_bytes: Cell::new(0),
            spare: Spare::default(),
            tls: RefCell::default(),
            turned_away: Cell::new(0),
            outs: RefCell::new(Vec::new()),
            scratch: RefCell::new(websocket::Scratch::new()),
            draft: Cell::default(),
            effects: Cell::default(),
            sheet: Cell::default(),
            recent: RefCell::default(),
            shown: Cell::default(),
            answered: Cell::new(0),
            batch: Cell::new(clock.now()),
            turn: Cell::default(),
            always_ready,
            round: RefCell::default(),
            homes: RefCell::default(),
            workers: RefCell::new(Slots::new()),
        })
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// A batch of requests that came together begins: the time that is now holds for all of them.
    pub(super) fn begin_batch(&self) -> Now {
        let now = self.now();
        self.set_batch(now);
        self.note_time(now);
        now
    }

    pub(super) fn set_batch(&self, now: Now) {
        self.batch.set(now);
    }

    /// As if the core had been idle for as long as it is up.
    #[cfg(test)]
    pub(super) fn age_batch(&self) {
        self.batch.set(Now { nanos: 0, ..self.batch.get() });
    }

    /// When the present batch began.
    pub(super) fn now_of_batch(&self) -> Now {
        self.batch.get()
    }

    /// The batch is over: what was answered in it took until now.
    pub(super) fn end_batch(&self, began: Now) {
        let answered = self.answered.take();
        if answered > 0 {
            let now = self.time_after();
            let elapsed = now.nanos.saturating_sub(began.nanos);
            self.metrics.latencies(elapsed, answered);
            self.recent.borrow_mut().end_batch(now, elapsed);
        }
    }

    /// Sets a timer.
    pub(super) fn set_timer(&self, deadline: u64, timer: Timer) -> TimerId {
        if deadline < self.ticker.deadline() {
            self.ticker.set(deadline);
            self.ticker.expire();
        }
        self.wheel.borrow_mut().insert(deadline, timer)
    }

    /// The ticker is about to sleep until `deadline`.
    pub(super) fn ticker_sleeps_until(&self, deadline: u64) {
        self.ticker.set(deadline);
    }

    /// Stops accepting and ends what waits between requests; what is in flight goes on.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        self.acceptors.borrow().iter().for_each(|acceptor| acceptor.expire());
        let idle: Vec<(Key, Rc<Watch>)> = self
            .connections
            .borrow()
            .iter()
            .filter(|(_, watch)| watch.is_idle())
            .map(|(key, watch)| (key, Rc::clone(watch)))
            .collect();
        for (key, watch) in idle {
            watch.expire();
            self.lot.call(key, &watch);
        }
    }

    /// The connections without a task.
    pub(super) fn parked(&self) -> Vec<Key> {
        self.connections.borrow().iter().filter(|(_, watch)| watch.is_parked()).map(|(key, _)| key).collect()
    }

    /// Whether a connection of the ingress begins with something else than a request.
    pub(super) fn is_arrival_long(&self) -> bool {
        self.rules.proxy_protocol || self.tls.borrow().is_some()
    }

    /// Counts what became of a reply.
    pub(super) fn count_reply(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted => self.metrics.event(Event::ReplyAccepted),
            Outcome::NotWaiting | Outcome::WrongCaller(_) | Outcome::Refused(_) => {
                self.metrics.event(Event::ReplyRefused);
            }
        }
    }

    /// Counts what became of a reply and tells whoever sent it. A node is told by its count of errors.
    pub(super) fn tell_sender(&self, done: Option<Done>, outcome: Outcome) {
        match done {
            Some(done) => {
                self.count_reply(&outcome);
                done(outcome);
            }
            None => self.count_nodes_reply(&outcome),
        }
    }

    /// The same for what a node replied.
    pub(super) fn count_nodes_reply(&self, outcome: &Outcome) {
        self.count_reply(outcome);
        match outcome {
            Outcome::Accepted | Outcome::NotWaiting => {}
            Outcome::WrongCaller(caller) => {
                self.metrics.event(Event::ReplyNodeWrongCaller);
                tracing::debug!(error = %NodeError::Caller(*caller), "a node's reply was not sent");
            }
            Outcome::Refused(error) => {
                self.metrics.event(Event::ReplyNodeRefused);
                tracing::debug!(%error, "a node's reply was not sent");
            }
        }
    }

    /// Counts and logs what kept a node from doing its part.
    pub(super) fn count_node_error(&self, plan: &FlowPlan, node: &Arc<str>, error: NodeError) {
        self.metrics.event(match error {
            NodeError::Caller(_) => Event::ReplyNodeWrongCaller,
            NodeError::Reply(_) => Event::ReplyNodeError,
            NodeError::Condition(_) => Event::ConditionError,
        });
        plan.runs.fail(self.index, self.now_of_batch().unix_millis, node, || error.to_string());
        let flow = plan.flow_id;
        tracing::debug!(%flow, ?node, %error, "a node did not do its part");
    }

    pub(super) fn cancel_timer(&self, id: TimerId) {
        self.wheel.borrow_mut().cancel(id);
    }

    /// Appends the timers that are due.
    pub(super) fn take_due(&self, due: &mut Vec<Timer>) {
        let now = self.now();
        self.note_time(now);
        self.wheel.borrow_mut().advance(now.nanos, due);
    }

    /// When timers are due next.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.wheel.borrow().next_deadline()
    }

    /// Does what a timer was set for; returns whether the turn must end.
    pub(super) fn fire(self: &Rc<Self>, timer: Timer) -> bool {
        let is_short = matches!(timer, Timer::Connection(_) | Timer::Chain(_) | Timer::Reply(_));
        match timer {
            Timer::Connection(key) => self.connection_timer(key),
            Timer::Chain(key) => self.chains.time_out(key),
            Timer::Reply(key) => {
                if self.pending.time_out(self, key) {
                    self.metrics.event(Event::ReplyTimeout);
                }
            }
            Timer::Ack(flow, flight) => flows::late(self, flow, flight),
            Timer::Sweep(flow) => flows::sweep(self, flow),
            Timer::GiveBack => {
                self.let_go.set(0);
                // Each that is kept may hold on to the allocator's page that it lies in.
                self.pool.borrow_mut().clear();
                self.outs.borrow_mut().clear();
                self.spare.clear();
                heap::give_back();
            }
        }
        self.step(is_short)
    }

    fn connection_timer(&self, key: Key) {
        let Some(watch) = self.connections.borrow().get(key).map(Rc::clone) else { return };
        watch.set_armed(None);
        match watch.fired(self.turn_time().nanos) {
            Patience::Until(deadline) => {
                watch.set_armed(Some((deadline, self.set_timer(deadline, Timer::Connection(key)))));
            }
            Patience::Over => self.lot.call(key, &watch),
        }
    }

    /// Moves a connection's deadline. Later costs a store; earlier moves the wheel's entry too.
    pub(super) fn set_deadline(&self, key: Key, watch: &Watch, deadline: u64) {
        watch.set(deadline);
        match watch.armed() {
            Some((armed, _)) if armed <= deadline => return,
            Some((_, id)) => self.cancel_timer(id),
            None => {}
        }
        watch.set_armed(Some((deadline, self.set_timer(deadline, Timer::Connection(key)))));
    }

    /// Takes a connection's entry off the wheel: something else ends its wait.
    pub(super) fn disarm(&self, watch: &Watch) {
        watch.set(u64::MAX);
        if let Some((_, id)) = watch.armed() {
            self.cancel_timer(id);
            watch.set_armed(None);
        }
    }

    /// Adds a connection, with `patience` for its first bytes.
    pub(super) fn add_connection(&self, deadline: u64) -> (Key, Rc<Watch>) {
        let watch = Rc::new(Watch::new(deadline));
        let key = self.connections.borrow_mut().insert(Rc::clone(&watch));
        self.set_deadline(key, &watch, deadline);
        (key, watch)
    }

    /// Removes it, and its entry on the wheel.
    pub(super) fn remove_connection(&self, key: Key) {
        if let Some(watch) = self.connections.borrow_mut().remove(key)
            && let Some((_, id)) = watch.armed()
        {
            self.cancel_timer(id);
        }
    }

    /// Buffers for a connection that becomes busy.
    pub(super) fn take_active(&self) -> Box<Active> {
        self.pool.borrow_mut().pop().unwrap_or_else(|| Box::new(Active::new()))
    }

    /// Takes the buffers of a connection that is quiet or gone.
    pub(super) fn give_active(&self, mut active: Box<Active>) {
        active.out.clear();
        active.buffer.consume(usize::MAX);
        self.shrink(&mut active);
        let mut pool = self.pool.borrow_mut();
        if pool.len() < POOL_BUFFERS && active.buffer.capacity() == RECEIVE_BYTES {
            pool.push(active);
            return;
        }
        drop(pool);
        self.let_go();
    }

    /// Something that a busy connection needs went back to the allocator: enough of it goes back to the system.
    pub(super) fn let_go(&self) {
        self.let_go.set(self.let_go.get() + 1);
        if self.let_go.get() == LET_GO_MIN {
            self.set_timer(self.now().nanos + GIVE_BACK_NANOS, Timer::GiveBack);
        }
    }

    /// An empty buffer for what a WebSocket sends.
    pub(super) fn take_out(&self) -> Vec<u8> {
        self.outs.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(1024))
    }

    /// Takes a buffer that has been sent.
    pub(super) fn give_out(&self, mut out: Vec<u8>) {
        out.clear();
        let mut outs = self.outs.borrow_mut();
        if outs.len() < POOL_BUFFERS && (1..=OUT_KEEP_BYTES).contains(&out.capacity()) {
            outs.push(out);
        }
    }

    /// Takes back the buffer of payloads and frames; one that a large payload made grow is let go.
    pub(super) fn give_draft(&self, draft: Vec<u8>) {
        if draft.capacity() <= OUT_KEEP_BYTES {
            self.draft.set(draft);
        }
    }

    /// Hands a reply to whom it is for, here or on another core.
    pub(super) fn reply(&self, reply_id: &str, reply: Box<Reply>, done: Option<Done>) {
        let Some(Place { core, key, .. }) = self.seal.open(reply_id) else {
            return self.tell_sender(done, Outcome::NotWaiting);
        };
        if usize::from(core) == self.index {
            return self.tell_sender(done, self.pending.deliver(self, key, reply));
        }
        match self.mailboxes.get(usize::from(core)) {
            None => self.tell_sender(done, Outcome::NotWaiting),
            Some(mailbox) => {
                if let Err(Full(Message::Reply { done, .. })) =
                    mailbox.send(Message::Reply { key, reply, done })
                {
                    self.tell_sender(
                        done,
                        Outcome::Refused("the engine is too busy to pass the reply on: send it again".into()),
                    );
                }
            }
        }
    }

    /// Hands in a reply and says at once what became of it, if the one it is for is on this core; else `elsewhere` has
    /// it.
    pub(super) fn reply_here(
        &self,
        reply_id: &str,
        reply: Box<Reply>,
        elsewhere: impl FnOnce(Box<Reply>),
    ) -> Option<Outcome> {
        let outcome = match self.seal.open(reply_id) {
            None => Outcome::NotWaiting,
            Some(Place { core, key, .. }) if usize::from(core) == self.index => {
                self.pending.deliver(self, key, reply)
            }
            Some(_) => {
                elsewhere(reply);
                return None;
            }
        };
        self.count_reply(&outcome);
        Some(outcome)
    }

    /// A `replyId` for one that waits here.
    pub(super) fn reply_id(&self, key: Key, webhook: crate::base::id::Id) -> String {
        let core = u16::try_from(self.index).unwrap_or(u16::MAX);
        self.seal.close(&Place { core, key, webhook })
    }

    /// Takes a request's place among those that wait, and its timer with it.
    pub(super) fn forget(&self, key: Key) {
        if let Some(timer) = self.pending.remove(key).and_then(|pending| pending.timer()) {
            self.cancel_timer(timer);
        }
    }
}

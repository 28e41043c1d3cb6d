//! The parts of a core that its connections use: clock, registry, limits, reply slots, metrics, queues, buffers,
//! timers. Never the connections themselves: one that needs something of another leaves a [`ConnectionMessage`].

mod replies;

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::buffers::Buffers;
use super::calls::CallSink;
use super::chains::{ChainSource, CoreChains};
use super::flow_queues::{FinishedDelivery, FlowQueues, PendingOrders, Undelivered};
use super::forward_queues::{DeadLetters, ForwardQueues, Forwarder, NoForwarding};
use super::gate::Gate;
use super::journal_state::CoreJournal;
use super::key_sets::CoreKeySets;
use super::message::{ConnectionId, ConnectionMessage, CoreMessage, Peers, ReplyOutcome, WorkerAddress};
use super::pending::PendingReplies;
use super::permits::{CoreLinks, NoCluster, PermitQueue, Permits, RemoteReplies};
use super::present::Present;
use super::refusals::Refusals;
use super::seal::Seal;
use super::shared_keys::{KeyClaims, SharedKeys};
use super::timeouts::Timeouts;
use super::tls::CoreTls;
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::ip_net::IpNet;
use crate::base::log::bounded_log;
use crate::base::random::Random;
use crate::base::request_id::{RequestId, RequestNumbers};
use crate::base::slots::Key;
use crate::base::turn::Turn;
use crate::base::wheel::{TimerId, Wheel};
use crate::deliver::{Effect, NodeError};
use crate::http;
use crate::http::encode::DateField;
use crate::io::ListenerId;
use crate::journal::Sequence;
use crate::metrics::{CoreMetrics, Event};
use crate::record::{CallRecord, CoreRecords, FateKind, NewFate, NoRecords, RecordSink};
use crate::registry::{FlowPlan, Pin, Registry};
use crate::reply::Sheet;
use crate::verify::access::AccessTokens;
use crate::websocket;

/// Entries of a core's timer wheel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// The deadline of a connection.
    Connection(ConnectionId),
    /// A worker's ack of a trigger is overdue.
    Ack(Id, Key),
    /// A flow's triggers may have nobody left who waits for them.
    Sweep(Id),
    /// Something of the queues of targets is due.
    Targets,
    /// The result of an attempt to deliver is overdue.
    Attempt(Key),
    /// A dead letter is offered again.
    Letter(Key),
    /// Workers of other nodes, lent to a flow, are looked after.
    Lending(Id),
    /// Messages that their receivers had no room for are sent again.
    Redeliver,
    /// Accepting is tried again after it failed.
    Accept(ListenerId),
    /// Receipts are sent again.
    Receipts,
    /// Entries that the journal refused are offered to it again.
    Refused,
    /// The journal has something to do.
    Journal,
    /// There may be room for what is on the disk only.
    Spill,
    /// The batch of records is due.
    Records,
    /// A draining core checks whether it is done.
    Drain,
    /// Freed memory goes back to the system.
    ReturnMemory,
}

impl Timer {
    /// Whether it is about one connection or one trigger, and not about all of something.
    pub(crate) fn is_of_one(self) -> bool {
        matches!(self, Timer::Connection(_) | Timer::Ack(..) | Timer::Attempt(_))
    }
}

/// Settings that connections read.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) cors: bool,
    /// Whether requests have ids.
    pub(crate) has_request_ids: bool,
    /// URL of the ingress for callers, without a slash at its end: what Twilio signs begins with it.
    pub(crate) public_url: String,
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whether connections of the ingress begin with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// Connections of the whole process.
    pub(crate) connections: usize,
    /// Bytes beyond the first buffer that bodies may take on one core.
    pub(crate) body_bytes: usize,
    /// The access token that workers attach with.
    pub(crate) access_tokens: Arc<AccessTokens>,
    pub(crate) timeouts: Timeouts,
    /// Whether WebSocket compression may remember earlier messages.
    pub(crate) context_takeover: bool,
    /// How long a delivery is tried.
    pub(crate) retention_nanos: u64,
    /// Records of a webhook that does not say.
    pub(crate) record_events: u32,
}

/// Counts that all cores share, written once for a connection and never for a request.
#[derive(Debug, Default)]
pub(crate) struct SharedCounts {
    /// All that are open, WebSockets and workers among them.
    pub(crate) connections: AtomicUsize,
    pub(crate) websockets: AtomicUsize,
    pub(crate) workers: AtomicUsize,
    /// Cores whose journal cannot be written.
    pub(crate) journals_down: AtomicUsize,
    /// The process is about to stop accepting.
    pub(crate) is_ending: AtomicBool,
}

/// The services that other threads perform for the cores.
#[derive(Clone)]
pub struct Services {
    pub chains: Arc<dyn ChainSource>,
    pub forwarder: Arc<dyn Forwarder>,
    pub dead_letters: Arc<dyn DeadLetters>,
    pub permits: Arc<dyn Permits>,
    /// Claims the keys of calls over all nodes; `None` if there is no cluster.
    pub keys: Option<Arc<dyn SharedKeys>>,
    /// Told of calls; `None` if nobody is.
    pub calls: Option<Arc<dyn CallSink>>,
    pub remote: Arc<dyn RemoteReplies>,
    /// The name of this node of a cluster, which its `replyId`s have.
    pub node: Option<Id>,
    /// Reaches the other nodes; `None` if there is no cluster.
    pub links: CoreLinks,
    pub records: Arc<dyn RecordSink>,
}

impl Services {
    /// For cores without flows that forward: no attempt is made, and neither a dead letter nor a record is kept.
    #[must_use]
    pub fn with_chains(chains: Arc<dyn ChainSource>) -> Services {
        let nothing = Arc::new(NoForwarding);
        let (permits, remote) = (Arc::new(NoCluster), Arc::new(NoCluster));
        Services {
            chains,
            forwarder: nothing.clone(),
            dead_letters: nothing,
            permits,
            keys: None,
            remote,
            node: None,
            links: None,
            calls: None,
            records: Arc::new(NoRecords),
        }
    }
}

/// Everything that a core consists of, except its connections and its kernel.
pub(crate) struct CoreParts {
    pub(crate) index: usize,
    /// Reads the clock.
    pub(crate) clock: Box<dyn Fn() -> Now>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<CoreMetrics>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) counts: Arc<SharedCounts>,
    pub(crate) peers: Box<dyn Peers>,
    pub(crate) services: Services,
    /// Seed of what need not be secret: pauses between attempts, names of events.
    pub(crate) random: Random,
    pub(crate) tls: CoreTls,
    /// `None`: triggers are kept in memory only.
    pub(crate) journal: Option<Box<CoreJournal>>,
}

/// The state of a core that its connections share.
pub(crate) struct CoreState {
    pub(crate) index: usize,
    clock: Box<dyn Fn() -> Now>,
    /// The time of the present turn, as it was read last.
    now: Now,
    turn: Turn,
    pub(crate) rules: Arc<Rules>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Arc<CoreMetrics>,
    seal: Arc<Seal>,
    pub(crate) counts: Arc<SharedCounts>,
    pub(crate) peers: Box<dyn Peers>,
    pub(crate) pending: PendingReplies,
    pub(crate) chains: CoreChains,
    pub(crate) key_sets: CoreKeySets,
    pub(crate) permits: PermitQueue,
    pub(crate) key_claims: KeyClaims,
    remote: Arc<dyn RemoteReplies>,
    pub(crate) links: CoreLinks,
    pub(crate) link_ids: Random,
    pub(crate) flows: FlowQueues,
    pub(crate) forwards: ForwardQueues,
    pub(crate) undelivered: Vec<Undelivered>,
    /// Requests of the flows' queues that are not carried out yet, in order.
    pub(crate) orders: VecDeque<PendingOrders>,
    /// Deliveries that are done and have nodes behind them, which run before anything else is handled.
    pub(crate) finished: VecDeque<FinishedDelivery>,
    pub(crate) records: CoreRecords,
    /// The record of the present call.
    pub(crate) present: Present,
    pub(crate) refusals: Refusals,
    /// Whether calls are told of: to `calls`, or at `debug`.
    pub(crate) tells_calls: bool,
    /// Told of calls; `None` if nobody is.
    pub(crate) calls: Option<Arc<dyn CallSink>>,
    /// Whether calls have spans.
    pub(crate) has_spans: bool,
    pub(crate) span_ids: Random,
    pub(crate) wheel: Wheel<Timer>,
    /// Messages for connections of this core, in order.
    pub(crate) posted: VecDeque<(ConnectionId, ConnectionMessage)>,
    /// Connections that have requests or output left, in the order of their turns.
    pub(crate) continued: VecDeque<ConnectionId>,
    pub(crate) buffers: Buffers,
    pub(crate) date: DateField,
    /// Numbers of the ids that are made.
    pub(crate) request_numbers: RequestNumbers,
    pub(crate) is_draining: bool,
    pub(crate) tls: CoreTls,
    /// Memory that WebSocket messages are inflated and deflated in.
    pub(crate) scratch: websocket::Scratch,
    /// Memory that payloads and frames are built in.
    pub(crate) draft: Vec<u8>,
    pub(crate) effects: Vec<Effect>,
    /// Memory that templates' replies are written in.
    pub(crate) sheet: Sheet,
    /// The journal; `None`: triggers are kept in memory only.
    pub(crate) journal: Option<Box<CoreJournal>>,
    /// The entry that the answer to the present request waits for.
    pub(crate) awaited: Option<Sequence>,
    /// Answers of the present call that wait.
    pub(crate) gates: Vec<Gate>,
    /// Responses of this turn whose duration is not known before its end.
    pub(crate) answered: u64,
}

/// The core's state, borrowed by a connection for one event.
pub(crate) struct CoreContext<'t> {
    pub(crate) core: &'t mut CoreState,
    /// Pins the registry for the turn.
    pub(crate) pin: &'t Pin<'t>,
}

impl Deref for CoreContext<'_> {
    type Target = CoreState;

    fn deref(&self) -> &CoreState {
        self.core
    }
}

impl DerefMut for CoreContext<'_> {
    fn deref_mut(&mut self) -> &mut CoreState {
        self.core
    }
}

impl CoreState {
    /// A core without connections.
    pub(crate) fn new(parts: CoreParts) -> CoreState {
        let now = (parts.clock)();
        let Services {
            chains,
            forwarder,
            dead_letters,
            permits,
            keys,
            remote,
            node: _,
            links,
            calls,
            records,
        } = parts.services;
        let mailbox = parts.peers.own_mailbox();
        let mut random = parts.random;
        let records = CoreRecords::new(parts.rules.record_events, records, Random::new(random.next_u64()));
        let link_ids = Random::new(random.next_u64());
        let (request_numbers, span_seed) =
            (RequestNumbers::starting_at(random.next_u64()), random.next_u64());
        let forwards = ForwardQueues::new(forwarder, dead_letters, mailbox, random);
        CoreState {
            index: parts.index,
            clock: parts.clock,
            now,
            turn: Turn::begin(now),
            buffers: Buffers::new(parts.rules.body_bytes),
            rules: parts.rules,
            registry: parts.registry,
            metrics: parts.metrics,
            seal: parts.seal,
            counts: parts.counts,
            peers: parts.peers,
            pending: PendingReplies::default(),
            key_sets: CoreKeySets::new(Arc::clone(&chains)),
            permits: PermitQueue::new(permits),
            key_claims: KeyClaims::new(keys),
            remote,
            links,
            link_ids,
            chains: CoreChains::new(chains),
            flows: FlowQueues::default(),
            forwards,
            undelivered: Vec::new(),
            orders: VecDeque::new(),
            finished: VecDeque::new(),
            records,
            present: Present::Undecided,
            refusals: Refusals::default(),
            tells_calls: calls.is_some() || tracing::enabled!(tracing::Level::DEBUG),
            has_spans: calls.as_ref().is_some_and(|calls| calls.wants_spans()),
            calls,
            span_ids: Random::new(span_seed),
            wheel: Wheel::new(now.nanos),
            posted: VecDeque::new(),
            continued: VecDeque::new(),
            date: DateField::new(),
            request_numbers,
            is_draining: false,
            tls: parts.tls,
            scratch: websocket::Scratch::new(),
            draft: Vec::new(),
            effects: Vec::new(),
            sheet: Sheet::default(),
            journal: parts.journal,
            awaited: None,
            gates: Vec::new(),
            answered: 0,
        }
    }

    /// Reads the clock: for what is longer than a turn, or is to be exact.
    pub(crate) fn read_clock(&self) -> Now {
        (self.clock)()
    }

    /// The time of the present turn.
    pub(crate) fn now(&self) -> Now {
        self.now
    }

    /// The id of a request: its caller's, or the one of a number; `None` if requests have none.
    #[inline]
    pub(crate) fn request_id<'r>(&self, request: &http::Request<'r>, number: u64) -> Option<RequestId<'r>> {
        if !self.rules.has_request_ids {
            return None;
        }
        Some(request.request_id().unwrap_or_else(|| self.request_numbers.id(number)))
    }

    /// Begins a turn: reads the clock.
    pub(crate) fn begin_turn(&mut self) {
        self.now = (self.clock)();
        self.turn = Turn::begin(self.now);
    }

    /// Ends the turn: counts how long it held the core, and what was answered in it.
    pub(crate) fn end_turn(&mut self) {
        let answered = std::mem::take(&mut self.answered);
        if answered > 0 {
            self.turn.worked();
        }
        let held = self.turn.end(&self.clock);
        self.metrics.turn(held);
        if answered > 0 {
            self.metrics.latencies(held, answered);
        }
        self.end_records();
    }

    /// Returns the time for one more call, which is never older than a token of a rate may be taken with.
    pub(crate) fn call_time(&mut self) -> Now {
        self.now = self.turn.for_call(&self.clock);
        self.now
    }

    /// Notes that the call that the time was asked for was short.
    pub(crate) fn was_short(&mut self) {
        self.turn.was_short();
    }

    /// Notes that work of unknown length was done.
    pub(crate) fn worked(&mut self) {
        self.turn.worked();
    }

    /// Notes a piece of work; returns whether the turn must end.
    pub(crate) fn step(&mut self, is_short: bool) -> bool {
        let is_over = self.turn.step(is_short, &self.clock);
        self.now = self.turn.now();
        is_over
    }

    /// Whether the turn must end.
    pub(crate) fn is_turn_over(&mut self) -> bool {
        let is_over = self.turn.is_over(&self.clock);
        self.now = self.turn.now();
        is_over
    }

    /// Whether new requests are taken, and better sent here than elsewhere.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_draining
            && !self.counts.is_ending.load(Ordering::Relaxed)
            && self.counts.journals_down.load(Ordering::Relaxed) == 0
            && !self.registry.is_behind()
    }

    /// Notes whether the journal can be written.
    pub(crate) fn note_journal(&self, is_up: bool) {
        let down = &self.counts.journals_down;
        if is_up {
            down.fetch_sub(1, Ordering::Relaxed)
        } else {
            down.fetch_add(1, Ordering::Relaxed)
        };
    }

    /// Sets a timer.
    pub(crate) fn set_timer(&mut self, deadline: u64, timer: Timer) -> TimerId {
        self.wheel.insert(deadline, timer)
    }

    /// Number of this core as addresses carry it.
    pub(crate) fn number(&self) -> u16 {
        u16::try_from(self.index).unwrap_or(u16::MAX)
    }

    /// Leaves a message for a connection of this core.
    pub(crate) fn post(&mut self, connection: ConnectionId, message: ConnectionMessage) {
        self.posted.push_back((connection, message));
    }

    /// Leaves a message for a worker of any core. It is dropped, and that is counted, if its core has no room for it: a
    /// trigger's ack times out then, and another worker gets it; the rest is information.
    pub(crate) fn post_to_worker(
        &mut self,
        worker: WorkerAddress,
        message: ConnectionMessage,
        what: &'static str,
    ) {
        let connection = worker.connection;
        if worker.core == self.number() {
            return self.post(connection, message);
        }
        let message = CoreMessage::Connection { connection, message };
        if self.peers.send(usize::from(worker.core), message).is_err() {
            self.metrics.event(Event::MailboxFull);
            bounded_log!(
                warn,
                core = self.index,
                receiver = worker.core,
                what,
                "a message to another core is dropped: its mailbox is full"
            );
        }
    }

    /// Whether a peer may say for whom it makes a connection.
    pub(crate) fn is_trusted(&self, peer: Option<std::net::IpAddr>) -> bool {
        peer.is_some_and(|ip| self.rules.trusted_proxies.iter().any(|net| net.contains(ip)))
    }

    /// Takes back the buffer of payloads and frames; one that a large payload made grow is freed.
    pub(crate) fn give_draft(&mut self, draft: Vec<u8>) {
        if draft.capacity() <= super::buffers::OUT_KEEP_BYTES {
            self.draft = draft;
        }
    }

    /// Counts and logs an error of a node.
    pub(crate) fn count_node_error(
        &mut self,
        plan: &FlowPlan,
        node: &Arc<str>,
        error: NodeError,
        record: Option<CallRecord>,
    ) {
        if record.is_some() {
            let error = error.to_string();
            let fate = NewFate { error: &error, ..NewFate::new(FateKind::Failed, plan.flow_id, node) };
            self.note_fate(record, &fate);
        }
        plan.runs.fail(self.index, self.now.unix_millis, node, || error.to_string());
        let flow = plan.flow_id;
        self.metrics.event(match error {
            NodeError::Caller(_) => Event::ReplyNodeWrongCaller,
            NodeError::Reply(_) => Event::ReplyNodeError,
            NodeError::Condition(_) => Event::ConditionError,
        });
        tracing::debug!(%flow, ?node, %error, "a node did not do its part");
    }

    /// Disposes of a message whose connection has ended, or does not take it.
    pub(crate) fn refuse_message(&mut self, message: ConnectionMessage) {
        if let ConnectionMessage::Reply { sender, .. } = message {
            self.tell_sender(sender, ReplyOutcome::NotWaiting);
        }
    }
}

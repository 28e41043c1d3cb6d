//! Layer 8: the cores. Each is a thread, pinned, with a kernel, listeners, connections, timers, reply slots and counters
//! of its own; cores talk through bounded mailboxes. Nothing is decided here: a completion goes to the connection that it
//! names, and the operations that the connection wants done go to the kernel, once a turn ([`turn`]).

mod batches;
mod core;
mod drain;
mod driven;
mod gauging;
mod heap;
mod journal;
mod keeper;
mod listen;
mod mailbox;
mod message;
mod parts;
mod peers;
mod recover;
mod rules;
mod search;
mod supervise;
mod supply;
mod table;
#[cfg(test)]
mod tests;
mod turn;
mod waits;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::mailbox::MailboxFull;
use self::message::Message;
use self::parts::JournalParts;
use self::rules::rules;
use self::search::Search;
use self::supervise::{CoreConfig, Mailbox};
use self::supply::SupplyThread;
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::connection::context::SharedCounts;
use crate::connection::message::{CoreMessage, ReplyCallback, ReplySender};
use crate::connection::owner_core;
use crate::connection::seal::Seal;
use crate::io::{Backend, Preference};
use crate::journal::LeftOpen;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::settings::{Address, Driver, Settings};
use crate::store::Affected;
use crate::verify::access::AccessTokens;

pub(crate) use crate::deliver::lending::{GuestAnswer, GuestTrigger, NodeEvent, WorkerOffer};

pub use self::core::Holdings;
pub use self::driven::{DrivenConfig, DrivenCores, DrivenJournal, DrivenKernel};
pub(crate) use self::message::Settled;
pub use self::parts::{BatchCarrier, RemoteKeeper};
pub(crate) use self::recover::JournalError;
pub(crate) use self::search::{SearchCallback, SearchOutcome};
pub use self::supply::{SegmentSource, Supplied};
pub use self::waits::Waits;
pub use crate::connection::message::ReplyOutcome as Outcome;
pub(crate) use crate::connection::message::{Inside, ReplyCallback as Done};
pub(crate) use crate::connection::tls::{CertificateEnd, ListenerTlsError, ListenersTls, check as check_tls};
pub(crate) use crate::connection::{
    ANSWER_KEPT_BYTES_MAX, CORE_ATTEMPTS_MAX, CallSink, NodeLinks, NotReplayed, PermitTold, Permits,
    RemoteReplies, ReplayCallback, ServedCall,
};
pub use crate::connection::{
    Attempt, AttemptError, AttemptReport, AttemptResult, BegunAnswer, ChainSource, DeadLetter, DeadLetters,
    Fetched, Forwarder, KeysFetched, LetterReport, NoCluster, Services, TargetAnswer,
};
pub(crate) use crate::connection::{KeyTold, SharedKey, SharedKeys};

/// Messages that wait for a core before its senders are told that it is busy.
const MAILBOX_MESSAGES: usize = 65_536;
/// Pause before a full mailbox is tried again by a thread that may wait.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// Why the engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be opened: which, where, why.
    Listen { listener: &'static str, address: String, error: io::Error },
    /// The driver that was demanded does not serve.
    Driver(io::Error),
    /// The journal cannot be opened.
    Journal(JournalError),
    /// The certificates cannot be used.
    Tls(ListenerTlsError),
    /// Something else that the system refused: what.
    System { what: &'static str, error: io::Error },
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Listen { listener, address, error } => {
                write!(f, "the {listener} listener cannot be opened on {address}: {error}")
            }
            StartError::Driver(error) => write!(
                f,
                "driver = io_uring cannot be had: {error} (an old kernel, a container that refuses it, or too little locked memory); driver = auto falls back to epoll"
            ),
            StartError::Journal(error) => error.fmt(f),
            StartError::Tls(error) => error.fmt(f),
            StartError::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running cores.
pub struct Engine {
    mailboxes: Vec<Mailbox>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    seal: Arc<Seal>,
    ingress: Address,
    workers: Address,
    next_core: AtomicUsize,
    counts: Arc<SharedCounts>,
    registry: Arc<Registry>,
    tls: Arc<ListenersTls>,
    supply: Option<Arc<SupplyThread>>,
    remote: Arc<dyn RemoteReplies>,
}

impl Engine {
    /// Opens the listeners and starts a thread for each core. When it returns, connections are accepted.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn start(
        settings: &Settings,
        access_tokens: &Arc<AccessTokens>,
        registry: &Arc<Registry>,
        metrics: &Metrics,
        services: &Services,
        keeper: Option<&RemoteKeeper>,
        clock: Clock,
    ) -> Result<Engine, StartError> {
        heap::refuse_huge_pages();
        let cores = settings.cores;
        let tls = Arc::new(ListenersTls::load(settings).map_err(StartError::Tls)?);
        let backend = choose(settings.driver, cores).map_err(StartError::Driver)?;
        // Before anybody can connect: what is accepted from now on is behind what is open.
        let (supply, mut journals) = match keeper {
            Some(keeper) => (None, JournalParts::remote(keeper, cores)),
            None => recover::start(settings, registry, clock)
                .map_err(StartError::Journal)?
                .map_or((None, Vec::new()), |(supply, parts)| (Some(supply), parts)),
        };
        journals.reverse();
        let (listeners, ingress) = open_listeners("ingress", &settings.ingress.listen, cores)?;
        let (worker_listeners, workers) = open_listeners("workers", &settings.workers.listen, cores)?;
        let system = |what| move |error| StartError::System { what, error };
        let seal = Seal::new(services.node).map_err(|error| StartError::System {
            what: "the system gives no random bytes",
            error: io::Error::other(error),
        })?;
        let seal = Arc::new(seal);
        let rules = Arc::new(rules(settings, &ingress, Arc::clone(access_tokens)));
        let counts = Arc::new(SharedCounts::default());
        let (mailboxes, receivers): (Vec<_>, Vec<_>) =
            (0..cores).map(|_| mailbox::mailbox(MAILBOX_MESSAGES)).unzip();
        let (ready, started) = std::sync::mpsc::sync_channel(cores);
        let cpus = allowed_cpus();
        let mut threads = Vec::new();
        for (index, (listeners, receiver)) in
            listeners.into_iter().zip(worker_listeners).zip(receivers).enumerate()
        {
            let Some(core_metrics) = metrics.core(index) else { break };
            let config = CoreConfig {
                index,
                backend,
                may_fall_back: settings.driver == Driver::Auto,
                cpu: if cpus.len() >= cores { cpus.get(index).copied() } else { None },
                clock,
                rules: Arc::clone(&rules),
                registry: Arc::clone(registry),
                metrics: Arc::clone(core_metrics),
                seal: Arc::clone(&seal),
                counts: Arc::clone(&counts),
                mailboxes: mailboxes.clone(),
                services: services.clone(),
                tls: Arc::clone(&tls),
                receiver,
                has_panicked: Cell::new(false),
                journal: RefCell::new(journals.pop()),
                listeners,
                ready: ready.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || config.supervise())
                .map_err(system("a core's thread cannot be started"))?;
            threads.push(thread);
        }
        drop(ready);
        // A core that ends before it serves says why, or drops its sender.
        for _ in 0..threads.len() {
            started
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
                .map_err(system("a core cannot serve"))?;
        }
        let (threads, next_core) = (Mutex::new(threads), AtomicUsize::new(0));
        let registry = Arc::clone(registry);
        let remote = Arc::clone(&services.remote);
        Ok(Engine {
            mailboxes,
            threads,
            seal,
            ingress,
            workers,
            next_core,
            counts,
            registry,
            tls,
            supply,
            remote,
        })
    }

    /// Address of the ingress, with the port that was chosen where the settings left it open.
    #[must_use]
    pub fn ingress(&self) -> &Address {
        &self.ingress
    }

    /// Address that workers attach to, with the port that was chosen where the settings left it open.
    #[must_use]
    pub fn workers(&self) -> &Address {
        &self.workers
    }

    /// Tells the cores that the model has changed, after the registry has the change: WebSockets of a webhook that may not
    /// stay are closed, and the workers of a flow that was deleted. One message for each core, however much has changed.
    /// May wait for a core that is busy.
    pub fn changed(&self, affected: &Affected) {
        let is_deleted = |flow: &Id| self.registry.flow(*flow).is_none();
        let deleted_flows: Arc<[Id]> = affected.flows.iter().copied().filter(is_deleted).collect();
        self.tell_all(|| Message::ModelChanged { deleted_flows: Arc::clone(&deleted_flows) });
    }

    /// Reads the certificates and keys again, for the connections that are accepted from now on; open ones continue as
    /// they are. Returns `false` if there are none.
    ///
    /// # Errors
    /// The first file that cannot be used, and why; everything stays as it was then.
    pub fn reload_tls(&self) -> Result<bool, ListenerTlsError> {
        if !self.tls.reload()? {
            return Ok(false);
        }
        let tls = self.tls.of_cores();
        self.tell_all(|| Message::Tls(tls.clone()));
        Ok(true)
    }

    /// The certificates of all listeners.
    #[must_use]
    pub fn tls(&self) -> &Arc<ListenersTls> {
        &self.tls
    }

    /// Has every core hand over what it has recorded, and when these webhooks were last called; `done` is called once by
    /// each. May wait for a core that is busy.
    pub fn settle_records(&self, webhooks: &Arc<[Id]>, done: &Settled) {
        self.tell_all(|| Message::Records { webhooks: Arc::clone(webhooks), done: Arc::clone(done) });
    }

    /// Searches for the open WebSocket of a webhook that its records know by this name; `done` is called once by each core. May
    /// wait for a core that is busy.
    pub fn find_websocket(&self, webhook: Id, connection: Id, done: &SearchCallback) {
        self.tell_all(|| Message::Search(Search { webhook, connection, done: Arc::clone(done) }));
    }

    /// Number of engine threads.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// Tells every core, waiting for those that are busy.
    fn tell_all(&self, make: impl Fn() -> Message<OwnedFd>) {
        for mailbox in &self.mailboxes {
            let mut message = make();
            while let Err(MailboxFull(back)) = mailbox.send(message) {
                message = back;
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }

    /// Has `/readyz` of the ingress say 503 from here on, while connections are accepted still.
    pub fn announce_end(&self) {
        self.counts.is_ending.store(true, Ordering::Relaxed);
    }

    /// Whether every core's journal can be written.
    #[must_use]
    pub fn is_journal_up(&self) -> bool {
        self.counts.journals_down.load(Ordering::Relaxed) == 0
    }

    /// Hands in a reply from outside; `done` is told about its outcome.
    pub fn reply(&self, reply_id: &str, reply: Box<Reply>, done: ReplyCallback) {
        if let Some(node) = self.seal.other_node(reply_id) {
            return self.remote.send(node, reply_id, reply, done);
        }
        let place = self.seal.open(reply_id);
        let Some((place, mailbox)) =
            place.and_then(|place| Some((place, self.mailboxes.get(usize::from(place.core))?)))
        else {
            return done(Outcome::NotWaiting);
        };
        let sender = ReplySender::Callback(done);
        let message = Message::Core(CoreMessage::Reply { key: place.key, reply, sender });
        if let Err(MailboxFull(Message::Core(CoreMessage::Reply {
            sender: ReplySender::Callback(done),
            ..
        }))) = mailbox.send(message)
        {
            done(Outcome::Refused("the engine is too busy to pass the reply on: send it again".into()));
        }
    }

    /// Delivers the event of a dead letter again, as [`DeadLetter::stored`] made it; `done` is told once it is accepted like
    /// an event that has just arrived.
    pub fn replay(&self, stored: Vec<u8>, done: ReplayCallback) {
        let core = self.next_core.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let message = Message::Core(CoreMessage::Replay { stored, done });
        if let Err(MailboxFull(Message::Core(CoreMessage::Replay { done, .. }))) =
            self.mailboxes[core].send(message)
        {
            done(Err(NotReplayed::Busy));
        }
    }

    /// Takes over an entry that a node that is gone has left open; `done` is told once this journal has it. Those of one
    /// core stay together, in order.
    pub fn inherit(&self, entry: Box<LeftOpen>, done: ReplayCallback) {
        let core = usize::from(entry.sequence.core()) % self.mailboxes.len();
        let message = Message::Core(CoreMessage::Inherit { entry, done });
        if let Err(MailboxFull(Message::Core(CoreMessage::Inherit { done, .. }))) =
            self.mailboxes[core].send(message)
        {
            done(Err(NotReplayed::Busy));
        }
    }

    /// Takes a message of another node of the cluster about its workers or those of this one. One that a core has no room
    /// for is dropped: a trigger's ack times out then.
    pub fn on_node_event(&self, node: Id, event: NodeEvent) {
        let Some(flow) = event.flow() else {
            return self.tell_all(|| Message::Core(CoreMessage::Node { node, event: event.clone() }));
        };
        let owner = owner_core(flow, self.mailboxes.len());
        if self.mailboxes[owner].send(Message::Core(CoreMessage::Node { node, event })).is_err() {
            bounded_log!(
                warn,
                core = owner,
                "a message of another node is dropped: the core's mailbox is full"
            );
        }
    }

    /// Makes a connection to the ingress inside the process.
    ///
    /// # Errors
    /// If no socket pair can be made, or the core is too busy.
    pub fn connect(&self, inside: Inside) -> io::Result<std::os::unix::net::UnixStream> {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        let core = self.next_core.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        let message = Message::Adopt { stream: OwnedFd::from(far), inside };
        self.mailboxes[core].send(message).map_err(|_| {
            io::Error::new(io::ErrorKind::WouldBlock, "the engine is too busy to take a request of its own")
        })?;
        Ok(near)
    }

    /// Stops accepting and lets what is in flight end, for at most 30 s. [`Self::join`] waits for it.
    pub fn drain(&self) {
        self.tell_all(|| Message::Drain);
    }

    /// Waits until every core has ended.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a core's thread ended with a panic");
            }
        }
        if let Some(supply) = &self.supply {
            supply.stop();
        }
    }
}

fn choose(driver: Driver, cores: usize) -> io::Result<Backend> {
    let preference = match driver {
        Driver::Auto => Preference::Automatic,
        Driver::IoUring => Preference::Ring,
        Driver::Epoll => Preference::Epoll,
    };
    crate::io::choose(preference, cores)
}

fn open_listeners(
    listener: &'static str,
    address: &Address,
    cores: usize,
) -> Result<(Vec<crate::io::Listener>, Address), StartError> {
    listen::open(address, cores).map_err(|error| StartError::Listen {
        listener,
        address: address.to_string(),
        error,
    })
}

/// Returns the CPUs that this process may run on.
fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

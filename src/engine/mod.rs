//! Floor 7: the cores. The only floor that touches the kernel, and the only one that knows monoio.
//!
//! Each core is a thread, pinned, with a ring, listeners, connections, timers, places for replies and counters of
//! its own. Cores talk through bounded mailboxes. Nothing is decided here: bytes go up to `http`, `ingress` and
//! `deliver`, and what comes back is done.

mod accept;
mod answer;
mod arrival;
mod chains;
mod closing;
mod connection;
mod core;
mod exchange;
mod fd;
mod flows;
mod heap;
mod line;
mod listen;
mod lot;
mod mailbox;
mod messages;
mod pace;
mod pending;
mod plain;
mod ready;
mod recent;
mod runtime;
mod socket;
mod spare;
mod spread;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod turn;
mod wait;
mod watch;
mod worker;

use std::io;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use self::connection::Door;
use self::core::{Core, Message, Rules, Shared};
use self::listen::Listener;
use self::mailbox::{Receiver, Sender};
use self::pending::Seal;
use self::ready::Ready;
use self::tls::Certified;
use crate::base::clock::{Clock, NANOS_PER_SECOND};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::base::slots::Round;
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::settings::{Address, Ingress, Settings};
use crate::store::Affected;
use crate::verify::secret::Expected;

pub use self::chains::{ChainSource, Fetched};
pub use self::core::{Done, Tap};
pub use self::pending::Outcome;
pub use self::recent::{RECORDS_MAX, RequestSink, SHOWN_PAYLOAD_BYTES_MAX, SeenRequest};
pub use self::tls::{TlsError, check as check_tls};

/// Messages that wait for a core before its senders are told that it is busy.
const MAILBOX_MESSAGES: usize = 65_536;
/// How long what is in flight may take when the engine drains (section 14).
const DRAIN_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// The longest that a core sleeps without a look at its timers.
const TICK_MAX: Duration = Duration::from_secs(60);
/// How often a draining core looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(10);
/// How long the peers of closed WebSockets get beyond that to answer.
const DRAIN_CLOSE_NANOS: u64 = 5 * NANOS_PER_SECOND;
/// How often a full mailbox is tried again from a thread that may wait.
const BUSY_LOOK: Duration = Duration::from_millis(1);

/// Called by each core once with what it knows.
pub type Told<T> = Arc<dyn Fn(Vec<T>) + Send + Sync>;

/// Why the engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener could not be opened: which, where, why.
    Listen { listener: &'static str, address: String, error: io::Error },
    /// The driver that was demanded cannot be had.
    Driver(io::Error),
    /// The certificates cannot be used.
    Tls(TlsError),
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
            StartError::Tls(error) => error.fmt(f),
            StartError::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// The running cores.
pub struct Engine {
    mailboxes: Vec<Sender<Message>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    seal: Arc<Seal>,
    ingress: Address,
    workers: Address,
    next_core: AtomicUsize,
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    tls: Arc<Certified>,
}

impl Engine {
    /// Opens the listeners and starts a thread for each core. When it returns, connections are accepted.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn start(
        settings: &Settings,
        access_token: &str,
        registry: &Arc<Registry>,
        metrics: &Metrics,
        chains: &Arc<dyn ChainSource>,
        clock: Clock,
    ) -> Result<Engine, StartError> {
        heap::refuse_huge_pages();
        let cores = settings.cores;
        let tls = Arc::new(Certified::load(&settings.ingress.tls).map_err(StartError::Tls)?);
        let chosen = runtime::choose(settings.driver, cores).map_err(StartError::Driver)?;
        let (listeners, ingress) = listen::open(&settings.ingress.listen, cores).map_err(|error| {
            StartError::Listen { listener: "ingress", address: settings.ingress.listen.to_string(), error }
        })?;
        let (worker_listeners, workers) = listen::open(&settings.workers.listen, cores).map_err(|error| {
            StartError::Listen { listener: "workers", address: settings.workers.listen.to_string(), error }
        })?;
        let system = |what| move |error| StartError::System { what, error };
        let seal = Seal::new().map_err(|error| StartError::System {
            what: "the system gives no random bytes",
            error: io::Error::other(error),
        })?;
        let seal = Arc::new(seal);
        let rules = Arc::new(Rules {
            cors: settings.ingress.cors,
            on_ring: chosen != runtime::Loop::Epoll,
            public_url: public_url(&settings.ingress, &ingress),
            proxy_protocol: settings.ingress.proxy_protocol,
            trusted_proxies: settings.ingress.trusted_proxies.clone(),
            connections: settings.limits.connections as usize,
            body_bytes: usize::try_from(settings.limits.body_bytes).unwrap_or(usize::MAX),
            access_token: Expected::secret(access_token.as_bytes()),
            context_takeover: settings.websocket.context_takeover,
        });
        let shared = Arc::new(Shared::default());
        let (mut mailboxes, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..cores {
            let (sender, receiver) =
                mailbox::mailbox(MAILBOX_MESSAGES).map_err(system("an eventfd cannot be made"))?;
            mailboxes.push(sender);
            receivers.push(receiver);
        }
        let (ready, started) = std::sync::mpsc::sync_channel(cores);
        let cpus = allowed_cpus();
        let mut threads = Vec::new();
        let doors = listeners.into_iter().zip(worker_listeners);
        for (index, (listeners, receiver)) in doors.zip(receivers).enumerate() {
            let Some(core_metrics) = metrics.core(index) else { break };
            let plan = Plan {
                index,
                chosen,
                cpu: if cpus.len() >= cores { cpus.get(index).copied() } else { None },
                clock,
                rules: Arc::clone(&rules),
                registry: Arc::clone(registry),
                metrics: Arc::clone(core_metrics),
                seal: Arc::clone(&seal),
                shared: Arc::clone(&shared),
                mailboxes: mailboxes.clone(),
                chains: Arc::clone(chains),
                tls: Arc::clone(&tls),
                receiver,
                listeners,
                done: AtomicBool::new(false),
                ready: ready.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || plan.supervise())
                .map_err(system("a core's thread cannot be started"))?;
            threads.push(thread);
        }
        drop(ready);
        // A core that ends before it serves says why, or lets its sender go.
        for _ in 0..threads.len() {
            started
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
                .map_err(system("a core cannot serve"))?;
        }
        let threads = Mutex::new(threads);
        let next_core = AtomicUsize::new(0);
        Ok(Engine {
            mailboxes,
            threads,
            seal,
            ingress,
            workers,
            next_core,
            shared,
            registry: Arc::clone(registry),
            tls,
        })
    }

    /// Where ingress listens; the port that was chosen, where the settings left it open.
    #[must_use]
    pub fn ingress(&self) -> &Address {
        &self.ingress
    }

    /// Where workers attach; the port that was chosen, where the settings left it open.
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

    /// Reads the certificates and keys again, for the connections that come from now on; those that are open go on as
    /// they are. False: there are none.
    ///
    /// # Errors
    /// The first file that cannot be used, and why; all stays as it was then.
    pub fn reload_tls(&self) -> Result<bool, TlsError> {
        let Some(config) = self.tls.reload()? else { return Ok(false) };
        self.tell_all(|| Message::Tls(Arc::clone(&config)));
        Ok(true)
    }

    /// A webhook's last requests on each core, newest first; `done` gets each core's when it has them.
    pub fn recent(&self, webhook: Id, most: usize, done: Told<SeenRequest>) {
        self.tell_all(|| {
            let done = Arc::clone(&done);
            Message::Recent { ask: Box::new(move |recent, now| done(recent.last(webhook, most, now))) }
        });
    }

    /// When each webhook had its last request on each core (milliseconds since 1970), as [`Self::recent`].
    pub fn last_calls(&self, webhooks: &Arc<[Id]>, done: Told<(Id, u64)>) {
        self.tell_all(|| {
            let (done, webhooks) = (Arc::clone(&done), Arc::clone(webhooks));
            Message::Recent { ask: Box::new(move |recent, _| done(recent.last_calls(&webhooks))) }
        });
    }

    /// Gives each further request of a webhook to `sink`, until it says that nobody reads.
    pub fn watch(&self, webhook: Id, sink: &Arc<dyn RequestSink>) {
        self.tell_all(|| {
            let sink = Arc::clone(sink);
            Message::Recent { ask: Box::new(move |recent, now| recent.watch(webhook, sink, now)) }
        });
    }

    /// Engine threads.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// Tells every core, waiting for those that are busy.
    fn tell_all(&self, make: impl Fn() -> Message) {
        for mailbox in &self.mailboxes {
            let mut message = make();
            while let Err(mailbox::Full(back)) = mailbox.send(message) {
                message = back;
                std::thread::sleep(BUSY_LOOK);
            }
        }
    }

    /// Connections that are open, of all cores.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Hands in a reply from outside; `done` learns what became of it.
    pub fn reply(&self, reply_id: &str, reply: Box<Reply>, done: Done) {
        let Some(place) = self.seal.open(reply_id) else { return done(Outcome::NotWaiting) };
        let Some(mailbox) = self.mailboxes.get(usize::from(place.core)) else {
            return done(Outcome::NotWaiting);
        };
        let message = Message::Reply { key: place.key, reply, done: Some(done) };
        if let Err(mailbox::Full(Message::Reply { done: Some(done), .. })) = mailbox.send(message) {
            done(Outcome::Refused("the engine is too busy to pass the reply on: send it again".into()));
        }
    }

    /// A connection to the ingress that no listener is asked for; each payload that its requests make goes to `tap`.
    ///
    /// # Errors
    /// If no socket pair can be made, or the core is too busy.
    pub fn connect(&self, tap: Tap) -> io::Result<std::os::unix::net::UnixStream> {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        let core = self.next_core.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        self.mailboxes[core].send(Message::Adopt { stream: far, tap }).map_err(|_| {
            io::Error::new(io::ErrorKind::WouldBlock, "the engine is too busy to take a test request")
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
    }
}

/// The URL that callers know the ingress by: as it was set, else as it listens.
fn public_url(settings: &Ingress, ingress: &Address) -> String {
    let scheme = settings.scheme();
    match (&settings.public_url, ingress) {
        (Some(url), _) => url.clone(),
        (None, Address::Tcp(address)) => format!("{scheme}://{address}"),
        (None, Address::Unix(_)) => format!("{scheme}://localhost"),
    }
}

/// The CPUs that this process may run on.
fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// What a core's thread starts from, and starts again from after a panic outside of any connection.
struct Plan {
    index: usize,
    chosen: runtime::Loop,
    cpu: Option<usize>,
    clock: Clock,
    rules: Arc<Rules>,
    registry: Arc<Registry>,
    metrics: Arc<crate::metrics::CoreMetrics>,
    seal: Arc<Seal>,
    shared: Arc<Shared>,
    mailboxes: Vec<Sender<Message>>,
    chains: Arc<dyn ChainSource>,
    tls: Arc<Certified>,
    receiver: Receiver<Message>,
    /// Of the ingress and of the workers.
    listeners: (Listener, Listener),
    done: AtomicBool,
    /// Told once that the core serves, or why it does not.
    ready: SyncSender<io::Result<()>>,
}

impl Plan {
    fn supervise(self) {
        if let Some(cpu) = self.cpu {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
                tracing::warn!(core = self.index, cpu, %error, "the core's thread is not pinned");
            }
        }
        while !self.done.load(Ordering::Relaxed) {
            let run = || runtime::block_on(self.chosen, self.run());
            match std::panic::catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(Ok(()))) => return,
                Ok(Ok(Err(error)) | Err(error)) => {
                    tracing::error!(core = self.index, %error, "the core ended; the others go on");
                    // Nobody listens any more once every core has begun.
                    let _ = self.ready.try_send(Err(error));
                    return;
                }
                Err(_) => {
                    bounded_log!(
                        error,
                        core = self.index,
                        "the core panicked: its connections are lost, it starts again"
                    );
                }
            }
        }
    }

    async fn run(&self) -> io::Result<()> {
        let core = Rc::new(Core::new(
            self.index,
            self.clock,
            Arc::clone(&self.rules),
            Arc::clone(&self.registry),
            Arc::clone(&self.metrics),
            Arc::clone(&self.seal),
            Arc::clone(&self.shared),
            self.mailboxes.clone(),
            Arc::clone(&self.chains),
        )?);
        core.tls.replace(self.tls.config());
        let _emptied = lot::Emptied(Rc::clone(&core));
        let nonblocking = self.chosen == runtime::Loop::Epoll;
        let mailbox = Ready::new(self.receiver.event()?)?;
        monoio::spawn(tick(Rc::clone(&core)));
        monoio::spawn(lot::keep(Rc::clone(&core), core.lot.ready()?));
        for (door, listener) in [(Door::Ingress, &self.listeners.0), (Door::Workers, &self.listeners.1)] {
            let (accepting, listener) = (Rc::clone(&core), listener.try_clone()?);
            let ready = Ready::new(listener.as_fd().try_clone_to_owned()?)?;
            monoio::spawn(accept::accept(accepting, listener, ready, door, nonblocking));
        }
        // A core that starts again after a panic has nobody to tell.
        let _ = self.ready.try_send(Ok(()));
        // Ends when the core has drained: `finish` expires the watch.
        let served = core.stop.until_expired(pin!(self.serve_mailbox(&core, &mailbox, nonblocking))).await;
        self.done.store(true, Ordering::Relaxed);
        served.unwrap_or(Ok(()))
    }
}

/// Fires the core's timers, sleeping until the next one is due.
async fn tick(core: Rc<Core>) {
    let mut due = Vec::new();
    loop {
        core.begin_turn();
        core.take_due(&mut due);
        for timer in due.drain(..) {
            if core.fire(timer) {
                core.end_turn();
                core.pause().await;
                core.begin_turn();
            }
        }
        core.end_turn();
        let next = core.next_deadline();
        let now = core.now().nanos;
        let pause = next.map_or(TICK_MAX, |at| Duration::from_nanos(at.saturating_sub(now)).min(TICK_MAX));
        // An earlier timer that is set meanwhile expires the watch.
        core.ticker_sleeps_until(next.unwrap_or(u64::MAX));
        if !pause.is_zero() {
            let _ = core.ticker.until_expired(pin!(monoio::time::sleep(pause))).await;
        }
    }
}

/// Ends the core: first the requests in flight, then the webhooks' WebSockets, whose goodbyes are triggers still, then
/// the workers, who get what is left (section 14). The cores go through it together, since each may have what
/// another's request waits for.
async fn finish(core: Rc<Core>) {
    let ends = core.now().nanos + DRAIN_NANOS;
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let shared = Arc::clone(&core.shared);
    let requests = || count(&shared.connections) > count(&shared.sockets) + count(&shared.workers);
    until(&core, ends, || !requests()).await;
    let mut round = Round::default();
    round.begin(core.pending.places());
    while let Some(places) = { round.piece(messages::ROUND_PLACES) } {
        core.begin_turn();
        core.pending.sockets_within(places).iter().for_each(|socket| socket.restart(&core));
        core.end_turn();
        core.pause().await;
    }
    until(&core, ends + DRAIN_CLOSE_NANOS, || count(&shared.sockets) == 0).await;
    until(&core, ends, || !matches!(flows::open(&core), (1.., true))).await;
    let (unacked, _) = flows::open(&core);
    if unacked > 0 {
        tracing::warn!(
            core = core.index,
            triggers = unacked,
            "triggers that no worker acked are lost: journal.durability is memory"
        );
    }
    worker::close_all(&core);
    until(&core, ends + DRAIN_CLOSE_NANOS, || count(&shared.workers) == 0).await;
    let left = core.connections.borrow().len();
    if left > 0 {
        tracing::warn!(core = core.index, connections = left, "not all that was in flight ended in time");
    }
    core.stop.expire();
}

/// Waits until something is so, or it is too late.
async fn until(core: &Core, ends: u64, is_so: impl Fn() -> bool) {
    while !is_so() && core.now().nanos < ends {
        monoio::time::sleep(DRAIN_LOOK).await;
    }
}

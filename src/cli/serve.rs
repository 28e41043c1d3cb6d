//! `tidegate serve`: opens the data folder, starts the cores and the admin listener, waits for the signal to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::addresses;
use super::clustered;
use super::gateway::Gateway;
use super::notify::{self, State};
use super::targets::TargetThreads;
use crate::admin::{self, AdminState};
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log;
use crate::base::log::bounded_log;
use crate::cluster::journal::NodeJournal;
use crate::cluster::membership::NodeState;
use crate::cluster::{Connection, Node, Publisher};
use crate::control::Fetchers;
use crate::control::calls::CallThreads;
use crate::control::chains::Chains;
use crate::control::dead_letters::KeptDeadLetters;
use crate::control::forward::{AttemptSink, ForwardThreads};
use crate::control::key_sets::KeySets;
use crate::control::records::KeptRecords;
use crate::engine::{CallSink, ChainSource, Engine, NoCluster, Services, StartError};
use crate::metrics::Metrics;
use crate::record::{BookLimits, RecordSink, Shelf};
use crate::registry::{Defaults, Registry};
use crate::settings::{Address, Durability, Settings};
use crate::store::{self, DataFolder, Store};
use crate::verify::access::AccessTokens;

/// Folder in the data folder that holds the records.
const RECORDS_FOLDER: &str = "records";

/// How often it is looked whether lines were left out of the log whose minute is over.
const LOG_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until a signal says otherwise.
///
/// # Errors
/// The reason that it could not start, in words for the operator.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let clock = Clock::new();
    let folder = DataFolder::open(&settings.data)?;
    if !clustered::is_set(settings) {
        super::demo::note_first_start(&folder)?;
    }
    let store = Arc::new(Store::open_in(folder)?);
    let token =
        store::access_token(&settings.data, settings.access_token.as_ref().map(|secret| secret.expose()))?;
    if let Some(warning) = &token.warning {
        tracing::warn!("{warning}");
    }
    let tokens = Arc::new(AccessTokens::only(&token.secret));
    store.access_tokens()?.iter().for_each(|token| tokens.insert(token));
    if clustered::is_set(settings) {
        warn_of_own_journal(settings);
    }
    let defaults = Defaults {
        shares_limits: clustered::is_set(settings),
        ..Defaults::new(settings.cores, &settings.limits)
    };
    let registry = Arc::new(Registry::new(defaults));
    registry.load(&*store, clock.now())?;
    let metrics = Arc::new(Metrics::with_webhooks(settings.cores, settings.metrics_webhooks));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anyone is told that it serves: a signal from then on must find somebody who listens.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let admin_listener = runtime
        .block_on(async {
            match &settings.admin.listen {
                Address::Tcp(address) => admin::Listener::tcp(*address),
                Address::Unix(path) => admin::Listener::unix(path),
            }
        })
        .map_err(|error| StartError::Listen {
            listener: "admin",
            address: settings.admin.listen.to_string(),
            error,
        })?;
    let admin_address = admin_listener.address().map_or_else(|| settings.admin.listen.clone(), Address::Tcp);

    let key_sets = KeySets::start(settings.forward.roots.as_deref(), clock)
        .context("the thread that fetches key sets cannot be started")?;
    let fetchers = Fetchers { chains: Chains::start(&settings.alexa, clock)?, key_sets };
    let chains: Arc<dyn ChainSource> = Arc::new(fetchers);
    let call_threads = CallThreads::start(settings)?;
    let calls = call_threads.as_ref().map(|threads| Arc::clone(threads.calls()));
    let spans = calls.clone().filter(|calls| calls.has_spans()).map(|calls| calls as Arc<dyn AttemptSink>);
    let [nats, cluster_nats] = nats(settings)?;
    let incarnation = Id::generate(clock.now().unix_millis);
    let start_node = |nats| clustered::start(nats, settings, incarnation, &store, &registry, clock);
    let clustered = cluster_nats.as_ref().map(start_node);
    let journal = match cluster_nats {
        Some(nats) => {
            let journal = NodeJournal::start(nats, settings, &incarnation.to_string(), clock);
            Some(journal.context("the data folder cannot be written")?)
        }
        None => None,
    };
    let prefix = settings.cluster.prefix();
    let publisher = nats.map(|nats| Publisher::new(nats, prefix, metrics.targets(), settings.cores));
    let http = ForwardThreads::start(settings, metrics.targets(), spans, clock)?;
    let forwarder = Arc::new(TargetThreads { http, nats: publisher });
    let dead_letters = Arc::new(KeptDeadLetters::start(store.letters()?, clock)?);
    let limits = BookLimits {
        bytes: usize::try_from(settings.record.bytes).unwrap_or(usize::MAX),
        age_millis: u64::from(settings.record.seconds) * 1_000,
    };
    let shelf = Arc::new(Shelf::new(limits));
    let is_durable = settings.journal.durability != Durability::Memory;
    let folder = is_durable.then(|| settings.data.join(RECORDS_FOLDER));
    let records = KeptRecords::start(Arc::clone(&shelf), folder.as_deref(), settings.record.bytes, clock)?;
    let records = Arc::new(records);
    let sink = Arc::clone(&records) as Arc<dyn RecordSink>;
    let services = Services {
        chains,
        forwarder,
        dead_letters,
        permits: Arc::new(NoCluster),
        keys: None,
        remote: Arc::new(NoCluster),
        node: None,
        links: None,
        records: sink,
        calls: calls.clone().map(|calls| calls as Arc<dyn CallSink>),
    };
    let services = clustered.iter().fold(services, |services, clustered| clustered.services(services));
    let keeper = journal.as_ref().map(NodeJournal::keeper);
    let engine =
        Arc::new(Engine::start(settings, &tokens, &registry, &metrics, &services, keeper.as_ref(), clock)?);
    // The threads end with the cores, which have the rest of them.
    drop(services);
    let (ingress_address, workers_address) = (engine.ingress().clone(), engine.workers().clone());
    let gateway = Arc::new(Gateway {
        registry,
        engine,
        metrics,
        clock,
        draining: AtomicBool::new(false),
        folder: settings.data.clone(),
        letters: store.letters()?,
        calls,
        tokens: Arc::clone(&tokens),
        cluster: clustered.as_ref().map(|clustered| Arc::clone(&clustered.node)),
        records: Arc::clone(&records),
        shelf: Arc::clone(&shelf),
        trusted_proxies: settings.ingress.trusted_proxies.clone(),
    });
    if let (Some(journal), Some(clustered)) = (&journal, &clustered) {
        clustered.serve(&gateway, journal, &settings.data);
    }
    let mut state = AdminState::new(
        Arc::clone(&store),
        Arc::clone(&gateway) as Arc<dyn admin::EngineAccess>,
        &token.secret,
    );
    if let Some(clustered) = &clustered {
        clustered.node.follow();
    }
    state.shelf = shelf;
    state.tokens = tokens;
    state.hosts.clone_from(&settings.admin.hosts);
    state.open_metrics = settings.admin.open_metrics;
    state.clock = clock;
    state.about = admin::About {
        ingress: ingress_address.clone(),
        scheme: settings.ingress.scheme(),
        public_url: settings.ingress.public_url.clone(),
        called_url: settings.ingress.called_url(&ingress_address),
        limits: settings.limits.clone(),
    };
    let state = Arc::new(state);
    let router = admin::router(Arc::clone(&state));
    if let Some(clustered) = &clustered {
        clustered.serve_api(&router, &token.secret);
    }
    let admin_tls = settings.admin.tls.is_set().then(|| {
        let tls = Arc::clone(gateway.engine.tls());
        let limit = Duration::from_secs(u64::from(settings.timeouts.tls_handshake));
        admin::AdminTls::new(move || tls.admin(), limit)
    });

    let folder = store.folder().path();
    addresses::write(folder, settings, [&ingress_address, &admin_address, &workers_address])?;
    tracing::info!(ingress = %ingress_address, tls = settings.ingress.tls.is_set(), admin = %admin_address, admin_tls = settings.admin.tls.is_set(), workers = %workers_address, workers_tls = settings.workers.tls.is_set(), cores = settings.cores, "serving");
    warn_of_open_listeners(settings);
    notify::tell(State::Ready);
    super::demo::greet(&store, &token.file, &ingress_address, &admin_address, settings, clock);

    runtime.block_on(async {
        tokio::spawn(admin::sample(state));
        tokio::spawn(tell_left_out());
        tokio::spawn(Arc::clone(&gateway).heal(Arc::clone(&store)));
        tokio::spawn(Arc::clone(&gateway).withdraw_tokens(Arc::clone(&store)));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(admin::serve(admin_listener, admin_tls, router, async {
            // The sender going away is as good a reason to stop.
            let _ = stopped.await;
        }));
        let overdrawn = overdrawn(gateway.cluster.clone());
        tokio::pin!(overdrawn);
        let is_overdrawn = loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    SignalAction::ToStop => break false,
                    SignalAction::ToReload => reload(&gateway.engine),
                },
                () = &mut overdrawn => break true,
            }
        };
        tracing::info!("stopping: what is in flight is finished first; a second signal ends at once");
        notify::tell(State::Stopping);
        gateway.draining.store(true, Ordering::Relaxed);
        gateway.engine.announce_end();
        if let Some(node) = &gateway.cluster {
            node.membership().set_state(NodeState::Draining);
        }
        // Load balancers see `/readyz` before connections are refused.
        let delay = Duration::from_secs(u64::from(settings.drain_delay_seconds));
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = signals.stop() => cut_off(),
        }
        let draining = Arc::clone(&gateway);
        let drained = tokio::task::spawn_blocking(move || {
            draining.engine.drain();
            draining.engine.join();
        });
        tokio::select! {
            drained = drained => drained?,
            () = signals.stop() => cut_off(),
        }
        if let Some(node) = gateway.cluster.clone() {
            // What it waits for happens on a thread of its own.
            tokio::task::spawn_blocking(move || node.leave()).await?;
        }
        let _ = stop.send(());
        tokio::select! {
            served = served => served?,
            () = signals.stop() => cut_off(),
        }
        if is_overdrawn {
            anyhow::bail!(
                "NATS has not answered for ten minutes: the calls that held places of a limit were ended"
            );
        }
        anyhow::Ok(())
    })?;
    if let Some(threads) = call_threads {
        threads.finish();
    }
    // What the cores have handed over at their end.
    records.end();
    // Nobody can be served from this folder any more.
    let _ = std::fs::remove_file(store.folder().path().join(addresses::FILE));
    tracing::info!("stopped");
    Ok(())
}

/// The clients of NATS: that of `NatsNode`s and that of the cluster, which may be the same.
fn nats(settings: &Settings) -> anyhow::Result<[Option<Arc<Connection>>; 2]> {
    let name = settings.cluster.prefix();
    let start = |nats| Connection::start(nats, name).map(Arc::new);
    let of_cluster = settings.cluster_nats().map(start).transpose()?;
    let of_nodes = match (settings.node_nats(), settings.cluster_nats()) {
        (Some(nodes), Some(cluster)) if nodes == cluster => of_cluster.clone(),
        (nodes, _) => nodes.map(start).transpose()?,
    };
    Ok([of_nodes, of_cluster])
}

/// Returns once a node of a cluster must end the calls that it holds; of a process alone never.
async fn overdrawn(node: Option<Arc<Node>>) {
    match node {
        Some(node) => node.overdrawn().await,
        None => std::future::pending().await,
    }
}

/// Warns of triggers in the data folder's own journal, which a node of a cluster does not deliver.
fn warn_of_own_journal(settings: &Settings) {
    match super::journal::open_entries(&settings.data) {
        Ok(0) => {}
        Ok(triggers) => bounded_log!(
            warn,
            triggers,
            "the data folder has a journal of its own with open triggers, which a node of a cluster does not deliver: start once without cluster.nats to deliver them"
        ),
        Err(error) => bounded_log!(
            warn,
            error = format!("{error:#}"),
            "the data folder has a journal of its own, which cannot be read; a node of a cluster delivers nothing of it"
        ),
    }
}

/// Warns of listeners that other machines reach and whose access token passes in clear.
fn warn_of_open_listeners(settings: &Settings) {
    let (admin, workers) = (&settings.admin, &settings.workers);
    for (listener, address, tls) in
        [("admin", &admin.listen, &admin.tls), ("workers", &workers.listen, &workers.tls)]
    {
        if let Address::Tcp(address) = address
            && !address.ip().to_canonical().is_loopback()
            && !tls.is_set()
        {
            tracing::warn!(
                listener,
                %address,
                "this listener has no TLS and is not on loopback: access tokens can be read on the way; set its tls.certificate and tls.key, put a proxy with TLS in front, or let no other machine reach it"
            );
        }
    }
}

/// Logs what was left out of the log, as long as the process runs.
async fn tell_left_out() {
    loop {
        tokio::time::sleep(LOG_LOOK_INTERVAL).await;
        log::tell_left_out();
    }
}

/// Ends at once, because a second signal says so.
fn cut_off() -> ! {
    tracing::warn!("a second signal: what was in flight is cut off");
    std::process::exit(1);
}

/// SIGTERM, SIGINT, SIGHUP and those that mean nothing here, from when it is made.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// SIGUSR1 and SIGUSR2, which end a process that does not take them: other programs rotate their logs at them.
    users: [Signal; 2],
}

/// The action that a signal requests.
enum SignalAction {
    ToStop,
    ToReload,
}

impl Signals {
    /// Within a runtime.
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            users: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    /// Waits for the next of them.
    async fn next(&mut self) -> SignalAction {
        let [user1, user2] = &mut self.users;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return SignalAction::ToStop,
                _ = self.interrupt.recv() => return SignalAction::ToStop,
                _ = self.hangup.recv() => return SignalAction::ToReload,
                _ = user1.recv() => bounded_log!(info, "SIGUSR1: it means nothing here"),
                _ = user2.recv() => bounded_log!(info, "SIGUSR2: it means nothing here"),
            }
        }
    }

    /// Waits for the next one that asks to stop.
    async fn stop(&mut self) {
        while matches!(self.next().await, SignalAction::ToReload) {}
    }
}

/// Reads the certificates again. What is wrong with the new ones leaves the old ones in place.
fn reload(engine: &Engine) {
    match engine.reload_tls() {
        Ok(true) => tracing::info!("the certificates were read again: new connections get them"),
        Ok(false) => tracing::info!("SIGHUP: there are no certificates to read again"),
        Err(error) => {
            tracing::error!("the certificates stay as they were: {error}");
        }
    }
}

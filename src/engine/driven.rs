//! Cores that their owner drives, turn by turn, over any kernel and by any clock: the whole engine in one thread, for
//! simulations and tests. [`Engine`](super::Engine) runs the same cores on threads of their own.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::ServerConfig;

use super::core::{Core, Holdings};
use super::mailbox::{self, MailboxSender};
use super::message::Message;
use super::parts::{JournalParts, KeeperParts, RemoteKeeper};
use super::peers::Mailboxes;
use super::rules::rules;
use super::supply::SegmentSource;
use super::turn::Turns;
use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::random::Random;
use crate::connection::context::{CoreParts, CoreState, SharedCounts};
use crate::connection::event_journal::EventJournal;
use crate::connection::flows;
use crate::connection::journal_state::CoreJournal;
use crate::connection::key_notes;
use crate::connection::message::{CoreMessage, ReplyCallback, ReplyOutcome, ReplySender};
use crate::connection::seal::Seal;
use crate::connection::tls::CoreTls;
use crate::connection::upgrade::ListenerKind;
use crate::connection::{ReplayCallback, Services};
use crate::io::Io;
use crate::journal::{Journal, LeftOpen, SegmentName, Sequence};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::reply::Reply;
use crate::settings::{Address, Settings};
use crate::store::Affected;
use crate::verify::access::AccessTokens;

/// Messages that wait for a core.
const MAILBOX_MESSAGES: usize = 4096;

/// The configuration of driven cores.
pub struct DrivenConfig<'a> {
    pub settings: &'a Settings,
    pub access_token: &'a str,
    pub registry: &'a Arc<Registry>,
    pub metrics: &'a Metrics,
    pub services: Services,
    /// TLS of the ingress.
    pub tls: Option<Arc<ServerConfig>>,
    /// The machine that keeps the journals, if one does.
    pub keeper: Option<RemoteKeeper>,
    /// Seed of pauses between attempts and names of events.
    pub seed: u64,
    pub clock: Rc<dyn Fn() -> Now>,
}

/// The kernel of a driven core, with its listeners.
pub struct DrivenKernel<I: Io> {
    pub io: I,
    pub ingress: I::Listener,
    pub workers: I::Listener,
    /// `None`: triggers are kept in memory only, unless [`DrivenConfig::keeper`] says otherwise.
    pub journal: Option<DrivenJournal<I::File>>,
}

/// The journal of a driven core.
pub struct DrivenJournal<F> {
    pub journal: Journal,
    /// The entries that are open, in order.
    pub open: Vec<Sequence>,
    pub source: Arc<dyn SegmentSource<F>>,
    /// The files of the segments in use.
    pub files: Vec<(SegmentName, F)>,
}

/// Cores that their owner drives.
pub struct DrivenCores<I: Io> {
    cores: Vec<(Core<I>, Turns)>,
    mailboxes: Vec<MailboxSender<Message<I::Stream>>>,
    seal: Arc<Seal>,
    counts: Arc<SharedCounts>,
    registry: Arc<Registry>,
}

impl<I: Io> DrivenCores<I>
where
    I::Stream: Send + 'static,
{
    /// Makes a core on each of the kernels.
    ///
    /// # Errors
    /// If a kernel refuses a listener, or the system gives no random bytes.
    pub fn new(config: &DrivenConfig<'_>, kernels: Vec<DrivenKernel<I>>) -> io::Result<DrivenCores<I>> {
        let seal = Arc::new(Seal::new(None).map_err(io::Error::other)?);
        let counts = Arc::new(SharedCounts::default());
        let ingress: &Address = &config.settings.ingress.listen;
        let tokens = Arc::new(AccessTokens::only(config.access_token));
        let rules = Arc::new(rules(config.settings, ingress, tokens));
        let (mailboxes, receivers): (Vec<_>, Vec<_>) =
            kernels.iter().map(|_| mailbox::mailbox(MAILBOX_MESSAGES)).unzip();
        let (mut cores, count) = (Vec::new(), kernels.len());
        let mut remote =
            config.keeper.as_ref().map_or_else(Vec::new, |keeper| JournalParts::remote(keeper, count));
        remote.reverse();
        let journals = kernels.iter().filter_map(|kernel| kernel.journal.as_ref());
        let notes = journals.flat_map(|of| of.journal.notes());
        key_notes::restore(config.registry, notes, (config.clock)().unix_millis);
        for (index, (kernel, receiver)) in kernels.into_iter().zip(receivers).enumerate() {
            let clock = Rc::clone(&config.clock);
            let metrics = config.metrics.core(index).ok_or(io::ErrorKind::InvalidInput)?;
            let state = CoreState::new(CoreParts {
                index,
                clock: Box::new(move || clock()),
                rules: Arc::clone(&rules),
                registry: Arc::clone(config.registry),
                metrics: Arc::clone(metrics),
                seal: Arc::clone(&seal),
                counts: Arc::clone(&counts),
                peers: Box::new(Mailboxes::new(index, mailboxes.clone())),
                services: config.services.clone(),
                random: Random::new(config.seed.wrapping_add(index as u64)),
                tls: CoreTls::of_ingress(config.tls.clone()),
                journal: None,
            });
            let listeners =
                vec![(kernel.ingress, ListenerKind::Ingress), (kernel.workers, ListenerKind::Workers)];
            let parts = kernel.journal.map(|of| {
                let journal = EventJournal::Files(Box::new(of.journal));
                JournalParts {
                    journal: Box::new(CoreJournal::new(journal, of.open, count)),
                    keeper: KeeperParts::Files { source: of.source, files: of.files },
                }
            });
            let parts = parts.or_else(|| remote.pop());
            cores.push((Core::new(kernel.io, state, receiver, listeners, parts)?, Turns::default()));
        }
        let registry = Arc::clone(config.registry);
        Ok(DrivenCores { cores, mailboxes, seal, counts, registry })
    }

    /// Runs one turn of a core; returns `false` once it has drained.
    ///
    /// # Errors
    /// If its kernel no longer serves.
    pub fn turn(&mut self, core: usize) -> io::Result<bool> {
        let (core, turns) = &mut self.cores[core];
        if !core.is_finished {
            turns.run_one(core, &self.registry)?;
        }
        Ok(!core.is_finished)
    }

    /// Has a core lose all that it owns of flows, as a panic outside of any connection would, and all cores told.
    pub fn lose_queues(&mut self, core: usize) {
        let state = &mut self.cores[core].0.state;
        // Without a journal no receipt is returned.
        let journal = state.journal.take();
        flows::clear_all(state);
        state.journal = journal;
        let owner = state.number();
        self.tell_all(|| Message::Core(CoreMessage::OwnerRestarted { owner }));
    }

    /// Whether a core continues at once, whatever its kernel reports.
    #[must_use]
    pub fn is_behind(&self, core: usize) -> bool {
        let (core, turns) = &self.cores[core];
        turns.is_behind(core)
    }

    /// When timers of a core are due next.
    #[must_use]
    pub fn next_deadline(&self, core: usize) -> Option<u64> {
        self.cores[core].0.state.wheel.next_deadline()
    }

    /// Number of cores.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores.len()
    }

    /// The resources that a core holds at present.
    #[must_use]
    pub fn holdings(&self, core: usize) -> Holdings {
        self.cores[core].0.holdings()
    }

    /// Number of open connections of all cores.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Tells the cores that the model has changed, as [`Engine::changed`](super::Engine::changed). Returns whether all
    /// had room for it.
    pub fn changed(&self, affected: &Affected) -> bool {
        let is_deleted = |flow: &Id| self.registry.flow(*flow).is_none();
        let deleted_flows: Arc<[Id]> = affected.flows.iter().copied().filter(is_deleted).collect();
        self.tell_all(|| Message::ModelChanged { deleted_flows: Arc::clone(&deleted_flows) })
    }

    /// Hands in a reply from outside; `done` is told about its outcome.
    pub fn reply(&self, reply_id: &str, reply: Box<Reply>, done: ReplyCallback) {
        let place = self.seal.open(reply_id);
        let mailbox = place.and_then(|place| self.mailboxes.get(usize::from(place.core)));
        let (Some(place), Some(mailbox)) = (place, mailbox) else { return done(ReplyOutcome::NotWaiting) };
        let sender = ReplySender::Callback(done);
        // One without room drops the callback, as an engine that is busy for ever would.
        let _ = mailbox.send(Message::Core(CoreMessage::Reply { key: place.key, reply, sender }));
    }

    /// Takes over an entry that an earlier process has left open, as [`Engine::inherit`](super::Engine::inherit).
    pub fn inherit(&self, core: usize, entry: LeftOpen, done: ReplayCallback) {
        // One without room drops the callback, as an engine that is busy for ever would.
        let _ =
            self.mailboxes[core].send(Message::Core(CoreMessage::Inherit { entry: Box::new(entry), done }));
    }

    /// Stops accepting and lets what is in flight end. Returns whether all cores had room for the message.
    pub fn drain(&self) -> bool {
        self.tell_all(|| Message::Drain)
    }

    fn tell_all(&self, make: impl Fn() -> Message<I::Stream>) -> bool {
        self.mailboxes.iter().all(|mailbox| mailbox.send(make()).is_ok())
    }
}

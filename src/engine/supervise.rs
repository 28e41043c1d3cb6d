//! The thread of a core: what it starts from, and starts again from after a panic outside of any connection.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::core::Core;
use super::mailbox::{MailboxFull, MailboxSender, Receiver};
use super::message::Message;
use super::parts::JournalParts;
use super::peers::Mailboxes;
use super::turn;
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::base::random::Random;
use crate::connection::Services;
use crate::connection::context::{CoreParts, CoreState, Rules, SharedCounts};
use crate::connection::message::CoreMessage;
use crate::connection::seal::Seal;
use crate::connection::tls::ListenersTls;
use crate::connection::upgrade::ListenerKind;
use crate::io::{Backend, DiskFile, Kernel, Listener};
use crate::metrics::CoreMetrics;
use crate::registry::Registry;

/// Attempts to tell a busy core of a restart, and the pause between two of them: a second in all.
const RESTART_ATTEMPTS_MAX: u32 = 100;
const RESTART_PAUSE: Duration = Duration::from_millis(10);

/// A core's mailbox, as others see it.
pub(super) type Mailbox = MailboxSender<Message<OwnedFd>>;

/// The configuration of a core.
pub(super) struct CoreConfig {
    pub(super) index: usize,
    pub(super) backend: Backend,
    /// Whether it may serve on epoll where a ring is refused.
    pub(super) may_fall_back: bool,
    pub(super) cpu: Option<usize>,
    pub(super) clock: Clock,
    pub(super) rules: Arc<Rules>,
    pub(super) registry: Arc<Registry>,
    pub(super) metrics: Arc<CoreMetrics>,
    pub(super) seal: Arc<Seal>,
    pub(super) counts: Arc<SharedCounts>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) services: Services,
    pub(super) tls: Arc<ListenersTls>,
    pub(super) receiver: Receiver<Message<OwnedFd>>,
    /// Whether this is not the first run.
    pub(super) has_panicked: Cell<bool>,
    /// The journal, for the next run.
    pub(super) journal: RefCell<Option<JournalParts<DiskFile>>>,
    /// Of the ingress and of the workers.
    pub(super) listeners: (Listener, Listener),
    /// Told once that the core serves, or why it does not.
    pub(super) ready: SyncSender<io::Result<()>>,
}

impl CoreConfig {
    /// Runs the core until it has drained; starts it again after a panic.
    pub(super) fn supervise(self) {
        if let Some(cpu) = self.cpu {
            let mut set = rustix::thread::CpuSet::new();
            set.set(cpu);
            if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
                tracing::warn!(core = self.index, cpu, %error, "the core's thread is not pinned");
            }
        }
        loop {
            match self.run() {
                Ok(Ran::Drained) => return,
                Ok(Ran::Panicked) => bounded_log!(
                    error,
                    core = self.index,
                    "the core panicked: its connections are lost, it starts again"
                ),
                Err(error) => {
                    tracing::error!(core = self.index, %error, "the core ended; the others continue");
                    // Nobody reads any more once every core has begun.
                    let _ = self.ready.try_send(Err(error));
                    return;
                }
            }
        }
    }

    /// Opens the kernel. Memory for a ring that was there when the backend was chosen may be another process's by now.
    fn open_kernel(&self) -> io::Result<Kernel> {
        match Kernel::open(self.backend) {
            Err(error) if self.may_fall_back && self.backend != Backend::Epoll => {
                bounded_log!(warn, core = self.index, %error, "the core has no ring: it serves on epoll");
                Kernel::open(Backend::Epoll)
            }
            other => other,
        }
    }

    /// Has all cores offer again what this one has lost of their journals.
    fn tell_restart(&self) {
        let owner = u16::try_from(self.index).unwrap_or(u16::MAX);
        for mailbox in &self.mailboxes {
            let mut message = Message::Core(CoreMessage::OwnerRestarted { owner });
            // This core does not serve yet, and may wait for one that is busy.
            for _ in 0..RESTART_ATTEMPTS_MAX {
                match mailbox.send(message) {
                    Ok(()) => break,
                    Err(MailboxFull(back)) => message = back,
                }
                std::thread::sleep(RESTART_PAUSE);
            }
        }
    }

    fn run(&self) -> io::Result<Ran> {
        let clock = self.clock;
        let state = CoreState::new(CoreParts {
            index: self.index,
            clock: Box::new(move || clock.now()),
            rules: Arc::clone(&self.rules),
            registry: Arc::clone(&self.registry),
            metrics: Arc::clone(&self.metrics),
            seal: Arc::clone(&self.seal),
            counts: Arc::clone(&self.counts),
            peers: Box::new(Mailboxes::new(self.index, self.mailboxes.clone())),
            services: self.services.clone(),
            random: Random::from_system(),
            tls: self.tls.of_cores(),
            journal: None,
        });
        let listeners = vec![
            (self.listeners.0.try_clone()?, ListenerKind::Ingress),
            (self.listeners.1.try_clone()?, ListenerKind::Workers),
        ];
        let mut core =
            Core::new(self.open_kernel()?, state, self.receiver.clone(), listeners, self.journal.take())?;
        if self.has_panicked.get() {
            self.tell_restart();
        }
        // A core that starts again after a panic has nobody to tell.
        let _ = self.ready.try_send(Ok(()));
        let result = catch_unwind(AssertUnwindSafe(|| turn::run(&mut core)));
        core.abandon();
        if result.is_err() {
            self.has_panicked.set(true);
            self.journal.replace(core.take_journal());
        }
        match result {
            Ok(ended) => ended.map(|()| Ran::Drained),
            Err(_) => Ok(Ran::Panicked),
        }
    }
}

/// How a core's run ended.
enum Ran {
    Drained,
    Panicked,
}

//! Sends what flows forward to targets, on threads of its own: HTTP/1.1 and HTTP/2, connections kept.
//!
//! Each thread runs one runtime with connections of its own; an attempt goes to the thread that has the fewest under way.
//! How many may be under way is the cores' to say ([`CORE_ATTEMPTS_MAX`] each), and so is
//! what becomes of one that fails: here each attempt is made once, within its time.

mod address;
mod connect;
mod exchange;
mod passing;
mod reporting;
mod resolve;
mod roots;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use self::address::Networks;
use self::connect::Connector;
use self::exchange::Exchanger;
use crate::base::clock::Clock;
use crate::engine::{Attempt, AttemptError, AttemptResult, CORE_ATTEMPTS_MAX, Forwarder};
use crate::metrics::TargetsInFlight;
use crate::settings::Settings;

pub(crate) use self::exchange::AttemptSink;
pub(crate) use self::roots::{RootsError, check_roots};

/// Names that one thread looks up at a time: the system's resolver waits in a thread for each.
const LOOKUPS_MAX: usize = 64;

/// Why nothing can be forwarded.
#[derive(Debug)]
pub(crate) enum ForwardError {
    /// The roots that targets' certificates chain to cannot be used.
    Roots(RootsError),
    /// TLS cannot be set up.
    Tls(rustls::Error),
    /// A thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for ForwardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardError::Roots(error) => error.fmt(f),
            ForwardError::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
            ForwardError::Thread(error) => {
                write!(f, "a thread that forwards cannot be started: {error}")
            }
        }
    }
}

impl std::error::Error for ForwardError {}

/// The threads, as the cores see them. They end when this is dropped.
pub(crate) struct ForwardThreads {
    threads: Box<[ForwardThread]>,
}

struct ForwardThread {
    attempts: mpsc::Sender<Job>,
    under_way: Arc<AtomicUsize>,
}

impl ForwardThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`ForwardError`]: bad roots are found here, and not at the first attempt.
    pub(crate) fn start(
        settings: &Settings,
        counts: &Arc<TargetsInFlight>,
        sink: Option<Arc<dyn AttemptSink>>,
        clock: Clock,
    ) -> Result<ForwardThreads, ForwardError> {
        let forward = &settings.forward;
        let networks = Arc::new(Networks::new(&forward.allowed_networks, &forward.denied_networks));
        let roots = roots::load(forward.roots.as_deref()).map_err(ForwardError::Roots)?;
        let tls = connect::tls(roots).map_err(ForwardError::Tls)?;
        let capacity = settings.cores * CORE_ATTEMPTS_MAX;
        let mut threads = Vec::new();
        for index in 0..forward.threads {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(LOOKUPS_MAX)
                .build()
                .map_err(ForwardError::Thread)?;
            let (attempts, receiver) = mpsc::channel(capacity);
            let under_way = Arc::new(AtomicUsize::new(0));
            let connector = Connector::new(Arc::clone(&networks), tls.clone());
            let exchanger = Exchanger::new(connector, Arc::clone(counts), sink.clone(), clock);
            std::thread::Builder::new()
                .name(format!("forward-{index}"))
                .spawn(move || runtime.block_on(serve(Arc::new(exchanger), receiver)))
                .map_err(ForwardError::Thread)?;
            threads.push(ForwardThread { attempts, under_way });
        }
        Ok(ForwardThreads { threads: threads.into() })
    }
}

impl Forwarder for ForwardThreads {
    fn send(&self, attempt: Attempt) {
        let Some(idlest) = self.threads.iter().min_by_key(|thread| thread.under_way.load(Ordering::Relaxed))
        else {
            return;
        };
        let job = Job { attempt, _share: AttemptShare::take(&idlest.under_way) };
        if let Err(mpsc::error::TrySendError::Full(job) | mpsc::error::TrySendError::Closed(job)) =
            idlest.attempts.try_send(job)
        {
            // A core that is too busy to hear of it counts it as lost.
            let _ = job.attempt.report.report(AttemptResult::Failed(AttemptError::Busy));
        }
    }
}

/// TLS with the roots of a file or the system's, for HTTP/1.1.
///
/// # Errors
/// If the roots cannot be read, or TLS cannot be set up.
pub(super) fn outgoing_tls(roots: Option<&Path>) -> Result<tokio_rustls::TlsConnector, ForwardError> {
    let roots = roots::load(roots).map_err(ForwardError::Roots)?;
    connect::tls_for(roots, &[connect::HTTP1]).map_err(ForwardError::Tls)
}

/// An attempt on its way to a thread.
struct Job {
    attempt: Attempt,
    _share: AttemptShare,
}

/// One of a thread's attempts, counted until this is dropped.
struct AttemptShare(Arc<AtomicUsize>);

impl AttemptShare {
    fn take(under_way: &Arc<AtomicUsize>) -> AttemptShare {
        under_way.fetch_add(1, Ordering::Relaxed);
        AttemptShare(Arc::clone(under_way))
    }
}

impl Drop for AttemptShare {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes attempts until nobody can ask for one any more.
async fn serve(exchanger: Arc<Exchanger>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        let exchanger = Arc::clone(&exchanger);
        // A panic costs the result of one attempt, which its core counts as lost.
        tokio::spawn(async move {
            let Job { attempt, _share } = job;
            exchanger.attempt(attempt).await;
        });
    }
}

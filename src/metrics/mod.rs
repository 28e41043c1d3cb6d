//! The engine's counters: each core writes its own, and any thread reads them.
//!
//! A core writes its [`CoreMetrics`] with plain loads and stores, in memory that no other core writes, so counting
//! costs an instruction or two. Readers ([`Metrics::snapshot`], [`Metrics::render`]) see each number as it was a moment ago; numbers of one
//! snapshot may be some events apart.

mod core;
mod counter;
mod journal;
mod latency;
mod render;
mod series;
mod targets;
mod webhooks;

pub(crate) use self::core::{ConnectionKind, Numbers, Snapshot};
pub use self::core::{CoreMetrics, Event, Outcome};
pub(crate) use self::journal::JournalGauges;
pub(crate) use series::{SAMPLES_MAX, Series};
pub(crate) use targets::TargetsInFlight;

use std::sync::Arc;

use self::webhooks::BusiestWebhooks;

/// The metrics of all cores.
#[derive(Debug)]
pub struct Metrics {
    cores: Vec<Arc<CoreMetrics>>,
    targets: Arc<TargetsInFlight>,
    /// `None`: no webhook is shown by its id.
    busiest: Option<BusiestWebhooks>,
}

impl Metrics {
    /// Zeros, for this many cores.
    #[must_use]
    pub fn new(cores: usize) -> Metrics {
        Metrics::with_webhooks(cores, 0)
    }

    /// The same, with this many of the busiest webhooks on the page.
    #[must_use]
    pub fn with_webhooks(cores: usize, webhooks: usize) -> Metrics {
        Metrics {
            cores: (0..cores).map(|_| Arc::new(CoreMetrics::new(webhooks > 0))).collect(),
            targets: Arc::default(),
            busiest: (webhooks > 0).then(|| BusiestWebhooks::new(webhooks)),
        }
    }

    /// The counters of core number `core`.
    #[must_use]
    pub fn core(&self, core: usize) -> Option<&Arc<CoreMetrics>> {
        self.cores.get(core)
    }

    /// Counts the requests to targets.
    #[must_use]
    pub fn targets(&self) -> &Arc<TargetsInFlight> {
        &self.targets
    }

    /// The numbers of now. Differences of two snapshots ([`Numbers::since`]) make series.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let cores: Vec<Numbers> = self.cores.iter().map(|core| core.numbers()).collect();
        let mut total = Numbers::default();
        for numbers in &cores {
            total.add(numbers);
        }
        Snapshot { cores, total }
    }

    /// Appends everything in Prometheus' text format, version 0.0.4 (`text/plain; version=0.0.4`).
    pub fn render(&self, out: &mut String) {
        render::render(&self.snapshot(), out);
        render::render_targets(&self.targets, out);
        if let Some(busiest) = &self.busiest {
            self.cores.iter().filter_map(|core| core.webhooks()).for_each(|core| busiest.add(core));
            busiest.render(out);
        }
    }
}

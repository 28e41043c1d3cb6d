//! Counts of what this node has taken over from nodes that have ended.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The counts.
#[derive(Debug, Default)]
pub struct Adoptions {
    triggers: AtomicU64,
    unreadable: AtomicU64,
}

impl Adoptions {
    /// Counts open triggers that were taken over, and records that this version cannot read.
    pub fn note(&self, triggers: usize, unreadable: usize) {
        self.triggers.fetch_add(triggers as u64, Ordering::Relaxed);
        self.unreadable.fetch_add(unreadable as u64, Ordering::Relaxed);
    }

    /// The counts as the API shows them.
    #[must_use]
    pub fn shown(&self) -> Value {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({"triggers": load(&self.triggers), "unreadable": load(&self.unreadable)})
    }

    /// Appends what `/metrics` tells.
    pub fn render(&self, page: &mut String) {
        let (triggers, unreadable) =
            (self.triggers.load(Ordering::Relaxed), self.unreadable.load(Ordering::Relaxed));
        // A string takes everything.
        let _ = writeln!(
            page,
            "# HELP tidegate_cluster_adopted_triggers_total Open triggers that were taken over from nodes that ended.\n\
             # TYPE tidegate_cluster_adopted_triggers_total counter\n\
             tidegate_cluster_adopted_triggers_total {triggers}\n\
             # HELP tidegate_cluster_unreadable_records_total Records of nodes that ended that this version cannot read: they are not delivered.\n\
             # TYPE tidegate_cluster_unreadable_records_total counter\n\
             tidegate_cluster_unreadable_records_total {unreadable}"
        );
    }
}

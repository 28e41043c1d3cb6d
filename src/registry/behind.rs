//! Changes of the model that could not be published: kept until they are, so that a change that the store has and the
//! cores have not is never forgotten.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::id::Id;
use crate::store::Affected;

/// The ids whose change is not published. Its lock is held while changes are published, so that they are one after
/// another.
#[derive(Debug, Default)]
pub(super) struct PendingRefreshes {
    ids: Mutex<Ids>,
    is_behind: AtomicBool,
}

#[derive(Debug, Default)]
struct Ids {
    webhooks: BTreeSet<Id>,
    flows: BTreeSet<Id>,
}

/// The ids, while no change is published but by the holder.
pub(super) struct Publishing<'b> {
    ids: MutexGuard<'b, Ids>,
    is_behind: &'b AtomicBool,
}

impl PendingRefreshes {
    pub(super) fn lock(&self) -> Publishing<'_> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Publishing { ids, is_behind: &self.is_behind }
    }

    /// Whether there is any; waits for nobody.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}

impl Publishing<'_> {
    /// All of them.
    pub(super) fn affected(&self) -> Affected {
        Affected {
            webhooks: self.ids.webhooks.iter().copied().collect(),
            flows: self.ids.flows.iter().copied().collect(),
            ..Affected::default()
        }
    }

    /// Of what was `tried`, this has `failed`.
    pub(super) fn replace(&mut self, tried: &Affected, failed: Affected) {
        if self.ids.webhooks.is_empty()
            && self.ids.flows.is_empty()
            && failed.webhooks.is_empty()
            && failed.flows.is_empty()
        {
            return;
        }
        for id in &tried.webhooks {
            self.ids.webhooks.remove(id);
        }
        for id in &tried.flows {
            self.ids.flows.remove(id);
        }
        self.ids.webhooks.extend(failed.webhooks);
        self.ids.flows.extend(failed.flows);
        let is_behind = !(self.ids.webhooks.is_empty() && self.ids.flows.is_empty());
        self.is_behind.store(is_behind, Ordering::Relaxed);
    }
}

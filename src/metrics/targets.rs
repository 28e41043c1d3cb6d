//! Requests to targets that are under way, by target. Written by the threads that send them, never by a core.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Targets that the metrics show by name, those with the most under way; all others are shown together.
const SHOWN_MAX: usize = 32;

/// The count of each target that has any.
#[derive(Debug, Default)]
pub struct TargetsInFlight(Mutex<HashMap<Arc<str>, u64>>);

/// A request that is counted until this is dropped.
#[derive(Debug)]
pub struct InFlightGuard<'c> {
    counts: &'c TargetsInFlight,
    target: Arc<str>,
}

impl TargetsInFlight {
    /// Counts a request until what is returned is dropped.
    #[must_use]
    pub fn begin(&self, target: &Arc<str>) -> InFlightGuard<'_> {
        *self.lock().entry(Arc::clone(target)).or_default() += 1;
        InFlightGuard { counts: self, target: Arc::clone(target) }
    }

    /// The targets with the most requests under way, most first, and how many all others have.
    pub(super) fn shown(&self) -> (Vec<(Arc<str>, u64)>, u64) {
        let mut all: Vec<(Arc<str>, u64)> =
            self.lock().iter().map(|(target, count)| (Arc::clone(target), *count)).collect();
        all.sort_unstable_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
        let others = all.get(SHOWN_MAX..).map_or(0, |others| others.iter().map(|(_, count)| count).sum());
        all.truncate(SHOWN_MAX);
        (all, others)
    }

    // A count is whole whoever panicked.
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.target) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_targets_are_shown_and_the_rest_is_counted() {
        let counts = TargetsInFlight::default();
        let names: Vec<Arc<str>> = (0..SHOWN_MAX + 2).map(|n| format!("http://h{n:02}").into()).collect();
        let mut requests: Vec<InFlightGuard<'_>> = names.iter().map(|name| counts.begin(name)).collect();
        requests.push(counts.begin(&names[33]));
        let (shown, others) = counts.shown();
        assert_eq!(
            (&*shown[0].0, shown[0].1, &*shown[1].0, shown.len(), others),
            ("http://h33", 2, "http://h00", 32, 2)
        );
        drop(requests);
        assert_eq!(counts.shown(), (Vec::new(), 0));
    }
}

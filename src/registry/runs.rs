//! How often a flow ran in each hour of the past day, and the last errors of its nodes. Each core counts in memory of its
//! own, which it takes when it first runs the flow; a reader adds them up. Kept for this process only.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Milliseconds of an hour, the span that runs are counted for.
pub(crate) const HOUR_MILLIS: u64 = 3_600_000;
/// Hours that are kept: a day, and the one that has begun.
pub(crate) const HOURS_KEPT: usize = 25;
/// Errors of a flow that are kept.
pub(crate) const ERRORS_KEPT: usize = 100;
/// Least time between two errors of a flow that one core keeps; those between are counted alone. Keeping one takes a lock
/// that the cores share.
const ERROR_PAUSE_MILLIS: u64 = 100;

/// The runs of one flow. Most flows of a large model never run: until then this is a word or two.
#[derive(Debug)]
pub struct FlowRuns {
    cores: usize,
    kept: OnceLock<Box<RunCounts>>,
}

#[derive(Debug)]
struct RunCounts {
    cores: Box<[OnceLock<Box<CoreRuns>>]>,
    errors: Mutex<VecDeque<FlowError>>,
}

/// The counters of one core. Aligned so that no other core's memory shares its lines.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CoreRuns {
    hours: [Hour; HOURS_KEPT],
    last_error_millis: AtomicU64,
}

#[derive(Debug, Default)]
struct Hour {
    /// Hours since 1970.
    number: AtomicU32,
    runs: AtomicU32,
    failures: AtomicU32,
}

/// The runs of one hour, all cores together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourOfRuns {
    /// When it began, in milliseconds since 1970.
    pub unix_millis: u64,
    /// Triggers that the flow got.
    pub runs: u64,
    /// Nodes that failed.
    pub failures: u64,
}

/// An error of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowError {
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// The node.
    pub node: Arc<str>,
    /// The text of the error.
    pub message: String,
}

impl FlowRuns {
    /// Without any run, for a process of so many cores.
    #[must_use]
    pub fn new(cores: usize) -> FlowRuns {
        FlowRuns { cores, kept: OnceLock::new() }
    }

    /// Counts a run on a core; only that core's thread calls it with this number.
    pub fn count(&self, core: usize, unix_millis: u64) {
        if let Some(hour) = self.hour(core, unix_millis) {
            add_one(&hour.runs);
        }
    }

    /// Counts a node's failure on a core, and keeps its error if the last one is not just kept.
    pub fn fail(&self, core: usize, unix_millis: u64, node: &Arc<str>, message: impl FnOnce() -> String) {
        if let Some(hour) = self.hour(core, unix_millis) {
            add_one(&hour.failures);
        }
        let Some(kept) = self.kept.get() else { return };
        let Some(of_core) = kept.cores.get(core).and_then(OnceLock::get) else { return };
        let last = of_core.last_error_millis.load(Ordering::Relaxed);
        if unix_millis.saturating_sub(last) < ERROR_PAUSE_MILLIS {
            return;
        }
        of_core.last_error_millis.store(unix_millis, Ordering::Relaxed);
        let mut errors = kept.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() == ERRORS_KEPT {
            errors.pop_front();
        }
        errors.push_back(FlowError { unix_millis, node: Arc::clone(node), message: message() });
    }

    /// The hours that have a run, in no order.
    #[must_use]
    pub fn hours(&self) -> Vec<HourOfRuns> {
        let mut hours: Vec<HourOfRuns> = Vec::new();
        let cores = self.kept.get().map_or(&[][..], |kept| &kept.cores);
        for hour in cores.iter().filter_map(OnceLock::get).flat_map(|core| &core.hours) {
            let unix_millis = u64::from(hour.number.load(Ordering::Acquire)) * HOUR_MILLIS;
            let runs = u64::from(hour.runs.load(Ordering::Relaxed));
            let failures = u64::from(hour.failures.load(Ordering::Relaxed));
            if runs + failures == 0 {
                continue;
            }
            match hours.iter_mut().find(|known| known.unix_millis == unix_millis) {
                Some(known) => {
                    known.runs += runs;
                    known.failures += failures;
                }
                None => hours.push(HourOfRuns { unix_millis, runs, failures }),
            }
        }
        hours
    }

    /// The errors that are kept, the oldest first.
    #[must_use]
    pub fn errors(&self) -> Vec<FlowError> {
        let Some(kept) = self.kept.get() else { return Vec::new() };
        let mut errors: Vec<FlowError> =
            kept.errors.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        errors.sort_by_key(|error| error.unix_millis);
        errors
    }

    /// The count of an hour on a core, emptied if it was that of a day before.
    fn hour(&self, core: usize, unix_millis: u64) -> Option<&Hour> {
        let kept = self.kept.get_or_init(|| {
            let cores = (0..self.cores).map(|_| OnceLock::new()).collect();
            Box::new(RunCounts { cores, errors: Mutex::default() })
        });
        let of_core = kept.cores.get(core)?.get_or_init(Box::default);
        let number = u32::try_from(unix_millis / HOUR_MILLIS).ok()?;
        let hour = &of_core.hours[number as usize % HOURS_KEPT];
        if hour.number.load(Ordering::Relaxed) != number {
            hour.runs.store(0, Ordering::Relaxed);
            hour.failures.store(0, Ordering::Relaxed);
            hour.number.store(number, Ordering::Release);
        }
        Some(hour)
    }
}

/// Adds to a count that one thread alone writes.
fn add_one(count: &AtomicU32) {
    count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_771_520_400_000;

    #[test]
    fn runs_are_counted_by_hour_over_all_cores_and_an_hour_of_the_day_before_is_forgotten() {
        let runs = FlowRuns::new(2);
        assert!(runs.hours().is_empty() && runs.errors().is_empty());
        runs.count(0, START);
        runs.count(1, START + 5);
        runs.count(1, START + HOUR_MILLIS);
        runs.count(7, START);
        let mut hours = runs.hours();
        hours.sort_by_key(|hour| hour.unix_millis);
        let hour = |unix_millis, runs| HourOfRuns { unix_millis, runs, failures: 0 };
        assert_eq!(hours, [hour(START, 2), hour(START + HOUR_MILLIS, 1)]);
        let later = START + HOURS_KEPT as u64 * HOUR_MILLIS;
        runs.count(0, later);
        runs.count(1, later);
        let mut hours = runs.hours();
        hours.sort_by_key(|hour| hour.unix_millis);
        assert_eq!(hours, [hour(START + HOUR_MILLIS, 1), hour(later, 2)]);
    }

    #[test]
    fn errors_are_kept_at_a_bounded_rate_and_number_and_all_are_counted() {
        let runs = FlowRuns::new(1);
        let node: Arc<str> = "n".into();
        for number in 0..500 {
            runs.fail(0, START + number, &node, || number.to_string());
        }
        let times: Vec<u64> = runs.errors().iter().map(|error| error.unix_millis - START).collect();
        assert_eq!(times, [0, 100, 200, 300, 400]);
        assert_eq!(runs.hours(), [HourOfRuns { unix_millis: START, runs: 0, failures: 500 }]);
        for number in 0..200 {
            runs.fail(0, START + 1_000 + number * 1_000, &node, String::new);
        }
        assert_eq!(runs.errors().len(), ERRORS_KEPT);
    }
}

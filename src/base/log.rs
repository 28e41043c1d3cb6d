//! Lines of the log that others can cause, however often they try: one a minute from each place in the sources, with the
//! count of those that were left out since.
//!
//! All modules that callers reach write `warn`, `info` and `error` by way of `bounded_log!`; `tests/layers.rs` reads
//! the sources and holds this.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

use super::clock::{self, NANOS_PER_SECOND};

/// The least time between two lines from one place.
pub(crate) const LOG_INTERVAL_NANOS: u64 = 60 * NANOS_PER_SECOND;

/// Limits that have left something out since the process began, for [`tell_left_out`].
static USED: Mutex<Vec<&'static LogLimit>> = Mutex::new(Vec::new());

/// The limit of one place that logs.
#[derive(Debug)]
pub(crate) struct LogLimit {
    message: &'static str,
    /// No line is written before this moment; 0 before the first.
    next_nanos: AtomicU64,
    left_out: AtomicU64,
    /// Whether it is among [`USED`].
    is_used: AtomicBool,
}

impl LogLimit {
    /// The limit for lines with this message.
    #[must_use]
    pub(crate) const fn new(message: &'static str) -> LogLimit {
        LogLimit {
            message,
            next_nanos: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
        }
    }

    /// Whether a line may be written now: the count of those that were left out before it. Otherwise it is counted.
    pub(crate) fn admit(&'static self, now_nanos: u64) -> Option<u64> {
        if self.begin_interval(now_nanos) {
            return Some(self.left_out.swap(0, Relaxed));
        }
        self.left_out.fetch_add(1, Relaxed);
        if !self.is_used.swap(true, Relaxed) {
            USED.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
        None
    }

    /// Takes the line of this interval. Of threads that try at once, one gets it.
    fn begin_interval(&self, now_nanos: u64) -> bool {
        let next = self.next_nanos.load(Relaxed);
        now_nanos >= next
            && self
                .next_nanos
                .compare_exchange(next, now_nanos.saturating_add(LOG_INTERVAL_NANOS), Relaxed, Relaxed)
                .is_ok()
    }

    /// The number of lines left out, if their interval is over and no line has reported them since.
    fn overdue(&self, now_nanos: u64) -> Option<u64> {
        let is_due = self.left_out.load(Relaxed) > 0 && self.begin_interval(now_nanos);
        is_due.then(|| self.left_out.swap(0, Relaxed)).filter(|left_out| *left_out > 0)
    }
}

/// [`LogLimit::admit`] at the present moment.
pub(crate) fn admit(limit: &'static LogLimit) -> Option<u64> {
    limit.admit(clock::process_nanos())
}

/// Logs how many lines were left out, of each place whose minute is over. To be called every few seconds: the end of a
/// flood is told although nothing comes after it.
pub(crate) fn tell_left_out() {
    let now = clock::process_nanos();
    let used = USED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for limit in used {
        if let Some(left_out) = limit.overdue(now) {
            tracing::warn!(left_out, "{}", limit.message);
        }
    }
}

/// Writes a line of the log that others can cause: `bounded_log!(warn, %error, "something failed")`. The message is a
/// literal without arguments, the fields are those of tracing's macros; `left_out` is added where lines were left out before this one.
macro_rules! bounded_log {
    ($level:ident, $message:literal) => {
        $crate::base::log::bounded_log!(@write $level [] $message)
    };
    ($level:ident, $($fields_and_message:tt)+) => {
        $crate::base::log::bounded_log!(@read $level [] $($fields_and_message)+)
    };
    (@read $level:ident [$($fields:tt)*], $message:literal) => {
        $crate::base::log::bounded_log!(@write $level [$($fields)*,] $message)
    };
    (@read $level:ident [$($fields:tt)*] $next:tt $($rest:tt)+) => {
        $crate::base::log::bounded_log!(@read $level [$($fields)* $next] $($rest)+)
    };
    (@write $level:ident [$($fields:tt)*] $message:literal) => {{
        static LIMIT: $crate::base::log::LogLimit = $crate::base::log::LogLimit::new($message);
        if let Some(left_out) = $crate::base::log::admit(&LIMIT) {
            let left_out = (left_out > 0).then_some(left_out);
            tracing::$level!($($fields)* left_out, $message);
        }
    }};
}
pub(crate) use bounded_log;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_a_minute_with_the_count_of_the_others() {
        static LIMIT: LogLimit = LogLimit::new("a flood");
        assert_eq!(LIMIT.admit(5), Some(0));
        for now in 6..1_000 {
            assert_eq!(LIMIT.admit(now), None);
        }
        assert_eq!(LIMIT.admit(LOG_INTERVAL_NANOS + 4), None);
        assert_eq!(LIMIT.admit(LOG_INTERVAL_NANOS + 5), Some(995));
        assert_eq!(LIMIT.admit(LOG_INTERVAL_NANOS + 6), None);
        assert_eq!(LIMIT.admit(2 * LOG_INTERVAL_NANOS + 6), Some(1));
    }

    #[test]
    fn the_end_of_a_flood_is_told_once_its_minute_is_over() {
        static LIMIT: LogLimit = LogLimit::new("another flood");
        assert_eq!((LIMIT.overdue(0), LIMIT.admit(0), LIMIT.overdue(0)), (None, Some(0), None));
        assert_eq!((LIMIT.admit(1), LIMIT.admit(2)), (None, None));
        assert_eq!(LIMIT.overdue(LOG_INTERVAL_NANOS - 1), None);
        assert_eq!(LIMIT.overdue(LOG_INTERVAL_NANOS), Some(2));
        assert_eq!(LIMIT.overdue(3 * LOG_INTERVAL_NANOS), None);
        assert!(USED.lock().unwrap().iter().any(|limit| std::ptr::eq(*limit, &raw const LIMIT)));
        // What was told by the line of the flood counts for its interval.
        assert_eq!(LIMIT.admit(LOG_INTERVAL_NANOS + 1), None);
    }

    #[test]
    fn threads_that_log_at_once_write_one_line_and_none_is_lost() {
        static LIMIT: LogLimit = LogLimit::new("a crowd");
        const THREADS: u64 = 4;
        const LINES: u64 = 1_000;
        // The line that is written tells of those that came before it in other threads.
        let written: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| (0..LINES).filter_map(|_| LIMIT.admit(7)).collect::<Vec<u64>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        let left_out = written.iter().sum::<u64>() + LIMIT.overdue(u64::MAX).unwrap_or(0);
        assert_eq!((written.len(), left_out), (1, THREADS * LINES - 1));
    }

    #[test]
    fn the_macro_takes_fields_as_those_of_tracing() {
        let error = "why";
        for _ in 0..3 {
            bounded_log!(warn, "only a message");
            bounded_log!(warn, %error, count = 1 + 2, ?error, "fields and a message");
        }
    }
}

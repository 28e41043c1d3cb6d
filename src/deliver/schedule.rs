//! When a delivery that failed is tried again: one schedule for all delivering nodes. Time and chance are arguments.
//!
//! The pause before attempt n + 1 is any time from 0 to `backoff` · 2ⁿ⁻¹, at most [`BACKOFF_NANOS_MAX`] ("full jitter": those
//! that failed together do not come back together). A target that says when (`Retry-After`) is not asked before. A
//! delivery ends as dead after its `attempts`, when its retention is over, or at once where no attempt can succeed.

use std::fmt;
use std::time::UNIX_EPOCH;

use crate::base::clock::NANOS_PER_SECOND;
use crate::base::random::Random;

/// Longest pause between two attempts, unless the target asks for a longer one
/// ([deliveries](crate::guide::deliveries#attempts)).
pub(crate) const BACKOFF_NANOS_MAX: u64 = 300 * NANOS_PER_SECOND;
/// Longest pause that a target may ask for: one that names next year has a fault, and must not stop its node.
pub(crate) const RETRY_AFTER_NANOS_MAX: u64 = 3_600 * NANOS_PER_SECOND;

/// How a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryRules {
    /// How often in all; `None` until the retention ends.
    pub attempts: Option<u32>,
    /// The longest first pause.
    pub backoff_nanos: u64,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FailedAttempt {
    /// Pause that the target asked for.
    pub retry_after_nanos: Option<u64>,
    /// Why no further attempt can succeed; `None` if one can.
    pub is_final: Option<DeadReason>,
}

/// Why a delivery was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// It failed `attempts` times.
    Attempts,
    /// It failed until its retention ended.
    Retention,
    /// The target answered 410: it is not there any more.
    Gone,
    /// Requests go in a circle.
    Loop,
    /// The request cannot be made of the payload.
    Request,
}

impl DeadReason {
    /// All of them.
    pub const ALL: [DeadReason; 5] = [
        DeadReason::Attempts,
        DeadReason::Retention,
        DeadReason::Gone,
        DeadReason::Loop,
        DeadReason::Request,
    ];

    /// Its name in metrics and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            DeadReason::Attempts => "attempts",
            DeadReason::Retention => "retention",
            DeadReason::Gone => "gone",
            DeadReason::Loop => "loop",
            DeadReason::Request => "request",
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeadReason::Attempts => "it failed as often as retry.attempts allows",
            DeadReason::Retention => "it failed until its retention ended",
            DeadReason::Gone => "the target answered 410",
            DeadReason::Loop => "its requests go in a circle",
            DeadReason::Request => "no request can be made of its payload",
        })
    }
}

/// The decision about a delivery whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum AfterFailure {
    RetryAt { nanos: u64 },
    Dead(DeadReason),
}

/// Decides about a delivery after its failed attempt number `attempt` (1 the first time). Its retention ends at
/// `ends_nanos`.
pub(crate) fn after_failure(
    rules: RetryRules,
    attempt: u32,
    failed: FailedAttempt,
    ends_nanos: u64,
    now: u64,
    random: &mut Random,
) -> AfterFailure {
    if let Some(reason) = failed.is_final {
        return AfterFailure::Dead(reason);
    }
    if rules.attempts.is_some_and(|attempts| attempt >= attempts) {
        return AfterFailure::Dead(DeadReason::Attempts);
    }
    if now >= ends_nanos {
        return AfterFailure::Dead(DeadReason::Retention);
    }
    let doublings = attempt.saturating_sub(1).min(u64::BITS - 1);
    let longest = rules.backoff_nanos.saturating_mul(1 << doublings).min(BACKOFF_NANOS_MAX);
    // The last attempt is made when the retention ends, unless the target wants to be left alone for longer.
    let at = now.saturating_add(random.up_to(longest)).min(ends_nanos);
    let allowed = now.saturating_add(failed.retry_after_nanos.unwrap_or(0).min(RETRY_AFTER_NANOS_MAX));
    if allowed > ends_nanos {
        return AfterFailure::Dead(DeadReason::Retention);
    }
    AfterFailure::RetryAt { nanos: at.max(allowed) }
}

/// Reads a `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). One that is neither is as good as none; a date that has
/// passed asks for no pause.
#[must_use]
pub(crate) fn retry_after(value: &str, unix_seconds: u64) -> Option<u64> {
    let value = value.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are longer than the longest pause.
        value.parse().unwrap_or(u64::MAX)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_sub(unix_seconds)
    };
    Some(seconds.saturating_mul(NANOS_PER_SECOND).min(RETRY_AFTER_NANOS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOS_PER_SECOND;
    const DAY: u64 = 86_400 * SECOND;
    const RULES: RetryRules = RetryRules { attempts: None, backoff_nanos: SECOND };

    fn after(rules: RetryRules, attempt: u32, failed: FailedAttempt, now: u64, seed: u64) -> AfterFailure {
        after_failure(rules, attempt, failed, DAY, now, &mut Random::new(seed))
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_fill_all_of_their_range() {
        for (attempt, longest) in [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (64, 300), (u32::MAX, 300)] {
            let pauses: Vec<u64> = (0..200)
                .map(|seed| match after(RULES, attempt, FailedAttempt::default(), 5, seed) {
                    AfterFailure::RetryAt { nanos } => nanos - 5,
                    dead @ AfterFailure::Dead(_) => panic!("{dead:?}"),
                })
                .collect();
            let longest = longest * SECOND;
            assert!(pauses.iter().all(|pause| *pause <= longest), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < longest / 10), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause > longest / 10 * 9), "{attempt}");
        }
        let fraction = RetryRules { backoff_nanos: SECOND / 1_000, ..RULES };
        let AfterFailure::RetryAt { nanos } = after(fraction, 1, FailedAttempt::default(), 0, 1) else {
            panic!("it is tried again");
        };
        assert!(nanos <= SECOND / 1_000);
    }

    #[test]
    fn a_pause_that_the_target_asks_for_is_kept_and_bounded() {
        let asked = |seconds: u64| FailedAttempt {
            retry_after_nanos: Some(seconds * SECOND),
            ..FailedAttempt::default()
        };
        assert_eq!(after(RULES, 1, asked(120), 0, 1), AfterFailure::RetryAt { nanos: 120 * SECOND });
        assert_eq!(
            after(RULES, 1, asked(7_200), 0, 1),
            AfterFailure::RetryAt { nanos: RETRY_AFTER_NANOS_MAX }
        );
        let late = DAY - 60 * SECOND;
        assert_eq!(after(RULES, 1, asked(120), late, 1), AfterFailure::Dead(DeadReason::Retention));
    }

    #[test]
    fn a_delivery_dies_of_its_attempts_its_age_or_what_no_attempt_can_change() {
        let failed = FailedAttempt::default();
        let three = RetryRules { attempts: Some(3), ..RULES };
        assert!(matches!(after(three, 2, failed, 0, 1), AfterFailure::RetryAt { .. }));
        assert_eq!(after(three, 3, failed, 0, 1), AfterFailure::Dead(DeadReason::Attempts));
        assert_eq!(after(RULES, 9, failed, DAY, 1), AfterFailure::Dead(DeadReason::Retention));
        for seed in 0..100 {
            let last = after(RULES, 20, failed, DAY - 1, seed);
            let AfterFailure::RetryAt { nanos } = last else { panic!("one attempt is left: {last:?}") };
            assert!(nanos <= DAY, "the last attempt is made when the retention ends");
        }
        let gone = FailedAttempt { is_final: Some(DeadReason::Gone), ..failed };
        assert_eq!(after(RULES, 1, gone, 0, 1), AfterFailure::Dead(DeadReason::Gone));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // RFC 9110, 10.2.3 and 5.6.7.
        let now = 784_111_777 - 10;
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(10)),
            ("Sun Nov  6 08:49:37 1994", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Fri, 31 Dec 2100 23:59:59 GMT", Some(3_600)),
            ("99999999999999999999999", Some(3_600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), seconds.map(|seconds| seconds * SECOND), "{value:?}");
        }
    }
}

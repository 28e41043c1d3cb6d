//! A histogram of durations: log-linear buckets, so that every quantile is known within an eighth.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::counter::add;

/// Durations up to 2¹⁰ ns, about a microsecond, share the first bucket.
const FIRST_OCTAVE: u32 = 10;

/// Durations over 2³⁷ ns, 137 seconds, share the last one: longer than any reply time-out by default.
const END_OCTAVE: u32 = 37;

/// Each doubling is cut into eight buckets.
const OCTAVE_BITS: u32 = 3;
const OCTAVE_BUCKETS: usize = 1 << OCTAVE_BITS;

/// Buckets, with the first and the last one.
const BUCKETS: usize = (END_OCTAVE - FIRST_OCTAVE) as usize * OCTAVE_BUCKETS + 2;

/// Buckets that are shown as one, so that a page of metrics stays short: half a doubling.
const SHOWN_TOGETHER: usize = OCTAVE_BUCKETS / 2;

/// Durations as one core counts them.
#[derive(Debug)]
pub(super) struct Latency {
    buckets: [AtomicU64; BUCKETS],
    sum_nanos: AtomicU64,
}

/// Durations as they were counted, to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyCounts {
    buckets: Box<[u64; BUCKETS]>,
    sum_nanos: u64,
}

impl Latency {
    pub(super) fn count(&self, nanos: u64, times: u64) {
        add(&self.buckets[bucket(nanos)], times);
        add(&self.sum_nanos, nanos.saturating_mul(times));
    }

    pub(super) fn counts(&self) -> LatencyCounts {
        let mut counts =
            LatencyCounts { sum_nanos: self.sum_nanos.load(Relaxed), ..LatencyCounts::default() };
        for (count, bucket) in counts.buckets.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Relaxed);
        }
        counts
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_nanos: AtomicU64::new(0) }
    }
}

impl LatencyCounts {
    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in nanoseconds.
    #[must_use]
    pub fn sum_nanos(&self) -> u64 {
        self.sum_nanos
    }

    /// The duration in nanoseconds that this share of all durations (0.5 is the median) did not exceed: the upper
    /// bound of its bucket. `None` where nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= rank {
                // There is no bound to the last bucket; it is shown as where it begins.
                return Some(upper_bound(index.min(BUCKETS - 2)));
            }
        }
        None
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &LatencyCounts) -> LatencyCounts {
        let mut difference = self.clone();
        for (count, before) in difference.buckets.iter_mut().zip(earlier.buckets.iter()) {
            *count = count.saturating_sub(*before);
        }
        difference.sum_nanos = self.sum_nanos.saturating_sub(earlier.sum_nanos);
        difference
    }

    /// Adds what another core counted.
    pub fn add(&mut self, other: &LatencyCounts) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *count += more;
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(other.sum_nanos);
    }

    /// The buckets that are not empty, by number, for keeping many of these. Counts beyond 2³² are taken as that.
    pub(super) fn sparse(&self) -> Box<[(u16, u32)]> {
        let filled = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (index as u16, u32::try_from(*count).unwrap_or(u32::MAX))).collect()
    }

    /// Adds what [`sparse`](Self::sparse) kept. The sum of the durations is not among it.
    pub(super) fn add_sparse(&mut self, sparse: &[(u16, u32)]) {
        for (index, count) in sparse {
            if let Some(bucket) = self.buckets.get_mut(usize::from(*index)) {
                *bucket += u64::from(*count);
            }
        }
    }

    /// Upper bounds in nanoseconds with the number of durations up to them; the last bound is infinite, `None`.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let mut sum = 0;
        self.buckets.iter().enumerate().filter_map(move |(index, count)| {
            sum += count;
            if index == BUCKETS - 1 {
                return Some((None, sum));
            }
            (index % SHOWN_TOGETHER == 0).then(|| (Some(upper_bound(index)), sum))
        })
    }
}

impl Default for LatencyCounts {
    fn default() -> LatencyCounts {
        LatencyCounts { buckets: Box::new([0; BUCKETS]), sum_nanos: 0 }
    }
}

/// The bucket of a duration: the first whose upper bound is no less.
fn bucket(nanos: u64) -> usize {
    // Bounds belong to the bucket below them, as Prometheus' `le` says.
    let nanos = nanos.saturating_sub(1);
    let octave = nanos.max(1).ilog2();
    if octave < FIRST_OCTAVE {
        0
    } else if octave >= END_OCTAVE {
        BUCKETS - 1
    } else {
        let within = (nanos >> (octave - OCTAVE_BITS)) as usize % OCTAVE_BUCKETS;
        1 + (octave - FIRST_OCTAVE) as usize * OCTAVE_BUCKETS + within
    }
}

/// The longest duration of a bucket that is not the last, in nanoseconds.
fn upper_bound(bucket: usize) -> u64 {
    let eighths = OCTAVE_BUCKETS + bucket % OCTAVE_BUCKETS;
    let octave = FIRST_OCTAVE + (bucket / OCTAVE_BUCKETS) as u32;
    (eighths as u64) << (octave - OCTAVE_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_first_bucket_whose_bound_holds_it() {
        assert_eq!((upper_bound(0), upper_bound(1), upper_bound(BUCKETS - 2)), (1 << 10, 1152, 1 << 37));
        for index in 0..BUCKETS - 1 {
            let bound = upper_bound(index);
            assert_eq!((bucket(bound), bucket(bound + 1)), (index, index + 1));
        }
        assert_eq!((bucket(0), bucket(1), bucket(u64::MAX)), (0, 0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_right_within_an_eighth() {
        let latency = Latency::default();
        for micros in 1..=10_000u64 {
            latency.count(micros * 1_000, 1);
        }
        let counts = latency.counts();
        for (share, micros) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)] {
            let found = counts.quantile(share).unwrap() as f64 / 1_000.0;
            assert!((micros..=micros * 1.125).contains(&found), "{share}: {found} for {micros}");
        }
        assert_eq!((counts.count(), counts.sum_nanos()), (10_000, 50_005_000_000));
    }

    #[test]
    fn nothing_counted_has_no_quantile_and_an_endless_duration_has_one() {
        let latency = Latency::default();
        assert_eq!(latency.counts().quantile(0.5), None);
        latency.count(u64::MAX / 2, 1);
        assert_eq!(latency.counts().quantile(0.0), Some(1 << 37));
        assert_eq!(latency.counts().cumulative().last(), Some((None, 1)));
    }

    #[test]
    fn differences_and_sums_are_of_each_bucket() {
        let latency = Latency::default();
        latency.count(5_000, 1);
        let before = latency.counts();
        latency.count(5_000_000, 1);
        let mut after = latency.counts();
        let between = after.since(&before);
        assert_eq!((between.count(), between.sum_nanos()), (1, 5_000_000));
        assert!(between.quantile(0.0).unwrap() >= 5_000_000);
        after.add(&between);
        assert_eq!((after.count(), after.sum_nanos()), (3, 10_005_000));
    }
}

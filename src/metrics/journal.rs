//! The counters of a core's journal.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::latency::{Latency, LatencyCounts};

/// Gauges of a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalGauges {
    /// Bytes of the segments that are in use.
    pub segment_bytes: u64,
    /// Bytes of open entries.
    pub open_bytes: u64,
    pub open_entries: u64,
    /// When the oldest open entry was accepted, in milliseconds since 1970; 0: there is none.
    pub oldest_unix_millis: u64,
    /// Records and bytes that were written, since the start.
    pub written_records: u64,
    pub written_bytes: u64,
    pub failed_writes: u64,
    /// 1 if it cannot be written.
    pub down: u64,
}

const GAUGES: usize = 8;

/// The family that is a time.
const OLDEST: &str = "tidegate_journal_oldest_timestamp_seconds";

/// Name, kind and help of the family of each gauge, in the order of [`JournalGauges::values`].
const FAMILIES: [(&str, &str, &str); GAUGES] = [
    ("tidegate_journal_bytes", "gauge", "Bytes of the journal's segments that are in use."),
    ("tidegate_journal_open_bytes", "gauge", "Bytes of the journal's triggers that are not done."),
    ("tidegate_journal_open_triggers", "gauge", "Triggers of the journal that are not done."),
    (
        OLDEST,
        "gauge",
        "When the oldest trigger that is not done was accepted, in seconds since 1970; 0 if there is none.",
    ),
    (
        "tidegate_journal_written_records_total",
        "counter",
        "Records that were written to the journal: with the number of writes, the size of a batch.",
    ),
    ("tidegate_journal_written_bytes_total", "counter", "Bytes that were written to the journal."),
    ("tidegate_journal_failed_writes_total", "counter", "Writes to the journal that failed."),
    ("tidegate_journal_down", "gauge", "Cores whose journal cannot be written."),
];

impl JournalGauges {
    fn values(self) -> [u64; GAUGES] {
        let JournalGauges { segment_bytes, open_bytes, open_entries, oldest_unix_millis, .. } = self;
        let JournalGauges { written_records, written_bytes, failed_writes, down, .. } = self;
        [
            segment_bytes,
            open_bytes,
            open_entries,
            oldest_unix_millis,
            written_records,
            written_bytes,
            failed_writes,
            down,
        ]
    }

    fn of(
        [segment_bytes, open_bytes, open_entries, oldest_unix_millis, rest @ ..]: [u64; GAUGES],
    ) -> JournalGauges {
        let [written_records, written_bytes, failed_writes, down] = rest;
        JournalGauges {
            segment_bytes,
            open_bytes,
            open_entries,
            oldest_unix_millis,
            written_records,
            written_bytes,
            failed_writes,
            down,
        }
    }

    fn add(&mut self, other: &JournalGauges) {
        let oldest =
            [self.oldest_unix_millis, other.oldest_unix_millis].into_iter().filter(|at| *at > 0).min();
        let (mine, others) = (self.values(), other.values());
        *self = JournalGauges::of(std::array::from_fn(|at| mine[at].wrapping_add(others[at])));
        self.oldest_unix_millis = oldest.unwrap_or(0);
    }
}

/// One core's journal, as the core counts it.
#[derive(Debug, Default)]
pub struct JournalMetrics {
    gauges: [AtomicU64; GAUGES],
    writes: Latency,
}

/// One core's journal, or several, to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalNumbers {
    pub gauges: JournalGauges,
    /// How long writes took.
    pub writes: LatencyCounts,
}

impl JournalMetrics {
    /// A write took so long.
    pub fn wrote(&self, nanos: u64) {
        self.writes.count(nanos, 1);
    }

    /// Takes over what the journal says of itself.
    pub fn set(&self, gauges: JournalGauges) {
        for (gauge, value) in self.gauges.iter().zip(gauges.values()) {
            gauge.store(value, Relaxed);
        }
    }

    pub(super) fn numbers(&self) -> JournalNumbers {
        let gauges = JournalGauges::of(std::array::from_fn(|at| self.gauges[at].load(Relaxed)));
        JournalNumbers { gauges, writes: self.writes.counts() }
    }
}

impl JournalNumbers {
    pub(super) fn add(&mut self, other: &JournalNumbers) {
        self.gauges.add(&other.gauges);
        self.writes.add(&other.writes);
    }

    /// Families with one sample: name, kind, help, value.
    pub(super) fn families(&self) -> [(&'static str, &'static str, &'static str, String); GAUGES] {
        let values = self.gauges.values();
        std::array::from_fn(|at| {
            let (name, kind, help) = FAMILIES[at];
            let value = values[at];
            let text = if name == OLDEST {
                format!("{}.{:03}", value / 1000, value % 1000)
            } else {
                value.to_string()
            };
            (name, kind, help, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_add_up_and_the_oldest_of_all_counts() {
        let (one, two) = (JournalMetrics::default(), JournalMetrics::default());
        one.set(JournalGauges { segment_bytes: 5, oldest_unix_millis: 2_500, ..JournalGauges::default() });
        two.set(JournalGauges { segment_bytes: 7, failed_writes: 1, ..JournalGauges::default() });
        two.wrote(1_000_000);
        let mut sum = one.numbers();
        sum.add(&two.numbers());
        let gauges = sum.gauges;
        assert_eq!((gauges.segment_bytes, gauges.oldest_unix_millis, gauges.failed_writes), (12, 2_500, 1));
        assert_eq!(sum.writes.count(), 1);
        let oldest = &sum.families()[3];
        assert_eq!((oldest.0, oldest.3.as_str()), ("tidegate_journal_oldest_timestamp_seconds", "2.500"));
    }
}

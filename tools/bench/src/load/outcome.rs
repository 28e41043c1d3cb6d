//! What a run came to.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Latencies over a minute count as a minute.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const DIGITS: u8 = 3;
/// What is shown of the distribution.
pub const QUANTILES: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// One second of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    pub answered: u64,
}

/// What a run came to. Everything but the errors is of the measured part alone.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answered: u64,
    pub elapsed: Duration,
    /// CPU of the generator's own thread, nanoseconds.
    pub own_cpu_nanos: u64,
    /// Answers by status; messages count as 0.
    pub statuses: BTreeMap<u16, u64>,
    pub body_bytes: u64,
    pub received_bytes: u64,
    /// Nanoseconds.
    pub latency: Histogram<u64>,
    pub seconds: Vec<Second>,
    /// Connections that the server closed between requests and that were opened again.
    pub reconnects: u64,
    /// Requests that were never answered.
    pub unanswered: u64,
    /// Answers that were not as expected.
    pub mismatches: u64,
    /// The first thing that went wrong.
    pub first_error: Option<String>,
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Outcome {
        let latency = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, DIGITS)
            .expect("the bounds are constants that a histogram takes");
        Outcome {
            answered: 0,
            elapsed: Duration::ZERO,
            own_cpu_nanos: 0,
            statuses: BTreeMap::new(),
            body_bytes: 0,
            received_bytes: 0,
            latency,
            seconds: Vec::new(),
            reconnects: 0,
            unanswered: 0,
            mismatches: 0,
            first_error: None,
        }
    }

    /// Adds what another thread came to in the same time.
    pub fn merge(&mut self, other: &Outcome) {
        self.answered += other.answered;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.own_cpu_nanos += other.own_cpu_nanos;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.body_bytes += other.body_bytes;
        self.received_bytes += other.received_bytes;
        self.latency.add(&other.latency).expect("both have the same bounds");
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), Second::default());
        }
        for (mine, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            mine.answered += theirs.answered;
        }
        self.reconnects += other.reconnects;
        self.unanswered += other.unanswered;
        self.mismatches += other.mismatches;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// What went wrong, if anything did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.unanswered == 0 && self.mismatches == 0 && self.first_error.is_none() {
            return (self.answered == 0).then(|| "nothing was answered".to_owned());
        }
        let first = self.first_error.as_deref().unwrap_or("no answer came");
        Some(format!(
            "{} unanswered, {} not as expected; the first: {first}",
            self.unanswered, self.mismatches
        ))
    }

    /// Answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    pub(super) fn record(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos.max(1));
    }

    pub(super) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.first_error.is_none() {
            self.first_error = Some(what());
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let seconds = self.elapsed.as_secs_f64();
        let per = |nanos: u64| nanos as f64 / 1000.0 / self.answered.max(1) as f64;
        let _ = writeln!(out, "{:>14}  answers in {seconds:.2} s", self.answered);
        let _ = writeln!(out, "{:>14.0}  answers a second", self.rate());
        let _ = writeln!(
            out,
            "{:>14.2}  MB received a second",
            self.received_bytes as f64 / 1e6 / seconds.max(1e-9)
        );
        let _ = writeln!(out, "{:>14.2}  µs of the generator's own CPU an answer", per(self.own_cpu_nanos));
        for (status, count) in &self.statuses {
            let name = if *status == 0 { "messages".to_owned() } else { format!("with status {status}") };
            let _ = writeln!(out, "{count:>14}  {name}");
        }
        if self.reconnects > 0 {
            let _ = writeln!(out, "{:>14}  connections opened again", self.reconnects);
        }
        let _ = writeln!(out, "\n       latency  µs");
        for quantile in QUANTILES {
            let micros = self.latency.value_at_quantile(quantile) as f64 / 1000.0;
            let name =
                if quantile < 1.0 { format!("p{}", trimmed(quantile * 100.0)) } else { "max".to_owned() };
            let _ = writeln!(out, "{name:>14}  {micros:.1}");
        }
        if let Some(failure) = self.failure() {
            let _ = writeln!(out, "\nFAILED: {failure}");
        }
        out
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let quantiles: serde_json::Map<String, Value> = QUANTILES
            .iter()
            .map(|quantile| {
                (trimmed(quantile * 100.0), json!(self.latency.value_at_quantile(*quantile) as f64 / 1000.0))
            })
            .collect();
        let statuses: serde_json::Map<String, Value> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({
            "answered": self.answered,
            "seconds": self.elapsed.as_secs_f64(),
            "answersPerSecond": self.rate(),
            "bodyBytes": self.body_bytes,
            "receivedBytes": self.received_bytes,
            "ownCpuMicrosPerAnswer": self.own_cpu_nanos as f64 / 1000.0 / self.answered.max(1) as f64,
            "statuses": statuses,
            "latencyMicros": {"mean": self.latency.mean() / 1000.0, "min": self.latency.min() as f64 / 1000.0, "percentiles": quantiles},
            "answersEachSecond": self.seconds.iter().map(|second| second.answered).collect::<Vec<_>>(),
            "reconnects": self.reconnects,
            "unanswered": self.unanswered,
            "mismatches": self.mismatches,
            "failure": self.failure(),
        })
    }
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome::new()
    }
}

/// A percentile without the digits that floating point adds.
fn trimmed(percent: f64) -> String {
    let text = format!("{percent:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

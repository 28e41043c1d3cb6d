//! The last hour, second by second: what charts are drawn from.
//!
//! Each second a [`Snapshot`] is pushed; what is kept of it is the difference to the one before, small enough that
//! an hour of it is some megabytes. Reading puts seconds together into steps, so that an answer has a few hundred
//! points whatever span was asked for. Steps lie on whole multiples of their length, so that a chart which is drawn
//! again every few seconds does not flicker.
//!
//! Not here: who pushes, and when. Time is an argument.

use std::collections::VecDeque;

use serde::Serialize;

use super::core::{ConnectionKind, Event, Numbers, Outcome, Snapshot};
use super::latency::LatencyCounts;
use super::webhooks::CLASSES;
use crate::base::clock::{NANOS_PER_SECOND, Now};

/// Samples that are kept: one a second, an hour ([REST API](crate::guide::rest_api): `GET /stats?seconds=3600`).
pub(crate) const SAMPLES_MAX: usize = 3_600;

/// Most points of an answer: more than a chart has room for.
pub(super) const POINTS_MAX: u32 = 360;

/// Lengths of a step in seconds: each divides an hour, so that steps lie where people expect them.
const STEPS: [u32; 4] = [1, 2, 5, 10];
const _: () = assert!(STEPS[STEPS.len() - 1] as usize * POINTS_MAX as usize >= SAMPLES_MAX);

/// The samples of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Series {
    samples: VecDeque<SecondSample>,
    before: Option<(Now, Snapshot)>,
}

/// The counts of one second, and the gauges at its end.
#[derive(Debug)]
struct SecondSample {
    end: Now,
    /// Nanoseconds since the sample before: a second, or more where the sampler was late.
    covers: u64,
    total: SecondCounts,
    latency: Sparse,
    cores: Box<[SecondCounts]>,
}

/// Buckets that are not empty, by number. Most seconds touch a few of some two hundred.
type Sparse = Box<[(u16, u32)]>;

/// One core's second, or all cores'. A second has fewer than 2³² of anything.
#[derive(Clone, Copy, Debug, Default)]
struct SecondCounts {
    requests: u32,
    classes: [u32; CLASSES],
    throttled_rate: u32,
    throttled_concurrency: u32,
    triggers: u32,
    connections: [u32; ConnectionKind::ALL.len()],
    waiting: u32,
    /// Nanoseconds; 0 where no response left.
    quantiles: [u64; QUANTILES.len()],
}

const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// The answer: columns of one length, a row for each step, oldest first.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Points {
    /// Length of a step.
    pub step_seconds: u32,
    /// End of the last second of each step, in milliseconds since 1970.
    pub times: Vec<u64>,
    /// Seconds that each step holds: less than its length for the first and the last one.
    pub seconds: Vec<f64>,
    /// All cores together.
    pub total: Columns,
    /// Each core, by its number.
    pub cores: Vec<Columns>,
}

/// The columns. Counts are of the whole step; connections and waiting requests are as they stood at its end.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Columns {
    /// Requests that ended, health checks left out.
    pub requests: Vec<u64>,
    /// Responses by the class of their status.
    pub status: StatusColumns,
    /// Quantiles of the time to a response; null where none left. The total's are of all responses of the step;
    /// a core's are those of its slowest second.
    pub latency_ms: LatencyColumns,
    /// Open connections.
    pub connections: ConnectionColumns,
    /// Requests that wait for a reply.
    pub waiting: Vec<u64>,
    /// Calls that were over a limit.
    pub throttled: ThrottledColumns,
    /// Triggers that were handed to flows.
    pub triggers: Vec<u64>,
}

/// Responses by class.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct StatusColumns {
    #[serde(rename = "2xx")]
    pub successes: Vec<u64>,
    #[serde(rename = "3xx")]
    pub redirections: Vec<u64>,
    #[serde(rename = "4xx")]
    pub client_errors: Vec<u64>,
    #[serde(rename = "5xx")]
    pub server_errors: Vec<u64>,
}

/// Quantiles in milliseconds.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct LatencyColumns {
    pub p50: Vec<Option<f64>>,
    pub p99: Vec<Option<f64>>,
    pub p999: Vec<Option<f64>>,
}

/// Open connections by kind.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct ConnectionColumns {
    pub http: Vec<u64>,
    pub websocket: Vec<u64>,
    pub worker: Vec<u64>,
}

/// Refusals by limit.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct ThrottledColumns {
    pub rate: Vec<u64>,
    pub concurrency: Vec<u64>,
}

impl Series {
    /// Keeps what happened since the last call. The first one only says where to begin.
    pub(crate) fn push(&mut self, now: Now, snapshot: Snapshot) {
        if let Some((before_now, before)) = &self.before {
            let cores = snapshot.cores.iter().zip(&before.cores);
            let sample = SecondSample {
                end: now,
                covers: now.nanos.saturating_sub(before_now.nanos),
                total: SecondCounts::between(&before.total, &snapshot.total),
                latency: snapshot.total.latency.since(&before.total.latency).sparse(),
                cores: cores.map(|(after, before)| SecondCounts::between(before, after)).collect(),
            };
            if self.samples.len() == SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
        self.before = Some((now, snapshot));
    }

    /// The last `seconds`, in as many points as fit.
    #[must_use]
    pub(crate) fn points(&self, seconds: u32) -> Points {
        let step_seconds = step_for(seconds);
        let mut points = Points { step_seconds, ..Points::default() };
        let Some(last) = self.samples.back() else { return points };
        let since = last.end.nanos.saturating_sub(u64::from(seconds) * NANOS_PER_SECOND);
        points.cores = last.cores.iter().map(|_| Columns::default()).collect();
        let mut step: Option<SeriesRow> = None;
        for sample in self.samples.iter().filter(|sample| sample.end.nanos > since) {
            let number = sample.end.nanos / (u64::from(step_seconds) * NANOS_PER_SECOND);
            match &mut step {
                Some(step) if step.number == number => step.add(sample),
                _ => {
                    if let Some(done) = step.replace(SeriesRow::new(number, sample)) {
                        done.write(&mut points);
                    }
                }
            }
        }
        if let Some(done) = step {
            done.write(&mut points);
        }
        points
    }
}

/// The shortest step with which a span fits into an answer.
fn step_for(seconds: u32) -> u32 {
    let fits = |step: &&u32| seconds.div_ceil(**step) <= POINTS_MAX;
    STEPS.iter().find(fits).copied().unwrap_or(STEPS[STEPS.len() - 1])
}

/// Samples that become one row.
struct SeriesRow {
    number: u64,
    end: Now,
    covers: u64,
    total: SecondCounts,
    latency: LatencyCounts,
    cores: Box<[SecondCounts]>,
}

impl SeriesRow {
    fn new(number: u64, first: &SecondSample) -> SeriesRow {
        let mut latency = LatencyCounts::default();
        latency.add_sparse(&first.latency);
        SeriesRow {
            number,
            end: first.end,
            covers: first.covers,
            total: first.total,
            latency,
            cores: first.cores.clone(),
        }
    }

    fn add(&mut self, sample: &SecondSample) {
        self.end = sample.end;
        self.covers += sample.covers;
        self.total.add(&sample.total);
        self.latency.add_sparse(&sample.latency);
        for (core, more) in self.cores.iter_mut().zip(&sample.cores) {
            core.add(more);
        }
    }

    fn write(mut self, points: &mut Points) {
        points.times.push(self.end.unix_millis);
        points.seconds.push((self.covers as f64 / NANOS_PER_SECOND as f64 * 1e3).round() / 1e3);
        self.total.quantiles = quantiles(&self.latency);
        points.total.push(&self.total);
        for (columns, counts) in points.cores.iter_mut().zip(&self.cores) {
            columns.push(counts);
        }
    }
}

fn quantiles(latency: &LatencyCounts) -> [u64; QUANTILES.len()] {
    QUANTILES.map(|share| latency.quantile(share).unwrap_or(0))
}

impl SecondCounts {
    fn between(before: &Numbers, after: &Numbers) -> SecondCounts {
        let since = after.since(before);
        let ended = Outcome::ALL.iter().filter(|outcome| **outcome != Outcome::Health);
        SecondCounts {
            requests: small(ended.map(|outcome| since.requests(*outcome)).sum()),
            classes: since.classes.map(small),
            throttled_rate: small(since.throttled_by_rate()),
            throttled_concurrency: small(since.requests(Outcome::ThrottledConcurrency)),
            triggers: small(since.event(Event::Trigger)),
            connections: std::array::from_fn(|kind| small(after.open_connections(ConnectionKind::ALL[kind]))),
            waiting: small(after.waiting()),
            quantiles: quantiles(&since.latency),
        }
    }

    /// Puts a later second behind this one.
    fn add(&mut self, later: &SecondCounts) {
        let sum = |mine: &mut u32, more: u32| *mine = mine.saturating_add(more);
        sum(&mut self.requests, later.requests);
        for (mine, more) in self.classes.iter_mut().zip(later.classes) {
            sum(mine, more);
        }
        sum(&mut self.throttled_rate, later.throttled_rate);
        sum(&mut self.throttled_concurrency, later.throttled_concurrency);
        sum(&mut self.triggers, later.triggers);
        self.connections = later.connections;
        self.waiting = later.waiting;
        for (mine, more) in self.quantiles.iter_mut().zip(later.quantiles) {
            *mine = (*mine).max(more);
        }
    }
}

impl Columns {
    fn push(&mut self, counts: &SecondCounts) {
        let class = |class: usize| u64::from(counts.classes[class - 1]);
        self.requests.push(counts.requests.into());
        self.status.successes.push(class(2));
        self.status.redirections.push(class(3));
        self.status.client_errors.push(class(4));
        self.status.server_errors.push(class(5));
        let [p50, p99, p999] = counts.quantiles.map(milliseconds);
        self.latency_ms.p50.push(p50);
        self.latency_ms.p99.push(p99);
        self.latency_ms.p999.push(p999);
        let open = |kind: ConnectionKind| u64::from(counts.connections[kind as usize]);
        self.connections.http.push(open(ConnectionKind::Http));
        self.connections.websocket.push(open(ConnectionKind::WebSocket));
        self.connections.worker.push(open(ConnectionKind::Worker));
        self.waiting.push(counts.waiting.into());
        self.throttled.rate.push(counts.throttled_rate.into());
        self.throttled.concurrency.push(counts.throttled_concurrency.into());
        self.triggers.push(counts.triggers.into());
    }
}

/// Milliseconds to the microsecond, which is as fine as the buckets are.
fn milliseconds(nanos: u64) -> Option<f64> {
    (nanos > 0).then(|| (nanos as f64 / 1e3).round() / 1e3)
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// Second number `second`, some time after the start.
    fn at(second: u64) -> Now {
        Now {
            nanos: 1_000 * NANOS_PER_SECOND + second * NANOS_PER_SECOND,
            unix_millis: 5_000 + second * 1_000,
        }
    }

    #[test]
    fn a_second_is_the_difference_of_two_snapshots_and_the_first_snapshot_is_none() {
        let metrics = Metrics::new(2);
        let mut series = Series::default();
        metrics.core(0).unwrap().count(Outcome::Ok);
        series.push(at(0), metrics.snapshot());
        assert!(
            series.points(60).times.is_empty(),
            "what was before the first snapshot belongs to no second"
        );
        let core = metrics.core(1).unwrap();
        core.count(Outcome::Ok);
        core.count(Outcome::ThrottledRate);
        core.count(Outcome::Health);
        core.status(200);
        core.status(429);
        core.latency(2_000_000);
        core.connection_opened(ConnectionKind::WebSocket);
        core.wait_begun();
        core.event(Event::Trigger);
        series.push(at(1), metrics.snapshot());
        series.push(at(2), metrics.snapshot());
        let points = series.points(60);
        assert_eq!((points.step_seconds, points.times.as_slice()), (1, &[6_000, 7_000][..]));
        assert_eq!(points.seconds, [1.0, 1.0]);
        for columns in [&points.total, &points.cores[1]] {
            assert_eq!(columns.requests, [2, 0]);
            assert_eq!(
                (&columns.status.successes[..], &columns.status.client_errors[..]),
                (&[1, 0][..], &[1, 0][..])
            );
            assert_eq!((&columns.throttled.rate[..], &columns.triggers[..]), (&[1, 0][..], &[1, 0][..]));
            assert_eq!(
                (&columns.connections.websocket[..], &columns.waiting[..]),
                (&[1, 1][..], &[1, 1][..])
            );
            let p99 = columns.latency_ms.p99[0].expect("a response left");
            assert!((2.0..=2.25).contains(&p99), "{p99}");
            assert_eq!(columns.latency_ms.p99[1], None);
        }
        assert_eq!(points.cores[0].requests, [0, 0]);
    }

    #[test]
    fn seconds_are_put_together_so_that_an_answer_stays_small_and_loses_nothing() {
        let metrics = Metrics::new(1);
        let core = metrics.core(0).unwrap();
        let mut series = Series::default();
        series.push(at(0), metrics.snapshot());
        for second in 1..=SAMPLES_MAX as u64 + 100 {
            core.count(Outcome::Ok);
            core.latency(if second % 10 == 5 { 50_000_000 } else { 1_000_000 });
            series.push(at(second), metrics.snapshot());
        }
        let points = series.points(3_600);
        assert_eq!(points.step_seconds, 10);
        assert!(points.times.len() <= POINTS_MAX as usize + 1, "{}", points.times.len());
        assert_eq!(points.total.requests.iter().sum::<u64>(), SAMPLES_MAX as u64, "older ones are gone");
        assert_eq!(points.total.requests[1], 10);
        let (p50, p999) = (points.total.latency_ms.p50[1], points.total.latency_ms.p999[1]);
        assert!(p50.unwrap() < 2.0 && p999.unwrap() >= 50.0, "{p50:?} {p999:?}");
        assert!(points.cores[0].latency_ms.p50[1].unwrap() >= 50.0, "a core shows its slowest second");
        assert_eq!(series.points(300).total.requests, vec![1; 300]);
        assert_eq!(series.points(700).step_seconds, 2);
    }

    #[test]
    fn a_step_stays_the_same_while_time_goes_on() {
        let metrics = Metrics::new(1);
        let core = metrics.core(0).unwrap();
        let mut series = Series::default();
        for second in 0..=47 {
            core.count(Outcome::Ok);
            series.push(at(second), metrics.snapshot());
        }
        let before = series.points(3_600);
        series.push(at(48), metrics.snapshot());
        let after = series.points(3_600);
        let whole = before.times.len() - 1;
        assert_eq!(before.times[..whole], after.times[..whole]);
        assert_eq!(before.total.requests[..whole], after.total.requests[..whole]);
        assert_eq!((before.seconds[whole], after.seconds[whole]), (8.0, 9.0));
    }

    #[test]
    fn a_late_sample_says_how_long_it_is() {
        let metrics = Metrics::new(1);
        let mut series = Series::default();
        series.push(at(0), metrics.snapshot());
        series.push(at(7), metrics.snapshot());
        assert_eq!(series.points(60).seconds, [7.0]);
    }
}

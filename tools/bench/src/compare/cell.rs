//! One measurement: a server that runs, a plan of load, the CPU that each answer cost the server.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Settings;
use super::servers::Running;
use super::table::WRONG_ANSWERS;
use super::wrk;
use crate::load::{self, Bound, Outcome, Plan, Protocol, Watcher};
use crate::system::{self, Counters};

/// Connections of a row that says nothing else.
pub const CONNECTIONS: usize = 64;
/// Bytes of a body of a row that says nothing else.
pub const BODY_BYTES: usize = 200;
/// A fixed rate counts as reached from this part of it on.
const RATE_REACHED: f64 = 0.98;

/// The requests that a server is asked with.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub protocol: Protocol,
    pub status: u16,
    pub depth: usize,
    pub body_bytes: usize,
    pub connections: usize,
}

impl Ask {
    /// POST requests of 200 bytes on 64 connections.
    pub fn plain() -> Ask {
        Ask {
            protocol: Protocol::Http,
            status: 200,
            depth: 1,
            body_bytes: BODY_BYTES,
            connections: CONNECTIONS,
        }
    }

    pub fn plan(self, settings: &Settings, running: &Running) -> Plan {
        let mut plan = Plan::new(self.protocol, running.address, &running.path);
        plan.body = load::json_body(self.body_bytes);
        if self.protocol == Protocol::Http {
            plan.headers.push("content-type: application/json".to_owned());
            plan.expect.status = Some(self.status);
        }
        plan.depth = self.depth;
        plan.connections = self.connections;
        plan.bound = Bound::Time(settings.time);
        plan.warmup = settings.warmup;
        plan
    }
}

/// The result of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// CPU of all threads of the server for one answer.
    pub server_micros: f64,
    pub answers: f64,
    pub answers_per_second: f64,
    /// `wrk` tells none that can be compared.
    pub p99_millis: Option<f64>,
    /// Answers for each time that a thread of the server waited.
    pub answers_a_wakeup: f64,
    /// How often a thread of the server lost its CPU, for each answer.
    pub involuntary_an_answer: f64,
    /// Whether the answers did not keep up with a fixed rate.
    pub is_behind: bool,
}

impl Cell {
    fn new(answers: u64, elapsed: Duration, counters: Counters) -> anyhow::Result<Cell> {
        if answers == 0 {
            bail!("{WRONG_ANSWERS}: none at all");
        }
        let answers = answers as f64;
        Ok(Cell {
            server_micros: counters.cpu_nanos as f64 / 1000.0 / answers,
            answers,
            answers_per_second: answers / elapsed.as_secs_f64(),
            p99_millis: None,
            answers_a_wakeup: answers / counters.voluntary_switches.max(1) as f64,
            involuntary_an_answer: counters.involuntary_switches as f64 / answers,
            is_behind: false,
        })
    }

    pub fn json(&self) -> Value {
        json!({
            "serverMicros": self.server_micros, "answersPerSecond": self.answers_per_second,
            "p99Millis": self.p99_millis, "answersAWakeup": self.answers_a_wakeup,
            "involuntaryAnAnswer": self.involuntary_an_answer, "isBehind": self.is_behind,
        })
    }
}

/// A generator's thread: its plan, its CPU, and whether it runs under SCHED_BATCH.
#[derive(Clone, Debug)]
pub struct Generator {
    pub plan: Plan,
    pub cpu: usize,
    pub is_batch: bool,
}

impl Generator {
    fn run(&self, watcher: &mut dyn Watcher) -> anyhow::Result<Outcome> {
        system::pin_to_cpu(self.cpu)?;
        if self.is_batch {
            system::schedule_as_batch()?;
        }
        load::run(&self.plan, watcher)
    }
}

/// Puts load on servers from one thread or several, each with its own plan of the same length.
///
/// # Errors
/// If a request was not answered as it should be.
pub fn measure(generators: &[Generator], pids: &[u32]) -> anyhow::Result<Cell> {
    let mut meter = Meter { pids, before: None, after: None };
    let (first, others) = generators.split_first().context("no generator")?;
    let mut outcomes = std::thread::scope(|scope| {
        let running: Vec<_> = others.iter().map(|other| scope.spawn(|| other.run(&mut ()))).collect();
        let mut outcomes = vec![scope.spawn(|| first.run(&mut meter)).join()];
        outcomes.extend(running.into_iter().map(std::thread::ScopedJoinHandle::join));
        outcomes
            .into_iter()
            .map(|joined| joined.unwrap_or_else(|_| Err(anyhow::anyhow!("a generator panicked"))))
            .collect::<anyhow::Result<Vec<Outcome>>>()
    })?;
    if let Some(failure) = outcomes.iter().find_map(Outcome::failure) {
        bail!("{WRONG_ANSWERS}: {failure}");
    }
    let answered = outcomes.iter().map(|outcome| outcome.answered).sum();
    let outcome = outcomes.swap_remove(0);
    let mut cell = Cell::new(answered, outcome.elapsed, meter.counters()?)?;
    cell.p99_millis =
        Some(Duration::from_nanos(outcome.latency.value_at_quantile(0.99)).as_secs_f64() * 1000.0);
    cell.is_behind = first.plan.rate.is_some_and(|rate| cell.answers_per_second < rate * RATE_REACHED);
    Ok(cell)
}

/// The same by `wrk`, after a moment of load, since what `wrk` counts begins with its first request.
///
/// # Errors
/// As [`measure`], or if `wrk` is not installed.
pub fn measure_with_wrk(plan: &Plan, time: Duration, pid: u32, cpu: usize) -> anyhow::Result<Cell> {
    let warming = Plan { bound: Bound::Time(Duration::from_millis(50)), ..plan.clone() };
    measure(&[Generator { plan: warming, cpu, is_batch: true }], &[pid])?;
    let run = wrk::run(plan, time, pid, cpu)?;
    Cell::new(run.answered, run.elapsed, run.counters)
}

struct Meter<'p> {
    pids: &'p [u32],
    before: Option<Counters>,
    after: Option<Counters>,
}

impl Watcher for Meter<'_> {
    fn begin(&mut self) {
        self.before = counters(self.pids).ok();
    }

    fn end(&mut self) {
        self.after = counters(self.pids).ok();
    }
}

impl Meter<'_> {
    fn counters(&self) -> anyhow::Result<Counters> {
        let before = self.before.context("the server's counters could not be read before")?;
        let after = self.after.context("the server's counters could not be read after")?;
        Ok(after - before)
    }
}

fn counters(pids: &[u32]) -> std::io::Result<Counters> {
    let mut sum = Counters::default();
    for pid in pids {
        sum += Counters::of(*pid)?;
    }
    Ok(sum)
}

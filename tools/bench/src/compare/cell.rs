//! One measurement: a server that runs, a plan of load, the CPU that each answer cost the server.

use std::time::Duration;

use anyhow::{Context, bail};

use super::Settings;
use super::servers::Running;
use super::table::WRONG_ANSWERS;
use crate::load::{self, Bound, Outcome, Plan, Protocol, Watcher};
use crate::system;

/// Connections of a row that says nothing else.
pub const CONNECTIONS: usize = 64;
/// Bytes of a body of a row that says nothing else.
pub const BODY_BYTES: usize = 200;

/// What a server is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub protocol: Protocol,
    pub status: u16,
    pub depth: usize,
    pub body_bytes: usize,
    pub connections: usize,
    /// The CPU of the generator.
    pub cpu: usize,
}

impl Ask {
    /// POST requests of 200 bytes on 64 connections, from this CPU.
    pub fn plain(cpu: usize) -> Ask {
        Ask {
            protocol: Protocol::Http,
            status: 200,
            depth: 1,
            body_bytes: BODY_BYTES,
            connections: CONNECTIONS,
            cpu,
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

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// CPU of all threads of the server for one answer.
    pub server_micros: f64,
    pub answers_per_second: f64,
    pub p99_millis: f64,
}

/// Puts the plan's load on the server from one CPU.
///
/// # Errors
/// If a request was not answered as it should be.
pub fn measure(plan: &Plan, pid: u32, cpu: usize) -> anyhow::Result<Cell> {
    let mut meter = Meter { pid, before: None, after: None };
    let outcome = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                system::pin_to_cpu(cpu)?;
                load::run(plan, &mut meter)
            })
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the generator panicked")))
    })?;
    if let Some(failure) = outcome.failure() {
        bail!("{WRONG_ANSWERS}: {failure}");
    }
    meter.cell(&outcome)
}

struct Meter {
    pid: u32,
    before: Option<u64>,
    after: Option<u64>,
}

impl Watcher for Meter {
    fn begin(&mut self) {
        self.before = system::cpu_nanos(self.pid).ok();
    }

    fn end(&mut self) {
        self.after = system::cpu_nanos(self.pid).ok();
    }
}

impl Meter {
    fn cell(&self, outcome: &Outcome) -> anyhow::Result<Cell> {
        let before = self.before.context("the server's CPU could not be read before")?;
        let after = self.after.context("the server's CPU could not be read after")?;
        Ok(Cell {
            server_micros: (after - before) as f64 / 1000.0 / outcome.answered as f64,
            answers_per_second: outcome.rate(),
            p99_millis: Duration::from_nanos(outcome.latency.value_at_quantile(0.99)).as_secs_f64() * 1000.0,
        })
    }
}

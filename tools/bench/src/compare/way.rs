//! The ways in which a row is measured. Each generator flatters another server: one that is woken for each answer takes
//! the CPU from servers that send at once, one that submits many requests at a time lets servers share a turn among
//! them, and a fixed rate leaves two requests to a turn. The most expensive of them is what counts.

use anyhow::{Context, ensure};

/// Who puts the load, from which CPU, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// `wrk`, closed loop, on the server's CPU.
    Wrk,
    /// `tools/load` under SCHED_BATCH, closed loop, on the server's CPU.
    Batch,
    /// `tools/load` at a fixed rate (open loop), on the server's CPU.
    Rate,
    /// `tools/load`, closed loop, on another CPU.
    TwoCpus,
    /// `tools/load` under SCHED_BATCH on two CPUs, against a server of two cores on the same two.
    TwoCores,
    /// The same against two servers of one core each.
    TwoServers,
}

impl Way {
    /// Those of an HTTP row, in the order of the table.
    pub const HTTP: [Way; 4] = [Way::Wrk, Way::Batch, Way::Rate, Way::TwoCpus];
    /// Those of a WebSocket row: `wrk` has none.
    pub const SOCKET: [Way; 3] = [Way::Batch, Way::Rate, Way::TwoCpus];

    /// Name in a table's head.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Way::Wrk => "`wrk`",
            Way::Batch => "SCHED_BATCH",
            Way::Rate => "fixed rate",
            Way::TwoCpus => "two CPUs",
            Way::TwoCores => "two cores",
            Way::TwoServers => "two servers",
        }
    }

    /// The CPU of the server (none: it chooses) and that of the generator.
    pub(super) fn cpus(self, cpus: &[usize]) -> anyhow::Result<(Option<usize>, usize)> {
        let (&first, &last) = cpus.first().zip(cpus.last()).context("no CPU")?;
        if matches!(self, Way::Wrk | Way::Batch | Way::Rate) {
            return Ok((Some(last), last));
        }
        ensure!(first != last, "there is only one CPU");
        Ok((Some(first), last))
    }
}

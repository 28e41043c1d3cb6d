//! The comparison: servers started in turn, loaded for a moment, and the CPU that each request cost them, in one
//! interleaved run, because on a machine that others share only ratios within one run mean something.

mod bench;
pub(crate) mod cell;
mod generator;
mod held;
pub(crate) mod memory;
mod rest;
mod rows;
pub(crate) mod servers;
mod table;
pub(crate) mod tidegate;
mod worker;

pub use bench::measure;
pub use rows::NAMES;
pub use table::{Line, Verdict, print};

use std::path::PathBuf;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program to measure.
    pub tidegate: PathBuf,
    /// Where the servers to compare with are.
    pub programs: PathBuf,
    /// Names of rows; none: all.
    pub rows: Vec<String>,
    pub rounds: usize,
    pub warmup: Duration,
    pub time: Duration,
    /// Connections of the memory rows.
    pub idle: usize,
    /// Requests that wait in the row of waiting replies.
    pub waiting: usize,
    /// Webhooks of the rows that have many.
    pub webhooks: usize,
    /// A folder for them that is kept, and used again by the next run; none: one of this run.
    pub webhooks_in: Option<PathBuf>,
    /// Also Node-RED and `webhook`, where they are installed.
    pub others: bool,
    /// Whether each measurement is told on standard error as it comes.
    pub verbose: bool,
}

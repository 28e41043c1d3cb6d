//! The comparison: servers started in turn, loaded for a moment, and the CPU that each request cost them, in one
//! interleaved run, because on a machine that others share only ratios within one run mean something.

mod bench;
pub(crate) mod cell;
mod facts;
mod generator;
mod held;
pub(crate) mod memory;
mod ratio;
mod rest;
mod rows;
pub(crate) mod servers;
mod syscalls;
mod table;
pub(crate) mod tidegate;
mod way;
mod worker;
mod wrk;

pub use bench::{Report, measure};
pub use facts::facts;
pub use rows::NAMES;
pub use servers::remove_folders;
pub use table::{Line, ServerRow, Verdict, servers_text, targets_text};

use std::path::PathBuf;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program to measure.
    pub tidegate: PathBuf,
    /// The commit that it was built from, where the caller knows it.
    pub build: Option<String>,
    /// Where the servers to compare with are.
    pub programs: PathBuf,
    /// Folder of the project's scripts, of which `idle` is one.
    pub scripts: PathBuf,
    /// Names of rows; none: all.
    pub rows: Vec<String>,
    pub rounds: usize,
    /// No round of ratios begins that would probably end later than this after the first one.
    pub ratios_time: Duration,
    /// Whether system calls are counted, each server once more.
    pub syscalls: bool,
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

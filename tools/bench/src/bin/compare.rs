//! `compare`: measures Tidegate beside the floor, hyper, nginx and WebSocket echoes in one interleaved run, and prints
//! the table of targets.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::json;
use tidegate_bench::compare::{self, NAMES, Settings, Verdict};
use tidegate_bench::system;

/// Measures Tidegate beside servers that do nothing but answer, and prints the table of targets
#[derive(Parser)]
struct Arguments {
    /// The program to measure (a release build)
    #[arg(long, value_name = "FILE")]
    tidegate: PathBuf,
    /// Rows, with commas; all without it
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Rounds of the rows that are ratios
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each server is measured for in a round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// A first look: three short rounds, few webhooks and connections
    #[arg(long)]
    quick: bool,
    /// A million webhooks and 100,000 waiting replies
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Webhooks of the rows that have many; 100,000 without it
    #[arg(long)]
    webhooks: Option<usize>,
    /// Keep those webhooks in this folder for the next run, or use the ones that are there
    #[arg(long, value_name = "FOLDER")]
    webhooks_in: Option<PathBuf>,
    /// Also Node-RED (npm) and webhook (Debian), where they are installed
    #[arg(long)]
    others: bool,
    /// Write every round here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Tell each measurement as it comes
    #[arg(short, long)]
    verbose: bool,
}

/// Files that a process with 100,000 waiting connections has open, with room.
const OPEN_FILES: u64 = 262_144;
/// Files that are no connections of a memory row: those of a process, and connections that come before it counts.
const OPEN_FILES_SPARE: u64 = 500;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// False: a target was missed, or an answer was.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    for row in &arguments.rows {
        ensure!(NAMES.contains(&row.as_str()), "there is no row {row}; there are: {}", NAMES.join(", "));
    }
    ensure!((1..=100).contains(&arguments.rounds), "from 1 to 100 rounds");
    ensure!((0.05..=60.0).contains(&arguments.seconds), "from 0.05 to 60 seconds");
    let open_files = system::raise_open_files(OPEN_FILES)?;
    let programs = std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let quick = arguments.quick;
    let waiting = match (arguments.full, quick) {
        (true, _) => 100_000,
        (_, true) => 2_000,
        _ => 20_000,
    };
    let connections_max = open_files.saturating_sub(OPEN_FILES_SPARE) as usize;
    if waiting > connections_max {
        eprintln!("compare: {open_files} open files are allowed here, so {connections_max} requests wait");
    }
    let settings = Settings {
        tidegate: arguments.tidegate.canonicalize().context("the program to measure")?,
        programs,
        rows: arguments.rows.clone(),
        rounds: if quick { arguments.rounds.min(3) } else { arguments.rounds },
        warmup: Duration::from_millis(if quick { 200 } else { 400 }),
        time: Duration::from_secs_f64(if quick { arguments.seconds.min(0.5) } else { arguments.seconds }),
        idle: if quick { 2_000 } else { 10_000 }.min(connections_max),
        waiting: waiting.min(connections_max),
        webhooks: arguments.webhooks.unwrap_or(if arguments.full {
            1_000_000
        } else if quick {
            10_000
        } else {
            100_000
        }),
        webhooks_in: arguments.webhooks_in.clone(),
        others: arguments.others,
        verbose: arguments.verbose || std::io::stderr().is_terminal(),
    };
    ensure!(settings.webhooks > 0, "at least one webhook");
    let lines = compare::measure(&settings)?;
    compare::print(&lines);
    if let Some(path) = &arguments.json {
        let all: Vec<_> = lines.iter().map(compare::Line::json).collect();
        let text = format!("{:#}\n", json!({"rounds": settings.rounds, "lines": all}));
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(!lines.iter().any(|line| matches!(line.verdict, Verdict::Miss | Verdict::Failed(_))))
}

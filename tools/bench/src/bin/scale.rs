//! `scale`: what a webhook, an idle connection and a waiting reply cost as they grow, as figures and as pictures.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tidegate_bench::compare::Settings;
use tidegate_bench::scale::{self, Measured, Scale};
use tidegate_bench::system;

/// Measures what a webhook, an idle connection and a waiting reply cost as they grow, and draws it
#[derive(Parser)]
struct Arguments {
    /// The program to measure (a release build)
    #[arg(long, value_name = "FILE")]
    tidegate: PathBuf,
    /// Numbers of webhooks, with commas; none: not measured
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values_t = [1, 1_000, 10_000, 100_000, 1_000_000])]
    webhooks: Vec<usize>,
    /// Numbers of idle connections and WebSockets, with commas
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values_t = [1_000, 3_000, 10_000])]
    connections: Vec<usize>,
    /// Numbers of waiting replies, with commas; those that the limit of open files does not allow are left out
    #[arg(long, value_delimiter = ',', num_args = 0.., default_values_t = [1_000, 10_000, 19_000, 100_000])]
    waiting: Vec<usize>,
    /// Keep the folders with webhooks here for the next run, or use those that are there
    #[arg(long, value_name = "FOLDER")]
    folders: Option<PathBuf>,
    /// Figures of an earlier run, to be drawn where this run measures none of theirs; may be repeated
    #[arg(long, value_name = "FILE")]
    figures: Vec<PathBuf>,
    /// Draw here
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Files that a process with 100,000 waiting connections has open, with room.
const OPEN_FILES: u64 = 262_144;
/// Files that are no connections of what is measured.
const OPEN_FILES_SPARE: u64 = 500;
const WARMUP: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let open_files = system::raise_open_files(OPEN_FILES)?;
    let programs = std::env::current_exe()?.parent().context("this program is in no folder")?.to_owned();
    let allowed = |counts: &[usize], what: &str| -> Vec<usize> {
        let (allowed, too_many): (Vec<usize>, Vec<usize>) =
            counts.iter().partition(|count| **count as u64 + OPEN_FILES_SPARE <= open_files);
        for count in too_many {
            println!("{count:9}: {what} are left out, since only {open_files} files may be open");
        }
        allowed
    };
    let scale = Scale {
        settings: Settings {
            tidegate: arguments.tidegate.canonicalize().context("the program to measure")?,
            programs,
            build: None,
            scripts: PathBuf::new(),
            rows: Vec::new(),
            rounds: 1,
            ratios_time: Duration::ZERO,
            syscalls: false,
            warmup: WARMUP,
            time: scale::TIME,
            idle: 0,
            waiting: 0,
            webhooks: 0,
            webhooks_in: None,
            others: false,
            verbose: false,
        },
        webhooks: arguments.webhooks.clone(),
        connections: allowed(&arguments.connections, "idle connections"),
        waiting: allowed(&arguments.waiting, "waiting replies"),
        folders: arguments.folders.clone(),
    };
    let nothing = scale.webhooks.is_empty() && scale.connections.is_empty() && scale.waiting.is_empty();
    let mut measured = if nothing { Measured::default() } else { scale::measure(&scale)? };
    for path in &arguments.figures {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        measured.add(&serde_json::from_slice(&text).with_context(|| path.display().to_string())?)?;
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{:#}\n", measured.json()))
            .with_context(|| path.display().to_string())?;
    }
    if let Some(folder) = &arguments.plots {
        for file in measured.draw(folder)? {
            println!("{}", file.display());
        }
    }
    Ok(())
}

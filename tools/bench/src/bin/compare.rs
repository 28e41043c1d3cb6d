//! `compare`: measures Tidegate beside the floor, bare monoio, hyper, nginx and WebSocket echoes in one interleaved run,
//! each in several ways, and prints the tables of targets and of the servers, as Markdown.

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
    /// The commit that it was built from, for the table's caption
    #[arg(long)]
    build: Option<String>,
    /// Folder of the project's tools
    #[arg(long, value_name = "FOLDER", default_value = "tools")]
    scripts: PathBuf,
    /// Rows, with commas; all without it
    #[arg(long, value_delimiter = ',')]
    rows: Vec<String>,
    /// Rounds of the rows that are ratios
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each server is measured for in a round
    #[arg(long, default_value_t = 0.6)]
    seconds: f64,
    /// Minutes that the rounds of ratios take at most; memory, starts and the generator take some five more
    #[arg(long, default_value_t = 9.0)]
    minutes: f64,
    /// Count system calls too (perf, or strace -c), in one more run of each server
    #[arg(long)]
    syscalls: bool,
    /// A check that everything works: one short round, few webhooks and connections; a missed target is no failure
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
/// Beyond the rounds' time: memory, starts, the generator, making webhooks, system calls. A run that takes longer is
/// stuck, and is ended with everything that it started.
const OTHERS_TIME_MAX: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    system::remember_stop_signals();
    let arguments = Arguments::parse();
    end_after(Duration::from_secs_f64(arguments.minutes.clamp(0.0, 600.0) * 60.0) + OTHERS_TIME_MAX);
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Ends the process when the time is over, whatever it waits for. Its children end with it.
fn end_after(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("compare: not done after {:.0} minutes", limit.as_secs_f64() / 60.0);
        compare::remove_folders();
        std::process::exit(2);
    });
}

/// False: a target was missed, or an answer was.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let settings = settings(arguments)?;
    let report = compare::measure(&settings)?;
    print!("{}", compare::targets_text(&report.lines));
    println!("\n{}", compare::servers_text(&report.servers));
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("tools/compare {}", shown(&words).join(" "));
    let facts = compare::facts(&settings, report.rounds, command.trim());
    print!("{facts}");
    if let Some(path) = &arguments.json {
        let lines: Vec<_> = report.lines.iter().map(compare::Line::json).collect();
        let servers: Vec<_> = report.servers.iter().map(compare::ServerRow::json).collect();
        let all = json!({"rounds": report.rounds, "facts": facts, "lines": lines, "servers": servers});
        std::fs::write(path, format!("{all:#}\n")).with_context(|| path.display().to_string())?;
    }
    let failed = |line: &compare::Line| match line.verdict {
        Verdict::Failed(_) => true,
        Verdict::Miss => !arguments.quick,
        Verdict::Pass | Verdict::Shown | Verdict::NotHere(_) => false,
    };
    Ok(!report.lines.iter().any(failed))
}

/// The arguments without those that the wrapper script adds.
fn shown(words: &[String]) -> Vec<&str> {
    let mut shown = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if matches!(word, "--tidegate" | "--build" | "--scripts") {
            words.next();
        } else {
            shown.push(word);
        }
    }
    shown
}

fn settings(arguments: &Arguments) -> anyhow::Result<Settings> {
    for row in &arguments.rows {
        ensure!(NAMES.contains(&row.as_str()), "there is no row {row}; there are: {}", NAMES.join(", "));
    }
    ensure!((1..=100).contains(&arguments.rounds), "from 1 to 100 rounds");
    ensure!((0.05..=60.0).contains(&arguments.seconds), "from 0.05 to 60 seconds");
    ensure!((0.0..=600.0).contains(&arguments.minutes), "from 0 to 600 minutes");
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
    let webhooks = match (arguments.full, quick) {
        (true, _) => 1_000_000,
        (_, true) => 2_000,
        _ => 100_000,
    };
    let settings = Settings {
        tidegate: arguments.tidegate.canonicalize().context("the program to measure")?,
        build: arguments.build.clone(),
        programs,
        scripts: arguments.scripts.clone(),
        rows: arguments.rows.clone(),
        rounds: if quick { 1 } else { arguments.rounds },
        ratios_time: Duration::from_secs_f64(arguments.minutes * 60.0),
        syscalls: arguments.syscalls,
        warmup: Duration::from_millis(if quick { 50 } else { 300 }),
        time: Duration::from_secs_f64(if quick { arguments.seconds.min(0.2) } else { arguments.seconds }),
        idle: if quick { 1_000 } else { 10_000 }.min(connections_max),
        waiting: waiting.min(connections_max),
        webhooks: arguments.webhooks.unwrap_or(webhooks),
        webhooks_in: arguments.webhooks_in.clone(),
        others: arguments.others,
        verbose: arguments.verbose || std::io::stderr().is_terminal(),
    };
    ensure!(settings.webhooks > 0, "at least one webhook");
    Ok(settings)
}

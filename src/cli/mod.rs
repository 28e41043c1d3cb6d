//! Layer 10: the command line. Reads arguments, environment and file, and hands over to the command that is meant.
//!
//! Exit codes: 0 done; 1 it failed; 2 it was asked for wrongly (a usage error, a bad setting). Whatever fails says so
//! on standard error in one line that begins with `tidegate:`.
//!
//! Not here: what the commands do (a file for each), what can be set (`settings`).

mod addresses;
mod arguments;
mod check;
mod client;
mod cluster;
mod clustered;
mod dead_letters;
mod demo;
mod flow_fields;
mod gateway;
mod journal;
mod logs;
mod notify;
mod output;
mod preset;
mod resources;
pub mod serve;
mod start;
mod stream;
mod tail;
mod targets;
mod tokens;
mod trust;
mod worker;

use std::process::ExitCode;

use clap::ArgMatches;

use crate::settings::SettingsError;

/// Exit code of what was tried and failed.
const FAILED: u8 = 1;
/// Exit code of what was asked for wrongly.
const MISUSED: u8 = 2;

/// Why a command ended early.
enum Failure {
    /// It was asked for wrongly.
    Usage(String),
    /// It failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let matches = match arguments::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            output::complain(&arguments::misused(&error));
            return ExitCode::from(MISUSED);
        }
        // `--help` and `--version` come here too.
        Err(error) => return told(error.print()),
    };
    let (message, code) = match dispatch(&matches) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) if output::is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => (format!("{error:#}"), FAILED),
        Err(Failure::Usage(message)) => (message, MISUSED),
    };
    output::complain(&message);
    ExitCode::from(code)
}

/// How it ends where all that was asked for is a text.
fn told(printed: std::io::Result<()>) -> ExitCode {
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            output::complain(&error.to_string());
            ExitCode::from(FAILED)
        }
        // Who reads may have had enough.
        _ => ExitCode::SUCCESS,
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        None => start::serve(matches),
        Some(("serve", matches)) => start::serve(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("tail", matches)) => tail::run(matches),
        Some(("token", matches)) => tokens::run(matches),
        Some(("worker", matches)) => worker::run(matches),
        Some(("deadletters", matches)) => dead_letters::run(matches),
        Some(("journal", matches)) => journal::run(matches),
        Some(("cluster", matches)) => cluster::run(matches),
        Some((name, matches)) => match resources::Kind::named(name) {
            Some(kind) => resources::run(kind, matches),
            None => Err(Failure::Usage(format!("there is no command {name}"))),
        },
    }
}

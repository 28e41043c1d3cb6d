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
mod command;
mod commands;
mod dead_letters;
mod demo;
mod documents;
mod events;
mod flow_fields;
mod gateway;
mod given;
mod globals;
mod handler;
mod input;
mod journal;
mod listen;
mod logs;
mod lookup;
mod manual;
mod notify;
mod options;
mod output;
mod preset;
mod program;
mod record_filters;
mod replay;
mod resources;
pub(crate) mod serve;
mod start;
mod stream;
mod tail;
mod targets;
mod test_request;
mod tokens;
mod trust;
mod worker;
mod worker_socket;

use std::process::ExitCode;

use clap::ArgMatches;

use crate::settings::SettingsError;

/// Exit code of what was tried and failed.
const FAILED: u8 = 1;
/// Exit code of what was asked for wrongly.
const MISUSED: u8 = 2;

/// Why a command ended early.
enum CommandError {
    /// It was asked for wrongly.
    Usage(String),
    /// It failed.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> CommandError {
        CommandError::Failed(error)
    }
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> CommandError {
        CommandError::Usage(error.to_string())
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
        Err(CommandError::Failed(error)) if output::is_closed_pipe(&error) => return ExitCode::SUCCESS,
        Err(CommandError::Failed(error)) => (format!("{error:#}"), FAILED),
        Err(CommandError::Usage(message)) => (message, MISUSED),
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

fn dispatch(matches: &ArgMatches) -> Result<(), CommandError> {
    if let Some(message) = arguments::misplaced(matches) {
        return Err(CommandError::Usage(message));
    }
    let Some((name, matches)) = matches.subcommand() else {
        refuse_server(matches)?;
        return start::serve(matches);
    };
    if ["serve", "check", "journal"].contains(&name) {
        refuse_server(matches)?;
    }
    match name {
        "serve" => start::serve(matches),
        "check" => check::run(matches),
        "tail" => tail::run(matches),
        "replay" => replay::run(matches),
        "listen" => listen::run(matches),
        "token" => tokens::run(matches),
        "global" => globals::run(matches),
        "worker" => worker::run(matches),
        "deadletters" => dead_letters::run(matches),
        "journal" => journal::run(matches),
        "cluster" => cluster::run(matches),
        "export" => documents::export(matches),
        "import" => documents::import(matches),
        "backup" => documents::backup(matches),
        "completions" => manual::completions(arguments::command(), matches),
        "man" => manual::man(arguments::command(), matches),
        name => match lookup::Kind::named(name) {
            Some(kind) => resources::run(kind, matches),
            None => Err(CommandError::Usage(format!("there is no command {name}"))),
        },
    }
}

/// Refuses `--server` where no server is asked.
fn refuse_server(matches: &ArgMatches) -> Result<(), CommandError> {
    let given = ["server", "ca"].into_iter().find(|name| {
        // Of any type.
        matches.try_get_raw(name).ok().flatten().is_some()
    });
    match given {
        Some(name) => Err(CommandError::Usage(format!("--{name} is for the commands that talk to a server"))),
        None => Ok(()),
    }
}

//! `tidegate completions` and `tidegate man`: made from the definition of the command line itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::{CommandError, output};

/// Name of the program.
const PROGRAM: &str = "tidegate";

/// The commands.
pub(super) fn commands() -> [Command; 2] {
    let completions = Command::new("completions")
        .about("Print what a shell needs to complete the commands, for example: source <(tidegate completions bash)")
        .arg(Arg::new("shell").required(true).value_name("SHELL").value_parser(value_parser!(Shell)));
    let man = Command::new("man")
        .about(
            "Print the manual page of a command in roff, for example: tidegate man webhook create | man -l -",
        )
        .arg(Arg::new("command").num_args(0..).value_name("COMMAND").help("[default: the program]"))
        .arg(
            Arg::new("folder")
                .long("folder")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("command")
                .help("Write the pages of all commands into this folder"),
        );
    [completions, man]
}

/// `tidegate completions` of the whole command line.
///
/// # Errors
/// Output that cannot be written.
pub(super) fn completions(mut command: Command, matches: &ArgMatches) -> Result<(), CommandError> {
    let Some(shell) = matches.get_one::<Shell>("shell") else {
        return Err(CommandError::Usage("name a shell".to_owned()));
    };
    let mut script = Vec::new();
    clap_complete::generate(*shell, &mut command, PROGRAM, &mut script);
    Ok(output::print_raw(&script)?)
}

/// `tidegate man` of the whole command line.
///
/// # Errors
/// A command that there is not; output that cannot be written.
pub(super) fn man(mut command: Command, matches: &ArgMatches) -> Result<(), CommandError> {
    command.build();
    if let Some(folder) = matches.get_one::<PathBuf>("folder") {
        let written =
            std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
        return Ok(written.with_context(|| format!("{} cannot be written", folder.display()))?);
    }
    for word in matches.get_many::<String>("command").unwrap_or_default() {
        let found = command.find_subcommand(word).cloned();
        command = found.ok_or_else(|| CommandError::Usage(format!("there is no command {word}")))?;
    }
    let name = command.get_bin_name().unwrap_or(PROGRAM).replace(' ', "-");
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command.name(name)).render(&mut page);
    rendered.context("the page cannot be made")?;
    Ok(output::print_raw(&page)?)
}

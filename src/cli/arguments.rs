//! The command line's grammar: the commands and their flags. The flags of settings, and their text in `--help`, are
//! made from the table of settings.

use clap::{Arg, ArgMatches, Command};

use super::commands;
use super::{options, output};
use crate::settings::{ENTRIES, Entry};

/// Widest that help is written, in characters.
const HELP_COLUMNS: usize = 110;

/// Flags of settings that every command takes, and that may stand before it.
const ANYWHERE: [&str; 1] = ["data"];

/// The whole command line.
pub(super) fn command() -> Command {
    let program = Command::new("tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A webhook ingress engine: HTTP and WebSocket endpoints that trigger workflows.\nWithout a command it serves.")
        .max_term_width(HELP_COLUMNS)
        .after_help(without_flags());
    let serve = Command::new("serve").about("Serve (the default)").after_help(without_flags());
    let check = Command::new("check")
        .about("Check the settings and show each with where it comes from")
        .after_help(without_flags());
    // They read the data folder itself, and ask no server.
    let alone = |command: Command| {
        with_settings(command).args([options::server(), options::ca()].map(|arg| arg.hide(true)))
    };
    with_settings(program)
        .mut_args(|arg| if ANYWHERE.contains(&arg.get_id().as_str()) { arg.global(true) } else { arg })
        .mut_arg("config", |arg| arg.global(true))
        .args([options::server(), options::ca()].map(|arg| arg.global(true)))
        .subcommand(alone(serve))
        .subcommand(alone(check))
        .subcommands(commands::all())
}

/// Whether flags of settings stand before a command that has none of its own there: the first of them.
pub(super) fn misplaced(matches: &ArgMatches) -> Option<String> {
    let (name, _) = matches.subcommand()?;
    let mut flags = ENTRIES.iter().filter_map(|entry| entry.flag).filter(|flag| !ANYWHERE.contains(flag));
    let flag = flags.find(|flag| matches.try_get_one::<String>(flag).ok().flatten().is_some())?;
    let place = if ["serve", "check"].contains(&name) { "stands after it" } else { "is none of its own" };
    Some(format!("--{flag} before {name}: it {place} (--help says more)"))
}

/// The fault of a command line, in one line: clap's first sentence and its tip, without the usage.
pub(super) fn misused(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(str::trim);
    let first = paragraphs.next().unwrap_or_default();
    let mut line = output::in_one_line(first.strip_prefix("error: ").unwrap_or(first));
    for tip in paragraphs.filter(|paragraph| paragraph.starts_with("tip: ")) {
        line += &format!("; {}", output::in_one_line(tip));
    }
    format!("{line} (--help says more)")
}

/// The flags of the settings, and `--config`.
fn with_settings(command: Command) -> Command {
    let flags = ENTRIES.iter().filter_map(|entry| entry.flag.map(|flag| setting(entry, flag)));
    command.arg(options::config()).args(flags)
}

fn setting(entry: &'static Entry, flag: &'static str) -> Arg {
    let arg = Arg::new(flag)
        .long(flag)
        .value_name("VALUE")
        .allow_negative_numbers(true)
        .help(format!("{} [default: {}] [env: {}]", entry.help, entry.default, entry.variable));
    // A switch may be named alone: `--open-metrics` says true.
    if ["true", "false"].contains(&entry.default) {
        arg.num_args(0..=1).default_missing_value("true").value_name("true|false")
    } else {
        arg
    }
}

/// The settings that have no flag, for the end of the help.
fn without_flags() -> String {
    let mut text = "Only in the file or the environment:\n".to_owned();
    for entry in ENTRIES.iter().filter(|entry| entry.flag.is_none()) {
        text += &format!(
            "  {}, {}\n      {} [default: {}]\n",
            entry.key, entry.variable, entry.help, entry.default
        );
    }
    text + "\nIn the file, keys are dotted or in tables: [ingress] listen = \"127.0.0.1:8080\""
}

#[cfg(test)]
mod tests {
    use super::super::given::flags;
    use super::*;

    fn serve_flags(arguments: &[&str]) -> Result<Vec<(String, String)>, String> {
        let arguments = std::iter::once("tidegate").chain(arguments.iter().copied());
        let matches = command().try_get_matches_from(arguments).map_err(|error| error.to_string())?;
        Ok(flags(matches.subcommand_matches("serve").unwrap_or(&matches)))
    }

    #[test]
    fn the_commands_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_of_the_table_is_taken_with_and_without_the_command() {
        for flag in ENTRIES.iter().filter_map(|entry| entry.flag) {
            let expected = vec![(flag.to_owned(), "7".to_owned())];
            assert_eq!(serve_flags(&[&format!("--{flag}"), "7"]).unwrap(), expected);
            assert_eq!(serve_flags(&["serve", &format!("--{flag}=7")]).unwrap(), expected);
        }
    }

    #[test]
    fn a_switch_may_be_named_alone() {
        let given = serve_flags(&["--open-metrics", "--cors", "false"]).unwrap();
        let given: Vec<(&str, &str)> =
            given.iter().map(|(flag, value)| (flag.as_str(), value.as_str())).collect();
        assert_eq!(given, [("cors", "false"), ("open-metrics", "true")]);
    }

    #[test]
    fn what_is_no_flag_or_command_is_refused() {
        for arguments in
            [&["--coers", "2"][..], &["sevre"], &["--access-token", "x"], &["--cores", "1", "--cores", "2"]]
        {
            assert!(serve_flags(arguments).is_err(), "{arguments:?}");
        }
    }
}

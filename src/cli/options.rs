//! Options that many commands have: each is defined once, stands last in the help, and in one order everywhere.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// Names the file of settings where no flag does.
pub(super) const CONFIG_VARIABLE: &str = "TIDEGATE_CONFIG";
/// Names the server for the commands that talk to one.
pub(super) const SERVER_VARIABLE: &str = "TIDEGATE_SERVER";
/// Names the file of certificates that those commands trust.
pub(super) const CA_VARIABLE: &str = "TIDEGATE_CA";

/// Places in the help: after what is a command's own.
const APP_PLACE: usize = 900;
const OUTPUT_PLACE: usize = 910;
const YES_PLACE: usize = 920;
const SERVER_PLACE: usize = 930;
const CA_PLACE: usize = 935;
const CONFIG_PLACE: usize = 950;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Yaml,
}

/// `--server`: where the commands that talk to a server look for it.
pub(super) fn server() -> Arg {
    Arg::new("server").long("server").value_name("URL").display_order(SERVER_PLACE).help(format!(
        "Admin listener of the server to talk to: http://host:port, https://host:port or unix:/path [default: from the \
         data folder] [env: {SERVER_VARIABLE}]"
    ))
}

/// `--ca`: the certificates that the commands that talk to a server trust.
pub(super) fn ca() -> Arg {
    Arg::new("ca")
        .long("ca")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .display_order(CA_PLACE)
        .help(format!(
            "PEM file of certificates that the server's is one of, or is issued by [default: what the data folder \
             names, or the system's roots] [env: {CA_VARIABLE}]"
        ))
}

/// `--config`.
pub(super) fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .display_order(CONFIG_PLACE)
        .help(format!("File of settings in TOML [default: none] [env: {CONFIG_VARIABLE}]"))
}

/// `--app`.
pub(super) fn app() -> Arg {
    Arg::new("app")
        .long("app")
        .value_name("ID|NAME")
        .display_order(APP_PLACE)
        .help("Application [default: the only one]")
}

/// `-o`.
pub(super) fn output() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_name("table|json|yaml")
        .value_parser(["table", "json", "yaml"])
        .display_order(OUTPUT_PLACE)
        .help("How the answer is written [default: a table for lists, else JSON]")
}

/// `--yes`.
pub(super) fn yes() -> Arg {
    Arg::new("yes").long("yes").action(ArgAction::SetTrue).display_order(YES_PLACE).help("Do not ask")
}

/// The format that is asked for, or else `default`.
pub(super) fn format(matches: &ArgMatches, default: Format) -> Format {
    match matches.try_get_one::<String>("output").ok().flatten().map(String::as_str) {
        Some("table") => Format::Table,
        Some("json") => Format::Json,
        Some("yaml") => Format::Yaml,
        _ => default,
    }
}

//! The command line's grammar: the commands, their flags, and the settings that flags, environment and file give. The
//! flags of settings, and their text in `--help`, are made from the table of settings.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::resources::Kind;
use super::{Failure, cluster, dead_letters, flow_fields, journal, output};
use crate::settings::{ENTRIES, Entry, Given, Settings, SettingsError};

/// Names the file of settings where no flag does.
const CONFIG_VARIABLE: &str = "TIDEGATE_CONFIG";
/// Names the server for the commands that talk to one.
pub(super) const SERVER_VARIABLE: &str = "TIDEGATE_SERVER";
/// Names the file of certificates that those commands trust.
pub(super) const CA_VARIABLE: &str = "TIDEGATE_CA";
/// The prefix of every variable of ours.
const PREFIX: &str = "TIDEGATE_";
/// Bytes of a file of settings: many times those of one that sets everything.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Widest that help is written, in characters.
const HELP_COLUMNS: usize = 110;

/// The whole command line.
pub(super) fn command() -> Command {
    let program = Command::new("tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A webhook ingress engine: HTTP and WebSocket endpoints that trigger workflows.\nWithout a command it serves.")
        .args_conflicts_with_subcommands(true)
        .max_term_width(HELP_COLUMNS)
        .after_help(without_flags());
    let serve = Command::new("serve").about("Serve (the default)").after_help(without_flags());
    let check = Command::new("check")
        .about("Check the settings and show each with where it comes from")
        .after_help(without_flags());
    with_settings(program)
        .subcommand(with_settings(serve))
        .subcommand(with_settings(check))
        .subcommands(Kind::ALL.map(resource))
        .subcommand(tail())
        .subcommand(token())
        .subcommand(worker())
        .subcommand(dead_letters::command())
        .subcommand(journal::command())
        .subcommand(cluster::command())
        .mut_subcommands(with_ca)
}

/// Adds `--ca` to a command that talks to a server.
fn with_ca(command: Command) -> Command {
    let is_client =
        command.get_arguments().any(|argument| ["server", "door"].contains(&argument.get_id().as_str()));
    if !is_client {
        return command;
    }
    command.arg(Arg::new("ca").long("ca").global(true).value_name("FILE").value_parser(value_parser!(PathBuf)).help(format!(
        "PEM file of certificates that the server's is one of, or is issued by [default: what the data folder names, or the system's roots] [env: {CA_VARIABLE}]"
    )))
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

/// Where the commands that talk to a server look for it.
pub(super) fn server() -> Arg {
    Arg::new("server").long("server").global(true).value_name("URL").help(format!(
        "Admin listener: http://host:port, https://host:port or unix:/path [default: from the data folder] [env: {SERVER_VARIABLE}]"
    ))
}

pub(super) fn data() -> Arg {
    Arg::new("data")
        .long("data")
        .global(true)
        .value_name("FOLDER")
        .help("Data folder of the server [default: tidegate-data] [env: TIDEGATE_DATA]")
}

pub(super) fn app() -> Arg {
    Arg::new("app").long("app").value_name("ID|NAME").help("Application [default: the only one]")
}

/// `tidegate tail`.
fn tail() -> Command {
    Command::new("tail")
        .about("Follow the requests of a webhook: a line for each, the last ones first")
        .arg(Arg::new("id").required(true).value_name("ID|NAME").help("Id or name of the webhook"))
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Each as a line of JSON, with its payload"),
        )
        .args([app(), server(), data(), config()])
}

/// `tidegate token …`.
fn token() -> Command {
    let list = Command::new("list").about("A table of the access tokens beside the first one").arg(
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("A JSON array instead of a table"),
    );
    let create = Command::new("create")
        .about("Make an access token and print it as JSON: its secret is shown this once")
        .arg(
            Arg::new("name")
                .required(true)
                .value_name("NAME")
                .help("Its name, by which the log tells it apart"),
        )
        .arg(
            Arg::new("rights")
                .long("rights")
                .required(true)
                .value_delimiter(',')
                .value_parser(["read", "write", "worker", "reply"])
                .value_name("RIGHTS")
                .help("With commas: read, write, worker, reply"),
        )
        .arg(
            Arg::new("expires")
                .long("expires")
                .value_name("TIME|DAYS")
                .help("When it ends: 2027-01-01T00:00:00Z, or 30d [default: never]"),
        );
    let delete = Command::new("delete")
        .about("Revoke an access token")
        .arg(Arg::new("id").required(true).value_name("ID|NAME").help("Id or name of the token"));
    Command::new("token")
        .about("List, make and revoke access tokens of a running server")
        .subcommand_required(true)
        .args([server(), data(), config().global(true)])
        .subcommands([list, create, delete])
}

/// `tidegate worker`.
fn worker() -> Command {
    Command::new("worker")
        .about("Attach to a flow as a worker: print each trigger as a line of JSON, or run a command with it")
        .after_help(
            "Each trigger is acked once its line is written. With --exec the command gets the payload on standard input;\n\
             what it prints, without the last line end, is the reply (JSON as JSON, else text) and acks the trigger. An\n\
             exit code other than 0 gives the trigger to another worker, and this one rests for a moment, longer each time.\n\
             On a WebSocket, printing nothing sends nothing.\n\
             The access token is TIDEGATE_ACCESS_TOKEN, else the one in the data folder.",
        )
        .arg(Arg::new("id").required(true).value_name("FLOW").help("Id of the flow"))
        .arg(Arg::new("exec").long("exec").value_name("CMD").help("Command for sh -c, run once for each trigger"))
        .arg(
            Arg::new("credit")
                .long("credit")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("Triggers taken ahead [default: 100, with --exec 1]"),
        )
        .arg(
            // Not by the name of the setting's flag: this is a URL, and says nothing of where a server listens.
            Arg::new("door")
                .long("workers")
                .value_name("URL")
                .help("Workers' listener: ws://host:port, wss://host:port or unix:/path [default: from the data folder]"),
        )
        .args([data(), config()])
}

/// The flags of the settings, and `--config`.
fn with_settings(command: Command) -> Command {
    let flags = ENTRIES.iter().filter_map(|entry| entry.flag.map(|flag| setting(entry, flag)));
    command.arg(config()).args(flags)
}

pub(super) fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(format!("File of settings in TOML [default: none] [env: {CONFIG_VARIABLE}]"))
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

/// `tidegate app|webhook|flow …`.
fn resource(kind: Kind) -> Command {
    let (word, noun, plural) = (kind.word(), kind.noun(), kind.plural());
    let a = if kind == Kind::Application { "an" } else { "a" };
    let command = Command::new(word)
        .about(format!("List, show, create, change and delete {plural} of a running server"))
        .subcommand_required(true)
        .after_help(format!(
            "The server is --server or {SERVER_VARIABLE}, else the one that serves from the data folder.\n\
             The access token is TIDEGATE_ACCESS_TOKEN, else the one in the data folder. It is never an argument."
        ))
        .args([server(), data(), config().global(true)]);
    let id = || Arg::new("id").required(true).value_name("ID|NAME").help(format!("Id or name of the {noun}"));
    let json = || {
        Arg::new("json")
            .long("json")
            .value_name("FILE")
            .help("Fields as a JSON object in a file, or - for standard input")
    };
    let list = Command::new("list")
        .about(format!("A table of the {plural}"))
        .arg(
            Arg::new("filter")
                .long("filter")
                .value_name("GLOB")
                .help("Only names that fit: * any run, ? any character"),
        )
        .arg(
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("A JSON array instead of a table"),
        );
    let show = Command::new("show").about(format!("One {noun} as JSON")).arg(id());
    let create =
        Command::new("create")
            .about(format!("Make {a} {noun} and print it as JSON"))
            .arg(Arg::new("name").required(true).value_name("NAME").help("Its name"))
            .arg(Arg::new("set").long("set").value_name("FIELD=VALUE").action(ArgAction::Append).help(
                "A field; the value is JSON, or else text; limits.concurrency=5 reaches into an object",
            ))
            .arg(json());
    let set = Command::new("set")
        .about(format!("Change fields of {a} {noun} and print it as JSON"))
        .arg(id())
        .arg(Arg::new("set").value_name("FIELD=VALUE").num_args(0..).help("The value is JSON, or else text"))
        .arg(json());
    let delete = Command::new("delete").about(format!("Delete {a} {noun}")).arg(id());
    let create = if kind == Kind::Flow { flow_fields::with_flags(create) } else { create };
    let mut commands = vec![list, show, create, set, delete];
    if kind == Kind::Webhook {
        let flows = Arg::new("include-workflows").long("include-workflows").action(ArgAction::SetTrue);
        commands[4] = commands[4].clone().arg(flows.help("Delete every flow that it triggers too"));
        commands[2] = commands[2].clone().args(preset());
        commands.push(test().arg(id()));
        commands.push(Command::new("presets").about("The senders that --preset of create knows"));
        commands.push(rotate().arg(id()));
    }
    if kind != Kind::Application {
        commands = commands.into_iter().map(|command| command.arg(app())).collect();
    }
    command.subcommands(commands)
}

/// The arguments of `webhook create` besides a webhook's fields.
fn preset() -> [Arg; 3] {
    [
        Arg::new("preset").long("preset").value_name("SENDER").help(
            "Set up for a known sender (`tidegate webhook presets` lists them); the answer says what to paste where",
        ),
        Arg::new("secret").long("secret").value_name("SECRET").requires("preset").help(
            "The sender's secret or public key; - reads standard input, which no process list shows [default: made \
             where it is yours to choose, else asked for]",
        ),
        Arg::new("secret-later").long("secret-later").action(ArgAction::SetTrue).requires("preset").help(
            "The sender shows its secret later: until it is set, calls are refused",
        ),
    ]
}

fn rotate() -> Command {
    Command::new("rotate")
        .about("Give a webhook another token, and so another URL; print it as JSON")
        .arg(
            Arg::new("token")
                .long("token")
                .value_name("TOKEN")
                .help("8 to 128 of A-Z a-z 0-9 _ - [default: a random one]"),
        )
        .arg(
            Arg::new("grace")
                .long("grace")
                .value_name("SECONDS")
                .value_parser(value_parser!(u32))
                .help("How long the old URL goes on [default: 0]"),
        )
}

fn test() -> Command {
    Command::new("test")
        .about("Send a request through the ingress; print what came back and what it triggered, as JSON")
        .arg(
            Arg::new("sign")
                .long("sign")
                .action(ArgAction::SetTrue)
                .help("Add the credentials that the webhook asks for, and its sender's signature"),
        )
        .arg(Arg::new("method").long("method").value_name("METHOD").help("[default: POST]"))
        .arg(
            Arg::new("path")
                .long("path")
                .value_name("PATH")
                .help("What follows the token: /more?x=1 [default: nothing]"),
        )
        .arg(
            Arg::new("header")
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .value_parser(NonEmptyStringValueParser::new())
                .help("A header; may be given again"),
        )
        .arg(
            Arg::new("body")
                .long("body")
                .value_name("JSON")
                .allow_hyphen_values(true)
                .help("The body: JSON, or else text; - for standard input [default: none]"),
        )
}

/// The settings that flags, environment and file make, and what was given.
///
/// # Errors
/// The setting that is unknown or not valid, and where it stands; a file that cannot be read.
pub(super) fn settings(matches: &ArgMatches) -> Result<(Settings, Vec<Given>), Failure> {
    let environment = environment()?;
    let file = match matches.get_one::<PathBuf>("config") {
        Some(path) => Some((path.clone(), "--config".to_owned())),
        None => variable(CONFIG_VARIABLE)
            .map(|path| (path.into(), format!("{CONFIG_VARIABLE} in the environment"))),
    };
    let file = match file {
        None => None,
        Some((path, place)) => {
            let text = read_config(&path).map_err(|error| SettingsError {
                place,
                message: format!("{} cannot be read: {error}", path.display()),
            })?;
            Some((path.display().to_string(), text))
        }
    };
    let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(Settings::resolve_given(cores(), file, &environment, &flags(matches))?)
}

/// The text of a file of settings. What has no end (a device) must not be read to it.
fn read_config(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > CONFIG_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {CONFIG_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The flags of settings that were given, in the order of the table.
fn flags(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |flag| matches.try_get_one::<String>(flag).ok().flatten();
    let flags = ENTRIES.iter().filter_map(|entry| entry.flag);
    flags.filter_map(|flag| Some((flag.to_owned(), given(flag)?.clone()))).collect()
}

/// The variables of ours.
fn environment() -> Result<Vec<(String, String)>, SettingsError> {
    let mut ours = Vec::new();
    for (name, value) in std::env::vars_os() {
        if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let refused = |name: &str, message: &str| SettingsError {
            place: format!("{name} in the environment"),
            message: message.to_owned(),
        };
        let name = name.into_string().map_err(|name| {
            refused(&name.to_string_lossy(), "there is no setting of this name, which is not UTF-8")
        })?;
        let value = value.into_string().map_err(|_| refused(&name, "must be text in UTF-8"))?;
        ours.push((name, value));
    }
    // The environment has no order; messages should have one.
    ours.sort_unstable();
    Ok(ours)
}

/// A variable that is there and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// CPUs that the process may run on.
fn cores() -> usize {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) if set.count() > 0 => set.count() as usize,
        // A machine of more CPUs than the set can name.
        _ => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

#[cfg(test)]
mod tests {
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

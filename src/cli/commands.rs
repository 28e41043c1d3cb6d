//! The commands that talk to a server or read a data folder, as they are written on the command line.

use clap::builder::NonEmptyStringValueParser;
use clap::{Arg, ArgAction, Command, value_parser};

use super::lookup::Kind;
use super::options::{self, SERVER_VARIABLE};
use super::{cluster, dead_letters, documents, flow_fields, globals, journal, listen, manual, replay, tail};

/// All of them, in the order of the help.
pub(super) fn all() -> Vec<Command> {
    let mut commands: Vec<Command> = Kind::ALL.map(resource).into();
    commands.push(globals::command());
    commands.push(tail::command());
    commands.push(replay::command());
    commands.push(listen::command());
    commands.push(worker());
    commands.push(dead_letters::command());
    commands.extend(documents::commands());
    commands.push(token());
    commands.push(journal::command());
    commands.push(cluster::command());
    commands.extend(manual::commands());
    commands
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
        .arg(options::output().global(true));
    let command = if kind == Kind::Application { command } else { command.arg(options::app().global(true)) };
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
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .conflicts_with("output")
                .help("As -o json"),
        );
    let show = Command::new("show").about(format!("One {noun}")).arg(id());
    let create =
        Command::new("create")
            .about(format!("Make {a} {noun} and print it"))
            .arg(Arg::new("name").required(true).value_name("NAME").help("Its name"))
            .arg(Arg::new("set").long("set").value_name("FIELD=VALUE").action(ArgAction::Append).help(
                "A field; the value is JSON, or else text; limits.concurrency=5 reaches into an object",
            ))
            .arg(json());
    let set = Command::new("set")
        .about(format!("Change fields of {a} {noun} and print it"))
        .arg(id())
        .arg(Arg::new("set").value_name("FIELD=VALUE").num_args(0..).help("The value is JSON, or else text"))
        .arg(json());
    let delete = Command::new("delete")
        .about(format!("Delete {a} {noun}; on a terminal it asks first"))
        .arg(id())
        .arg(options::yes());
    match kind {
        Kind::Application => command.subcommands([list, show, create, set, delete]),
        Kind::Flow => command.subcommands([list, show, flow_fields::with_flags(create), set, delete]),
        Kind::Webhook => {
            let flows = Arg::new("include-workflows").long("include-workflows").action(ArgAction::SetTrue);
            let delete = delete.arg(flows.help("Delete every flow that it triggers too"));
            let url = Command::new("url").about("The URL that callers use, alone on a line").arg(id());
            let presets = Command::new("presets").about("The senders that --preset of create knows");
            let [test, rotate] = [test(), rotate()].map(|command| command.arg(id()));
            command.subcommands([list, show, create.args(preset()), set, delete, url, rotate, test, presets])
        }
    }
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
        .about("Give a webhook another token, and so another URL; print it")
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
                .help("How long the old URL is served beside it [default: 0]"),
        )
}

fn test() -> Command {
    Command::new("test")
        .about("Send a request through the ingress; print the response and what it triggered")
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

/// `tidegate token …`.
fn token() -> Command {
    let list = Command::new("list").about("A table of the access tokens besides the first one").arg(
        Arg::new("json").long("json").action(ArgAction::SetTrue).conflicts_with("output").help("As -o json"),
    );
    let create = Command::new("create")
        .about("Make an access token and print it: its secret is shown this once")
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
        .about("Revoke an access token; on a terminal it asks first")
        .arg(Arg::new("id").required(true).value_name("ID|NAME").help("Id or name of the token"))
        .arg(options::yes());
    Command::new("token")
        .about("List, make and revoke access tokens of a running server")
        .subcommand_required(true)
        .arg(options::output().global(true))
        .subcommands([list, create, delete])
}

/// `tidegate worker`.
fn worker() -> Command {
    Command::new("worker")
        .about("Attach to a flow as a worker: print each trigger as a line of JSON, or hand it to a command or a program")
        .after_help(
            "Each trigger is acked once its line is written. With --exec the command gets the payload on standard input;\n\
             what it prints, without the last line end, is the reply (JSON as JSON, else text) and acks the trigger. An\n\
             exit code other than 0 gives the trigger to another worker, and this one rests for a moment, longer each time.\n\
             On a WebSocket, printing nothing sends nothing. With --forward the payload is POSTed to the URL as JSON; a 2xx\n\
             acks the trigger and its body is the reply, another answer gives the trigger back.\n\
             The access token is TIDEGATE_ACCESS_TOKEN, else the one in the data folder.",
        )
        .arg(Arg::new("id").required(true).value_name("FLOW").help("Id or name of the flow"))
        .arg(Arg::new("exec").long("exec").value_name("CMD").help("Command for sh -c, run once for each trigger"))
        .arg(
            Arg::new("forward")
                .long("forward")
                .value_name("URL")
                .conflicts_with("exec")
                .help("Program that takes each trigger as a POST: http://host:port/path"),
        )
        .arg(
            Arg::new("credit")
                .long("credit")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .help("Triggers taken ahead [default: 100, with --exec or --forward 1]"),
        )
        .arg(listen::workers())
        .arg(options::app())
}

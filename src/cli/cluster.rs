//! `tidegate cluster status|nodes|drain`: what a node of a cluster tells.

use anyhow::Context as _;
use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::client::Client;
use super::lookup::member;
use super::options::{self, Format};
use super::{CommandError, output};

/// `tidegate cluster`.
pub(super) fn command() -> Command {
    Command::new("cluster")
        .about("Show what a node tells of its cluster, and take it out of service")
        .subcommand_required(true)
        .arg(options::output().global(true))
        .subcommand(Command::new("status").about("What the node has of the cluster"))
        .subcommand(Command::new("nodes").about("The nodes that it knows"))
        .subcommand(
            Command::new("drain")
                .about("Have /readyz of the node say 503, so that balancers send calls elsewhere"),
        )
}

/// Runs one of the commands.
///
/// # Errors
/// The server's refusal, in its words.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(CommandError::Usage("status, nodes or drain".to_owned()));
    };
    let client = Client::new(matches)?;
    if command == "drain" {
        let answer = client.send("POST", "/cluster/drain", &json!({}))?;
        return Ok(output::print_as(&answer, options::format(matches, Format::Json))?);
    }
    let answer = client.get("/cluster")?;
    let format = options::format(matches, Format::Table);
    if format != Format::Table {
        return Ok(output::print_as(&answer, format)?);
    }
    let answer: Value = serde_json::from_str(&answer).context("the server's answer is not JSON")?;
    let text = if command == "nodes" { nodes(&answer) } else { status(&answer) };
    Ok(output::print(&text)?)
}

fn nodes(answer: &Value) -> String {
    let nodes = answer.get("nodes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names = ["id", "name", "state", "version", "since", "adoptedBy"];
    let rows: Vec<Vec<String>> =
        nodes.iter().map(|node| names.map(|name| member(node, name)).to_vec()).collect();
    output::table(&["ID", "HOST", "STATE", "VERSION", "SINCE", "ADOPTED BY"], &rows)
}

fn status(answer: &Value) -> String {
    let within =
        |outer: &str, name: &str| answer.get(outer).map_or_else(String::new, |inner| member(inner, name));
    let rows = [
        ("cluster", member(answer, "name")),
        ("node", member(answer, "node")),
        ("ready", member(answer, "ready")),
        ("connected", member(answer, "connected")),
        ("lease", member(answer, "lease")),
        ("model current", within("model", "current")),
        ("model revision", within("model", "revision")),
        ("model behind", within("model", "behind")),
        ("model failure", within("model", "failure")),
        ("webhooks with tokens", within("rates", "webhooks")),
        ("tokens held", within("rates", "tokens")),
    ];
    let rows: Vec<Vec<String>> = rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec();
    output::table(&["WHAT", "VALUE"], &rows)
}

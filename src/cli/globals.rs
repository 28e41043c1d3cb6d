//! `tidegate global list|show|set|delete`: the globals of an application.

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::client::Client;
use super::lookup::{application, encoded, failed, member};
use super::options::{self, Format};
use super::{CommandError, output};

/// `tidegate global`.
pub(super) fn command() -> Command {
    let keys = || Arg::new("key").required(true).num_args(1..).value_name("KEY");
    let list = Command::new("list").about("A table of the globals, each with its value as JSON");
    let show = Command::new("show")
        .about("The value of a global, as JSON")
        .arg(Arg::new("key").required(true).value_name("KEY").help("Its key"));
    let set = Command::new("set").about("Set globals; the others stay").arg(
        Arg::new("set")
            .required(true)
            .num_args(1..)
            .value_name("KEY=VALUE")
            .help("The value is JSON, or else text"),
    );
    let delete = Command::new("delete")
        .visible_alias("unset")
        .about("Delete globals; on a terminal it asks first")
        .arg(keys().help("Their keys"))
        .arg(options::yes());
    Command::new("global")
        .about("List, show, set and delete the globals of an application: templates read them as {{globals.KEY}}")
        .subcommand_required(true)
        .args([options::app(), options::output()].map(|arg| arg.global(true)))
        .subcommands([list, show, set, delete])
}

/// Runs one of the commands.
///
/// # Errors
/// Arguments that make no sense; what the server refused, in its words.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(CommandError::Usage("list, show, set or delete".to_owned()));
    };
    let client = Client::new(matches)?;
    let path = format!("/applications/{}/globals", application(&client, matches)?);
    match command {
        "list" => list(&client, &path, matches),
        "show" => {
            let key = matches.get_one::<String>("key").map_or("", String::as_str);
            let global = read(&client.get(&format!("{path}/{}", encoded(key)))?)?;
            Ok(output::print_as(&member(&global, "json"), options::format(matches, Format::Json))?)
        }
        "set" => {
            let mut changes = Vec::new();
            for assignment in matches.get_many::<String>("set").unwrap_or_default() {
                changes.push(change(assignment)?);
            }
            client.send("PATCH", &path, &changes)?;
            Ok(())
        }
        "delete" => delete(&client, &path, matches),
        other => Err(CommandError::Usage(format!("there is no command global {other}"))),
    }
}

fn read(text: &str) -> Result<Value, CommandError> {
    Ok(serde_json::from_str(text).context("the server's answer is not JSON")?)
}

fn list(client: &Client, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let mut answer = read(&client.get(path)?)?;
    let items = answer.get_mut("items").map(Value::take).unwrap_or_default();
    let format = options::format(matches, Format::Table);
    if format != Format::Table {
        return Ok(output::print_as(&items.to_string(), format)?);
    }
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> =
        items.iter().map(|global| ["key", "json"].map(|name| member(global, name)).to_vec()).collect();
    Ok(output::print(&output::table(&["KEY", "VALUE"], &rows))?)
}

/// The change that `key=value` asks for. The text of JSON is kept as it stands.
fn change(assignment: &str) -> Result<Value, CommandError> {
    let must = || CommandError::Usage(format!("{assignment:?} must be key=value"));
    let (key, value) = assignment.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(must)?;
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(value).is_ok();
    let json = if is_json { value.to_owned() } else { Value::from(value).to_string() };
    Ok(json!({"key": key, "json": json}))
}

fn delete(client: &Client, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let keys: Vec<&String> = matches.get_many("key").unwrap_or_default().collect();
    let there = read(&client.get(path)?)?;
    let there = there.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for key in &keys {
        if !there.iter().any(|global| member(global, "key") == **key) {
            return Err(failed(format!("no global has the key {key:?}")));
        }
    }
    let named: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    let question = format!("Delete the globals {}?", named.join(", "));
    output::confirm_unless(matches.get_flag("yes"), &question)?;
    let changes: Vec<Value> = keys.iter().map(|key| json!({"key": key, "json": null})).collect();
    client.send("PATCH", path, &changes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_as_it_stands_or_else_text() {
        for (assignment, key, json) in [
            ("a=1.10", "a", "1.10"),
            ("a={\"b\": [1]}", "a", "{\"b\": [1]}"),
            ("a=plain", "a", "\"plain\""),
            ("a=b=c", "a", "\"b=c\""),
            ("a=", "a", "\"\""),
        ] {
            assert_eq!(change(assignment).ok(), Some(json!({"key": key, "json": json})), "{assignment}");
        }
        assert!(change("a").is_err() && change("=1").is_err());
    }
}

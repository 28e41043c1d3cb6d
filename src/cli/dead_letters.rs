//! `tidegate deadletters list|show|replay|drop`: the deliveries that a flow's nodes gave up.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::client::Client;
use super::lookup::{self, Kind, encoded, member};
use super::options::{self, Format};
use super::{CommandError, output};

/// Letters that are listed where no number is given.
const LISTED_DEFAULT: u64 = 100;
/// Letters that one list shows: as many as the API gives.
const LISTED_MAX: u64 = 1_000;
/// Pause between two looks at a replay.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);
/// The id that means all letters.
const ALL: &str = "all";
/// Flags that narrow what is meant, each with the parameter of the API and its help.
const FILTERS: [(&str, &str, &str, &str); 5] = [
    ("reason", "reason", "REASON", "attempts, retention, gone, loop or request"),
    ("node", "nodeId", "ID", "Node of the flow"),
    ("since", "since", "TIME", "Given up from then on, as in 2026-01-31T12:00:00Z"),
    ("until", "until", "TIME", "Given up before then"),
    ("search", "search", "TEXT", "Text in the letter or its payload"),
];

/// `tidegate deadletters`.
pub(super) fn command() -> Command {
    let flow = || Arg::new("flow").required(true).value_name("FLOW").help("Id or name of the flow");
    let id = || Arg::new("id").value_name("ID").help("Id of the letter, as list shows it");
    let all = |help: &'static str| {
        Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("id").help(help)
    };
    let filters =
        || FILTERS.map(|(flag, _, value, help)| Arg::new(flag).long(flag).value_name(value).help(help));
    Command::new("deadletters")
        .about("List, show, deliver again and drop the deliveries that a flow's nodes gave up")
        .subcommand_required(true)
        .args([options::app(), options::output()].map(|arg| arg.global(true)))
        .subcommand(
            Command::new("list")
                .about("The letters of a flow, the newest first")
                .arg(flow())
                .args(filters())
                .arg(
                    Arg::new("count")
                        .short('n')
                        .value_name("N")
                        .value_parser(value_parser!(u64).range(1..=LISTED_MAX))
                        .help(format!("At most so many [default: {LISTED_DEFAULT}]")),
                ),
        )
        .subcommand(Command::new("show").about("A letter with its payload").args([
            flow(),
            id().required(true),
        ]))
        .subcommand(
            Command::new("replay")
                .about("Deliver a letter again, or all that the flags narrow, a hundred a second; prints the progress")
                .args([flow(), id(), all("The letters of the flow")])
                .args(filters()),
        )
        .subcommand(
            Command::new("drop")
                .about("Drop a letter, or all")
                .args([flow(), id(), all("Every letter of the flow"), options::yes()]),
        )
}

/// Runs one of the commands.
///
/// # Errors
/// Arguments that make no sense; what the server refused, in its words.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(CommandError::Usage("list, show, replay or drop".to_owned()));
    };
    let client = Client::new(matches)?;
    let flows = lookup::folder(&client, Kind::Flow, matches)?;
    let word = matches.get_one::<String>("flow").map_or("", String::as_str);
    let path = format!("{}/deadLetters", lookup::resource(&client, Kind::Flow, &flows, word)?);
    match command {
        "list" => list(&client, &path, matches),
        "show" => {
            let letter = client.get(&format!("{path}/{}", target(matches)?))?;
            Ok(output::print_as(&letter, options::format(matches, Format::Json))?)
        }
        "replay" => replay(&client, &path, matches),
        "drop" => drop_letters(&client, &path, matches),
        other => Err(CommandError::Usage(format!("there is no command deadletters {other}"))),
    }
}

/// The id that is meant, as it stands in a path.
fn target(matches: &ArgMatches) -> Result<String, CommandError> {
    if matches.try_get_one::<bool>("all").ok().flatten().is_some_and(|all| *all) {
        return Ok(ALL.to_owned());
    }
    let id = matches.get_one::<String>("id").filter(|id| *id != ALL);
    id.map(|id| encoded(id))
        .ok_or_else(|| CommandError::Usage("name a letter by its id, or --all".to_owned()))
}

/// The parameters of the API that the flags make.
fn narrowed(matches: &ArgMatches) -> String {
    let given = FILTERS.iter().filter_map(|(flag, parameter, ..)| {
        let value = matches.get_one::<String>(flag)?;
        Some(format!("&{parameter}={}", encoded(value)))
    });
    given.collect()
}

fn list(client: &Client, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let count = matches.get_one::<u64>("count").copied().unwrap_or(LISTED_DEFAULT);
    let answer = listed(client, path, &narrowed(matches), count)?;
    let format = options::format(matches, Format::Table);
    if format != Format::Table {
        return Ok(output::print_as(&answer.to_string(), format)?);
    }
    let rows: Vec<Vec<String>> = items(&answer)
        .iter()
        .map(|item| {
            ["id", "time", "nodeId", "reason", "attempts", "lastStatus", "lastError"]
                .map(|name| member(item, name))
                .to_vec()
        })
        .collect();
    output::print(&output::table(
        &["ID", "GIVEN UP", "NODE", "REASON", "ATTEMPTS", "STATUS", "ERROR"],
        &rows,
    ))?;
    let silent = answer.get("unreachable").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    output::tell_unreachable(silent.iter().filter_map(Value::as_str));
    let total = answer.get("totalCount").and_then(Value::as_u64).unwrap_or(0);
    if total > rows.len() as u64 {
        output::complain(&format!("{} of {total} are shown; -n shows more", rows.len()));
    } else if next_of(&answer).is_some() {
        output::complain(&format!("{} are shown, and there may be more; -n shows them", rows.len()));
    }
    Ok(())
}

/// The newest `count` letters. One answer has those that one request can search for: the list is asked for on.
fn listed(client: &Client, path: &str, narrowed: &str, count: u64) -> Result<Value, CommandError> {
    let ask = |count: u64, before: &str| -> Result<Value, CommandError> {
        let answer = client.get(&format!("{path}?perPage={count}{before}{narrowed}"))?;
        Ok(serde_json::from_str(&answer).context("the server's list is not JSON")?)
    };
    let mut list = ask(count, "")?;
    let mut found = items(&list).to_vec();
    while let Some(next) = next_of(&list)
        && (found.len() as u64) < count
    {
        let further = ask(count - found.len() as u64, &format!("&before={next}"))?;
        found.extend_from_slice(items(&further));
        list["next"] = further["next"].clone();
        if !narrowed.is_empty() {
            let total = [&list, &further].map(|list| list["totalCount"].as_u64().unwrap_or(0));
            list["totalCount"] = total.iter().sum::<u64>().into();
        }
    }
    list["count"] = found.len().into();
    list["items"] = found.into();
    Ok(list)
}

fn items(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The place with which a list continues.
fn next_of(list: &Value) -> Option<u64> {
    list.get("next").and_then(Value::as_u64)
}

/// Delivers letters again; of all, waits for the end.
fn replay(client: &Client, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let id = target(matches)?;
    let narrowed = narrowed(matches);
    if id != ALL && !narrowed.is_empty() {
        return Err(CommandError::Usage("the flags that narrow are for --all".to_owned()));
    }
    let query = narrowed.strip_prefix('&').map_or(String::new(), |query| format!("?{query}"));
    let begun = client.send("POST", &format!("{path}/{id}/replay{query}"), &serde_json::json!({}))?;
    let mut progress: Value = serde_json::from_str(&begun).context("the server's answer is not JSON")?;
    while progress.get("isRunning").and_then(Value::as_bool) == Some(true) {
        std::thread::sleep(PROGRESS_PAUSE);
        let answer = client.get(&format!("{path}?perPage=1"))?;
        let answer: Value = serde_json::from_str(&answer).context("the server's answer is not JSON")?;
        progress = answer.get("replay").cloned().unwrap_or_default();
        let [replayed, failed, total] = ["replayed", "failed", "total"].map(|name| member(&progress, name));
        output::tell_progress(&format!("{replayed} of {total} are on their way, {failed} are not"));
    }
    output::print_as(&progress.to_string(), options::format(matches, Format::Json))?;
    match progress.get("failed").and_then(Value::as_u64) {
        Some(0) | None => Ok(()),
        Some(failed) => Err(CommandError::Failed(anyhow::anyhow!("{failed} could not be delivered again"))),
    }
}

fn drop_letters(client: &Client, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let id = target(matches)?;
    let what = if id == ALL { "all dead letters of the flow" } else { "the dead letter" };
    output::confirm_unless(matches.get_flag("yes"), &format!("Drop {what}?"))?;
    let dropped = client.delete(&format!("{path}/{id}"))?;
    Ok(output::print_as(&dropped, options::format(matches, Format::Json))?)
}

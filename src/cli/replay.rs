//! `tidegate replay`: recorded requests of a webhook, sent through the ingress again.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::client::Client;
use super::lookup::{self, Kind, encoded, member};
use super::options::{self, Format};
use super::{CommandError, output, record_filters};

/// Pause between two looks at a replay of several.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);
const NOT_JSON: &str = "the server's answer is not JSON";

/// `tidegate replay`.
pub(super) fn command() -> Command {
    Command::new("replay")
        .about("Send recorded requests of a webhook again, byte for byte: some by their ids, or all that the flags narrow")
        .after_help(
            "The ids are those of `tidegate tail -o json` and of the console. A replay is let in without its signature and\n\
             the limits being asked, and becomes a record of its own. Several are sent the oldest first, a hundred a second.",
        )
        .arg(Arg::new("webhook").required(true).value_name("WEBHOOK").help("Id or name of the webhook"))
        .arg(Arg::new("id").num_args(0..).value_name("ID").help("Ids of its requests"))
        .arg(
            Arg::new("all")
                .long("all")
                .action(ArgAction::SetTrue)
                .conflicts_with("id")
                .help("Every recorded request, or those that the flags narrow"),
        )
        .args(record_filters::flags().into_iter().map(|flag| flag.conflicts_with("id")))
        .args([options::app(), options::output()])
}

/// Runs it.
///
/// # Errors
/// Nothing that is to be sent; what the server refused; requests that could not be sent.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let client = Client::new(matches)?;
    let parameters = record_filters::parameters(matches)?;
    let ids: Vec<&String> = matches.get_many("id").unwrap_or_default().collect();
    if ids.is_empty() && parameters.is_empty() && !matches.get_flag("all") {
        return Err(CommandError::Usage(
            "name requests by their ids, by a flag that narrows, or --all".to_owned(),
        ));
    }
    let folder = lookup::folder(&client, Kind::Webhook, matches)?;
    let word = matches.get_one::<String>("webhook").map_or("", String::as_str);
    let path = format!("{}/requests", lookup::resource(&client, Kind::Webhook, &folder, word)?);
    if ids.is_empty() {
        replay_all(&client, &path, &parameters, matches)
    } else {
        replay_some(&client, &path, &ids, matches)
    }
}

/// Sends each of these again, in their order.
fn replay_some(
    client: &Client,
    path: &str,
    ids: &[&String],
    matches: &ArgMatches,
) -> Result<(), CommandError> {
    let format = options::format(matches, Format::Table);
    let (mut items, mut failures) = (Vec::new(), 0);
    for id in ids {
        let answer = client.send("POST", &format!("{path}/{}/replay", encoded(id)), &json!({}));
        let mut item: Value = match answer {
            Ok(answer) => serde_json::from_str(&answer).context(NOT_JSON)?,
            Err(CommandError::Failed(error)) => {
                output::complain(&format!("{id}: {error:#}"));
                failures += 1;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        item["replayOf"] = Value::from(id.as_str());
        items.push(item);
    }
    if format == Format::Table {
        let columns = ["replayOf", "id", "statusCode", "durationMs"];
        let rows: Vec<Vec<String>> =
            items.iter().map(|item| columns.map(|name| member(item, name)).to_vec()).collect();
        output::print(&output::table(&["REQUEST", "REPLAY", "STATUS", "MS"], &rows))?;
    } else {
        output::print_as(&Value::Array(items).to_string(), format)?;
    }
    match failures {
        0 => Ok(()),
        count => Err(anyhow!("{count} of {} were not sent again", ids.len()).into()),
    }
}

/// Sends all that the parameters narrow, and waits for the end.
fn replay_all(
    client: &Client,
    path: &str,
    parameters: &str,
    matches: &ArgMatches,
) -> Result<(), CommandError> {
    let query = parameters.trim_start_matches('&');
    let begun = client.send("POST", &format!("{path}/replay?{query}"), &json!({}))?;
    let mut progress: Value = serde_json::from_str(&begun).context(NOT_JSON)?;
    while progress.get("isRunning").and_then(Value::as_bool) == Some(true) {
        std::thread::sleep(PROGRESS_PAUSE);
        let answer: Value =
            serde_json::from_str(&client.get(&format!("{path}?perPage=1"))?).context(NOT_JSON)?;
        progress = answer.get("replay").cloned().unwrap_or_default();
        let [replayed, failed, total] = ["replayed", "failed", "total"].map(|name| member(&progress, name));
        output::tell_progress(&format!("{replayed} of {total} are sent, {failed} failed"));
    }
    output::print_as(&progress.to_string(), options::format(matches, Format::Json))?;
    match progress.get("failed").and_then(Value::as_u64) {
        Some(0) | None => Ok(()),
        Some(failed) => Err(anyhow!("{failed} could not be sent again").into()),
    }
}

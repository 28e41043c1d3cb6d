//! `tidegate app|webhook|flow …`: one request or two of the REST API for each command, and its answer in print.

use anyhow::Context as _;
use clap::ArgMatches;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::read;
use super::lookup::{Kind, failed, ingress_url, items, member, resource, text, webhook_url};
use super::options::{self, Format};
use super::preset::AT_THE_SENDER;
use super::test_request::TestCommand;
use super::{CommandError, flow_fields, lookup, output, preset};
use crate::model::{self, known};

/// Member that the commands add to a webhook.
const URL: &str = "url";
/// Members that the commands add to their output.
const OURS: [&str; 2] = [URL, AT_THE_SENDER];

/// Runs one of the commands.
///
/// # Errors
/// Arguments that make no sense; what the server refused, in its words.
pub(super) fn run(kind: Kind, matches: &ArgMatches) -> Result<(), CommandError> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(CommandError::Usage(format!("{} needs a command", kind.word())));
    };
    let client = Client::new(matches)?;
    if command == "presets" {
        return preset::list(&client, matches);
    }
    let folder = lookup::folder(&client, kind, matches)?;
    let one = || resource(&client, kind, &folder, text(matches, "id").unwrap_or_default());
    let format = options::format(matches, Format::Json);
    match command {
        "list" => list(&client, kind, &folder, matches),
        "show" => print_one(&with_url(&client, kind, client.get(&one()?)?)?, format),
        "create" => {
            let mut body = fields(kind, matches)?;
            body.insert("name".to_owned(), Value::from(text(matches, "name").unwrap_or_default()));
            let preset = if kind == Kind::Webhook { text(matches, "preset") } else { None };
            let saved = match preset {
                Some(id) => preset::create(&client, &folder, matches, id, body)?,
                None => {
                    if kind == Kind::Flow {
                        let webhooks = folder.replace(kind.plural(), Kind::Webhook.plural());
                        flow_fields::add(&client, &webhooks, matches, &mut body)?;
                        flow_fields::resolve_keys(&client, &webhooks, &mut body)?;
                    }
                    client.send("POST", &folder, &Value::Object(body))?
                }
            };
            print_saved(&with_url(&client, kind, saved)?, format)
        }
        "set" => {
            let mut body = file_fields(matches)?;
            let assignments: Vec<&String> = matches.get_many("set").unwrap_or_default().collect();
            if body.is_empty() && assignments.is_empty() {
                return Err(CommandError::Usage("set needs a field=value, or --json with fields".to_owned()));
            }
            refuse_read_only(kind, &assignments)?;
            let path = one()?;
            keep_members(&client, &path, &assignments, &mut body)?;
            assign_all(&mut body, &assignments)?;
            if kind == Kind::Flow {
                let webhooks = folder.replace(kind.plural(), Kind::Webhook.plural());
                flow_fields::resolve_keys(&client, &webhooks, &mut body)?;
            }
            let saved = client.send("PATCH", &path, &Value::Object(body))?;
            print_saved(&with_url(&client, kind, saved)?, format)
        }
        "delete" => delete(&client, kind, &one()?, matches),
        "url" => {
            let shown: Value =
                serde_json::from_str(&client.get(&one()?)?).context("the server's answer is not JSON")?;
            Ok(output::print(&format!("{}\n", webhook_url(&ingress_url(&client)?, &shown)))?)
        }
        "rotate" => {
            let mut body = Map::new();
            body.extend(text(matches, "token").map(|token| ("token".to_owned(), Value::from(token))));
            let grace = matches.get_one::<u32>("grace");
            body.extend(grace.map(|seconds| ("graceSeconds".to_owned(), Value::from(*seconds))));
            let saved = client.send("POST", &format!("{}/token", one()?), &Value::Object(body))?;
            print_saved(&with_url(&client, kind, saved)?, format)
        }
        "test" => {
            let request = TestCommand::read(matches)?;
            print_one(&client.send("POST", &format!("{}/test", one()?), &request)?, format)
        }
        other => Err(CommandError::Usage(format!("there is no command {} {other}", kind.word()))),
    }
}

/// Deletes a resource; asks first where a person can answer.
fn delete(client: &Client, kind: Kind, path: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let with_flows = kind == Kind::Webhook && matches.get_flag("include-workflows");
    let noun = kind.noun();
    let named = text(matches, "id").unwrap_or_default();
    let what = match kind {
        Kind::Application => format!("the application {named:?} with its webhooks and flows"),
        Kind::Webhook if with_flows => format!("the webhook {named:?} and every flow that it triggers"),
        Kind::Webhook | Kind::Flow => format!("the {noun} {named:?}"),
    };
    output::confirm_unless(matches.get_flag("yes"), &format!("Delete {what}?"))?;
    client.delete(&if with_flows { format!("{path}?includeWorkflows=true") } else { path.to_owned() })?;
    Ok(())
}

/// Refuses what is set by name and is the server's own: it would be ignored without a word.
fn refuse_read_only(kind: Kind, assignments: &[&String]) -> Result<(), CommandError> {
    let spec = match kind {
        Kind::Application => &model::APPLICATION,
        Kind::Webhook => &model::WEBHOOK,
        Kind::Flow => &model::FLOW,
    };
    for assignment in assignments {
        let name = assignment.split(['=', '.']).next().unwrap_or_default();
        if spec.is_read_only(name) || known::IGNORED_ANYWHERE.contains(&name) || name == URL {
            let hint = match name {
                "token" | URL => ": `tidegate webhook rotate` gives another",
                _ => "",
            };
            return Err(CommandError::Usage(format!("{name} is read-only{hint}")));
        }
    }
    Ok(())
}

/// Prints what was saved, and on standard error each warning that came with it.
///
/// # Errors
/// An answer that is not JSON; output that cannot be written.
pub(super) fn print_saved(text: &str, format: Format) -> Result<(), CommandError> {
    print_one(text, format)?;
    let saved: Value = serde_json::from_str(text).context("the server's answer is not JSON")?;
    for warning in saved.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        output::complain(&format!("warning: {}", warning.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// Prints one resource, or whatever an answer holds.
///
/// # Errors
/// As [`print_saved`].
pub(super) fn print_one(text: &str, format: Format) -> Result<(), CommandError> {
    Ok(output::print_as(text, format)?)
}

/// A webhook's JSON with its URL.
fn with_url(client: &Client, kind: Kind, text: String) -> Result<String, CommandError> {
    if kind != Kind::Webhook {
        return Ok(text);
    }
    let shown: Value = serde_json::from_str(&text).context("the server's answer is not JSON")?;
    let url = Value::from(webhook_url(&ingress_url(client)?, &shown));
    // Spliced in, so that the rest keeps its digits.
    let end = text.trim_end().strip_suffix('}').map(str::len);
    let end = end.ok_or_else(|| failed("the server's answer is no object"))?;
    Ok(format!("{},\"url\":{url}}}", &text[..end]))
}

/// A resource as the cells of a table.
type Row<'r> = &'r dyn Fn(&Value) -> Vec<String>;

fn list(client: &Client, kind: Kind, folder: &str, matches: &ArgMatches) -> Result<(), CommandError> {
    let items = items(client, folder, text(matches, "filter"))?;
    let format =
        options::format(matches, if matches.get_flag("json") { Format::Json } else { Format::Table });
    if format != Format::Table {
        return print_one(&Value::Array(items).to_string(), format);
    }
    let ingress = if kind == Kind::Webhook { ingress_url(client)? } else { String::new() };
    let count =
        |item: &Value, name: &str| item.get(name).and_then(Value::as_array).map_or(0, Vec::len).to_string();
    let (heads, row): (&[&str], Row<'_>) = match kind {
        Kind::Application => (&["ID", "NAME", "GLOBALS", "LAST UPDATED"], &|item| {
            vec![
                member(item, "id"),
                member(item, "name"),
                count(item, "globals"),
                member(item, "lastUpdated"),
            ]
        }),
        Kind::Webhook => (&["ID", "NAME", "ENABLED", "TYPE", "REPLIES", "URL"], &|item| {
            let is_websocket = item.get("isWebsocket").and_then(Value::as_bool).unwrap_or(false);
            let waits = item.get("waitForReply").and_then(Value::as_bool).unwrap_or(false);
            let kind = if is_websocket { "websocket" } else { "http" };
            vec![
                member(item, "id"),
                member(item, "name"),
                member(item, "enabled"),
                kind.to_owned(),
                if waits || is_websocket { "flow" } else { "at once" }.to_owned(),
                webhook_url(&ingress, item),
            ]
        }),
        Kind::Flow => (&["ID", "NAME", "ENABLED", "TRIGGERS", "NODES"], &|item| {
            let triggers = count(item, "triggers");
            vec![
                member(item, "id"),
                member(item, "name"),
                member(item, "enabled"),
                triggers,
                count(item, "nodes"),
            ]
        }),
    };
    let rows: Vec<Vec<String>> = items.iter().map(row).collect();
    Ok(output::print(&output::table(heads, &rows))?)
}

/// The fields that `--json` and `field=value` give; the latter win.
fn fields(kind: Kind, matches: &ArgMatches) -> Result<Map<String, Value>, CommandError> {
    let mut fields = file_fields(matches)?;
    let assignments: Vec<&String> = matches.get_many("set").unwrap_or_default().collect();
    refuse_read_only(kind, &assignments)?;
    assign_all(&mut fields, &assignments)?;
    Ok(fields)
}

/// The fields that `--json` gives.
fn file_fields(matches: &ArgMatches) -> Result<Map<String, Value>, CommandError> {
    let Some(file) = text(matches, "json") else { return Ok(Map::new()) };
    match serde_json::from_str(&read(file)?) {
        Ok(Value::Object(mut fields)) => {
            // What `show` printed can be sent back.
            fields.retain(|name, _| !OURS.contains(&name.as_str()));
            Ok(fields)
        }
        Ok(_) => Err(CommandError::Usage(format!("--json {file}: must hold a JSON object"))),
        Err(error) => Err(CommandError::Usage(format!("--json {file}: is not JSON: {error}"))),
    }
}

fn assign_all(fields: &mut Map<String, Value>, assignments: &[&String]) -> Result<(), CommandError> {
    assignments.iter().try_for_each(|assignment| assign(fields, assignment)).map_err(CommandError::Usage)
}

/// Puts in, as it stands, each object of the resource that an assignment reaches into: a PATCH replaces it whole, and
/// what was not named has to stay.
fn keep_members(
    client: &Client,
    path: &str,
    assignments: &[&String],
    fields: &mut Map<String, Value>,
) -> Result<(), CommandError> {
    let names = assignments.iter().filter_map(|assignment| assignment.split('=').next()?.split_once('.'));
    let mut reached = names.map(|(object, _)| object).filter(|name| !fields.contains_key(*name)).peekable();
    if reached.peek().is_none() {
        return Ok(());
    }
    let current: Value =
        serde_json::from_str(&client.get(path)?).context("the server's answer is not JSON")?;
    let kept: Vec<(String, Value)> = reached
        .filter_map(|name| {
            Some((name.to_owned(), current.get(name).filter(|value| value.is_object())?.clone()))
        })
        .collect();
    fields.extend(kept);
    Ok(())
}

/// Puts `field=value` in; dots in the field reach into objects.
fn assign(fields: &mut Map<String, Value>, assignment: &str) -> Result<(), String> {
    let must = || format!("{assignment:?} must be field=value");
    let (field, value) = assignment.split_once('=').ok_or_else(must)?;
    let value = json_or_text(value);
    let mut names: Vec<&str> = field.split('.').collect();
    let last = names.pop().unwrap_or_default();
    if last.is_empty() || names.iter().any(|name| name.is_empty()) {
        return Err(must());
    }
    let mut object = fields;
    for name in names {
        let inner = object.entry(name).or_insert_with(|| json!({}));
        object = inner
            .as_object_mut()
            .ok_or_else(|| format!("{assignment:?}: {name} is given and is no object"))?;
    }
    object.insert(last.to_owned(), value);
    Ok(())
}

fn json_or_text(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_json_or_else_text_and_dots_reach_into_objects() {
        let mut fields = Map::new();
        for assignment in [
            "a=1",
            "b=true",
            "c=plain text",
            "d=\"1\"",
            "limits.concurrency=5",
            "limits.x.y=[1]",
            "e=",
            "f=a=b",
        ] {
            assign(&mut fields, assignment).unwrap();
        }
        let expected = json!({
            "a": 1, "b": true, "c": "plain text", "d": "1", "limits": {"concurrency": 5, "x": {"y": [1]}}, "e": "", "f": "a=b",
        });
        assert_eq!(Value::Object(fields), expected);
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for bad in ["", "a", "=1", "a..b=1", ".a=1", "a.=1"] {
            assert!(assign(&mut Map::new(), bad).is_err(), "{bad}");
        }
        let mut fields = Map::new();
        assign(&mut fields, "a=1").unwrap();
        assert!(assign(&mut fields, "a.b=1").is_err());
    }
}

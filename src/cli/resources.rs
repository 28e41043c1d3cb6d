//! `tidegate app|webhook|flow …`: one request or two of the REST API for each command, and its answer in print.

use std::io::Read;

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::{Failure, flow_fields, output, preset};
use crate::base::id::Id;

/// Resources of one page of a list: as many as the API gives.
const PER_PAGE: u64 = 1000;
/// Bytes of a body from a file: more than any the API takes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Stands for standard input where a file is named.
pub(super) const STANDARD_INPUT: &str = "-";

/// The kinds of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Application,
    Webhook,
    Flow,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Application, Kind::Webhook, Kind::Flow];

    /// The command.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Application => "app",
            Kind::Webhook => "webhook",
            Kind::Flow => "flow",
        }
    }

    /// One of them, in sentences.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::Application => "application",
            Kind::Webhook => "webhook",
            Kind::Flow => "flow",
        }
    }

    /// Several of them, in sentences and in paths.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Application => "applications",
            Kind::Webhook => "webhooks",
            Kind::Flow => "flows",
        }
    }

    /// The kind that a command is about.
    pub(super) fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Runs one of the commands.
///
/// # Errors
/// Arguments that make no sense; what the server refused, in its words.
pub(super) fn run(kind: Kind, matches: &ArgMatches) -> Result<(), Failure> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(Failure::Usage(format!("{} needs a command", kind.word())));
    };
    let client = Client::new(matches)?;
    if command == "presets" {
        return preset::list(&client);
    }
    let folder = match kind {
        Kind::Application => "/applications".to_owned(),
        Kind::Webhook | Kind::Flow => {
            format!("/applications/{}/{}", application(&client, matches)?, kind.plural())
        }
    };
    let one = || resource(&client, kind, &folder, text(matches, "id").unwrap_or_default());
    match command {
        "list" => list(&client, kind, &folder, matches),
        "show" => print_json(&client.get(&one()?)?),
        "create" => {
            let mut body = fields(matches)?;
            body.insert("name".to_owned(), Value::from(text(matches, "name").unwrap_or_default()));
            if kind == Kind::Flow {
                let webhooks = folder.replace(kind.plural(), Kind::Webhook.plural());
                flow_fields::add(&client, &webhooks, matches, &mut body)?;
            }
            if kind == Kind::Webhook
                && let Some(id) = text(matches, "preset")
            {
                return print_saved(&preset::create(&client, &folder, matches, id, body)?);
            }
            print_saved(&client.send("POST", &folder, &Value::Object(body))?)
        }
        "set" => {
            let mut body = file_fields(matches)?;
            let assignments: Vec<&String> = matches.get_many("set").unwrap_or_default().collect();
            if body.is_empty() && assignments.is_empty() {
                return Err(Failure::Usage("set needs a field=value, or --json with fields".to_owned()));
            }
            let path = one()?;
            keep_members(&client, &path, &assignments, &mut body)?;
            assign_all(&mut body, &assignments)?;
            print_saved(&client.send("PATCH", &path, &Value::Object(body))?)
        }
        "delete" => {
            let with_flows = kind == Kind::Webhook && matches.get_flag("include-workflows");
            let path = one()?;
            client.delete(&if with_flows { format!("{path}?includeWorkflows=true") } else { path })?;
            Ok(())
        }
        "rotate" => {
            let mut body = Map::new();
            body.extend(text(matches, "token").map(|token| ("token".to_owned(), Value::from(token))));
            let grace = matches.get_one::<u32>("grace");
            body.extend(grace.map(|seconds| ("graceSeconds".to_owned(), Value::from(*seconds))));
            print_saved(&client.send("POST", &format!("{}/token", one()?), &Value::Object(body))?)
        }
        "test" => {
            print_json(&client.send("POST", &format!("{}/test", one()?), &TestRequest::read(matches)?)?)
        }
        other => Err(Failure::Usage(format!("there is no command {} {other}", kind.word()))),
    }
}

fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn print_json(text: &str) -> Result<(), Failure> {
    Ok(output::print_json(text)?)
}

/// Prints what was saved, and on standard error each warning that came with it.
pub(super) fn print_saved(text: &str) -> Result<(), Failure> {
    print_json(text)?;
    let saved: Value = serde_json::from_str(text).context("the server's answer is not JSON")?;
    for warning in saved.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        output::complain(&format!("warning: {}", warning.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// The application that is meant: the one that is named, or the only one.
pub(super) fn application(client: &Client, matches: &ArgMatches) -> Result<String, Failure> {
    if let Some(word) = text(matches, "app") {
        let path = resource(client, Kind::Application, "/applications", word)?;
        return Ok(path.rsplit('/').next().unwrap_or_default().to_owned());
    }
    let all = items(client, "/applications", None)?;
    match all.as_slice() {
        [one] => Ok(member(one, "id")),
        [] => Err(failed("there is no application yet: make one with `tidegate app create <name>`")),
        [..] => Err(Failure::Usage(format!("there are {} applications: name one with --app", all.len()))),
    }
}

/// The path of a resource that is named by its id or by its name.
pub(super) fn resource(client: &Client, kind: Kind, folder: &str, word: &str) -> Result<String, Failure> {
    if word.parse::<Id>().is_ok() {
        return Ok(format!("{folder}/{word}"));
    }
    let mut named = items(client, folder, None)?;
    named.retain(|item| member(item, "name") == word);
    match named.as_slice() {
        [one] => Ok(format!("{folder}/{}", member(one, "id"))),
        [] => Err(failed(format!("no {} has the id or the name {word:?}", kind.noun()))),
        [..] => Err(failed(format!("{} {} have the name {word:?}: use the id", named.len(), kind.plural()))),
    }
}

fn failed(message: impl Into<String>) -> Failure {
    Failure::Failed(anyhow!(message.into()))
}

/// Every resource of a folder, by name.
fn items(client: &Client, folder: &str, filter: Option<&str>) -> Result<Vec<Value>, Failure> {
    let filter =
        filter.map_or(String::new(), |filter| format!("&filterField=name&filter={}", encoded(filter)));
    let mut all = Vec::new();
    for page in 0.. {
        let answer = client.get(&format!("{folder}?perPage={PER_PAGE}&page={page}{filter}"))?;
        let mut answer: Value = serde_json::from_str(&answer).context("the server's list is not JSON")?;
        let total = answer.get("totalCount").and_then(Value::as_u64).unwrap_or(0);
        let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else {
            return Err(failed("the server's list has no items"));
        };
        let last = items.is_empty();
        all.extend(items);
        if last || all.len() as u64 >= total {
            break;
        }
    }
    Ok(all)
}

/// A member as text; empty where there is none.
pub(super) fn member(item: &Value, name: &str) -> String {
    match item.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// A text within a query, percent-encoded but for RFC 3986's unreserved characters.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// A resource as the cells of a table.
type Row<'r> = &'r dyn Fn(&Value) -> Vec<String>;

fn list(client: &Client, kind: Kind, folder: &str, matches: &ArgMatches) -> Result<(), Failure> {
    let items = items(client, folder, text(matches, "filter"))?;
    if matches.get_flag("json") {
        return print_json(&Value::Array(items).to_string());
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
            let base = if is_websocket { ingress.replacen("http", "ws", 1) } else { ingress.clone() };
            vec![
                member(item, "id"),
                member(item, "name"),
                member(item, "enabled"),
                kind.to_owned(),
                if waits || is_websocket { "flow" } else { "at once" }.to_owned(),
                format!("{base}/webhooks/{}", member(item, "token")),
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

/// What webhooks' URLs begin with, as the server says it; empty where it listens on a Unix socket.
pub(super) fn ingress_url(client: &Client) -> Result<String, Failure> {
    let settings: Value =
        serde_json::from_str(&client.get("/settings")?).context("the server's settings are not JSON")?;
    Ok(member(&settings, "ingressUrl"))
}

/// The fields that `--json` and `field=value` give; the latter win.
fn fields(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let mut fields = file_fields(matches)?;
    let assignments: Vec<&String> = matches.get_many("set").unwrap_or_default().collect();
    assign_all(&mut fields, &assignments)?;
    Ok(fields)
}

/// The fields that `--json` gives.
fn file_fields(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let Some(file) = text(matches, "json") else { return Ok(Map::new()) };
    match serde_json::from_str(&read(file)?) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Failure::Usage(format!("--json {file}: must hold a JSON object"))),
        Err(error) => Err(Failure::Usage(format!("--json {file}: is not JSON: {error}"))),
    }
}

fn assign_all(fields: &mut Map<String, Value>, assignments: &[&String]) -> Result<(), Failure> {
    assignments.iter().try_for_each(|assignment| assign(fields, assignment)).map_err(Failure::Usage)
}

/// Puts in, as it stands, each object of the resource that an assignment reaches into: a PATCH replaces it whole, and
/// what was not named has to stay.
fn keep_members(
    client: &Client,
    path: &str,
    assignments: &[&String],
    fields: &mut Map<String, Value>,
) -> Result<(), Failure> {
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

/// The text of a file, or of standard input.
pub(super) fn read(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == STANDARD_INPUT {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("{file} cannot be read"))?;
    Ok(text)
}

/// The body of `POST …/test`. The request's own body goes out as it was written: its numbers keep their digits.
#[derive(Serialize)]
struct TestRequest<'m> {
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'m str>,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    sign: bool,
}

impl<'m> TestRequest<'m> {
    fn read(matches: &'m ArgMatches) -> Result<TestRequest<'m>, Failure> {
        let mut headers = Map::new();
        for header in matches.get_many::<String>("header").unwrap_or_default() {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Failure::Usage(format!("--header {header:?} must be 'name: value'")))?;
            // RFC 9110, 5.3: fields of one name are one list.
            match headers.get_mut(name.trim()) {
                Some(Value::String(values)) => *values += &format!(", {}", value.trim()),
                _ => drop(headers.insert(name.trim().to_owned(), Value::from(value.trim()))),
            }
        }
        let body = match text(matches, "body") {
            Some(STANDARD_INPUT) => Some(raw(read(STANDARD_INPUT)?)?),
            Some(body) => Some(raw(body.to_owned())?),
            None => None,
        };
        let (method, path) = (text(matches, "method"), text(matches, "path"));
        Ok(TestRequest { method, path, headers, body, sign: matches.get_flag("sign") })
    }
}

/// A text as it is where it is JSON, else as a JSON string.
fn raw(text: String) -> anyhow::Result<Box<RawValue>> {
    if let Ok(json) = serde_json::from_str::<Box<RawValue>>(&text) {
        return Ok(json);
    }
    Ok(serde_json::value::to_raw_value(&text)?)
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

    #[test]
    fn the_body_of_a_test_request_keeps_its_digits() {
        for (text, expected) in [(r#"{"a": 1.10}"#, r#"{"a": 1.10}"#), ("plain", "\"plain\""), (" 7 ", "7")] {
            assert_eq!(raw(text.to_owned()).unwrap().get(), expected);
        }
    }

    #[test]
    fn a_filter_is_percent_encoded() {
        assert_eq!(encoded("a*&ü~"), "a%2A%26%C3%BC~");
    }
}

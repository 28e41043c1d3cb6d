//! `tidegate tail`: the last requests of webhooks, then each further one as it comes, a line each.
//!
//! The stream is opened before the last requests are asked for, so that none falls between; what both tell is printed
//! once. A stream that ends is opened again, and what came meanwhile is among the last requests then.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{Client, ServerRefusal};
use super::events::EventReader;
use super::lookup::{self, Kind, failed, last_part, member};
use super::options::{self, Format};
use super::{CommandError, output, record_filters};
use crate::base::visible::visible;

/// Requests that are remembered, to tell which were printed: as many as a server shows at a time.
const REMEMBERED: usize = 1000;
/// Requests that are shown before those that come.
const SHOWN: u64 = 100;
/// Webhooks that are followed at a time: each is a stream, of which the server has 64.
const WEBHOOKS_MAX: usize = 32;
/// Characters of a webhook's name at the beginning of a line.
const LABEL_CHARS_MAX: usize = 24;
/// Between a stream's end and the first try to open another; twice as long after each that failed.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// `tidegate tail`.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("tail")
        .about("Follow the requests of webhooks: a line for each, the last ones first")
        .arg(
            Arg::new("id")
                .num_args(0..)
                .value_name("WEBHOOK")
                .help("Ids or names of webhooks [default: all of the application]"),
        )
        .args(record_filters::flags())
        .arg(
            Arg::new("count")
                .short('n')
                .value_name("N")
                .value_parser(value_parser!(u64).range(0..=REMEMBERED as u64))
                .help(format!("Requests that are shown before those that come [default: {SHOWN}]")),
        )
        .arg(flag("no-follow", "Show those that there are, and end"))
        .arg(flag("body", "The body of each below its line"))
        .arg(flag("json", "As -o json: each as a line of JSON, with its payload").conflicts_with("output"))
        .args([options::app(), options::output()])
}

/// Follows the requests, until it is killed or its output is closed.
///
/// # Errors
/// A server or a webhook that is not there at the start; one that refuses later on.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let client = Arc::new(Client::new(matches)?);
    let folder = lookup::folder(&client, Kind::Webhook, matches)?;
    let mut webhooks: Vec<(String, String)> = Vec::new();
    for word in matches.get_many::<String>("id").unwrap_or_default() {
        webhooks.push((lookup::resource(&client, Kind::Webhook, &folder, word)?, word.clone()));
    }
    if webhooks.is_empty() {
        let all = lookup::items(&client, &folder, None)?;
        webhooks.extend(
            all.iter().map(|item| (format!("{folder}/{}", member(item, "id")), member(item, "name"))),
        );
    }
    match webhooks.len() {
        0 => return Err(failed("there is no webhook yet: make one with `tidegate webhook create NAME`")),
        1..=WEBHOOKS_MAX => {}
        count => {
            let message =
                format!("{count} webhooks are more than can be followed: name {WEBHOOKS_MAX} at most");
            return Err(CommandError::Usage(message));
        }
    }
    let default = if matches.get_flag("json") { Format::Json } else { Format::Table };
    let count = matches.get_one::<u64>("count").copied().unwrap_or(SHOWN);
    let several = webhooks.len() > 1;
    let follows = !matches.get_flag("no-follow");
    if follows {
        output::end_with_reader()?;
    }
    let (format, with_body) = (options::format(matches, default), matches.get_flag("body"));
    let mut parameters = record_filters::parameters(matches)?;
    if format == Format::Table && !with_body {
        // Making it costs the server something, and a line does not show it.
        parameters += "&payload=false";
    }
    let (sender, ended) = mpsc::channel();
    for (path, name) in webhooks {
        let mut tail = TailCommand {
            client: Arc::clone(&client),
            path: format!("{path}/requests"),
            parameters: parameters.clone(),
            label: several.then(|| name.chars().take(LABEL_CHARS_MAX).collect()),
            webhook: last_part(&path).to_owned(),
            format,
            with_body,
            count: usize::try_from(count).unwrap_or(REMEMBERED),
            printed: VecDeque::new(),
            listed: Vec::new(),
        };
        if !follows {
            tail.catch_up(true)?;
            continue;
        }
        let sender = sender.clone();
        let thread = std::thread::Builder::new().name("tail".to_owned());
        // Nobody waits for it any more where another one has ended first.
        let spawned = thread.spawn(move || drop(sender.send(tail.run())));
        spawned.context("a thread cannot be started")?;
    }
    drop(sender);
    // The first that ends, ends all.
    ended.recv().unwrap_or(Ok(()))
}

/// A webhook's last requests, as the server answers.
#[derive(Deserialize)]
struct Recent {
    items: Vec<Box<RawValue>>,
    /// Nodes of a cluster that do not answer.
    #[serde(default)]
    unreachable: Vec<String>,
}

struct TailCommand {
    client: Arc<Client>,
    /// Of the requests.
    path: String,
    /// Parameters that narrow, each with `&` before it.
    parameters: String,
    /// The webhook's name, where there are several.
    label: Option<String>,
    /// Its id.
    webhook: String,
    format: Format,
    with_body: bool,
    /// Requests that are shown first.
    count: usize,
    /// Keys of the requests that were printed last.
    printed: VecDeque<Value>,
    /// Keys of the requests of the server's list, without those that the stream has told again.
    listed: Vec<Value>,
}

/// The key by which a request is told from others: its id, or all of it if the server gives none.
fn key(item: &Value) -> Value {
    item.get("id").unwrap_or(item).clone()
}

impl TailCommand {
    fn run(&mut self) -> Result<(), CommandError> {
        let mut backoff = BACKOFF;
        let mut begun = false;
        loop {
            let narrowed = self.parameters.trim_start_matches('&');
            let mark = if narrowed.is_empty() { "" } else { "?" };
            match self.client.events(&format!("{}{mark}{narrowed}", self.path)) {
                Ok(events) => {
                    self.catch_up(!begun)?;
                    (begun, backoff) = (true, BACKOFF);
                    self.follow(events)?;
                }
                Err(CommandError::Failed(error)) if begun && !error.is::<ServerRefusal>() => {
                    output::complain(&format!("{error:#}; trying again"))
                }
                Err(failure) => return Err(failure),
            }
            std::thread::sleep(backoff);
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Prints the last requests, oldest first, as far as they were not.
    fn catch_up(&mut self, is_first: bool) -> Result<(), CommandError> {
        let asked = if is_first { self.count.max(1) } else { REMEMBERED };
        let answer = self.client.get(&format!("{}?perPage={asked}{}", self.path, self.parameters))?;
        let answer: Recent = serde_json::from_str(&answer).context("the server's list is not one")?;
        output::tell_unreachable(answer.unreachable.iter().map(String::as_str));
        let read = |item: &RawValue| serde_json::from_str::<Value>(item.get());
        let mut items = Vec::new();
        // The server tells the newest first.
        for item in answer.items.iter().rev() {
            items.push((read(item).context("the server's list is not JSON")?, item.get()));
        }
        // RFC 3339 in one form: the order of the text is the order of the times.
        items.sort_by(|(one, _), (other, _)| text(one, "time").cmp(text(other, "time")));
        // Callers do the same again within a millisecond: what was printed once stands for one of those that are equal.
        let mut printed: Vec<&Value> = self.printed.iter().collect();
        let mut is_new = |item: &Value| match printed.iter().position(|printed| **printed == key(item)) {
            Some(place) => {
                printed.swap_remove(place);
                false
            }
            None => true,
        };
        let news: Vec<bool> = items.iter().map(|(item, _)| is_new(item)).collect();
        self.listed.clear();
        let skipped = if is_first { items.len().saturating_sub(self.count) } else { 0 };
        for (place, ((item, raw), is_new)) in items.into_iter().zip(news).enumerate() {
            self.listed.push(key(&item));
            if place < skipped {
                self.remember(key(&item));
            } else if is_new {
                self.print(&item, raw)?;
            }
        }
        Ok(())
    }

    /// Prints what a stream tells, to its end.
    fn follow(&mut self, events: impl Read) -> Result<(), CommandError> {
        let mut reader = EventReader::new(events);
        // A stream that breaks is one that ended.
        while let Ok(Some(event)) = reader.next() {
            match event.name.as_str() {
                "" | "message" => {}
                "skipped" => {
                    let count = event.data.trim();
                    output::complain(&format!("{count} requests were left out: they came too fast"));
                    continue;
                }
                // A fate or a count of one that was printed.
                _ => continue,
            }
            let request = serde_json::from_str(&event.data).context("the server's event is not JSON")?;
            let known = key(&request);
            match self.listed.iter().position(|listed| *listed == known) {
                Some(place) => drop(self.listed.swap_remove(place)),
                None => self.print(&request, &event.data)?,
            }
        }
        Ok(())
    }

    /// Prints a request. `raw` is its text, whose numbers keep their digits.
    fn print(&mut self, request: &Value, raw: &str) -> Result<(), CommandError> {
        match self.format {
            Format::Json => output::print_json_line(&self.labelled(raw))?,
            Format::Yaml => output::print_document(request)?,
            Format::Table => {
                let mut lines = line(self.label.as_deref(), request);
                if self.with_body {
                    lines += &self.body(request);
                }
                output::print(&lines)?;
            }
        }
        self.remember(key(request));
        Ok(())
    }

    fn remember(&mut self, key: Value) {
        if self.printed.len() == REMEMBERED {
            self.printed.pop_front();
        }
        self.printed.push_back(key);
    }

    /// A request's JSON; with the webhook's id, where there are several.
    fn labelled(&self, raw: &str) -> String {
        match (&self.label, raw.trim_start().strip_prefix('{')) {
            (Some(_), Some(rest)) => format!("{{\"webhookId\":\"{}\",{rest}", self.webhook),
            _ => raw.to_owned(),
        }
    }

    /// The body of a request in lines of its own: as it came, or what the payload tells of it.
    fn body(&self, request: &Value) -> String {
        let whole = request
            .get("id")
            .and_then(Value::as_str)
            .map(|id| self.client.get(&format!("{}/{id}", self.path)));
        let whole: Option<Value> =
            whole.and_then(Result::ok).and_then(|text| serde_json::from_str(&text).ok());
        let text = match whole.as_ref().and_then(|whole| whole.pointer("/request/body")) {
            Some(body) if body.get("text").is_some_and(Value::is_string) => member(body, "text"),
            Some(body) => member(body, "base64"),
            None => match request.pointer("/payload/data/body") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            },
        };
        text.lines().map(|line| format!("    {line}\n")).collect()
    }
}

/// A request as a line for people.
fn line(label: Option<&str>, request: &Value) -> String {
    let number = |name: &str| request.get(name).and_then(Value::as_f64).unwrap_or_default();
    let label = label.map_or(String::new(), |label| format!("{:<LABEL_CHARS_MAX$}  ", visible(label)));
    // A request that waits for its reply has neither yet.
    let status = match request.get("status").and_then(Value::as_u64) {
        Some(status) => status.to_string(),
        None => "...".to_owned(),
    };
    let mut line = format!(
        "{label}{}  {:<7} {}  {status}  {:.1} ms  {} B",
        text(request, "time"),
        visible(text(request, "method")),
        visible(text(request, "path")),
        number("durationMs"),
        number("bytes"),
    );
    for name in ["requestId", "refusal"] {
        if let Some(text) = request.get(name).and_then(Value::as_str) {
            line += &format!("  {}", visible(text));
        }
    }
    if number("count") > 1.0 {
        line += &format!("  ({} times)", number("count"));
    }
    line + "\n"
}

fn text<'v>(request: &'v Value, name: &str) -> &'v str {
    request.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_request_is_one_line_that_steers_no_terminal() {
        let mut request = json!({
            "time": "2026-02-19T17:26:00.123Z", "method": "POST", "path": "/a\u{1b}[31m", "status": 429,
            "durationMs": 1.25, "bytes": 3, "requestId": "an-id", "refusal": "Over rate limit, request throttled",
        });
        let expected = "2026-02-19T17:26:00.123Z  POST    /a\\u{1b}[31m  429  1.2 ms  3 B  an-id  Over rate limit, request throttled";
        assert_eq!(line(None, &request), format!("{expected}\n"));
        request["count"] = json!(12);
        assert_eq!(line(None, &request), format!("{expected}  (12 times)\n"));
        assert!(line(Some("orders\u{1b}"), &request).starts_with("orders\\u{1b}  "));
    }
}

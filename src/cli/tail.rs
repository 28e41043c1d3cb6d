//! `tidegate tail`: a webhook's last requests, then each further one as it comes, a line each.
//!
//! The stream is opened before the last requests are asked for, so that none falls between; what both tell is printed
//! once, and what is told twice by one of them, twice. A stream that ends is opened again, and what came meanwhile is
//! among the last requests then.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use anyhow::Context as _;
use clap::ArgMatches;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{Client, Refused};
use super::resources::{self, Kind};
use super::{Failure, output};
use crate::base::visible::visible;

/// Requests that are remembered, to tell which were printed: more than a server shows at a time.
const REMEMBERED: usize = 1000;
/// Between a stream's end and the first try to open another; twice as long after each that failed.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Follows the requests, until it is killed or its output is closed.
///
/// # Errors
/// A server or a webhook that is not there at the start; one that refuses later on.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let client = Client::new(matches)?;
    let folder = format!("/applications/{}/webhooks", resources::application(&client, matches)?);
    let word = matches.get_one::<String>("id").map_or("", String::as_str);
    let path = format!("{}/requests", resources::resource(&client, Kind::Webhook, &folder, word)?);
    let mut tail = Tail { printed: VecDeque::new(), listed: Vec::new(), as_json: matches.get_flag("json") };
    let mut backoff = BACKOFF;
    let mut begun = false;
    output::end_with_reader()?;
    loop {
        match client.events(&path) {
            Ok(events) => {
                tail.catch_up(&client, &path)?;
                (begun, backoff) = (true, BACKOFF);
                tail.follow(events)?;
            }
            Err(Failure::Failed(error)) if begun && !error.is::<Refused>() => {
                output::complain(&format!("{error:#}; trying again"))
            }
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// A webhook's last requests, as the server answers.
#[derive(Deserialize)]
struct Recent {
    items: Vec<Box<RawValue>>,
}

struct Tail {
    /// What was printed last.
    printed: VecDeque<Value>,
    /// What the server's list told, as far as the stream has not told it again.
    listed: Vec<Value>,
    as_json: bool,
}

impl Tail {
    /// Prints the last requests, oldest first, as far as they were not.
    fn catch_up(&mut self, client: &Client, path: &str) -> Result<(), Failure> {
        let answer = client.get(path)?;
        let answer: Recent = serde_json::from_str(&answer).context("the server's list is not one")?;
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
        let mut is_new = |item: &Value| match printed.iter().position(|printed| *printed == item) {
            Some(place) => {
                printed.swap_remove(place);
                false
            }
            None => true,
        };
        let news: Vec<bool> = items.iter().map(|(item, _)| is_new(item)).collect();
        self.listed.clear();
        for ((item, raw), is_new) in items.into_iter().zip(news) {
            if is_new {
                self.print(item.clone(), raw)?;
            }
            self.listed.push(item);
        }
        Ok(())
    }

    /// Prints what a stream tells, to its end.
    fn follow(&mut self, events: impl Read) -> Result<(), Failure> {
        let mut reader = EventReader::new(events);
        // A stream that breaks is one that ended.
        while let Ok(Some(event)) = reader.next() {
            if event.name == "skipped" {
                output::complain(&format!(
                    "{} requests were left out: they came too fast",
                    event.data.trim()
                ));
                continue;
            }
            let request = serde_json::from_str(&event.data).context("the server's event is not JSON")?;
            match self.listed.iter().position(|listed| *listed == request) {
                Some(place) => drop(self.listed.swap_remove(place)),
                None => self.print(request, &event.data)?,
            }
        }
        Ok(())
    }

    /// Prints a request. `raw` is its text, whose numbers keep their digits.
    fn print(&mut self, request: Value, raw: &str) -> Result<(), Failure> {
        if self.as_json {
            output::print_json_line(raw)?;
        } else {
            output::print(&line(&request))?;
        }
        if self.printed.len() == REMEMBERED {
            self.printed.pop_front();
        }
        self.printed.push_back(request);
        Ok(())
    }
}

/// `time method path status duration bytes [refusal]`
fn line(request: &Value) -> String {
    let number = |name| request.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let mut line = format!(
        "{}  {:<7} {}  {}  {:.1} ms  {} B",
        text(request, "time"),
        text(request, "method"),
        text(request, "path"),
        number("status"),
        number("durationMs"),
        number("bytes"),
    );
    let refusal = text(request, "refusal");
    if !refusal.is_empty() {
        line = format!("{line}  {refusal}");
    }
    // What callers send must not steer the terminal.
    format!("{}\n", visible(&line))
}

fn text<'v>(request: &'v Value, name: &str) -> &'v str {
    request.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// One server-sent event (WHATWG HTML, section 9.2.6).
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

/// Reads events off a stream; ids, times to wait and comments are passed over.
struct EventReader<R> {
    lines: BufReader<R>,
}

impl<R: Read> EventReader<R> {
    fn new(stream: R) -> EventReader<R> {
        EventReader { lines: BufReader::new(stream) }
    }

    /// The next event that has data. None: the stream ended.
    fn next(&mut self) -> std::io::Result<Option<Event>> {
        let mut event = Event::default();
        let mut has_data = false;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                // An event that was not ended is none.
                return Ok(None);
            }
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                if has_data {
                    return Ok(Some(event));
                }
                event = Event::default();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => {
                    if std::mem::replace(&mut has_data, true) {
                        event.data.push('\n');
                    }
                    event.data.push_str(value);
                }
                "event" => event.name = value.to_owned(),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn events(text: &str) -> Vec<(String, String)> {
        let mut reader = EventReader::new(text.as_bytes());
        let next = || reader.next().unwrap().map(|event| (event.name, event.data));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn events_are_read_as_they_are_written() {
        let event = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        assert_eq!(events(": open\n\ndata: {\"a\":1}\n\n"), [event("", "{\"a\":1}")]);
        assert_eq!(events("data: {\ndata:  \"a\":1\r\ndata:}\n\n"), [event("", "{\n \"a\":1\n}")]);
        assert_eq!(
            events("event: skipped\ndata: 7\nid: 1\n\ndata: x\n\n"),
            [event("skipped", "7"), event("", "x")]
        );
        assert_eq!(events("data: whole\n\ndata: half\n"), [event("", "whole")]);
        assert_eq!(events(""), []);
    }

    #[test]
    fn a_request_is_one_line_that_steers_no_terminal() {
        let request = json!({
            "time": "2026-02-19T17:26:00.123Z", "method": "POST", "path": "/a\u{1b}[31m", "status": 429,
            "durationMs": 1.25, "bytes": 3, "refusal": "Over rate limit, request throttled", "payload": null,
        });
        assert_eq!(
            line(&request),
            "2026-02-19T17:26:00.123Z  POST    /a\\u{1b}[31m  429  1.2 ms  3 B  Over rate limit, request throttled\n"
        );
    }
}

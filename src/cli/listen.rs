//! `tidegate listen`: brings the calls of a webhook to a program on this machine, and its answers to the callers that wait.
//!
//! For as long as it runs there is a flow with a `WorkerNode` on the webhook, and this process is its workers. What the
//! program gets is the request as it was received: to have the body's bytes, the webhook's `rawBody` is turned on
//! meanwhile. Both are undone at the end; a flow that a killed process of this machine left is removed by the next one.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgMatches, Command, value_parser};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::client::{Client, WorkerListener};
use super::handler::{Handled, Handler, Trigger};
use super::lookup::{self, Kind, encoded, failed, ingress_url, last_part, member, webhook_url};
use super::program::{ANSWER_LIMIT, Answered, ChildProgram, ProgramCall};
use super::worker::{Attachment, work};
use super::worker_socket::Stop;
use super::{CommandError, options, output};
use crate::base::clock::Clock;
use crate::base::visible::visible;
use crate::model::WEBHOOK_TRIGGER;

/// Calls that are with the program at a time, if the command line does not say.
const PARALLEL: u32 = 8;
/// Most calls that can be: each is a thread and a connection.
const PARALLEL_MAX: i64 = 256;
/// The beginning of such a flow's name.
const FLOW_NAME: &str = "tidegate listen";
/// Name of this machine.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";

/// `tidegate listen`.
pub(super) fn command() -> Command {
    Command::new("listen")
        .about("Bring the calls of a webhook to a program on this machine, and its answers back")
        .after_help(
            "The program gets each call as it was received: method, headers, body, and the rest of the path and the query\n\
             after those of the URL. Where the webhook has waitForReply, the caller gets the program's answer, or 502 where\n\
             there is none; else callers are answered at once. For as long as it runs the webhook has a flow of its own and\n\
             rawBody turned on. Other flows of the webhook run besides.",
        )
        .arg(Arg::new("id").required(true).value_name("WEBHOOK").help("Id or name of the webhook"))
        .arg(
            Arg::new("forward")
                .long("forward")
                .required(true)
                .value_name("URL")
                .help("The program: http://localhost:3000/path"),
        )
        .arg(
            Arg::new("parallel")
                .long("parallel")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..=PARALLEL_MAX))
                .help(format!("Calls that are with the program at a time [default: {PARALLEL}]")),
        )
        .arg(workers())
        .arg(options::app())
}

/// `--workers`: where workers attach. Not by the name of the setting's flag: this is a URL, and says nothing of where a
/// server listens.
pub(super) fn workers() -> Arg {
    Arg::new("door").long("workers").value_name("URL").help(
        "Workers' listener: ws://host:port, wss://host:port or unix:/path [default: from the data folder]",
    )
}

/// Listens until a signal says otherwise.
///
/// # Errors
/// A webhook that cannot be listened to; a server or a listener that is not there.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let url = matches.get_one::<String>("forward").map_or("", String::as_str);
    let parallel = matches.get_one::<u32>("parallel").copied().unwrap_or(PARALLEL);
    let mut handlers: Vec<Box<dyn Handler>> = Vec::new();
    let clock = Clock::new();
    for _ in 0..parallel {
        handlers.push(Box::new(ProgramForwarder {
            program: ChildProgram::new(url)?,
            url: url.to_owned(),
            clock,
        }));
    }
    let (client, door) = (Client::new(matches)?, WorkerListener::new(matches)?);
    let webhooks = lookup::folder(&client, Kind::Webhook, matches)?;
    let word = matches.get_one::<String>("id").map_or("", String::as_str);
    let webhook = lookup::resource(&client, Kind::Webhook, &webhooks, word)?;
    let stop = Stop::on_signals()?;
    let mut presence = Presence { client: &client, webhook, flow: None, has_raw_body: true };
    let outcome = presence.set_up(url).and_then(|()| {
        let flow = presence.flow.as_deref().map(last_part).unwrap_or_default().to_owned();
        work(&Arc::new(Attachment { door, flow, credit: 1, stop }), handlers)
    });
    let undone = presence.undo();
    outcome.and(undone)
}

/// The state of the server for as long as this process listens.
struct Presence<'c> {
    client: &'c Client,
    /// Path of the webhook.
    webhook: String,
    /// Path of the flow.
    flow: Option<String>,
    /// `rawBody` was on before.
    has_raw_body: bool,
}

impl Presence<'_> {
    fn set_up(&mut self, url: &str) -> Result<(), CommandError> {
        let webhook = self.read(&self.webhook)?;
        if webhook.get("isWebsocket") == Some(&Value::Bool(true)) {
            let message =
                "the webhook is a WebSocket, whose messages are no requests: `tidegate worker` takes them";
            return Err(failed(message));
        }
        let flows = self.webhook.rsplit_once("/webhooks/").map_or("", |(application, _)| application);
        let flows = format!("{flows}/flows");
        self.remove_left(&flows)?;
        if webhook.get("rawBody") != Some(&Value::Bool(true)) {
            self.client.send("PATCH", &self.webhook, &json!({"rawBody": true}))?;
            self.has_raw_body = false;
        }
        let seconds = ANSWER_LIMIT.as_secs();
        let flow = json!({
            "name": format!("{FLOW_NAME} ({}, process {})", host_name(), std::process::id()),
            "description": format!("Made by `tidegate listen --forward {url}`, and removed at its end."),
            "triggers": [{"type": WEBHOOK_TRIGGER, "key": last_part(&self.webhook)}],
            "nodes": [{"id": "listen", "type": "WorkerNode", "config": {"ackTimeoutSeconds": seconds}}],
        });
        let flow: Value =
            serde_json::from_str(&self.client.send("POST", &flows, &flow)?).context(NOT_JSON)?;
        self.flow = Some(format!("{flows}/{}", member(&flow, "id")));
        let callers = match webhook.get("waitForReply") {
            Some(Value::Bool(true)) => "callers get its answers",
            _ => "callers do not wait for its answers (waitForReply is off)",
        };
        let from = webhook_url(&ingress_url(self.client)?, &webhook);
        output::tell(&format!("{from} -> {url}: {callers}"));
        Ok(())
    }

    /// Removes the flows that killed processes of this machine left.
    fn remove_left(&self, flows: &str) -> Result<(), CommandError> {
        let mine = format!("{FLOW_NAME} ({}, process ", host_name());
        for flow in lookup::items(self.client, flows, Some(&format!("{FLOW_NAME} (*")))? {
            let name = member(&flow, "name");
            let process =
                name.strip_prefix(&mine).and_then(|rest| rest.strip_suffix(')')?.parse::<u32>().ok());
            if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
                self.client.delete(&format!("{flows}/{}", member(&flow, "id")))?;
            }
        }
        Ok(())
    }

    fn undo(&self) -> Result<(), CommandError> {
        if let Some(flow) = &self.flow {
            let deleted = self.client.delete(flow);
            // Somebody may have deleted it meanwhile, which ends the listening.
            if let Err(CommandError::Failed(error)) = deleted
                && !error.is::<super::client::ServerRefusal>()
            {
                return Err(error.context("the flow of this listener stays").into());
            }
        }
        if !self.has_raw_body {
            self.client.send("PATCH", &self.webhook, &json!({"rawBody": false}))?;
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Value, CommandError> {
        Ok(serde_json::from_str(&self.client.get(path)?).context(NOT_JSON)?)
    }
}

const NOT_JSON: &str = "the server's answer is not JSON";

fn host_name() -> String {
    let name = std::fs::read_to_string(HOST_NAME_FILE).unwrap_or_default();
    name.trim().to_owned()
}

/// Hands calls to the program.
struct ProgramForwarder {
    program: ChildProgram,
    url: String,
    clock: Clock,
}

/// The members of a payload that are the request.
#[derive(Deserialize)]
struct Payload<'p> {
    time: String,
    #[serde(borrow)]
    data: CallData<'p>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallData<'p> {
    method: String,
    path: String,
    headers: Map<String, Value>,
    query: Map<String, Value>,
    #[serde(borrow)]
    body: &'p RawValue,
    raw_body: Option<String>,
}

impl CallData<'_> {
    /// The bytes of the body. Without `rawBody`, which somebody may have turned off meanwhile, what the payload tells of
    /// it.
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        if let Some(raw) = &self.raw_body {
            return STANDARD.decode(raw).context("the payload's rawBody is not base64");
        }
        Ok(match serde_json::from_str(self.body.get())? {
            Value::Null => Vec::new(),
            Value::String(text) => text.into_bytes(),
            _ => self.body.get().as_bytes().to_vec(),
        })
    }

    /// The query, written anew: it means the same.
    fn query_text(&self) -> String {
        let mut pairs = Vec::new();
        for (name, value) in &self.query {
            let values = match value {
                Value::Array(values) => values.as_slice(),
                one => std::slice::from_ref(one),
            };
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            pairs.extend(values.iter().map(|value| format!("{}={}", encoded(name), encoded(&text(value)))));
        }
        pairs.join("&")
    }
}

impl Handler for ProgramForwarder {
    fn handle(&mut self, trigger: &Trigger<'_>, alive: &mut dyn FnMut()) -> anyhow::Result<Handled> {
        let payload: Payload<'_> =
            serde_json::from_str(trigger.payload.get()).context("the server's payload is not one")?;
        let data = &payload.data;
        let headers: Vec<(String, String)> = data
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect();
        let method = data.method.to_ascii_uppercase();
        let query = data.query_text();
        let began = self.clock.now();
        let call = ProgramCall {
            method: &method,
            path: &data.path,
            query: &query,
            headers: &headers,
            body: data.bytes()?,
        };
        let answered = self.program.send(call, alive);
        let took = (self.clock.now().nanos - began.nanos) as f64 / 1e6;
        let (outcome, handled) = match &answered {
            Ok(answered) => (answered.status.to_string(), Handled::Reply(answered.reply())),
            Err(error) => {
                output::complain(&format!("{}: {error:#}", self.url));
                ("-".to_owned(), Handled::Reply(no_answer().reply()))
            }
        };
        let line = format!("{}  {method:<7} {}  {outcome}  {took:.1} ms", payload.time, visible(&data.path));
        output::print(&format!("{line}\n"))?;
        Ok(if trigger.has_reply { handled } else { Handled::Ack })
    }
}

/// The answer that a caller gets if the program has none.
fn no_answer() -> Answered {
    Answered {
        status: 502,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: br#"{"error":"The program behind the webhook does not answer"}"#.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> CallData<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_body_is_its_bytes_or_else_what_the_payload_tells() {
        let body = |body: &str| {
            let text = format!(r#"{{"method":"post","path":"/","headers":{{}},"query":{{}},{body}}}"#);
            data(&text).bytes().unwrap()
        };
        assert_eq!(body(r#""body":{"a":1.10},"rawBody":"eyJhIjogMS4xMH0=""#), b"{\"a\": 1.10}");
        assert_eq!(body(r#""body":{"a":1.10}"#), b"{\"a\":1.10}");
        assert_eq!(body(r#""body":"text""#), b"text");
        assert_eq!(body(r#""body":null"#), b"");
    }

    #[test]
    fn a_query_is_written_anew() {
        let query =
            r#"{"method":"get","path":"/","headers":{},"body":null,"query":{"a":"1 &","b":["x","y"],"":""}}"#;
        assert_eq!(data(query).query_text(), "a=1%20%26&b=x&b=y&=");
    }
}

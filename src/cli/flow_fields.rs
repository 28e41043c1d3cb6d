//! `tidegate flow create`: triggers and nodes from flags, so that a flow of one step needs no JSON.

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::CommandError;
use super::client::Client;
use super::lookup::{Kind, last_part, resource};
use crate::model::WEBHOOK_TRIGGER;

/// Flags that each make a node: a flow gets one of them.
const NODES: [&str; 3] = ["reply", "forward", "worker"];

/// Adds the flags to the command.
pub(super) fn with_flags(command: Command) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let others = |own: &str| NODES.into_iter().filter(move |name| *name != own).collect::<Vec<_>>();
    command.args([
        flag("webhook")
            .value_name("ID|NAME")
            .action(ArgAction::Append)
            .help("A webhook that triggers it; may be given again"),
        flag("reply")
            .value_name("TEMPLATE")
            .conflicts_with_all(others("reply"))
            .help("Replies with what the template renders: a response, to a WebSocket a message"),
        flag("code").value_name("N").requires("reply").help("Status of that reply, or a template of it"),
        flag("forward")
            .value_name("URL")
            .conflicts_with_all(others("forward"))
            .help("Forwards each trigger to the URL"),
        flag("worker")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(others("worker"))
            .help("Hands each trigger to an attached worker"),
    ])
}

/// Puts the triggers and the node that flags ask for into a flow's fields. `webhooks` is their folder in the REST API.
///
/// # Errors
/// A webhook that there is not.
pub(super) fn add(
    client: &Client,
    webhooks: &str,
    matches: &ArgMatches,
    fields: &mut Map<String, Value>,
) -> Result<(), CommandError> {
    let mut triggers = Vec::new();
    let mut callers = Callers::default();
    for word in matches.get_many::<String>("webhook").unwrap_or_default() {
        let path = resource(client, Kind::Webhook, webhooks, word)?;
        if matches.contains_id("reply") {
            callers.note(&client.get(&path)?)?;
        }
        triggers.push(json!({"type": WEBHOOK_TRIGGER, "key": last_part(&path)}));
    }
    if !triggers.is_empty() {
        fields.insert("triggers".to_owned(), Value::Array(triggers));
    }
    let nodes = nodes(matches, callers)?;
    if !nodes.is_empty() {
        fields.insert("nodes".to_owned(), Value::Array(nodes));
    }
    Ok(())
}

/// Puts ids in place of the names by which the triggers of a flow's fields name webhooks.
///
/// # Errors
/// A name that no webhook has, or several.
pub(super) fn resolve_keys(
    client: &Client,
    webhooks: &str,
    fields: &mut Map<String, Value>,
) -> Result<(), CommandError> {
    let triggers = fields.get_mut("triggers").and_then(Value::as_array_mut);
    for trigger in triggers.into_iter().flatten() {
        let is_webhook = trigger.get("type").and_then(Value::as_str) == Some(WEBHOOK_TRIGGER);
        let Some(word) = trigger.get("key").and_then(Value::as_str).filter(|_| is_webhook) else { continue };
        let path = resource(client, Kind::Webhook, webhooks, word)?;
        trigger["key"] = Value::from(last_part(&path));
    }
    Ok(())
}

/// Kinds of the callers that a reply is for.
#[derive(Clone, Copy, Default)]
struct Callers {
    http: bool,
    websocket: bool,
}

impl Callers {
    /// Adds those of a webhook, as the server shows it.
    fn note(&mut self, shown: &str) -> Result<(), CommandError> {
        let webhook: Value = serde_json::from_str(shown).context("the server's answer is not JSON")?;
        let is_websocket = webhook.get("isWebsocket").and_then(Value::as_bool) == Some(true);
        self.websocket |= is_websocket;
        self.http |= !is_websocket;
        Ok(())
    }
}

/// The nodes that the flags ask for: one, or a reply for each kind of caller.
fn nodes(matches: &ArgMatches, callers: Callers) -> Result<Vec<Value>, CommandError> {
    let text = |name: &str| matches.get_one::<String>(name);
    if let Some(template) = text("reply") {
        return replies(template, text("code"), callers);
    }
    if let Some(url) = text("forward") {
        return Ok(vec![json!({"id": "forward", "type": "HttpForwardNode", "config": {"url": url}})]);
    }
    let is_worker = matches.get_flag("worker");
    Ok(is_worker.then(|| json!({"id": "worker", "type": "WorkerNode"})).into_iter().collect())
}

fn replies(template: &str, code: Option<&String>, callers: Callers) -> Result<Vec<Value>, CommandError> {
    let mut nodes = Vec::new();
    if callers.http || !callers.websocket {
        let mut config = json!({"bodyTemplate": template});
        if let Some(code) = code {
            config["responseCodeTemplate"] = json!(code);
        }
        nodes.push(json!({"id": "reply", "type": "WebhookReplyNode", "config": config}));
    } else if code.is_some() {
        return Err(CommandError::Usage(
            "--code is for callers over HTTP; a WebSocket's message has none".to_owned(),
        ));
    }
    if callers.websocket {
        let config = json!({"bodyTemplate": template, "isWebsocketMessage": true});
        nodes.push(json!({"id": "message", "type": "WebhookReplyNode", "config": config}));
    }
    Ok(nodes)
}

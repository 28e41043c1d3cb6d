//! `tidegate flow create`: triggers and nodes from flags, so that a flow of one step needs no JSON.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::Failure;
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
            .help("Replies with what the template renders"),
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
) -> Result<(), Failure> {
    let mut triggers = Vec::new();
    for word in matches.get_many::<String>("webhook").unwrap_or_default() {
        let path = resource(client, Kind::Webhook, webhooks, word)?;
        triggers.push(json!({"type": WEBHOOK_TRIGGER, "key": last_part(&path)}));
    }
    if !triggers.is_empty() {
        fields.insert("triggers".to_owned(), Value::Array(triggers));
    }
    if let Some(node) = node(matches) {
        fields.insert("nodes".to_owned(), json!([node]));
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
) -> Result<(), Failure> {
    let triggers = fields.get_mut("triggers").and_then(Value::as_array_mut);
    for trigger in triggers.into_iter().flatten() {
        let is_webhook = trigger.get("type").and_then(Value::as_str) == Some(WEBHOOK_TRIGGER);
        let Some(word) = trigger.get("key").and_then(Value::as_str).filter(|_| is_webhook) else { continue };
        let path = resource(client, Kind::Webhook, webhooks, word)?;
        trigger["key"] = Value::from(last_part(&path));
    }
    Ok(())
}

fn node(matches: &ArgMatches) -> Option<Value> {
    let text = |name: &str| matches.get_one::<String>(name);
    if let Some(template) = text("reply") {
        let mut config = json!({"bodyTemplate": template});
        if let Some(code) = text("code") {
            config["responseCodeTemplate"] = json!(code);
        }
        return Some(json!({"id": "reply", "type": "WebhookReplyNode", "config": config}));
    }
    if let Some(url) = text("forward") {
        return Some(json!({"id": "forward", "type": "HttpForwardNode", "config": {"url": url}}));
    }
    matches.get_flag("worker").then(|| json!({"id": "worker", "type": "WorkerNode"}))
}

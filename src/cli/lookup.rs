//! Lookup of the words of a command line: the application, a webhook or a flow by its id or its name, and their URLs.

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde_json::Value;

use super::CommandError;
use super::client::Client;
use crate::base::id::Id;
use crate::base::visible::visible;

/// Resources of one page of a list: as many as the API gives.
const PER_PAGE: u64 = 1000;
/// Candidates that are listed for an ambiguous name.
const CANDIDATES_MAX: usize = 10;
/// Names of applications that are listed.
const APPLICATIONS_SHOWN: usize = 10;

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

/// An argument as text.
pub(super) fn text<'m>(matches: &'m ArgMatches, name: &str) -> Option<&'m str> {
    matches.get_one::<String>(name).map(String::as_str)
}

/// The id of the application that is meant: the one that `--app` names, or the only one.
///
/// # Errors
/// If there is none, or several and none is named.
pub(super) fn application(client: &Client, matches: &ArgMatches) -> Result<String, CommandError> {
    if let Some(word) = text(matches, "app") {
        let path = resource(client, Kind::Application, "/applications", word)?;
        return Ok(last_part(&path).to_owned());
    }
    let all = items(client, "/applications", None)?;
    match all.as_slice() {
        [one] => Ok(member(one, "id")),
        [] => Err(failed("there is no application yet: make one with `tidegate app create NAME`")),
        [..] => {
            let names: Vec<String> = all
                .iter()
                .take(APPLICATIONS_SHOWN)
                .map(|item| format!("{:?}", member(item, "name")))
                .collect();
            let more = if all.len() > names.len() { ", …" } else { "" };
            let names = names.join(", ");
            let count = all.len();
            Err(CommandError::Usage(format!(
                "there are {count} applications ({names}{more}): name one with --app"
            )))
        }
    }
}

/// The folder of a kind of an application's resources in the REST API.
///
/// # Errors
/// As [`application`].
pub(super) fn folder(client: &Client, kind: Kind, matches: &ArgMatches) -> Result<String, CommandError> {
    Ok(match kind {
        Kind::Application => "/applications".to_owned(),
        Kind::Webhook | Kind::Flow => {
            format!("/applications/{}/{}", application(client, matches)?, kind.plural())
        }
    })
}

/// The path of a resource that is named by its id or by its name.
///
/// # Errors
/// If none has the name, or several do: then they are listed.
pub(super) fn resource(
    client: &Client,
    kind: Kind,
    folder: &str,
    word: &str,
) -> Result<String, CommandError> {
    if word.parse::<Id>().is_ok() {
        return Ok(format!("{folder}/{word}"));
    }
    let mut named = items(client, folder, Some(&escaped(word)))?;
    named.retain(|item| member(item, "name") == word);
    match named.as_slice() {
        [one] => Ok(format!("{folder}/{}", member(one, "id"))),
        [] => Err(failed(format!("no {} has the id or the name {word:?}", kind.noun()))),
        [..] => {
            let candidate = |item: &Value| {
                let note = member(item, "description");
                let note = if note.is_empty() { member(item, "creationDate") } else { note };
                format!("{} ({})", member(item, "id"), visible(&note))
            };
            let mut candidates: Vec<String> = named.iter().take(CANDIDATES_MAX).map(candidate).collect();
            if named.len() > CANDIDATES_MAX {
                candidates.push("…".to_owned());
            }
            let (count, plural) = (named.len(), kind.plural());
            let candidates = candidates.join(", ");
            Err(failed(format!("{count} {plural} have the name {word:?}; use an id: {candidates}")))
        }
    }
}

/// A name as a glob that only it fits, but for case.
fn escaped(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '\\') {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}

/// The last part of a path: an id.
pub(super) fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

pub(super) fn failed(message: impl Into<String>) -> CommandError {
    CommandError::Failed(anyhow!(message.into()))
}

/// Every resource of a folder, by name.
///
/// # Errors
/// The server's refusal.
pub(super) fn items(client: &Client, folder: &str, filter: Option<&str>) -> Result<Vec<Value>, CommandError> {
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

/// The beginning of webhooks' URLs, as the server tells it; empty if it listens on a Unix socket.
///
/// # Errors
/// The server's refusal.
pub(super) fn ingress_url(client: &Client) -> Result<String, CommandError> {
    let settings: Value =
        serde_json::from_str(&client.get("/settings")?).context("the server's settings are not JSON")?;
    Ok(member(&settings, "ingressUrl"))
}

/// The URL of a webhook, given what URLs begin with.
pub(super) fn webhook_url(ingress: &str, webhook: &Value) -> String {
    let is_websocket = webhook.get("isWebsocket").and_then(Value::as_bool).unwrap_or(false);
    let base = if is_websocket { ingress.replacen("http", "ws", 1) } else { ingress.to_owned() };
    format!("{base}/webhooks/{}", member(webhook, "token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_percent_encoded() {
        assert_eq!(encoded("a*&ü~"), "a%2A%26%C3%BC~");
    }

    #[test]
    fn a_name_is_a_glob_of_itself() {
        assert_eq!(escaped(r"a*b?\c"), r"a\*b\?\\c");
    }

    #[test]
    fn a_websocket_webhook_has_a_websocket_url() {
        let hook = |is_websocket: bool| serde_json::json!({"token": "T", "isWebsocket": is_websocket});
        assert_eq!(webhook_url("https://a", &hook(false)), "https://a/webhooks/T");
        assert_eq!(webhook_url("https://a", &hook(true)), "wss://a/webhooks/T");
    }
}

//! `tidegate webhook create … --preset`: a webhook as a known sender needs it, and what to paste where at the sender.
//! The table of senders is the server's (`GET /presets`).
//!
//! Secrets: one that is given is used; one that is ours to make is made, and shown this once; one that the sender makes
//! is asked for on a terminal, and never made up without a word.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::input::{STANDARD_INPUT, read};
use super::lookup::{encoded, ingress_url};
use super::options::{self, Format};
use super::{CommandError, output};
use crate::base::text::{base64_into, hex_into};

/// Random bytes of a secret that is made: as many as HMAC-SHA256 has.
const SECRET_BYTES: usize = 32;
/// Member of the answer with what is to be done at the sender.
pub(super) const AT_THE_SENDER: &str = "atTheSender";
/// The field that `--secret` is for, where a preset has several.
const MAIN_FIELD: &str = "signature.secret";

const NOT_READ: &str = "the server's presets are not what this version reads";

#[derive(Deserialize)]
struct Presets {
    items: Vec<SenderPreset>,
}

#[derive(Deserialize)]
struct SenderPreset {
    id: String,
    name: String,
    checks: String,
    webhook: Map<String, Value>,
    secrets: Vec<SenderSecret>,
    steps: Vec<PresetStep>,
    limits: Option<String>,
}

#[derive(Deserialize)]
struct SenderSecret {
    field: String,
    label: String,
    from: String,
    form: String,
    r#where: Option<String>,
}

#[derive(Deserialize)]
struct PresetStep {
    text: String,
    paste: Option<String>,
}

/// The secrets, once the webhook's fields are complete.
#[derive(Default)]
struct SenderSecrets {
    /// Values by their field: what was made or given here and is to be pasted.
    known: Vec<(String, String)>,
    /// Labels of those that the sender makes and that are to be set later.
    later: Vec<(String, String)>,
}

/// Prints the senders.
///
/// # Errors
/// The server's refusal.
pub(super) fn list(client: &Client, matches: &ArgMatches) -> Result<(), CommandError> {
    let format = options::format(matches, Format::Table);
    if format != Format::Table {
        let answer: Value = serde_json::from_str(&client.get("/presets")?).context(NOT_READ)?;
        return Ok(output::print_as(&answer["items"].to_string(), format)?);
    }
    let rows: Vec<Vec<String>> =
        presets(client)?.into_iter().map(|preset| vec![preset.id, preset.name, preset.checks]).collect();
    Ok(output::print(&output::table(&["PRESET", "SENDER", "CHECKS"], &rows))?)
}

/// Makes a webhook from a preset and answers it, with what to do at the sender. `fields` win over the preset's.
///
/// # Errors
/// A preset that is not there, a secret that is missing, what the server refused.
pub(super) fn create(
    client: &Client,
    folder: &str,
    matches: &ArgMatches,
    id: &str,
    fields: Map<String, Value>,
) -> Result<String, CommandError> {
    let presets = presets(client)?;
    let Some(preset) = presets.iter().find(|preset| preset.id == id) else {
        let known: Vec<&str> = presets.iter().map(|preset| preset.id.as_str()).collect();
        return Err(CommandError::Usage(format!(
            "there is no preset {id:?}; they are: {}",
            known.join(", ")
        )));
    };
    let mut body = preset.webhook.clone();
    merge(&mut body, fields);
    let secrets = fill(preset, &mut body, matches)?;
    let saved = client.send("POST", folder, &Value::Object(body))?;
    let mut saved: Value = serde_json::from_str(&saved).context("the server's answer is not JSON")?;
    let url = ingress_url(client)?;
    let steps: Vec<Value> = preset.steps.iter().map(|step| shown(step, &saved, &url, &secrets)).collect();
    let name = saved["name"].as_str().unwrap_or_default().to_owned();
    if let Some(object) = saved.as_object_mut() {
        object.insert(AT_THE_SENDER.to_owned(), Value::from(steps));
    }
    for (field, label) in &secrets.later {
        let command = format!("tidegate webhook set {name:?} {field}=…");
        output::complain(&format!("warning: calls are refused until the {label} is set: {command}"));
    }
    if let Some(limits) = &preset.limits {
        output::complain(&format!("warning: {limits}"));
    }
    Ok(saved.to_string())
}

fn presets(client: &Client) -> Result<Vec<SenderPreset>, CommandError> {
    let presets: Presets = serde_json::from_str(&client.get("/presets")?).context(NOT_READ)?;
    Ok(presets.items)
}

/// Puts fields over others, objects member by member.
fn merge(body: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (body.get_mut(&name), value) {
            (Some(Value::Object(inner)), Value::Object(members)) => inner.extend(members),
            (_, value) => drop(body.insert(name, value)),
        }
    }
}

/// Fills in the secrets that the fields do not have.
fn fill(
    preset: &SenderPreset,
    body: &mut Map<String, Value>,
    matches: &ArgMatches,
) -> Result<SenderSecrets, CommandError> {
    let mut secrets = SenderSecrets::default();
    let given = matches.get_one::<String>("secret");
    let main = preset.secrets.iter().position(|secret| secret.field == MAIN_FIELD).unwrap_or(0);
    if given.is_some() && preset.secrets.is_empty() {
        return Err(CommandError::Usage(format!("--secret: the preset {} has none", preset.id)));
    }
    for (index, secret) in preset.secrets.iter().enumerate() {
        if let Some(value) = place(body, &secret.field).and_then(|(object, name)| object.get(name)) {
            secrets.known.extend(value.as_str().map(|text| (secret.field.clone(), text.to_owned())));
            continue;
        }
        let given = given.filter(|_| index == main);
        let Some(value) = value_of(preset, secret, given, matches)? else {
            secrets.later.push((secret.field.clone(), secret.label.clone()));
            continue;
        };
        if let Some((object, name)) = place(body, &secret.field) {
            object.insert(name.to_owned(), Value::from(value.as_str()));
        }
        secrets.known.push((secret.field.clone(), value));
    }
    // A signature without a secret is none: until the sender's is set, one that nobody knows refuses every call.
    if let Some(Value::Object(signature)) = body.get_mut("signature")
        && !signature.contains_key("secret")
    {
        signature.insert("secret".to_owned(), Value::from(made("base64")?));
    }
    Ok(secrets)
}

/// The value of a secret; `None` where the sender makes it and it is to be set later.
fn value_of(
    preset: &SenderPreset,
    secret: &SenderSecret,
    given: Option<&String>,
    matches: &ArgMatches,
) -> Result<Option<String>, CommandError> {
    let is_public_key = ["ed25519", "p256"].contains(&secret.form.as_str());
    if let Some(given) = given {
        let text = if given == STANDARD_INPUT { read(STANDARD_INPUT)? } else { given.clone() };
        return match text.trim() {
            "" => Err(CommandError::Usage("--secret must not be empty".to_owned())),
            text => Ok(Some(text.to_owned())),
        };
    }
    if secret.from == "you" {
        return made(&secret.form).map(Some);
    }
    let place = secret.r#where.as_deref().unwrap_or_default();
    let asked = if std::io::stdin().is_terminal() && !matches.get_flag("secret-later") {
        asked(&format!("{} of {} ({place})", secret.label, preset.name))?
    } else {
        None
    };
    let is_optional = secret.field != MAIN_FIELD || matches.get_flag("secret-later");
    match asked {
        Some(text) => Ok(Some(text)),
        None if is_public_key => Err(CommandError::Usage(format!(
            "the preset {} needs the {}, which {} makes: --secret VALUE, or - for standard input. {place}",
            preset.id, secret.label, preset.name
        ))),
        None if is_optional => Ok(None),
        None => Err(CommandError::Usage(format!(
            "the preset {} needs the {}, which {} makes: --secret VALUE, - for standard input, or --secret-later. {place}",
            preset.id, secret.label, preset.name
        ))),
    }
}

/// The object that holds a field, and the field's name there.
fn place<'b, 'f>(
    body: &'b mut Map<String, Value>,
    field: &'f str,
) -> Option<(&'b mut Map<String, Value>, &'f str)> {
    match field.split_once('.') {
        None => Some((body, field)),
        Some((object, name)) => {
            let inner = body.entry(object).or_insert_with(|| json!({})).as_object_mut()?;
            Some((inner, name))
        }
    }
}

/// A new secret.
fn made(form: &str) -> Result<String, CommandError> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let mut text = Vec::new();
    if form == "base64" {
        text.extend_from_slice(b"whsec_");
        base64_into(&mut text, &bytes);
    } else {
        hex_into(&mut text, &bytes);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Asks on the terminal, without showing what is typed; `None` for an empty line.
fn asked(what: &str) -> Result<Option<String>, CommandError> {
    let terminal = std::io::stdin();
    output::ask(&format!("{what}; empty to set it later: "));
    let before = tcgetattr(&terminal).context("the terminal does not say how it is set")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Now, &silent)
        .context("the terminal keeps showing what is typed")?;
    let mut line = String::new();
    let read = terminal.lock().read_line(&mut line);
    // Whatever was read, the terminal is as it was.
    tcsetattr(&terminal, OptionalActions::Now, &before).context("the terminal stays silent: reset it")?;
    output::ask("\n");
    read.context("the answer cannot be read")?;
    Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
}

/// A step with the value to paste.
fn shown(step: &PresetStep, webhook: &Value, base: &str, secrets: &SenderSecrets) -> Value {
    let text = |name: &str| webhook.get(name).and_then(Value::as_str).unwrap_or_default();
    let url = format!("{base}/webhooks/{}", text("token"));
    let known =
        |field: &str| secrets.known.iter().find(|(known, _)| known == field).map(|(_, value)| value.as_str());
    let value = match step.paste.as_deref() {
        None => return json!({"text": step.text}),
        Some("url") => url,
        Some("urlWithLogin") => {
            let login = [text("basicAuthUsername"), text("basicAuthPassword")].map(encoded);
            url.replacen("://", &format!("://{}@", login.join(":")), 1)
        }
        Some(field) => known(field).unwrap_or("***").to_owned(),
    };
    json!({"text": step.text, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_fields_win_and_reach_into_objects() {
        let mut body = json!({"signature": {"scheme": "github"}, "waitForReply": true});
        let fields = json!({"signature": {"secret": "s"}, "waitForReply": false, "name": "n"});
        let (Value::Object(body), Value::Object(fields)) = (&mut body, fields) else { panic!("objects") };
        merge(body, fields);
        assert_eq!(
            Value::Object(body.clone()),
            json!({"signature": {"scheme": "github", "secret": "s"}, "waitForReply": false, "name": "n"})
        );
    }

    #[test]
    fn a_made_secret_is_new_each_time_and_of_its_form() {
        let [one, two] = [(); 2].map(|()| made("text").unwrap_or_default());
        assert_ne!(one, two);
        assert_eq!(one.len(), 2 * SECRET_BYTES);
        let base64 = made("base64").unwrap_or_default();
        assert!(base64.starts_with("whsec_") && base64.len() == 6 + 44, "{base64}");
    }

    #[test]
    fn a_url_carries_the_login_where_the_sender_wants_it_there() {
        let webhook = json!({"token": "T", "basicAuthUsername": "sns", "basicAuthPassword": "p@"});
        let step = PresetStep { text: "Endpoint".to_owned(), paste: Some("urlWithLogin".to_owned()) };
        let shown = shown(&step, &webhook, "https://a.example", &SenderSecrets::default());
        assert_eq!(shown, json!({"text": "Endpoint", "value": "https://sns:p%40@a.example/webhooks/T"}));
    }
}

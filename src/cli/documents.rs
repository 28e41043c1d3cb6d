//! `tidegate export|import|backup`: an application as a document that people keep, and the model as a file.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::client::Client;
use super::input::read;
use super::lookup::{self, application, member};
use super::options::{self, Format};
use super::{CommandError, output};
use crate::model::yaml;

/// Rights of a backup: secrets are in it.
const BACKUP_MODE: u32 = 0o600;

/// The commands.
pub(super) fn commands() -> [Command; 3] {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let export = Command::new("export")
        .about("Print an application with its webhooks, flows and globals as one document of JSON or YAML, without secrets")
        .arg(flag("no-ids", "Without ids: what is imported is found by name, so that the document makes a copy"))
        .args([options::app(), options::output()]);
    let import = Command::new("import")
        .about("Make an application be what a document says, in one transaction; print what was done")
        .after_help(
            "What is there by its id, or by its name if the document gives no id, is changed; the rest is made. The same\n\
             document a second time changes nothing. *** keeps a secret. Without --app the application is the document's.",
        )
        .arg(Arg::new("file").required(true).value_name("FILE").help("JSON or YAML; - for standard input"))
        .arg(flag("dry-run", "Print what would be done, and do nothing"))
        .arg(flag("prune", "Delete what the document does not hold, of the kinds that it lists; on a terminal it asks first"))
        .args([options::app(), options::output(), options::yes()]);
    let backup = Command::new("backup")
        .about("Write the model into a file, consistent, while the server serves")
        .after_help(
            "All applications, webhooks, flows, globals and access tokens, secrets in clear. A server starts from it:\n\
             put it into an empty data folder as model.redb. The journal and the dead letters are not in it.",
        )
        .arg(
            Arg::new("file")
                .required(true)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Written whole or not at all; an older one is replaced"),
        );
    [export, import, backup]
}

/// `tidegate export`.
///
/// # Errors
/// The server's refusal.
pub(super) fn export(matches: &ArgMatches) -> Result<(), CommandError> {
    let client = Client::new(matches)?;
    let application = application(&client, matches)?;
    let ids = if matches.get_flag("no-ids") { "&ids=false" } else { "" };
    let text = client.get(&format!("/export?applicationId={application}{ids}"))?;
    match options::format(matches, Format::Json) {
        Format::Yaml => Ok(output::print_yaml(&serde_json::from_str(&text).context(NOT_JSON)?)?),
        Format::Json | Format::Table => Ok(output::print_indented(&text)?),
    }
}

const NOT_JSON: &str = "the server's answer is not JSON";

/// `tidegate import`.
///
/// # Errors
/// A file that is no document; what the server refused.
pub(super) fn import(matches: &ArgMatches) -> Result<(), CommandError> {
    let client = Client::new(matches)?;
    let file = matches.get_one::<String>("file").map_or("", String::as_str);
    let text = read(file)?;
    let document: Value = match serde_json::from_str(&text) {
        Ok(document) => document,
        Err(error) if text.trim_start().starts_with('{') => {
            return Err(CommandError::Usage(format!("{file}: is not JSON: {error}")));
        }
        Err(_) => {
            yaml::read(&text).map_err(|why| CommandError::Usage(format!("{file}: is not YAML: {why}")))?
        }
    };
    let mut query = String::new();
    if matches.get_one::<String>("app").is_some() {
        query += &format!("&applicationId={}", application(&client, matches)?);
    }
    let prunes = matches.get_flag("prune");
    if prunes {
        query += "&prune=true";
    }
    let post = |more: &str| -> Result<Value, CommandError> {
        let report = client.send(
            "POST",
            &format!("/import?{}", format!("{query}{more}").trim_start_matches('&')),
            &document,
        )?;
        Ok(serde_json::from_str(&report).context(NOT_JSON)?)
    };
    if matches.get_flag("dry-run") {
        return print_report(&post("&dryRun=true")?, matches);
    }
    if prunes && !matches.get_flag("yes") && output::can_ask() {
        let planned = post("&dryRun=true")?;
        let deleted = planned.get("deleted").and_then(Value::as_u64).unwrap_or(0);
        if deleted > 0 {
            print_report(&planned, matches)?;
            output::confirm_unless(false, &format!("Delete {deleted} and do the rest?"))?;
        }
    }
    print_report(&post("")?, matches)
}

/// Prints a line for each change, and on standard error how many there were.
fn print_report(report: &Value, matches: &ArgMatches) -> Result<(), CommandError> {
    let format = options::format(matches, Format::Table);
    if format != Format::Table {
        return Ok(output::print_as(&report.to_string(), format)?);
    }
    let items = report.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| ["action", "kind", "id", "name"].map(|name| member(item, name)).to_vec())
        .collect();
    if !rows.is_empty() {
        output::print(&output::table(&["DONE", "KIND", "ID", "NAME"], &rows))?;
    }
    let [created, changed, deleted, unchanged] =
        ["created", "changed", "deleted", "unchanged"].map(|name| member(report, name));
    let would = if lookup::member(report, "dryRun") == "true" { "nothing was done: " } else { "" };
    output::tell(&format!(
        "{would}{created} created, {changed} changed, {deleted} deleted, {unchanged} unchanged"
    ));
    Ok(())
}

/// `tidegate backup`.
///
/// # Errors
/// A file that cannot be written; what the server refused; a copy that did not arrive whole.
pub(super) fn backup(matches: &ArgMatches) -> Result<(), CommandError> {
    let path = matches.get_one::<PathBuf>("file").cloned().unwrap_or_default();
    let client = Client::new(matches)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let written = download(&client, &temporary);
    let kept = written.and_then(|()| {
        let renamed = std::fs::rename(&temporary, &path);
        renamed.with_context(|| format!("{} cannot be written", path.display())).map_err(CommandError::Failed)
    });
    if kept.is_err() {
        // What is left of it is of no use; where it cannot be removed, its name says what it is.
        let _ = std::fs::remove_file(&temporary);
    }
    kept
}

fn download(client: &Client, path: &Path) -> Result<(), CommandError> {
    let failed = || format!("{} cannot be written", path.display());
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(BACKUP_MODE).open(path);
    let mut file: File = opened.with_context(failed)?;
    let (length, mut body) = client.download("/backup")?;
    let copied = std::io::copy(&mut body, &mut file).with_context(failed)?;
    if length.is_some_and(|length| length != copied) {
        return Err(lookup::failed(format!("the copy ended early, after {copied} bytes")));
    }
    file.flush().and_then(|()| file.sync_all()).with_context(failed)?;
    Ok(())
}

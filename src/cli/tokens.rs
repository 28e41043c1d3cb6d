//! `tidegate token …`: access tokens beside the first one.

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::Client;
use super::options::{self, Format};
use super::resources::print_saved;
use super::{CommandError, output};
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::text::write_time;

const MILLIS_PER_DAY: u64 = 86_400_000;
/// The longest end that is given in days: a century.
const DAYS_MAX: u64 = 36_500;

#[derive(Deserialize)]
struct Tokens {
    items: Vec<ListedToken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedToken {
    id: String,
    name: String,
    rights: Vec<String>,
    creation_date: String,
    expires: Option<String>,
}

/// Runs one of the commands.
///
/// # Errors
/// Arguments that make no sense; what the server refused, in its words.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let Some((command, matches)) = matches.subcommand() else {
        return Err(CommandError::Usage("token needs a command".to_owned()));
    };
    let client = Client::new(matches)?;
    match command {
        "list" => {
            let default = if matches.get_flag("json") { Format::Json } else { Format::Table };
            let format = options::format(matches, default);
            if format != Format::Table {
                let answer: Value = serde_json::from_str(&client.get("/tokens")?).context(NOT_JSON)?;
                return Ok(output::print_as(&answer["items"].to_string(), format)?);
            }
            let row = |token: ListedToken| {
                let expires = token.expires.unwrap_or_else(|| "never".to_owned());
                vec![token.id, token.name, token.rights.join(","), token.creation_date, expires]
            };
            let rows: Vec<Vec<String>> = tokens(&client)?.into_iter().map(row).collect();
            Ok(output::print(&output::table(&["ID", "NAME", "RIGHTS", "CREATED", "EXPIRES"], &rows))?)
        }
        "create" => {
            let rights: Vec<&String> = matches.get_many("rights").unwrap_or_default().collect();
            let expires = matches.get_one::<String>("expires").map(|text| end(text)).transpose()?;
            let name = matches.get_one::<String>("name");
            let body = json!({"name": name, "rights": rights, "expires": expires});
            print_saved(&client.send("POST", "/tokens", &body)?, options::format(matches, Format::Json))
        }
        "delete" => {
            let word = matches.get_one::<String>("id").map_or("", String::as_str);
            let found = tokens(&client)?.into_iter().find(|token| token.name == word);
            let id = match found {
                Some(token) => token.id,
                None if word.parse::<Id>().is_ok() => word.to_owned(),
                None => return Err(anyhow!("no access token has the id or the name {word:?}").into()),
            };
            let question = format!("Revoke the access token {word:?}?");
            output::confirm_unless(matches.get_flag("yes"), &question)?;
            client.delete(&format!("/tokens/{id}"))?;
            Ok(())
        }
        other => Err(CommandError::Usage(format!("there is no command token {other}"))),
    }
}

const NOT_JSON: &str = "the server's answer is not what this version reads";

fn tokens(client: &Client) -> Result<Vec<ListedToken>, CommandError> {
    let tokens: Tokens = serde_json::from_str(&client.get("/tokens")?).context(NOT_JSON)?;
    Ok(tokens.items)
}

/// The end of a token: a time as it stands, or so many days from now.
fn end(text: &str) -> Result<String, CommandError> {
    let Some(days) = text.strip_suffix('d') else { return Ok(text.to_owned()) };
    let must = || {
        CommandError::Usage(format!("--expires {text:?} must be a time of RFC 3339, or 1d to {DAYS_MAX}d"))
    };
    let days: u64 = days.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days)).ok_or_else(must)?;
    let mut time = Vec::new();
    write_time(&mut time, Clock::new().now().unix_millis + days * MILLIS_PER_DAY);
    String::from_utf8(time).map_err(|_| must())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_days_from_now() {
        let end = |text| end(text).ok();
        assert_eq!(end("2027-01-01T00:00:00Z").as_deref(), Some("2027-01-01T00:00:00Z"));
        assert!(end("30d").is_some_and(|time| time.ends_with('Z')));
        for bad in ["0d", "d", "-1d", "99999d", "1.5d"] {
            assert_eq!(end(bad), None, "{bad}");
        }
    }
}

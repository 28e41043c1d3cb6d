//! The text that a start writes to standard output; and, if the data folder is new, an example for it: an application
//! with a webhook `hello` and a flow that replies.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::client::base_url;
use super::output;
use crate::base::clock::Clock;
use crate::model::{Application, Flow, Webhook};
use crate::registry;
use crate::settings::{Address, Settings};
use crate::store::{DataFolder, Source as _, Store};

/// Names of what is created.
const APPLICATION_NAME: &str = "Demonstration";
const WEBHOOK_NAME: &str = "hello";
const FLOW_NAME: &str = "Say hello";

/// File in the data folder that stands there until the greeting of the first start was given, so that a first start
/// that fails (a port that is taken) does not cost the demonstration.
const FIRST_START_FILE: &str = "first-start";

/// The reply of the flow. Only values that the caller cannot choose freely, so that it is always JSON.
const REPLY: &str = r#"{"hello":"from Tidegate","method":"{{data.method}}","time":"{{time}}"}"#;

/// Its rights: those of the other files in the folder.
const FIRST_START_MODE: u32 = 0o600;

/// Remembers that a data folder is new, until [`greet`] has greeted. To be called before the database is made: from
/// then on the folder is not new any more, whatever becomes of this start.
///
/// # Errors
/// Where the folder cannot be written.
pub(super) fn note_first_start(folder: &DataFolder) -> anyhow::Result<()> {
    if folder.is_new() {
        let path = folder.path().join(FIRST_START_FILE);
        let made =
            OpenOptions::new().write(true).create(true).truncate(true).mode(FIRST_START_MODE).open(&path);
        made.with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

/// Greets. That the demonstration could not be created is said, and is no reason not to serve.
pub(super) fn greet(
    store: &Store,
    token_file: &Option<PathBuf>,
    ingress: &Address,
    admin: &Address,
    settings: &Settings,
    clock: Clock,
) {
    let first_start = store.folder().path().join(FIRST_START_FILE);
    let text = if first_start.exists() {
        let text = match create_once(store, clock) {
            // A start before this one made it, and was cut off before it could greet.
            Ok(None) => brief(ingress, admin, settings),
            Ok(Some(webhook)) => welcome(&webhook, token_file, ingress, admin, settings),
            Err(error) => {
                tracing::warn!(%error, "the demonstration could not be created");
                format!(
                    "The demonstration could not be created: {error:#}\n{}",
                    brief(ingress, admin, settings)
                )
            }
        };
        // Where it stays, the next start looks again: no reason to stop.
        if let Err(error) = std::fs::remove_file(&first_start) {
            tracing::warn!(%error, path = %first_start.display(), "a file cannot be removed");
        }
        text
    } else {
        brief(ingress, admin, settings)
    };
    if let Err(error) = output::print(&text) {
        tracing::debug!(%error, "nobody reads the greeting");
    }
}

/// Creates the demonstration where there is no application yet.
fn create_once(store: &Store, clock: Clock) -> anyhow::Result<Option<Webhook>> {
    let mut is_empty = true;
    store.for_each_application(&mut |_| is_empty = false)?;
    is_empty.then(|| create(store, clock)).transpose()
}

/// Creates the demonstration, all of it or nothing. As with any change, the cores have it when this returns.
fn create(store: &Store, clock: Clock) -> anyhow::Result<Webhook> {
    let now = clock.now().unix_millis;
    let refused = |error: crate::model::ModelError| anyhow!("{error}");
    let application = Application::create(&json!({"name": APPLICATION_NAME}), now).map_err(refused)?;
    let body = json!({
        "name": WEBHOOK_NAME,
        "description": "Made at the first start, to try things on.",
        "waitForReply": true,
    });
    let webhook = Webhook::create(&body, application.id, now).map_err(refused)?;
    let body = json!({
        "name": FLOW_NAME,
        "triggers": [{"type": "webhook", "key": webhook.id.to_string(), "outputIds": [["reply"]]}],
        "nodes": [{
            "id": "reply",
            "type": "WebhookReplyNode",
            "config": {
                "responseCodeTemplate": "200",
                "bodyTemplate": REPLY,
                "headerInfo": [{"keyTemplate": "Content-Type", "valueTemplate": "application/json"}],
            },
        }],
    });
    let flow = Flow::create(&body, application.id, now).map_err(refused)?;
    registry::check_webhook(&webhook).map_err(refused)?;
    registry::check_flow(&flow).map_err(refused)?;
    let created = store.change(move |changes| {
        changes.insert_application(application.clone())?;
        let webhook = changes.insert_webhook(webhook.clone())?;
        changes.insert_flow(flow.clone())?;
        Ok(webhook)
    })?;
    Ok(created.value)
}

/// The greeting of a first start.
fn welcome(
    webhook: &Webhook,
    token_file: &Option<PathBuf>,
    ingress: &Address,
    admin: &Address,
    settings: &Settings,
) -> String {
    let path = format!("/webhooks/{}", webhook.token.as_str());
    let token = match token_file {
        Some(file) => format!("in {}", file.display()),
        None => "as given by access_token".to_owned(),
    };
    // The local address, even where there is a public one: that may not lead here yet.
    // The certificate is for the name that callers use, not for that address.
    let insecure = if settings.ingress.tls.is_set() { "--insecure " } else { "" };
    let call = match ingress {
        Address::Unix(socket) => {
            format!(
                "curl {insecure}--unix-socket {} {}",
                quoted(&socket.display().to_string()),
                quoted(&format!("{}://localhost{path}", settings.ingress.scheme()))
            )
        }
        Address::Tcp(_) => {
            let base = base_url(settings.ingress.scheme(), ingress).unwrap_or_default();
            format!("curl {insecure}{}", quoted(&format!("{base}{path}")))
        }
    };
    format!(
        "Tidegate serves, with a webhook `{WEBHOOK_NAME}` and a flow that replies to try it on.\n\n  \
           webhook        {}\n  \
           admin          {}\n  \
           access token   {token}\n\n\
         Try it:\n\n  {call}\n\n",
        webhook_url(ingress, settings, &path),
        listener_url(settings.admin.tls.scheme(), admin),
    )
}

/// The greeting of every other start.
fn brief(ingress: &Address, admin: &Address, settings: &Settings) -> String {
    format!(
        "webhooks  {}\nadmin     {}\n",
        webhook_url(ingress, settings, "/webhooks/<token>"),
        listener_url(settings.admin.tls.scheme(), admin)
    )
}

fn webhook_url(ingress: &Address, settings: &Settings, path: &str) -> String {
    let base = settings
        .ingress
        .public_url
        .clone()
        .unwrap_or_else(|| listener_url(settings.ingress.scheme(), ingress));
    match ingress {
        Address::Unix(_) if settings.ingress.public_url.is_none() => format!("{path} on {base}"),
        _ => format!("{base}{path}"),
    }
}

fn listener_url(scheme: &str, address: &Address) -> String {
    base_url(scheme, address).unwrap_or_else(|| address.to_string())
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn the_demonstration_is_created_whole_and_wired() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        assert!(store.folder().is_new());
        let webhook = create(&store, Clock::new()).unwrap();
        assert!(webhook.wait_for_reply);
        let flows = store.flows_of_webhook(&webhook.id).unwrap();
        assert_eq!(flows.len(), 1);
        assert_eq!(flows[0].nodes.len(), 1);
    }

    #[test]
    fn the_demonstration_is_created_where_there_is_no_application_and_not_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        assert!(create_once(&store, Clock::new()).unwrap().is_some());
        assert!(create_once(&store, Clock::new()).unwrap().is_none());
    }

    #[test]
    fn the_greeting_names_the_public_url_and_calls_the_local_one() {
        let folder = tempfile::tempdir().unwrap();
        let webhook = create(&Store::open(&folder.path().join("data")).unwrap(), Clock::new()).unwrap();
        let flags = [("public-url".to_owned(), "https://hooks.example.org/in".to_owned())];
        let settings = Settings::resolve(1, None, &[], &flags).unwrap();
        let file = Some(PathBuf::from("d/access-token"));
        let text = welcome(&webhook, &file, &tcp("0.0.0.0:80"), &tcp("127.0.0.1:8081"), &settings);
        let token = webhook.token.as_str();
        for expected in [
            &format!("https://hooks.example.org/in/webhooks/{token}\n"),
            &format!("curl http://127.0.0.1:80/webhooks/{token}\n"),
            "http://127.0.0.1:8081\n",
            "in d/access-token\n",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        let flags = [("tls-certificate", "c.pem"), ("tls-key", "k.pem")];
        let flags = flags.map(|(flag, value)| (flag.to_owned(), value.to_owned()));
        let tls = Settings::resolve(1, None, &[], &flags).unwrap();
        let text = welcome(&webhook, &file, &tcp("0.0.0.0:443"), &tcp("127.0.0.1:8081"), &tls);
        let call = format!("curl --insecure https://127.0.0.1:443/webhooks/{token}\n");
        assert!(text.contains(&call) && text.contains("http://127.0.0.1:8081\n"), "{text}");
        let text = welcome(
            &webhook,
            &None,
            &tcp("unix:/run/it's.sock"),
            &tcp("unix:/run/a.sock"),
            &Settings::defaults(1),
        );
        let call = format!(r"curl --unix-socket '/run/it'\''s.sock' http://localhost/webhooks/{token}");
        assert!(text.contains(&call) && text.contains("as given by access_token"), "{text}");
    }

    #[test]
    fn a_word_for_the_shell_is_quoted_where_it_must_be() {
        for (word, expected) in [
            ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a"),
            ("http://[::1]/", "'http://[::1]/'"),
            ("a b", "'a b'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}

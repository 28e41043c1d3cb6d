//! The REST API from the side of the client commands: where the server is, the access token, requests and errors.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ArgMatches;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::unversioned::resolver::DefaultResolver;

use super::Failure;
use super::arguments::{self, SERVER_VARIABLE};
use super::serve::ADDRESSES_FILE;
use super::unix::UnixConnector;
use crate::base::visible::visible;
use crate::settings::{Address, Settings, check_access_token};
use crate::store::ACCESS_TOKEN_FILE;

/// How long a server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take: a test request waits as long as its webhook waits for a reply, at most an hour.
const ANSWER_LIMIT: Duration = Duration::from_secs(3660);
/// Bytes of an answer: 1000 flows of the largest size would be more, and nobody reads that.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Shown of an answer that is no error of ours, in characters.
const STRANGE_ANSWER_CHARS: usize = 200;

/// A running server, as the commands see it.
pub(super) struct Client {
    agent: Agent,
    /// `http://host:port`
    base: String,
    /// As the user knows the server.
    shown: String,
    authorization: String,
}

/// Where the listeners of a running server are, as it writes it into its data folder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Addresses {
    admin: String,
    workers: String,
}

/// Where workers attach to a server, and how.
pub(super) struct Door {
    /// `host:port`, or the path of a Unix socket.
    pub(super) place: Place,
    /// As the user knows it.
    pub(super) shown: String,
    /// The value of the field.
    pub(super) authorization: String,
}

/// Where a listener is.
pub(super) enum Place {
    Tcp(String),
    Unix(String),
}

/// The server's words for what it will not do, however often it is asked.
#[derive(Debug)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Door {
    /// Finds the workers' listener and the access token.
    ///
    /// # Errors
    /// A setting that is not valid, a listener that cannot be meant, a token that cannot be read.
    pub(super) fn new(matches: &ArgMatches) -> Result<Door, Failure> {
        let (settings, _) = arguments::settings(matches)?;
        let named = matches.get_one::<String>("door").cloned();
        let shown = match named {
            Some(named) => named,
            None => match addresses(&settings.data)? {
                Some(addresses) => addresses.workers,
                None => settings.workers.listen.to_string(),
            },
        };
        let must = || Failure::Usage("--workers must be ws://host:port or unix:/path".to_owned());
        let (base, socket) = locate(shown.strip_prefix("ws://").unwrap_or(&shown)).map_err(|_| must())?;
        let has_port = |authority: &&str| {
            authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        let place = match socket {
            Some(path) => Place::Unix(path),
            None => Place::Tcp(base.strip_prefix("http://").filter(has_port).ok_or_else(must)?.to_owned()),
        };
        Ok(Door { place, shown, authorization: format!("Bearer {}", token(&settings)?) })
    }
}

impl Client {
    /// Finds the server and the access token.
    ///
    /// # Errors
    /// A setting that is not valid, a server that cannot be meant, a token that cannot be read.
    pub(super) fn new(matches: &ArgMatches) -> Result<Client, Failure> {
        let (settings, _) = arguments::settings(matches)?;
        let named =
            matches.get_one::<String>("server").cloned().or_else(|| arguments::variable(SERVER_VARIABLE));
        let addresses = if named.is_some() { None } else { addresses(&settings.data)? };
        let server = match (&named, &addresses) {
            (Some(server), _) => server.clone(),
            (None, Some(addresses)) => addresses.admin.clone(),
            (None, None) => settings.admin.listen.to_string(),
        };
        let (base, socket) = locate(&server).map_err(Failure::Usage)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The access token is for the server alone, never for a proxy that the environment names.
            .proxy(None)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_global(Some(ANSWER_LIMIT))
            .build();
        let agent = match socket {
            Some(path) => Agent::with_parts(config, UnixConnector(path.into()), DefaultResolver::default()),
            None => config.new_agent(),
        };
        let authorization = format!("Bearer {}", token(&settings)?);
        Ok(Client { agent, base, shown: server, authorization })
    }

    /// GET.
    pub(super) fn get(&self, path: &str) -> Result<String, Failure> {
        let request = self.request("GET", path).body(());
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    /// GET of a stream of events: what the server sends, for as long as it does.
    pub(super) fn events(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        let request = self.request("GET", path).header("accept", "text/event-stream").body(());
        let request = self.agent.configure_request(request.map_err(unsendable)?);
        // It has no end of its own.
        let response = self.agent.run(request.timeout_global(None).build());
        match response {
            Ok(response) if response.status().is_success() => Ok(response.into_body().into_reader()),
            other => Err(match self.answer(other) {
                Err(failure) => failure,
                Ok(_) => Failure::Failed(anyhow!("{} sends no events", self.shown)),
            }),
        }
    }

    /// DELETE.
    pub(super) fn delete(&self, path: &str) -> Result<String, Failure> {
        let request = self.request("DELETE", path).body(());
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    /// POST or PATCH of a JSON body.
    pub(super) fn send(&self, method: &str, path: &str, body: &impl Serialize) -> Result<String, Failure> {
        let body = serde_json::to_string(body).context("the request cannot be written as JSON")?;
        let request = self.request(method, path).header("content-type", "application/json").body(body);
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let url = format!("{}{path}", self.base);
        Request::builder().method(method).uri(url).header("authorization", self.authorization.as_str())
    }

    /// The answer's text, or the server's words for why there is none.
    fn answer(&self, outcome: Result<Response<ureq::Body>, ureq::Error>) -> Result<String, Failure> {
        let mut response = outcome.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| self.unreachable(error))?;
        if status.is_success() {
            return Ok(body);
        }
        let error: Option<Value> = serde_json::from_str(&body).ok();
        let message = error.as_ref().and_then(|error| error.get("message")).and_then(Value::as_str);
        let message = match message {
            Some(message) if status.as_u16() == 401 => {
                format!("{message} (is the access token the one of the server at {}?)", self.shown)
            }
            Some(message) => message.to_owned(),
            None => {
                let start: String = body.chars().take(STRANGE_ANSWER_CHARS).collect();
                format!("{} answered {status}, which tidegate does not: {start}", self.shown)
            }
        };
        let message = visible(&message).into_owned();
        Err(Failure::Failed(if status.is_client_error() {
            Refused(message).into()
        } else {
            anyhow!(message)
        }))
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        let why = match &error {
            ureq::Error::Io(error) if is_absent(error) => {
                format!("nobody listens there ({error}): is `tidegate serve` running? (--server, --data)")
            }
            ureq::Error::HostNotFound => "there is no such host".to_owned(),
            error => error.to_string(),
        };
        Failure::Failed(anyhow!("{}: {why}", self.shown))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn unsendable(error: ureq::http::Error) -> anyhow::Error {
    anyhow!("the request cannot be sent: {error}")
}

/// The URL to send to and, where the server is a Unix socket, its path.
fn locate(server: &str) -> Result<(String, Option<String>), String> {
    const MUST: &str = "must be http://host:port or unix:/path";
    if let Some(path) = server.strip_prefix("unix:") {
        // `unix:///path` is how some write it.
        let path = path.strip_prefix("//").unwrap_or(path);
        let absolute = path.starts_with('/');
        // The host is for the `Host` field alone, where an address is always served.
        return if absolute {
            Ok(("http://127.0.0.1".to_owned(), Some(path.to_owned())))
        } else {
            Err(format!("the server (--server, {SERVER_VARIABLE}) {MUST}"))
        };
    }
    if server.starts_with("https://") {
        return Err(format!(
            "the server (--server, {SERVER_VARIABLE}) {MUST}: the admin listener has no TLS; reach one on another machine through a tunnel, such as ssh -L"
        ));
    }
    if let Ok(address) = server.parse::<Address>() {
        return base_url("http", &address)
            .map(|base| (base, None))
            .ok_or_else(|| format!("the server (--server, {SERVER_VARIABLE}) {MUST}"));
    }
    let authority = server.strip_prefix("http://").unwrap_or(server);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(format!("the server (--server, {SERVER_VARIABLE}) {MUST}, not {server:?}"));
    }
    Ok((format!("http://{authority}"), None))
}

/// The URL of a listener, from this machine: one that listens everywhere is reached over loopback. None for a socket.
pub(super) fn base_url(scheme: &str, address: &Address) -> Option<String> {
    let Address::Tcp(address) = address else { return None };
    let mut address = *address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    Some(format!("{scheme}://{address}"))
}

/// What the server that serves from this folder wrote about itself; none where there is no such file.
fn addresses(folder: &Path) -> anyhow::Result<Option<Addresses>> {
    let path = folder.join(ADDRESSES_FILE);
    match std::fs::read(&path) {
        Ok(text) => {
            let read = serde_json::from_slice(&text);
            read.map(Some).with_context(|| format!("{} is not what tidegate writes", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn token(settings: &Settings) -> anyhow::Result<String> {
    if let Some(token) = &settings.access_token {
        return Ok(token.expose().to_owned());
    }
    let path = settings.data.join(ACCESS_TOKEN_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "no access token: {} cannot be read (name the data folder with --data, or set TIDEGATE_ACCESS_TOKEN)",
            path.display()
        )
    })?;
    let token = text.trim();
    if let Err(must) = check_access_token(token) {
        bail!("{} does not hold an access token, which {must}", path.display());
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_url_an_address_or_a_socket() {
        let cases = [
            ("http://127.0.0.1:8081", Some(("http://127.0.0.1:8081", None))),
            ("http://hooks.example.org:8081/", Some(("http://hooks.example.org:8081", None))),
            ("hooks.example.org:8081", Some(("http://hooks.example.org:8081", None))),
            ("127.0.0.1:8081", Some(("http://127.0.0.1:8081", None))),
            ("0.0.0.0:8081", Some(("http://127.0.0.1:8081", None))),
            ("[::]:8081", Some(("http://[::1]:8081", None))),
            ("unix:/run/t.sock", Some(("http://127.0.0.1", Some("/run/t.sock")))),
            ("unix:///run/t.sock", Some(("http://127.0.0.1", Some("/run/t.sock")))),
            ("unix:t.sock", None),
            ("https://hooks.example.org", None),
            ("ftp://hooks.example.org", None),
            ("http://user@hooks.example.org", None),
            ("http://hooks.example.org/path", None),
            ("http://", None),
            ("", None),
        ];
        for (server, expected) in cases {
            let found = locate(server).ok();
            let found = found.as_ref().map(|(base, socket)| (base.as_str(), socket.as_deref()));
            assert_eq!(found, expected, "{server}");
        }
    }
}

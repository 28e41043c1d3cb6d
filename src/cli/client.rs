//! The REST API from the side of the client commands: where the server is, the access token, requests and errors.

use std::fmt;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::ArgMatches;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::unversioned::resolver::DefaultResolver;

use super::options::{CA_VARIABLE, SERVER_VARIABLE};
use super::stream::{ClientTls, StreamConnector};
use super::trust::Trust;
use super::{CommandError, addresses, given};
use crate::base::visible::visible;
use crate::settings::{Address, Settings, check_access_token};
use crate::store::ACCESS_TOKEN_FILE;

/// How long a server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take: a test request waits as long as its webhook waits for a reply, at most an hour.
const ANSWER_LIMIT: Duration = Duration::from_secs(3660);
/// Bytes of an answer: 1000 flows of the largest size would be more, and nobody reads that.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The port of `https` and `wss` (RFC 9110, 4.2.2; RFC 6455, 3).
const HTTPS_PORT: u16 = 443;
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

/// Where workers attach to a server, and how.
pub(super) struct WorkerListener {
    /// `host:port`, or the path of a Unix socket.
    pub(super) place: ListenerAddress,
    /// `None`: it is plain.
    pub(super) tls: Option<ClientTls>,
    /// As the user knows it.
    pub(super) shown: String,
    /// The value of the field.
    pub(super) authorization: String,
}

/// Where a listener is.
pub(super) enum ListenerAddress {
    Tcp(String),
    Unix(String),
}

/// The server's words for what it will not do, however often it is asked.
#[derive(Debug)]
pub(super) struct ServerRefusal(String);

impl fmt::Display for ServerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerRefusal {}

impl WorkerListener {
    /// Finds the workers' listener and the access token.
    ///
    /// # Errors
    /// A setting that is not valid, a listener that cannot be meant, a token that cannot be read.
    pub(super) fn new(matches: &ArgMatches) -> Result<WorkerListener, CommandError> {
        let (settings, _) = given::settings(matches)?;
        let named = matches.get_one::<String>("door").cloned();
        let addresses = if named.is_some() { None } else { addresses::read(&settings.data)? };
        let shown = match (&named, &addresses) {
            (Some(named), _) => named.clone(),
            (None, Some(addresses)) => addresses.workers.clone(),
            (None, None) => settings.workers.listen.to_string(),
        };
        let must = || {
            CommandError::Usage("--workers must be ws://host:port, wss://host:port or unix:/path".to_owned())
        };
        let url = match shown.split_once("://") {
            Some(("ws", rest)) => format!("http://{rest}"),
            Some(("wss", rest)) => format!("https://{rest}"),
            Some(_) => return Err(must()),
            None => shown.clone(),
        };
        let located = locate(&url).map_err(|_| must())?;
        let certificates = addresses.map(|addresses| addresses.workers_certificates).unwrap_or_default();
        let tls = located.tls(matches, &certificates)?;
        let place = match (located.socket, located.authority) {
            (Some(path), _) => ListenerAddress::Unix(path),
            (None, authority) if has_port(&authority) => ListenerAddress::Tcp(authority),
            (None, authority) if located.is_tls => ListenerAddress::Tcp(format!("{authority}:{HTTPS_PORT}")),
            _ => return Err(must()),
        };
        Ok(WorkerListener { place, tls, shown, authorization: format!("Bearer {}", token(&settings)?) })
    }
}

impl Client {
    /// Finds the server and the access token.
    ///
    /// # Errors
    /// A setting that is not valid, a server that cannot be meant, a token that cannot be read.
    pub(super) fn new(matches: &ArgMatches) -> Result<Client, CommandError> {
        let (settings, _) = given::settings(matches)?;
        let named = matches.get_one::<String>("server").cloned().or_else(|| given::variable(SERVER_VARIABLE));
        let addresses = if named.is_some() { None } else { addresses::read(&settings.data)? };
        let server = match (&named, &addresses) {
            (Some(server), _) => server.clone(),
            (None, Some(addresses)) => addresses.admin.clone(),
            (None, None) => settings.admin.listen.to_string(),
        };
        let located = locate(&server).map_err(CommandError::Usage)?;
        let certificates = addresses.map(|addresses| addresses.admin_certificates).unwrap_or_default();
        let tls = located.tls(matches, &certificates)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{}", located.authority);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // The access token is for the server alone, never for a proxy that the environment names.
            .proxy(None)
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_global(Some(ANSWER_LIMIT))
            .build();
        let agent = match (located.socket, tls) {
            (None, None) => config.new_agent(),
            (path, tls) => {
                Agent::with_parts(config, StreamConnector { path, tls }, DefaultResolver::default())
            }
        };
        let authorization = format!("Bearer {}", token(&settings)?);
        Ok(Client { agent, base, shown: server, authorization })
    }

    /// GET.
    pub(super) fn get(&self, path: &str) -> Result<String, CommandError> {
        let request = self.request("GET", path).body(());
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    /// GET of a stream of events: what the server sends, for as long as it does.
    pub(super) fn events(&self, path: &str) -> Result<impl Read + use<>, CommandError> {
        let request = self.request("GET", path).header("accept", "text/event-stream").body(());
        let request = self.agent.configure_request(request.map_err(unsendable)?);
        // It has no end of its own.
        let response = self.agent.run(request.timeout_global(None).build());
        match response {
            Ok(response) if response.status().is_success() => Ok(response.into_body().into_reader()),
            other => Err(match self.answer(other) {
                Err(failure) => failure,
                Ok(_) => CommandError::Failed(anyhow!("{} sends no events", self.shown)),
            }),
        }
    }

    /// GET of bytes, with their number where the server says it.
    pub(super) fn download(&self, path: &str) -> Result<(Option<u64>, impl Read + use<>), CommandError> {
        let request = self.request("GET", path).body(()).map_err(unsendable)?;
        match self.agent.run(request) {
            Ok(response) if response.status().is_success() => {
                let length = response.headers().get("content-length").and_then(|value| value.to_str().ok());
                Ok((length.and_then(|text| text.parse().ok()), response.into_body().into_reader()))
            }
            other => Err(match self.answer(other) {
                Err(failure) => failure,
                Ok(_) => CommandError::Failed(anyhow!("{} sends no file", self.shown)),
            }),
        }
    }

    /// DELETE.
    pub(super) fn delete(&self, path: &str) -> Result<String, CommandError> {
        let request = self.request("DELETE", path).body(());
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    /// POST or PATCH of a JSON body.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<String, CommandError> {
        let body = serde_json::to_string(body).context("the request cannot be written as JSON")?;
        let request = self.request(method, path).header("content-type", "application/json").body(body);
        self.answer(self.agent.run(request.map_err(unsendable)?))
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let url = format!("{}{path}", self.base);
        Request::builder().method(method).uri(url).header("authorization", self.authorization.as_str())
    }

    /// The answer's text, or the server's words for why there is none.
    fn answer(&self, outcome: Result<Response<ureq::Body>, ureq::Error>) -> Result<String, CommandError> {
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
        Err(CommandError::Failed(if status.is_client_error() {
            ServerRefusal(message).into()
        } else {
            anyhow!(message)
        }))
    }

    fn unreachable(&self, error: ureq::Error) -> CommandError {
        let why = match &error {
            ureq::Error::Io(error) if is_absent(error) => {
                format!("nobody listens there ({error}): is `tidegate serve` running? (--server, --data)")
            }
            ureq::Error::HostNotFound => "there is no such host".to_owned(),
            error => error.to_string(),
        };
        CommandError::Failed(anyhow!("{}: {why}", self.shown))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn unsendable(error: ureq::http::Error) -> anyhow::Error {
    anyhow!("the request cannot be sent: {error}")
}

/// How a listener is reached.
#[derive(Debug, PartialEq, Eq)]
struct Located {
    /// `host:port`, or `host`.
    authority: String,
    /// The path of a Unix socket.
    socket: Option<String>,
    /// `https`.
    is_tls: bool,
}

impl Located {
    /// TLS of the connections, where it was asked for or a server on this machine shows `certificates`.
    fn tls(&self, matches: &ArgMatches, certificates: &[PathBuf]) -> Result<Option<ClientTls>, CommandError> {
        if !self.is_tls && certificates.is_empty() {
            return Ok(None);
        }
        let named = matches.try_get_one::<PathBuf>("ca").ok().flatten().cloned();
        let named = named.or_else(|| given::variable(CA_VARIABLE).map(PathBuf::from));
        let trust = match &named {
            Some(file) => Trust::File(file),
            None if certificates.is_empty() => Trust::System,
            None => Trust::Shown(certificates),
        };
        let host = if has_port(&self.authority) {
            self.authority.rsplit_once(':').map_or("", |(host, _)| host)
        } else {
            &self.authority
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            CommandError::Usage(format!("{host:?} is not a name that a certificate can have"))
        })?;
        Ok(Some(ClientTls { config: trust.config()?, name }))
    }
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// Reads how a server is named.
fn locate(server: &str) -> Result<Located, String> {
    let must = || {
        format!(
            "the server (--server, {SERVER_VARIABLE}) must be http://host:port, https://host:port or unix:/path, not {server:?}"
        )
    };
    if let Some(path) = server.strip_prefix("unix:") {
        // `unix:///path` is how some write it.
        let path = path.strip_prefix("//").unwrap_or(path);
        // The host is for the `Host` field alone, where an address is always served.
        let authority = "127.0.0.1".to_owned();
        let socket = path.starts_with('/').then(|| path.to_owned()).ok_or_else(must)?;
        return Ok(Located { authority, socket: Some(socket), is_tls: false });
    }
    let (authority, is_tls) = match server.split_once("://") {
        Some(("http", rest)) => (rest, false),
        Some(("https", rest)) => (rest, true),
        Some(_) => return Err(must()),
        None => (server, false),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return Err(must());
    }
    let authority = match authority.parse() {
        Ok(address) => reached(address).to_string(),
        Err(_) => authority.to_owned(),
    };
    Ok(Located { authority, socket: None, is_tls })
}

/// An address as it is reached from this machine: one that listens everywhere, over loopback.
fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// The URL of a listener, from this machine; `None` for a Unix socket.
pub(super) fn base_url(scheme: &str, address: &Address) -> Option<String> {
    match address {
        Address::Tcp(address) => Some(format!("{scheme}://{}", reached(*address))),
        Address::Unix(_) => None,
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
        let plain = |authority: &str| Some((authority.to_owned(), None, false));
        let tls = |authority: &str| Some((authority.to_owned(), None, true));
        let socket = |path: &str| Some(("127.0.0.1".to_owned(), Some(path.to_owned()), false));
        let cases = [
            ("http://127.0.0.1:8081", plain("127.0.0.1:8081")),
            ("http://hooks.example.org:8081/", plain("hooks.example.org:8081")),
            ("hooks.example.org:8081", plain("hooks.example.org:8081")),
            ("127.0.0.1:8081", plain("127.0.0.1:8081")),
            ("0.0.0.0:8081", plain("127.0.0.1:8081")),
            ("[::]:8081", plain("[::1]:8081")),
            ("https://hooks.example.org", tls("hooks.example.org")),
            ("https://hooks.example.org:8443/", tls("hooks.example.org:8443")),
            ("https://0.0.0.0:8443", tls("127.0.0.1:8443")),
            ("unix:/run/t.sock", socket("/run/t.sock")),
            ("unix:///run/t.sock", socket("/run/t.sock")),
            ("unix:t.sock", None),
            ("ftp://hooks.example.org", None),
            ("http://user@hooks.example.org", None),
            ("http://hooks.example.org/path", None),
            ("http://", None),
            ("https://", None),
            ("", None),
        ];
        for (server, expected) in cases {
            let found = locate(server).ok().map(|found| (found.authority, found.socket, found.is_tls));
            assert_eq!(found, expected, "{server}");
        }
    }
}

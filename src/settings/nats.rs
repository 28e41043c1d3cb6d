//! How NATS is reached: its URLs, and what a connection is opened with.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::names::check_host_port;
use super::{Secret, SettingsError, SettingsResolver};
use crate::base::text::percent_decode_strict_into;

/// The port of a URL that names none.
const PORT_DEFAULT: u16 = 4222;

/// Servers of NATS, and what a connection to them is opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nats {
    /// None: NATS is not used.
    pub urls: Vec<NatsUrl>,
    /// File of a JWT and its key.
    pub credentials: Option<PathBuf>,
    /// File of the seed of a key.
    pub nkey: Option<PathBuf>,
    pub tls: NatsTls,
}

/// PEM files of a connection to NATS. With any of them, one without TLS is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatsTls {
    /// Roots that the servers' certificates chain to, in place of the system's.
    pub ca: Option<PathBuf>,
    /// Certificate of this client, and its key.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl NatsTls {
    /// Whether a connection has to be encrypted.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.ca.is_some() || self.certificate.is_some()
    }
}

/// A cluster of nodes on NATS JetStream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Servers of its own; without any, those of `nats.url` where the cluster has a name.
    pub nats: Nats,
    /// Name of the cluster; `None` unless it was given.
    pub name: Option<String>,
    /// Copies of its streams; 0: three where NATS is a cluster, else one.
    pub replicas: usize,
    /// How long callers wait until their triggers are stored, in seconds.
    pub ack_timeout: u32,
    /// Streams of its journal.
    pub shards: usize,
    /// Monitoring ports of its servers, which tell whether they sync what they ack.
    pub monitor: Vec<MonitorUrl>,
}

impl Cluster {
    /// The name of a cluster that was given none.
    pub const NAME_DEFAULT: &str = "tidegate";

    /// First token of the cluster's subjects.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.name.as_deref().unwrap_or(Cluster::NAME_DEFAULT)
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            nats: Nats::default(),
            name: None,
            replicas: 0,
            ack_timeout: 10,
            shards: 1,
            monitor: Vec::new(),
        }
    }
}

/// Whether this can be the name of a cluster: it is a token of subjects, and part of the names of streams.
pub(super) fn check_cluster_name(name: &str) -> Result<(), String> {
    const CHARS_MAX: usize = 64;
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=CHARS_MAX).contains(&name.len()) && name.bytes().all(is_good) {
        return Ok(());
    }
    Err(format!("must be 1 to {CHARS_MAX} of a-z, 0-9 and -, not {name:?}"))
}

impl SettingsResolver {
    /// Checks that the credentials for NATS can be used.
    pub(super) fn check_nats(&self) -> Result<(), SettingsError> {
        for (table, nats) in [("nats", &self.settings.nats), ("cluster", &self.settings.cluster.nats)] {
            let url = if table == "nats" { "nats.url" } else { "cluster.nats" };
            let refuse = |keys: &[&str], message: &str| {
                let keys: Vec<String> = keys.iter().map(|key| format!("{table}.{key}")).collect();
                self.refuse(&keys.iter().map(String::as_str).collect::<Vec<_>>(), message)
            };
            if nats.tls.certificate.is_some() != nats.tls.key.is_some() {
                let message = format!("{table}.tls.certificate and {table}.tls.key must be given together");
                return Err(refuse(&["tls.certificate", "tls.key"], &message));
            }
            let has_file = nats.credentials.is_some() || nats.nkey.is_some() || nats.tls.is_set();
            if has_file && nats.urls.is_empty() {
                let message = format!("{url} must be given too: without it they are for no server");
                return Err(refuse(&["credentials", "nkey", "tls.ca", "tls.certificate"], &message));
            }
            if nats.credentials.is_some() && nats.nkey.is_some() {
                let message = format!("{table}.credentials and {table}.nkey cannot both be given");
                return Err(refuse(&["credentials", "nkey"], &message));
            }
        }
        let has_servers = !self.settings.nats.urls.is_empty() || !self.settings.cluster.nats.urls.is_empty();
        if !self.settings.cluster.monitor.is_empty() && self.settings.cluster_nats().is_none() {
            return Err(self.refuse(
                &["cluster.monitor"],
                "cluster.monitor is of a cluster: cluster.nats must be given too",
            ));
        }
        if self.settings.cluster.name.is_some() && !has_servers {
            return Err(self.refuse(
                &["cluster.name"],
                "cluster.name needs cluster.nats or nats.url: a cluster is one on NATS",
            ));
        }
        Ok(())
    }
}

/// URL of the monitoring port of a server: `http://`, host, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorUrl {
    /// Host and port.
    address: String,
}

impl fmt::Display for MonitorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl FromStr for MonitorUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<MonitorUrl, String> {
        let must = || "must be URLs such as http://nats-1:8222, with commas".to_owned();
        let address = text.strip_prefix("http://").ok_or_else(must)?;
        let address = address.strip_suffix('/').unwrap_or(address);
        check_host_port(address).map_err(|_| must())?;
        Ok(MonitorUrl { address: address.to_owned() })
    }
}

/// URL of a server: `nats://` or `tls://`, perhaps user and password or a token, host, perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsUrl {
    pub is_tls: bool,
    /// Host and port.
    pub address: String,
    pub login: Option<NatsLogin>,
}

/// The credentials in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NatsLogin {
    User(String, Secret),
    Token(Secret),
}

/// The server, without the credentials.
impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "tls" } else { "nats" };
        write!(f, "{scheme}://{}", self.address)
    }
}

impl FromStr for NatsUrl {
    type Err = String;

    /// Errors show nothing of the URL: it may hold a password.
    fn from_str(text: &str) -> Result<NatsUrl, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            _ => return Err("must be URLs that begin with nats:// or tls://".to_owned()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(
                "must be URLs without a path; `/`, `?` and `#` in a password are written %2F, %3F, %23"
                    .to_owned(),
            );
        }
        let (login, host) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, host)) => (Some(login_of(login)?), host),
        };
        let bracketed_end = host.rfind(']').unwrap_or(0);
        let has_port = host[bracketed_end..].contains(':');
        let address = if has_port { host.to_owned() } else { format!("{host}:{PORT_DEFAULT}") };
        check_host_port(&address)
            .map_err(|_| "must be URLs with a host, and a port of 1 to 65535 if any".to_owned())?;
        Ok(NatsUrl { is_tls, address, login })
    }
}

/// `user:password`, or a token; percent-encoded.
fn login_of(text: &str) -> Result<NatsLogin, String> {
    let decoded = |text: &str| {
        let mut bytes = Vec::new();
        let is_clean = percent_decode_strict_into(&mut bytes, text.as_bytes(), false);
        String::from_utf8(bytes)
            .ok()
            .filter(|text| is_clean && !text.is_empty())
            .ok_or("must be URLs whose user and password are percent-encoded, and not empty")
    };
    Ok(match text.split_once(':') {
        Some((user, password)) => NatsLogin::User(decoded(user)?, Secret(decoded(password)?)),
        None => NatsLogin::Token(Secret(decoded(text)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> NatsUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_has_a_host_and_what_the_client_logs_in_with() {
        for (text, shown) in [
            ("nats://a.example", "nats://a.example:4222"),
            ("nats://a.example:1", "nats://a.example:1"),
            ("tls://[::1]/", "tls://[::1]:4222"),
            ("tls://[::1]:5", "tls://[::1]:5"),
            ("nats://u:p@a", "nats://a:4222"),
            ("nats://t0k3n@127.0.0.1:9", "nats://127.0.0.1:9"),
        ] {
            assert_eq!(url(text).to_string(), shown, "{text}");
        }
        let login = url("nats://u%40x:s3c%20ret%2F%2B%40@a").login;
        assert_eq!(login, Some(NatsLogin::User("u@x".to_owned(), Secret("s3c ret/+@".to_owned()))));
        assert_eq!(url("nats://t%3A@a").login, Some(NatsLogin::Token(Secret("t:".to_owned()))));
        assert!(!format!("{:?}", url("nats://user:hidden@a")).contains("hidden"));
    }

    #[test]
    fn a_monitoring_port_has_a_host_and_a_port_and_nothing_more() {
        for text in ["http://nats-1:8222", "http://[::1]:1", "http://10.0.0.1:65535/"] {
            let url: MonitorUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for text in
            ["nats-1:8222", "https://a:1", "http://a", "http://a:0", "http://a:1/jsz", "http://u@a b:1"]
        {
            assert!(text.parse::<MonitorUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_it() {
        for text in [
            "ws://a",
            "http://a",
            "a.example:1",
            "nats://",
            "nats://a:0",
            "nats://a:65536",
            "nats://pa/ss@a",
            "nats://u:%zz@a",
            "nats://u:@a",
            "nats://a?x",
            "nats://a b",
        ] {
            let error = text.parse::<NatsUrl>().expect_err(text);
            assert!(error.starts_with("must be URLs") && !error.contains("ss@"), "{text}: {error}");
        }
    }
}

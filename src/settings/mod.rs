//! Layer 2: the settings of an operator. One table ([`ENTRIES`]) says for each setting its key in the file, its
//! environment variable, its flag, its default and what it is for; the reader of the file, of the environment, the
//! command line, `--help` and the guide's table all come from it.
//!
//! Every value passes through its text form, whatever it came from, so that a file, a variable and a flag agree on
//! what is valid. [`Settings`] is what comes out: resolved, checked, typed.
//!
//! Not here: reading files or the environment of the process (`cli`).

mod address;
mod defaults;
mod entry;
mod names;
mod nats;
mod nats_table;
mod operation;
mod table;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};

pub use address::Address;
pub use entry::Entry;
pub(crate) use names::check_access_token;
pub(crate) use nats::{Cluster, MonitorUrl, Nats, NatsLogin, NatsUrl};
pub use table::ENTRIES;

use crate::base::ip_net::IpNet;

/// Which event loop the cores run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where it can be had, else epoll.
    Auto,
    IoUring,
    Epoll,
}

/// When a trigger is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk: neither a crash nor a power cut loses it.
    Fsync,
    /// The kernel has it: a crash of the process does not lose it, one of the machine may.
    Os,
    /// It is in this process's memory: a crash loses it.
    Memory,
}

/// Calls that the log has a line of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRequests {
    Off,
    Refused,
    All,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for who must compare or send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The ingress listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub listen: Address,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// CORS fields on every response.
    pub cors: bool,
    /// Requests have ids.
    pub request_id: bool,
    /// The files of the TLS configuration; without them, TLS is off.
    pub tls: TlsFiles,
    /// How callers reach the ingress; none: as the listener says.
    pub public_url: Option<String>,
}

impl Ingress {
    /// The scheme of its URLs.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.tls.scheme()
    }

    /// The URL that callers know the ingress by, without a slash at the end: as it was set, else of the address that was
    /// bound. Senders that sign URLs are held to it.
    #[must_use]
    pub fn called_url(&self, bound: &Address) -> String {
        let scheme = self.scheme();
        match (&self.public_url, bound) {
            (Some(url), _) => url.clone(),
            (None, Address::Tcp(address)) => format!("{scheme}://{address}"),
            (None, Address::Unix(_)) => format!("{scheme}://localhost"),
        }
    }
}

/// PEM files of certificate chains and of their keys, in pairs. The first is for clients that ask for no name that
/// another has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificates: Vec<PathBuf>,
    /// As many.
    pub keys: Vec<PathBuf>,
}

impl TlsFiles {
    /// Whether there is TLS at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// The scheme of the URLs of a listener with these files.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.is_set() { "https" } else { "http" }
    }

    /// Each chain with its key.
    pub fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.certificates.iter().map(PathBuf::as_path).zip(self.keys.iter().map(PathBuf::as_path))
    }
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    pub listen: Address,
    /// Names that it answers for, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// `/metrics` and `/openapi.json` without the token.
    pub open_metrics: bool,
    /// Certificates; without files, it is plain HTTP.
    pub tls: TlsFiles,
}

/// The workers' listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    pub listen: Address,
    /// Certificates; without files, it is plain HTTP.
    pub tls: TlsFiles,
}

/// The limits of a webhook that sets none of its own, and those of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls in a window; 0 for no limit.
    pub requests_per_window: u32,
    pub window_seconds: u32,
    /// Calls at a time; 0 for no limit.
    pub concurrency: u32,
    /// Bytes of a body, a message, a reply.
    pub payload_bytes: u32,
    pub reply_timeout_seconds: u32,
    /// Open connections of the process.
    pub connections: u32,
    /// Bytes of bodies that are coming in, for each core.
    pub body_bytes: u64,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    pub durability: Durability,
    /// The most bytes of its segments.
    pub max_bytes: u64,
    /// How long a delivery is tried.
    pub retention_seconds: u32,
}

/// Records of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// Of each webhook that does not say; 0: none.
    pub events: u32,
    /// Memory of all of them.
    pub bytes: u64,
    /// How long they are kept.
    pub seconds: u32,
}

/// Requests to targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Networks that targets may be in; none: all but the denied ones.
    pub allowed_networks: Vec<IpNet>,
    /// Networks that no target may be in.
    pub denied_networks: Vec<IpNet>,
    /// Threads that send them; at least 1.
    pub threads: usize,
    /// A PEM file of the roots that targets' certificates chain to, in place of the system's.
    pub roots: Option<PathBuf>,
}

/// WebSocket webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// Compression may remember earlier messages: smaller messages for more memory.
    pub context_takeover: bool,
}

/// Verification of Alexa's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alexa {
    /// A PEM file of roots in place of the public ones.
    pub roots: Option<PathBuf>,
    /// `host:port` where `s3.amazonaws.com` is reached.
    pub connect_to: Option<String>,
}

/// How long peers are waited for, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutSettings {
    pub head: u32,
    pub body: u32,
    pub idle: u32,
    pub write: u32,
    pub tls_handshake: u32,
    /// 0: WebSockets are not pinged.
    pub websocket_ping: u32,
    pub websocket_pong: u32,
}

/// Everything that can be set, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub data: PathBuf,
    /// Engine threads; at least 1.
    pub cores: usize,
    pub ingress: Ingress,
    pub admin: Admin,
    pub workers: Workers,
    pub access_token: Option<Secret>,
    pub limits: Limits,
    pub journal: JournalSettings,
    pub record: Records,
    pub forward: Forward,
    /// The servers that `NatsNode` publishes to; without any, those of the cluster.
    pub nats: Nats,
    pub cluster: Cluster,
    pub websocket: WebSocket,
    pub alexa: Alexa,
    pub timeouts: TimeoutSettings,
    /// Seconds between the signal to stop, when `/readyz` turns to 503, and the end of accepting.
    pub drain_delay_seconds: u32,
    pub driver: Driver,
    /// A level (`info`) or directives (`tidegate=debug,info`).
    pub log: String,
    pub log_requests: LogRequests,
    pub log_format: LogFormat,
    /// Webhooks that the metrics page shows by their id; 0: none.
    pub metrics_webhooks: usize,
    /// URL of the collector of spans; `None`: no traces are kept.
    pub tracing_otlp: Option<String>,
}

/// Why the settings are refused, naming the setting and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// `tidegate.toml:3`, `TIDEGATE_CORES in the environment`, `--cores`.
    pub place: String,
    pub message: String,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl std::error::Error for SettingsError {}

/// The prefix of every variable of ours.
const PREFIX: &str = "TIDEGATE_";
/// Variables with the prefix that are not settings of the server: where the commands find it.
const CLIENT_VARIABLES: &[&str] = &["TIDEGATE_SERVER", "TIDEGATE_CONFIG", "TIDEGATE_CA"];
/// Keys of settings whose value is never shown.
const SECRET_KEYS: &[&str] = &["access_token"];
/// A key that is both a setting and a table of others, and the setting's name within the table: TOML has no room for it
/// beside the table.
const LOG: &str = "log";
const LOG_LEVEL: &str = "log.level";
/// The text shown in place of a secret.
const SECRET_SHOWN: &str = "***";

/// A value that was given for a setting, and where.
#[derive(Clone, Debug)]
pub struct Given {
    pub entry: &'static Entry,
    /// In its text form, fit to be shown: a secret is `***`.
    pub shown: String,
    /// As in [`SettingsError`].
    pub place: String,
}

impl Settings {
    /// The servers of the cluster that this node is one of, if it is.
    #[must_use]
    pub fn cluster_nats(&self) -> Option<&Nats> {
        let of_name = self.cluster.name.is_some().then_some(&self.nats);
        [Some(&self.cluster.nats), of_name].into_iter().flatten().find(|nats| !nats.urls.is_empty())
    }

    /// The servers that `NatsNode` publishes to, if there are any.
    #[must_use]
    pub fn node_nats(&self) -> Option<&Nats> {
        [&self.nats, &self.cluster.nats].into_iter().find(|nats| !nats.urls.is_empty())
    }

    /// The defaults, for a process that may run on `cores` CPUs.
    ///
    /// # Panics
    /// If a default of the table is not valid, which a test excludes.
    #[must_use]
    pub fn defaults(cores: usize) -> Settings {
        defaults::defaults(cores)
    }

    /// The files of each listener's TLS, with the listener's name.
    pub fn tls_files(&self) -> impl Iterator<Item = (&'static str, &TlsFiles)> {
        [("ingress", &self.ingress.tls), ("admin", &self.admin.tls), ("workers", &self.workers.tls)]
            .into_iter()
    }

    /// Resolves the settings: the file over the defaults, the environment over the file, flags over both.
    ///
    /// `file` is its name and its text; `flags` are pairs of a flag's name (without dashes) and its value.
    ///
    /// # Errors
    /// The first setting that is unknown or not valid.
    pub fn resolve(
        cores: usize,
        file: Option<(&str, &str)>,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<Settings, SettingsError> {
        Settings::resolve_given(cores, file, environment, flags).map(|(settings, _)| settings)
    }

    /// As [`Settings::resolve`], with every value that was given, in rising order: the last one of a setting counts.
    ///
    /// # Errors
    /// The first setting that is unknown or not valid.
    pub fn resolve_given(
        cores: usize,
        file: Option<(&str, &str)>,
        environment: &[(String, String)],
        flags: &[(String, String)],
    ) -> Result<(Settings, Vec<Given>), SettingsError> {
        let mut resolver = SettingsResolver { settings: Settings::defaults(cores), given: Vec::new() };
        if let Some((name, text)) = file {
            resolver.read_file(name, text)?;
        }
        for (variable, value) in environment {
            if !variable.starts_with(PREFIX) || CLIENT_VARIABLES.contains(&variable.as_str()) {
                continue;
            }
            let place = || format!("{variable} in the environment");
            let entry = ENTRIES.iter().find(|entry| entry.variable == variable);
            resolver.set(entry, variable, value, place)?;
        }
        for (flag, value) in flags {
            let entry = ENTRIES.iter().find(|entry| entry.flag == Some(flag.as_str()));
            resolver.set(entry, flag, value, || format!("--{flag}"))?;
        }
        resolver.check_together()?;
        Ok((resolver.settings, resolver.given))
    }
}

/// The settings while they are gathered.
struct SettingsResolver {
    settings: Settings,
    given: Vec<Given>,
}

impl SettingsResolver {
    fn set(
        &mut self,
        entry: Option<&'static Entry>,
        name: &str,
        value: &str,
        place: impl Fn() -> String,
    ) -> Result<(), SettingsError> {
        let Some(entry) = entry else {
            return Err(SettingsError {
                place: place(),
                message: format!("there is no setting {name}{}", similar(name)),
            });
        };
        let value = value.trim();
        (entry.set)(&mut self.settings, value).map_err(|message| SettingsError {
            place: place(),
            message: format!("{} {message}", entry.key),
        })?;
        let shown =
            if SECRET_KEYS.contains(&entry.key) { SECRET_SHOWN.to_owned() } else { without_users(value) };
        self.given.push(Given { entry, shown, place: place() });
        Ok(())
    }

    /// Checks what depends on more than one setting.
    fn check_together(&self) -> Result<(), SettingsError> {
        let ingress = &self.settings.ingress;
        for (listener, files) in self.settings.tls_files() {
            let (certificates, keys) = (files.certificates.len(), files.keys.len());
            if certificates != keys {
                let (certificate, key) =
                    (format!("{listener}.tls.certificate"), format!("{listener}.tls.key"));
                return Err(self.refuse(
                    &[&certificate, &key],
                    &format!(
                        "{certificate} and {key} must name as many files, one key for each certificate: there are {certificates} and {keys}"
                    ),
                ));
            }
        }
        self.check_listeners()?;
        self.check_nats()?;
        // A Unix socket's peers are those whom its directory lets in.
        let is_tcp = matches!(ingress.listen, Address::Tcp(_));
        if ingress.proxy_protocol && is_tcp && ingress.trusted_proxies.is_empty() {
            return Err(self.refuse(
                &["ingress.proxy_protocol"],
                "ingress.proxy_protocol needs ingress.trusted_proxies: without one, every connection would be refused",
            ));
        }
        Ok(())
    }

    /// No two listeners can have one address.
    fn check_listeners(&self) -> Result<(), SettingsError> {
        let settings = &self.settings;
        let listeners = [
            ("ingress.listen", &settings.ingress.listen),
            ("admin.listen", &settings.admin.listen),
            ("workers.listen", &settings.workers.listen),
        ];
        for (index, (key, address)) in listeners.iter().enumerate() {
            for (other_key, other) in &listeners[index + 1..] {
                if address.excludes(other) {
                    return Err(self.refuse(
                        &[key, other_key],
                        &format!("{key} and {other_key} cannot both listen on {other}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// A refusal at the last place where one of the settings was given.
    fn refuse(&self, keys: &[&str], message: &str) -> SettingsError {
        let last = self.given.iter().rev().find(|given| keys.contains(&given.entry.key));
        SettingsError {
            place: last.map_or_else(|| "the settings".to_owned(), |given| given.place.clone()),
            message: message.to_owned(),
        }
    }

    /// Reads a TOML file whose tables and keys make the dotted keys of the table.
    fn read_file(&mut self, name: &str, text: &str) -> Result<(), SettingsError> {
        let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let document = toml::de::DeTable::parse(text).map_err(|error| SettingsError {
            place: format!("{name}:{}", error.span().map_or(1, |span| line(span.start))),
            message: error.message().to_owned(),
        })?;
        self.read_table("", document.get_ref(), &|at| format!("{name}:{}", line(at)))
    }

    fn read_table(
        &mut self,
        prefix: &str,
        table: &toml::de::DeTable<'_>,
        place: &dyn Fn(usize) -> String,
    ) -> Result<(), SettingsError> {
        for (key, value) in table {
            let at = key.span().start;
            let name = if prefix.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{prefix}.{}", key.get_ref())
            };
            let key_of_name = if name == LOG_LEVEL { LOG } else { &name };
            let entry = ENTRIES.iter().find(|entry| entry.key == key_of_name);
            if let toml::de::DeValue::Table(table) = value.get_ref()
                && (entry.is_none() || is_table(&name))
            {
                // An empty one would say nothing, and is a slip of the pen all the same.
                if table.is_empty() && !is_table(&name) {
                    self.set(None, &name, "", || place(at))?;
                }
                self.read_table(&name, table, place)?;
                continue;
            }
            let text = file_text(value.get_ref()).ok_or_else(|| SettingsError {
                place: place(at),
                message: format!("{name} is of a type that no setting has"),
            })?;
            self.set(entry, &name, &text, || place(at))?;
        }
        Ok(())
    }
}

/// Whether settings stand below this name.
fn is_table(name: &str) -> bool {
    ENTRIES.iter().any(|entry| entry.key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The variables whose values are secrets: a program that this one starts must not get them.
pub fn secret_variables() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().filter(|entry| SECRET_KEYS.contains(&entry.key)).map(|entry| entry.variable)
}

/// A value whose URLs have lost their credentials: there may be several, with commas.
fn without_users(value: &str) -> String {
    value.split(',').map(without_user).collect::<Vec<_>>().join(",")
}

/// A URL without the credentials that may stand before its host; any other value as it is.
fn without_user(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{SECRET_SHOWN}@{host}{path}"),
        None => value.to_owned(),
    }
}

/// A TOML value in the text form that variables and flags have; lists with commas.
fn file_text(value: &toml::de::DeValue<'_>) -> Option<String> {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string().replace('_', "")),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| file_text(item.get_ref())).collect();
            Some(items?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// A hint where a name is nearly one that there is.
fn similar(name: &str) -> String {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.'], "_").replace("tidegate_", "");
    let wanted = plain(name);
    let near = ENTRIES.iter().find(|entry| {
        let last = entry.key.rsplit('.').next().unwrap_or(entry.key);
        plain(entry.key) == wanted || last == wanted || plain(entry.key).ends_with(&wanted)
    });
    near.map_or(String::new(), |entry| {
        format!(" (perhaps {}, {} or --{}?)", entry.key, entry.variable, entry.flag.unwrap_or(""))
    })
    .replace(" or --?", "?")
}

#[cfg(test)]
mod tests;

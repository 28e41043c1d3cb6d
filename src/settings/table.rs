//! The table of settings.

use std::str::FromStr;

use super::names::{check_access_token, check_admin_host, check_host_port, check_public_url};
use super::{
    Address, Admin, Alexa, Driver, Durability, Forward, Ingress, Journal, Limits, Secret, Settings, TlsFiles,
    WebSocket, Workers,
};

/// One setting.
pub struct Entry {
    /// In the file.
    pub key: &'static str,
    /// In the environment.
    pub variable: &'static str,
    /// On the command line, without dashes; none for what must not show in a process list.
    pub flag: Option<&'static str>,
    /// As `--help` and the guide show it.
    pub default: &'static str,
    pub help: &'static str,
    /// Puts a value in, or says what it must be.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

// The largest of each limit of webhooks is the same as where a webhook has its own (`model::HookLimits`).

/// Most calls in a window: beyond it a limit means nothing.
const REQUESTS_PER_WINDOW_MAX: u32 = 1_000_000_000;
/// Most calls at a time: more than a process has connections.
const CONCURRENCY_MAX: u32 = 100_000_000;
/// The longest window of a rate limit: a day.
const WINDOW_SECONDS_MAX: u32 = 86_400;
/// The smallest journal: some segments of the smallest size for one core.
const JOURNAL_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// The largest payload that can be allowed: 64 MiB, so that one core can still hold a few.
const PAYLOAD_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// The longest wait for a reply: an hour.
const REPLY_TIMEOUT_SECONDS_MAX: u32 = 3600;
/// Engine threads: a `replyId` has 16 bits for its core, and no machine has this many.
const CORES_MAX: usize = 1024;

/// The longest retention: a year.
const RETENTION_SECONDS_MAX: u32 = 365 * 86_400;
/// Threads that send: a target is waited for by tasks, not by threads.
const FORWARD_THREADS_MAX: usize = 64;
/// Networks that nothing is forwarded to unless an operator says otherwise: link-local addresses, and those where clouds
/// serve the credentials of the machine (AWS, Google, Alibaba, Azure, Oracle).
const DENIED_NETWORKS: [&str; 7] = [
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
];

macro_rules! entry {
    ($key:literal, $variable:literal, $flag:expr, $default:literal, $help:literal, $set:expr) => {
        Entry { key: $key, variable: $variable, flag: $flag, default: $default, help: $help, set: $set }
    };
}

/// Every setting, in the order of the guide's table.
pub static ENTRIES: &[Entry] = &[
    entry!(
        "data",
        "TIDEGATE_DATA",
        Some("data"),
        "tidegate-data",
        "Folder of the database, the access token and the addresses",
        |s, v| {
            if v.is_empty() {
                return Err("must be a path".into());
            }
            s.data = v.into();
            Ok(())
        }
    ),
    entry!(
        "cores",
        "TIDEGATE_CORES",
        Some("cores"),
        "as many as the process may run on",
        "Engine threads, each with a ring and connections of its own",
        |s, v| {
            s.cores = within(v, 1, CORES_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "ingress.listen",
        "TIDEGATE_INGRESS_LISTEN",
        Some("ingress"),
        "127.0.0.1:8080",
        "Where webhooks are served: ip:port or unix:/path",
        |s, v| {
            s.ingress.listen = v.parse()?;
            Ok(())
        }
    ),
    entry!(
        "admin.listen",
        "TIDEGATE_ADMIN_LISTEN",
        Some("admin"),
        "127.0.0.1:8081",
        "Where the REST API, the metrics and the health checks are served",
        |s, v| {
            s.admin.listen = v.parse()?;
            Ok(())
        }
    ),
    entry!(
        "workers.listen",
        "TIDEGATE_WORKERS_LISTEN",
        Some("workers"),
        "127.0.0.1:8082",
        "Where workers attach to flows",
        |s, v| {
            s.workers.listen = v.parse()?;
            Ok(())
        }
    ),
    entry!(
        "access_token",
        "TIDEGATE_ACCESS_TOKEN",
        None,
        "made at first start",
        "What the REST API asks for; 16 to 4096 visible ASCII characters",
        |s, v| {
            check_access_token(v)?;
            s.access_token = Some(Secret(v.to_owned()));
            Ok(())
        }
    ),
    entry!(
        "ingress.tls.certificate",
        "TIDEGATE_INGRESS_TLS_CERTIFICATE",
        Some("tls-certificate"),
        "none",
        "PEM file of the certificate chain, or several with commas: TLS on the ingress; read again on SIGHUP",
        |s, v| {
            s.ingress.tls.certificates = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "ingress.tls.key",
        "TIDEGATE_INGRESS_TLS_KEY",
        Some("tls-key"),
        "none",
        "PEM file of its key, or as many in the same order",
        |s, v| {
            s.ingress.tls.keys = list(v).map(Into::into).collect();
            Ok(())
        }
    ),
    entry!(
        "ingress.trusted_proxies",
        "TIDEGATE_INGRESS_TRUSTED_PROXIES",
        Some("trusted-proxies"),
        "none",
        "Addresses and networks whose X-Forwarded-For and PROXY header are believed, with commas",
        |s, v| {
            s.ingress.trusted_proxies = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "ingress.proxy_protocol",
        "TIDEGATE_INGRESS_PROXY_PROTOCOL",
        Some("proxy-protocol"),
        "false",
        "Connections begin with a PROXY header (version 1 or 2) of one of the trusted proxies",
        |s, v| {
            s.ingress.proxy_protocol = truth(v)?;
            Ok(())
        }
    ),
    entry!(
        "ingress.cors",
        "TIDEGATE_INGRESS_CORS",
        Some("cors"),
        "true",
        "CORS headers for any origin on every response",
        |s, v| {
            s.ingress.cors = truth(v)?;
            Ok(())
        }
    ),
    entry!(
        "ingress.public_url",
        "TIDEGATE_INGRESS_PUBLIC_URL",
        Some("public-url"),
        "from the listener",
        "How callers reach the ingress: https://hooks.example.org",
        |s, v| {
            check_public_url(v)?;
            s.ingress.public_url = Some(v.trim_end_matches('/').to_owned());
            Ok(())
        }
    ),
    entry!(
        "limits.requests_per_window",
        "TIDEGATE_LIMITS_REQUESTS_PER_WINDOW",
        Some("requests-per-window"),
        "100",
        "Calls of a webhook in any window; 0 for no limit",
        |s, v| {
            s.limits.requests_per_window = within(v, 0, REQUESTS_PER_WINDOW_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.window_seconds",
        "TIDEGATE_LIMITS_WINDOW_SECONDS",
        Some("window-seconds"),
        "10",
        "Length of that window",
        |s, v| {
            s.limits.window_seconds = within(v, 1, WINDOW_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.concurrency",
        "TIDEGATE_LIMITS_CONCURRENCY",
        Some("concurrency"),
        "100",
        "Waiting requests and WebSockets of a webhook at a time; 0 for no limit",
        |s, v| {
            s.limits.concurrency = within(v, 0, CONCURRENCY_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.payload_bytes",
        "TIDEGATE_LIMITS_PAYLOAD_BYTES",
        Some("payload-bytes"),
        "262144",
        "Bytes of a body, a message, a reply",
        |s, v| {
            s.limits.payload_bytes = within(v, 1, PAYLOAD_BYTES_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.reply_timeout_seconds",
        "TIDEGATE_LIMITS_REPLY_TIMEOUT_SECONDS",
        Some("reply-timeout-seconds"),
        "60",
        "How long a request waits for its reply",
        |s, v| {
            s.limits.reply_timeout_seconds = within(v, 1, REPLY_TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.connections",
        "TIDEGATE_LIMITS_CONNECTIONS",
        Some("connections"),
        "1000000",
        "Open connections of the process; more are told 503",
        |s, v| {
            s.limits.connections = within(v, 1, u32::MAX)?;
            Ok(())
        }
    ),
    entry!(
        "limits.body_bytes",
        "TIDEGATE_LIMITS_BODY_BYTES",
        Some("body-bytes"),
        "268435456",
        "Bytes of large bodies that are coming in, for each core; more are told 503",
        |s, v| {
            s.limits.body_bytes = within(v, 0, u64::MAX)?;
            Ok(())
        }
    ),
    entry!(
        "journal.durability",
        "TIDEGATE_JOURNAL_DURABILITY",
        Some("durability"),
        "fsync",
        "When a trigger is safe: fsync (on the disk before the 2xx), os (with the kernel), memory",
        |s, v| {
            s.journal.durability = match v {
                "fsync" => Durability::Fsync,
                "os" => Durability::Os,
                "memory" => Durability::Memory,
                _ => return Err("must be fsync, os or memory".into()),
            };
            Ok(())
        }
    ),
    entry!(
        "journal.max_bytes",
        "TIDEGATE_JOURNAL_MAX_BYTES",
        Some("journal-max-bytes"),
        "8589934592",
        "Bytes of the journal; new triggers are told 503 when it is full",
        |s, v| {
            s.journal.max_bytes = within(v, JOURNAL_BYTES_MIN, u64::MAX)?;
            Ok(())
        }
    ),
    entry!(
        "journal.retention_seconds",
        "TIDEGATE_JOURNAL_RETENTION_SECONDS",
        Some("journal-retention-seconds"),
        "86400",
        "How long a delivery is tried before it is a dead letter",
        |s, v| {
            s.journal.retention_seconds = within(v, 1, RETENTION_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "forward.allowed_networks",
        "TIDEGATE_FORWARD_ALLOWED_NETWORKS",
        Some("forward-allowed-networks"),
        "none",
        "Addresses and networks that HttpForwardNode may send to, with commas; none: all but the denied ones",
        |s, v| {
            s.forward.allowed_networks = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "forward.denied_networks",
        "TIDEGATE_FORWARD_DENIED_NETWORKS",
        Some("forward-denied-networks"),
        "169.254.0.0/16,fe80::/10,fd00:ec2::254,fd20:ce::254,100.100.100.200,168.63.129.16,192.0.0.192",
        "Those that it may not send to, allowed or not: by default link-local ones and the metadata services of clouds",
        |s, v| {
            s.forward.denied_networks = list(v).map(str::parse).collect::<Result<_, _>>()?;
            Ok(())
        }
    ),
    entry!(
        "forward.threads",
        "TIDEGATE_FORWARD_THREADS",
        Some("forward-threads"),
        "2",
        "Threads that send what HttpForwardNode forwards",
        |s, v| {
            s.forward.threads = within(v, 1, FORWARD_THREADS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "forward.roots",
        "TIDEGATE_FORWARD_ROOTS",
        None,
        "the system's roots",
        "PEM file of the roots that targets' certificates chain to",
        |s, v| {
            s.forward.roots = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "cluster.nats",
        "TIDEGATE_CLUSTER_NATS",
        Some("nats"),
        "none",
        "URL of NATS, for a cluster (not in this version)",
        |_, v| not_yet(v)
    ),
    entry!(
        "cluster.name",
        "TIDEGATE_CLUSTER_NAME",
        Some("cluster"),
        "none",
        "Name of the cluster (not in this version)",
        |_, v| not_yet(v)
    ),
    entry!(
        "admin.hosts",
        "TIDEGATE_ADMIN_HOSTS",
        Some("admin-hosts"),
        "none",
        "Names that the admin listener answers for, beside addresses and localhost, with commas",
        |s, v| {
            list(v).try_for_each(check_admin_host)?;
            s.admin.hosts = list(v).map(str::to_ascii_lowercase).collect();
            Ok(())
        }
    ),
    entry!(
        "admin.open_metrics",
        "TIDEGATE_ADMIN_OPEN_METRICS",
        Some("open-metrics"),
        "false",
        "/metrics and /openapi.json without the access token",
        |s, v| {
            s.admin.open_metrics = truth(v)?;
            Ok(())
        }
    ),
    entry!(
        "websocket.context_takeover",
        "TIDEGATE_WEBSOCKET_CONTEXT_TAKEOVER",
        Some("context-takeover"),
        "false",
        "Compression remembers earlier messages: smaller messages, more memory for each connection",
        |s, v| {
            s.websocket.context_takeover = truth(v)?;
            Ok(())
        }
    ),
    entry!(
        "alexa.roots",
        "TIDEGATE_ALEXA_ROOTS",
        None,
        "the public roots",
        "PEM file of the roots that Alexa's certificates chain to",
        |s, v| {
            s.alexa.roots = Some(v.into());
            Ok(())
        }
    ),
    entry!(
        "alexa.connect_to",
        "TIDEGATE_ALEXA_CONNECT_TO",
        None,
        "none",
        "host:port where s3.amazonaws.com is reached",
        |s, v| {
            check_host_port(v)?;
            s.alexa.connect_to = Some(v.to_owned());
            Ok(())
        }
    ),
    entry!(
        "driver",
        "TIDEGATE_DRIVER",
        Some("driver"),
        "auto",
        "auto (io_uring, else epoll), io_uring or epoll",
        |s, v| {
            s.driver = match v {
                "auto" => Driver::Auto,
                "io_uring" => Driver::IoUring,
                "epoll" => Driver::Epoll,
                _ => return Err("must be auto, io_uring or epoll".into()),
            };
            Ok(())
        }
    ),
    entry!(
        "log",
        "TIDEGATE_LOG",
        Some("log"),
        "info",
        "error, warn, info, debug, trace or off; or directives: tidegate=debug,info",
        |s, v| {
            log_directives(v)?;
            s.log = v.to_owned();
            Ok(())
        }
    ),
];

/// Levels of the log.
const LOG_LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];

/// Checks a level, or directives as `tracing_subscriber` reads them. That takes a word which is no level for the name
/// of a module; here a bare word has to be a level, so that a slip of the pen does not silence the log.
fn log_directives(value: &str) -> Result<(), String> {
    let must = || {
        format!(
            "must be one of {}, or directives such as tidegate=debug,info; not {value:?}",
            LOG_LEVELS.join(", ")
        )
    };
    let bare =
        value.split(',').map(str::trim).filter(|directive| !directive.contains(['=', '[', ']', '{', '}']));
    for word in bare {
        if !LOG_LEVELS.contains(&word) {
            return Err(must());
        }
    }
    tracing_subscriber::EnvFilter::builder().parse(value).map(drop).map_err(|_| must())
}

fn not_yet(_value: &str) -> Result<(), String> {
    Err("is not in this version yet".to_owned())
}

fn within<T: FromStr + PartialOrd + std::fmt::Display + Copy>(
    value: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("must be a whole number from {least} to {most}, not {value:?}"))
}

fn truth(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {value:?}")),
    }
}

/// The items of a list with commas; white space around them and empty ones do not count.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

pub(super) fn defaults(cores: usize) -> Settings {
    let listen = |port| Address::Tcp(([127, 0, 0, 1], port).into());
    Settings {
        data: "tidegate-data".into(),
        cores: cores.clamp(1, CORES_MAX),
        ingress: Ingress {
            listen: listen(8080),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            cors: true,
            tls: TlsFiles::default(),
            public_url: None,
        },
        admin: Admin { listen: listen(8081), hosts: Vec::new(), open_metrics: false },
        workers: Workers { listen: listen(8082) },
        access_token: None,
        limits: Limits {
            requests_per_window: 100,
            window_seconds: 10,
            concurrency: 100,
            payload_bytes: 262_144,
            reply_timeout_seconds: 60,
            connections: 1_000_000,
            body_bytes: 256 * 1024 * 1024,
        },
        journal: Journal {
            durability: Durability::Fsync,
            max_bytes: 8 * 1024 * 1024 * 1024,
            retention_seconds: 86_400,
        },
        forward: Forward {
            allowed_networks: Vec::new(),
            denied_networks: DENIED_NETWORKS.iter().filter_map(|network| network.parse().ok()).collect(),
            threads: 2,
            roots: None,
        },
        websocket: WebSocket { context_takeover: false },
        alexa: Alexa { roots: None, connect_to: None },
        driver: Driver::Auto,
        log: "info".to_owned(),
    }
}

//! The table of settings.

use super::entry::{Entry, entry};
use super::names::{check_access_token, check_admin_host, check_host_port, check_public_url};
use super::operation::OPERATION;
use super::values::{list, log_directives, truth, within};
use super::{Driver, Durability, Secret, nats_table};

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
/// The longest timeout: a day.
const TIMEOUT_SECONDS_MAX: u32 = 86_400;
/// Engine threads: a `replyId` has 16 bits for its core, and no machine has this many.
pub(super) const CORES_MAX: usize = 1024;

/// The longest retention: a year.
const RETENTION_SECONDS_MAX: u32 = 365 * 86_400;
/// Most records of a webhook, the same as where a webhook has its own: a list reads all of them.
const RECORD_EVENTS_MAX: u32 = 10_000;
/// The least memory for records: some of the largest.
const RECORD_BYTES_MIN: u64 = 1024 * 1024;

/// Threads that send: a target is waited for by tasks, not by threads.
const FORWARD_THREADS_MAX: usize = 64;

/// Every setting, in the order of the guide's table.
pub static ENTRIES: &[Entry] = &concat::<{ MAIN.len() + OPERATION.len() + nats_table::ENTRIES.len() }>([
    MAIN,
    OPERATION,
    &nats_table::ENTRIES,
]);

/// Joins three tables.
const fn concat<const N: usize>(tables: [&[Entry]; 3]) -> [Entry; N] {
    let mut all = [tables[0][0]; N];
    let (mut index, mut table, mut place) = (0, 0, 0);
    while index < N {
        if place == tables[table].len() {
            (table, place) = (table + 1, 0);
            continue;
        }
        all[index] = tables[table][place];
        (index, place) = (index + 1, place + 1);
    }
    all
}

const MAIN: &[Entry] = &[
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
        "record.events",
        "TIDEGATE_RECORD_EVENTS",
        Some("record-events"),
        "100",
        "Last calls and messages that are kept of each webhook; 0 for none",
        |s, v| {
            s.record.events = within(v, 0, RECORD_EVENTS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "record.bytes",
        "TIDEGATE_RECORD_BYTES",
        Some("record-bytes"),
        "268435456",
        "Memory of all records; over it those go whose webhook was called and looked at longest ago",
        |s, v| {
            s.record.bytes = within(v, RECORD_BYTES_MIN, u64::MAX)?;
            Ok(())
        }
    ),
    entry!(
        "record.seconds",
        "TIDEGATE_RECORD_SECONDS",
        Some("record-seconds"),
        "86400",
        "How long records are kept",
        |s, v| {
            s.record.seconds = within(v, 1, RETENTION_SECONDS_MAX)?;
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
        "PEM file of the roots that the certificates of targets and of key servers chain to",
        |s, v| {
            s.forward.roots = Some(v.into());
            Ok(())
        }
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
        "timeouts.head",
        "TIDEGATE_TIMEOUTS_HEAD",
        Some("timeouts-head"),
        "10",
        "A head must be complete, counted from its first byte; a PROXY header, too (seconds)",
        |s, v| {
            s.timeouts.head = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.body",
        "TIDEGATE_TIMEOUTS_BODY",
        Some("timeouts-body"),
        "30",
        "A body must bring 100 bytes a second over any span of this length (seconds)",
        |s, v| {
            s.timeouts.body = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.idle",
        "TIDEGATE_TIMEOUTS_IDLE",
        Some("timeouts-idle"),
        "75",
        "A connection between two requests is closed (seconds)",
        |s, v| {
            s.timeouts.idle = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.write",
        "TIDEGATE_TIMEOUTS_WRITE",
        Some("timeouts-write"),
        "30",
        "A response must be taken, or make progress (seconds)",
        |s, v| {
            s.timeouts.write = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.tls_handshake",
        "TIDEGATE_TIMEOUTS_TLS_HANDSHAKE",
        Some("timeouts-tls-handshake"),
        "10",
        "A TLS handshake must be complete (seconds)",
        |s, v| {
            s.timeouts.tls_handshake = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.websocket_ping",
        "TIDEGATE_TIMEOUTS_WEBSOCKET_PING",
        Some("timeouts-websocket-ping"),
        "30",
        "A silent WebSocket is pinged; 0: never (seconds)",
        |s, v| {
            s.timeouts.websocket_ping = within(v, 0, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "timeouts.websocket_pong",
        "TIDEGATE_TIMEOUTS_WEBSOCKET_PONG",
        Some("timeouts-websocket-pong"),
        "30",
        "Something must come back after a ping (seconds)",
        |s, v| {
            s.timeouts.websocket_pong = within(v, 1, TIMEOUT_SECONDS_MAX)?;
            Ok(())
        }
    ),
    entry!(
        "drain_delay_seconds",
        "TIDEGATE_DRAIN_DELAY_SECONDS",
        Some("drain-delay-seconds"),
        "0",
        "Between the signal to stop, when /readyz turns to 503, and the end of accepting",
        |s, v| {
            s.drain_delay_seconds = within(v, 0, TIMEOUT_SECONDS_MAX)?;
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

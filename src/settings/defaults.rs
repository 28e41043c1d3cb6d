//! The defaults of the settings. The table says the same in words.

use super::table::CORES_MAX;
use super::{
    Address, Admin, Alexa, Cluster, Driver, Durability, Forward, Ingress, JournalSettings, Limits, LogFormat,
    LogRequests, Nats, Records, Settings, TimeoutSettings, TlsFiles, WebSocket, Workers,
};

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

/// The settings of a process that may run on `cores` CPUs.
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
            request_id: true,
            tls: TlsFiles::default(),
            public_url: None,
        },
        admin: Admin {
            listen: listen(8081),
            hosts: Vec::new(),
            open_metrics: false,
            tls: TlsFiles::default(),
        },
        workers: Workers { listen: listen(8082), tls: TlsFiles::default() },
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
        journal: JournalSettings {
            durability: Durability::Fsync,
            max_bytes: 8 * 1024 * 1024 * 1024,
            retention_seconds: 86_400,
        },
        record: Records { events: 100, bytes: 256 * 1024 * 1024, seconds: 86_400 },
        forward: Forward {
            allowed_networks: Vec::new(),
            denied_networks: DENIED_NETWORKS.iter().filter_map(|network| network.parse().ok()).collect(),
            threads: 2,
            roots: None,
        },
        nats: Nats::default(),
        cluster: Cluster::default(),
        websocket: WebSocket { context_takeover: false },
        alexa: Alexa { roots: None, connect_to: None },
        timeouts: TimeoutSettings {
            head: 10,
            body: 30,
            idle: 75,
            write: 30,
            tls_handshake: 10,
            websocket_ping: 30,
            websocket_pong: 30,
        },
        drain_delay_seconds: 0,
        driver: Driver::Auto,
        log: "info".to_owned(),
        log_requests: LogRequests::Off,
        log_format: LogFormat::Auto,
        metrics_webhooks: 0,
        tracing_otlp: None,
    }
}

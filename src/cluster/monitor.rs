//! The meaning of an ack of NATS, as far as its monitoring ports tell it (`cluster.monitor`): whether each server has
//! synced what it acks, and whether its version can be relied on for that.
//!
//! A client of NATS cannot see this. Without the setting a node says at its start that it does not know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::log::bounded_log;
use crate::settings::MonitorUrl;

/// How often servers are looked at of which all is known.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);
/// How often one is looked at that did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Time for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// The first version that syncs a batch at once, and all that `always` is about: earlier ones lost acked messages.
const VERSION_MIN: [u64; 3] = [2, 15, 1];

/// The meaning of a server's acks.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Syncs {
    /// It did not answer, or not what a server of NATS answers.
    Unknown(String),
    /// It syncs before it acks.
    Always,
    /// It acks before it syncs, up to so many seconds.
    Later(u64),
    /// It has no JetStream: it holds nothing.
    Nothing,
    /// It does, in a version with faults in that.
    Outdated(String),
}

/// The page `/varz` of a server, as far as it matters.
#[derive(Debug, Deserialize)]
struct Varz {
    version: String,
    jetstream: Option<JetStream>,
}

#[derive(Debug, Deserialize)]
struct JetStream {
    config: Option<JetStreamConfig>,
}

#[derive(Debug, Deserialize)]
struct JetStreamConfig {
    /// Nanoseconds; 0: not told.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

impl Syncs {
    /// Reads a server's page.
    fn read(page: &str) -> Syncs {
        const NANOS_PER_SECOND: u64 = 1_000_000_000;
        let Ok(Varz { version, jetstream }) = serde_json::from_str(page) else {
            return Syncs::Unknown("it answers with what is no page of NATS".to_owned());
        };
        match jetstream.and_then(|jetstream| jetstream.config) {
            None => Syncs::Nothing,
            Some(config) if !config.sync_always => Syncs::Later(config.sync_interval / NANOS_PER_SECOND),
            Some(_) if version_of(&version) < Some(VERSION_MIN) => Syncs::Outdated(version),
            Some(_) => Syncs::Always,
        }
    }

    fn tell(&self, server: &MonitorUrl) {
        match self {
            Syncs::Always => tracing::debug!(%server, "NATS syncs what it acks"),
            Syncs::Nothing => tracing::debug!(%server, "a server of NATS without JetStream"),
            Syncs::Unknown(why) => bounded_log!(
                warn,
                %server,
                why,
                "it is not known whether NATS syncs what it acks: its monitoring port (cluster.monitor) does not tell"
            ),
            Syncs::Later(seconds) => bounded_log!(
                warn,
                %server,
                seconds,
                "NATS acks what it has not synced: calls that were answered are lost if power fails; set `sync_interval: always` in its `jetstream` block"
            ),
            Syncs::Outdated(version) => bounded_log!(
                warn,
                %server,
                version,
                "this version of NATS can lose what it has acked if power fails: 2.15.1 is the first that does not"
            ),
        }
    }

    fn shown(&self) -> Value {
        match self {
            Syncs::Always => json!("always"),
            Syncs::Nothing => json!("nothing"),
            Syncs::Later(_) => json!("later"),
            Syncs::Outdated(_) => json!("outdated"),
            Syncs::Unknown(_) => json!("unknown"),
        }
    }
}

/// Major, minor and patch; what follows a hyphen does not count.
fn version_of(text: &str) -> Option<[u64; 3]> {
    let numbers = text.split('-').next().unwrap_or_default().splitn(3, '.');
    let numbers: Vec<u64> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    numbers.try_into().ok()
}

/// The servers and the meaning of their acks, for the state of the node.
#[derive(Clone, Debug, Default)]
pub(super) struct Monitor {
    servers: Arc<Mutex<Vec<(MonitorUrl, Syncs)>>>,
}

impl Monitor {
    /// Looks at these servers from here on, as long as the connection to NATS lives.
    #[must_use]
    pub(super) fn start(urls: &[MonitorUrl], spawn: impl FnOnce(Looking)) -> Monitor {
        let monitor = Monitor::default();
        if urls.is_empty() {
            bounded_log!(
                warn,
                "it is not known whether NATS syncs what it acks: cluster.monitor would say where it tells"
            );
            return monitor;
        }
        let unknown = |url: &MonitorUrl| (url.clone(), Syncs::Unknown("it was not asked yet".to_owned()));
        *monitor.servers.lock().unwrap_or_else(PoisonError::into_inner) = urls.iter().map(unknown).collect();
        spawn(Box::pin(look(monitor.clone(), urls.to_vec())));
        monitor
    }

    /// `null` where nobody was asked, else what is known of each server.
    #[must_use]
    pub(super) fn shown(&self) -> Value {
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.is_empty() {
            return Value::Null;
        }
        servers.iter().map(|(url, syncs)| json!({"url": url.to_string(), "syncs": syncs.shown()})).collect()
    }
}

/// The looks at the servers.
pub(super) type Looking = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn look(monitor: Monitor, urls: Vec<MonitorUrl>) {
    loop {
        let mut is_known = true;
        for (place, url) in urls.iter().enumerate() {
            let asked = url.clone();
            let page = tokio::task::spawn_blocking(move || page(&asked)).await;
            let syncs = match page {
                Ok(Ok(page)) => Syncs::read(&page),
                Ok(Err(error)) => Syncs::Unknown(error.to_string()),
                Err(error) => Syncs::Unknown(error.to_string()),
            };
            is_known &= !matches!(syncs, Syncs::Unknown(_));
            syncs.tell(url);
            let mut servers = monitor.servers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, known)) = servers.get_mut(place) {
                *known = syncs;
            }
        }
        tokio::time::sleep(if is_known { LOOK_INTERVAL } else { RETRY_INTERVAL }).await;
    }
}

/// The page of a server that tells of its settings.
fn page(url: &MonitorUrl) -> Result<String, ureq::Error> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(ANSWER_TIME)).max_redirects(0).build().into();
    let mut response = agent.get(format!("{url}/varz")).call()?;
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_page_tells_what_its_ack_means() {
        let page = |version: &str, jetstream: &str| {
            Syncs::read(&format!(r#"{{"server_id":"N","version":"{version}","jetstream":{jetstream}}}"#))
        };
        let always = r#"{"config":{"sync_interval":120000000000,"sync_always":true}}"#;
        let later = r#"{"config":{"sync_interval":120000000000}}"#;
        assert_eq!(page("2.15.1", always), Syncs::Always);
        assert_eq!(page("2.16.0-dev", always), Syncs::Always);
        assert_eq!(page("3.0.0", always), Syncs::Always);
        assert_eq!(page("2.15.1", later), Syncs::Later(120));
        for version in ["2.15.0", "2.9.25", "1.99.99", "two"] {
            assert_eq!(page(version, always), Syncs::Outdated(version.to_owned()));
        }
        assert_eq!(page("2.15.1", "{}"), Syncs::Nothing);
        assert!(matches!(Syncs::read("<html>"), Syncs::Unknown(_)));
    }
}

//! The client of NATS: its servers, TLS and credentials, and the thread that it runs on.
//!
//! **Invariant**: no credential is logged or part of an error: URLs are shown without them.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::base::log::bounded_log;
use crate::settings::{Nats, NatsLogin, NatsUrl};

/// A server that does not answer pings is left after two of them.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Time for one connection to be opened.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time for the answer to a request of JetStream.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time for the ack of a message: an election of a stream's leader takes 4 to 9 s.
const ACK_TIME: Duration = Duration::from_secs(10);
/// Pauses between attempts to connect: short, since a server that is gone costs its callers their answers.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Subjects of answers begin with it: permissions name it.
const INBOX_PREFIX: &str = "_INBOX_tg";
/// Operations that wait for the connection.
const WAITING_MAX: usize = 2_048;

/// Why there is no client.
#[derive(Debug)]
pub enum ConnectError {
    /// A file cannot be read.
    File { path: PathBuf, error: io::Error },
    /// The contents of a file cannot be used: why.
    Credentials { path: PathBuf, why: String },
    /// A certificate cannot be used: why.
    Tls(String),
    /// The client refuses its options: why.
    Client(String),
    /// The thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::File { path, error } => write!(f, "{}: {error}", path.display()),
            ConnectError::Credentials { path, why } => write!(f, "{}: {why}", path.display()),
            ConnectError::Tls(why) => write!(f, "TLS with NATS cannot be set up: {why}"),
            ConnectError::Client(why) => write!(f, "NATS cannot be used: {why}"),
            ConnectError::Thread(error) => write!(f, "the thread of NATS cannot be started: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A client of NATS, connected or about to be, and the thread that it and its tasks run on.
pub struct Connection {
    pub client: Client,
    pub jetstream: jetstream::Context,
    handle: Handle,
    /// Ends the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Connection {
    /// Starts a client, which connects as soon as a server answers, and again whenever it has lost one. `name` is shown by
    /// the servers.
    ///
    /// # Errors
    /// [`ConnectError`]: files that are of no use are found here, servers that do not answer are not.
    pub fn start(nats: &Nats, name: &str) -> Result<Connection, ConnectError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Thread)?;
        let options = options(nats, name)?;
        let servers = nats.urls.iter().map(address).collect::<Result<Vec<ServerAddr>, ConnectError>>()?;
        let shown: Vec<String> = nats.urls.iter().map(NatsUrl::to_string).collect();
        let begin = async {
            let client = options.connect(servers).await?;
            // It has a task of its own, too.
            let context =
                jetstream::context::ContextBuilder::new().timeout(REQUEST_TIME).ack_timeout(ACK_TIME);
            Ok((context.build(client.clone()), client))
        };
        let (jetstream, client) = runtime
            .block_on(begin)
            .map_err(|error: async_nats::ConnectError| ConnectError::Client(error.to_string()))?;
        tracing::debug!(servers = ?shown, "a client of NATS was started");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("nats".to_owned())
            .spawn(move || {
                // The sender going away is as good a reason to stop.
                let _ = runtime.block_on(stopped);
            })
            .map_err(ConnectError::Thread)?;
        Ok(Connection { client, jetstream, handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether a server answers.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Runs a task on the thread, to its end or that of the connection.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// The runtime of the thread.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            bounded_log!(error, "the thread of NATS ended with a panic");
        }
    }
}

/// Waits until a server answers: before that, nobody knows whether the servers are a cluster.
pub(crate) async fn connected(client: &Client) {
    while client.connection_state() != State::Connected {
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Whether a client can be started: its files are of use.
///
/// # Errors
/// The first file that is of none.
pub fn check(nats: &Nats) -> Result<(), ConnectError> {
    options(nats, "").map(drop)
}

/// A server's address, without credentials: those are options of all servers.
fn address(url: &NatsUrl) -> Result<ServerAddr, ConnectError> {
    url.to_string().parse().map_err(|error: io::Error| ConnectError::Client(format!("{url}: {error}")))
}

fn options(nats: &Nats, name: &str) -> Result<ConnectOptions, ConnectError> {
    let mut options = login(nats)?
        .name(name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIME)
        .request_timeout(Some(REQUEST_TIME))
        .client_capacity(WAITING_MAX)
        .custom_inbox_prefix(INBOX_PREFIX)
        .reconnect_delay_callback(reconnect_pause)
        .retry_on_initial_connect()
        .event_callback(|event| async move { tell(&event) });
    let tls = &nats.tls;
    if tls.is_set() || nats.urls.iter().all(|url| url.is_tls) {
        options = options.require_tls(true);
    }
    if let Some(ca) = &tls.ca {
        readable(ca)?;
        options = options.add_root_certificates(ca.clone());
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        readable(certificate)?;
        readable(key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// The credentials of the client: a file's, or those of the first URL that has some.
fn login(nats: &Nats) -> Result<ConnectOptions, ConnectError> {
    if let Some(path) = &nats.credentials {
        let why = |error: io::Error| ConnectError::Credentials { path: path.clone(), why: error.to_string() };
        return ConnectOptions::with_credentials(&read(path)?).map_err(why);
    }
    if let Some(path) = &nats.nkey {
        let seed = read(path)?.trim().to_owned();
        if !is_user_seed(&seed) {
            let why = "it holds no seed of a user's NKey (SU…)".to_owned();
            return Err(ConnectError::Credentials { path: path.clone(), why });
        }
        return Ok(ConnectOptions::with_nkey(seed));
    }
    Ok(match nats.urls.iter().find_map(|url| url.login.as_ref()) {
        Some(NatsLogin::User(user, password)) => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose().to_owned())
        }
        Some(NatsLogin::Token(token)) => ConnectOptions::with_token(token.expose().to_owned()),
        None => ConnectOptions::new(),
    })
}

/// Whether this looks like the seed of a user's key: 58 characters of base32.
fn is_user_seed(text: &str) -> bool {
    const SEED_CHARS: usize = 58;
    text.len() == SEED_CHARS
        && text.starts_with("SU")
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
}

fn read(path: &Path) -> Result<String, ConnectError> {
    fs::read_to_string(path).map_err(|error| ConnectError::File { path: path.to_owned(), error })
}

fn readable(path: &Path) -> Result<(), ConnectError> {
    read(path).map(drop)
}

fn reconnect_pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
    (RECONNECT_PAUSE * 2_u32.pow(doublings)).min(RECONNECT_PAUSE_MAX)
}

/// Logs what the client tells.
fn tell(event: &Event) {
    match event {
        Event::Connected => bounded_log!(info, "NATS is connected"),
        Event::Disconnected => bounded_log!(warn, "NATS is not connected any more: it is tried again"),
        Event::SlowConsumer(_) => {
            bounded_log!(error, "messages of NATS were dropped: they were not taken in time");
        }
        Event::ServerError(error) => bounded_log!(error, %error, "NATS reports an error"),
        Event::ClientError(error) => bounded_log!(warn, %error, "NATS cannot be reached"),
        other => tracing::debug!(event = %other, "NATS"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_of_no_use_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let bad = folder.path().join("bad");
        fs::write(&bad, "no key").unwrap();
        let nats = |change: &dyn Fn(&mut Nats)| {
            let mut nats = Nats { urls: vec!["nats://127.0.0.1:1".parse().unwrap()], ..Nats::default() };
            change(&mut nats);
            options(&nats, "a").map(drop).expect_err("a file of no use").to_string()
        };
        assert!(nats(&|nats| nats.credentials = Some(missing.clone())).contains("missing"));
        assert!(nats(&|nats| nats.credentials = Some(bad.clone())).contains("bad"));
        assert!(nats(&|nats| nats.nkey = Some(bad.clone())).contains("no seed"));
        assert!(nats(&|nats| nats.tls.ca = Some(missing.clone())).contains("missing"));
    }

    #[test]
    fn pauses_between_attempts_grow_to_a_bound() {
        assert_eq!(reconnect_pause(0), RECONNECT_PAUSE);
        assert_eq!(reconnect_pause(1), RECONNECT_PAUSE);
        assert_eq!(reconnect_pause(3), RECONNECT_PAUSE * 4);
        assert_eq!(reconnect_pause(1_000_000), RECONNECT_PAUSE_MAX);
    }
}

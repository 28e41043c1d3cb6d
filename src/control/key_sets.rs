//! Fetches the JSON Web Key Sets that webhooks name (`auth.jwksUrl`), on a thread of its own.
//!
//! A URL that many ask for is fetched once, whatever cores they are on, and at most once a minute (sooner after a
//! failure). What was fetched is kept when a later fetch fails. Redirects are not followed. Everything has a bound:
//! fetches at a time, URLs that wait for their turn, bytes, time. Certificates are checked against the roots of
//! `forward.roots`, as those of targets are.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::Empty;
use hyper::Uri;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::download::{DownloadError, download};
use super::forward::{ForwardError, outgoing_tls};
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::engine::KeysFetched;
use crate::verify::jwt::{FetchedKeys, KeySet, KeySetCache, KeySetError};

/// How long a fetch may take, its wait for a turn included: as that of a certificate chain
/// ([verification](crate::guide::verification#who-may-call)).
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Fetches at a time.
const FETCHES_MAX: usize = 8;
/// URLs that are fetched or wait for their turn; a further one is told what is known of it, which is nothing.
const FLIGHTS_MAX: usize = 256;
/// Questions of all cores that were not answered yet.
const ASKED_MAX: usize = 16 * 1024;
/// Bytes of a key set; the largest known ones have some 20,000.
const SET_BYTES_MAX: usize = 256 * 1024;
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Why there is no key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchError {
    Url,
    Connect,
    Tls,
    Broken,
    Status(u16),
    TooLarge,
    TimedOut,
    Set(KeySetError),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Url => f.write_str("its URL cannot be read"),
            FetchError::Connect => f.write_str("its server cannot be reached"),
            FetchError::Tls => f.write_str("TLS with its server failed"),
            FetchError::Broken => f.write_str("the connection broke"),
            FetchError::Status(status) => write!(f, "its server answered {status}"),
            FetchError::TooLarge => write!(f, "it has more than {SET_BYTES_MAX} bytes"),
            FetchError::TimedOut => write!(f, "it took more than {} s", FETCH_TIME.as_secs()),
            FetchError::Set(error) => write!(f, "what came {error}"),
        }
    }
}

struct KeySetRequest {
    url: Arc<str>,
    /// When what the core knows was fetched; 0 for nothing.
    known_nanos: u64,
    done: KeysFetched,
}

/// The thread, as the cores see it. It ends when this is dropped and nobody waits any more.
#[derive(Debug)]
pub struct KeySets {
    asked: mpsc::Sender<KeySetRequest>,
    clock: Clock,
}

impl KeySets {
    /// Starts the thread. `roots` is the file of the roots, if there is one; it is read when it is needed.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(roots: Option<&Path>, clock: Clock) -> std::io::Result<KeySets> {
        let fetcher = Arc::new(Fetcher {
            roots: roots.map(Path::to_owned),
            tls: OnceLock::new(),
            turns: Semaphore::new(FETCHES_MAX),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(FETCHES_MAX)
            .build()?;
        let (asked, asks) = mpsc::channel(ASKED_MAX);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || runtime.block_on(serve(fetcher, asks, clock)))?;
        Ok(KeySets { asked, clock })
    }

    /// Fetches a key set, or finds that more is known of it than at `known_nanos`, and calls `done`; on any thread, and
    /// at once where nothing can be fetched. Never blocks.
    pub fn fetch(&self, url: &Arc<str>, known_nanos: u64, done: KeysFetched) {
        if let Err(error) = self.asked.try_send(KeySetRequest { url: Arc::clone(url), known_nanos, done }) {
            let (mpsc::error::TrySendError::Full(asked) | mpsc::error::TrySendError::Closed(asked)) = error;
            (asked.done)(failed(&self.clock));
        }
    }
}

/// Nothing is known, and could not be fetched now.
fn failed(clock: &Clock) -> FetchedKeys {
    FetchedKeys { set: None, fetched_nanos: 0, attempted_nanos: clock.now().nanos, is_failed: true }
}

/// Answers all who ask until nobody can ask any more.
async fn serve(fetcher: Arc<Fetcher>, mut asks: mpsc::Receiver<KeySetRequest>, clock: Clock) {
    let mut cache = KeySetCache::default();
    let mut waiting: HashMap<Arc<str>, Vec<KeysFetched>> = HashMap::new();
    let mut fetches: JoinSet<(Arc<str>, Result<KeySet, FetchError>)> = JoinSet::new();
    loop {
        tokio::select! {
            asked = asks.recv() => {
                let Some(KeySetRequest { url, known_nanos, done }) = asked else { break };
                if let Some(waiting) = waiting.get_mut(&url) {
                    waiting.push(done);
                    continue;
                }
                let known = cache.known(&url, clock.now());
                let is_news = known.attempted_nanos > known_nanos;
                match cache.fetched(&url) {
                    Some(fetched) if is_news || !known.may_fetch => done(fetched.clone()),
                    _ if waiting.len() >= FLIGHTS_MAX => done(failed(&clock)),
                    _ => {
                        waiting.insert(Arc::clone(&url), vec![done]);
                        let fetcher = Arc::clone(&fetcher);
                        fetches.spawn(async move {
                            let outcome = fetcher.fetch(&url).await;
                            (url, outcome)
                        });
                    }
                }
            }
            Some(ended) = fetches.join_next() => match ended {
                Ok((url, outcome)) => {
                    if let Err(error) = &outcome {
                        bounded_log!(warn, %url, %error, "a key set could not be fetched");
                    }
                    let fetched = cache.note(&url, outcome.ok(), clock.now());
                    for done in waiting.remove(&url).unwrap_or_default() {
                        done(fetched.clone());
                    }
                }
                // Which of them panicked is not known: those that wait run into their time-outs, and ask again.
                Err(error) => {
                    bounded_log!(error, %error, "a fetch of a key set ended with a panic");
                    waiting.clear();
                }
            },
        }
    }
}

/// The resources that a fetch uses.
struct Fetcher {
    roots: Option<PathBuf>,
    /// Set up by the first fetch that needs it.
    tls: OnceLock<TlsConnector>,
    turns: Semaphore,
}

impl Fetcher {
    async fn fetch(&self, url: &str) -> Result<KeySet, FetchError> {
        let fetch = async {
            let _turn = self.turns.acquire().await.map_err(|_| FetchError::TimedOut)?;
            self.download(url).await
        };
        let document = tokio::time::timeout(FETCH_TIME, fetch).await.unwrap_or(Err(FetchError::TimedOut))?;
        KeySet::parse(&document).map_err(FetchError::Set)
    }

    fn tls(&self) -> Result<&TlsConnector, ForwardError> {
        if let Some(tls) = self.tls.get() {
            return Ok(tls);
        }
        let tls = outgoing_tls(self.roots.as_deref())?;
        Ok(self.tls.get_or_init(|| tls))
    }

    /// One GET over a connection of its own.
    async fn download(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().ok_or(FetchError::Url)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|_| FetchError::Connect)?;
        if !is_tls {
            return get(stream, &uri).await;
        }
        let name = ServerName::try_from(host).map_err(|_| FetchError::Url)?;
        let tls = self.tls().map_err(|error| {
            bounded_log!(error, %error, "key sets cannot be fetched over TLS");
            FetchError::Tls
        })?;
        get(tls.connect(name, stream).await.map_err(|_| FetchError::Tls)?, &uri).await
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    uri: &Uri,
) -> Result<Vec<u8>, FetchError> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = hyper::Request::get(path)
        .header("host", uri.authority().map_or("", |authority| authority.as_str()))
        .header("accept", "application/json")
        .header("accept-encoding", "identity")
        .body(Empty::new())
        .map_err(|_| FetchError::Url)?;
    download(stream, request, SET_BYTES_MAX).await.map_err(|error| match error {
        DownloadError::Broken => FetchError::Broken,
        DownloadError::Status(status) => FetchError::Status(status),
        DownloadError::TooLarge => FetchError::TooLarge,
    })
}

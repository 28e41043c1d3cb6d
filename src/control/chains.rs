//! Fetches the certificate chains that sign Alexa's requests, on a thread of its own.
//!
//! A URL that many ask for is fetched once, whatever cores they are on; what came is kept (a failure for a moment),
//! so that a core which asks later has its answer without a fetch. The URL is the sender's to choose, within
//! [`ChainUrl`]'s rules, so everything here has a bound: fetches at a time, those that wait for their turn, bytes,
//! time. Redirects are not followed.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::download::{DownloadError, download};
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::engine::Fetched;
use crate::settings::Alexa;
use crate::verify::alexa::rules::HOST;
use crate::verify::alexa::{AlexaRootsError, Chain, ChainCache, ChainUrl, FetchError, Lookup, Roots};

/// How long a fetch may take, its wait for a turn included ([verification](crate::guide::verification#details)).
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Fetches at a time. Amazon signs with one chain or two.
const FETCHES_MAX: usize = 4;
/// URLs that are fetched or wait for their turn; a further one is refused.
const FLIGHTS_MAX: usize = 64;
/// Those who ask and were not heard yet, of all cores.
const ASKED_MAX: usize = 16 * 1024;
/// More bytes than any chain has; Amazon's has about 6,000.
const CHAIN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the file of `alexa.roots`: many times those of all public roots.
const ROOTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
const HTTPS_PORT: u16 = 443;

/// Why chains cannot be fetched.
#[derive(Debug)]
pub enum ChainsError {
    /// The file of `alexa.roots` cannot be read.
    Read(std::io::Error),
    /// It holds no roots.
    Roots(AlexaRootsError),
    /// TLS cannot be set up.
    Tls(rustls::Error),
    /// The thread cannot be started.
    Thread(std::io::Error),
}

impl fmt::Display for ChainsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainsError::Read(error) => write!(f, "the file of alexa.roots cannot be read: {error}"),
            ChainsError::Roots(error) => write!(f, "the file of alexa.roots {error}"),
            ChainsError::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
            ChainsError::Thread(error) => {
                write!(f, "the thread that fetches chains cannot be started: {error}")
            }
        }
    }
}

impl std::error::Error for ChainsError {}

/// The thread, as the cores see it. It ends when this is dropped and nobody waits any more.
#[derive(Debug)]
pub struct Chains {
    asked: mpsc::Sender<ChainRequest>,
}

struct ChainRequest {
    url: ChainUrl,
    done: Fetched,
}

impl Chains {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ChainsError`]: a bad `alexa.roots` is found here, and not when the first request comes.
    pub fn start(settings: &Alexa, clock: Clock) -> Result<Chains, ChainsError> {
        let roots = Arc::new(settings.roots.as_deref().map_or_else(|| Ok(Roots::public()), read_roots)?);
        let fetcher = Arc::new(ChainFetcher {
            tls: TlsConnector::from(Arc::new(tls(&roots)?)),
            host: ServerName::try_from(HOST)
                .map_err(|_| ChainsError::Tls(rustls::Error::General(HOST.into())))?,
            address: settings.connect_to.clone().unwrap_or_else(|| format!("{HOST}:{HTTPS_PORT}")),
            roots,
            clock,
            turns: Semaphore::new(FETCHES_MAX),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(FETCHES_MAX)
            .build()
            .map_err(ChainsError::Thread)?;
        let (asked, asks) = mpsc::channel(ASKED_MAX);
        std::thread::Builder::new()
            .name("chains".to_owned())
            .spawn(move || runtime.block_on(serve(fetcher, asks)))
            .map_err(ChainsError::Thread)?;
        Ok(Chains { asked })
    }
}

impl Chains {
    /// Fetches the chain, or finds that it is known, and calls `done` with the outcome; on any thread, and at once where
    /// nothing can be fetched. Never blocks.
    pub fn fetch(&self, url: &ChainUrl, done: Fetched) {
        match self.asked.try_send(ChainRequest { url: url.clone(), done }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(asked)) => (asked.done)(Err(FetchError::Busy)),
            Err(mpsc::error::TrySendError::Closed(asked)) => (asked.done)(Err(FetchError::Stopped)),
        }
    }
}

/// Whether the file of `alexa.roots` can be used, where one is set.
///
/// # Errors
/// Why not.
pub fn check_alexa(settings: &Alexa) -> Result<(), ChainsError> {
    settings.roots.as_deref().map_or(Ok(()), |path| read_roots(path).map(drop))
}

fn read_roots(path: &Path) -> Result<Roots, ChainsError> {
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(ROOTS_BYTES_MAX + 1).read_to_end(&mut pem));
    if read.map_err(ChainsError::Read)? as u64 > ROOTS_BYTES_MAX {
        let message = format!("it has more than {ROOTS_BYTES_MAX} bytes");
        return Err(ChainsError::Read(std::io::Error::other(message)));
    }
    Roots::from_pem(&pem).map_err(ChainsError::Roots)
}

fn tls(roots: &Roots) -> Result<rustls::ClientConfig, ChainsError> {
    let store = rustls::RootCertStore { roots: roots.anchors().to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ChainsError::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(config)
}

type ChainResult = Result<Arc<Chain>, FetchError>;

/// Answers all who ask until nobody can ask any more.
async fn serve(fetcher: Arc<ChainFetcher>, mut asks: mpsc::Receiver<ChainRequest>) {
    let mut cache = ChainCache::new();
    let mut waiting: HashMap<ChainUrl, Vec<Fetched>> = HashMap::new();
    let mut fetches: JoinSet<(ChainUrl, ChainResult)> = JoinSet::new();
    loop {
        tokio::select! {
            asked = asks.recv() => {
                let Some(ChainRequest { url, done }) = asked else { break };
                match cache.lookup(&url, fetcher.clock.now()) {
                    Lookup::Good(chain) => done(Ok(chain)),
                    Lookup::Failed(error) => done(Err(error)),
                    Lookup::Unknown => {
                        if let Some(waiting) = waiting.get_mut(&url) {
                            waiting.push(done);
                        } else if waiting.len() >= FLIGHTS_MAX {
                            done(Err(FetchError::Busy));
                        } else {
                            waiting.insert(url.clone(), vec![done]);
                            let fetcher = Arc::clone(&fetcher);
                            fetches.spawn(async move {
                                let outcome = fetcher.fetch(&url).await;
                                (url, outcome)
                            });
                        }
                    }
                }
            }
            Some(ended) = fetches.join_next() => match ended {
                Ok((url, outcome)) => {
                    if let Err(error) = &outcome {
                        bounded_log!(warn, %url, %error, "a certificate chain could not be had");
                    }
                    cache.insert(&url, outcome.clone(), fetcher.clock.now());
                    for done in waiting.remove(&url).unwrap_or_default() {
                        done(outcome.clone());
                    }
                }
                // Which of them panicked is not known: those that wait run into their time-outs, and ask again.
                Err(error) => {
                    bounded_log!(error, %error, "a fetch of a certificate chain ended with a panic");
                    waiting.clear();
                }
            },
        }
    }
    for done in waiting.into_values().flatten() {
        done(Err(FetchError::Stopped));
    }
}

/// The resources that a fetch uses.
struct ChainFetcher {
    tls: TlsConnector,
    host: ServerName<'static>,
    /// `host:port` where the host is reached.
    address: String,
    roots: Arc<Roots>,
    clock: Clock,
    turns: Semaphore,
}

impl ChainFetcher {
    async fn fetch(&self, url: &ChainUrl) -> ChainResult {
        let fetch = async {
            let _turn = self.turns.acquire().await.map_err(|_| FetchError::Stopped)?;
            self.download(url).await
        };
        let pem = tokio::time::timeout(FETCH_TIME, fetch).await.unwrap_or(Err(FetchError::TimedOut))?;
        let chain = Chain::parse(&pem, &self.roots).map_err(FetchError::Chain)?;
        chain.check(self.clock.now()).map_err(FetchError::Chain)?;
        Ok(Arc::new(chain))
    }

    /// One GET over a connection of its own.
    async fn download(&self, url: &ChainUrl) -> Result<Vec<u8>, FetchError> {
        let stream = TcpStream::connect(&self.address).await.map_err(|_| FetchError::Connect)?;
        let stream = self.tls.connect(self.host.clone(), stream).await.map_err(|_| FetchError::Connect)?;
        let request = hyper::Request::get(url.path())
            .header("host", HOST)
            .header("accept-encoding", "identity")
            .body(Empty::new())
            .map_err(|_| FetchError::Broken)?;
        download(stream, request, CHAIN_BYTES_MAX).await.map_err(|error| match error {
            DownloadError::Broken => FetchError::Broken,
            DownloadError::Status(status) => FetchError::Status(status),
            DownloadError::TooLarge => FetchError::TooLarge,
        })
    }
}

//! The admin listener: accepts connections on a runtime of one thread, speaks TLS where it is so configured, and gives
//! handshakes, heads and writes a time limit (bodies have theirs where they are read).

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::tls::{self, AdminTls};
use super::write_timeout::WriteTimeout;
use crate::base::log::bounded_log;
use axum::Router;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};

/// Connections at a time: people, scrapers and scripts, never a crowd.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a head may take, the time before its first byte included: a connection without a request ends after as
/// long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a response may wait for its client to take more of it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may go on after the shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed, so that a shortage of descriptors is not a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where a request comes from; none for a Unix socket. It is among the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) Option<IpAddr>);

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On an address.
    Tcp(TcpListener),
    /// On a path.
    Unix(UnixListener),
}

impl Listener {
    /// Binds an address, within a runtime.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Listener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Listener::Tcp)
    }

    /// Binds a path, within a runtime. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    ///
    /// Where the path is something else, somebody listens on it, or the system refuses.
    pub(crate) fn unix(path: &Path) -> io::Result<Listener> {
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                _ => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        UnixListener::bind(path).map(Listener::Unix)
    }

    /// The address that was bound, where it is one.
    #[must_use]
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(_) => None,
        }
    }
}

/// Serves the router until `shutdown` is there; then finishes what is in flight, for some seconds.
pub(crate) async fn serve(
    listener: Listener,
    tls: Option<AdminTls>,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(false);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = async {
            let place = place.await;
            match &listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, peer)| {
                    // Answers are small and are written once: waiting to fill a segment only delays them.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer(Some(peer.ip().to_canonical()));
                    let service = Service { peer, router: router.clone(), stopped: stopped.clone(), place };
                    tokio::spawn(accepted_tcp(stream, tls.clone(), service));
                }),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                    let peer = Peer(None);
                    let service = Service { peer, router: router.clone(), stopped: stopped.clone(), place };
                    tokio::spawn(accepted(stream, tls.clone(), service));
                }),
            }
        };
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accepted => if let Err(error) = accepted {
                bounded_log!(warn, %error, "the admin listener could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            },
        }
    }
    drop(listener);
    drop(stopped);
    let _ = stop.send(true);
    // Every connection holds a receiver: when the last is gone, all are done.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, stop.closed()).await;
}

/// The state that serves a connection; `place` is given back when it ends.
struct Service<P> {
    peer: Peer,
    router: Router,
    stopped: watch::Receiver<bool>,
    place: P,
}

/// Serves a connection from an address. A browser that was sent to `http://` is told of TLS in its own protocol.
async fn accepted_tcp<P>(mut stream: TcpStream, tls: Option<AdminTls>, mut service: Service<P>) {
    if let Some(tls) = &tls {
        let is_plain = tokio::select! {
            is_plain = tls::is_plain_http(&stream, tls.handshake_limit) => is_plain,
            () = until_stopped(&mut service.stopped) => return,
        };
        if is_plain {
            // A peer that is gone need not be told.
            let _ = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(tls::PLAIN_HTTP)).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
    accepted(stream, tls, service).await;
}

/// Serves a connection, behind a handshake where there is TLS.
async fn accepted<S, P>(stream: S, tls: Option<AdminTls>, mut service: Service<P>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = WriteTimeout::new(stream, WRITE_TIMEOUT);
    let Some(tls) = tls else { return connection(stream, service).await };
    let shaken = tokio::select! {
        shaken = tls.shake_hands(stream) => shaken,
        () = until_stopped(&mut service.stopped) => return,
    };
    match shaken {
        Ok(stream) => connection(stream, service).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake on the admin listener failed"),
    }
}

/// Serves one connection.
async fn connection<S, P>(stream: S, service: Service<P>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Service { peer, router, mut stopped, place } = service;
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = until_stopped(&mut stopped) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of the admin listener broke");
    }
    drop(place);
}

/// Ends when the shutdown begins, or its sender is gone.
async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use axum::routing::get;
    use tokio::sync::oneshot;

    use super::*;

    fn router() -> Router {
        Router::new().route("/", get(async || "here"))
    }

    fn ask(mut stream: impl Read + Write) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("received");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).expect("text")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_address_is_served_until_the_shutdown_and_its_idle_connections_end() {
        let listener = Listener::tcp(([127, 0, 0, 1], 0).into()).expect("binds");
        let address = listener.address().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, None, router(), async {
            let _ = stopped.await;
        }));
        let idle = tokio::task::spawn_blocking(move || {
            let stream = std::net::TcpStream::connect(address).expect("connects");
            assert!(ask(&stream).starts_with("HTTP/1.1 200 OK\r\n"));
            stream
        });
        let mut idle = idle.await.expect("asked");
        stop.send(()).expect("still serving");
        served.await.expect("ends");
        assert_eq!(idle.read(&mut [0]).expect("closed in order"), 0);
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    /// A connection to a service, and what there is at its other end. Time passes where nothing else is to be done.
    fn connected() -> (tokio::io::DuplexStream, tokio::task::JoinHandle<()>) {
        const SOCKET_BYTES: usize = 4096;
        let (near, far) = tokio::io::duplex(SOCKET_BYTES);
        let (stop, stopped) = watch::channel(false);
        // The shutdown does not begin before the connection has ended.
        let service = Service { peer: Peer(None), router: router(), stopped, place: stop };
        (far, tokio::spawn(accepted(near, None, service)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_and_does_not_read_is_cut() {
        use tokio::io::AsyncWriteExt as _;
        let (mut far, served) = connected();
        let begun = tokio::time::Instant::now();
        // Until the answers fill what lies between, and the requests too.
        while far.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {}
        served.await.expect("ends");
        assert_eq!(begun.elapsed().as_secs(), WRITE_TIMEOUT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nothing_or_never_to_the_end_is_cut() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for sent in ["", "GET / HTTP/1.1\r\nhost", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            let (mut far, served) = connected();
            let begun = tokio::time::Instant::now();
            far.write_all(sent.as_bytes()).await.expect("sent");
            far.read_to_end(&mut Vec::new()).await.expect("answered and closed");
            served.await.expect("ends");
            assert_eq!(begun.elapsed().as_secs(), HEAD_TIMEOUT.as_secs(), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_does_not_come_is_cut_and_a_shutdown_does_not_wait_for_it() {
        use tokio::io::AsyncReadExt as _;
        const HANDSHAKE_LIMIT: Duration = Duration::from_secs(7);
        let config = std::sync::LazyLock::new(config);
        for (stops, seconds) in [(false, HANDSHAKE_LIMIT.as_secs()), (true, 0)] {
            let config = Arc::clone(&config);
            let tls = AdminTls::new(move || Some(Arc::clone(&config)), HANDSHAKE_LIMIT);
            let (near, mut far) = tokio::io::duplex(4096);
            let (stop, stopped) = watch::channel(stops);
            let service = Service { peer: Peer(None), router: router(), stopped, place: stop };
            let begun = tokio::time::Instant::now();
            let served = tokio::spawn(accepted(near, Some(tls), service));
            assert_eq!(far.read_to_end(&mut Vec::new()).await.expect("closed"), 0);
            served.await.expect("ends");
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    /// TLS with a certificate of its own.
    fn config() -> Arc<rustls::ServerConfig> {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = rustls_pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a configuration");
        Arc::new(config)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_path_is_served_and_a_socket_that_was_left_behind_is_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("admin.sock");
        drop(Listener::unix(&path).expect("binds"));
        let listener = Listener::unix(&path).expect("replaces what nobody listens on");
        assert_eq!(Listener::unix(&path).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, None, router(), async {
            let _ = stopped.await;
        }));
        let socket = path.clone();
        let asked = tokio::task::spawn_blocking(move || ask(UnixStream::connect(socket).expect("connects")));
        assert!(asked.await.expect("asked").starts_with("HTTP/1.1 200 OK\r\n"));
        stop.send(()).expect("still serving");
        served.await.expect("ends");

        let file = folder.path().join("file");
        std::fs::write(&file, "kept").expect("writes");
        assert!(Listener::unix(&file).is_err());
        assert_eq!(std::fs::read(&file).expect("reads"), b"kept");
    }
}

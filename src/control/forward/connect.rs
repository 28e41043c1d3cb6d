//! Connections to targets: to an address that is allowed, with TLS for `https`. The address that is checked is the one
//! that is connected to.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Networks;
use super::resolve::Resolver;
use crate::engine::AttemptError;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// Time after which the next address of a name is tried beside those before (RFC 8305, 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// Application protocols that are offered, the preferred one first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [HTTP2, HTTP1];
const HTTP2: &[u8] = b"h2";
pub(super) const HTTP1: &[u8] = b"http/1.1";

/// The TLS client configuration.
pub(super) fn tls(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    tls_for(roots, &PROTOCOLS)
}

/// The same with these application protocols.
pub(super) fn tls_for(roots: RootCertStore, protocols: &[&[u8]]) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    networks: Arc<Networks>,
    resolver: Resolver,
    tls: TlsConnector,
}

/// Why no connection was made.
#[derive(Debug)]
pub(super) struct ConnectError(pub(super) AttemptError);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConnectError {}

impl Connector {
    pub(super) fn new(networks: Arc<Networks>, tls: TlsConnector) -> Connector {
        Connector { networks, resolver: Resolver::default(), tls }
    }

    async fn connect(&self, uri: &Uri) -> Result<TargetStream, AttemptError> {
        let is_tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
        let found =
            self.resolver.resolve(host).await.map_err(|why| AttemptError::Resolve(why.to_string()))?;
        let allowed: Vec<SocketAddr> = found
            .iter()
            .filter(|ip| self.networks.allows(**ip))
            .map(|ip| SocketAddr::new(*ip, port))
            .collect();
        let stream = match (allowed.as_slice(), found.first()) {
            ([], Some(ip)) => return Err(AttemptError::Denied(*ip)),
            ([], None) => return Err(AttemptError::Resolve("it has no address".to_owned())),
            (addresses, _) => {
                connect_to_any(addresses).await.map_err(|error| AttemptError::Connect(error.to_string()))?
            }
        };
        // Small requests leave at once; a socket that does not take the option serves all the same.
        let _ = stream.set_nodelay(true);
        if !is_tls {
            return Ok(TargetStream::Plain(stream));
        }
        let name =
            server_name(host).ok_or_else(|| AttemptError::Tls("the host is no name for TLS".to_owned()))?;
        let stream =
            self.tls.connect(name, stream).await.map_err(|error| AttemptError::Tls(error.to_string()))?;
        Ok(TargetStream::Tls(Box::new(stream)))
    }
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(ServerName::IpAddress(ip.into())),
        Err(_) => ServerName::try_from(bare.to_owned()).ok(),
    }
}

/// Connects to the address that answers first. Each is tried a moment after the one before, or when that has failed.
async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [address] = addresses {
        return TcpStream::connect(address).await;
    }
    let mut left = addresses.iter();
    let mut tries: JoinSet<io::Result<TcpStream>> = JoinSet::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(&address) = left.next() {
            tries.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            ended = tries.join_next() => match ended {
                None => return Err(failed),
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => failed = error,
                Some(Err(error)) => failed = io::Error::other(error),
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if left.len() > 0 => {}
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TargetStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new).map_err(ConnectError) })
    }
}

/// A connection to a target.
pub(super) enum TargetStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection for TargetStream {
    fn connected(&self) -> Connected {
        match self {
            TargetStream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP2) => {
                Connected::new().negotiated_h2()
            }
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TargetStream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            TargetStream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TargetStream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            TargetStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            TargetStream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            TargetStream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            TargetStream::Plain(stream) => stream.is_write_vectored(),
            TargetStream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TargetStream::Plain(stream) => Pin::new(stream).poll_flush(context),
            TargetStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            TargetStream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            TargetStream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

//! TLS of the admin listener.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The configuration for the next connection: certificates are renewed while the process runs.
type TlsSource = Arc<dyn Fn() -> Option<Arc<ServerConfig>> + Send + Sync>;

/// Answer to plain HTTP on a TLS port.
pub(super) const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    content-length: 81\r\nconnection: close\r\n\r\n\
    {\"type\":\"Validation\",\"message\":\"This port speaks TLS: use https:// in its place\"}";

/// How connections of a listener become TLS ones.
#[derive(Clone)]
pub(crate) struct AdminTls {
    source: TlsSource,
    /// How long a handshake may take.
    pub(super) handshake_limit: Duration,
}

impl AdminTls {
    /// TLS with the configuration that `source` has at each connection.
    pub(crate) fn new(
        source: impl Fn() -> Option<Arc<ServerConfig>> + Send + Sync + 'static,
        handshake_limit: Duration,
    ) -> AdminTls {
        AdminTls { source: Arc::new(source), handshake_limit }
    }

    /// Performs the handshake of a connection.
    pub(super) async fn shake_hands<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = (self.source)().ok_or_else(|| io::Error::other("there are no certificates"))?;
        within(self.handshake_limit, TlsAcceptor::from(config).accept(stream)).await
    }
}

/// Whether the first byte that is received is one of plain HTTP (a method, or the empty line that may precede one:
/// RFC 9112, 2.2). It stays in the socket.
pub(super) async fn is_plain_http(stream: &TcpStream, limit: Duration) -> bool {
    let mut first = [0];
    match within(limit, stream.peek(&mut first)).await {
        Ok(1) => first[0].is_ascii_alphabetic() || matches!(first[0], b'\r' | b'\n'),
        // The handshake finds the same.
        _ => false,
    }
}

async fn within<T>(limit: Duration, wait: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head} {}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}

//! A TLS client that trusts the tests' authority, and sends what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};

use crate::authority::Authority;
use crate::common::{PATIENCE, Response};

/// A connection, and what was read of it.
pub struct Client {
    tls: ClientConnection,
    socket: TcpStream,
    unread: Vec<u8>,
}

/// What a client offers: `http/1.1`, all versions.
pub fn config(authority: &Authority) -> ClientConfig {
    config_of(authority, rustls::ALL_VERSIONS)
}

/// The same with these versions alone.
pub fn config_of(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A socket with a patience.
pub fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the server accepts");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    socket.set_nodelay(true).expect("no delay");
    socket
}

impl Client {
    /// Connects and shakes hands.
    #[track_caller]
    pub fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Client {
        Client::try_on(socket(address), name, config).expect("a handshake")
    }

    /// Shakes hands on a socket, or fails to.
    pub fn try_on(socket: TcpStream, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<Client> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut client = Client { tls, socket, unread: Vec::new() };
        while client.tls.is_handshaking() {
            client.tls.complete_io(&mut client.socket)?;
        }
        Ok(client)
    }

    pub fn tls(&self) -> &ClientConnection {
        &self.tls
    }

    pub fn tls_mut(&mut self) -> &mut ClientConnection {
        &mut self.tls
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The certificate that the server showed.
    pub fn shown(&self) -> CertificateDer<'static> {
        self.tls.peer_certificates().expect("certificates")[0].clone().into_owned()
    }

    /// Encrypts, without sending.
    pub fn encrypt(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(bytes).expect("a buffer");
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("a vector");
        }
        records
    }

    /// Sends ciphertext.
    pub fn send_records(&mut self, records: &[u8]) {
        self.socket.write_all(records).expect("the server takes it");
    }

    pub fn send(&mut self, bytes: &[u8]) -> &mut Client {
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.socket);
        stream.write_all(bytes).and_then(|()| stream.flush()).expect("the server takes it");
        self
    }

    pub fn ask(&mut self, bytes: &[u8]) -> Response {
        self.send(bytes).response()
    }

    /// Reads a response.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            assert!(self.fill(), "closed within a head: {}", self.unread.escape_ascii());
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
        let status = status[..3].parse().expect("a status");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field line"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        let length = response.header("content-length").expect("a length").parse().expect("a number");
        while self.unread.len() < length {
            assert!(self.fill(), "closed within a body");
        }
        response.body = self.unread.drain(..length).collect();
        response
    }

    /// Reads to the end, which must be one that nobody cut: a `close_notify`.
    #[track_caller]
    pub fn closed(&mut self) {
        while self.fill() {}
        assert_eq!(self.unread.escape_ascii().to_string(), "", "something was sent after the last response");
    }

    /// Reads once. False: the server said that it sends nothing more; rustls fails where it just went away.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let mut stream = rustls::Stream::new(&mut self.tls, &mut self.socket);
        let read = stream.read(&mut bytes).expect("the server answers, or closes in order");
        self.unread.extend_from_slice(&bytes[..read]);
        read > 0
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        rustls::Stream::new(&mut self.tls, &mut self.socket).flush()
    }
}

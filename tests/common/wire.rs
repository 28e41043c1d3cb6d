//! A client that does as it is told: sends any bytes, and reads one response at a time.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// Bytes of a response's head; ours are far smaller.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header that stands once; none where it is missing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} stands twice: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// Asserts status and body.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) -> &Response {
        assert_eq!((self.status, self.text()), (status, body), "{self:?}");
        self
    }
}

impl Wire {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Wire { stream, unread: Vec::new() }
    }

    /// Has the kernel hold about so much of what was not read.
    pub fn receive_buffer(&mut self, bytes: usize) {
        rustix::net::sockopt::set_socket_recv_buffer_size(&self.stream, bytes).expect("a socket");
    }

    /// Sends.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Wire {
        self.stream.write_all(bytes.as_ref()).expect("the server takes it");
        self
    }

    /// Sends as much as the server takes: it may close before it has all.
    pub fn send_what_goes(&mut self, bytes: &[u8]) -> &mut Wire {
        match self.stream.write_all(bytes) {
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {}
            sent => sent.expect("the server takes it or closes"),
        }
        self
    }

    /// Sends as much as the buffers on the way take, without waiting for the server to read.
    pub fn send_what_fits(&mut self, bytes: &[u8]) {
        self.stream.set_nonblocking(true).expect("a socket");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("the connection broke: {error}"),
            }
        }
        self.stream.set_nonblocking(false).expect("a socket");
    }

    /// Says that nothing more will be sent.
    pub fn finish(&mut self) -> &mut Wire {
        self.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        self
    }

    /// Closes with a reset, so that the peer learns of it by an error.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("a socket");
    }

    /// Sends, and reads the response.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes).response()
    }

    /// Reads a response to anything but a HEAD.
    pub fn response(&mut self) -> Response {
        self.read_response(true)
    }

    /// Reads a response to a HEAD, which has no body whatever its headers say.
    pub fn response_to_head(&mut self) -> Response {
        self.read_response(false)
    }

    fn read_response(&mut self, may_have_body: bool) -> Response {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            assert!(self.unread.len() < HEAD_BYTES_MAX, "a head without end");
            assert!(
                self.fill(),
                "the server closed within a head: {:?}",
                self.unread.escape_ascii().to_string()
            );
        };
        let head = std::str::from_utf8(&self.unread[..end]).expect("a head of ASCII").to_owned();
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
        let status: u16 = status.get(..3).expect("a status").parse().expect("a status of three digits");
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").expect("a field line"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        assert_eq!(response.header("transfer-encoding"), None, "a coding that this client does not read");
        let length =
            response.header("content-length").map(|length| length.parse::<usize>().expect("a length"));
        if status < 200 || status == 204 {
            assert_eq!(length, None, "RFC 9110, 8.6: no Content-Length here");
        }
        if may_have_body && status >= 200 && status != 204 && status != 304 {
            let length = length.expect("a response that says how long it is");
            while self.unread.len() < length {
                assert!(self.fill(), "the server closed within a body");
            }
            response.body = self.unread.drain(..length).collect();
        }
        response
    }

    /// Reads to the end of the connection and asserts that nothing came but its end.
    #[track_caller]
    pub fn closed(&mut self) {
        while self.fill() {}
        let rest = self.unread.escape_ascii().to_string();
        assert_eq!(rest, "", "something was sent after the last response");
    }

    /// Whether something is there to be read, without waiting.
    pub fn is_readable(&self) -> bool {
        self.stream.set_nonblocking(true).expect("a socket");
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("a socket");
        match peeked {
            _ if !self.unread.is_empty() => true,
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("the connection broke: {error}"),
        }
    }

    /// Reads what comes next, at most so many bytes; none at the end of the connection.
    pub fn read_some(&mut self, most: usize) -> Vec<u8> {
        if self.unread.is_empty() {
            self.fill();
        }
        self.unread.drain(..most.min(self.unread.len())).collect()
    }

    /// Reads once. False: the peer closed.
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut bytes) {
                // Whatever signal it was, nothing was read.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.expect("the server answers or closes in order"),
            }
        };
        self.unread.extend_from_slice(&bytes[..read]);
        read > 0
    }
}

/// An HTTP/1.1 request as bytes, with `Host` and, where there is a body, `Content-Length`.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes it");
    }
    if !body.is_empty() {
        write!(head, "Content-Length: {}\r\n", body.len()).expect("a string takes it");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

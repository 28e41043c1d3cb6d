//! The client's half of the opening handshake (RFC 6455 section 4.1): the request, and the check of its answer.

use std::fmt;

use super::extensions::{self, DeflateParameters, Malformed};
use super::handshake::{ACCEPT_LENGTH, KEY_LENGTH, accept_of, key_of, members, only};

/// More fields than this in an answer are refused.
const FIELDS_MAX: usize = 100;
/// A longer head of an answer is refused.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A handshake that a client begins.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The `Host` field: host, and port where it is not the scheme's own.
    pub host: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The subprotocols that would do, best first.
    pub protocols: &'a [&'a str],
    /// Whether to offer permessage-deflate.
    pub deflate: bool,
    /// Whether windows may be kept from message to message.
    pub context_takeover: bool,
    key: [u8; KEY_LENGTH],
}

/// The parameters that the server agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// For [`super::Connection::new`].
    pub deflate: Option<DeflateParameters>,
    /// One of [`Request::protocols`].
    pub protocol: Option<String>,
    /// The length of the answer; frames may follow it already.
    pub head_length: usize,
}

/// Why an answer is not an acceptance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerRefusal {
    /// Not an HTTP/1.1 response, or a head that is too long.
    Malformed,
    /// Another status than 101.
    Status(u16),
    /// No `Upgrade: websocket`, or no `Connection: upgrade`.
    NoUpgrade,
    /// Not the accept that the key asks for.
    Accept,
    /// A subprotocol or an extension that was not offered.
    NotOffered,
}

impl fmt::Display for AnswerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerRefusal::Malformed => f.write_str("the answer is not an HTTP/1.1 response"),
            AnswerRefusal::Status(status) => write!(f, "the server answered {status}"),
            AnswerRefusal::NoUpgrade => f.write_str("the server did not upgrade to websocket"),
            AnswerRefusal::Accept => f.write_str("the server's accept does not fit the key"),
            AnswerRefusal::NotOffered => f.write_str("the server chose what was not offered"),
        }
    }
}

impl std::error::Error for AnswerRefusal {}

impl<'a> Request<'a> {
    /// A handshake whose key is made of `nonce`, sixteen random bytes; without subprotocols or compression.
    #[must_use]
    pub fn new(host: &'a str, target: &'a str, nonce: [u8; 16]) -> Request<'a> {
        Request { host, target, protocols: &[], deflate: false, context_takeover: false, key: key_of(nonce) }
    }

    /// Appends the request. `lines` are further fields, each ended by CRLF.
    pub fn write(&self, out: &mut Vec<u8>, lines: &[u8]) {
        for part in ["GET ", self.target, " HTTP/1.1\r\nhost: ", self.host] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(
            b"\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n",
        );
        out.extend_from_slice(b"sec-websocket-key: ");
        out.extend_from_slice(&self.key);
        out.extend_from_slice(b"\r\n");
        if !self.protocols.is_empty() {
            out.extend_from_slice(b"sec-websocket-protocol: ");
            out.extend_from_slice(self.protocols.join(", ").as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if self.deflate {
            out.extend_from_slice(b"sec-websocket-extensions: permessage-deflate; client_max_window_bits");
            if !self.context_takeover {
                out.extend_from_slice(b"; server_no_context_takeover; client_no_context_takeover");
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(lines);
        out.extend_from_slice(b"\r\n");
    }

    /// Reads the answer from the front of `bytes`, or `None` until its head is whole.
    ///
    /// # Errors
    /// Why the server did not accept, or why its answer cannot be trusted.
    pub fn check(&self, bytes: &[u8]) -> Result<Option<Agreed>, AnswerRefusal> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut fields);
        let head_length = match answer.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
            _ => return Err(AnswerRefusal::Malformed),
        };
        const SWITCHING_PROTOCOLS: u16 = 101;
        match answer.code {
            Some(SWITCHING_PROTOCOLS) if answer.version == Some(1) => {}
            Some(SWITCHING_PROTOCOLS) | None => return Err(AnswerRefusal::Malformed),
            Some(status) => return Err(AnswerRefusal::Status(status)),
        }
        let fields = &*answer.headers;
        let values = |name: &'static str| {
            fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let names = |name: &'static str, member: &'static str| {
            values(name).flat_map(members).any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
        };
        if !names("upgrade", "websocket") || !names("connection", "upgrade") {
            return Err(AnswerRefusal::NoUpgrade);
        }
        let accept: [u8; ACCEPT_LENGTH] = accept_of(&self.key);
        if only(values("sec-websocket-accept")) != Some(&accept[..]) {
            return Err(AnswerRefusal::Accept);
        }
        let offers = values("sec-websocket-extensions");
        let deflate = extensions::agreed(offers, self.deflate, self.context_takeover)
            .map_err(|Malformed| AnswerRefusal::NotOffered)?;
        let protocol = match values("sec-websocket-protocol").count() {
            0 => None,
            _ => {
                let chosen = only(values("sec-websocket-protocol"));
                let known = self.protocols.iter().find(|known| Some(known.as_bytes()) == chosen);
                Some((*known.ok_or(AnswerRefusal::NotOffered)?).to_owned())
            }
        };
        Ok(Some(Agreed { deflate, protocol, head_length }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::handshake::{Options, Protocols, check};
    use super::*;

    fn request() -> Request<'static> {
        Request::new("example.com", "/chat?x=1", *b"the sample nonce")
    }

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn checked(request: &Request<'_>, lines: &str) -> Result<Option<Agreed>, AnswerRefusal> {
        request.check(format!("{ANSWER}{lines}\r\n").as_bytes())
    }

    #[test]
    fn the_server_accepts_the_request_and_the_client_its_answer() {
        let request = Request { protocols: &["b", "a"], deflate: true, ..request() };
        let mut bytes = Vec::new();
        request.write(&mut bytes, b"authorization: Bearer x\r\n");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("GET /chat?x=1 HTTP/1.1\r\nhost: example.com\r\n"));
        assert!(text.ends_with("\r\nauthorization: Bearer x\r\n\r\n"));
        let fields = text.lines().skip(1).take_while(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.as_bytes(), value.as_bytes())
        });
        let options = Options { deflate: true, context_takeover: true, protocols: Protocols::These(&["a"]) };
        let accept = check(fields, &options).unwrap();
        let mut answer = Vec::new();
        accept.write(&mut answer, b"");
        for cut in 0..answer.len() {
            assert_eq!(request.check(&answer[..cut]), Ok(None));
        }
        let head_length = answer.len();
        answer.extend_from_slice(b"\x89\x00");
        let agreed = request.check(&answer).unwrap().unwrap();
        assert_eq!(agreed, Agreed { deflate: accept.deflate, protocol: Some("a".into()), head_length });
        assert!(agreed.deflate.unwrap().server_no_context_takeover);
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused() {
        let request = request();
        assert!(checked(&request, "").unwrap().is_some());
        assert_eq!(checked(&request, "Sec-WebSocket-Protocol: a\r\n"), Err(AnswerRefusal::NotOffered));
        assert_eq!(
            checked(&request, "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            Err(AnswerRefusal::NotOffered)
        );
        assert_eq!(checked(&request, "Sec-WebSocket-Accept: x\r\n"), Err(AnswerRefusal::Accept));
        let other = Request::new("example.com", "/", [7; 16]);
        assert_eq!(checked(&other, ""), Err(AnswerRefusal::Accept));
        for (answer, refusal) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", AnswerRefusal::Status(404)),
            ("HTTP/1.0 101 X\r\n\r\n", AnswerRefusal::Malformed),
            ("SSH-2.0-x\r\n\r\n", AnswerRefusal::Malformed),
            ("HTTP/1.1 101 X\r\nupgrade: websocket\r\n\r\n", AnswerRefusal::NoUpgrade),
        ] {
            assert_eq!(request.check(answer.as_bytes()), Err(refusal), "{answer}");
        }
        let endless = [ANSWER.as_bytes(), b"a: ", &[b'b'; HEAD_BYTES_MAX]].concat();
        assert_eq!(request.check(&endless), Err(AnswerRefusal::Malformed));
    }
}

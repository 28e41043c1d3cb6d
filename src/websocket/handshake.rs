//! The server's half of the opening handshake (RFC 6455 section 4.2): is this request an upgrade that can be
//! accepted, and the 101 that accepts it. Method, version of HTTP and target are the caller's to check.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::extensions::{self, DeflateParameters, Malformed};

/// The one version there is, and the line that a refusal of another carries (RFC 6455 section 4.4).
pub(crate) const VERSION: &[u8] = b"13";
/// The length of a `Sec-WebSocket-Accept`: the base64 of a SHA-1.
pub(crate) const ACCEPT_LENGTH: usize = 28;

/// The GUID of the handshake (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The length of a `Sec-WebSocket-Key`: the base64 of 16 bytes.
pub(super) const KEY_LENGTH: usize = 24;
const NONCE_LENGTH: usize = 16;

/// Base64 as a key is written. Bits that lie over behind the sixteenth byte are not looked at: the key is never
/// decoded again, and some clients make it of 22 random characters.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The parameters that the server accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HandshakeOptions<'o> {
    /// Whether permessage-deflate is accepted where it is offered.
    pub deflate: bool,
    /// Whether its windows may be kept from message to message.
    pub context_takeover: bool,
    /// The subprotocols that can be spoken; that there is none for both is no reason to refuse (RFC 6455 section 4.2.2): see
    /// [`Accept::protocol`].
    pub protocols: Protocols<'o>,
}

/// Subprotocols that a server speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocols<'o> {
    /// These: the first of the client's that is among them is taken.
    These(&'o [&'o str]),
    /// Whatever is offered: the first of the client's that is a token. What it says is for others to understand.
    Any,
}

impl Default for Protocols<'_> {
    fn default() -> Self {
        Protocols::These(&[])
    }
}

impl<'o> Protocols<'o> {
    /// The subprotocol that is chosen if this one is offered.
    fn take(self, offered: &'o [u8]) -> Option<&'o str> {
        match self {
            Protocols::These(known) => known.iter().copied().find(|known| known.as_bytes() == offered),
            Protocols::Any if offered.iter().copied().all(extensions::is_token_byte) => {
                std::str::from_utf8(offered).ok()
            }
            Protocols::Any => None,
        }
    }
}

/// Why an upgrade is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HandshakeRefusal {
    /// No `Upgrade: websocket`, or no `Connection: upgrade`: an ordinary request.
    NoUpgrade,
    /// Not version 13; the answer names it in `Sec-WebSocket-Version` (RFC 6455 section 4.4).
    Version,
    /// No key, two of them, or not the base64 of 16 bytes.
    Key,
    /// A `Sec-WebSocket-Extensions` against its grammar.
    Extensions,
}

impl HandshakeRefusal {
    /// The message for the caller.
    #[must_use]
    pub(crate) fn message(self) -> &'static str {
        match self {
            HandshakeRefusal::NoUpgrade => "WebSocket upgrade required",
            HandshakeRefusal::Version => "Sec-WebSocket-Version must be 13",
            HandshakeRefusal::Key => "Sec-WebSocket-Key must be the base64 of 16 bytes",
            HandshakeRefusal::Extensions => "Sec-WebSocket-Extensions is malformed",
        }
    }
}

impl fmt::Display for HandshakeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HandshakeRefusal {}

/// A handshake that can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept<'o> {
    /// `Sec-WebSocket-Accept`.
    pub key: [u8; ACCEPT_LENGTH],
    /// The agreed parameters of compression; [`super::Connection::new`] takes it.
    pub deflate: Option<DeflateParameters>,
    /// The subprotocol, as [`HandshakeOptions::protocols`] takes it.
    pub protocol: Option<&'o str>,
}

/// Checks the fields of an upgrade request, names in any case, values trimmed.
///
/// # Errors
/// The first of the refusals, in the order of the type, that holds.
pub(crate) fn check<'o>(
    fields: impl Iterator<Item = (&'o [u8], &'o [u8])> + Clone,
    options: &HandshakeOptions<'o>,
) -> Result<Accept<'o>, HandshakeRefusal> {
    let values = |name: &'static str| {
        fields
            .clone()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    };
    let names = |name: &'static str, member: &'static str| {
        values(name).flat_map(members).any(|found| found.eq_ignore_ascii_case(member.as_bytes()))
    };
    if !names("upgrade", "websocket") || !names("connection", "upgrade") {
        return Err(HandshakeRefusal::NoUpgrade);
    }
    if only(values("sec-websocket-version")) != Some(VERSION) {
        return Err(HandshakeRefusal::Version);
    }
    let key = only(values("sec-websocket-key")).filter(|key| is_key(key)).ok_or(HandshakeRefusal::Key)?;
    let offers = values("sec-websocket-extensions");
    let deflate = extensions::negotiate(offers, options.context_takeover)
        .map_err(|Malformed| HandshakeRefusal::Extensions)?
        .filter(|_| options.deflate);
    let protocol = values("sec-websocket-protocol")
        .flat_map(members)
        .find_map(|offered| options.protocols.take(offered));
    Ok(Accept { key: accept_of(key), deflate, protocol })
}

impl Accept<'_> {
    /// Appends the 101. `lines` are further fields, each ended by CRLF.
    pub(crate) fn write(&self, out: &mut Vec<u8>, lines: &[u8]) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
        );
        out.extend_from_slice(&self.key);
        out.extend_from_slice(b"\r\n");
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"sec-websocket-protocol: ");
            out.extend_from_slice(protocol.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(deflate) = &self.deflate {
            out.extend_from_slice(b"sec-websocket-extensions: ");
            deflate.write(out);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(lines);
        out.extend_from_slice(b"\r\n");
    }
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 section 4.2.2).
#[must_use]
pub(crate) fn accept_of(key: &[u8]) -> [u8; ACCEPT_LENGTH] {
    let mut sha1 = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(key);
    sha1.update(GUID);
    let mut accept = [0; ACCEPT_LENGTH];
    base64_into(sha1.finish().as_ref(), &mut accept);
    accept
}

/// The members of a list field.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// The value of a field that must come once.
pub(super) fn only<'b>(mut values: impl Iterator<Item = &'b [u8]>) -> Option<&'b [u8]> {
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn is_key(key: &[u8]) -> bool {
    // The decoder asks for room by whole groups of three bytes.
    let mut nonce = [0; NONCE_LENGTH + 2];
    key.len() == KEY_LENGTH && BASE64.decode_slice(key, &mut nonce) == Ok(NONCE_LENGTH)
}

fn base64_into<const N: usize>(bytes: &[u8], out: &mut [u8; N]) {
    let written = BASE64.encode_slice(bytes, out);
    debug_assert_eq!(written, Ok(N));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn checked<'o>(head: &'o str, options: &HandshakeOptions<'o>) -> Result<Accept<'o>, HandshakeRefusal> {
        let fields = head.lines().map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.as_bytes(), value.trim().as_bytes())
        });
        check(fields, options)
    }

    fn with(lines: &str) -> String {
        format!("Host: a\nUpgrade: websocket\nConnection: Upgrade\n{lines}")
    }

    fn refused(head: &str, refusal: HandshakeRefusal) {
        assert_eq!(checked(head, &HandshakeOptions::default()), Err(refusal), "{head}");
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let head = with(&format!(
            "Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Protocol: chat, superchat\nSec-WebSocket-Version: 13"
        ));
        let options = HandshakeOptions {
            protocols: Protocols::These(&["superchat", "chat"]),
            ..HandshakeOptions::default()
        };
        let accept = checked(&head, &options).unwrap();
        assert_eq!(&accept.key, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accept.protocol, Some("chat"));
        assert_eq!(accept.deflate, None);
        let mut out = Vec::new();
        accept.write(&mut out, b"x-more: 1\r\n");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\nx-more: 1\r\n\r\n"
        );
    }

    #[test]
    fn names_and_tokens_are_read_in_any_case_and_from_lists() {
        let rest = format!("SEC-WEBSOCKET-KEY: {KEY}\nsec-websocket-version: 13");
        for lines in [
            "upgrade: WebSocket\nconnection: keep-alive, UPGRADE",
            "Upgrade: h2c,websocket\nConnection: close\nConnection:,upgrade,",
        ] {
            assert!(checked(&format!("{lines}\n{rest}"), &HandshakeOptions::default()).is_ok(), "{lines}");
        }
        for lines in ["upgrade: websocket", "connection: upgrade", "upgrade: websockets\nconnection: upgrade"]
        {
            refused(&format!("{lines}\n{rest}"), HandshakeRefusal::NoUpgrade);
        }
    }

    #[test]
    fn only_version_thirteen_is_spoken() {
        for version in ["", "12", "8", "013", "13, 8", "14"] {
            let head = with(&format!("Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Version: {version}"));
            refused(&head, HandshakeRefusal::Version);
        }
        refused(&with(&format!("Sec-WebSocket-Key: {KEY}")), HandshakeRefusal::Version);
    }

    #[test]
    fn the_key_is_one_and_of_sixteen_bytes() {
        let version = "Sec-WebSocket-Version: 13";
        for key in [
            "",
            "short",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZTE=",
            "dGhlIHNhbXBsZSBub25jZTEy",
            "dGhl!HNhbXBsZSBub25jZQ==",
            "dGhl HNhbXBsZSBub25jZQ==",
        ] {
            refused(&with(&format!("Sec-WebSocket-Key: {key}\n{version}")), HandshakeRefusal::Key);
        }
        refused(&with(version), HandshakeRefusal::Key);
        let twice = format!("Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Key: {KEY}\n{version}");
        refused(&with(&twice), HandshakeRefusal::Key);
        let sloppy = format!("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB==\n{version}");
        assert!(checked(&with(&sloppy), &HandshakeOptions::default()).is_ok());
    }

    #[test]
    fn deflate_is_agreed_on_where_it_is_wanted() {
        let head = with(&format!(
            "Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Version: 13\nSec-WebSocket-Extensions: permessage-deflate"
        ));
        assert_eq!(checked(&head, &HandshakeOptions::default()).unwrap().deflate, None);
        let accept =
            checked(&head, &HandshakeOptions { deflate: true, ..HandshakeOptions::default() }).unwrap();
        let mut out = Vec::new();
        accept.write(&mut out, b"");
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(
            "\r\nsec-websocket-extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        ));
        refused(&format!("{head};"), HandshakeRefusal::Extensions);
    }

    #[test]
    fn a_protocol_that_is_not_known_is_not_answered() {
        let head = with(&format!(
            "Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: a, B\n\
             Sec-WebSocket-Protocol: c"
        ));
        let protocol = |known| {
            let protocols = Protocols::These(known);
            checked(&head, &HandshakeOptions { protocols, ..HandshakeOptions::default() }).unwrap().protocol
        };
        assert_eq!(protocol(&["b", "x"]), None);
        assert_eq!(protocol(&["c", "x"]), Some("c"));
    }

    #[test]
    fn where_any_protocol_will_do_the_first_that_is_a_token_is_taken() {
        for (offered, taken) in [
            ("ocpp1.6, ocpp2.0.1", Some("ocpp1.6")),
            (", ,graphql-ws", Some("graphql-ws")),
            ("a b, \"c\", d/e, f", Some("f")),
            ("a b", None),
            ("", None),
        ] {
            let head = with(&format!(
                "Sec-WebSocket-Key: {KEY}\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: {offered}"
            ));
            let options = HandshakeOptions { protocols: Protocols::Any, ..HandshakeOptions::default() };
            assert_eq!(checked(&head, &options).unwrap().protocol, taken, "{offered}");
        }
    }
}

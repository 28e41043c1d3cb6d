//! The PROXY protocol (versions 1 and 2, as HAProxy specifies them): the header with which a proxy opens a connection
//! and says for whom it makes it. Bytes go in, a header comes out; whether its sender may be believed is for who reads
//! the socket.
//!
//! Strict, because what is read here decides who a caller is: one spelling for each header, nothing after a mistake,
//! no lookahead. As long as [`parse`] answers [`Parsed::Partial`], every byte it was given belongs to the header, so
//! a reader can take bytes off the socket without ever taking one of what follows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its CRLF included (HAProxy's specification, section 2.1: "107 chars").
pub const V1_BYTES_MAX: usize = 107;
/// The longest header of version 2, as nginx takes it: addresses are 36 bytes at most, the rest is for what proxies add
/// (names, certificates' subjects, ids of endpoints). The length field would allow 65,551.
pub const V2_BYTES_MAX: usize = 4096;

/// The first bytes of every header of version 2.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family and protocol, length.
const V2_FIXED_BYTES: usize = 16;
/// The version, in the high half of its byte.
const V2_VERSION: u8 = 0x20;
const V2_COMMAND_LOCAL: u8 = 0;
const V2_COMMAND_PROXY: u8 = 1;
/// The family, in the high half of its byte.
const V2_FAMILY_UNSPECIFIED: u8 = 0;
const V2_FAMILY_INET: u8 = 1;
const V2_FAMILY_INET6: u8 = 2;
const V2_FAMILY_UNIX: u8 = 3;
/// The transport, in the low half.
const V2_PROTOCOL_STREAM: u8 = 1;
/// Addresses and ports of each family.
const V2_INET_BYTES: usize = 12;
const V2_INET6_BYTES: usize = 36;
const V2_UNIX_BYTES: usize = 216;
/// Type and length of an extension (TLV).
const V2_TLV_FIXED_BYTES: usize = 3;

const V1_PREFIX: &[u8] = b"PROXY ";
const V1_UNKNOWN: &[u8] = b"UNKNOWN";

/// The result of parsing the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Parsed {
    /// The header is right as far as it goes, and all of the bytes are part of it.
    Partial,
    /// The header is the first so many bytes.
    Complete(usize, Header),
}

/// The contents of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: Version,
    /// The addresses of the connection that the proxy forwards. `None`: the proxy speaks for itself (`LOCAL`), or does
    /// not say (`UNKNOWN`, no family, a Unix socket); the socket's own addresses hold then.
    pub addresses: Option<Addresses>,
}

/// The two ends of the connection that the proxy took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    One,
    /// Binary.
    Two,
}

/// Why the bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// They begin with neither version's first bytes.
    Missing,
    /// Version 1: the line has no CRLF within [`V1_BYTES_MAX`], or a CR or an LF by itself.
    Line,
    /// Version 1: a protocol other than `TCP4`, `TCP6` and `UNKNOWN`.
    Protocol,
    /// Version 1: an address or a port that is not spelt as it must be, or not two of each.
    Address,
    /// Version 2: a version or a command that there is not.
    Command,
    /// Version 2: a family or a transport that a stream cannot come from.
    Family,
    /// Version 2: shorter than its addresses, or longer than [`V2_BYTES_MAX`].
    Length,
    /// Version 2: an extension that does not end where the header does.
    Extension,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::Missing => "the connection does not begin with a PROXY header",
            ProxyError::Line => "the PROXY line does not end in time with CR and LF",
            ProxyError::Protocol => "the PROXY line is for neither TCP4, TCP6 nor UNKNOWN",
            ProxyError::Address => "the PROXY line does not hold two addresses and two ports",
            ProxyError::Command => "the PROXY header is of no known version and command",
            ProxyError::Family => "the PROXY header is of no family and transport that a stream has",
            ProxyError::Length => "the PROXY header has no length that its addresses can have",
            ProxyError::Extension => "the PROXY header's extensions do not fill it",
        })
    }
}

impl std::error::Error for ProxyError {}

/// Looks for a header at the beginning of a connection. What follows the header is not looked at.
///
/// # Errors
/// [`ProxyError`] at the first byte that makes it no header, however many follow.
pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    if agrees(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    if agrees(bytes, V1_PREFIX) {
        return parse_v1(bytes);
    }
    Err(ProxyError::Missing)
}

/// Whether one is the beginning of the other.
fn agrees(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.
fn parse_v1(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let line = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        check_v1_beginning(line)?;
        // The CRLF must still fit.
        return if line.len() + 2 <= V1_BYTES_MAX { Ok(Parsed::Partial) } else { Err(ProxyError::Line) };
    };
    match (line[end], line.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if end + 1 < V1_BYTES_MAX => {
            check_v1_beginning(&line[..end])?;
            return Ok(Parsed::Partial);
        }
        _ => return Err(ProxyError::Line),
    }
    let rest = line[..end].strip_prefix(V1_PREFIX).ok_or(ProxyError::Missing)?;
    let addresses = v1_addresses(rest)?;
    Ok(Parsed::Complete(end + 2, Header { version: Version::One, addresses }))
}

/// A line that is not whole: is its protocol one that there is?
fn check_v1_beginning(line: &[u8]) -> Result<(), ProxyError> {
    let Some(rest) = line.strip_prefix(V1_PREFIX) else { return Ok(()) };
    let known = [&b"TCP4 "[..], b"TCP6 ", b"UNKNOWN "].iter().any(|protocol| agrees(rest, protocol));
    if known { Ok(()) } else { Err(ProxyError::Protocol) }
}

fn v1_addresses(rest: &[u8]) -> Result<Option<Addresses>, ProxyError> {
    // What follows UNKNOWN is to be ignored (HAProxy's specification, section 2.1).
    if rest == V1_UNKNOWN || (rest.starts_with(V1_UNKNOWN) && rest[V1_UNKNOWN.len()] == b' ') {
        return Ok(None);
    }
    let text = std::str::from_utf8(rest).map_err(|_| ProxyError::Address)?;
    let mut words = text.split(' ');
    let is_v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(ProxyError::Protocol),
    };
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        if is_v4 {
            word.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        } else {
            word.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
    };
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(v1_port);
    let (source_port, destination_port) = (port(), port());
    match (source, destination, source_port, destination_port, words.next()) {
        (Some(source), Some(destination), Some(source_port), Some(destination_port), None) => {
            Ok(Some(Addresses {
                source: SocketAddr::new(source, source_port),
                destination: SocketAddr::new(destination, destination_port),
            }))
        }
        _ => Err(ProxyError::Address),
    }
}

/// Decimal from 0 to 65535, without a sign or leading zeros.
fn v1_port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = word.len() > 1 && word.starts_with('0');
    if digits && !leading_zero { word.parse().ok() } else { None }
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, ProxyError> {
    let command = match bytes.get(12) {
        None => return Ok(Parsed::Partial),
        Some(byte) if byte & 0xF0 == V2_VERSION => byte & 0x0F,
        Some(_) => return Err(ProxyError::Command),
    };
    if command > V2_COMMAND_PROXY {
        return Err(ProxyError::Command);
    }
    let Some(&family) = bytes.get(13) else { return Ok(Parsed::Partial) };
    // A proxy that speaks for itself may send any family: it is to be ignored (HAProxy's specification, section 2.2).
    let address_bytes = if command == V2_COMMAND_LOCAL { 0 } else { v2_address_bytes(family)? };
    let &[high, low] = bytes.get(14..V2_FIXED_BYTES).unwrap_or_default() else { return Ok(Parsed::Partial) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < address_bytes || V2_FIXED_BYTES + length > V2_BYTES_MAX {
        return Err(ProxyError::Length);
    }
    let Some(body) = bytes.get(V2_FIXED_BYTES..V2_FIXED_BYTES + length) else { return Ok(Parsed::Partial) };
    let (addresses, extensions) = body.split_at(address_bytes);
    let addresses = match (command, family >> 4) {
        (V2_COMMAND_PROXY, V2_FAMILY_INET) => v2_inet(addresses),
        (V2_COMMAND_PROXY, V2_FAMILY_INET6) => v2_inet6(addresses),
        _ => None,
    };
    // Without a family there is nothing that says where extensions would begin.
    if command == V2_COMMAND_PROXY && address_bytes > 0 {
        check_extensions(extensions)?;
    }
    let header = Header { version: Version::Two, addresses };
    Ok(Parsed::Complete(V2_FIXED_BYTES + length, header))
}

/// How long the addresses of a family are.
fn v2_address_bytes(family: u8) -> Result<usize, ProxyError> {
    match (family >> 4, family & 0x0F) {
        (V2_FAMILY_UNSPECIFIED, 0) => Ok(0),
        (V2_FAMILY_INET, V2_PROTOCOL_STREAM) => Ok(V2_INET_BYTES),
        (V2_FAMILY_INET6, V2_PROTOCOL_STREAM) => Ok(V2_INET6_BYTES),
        (V2_FAMILY_UNIX, V2_PROTOCOL_STREAM) => Ok(V2_UNIX_BYTES),
        _ => Err(ProxyError::Family),
    }
}

fn v2_inet(bytes: &[u8]) -> Option<Addresses> {
    let ip = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets));
    Some(Addresses {
        source: SocketAddr::new(ip(0)?.into(), v2_port(bytes, 8)?),
        destination: SocketAddr::new(ip(4)?.into(), v2_port(bytes, 10)?),
    })
}

fn v2_inet6(bytes: &[u8]) -> Option<Addresses> {
    let ip =
        |at: usize| bytes.get(at..at + 16)?.try_into().ok().map(|octets: [u8; 16]| Ipv6Addr::from(octets));
    Some(Addresses {
        source: SocketAddr::new(ip(0)?.into(), v2_port(bytes, 32)?),
        destination: SocketAddr::new(ip(16)?.into(), v2_port(bytes, 34)?),
    })
}

fn v2_port(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Extensions are passed over; they only have to end where the header ends.
fn check_extensions(mut bytes: &[u8]) -> Result<(), ProxyError> {
    while !bytes.is_empty() {
        let fixed = bytes.get(..V2_TLV_FIXED_BYTES).ok_or(ProxyError::Extension)?;
        let length = usize::from(u16::from_be_bytes([fixed[1], fixed[2]]));
        bytes = bytes.get(V2_TLV_FIXED_BYTES + length..).ok_or(ProxyError::Extension)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts the result of parsing the bytes, and that every proper prefix of a header is `Partial`.
    fn check(bytes: &[u8], expected: Result<Parsed, ProxyError>) {
        assert_eq!(parse(bytes), expected, "{}", bytes.escape_ascii());
        let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        if let Ok(Parsed::Complete(length, header)) = expected {
            for end in 0..length {
                assert_eq!(parse(&bytes[..end]), Ok(Parsed::Partial), "{}", bytes[..end].escape_ascii());
            }
            assert_eq!(parse(&followed), Ok(Parsed::Complete(length, header)), "what follows counts");
        }
        if expected.is_err() {
            assert_eq!(parse(&followed), expected, "{} and more", bytes.escape_ascii());
            let first = (0..=bytes.len()).find(|end| parse(&bytes[..*end]).is_err());
            let first = first.expect("the whole is one");
            for end in first..bytes.len() {
                assert!(parse(&bytes[..end]).is_err(), "right again: {}", bytes[..end].escape_ascii());
            }
        }
    }

    fn from(source: &str, destination: &str, version: Version, length: usize) -> Result<Parsed, ProxyError> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let header = Header { version, addresses: Some(Addresses { source, destination }) };
        Ok(Parsed::Complete(length, header))
    }

    fn nobody(version: Version, length: usize) -> Result<Parsed, ProxyError> {
        Ok(Parsed::Complete(length, Header { version, addresses: None }))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, body].concat()
    }

    const INET: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xDC, 0x04, 0x01, 0xBB];

    #[test]
    fn a_line_names_both_ends() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";
        check(line, from("192.0.2.1:56324", "198.51.100.7:443", Version::One, line.len()));
        let line = b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
        check(line, from("[2001:db8::1]:0", "[::1]:65535", Version::One, line.len()));
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let line = format!("PROXY TCP6 {all} {all} 65535 65535\r\n");
        let end = format!("[{all}]:65535");
        check(line.as_bytes(), from(&end, &end, Version::One, line.len()));
    }

    #[test]
    fn an_unknown_line_leaves_the_sockets_own_address() {
        check(b"PROXY UNKNOWN\r\n", nobody(Version::One, 15));
        let line = b"PROXY UNKNOWN ffff::1 of any kind \xFF\r\n";
        check(line, nobody(Version::One, line.len()));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 16));
        assert_eq!(longest.len(), V1_BYTES_MAX);
        check(longest.as_bytes(), nobody(Version::One, V1_BYTES_MAX));
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_BYTES_MAX - 15));
        check(longer.as_bytes(), Err(ProxyError::Line));
    }

    #[test]
    fn a_line_has_one_spelling() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2.01 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 192.0.2 198.51.100.7 56324 443\r\n",
            "PROXY TCP4 ::1 ::1 56324 443\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 +1 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.7 1 \r\n",
            "PROXY TCP4 \r\n",
        ] {
            check(line.as_bytes(), Err(ProxyError::Address));
        }
        for line in ["PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", "PROXY tcp4 ", "PROXY \r\n", "PROXY UNKNOWNX\r\n"]
        {
            check(line.as_bytes(), Err(ProxyError::Protocol));
        }
        for line in ["PROXY TCP4 192.0.2.1 198.51.100.7 1 1\n", "PROXY UNKNOWN\rX\n", "PROXY UNKNOWN\r\r\n"] {
            check(line.as_bytes(), Err(ProxyError::Line));
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_its_first_byte() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"proxy ", b"PROXYTCP4", b"\r\n\r\n\0\r\nQUIT\r"]
        {
            check(bytes, Err(ProxyError::Missing));
        }
        check(b"", Ok(Parsed::Partial));
        check(b"PROX", Ok(Parsed::Partial));
    }

    #[test]
    fn a_binary_header_names_both_ends() {
        check(&v2(0x21, 0x11, INET), from("192.0.2.1:56324", "198.51.100.7:443", Version::Two, 28));
        let mut inet6 = [0; 36];
        (inet6[0], inet6[1], inet6[15], inet6[31]) = (0x20, 0x01, 1, 1);
        inet6[32..].copy_from_slice(&[0, 80, 1, 187]);
        check(&v2(0x21, 0x21, &inet6), from("[2001::1]:80", "[::1]:443", Version::Two, 52));
    }

    #[test]
    fn extensions_are_passed_over_and_have_to_fit() {
        let with = |extensions: &[u8]| v2(0x21, 0x11, &[INET, extensions].concat());
        // An authority (0x02), an empty one, a checksum that nobody checks.
        let right = with(b"\x02\x00\x05a.org\x04\x00\x00\x03\x00\x04abcd");
        check(&right, from("192.0.2.1:56324", "198.51.100.7:443", Version::Two, right.len()));
        for wrong in [&b"\x02"[..], b"\x02\x00", b"\x02\x00\x06a.org", b"\x02\xFF\xFF"] {
            check(&with(wrong), Err(ProxyError::Extension));
        }
        let room = V2_BYTES_MAX - V2_FIXED_BYTES - INET.len();
        let mut longest = vec![0; room];
        longest[1..3].copy_from_slice(&u16::try_from(room - 3).unwrap().to_be_bytes());
        check(&with(&longest), from("192.0.2.1:56324", "198.51.100.7:443", Version::Two, V2_BYTES_MAX));
        longest.push(0);
        check(&with(&longest), Err(ProxyError::Length));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_or_names_nobody_leaves_the_sockets_own_address() {
        check(&v2(0x20, 0x00, b""), nobody(Version::Two, 16));
        check(&v2(0x20, 0x11, INET), nobody(Version::Two, 28));
        check(&v2(0x20, 0xFF, b"anything"), nobody(Version::Two, 24));
        check(&v2(0x21, 0x00, b""), nobody(Version::Two, 16));
        check(&v2(0x21, 0x00, b"anything"), nobody(Version::Two, 24));
        check(&v2(0x21, 0x31, &[b'/'; 216]), nobody(Version::Two, 232));
    }

    #[test]
    fn a_binary_header_of_another_kind_is_refused() {
        for command in [0x11, 0x31, 0x22, 0x2F, 0x01, 0xFF] {
            check(&v2(command, 0x11, INET), Err(ProxyError::Command));
        }
        for family in [0x12, 0x10, 0x22, 0x01, 0x41, 0xFF, 0x32] {
            check(&v2(0x21, family, INET), Err(ProxyError::Family));
        }
        for (family, bytes) in [(0x11, 11), (0x21, 35), (0x31, 215), (0x11, 0)] {
            check(&v2(0x21, family, &vec![0; bytes]), Err(ProxyError::Length));
        }
    }
}

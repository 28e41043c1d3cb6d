//! The four forms of a request target (RFC 9112, 3.2), and hosts (RFC 3986, 3.2.2).

use std::net::Ipv6Addr;

use super::message::Method;
use super::refusal::Refusal;

/// The parts of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// The authority of a URL; none in the other forms.
    pub(super) authority: Option<&'b [u8]>,
    /// Empty for a URL that has none, and for a CONNECT.
    pub(super) path: &'b [u8],
    /// The bytes after the first `?`.
    pub(super) query: Option<&'b [u8]>,
}

/// Takes a target apart.
pub(super) fn split(method: Method, target: &[u8]) -> Result<Target<'_>, Refusal> {
    let (authority, local) = match method {
        Method::Connect if is_authority_with_port(target) => {
            return Ok(Target { authority: None, path: &target[..0], query: None });
        }
        Method::Connect => return Err(Refusal::Target),
        Method::Options if target == b"*" => (None, target),
        _ if target.first() == Some(&b'/') => (None, target),
        _ => split_authority(target).map(|(authority, local)| (Some(authority), local))?,
    };
    let (path, query) = match memchr::memchr(b'?', local) {
        Some(at) => (&local[..at], Some(&local[at + 1..])),
        None => (local, None),
    };
    let is_right = path.iter().all(|&byte| is_in(byte, PATH))
        && query.is_none_or(|q| q.iter().all(|&byte| is_in(byte, QUERY)));
    if is_right { Ok(Target { authority, path, query }) } else { Err(Refusal::Target) }
}

/// The authority of a URL and what follows it. RFC 9110, 4.2.1 and 4.2.4: a URL has a host, and no user information.
fn split_authority(target: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let rest = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme))
        .map(|scheme| &target[scheme.len()..])
        .ok_or(Refusal::Target)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    if is_authority(&rest[..end]) { Ok(rest.split_at(end)) } else { Err(Refusal::HostInvalid) }
}

/// RFC 9112, 3.2.3: what CONNECT names.
fn is_authority_with_port(target: &[u8]) -> bool {
    is_authority(target) && target.last().is_some_and(u8::is_ascii_digit) && {
        let host_end = if target[0] == b'[' { memchr::memchr(b']', target) } else { Some(0) };
        host_end.is_some_and(|end| target[end..].contains(&b':'))
    }
}

/// A Host field's value: an authority, or nothing (RFC 9112, 3.2).
pub(super) fn is_host_value(value: &[u8]) -> bool {
    value.is_empty() || is_authority(value)
}

/// A host that is not empty and perhaps a port. Percent-encoding is allowed by RFC 3986 but names no host that DNS
/// could find; it is refused, because who decodes it sees another host than who does not.
fn is_authority(text: &[u8]) -> bool {
    let port = match text {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let address =
                std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            if address.is_none() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            if end == 0 || !text[..end].iter().all(|&byte| is_in(byte, HOST)) {
                return false;
            }
            &text[end..]
        }
    };
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit) && is_port(digits),
        _ => false,
    }
}

/// Whether the digits are a number of 16 bits.
fn is_port(digits: &[u8]) -> bool {
    digits
        .iter()
        .try_fold(0_u16, |sum, digit| sum.checked_mul(10)?.checked_add(u16::from(digit - b'0')))
        .is_some()
}

const HOST: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;

fn is_in(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Which characters may stand where. Hosts: RFC 3986's, but for `%`. Paths and queries: those, and what browsers
/// leave as it is (the query and path percent-encode sets of the URL standard), as callers send it. `{` and `}` are
/// taken in paths too: placeholders that nobody filled in come as they are. `\` is not: some read it as `/`.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0x21;
    while at < 0x7F {
        let byte = at as u8;
        classes[at] = match byte {
            b'"' | b'#' | b'<' | b'>' => 0,
            b'\\' | b'^' | b'`' | b'?' => QUERY,
            b'/' | b':' | b'@' | b'%' | b'[' | b']' | b'{' | b'|' | b'}' => PATH | QUERY,
            _ => HOST | PATH | QUERY,
        };
        at += 1;
    }
    classes
};

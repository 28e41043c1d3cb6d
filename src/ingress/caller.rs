//! The address that a call comes from: the peer's, or the one that a trusted proxy names in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use smallvec::SmallVec;

use crate::base::ip_net::IpNet;
use crate::http::Request;

/// Fields of one name that stay out of the heap: proxies append to one.
const FIELDS_INLINE: usize = 4;

/// Returns the address of the caller: of the addresses that `X-Forwarded-For` names and the peer, the last one that is
/// no trusted proxy's, or the first if all are. `None` if the peer has no address, or if a trusted proxy names
/// something that is none: nobody can tell then who calls.
#[must_use]
pub(super) fn address(peer: Option<IpAddr>, trusted: &[IpNet], request: &Request<'_>) -> Option<IpAddr> {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut address = peer?.to_canonical();
    if !is_trusted(address) {
        return Some(address);
    }
    let fields: SmallVec<[&[u8]; FIELDS_INLINE]> = request
        .fields()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"))
        .map(|(_, value)| value)
        .collect();
    let members = fields.iter().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
    // RFC 9110, 5.6.1: empty members of a list do not count.
    for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        address = parse(member)?;
        if !is_trusted(address) {
            break;
        }
    }
    Some(address)
}

/// Reads an address, with or without the port that some proxies add.
fn parse(member: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(member).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::buffer::ReceiveBuffer;
    use crate::http::{Connection, Limits, Step};

    /// The caller of a request with these fields from this peer, behind the proxies 10.0.0.0/8 and 2001:db8::1.
    fn caller(peer: &str, fields: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let fields: String = fields.iter().map(|value| format!("X-Forwarded-For: {value}\r\n")).collect();
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        let mut http = Connection::new(Limits::default());
        assert_eq!(http.poll(&mut buffer), Step::Head);
        let peer = if peer.is_empty() { None } else { Some(peer.parse().unwrap()) };
        address(peer, &trusted, &http.request(&buffer)).map(|address| address.to_string())
    }

    #[test]
    fn the_caller_is_the_last_address_that_is_no_trusted_proxy() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("192.0.2.1", &["203.0.113.9"], Some("192.0.2.1")),
            ("::ffff:192.0.2.1", &[], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("::ffff:10.0.0.1", &["203.0.113.9, 10.0.0.2"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9", "10.0.0.2, ,10.0.0.3,"], Some("203.0.113.9")),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &["203.0.113.9:4711"], Some("203.0.113.9")),
            ("10.0.0.1", &["[2001:db8::7]:4711"], Some("2001:db8::7")),
            ("10.0.0.1", &["[2001:db8::7]"], Some("2001:db8::7")),
            ("10.0.0.1", &["::ffff:203.0.113.9"], Some("203.0.113.9")),
            ("2001:db8::1", &["2001:db8::7"], Some("2001:db8::7")),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &["203.0.113.9, unknown"], None),
            ("10.0.0.1", &["unknown, 203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["\u{fc}"], None),
            ("", &["203.0.113.9"], None),
        ];
        for (peer, fields, expected) in cases {
            assert_eq!(caller(peer, fields).as_deref(), *expected, "{peer} {fields:?}");
        }
    }
}

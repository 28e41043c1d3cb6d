//! Networks of IP addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Bits in front of an IPv4 address in IPv6 (RFC 4291, 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// An address or a network in CIDR notation (RFC 4632): `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    /// Leading bits that must agree.
    bits: u8,
}

impl IpNet {
    /// Whether the address lies in it. IPv4 in IPv6's clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                agree(u32::from(net).into(), u32::from(ip).into(), self.bits, 32)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => agree(net.into(), ip.into(), self.bits, 128),
            _ => false,
        }
    }
}

fn agree(one: u128, other: u128, bits: u8, width: u8) -> bool {
    bits == 0 || (one ^ other) >> (width - bits) == 0
}

impl FromStr for IpNet {
    type Err = String;

    fn from_str(text: &str) -> Result<IpNet, String> {
        let must = || format!("must hold addresses or networks such as 10.0.0.0/8, not {text:?}");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| must())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => width,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= width).ok_or_else(must)?,
        };
        // Addresses are compared as IPv4 where they are, so that a network has to be one of IPv4, too.
        let mapped = bits.checked_sub(MAPPED_BITS).filter(|_| address.to_canonical() != address);
        Ok(match mapped {
            Some(bits) => IpNet { address: address.to_canonical(), bits },
            None => IpNet { address, bits },
        })
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.address.is_ipv4() { 32 } else { 128 };
        if self.bits == width {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "10.255.1.2", true),
            ("::ffff:10.0.0.0/104", "::ffff:11.0.0.1", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("::ffff:0:0/96", "203.0.113.9", true),
            ("::ffff:0:0/95", "203.0.113.9", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "::1", false),
            ("::1", "::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
        ];
        for (net, ip, expected) in cases {
            assert_eq!(net.parse::<IpNet>().unwrap().contains(ip.parse().unwrap()), expected, "{net} {ip}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.0/-1", "example.org", "::/129", "1.2.3.4/"] {
            assert!(bad.parse::<IpNet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_is_shown_as_it_is_read() {
        for text in ["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "::1", "0.0.0.0/0"] {
            assert_eq!(text.parse::<IpNet>().unwrap().to_string(), text);
        }
    }
}

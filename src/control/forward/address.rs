//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::base::ip_net::IpNet;

/// The networks of `forward.allowed_networks` and `forward.denied_networks`.
#[derive(Debug)]
pub(super) struct Networks {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl Networks {
    pub(super) fn new(allowed: &[IpNet], denied: &[IpNet]) -> Networks {
        Networks { allowed: allowed.to_vec(), denied: denied.to_vec() }
    }

    /// Whether an address may be connected to: it, and whatever it is another form of.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        let forms = forms(ip);
        let is_in = |networks: &[IpNet], ip: IpAddr| networks.iter().any(|network| network.contains(ip));
        let is_denied = forms.iter().flatten().any(|form| is_in(&self.denied, *form));
        let is_allowed =
            self.allowed.is_empty() || forms.iter().flatten().all(|form| is_in(&self.allowed, *form));
        !is_denied && is_allowed
    }
}

/// The address, and the one that connections to it end at if that is another one.
fn forms(ip: IpAddr) -> [Option<IpAddr>; 2] {
    let ip = ip.to_canonical();
    let other = match ip {
        // The kernel connects an unspecified address to this machine.
        IpAddr::V4(ip) if ip.is_unspecified() => return [Some(Ipv4Addr::LOCALHOST.into()), None],
        IpAddr::V6(ip) if ip.is_unspecified() => return [Some(Ipv6Addr::LOCALHOST.into()), None],
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => embedded(ip).map(IpAddr::V4),
    };
    [Some(ip), other]
}

/// The IPv4 address in an IPv6 one that translators and relays pass on: NAT64's (RFC 6052), 6to4's (RFC 3056), and the
/// compatible form (RFC 4291).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = ip.octets();
    let at = |place: usize| Ipv4Addr::new(bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]);
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(at(12)),
        [0x2002, ..] => Some(at(2)),
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => Some(at(12)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn networks(allowed: &str, denied: &str) -> Networks {
        let read =
            |text: &str| -> Vec<IpNet> { text.split_whitespace().map(|net| net.parse().unwrap()).collect() };
        Networks::new(&read(allowed), &read(denied))
    }

    fn allows(networks: &Networks, ip: &str) -> bool {
        networks.allows(ip.parse().unwrap())
    }

    #[test]
    fn link_local_and_metadata_addresses_are_denied_by_default_in_all_their_forms() {
        let forward = Settings::defaults(1).forward;
        let networks = Networks::new(&forward.allowed_networks, &forward.denied_networks);
        for ip in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ] {
            assert!(!allows(&networks, ip), "{ip}");
        }
        for ip in ["127.0.0.1", "::1", "10.0.0.1", "203.0.113.1", "2001:db8::1", "0.0.0.0"] {
            assert!(allows(&networks, ip), "{ip}");
        }
    }

    #[test]
    fn an_unspecified_address_is_this_machine() {
        let no_loopback = networks("", "127.0.0.0/8 ::1");
        for ip in ["0.0.0.0", "::", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert!(!allows(&no_loopback, ip), "{ip}");
        }
    }

    #[test]
    fn where_networks_are_allowed_all_others_are_not_and_denied_ones_stay_denied() {
        let networks = networks("10.0.0.0/8 2001:db8::/32 64:ff9b::/96", "10.9.0.0/16");
        for ip in ["10.1.2.3", "2001:db8::1", "64:ff9b::10.1.2.3"] {
            assert!(allows(&networks, ip), "{ip}");
        }
        for ip in ["10.9.1.1", "11.0.0.1", "::1", "64:ff9b::10.9.1.1", "64:ff9b::11.0.0.1"] {
            assert!(!allows(&networks, ip), "{ip}");
        }
    }
}

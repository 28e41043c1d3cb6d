//! The addresses of listeners.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on: `ip:port`, `localhost:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Bytes of a Unix socket's path: the kernel's `sun_path` less the NUL that ends it (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

impl Address {
    /// Whether nothing can listen here while something listens there. Port 0 is another each time.
    pub(super) fn excludes(&self, other: &Address) -> bool {
        match (self, other) {
            (Address::Unix(one), Address::Unix(other)) => one == other,
            (Address::Tcp(one), Address::Tcp(other)) => {
                let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
                one.port() != 0
                    && one.port() == other.port()
                    && one.is_ipv4() == other.is_ipv4()
                    && (everywhere || one.ip() == other.ip())
            }
            _ => false,
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        const MUST: &str = "must be ip:port, localhost:port or unix:/path";
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
                return Err(MUST.to_owned());
            }
            if path.len() > UNIX_PATH_BYTES_MAX {
                return Err(format!(
                    "must have a path of at most {UNIX_PATH_BYTES_MAX} bytes after unix:, not {}: the kernel takes no more",
                    path.len()
                ));
            }
            return Ok(Address::Unix(path.into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Tcp(address));
        }
        // Only this one name: anything else would make the start depend on a resolver, `localhost:example.org:80` too.
        if let Some(port) = text.strip_prefix("localhost:") {
            let port: u16 = port.parse().map_err(|_| MUST)?;
            let found = ("localhost", port).to_socket_addrs().map_err(|error| format!("{MUST} ({error})"))?;
            let mut found: Vec<SocketAddr> = found.collect();
            found.sort_by_key(|address| !address.is_ipv4());
            return found.first().copied().map(Address::Tcp).ok_or_else(|| MUST.to_owned());
        }
        Err(MUST.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_the_kernel_does_not_take_is_refused() {
        let path = |bytes: usize| format!("unix:/{}", "x".repeat(bytes - 1));
        assert!(path(UNIX_PATH_BYTES_MAX).parse::<Address>().is_ok());
        let error = path(UNIX_PATH_BYTES_MAX + 1).parse::<Address>().unwrap_err();
        assert!(error.contains("at most 107 bytes") && error.contains("not 108"), "{error}");
    }

    #[test]
    fn addresses_exclude_each_other_where_one_is_within_the_other() {
        let cases = [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("unix:/run/t.sock", "unix:/run/t.sock", true),
            ("unix:/run/t.sock", "unix:/run/u.sock", false),
            ("unix:/run/t.sock", "127.0.0.1:80", false),
        ];
        for (one, other, expected) in cases {
            let (one, other): (Address, Address) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(one.excludes(&other), expected, "{one} {other}");
            assert_eq!(other.excludes(&one), expected, "{other} {one}");
        }
    }

    #[test]
    fn an_address_is_an_ip_with_a_port_or_a_path() {
        assert_eq!("unix:/run/t.sock".parse(), Ok(Address::Unix("/run/t.sock".into())));
        assert_eq!("[::1]:80".parse(), Ok(Address::Tcp("[::1]:80".parse().unwrap())));
        assert_eq!("localhost:80".parse::<Address>().unwrap().to_string().rsplit_once(':').unwrap().1, "80");
        for bad in [
            "",
            "8080",
            "unix:",
            "unix:relative",
            "unix:/run/",
            "unix:/run/a\0b",
            "example.org:80",
            "127.0.0.1",
            "127.0.0.1:99999",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        // Not even asked for: the answer would be the resolver's, and have its words.
        for name in ["localhost:example.org:80", "localhost:", "localhost:x"] {
            let must = "must be ip:port, localhost:port or unix:/path".to_owned();
            assert_eq!(name.parse::<Address>(), Err(must), "{name}");
        }
    }
}

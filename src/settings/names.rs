//! Names of hosts within settings, and access tokens: what a value must be that is only looked at when somebody calls.

use std::net::Ipv6Addr;

/// A token that can be guessed is none.
const ACCESS_TOKEN_MIN: usize = 16;
/// A longer one would not leave a head room for anything else ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const ACCESS_TOKEN_MAX: usize = 4_096;

/// Whether this can be the access token; what it must be otherwise, without showing it.
///
/// # Errors
/// The requirement that it breaks.
pub(crate) fn check_access_token(token: &str) -> Result<(), String> {
    if (ACCESS_TOKEN_MIN..=ACCESS_TOKEN_MAX).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Ok(());
    }
    Err(format!("must be {ACCESS_TOKEN_MIN} to {ACCESS_TOKEN_MAX} visible ASCII characters"))
}

/// A URL that webhooks' paths are put behind: scheme, host, perhaps a port and a path.
pub(super) fn check_public_url(url: &str) -> Result<(), String> {
    let must = |what: &str| Err(format!("must be an http or https URL {what}"));
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return must("such as https://hooks.example.org");
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return must("in visible ASCII characters: a name of other letters in its form with xn--");
    }
    if url.contains(['?', '#']) {
        return must("without a query");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if !is_host_and_port(host) {
        return must("with a host, and a port of 1 to 65535 if any");
    }
    Ok(())
}

/// The URL of a collector of spans.
pub(super) fn check_collector_url(url: &str) -> Result<(), String> {
    check_public_url(url).map_err(|_| "must be an http or https URL such as http://127.0.0.1:4318".to_owned())
}

/// A name that the admin listener answers for, as `Host` brings it: `console.example.org`, perhaps with a port.
pub(super) fn check_admin_host(name: &str) -> Result<(), String> {
    let must = "must hold names such as console.example.org";
    if name.contains("://") {
        return Err(format!("{must}, without a scheme: {name:?} would never match"));
    }
    if name.contains('*') {
        return Err(format!("{must}, each written out: {name:?} would never match"));
    }
    if !is_host_and_port(name) {
        return Err(format!("{must}, with a port if any: {name:?} would never match"));
    }
    Ok(())
}

/// Where a host is reached: a name or an address, and a port.
pub(super) fn check_host_port(text: &str) -> Result<(), String> {
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && !port.contains(']'));
    if has_port && is_host_and_port(text) { Ok(()) } else { Err("must be host:port".to_owned()) }
}

/// RFC 3986, section 3.2, without a user: a name, an IPv4 address or an IPv6 address in brackets; perhaps a port.
fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
        Some(_) => return false,
        None => {
            let colon = text.find(':').unwrap_or(text.len());
            (Some(&text[..colon]), &text[colon..])
        }
    };
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host.is_none_or(is_name) && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_host() {
        for good in [
            "https://hooks.example.org",
            "http://localhost:8080/base/",
            "http://[::1]:8080",
            "http://[2001:db8::1]",
            "https://user:secret@hooks.example.org/x@y",
            "https://xn--bcher-kva.example",
            "http://my_host",
        ] {
            assert_eq!(check_public_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks.example.org",
            "ftp://hooks.example.org",
            "https://",
            "https:///path",
            "https://:443",
            "https://user@",
            "https://hooks.example.org:",
            "https://hooks.example.org:0",
            "https://hooks.example.org:65536",
            "https://hooks.example.org:+1",
            "https://hooks.example.org:80:80",
            "https://[::1",
            "https://[localhost]",
            "https://[::1]x",
            "https://a b",
            "https://a\tb",
            "https://bücher.example",
            "https://hooks.example.org?x",
            "https://hooks.example.org/#x",
            "https://hooks.example.org,other.example.org",
        ] {
            assert!(check_public_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_of_the_admin_listener_is_one_that_a_host_field_can_bring() {
        for good in ["console.example.org", "console.example.org:8443", "console", "10.0.0.7", "[::1]:8081"] {
            assert_eq!(check_admin_host(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("https://console.example.org", "without a scheme"),
            ("*.example.org", "written out"),
            ("*", "written out"),
            ("console.example.org/", "never match"),
            ("console.example.org:", "never match"),
            ("console.example.org:x", "never match"),
            (":8081", "never match"),
            ("user@console.example.org", "never match"),
            ("bücher.example", "never match"),
            ("two words", "never match"),
        ] {
            let error = check_admin_host(bad).unwrap_err();
            assert!(error.contains(why) && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_place_to_connect_to_has_a_host_and_a_port() {
        for good in ["s3.amazonaws.com:443", "127.0.0.1:8443", "[::1]:443"] {
            assert_eq!(check_host_port(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "host",
            "host:",
            ":443",
            "[::1]",
            "::1:443",
            "a b:443",
            "host:0",
            "host:65536",
            "http://host:80",
        ] {
            assert!(check_host_port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_access_token_cannot_be_guessed_and_fits_into_a_header() {
        assert_eq!(check_access_token("0123456789abcdef"), Ok(()));
        assert_eq!(check_access_token(&"x".repeat(ACCESS_TOKEN_MAX)), Ok(()));
        assert!(check_access_token(&"x".repeat(ACCESS_TOKEN_MAX + 1)).is_err());
        for bad in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeü", "0123456789abcde\n"] {
            assert!(check_access_token(bad).is_err(), "{bad:?}");
        }
    }
}

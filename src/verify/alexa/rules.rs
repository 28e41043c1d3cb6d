//! Which URLs a certificate chain may come from: `https://s3.amazonaws.com[:443]/echo.api/…`.
//!
//! The URL is the sender's to choose, and the fetch is ours to make, so what is not plainly allowed is refused: a
//! path of unescaped characters, and no user information, query or fragment, none of which Amazon sends.

use std::fmt;

/// Longer than any URL of Amazon's (about 60 bytes), short enough to be a key of the cache.
const URL_BYTES_MAX: usize = 512;

/// The host of a chain, compared without case.
pub const HOST: &str = "s3.amazonaws.com";
const SCHEME: &[u8] = b"https://";
const PORT: &[u8] = b"443";
/// The required prefix of the path; case matters.
const PATH_PREFIX: &[u8] = b"/echo.api/";

/// A URL that keeps the rules, with the dot segments of its path removed. Equal URLs name the same chain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainUrl {
    path: Box<str>,
}

/// The rule that a URL breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlRule {
    /// Not longer than [`URL_BYTES_MAX`].
    Length,
    /// `https`.
    Scheme,
    /// Nothing before the host.
    UserInformation,
    /// `s3.amazonaws.com`.
    Host,
    /// 443 if any.
    Port,
    /// Only unescaped characters of a path.
    Characters,
    /// Under `/echo.api/`.
    Path,
}

impl ChainUrl {
    /// Reads the value of `SignatureCertChainUrl`.
    ///
    /// # Errors
    /// The first [`UrlRule`] that it breaks.
    pub fn parse(url: &[u8]) -> Result<ChainUrl, UrlRule> {
        if url.len() > URL_BYTES_MAX {
            return Err(UrlRule::Length);
        }
        let (scheme, rest) = url.split_at_checked(SCHEME.len()).ok_or(UrlRule::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UrlRule::Scheme);
        }
        let authority_end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if authority.contains(&b'@') {
            return Err(UrlRule::UserInformation);
        }
        let (host, port) = match memchr::memchr(b':', authority) {
            Some(at) => (&authority[..at], Some(&authority[at + 1..])),
            None => (authority, None),
        };
        if !host.eq_ignore_ascii_case(HOST.as_bytes()) {
            return Err(UrlRule::Host);
        }
        if port.is_some_and(|port| port != PORT) {
            return Err(UrlRule::Port);
        }
        if !path.iter().all(|&byte| is_path_character(byte)) {
            return Err(UrlRule::Characters);
        }
        let path = without_dot_segments(path);
        if !path.starts_with(PATH_PREFIX) {
            return Err(UrlRule::Path);
        }
        let path = String::from_utf8(path).map_err(|_| UrlRule::Characters)?;
        Ok(ChainUrl { path: path.into_boxed_str() })
    }

    /// The path to fetch, beginning with `/echo.api/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ChainUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{HOST}{}", self.path)
    }
}

impl fmt::Debug for ChainUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainUrl({self})")
    }
}

impl fmt::Display for UrlRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UrlRule::Length => write!(f, "must not be longer than {URL_BYTES_MAX} bytes"),
            UrlRule::Scheme => f.write_str("must begin with https://"),
            UrlRule::UserInformation => f.write_str("must have no user information"),
            UrlRule::Host => write!(f, "must have the host {HOST}"),
            UrlRule::Port => f.write_str("must have the port 443, or none"),
            UrlRule::Characters => f.write_str("must have a path without escapes, and no query or fragment"),
            UrlRule::Path => f.write_str("must have a path under /echo.api/"),
        }
    }
}

/// `pchar` of RFC 3986, section 3.3, without the escapes, and the slash.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

/// RFC 3986, section 5.2.4, for a path that is absolute or empty.
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let Some(relative) = path.strip_prefix(b"/") else { return Vec::new() };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = relative.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            // A path that ends in a dot segment names a folder, and ends in a slash.
            kept.push(b"");
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in kept {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn good(url: &str, path: &str) {
        assert_eq!(ChainUrl::parse(url.as_bytes()).expect(url).path(), path, "{url}");
    }

    #[track_caller]
    fn bad(url: &str, rule: UrlRule) {
        assert_eq!(ChainUrl::parse(url.as_bytes()), Err(rule), "{url}");
    }

    #[test]
    fn the_good_urls_of_amazons_documentation_pass() {
        good("https://s3.amazonaws.com/echo.api/echo-api-cert.pem", "/echo.api/echo-api-cert.pem");
        good("https://s3.amazonaws.com:443/echo.api/echo-api-cert.pem", "/echo.api/echo-api-cert.pem");
        good(
            "https://s3.amazonaws.com/echo.api/../echo.api/echo-api-cert.pem",
            "/echo.api/echo-api-cert.pem",
        );
    }

    #[test]
    fn the_bad_urls_of_amazons_documentation_are_refused() {
        bad("http://s3.amazonaws.com/echo.api/echo-api-cert.pem", UrlRule::Scheme);
        bad("https://notamazon.com/echo.api/echo-api-cert.pem", UrlRule::Host);
        bad("https://s3.amazonaws.com/EcHo.aPi/echo-api-cert.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com/invalid.path/echo-api-cert.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com:563/echo.api/echo-api-cert.pem", UrlRule::Port);
    }

    #[test]
    fn scheme_and_host_are_compared_without_case() {
        good("HTTPS://S3.AmazonAWS.com/echo.api/a.pem", "/echo.api/a.pem");
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused_however_it_is_written() {
        bad("https://s3.amazonaws.com/echo.api/../other/a.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com/echo.api/x/../../other/a.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com/echo.api/..", UrlRule::Path);
        bad("https://s3.amazonaws.com/echo.api/%2e%2e/other/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api/%2E%2E/other/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api/.%2e/other/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api/..%2fother/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api/..%5cother/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api/..\\other/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com/echo.api", UrlRule::Path);
        bad("https://s3.amazonaws.com/echo.apiary/a.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com//echo.api/a.pem", UrlRule::Path);
        bad("https://s3.amazonaws.com/", UrlRule::Path);
        bad("https://s3.amazonaws.com", UrlRule::Path);
    }

    #[test]
    fn dot_segments_are_removed_as_rfc_3986_says() {
        good("https://s3.amazonaws.com/echo.api/./x/../a.pem", "/echo.api/a.pem");
        good("https://s3.amazonaws.com/../echo.api/a.pem", "/echo.api/a.pem");
        good("https://s3.amazonaws.com/echo.api/x//../a.pem", "/echo.api/x/a.pem");
        good("https://s3.amazonaws.com/echo.api/x/..", "/echo.api/");
        good("https://s3.amazonaws.com/echo.api/.", "/echo.api/");
        good("https://s3.amazonaws.com/echo.api/...", "/echo.api/...");
        assert_eq!(without_dot_segments(b"/a/b/c/./../../g"), b"/a/g");
        assert_eq!(without_dot_segments(b"/a/.."), b"/");
        assert_eq!(without_dot_segments(b"/"), b"/");
        assert_eq!(without_dot_segments(b""), b"");
    }

    #[test]
    fn user_information_is_refused() {
        bad("https://user@s3.amazonaws.com/echo.api/a.pem", UrlRule::UserInformation);
        bad("https://s3.amazonaws.com@evil.example/echo.api/a.pem", UrlRule::UserInformation);
        bad("https://s3.amazonaws.com:443@evil.example/echo.api/a.pem", UrlRule::UserInformation);
        bad("https://@s3.amazonaws.com/echo.api/a.pem", UrlRule::UserInformation);
    }

    #[test]
    fn other_hosts_are_refused() {
        for host in [
            "s3.amazonaws.com.evil.example",
            "evil-s3.amazonaws.com",
            "s3.amazonaws.com.",
            "s3-amazonaws.com",
            "s3.amazonaws.co",
            "",
            "[::1]",
            "s3.amazonaws.com\\.evil.example",
            "s3.amazonaws.com%2eevil.example",
            "ѕ3.amazonaws.com",
        ] {
            bad(&format!("https://{host}/echo.api/a.pem"), UrlRule::Host);
        }
    }

    #[test]
    fn ports_other_than_443_are_refused() {
        for port in ["", "0", "80", "0443", "4430", "443 ", "-443", "+443", "443:443", "99999"] {
            bad(&format!("https://s3.amazonaws.com:{port}/echo.api/a.pem"), UrlRule::Port);
        }
    }

    #[test]
    fn spaces_controls_queries_fragments_and_what_is_no_ascii_are_refused() {
        bad(" https://s3.amazonaws.com/echo.api/a.pem", UrlRule::Scheme);
        bad("\thttps://s3.amazonaws.com/echo.api/a.pem", UrlRule::Scheme);
        bad("https:/s3.amazonaws.com/echo.api/a.pem", UrlRule::Scheme);
        bad("https:\\\\s3.amazonaws.com/echo.api/a.pem", UrlRule::Scheme);
        bad("//s3.amazonaws.com/echo.api/a.pem", UrlRule::Scheme);
        bad("", UrlRule::Scheme);
        bad("https:// s3.amazonaws.com/echo.api/a.pem", UrlRule::Host);
        for end in ["?", "?x=1", "#", "#x", " ", "\t", "\u{e9}", "%", "%41", "\"", "<", "{", "|", "\u{7f}"] {
            bad(&format!("https://s3.amazonaws.com/echo.api/a.pem{end}"), UrlRule::Characters);
        }
        bad("https://s3.amazonaws.com?/echo.api/a.pem", UrlRule::Characters);
        bad("https://s3.amazonaws.com#/echo.api/a.pem", UrlRule::Characters);
    }

    #[test]
    fn long_urls_are_refused() {
        let url = format!("https://s3.amazonaws.com/echo.api/{}", "a".repeat(URL_BYTES_MAX));
        bad(&url, UrlRule::Length);
        assert!(ChainUrl::parse(&url.as_bytes()[..URL_BYTES_MAX]).is_ok());
    }

    #[test]
    fn a_url_that_passes_passes_again_as_it_is_shown() {
        let url = ChainUrl::parse(b"HTTPS://S3.amazonaws.com:443/echo.api/x/../a.pem").expect("good");
        assert_eq!(url.to_string(), "https://s3.amazonaws.com/echo.api/a.pem");
        assert_eq!(ChainUrl::parse(url.to_string().as_bytes()), Ok(url));
    }

    proptest::proptest! {
        #[test]
        fn whatever_passes_stays_in_the_folder(rest in "[a-zA-Z/.:@%?#\\\\ 0-9]{0,40}") {
            for url in [rest.clone(), format!("https://s3.amazonaws.com{rest}"), format!("https://s3.amazonaws.com/echo.api/{rest}")] {
                if let Ok(url) = ChainUrl::parse(url.as_bytes()) {
                    let mut segments = url.path().split('/').skip(1);
                    assert_eq!(segments.next(), Some("echo.api"));
                    assert!(segments.all(|segment| segment != "." && segment != ".."), "{url}");
                    assert_eq!(ChainUrl::parse(url.to_string().as_bytes()), Ok(url));
                }
            }
        }
    }
}

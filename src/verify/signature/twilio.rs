//! Twilio's scheme (<https://www.twilio.com/docs/usage/security#validating-requests>): HMAC-SHA1 of the URL and the
//! sorted parameters of a form, or of a URL that carries the hash of a body that is no form.

use super::keys::SignatureKeys;
use super::mismatch::Mismatch;
use super::request::SignedRequest;
use super::tag::from_base64;
use crate::base::text::{base64_into, hex_decode_slice};
use crate::verify::query::{Parameter, parameter, parameters};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

const FIELD: &str = "X-Twilio-Signature";
/// The parameter of the URL that carries the hash of a body which is no form.
const BODY_HASH: &str = "bodySHA256";
const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// Name and value of a parameter.
type Pair = (Vec<u8>, Vec<u8>);

pub(super) fn check(keys: &SignatureKeys, request: &SignedRequest<'_>) -> Result<usize, Mismatch<'static>> {
    let value = request.fields.once(FIELD).map_err(Mismatch::not_once(FIELD))?;
    let tag = from_base64(value).ok_or(Mismatch::Malformed { field: FIELD, must: "a tag in base64" })?;
    let signed_parameters = signed_parameters(request)?;
    // Twilio's own libraries try the URL with and without its port, since Twilio has signed both.
    let matching = urls(request.url).iter().find_map(|url| {
        let mut parts = Vec::with_capacity(url.len() + 2 * signed_parameters.len());
        parts.extend_from_slice(url);
        parts.extend(signed_parameters.iter().flat_map(|(name, value)| [&name[..], &value[..]]));
        let parts: Vec<&[u8]> = parts;
        keys.matching(&parts, std::slice::from_ref(&tag))
    });
    matching.ok_or(Mismatch::Wrong(FIELD))
}

/// The field that makes a request genuine; `None` where there is no key to sign with.
///
/// # Errors
/// [`Mismatch`] where Twilio would not sign such a request: its body is neither a form nor hashed in the URL.
pub(super) fn sign(
    keys: &SignatureKeys,
    request: &SignedRequest<'_>,
) -> Result<Option<Vec<(String, String)>>, Mismatch<'static>> {
    let parameters = signed_parameters(request)?;
    let mut parts = vec![request.url];
    parts.extend(parameters.iter().flat_map(|(name, value)| [&name[..], &value[..]]));
    Ok(keys.sign_parts(&parts).map(|tag| {
        let mut value = Vec::new();
        base64_into(&mut value, tag.as_ref());
        // Base64 is ASCII.
        vec![(FIELD.to_owned(), String::from_utf8(value).unwrap_or_default())]
    }))
}

/// The parameters that are signed beside the URL: those of a form, sorted by name and value, each pair once. A body
/// of another kind must be covered by its hash in the URL: else anybody could put another one under a signature seen.
fn signed_parameters(request: &SignedRequest<'_>) -> Result<Vec<Pair>, Mismatch<'static>> {
    let query = memchr::memchr(b'?', request.url).map_or(&b""[..], |at| &request.url[at + 1..]);
    match parameter(query, BODY_HASH) {
        Parameter::Once(hash) => {
            body_matches(&hash, request.body).then(Vec::new).ok_or(Mismatch::BodyChanged)
        }
        Parameter::Repeated => Err(Mismatch::BodyChanged),
        Parameter::Missing if request.body.is_empty() => Ok(Vec::new()),
        Parameter::Missing if is_form(request.fields.once("Content-Type").unwrap_or_default()) => {
            let mut signed: Vec<_> = parameters(request.body).collect();
            signed.sort_unstable();
            signed.dedup();
            Ok(signed)
        }
        Parameter::Missing => Err(Mismatch::BodyNotSigned),
    }
}

fn body_matches(hash: &[u8], body: &[u8]) -> bool {
    let mut expected = [0; SHA256_OUTPUT_LEN];
    hex_decode_slice(&mut expected, hash)
        && verify_slices_are_equal(&expected, digest(&SHA256, body).as_ref()).is_ok()
}

pub(super) fn is_form(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(FORM)
}

/// The URL without a port, and with one (its own, or the scheme's); each as the parts it is made of.
fn urls(url: &[u8]) -> [Vec<&[u8]>; 2] {
    let Some(at) = memchr::memmem::find(url, b"://") else { return [vec![url], vec![url]] };
    let (scheme, rest) = url.split_at(at + b"://".len());
    let authority_end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    let host_start = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
    // A colon begins the port only after the bracket that ends an IPv6 address.
    let bracket = memchr::memrchr(b']', authority).map_or(host_start, |at| at + 1);
    let host_end = memchr::memchr(b':', &authority[bracket..]).map_or(authority.len(), |at| bracket + at);
    let (host, port) = authority.split_at(host_end);
    let default_port: &[u8] = if scheme.eq_ignore_ascii_case(b"https://") { b":443" } else { b":80" };
    let with_port = if port.is_empty() { default_port } else { port };
    [vec![scheme, host, rest], vec![scheme, host, with_port, rest]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(url: &str) -> [String; 2] {
        urls(url.as_bytes()).map(|parts| String::from_utf8(parts.concat()).expect("text"))
    }

    #[test]
    fn a_url_is_tried_without_and_with_its_port() {
        for (url, without, with) in [
            ("https://a.example/x?y=:1", "https://a.example/x?y=:1", "https://a.example:443/x?y=:1"),
            ("http://a.example/x", "http://a.example/x", "http://a.example:80/x"),
            ("https://a.example:8443/x", "https://a.example/x", "https://a.example:8443/x"),
            ("https://u:p@a.example/x@:1", "https://u:p@a.example/x@:1", "https://u:p@a.example:443/x@:1"),
            ("https://u:p@a.example:1", "https://u:p@a.example", "https://u:p@a.example:1"),
            ("http://[::1]/x", "http://[::1]/x", "http://[::1]:80/x"),
            ("http://[::1]:8080?x", "http://[::1]?x", "http://[::1]:8080?x"),
            ("nothing", "nothing", "nothing"),
        ] {
            assert_eq!(joined(url), [without, with], "{url}");
        }
    }

    #[test]
    fn a_form_is_known_by_its_media_type() {
        assert!(is_form(b"application/x-www-form-urlencoded"));
        assert!(is_form(b"Application/X-WWW-Form-Urlencoded ; charset=UTF-8"));
        assert!(!is_form(b"application/x-www-form-urlencoded2"));
        assert!(!is_form(b"application/json"));
        assert!(!is_form(b""));
    }
}

//! Keys of a signature's secrets, and tags compared under them in constant time.

use std::cell::OnceCell;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};

use super::tag::Tag;
use crate::base::text::{base64_decode, hex_decode};

/// One key for each secret that is not empty. Without any, nothing matches.
#[derive(Clone, Debug)]
pub(super) enum SignatureKeys {
    Hmac(Box<[hmac::Key]>),
    Ed25519(Box<[Ed25519Key]>),
    P256(Box<[P256Key]>),
}

/// A sender's public key (RFC 8032).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ed25519Key([u8; ED25519_PUBLIC_KEY_LEN]);

/// DER of an Ed25519 public key up to its bytes (RFC 8410, section 4).
const PUBLIC_KEY_INFO: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

impl Ed25519Key {
    /// Reads the key's 32 bytes in hex or base64, or a PEM `PUBLIC KEY`.
    pub(super) fn parse(text: &str) -> Result<Ed25519Key, &'static str> {
        const MUST: &str = "must be an Ed25519 public key: 32 bytes in hex or base64, or PEM";
        let text = text.trim();
        let bytes = match text.len() == 2 * ED25519_PUBLIC_KEY_LEN {
            true => hex_decode(text.as_bytes()),
            false => der_of(text),
        };
        let bytes = bytes.ok_or(MUST)?;
        let key = bytes.strip_prefix(PUBLIC_KEY_INFO).unwrap_or(&bytes);
        key.try_into().map(Ed25519Key).map_err(|_| MUST)
    }

    fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, tag).is_ok()
    }
}

/// Bytes of an uncompressed point of P-256 (SEC 1, section 2.3.3).
const P256_POINT_LEN: usize = 65;
/// The first byte of such a point.
const UNCOMPRESSED: u8 = 0x04;

/// A sender's public key on the curve P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct P256Key([u8; P256_POINT_LEN]);

/// DER of a public key on P-256 up to its point (RFC 5480, section 2).
const P256_KEY_INFO: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl P256Key {
    /// Reads a `SubjectPublicKeyInfo` in base64, or a PEM `PUBLIC KEY`.
    pub(super) fn parse(text: &str) -> Result<P256Key, &'static str> {
        const MUST: &str = "must be a public key on P-256: base64 as the sender shows it, or PEM";
        let der = der_of(text.trim()).ok_or(MUST)?;
        let point: [u8; P256_POINT_LEN] =
            der.strip_prefix(P256_KEY_INFO).and_then(|point| point.try_into().ok()).ok_or(MUST)?;
        if point[0] == UNCOMPRESSED { Ok(P256Key(point)) } else { Err(MUST) }
    }

    fn verifies(&self, message: &[u8], tag: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, tag).is_ok()
    }
}

/// The bytes of a PEM `PUBLIC KEY`, or of base64.
fn der_of(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("-----BEGIN PUBLIC KEY-----") {
        Some(rest) => {
            let inside = rest.split("-----END").next().unwrap_or_default();
            base64_decode(&inside.split_ascii_whitespace().collect::<String>().into_bytes())
        }
        None => base64_decode(text.as_bytes()),
    }
}

impl SignatureKeys {
    /// The first key under which one of `tags` is the tag of the joined `parts`. A comparison takes the same time wherever
    /// two tags differ.
    pub(super) fn matching(&self, parts: &[&[u8]], tags: &[Tag]) -> Option<usize> {
        match self {
            SignatureKeys::Hmac(keys) => keys.iter().position(|key| {
                let expected = hmac_of(key, parts);
                tags.iter().any(|tag| verify_slices_are_equal(tag, expected.as_ref()).is_ok())
            }),
            SignatureKeys::Ed25519(keys) => matching_public(keys, Ed25519Key::verifies, parts, tags),
            SignatureKeys::P256(keys) => matching_public(keys, P256Key::verifies, parts, tags),
        }
    }

    /// The tag of the joined `parts` under the first key; `None` where there is no key, or keys that only verify.
    pub(super) fn sign_parts(&self, parts: &[&[u8]]) -> Option<hmac::Tag> {
        match self {
            SignatureKeys::Hmac(keys) => keys.first().map(|key| hmac_of(key, parts)),
            SignatureKeys::Ed25519(_) | SignatureKeys::P256(_) => None,
        }
    }

    /// Whether the keys only verify: the sender alone has what signs.
    pub(super) fn are_public(&self) -> bool {
        !matches!(self, SignatureKeys::Hmac(_))
    }

    /// The tag of `text` under one of the keys; `None` for keys that only verify.
    pub(super) fn sign(&self, index: usize, text: &[u8]) -> Option<hmac::Tag> {
        match self {
            SignatureKeys::Hmac(keys) => keys.get(index).map(|key| hmac_of(key, &[text])),
            SignatureKeys::Ed25519(_) | SignatureKeys::P256(_) => None,
        }
    }
}

/// A signature is verified over one piece, which is put together only where there is a tag to verify.
fn matching_public<K>(
    keys: &[K],
    verifies: impl Fn(&K, &[u8], &[u8]) -> bool,
    parts: &[&[u8]],
    tags: &[Tag],
) -> Option<usize> {
    let message = OnceCell::new();
    let message = || message.get_or_init(|| parts.concat());
    keys.iter().position(|key| tags.iter().any(|tag| verifies(key, message(), tag)))
}

fn hmac_of(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_tag_matches_nothing() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let whole = hmac::sign(&key, b"ab");
        let keys = SignatureKeys::Hmac(Box::new([key]));
        assert_eq!(keys.matching(&[b"a", b"b"], &[Tag::from_slice(whole.as_ref())]), Some(0));
        for length in [0, 1, 31] {
            assert_eq!(keys.matching(&[b"a", b"b"], &[Tag::from_slice(&whole.as_ref()[..length])]), None);
        }
        assert_eq!(SignatureKeys::Hmac(Box::new([])).matching(&[b"a", b"b"], &[Tag::new()]), None);
    }

    #[test]
    fn a_public_key_is_read_in_the_forms_that_senders_show_it_in() {
        // RFC 8032, section 7.1, test 1.
        let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let base64 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        let key = Ed25519Key::parse(hex).unwrap();
        assert_eq!(Ed25519Key::parse(base64), Ok(key));
        assert_eq!(Ed25519Key::parse(pem), Ok(key));
        for bad in ["", "zz", &hex[..62], &base64[..40], "-----BEGIN PUBLIC KEY-----", &hex.replace('d', "g")]
        {
            assert!(Ed25519Key::parse(bad).is_err(), "{bad}");
        }
        let tag = hex_decode(b"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b").unwrap();
        let keys = SignatureKeys::Ed25519(Box::new([Ed25519Key([7; 32]), key]));
        assert_eq!(keys.matching(&[b"", b""], &[Tag::from_vec(tag.clone())]), Some(1));
        assert_eq!(keys.matching(&[b"x"], &[Tag::from_vec(tag)]), None);
        assert_eq!(keys.matching(&[b""], &[Tag::new()]), None);
    }
}

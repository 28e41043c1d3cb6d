//! Tags: reading them from a field and comparing them with what the keys say.

use crate::base::text::{base64_decode, hex_decode_slice};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use smallvec::SmallVec;

/// The longest tag: HMAC-SHA512's 64 bytes.
const TAG_BYTES_MAX: usize = 64;
/// More base64 than any tag takes, white space and padding aside.
const BASE64_BYTES_MAX: usize = TAG_BYTES_MAX.div_ceil(3) * 4;

/// A tag as it was sent.
pub(super) type Tag = SmallVec<[u8; TAG_BYTES_MAX]>;

/// Hex digits of either case.
pub(super) fn from_hex(text: &[u8]) -> Option<Tag> {
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() > 2 * TAG_BYTES_MAX {
        return None;
    }
    let mut tag = Tag::from_elem(0, text.len() / 2);
    hex_decode_slice(&mut tag, text).then_some(tag)
}

/// Base64, padding optional.
pub(super) fn from_base64(text: &[u8]) -> Option<Tag> {
    if text.is_empty() || text.len() > BASE64_BYTES_MAX {
        return None;
    }
    base64_decode(text).map(Tag::from_vec)
}

/// Whether one of `tags` is the tag of the joined `parts` under one of `keys`. A comparison takes the same time
/// wherever two tags differ.
pub(super) fn any_matches(keys: &[hmac::Key], parts: &[&[u8]], tags: &[Tag]) -> bool {
    keys.iter().any(|key| {
        let mut context = hmac::Context::with_key(key);
        for part in parts {
            context.update(part);
        }
        let expected = context.sign();
        tags.iter().any(|tag| verify_slices_are_equal(tag, expected.as_ref()).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_any_length_an_hmac_has_are_read() {
        for bytes in [1, 20, 32, 64] {
            assert_eq!(from_hex("aF".repeat(bytes).as_bytes()).as_deref(), Some(&vec![0xaf; bytes][..]));
        }
        assert_eq!(from_base64(b"//8=").as_deref(), Some(&[255, 255][..]));
        assert_eq!(from_base64(b"//8").as_deref(), Some(&[255, 255][..]));
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        for text in ["", "a", "ag", "aa ", &"aa".repeat(65)] {
            assert_eq!(from_hex(text.as_bytes()), None, "{text}");
        }
        for text in ["", "=", "a", "//8= ", &"AAAA".repeat(23)] {
            assert_eq!(from_base64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_shortened_tag_matches_nothing() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let whole = hmac::sign(&key, b"ab");
        let keys = [key];
        assert!(any_matches(&keys, &[b"a", b"b"], &[Tag::from_slice(whole.as_ref())]));
        for length in [0, 1, 31] {
            assert!(!any_matches(&keys, &[b"a", b"b"], &[Tag::from_slice(&whole.as_ref()[..length])]));
        }
        assert!(!any_matches(&[], &[b"a", b"b"], &[Tag::new()]));
    }
}

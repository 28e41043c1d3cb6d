//! Tags as they are written in a field.

use crate::base::text::{base64_decode, hex_decode_slice};
use smallvec::SmallVec;

/// The longest tag: 72 bytes, of ECDSA on P-256 in DER (HMAC-SHA512 and Ed25519 have 64).
const TAG_BYTES_MAX: usize = 72;
/// Bytes of a tag that are kept in place: those of the schemes that most senders have.
const TAG_BYTES_INLINE: usize = 64;
/// More base64 than any tag takes, white space and padding aside.
const BASE64_BYTES_MAX: usize = TAG_BYTES_MAX.div_ceil(3) * 4;

/// A tag as it was sent.
pub(super) type Tag = SmallVec<[u8; TAG_BYTES_INLINE]>;

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
        for text in ["", "a", "ag", "aa ", &"aa".repeat(73)] {
            assert_eq!(from_hex(text.as_bytes()), None, "{text}");
        }
        for text in ["", "=", "a", "//8= ", &"AAAA".repeat(25)] {
            assert_eq!(from_base64(text.as_bytes()), None, "{text}");
        }
    }
}

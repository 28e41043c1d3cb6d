//! How a text becomes the bytes of a message.

use crate::base::text::{base64_decode, base64_decode_lenient, hex_decode};

/// The encodings of a reply's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// The text itself, sent as text.
    #[default]
    Utf8,
    /// Base64 of either alphabet.
    Base64,
    /// Two hex digits a byte.
    Hex,
    /// A character a byte (`binary`, Latin-1).
    Binary,
}

impl Encoding {
    /// The names, for messages.
    pub(crate) const NAMES: &str = "utf8, base64, hex or binary";

    /// The encoding of a name.
    #[must_use]
    pub(crate) fn named(name: &str) -> Option<Encoding> {
        Some(match name {
            "utf8" => Encoding::Utf8,
            "base64" => Encoding::Base64,
            "hex" => Encoding::Hex,
            "binary" => Encoding::Binary,
            _ => return None,
        })
    }

    /// The bytes of a text, or `None` where it is not what the encoding says.
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Utf8 => Some(text.as_bytes().to_vec()),
            Encoding::Base64 => base64_decode(text.as_bytes()),
            Encoding::Hex => hex_decode(text.as_bytes()),
            Encoding::Binary => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect(),
        }
    }

    /// The bytes of a text as `Buffer.from(text, encoding)` of the platform reads it: what does not fit is skipped
    /// (base64), ends it (hex) or is cut to its low byte (binary).
    pub(super) fn decode_lenient(self, text: Vec<u8>) -> Vec<u8> {
        match self {
            Encoding::Utf8 => text,
            Encoding::Base64 => base64_decode_lenient(&text),
            Encoding::Hex => {
                let end = text.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(text.len());
                hex_decode(&text[..end / 2 * 2]).unwrap_or_default()
            }
            Encoding::Binary => {
                String::from_utf8_lossy(&text).encode_utf16().map(|unit| unit.to_le_bytes()[0]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_bytes() {
        for (encoding, text, strict, lenient) in [
            (Encoding::Utf8, "é", Some(&b"\xc3\xa9"[..]), &b"\xc3\xa9"[..]),
            (Encoding::Base64, "AP8=", Some(b"\x00\xff"), b"\x00\xff"),
            (Encoding::Base64, "AP 8", None, b"\x00\xff"),
            (Encoding::Base64, "_-8", Some(b"\xff\xef"), b"\xff\xef"),
            (Encoding::Hex, "00fF", Some(b"\x00\xff"), b"\x00\xff"),
            (Encoding::Hex, "00f", None, b"\x00"),
            (Encoding::Hex, "00zz11", None, b"\x00"),
            (Encoding::Binary, "a\u{ff}", Some(b"a\xff"), b"a\xff"),
            (Encoding::Binary, "a\u{141}", None, b"aA"),
            (Encoding::Binary, "", Some(b""), b""),
        ] {
            assert_eq!(encoding.decode(text).as_deref(), strict, "{encoding:?} {text}");
            assert_eq!(encoding.decode_lenient(text.into()), lenient, "{encoding:?} {text}");
        }
    }
}

//! How bytes that are not text stand in a payload.

/// `castBuffersAs` of a webhook ([trigger payload](crate::guide::trigger_payload)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CastBuffersAs {
    /// A list of integers.
    #[default]
    Array,
    /// A string of one character a byte.
    Binary,
    /// Text, with U+FFFD for bad bytes.
    Utf8,
    /// Base64, standard alphabet, padded.
    Base64,
    /// Lower-case hex digits.
    Hex,
}

/// The words of [`CastBuffersAs`].
pub(super) const CASTS: [(&str, CastBuffersAs); 5] = [
    ("array", CastBuffersAs::Array),
    ("binary", CastBuffersAs::Binary),
    ("utf8", CastBuffersAs::Utf8),
    ("base64", CastBuffersAs::Base64),
    ("hex", CastBuffersAs::Hex),
];

//! Bounds of a head and of what surrounds a body.

/// Field lines that a head may have ([limits and refusals](crate::guide::limits_and_refusals#limits)).
pub(super) const FIELDS_MAX: usize = 100;

/// How much of each thing a request may have ([limits and refusals](crate::guide::limits_and_refusals#limits)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the request line and the fields, with the empty line. Never more than 65,535.
    pub head_bytes: u32,
    /// Field lines. Never more than 100.
    pub fields: u16,
    /// Bytes of the request target.
    pub target_bytes: u32,
    /// Bytes of chunk extensions and trailers together.
    pub chunk_overhead_bytes: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: 16 * 1024,
            fields: FIELDS_MAX as u16,
            target_bytes: 8 * 1024,
            chunk_overhead_bytes: 16 * 1024,
        }
    }
}

//! Segments: entries on the disk. A segment is frames end to end, each the length of its entries, their CRC-32C (both four
//! bytes, little endian), and the entries.

use crc_fast::CrcAlgorithm;

/// Bytes of a frame before its entries.
const HEADER_BYTES: usize = 8;
/// Bytes of the entries of one frame: a batch, or what is moved forward at a time. What claims more is damage.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Appends a frame with these entries.
pub fn frame_into(out: &mut Vec<u8>, entries: &[u8]) {
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(entries).to_le_bytes());
    out.extend_from_slice(entries);
}

/// The entries of each frame, and whether all of the bytes are frames. Ends at the first that is cut off or damaged: a crash
/// tears the last write, and nothing is written behind a write that failed.
pub fn frames(bytes: &[u8]) -> Frames<'_> {
    Frames { rest: bytes }
}

/// The frames of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'s> {
    rest: &'s [u8],
}

impl Frames<'_> {
    /// Bytes that are no frame.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }
}

impl<'s> Iterator for Frames<'s> {
    type Item = &'s [u8];

    fn next(&mut self) -> Option<&'s [u8]> {
        let (length, behind) = self.rest.split_first_chunk::<4>()?;
        let (crc, behind) = behind.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let entries = behind.get(..length).filter(|_| length <= FRAME_BYTES_MAX)?;
        if checksum(entries) != u32::from_le_bytes(*crc) {
            return None;
        }
        self.rest = &self.rest[HEADER_BYTES + length..];
        Some(entries)
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_up_to_the_first_that_is_torn() {
        let mut bytes = Vec::new();
        [&b"one"[..], b"", b"three"].iter().for_each(|entries| frame_into(&mut bytes, entries));
        assert_eq!(frames(&bytes).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        for cut in 0..bytes.len() {
            let mut read = frames(&bytes[..cut]);
            let count = read.by_ref().count();
            assert!(count < 3 && (read.left() > 0 || cut == [0, 11, 19][count]), "{cut}: {count}");
        }
        let mut damaged = bytes.clone();
        damaged[9] ^= 1;
        assert_eq!(frames(&damaged).count(), 0);
    }
}

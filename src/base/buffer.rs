//! Bytes that were received and not yet consumed, in one contiguous piece.
//!
//! A request is parsed where it lies: positions are relative to [`ReceiveBuffer::unread`], so they survive both
//! growth and compaction. Who reads from a socket takes the storage out with [`ReceiveBuffer::take_storage`], fills
//! it from its length on, and puts it back.

use std::ops::Range;

/// A growable window over received bytes. Invariant: `start <= bytes.len()`.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
}

impl ReceiveBuffer {
    /// An empty buffer that can take `capacity` bytes before it grows.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> ReceiveBuffer {
        ReceiveBuffer { bytes: Vec::with_capacity(capacity), start: 0 }
    }

    /// The bytes that were received and are not consumed yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The same, to decode in place (chunks, masks).
    pub fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// How many bytes are unread.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Gives up the first `n` unread bytes. More than there are gives up all.
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.bytes.len());
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Takes `range` (relative to [`Self::unread`]) out and closes the gap; what lay behind it moves down.
    ///
    /// # Panics
    /// If the range lies outside of what is unread.
    pub fn remove(&mut self, range: Range<usize>) {
        let (from, to) = (self.start + range.start, self.start + range.end);
        self.bytes.copy_within(to.., from);
        let shorter = self.bytes.len() - (to - from);
        self.bytes.truncate(shorter);
    }

    /// Appends bytes, growing as needed. The engine reads into the storage instead; this is for tests and for
    /// bytes that were decrypted elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Room behind the unread bytes, without growing.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// All the bytes the storage can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Moves the unread bytes to the front, so that all the room lies behind them.
    pub fn compact(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start.., 0);
            let length = self.bytes.len() - self.start;
            self.bytes.truncate(length);
            self.start = 0;
        }
    }

    /// Makes the storage at least `capacity` bytes large; the unread bytes are moved to its front.
    pub fn grow_to(&mut self, capacity: usize) {
        self.compact();
        if capacity > self.bytes.capacity() {
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }

    /// Moves the unread bytes into `storage`, which is empty and large enough, and gives back what they lay in.
    #[must_use]
    pub fn move_to(&mut self, mut storage: Vec<u8>) -> Vec<u8> {
        storage.extend_from_slice(self.unread());
        self.start = 0;
        std::mem::replace(&mut self.bytes, storage)
    }

    /// Takes the storage out to be read into (from its length on). Give it back with [`Self::restore_storage`].
    #[must_use]
    pub fn take_storage(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Puts the storage back after a read appended to it.
    pub fn restore_storage(&mut self, storage: Vec<u8>) {
        debug_assert!(storage.len() >= self.start);
        self.bytes = storage;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consuming_all_starts_again_at_the_front() {
        let mut buffer = ReceiveBuffer::with_capacity(8);
        buffer.extend(b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.unread(), b"cdef");
        buffer.consume(9);
        assert!(buffer.is_empty());
        assert_eq!(buffer.spare(), buffer.capacity());
    }

    #[test]
    fn a_removed_range_closes_its_gap() {
        let mut buffer = ReceiveBuffer::with_capacity(16);
        buffer.extend(b"xheadgaptail");
        buffer.consume(1);
        buffer.remove(4..7);
        assert_eq!(buffer.unread(), b"headtail");
    }

    #[test]
    fn growing_keeps_what_is_unread() {
        let mut buffer = ReceiveBuffer::with_capacity(4);
        buffer.extend(b"abcd");
        buffer.consume(3);
        buffer.grow_to(64);
        assert_eq!(buffer.unread(), b"d");
        assert!(buffer.spare() >= 63);
    }

    #[test]
    fn moving_keeps_what_is_unread() {
        let mut buffer = ReceiveBuffer::with_capacity(4);
        buffer.extend(b"abcd");
        buffer.consume(3);
        let before = buffer.move_to(Vec::with_capacity(64));
        assert_eq!((buffer.unread(), buffer.capacity()), (&b"d"[..], 64));
        assert_eq!((before, buffer.spare()), (b"abcd".to_vec(), 63));
    }
}

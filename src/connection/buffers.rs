//! The buffers of a core: receive buffers for requests that are not complete yet, output buffers, and those of large
//! bodies, kept for the next one, since the kernel hands out fresh memory page by page, with a fault for each 4 KiB and a
//! page to zero.
//!
//! **Invariant**: `body_bytes` counts what connections hold beyond their first buffers, never what is kept here.

use crate::base::buffer::ReceiveBuffer;

/// Bytes of a receive buffer that a connection takes for a request that is not complete: one of a device, with room to
/// spare.
pub(crate) const RECEIVE_BYTES: usize = 4 * 1024;
/// A larger one: takes the longest head, and a burst of pipelined requests.
pub(crate) const RECEIVE_BYTES_LARGE: usize = 16 * 1024;
/// Bytes of an output buffer or a draft that is kept; a larger one was for something large and is freed.
pub(crate) const OUT_KEEP_BYTES: usize = 64 * 1024;
/// Bytes of a new output buffer.
const OUT_BYTES: usize = 1024;
/// Buffers of a kind that a core keeps; more are given back to the allocator.
const POOL_BUFFERS: usize = 256;

/// Buffers that are kept: the body of the default limit with its head, and up to twice that. A smaller one the allocator
/// has at hand itself, larger ones are few.
const KEPT_BYTES_EACH_MIN: usize = 128 * 1024;
const KEPT_BYTES_EACH_MAX: usize = 512 * 1024;
/// Bytes kept on a core in all: the buffers of 15 bodies of the default limit.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sizes are rounded up to this, so that one body's buffer fits the next one whose head is a little longer.
const STEP_BYTES: usize = 16 * 1024;
/// A kept buffer is not taken for less than a half of it.
const WASTE_FACTOR: usize = 2;

/// The buffers of one core.
pub(crate) struct Buffers {
    receive: Vec<Vec<u8>>,
    out: Vec<Vec<u8>>,
    large: LargeBufferPool,
    /// Bytes that bodies being received hold beyond their first buffers.
    body_bytes: usize,
    body_bytes_max: usize,
    freed: usize,
}

impl Buffers {
    /// No buffers. Bodies may hold `body_bytes_max` bytes beyond their first buffers.
    pub(crate) fn new(body_bytes_max: usize) -> Buffers {
        Buffers {
            receive: Vec::new(),
            out: Vec::new(),
            large: LargeBufferPool::default(),
            body_bytes: 0,
            body_bytes_max,
            freed: 0,
        }
    }

    /// Appends `bytes` to a receive buffer, which takes storage where it has none and grows as `wanted` says.
    ///
    /// # Errors
    /// If bodies hold all the memory that they may.
    pub(crate) fn append(
        &mut self,
        buffer: &mut ReceiveBuffer,
        bytes: &[u8],
        wanted: usize,
    ) -> Result<(), OutOfMemory> {
        if buffer.capacity() == 0 {
            buffer.restore_storage(self.receive.pop().unwrap_or_else(|| Vec::with_capacity(RECEIVE_BYTES)));
        }
        if buffer.spare() < bytes.len() {
            let needed = buffer.len() + bytes.len();
            if needed <= buffer.capacity() && wanted <= buffer.capacity() {
                buffer.compact();
            } else {
                // Beyond the first size there is more where this came from.
                self.grow(buffer, needed.max(wanted).max(RECEIVE_BYTES_LARGE))?;
            }
        }
        buffer.extend(bytes);
        Ok(())
    }

    /// Makes a receive buffer larger, within what bodies may hold on this core.
    fn grow(&mut self, buffer: &mut ReceiveBuffer, capacity: usize) -> Result<(), OutOfMemory> {
        let held = beyond_large(buffer.capacity());
        let others = self.body_bytes.saturating_sub(held);
        let most = self.body_bytes_max.saturating_sub(others).saturating_add(RECEIVE_BYTES_LARGE);
        if capacity > most {
            return Err(OutOfMemory);
        }
        match self.large.take(capacity, most) {
            Some(storage) => {
                let storage = buffer.move_to(storage);
                self.free(storage);
            }
            None if capacity < KEPT_BYTES_EACH_MIN => buffer.grow_to(capacity),
            None => buffer.grow_to(capacity.next_multiple_of(STEP_BYTES).min(most)),
        }
        self.body_bytes = others + beyond_large(buffer.capacity());
        Ok(())
    }

    /// Takes the storage of a receive buffer back once nothing in it is unread; makes a large one small once little is.
    pub(crate) fn shrink(&mut self, buffer: &mut ReceiveBuffer) {
        let capacity = buffer.capacity();
        if buffer.is_empty() {
            if capacity > 0 {
                self.release(buffer);
            }
        } else if capacity > RECEIVE_BYTES_LARGE && buffer.len() <= RECEIVE_BYTES_LARGE {
            let storage = buffer.move_to(Vec::with_capacity(RECEIVE_BYTES_LARGE));
            self.body_bytes = self.body_bytes.saturating_sub(beyond_large(capacity));
            self.free(storage);
        }
    }

    /// Takes the storage of a receive buffer back; what is unread in it is dropped.
    pub(crate) fn release(&mut self, buffer: &mut ReceiveBuffer) {
        buffer.consume(usize::MAX);
        let storage = buffer.take_storage();
        self.body_bytes = self.body_bytes.saturating_sub(beyond_large(storage.capacity()));
        self.free(storage);
    }

    fn free(&mut self, mut storage: Vec<u8>) {
        storage.clear();
        if storage.capacity() == RECEIVE_BYTES && self.receive.len() < POOL_BUFFERS {
            self.receive.push(storage);
        } else if storage.capacity() > 0 && !self.large.give(storage) {
            self.freed += 1;
        }
    }

    /// An empty buffer for output.
    pub(crate) fn take_out(&mut self) -> Vec<u8> {
        self.out.pop().unwrap_or_else(|| Vec::with_capacity(OUT_BYTES))
    }

    /// Takes a buffer back whose bytes have been sent.
    pub(crate) fn give_out(&mut self, mut out: Vec<u8>) {
        out.clear();
        if (1..=OUT_KEEP_BYTES).contains(&out.capacity()) && self.out.len() < POOL_BUFFERS {
            self.out.push(out);
        } else if out.capacity() > 0 {
            self.freed += 1;
        }
    }

    /// Notes that something was given back to the allocator.
    pub(crate) fn note_freed(&mut self) {
        self.freed += 1;
    }

    /// Number of buffers that were given back to the allocator since [`Self::clear`].
    pub(crate) fn freed(&self) -> usize {
        self.freed
    }

    /// Frees all that is kept: each kept buffer may hold on to the allocator's page that it is part of.
    pub(crate) fn clear(&mut self) {
        self.receive.clear();
        self.out.clear();
        self.large.clear();
        self.freed = 0;
    }

    /// Bytes that bodies hold beyond their first buffers.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body_bytes
    }
}

/// Bodies hold all the memory that they may on this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// The part of a buffer that counts among the bodies being received.
fn beyond_large(capacity: usize) -> usize {
    capacity.saturating_sub(RECEIVE_BYTES_LARGE)
}

/// Storage of large bodies.
#[derive(Default)]
struct LargeBufferPool {
    kept: Vec<Vec<u8>>,
    bytes: usize,
}

impl LargeBufferPool {
    /// Storage for at least `capacity` bytes and at most `most`.
    fn take(&mut self, capacity: usize, most: usize) -> Option<Vec<u8>> {
        let fits = capacity..=most.min(capacity.saturating_mul(WASTE_FACTOR));
        let at = self.kept.iter().rposition(|storage| fits.contains(&storage.capacity()))?;
        let storage = self.kept.swap_remove(at);
        self.bytes -= storage.capacity();
        Some(storage)
    }

    /// Keeps empty storage that is no longer used; returns `false` if there is no room for it.
    fn give(&mut self, storage: Vec<u8>) -> bool {
        let capacity = storage.capacity();
        if !(KEPT_BYTES_EACH_MIN..=KEPT_BYTES_EACH_MAX).contains(&capacity)
            || self.bytes + capacity > KEPT_BYTES_MAX
        {
            return false;
        }
        self.bytes += capacity;
        self.kept.push(storage);
        true
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = 262_144;

    #[test]
    fn storage_that_was_given_is_taken_for_what_fits_it() {
        let mut pool = LargeBufferPool::default();
        assert!(pool.give(Vec::with_capacity(BODY)));
        assert_eq!(pool.take(BODY + 1, usize::MAX), None, "it is too small");
        assert_eq!(pool.take(BODY / 2 - 1, usize::MAX), None, "it is too large");
        assert_eq!(pool.take(BODY - 1, BODY - 1), None, "the limit has no room for it");
        let taken = pool.take(BODY - 100, usize::MAX).unwrap();
        assert_eq!((taken.len(), taken.capacity()), (0, BODY));
        assert_eq!((pool.take(BODY, usize::MAX), pool.bytes), (None, 0));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut pool = LargeBufferPool::default();
        for bytes in [KEPT_BYTES_EACH_MIN - 1, KEPT_BYTES_EACH_MAX + 1] {
            assert!(!pool.give(Vec::with_capacity(bytes)), "{bytes}");
        }
        for _ in 0..100 {
            let _ = pool.give(Vec::with_capacity(BODY));
        }
        assert_eq!((pool.bytes, pool.kept.len()), (KEPT_BYTES_MAX, KEPT_BYTES_MAX / BODY));
        pool.clear();
        assert_eq!((pool.bytes, pool.kept.len()), (0, 0));
    }

    #[test]
    fn what_bodies_hold_is_counted_bounded_and_given_back() {
        let mut buffers = Buffers::new(BODY);
        let mut buffer = ReceiveBuffer::default();
        buffers.append(&mut buffer, &[b'x'; 100], 0).unwrap();
        assert_eq!((buffer.capacity(), buffers.body_bytes()), (RECEIVE_BYTES, 0));
        buffers.append(&mut buffer, &[b'x'; 5000], 0).unwrap();
        assert_eq!((buffer.capacity(), buffers.body_bytes()), (RECEIVE_BYTES_LARGE, 0));
        buffers.append(&mut buffer, &[b'x'; 15_000], 200_000).unwrap();
        assert_eq!(buffers.body_bytes(), buffer.capacity() - RECEIVE_BYTES_LARGE);
        let mut other = ReceiveBuffer::default();
        assert_eq!(buffers.append(&mut other, &[b'x'; 100_000], 0), Err(OutOfMemory));
        buffers.release(&mut other);
        buffer.consume(20_000);
        buffers.shrink(&mut buffer);
        assert_eq!((buffer.len(), buffer.capacity(), buffers.body_bytes()), (100, RECEIVE_BYTES_LARGE, 0));
        buffer.consume(100);
        buffers.shrink(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
    }
}

//! Memory for direct I/O: its address and its length are multiples of a block.

use std::fmt;

/// Bytes of a block: the physical block of the devices that matter, and the alignment that `O_DIRECT` asks for.
pub const BLOCK_BYTES: usize = 4096;

/// Whole blocks of memory, aligned to a block.
pub struct AlignedBlock {
    /// Never grown, so that it never moves.
    memory: Box<[u8]>,
    start: usize,
    bytes: usize,
}

impl AlignedBlock {
    /// Zeroed memory for `bytes`, rounded up to whole blocks.
    #[must_use]
    pub fn zeroed(bytes: usize) -> AlignedBlock {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        let memory = vec![0; bytes + BLOCK_BYTES - 1].into_boxed_slice();
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        AlignedBlock { memory, start, bytes }
    }

    /// The memory again for `bytes`, with anything in it, if it is large enough; else new memory.
    pub(super) fn reused(self, bytes: usize) -> AlignedBlock {
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        if self.start + bytes <= self.memory.len() {
            AlignedBlock { bytes, ..self }
        } else {
            AlignedBlock::zeroed(bytes)
        }
    }

    /// Bytes that it could have without new memory.
    pub(super) fn capacity(&self) -> usize {
        self.memory.len() - (BLOCK_BYTES - 1)
    }

    /// The blocks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }

    /// The blocks, to be filled.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

impl fmt::Debug for AlignedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBlock({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_used_again_where_it_is_large_enough() {
        for bytes in [1, BLOCK_BYTES, BLOCK_BYTES + 1, 10 * BLOCK_BYTES] {
            let block = AlignedBlock::zeroed(bytes);
            let address = block.bytes().as_ptr();
            assert_eq!(address as usize % BLOCK_BYTES, 0);
            assert_eq!(block.bytes().len(), bytes.next_multiple_of(BLOCK_BYTES));
            let smaller = block.reused(1);
            assert_eq!((smaller.bytes().as_ptr(), smaller.bytes().len()), (address, BLOCK_BYTES));
            assert_eq!(smaller.reused(20 * BLOCK_BYTES).bytes().len(), 20 * BLOCK_BYTES);
        }
    }
}

//! How receive buffers grow and shrink, and those of large bodies, kept for the next one: the kernel hands out fresh
//! memory page by page, with a fault for each 4 KiB and a page to zero.
//!
//! **Invariant**: `body_bytes` counts what connections hold beyond their first buffers, never what is kept here.

use std::cell::{Cell, RefCell};

use super::core::{Active, Core, OUT_KEEP_BYTES, RECEIVE_BYTES_LARGE};

/// Buffers that are kept: the body of the default limit with its head, and up to twice that. A smaller one the allocator
/// has at hand itself, larger ones are few.
const KEPT_BYTES_EACH_MIN: usize = 128 * 1024;
const KEPT_BYTES_EACH_MAX: usize = 512 * 1024;
/// What is kept on a core in all: the buffers of 15 bodies of the default limit.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Sizes are rounded up to this, so that one body's buffer fits the next one whose head is a little longer.
const STEP_BYTES: usize = 16 * 1024;
/// A kept buffer is not taken for less than a half of it.
const WASTE_FACTOR: usize = 2;

/// Storage that large bodies lay in.
#[derive(Default)]
pub(super) struct Spare {
    kept: RefCell<Vec<Vec<u8>>>,
    bytes: Cell<usize>,
}

impl Spare {
    /// Storage for at least `capacity` bytes and at most `most`.
    fn take(&self, capacity: usize, most: usize) -> Option<Vec<u8>> {
        let fits = capacity..=most.min(capacity.saturating_mul(WASTE_FACTOR));
        let mut kept = self.kept.borrow_mut();
        let at = kept.iter().rposition(|storage| fits.contains(&storage.capacity()))?;
        let storage = kept.swap_remove(at);
        self.bytes.set(self.bytes.get() - storage.capacity());
        Some(storage)
    }

    /// Keeps storage that is no longer used, if there is room for it.
    fn give(&self, mut storage: Vec<u8>) {
        let capacity = storage.capacity();
        if !(KEPT_BYTES_EACH_MIN..=KEPT_BYTES_EACH_MAX).contains(&capacity)
            || self.bytes.get() + capacity > KEPT_BYTES_MAX
        {
            return;
        }
        storage.clear();
        self.bytes.set(self.bytes.get() + capacity);
        self.kept.borrow_mut().push(storage);
    }

    /// Lets all of it go.
    pub(super) fn clear(&self) {
        self.kept.take();
        self.bytes.set(0);
    }
}

/// The part of a buffer that counts among the bodies that are coming in.
fn beyond_large(capacity: usize) -> usize {
    capacity.saturating_sub(RECEIVE_BYTES_LARGE)
}

impl Core {
    /// Makes the receive buffer larger, within what bodies may take on this core. False: they take all of it.
    #[must_use]
    pub(super) fn grow(&self, active: &mut Active, capacity: usize) -> bool {
        let held = beyond_large(active.buffer.capacity());
        let others = self.body_bytes.get().saturating_sub(held);
        let most = self.rules.body_bytes.saturating_sub(others).saturating_add(RECEIVE_BYTES_LARGE);
        if capacity > most {
            return false;
        }
        match self.spare.take(capacity, most) {
            Some(storage) => self.spare.give(active.buffer.move_to(storage)),
            None if capacity < KEPT_BYTES_EACH_MIN => active.buffer.grow_to(capacity),
            None => active.buffer.grow_to(capacity.next_multiple_of(STEP_BYTES).min(most)),
        }
        self.body_bytes.set(others + beyond_large(active.buffer.capacity()));
        true
    }

    /// After a large request: back to a small buffer, what is unread moves along. Large response buffers go too.
    pub(super) fn shrink(&self, active: &mut Active) {
        let capacity = active.buffer.capacity();
        if capacity > RECEIVE_BYTES_LARGE && active.buffer.len() <= RECEIVE_BYTES_LARGE {
            self.spare.give(active.buffer.move_to(Vec::with_capacity(RECEIVE_BYTES_LARGE)));
            let given_back = beyond_large(capacity);
            self.body_bytes.set(self.body_bytes.get().saturating_sub(given_back));
        }
        if active.out.capacity() > OUT_KEEP_BYTES && active.out.is_empty() {
            active.out = Vec::with_capacity(1024);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = 262_144;

    fn storage(capacity: usize) -> Vec<u8> {
        let mut storage = Vec::with_capacity(capacity);
        storage.push(b'x');
        storage
    }

    #[test]
    fn storage_that_was_given_is_taken_empty_for_what_fits_it() {
        let spare = Spare::default();
        spare.give(storage(BODY));
        assert_eq!(spare.take(BODY + 1, usize::MAX), None, "it is too small");
        assert_eq!(spare.take(BODY / 2 - 1, usize::MAX), None, "it is too large");
        assert_eq!(spare.take(BODY - 1, BODY - 1), None, "the limit has no room for it");
        let taken = spare.take(BODY - 100, usize::MAX).unwrap();
        assert_eq!((taken.len(), taken.capacity()), (0, BODY));
        assert_eq!((spare.take(BODY, usize::MAX), spare.bytes.get()), (None, 0));
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let spare = Spare::default();
        for bytes in [KEPT_BYTES_EACH_MIN - 1, KEPT_BYTES_EACH_MAX + 1] {
            spare.give(storage(bytes));
            assert_eq!(spare.bytes.get(), 0, "{bytes}");
        }
        for _ in 0..100 {
            spare.give(storage(BODY));
        }
        assert_eq!(spare.bytes.get(), KEPT_BYTES_MAX);
        assert_eq!(spare.kept.borrow().len(), KEPT_BYTES_MAX / BODY);
        spare.clear();
        assert_eq!((spare.bytes.get(), spare.kept.borrow().len()), (0, 0));
    }
}

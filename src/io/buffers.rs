//! Receive buffers that are provided to the kernel: a ring of addresses, from which a receive takes the next.
//!
//! Nothing is copied: the vector that the kernel has written into is the one that a [`BufferLease`] lends out. Returned
//! vectors are published together at the start of a wait. The ring is small on purpose: measured, 16 MiB of buffers walk
//! through cold memory (+4 % for each request against 1 MiB).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::lease::{BUFFER_BYTES, BUFFERS, BufferLease, ReturnedBuffers, is_reusable};

/// Alignment of the ring: the largest page of any platform, since the kernel pins whole pages.
const ALIGNMENT: usize = 64 * 1024;

/// The provided buffers of one ring.
///
/// **Invariant**: a vector in `storage` with a capacity is published (the kernel may write into it at any time) and is
/// not touched here until a completion names its number; an empty one is lent.
pub(super) struct ProvidedBuffers {
    entries: NonNull<BufRingEntry>,
    tail: u16,
    storage: Vec<Vec<u8>>,
    lent: u16,
    returned: Vec<(u16, Vec<u8>)>,
    home: Rc<ReturnedBuffers>,
}

impl ProvidedBuffers {
    /// Allocates the ring and all buffers, and publishes them.
    pub(super) fn new() -> ProvidedBuffers {
        // SAFETY: the layout has a size above zero.
        let entries = unsafe { alloc_zeroed(layout()) };
        let Some(entries) = NonNull::new(entries.cast::<BufRingEntry>()) else {
            handle_alloc_error(layout())
        };
        let home = Rc::default();
        let storage = vec![Vec::new(); usize::from(BUFFERS)];
        let returned = (0..BUFFERS).map(|number| (number, Vec::new())).collect();
        let mut buffers = ProvidedBuffers { entries, tail: 0, storage, lent: BUFFERS, returned, home };
        buffers.publish();
        buffers
    }

    /// Address of the ring, for its registration.
    pub(super) fn address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    /// Buffers that no completion has named since they were published. Some of them may be filled already.
    pub(super) fn available(&self) -> usize {
        usize::from(BUFFERS - self.lent)
    }

    /// Gives the kernel the buffers that were returned. One whose storage was replaced by a smaller one is allocated anew.
    pub(super) fn publish(&mut self) {
        self.home.take(&mut self.returned);
        if self.returned.is_empty() {
            return;
        }
        let mut returned = std::mem::take(&mut self.returned);
        for (number, bytes) in returned.drain(..) {
            self.put(number, if is_reusable(&bytes) { bytes } else { Vec::with_capacity(BUFFER_BYTES) });
        }
        self.returned = returned;
        // SAFETY: the ring is allocated and its entries are initialised; the kernel and this thread access the tail as
        // one aligned 16-bit word, and nobody else does.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }

    fn put(&mut self, number: u16, mut bytes: Vec<u8>) {
        let position = usize::from(self.tail % BUFFERS);
        // SAFETY: the position is within the ring, which is allocated and zeroed. The kernel reads entries between its
        // head and the published tail only, and there are as many entries as buffers: this one was consumed.
        let entry = unsafe { self.entries.add(position).as_mut() };
        entry.set_addr(bytes.as_mut_ptr() as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(number);
        self.storage[usize::from(number)] = bytes;
        self.tail = self.tail.wrapping_add(1);
        self.lent -= 1;
    }

    /// Lends buffer `number`, which the kernel has filled with `length` bytes.
    ///
    /// # Safety
    /// A completion of the ring that these buffers are registered with has named `number`, its first since the buffer was
    /// published, and `length` is what it says was received.
    pub(super) unsafe fn lend(&mut self, number: u16, length: usize) -> BufferLease {
        let mut bytes = std::mem::take(&mut self.storage[usize::from(number)]);
        assert!(length <= bytes.capacity(), "the kernel received {length} bytes into a smaller buffer");
        // SAFETY: by the contract the kernel has written so many bytes, which the capacity holds, and writes no more of
        // them now that it has consumed the entry.
        unsafe { bytes.set_len(length) };
        self.lent += 1;
        BufferLease::new(number, bytes, &self.home)
    }
}

fn layout() -> Layout {
    Layout::array::<BufRingEntry>(usize::from(BUFFERS))
        .and_then(|layout| layout.align_to(ALIGNMENT))
        .expect("a ring of so many entries has a layout")
}

/// The owner drops this only once the ring is unregistered and no receive is in flight; see [`super::queues`].
impl Drop for ProvidedBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and by the contract above the kernel knows it no more.
        unsafe { dealloc(self.entries.as_ptr().cast(), layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_lent_and_published_again_in_the_order_in_which_they_were_returned() {
        let mut buffers = ProvidedBuffers::new();
        assert_eq!((buffers.available(), buffers.tail), (usize::from(BUFFERS), BUFFERS));
        // SAFETY: no kernel knows these buffers, and nothing is read from them.
        let (first, mut second) = unsafe { (buffers.lend(0, 0), buffers.lend(1, 0)) };
        second.extend_from_slice(b"kept");
        let kept = std::mem::take(&mut *second);
        drop((second, first));
        assert_eq!((kept.as_slice(), buffers.available()), (&b"kept"[..], usize::from(BUFFERS) - 2));
        buffers.publish();
        assert_eq!((buffers.available(), buffers.tail), (usize::from(BUFFERS), BUFFERS + 2));
        // SAFETY: within the ring, whose entries are initialised.
        let numbers = unsafe { [buffers.entries.as_ref().bid(), buffers.entries.add(1).as_ref().bid()] };
        assert_eq!(numbers, [1, 0]);
        assert!(buffers.storage.iter().all(is_reusable), "a storage that was kept is replaced");
    }
}

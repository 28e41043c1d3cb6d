//! Gives unused memory back to the system.
//!
//! The allocator does so by itself as it is asked for more; a core on which nothing happens any more asks for nothing,
//! and would keep what its connections needed while they were busy (8,700 bytes for each of 10,000 connections that spoke
//! within a second, of which a quiet one needs a tenth).

/// Gives back what the calling thread has free. It walks that thread's heap, so it is for when little happens.
pub(super) fn return_memory() {
    // SAFETY: takes no memory of the caller's and may be called at any time, on any thread; it looks at that thread's heap
    // alone, between two calls of the allocator.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Makes the kernel back what is touched from here on with pages of 4 KiB. With huge ones, which the allocator asks for, a
/// connection that is opened and closed leaves 2 MiB where one of its neighbours stays: 8,000 idle WebSockets took 2,040
/// bytes each instead of 1,190. Bodies of 256 KiB cost a sixth more CPU for it. Memory that is touched already, such as
/// the webhooks of a start, keeps its huge pages.
pub(super) fn refuse_huge_pages() {
    // A kernel without them refuses, and needs nothing.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

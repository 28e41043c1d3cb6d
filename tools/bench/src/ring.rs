//! io_uring as a server or a load generator wants it: multishot accept and receive into a ring of provided buffers,
//! sends, and a wait with a limit. `SINGLE_ISSUER | COOP_TASKRUN | DEFER_TASKRUN`, so that the kernel completes
//! operations only when this thread asks. The ring's own descriptor is registered, and sockets are direct descriptors
//! where the caller asks for them: both save the kernel a look-up of a file for each call.

use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

/// The only group of buffers.
const GROUP: u16 = 0;
/// Entries of the submission ring.
const ENTRIES: u32 = 4096;
/// Entries of the completion ring: each entry of the submission ring may complete many times.
const COMPLETIONS: u32 = 32_768;
/// What the kernel asks of a ring's address.
const PAGE_BYTES: usize = 4096;

/// What became of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The number that the operation was given.
    pub user: u64,
    /// Bytes or a descriptor; negative: an error's number.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether a multishot operation goes on.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        cqueue::more(self.flags)
    }
}

/// A ring of its own for one thread.
pub struct Ring {
    // Declared first, and dropped in this order: the halves borrow from `uring`, and the kernel lets go of the buffers
    // before they are freed. The halves are kept because the crate stores the registered ring descriptor in the
    // `Submitter` that `split` returns: one that is made for each call would enter with the plain descriptor.
    halves: ManuallyDrop<Halves>,
    uring: NonNull<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    is_direct: bool,
}

struct Halves {
    submitter: Submitter<'static>,
    submission: SubmissionQueue<'static>,
    completion: CompletionQueue<'static>,
}

impl Ring {
    /// A ring with `count` buffers (a power of two) of `bytes` each, on ordinary descriptors.
    ///
    /// # Errors
    /// If io_uring is not available, or too little memory may be locked.
    pub fn new(count: u16, bytes: usize) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)
            .map_err(|error| io::Error::new(error.kind(), format!("io_uring is not available: {error}")))?;
        let buffers = Buffers::new(count, bytes);
        let uring = NonNull::from(Box::leak(Box::new(uring)));
        // SAFETY: `uring` was just leaked, so it lives until `drop` frees it, which drops the halves before.
        let (submitter, submission, completion) = unsafe { (*uring.as_ptr()).split() };
        let halves = ManuallyDrop::new(Halves { submitter, submission, completion });
        let mut ring = Ring { halves, uring, buffers: ManuallyDrop::new(buffers), is_direct: false };
        let address = ring.buffers.ring.as_ptr() as u64;
        // SAFETY: the buffer ring's memory is page-aligned, of `count` entries, and freed after `uring`.
        unsafe { ring.halves.submitter.register_buf_ring_with_flags(address, count, GROUP, 0)? };
        // Kernels before 5.18 cannot; the ring works without it.
        let _ = ring.halves.submitter.register_ring_fd();
        Ok(ring)
    }

    /// The same on direct descriptors, of which there are `files`: what is accepted is an index of the ring's table.
    ///
    /// # Errors
    /// As [`Self::new`], or if the limit of open files is lower than `files`.
    pub fn direct(count: u16, bytes: usize, files: u32) -> io::Result<Ring> {
        let mut ring = Ring::new(count, bytes)?;
        ring.halves.submitter.register_files_sparse(files)?;
        ring.is_direct = true;
        Ok(ring)
    }

    /// Accepts on `listener`, an ordinary descriptor, until it fails.
    ///
    /// # Errors
    /// If the ring cannot take it.
    pub fn accept(&mut self, listener: i32, user: u64) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(Fd(listener)).allocate_file_index(self.is_direct);
        // SAFETY: no memory is lent.
        unsafe { self.push(accept.build().user_data(user)) }
    }

    /// Receives on `fd` until it ends or the buffers run out.
    ///
    /// # Errors
    /// If the ring cannot take it.
    pub fn receive(&mut self, fd: i32, user: u64) -> io::Result<()> {
        let receive = if self.is_direct {
            opcode::RecvMulti::new(Fixed(fd as u32), GROUP).build()
        } else {
            opcode::RecvMulti::new(Fd(fd), GROUP).build()
        };
        // SAFETY: the only memory lent is the buffer ring's.
        unsafe { self.push(receive.user_data(user)) }
    }

    /// Sends all of `bytes`. With `quiet`, only a failure completes.
    ///
    /// # Safety
    /// The bytes must stay as they are until the completion; with `quiet`, until the peer has answered them.
    ///
    /// # Errors
    /// If the ring cannot take it.
    pub unsafe fn send(&mut self, fd: i32, bytes: &[u8], user: u64, quiet: bool) -> io::Result<()> {
        let (address, length) = (bytes.as_ptr(), bytes.len() as u32);
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let mut entry = if self.is_direct {
            opcode::Send::new(Fixed(fd as u32), address, length).flags(flags).build()
        } else {
            opcode::Send::new(Fd(fd), address, length).flags(flags).build()
        }
        .user_data(user);
        if quiet {
            entry = entry.flags(squeue::Flags::SKIP_SUCCESS);
        }
        // SAFETY: the caller's promise.
        unsafe { self.push(entry) }
    }

    /// Closes a descriptor that was accepted here and that nothing is in flight on.
    ///
    /// # Errors
    /// If the ring cannot take it.
    pub fn close(&mut self, fd: i32, user: u64) -> io::Result<()> {
        let close = if self.is_direct {
            opcode::Close::new(Fixed(fd as u32)).build()
        } else {
            opcode::Close::new(Fd(fd)).build()
        };
        // SAFETY: no memory is lent.
        unsafe { self.push(close.user_data(user)) }
    }

    /// # Safety
    /// The memory that the entry points at must live until it completes.
    unsafe fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.halves.submission.push(&entry) }.is_ok() {
                return Ok(());
            }
            self.halves.submission.sync();
            self.halves.submitter.submit()?;
            self.halves.submission.sync();
        }
    }

    /// Submits the queued operations, waits for at least one completion or the limit, and appends all that completed.
    ///
    /// # Errors
    /// If the ring itself fails.
    pub fn wait(&mut self, limit: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        let halves = &mut *self.halves;
        halves.submission.sync();
        let waited = match limit {
            None => halves.submitter.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::from(limit);
                halves.submitter.submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match waited {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        halves.submission.sync();
        halves.completion.sync();
        completions.extend(halves.completion.by_ref().map(|entry| Completion {
            user: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        halves.completion.sync();
        Ok(())
    }

    /// What a receive brought. Must be given back with [`Self::give_back`].
    #[must_use]
    pub fn bytes(&self, completion: &Completion) -> &[u8] {
        match (cqueue::buffer_select(completion.flags), usize::try_from(completion.result)) {
            (Some(id), Ok(length)) => &self.buffers.of(id)[..length],
            _ => &[],
        }
    }

    /// Lends the buffer of a receive to the kernel again.
    pub fn give_back(&mut self, completion: &Completion) {
        if let Some(id) = cqueue::buffer_select(completion.flags) {
            self.buffers.lend(id);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // It was not registered if this fails.
        let _ = self.halves.submitter.unregister_ring_fd();
        // SAFETY: each is dropped once, here, in this order: those that borrow from the ring, the ring, which ends the
        // kernel's use of the buffers, the buffers. `uring` came out of a box.
        unsafe {
            ManuallyDrop::drop(&mut self.halves);
            drop(Box::from_raw(self.uring.as_ptr()));
            ManuallyDrop::drop(&mut self.buffers);
        }
    }
}

/// Memory that the kernel receives into.
struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: Box<[u8]>,
    count: u16,
    bytes: usize,
    tail: u16,
}

impl Buffers {
    fn new(count: u16, bytes: usize) -> Buffers {
        assert!(count.is_power_of_two(), "the kernel takes only powers of two");
        let layout = Buffers::layout(count);
        // SAFETY: the layout is not of size zero; zero is a value of an entry.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        let Some(ring) = NonNull::new(memory.cast()) else { std::alloc::handle_alloc_error(layout) };
        let memory = vec![0; usize::from(count) * bytes].into_boxed_slice();
        let mut buffers = Buffers { ring, memory, count, bytes, tail: 0 };
        for id in 0..count {
            buffers.lend(id);
        }
        buffers
    }

    fn layout(count: u16) -> std::alloc::Layout {
        std::alloc::Layout::array::<BufRingEntry>(usize::from(count))
            .and_then(|layout| layout.align_to(PAGE_BYTES))
            .expect("a few thousand entries fit into memory")
    }

    fn of(&self, id: u16) -> &[u8] {
        let from = usize::from(id) * self.bytes;
        &self.memory[from..from + self.bytes]
    }

    fn lend(&mut self, id: u16) {
        let from = usize::from(id) * self.bytes;
        let address = self.memory[from..].as_mut_ptr() as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the slot is within the ring, which is ours; the kernel reads entries only up to the tail, which
        // is stored after them.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(slot);
            entry.set_addr(address);
            entry.set_len(self.bytes as u32);
            entry.set_bid(id);
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and the kernel has let go of it.
        unsafe { std::alloc::dealloc(self.ring.as_ptr().cast(), Buffers::layout(self.count)) }
    }
}

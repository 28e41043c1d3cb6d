//! The two queues of an io_uring, and all memory that the kernel may write to or read from because of them: typed
//! operations in, typed events out.
//!
//! Bytes that are being sent and buffers that are provided belong to this file until the completion that ends their
//! operation, also when the backend is dropped or unwinds. That is what makes its interface safe.

mod tags;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, FsyncFlags, TimeoutFlags, Timespec};
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags};

use self::tags::{key_tag, kind, listener_tag, plain_tag, socket_tag};
use super::buffers::ProvidedBuffers;
use super::disk_thread::Direction;
use super::event::KernelEvent;
use super::file::DiskFile;
use super::interface::{ListenerId, SocketId, Transfer};
use super::lease::BUFFERS;
use super::sends::{SendOutcome, Sends};
use super::socket::CompletionTag;
use super::transfers::{AfterCompletion, Transfers};
use crate::base::slots::Key;

/// The one group of provided buffers of a ring.
const BUFFER_GROUP: u16 = 0;
/// Attempts to cancel all that is in flight before its memory is leaked instead.
const CANCEL_ROUNDS_MAX: u32 = 1_000;
/// Pause between two of them where a disk is waited for, whose writes cannot be cancelled.
const DISK_PAUSE: Duration = Duration::from_millis(1);

/// How a ring is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSetup {
    /// Entries of the submission queue. The completion queue has twice as many.
    pub entries: u32,
    /// Leaves out the array between the submission queue's tail and its entries. Linux 6.6 and later.
    pub no_array: bool,
}

impl RingSetup {
    /// Makes as many rings as `cores` need, all at once, and drops them.
    ///
    /// # Errors
    /// If the kernel refuses one of them.
    pub(super) fn probe(self, cores: usize) -> io::Result<RingSetup> {
        // One with all that it needs, and of the others the memory.
        drop(Queues::open(self)?);
        (0..cores).map(|_| self.build()).collect::<io::Result<Vec<_>>>().map(|_| self)
    }

    fn build(self) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        // Completions run only when this thread asks for them, which costs a third less for each request than without.
        // Linux 6.1 and later, which have all else that is used here as well.
        builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun().setup_submit_all();
        if self.no_array {
            builder.setup_no_sqarray();
        }
        builder.build(self.entries)
    }
}

/// The queues of one ring, for the thread that made them.
pub(super) struct Queues {
    // In the order in which they are dropped: the queues before the ring that they point into.
    submitter: Submitter<'static>,
    submissions: SubmissionQueue<'static>,
    completions: CompletionQueue<'static>,
    _ring: OwnedRing,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
    enter_flags: EnterFlags,
    buffers: Option<ProvidedBuffers>,
    sends: Sends,
    transfers: Transfers,
    /// Writes with their flushes that found no room for both.
    pairs: VecDeque<[squeue::Entry; 2]>,
    /// Receives in flight: while there are any, the kernel may write into a provided buffer.
    receives: usize,
    /// Read by the kernel when the operation that names it is submitted.
    timeout: Box<Timespec>,
}

/// Frees the ring after the queues that point into it.
struct OwnedRing(NonNull<IoUring>);

impl Drop for OwnedRing {
    fn drop(&mut self) {
        // SAFETY: made from a box, and all that borrows it is dropped before by the order of fields in `Queues`.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Queues {
    /// Makes a ring with its buffers, for this thread.
    ///
    /// # Errors
    /// If the kernel has no io_uring of the kind that is needed, or too little memory may be locked.
    pub(super) fn open(setup: RingSetup) -> io::Result<Queues> {
        let ring = NonNull::from(Box::leak(Box::new(setup.build()?)));
        let owned = OwnedRing(ring);
        // SAFETY: the box is borrowed here only, as long as the parts live, and `owned` frees it after them.
        let (mut submitter, submissions, completions) = unsafe { (*ring.as_ptr()).split() };
        // SAFETY: as above; a shared borrow of a part that `split` does not touch.
        let no_iowait = unsafe { ring.as_ref() }.params().is_feature_no_iowait();
        let buffers = ProvidedBuffers::new();
        // SAFETY: the ring of buffers has `BUFFERS` entries and lives until it is unregistered or leaked, in `drop`.
        unsafe {
            submitter.register_buf_ring_with_flags(buffers.address(), BUFFERS, BUFFER_GROUP, 0)?;
        }
        // Saves the look-up of the descriptor in every wait. A thread has 16 of these at most, and can do without.
        if let Err(error) = submitter.register_ring_fd() {
            tracing::debug!(%error, "the ring's descriptor is not registered");
        }
        let mut enter_flags = EnterFlags::GETEVENTS;
        // A core that waits for callers does not wait for a disk, and should not be counted so.
        enter_flags.set(EnterFlags::NO_IOWAIT, no_iowait);
        Ok(Queues {
            submitter,
            submissions,
            completions,
            _ring: owned,
            backlog: VecDeque::new(),
            enter_flags,
            buffers: Some(buffers),
            sends: Sends::default(),
            transfers: Transfers::default(),
            pairs: VecDeque::new(),
            receives: 0,
            timeout: Box::default(),
        })
    }

    /// Publishes the buffers that were returned, and says how many the kernel has.
    pub(super) fn publish_buffers(&mut self) {
        self.provided().publish();
    }

    /// Buffers that the kernel has, some of which may be filled already.
    pub(super) fn available_buffers(&mut self) -> usize {
        self.provided().available()
    }

    fn provided(&mut self) -> &mut ProvidedBuffers {
        self.buffers.as_mut().expect("taken in `drop` only")
    }

    /// Accepts connections until cancelled or until it fails.
    pub(super) fn accept(&mut self, listener: ListenerId, fd: BorrowedFd<'_>) {
        let flags = SocketFlags::CLOEXEC.bits() as i32;
        let entry = opcode::AcceptMulti::new(Fd(fd.as_raw_fd())).flags(flags).build();
        self.push(entry, listener_tag(kind::ACCEPT, listener));
    }

    pub(super) fn cancel_accept(&mut self, listener: ListenerId) {
        self.cancel(listener_tag(kind::ACCEPT, listener), listener_tag(kind::CANCEL_ACCEPT, listener));
    }

    /// Receives into provided buffers until cancelled, until the end, or until no buffer is left.
    pub(super) fn receive(&mut self, socket: SocketId, fd: BorrowedFd<'_>) {
        self.receives += 1;
        let entry = opcode::RecvMulti::new(Fd(fd.as_raw_fd()), BUFFER_GROUP).build();
        self.push(entry, socket_tag(kind::RECEIVE, socket));
    }

    /// Receives what is there into one provided buffer, and does not wait for it.
    pub(super) fn receive_once(&mut self, socket: SocketId, fd: BorrowedFd<'_>) {
        self.receives += 1;
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), 0)
            .buf_group(BUFFER_GROUP)
            .flags(RecvFlags::DONTWAIT.bits() as i32)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(entry, socket_tag(kind::RECEIVE_ONCE, socket));
    }

    /// Cancels the receive of a socket that goes on until cancelled.
    pub(super) fn cancel_receive(&mut self, socket: SocketId) {
        self.cancel(socket_tag(kind::RECEIVE, socket), socket_tag(kind::CANCEL_RECEIVE, socket));
    }

    /// Waits until a socket can be received from, with the least memory of the kernel.
    pub(super) fn poll(&mut self, socket: SocketId, fd: BorrowedFd<'_>) {
        let events = PollFlags::IN | PollFlags::RDHUP;
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), u32::from(events.bits())).build();
        self.push(entry, socket_tag(kind::POLL, socket));
    }

    /// Waits until a connection is reset, whatever there is to be received.
    pub(super) fn watch_hang_up(&mut self, socket: SocketId, fd: BorrowedFd<'_>) {
        // Resets and errors are always reported.
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), 0).build();
        self.push(entry, socket_tag(kind::HANG_UP, socket));
    }

    /// Reports each time that `event` is written, without reading it.
    pub(super) fn watch_wakes(&mut self, event: BorrowedFd<'_>) {
        let events = u32::from(PollFlags::IN.bits());
        let entry = opcode::PollAdd::new(Fd(event.as_raw_fd()), events).multi(true).build();
        self.push(entry, plain_tag(kind::WAKE));
    }

    /// Sends all of `bytes`, as long as the kernel takes parts and they are resumed. A silent one that is taken whole as it
    /// is submitted makes no completion: [`Self::next_silent`] tells of it.
    pub(super) fn send(&mut self, socket: SocketId, fd: BorrowedFd<'_>, bytes: Vec<u8>, silent: bool) {
        let send = self.sends.insert(socket, bytes, silent);
        self.resume_send(send, fd);
    }

    /// Sends what is left of a send of which a part was taken.
    pub(super) fn resume_send(&mut self, send: Key, fd: BorrowedFd<'_>) {
        if let Some(entry) = self.sends.begin(send, fd) {
            self.push(
                entry,
                CompletionTag { kind: kind::SEND, index: send.index, generation: send.generation },
            );
        }
    }

    /// Takes the next silent send that was taken whole. `None` while that is not known of any: completions have to be
    /// taken first, or operations handed over.
    pub(super) fn next_silent(&mut self) -> Option<KernelEvent> {
        let is_held_back = !self.backlog.is_empty() || !self.pairs.is_empty();
        if !self.sends.has_silent() || is_held_back || !self.completions.is_empty() {
            return None;
        }
        self.submissions.sync();
        if !self.submissions.is_empty() || self.submissions.cq_overflow() {
            return None;
        }
        self.sends.next_silent().map(|(socket, bytes)| KernelEvent::Sent { socket, bytes })
    }

    /// Takes back the bytes of a send that is not in flight.
    pub(super) fn abandon_send(&mut self, send: Key) -> Option<Vec<u8>> {
        self.sends.take(send)
    }

    /// Closes a socket that nothing is in flight for.
    pub(super) fn close(&mut self, fd: OwnedFd) {
        let entry = opcode::Close::new(Fd(fd.into_raw_fd())).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, plain_tag(kind::SILENT));
    }

    /// Sets the timeout, of which a ring has one, to fire `nanos` after it is submitted. `replace` says that one is
    /// armed, whose time is changed.
    pub(super) fn set_timeout(&mut self, nanos: u64, replace: bool) {
        *self.timeout = Timespec::from(std::time::Duration::from_nanos(nanos));
        let timeout = &raw const *self.timeout;
        let tag = plain_tag(kind::TIMEOUT);
        if replace {
            let entry = opcode::TimeoutUpdate::new(tag.pack(), timeout).flags(TimeoutFlags::empty()).build();
            self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), plain_tag(kind::SILENT));
        } else {
            self.push(opcode::Timeout::new(timeout).build(), tag);
        }
    }

    /// Reads or writes a block of a file.
    pub(super) fn transfer(&mut self, file: Arc<DiskFile>, direction: Direction, transfer: Box<Transfer>) {
        let key = self.transfers.insert(file, direction, transfer);
        let Some(in_flight) = self.transfers.get_mut(key) else { return };
        let has_flush = in_flight.has_flush();
        let (fd, offset) = (Fd(in_flight.file.as_fd().as_raw_fd()), in_flight.transfer.offset);
        let bytes = in_flight.transfer.block.bytes_mut();
        let (start, length) = (bytes.as_mut_ptr(), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let entry = match direction {
            Direction::Read => opcode::Read::new(fd, start, length).offset(offset).build(),
            Direction::Write => opcode::Write::new(fd, start, length).offset(offset).build(),
        };
        if has_flush {
            let write = entry.flags(squeue::Flags::IO_LINK).user_data(key_tag(kind::TRANSFER, key).pack());
            self.push_pair(&[write, flush(fd, key)]);
        } else {
            self.push(entry, key_tag(kind::TRANSFER, key));
        }
    }

    /// Queues a write and its flush, both for one system call: a link does not outlast it.
    fn push_pair(&mut self, pair: &[squeue::Entry; 2]) {
        for _ in 0..2 {
            if self.backlog.is_empty() && self.pairs.is_empty() && self.try_push_pair(pair) {
                return;
            }
            // What fails here fails in the next wait too, and is reported there.
            let _ = self.enter_for(0, EnterFlags::empty());
            self.flush_backlog();
        }
        self.pairs.push_back(pair.clone());
    }

    fn cancel(&mut self, operation: CompletionTag, own: CompletionTag) {
        let entry = opcode::AsyncCancel::new(operation.pack()).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), own);
    }

    fn push(&mut self, entry: squeue::Entry, tag: CompletionTag) {
        let entry = entry.user_data(tag.pack());
        if self.backlog.is_empty() && self.try_push(&entry) {
            return;
        }
        // A burst of more operations than the queue holds: hand over what there is.
        self.backlog.push_back(entry);
        // What fails here fails in the next wait too, and is reported there.
        let _ = self.enter_for(0, EnterFlags::empty());
        self.flush_backlog();
    }

    fn flush_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
        while let Some(pair) = self.pairs.pop_front() {
            if !self.try_push_pair(&pair) {
                self.pairs.push_front(pair);
                return;
            }
        }
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: what an entry points to is owned by this value until the operation's completion: bytes in `sends` that
        // are marked as in flight, blocks in `transfers`, the buffers, and the timeout, which the kernel reads as it is
        // submitted. `drop` frees none of it while an operation is in flight. Descriptors are numbers; one that was closed
        // fails the operation, and those of `transfers` are open as long as they are there.
        unsafe { self.submissions.push(entry).is_ok() }
    }

    /// Queues both of the entries, or none.
    fn try_push_pair(&mut self, pair: &[squeue::Entry; 2]) -> bool {
        // SAFETY: as above.
        unsafe { self.submissions.push_multiple(pair).is_ok() }
    }

    /// Hands over what was queued and runs what has completed; waits for a completion if `wait`.
    ///
    /// # Errors
    /// If the kernel refuses to serve this ring.
    pub(super) fn enter(&mut self, wait: bool) -> io::Result<()> {
        self.flush_backlog();
        self.enter_for(u32::from(wait && self.backlog.is_empty()), self.enter_flags)?;
        self.completions.sync();
        Ok(())
    }

    fn enter_for(&mut self, completions: u32, flags: EnterFlags) -> io::Result<()> {
        self.submissions.sync();
        let queued = self.submissions.len() as u32;
        // SAFETY: no argument is passed, and there are as many entries as the queue says.
        let entered = unsafe { self.submitter.enter::<()>(queued, completions, flags.bits(), None) };
        self.submissions.sync();
        if entered.as_ref().is_ok_and(|taken| *taken < queued as usize) {
            self.transfers.note_cut();
        }
        match entered.map_err(|error| (Errno::from_io_error(&error), error)) {
            Ok(_) => Ok(()),
            // A signal; completions that have to be taken first; no memory for the moment. The next wait tries again.
            Err((Some(Errno::INTR | Errno::BUSY | Errno::AGAIN), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    /// Returns whether no completion is waiting to be taken.
    pub(super) fn is_drained(&mut self) -> bool {
        self.completions.sync();
        self.completions.is_empty()
    }

    /// Takes the next completion.
    pub(super) fn next_event(&mut self) -> Option<KernelEvent> {
        let completion = self.completions.next()?;
        let tag = CompletionTag::unpack(completion.user_data());
        let (flags, result) = (completion.flags(), result(completion.result()));
        let armed = cqueue::more(flags);
        let (listener, socket) =
            (ListenerId(tag.index), SocketId { index: tag.index, generation: tag.generation });
        Some(match tag.kind {
            kind::ACCEPT => {
                // SAFETY: the kernel has made this descriptor for us, and nobody else knows it.
                let result = result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
                KernelEvent::Accepted { listener, result, armed }
            }
            kind::RECEIVE | kind::RECEIVE_ONCE => {
                if !armed {
                    self.receives -= 1;
                }
                let length = result.unwrap_or(0) as usize;
                let lease = cqueue::buffer_select(flags).map(|number| {
                    // SAFETY: this completion names the buffer, once, and its result is what was received into it.
                    unsafe { self.provided().lend(number, length) }
                });
                // A buffer that was chosen in vain is returned by this.
                let lease = lease.filter(|lease| !lease.is_empty());
                KernelEvent::Received { socket, result: result.map(|_| lease), armed }
            }
            kind::POLL => KernelEvent::Polled { socket },
            kind::HANG_UP => KernelEvent::HungUp { socket },
            kind::SEND => self.on_send(Key { index: tag.index, generation: tag.generation }, result),
            kind::TRANSFER | kind::FLUSH => {
                self.on_transfer(tag.kind, Key { index: tag.index, generation: tag.generation }, result)
            }
            kind::CANCEL_ACCEPT => KernelEvent::AcceptNotCancelled { listener },
            kind::CANCEL_RECEIVE => KernelEvent::ReceiveNotCancelled { socket },
            kind::TIMEOUT => KernelEvent::TimedOut,
            kind::WAKE => KernelEvent::Woken { armed },
            _ => KernelEvent::Nothing,
        })
    }

    fn on_send(&mut self, send: Key, result: Result<u32, Errno>) -> KernelEvent {
        match self.sends.on_completed(send, result) {
            None => KernelEvent::Nothing,
            Some((socket, SendOutcome::Part)) => KernelEvent::SentPart { socket, send },
            Some((socket, SendOutcome::Whole(bytes))) => KernelEvent::Sent { socket, bytes },
            Some((socket, SendOutcome::Failed(bytes))) => KernelEvent::SendFailed { socket, bytes },
        }
    }

    fn on_transfer(&mut self, kind: u8, key: Key, result: Result<u32, Errno>) -> KernelEvent {
        let next = match kind {
            kind::FLUSH => self.transfers.on_flushed(key, result),
            _ => self.transfers.on_moved(key, result),
        };
        match next {
            AfterCompletion::Wait => KernelEvent::Nothing,
            AfterCompletion::Ended(completion) => KernelEvent::Transferred(completion),
            AfterCompletion::Flush(key) => {
                if let Some(in_flight) = self.transfers.get_mut(key) {
                    let fd = Fd(in_flight.file.as_fd().as_raw_fd());
                    self.push(flush(fd, key), key_tag(kind::FLUSH, key));
                }
                KernelEvent::Nothing
            }
        }
    }

    /// Cancels all that is in flight and takes its completions. Returns whether nothing is left.
    fn cancel_all(&mut self) -> bool {
        for _ in 0..CANCEL_ROUNDS_MAX {
            // The cancel itself completes, so this never waits for long.
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            self.push(entry, plain_tag(kind::SILENT));
            if self.enter(true).is_err() {
                break;
            }
            while self.next_event().or_else(|| self.next_silent()).is_some() {}
            let is_quiet = self.receives == 0 && !self.sends.are_in_flight();
            if is_quiet && self.transfers.is_empty() {
                return self.backlog.is_empty();
            }
            if is_quiet {
                std::thread::sleep(DISK_PAUSE);
            }
        }
        false
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        let idle = self.cancel_all() && self.submitter.unregister_buf_ring(BUFFER_GROUP).is_ok();
        if !idle {
            // The kernel may write into these at any time until the process ends: they are never freed.
            tracing::error!("a ring could not be emptied, and its memory is kept");
            std::mem::forget(self.buffers.take());
            std::mem::forget(std::mem::take(&mut self.sends));
            std::mem::forget(std::mem::take(&mut self.transfers));
        }
        // A registered descriptor keeps the ring alive until its thread ends. There may be none.
        let _ = self.submitter.unregister_ring_fd();
    }
}

fn result(result: i32) -> Result<u32, Errno> {
    u32::try_from(result).map_err(|_| Errno::from_raw_os_error(-result))
}

/// A flush of what was written to a file.
fn flush(fd: Fd, key: Key) -> squeue::Entry {
    let entry = opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build();
    entry.user_data(key_tag(kind::FLUSH, key).pack())
}

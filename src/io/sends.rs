//! Sends that the ring has in flight, and how far each is.

use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::interface::SocketId;
use crate::base::slots::{Key, Slots};

/// Bytes of one send operation: its length is a 32-bit number, and the kernel caps it at 2 GiB.
const SEND_BYTES_MAX: usize = 1 << 30;
/// The flag of a send that wants all of its bytes taken, which rustix has for receives only.
const MSG_WAITALL: u32 = 0x100;

/// A send that the kernel reads from, or that waits for being resumed.
struct SendInFlight {
    socket: SocketId,
    bytes: Vec<u8>,
    sent: usize,
    in_flight: bool,
    /// It completes only if the kernel does not take all of it as it is submitted.
    silent: bool,
}

/// Outcome of a completion.
pub(super) enum SendOutcome {
    /// A part was sent, or nothing yet.
    Part,
    Whole(Vec<u8>),
    Failed(Vec<u8>),
}

/// Sends that were started and have not ended.
#[derive(Default)]
pub(super) struct Sends {
    slots: Slots<SendInFlight>,
    /// Silent sends that were started. Those that have not completed once they are submitted and all completions are taken
    /// were taken whole.
    silent: Vec<Key>,
}

impl Sends {
    pub(super) fn insert(&mut self, socket: SocketId, bytes: Vec<u8>, silent: bool) -> Key {
        let silent = silent && bytes.len() <= SEND_BYTES_MAX;
        let send = self.slots.insert(SendInFlight { socket, bytes, sent: 0, in_flight: false, silent });
        if silent {
            self.silent.push(send);
        }
        send
    }

    /// Returns the operation for what is left of a send, unless it is in flight.
    pub(super) fn begin(&mut self, send: Key, fd: BorrowedFd<'_>) -> Option<squeue::Entry> {
        let sending = self.slots.get_mut(send)?;
        if std::mem::replace(&mut sending.in_flight, true) {
            return None;
        }
        let rest = &sending.bytes[sending.sent..];
        let send =
            opcode::Send::new(Fd(fd.as_raw_fd()), rest.as_ptr(), rest.len().min(SEND_BYTES_MAX) as u32);
        Some(if sending.silent {
            // Not to wait makes it complete as it is submitted; to want all of it makes a part a failure, which completes
            // with the length of that part.
            let flags = SendFlags::NOSIGNAL.bits() | SendFlags::DONTWAIT.bits() | MSG_WAITALL;
            send.flags(flags as i32).build().flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            send.flags(SendFlags::NOSIGNAL.bits() as i32).build()
        })
    }

    /// Takes a completion. `None` if the send has ended before.
    pub(super) fn on_completed(
        &mut self,
        send: Key,
        result: Result<u32, Errno>,
    ) -> Option<(SocketId, SendOutcome)> {
        let sending = self.slots.get_mut(send)?;
        sending.in_flight = false;
        let was_silent = std::mem::take(&mut sending.silent);
        let socket = sending.socket;
        match result {
            Ok(length) if length > 0 => sending.sent += length as usize,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if was_silent => {}
            _ => return self.take(send).map(|bytes| (socket, SendOutcome::Failed(bytes))),
        }
        if sending.sent < sending.bytes.len() {
            return Some((socket, SendOutcome::Part));
        }
        self.take(send).map(|bytes| (socket, SendOutcome::Whole(bytes)))
    }

    /// Takes back the bytes of a send that is not in flight.
    pub(super) fn take(&mut self, send: Key) -> Option<Vec<u8>> {
        if self.slots.get(send)?.in_flight {
            return None;
        }
        self.slots.remove(send).map(|sending| sending.bytes)
    }

    pub(super) fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// Takes a silent send that has not completed: it was taken whole, since all of them are submitted and all completions
    /// are taken.
    pub(super) fn next_silent(&mut self) -> Option<(SocketId, Vec<u8>)> {
        while let Some(send) = self.silent.pop() {
            // One that has completed is no longer silent, or gone.
            if self.slots.get(send).is_some_and(|sending| sending.silent) {
                return self.slots.remove(send).map(|sending| (sending.socket, sending.bytes));
            }
        }
        None
    }

    pub(super) fn are_in_flight(&self) -> bool {
        self.slots.iter().any(|(_, sending)| sending.in_flight)
    }
}

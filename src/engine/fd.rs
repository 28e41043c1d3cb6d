//! Socket calls that are made at once instead of through the ring: a send that mostly succeeds, a receive after
//! readiness, the two halves of a lingering close. None of them blocks.
//!
//! This is the one place that borrows a raw descriptor, because monoio's streams only tell its number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, Shutdown};

/// A stream's descriptor, for as long as the stream is borrowed.
pub(super) fn borrow(stream: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is owned by `stream`, which is borrowed for as long as the result lives, so it stays
    // open; a stream never has the number -1.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Sends what fits into the socket's buffer now.
///
/// # Errors
/// `WouldBlock` if nothing fits; else what the socket says.
pub(super) fn send(stream: &impl AsRawFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(borrow(stream), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Receives what is there now into the room behind `storage`'s length. 0 is the end of the stream.
///
/// # Errors
/// `WouldBlock` if nothing is there; else what the socket says.
pub(super) fn receive(stream: &impl AsRawFd, storage: &mut Vec<u8>) -> io::Result<usize> {
    let room = rustix::buffer::spare_capacity(storage);
    let (received, _) = rustix::net::recv(borrow(stream), room, RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Receives and forgets.
///
/// # Errors
/// As [`receive`].
pub(super) fn discard(stream: &impl AsRawFd) -> io::Result<usize> {
    let mut scratch = [0; DISCARD_BYTES];
    let (_, received) = rustix::net::recv(borrow(stream), &mut scratch, RecvFlags::DONTWAIT)?;
    Ok(received)
}

/// Bytes that are forgotten at a time.
const DISCARD_BYTES: usize = 16 * 1024;

/// Whether bytes wait to be read.
pub(super) fn pending_bytes(stream: &impl AsRawFd) -> bool {
    let mut one = [0; 1];
    matches!(rustix::net::recv(borrow(stream), &mut one, RecvFlags::DONTWAIT | RecvFlags::PEEK), Ok((_, 1)))
}

/// Looks at what is there, and leaves it there. 0 is the end of the stream.
///
/// # Errors
/// As [`receive`].
pub(super) fn peek(stream: &impl AsRawFd, room: &mut [u8]) -> io::Result<usize> {
    let (_, seen) = rustix::net::recv(borrow(stream), room, RecvFlags::DONTWAIT | RecvFlags::PEEK)?;
    Ok(seen)
}

/// Receives what is there now, as far as there is room, and nothing beyond. 0 is the end of the stream.
///
/// # Errors
/// As [`receive`].
pub(super) fn take(stream: &impl AsRawFd, room: &mut [u8]) -> io::Result<usize> {
    let (_, taken) = rustix::net::recv(borrow(stream), room, RecvFlags::DONTWAIT)?;
    Ok(taken)
}

/// Ends both directions, and with them what is in flight on either.
pub(super) fn shutdown(stream: &impl AsRawFd) {
    // A peer that is gone already has nothing left to be told.
    let _ = rustix::net::shutdown(borrow(stream), Shutdown::Both);
}

/// Says that nothing more will be sent; what the peer still sends can be read.
pub(super) fn shutdown_write(stream: &impl AsRawFd) {
    // A peer that is gone already has nothing left to be told.
    let _ = rustix::net::shutdown(borrow(stream), Shutdown::Write);
}

/// Whether the peer has closed or reset, although bytes may still wait to be read.
pub(super) fn peer_gone(stream: &impl AsRawFd) -> bool {
    let fd = borrow(stream);
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&at_once)) {
        Ok(0) | Err(_) => false,
        Ok(_) => fds[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
    }
}

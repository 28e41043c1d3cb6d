//! How a line receives: on the ring while it is busy, at once where its socket was found readable.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::pin::pin;

use super::{Flushed, Line, Woken};
use crate::base::buffer::ReceiveBuffer;
use crate::engine::core::{Active, Core};
use crate::engine::fd;
use crate::engine::stream::Stream;
use crate::ingress::socket::Closing;

/// Room that a read must have, or the buffer is compacted or grown first.
const READ_ROOM: usize = 4096;
/// The first size that a buffer grows to for a large message, and the factor from there: as for HTTP bodies.
const GROW_FIRST: usize = 64 * 1024;
const GROW_FACTOR: usize = 4;

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// All that was there.
    All,
    /// There may be more.
    More,
}

impl Line {
    /// Reads on the ring until something has come, the line is to be looked at, or its time is over. What others put on
    /// the line meanwhile leaves from here.
    pub(super) async fn read(&self, core: &Core, stream: &mut Stream, active: &mut Active) -> Woken {
        if self.watch.is_expired() {
            return Woken::Expired;
        }
        let room = self.make_room(core, active);
        if room == 0 {
            return Woken::Readable;
        }
        let fd = stream.as_raw_fd();
        let storage = active.buffer.take_storage();
        let mut turn = false;
        let (result, storage) = {
            let mut reading = pin!(stream.read(storage, self.watch.handle()));
            poll_fn(|context| {
                let done = reading.as_mut().poll(context);
                if done.is_pending() {
                    self.watch.remember(context.waker());
                    // The read is awaited to its end, or bytes would be lost.
                    if self.unsent() > 0 && !turn {
                        let flushed = self.flush_by(core, || false, |bytes| fd::send(&fd, bytes));
                        if flushed != Flushed::All || !self.is_open() {
                            turn = true;
                            self.watch.cancel();
                        }
                    }
                }
                done
            })
            .await
        };
        active.buffer.restore_storage(storage);
        match result {
            Ok(0) => Woken::Gone,
            Ok(bytes) => Woken::Heard(self.heard(core, bytes, room)),
            Err(_) if self.watch.is_expired() => Woken::Expired,
            Err(_) if turn => Woken::Turn,
            Err(_) => Woken::Gone,
        }
    }

    /// Receives what is there. An error: the peer sends nothing more.
    pub(super) fn receive(&self, core: &Core, stream: &Stream, active: &mut Active) -> Result<Received, ()> {
        let room = self.make_room(core, active);
        if room == 0 {
            // Only where memory was refused: what comes is dropped until the peer has answered the Close.
            let length = active.buffer.len();
            active.buffer.consume(length);
            return Ok(Received::More);
        }
        let mut storage = active.buffer.take_storage();
        let result = stream.try_receive(&mut storage);
        active.buffer.restore_storage(storage);
        match result {
            Ok(0) => Err(()),
            Ok(bytes) => Ok(self.heard(core, bytes, room)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Received::All)
            }
            Err(_) => Err(()),
        }
    }

    fn heard(&self, core: &Core, bytes: usize, room: usize) -> Received {
        // The time of all that came with it.
        self.heard.set(core.begin_batch().nanos);
        core.metrics.received(bytes);
        if bytes == room { Received::More } else { Received::All }
    }

    /// Makes room for what comes; says how much there is.
    fn make_room(&self, core: &Core, active: &mut Active) -> usize {
        let wanted = self.capacity_wanted(&active.buffer);
        if wanted > active.buffer.capacity() {
            if !core.grow(active, wanted) {
                self.close_for(core, Closing::Busy);
            }
        } else if active.buffer.spare() < READ_ROOM {
            active.buffer.compact();
        }
        active.buffer.spare()
    }

    /// What the buffer should hold for the message that is coming in: four times what it holds, at most what the
    /// message needs, so that what is announced and never sent costs little.
    fn capacity_wanted(&self, buffer: &ReceiveBuffer) -> usize {
        if buffer.capacity() - buffer.len() >= READ_ROOM {
            return 0;
        }
        let missing = self.wire.borrow().machine.frame_bytes_missing().min(self.payload_limit as u64);
        let most = buffer.len() + READ_ROOM.max(missing as usize);
        most.min((buffer.capacity() * GROW_FACTOR).max(GROW_FIRST))
    }
}

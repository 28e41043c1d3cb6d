//! One WebSocket on a core, whoever speaks on it: a webhook's client or a worker. It moves bytes between the socket
//! and the sans-IO machine, gathers what is to be sent into one write, and keeps the times of `ingress::socket`.
//!
//! The task waits for readiness and never has a read in flight, so a quiet connection holds no buffer and what others
//! put on the line can be sent while the task waits. Whoever puts something on it appends to `out` and wakes the
//! task; all that gathered until the task runs leaves in one write.

mod wire;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use self::wire::Wire;
use super::core::{Active, Core};
use super::lot::{self, Parked};
use super::stream::Stream;
use super::watch::Watch;
use crate::base::buffer::ReceiveBuffer;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::slots::Key;
use crate::ingress::socket::{BACKLOG_BYTES_MAX, CLOSE_WITHIN_NANOS, CODE_BROKEN, Closing, Silence, silence};
use crate::websocket::{self, Event};

/// After this long without a byte either way a line is quiet.
const QUIET_NANOS: u64 = NANOS_PER_SECOND;
/// Room that a read must have, or the buffer is compacted or grown first.
const READ_ROOM: usize = 4096;
/// The first size that a buffer grows to for a large message, and the factor from there: as for HTTP bodies.
const GROW_FIRST: usize = 64 * 1024;
const GROW_FACTOR: usize = 4;
/// Bytes that are unmasked, checked and copied in a time that is no matter.
const SHORT_MESSAGE_BYTES: usize = 64 * 1024;
/// The largest write that is left to the ring alone: it fits into a socket's buffer unless the peer is behind.
const RING_WRITE_BYTES_MAX: usize = 64 * 1024;
/// Reads in a row while each fills the buffer, before others get a turn.
const READS_MAX: usize = 4;

/// How a WebSocket ended, as its `disconnect` trigger says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) code: u16,
    pub(super) reason: Box<str>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// The connection is closing or closed.
    Closed,
    /// The peer does not take what is sent to it; it is being closed for that.
    TooSlow,
}

/// Who speaks on a line.
pub(super) trait Speaker {
    /// What was received is looked at next.
    fn attend(&mut self) {}

    /// Hears a message where it lies, and does what it asks for.
    fn hear(&mut self, text: bool, data: &[u8]);

    /// All that was received has been looked at.
    fn turn(&mut self) {}

    /// Whether a quiet line is left to whoever keeps quiet connections: [`run`] then ends without an end.
    const PARKS: bool = false;

    /// Everything has been sent: there is room for more. True if more was put on the line.
    fn refill(&mut self) -> bool {
        false
    }
}

/// The shared part of a WebSocket: what others on the core may reach.
pub(super) struct Line {
    wire: RefCell<Wire>,
    pub(super) watch: Rc<Watch>,
    key: Key,
    payload_limit: Cell<usize>,
    /// The task is at work and will look at what is on the line by itself.
    at_work: Cell<bool>,
    heard: Cell<u64>,
    pinged: Cell<u64>,
    /// When something was put on it last.
    spoken: Cell<u64>,
}

/// What the task was woken for.
enum Woken {
    Readable,
    /// The socket takes bytes again, or the line was written to.
    Turn,
    Expired,
    Gone,
}

/// What a look at a line whose time is over came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Borne {
    /// It is to be cut.
    Cut,
    /// It goes on.
    Stays,
    /// Nothing has happened on it for a moment.
    Quiet,
}

/// What a write came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flushed {
    All,
    Blocked,
    Gone,
}

impl Line {
    pub(super) fn new(core: &Core, machine: websocket::Connection, payload_limit: usize) -> Line {
        let now = core.now().nanos;
        let (key, watch) = core.add_connection(now + QUIET_NANOS);
        Line {
            wire: RefCell::new(Wire {
                machine,
                out: Vec::new(),
                sent: 0,
                ends: None,
                ended: None,
                progress: false,
            }),
            watch,
            key,
            payload_limit: Cell::new(payload_limit),
            at_work: Cell::new(false),
            heard: Cell::new(now),
            pinged: Cell::new(0),
            spoken: Cell::new(now),
        }
    }

    /// The connection's place among those of the core.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// The largest message either way.
    pub(super) fn payload_limit(&self) -> usize {
        self.payload_limit.get()
    }

    /// Another limit from here on; a message whose bytes have come already is let through.
    pub(super) fn set_payload_limit(&self, bytes: usize) {
        self.payload_limit.set(bytes);
        self.wire.borrow_mut().machine.set_max_message_bytes(bytes);
    }

    /// Puts a message on the line.
    ///
    /// # Errors
    /// [`Unsent`], with nothing sent.
    pub(super) fn send(&self, core: &Core, text: bool, payload: &[u8]) -> Result<(), Unsent> {
        {
            let mut wire = self.wire.borrow_mut();
            let wire = &mut *wire;
            if !wire.machine.is_open() {
                return Err(Unsent::Closed);
            }
            if wire.waiting() <= BACKLOG_BYTES_MAX {
                if wire.out.capacity() == 0 {
                    wire.out = core.take_out();
                }
                wire.machine.send(&mut wire.out, &mut core.scratch.borrow_mut(), text, payload);
                wire.note_end();
                self.spoken.set(core.now_of_batch().nanos);
                self.wake_task(core);
                return Ok(());
            }
            wire.drop_backlog();
        }
        self.close(core, Closing::TooSlow.code(), Closing::TooSlow.reason());
        Err(Unsent::TooSlow)
    }

    /// Bytes that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        let wire = self.wire.borrow();
        wire.out.len() - wire.sent
    }

    /// Whether messages can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.wire.borrow().machine.is_open()
    }

    /// Begins the close handshake, unless it has begun.
    pub(super) fn close(&self, core: &Core, code: u16, reason: &str) {
        {
            let mut wire = self.wire.borrow_mut();
            let wire = &mut *wire;
            if wire.out.capacity() == 0 {
                wire.out = core.take_out();
            }
            if !wire.machine.close(&mut wire.out, code, reason) {
                return;
            }
            wire.note_end();
            wire.ended.get_or_insert_with(|| Ended { code, reason: reason.into() });
            wire.progress = false;
        }
        core.set_deadline(self.key, &self.watch, core.now().nanos + CLOSE_WITHIN_NANOS);
        self.wake_task(core);
    }

    /// Wakes the task of the line, unless it is at work; one that has none gets one.
    fn wake_task(&self, core: &Core) {
        if self.at_work.get() {
            return;
        }
        if self.watch.is_parked() {
            core.lot.call(self.key, &self.watch);
        } else {
            self.watch.wake();
        }
    }

    /// Leaves it to the lot. Given back where that cannot be had.
    pub(super) fn park(&self, core: &Core, parked: Parked) -> Result<(), Parked> {
        self.wire.borrow_mut().ends = None;
        lot::park(core, self.key, &self.watch, parked)
    }

    /// It is taken up again.
    pub(super) fn unparked(&self, core: &Core) {
        // Where its time is over, that is looked at first.
        if !self.watch.is_expired() {
            core.set_deadline(self.key, &self.watch, core.now().nanos + QUIET_NANOS);
        }
    }

    /// Closes for one of the engine's own reasons.
    pub(super) fn close_for(&self, core: &Core, closing: Closing) {
        self.close(core, closing.code(), closing.reason());
    }

    /// Looks at what was received, until all of it was looked at (true) or the turn is over.
    fn listen<S: Speaker>(&self, core: &Core, buffer: &mut ReceiveBuffer, speaker: &mut S) -> bool {
        speaker.attend();
        loop {
            let event = {
                let mut wire = self.wire.borrow_mut();
                let Wire { machine, out, .. } = &mut *wire;
                if out.capacity() == 0 {
                    *out = core.take_out();
                }
                machine.poll(buffer, out, &mut core.scratch.borrow_mut())
            };
            match event {
                Event::NeedData => return true,
                Event::Pong => {}
                Event::Message { text } => {
                    // What is heard may be answered at once, with the scratch.
                    let inflated = {
                        let is_inflated = self.wire.borrow().machine.is_inflated();
                        is_inflated.then(|| core.scratch.borrow_mut().lend())
                    };
                    if inflated.is_some() || buffer.len() > SHORT_MESSAGE_BYTES {
                        core.worked();
                    }
                    match inflated {
                        None => {
                            let message = self.wire.borrow().machine.message_in(buffer);
                            speaker.hear(text, message);
                        }
                        Some(message) => {
                            speaker.hear(text, &message);
                            core.scratch.borrow_mut().take_back(message);
                        }
                    }
                    self.wire.borrow_mut().machine.done(buffer);
                    if core.step(true) {
                        return false;
                    }
                }
                Event::Close { code } => {
                    let mut wire = self.wire.borrow_mut();
                    let reason = {
                        let scratch = core.scratch.borrow();
                        String::from_utf8_lossy(wire.machine.message(buffer, &scratch)).into_owned()
                    };
                    wire.ended.get_or_insert_with(|| Ended { code, reason: reason.into() });
                }
                Event::Failed(failure) => {
                    let closing = Closing::Failed(failure);
                    let ended = || Ended { code: closing.code(), reason: closing.reason().into() };
                    self.wire.borrow_mut().ended.get_or_insert_with(ended);
                }
            }
        }
    }

    /// Hands what the last turn put on the line to the ring, together with what other connections write: see
    /// `Connection::flush`. What is not written, or was put there meanwhile, is left for [`Self::flush`].
    async fn write_on_ring(&self, core: &Core, stream: &mut Stream) {
        let out = {
            let mut wire = self.wire.borrow_mut();
            // A backlog goes the slower way, which knows where its messages end and hears the peer meanwhile.
            if wire.out.is_empty() || wire.sent > 0 || wire.out.len() > RING_WRITE_BYTES_MAX {
                return;
            }
            wire.forget_ends();
            std::mem::take(&mut wire.out)
        };
        let (result, mut out) = stream.write(out, 0, self.watch.handle()).await;
        let written = result.unwrap_or(0);
        core.metrics.sent(written);
        let mut wire = self.wire.borrow_mut();
        wire.progress |= written > 0;
        if written == out.len() {
            core.give_out(out);
        } else {
            // What is left goes before what came since.
            let left = out.len() - written;
            let ends = &mut wire.ends.get_or_insert_default().0;
            ends.iter_mut().for_each(|end| *end += left);
            ends.push_front(left);
            out.drain(..written);
            out.append(&mut wire.out);
            wire.out = out;
        }
    }

    fn flush(&self, core: &Core, stream: &Stream) -> Flushed {
        let mut wire = self.wire.borrow_mut();
        let wire = &mut *wire;
        while wire.sent < wire.out.len() || stream.holds_back() {
            match stream.try_send(&wire.out[wire.sent..]) {
                Ok(bytes) => {
                    wire.sent += bytes;
                    wire.progress = true;
                    core.metrics.sent(bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wire.forget_sent();
                    return Flushed::Blocked;
                }
                Err(_) => return Flushed::Gone,
            }
            if wire.sent == wire.out.len() {
                wire.out.clear();
                wire.sent = 0;
                wire.forget_ends();
                wire.machine.settle(&mut wire.out);
            }
        }
        core.give_out(std::mem::take(&mut wire.out));
        Flushed::All
    }

    /// The deadline passed.
    fn bear(&self, core: &Core, parks: bool) -> Borne {
        let now = core.now().nanos;
        let quiet_at = self.heard.get().max(self.spoken.get()).saturating_add(QUIET_NANOS);
        let mut borne = Borne::Stays;
        let next = {
            let mut wire = self.wire.borrow_mut();
            let wire = &mut *wire;
            if !wire.machine.is_open() {
                // A peer that still takes what was sent before the Close has not had the Close yet.
                if !std::mem::take(&mut wire.progress) || wire.sent == wire.out.len() {
                    return Borne::Cut;
                }
                now + CLOSE_WITHIN_NANOS
            } else {
                if quiet_at <= now {
                    wire.machine.release();
                }
                match silence(now, self.heard.get(), self.pinged.get()) {
                    Silence::Broken => return Borne::Cut,
                    Silence::Until(next) if !parks => next,
                    Silence::Until(next) if quiet_at <= now => {
                        borne = Borne::Quiet;
                        next
                    }
                    Silence::Until(next) => next.min(quiet_at),
                    Silence::Ping(next) => {
                        self.pinged.set(now);
                        self.spoken.set(now);
                        wire.machine.ping(&mut wire.out, &[]);
                        if parks { now + QUIET_NANOS } else { next }
                    }
                }
            }
        };
        core.set_deadline(self.key, &self.watch, next);
        borne
    }

    /// Receives what is there. False: the peer sends nothing more.
    fn receive(&self, core: &Core, stream: &Stream, active: &mut Box<Active>) -> Result<Received, ()> {
        let wanted = self.capacity_wanted(&active.buffer);
        if wanted > active.buffer.capacity() {
            if !core.grow(active, wanted) {
                self.close_for(core, Closing::Busy);
            }
        } else if active.buffer.spare() < READ_ROOM {
            active.buffer.compact();
        }
        let room = active.buffer.spare();
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
            Ok(bytes) => {
                // The time of all that came with it.
                self.heard.set(core.begin_batch().nanos);
                core.metrics.received(bytes);
                Ok(if bytes == room { Received::More } else { Received::All })
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(Received::All)
            }
            Err(_) => Err(()),
        }
    }

    /// What the buffer should hold for the message that is coming in: four times what it holds, at most what the
    /// message needs, so that what is announced and never sent costs little.
    fn capacity_wanted(&self, buffer: &ReceiveBuffer) -> usize {
        if buffer.capacity() - buffer.len() >= READ_ROOM {
            return 0;
        }
        let missing = self.wire.borrow().machine.frame_bytes_missing().min(self.payload_limit.get() as u64);
        let most = buffer.len() + READ_ROOM.max(missing as usize);
        most.min((buffer.capacity() * GROW_FACTOR).max(GROW_FIRST))
    }

    /// Waits for the peer, for someone on the core, or for the deadline.
    async fn wait<S: Speaker>(&self, core: &Core, stream: &Stream, blocked: bool, speaker: &mut S) -> Woken {
        if blocked {
            // Rare, and twice as large as the usual wait.
            return Box::pin(self.wait_blocked(stream)).await;
        }
        let mut readable = pin!(stream.readable());
        poll_fn(|context| {
            if self.watch.is_expired() {
                return Poll::Ready(Woken::Expired);
            }
            self.watch.remember(context.waker());
            // What others put on the line leaves from here: ending the wait for readiness would cost two operations
            // on the ring.
            while self.unsent() > 0 {
                if self.flush(core, stream) != Flushed::All || !self.is_open() {
                    return Poll::Ready(Woken::Turn);
                }
                if !speaker.refill() {
                    break;
                }
            }
            readable.as_mut().poll(context).map(readable_or_gone)
        })
        .await
    }

    /// Waits until the socket takes bytes again, too.
    async fn wait_blocked(&self, stream: &Stream) -> Woken {
        let mut readable = pin!(stream.readable());
        let mut writable = pin!(stream.writable());
        poll_fn(|context| {
            if self.watch.is_expired() {
                return Poll::Ready(Woken::Expired);
            }
            self.watch.remember(context.waker());
            match writable.as_mut().poll(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Woken::Turn),
                Poll::Ready(Err(_)) => return Poll::Ready(Woken::Gone),
                Poll::Pending => {}
            }
            readable.as_mut().poll(context).map(readable_or_gone)
        })
        .await
    }
}

enum Received {
    /// All that was there.
    All,
    /// There may be more.
    More,
}

fn readable_or_gone(result: std::io::Result<()>) -> Woken {
    if result.is_ok() { Woken::Readable } else { Woken::Gone }
}

/// Serves a line until it ends, and says how; or until it is quiet, if its speaker leaves quiet lines to others. What the
/// speaker does afterwards comes before the socket is let go.
pub(super) async fn run<S: Speaker>(
    core: &Core,
    stream: &mut Stream,
    line: &Line,
    mut active: Option<Box<Active>>,
    speaker: &mut S,
) -> Option<Ended> {
    loop {
        if core.is_turn_over() {
            core.pause().await;
        }
        line.at_work.set(true);
        let heard_all = match &mut active {
            Some(active) => line.listen(core, &mut active.buffer, speaker),
            None => true,
        };
        speaker.turn();
        line.at_work.set(false);
        if core.rules.on_ring {
            line.write_on_ring(core, stream).await;
        }
        let mut flushed = line.flush(core, stream);
        while flushed == Flushed::All && line.is_open() && speaker.refill() {
            flushed = line.flush(core, stream);
        }
        if flushed == Flushed::Gone || (line.wire.borrow().machine.is_over() && flushed == Flushed::All) {
            break;
        }
        if active.as_ref().is_some_and(|active| active.buffer.is_empty())
            && let Some(active) = active.take()
        {
            core.give_active(active);
        }
        if !heard_all && flushed != Flushed::Blocked {
            continue;
        }
        match line.wait(core, stream, flushed == Flushed::Blocked, speaker).await {
            Woken::Turn => {}
            Woken::Gone => break,
            Woken::Expired => {
                let parks = S::PARKS && active.is_none() && line.unsent() == 0 && !stream.holds_back();
                match line.bear(core, parks) {
                    Borne::Stays => {}
                    Borne::Quiet => return None,
                    Borne::Cut => break,
                }
            }
            Woken::Readable => {
                let active = active.get_or_insert_with(|| core.take_active());
                let mut gone = false;
                for _ in 0..READS_MAX {
                    match line.receive(core, stream, active) {
                        Ok(Received::All) => break,
                        Ok(Received::More) => {
                            line.at_work.set(true);
                            let heard_all = line.listen(core, &mut active.buffer, speaker);
                            line.at_work.set(false);
                            if !heard_all {
                                break;
                            }
                        }
                        Err(()) => {
                            gone = true;
                            break;
                        }
                    }
                }
                if gone {
                    // What came before the end is still looked at.
                    loop {
                        line.at_work.set(true);
                        let heard_all = line.listen(core, &mut active.buffer, speaker);
                        speaker.turn();
                        line.at_work.set(false);
                        if heard_all {
                            break;
                        }
                        core.pause().await;
                    }
                    break;
                }
            }
        }
    }
    if let Some(active) = active.take() {
        core.give_active(active);
    }
    let mut wire = line.wire.borrow_mut();
    core.give_out(std::mem::take(&mut wire.out));
    Some(wire.ended.take().unwrap_or(Ended { code: CODE_BROKEN, reason: "".into() }))
}

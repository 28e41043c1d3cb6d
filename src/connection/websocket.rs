//! One WebSocket, of a webhook's client or of a worker: received bytes become messages for its [`Handler`], sent messages
//! are gathered, and the times of `ingress::socket` are kept. What the messages mean is the handler's.

use super::buffers::OutOfMemory;
use super::context::CoreState;
use super::send_queue::SendQueue;
use super::timeouts::Timeout;
use crate::base::buffer::ReceiveBuffer;
use crate::ingress::socket::{BACKLOG_BYTES_MAX, CODE_BROKEN, Closing, Pings, Silence, silence};
use crate::websocket::{self, DeflateParameters, Event, Role};

/// Room that a read must have before the buffer grows for a large message.
const READ_ROOM: usize = 4096;
/// The first size that a buffer grows to for a large message, and the factor from there: as for HTTP bodies.
const GROW_FIRST: usize = 64 * 1024;
const GROW_FACTOR: usize = 4;
/// Bytes that are unmasked, checked and copied in a negligible time.
const SHORT_MESSAGE_BYTES: usize = 64 * 1024;

/// The end of a WebSocket, as its `disconnect` trigger tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: u16,
    pub(crate) reason: Box<str>,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The connection is closing or closed.
    Closed,
    /// The peer does not take what is sent to it; it is being closed for that.
    TooSlow,
}

/// Receiver of a WebSocket's messages.
pub(crate) trait Handler {
    /// Received bytes are looked at next.
    fn before_batch(&mut self, _core: &mut CoreState, _connection: &mut WebSocketConnection) {}

    /// A message was received.
    fn on_message(
        &mut self,
        core: &mut CoreState,
        connection: &mut WebSocketConnection,
        text: bool,
        data: &[u8],
    );

    /// All received bytes have been looked at.
    fn after_batch(&mut self, _core: &mut CoreState, _connection: &mut WebSocketConnection) {}

    /// Everything has been sent.
    fn on_drained(&mut self, _core: &mut CoreState, _connection: &mut WebSocketConnection) {}
}

/// Result of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Expired {
    /// The connection is to be cut.
    Cut,
    /// It continues.
    Stays,
    /// It continues, and nothing has happened on it for a moment.
    Quiet,
}

/// A WebSocket after its handshake.
pub(crate) struct WebSocketConnection {
    machine: websocket::Connection,
    queue: SendQueue,
    /// Bytes that were received and not consumed.
    carry: ReceiveBuffer,
    /// The first cause of the end is the one that counts.
    ended: Option<Box<Ended>>,
    payload_limit: u32,
    /// Whether anything was sent since an answer to a Close began to be waited for.
    has_progressed: bool,
    is_quiet: bool,
    /// Received messages wait for the next turn.
    is_paused: bool,
    /// Times of the last receive, the last Ping and the last message that was sent.
    heard: u64,
    pinged: u64,
    spoken: u64,
    deadline: u64,
}

/// State kept of a WebSocket that is open and quiet, with nothing under way.
pub(crate) struct QuietMachine {
    heard: u64,
    pinged: u64,
    deflate: Option<DeflateParameters>,
}

impl WebSocketConnection {
    /// The small form of a connection that has nothing else to keep.
    pub(crate) fn to_quiet(&self) -> Option<QuietMachine> {
        let is_quiet = self.is_quiet
            && self.machine.is_at_rest()
            && self.queue.is_released()
            && self.carry.capacity() == 0
            && self.ended.is_none()
            && !self.is_paused;
        is_quiet.then(|| QuietMachine {
            heard: self.heard,
            pinged: self.pinged,
            deflate: self.machine.deflate(),
        })
    }

    /// The whole connection of a quiet one, with the payload limit of its webhook.
    pub(crate) fn from_quiet(
        quiet: &QuietMachine,
        payload_limit: usize,
        deadline: u64,
    ) -> WebSocketConnection {
        WebSocketConnection {
            machine: websocket::Connection::new(Role::Server, quiet.deflate, payload_limit),
            queue: SendQueue::default(),
            carry: ReceiveBuffer::default(),
            ended: None,
            payload_limit: u32::try_from(payload_limit).unwrap_or(u32::MAX),
            has_progressed: false,
            is_quiet: true,
            is_paused: false,
            heard: quiet.heard,
            pinged: quiet.pinged,
            // Asked for only beside what was heard: whether it may be quiet again.
            spoken: quiet.heard,
            deadline,
        }
    }

    /// A WebSocket whose handshake is done. `carry` is what was received behind it.
    pub(crate) fn new(
        deflate: Option<DeflateParameters>,
        payload_limit: usize,
        carry: ReceiveBuffer,
        now: u64,
    ) -> WebSocketConnection {
        WebSocketConnection {
            machine: websocket::Connection::new(Role::Server, deflate, payload_limit),
            queue: SendQueue::default(),
            carry,
            ended: None,
            payload_limit: u32::try_from(payload_limit).unwrap_or(u32::MAX),
            has_progressed: false,
            is_quiet: false,
            is_paused: false,
            heard: now,
            pinged: 0,
            spoken: now,
            deadline: Timeout::Quiet.after(now),
        }
    }

    /// The largest message either way.
    pub(crate) fn payload_limit(&self) -> usize {
        self.payload_limit as usize
    }

    /// Sets another limit; a message whose bytes have been received already is let through.
    pub(crate) fn set_payload_limit(&mut self, bytes: usize) {
        self.payload_limit = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.machine.set_max_message_bytes(bytes);
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.machine.is_open()
    }

    /// Whether nothing more is received or sent.
    pub(crate) fn is_over(&self) -> bool {
        self.machine.is_over() && self.queue.is_empty()
    }

    /// When [`Self::on_deadline`] is due.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Whether something is done once the send that is started now has ended: more is to be sent, or it is closing.
    pub(crate) fn awaits_sent(&self) -> bool {
        !self.queue.out.is_empty() || !self.machine.is_open()
    }

    /// Number of bytes that no send has been started for.
    pub(crate) fn unsent(&self) -> usize {
        self.queue.out.len()
    }

    /// The cause of the end.
    pub(crate) fn take_ended(&mut self) -> Ended {
        self.ended.take().map_or_else(|| Ended { code: CODE_BROKEN, reason: "".into() }, |ended| *ended)
    }

    /// Takes the next batch to send; gives the output buffer back if there is nothing to send.
    pub(crate) fn take_output(&mut self, core: &mut CoreState) -> Option<Vec<u8>> {
        if self.queue.out.is_empty() {
            core.buffers.give_out(std::mem::take(&mut self.queue.out));
        }
        self.queue.take()
    }

    /// Gives its buffers back.
    pub(crate) fn release(&mut self, core: &mut CoreState) {
        let out = self.queue.release();
        core.buffers.give_out(out);
        core.buffers.release(&mut self.carry);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SendError`], with nothing sent.
    pub(crate) fn send(&mut self, core: &mut CoreState, text: bool, payload: &[u8]) -> Result<(), SendError> {
        if !self.machine.is_open() {
            return Err(SendError::Closed);
        }
        if self.queue.waiting() > BACKLOG_BYTES_MAX {
            self.queue.drop_backlog();
            self.close_for(core, Closing::TooSlow);
            return Err(SendError::TooSlow);
        }
        self.prepare_output(core);
        self.machine.send(&mut self.queue.out, &mut core.scratch, text, payload);
        self.queue.note_end();
        self.spoken = core.now().nanos;
        self.wake();
        Ok(())
    }

    /// Begins the close handshake, unless it has begun.
    pub(crate) fn close(&mut self, core: &mut CoreState, code: u16, reason: &str) {
        self.prepare_output(core);
        if !self.machine.close(&mut self.queue.out, code, reason) {
            return;
        }
        self.queue.note_end();
        self.ended.get_or_insert_with(|| Box::new(Ended { code, reason: reason.into() }));
        self.has_progressed = false;
        self.deadline = Timeout::CloseHandshake.after(core.now().nanos);
    }

    /// Closes for one of the engine's own reasons.
    pub(crate) fn close_for(&mut self, core: &mut CoreState, closing: Closing) {
        self.close(core, closing.code(), closing.reason());
    }

    /// Takes received bytes.
    pub(crate) fn on_received(
        &mut self,
        core: &mut CoreState,
        handler: &mut dyn Handler,
        received: &mut Vec<u8>,
    ) {
        self.heard = core.now().nanos;
        core.metrics.received(received.len());
        self.wake();
        if !self.carry.is_empty() {
            let wanted = self.capacity_wanted(&self.carry);
            if core.buffers.append(&mut self.carry, received, wanted).is_err() {
                return self.refuse_memory(core, handler);
            }
            return self.resume(core, handler);
        }
        let mut buffer = ReceiveBuffer::default();
        buffer.restore_storage(std::mem::take(received));
        self.listen(core, &mut buffer, handler);
        let kept = if buffer.is_empty() {
            Ok(())
        } else {
            let wanted = self.capacity_wanted(&buffer);
            core.buffers.append(&mut self.carry, buffer.unread(), wanted)
        };
        *received = buffer.take_storage();
        if let Err(OutOfMemory) = kept {
            self.refuse_memory(core, handler);
        }
    }

    /// Looks at what was received before.
    pub(crate) fn resume(&mut self, core: &mut CoreState, handler: &mut dyn Handler) {
        let mut carry = std::mem::take(&mut self.carry);
        self.listen(core, &mut carry, handler);
        core.buffers.shrink(&mut carry);
        self.carry = carry;
    }

    /// Closes, and drops what was received: the machine reads nothing but the peer's Close from here on.
    fn refuse_memory(&mut self, core: &mut CoreState, handler: &mut dyn Handler) {
        self.close_for(core, Closing::Busy);
        core.buffers.release(&mut self.carry);
        self.resume(core, handler);
    }

    /// Whether received messages wait for the next turn: [`Self::resume`] continues with them.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Looks at what is in `buffer`, all of it or until the turn is over.
    fn listen(&mut self, core: &mut CoreState, buffer: &mut ReceiveBuffer, handler: &mut dyn Handler) {
        self.is_paused = false;
        handler.before_batch(core, self);
        self.prepare_output(core);
        loop {
            match self.machine.poll(buffer, &mut self.queue.out, &mut core.scratch) {
                Event::NeedData => break,
                Event::Pong => {}
                Event::Message { text } => {
                    // A message may be answered at once, with the scratch.
                    let inflated = self.machine.is_inflated().then(|| core.scratch.lend());
                    if inflated.is_some() || buffer.len() > SHORT_MESSAGE_BYTES {
                        core.worked();
                    }
                    match inflated {
                        None => {
                            let message = self.machine.message_in(buffer);
                            handler.on_message(core, self, text, message);
                        }
                        Some(message) => {
                            handler.on_message(core, self, text, &message);
                            core.scratch.take_back(message);
                        }
                    }
                    self.machine.done(buffer);
                    self.prepare_output(core);
                    if core.step(true) {
                        self.is_paused = true;
                        break;
                    }
                }
                Event::Close { code } => {
                    let message = self.machine.message(buffer, &core.scratch);
                    let reason = String::from_utf8_lossy(message).into_owned();
                    self.ended.get_or_insert_with(|| Box::new(Ended { code, reason: reason.into() }));
                }
                Event::Failed(failure) => {
                    let closing = Closing::Failed(failure);
                    let ended = Ended { code: closing.code(), reason: closing.reason().into() };
                    self.ended.get_or_insert(Box::new(ended));
                }
            }
        }
        handler.after_batch(core, self);
    }

    /// Notes that a part of the output was taken.
    pub(crate) fn on_progress(&mut self) {
        self.has_progressed = true;
    }

    /// Notes that the send in flight has ended.
    pub(crate) fn on_sent(&mut self, core: &mut CoreState, handler: &mut dyn Handler, bytes: usize) {
        core.metrics.sent(bytes);
        self.has_progressed = true;
        self.queue.on_sent();
        self.machine.settle(&mut self.queue.out);
        if self.queue.out.is_empty() && self.is_open() {
            handler.on_drained(core, self);
        }
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self, core: &mut CoreState) -> Expired {
        let now = core.now().nanos;
        if !self.machine.is_open() {
            // A peer that still takes what was sent before the Close has not had the Close yet.
            if !std::mem::take(&mut self.has_progressed) || self.queue.is_empty() {
                return Expired::Cut;
            }
            self.deadline = Timeout::CloseHandshake.after(now);
            return Expired::Stays;
        }
        let quiet_at = Timeout::Quiet.after(self.heard.max(self.spoken));
        if quiet_at <= now {
            self.machine.release();
        }
        let timeouts = &core.rules.timeouts;
        let pings = Pings {
            after_nanos: timeouts.websocket_ping.nanos(),
            within_nanos: timeouts.websocket_pong.nanos(),
        };
        match silence(now, self.heard, self.pinged, pings) {
            Silence::Broken => Expired::Cut,
            Silence::Until(next) if quiet_at <= now && self.is_idle() => {
                self.deadline = next;
                self.is_quiet = true;
                Expired::Quiet
            }
            Silence::Until(next) if quiet_at > now => {
                self.deadline = next.min(quiet_at);
                Expired::Stays
            }
            Silence::Until(next) => {
                self.deadline = next;
                Expired::Stays
            }
            Silence::Ping(_) => {
                (self.pinged, self.spoken) = (now, now);
                self.prepare_output(core);
                self.machine.ping(&mut self.queue.out, &[]);
                self.deadline = Timeout::Quiet.after(now);
                Expired::Stays
            }
        }
    }

    /// Whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.carry.is_empty() && self.queue.is_empty()
    }

    /// Something happens on a quiet connection: it is checked again when it may be quiet.
    fn wake(&mut self) {
        if std::mem::take(&mut self.is_quiet) && self.machine.is_open() {
            self.deadline = self.deadline.min(Timeout::Quiet.after(self.heard.max(self.spoken)));
        }
    }

    fn prepare_output(&mut self, core: &mut CoreState) {
        if self.queue.out.capacity() == 0 {
            self.queue.out = core.buffers.take_out();
        }
    }

    /// Returns the capacity that the buffer should have for the message being received: four times what it holds, at most
    /// what the message needs, so that what is announced and never sent costs little.
    fn capacity_wanted(&self, buffer: &ReceiveBuffer) -> usize {
        if buffer.capacity() - buffer.len() >= READ_ROOM {
            return 0;
        }
        let missing = self.machine.frame_bytes_missing().min(u64::from(self.payload_limit));
        let most = buffer.len() + READ_ROOM.max(missing as usize);
        most.min((buffer.capacity() * GROW_FACTOR).max(GROW_FIRST))
    }
}

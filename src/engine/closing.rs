//! The end of a connection: what is ready is sent, and a peer that still sends sees the answer, or the Close.

use std::io::ErrorKind;
use std::pin::pin;

use super::connection::Connection;
use super::core::Core;
use super::line::Line;
use super::stream::Stream;
use crate::base::clock::NANOS_PER_SECOND;
use crate::ingress::socket::CLOSE_WITHIN_NANOS;
use crate::verify::secret::GUESS_DELAY;

/// A lingering close ends when nothing came for 2 s, after 10 s, or after 16 MiB, whichever is first.
const LINGER_QUIET_NANOS: u64 = 2 * NANOS_PER_SECOND;
const LINGER_NANOS: u64 = 10 * NANOS_PER_SECOND;
const LINGER_BYTES: usize = 16 * 1024 * 1024;

impl Connection {
    /// Ends the connection after what is ready was sent. Lingering, it goes on reading for a while: closing a
    /// socket that has unread bytes resets the connection, and the peer may never see the answer.
    pub(super) async fn close(&mut self, linger: bool) {
        if !self.flush().await {
            return;
        }
        let unread = self.active.as_ref().is_some_and(|active| !active.buffer.is_empty());
        if !linger && !unread && !self.stream.has_pending() {
            return;
        }
        if let Some(active) = self.active.take() {
            self.core.give_active(active);
        }
        self.stream.shutdown_write();
        let ends = self.now() + LINGER_NANOS;
        let mut dropped = 0;
        while dropped < LINGER_BYTES {
            self.set_deadline(ends.min(self.now() + LINGER_QUIET_NANOS));
            if !matches!(self.watch.until_expired(pin!(self.stream.readable())).await, Ok(Ok(())))
                || self.now() >= ends
            {
                return;
            }
            match self.stream.discard() {
                Ok(0) => return,
                Ok(bytes) => dropped += bytes,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
        }
    }

    /// The same for an access token that is wrong: it waits, so that many cannot be tried.
    pub(super) async fn close_later(&mut self) {
        monoio::time::sleep(GUESS_DELAY).await;
        self.close(true).await;
    }
}

/// After the end of a WebSocket: the peer gets to see the Close before its socket is gone.
pub(super) async fn see_off(core: &Core, stream: &Stream, line: &Line) {
    stream.shutdown_write();
    core.set_deadline(line.key(), &line.watch, core.now().nanos + CLOSE_WITHIN_NANOS);
    loop {
        if !matches!(line.watch.until_expired(pin!(stream.readable())).await, Ok(Ok(()))) {
            return;
        }
        match stream.discard() {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

//! TLS between a connection and its socket: what [`Stream`](super::stream::Stream) does, done with records.
//!
//! `config` makes a configuration from PEM files, `session` is the protocol without a socket, this file brings a session
//! and a socket together. A session is established before a connection is served on it (see `arrival`).
//!
//! Reads go through the ring as those of a plain connection do. Writes are made at once (`try_send`), and wait for
//! readiness where the socket is full: what was encrypted must leave in its order and whole, and an operation on the ring
//! that is given up may have sent a part of it.

mod config;
mod session;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use monoio::io::CancelHandle;
use rustls::ServerConfig;

use self::session::Session;
use super::core::Core;
use super::fd;
use super::plain::Plain;
use crate::base::clock::NANOS_PER_SECOND;

pub(super) use self::config::Certified;
pub use self::config::{TlsError, check};

/// A record must be whole 30 s after its first byte: as long as a body may take without progress (section 4), since
/// what is in it is none before.
const RECORD_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// Receives in a row that may bring no plaintext before others get a turn.
const RECEIVES_MAX: usize = 4;

/// A TLS session on its socket.
pub(super) struct Tls {
    socket: Plain,
    core: Rc<Core>,
    session: RefCell<Session>,
    /// When the record began that is not whole yet.
    record_began: Cell<Option<u64>>,
}

/// Why a handshake did not come to its end.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// A rule of TLS was broken, or nothing in common was found.
    Tls(rustls::Error),
    /// The peer went away.
    Gone,
}

impl Tls {
    /// A session whose handshake is still to come.
    ///
    /// # Errors
    /// If the configuration cannot serve at all.
    pub(super) fn new(
        core: Rc<Core>,
        socket: Plain,
        config: Arc<ServerConfig>,
    ) -> Result<Tls, rustls::Error> {
        let session = RefCell::new(Session::new(config)?);
        Ok(Tls { socket, core, session, record_began: Cell::new(None) })
    }

    /// Takes the handshake as far as it goes without waiting. True: it is through; else the socket must become readable,
    /// or writable where something is held back.
    ///
    /// # Errors
    /// [`HandshakeError`]; the peer has been sent an alert.
    pub(super) fn shake_hands(&self) -> Result<bool, HandshakeError> {
        let gone = |_| HandshakeError::Gone;
        loop {
            let taken = self.session.borrow_mut().shake_hands();
            let flushed = self.flush();
            taken.map_err(HandshakeError::Tls)?;
            flushed.map_err(gone)?;
            if self.holds_back() {
                return Ok(false);
            }
            if self.session.borrow().is_established() {
                return Ok(true);
            }
            match self.receive() {
                Ok(0) => return Err(HandshakeError::Gone),
                Ok(_) => {}
                Err(error) if is_not_now(&error) => return Ok(false),
                Err(_) => return Err(HandshakeError::Gone),
            }
        }
    }

    /// Whether the client came back with a ticket.
    pub(super) fn is_resumed(&self) -> bool {
        self.session.borrow().is_resumed()
    }

    pub(super) fn socket(&self) -> &Plain {
        &self.socket
    }

    /// Whether something can be received without the socket becoming readable.
    pub(super) fn has_more(&self) -> bool {
        self.session.borrow().has_more()
    }

    /// Whether the socket has yet to take something that was sent.
    pub(super) fn holds_back(&self) -> bool {
        !self.session.borrow().outgoing().is_empty()
    }

    /// As [`Stream::read`](super::stream::Stream::read).
    pub(super) async fn read(
        &mut self,
        mut storage: Vec<u8>,
        handle: CancelHandle,
    ) -> (io::Result<usize>, Vec<u8>) {
        loop {
            match self.decrypt(&mut storage) {
                Ok(None) => {}
                Ok(Some(bytes)) => return (Ok(bytes), storage),
                Err(error) => return (Err(error), storage),
            }
            let Some(incoming) = self.session.get_mut().take_incoming() else {
                return (Err(ErrorKind::InvalidData.into()), storage);
            };
            let (result, incoming) = self.socket.read(incoming, handle.clone()).await;
            self.session.get_mut().restore_incoming(incoming, *result.as_ref().unwrap_or(&0));
            if !matches!(result, Ok(1..)) {
                return (result, storage);
            }
        }
    }

    /// As [`Stream::writable`](super::stream::Stream::writable).
    pub(super) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`Stream::write_all`](super::stream::Stream::write_all).
    pub(super) async fn write_all(&self, bytes: Vec<u8>, part: impl Fn()) -> (io::Result<()>, Vec<u8>) {
        let mut sent = 0;
        while sent < bytes.len() || self.holds_back() {
            match self.try_send(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => match self.writable().await {
                    Ok(()) => part(),
                    Err(error) => return (Err(error), bytes),
                },
                Err(error) => return (Err(error), bytes),
            }
        }
        (Ok(()), bytes)
    }

    /// As [`Stream::try_receive`](super::stream::Stream::try_receive).
    pub(super) fn try_receive(&self, storage: &mut Vec<u8>) -> io::Result<usize> {
        for _ in 0..RECEIVES_MAX {
            if let Some(bytes) = self.decrypt(storage)? {
                return Ok(bytes);
            }
            if self.receive()? == 0 {
                return Ok(0);
            }
        }
        match self.decrypt(storage)? {
            Some(bytes) => Ok(bytes),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// As [`Stream::try_send`](super::stream::Stream::try_send). What is taken may be held back; it leaves with the next
    /// call that finds room, an empty one too.
    pub(super) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.holds_back() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let taken = self.session.borrow_mut().seal(bytes).map_err(broken)?;
        self.flush()?;
        Ok(taken)
    }

    /// As [`Stream::discard`](super::stream::Stream::discard): nothing can be received any more.
    pub(super) fn discard(&self) -> io::Result<usize> {
        self.session.borrow_mut().forget_received();
        fd::discard(self)
    }

    /// As [`Stream::has_pending`](super::stream::Stream::has_pending).
    pub(super) fn has_pending(&self) -> bool {
        self.has_more() || fd::pending_bytes(self)
    }

    /// As [`Stream::is_peer_gone`](super::stream::Stream::is_peer_gone).
    pub(super) fn is_peer_gone(&self) -> bool {
        self.session.borrow().is_over() || fd::peer_gone(self)
    }

    /// As [`Stream::shutdown_write`](super::stream::Stream::shutdown_write), within TLS and below it.
    pub(super) fn shutdown_write(&self) {
        self.say_goodbye();
        fd::shutdown_write(self);
    }

    /// Tells the peer that what it has is all there is, so that nobody can cut it short unseen.
    fn say_goodbye(&self) {
        self.session.borrow_mut().say_goodbye();
        // It fits into the socket's buffer, or the peer is behind and has other things to worry about.
        let _ = self.flush();
    }

    /// Decrypts what came. None: nothing is whole.
    fn decrypt(&self, storage: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let (read, is_over, is_mid_record) = {
            let mut session = self.session.borrow_mut();
            (session.read(storage), session.is_over(), session.is_mid_record())
        };
        // What the peer asked of us meanwhile (new keys), or the alert that ends it.
        let flushed = self.flush();
        match read.map_err(broken)? {
            0 if is_over => return Ok(Some(0)),
            0 => flushed?,
            bytes => {
                self.record_began.set(None);
                return Ok(Some(bytes));
            }
        }
        if !is_mid_record {
            self.record_began.set(None);
            return Ok(None);
        }
        let now = self.core.now().nanos;
        let began = self.record_began.get().unwrap_or(now);
        self.record_began.set(Some(began));
        if now - began > RECORD_NANOS { Err(ErrorKind::TimedOut.into()) } else { Ok(None) }
    }

    /// Receives ciphertext that is there. 0: the peer sends nothing more.
    fn receive(&self) -> io::Result<usize> {
        let mut session = self.session.borrow_mut();
        let mut incoming = session.take_incoming().ok_or(ErrorKind::InvalidData)?;
        let received = fd::receive(self, &mut incoming);
        session.restore_incoming(incoming, *received.as_ref().unwrap_or(&0));
        received
    }

    /// Sends what is held back, as far as the socket takes it.
    fn flush(&self) -> io::Result<()> {
        let mut session = self.session.borrow_mut();
        while !session.outgoing().is_empty() {
            match fd::send(self, session.outgoing()) {
                Ok(bytes) => session.sent(bytes),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.say_goodbye();
    }
}

impl AsRawFd for Tls {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// Whether the call is to be made again once the socket is ready.
fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

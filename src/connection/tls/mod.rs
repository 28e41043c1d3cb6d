//! TLS of a connection, bytes to bytes: ciphertext in, plaintext out, and the reverse.
//!
//! `config` makes a configuration from PEM files, `listeners` has those of each listener, `session` is the protocol; this file keeps the time that a record may
//! take.

mod config;
mod expiry;
mod listeners;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::ServerConfig;

use super::timeouts::Span;

pub(crate) use self::config::{CertificateEnd, check};
pub(crate) use self::listeners::CoreTls;
pub(crate) use self::listeners::{ListenerTlsError, ListenersTls};
pub(crate) use self::session::TlsSession;

/// A TLS session of a connection.
pub(crate) struct Tls {
    session: TlsSession,
    /// When the record began that is not complete yet.
    record_began: Option<u64>,
}

/// Why nothing more is received.
#[derive(Debug)]
pub(crate) enum TlsEnd {
    /// The peer broke a rule of TLS; an alert is in the output.
    Failed(rustls::Error),
    /// A record took too long.
    Timeout,
}

impl Tls {
    /// A session whose handshake is still to come.
    ///
    /// # Errors
    /// If the configuration cannot serve at all.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Tls, rustls::Error> {
        Ok(Tls { session: TlsSession::new(config)?, record_began: None })
    }

    /// Continues the handshake with received ciphertext; returns whether it is complete.
    ///
    /// # Errors
    /// The violation of the protocol by the peer; an alert is in the output.
    pub(crate) fn shake_hands(&mut self, ciphertext: &[u8]) -> Result<bool, rustls::Error> {
        self.session.feed(ciphertext)?;
        self.session.shake_hands()?;
        Ok(self.session.is_established())
    }

    /// Whether the client resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.session.is_resumed()
    }

    /// Decrypts received ciphertext and appends the plaintext.
    ///
    /// # Errors
    /// [`TlsEnd`].
    pub(crate) fn decrypt(
        &mut self,
        ciphertext: &[u8],
        plaintext: &mut Vec<u8>,
        now: u64,
        record: Span,
    ) -> Result<(), TlsEnd> {
        self.session.feed(ciphertext).map_err(TlsEnd::Failed)?;
        plaintext.reserve(self.session.unread_bytes());
        let bytes = self.session.read(plaintext).map_err(TlsEnd::Failed)?;
        if bytes > 0 || !self.session.is_mid_record() {
            self.record_began = None;
            return Ok(());
        }
        let began = *self.record_began.get_or_insert(now);
        if now >= record.after(began) { Err(TlsEnd::Timeout) } else { Ok(()) }
    }

    /// Whether the peer said that it sends nothing more.
    pub(crate) fn is_over(&self) -> bool {
        self.session.is_over()
    }

    /// Encrypts `plaintext`.
    ///
    /// # Errors
    /// Where nothing can be sent any more.
    pub(crate) fn encrypt(&mut self, plaintext: &[u8]) -> Result<(), rustls::Error> {
        let mut rest = plaintext;
        while !rest.is_empty() {
            let taken = self.session.seal(rest)?;
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// Says that nothing more is sent, once.
    pub(crate) fn say_goodbye(&mut self) {
        self.session.say_goodbye();
    }

    /// Takes the ciphertext that is to be sent.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.session.take_outgoing()
    }
}

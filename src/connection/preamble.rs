//! Bytes before the first request, where it is so configured: a PROXY header (on the ingress), then a TLS handshake.

use std::net::IpAddr;

use rustls::{AlertDescription, Error};

use super::answer;
use super::context::CoreState;
use super::listener::ListenerKind;
use super::timeouts::Timeout;
use super::tls::Tls;
use crate::base::log::bounded_log;
use crate::ingress::respond::Answer;
use crate::metrics::{Event, Outcome};
use crate::proxy::{self, Parsed, ProxyError};

/// Answer to plain HTTP on a TLS port.
const PLAIN_HTTP: Answer<'static> =
    Answer::Refused(Outcome::Malformed, 400, "This port speaks TLS: use https:// (or wss://)");
/// Refusal of a connection without a handshake: a fatal alert, `internal_error`, as a record that every client reads
/// (RFC 8446, 6).
pub(crate) const ALERT_INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// The part of the preamble that is being received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PreambleStage {
    /// A PROXY header.
    Proxy,
    /// The first byte of a TLS handshake, or of something else.
    FirstByte,
    /// The rest of the handshake.
    Handshake,
}

/// A connection that is not served yet.
pub(crate) struct Preamble {
    listener: ListenerKind,
    stage: PreambleStage,
    /// Bytes of the PROXY header.
    header: Vec<u8>,
    pub(crate) deadline: u64,
}

/// Result of received bytes.
#[must_use]
pub(crate) enum Progress {
    /// More bytes are needed.
    Continue,
    /// The connection is served from here on.
    Complete,
    /// The connection ends, after the peer had so long to read why; counted as this.
    Refused(Event, Option<Timeout>),
}

impl Preamble {
    /// The preamble of a new connection of a listener; `None` if it has none.
    ///
    /// # Errors
    /// If the connection is refused: what it counts as.
    pub(crate) fn begin(
        core: &mut CoreState,
        listener: ListenerKind,
        peer: Option<IpAddr>,
    ) -> Result<Option<Preamble>, Event> {
        let now = core.now().nanos;
        if listener == ListenerKind::Ingress && core.rules.proxy_protocol {
            // Who may write to a Unix socket is for the file system to say.
            if peer.is_some() && !core.is_trusted(peer) {
                warn(peer, "it is not in ingress.trusted_proxies");
                return Err(Event::ProxyUntrusted);
            }
            let deadline = core.rules.timeouts.head.after(now);
            return Ok(Some(Preamble {
                listener,
                stage: PreambleStage::Proxy,
                header: Vec::new(),
                deadline,
            }));
        }
        let deadline = core.rules.timeouts.tls_handshake.after(now);
        let preamble = Preamble { listener, stage: PreambleStage::FirstByte, header: Vec::new(), deadline };
        Ok(core.tls.of(listener).is_some().then_some(preamble))
    }

    /// Takes received bytes. What follows the preamble is left in `received`, decrypted.
    pub(crate) fn on_received(
        &mut self,
        core: &mut CoreState,
        peer: &mut Option<IpAddr>,
        tls: &mut Option<Box<Tls>>,
        received: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Progress {
        if self.stage == PreambleStage::Proxy {
            self.header.extend_from_slice(received);
            match proxy::parse(&self.header) {
                Ok(Parsed::Partial) => return Progress::Continue,
                Ok(Parsed::Complete(length, header)) => {
                    let followed = self.header.len() - length;
                    received.drain(..received.len() - followed);
                    self.header = Vec::new();
                    if let Some(ends) = header.addresses {
                        *peer = Some(ends.source.ip().to_canonical());
                    }
                    core.metrics.event(Event::ProxyAccepted);
                }
                Err(error) => {
                    warn(*peer, &error.to_string());
                    let is_missing = error == ProxyError::Missing;
                    let event = if is_missing { Event::ProxyMissing } else { Event::ProxyMalformed };
                    return Progress::Refused(event, None);
                }
            }
            if core.tls.of(self.listener).is_none() {
                return Progress::Complete;
            }
            self.stage = PreambleStage::FirstByte;
            self.deadline = core.rules.timeouts.tls_handshake.after(core.now().nanos);
            if received.is_empty() {
                return Progress::Continue;
            }
        }
        if self.stage == PreambleStage::FirstByte {
            match received.first() {
                // A method, or the empty line that may precede one (RFC 9112, 2.2).
                Some(first) if first.is_ascii_alphabetic() || matches!(first, b'\r' | b'\n') => {
                    answer::refuse_into(core, out, &PLAIN_HTTP, b"");
                    return Progress::Refused(Event::TlsPlainHttp, Some(Timeout::PlainHttp));
                }
                // A handshake, or something else: TLS itself says what is wrong with it.
                Some(_) => {}
                None => return Progress::Continue,
            }
            let session = core.tls.of(self.listener).cloned().map(Tls::new);
            match session {
                Some(Ok(session)) => *tls = Some(Box::new(session)),
                Some(Err(error)) => {
                    bounded_log!(error, %error, "no TLS session can be made");
                    return Progress::Refused(Event::TlsFailed, None);
                }
                None => return Progress::Complete,
            }
            self.stage = PreambleStage::Handshake;
        }
        let Some(session) = tls else { return Progress::Complete };
        match session.shake_hands(received) {
            Ok(false) => Progress::Continue,
            Ok(true) => {
                let is_resumed = session.is_resumed();
                core.metrics.event(if is_resumed { Event::TlsResumed } else { Event::TlsFull });
                received.clear();
                Progress::Complete
            }
            Err(error) => {
                tracing::debug!(?error, "a TLS handshake failed");
                Progress::Refused(reason(&error), Some(Timeout::Alert))
            }
        }
    }

    /// The event that counts the connection's end: its peer was too slow, was gone before, or the core stops.
    pub(crate) fn end_event(&self, core: &CoreState, is_overdue: bool) -> Event {
        match (self.stage, is_overdue && !core.is_draining) {
            (PreambleStage::Proxy, true) => Event::ProxyTimeout,
            (PreambleStage::Proxy, false) => Event::ProxyGone,
            (_, true) => Event::TlsTimeout,
            (_, false) => Event::TlsGone,
        }
    }

    /// Whether nothing of the present stage has been received.
    pub(crate) fn is_idle(&self) -> bool {
        self.header.is_empty() && self.stage != PreambleStage::Handshake
    }
}

/// Logs why a connection was refused.
fn warn(peer: Option<IpAddr>, reason: &str) {
    let peer = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
    bounded_log!(warn, %peer, reason, "ingress.proxy_protocol is set and a connection was refused");
}

/// The event that a failed handshake counts as.
fn reason(error: &Error) -> Event {
    match error {
        Error::NoApplicationProtocol => Event::TlsProtocol,
        Error::PeerIncompatible(_) => Event::TlsIncompatible,
        Error::AlertReceived(AlertDescription::CloseNotify) => Event::TlsGone,
        Error::AlertReceived(_) => Event::TlsRejected,
        _ => Event::TlsFailed,
    }
}

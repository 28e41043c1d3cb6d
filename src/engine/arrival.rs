//! What comes before the first request on the ingress, where it is so set: a PROXY header, then a TLS handshake. Both
//! happen in a task of their own, which ends when the connection is served, so that a connection of neither kind costs
//! nothing for it.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::{AlertDescription, Error, ServerConfig};

use super::answer;
use super::connection::{self, Door};
use super::core::Core;
use super::fd;
use super::stream::Stream;
use super::tls::HandshakeError;
use super::watch::Watch;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::log::bounded_log;
use crate::base::slots::Key;
use crate::ingress::respond::Answer;
use crate::metrics::{Event, Outcome};
use crate::proxy::{self, Parsed, ProxyError};

/// A PROXY header must be whole 10 s after the connection: as long as a head may take (section 4). Proxies send it at
/// once, in one segment.
const PROXY_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A TLS handshake must be through 10 s after the connection, or after the PROXY header: as long as a head may take.
const HANDSHAKE_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// How long a peer whose handshake failed gets to read the alert.
const ALERT_NANOS: u64 = NANOS_PER_SECOND;
/// How long plain HTTP gets to read that this is TLS: as long as a lingering close lasts while nothing comes.
const ANSWER_NANOS: u64 = 2 * NANOS_PER_SECOND;

/// The first byte of every TLS connection: a record of a handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// What plain HTTP is told on a port that speaks TLS.
const PLAIN_HTTP: Answer<'static> =
    Answer::Refused(Outcome::Malformed, 400, "This port speaks TLS: use https:// (or wss://)");
/// What there is no handshake for: a fatal alert, `internal_error`, as a record that everybody reads (RFC 8446, 6).
pub(super) const ALERT_INTERNAL_ERROR: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// A connection that is not served yet. However it ends, it is off the core's list; unless it was handed on, it is
/// uncounted too.
struct Arriving {
    core: Rc<Core>,
    key: Key,
    watch: Rc<Watch>,
    handed_on: bool,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.core.remove_connection(self.key);
        if !self.handed_on {
            self.core.shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Takes a connection of the ingress to where it can be served. The caller has counted it in
/// `core.shared.connections`.
pub(super) async fn arrive(core: Rc<Core>, stream: Stream, peer: Option<IpAddr>) {
    let (key, watch) = core.add_connection(core.now().nanos + PROXY_NANOS);
    let mut arriving = Arriving { core: Rc::clone(&core), key, watch, handed_on: false };
    match arriving.arrive(stream, peer).await {
        Ok((stream, peer)) => {
            arriving.handed_on = true;
            connection::serve(&core, stream, Door::Ingress, peer, None);
        }
        Err(event) => core.metrics.event(event),
    }
}

impl Arriving {
    async fn arrive(
        &self,
        stream: Stream,
        mut peer: Option<IpAddr>,
    ) -> Result<(Stream, Option<IpAddr>), Event> {
        if self.core.rules.proxy_protocol {
            peer = self.proxied(&stream, peer).await?;
            self.core.metrics.event(Event::ProxyAccepted);
        }
        let config = self.core.tls.borrow().clone();
        let stream = match config {
            None => stream,
            Some(config) => self.shake_hands(stream, config).await?,
        };
        Ok((stream, peer))
    }

    fn set_deadline(&self, nanos: u64) {
        self.core.set_deadline(self.key, &self.watch, self.core.now().nanos + nanos);
    }

    /// Waits until the peer has sent something, or is gone. False: the patience is over, or the engine drains and
    /// nothing has come at all.
    async fn readable(&self, stream: &Stream, nothing_yet: bool) -> bool {
        // While nothing has come, the engine may stop without waiting for this one.
        self.watch.set_idle(nothing_yet);
        let ready = !nothing_yet || !self.core.draining.get() || stream.has_pending();
        let ready = ready && matches!(self.watch.until_expired(pin!(stream.readable())).await, Ok(Ok(())));
        self.watch.set_idle(false);
        ready
    }

    /// What a wait in vain counts as: the peer took too long, or was gone before, or we are going.
    fn late(&self, timeout: Event, gone: Event) -> Event {
        if self.watch.is_expired() && !self.core.draining.get() { timeout } else { gone }
    }

    /// Reads the header that a trusted proxy begins with, and not a byte of what follows it. Whose connection it is comes
    /// back: the one whom the header names, or the proxy itself.
    async fn proxied(&self, stream: &Stream, peer: Option<IpAddr>) -> Result<Option<IpAddr>, Event> {
        // Who may write to a Unix socket is for the file system to say.
        let is_trusted =
            peer.is_none_or(|ip| self.core.rules.trusted_proxies.iter().any(|net| net.contains(ip)));
        if !is_trusted {
            self.warn(peer, "it is not in ingress.trusted_proxies");
            return Err(Event::ProxyUntrusted);
        }
        let mut header = Vec::new();
        loop {
            if !self.readable(stream, header.is_empty()).await {
                return Err(self.late(Event::ProxyTimeout, Event::ProxyGone));
            }
            match take_header(stream, &mut header) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    return Ok(found.addresses.map_or(peer, |ends| Some(ends.source.ip().to_canonical())));
                }
                Err(HeaderError::Gone) => return Err(Event::ProxyGone),
                Err(HeaderError::Broken(error)) => {
                    self.warn(peer, &error.to_string());
                    let missing = error == ProxyError::Missing;
                    return Err(if missing { Event::ProxyMissing } else { Event::ProxyMalformed });
                }
            }
        }
    }

    /// Says why a connection was refused.
    fn warn(&self, peer: Option<IpAddr>, reason: &str) {
        let peer = peer.map_or_else(|| "a Unix socket".to_owned(), |peer| peer.to_string());
        bounded_log!(warn, %peer, reason, "ingress.proxy_protocol is set and a connection was refused");
    }

    async fn shake_hands(&self, stream: Stream, config: Arc<ServerConfig>) -> Result<Stream, Event> {
        self.set_deadline(HANDSHAKE_NANOS);
        if !self.readable(&stream, true).await {
            return Err(self.late(Event::TlsTimeout, Event::TlsGone));
        }
        let mut first = [0];
        match fd::peek(&stream, &mut first) {
            Ok(1) if first[0] == TLS_HANDSHAKE => {}
            // A method, or the empty line that may stand before one (RFC 9112, 2.2).
            Ok(1) if first[0].is_ascii_alphabetic() || matches!(first[0], b'\r' | b'\n') => {
                self.answer_plain_http(&stream).await;
                return Err(Event::TlsPlainHttp);
            }
            // Something else: TLS itself says what is wrong with it.
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(Event::TlsGone),
        }
        let stream = stream.with_tls(&self.core, config).map_err(|error| {
            bounded_log!(error, %error, "no TLS session can be made");
            Event::TlsFailed
        })?;
        let Stream::Tls(tls) = &stream else { return Err(Event::TlsFailed) };
        loop {
            match tls.shake_hands() {
                Ok(true) => break,
                Ok(false) => {
                    let ready = if tls.holds_back() {
                        self.watch.until_expired(pin!(stream.writable())).await
                    } else {
                        self.watch.until_expired(pin!(stream.readable())).await
                    };
                    if !matches!(ready, Ok(Ok(()))) {
                        return Err(self.late(Event::TlsTimeout, Event::TlsGone));
                    }
                }
                Err(error) => {
                    tracing::debug!(?error, "a TLS handshake failed");
                    self.linger(&stream, ALERT_NANOS).await;
                    return Err(reason(&error));
                }
            }
        }
        let resumed = tls.is_resumed();
        self.core.metrics.event(if resumed { Event::TlsResumed } else { Event::TlsFull });
        Ok(stream)
    }

    /// Tells plain HTTP, in plain HTTP, what is spoken here.
    async fn answer_plain_http(&self, stream: &Stream) {
        let mut out = Vec::new();
        answer::refuse_into(&self.core, &mut out, &PLAIN_HTTP, self.core.now(), b"");
        // It either fits into the fresh socket's buffer or the peer is gone.
        let _ = stream.try_send(&out);
        self.linger(stream, ANSWER_NANOS).await;
    }

    /// Lets the peer read what it was told: closing a socket that has unread bytes would take that back.
    async fn linger(&self, stream: &Stream, nanos: u64) {
        stream.shutdown_write();
        self.set_deadline(nanos);
        while self.readable(stream, false).await {
            match stream.discard() {
                Ok(1..) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

/// What a failed handshake counts as.
fn reason(error: &HandshakeError) -> Event {
    match error {
        HandshakeError::Gone => Event::TlsGone,
        HandshakeError::Tls(Error::NoApplicationProtocol) => Event::TlsProtocol,
        HandshakeError::Tls(Error::PeerIncompatible(_)) => Event::TlsIncompatible,
        HandshakeError::Tls(Error::AlertReceived(AlertDescription::CloseNotify)) => Event::TlsGone,
        HandshakeError::Tls(Error::AlertReceived(_)) => Event::TlsRejected,
        HandshakeError::Tls(_) => Event::TlsFailed,
    }
}

enum HeaderError {
    Gone,
    Broken(ProxyError),
}

/// Takes what is there of the header off the socket. None: it is not whole.
fn take_header(stream: &Stream, header: &mut Vec<u8>) -> Result<Option<proxy::Header>, HeaderError> {
    let taken = header.len();
    header.resize(proxy::V2_BYTES_MAX, 0);
    let seen = fd::peek(stream, &mut header[taken..]);
    let seen = match seen {
        Ok(0) => return Err(HeaderError::Gone),
        Ok(seen) => seen,
        Err(error) if is_not_now(&error) => {
            header.truncate(taken);
            return Ok(None);
        }
        Err(_) => return Err(HeaderError::Gone),
    };
    header.truncate(taken + seen);
    // What is part of the header is taken, what follows it stays where it is.
    let (whole, found) = match proxy::parse(header).map_err(HeaderError::Broken)? {
        Parsed::Partial => (header.len(), None),
        Parsed::Complete(length, found) => (length, Some(found)),
    };
    header.truncate(whole);
    match fd::take(stream, &mut header[taken..]) {
        Ok(bytes) if bytes == whole - taken => Ok(found),
        Ok(_) | Err(_) => Err(HeaderError::Gone),
    }
}

fn is_not_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

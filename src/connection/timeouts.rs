//! The timeouts of a connection: those that an operator can set ([`Timeouts`]), and those that are fixed ([`Timeout`]).

use crate::base::clock::NANOS_PER_SECOND;
use crate::ingress::socket::CLOSE_WITHIN_NANOS;
use crate::settings;
use crate::verify::secret::GUESS_DELAY;

/// No deadline: something else ends the wait.
pub(crate) const NEVER: u64 = u64::MAX;

/// A lingering close of HTTP ends after 10 s,
const LINGER_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// or after 2 s without bytes.
const LINGER_QUIET_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// A connection without traffic for a second gives its buffers back.
const QUIET_NANOS: u64 = NANOS_PER_SECOND;
/// A peer whose TLS handshake failed, or that is over the limit of connections, has a second to read why.
const REFUSED_NANOS: u64 = NANOS_PER_SECOND;
/// A draining core waits so long for requests that the kernel has received already.
const DRAIN_IDLE_NANOS: u64 = NANOS_PER_SECOND / 20;

/// A length of time that an operator can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(u64);

impl Span {
    /// A span of whole seconds.
    pub(crate) const fn seconds(seconds: u32) -> Span {
        Span(seconds as u64 * NANOS_PER_SECOND)
    }

    /// Nanoseconds.
    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    /// The deadline of a wait that begins at `now`.
    pub(crate) const fn after(self, now: u64) -> u64 {
        now.saturating_add(self.0)
    }
}

/// The timeouts that an operator can set (defaults: [limits and refusals](crate::guide::limits_and_refusals#limits)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// A head must be complete, counted from its first byte; a PROXY header too, which proxies send at once.
    pub(crate) head: Span,
    /// A body must make progress; a TLS record must be complete within it, since nothing of it can be read before.
    pub(crate) body: Span,
    /// A connection on which nothing has been received yet, or not since its last request, is closed.
    pub(crate) idle: Span,
    /// A response must be taken, or make progress.
    pub(crate) write: Span,
    /// A TLS handshake must be complete, counted from the connection or from the PROXY header.
    pub(crate) tls_handshake: Span,
    /// A WebSocket on which nothing is received for so long is pinged; 0: never.
    pub(crate) websocket_ping: Span,
    /// Something must be received within it after a ping.
    pub(crate) websocket_pong: Span,
}

impl From<&settings::TimeoutSettings> for Timeouts {
    fn from(set: &settings::TimeoutSettings) -> Timeouts {
        Timeouts {
            head: Span::seconds(set.head),
            body: Span::seconds(set.body),
            idle: Span::seconds(set.idle),
            write: Span::seconds(set.write),
            tls_handshake: Span::seconds(set.tls_handshake),
            websocket_ping: Span::seconds(set.websocket_ping),
            websocket_pong: Span::seconds(set.websocket_pong),
        }
    }
}

/// A wait of a connection that ends after a fixed time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// A connection without traffic for this long gives its buffers back.
    Quiet,
    /// A lingering close ends when nothing is received for this long,
    LingerQuiet,
    /// or after this long in all.
    Linger,
    /// A peer whose TLS handshake failed may read the alert.
    Alert,
    /// A peer that speaks plain HTTP on a TLS port may read the answer.
    PlainHttp,
    /// A connection over the limit may read the refusal.
    Refused,
    /// A WebSocket's peer must answer a Close, and then close the connection.
    CloseHandshake,
    /// A wrong access token is answered late, so that many cannot be tried.
    Guess,
    /// A draining core waits for requests that the kernel has received already.
    DrainIdle,
}

impl Timeout {
    /// Nanoseconds.
    pub(crate) const fn nanos(self) -> u64 {
        match self {
            Timeout::Quiet => QUIET_NANOS,
            Timeout::LingerQuiet | Timeout::PlainHttp => LINGER_QUIET_NANOS,
            Timeout::Linger => LINGER_NANOS,
            Timeout::Alert | Timeout::Refused => REFUSED_NANOS,
            Timeout::CloseHandshake => CLOSE_WITHIN_NANOS,
            Timeout::Guess => GUESS_DELAY.as_nanos() as u64,
            Timeout::DrainIdle => DRAIN_IDLE_NANOS,
        }
    }

    /// The deadline of a wait that begins at `now`.
    pub(crate) const fn after(self, now: u64) -> u64 {
        now.saturating_add(self.nanos())
    }
}

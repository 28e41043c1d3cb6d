//! The timeouts of a connection: which one applies now, and how long it is. Section 4 of the specification has those of
//! HTTP; those of WebSockets are in `ingress::socket`.

use crate::base::clock::NANOS_PER_SECOND;
use crate::ingress::socket::CLOSE_WITHIN_NANOS;
use crate::verify::secret::GUESS_DELAY;

/// No deadline: something else ends the wait.
pub(crate) const NEVER: u64 = u64::MAX;

/// An idle connection is closed after 75 s (section 4).
const IDLE_NANOS: u64 = 75 * NANOS_PER_SECOND;
/// A head must be complete 10 s after its first byte (section 4).
const HEAD_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A response must be taken within 30 s, or make progress (section 4).
const WRITE_NANOS: u64 = 30 * NANOS_PER_SECOND;
/// A PROXY header must be complete 10 s after the connection: as long as a head may take. Proxies send it at once, in one
/// segment.
const PROXY_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A TLS handshake must be complete 10 s after the connection, or after the PROXY header: as long as a head may take.
const HANDSHAKE_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// A TLS record must be complete 30 s after its first byte: as long as a body may take without progress (section 4), since
/// nothing of it can be read before.
const RECORD_NANOS: u64 = 30 * NANOS_PER_SECOND;
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

/// A wait of a connection that ends by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// A PROXY header must be complete: as long as a head may take. Proxies send it at once, in one segment.
    ProxyHeader,
    /// A TLS handshake must be complete: as long as a head may take.
    TlsHandshake,
    /// A TLS record must be complete: as long as a body may take without progress, since nothing of it can be read before.
    TlsRecord,
    /// A connection on which nothing has been received yet, or not since its last request, is closed.
    Idle,
    /// A connection without traffic for this long gives its buffers back.
    Quiet,
    /// A head must be complete, counted from its first byte.
    Head,
    /// A response must be taken, or make progress.
    Write,
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
            Timeout::ProxyHeader => PROXY_NANOS,
            Timeout::TlsHandshake => HANDSHAKE_NANOS,
            Timeout::TlsRecord => RECORD_NANOS,
            Timeout::Idle => IDLE_NANOS,
            Timeout::Quiet => QUIET_NANOS,
            Timeout::Head => HEAD_NANOS,
            Timeout::Write => WRITE_NANOS,
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

//! The next step of an HTTP connection.

use super::super::upgrade::Upgrade;

/// Bytes of answers that are gathered before they are sent although more requests have been received.
pub(crate) const GATHER_BYTES: usize = 64 * 1024;

/// The next step of the connection.
#[must_use]
pub(crate) enum Next {
    /// More bytes are needed.
    Continue,
    /// Enough is ready to be sent, or the turn is over: there may be more to do with what was received.
    Pause,
    /// A request waits; what follows it waits too.
    Wait,
    /// The connection ends after its output has been sent. Lingering, so that the peer sees a refusal.
    Close { linger: bool },
    /// The connection ends at once, by a reset: the caller must not take what it was sent for a complete response.
    Reset,
    /// It ends after its output, after a pause: a wrong access token may be one of many that are tried.
    CloseDelayed,
    /// It becomes a WebSocket.
    Upgrade(Box<Upgrade>),
}

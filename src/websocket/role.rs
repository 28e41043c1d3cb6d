//! The two ends of a connection.

/// Which end this is: a server's frames go out unmasked, a client's masked (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answered the handshake.
    Server,
    /// Asked for it.
    Client,
}

//! The lingering close: the write side is shut down, and what the peer still sends is read and dropped for a moment.
//! Closing a socket that has unread bytes resets the connection, and the peer may never see the answer, or the Close.

use super::timeouts::{NEVER, Timeout};

/// Bytes that a lingering close of HTTP drops before it ends.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A lingering close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linger {
    total: Timeout,
    /// It ends after so long without bytes.
    quiet: Option<Timeout>,
    bytes_left: usize,
    /// When it ends, once the output has been sent.
    ends: u64,
    quiet_ends: u64,
}

impl Linger {
    /// A close of HTTP.
    pub(crate) const HTTP: Linger = Linger {
        total: Timeout::Linger,
        quiet: Some(Timeout::LingerQuiet),
        bytes_left: LINGER_BYTES_MAX,
        ends: NEVER,
        quiet_ends: NEVER,
    };

    /// A close of a WebSocket.
    pub(crate) const WEBSOCKET: Linger = Linger::for_at_most(Timeout::CloseHandshake);

    /// A refusal of a connection over the limit: the first bytes of its request, unread, would make the kernel take the
    /// answer back; nothing else is waited for.
    pub(crate) const REFUSED: Linger = Linger { bytes_left: 0, ..Linger::for_at_most(Timeout::Refused) };

    /// A close that drops what it receives for so long.
    pub(crate) const fn for_at_most(total: Timeout) -> Linger {
        Linger { total, quiet: None, bytes_left: usize::MAX, ends: NEVER, quiet_ends: NEVER }
    }

    /// The output has been sent: the time begins.
    pub(crate) fn on_output_sent(&mut self, now: u64) {
        if self.ends == NEVER {
            self.ends = self.total.after(now);
            self.on_activity(now);
        }
    }

    /// Takes received bytes; returns whether the close ends with them.
    #[must_use]
    pub(crate) fn on_received(&mut self, bytes: usize, now: u64) -> bool {
        if self.bytes_left <= bytes {
            return true;
        }
        self.bytes_left -= bytes;
        self.on_activity(now);
        false
    }

    /// When it ends.
    pub(crate) fn deadline(&self) -> u64 {
        self.ends.min(self.quiet_ends)
    }

    fn on_activity(&mut self, now: u64) {
        if self.ends != NEVER
            && let Some(quiet) = self.quiet
        {
            self.quiet_ends = quiet.after(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::NANOS_PER_SECOND as SECOND;

    #[test]
    fn a_close_of_http_ends_when_nothing_is_received_or_after_its_time_or_its_bytes() {
        let mut linger = Linger::HTTP;
        assert_eq!(linger.deadline(), NEVER, "the output has not been sent");
        linger.on_output_sent(SECOND);
        assert_eq!(linger.deadline(), 3 * SECOND);
        assert!(!linger.on_received(100, 2 * SECOND));
        assert_eq!(linger.deadline(), 4 * SECOND);
        assert!(!linger.on_received(100, 10 * SECOND));
        assert_eq!(linger.deadline(), 11 * SECOND);
        assert!(linger.on_received(LINGER_BYTES_MAX, 10 * SECOND));
    }

    #[test]
    fn a_refused_connection_is_closed_with_its_first_bytes() {
        let mut linger = Linger::REFUSED;
        linger.on_output_sent(0);
        assert_eq!(linger.deadline(), SECOND);
        assert!(linger.on_received(1, 1));
    }
}

//! The rules of a webhook's or a worker's WebSocket ([websockets](crate::guide::websockets)) that need no socket: the
//! timeouts of each side, and the codes and reasons of the engine's closes.

use crate::base::clock::NANOS_PER_SECOND;
use crate::websocket::Failure;

/// A Close that is not answered is cut after this long.
pub(crate) const CLOSE_WITHIN_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Most bytes that are buffered for a slow reader, besides the message that is being sent.
pub(crate) const BACKLOG_BYTES_MAX: usize = 1024 * 1024;
/// The code of a connection that broke (RFC 6455, 7.4.1); never sent.
pub(crate) const CODE_BROKEN: u16 = 1006;

/// Why the engine closes a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// A message over the webhook's rate.
    OverRate,
    /// More waits for the peer than it takes.
    TooSlow,
    /// A trigger or a message that cannot be taken now.
    Busy,
    /// The process stops.
    Restart,
    /// The webhook is gone.
    Deleted,
    /// The webhook was switched off.
    Disabled,
    /// The webhook's credentials are others now.
    CredentialsChanged,
    /// The worker's flow is gone.
    FlowDeleted,
    /// The peer broke a rule of the protocol or its limit.
    Failed(Failure),
}

impl Closing {
    /// The status code (RFC 6455, 7.4.1).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Closing::OverRate
            | Closing::TooSlow
            | Closing::Deleted
            | Closing::Disabled
            | Closing::CredentialsChanged
            | Closing::FlowDeleted => 1008,
            Closing::Busy => 1013,
            Closing::Restart => 1012,
            Closing::Failed(failure) => failure.code(),
        }
    }

    /// The reason, in words for the peer's developer.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Closing::OverRate => "Over rate limit, request throttled",
            Closing::TooSlow => "Too slow for what is sent",
            Closing::Busy => "Too busy, try again",
            Closing::Restart => "Restarting",
            Closing::Deleted => "Webhook deleted",
            Closing::Disabled => "Webhook disabled",
            Closing::CredentialsChanged => "Webhook credentials changed",
            Closing::FlowDeleted => "Flow deleted",
            Closing::Failed(failure) => failure.reason(),
        }
    }
}

/// The action that a silent peer requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Silence {
    /// Nothing yet: look again at this moment.
    Until(u64),
    /// A Ping, and another look at this moment.
    Ping(u64),
    /// The peer is gone.
    Broken,
}

/// When silence is noticed, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pings {
    /// After this much silence a Ping is sent; 0: never.
    pub after_nanos: u64,
    /// A Ping that nothing follows for this long breaks the connection.
    pub within_nanos: u64,
}

/// Checks a connection that last received something at `heard` and was pinged at `pinged` (0: never).
pub(crate) fn silence(now: u64, heard: u64, pinged: u64, pings: Pings) -> Silence {
    if pings.after_nanos == 0 {
        return Silence::Until(u64::MAX);
    }
    if pinged > heard {
        let ends = pinged.saturating_add(pings.within_nanos);
        return if now < ends { Silence::Until(ends) } else { Silence::Broken };
    }
    let due = heard.saturating_add(pings.after_nanos);
    if now < due { Silence::Until(due) } else { Silence::Ping(now.saturating_add(pings.within_nanos)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOS_PER_SECOND;
    const PINGS: Pings = Pings { after_nanos: 30 * SECOND, within_nanos: 20 * SECOND };

    #[test]
    fn silence_calls_for_a_ping_and_silence_after_it_breaks() {
        let heard = 100 * SECOND;
        assert_eq!(silence(129 * SECOND, heard, 0, PINGS), Silence::Until(130 * SECOND));
        assert_eq!(silence(130 * SECOND, heard, 0, PINGS), Silence::Ping(150 * SECOND));
        assert_eq!(silence(149 * SECOND, heard, 130 * SECOND, PINGS), Silence::Until(150 * SECOND));
        assert_eq!(silence(150 * SECOND, heard, 130 * SECOND, PINGS), Silence::Broken);
    }

    #[test]
    fn anything_received_after_a_ping_begins_the_silence_anew() {
        let (heard, pinged) = (131 * SECOND, 130 * SECOND);
        assert_eq!(silence(160 * SECOND, heard, pinged, PINGS), Silence::Until(161 * SECOND));
        assert_eq!(silence(161 * SECOND, heard, pinged, PINGS), Silence::Ping(181 * SECOND));
    }

    #[test]
    fn without_pings_silence_breaks_nothing() {
        let none = Pings { after_nanos: 0, within_nanos: 20 * SECOND };
        assert_eq!(silence(1_000_000 * SECOND, SECOND, 0, none), Silence::Until(u64::MAX));
    }
}

//! The counters of one core.

use super::counter::add;
use super::journal::{JournalMetrics, JournalNumbers};
use super::latency::{Latency, LatencyCounts};
use super::webhooks::{CLASSES, WebhookCounts};
use crate::base::id::Id;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Lists the values of an enum once: their doc, their name in the metrics, and how many there are.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $value,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[$name] = &[$($name::$value,)*];

            /// The name in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$value => $text,)* }
            }
        }
    };
}

named! {
    /// How a request ended, in the order of the steps ([HTTP requests](crate::guide::http_requests#steps)).
    Outcome {
        /// Served: the webhook's answer or a reply.
        Ok = "ok",
        /// The head or the framing breaks RFC 9112: 400, 501, 505.
        Malformed = "malformed",
        /// The head or its target is too large: 431, 414.
        HeadTooLarge = "head_too_large",
        /// A head or a body that did not come in time: 408.
        SlowRequest = "slow_request",
        /// No such webhook or path: 404.
        NotFound = "not_found",
        /// A method that webhooks do not take: 405.
        Method = "method",
        /// A CORS preflight: 204.
        Preflight = "preflight",
        /// The caller's address is in none of the webhook's networks: 403.
        Address = "address",
        /// The webhook is switched off: 200 without a trigger.
        Disabled = "disabled",
        /// Over the rate: 429.
        ThrottledRate = "throttled_rate",
        /// Basic authentication or `auth` failed: 401.
        Unauthorized = "unauthorized",
        /// An upgrade is missing or not wanted here: 426, 400.
        Upgrade = "upgrade",
        /// The body is over the payload limit: 413.
        TooLarge = "too_large",
        /// A content coding that is unknown or broken: 415, 400.
        Coding = "coding",
        /// Verification or a signature failed: 400, 401, 403, 404.
        Verification = "verification",
        /// A verification request that was answered without a trigger: 200, 204.
        Challenge = "challenge",
        /// A call whose key was taken: answered without a trigger.
        Duplicate = "duplicate",
        /// Over the concurrency: 429.
        ThrottledConcurrency = "throttled_concurrency",
        /// No reply in time: 504.
        Timeout = "timeout",
        /// A reply that cannot be sent: 502.
        BadReply = "bad_reply",
        /// The process is full: 503.
        Overloaded = "overloaded",
        /// A health check.
        Health = "health",
        /// The client went away before its response.
        ClientGone = "client_gone",
        /// A fault of the engine's own: 500.
        Failed = "failed",
    }
}

named! {
    /// Other things that are counted.
    Event {
        /// A trigger was handed to a flow.
        Trigger = "trigger",
        /// A reply was the one that was waited for.
        ReplyAccepted = "reply_accepted",
        /// A reply came late, twice, or for nothing known.
        ReplyRefused = "reply_refused",
        /// A request or its concurrency slot waited in vain.
        ReplyTimeout = "reply_timeout",
        /// A reply node whose templates rendered nothing that can be sent.
        ReplyNodeError = "reply_node_error",
        /// A reply node whose `isWebsocketMessage` does not fit the caller that its `replyId` belongs to.
        ReplyNodeWrongCaller = "reply_node_wrong_caller",
        /// A reply node whose reply could not be sent: too large, or its receiver too slow.
        ReplyNodeRefused = "reply_node_refused",
        /// A condition that took too much work to be decided.
        ConditionError = "condition_error",
        /// A delivering node was done with a trigger.
        DeliveryDone = "delivery_done",
        /// A delivery failed and is tried again.
        DeliveryRetried = "delivery_retried",
        /// A delivery was given up: a dead letter.
        DeliveryDead = "delivery_dead",
        /// A target answered an attempt with 2xx.
        AttemptOk = "attempt_ok",
        /// A target answered an attempt with another status.
        AttemptStatus = "attempt_status",
        /// A target did not answer an attempt in time.
        AttemptTimeout = "attempt_timeout",
        /// No connection to a target could be made.
        AttemptUnreachable = "attempt_unreachable",
        /// The address of a target is not allowed.
        AttemptDenied = "attempt_denied",
        /// The answer of a target is broken or too large.
        AttemptBroken = "attempt_broken",
        /// No request to a target could be made of a payload.
        AttemptUnsendable = "attempt_unsendable",
        /// A delivery failed as often as it is tried.
        DeadAttempts = "dead_attempts",
        /// A delivery failed until its retention ended.
        DeadRetention = "dead_retention",
        /// A target answered 410.
        DeadGone = "dead_gone",
        /// Requests went in a circle.
        DeadLoop = "dead_loop",
        /// No request could be made of a payload.
        DeadRequest = "dead_request",
        /// A message came from a WebSocket client.
        MessageReceived = "message_received",
        /// A message was sent to a WebSocket client.
        MessageSent = "message_sent",
        /// A WebSocket was closed for a message over the rate.
        MessageThrottled = "message_throttled",
        /// A connection could not be accepted.
        AcceptError = "accept_error",
        /// A TLS handshake came to its end.
        TlsFull = "tls_full",
        /// A TLS handshake came to its end with a ticket of an earlier one.
        TlsResumed = "tls_resumed",
        /// Plain HTTP on the port that speaks TLS.
        TlsPlainHttp = "tls_plain_http",
        /// The client offered application protocols, and HTTP/1.1 is not among them.
        TlsProtocol = "tls_protocol",
        /// Client and server have no version, cipher or signature in common.
        TlsIncompatible = "tls_incompatible",
        /// The client did not like what it was shown, mostly the certificate, and said so.
        TlsRejected = "tls_rejected",
        /// The client broke the rules of TLS.
        TlsFailed = "tls_failed",
        /// A TLS handshake that took too long.
        TlsTimeout = "tls_timeout",
        /// The client went away before its TLS handshake was through.
        TlsGone = "tls_gone",
        /// A PROXY header of a trusted proxy.
        ProxyAccepted = "proxy_accepted",
        /// A peer that is no trusted proxy, where PROXY headers are asked for.
        ProxyUntrusted = "proxy_untrusted",
        /// A trusted proxy that sent something else than a PROXY header.
        ProxyMissing = "proxy_missing",
        /// A PROXY header that breaks the rules.
        ProxyMalformed = "proxy_malformed",
        /// A PROXY header that did not come in time.
        ProxyTimeout = "proxy_timeout",
        /// A proxy that went away before its header was whole.
        ProxyGone = "proxy_gone",
        /// A trigger was refused because the journal did not take it, or could not be written.
        JournalRefused = "journal_refused",
        /// A message for another core was dropped, since that core's mailbox was full.
        MailboxFull = "mailbox_full",
        /// A task of a connection panicked and was contained.
        Panic = "panic",
    }
}

named! {
    /// The present kind of a connection.
    ConnectionKind {
        /// HTTP on the ingress.
        Http = "http",
        /// A webhook's WebSocket.
        WebSocket = "websocket",
        /// An attached worker.
        Worker = "worker",
    }
}

/// One core's counters. Only that core's thread writes them: a second writer would lose counts. They begin a pair of
/// cache lines (processors fetch lines in pairs) and fill whole ones.
#[derive(Debug)]
#[repr(align(128))]
pub struct CoreMetrics {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    classes: [AtomicU64; CLASSES],
    events: [AtomicU64; Event::ALL.len()],
    opened: [AtomicU64; ConnectionKind::ALL.len()],
    closed: [AtomicU64; ConnectionKind::ALL.len()],
    waits_begun: AtomicU64,
    waits_ended: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    latency: Latency,
    turns: Latency,
    turn_nanos_max: AtomicU64,
    pub journal: JournalMetrics,
    /// `None`: no webhook is counted by itself.
    webhooks: Option<Box<WebhookCounts>>,
}

/// One core's numbers, or the sum of several cores'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    pub(super) classes: [u64; CLASSES],
    pub(super) events: [u64; Event::ALL.len()],
    pub(super) opened: [u64; ConnectionKind::ALL.len()],
    pub(super) closed: [u64; ConnectionKind::ALL.len()],
    waits_begun: u64,
    waits_ended: u64,
    /// Bytes that came from clients.
    pub bytes_received: u64,
    /// Bytes that went to clients.
    pub bytes_sent: u64,
    /// From a request's last byte to its response.
    pub latency: LatencyCounts,
    /// How long turns held their core.
    pub turns: LatencyCounts,
    /// The longest turn since the start, in nanoseconds.
    pub turn_nanos_max: u64,
    pub journal: JournalNumbers,
}

impl Default for CoreMetrics {
    fn default() -> CoreMetrics {
        CoreMetrics {
            outcomes: zeros(),
            classes: zeros(),
            events: zeros(),
            opened: zeros(),
            closed: zeros(),
            waits_begun: AtomicU64::new(0),
            waits_ended: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            latency: Latency::default(),
            turns: Latency::default(),
            turn_nanos_max: AtomicU64::new(0),
            journal: JournalMetrics::default(),
            webhooks: None,
        }
    }
}

impl Default for Numbers {
    fn default() -> Numbers {
        CoreMetrics::default().numbers()
    }
}

/// Index of the class of a status.
fn class_of(status: u16) -> usize {
    usize::from(status / 100).clamp(1, CLASSES) - 1
}

/// Counters in any number; the standard library has a default for 32 at the most.
fn zeros<const N: usize>() -> [AtomicU64; N] {
    std::array::from_fn(|_| AtomicU64::new(0))
}

/// All numbers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Each core's, by its number.
    pub cores: Vec<Numbers>,
    /// Their sum.
    pub total: Numbers,
}

impl CoreMetrics {
    /// Zeros; with counts of single webhooks where they are wanted.
    pub(super) fn new(has_webhooks: bool) -> CoreMetrics {
        let webhooks = has_webhooks.then(|| Box::new(WebhookCounts::default()));
        CoreMetrics { webhooks, ..CoreMetrics::default() }
    }

    pub(super) fn webhooks(&self) -> Option<&WebhookCounts> {
        self.webhooks.as_deref()
    }

    /// A response of a webhook left, with this status.
    #[inline]
    pub fn webhook(&self, webhook: Id, status: u16) {
        if let Some(webhooks) = &self.webhooks {
            webhooks.count(webhook, class_of(status));
        }
    }

    /// A request ended.
    pub fn count(&self, outcome: Outcome) {
        add(&self.outcomes[outcome as usize], 1);
    }

    /// A response with this status left.
    pub fn status(&self, status: u16) {
        add(&self.classes[class_of(status)], 1);
    }

    /// A response left this long after its request was whole.
    pub fn latency(&self, nanos: u64) {
        self.latency.count(nanos, 1);
    }

    /// Several responses left this long after their requests were whole.
    pub fn latencies(&self, nanos: u64, times: u64) {
        self.latency.count(nanos, times);
    }

    /// A turn held the core for this long.
    pub fn turn(&self, nanos: u64) {
        self.turns.count(nanos, 1);
        if nanos > self.turn_nanos_max.load(Relaxed) {
            self.turn_nanos_max.store(nanos, Relaxed);
        }
    }

    /// Something else happened.
    pub fn event(&self, event: Event) {
        add(&self.events[event as usize], 1);
    }

    /// Something else happened several times.
    pub fn events(&self, event: Event, times: u64) {
        add(&self.events[event as usize], times);
    }

    /// A connection came, or became one of this kind.
    pub fn connection_opened(&self, kind: ConnectionKind) {
        add(&self.opened[kind as usize], 1);
    }

    /// A connection of this kind ended, or became another's.
    pub fn connection_closed(&self, kind: ConnectionKind) {
        add(&self.closed[kind as usize], 1);
    }

    /// A request begins to wait for a reply.
    pub fn wait_begun(&self) {
        add(&self.waits_begun, 1);
    }

    /// A request has its reply, or waits no longer.
    pub fn wait_ended(&self) {
        add(&self.waits_ended, 1);
    }

    /// Bytes came from a client.
    pub fn received(&self, bytes: usize) {
        add(&self.bytes_received, bytes as u64);
    }

    /// Bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        add(&self.bytes_sent, bytes as u64);
    }

    /// The numbers of now.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers {
            outcomes: read(&self.outcomes),
            classes: read(&self.classes),
            events: read(&self.events),
            // What is closed was opened before: read in this order, no gauge is below zero by much or for long.
            closed: read(&self.closed),
            opened: read(&self.opened),
            waits_ended: self.waits_ended.load(Relaxed),
            waits_begun: self.waits_begun.load(Relaxed),
            bytes_received: self.bytes_received.load(Relaxed),
            bytes_sent: self.bytes_sent.load(Relaxed),
            latency: self.latency.counts(),
            turns: self.turns.counts(),
            turn_nanos_max: self.turn_nanos_max.load(Relaxed),
            journal: self.journal.numbers(),
        }
    }
}

impl Numbers {
    /// Requests that ended so.
    #[must_use]
    pub fn requests(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Responses of a class of status codes: 2 for 2xx.
    #[must_use]
    pub fn responses(&self, class: usize) -> u64 {
        class.checked_sub(1).and_then(|index| self.classes.get(index)).copied().unwrap_or(0)
    }

    /// How often that happened.
    #[must_use]
    pub fn event(&self, event: Event) -> u64 {
        self.events[event as usize]
    }

    /// Connections of this kind that are open.
    #[must_use]
    pub fn open_connections(&self, kind: ConnectionKind) -> u64 {
        self.opened[kind as usize].saturating_sub(self.closed[kind as usize])
    }

    /// Requests that wait for a reply.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waits_begun.saturating_sub(self.waits_ended)
    }

    /// Calls that were over the rate: requests, WebSocket connects and WebSocket messages.
    #[must_use]
    pub fn throttled_by_rate(&self) -> u64 {
        self.requests(Outcome::ThrottledRate) + self.event(Event::MessageThrottled)
    }

    /// Adds another core's numbers.
    pub fn add(&mut self, other: &Numbers) {
        self.merge(other, u64::wrapping_add);
        self.latency.add(&other.latency);
        self.turns.add(&other.turns);
        self.turn_nanos_max = self.turn_nanos_max.max(other.turn_nanos_max);
        self.journal.add(&other.journal);
    }

    /// The counts since `earlier`. Gauges (open connections, waiting requests, the longest turn) mean nothing in it.
    #[must_use]
    pub fn since(&self, earlier: &Numbers) -> Numbers {
        let mut difference = self.clone();
        difference.merge(earlier, u64::saturating_sub);
        difference.latency = self.latency.since(&earlier.latency);
        difference.turns = self.turns.since(&earlier.turns);
        difference
    }

    fn merge(&mut self, other: &Numbers, operation: fn(u64, u64) -> u64) {
        let each = |mine: &mut [u64], others: &[u64]| {
            for (mine, other) in mine.iter_mut().zip(others) {
                *mine = operation(*mine, *other);
            }
        };
        each(&mut self.outcomes, &other.outcomes);
        each(&mut self.classes, &other.classes);
        each(&mut self.events, &other.events);
        each(&mut self.opened, &other.opened);
        each(&mut self.closed, &other.closed);
        self.waits_begun = operation(self.waits_begun, other.waits_begun);
        self.waits_ended = operation(self.waits_ended, other.waits_ended);
        self.bytes_received = operation(self.bytes_received, other.bytes_received);
        self.bytes_sent = operation(self.bytes_sent, other.bytes_sent);
    }
}

fn read<const N: usize>(counters: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|index| counters[index].load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read() {
        let core = CoreMetrics::default();
        core.count(Outcome::Ok);
        core.count(Outcome::ThrottledRate);
        core.event(Event::MessageThrottled);
        core.events(Event::Trigger, 3);
        for status in [200, 204, 429, 599, 0, 999] {
            core.status(status);
        }
        core.latency(1_000_000);
        [3_000, 9_000, 2_000].into_iter().for_each(|nanos| core.turn(nanos));
        core.received(10);
        core.sent(20);
        let numbers = core.numbers();
        assert_eq!((numbers.requests(Outcome::Ok), numbers.throttled_by_rate()), (1, 2));
        assert_eq!(numbers.event(Event::Trigger), 3);
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|class| numbers.responses(class)), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!((numbers.bytes_received, numbers.bytes_sent, numbers.latency.count()), (10, 20, 1));
        assert_eq!((numbers.turns.count(), numbers.turn_nanos_max), (3, 9_000));
    }

    #[test]
    fn gauges_are_what_came_less_what_went_and_never_below_nothing() {
        let core = CoreMetrics::default();
        core.connection_opened(ConnectionKind::Http);
        core.connection_opened(ConnectionKind::Http);
        core.connection_closed(ConnectionKind::Http);
        core.connection_closed(ConnectionKind::WebSocket);
        core.wait_begun();
        let numbers = core.numbers();
        assert_eq!(numbers.open_connections(ConnectionKind::Http), 1);
        assert_eq!(numbers.open_connections(ConnectionKind::WebSocket), 0);
        assert_eq!(numbers.waiting(), 1);
        core.wait_ended();
        assert_eq!(core.numbers().waiting(), 0);
    }

    #[test]
    fn cores_add_up_and_the_past_is_taken_off() {
        let (one, two) = (CoreMetrics::default(), CoreMetrics::default());
        one.count(Outcome::Ok);
        two.count(Outcome::Ok);
        two.latency(5);
        one.turn(8);
        two.turn(5);
        let before = two.numbers();
        two.count(Outcome::Ok);
        let mut sum = one.numbers();
        sum.add(&two.numbers());
        assert_eq!((sum.requests(Outcome::Ok), sum.latency.count()), (3, 1));
        assert_eq!((sum.turns.count(), sum.turn_nanos_max), (2, 8));
        let since = two.numbers().since(&before);
        assert_eq!((since.requests(Outcome::Ok), since.latency.count()), (1, 0));
    }

    #[test]
    fn no_two_cores_share_a_cache_line() {
        assert_eq!((align_of::<CoreMetrics>(), size_of::<CoreMetrics>() % 128), (128, 0));
    }
}

//! Who knows the true time and everything that was done, and holds it against the rules.

use std::collections::{HashMap, HashSet, VecDeque};

use tidegate::base::clock::NANOS_PER_SECOND;
use tidegate::model::Webhook;

use super::model::WEBHOOKS;

/// How late a token may come back (section 11 of the specification).
const LATE_NANOS_MAX: u64 = 10_000_000;

/// What became of a request, as its caller sees it or would have seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Sent; nothing was decided.
    Sent,
    /// Refused: no trigger, no slot.
    Refused,
    /// Taken and not answered yet.
    Waits,
    Answered,
    /// The caller went away.
    Gone,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    pub webhook: usize,
    pub connection: usize,
    /// It names its webhook, has its credentials and fits: only a limit may refuse it.
    pub is_good: bool,
    pub fate: Fate,
    /// Replies that were accepted for it.
    pub accepted: u32,
    /// Triggers that were offered to workers for it.
    pub offered: u32,
}

#[derive(Default)]
pub struct Observer {
    pub calls: Vec<Call>,
    /// Of each webhook: when calls passed its rate, its tokens and window, until when passes may be forgotten.
    passed: [VecDeque<u64>; WEBHOOKS],
    limits: [(usize, u64); WEBHOOKS],
    forgotten_until: [u64; WEBHOOKS],
    /// Calls that hold a place, with the limit that held when they took it.
    holding: [HashSet<usize>; WEBHOOKS],
    /// Requests that a client has sent on a connection and got no response for, in order.
    pub outstanding: HashMap<usize, VecDeque<usize>>,
}

impl Observer {
    /// The webhook's limits are these from now on.
    pub fn limits(&mut self, index: usize, webhook: &Webhook, time: u64) {
        let (_, window_before) = self.limits[index];
        self.forgotten_until[index] = self.forgotten_until[index].max(time.saturating_sub(window_before));
        let tokens = webhook.limits.requests_per_window.expect("it has limits");
        let window = webhook.limits.window_seconds.expect("it has limits");
        self.limits[index] = (tokens as usize, u64::from(window) * NANOS_PER_SECOND);
    }

    fn passed_since(&self, index: usize, time: u64) -> usize {
        self.passed[index].len() - self.passed[index].partition_point(|passed| *passed <= time)
    }

    /// A call passed the rate: it was one of those that a window lets in.
    pub fn passed(&mut self, index: usize, time: u64) {
        self.passed[index].push_back(time);
        let (tokens, window) = self.limits[index];
        let in_window = self.passed_since(index, (time - window).max(self.forgotten_until[index]));
        assert!(in_window <= tokens, "{in_window} of {tokens} passed in a window");
    }

    /// A call was over the rate: there was no token for it.
    pub fn over_rate(&self, index: usize, time: u64) {
        let (tokens, window) = self.limits[index];
        let in_window = self.passed_since(index, time - window - LATE_NANOS_MAX);
        assert!(in_window >= tokens, "refused after {in_window} of {tokens}");
    }

    /// A call took a place; `limit` is what counted then.
    pub fn took_place(&mut self, call: usize, limit: u32) {
        let holding = &mut self.holding[self.calls[call].webhook];
        assert!(holding.len() < limit as usize, "{} hold places of {limit}", holding.len() + 1);
        assert!(holding.insert(call));
    }

    pub fn found_no_place(&self, index: usize, limit: u32) {
        assert!(
            self.holding[index].len() >= limit as usize,
            "refused with {} of {limit}",
            self.holding[index].len()
        );
    }

    pub fn gave_place_back(&mut self, call: usize) {
        assert!(self.holding[self.calls[call].webhook].remove(&call), "call {call} held no place");
    }

    pub fn holding(&self, index: usize) -> usize {
        self.holding[index].len()
    }

    /// A trigger of the call is on its way to workers.
    pub fn offered(&mut self, call: usize) {
        let call = &mut self.calls[call];
        assert!(!matches!(call.fate, Fate::Refused | Fate::Sent), "a trigger after a refusal: {call:?}");
        assert!(call.is_good, "a trigger of what must be refused: {call:?}");
        call.offered += 1;
        assert!(call.offered == 1, "two triggers of one node: {call:?}");
    }

    /// A reply for the call was accepted: the first one, while it waited.
    pub fn accepted(&mut self, call: usize) {
        let call = &mut self.calls[call];
        call.accepted += 1;
        assert_eq!((call.accepted, call.fate), (1, Fate::Waits), "the first reply wins: {call:?}");
    }

    /// A client got a response. `named` is the call that its body speaks of, where a flow made it.
    pub fn responded(&mut self, connection: usize, status: u16, named: Option<usize>) {
        let first = self.outstanding.get_mut(&connection).and_then(VecDeque::pop_front);
        let Some(number) = first else { panic!("connection {connection} got a response to nothing") };
        let call = &self.calls[number];
        if let Some(named) = named {
            assert_eq!(named, number, "a reply went to the wrong caller");
            assert!(call.accepted == 1 && call.fate == Fate::Answered, "{call:?}");
        }
        let is_refusal = matches!(status, 401 | 404 | 413 | 429 | 503);
        assert_eq!(is_refusal, call.fate == Fate::Refused, "{status} for {call:?}");
        assert_ne!(call.fate, Fate::Waits, "{status} while it waits");
        assert!(
            if call.is_good { !is_refusal || status == 429 } else { is_refusal },
            "{status} for {call:?}"
        );
    }
}

//! The queue of one node: what of it is ready, delayed, in lanes; whether it may send now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::rules::TargetRules;
use crate::base::id::Id;
use crate::base::slots::Key;
use crate::base::wheel::TICK_NANOS;

/// Whether a queue may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendGate {
    Open,
    /// Not now: its own rules say so.
    Closed,
    /// Not while so many attempts of all queues are in flight.
    Crowded,
}

/// The queue of one node.
pub(super) struct Queue {
    pub(super) flow: Id,
    pub(super) node: Arc<str>,
    pub(super) rules: TargetRules,
    /// No other queue has it.
    pub(super) number: u64,
    /// Deliveries that can be sent, by arrival.
    pub(super) ready: BTreeMap<u64, Key>,
    /// Deliveries that are tried again, by the time of the next attempt, then by arrival.
    pub(super) delayed: BTreeMap<(u64, u64), Key>,
    /// All that is not in flight, by the end of its use, then by arrival.
    pub(super) expiring: BTreeMap<(u64, u64), Key>,
    /// Of each order key all that is open, by arrival.
    lanes: HashMap<Box<[u8]>, BTreeMap<u64, Key>, ahash::RandomState>,
    /// All that is open.
    pub(super) open: usize,
    /// Deliveries in flight.
    pub(super) in_flight: HashSet<Key, ahash::RandomState>,
    /// The target asked to be left alone until then.
    pub(super) paused_until: u64,
    /// The rate allows no start before.
    next_start: u64,
    /// When it is listed to have something to do.
    pub(super) deadline: Option<u64>,
    /// Whether it waits for a turn.
    pub(super) is_blocked: bool,
}

impl Queue {
    pub(super) fn new(flow: Id, node: Arc<str>, rules: TargetRules, number: u64) -> Queue {
        Queue {
            flow,
            node,
            rules,
            number,
            ready: BTreeMap::new(),
            delayed: BTreeMap::new(),
            expiring: BTreeMap::new(),
            lanes: HashMap::default(),
            open: 0,
            in_flight: HashSet::default(),
            paused_until: 0,
            next_start: 0,
            deadline: None,
            is_blocked: false,
        }
    }

    /// Whether it may send now, where `free` further attempts may be in flight.
    pub(super) fn gate(&self, now: u64, free: usize) -> SendGate {
        let in_flight = self.in_flight.len();
        if in_flight >= self.rules.max_in_flight as usize || self.opens_at() > now {
            SendGate::Closed
        } else if in_flight >= free {
            SendGate::Crowded
        } else {
            SendGate::Open
        }
    }

    /// Notes a start.
    pub(super) fn start(&mut self, key: Key, now: u64) {
        self.in_flight.insert(key);
        if self.rules.interval_nanos > 0 {
            // Timers fire up to a tick late: without that much to catch up, the rate would never be reached.
            let begun = self.next_start.max(now.saturating_sub(TICK_NANOS));
            self.next_start = begun.saturating_add(self.rules.interval_nanos);
        }
    }

    /// Adds a trigger to the lane of its key; returns whether it is the first.
    pub(super) fn join_lane(&mut self, lane: Box<[u8]>, arrival: u64, key: Key) -> bool {
        let lane = self.lanes.entry(lane).or_default();
        lane.insert(arrival, key);
        lane.len() == 1
    }

    /// Takes a trigger out of its lane; returns the one that is the first of it instead.
    pub(super) fn leave_lane(&mut self, lane_key: &[u8], arrival: u64) -> Option<Key> {
        let lane = self.lanes.get_mut(lane_key)?;
        let was_first = lane.first_key_value().is_some_and(|(first, _)| *first == arrival);
        lane.remove(&arrival);
        if lane.is_empty() {
            self.lanes.remove(lane_key);
            return None;
        }
        lane.first_key_value().filter(|_| was_first).map(|(_, key)| *key)
    }

    /// Takes those whose pause is over.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            due.push(entry.remove());
        }
        due
    }

    /// All that is open.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.expiring.values().chain(&self.in_flight).copied()
    }

    /// One that waits and is of no use any more.
    pub(super) fn expired(&self, now: u64) -> Option<Key> {
        self.expiring.first_key_value().filter(|((ends, _), _)| *ends <= now).map(|(_, key)| *key)
    }

    /// When it has something to do without being told of anything. A queue without triggers has so while the next one
    /// may not be sent at once: it must not be forgotten before.
    pub(super) fn next_deadline(&self, now: u64) -> Option<u64> {
        let opens = Some(self.opens_at()).filter(|opens| *opens > now);
        let opens = opens.filter(|_| !self.ready.is_empty() || self.open == 0);
        let due = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let ends = self.expiring.first_key_value().map(|((ends, _), _)| *ends);
        [opens, due, ends].into_iter().flatten().min()
    }

    fn opens_at(&self) -> u64 {
        self.next_start.max(self.paused_until)
    }
}

//! The machine of the membership: records, answers and the time in; writes to the bucket out.

use std::collections::BTreeMap;

use super::rank::first_of;
use super::record::{Incarnation, NodeRecord, NodeState};
use crate::base::clock::{NANOS_PER_SECOND, Now};

/// How often a node renews its record.
pub const HEARTBEAT_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// How long a lease runs from when the renewal was sent. An election of JetStream takes 4 to 9 s, in which nobody's
/// renewal is acked: it must not end the leases of all.
pub const LEASE_NANOS: u64 = 15 * NANOS_PER_SECOND;
/// Silence after which another node writes the tombstone: a lease, and as much as clocks may drift apart meanwhile.
pub const SILENCE_NANOS: u64 = 17 * NANOS_PER_SECOND;
/// How soon a write is tried again whose fate is not known.
const RETRY_NANOS: u64 = NANOS_PER_SECOND / 2;
/// How long the record of an adopted incarnation is kept, for those who look.
const KEPT_NANOS: u64 = 600 * NANOS_PER_SECOND;
/// A write without an answer for so long is taken for lost.
const ANSWER_NANOS: u64 = 6 * NANOS_PER_SECOND;

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a record if the last revision of its key is `expected` (0: there is none).
    Put { inc: Incarnation, expected: u64, record: NodeRecord },
    /// Removes the record of an incarnation that was adopted long ago, if its last revision is `expected`.
    Remove { inc: Incarnation, expected: u64 },
    /// Adopts the open triggers of an incarnation that has ended, from the journal of that name; ends with
    /// [`Members::adopted`].
    Adopt { inc: Incarnation, journal: Incarnation },
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipAnswer {
    /// It is there, with this revision.
    Stored(u64),
    /// The last revision was another one.
    Conflict,
    /// Nobody knows.
    Unknown,
}

/// The own record.
struct Own {
    inc: Incarnation,
    record: NodeRecord,
    /// The last revision that is known of it; 0: none.
    revision: u64,
    /// Until when the lease runs.
    lease_until: u64,
    /// When the renewal was sent whose answer is awaited.
    sent: Option<u64>,
    next: u64,
    /// The tombstone that another node has written, and its revision.
    tombstone: Option<(NodeRecord, u64)>,
}

/// Another incarnation.
struct Member {
    record: NodeRecord,
    revision: u64,
    /// When this revision was first seen.
    seen: u64,
    /// Until when no write is tried: one is under way, or has just failed.
    not_before: u64,
    is_adopting: bool,
}

/// The members of a cluster, as one node sees them.
pub struct Members {
    own: Own,
    others: BTreeMap<Incarnation, Member>,
}

impl Members {
    /// A node that has not joined yet.
    #[must_use]
    pub fn new(inc: Incarnation, record: NodeRecord) -> Members {
        let own = Own { inc, record, revision: 0, lease_until: 0, sent: None, next: 0, tombstone: None };
        Members { own, others: BTreeMap::new() }
    }

    /// The own incarnation.
    #[must_use]
    pub fn inc(&self) -> Incarnation {
        self.own.inc
    }

    /// Until when the lease runs.
    #[must_use]
    pub fn lease_until(&self) -> u64 {
        self.own.lease_until
    }

    /// Whether the node may act as a member.
    #[must_use]
    pub fn has_lease(&self, now: Now) -> bool {
        now.nanos < self.own.lease_until && self.own.tombstone.is_none()
    }

    /// Whether another node has written the tombstone of this one: it has to begin again as another incarnation.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.own.tombstone.is_some()
    }

    /// Begins again as another incarnation, after a tombstone.
    pub fn rejoin(&mut self, inc: Incarnation, now: Now) {
        let Some((tombstone, revision)) = self.own.tombstone.take() else { return };
        // The journal goes on under its name.
        let journal = Some(self.own.record.journal.unwrap_or(self.own.inc));
        let record =
            NodeRecord { adopted_by: None, journal, state: NodeState::Serving, ..self.own.record.clone() };
        let old = std::mem::replace(&mut self.own, Members::new(inc, record).own);
        let (seen, not_before) = (now.nanos, now.nanos);
        let member = Member { record: tombstone, revision, seen, not_before, is_adopting: false };
        self.others.insert(old.inc, member);
    }

    /// Sets what the node is; the next renewal tells it.
    pub fn set_state(&mut self, state: NodeState, now: Now) {
        self.own.record.state = state;
        self.own.next = now.nanos;
    }

    /// Whether the node's own tombstone is written.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.own.record.state == NodeState::Left && self.own.sent.is_none() && self.own.next == u64::MAX
    }

    /// The records of all incarnations, the own one first.
    pub fn all(&self) -> impl Iterator<Item = (Incarnation, &NodeRecord)> {
        let own = std::iter::once((self.own.inc, &self.own.record));
        own.chain(self.others.iter().map(|(inc, member)| (*inc, &member.record)))
    }

    /// The incarnations that are alive as far as is known, this one among them.
    pub fn alive(&self) -> impl Iterator<Item = Incarnation> {
        self.all().filter(|(_, record)| record.state.is_alive()).map(|(inc, _)| inc)
    }

    /// Whether an incarnation is known to be alive.
    #[must_use]
    pub fn is_alive(&self, inc: Incarnation) -> bool {
        self.alive().any(|alive| alive == inc)
    }

    /// Takes a record that the watch has brought.
    pub fn on_record(&mut self, inc: Incarnation, revision: u64, record: NodeRecord, now: Now) {
        if inc == self.own.inc {
            if !record.state.is_alive() && self.own.record.state != NodeState::Left {
                self.own.tombstone = Some((record, revision));
            } else if revision > self.own.revision {
                // The ack of a renewal was lost. Its lease does not count: nobody knows when it was sent.
                self.own.revision = revision;
            }
            return;
        }
        match self.others.get_mut(&inc) {
            Some(member) if member.revision >= revision => {}
            Some(member) => {
                (member.record, member.revision, member.seen) = (record, revision, now.nanos);
            }
            None => {
                let (seen, not_before) = (now.nanos, now.nanos);
                let member = Member { record, revision, seen, not_before, is_adopting: false };
                self.others.insert(inc, member);
            }
        }
    }

    /// The watch has brought the end of a record.
    pub fn on_removed(&mut self, inc: Incarnation) {
        self.others.remove(&inc);
    }

    /// Returns what is to be done now. Each write is answered by [`Self::on_answer`].
    pub fn poll(&mut self, now: Now) -> Vec<Operation> {
        let mut operations = Vec::new();
        operations.extend(self.renew(now));
        if !self.has_lease(now) {
            return operations;
        }
        let alive: Vec<Incarnation> =
            self.all().filter(|(_, record)| record.state == NodeState::Serving).map(|(inc, _)| inc).collect();
        for (inc, member) in &mut self.others {
            if now.nanos < member.not_before {
                continue;
            }
            let silence = now.nanos.saturating_sub(member.seen);
            // Every node buries the silent; those that have ended have one node that adopts them.
            let is_first = || first_of(inc.raw(), alive.iter().copied()) == Some(self.own.inc);
            let put = |record| Operation::Put { inc: *inc, expected: member.revision, record };
            if member.record.state.is_alive() {
                if silence >= SILENCE_NANOS {
                    operations.push(put(NodeRecord { state: NodeState::Dead, ..member.record.clone() }));
                    member.not_before = now.nanos + ANSWER_NANOS;
                }
            } else if member.record.adopted_by.is_none() {
                if !member.is_adopting && is_first() {
                    member.is_adopting = true;
                    let journal = member.record.journal.unwrap_or(*inc);
                    operations.push(Operation::Adopt { inc: *inc, journal });
                }
            } else if silence >= KEPT_NANOS && is_first() {
                operations.push(Operation::Remove { inc: *inc, expected: member.revision });
                member.not_before = now.nanos + ANSWER_NANOS;
            }
        }
        operations
    }

    fn renew(&mut self, now: Now) -> Option<Operation> {
        let own = &mut self.own;
        let is_lost = own.sent.is_some_and(|sent| now.nanos >= sent + ANSWER_NANOS);
        if own.tombstone.is_some() || now.nanos < own.next || (own.sent.is_some() && !is_lost) {
            return None;
        }
        own.sent = Some(now.nanos);
        own.next = now.nanos + HEARTBEAT_NANOS;
        own.record.beat += 1;
        Some(Operation::Put { inc: own.inc, expected: own.revision, record: own.record.clone() })
    }

    /// Takes the answer to a write of the record of an incarnation, named by the number of its renewal.
    pub fn on_answer(&mut self, inc: Incarnation, beat: u64, answer: MembershipAnswer, now: Now) {
        if inc != self.own.inc {
            let Some(member) = self.others.get_mut(&inc) else { return };
            // What is there is told by the watch. Until it is, the record is as good as just seen: one that was renewed
            // behind the back of a late watch has to be silent for the whole time again.
            member.not_before = now.nanos + RETRY_NANOS;
            if answer == MembershipAnswer::Conflict {
                member.seen = now.nanos;
            }
            return;
        }
        let own = &mut self.own;
        if beat != own.record.beat {
            // The answer to an earlier renewal, which was taken for lost: it says nothing of when the lease began.
            if let MembershipAnswer::Stored(revision) = answer {
                own.revision = own.revision.max(revision);
            }
            return;
        }
        let Some(sent) = own.sent.take() else { return };
        match answer {
            MembershipAnswer::Stored(revision) => {
                own.revision = own.revision.max(revision);
                if own.record.state == NodeState::Left {
                    (own.lease_until, own.next) = (0, u64::MAX);
                } else {
                    own.lease_until = own.lease_until.max(sent + LEASE_NANOS);
                }
            }
            MembershipAnswer::Conflict | MembershipAnswer::Unknown => {
                own.next = own.next.min(now.nanos + RETRY_NANOS)
            }
        }
    }

    /// The adoption of an incarnation has ended; returns the write that says so.
    pub fn adopted(&mut self, inc: Incarnation, is_done: bool, now: Now) -> Option<Operation> {
        let own = self.own.inc;
        let member = self.others.get_mut(&inc)?;
        member.is_adopting = false;
        member.not_before = now.nanos + RETRY_NANOS;
        if !is_done {
            return None;
        }
        member.not_before = now.nanos + ANSWER_NANOS;
        let record = NodeRecord { adopted_by: Some(own), ..member.record.clone() };
        Some(Operation::Put { inc, expected: member.revision, record })
    }
}

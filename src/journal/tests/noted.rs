//! The expected state of notes in a simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::{Note, SUBJECT_BYTES, Sequence};
use super::disk::Random;

/// The expected state of a note.
#[derive(Clone, Debug)]
struct NoteFate {
    note: Note,
    sequence: Sequence,
    /// The core that keeps it in this run.
    keeper: usize,
    is_promised: bool,
    /// Its owner does not need it any more.
    is_forgotten: bool,
    /// It may stand where a failed write has destroyed sectors, and has not been written again.
    is_at_risk: bool,
}

/// All notes of a simulation.
#[derive(Default)]
pub(super) struct Noted {
    fates: BTreeMap<u64, NoteFate>,
    /// Their callers were refused: they may be on the disk until they are revoked.
    refused: BTreeSet<u64>,
    next: u64,
    /// Notes that were found at starts although they had to be kept.
    pub(super) recovered: usize,
}

fn number(note: &Note) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&note.subject[..8]);
    u64::from_le_bytes(bytes)
}

impl Noted {
    /// A note that lasts for some seconds.
    pub(super) fn make(&mut self, unix_millis: u64, random: &mut Random) -> Note {
        self.next += 1;
        let mut subject = [0; SUBJECT_BYTES];
        subject[..8].copy_from_slice(&self.next.to_le_bytes());
        Note { subject, unix_millis, seconds: 1 + random.below(60) as u32 }
    }

    pub(super) fn on_appended(&mut self, note: Note, sequence: Sequence, keeper: usize) {
        let (is_promised, is_forgotten, is_at_risk) = (false, false, false);
        let fate = NoteFate { note, sequence, keeper, is_promised, is_forgotten, is_at_risk };
        self.fates.insert(number(&note), fate);
    }

    pub(super) fn on_failed(&mut self, failed: &Range<Sequence>) {
        let is_failed = |fate: &NoteFate| !fate.is_promised && failed.contains(&fate.sequence);
        self.refused.extend(self.fates.iter().filter(|(_, fate)| is_failed(fate)).map(|(number, _)| *number));
        self.fates.retain(|_, fate| !is_failed(fate));
    }

    /// A write of a core has destroyed blocks, or ended well, after which nothing is on its way forward.
    pub(super) fn on_written(&mut self, core: usize, durable: Sequence, destroys: bool, is_settled: bool) {
        for fate in self.fates.values_mut().filter(|fate| fate.keeper == core) {
            fate.is_promised |= fate.sequence.core() == durable.core() && fate.sequence <= durable;
            fate.is_at_risk = destroys || fate.is_at_risk && !is_settled;
        }
    }

    /// Its owner forgets a note.
    pub(super) fn forget(&mut self, random: &mut Random) {
        let place = random.below(self.fates.len().max(1));
        if let Some(fate) = self.fates.values_mut().nth(place) {
            fate.is_forgotten = true;
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.fates.values_mut().for_each(|fate| fate.is_forgotten = true);
    }

    pub(super) fn is_needed(&self, note: &Note) -> bool {
        self.fates.get(&number(note)).is_some_and(|fate| !fate.is_forgotten)
    }

    /// Compares with what a start finds: each note with the core that keeps it.
    pub(super) fn on_start(&mut self, found: &[(usize, Note)], unix_millis: u64) {
        for (core, note) in found {
            let Some(fate) = self.fates.get_mut(&number(note)) else {
                assert!(number(note) <= self.next, "{note:?} was never made");
                continue;
            };
            assert_eq!(*note, fate.note);
            (fate.keeper, fate.is_promised, fate.is_at_risk) = (*core, true, false);
        }
        let there: BTreeSet<u64> = found.iter().map(|(_, note)| number(note)).collect();
        for (number, fate) in &self.fates {
            let is_over = fate.note.is_over(unix_millis);
            if fate.is_promised && !fate.is_forgotten && !fate.is_at_risk && !is_over {
                assert!(there.contains(number), "note {number} is lost: {fate:?}");
                self.recovered += 1;
            }
        }
        self.fates.retain(|number, _| there.contains(number));
    }
}

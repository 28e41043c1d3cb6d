//! The rings of the webhooks, in the order in which they were called or looked at last.

use std::collections::{HashMap, VecDeque};

use super::stored::Record;
use crate::base::id::Id;

/// No ring.
const NONE: u32 = u32::MAX;
/// Memory of a ring beside its records.
pub(super) const RING_BYTES: usize = 192;

/// The records of one webhook, by their time.
pub(super) struct RecordRing {
    pub(super) webhook: Id,
    pub(super) records: VecDeque<Record>,
    /// Calls since the start that were not recorded.
    pub(super) skipped: u64,
    /// The one that was used next later, and next earlier.
    newer: u32,
    older: u32,
}

/// All rings.
pub(super) struct Rings {
    places: HashMap<Id, u32, ahash::RandomState>,
    rings: Vec<RecordRing>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl Default for Rings {
    fn default() -> Rings {
        Rings { places: HashMap::default(), rings: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE }
    }
}

impl Rings {
    /// The ring of a webhook.
    pub(super) fn get(&self, webhook: Id) -> Option<&RecordRing> {
        self.places.get(&webhook).and_then(|place| self.rings.get(*place as usize))
    }

    /// The ring of a webhook, to change it; it is used by that if it `is_used`.
    pub(super) fn get_mut(&mut self, webhook: Id, is_used: bool) -> Option<&mut RecordRing> {
        let place = *self.places.get(&webhook)?;
        if is_used {
            self.unlink(place);
            self.link(place);
        }
        self.rings.get_mut(place as usize)
    }

    /// The ring of a webhook, made if there is none; says whether it was made.
    pub(super) fn get_or_make(&mut self, webhook: Id) -> (&mut RecordRing, bool) {
        let known = self.places.get(&webhook).copied();
        let place = match known {
            Some(place) => {
                self.unlink(place);
                place
            }
            None => {
                let ring =
                    RecordRing { webhook, records: VecDeque::new(), skipped: 0, newer: NONE, older: NONE };
                let place = match self.free.pop() {
                    Some(place) => {
                        self.rings[place as usize] = ring;
                        place
                    }
                    None => {
                        self.rings.push(ring);
                        (self.rings.len() - 1) as u32
                    }
                };
                self.places.insert(webhook, place);
                place
            }
        };
        self.link(place);
        (&mut self.rings[place as usize], known.is_none())
    }

    /// The webhook that was used longest ago.
    pub(super) fn oldest(&self) -> Option<Id> {
        self.rings.get(self.oldest as usize).map(|ring| ring.webhook)
    }

    /// Removes a ring.
    pub(super) fn remove(&mut self, webhook: Id) -> Option<RecordRing> {
        let place = self.places.remove(&webhook)?;
        self.unlink(place);
        self.free.push(place);
        let empty = RecordRing {
            webhook: Id::default(),
            records: VecDeque::new(),
            skipped: 0,
            newer: NONE,
            older: NONE,
        };
        Some(std::mem::replace(&mut self.rings[place as usize], empty))
    }

    /// Number of places, free ones among them.
    pub(super) fn places(&self) -> usize {
        self.rings.len()
    }

    /// The ring at a place, and its webhook; `None` if the place is free.
    pub(super) fn at_place(&mut self, place: usize) -> Option<(Id, &mut RecordRing)> {
        let ring = self.rings.get_mut(place).filter(|ring| !ring.records.is_empty())?;
        Some((ring.webhook, ring))
    }

    /// Sets what was skipped to zero.
    pub(super) fn forget_skipped(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.skipped = 0);
    }

    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        let ring = &mut self.rings[place as usize];
        (ring.newer, ring.older) = (NONE, before);
        match self.rings.get_mut(before as usize) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
    }

    fn unlink(&mut self, place: u32) {
        let RecordRing { newer, older, .. } = self.rings[place as usize];
        match self.rings.get_mut(newer as usize) {
            Some(ring) => ring.older = older,
            None => self.newest = older,
        }
        match self.rings.get_mut(older as usize) {
            Some(ring) => ring.newer = newer,
            None => self.oldest = newer,
        }
    }
}

//! A slab whose keys carry a generation, so that a key outlives its value harmlessly.
//!
//! Connections, pending replies and the like live in one; what refers to them from elsewhere (a timer, a mailbox
//! message, a sealed reply id) holds a [`Key`], which finds nothing once the value has been removed, even where
//! another value has taken the place.

use std::ops::Range;

/// Values in a row of places that are used again; insert, look-up and removal are O(1).
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<SlotPlace<T>>,
    /// First of the free places, [`NONE`] for none.
    free: u32,
    len: u32,
}

/// Where a value is, and which of the values that have been there.
///
/// A generation comes back after 2³² values in the same place; a key that is kept so long is a fault of its keeper.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// Number of the place, from 0.
    pub index: u32,
    /// How many values had left that place when this one came.
    pub generation: u32,
}

#[derive(Debug)]
struct SlotPlace<T> {
    generation: u32,
    content: SlotContent<T>,
}

#[derive(Debug)]
enum SlotContent<T> {
    Full(T),
    Free { next: u32 },
}

/// No place. Also the bound on places: 2³² − 1 of them would not fit in memory.
const NONE: u32 = u32::MAX;

impl<T> Slots<T> {
    /// No values, no memory.
    #[must_use]
    pub const fn new() -> Slots<T> {
        Slots { places: Vec::new(), free: NONE, len: 0 }
    }

    /// Keeps `value`; allocates only where more values are held than ever before.
    pub fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if let Some(place) = self.places.get_mut(self.free as usize) {
            let key = Key { index: self.free, generation: place.generation };
            if let SlotContent::Free { next } = place.content {
                self.free = next;
            }
            place.content = SlotContent::Full(value);
            return key;
        }
        let index = u32::try_from(self.places.len()).expect("2^32 values do not fit in memory");
        self.places.push(SlotPlace { generation: 0, content: SlotContent::Full(value) });
        Key { index, generation: 0 }
    }

    /// The value that `insert` gave this key for, if it is still there.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.places.get(key.index as usize) {
            Some(SlotPlace { generation, content: SlotContent::Full(value) })
                if *generation == key.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// The same, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.index as usize) {
            Some(SlotPlace { generation, content: SlotContent::Full(value) })
                if *generation == key.generation =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Takes the value out; from now on its key finds nothing.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let place = &mut self.places[key.index as usize];
        place.generation = place.generation.wrapping_add(1);
        let content = std::mem::replace(&mut place.content, SlotContent::Free { next: self.free });
        self.free = key.index;
        self.len -= 1;
        match content {
            SlotContent::Full(value) => Some(value),
            SlotContent::Free { .. } => None,
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values with their keys, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0u32..).zip(&self.places).filter_map(|(index, place)| match &place.content {
            SlotContent::Full(value) => Some((Key { index, generation: place.generation }, value)),
            SlotContent::Free { .. } => None,
        })
    }

    /// Values of some of the places with their keys; the last of `places` may be beyond the last place.
    pub fn iter_within(&self, places: Range<usize>) -> impl Iterator<Item = (Key, &T)> {
        let end = places.end.min(self.places.len());
        let start = places.start.min(end);
        (start..end).zip(&self.places[start..end]).filter_map(|(index, place)| match &place.content {
            SlotContent::Full(value) => {
                Some((Key { index: index as u32, generation: place.generation }, value))
            }
            SlotContent::Free { .. } => None,
        })
    }

    /// Places in use and free ones: no key has an index of this or more.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        (0u32..).zip(&mut self.places).filter_map(|(index, place)| match &mut place.content {
            SlotContent::Full(value) => Some((Key { index, generation: place.generation }, value)),
            SlotContent::Free { .. } => None,
        })
    }
}

/// A visit to all the places of a [`Slots`], made in pieces, so that a core can do other work in between.
///
/// A round that begins while another is under way continues where that one is and goes once around from there: however
/// often it begins, every value that was there at the last beginning is visited after it, and no work is done twice.
#[derive(Debug, Default)]
pub struct Round {
    next: usize,
    left: usize,
    /// Places that there were when it began last.
    places: usize,
}

impl Round {
    /// Begins a round over the `places` that there are. Values that are inserted later need not be visited.
    pub fn begin(&mut self, places: usize) {
        (self.left, self.places) = (places, places);
    }

    /// Returns the next places to visit, at most `most`; `None` at the end of the round.
    pub fn piece(&mut self, most: usize) -> Option<Range<usize>> {
        if self.left == 0 {
            return None;
        }
        let start = if self.next < self.places { self.next } else { 0 };
        let length = most.max(1).min(self.left).min(self.places - start);
        self.left -= length;
        self.next = start + length;
        Some(start..self.next)
    }

    /// Whether nothing is left to visit.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_every_value_once_in_pieces() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..10).map(|value| slots.insert(value)).collect();
        slots.remove(keys[3]);
        let mut round = Round::default();
        assert!(round.is_over() && round.piece(4).is_none());
        round.begin(slots.places());
        let mut visited = Vec::new();
        while let Some(places) = round.piece(4) {
            assert!(places.len() <= 4);
            visited.extend(slots.iter_within(places).map(|(_, value)| *value));
        }
        assert!(round.is_over());
        assert_eq!(visited, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
        assert_eq!(slots.iter_within(8..99).count() + slots.iter_within(50..60).count(), 2);
    }

    #[test]
    fn a_round_that_begins_again_visits_all_that_was_there_and_nothing_twice() {
        for (most, again_after) in [(1, 0), (3, 2), (4, 1), (7, 5), (100, 1)] {
            let mut slots: Slots<u32> = Slots::new();
            (0..20).for_each(|value| _ = slots.insert(value));
            let mut round = Round::default();
            round.begin(slots.places());
            for _ in 0..again_after {
                let _ = round.piece(most);
            }
            // More are there than when the first round began.
            (20..30).for_each(|value| _ = slots.insert(value));
            round.begin(slots.places());
            let mut visited = Vec::new();
            let mut later = 30..;
            while let Some(places) = round.piece(most) {
                visited.extend(slots.iter_within(places).map(|(_, value)| *value));
                // What is inserted meanwhile takes nobody's turn.
                slots.insert(later.next().expect("a number"));
            }
            visited.sort_unstable();
            assert_eq!(visited, (0..30).collect::<Vec<_>>(), "pieces of {most}");
        }
    }

    #[test]
    fn a_key_finds_its_value_until_it_is_removed() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        let second = slots.insert("second");
        assert_eq!(slots.get(first), Some(&"first"));
        *slots.get_mut(second).unwrap() = "changed";
        assert_eq!(slots.remove(second), Some("changed"));
        assert_eq!(slots.get(second), None);
        assert_eq!(slots.get_mut(second), None);
        assert_eq!(slots.remove(second), None);
        assert_eq!((slots.len(), slots.is_empty()), (1, false));
    }

    #[test]
    fn a_stale_key_does_not_find_the_next_value_in_its_place() {
        let mut slots = Slots::new();
        let old = slots.insert(1);
        slots.remove(old);
        let new = slots.insert(2);
        assert_eq!(new.index, old.index);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&2));
    }

    #[test]
    fn places_are_used_again_before_new_ones_are_made() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..100).map(|i| slots.insert(i)).collect();
        for key in &keys[20..70] {
            slots.remove(*key);
        }
        for i in 0..50 {
            assert!(slots.insert(i).index < 100);
        }
        assert_eq!(slots.insert(0).index, 100);
    }

    #[test]
    fn keys_from_elsewhere_find_nothing() {
        let slots: Slots<u8> = Slots::default();
        assert_eq!(slots.get(Key { index: 0, generation: 0 }), None);
        assert_eq!(slots.get(Key { index: NONE, generation: 0 }), None);
    }

    #[test]
    fn iteration_gives_every_value_with_a_key_that_finds_it() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..10).map(|i| slots.insert(i)).collect();
        slots.remove(keys[3]);
        for (_, value) in slots.iter_mut() {
            *value *= 2;
        }
        let all: Vec<(Key, i32)> = slots.iter().map(|(key, value)| (key, *value)).collect();
        assert_eq!(all.len(), 9);
        assert!(all.iter().all(|(key, value)| slots.get(*key) == Some(value) && value % 2 == 0));
    }
}

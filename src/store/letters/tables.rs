//! The tables of the dead letters, and what is written to them in one transaction.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::super::tables::{ID_BYTES, IdKey, id_of};
use super::stored::{Stored, WholeLetter};
use crate::base::id::Id;

/// Bytes counted for a letter beside its value: its keys in the tables.
const KEYS_BYTES: u64 = 128;
/// Places of one millisecond: a place has the time in which it was given, so that the places of several nodes compare.
const PLACES_PER_MILLI: u64 = 1_024;

/// The key of the counts of all flows.
pub(super) const ALL_FLOWS: IdKey = [0; ID_BYTES];

pub(super) const LETTERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("letters");
pub(super) const BY_AGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("by-age");
pub(super) const OF_FLOW: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("of-flow");
pub(super) const COUNTS: TableDefinition<'_, &IdKey, (u64, u64)> = TableDefinition::new("counts");

/// The tables of a write.
pub(super) struct Tables<'t> {
    pub(super) letters: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) by_age: Table<'t, u64, &'static [u8]>,
    of_flow: Table<'t, &'static [u8], &'static [u8]>,
    counts: Table<'t, &'static IdKey, (u64, u64)>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            letters: transaction.open_table(LETTERS)?,
            by_age: transaction.open_table(BY_AGE)?,
            of_flow: transaction.open_table(OF_FLOW)?,
            counts: transaction.open_table(COUNTS)?,
        })
    }

    /// Adds a letter; one of the same id is replaced.
    pub(super) fn add(
        &mut self,
        flow: &Id,
        whole: &WholeLetter,
        now_unix_millis: u64,
    ) -> Result<(), redb::Error> {
        let key = letter_key(flow, whole.letter.id.as_bytes());
        self.remove(&key)?;
        let next = self.by_age.last()?.map_or(0, |(place, _)| place.value().saturating_add(1));
        let place = next.max(first_place(now_unix_millis.max(whole.letter.died_unix_millis)));
        let value = Stored::write(place, whole).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        self.letters.insert(key.as_slice(), value.as_slice())?;
        self.by_age.insert(place, key.as_slice())?;
        self.of_flow.insert(order_key(flow, place).as_slice(), whole.letter.id.as_bytes())?;
        self.count(flow, |(letters, bytes)| (letters + 1, bytes + value.len() as u64 + KEYS_BYTES))
    }

    /// Removes a letter; `false` if it is not there.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<bool, redb::Error> {
        let Some((place, bytes)) = self.letters.remove(key)?.map(|value| {
            let bytes = value.value();
            (Stored::read(bytes).map(|stored| stored.place), bytes.len() as u64 + KEYS_BYTES)
        }) else {
            return Ok(false);
        };
        let Some(flow) = key.get(..ID_BYTES).and_then(id_of) else { return Ok(true) };
        if let Some(place) = place {
            self.by_age.remove(place)?;
            self.of_flow.remove(order_key(&flow, place).as_slice())?;
        }
        self.count(&flow, |(letters, all)| (letters.saturating_sub(1), all.saturating_sub(bytes)))?;
        Ok(true)
    }

    fn count(&mut self, flow: &Id, change: impl Fn((u64, u64)) -> (u64, u64)) -> Result<(), redb::Error> {
        for key in [flow.raw(), &ALL_FLOWS] {
            let counted = self.counts.get(key)?.map(|counts| counts.value()).unwrap_or_default();
            match change(counted) {
                (0, _) => drop(self.counts.remove(key)?),
                changed => drop(self.counts.insert(key, changed)?),
            }
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> Result<u64, redb::Error> {
        Ok(self.counts.get(&ALL_FLOWS)?.map_or(0, |counts| counts.value().1))
    }
}

/// By flow and letter.
pub(super) fn letter_key(flow: &Id, id: &[u8]) -> Vec<u8> {
    [flow.raw().as_slice(), id].concat()
}

/// By flow, in the order of places.
pub(super) fn order_key(flow: &Id, place: u64) -> Vec<u8> {
    [flow.raw().as_slice(), &place.to_be_bytes()].concat()
}

/// The lowest place of a letter that died at a moment or later.
pub(super) fn first_place(unix_millis: u64) -> u64 {
    unix_millis.saturating_mul(PLACES_PER_MILLI)
}

//! Dead letters: deliveries that were given up, in a database file of their own beside the model's, so that a target that is
//! down for a day neither slows changes of the model nor grows its backups.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `letters` | flow's id, letter's id | number of the letter, what is told of it, its payload, its form for a replay |
//! | `by-age` | number | flow's id, letter's id |
//! | `of-flow` | flow's id, number | letter's id |
//! | `counts` | flow's id; zeros: of all | letters, bytes |
//!
//! Numbers count up in the order of arrival. All tables are written in one transaction.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::folder::FILE_MODE;
use super::tables::{ID_BYTES, IdKey, id_of};
use crate::base::id::Id;

/// Name of the file in the data folder.
const LETTERS_FILE: &str = "dead-letters.redb";
/// Bytes of all dead letters: a million of 1 KiB. The oldest go first.
pub(crate) const LETTERS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Age at which a dead letter goes: 30 days.
pub(crate) const LETTER_AGE_MILLIS_MAX: u64 = 30 * 24 * 3_600_000;
/// Letters that one transaction removes: others wait for it.
const REMOVED_AT_ONCE_MAX: usize = 10_000;
/// Bytes of pages kept in memory.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes counted for a letter beside its value: its keys in the tables.
const KEYS_BYTES: u64 = 128;
/// The key of the counts of all flows.
const ALL_FLOWS: IdKey = [0; ID_BYTES];

const LETTERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("letters");
const BY_AGE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("by-age");
const OF_FLOW: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("of-flow");
const COUNTS: TableDefinition<'_, &IdKey, (u64, u64)> = TableDefinition::new("counts");

/// A delivery that was given up, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Names the delivery, as `webhook-id` did in each attempt.
    pub id: String,
    pub webhook: String,
    pub node: String,
    /// Name of the reason.
    pub reason: String,
    pub attempts: u32,
    pub accepted_unix_millis: u64,
    pub died_unix_millis: u64,
    /// Status of the last answer, if there was one.
    pub status: Option<u16>,
    /// The error of the last attempt.
    pub error: Option<String>,
    /// Beginning of the last answer.
    pub answer: Option<String>,
}

/// A dead letter with its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeLetter {
    pub letter: Letter,
    /// The payload, as JSON.
    pub payload: Vec<u8>,
    /// The event in the form that it is delivered again from.
    pub event: Vec<u8>,
}

/// Letters that are asked for.
#[derive(Clone, Debug, Default)]
pub struct LetterQuery {
    /// The letter's reason.
    pub reason: Option<String>,
    /// The letter's node.
    pub node: Option<String>,
    /// Died at this moment or later.
    pub since_unix_millis: Option<u64>,
    /// Died before this moment.
    pub until_unix_millis: Option<u64>,
    /// Text that is in the letter or its payload.
    pub search: Option<String>,
    /// How many are passed over.
    pub skip: u64,
    /// How many are given at most.
    pub take: usize,
}

impl LetterQuery {
    fn is_narrow(&self) -> bool {
        self.reason.is_some()
            || self.node.is_some()
            || self.since_unix_millis.is_some()
            || self.until_unix_millis.is_some()
            || self.search.is_some()
    }

    fn fits(&self, stored: &Stored<'_>, letter: &Letter) -> bool {
        let is_named =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is_named(&self.reason, &letter.reason)
            && is_named(&self.node, &letter.node)
            && self.since_unix_millis.is_none_or(|since| letter.died_unix_millis >= since)
            && self.until_unix_millis.is_none_or(|until| letter.died_unix_millis < until)
            && self.search.as_deref().is_none_or(|search| {
                let has = |bytes: &[u8]| memchr::memmem::find(bytes, search.as_bytes()).is_some();
                has(stored.payload) || has(stored.letter)
            })
    }
}

/// A page of dead letters, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterPage {
    /// Each with the bytes of its payload.
    pub letters: Vec<(Letter, usize)>,
    /// How many there are in all that fit.
    pub total: u64,
}

/// Numbers of all dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetterCounts {
    pub letters: u64,
    pub bytes: u64,
    /// Removed since the start because there were too many bytes.
    pub evicted: u64,
    /// Removed since the start because of their age.
    pub expired: u64,
}

impl WholeLetter {
    /// Whether it is among those that are asked for.
    #[must_use]
    pub fn fits(&self, query: &LetterQuery) -> bool {
        let letter = serde_json::to_vec(&self.letter).unwrap_or_default();
        query.fits(&Stored { number: 0, letter: &letter, payload: &self.payload, event: &[] }, &self.letter)
    }
}

/// Bounds of the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterLimits {
    pub bytes: u64,
    pub age_millis: u64,
}

impl Default for LetterLimits {
    fn default() -> LetterLimits {
        LetterLimits { bytes: LETTERS_BYTES_MAX, age_millis: LETTER_AGE_MILLIS_MAX }
    }
}

/// The dead letters of a data folder.
pub struct Letters {
    path: PathBuf,
    /// `None` after a failed read or write: redb takes no more after one, and the next use opens the file again.
    database: RwLock<Option<redb::Database>>,
    limits: LetterLimits,
    evicted: AtomicU64,
    expired: AtomicU64,
}

/// A value of `letters`, in its parts.
struct Stored<'a> {
    number: u64,
    letter: &'a [u8],
    payload: &'a [u8],
    event: &'a [u8],
}

impl<'a> Stored<'a> {
    fn write(number: u64, whole: &WholeLetter) -> Result<Vec<u8>, serde_json::Error> {
        let letter = serde_json::to_vec(&whole.letter)?;
        let mut value = number.to_le_bytes().to_vec();
        for part in [&letter, &whole.payload] {
            value.extend_from_slice(&(part.len() as u32).to_le_bytes());
            value.extend_from_slice(part);
        }
        value.extend_from_slice(&whole.event);
        Ok(value)
    }

    fn read(value: &'a [u8]) -> Option<Stored<'a>> {
        let (number, rest) = value.split_first_chunk()?;
        let part = |rest: &'a [u8]| -> Option<(&'a [u8], &'a [u8])> {
            let (length, rest) = rest.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        };
        let (letter, rest) = part(rest)?;
        let (payload, event) = part(rest)?;
        Some(Stored { number: u64::from_le_bytes(*number), letter, payload, event })
    }
}

/// The tables of a write.
struct Tables<'t> {
    letters: Table<'t, &'static [u8], &'static [u8]>,
    by_age: Table<'t, u64, &'static [u8]>,
    of_flow: Table<'t, &'static [u8], &'static [u8]>,
    counts: Table<'t, &'static IdKey, (u64, u64)>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            letters: transaction.open_table(LETTERS)?,
            by_age: transaction.open_table(BY_AGE)?,
            of_flow: transaction.open_table(OF_FLOW)?,
            counts: transaction.open_table(COUNTS)?,
        })
    }

    /// Adds a letter; one of the same id is replaced.
    fn add(&mut self, flow: &Id, whole: &WholeLetter) -> Result<(), redb::Error> {
        let key = letter_key(flow, &whole.letter.id);
        self.remove(&key)?;
        let number = self.by_age.last()?.map_or(0, |(number, _)| number.value() + 1);
        let value =
            Stored::write(number, whole).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        self.letters.insert(key.as_slice(), value.as_slice())?;
        self.by_age.insert(number, key.as_slice())?;
        self.of_flow.insert(order_key(flow, number).as_slice(), whole.letter.id.as_bytes())?;
        self.count(flow, |(letters, bytes)| (letters + 1, bytes + value.len() as u64 + KEYS_BYTES))
    }

    /// Removes a letter; `false` if it is not there.
    fn remove(&mut self, key: &[u8]) -> Result<bool, redb::Error> {
        let Some((number, bytes)) = self.letters.remove(key)?.map(|value| {
            let bytes = value.value();
            (Stored::read(bytes).map(|stored| stored.number), bytes.len() as u64 + KEYS_BYTES)
        }) else {
            return Ok(false);
        };
        let Some(flow) = key.get(..ID_BYTES).and_then(id_of) else { return Ok(true) };
        if let Some(number) = number {
            self.by_age.remove(number)?;
            self.of_flow.remove(order_key(&flow, number).as_slice())?;
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

    fn bytes(&self) -> Result<u64, redb::Error> {
        Ok(self.counts.get(&ALL_FLOWS)?.map_or(0, |counts| counts.value().1))
    }
}

/// Letters that were removed because of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedLetters {
    pub evicted: u64,
    pub expired: u64,
}

impl Letters {
    /// Opens the dead letters of a data folder, or makes the file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(folder: &Path, limits: LetterLimits) -> Result<Letters, StoreError> {
        let path = folder.join(LETTERS_FILE);
        let database = RwLock::new(Some(open(&path)?));
        Ok(Letters { path, database, limits, evicted: AtomicU64::new(0), expired: AtomicU64::new(0) })
    }

    /// Keeps letters, on the disk when this returns, and removes what is over the limits.
    ///
    /// # Errors
    /// If they cannot be written: none is kept.
    pub fn keep<'l>(
        &self,
        letters: impl IntoIterator<Item = (Id, &'l WholeLetter)>,
        now_unix_millis: u64,
    ) -> Result<RemovedLetters, StoreError> {
        let removed = self.write(|tables| {
            for (flow, letter) in letters {
                tables.add(&flow, letter)?;
            }
            self.remove_excess(tables, now_unix_millis)
        })?;
        self.evicted.fetch_add(removed.evicted, Ordering::Relaxed);
        self.expired.fetch_add(removed.expired, Ordering::Relaxed);
        Ok(removed)
    }

    fn remove_excess(
        &self,
        tables: &mut Tables<'_>,
        now_unix_millis: u64,
    ) -> Result<RemovedLetters, redb::Error> {
        let mut removed = RemovedLetters::default();
        for _ in 0..REMOVED_AT_ONCE_MAX {
            let Some(oldest) = tables.by_age.first()?.map(|(_, key)| key.value().to_vec()) else { break };
            let is_over = tables.bytes()? > self.limits.bytes;
            let died = tables.letters.get(oldest.as_slice())?.and_then(|value| {
                let stored = Stored::read(value.value())?;
                Some(serde_json::from_slice::<Letter>(stored.letter).ok()?.died_unix_millis)
            });
            let is_old =
                died.is_none_or(|died| died.saturating_add(self.limits.age_millis) <= now_unix_millis);
            match (is_over, is_old) {
                (true, _) => removed.evicted += 1,
                (false, true) => removed.expired += 1,
                (false, false) => break,
            }
            if !tables.remove(&oldest)? {
                // An entry of the order without its letter would be the oldest for ever.
                tables.by_age.pop_first()?;
            }
        }
        Ok(removed)
    }

    /// A page of a flow's letters.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn list(&self, flow: &Id, query: &LetterQuery) -> Result<LetterPage, StoreError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            let letters = transaction.open_table(LETTERS)?;
            let of_flow = transaction.open_table(OF_FLOW)?;
            let mut page = LetterPage::default();
            if !query.is_narrow() {
                page.total =
                    transaction.open_table(COUNTS)?.get(flow.raw())?.map_or(0, |counts| counts.value().0);
            }
            let (first, last) = (order_key(flow, 0), order_key(flow, u64::MAX));
            let mut fitting = 0;
            for entry in of_flow.range::<&[u8]>(first.as_slice()..=last.as_slice())?.rev() {
                let (_, id) = entry?;
                if !query.is_narrow() {
                    fitting += 1;
                    if fitting <= query.skip {
                        continue;
                    }
                    if page.letters.len() >= query.take {
                        break;
                    }
                }
                let mut key = flow.raw().to_vec();
                key.extend_from_slice(id.value());
                let Some(value) = letters.get(key.as_slice())? else { continue };
                let Some(stored) = Stored::read(value.value()) else { continue };
                let Ok(letter) = serde_json::from_slice::<Letter>(stored.letter) else { continue };
                if query.is_narrow() {
                    if !query.fits(&stored, &letter) {
                        continue;
                    }
                    page.total += 1;
                    if page.total <= query.skip || page.letters.len() >= query.take {
                        continue;
                    }
                }
                page.letters.push((letter, stored.payload.len()));
            }
            Ok(page)
        })
    }

    /// One letter of a flow, with its place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, flow: &Id, id: &str) -> Result<Option<(u64, WholeLetter)>, StoreError> {
        self.with(|database| {
            let letters = database.begin_read()?.open_table(LETTERS)?;
            let value = letters.get(letter_key(flow, id).as_slice())?;
            Ok(value.and_then(|value| {
                let stored = Stored::read(value.value())?;
                let whole = WholeLetter {
                    letter: serde_json::from_slice(stored.letter).ok()?,
                    payload: stored.payload.to_vec(),
                    event: stored.event.to_vec(),
                };
                Some((stored.number, whole))
            }))
        })
    }

    /// Ids of a flow's letters, the oldest first, from after a place in that order; each with its place.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn ids(&self, flow: &Id, after: Option<u64>, count: usize) -> Result<Vec<(u64, String)>, StoreError> {
        self.with(|database| {
            let of_flow = database.begin_read()?.open_table(OF_FLOW)?;
            let first = order_key(flow, after.map_or(0, |after| after.saturating_add(1)));
            let last = order_key(flow, u64::MAX);
            let mut ids = Vec::new();
            for entry in of_flow.range::<&[u8]>(first.as_slice()..=last.as_slice())?.take(count) {
                let (key, id) = entry?;
                let number = key.value().last_chunk().map_or(0, |number| u64::from_be_bytes(*number));
                ids.push((number, String::from_utf8_lossy(id.value()).into_owned()));
            }
            Ok(ids)
        })
    }

    /// The place of the newest letter of all: what is kept later has a higher one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last_number(&self) -> Result<u64, StoreError> {
        self.with(|database| {
            let by_age = database.begin_read()?.open_table(BY_AGE)?;
            Ok(by_age.last()?.map_or(0, |(number, _)| number.value()))
        })
    }

    /// Removes a letter of a flow; `false` if it is not there.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, flow: &Id, id: &str) -> Result<bool, StoreError> {
        self.write(|tables| tables.remove(&letter_key(flow, id)))
    }

    /// Removes a letter of a flow if it is the one of this place: not one that has been kept meanwhile under the same id.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_at(&self, flow: &Id, id: &str, place: u64) -> Result<bool, StoreError> {
        self.write(|tables| {
            let key = letter_key(flow, id);
            let found = tables.letters.get(key.as_slice())?;
            let number = found.and_then(|value| Stored::read(value.value()).map(|stored| stored.number));
            if number == Some(place) { tables.remove(&key) } else { Ok(false) }
        })
    }

    /// Removes letters of a flow, those that were there when it began, some at a time; returns their number.
    ///
    /// # Errors
    /// If they cannot be removed; some may be.
    pub fn remove_all(&self, flow: &Id) -> Result<u64, StoreError> {
        let last = self.last_number()?;
        let mut removed = 0;
        loop {
            let ids = self.ids(flow, None, REMOVED_AT_ONCE_MAX)?;
            let ids: Vec<_> = ids.into_iter().filter(|(number, _)| *number <= last).collect();
            if ids.is_empty() {
                return Ok(removed);
            }
            removed += self.write(|tables| {
                let mut removed = 0;
                for (_, id) in &ids {
                    removed += u64::from(tables.remove(&letter_key(flow, id))?);
                }
                Ok(removed)
            })?;
        }
    }

    /// Numbers of all letters.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn counts(&self) -> Result<LetterCounts, StoreError> {
        let (letters, bytes) = self.with(|database| {
            let counts = database.begin_read()?.open_table(COUNTS)?;
            Ok(counts.get(&ALL_FLOWS)?.map(|counts| counts.value()).unwrap_or_default())
        })?;
        Ok(LetterCounts {
            letters,
            bytes,
            evicted: self.evicted.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
        })
    }

    fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            let value = work(&mut Tables::open(&transaction)?)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Uses the database, opened again if need be.
    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        if self.database.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if database.is_none() {
                *database = Some(open(&self.path)?);
            }
        }
        let outcome = {
            let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
            work(database.as_ref().ok_or(StoreError::Interrupted)?)
        };
        outcome.map_err(|error| {
            let error = StoreError::database(&self.path, error);
            if let StoreError::Io { .. } | StoreError::Full(_) = &error {
                drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
            }
            error
        })
    }
}

/// Opens the file, or makes it, with its tables.
fn open(path: &Path) -> Result<redb::Database, StoreError> {
    let failed = |error: redb::Error| StoreError::database(path, error);
    let made =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    made.map_err(|error| StoreError::io(path, &error))?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // An empty file is a database that is not begun.
    let database = builder.create(path).map_err(|error| failed(error.into()))?;
    let begun = database.begin_write().map_err(redb::Error::from).and_then(|transaction| {
        Tables::open(&transaction)?;
        Ok(transaction.commit()?)
    });
    begun.map_err(failed)?;
    Ok(database)
}

fn letter_key(flow: &Id, id: &str) -> Vec<u8> {
    [flow.raw().as_slice(), id.as_bytes()].concat()
}

/// In the order of numbers.
fn order_key(flow: &Id, number: u64) -> Vec<u8> {
    [flow.raw().as_slice(), &number.to_be_bytes()].concat()
}

//! Dead letters: deliveries that were given up, in a database file of their own beside the model's, so that a target that is
//! down for a day neither slows changes of the model nor grows its backups.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `letters` | flow's id, letter's id | place of the letter, what is told of it, its payload, its form for a replay |
//! | `by-age` | place | flow's id, letter's id |
//! | `of-flow` | flow's id, place | letter's id |
//! | `counts` | flow's id; zeros: of all | letters, bytes |
//!
//! Places count up in the order of arrival, and begin with its time. All tables are written in one transaction.

mod query;
mod stored;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use redb::{Builder, ReadableDatabase as _, ReadableTable as _};

use super::error::StoreError;
use super::new_database::make_database;
use crate::base::id::Id;
pub use query::{
    FittingLetters, LOOKED_AT_MAX, LOOKED_BYTES_MAX, LetterPage, LetterQuery, LetterSpan, ListedLetter,
    LookLimits, SKIPPED_MAX,
};
use stored::Stored;
pub use stored::{Letter, WholeLetter};
use tables::{ALL_FLOWS, BY_AGE, COUNTS, LETTERS, Tables, letter_key};

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

/// Bounds of the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterLimits {
    pub bytes: u64,
    pub age_millis: u64,
    pub look: LookLimits,
}

impl Default for LetterLimits {
    fn default() -> LetterLimits {
        LetterLimits {
            bytes: LETTERS_BYTES_MAX,
            age_millis: LETTER_AGE_MILLIS_MAX,
            look: LookLimits::default(),
        }
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
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_database(folder, &path, |transaction| Tables::open(transaction).map(drop))?;
            }
            Err(error) => return Err(StoreError::io(&path, &error)),
        }
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
                tables.add(&flow, letter, now_unix_millis)?;
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
    pub fn list(&self, flow: &Id, query: &LetterQuery, span: LetterSpan) -> Result<LetterPage, StoreError> {
        self.with(|database| query::list(&database.begin_read()?, flow, query, span, self.limits.look))
    }

    /// How many of a flow's letters fit, of those before a place that one look reaches; and the place before which the next
    /// look begins, if there are more.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn count(
        &self,
        flow: &Id,
        query: &LetterQuery,
        before: Option<u64>,
    ) -> Result<(u64, Option<u64>), StoreError> {
        let page = self.list(flow, query, LetterSpan { before, skip: 0, take: 0 })?;
        Ok((page.total, page.next))
    }

    /// `count` of a flow's letters that fit, the oldest first, of places after `after` and up to `last`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn fitting(
        &self,
        flow: &Id,
        query: &LetterQuery,
        (after, last): (Option<u64>, u64),
        count: usize,
    ) -> Result<FittingLetters, StoreError> {
        self.with(|database| {
            query::fitting(&database.begin_read()?, flow, query, (after, last), count, self.limits.look)
        })
    }

    /// One letter of a flow, with its place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn find(&self, flow: &Id, id: &str) -> Result<Option<(u64, WholeLetter)>, StoreError> {
        self.with(|database| {
            let letters = database.begin_read()?.open_table(LETTERS)?;
            let value = letters.get(letter_key(flow, id.as_bytes()).as_slice())?;
            Ok(value.and_then(|value| {
                let stored = Stored::read(value.value())?;
                let whole = WholeLetter {
                    letter: serde_json::from_slice(stored.letter).ok()?,
                    payload: stored.payload.to_vec(),
                    event: stored.event.to_vec(),
                };
                Some((stored.place, whole))
            }))
        })
    }

    /// The place of the newest letter of all: what is kept later has a higher one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn last_place(&self) -> Result<u64, StoreError> {
        self.with(|database| {
            let by_age = database.begin_read()?.open_table(BY_AGE)?;
            Ok(by_age.last()?.map_or(0, |(place, _)| place.value()))
        })
    }

    /// Removes a letter of a flow; `false` if it is not there.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, flow: &Id, id: &str) -> Result<bool, StoreError> {
        self.write(|tables| tables.remove(&letter_key(flow, id.as_bytes())))
    }

    /// Removes a letter of a flow if it is the one of this place: not one that has been kept meanwhile under the same id.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_at(&self, flow: &Id, id: &str, place: u64) -> Result<bool, StoreError> {
        self.write(|tables| {
            let key = letter_key(flow, id.as_bytes());
            let found = tables.letters.get(key.as_slice())?;
            let own = found.and_then(|value| Stored::read(value.value()).map(|stored| stored.place));
            if own == Some(place) { tables.remove(&key) } else { Ok(false) }
        })
    }

    /// Removes letters of a flow, those that were there when it began, some at a time; returns their number.
    ///
    /// # Errors
    /// If they cannot be removed; some may be.
    pub fn remove_all(&self, flow: &Id) -> Result<u64, StoreError> {
        let last = self.last_place()?;
        let mut removed = 0;
        loop {
            let all = LetterQuery::default();
            let ids = self.fitting(flow, &all, (None, last), REMOVED_AT_ONCE_MAX)?.ids;
            if ids.is_empty() {
                return Ok(removed);
            }
            removed += self.write(|tables| {
                let mut removed = 0;
                for (_, id) in &ids {
                    removed += u64::from(tables.remove(&letter_key(flow, id.as_bytes()))?);
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

/// Opens the file, which is there.
fn open(path: &Path) -> Result<redb::Database, StoreError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder.open(path).map_err(|error| StoreError::database(path, error))
}

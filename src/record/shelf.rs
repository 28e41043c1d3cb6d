//! The book as threads share it, and those who watch it. No core takes its lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::book::{Book, BookLimits, Page, page};
use super::noted::Noted;
use super::query::RecordQuery;
use super::stored::Record;
use crate::base::id::Id;

/// Webhooks whose old records are dropped at a time, while readers wait.
const EXPIRED_PLACES: usize = 4_096;

/// Takes the batches of cores.
pub trait RecordSink: Send + Sync {
    /// Takes a batch; never blocks. One for which there is no room is dropped, and that is logged.
    fn take(&self, batch: Vec<u8>);
}

/// Takes no batches.
#[derive(Clone, Copy, Debug)]
pub struct NoRecords;

impl RecordSink for NoRecords {
    fn take(&self, _batch: Vec<u8>) {}
}

/// Told of what changes at one webhook, on the thread that takes the batches: must not block.
pub trait Watcher: Send + Sync {
    /// Something has changed. Returns `false` if nobody watches any more.
    fn note(&self, noted: Noted) -> bool;
}

/// The book and its watchers.
pub struct Shelf {
    book: Mutex<Book>,
    watchers: Mutex<Vec<(Id, Arc<dyn Watcher>)>>,
}

impl Shelf {
    /// Without records.
    #[must_use]
    pub fn new(limits: BookLimits) -> Shelf {
        Shelf { book: Mutex::new(Book::new(limits)), watchers: Mutex::default() }
    }

    /// The book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        // What a panic left is records as they were, or one half-told.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch, which `segment` of the disk holds, and tells the watchers.
    pub fn take(&self, batch: &[u8], segment: u32) {
        let mut noted = Vec::new();
        self.book().apply(batch, segment, &mut noted);
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        if watchers.is_empty() {
            return;
        }
        // Several fates of one record are one change.
        noted.dedup();
        watchers.retain(|(webhook, watcher)| {
            noted.iter().filter(|noted| noted.webhook() == *webhook).all(|noted| watcher.note(*noted))
        });
    }

    /// Tells a watcher of each further change at a webhook.
    pub fn watch(&self, webhook: Id, watcher: Arc<dyn Watcher>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.push((webhook, watcher));
    }

    /// The records of a webhook that are asked for: `take` of them behind the first `skip`, the newest first.
    #[must_use]
    pub fn page(&self, webhook: Id, query: &RecordQuery, skip: u64, take: usize) -> Page {
        let (records, skipped) = self.book().look(webhook);
        // Searching is done without the lock.
        Page { skipped, ..page(&records, query, skip, take) }
    }

    /// Drops the records that are too old. Readers of the book wait for some webhooks at a time.
    pub fn expire(&self, now_unix_millis: u64) {
        let places = self.book().places();
        for start in (0..places).step_by(EXPIRED_PLACES) {
            self.book().expire(now_unix_millis, start..start + EXPIRED_PLACES);
        }
    }

    /// One record.
    #[must_use]
    pub fn find(&self, webhook: Id, id: Id) -> Option<Record> {
        self.book().find(webhook, id)
    }
}

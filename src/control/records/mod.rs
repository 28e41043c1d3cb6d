//! Keeps the records of the cores: a thread that takes their batches into the shelf, and writes them into segments in the data
//! folder, so that they outlive a restart.
//!
//! A segment is never changed. When all of them together are over their bound, what is still a record of the oldest is
//! appended to the newest, and the oldest is deleted: so quiet webhooks keep their records however busy others are.

mod log;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::log::Log;
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::record::{Entry, RecordSink, Shelf};

/// Commands that wait for the thread.
const WAITING_MAX: usize = 1_024;
/// Bytes of batches that wait for it. What is beyond them is dropped: no core waits for a disk.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often records that are too old are looked for.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(60);

/// Called when what was handed over before is on the shelf.
type ShelvedCallback = Box<dyn FnOnce() + Send>;

enum Command {
    Batch(Vec<u8>),
    Gone(Id),
    Settle(ShelvedCallback),
    End,
}

/// The thread that keeps records.
pub(crate) struct KeptRecords {
    sender: SyncSender<Command>,
    waiting_bytes: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl KeptRecords {
    /// Starts the thread. `folder` is where segments are kept; `None`: in memory only. `bytes` is the bound of the shelf.
    ///
    /// # Errors
    /// If there is no thread.
    pub(crate) fn start(
        shelf: Arc<Shelf>,
        folder: Option<&Path>,
        bytes: u64,
        clock: Clock,
    ) -> io::Result<KeptRecords> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let folder = folder.map(Path::to_owned);
        let taken = Arc::clone(&waiting_bytes);
        let thread = thread::Builder::new().name("records".to_owned()).spawn(move || {
            let log = folder.map(|folder| Log::open(folder, bytes, &shelf));
            RecordKeeper { shelf, log, taken, clock }.run(&receiver);
        })?;
        Ok(KeptRecords { sender, waiting_bytes, thread: Mutex::new(Some(thread)) })
    }

    /// Has `settled` called when all that was handed over before is on the shelf; at once if there is no room, or no thread.
    /// Never blocks: a core calls it.
    pub(crate) fn settle(&self, settled: ShelvedCallback) {
        if let Err(TrySendError::Full(command) | TrySendError::Disconnected(command)) =
            self.sender.try_send(Command::Settle(settled))
            && let Command::Settle(settled) = command
        {
            settled();
        }
    }

    /// Drops the records of a webhook that was deleted. May wait for room.
    pub(crate) fn forget(&self, webhook: Id) {
        // Without the thread there are none.
        let _ = self.sender.send(Command::Gone(webhook));
    }

    /// Ends the thread once it has taken what was handed over.
    pub(crate) fn end(&self) {
        let _ = self.sender.send(Command::End);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            bounded_log!(error, "the thread that keeps records ended with a panic");
        }
    }
}

impl RecordSink for KeptRecords {
    fn take(&self, batch: Vec<u8>) {
        let bytes = batch.len();
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_taken = waiting < WAITING_BYTES_MAX
            && match self.sender.try_send(Command::Batch(batch)) {
                Ok(()) => true,
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
            };
        if !is_taken {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            bounded_log!(warn, bytes, "records are dropped: the thread that keeps them is behind");
        }
    }
}

/// State of the thread.
struct RecordKeeper {
    shelf: Arc<Shelf>,
    log: Option<Log>,
    taken: Arc<AtomicUsize>,
    clock: Clock,
}

impl RecordKeeper {
    fn run(mut self, receiver: &Receiver<Command>) {
        let interval_nanos = u64::try_from(EXPIRE_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
        let mut expires = self.clock.now().nanos;
        loop {
            match receiver.recv_timeout(EXPIRE_INTERVAL) {
                Ok(Command::Batch(batch)) => {
                    self.take(&batch);
                    self.taken.fetch_sub(batch.len(), Ordering::Relaxed);
                }
                Ok(Command::Gone(webhook)) => {
                    let mut entry = Vec::new();
                    Entry::Gone { webhook }.write(&mut entry);
                    self.take(&entry);
                }
                Ok(Command::Settle(settled)) => settled(),
                Ok(Command::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.clock.now();
            if now.nanos >= expires {
                expires = now.nanos + interval_nanos;
                self.shelf.expire(now.unix_millis);
            }
        }
        if let Some(log) = &mut self.log {
            log.sync();
        }
    }

    fn take(&mut self, entries: &[u8]) {
        // The disk first: a segment that ends with this write is not the one that holds it.
        let now = self.clock.now();
        let segment = self.log.as_mut().map_or(0, |log| log.append(entries, now));
        self.shelf.take(entries, segment);
        if let Some(log) = &mut self.log {
            log.make_room(&self.shelf, now);
        }
    }
}

#[cfg(test)]
mod tests;

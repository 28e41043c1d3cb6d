//! The segments of the records: files of a folder, numbered in the order in which they were begun.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::record::{Entry, Shelf, read_entries, segment};

/// Bytes after which a new segment is begun.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// The least number of segments that there is room for, whatever the bound of the records.
const SEGMENTS_MIN: u64 = 4;
/// Bytes that are moved forward at a time.
const MOVED_BYTES: usize = 1024 * 1024;
/// Pause before the disk is tried again after it failed.
const RETRY_NANOS: u64 = 5 * NANOS_PER_SECOND;
/// Rights of the files, and of their folder: what callers sent is its owner's alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
const ENDING: &str = ".records";

/// The segments, and the one that is written.
pub(super) struct Log {
    folder: PathBuf,
    /// Those that are complete, the oldest first: number and bytes.
    complete: VecDeque<(u32, u64)>,
    complete_bytes: u64,
    bytes_max: u64,
    /// The one that is written; `None` before the first write, and after one that failed.
    open: Option<OpenSegment>,
    next: u32,
    /// Nothing is written before this moment.
    retry_nanos: u64,
    frame: Vec<u8>,
}

struct OpenSegment {
    number: u32,
    file: File,
    bytes: u64,
}

impl Log {
    /// Reads the segments of a folder onto the shelf. What cannot be read is told of and left out.
    pub(super) fn open(folder: PathBuf, shelf_bytes: u64, shelf: &Shelf) -> Log {
        let bytes_max = shelf_bytes.saturating_mul(2).saturating_add(SEGMENTS_MIN * SEGMENT_BYTES);
        let mut log = Log {
            folder,
            complete: VecDeque::new(),
            complete_bytes: 0,
            bytes_max,
            open: None,
            next: 1,
            retry_nanos: 0,
            frame: Vec::new(),
        };
        match log.numbers() {
            Ok(numbers) => numbers.into_iter().for_each(|number| log.read(number, shelf)),
            Err(error) => {
                bounded_log!(error, folder = %log.folder.display(), %error, "records of earlier runs cannot be read");
            }
        }
        shelf.book().begin();
        log
    }

    /// The numbers of the segments that there are, in order.
    fn numbers(&self) -> io::Result<Vec<u32>> {
        DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(&self.folder)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(ENDING));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn read(&mut self, number: u32, shelf: &Shelf) {
        self.next = self.next.max(number.saturating_add(1));
        let path = self.path(number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                bounded_log!(error, file = %path.display(), %error, "records cannot be read");
                return;
            }
        };
        let mut frames = segment::frames(&bytes);
        frames.by_ref().for_each(|entries| shelf.take(entries, number));
        if frames.left() > 0 {
            bounded_log!(warn, file = %path.display(), bytes = frames.left(), "the end of a segment of records is torn");
        }
        self.complete.push_back((number, bytes.len() as u64));
        self.complete_bytes += bytes.len() as u64;
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:010}{ENDING}"))
    }

    /// Appends entries; returns the segment that holds them.
    pub(super) fn append(&mut self, entries: &[u8], now: Now) -> u32 {
        if now.nanos < self.retry_nanos {
            return 0;
        }
        match self.try_append(entries) {
            Ok(number) => number,
            Err(error) => {
                // Nothing is written behind what may be torn.
                self.close();
                self.retry_nanos = now.nanos + RETRY_NANOS;
                bounded_log!(error, folder = %self.folder.display(), %error, "records cannot be written: they are kept in memory");
                0
            }
        }
    }

    /// The segment that the next write goes to.
    fn next_place(&mut self) -> u32 {
        if self.open.as_ref().is_some_and(|open| open.bytes >= SEGMENT_BYTES) {
            self.close();
        }
        self.open.as_ref().map_or(self.next, |open| open.number)
    }

    fn try_append(&mut self, entries: &[u8]) -> io::Result<u32> {
        let number = self.next_place();
        if self.open.is_none() {
            DirBuilder::new().mode(FOLDER_MODE).recursive(true).create(&self.folder)?;
            let file =
                OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(self.path(number))?;
            self.next = number.saturating_add(1);
            self.open = Some(OpenSegment { number, file, bytes: 0 });
        }
        self.frame.clear();
        segment::frame_into(&mut self.frame, entries);
        let Some(open) = &mut self.open else { return Ok(0) };
        open.file.write_all(&self.frame)?;
        open.bytes += self.frame.len() as u64;
        self.frame.shrink_to(MOVED_BYTES);
        Ok(open.number)
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.complete.push_back((open.number, open.bytes));
            self.complete_bytes += open.bytes;
        }
    }

    /// Moves what is still a record of the oldest segments forward, and deletes them, until all are within the bound.
    pub(super) fn make_room(&mut self, shelf: &Shelf, now: Now) {
        // Once through all of them at most, however much of them is still a record.
        for _ in 0..self.complete.len() {
            if self.complete_bytes <= self.bytes_max || now.nanos < self.retry_nanos {
                return;
            }
            let Some(&(number, bytes)) = self.complete.front() else { return };
            self.move_forward(number, shelf, now);
            if now.nanos < self.retry_nanos {
                // It was not written: the oldest stays.
                return;
            }
            let path = self.path(number);
            if let Err(error) = fs::remove_file(&path) {
                bounded_log!(error, file = %path.display(), %error, "old records cannot be deleted");
            }
            self.complete.pop_front();
            self.complete_bytes -= bytes;
        }
    }

    fn move_forward(&mut self, number: u32, shelf: &Shelf, now: Now) {
        let path = self.path(number);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                bounded_log!(error, file = %path.display(), %error, "old records cannot be read");
                return;
            }
        };
        let mut moved = Vec::new();
        let mut calls: Vec<(Id, Id)> = Vec::new();
        for (entry, _) in segment::frames(&bytes).flat_map(read_entries) {
            let book = shelf.book();
            let last = match entry {
                Entry::Call(call) if book.segment_of(call.webhook, call.id) == Some(number) => {
                    calls.push((call.webhook, call.id));
                    None
                }
                Entry::Call(call) => Some((call.webhook, call.unix_millis)),
                Entry::LastCall { webhook, unix_millis } => Some((webhook, unix_millis)),
                Entry::Answer(_) | Entry::Fate(_) | Entry::Count { .. } | Entry::Gone { .. } => None,
            };
            if let Some((webhook, unix_millis)) = last
                && book.last_call(webhook) == Some(unix_millis)
            {
                Entry::LastCall { webhook, unix_millis }.write(&mut moved);
            }
        }
        for (webhook, id) in calls {
            let next = self.next_place();
            shelf.book().move_to(webhook, id, next, &mut moved);
            if moved.len() >= MOVED_BYTES && !self.flush_moved(&mut moved, now) {
                return;
            }
        }
        self.flush_moved(&mut moved, now);
    }

    /// Appends what is moved; returns `false` if it cannot be written.
    fn flush_moved(&mut self, moved: &mut Vec<u8>, now: Now) -> bool {
        if moved.is_empty() {
            return true;
        }
        let is_written = self.append(moved, now) != 0;
        moved.clear();
        is_written
    }

    /// Has the disk hold what was written.
    pub(super) fn sync(&mut self) {
        if let Some(Err(error)) = self.open.as_ref().map(|open| open.file.sync_data()) {
            bounded_log!(error, folder = %self.folder.display(), %error, "the last records may not be on the disk");
        }
    }
}

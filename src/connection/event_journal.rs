//! The journal of a core, whichever keeps it: segments on this machine's disk, or another machine that is sent batches.

use crate::base::clock::Now;
use crate::journal::{
    Entry, EntryKind, Journal, NotRead, Note, Read, Refused, RemoteJournal, Sequence, Stats,
};

/// The journal of a core.
pub(crate) enum EventJournal {
    /// Segments in the data folder.
    Files(Box<Journal>),
    /// Batches that are stored elsewhere.
    Remote(Box<RemoteJournal>),
}

/// Where an entry is read from.
#[derive(Clone, Copy)]
pub(crate) enum ReadFrom<'a> {
    /// A read of a segment.
    Segment(&'a Read),
    /// The journal itself, which has all open entries in memory.
    Memory,
}

/// Calls the same function of either.
macro_rules! either {
    ($journal:expr, $of:ident => $call:expr) => {
        match $journal {
            EventJournal::Files($of) => $call,
            EventJournal::Remote($of) => $call,
        }
    };
}

impl EventJournal {
    /// The segments; `None` if there are none.
    pub(crate) fn files(&mut self) -> Option<&mut Journal> {
        match self {
            EventJournal::Files(journal) => Some(journal),
            EventJournal::Remote(_) => None,
        }
    }

    /// The batches; `None` if there are none.
    pub(crate) fn remote(&mut self) -> Option<&mut RemoteJournal> {
        match self {
            EventJournal::Remote(journal) => Some(journal),
            EventJournal::Files(_) => None,
        }
    }

    pub(crate) fn append(
        &mut self,
        kind: EntryKind,
        deliveries: u16,
        note: Option<&Note>,
        parts: &[&[u8]],
        now: Now,
    ) -> Result<Sequence, Refused> {
        match self {
            EventJournal::Files(journal) => journal.append_noted(kind, deliveries, note, parts, now),
            // It keeps no notes.
            EventJournal::Remote(journal) => journal.append(kind, deliveries, parts, now),
        }
    }

    /// Appends a note alone; `None` if it keeps no notes.
    pub(crate) fn append_note(&mut self, note: &Note) -> Result<Option<Sequence>, Refused> {
        self.files().map(|journal| journal.append_note(note)).transpose()
    }

    pub(crate) fn complete(&mut self, sequence: Sequence, delivery: u16, now: u64) -> bool {
        either!(self, journal => journal.complete(sequence, delivery, now))
    }

    pub(crate) fn complete_entry(&mut self, sequence: Sequence, now: u64) -> bool {
        either!(self, journal => journal.complete_entry(sequence, now))
    }

    pub(crate) fn open_entries(&self) -> Vec<Sequence> {
        either!(self, journal => journal.open_entries())
    }

    pub(crate) fn is_done(&self, sequence: Sequence, delivery: u16) -> bool {
        either!(self, journal => journal.is_done(sequence, delivery))
    }

    pub(crate) fn durable(&self) -> Sequence {
        either!(self, journal => journal.durable())
    }

    pub(crate) fn failed(&mut self) -> Option<std::ops::Range<Sequence>> {
        either!(self, journal => journal.failed())
    }

    pub(crate) fn is_up(&self) -> bool {
        either!(self, journal => journal.is_up())
    }

    pub(crate) fn is_settled(&self) -> bool {
        either!(self, journal => journal.is_settled())
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        either!(self, journal => journal.deadline())
    }

    pub(crate) fn stats(&mut self, now: u64) -> Stats {
        match self {
            EventJournal::Files(journal) => journal.stats(),
            EventJournal::Remote(journal) => journal.stats(now),
        }
    }

    /// An open entry.
    pub(crate) fn entry<'a>(&'a self, from: ReadFrom<'a>, sequence: Sequence) -> Result<Entry<'a>, NotRead> {
        match (self, from) {
            (EventJournal::Files(journal), ReadFrom::Segment(read)) => journal.entry(read, sequence),
            (EventJournal::Remote(journal), _) => journal.entry(sequence).ok_or(NotRead::NotOpen),
            (EventJournal::Files(_), ReadFrom::Memory) => Err(NotRead::Elsewhere),
        }
    }
}

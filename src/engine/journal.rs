//! The journal of a core at its kernel: its writes and reads become operations, its segments come from their source.

use std::collections::HashMap;
use std::io;

use super::gauging::JournalGauging;
use super::parts::{JournalParts, KeeperParts, Segments};
use super::supply::Supplied;
use crate::base::block::AlignedBlock;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::log::bounded_log;
use crate::connection::context::{CoreState, Timer};
use crate::connection::event_journal::ReadFrom;
use crate::connection::message::ConnectionId;
use crate::connection::spill::{self, Wanted};
use crate::connection::{durable, key_notes, receipts};
use crate::io::{FileId, Io, Operation, Transfer, Waker};
use crate::journal::{Journal, Read, ReadError, ReleasedSegment, SegmentName, Write, WriteError};

/// Interval at which it is checked whether there is room for what is on the disk only.
const SPILL_NANOS: u64 = NANOS_PER_SECOND / 100;
/// Attempts to read an entry back before others are read, and the pause between two of them.
const READ_ATTEMPTS: u32 = 3;
const READ_RETRY_NANOS: u64 = NANOS_PER_SECOND;

/// The files of a core's journal.
pub(super) struct JournalFiles<F> {
    source: Segments<F>,
    files: HashMap<SegmentName, FileId, ahash::RandomState>,
    /// The segment that the write in flight is for, and when it was started.
    writing: Option<(SegmentName, u64)>,
    reading: Option<Reading>,
    /// Reads in a row that failed.
    failed_reads: u32,
    /// Whether deliveries that are on the disk only have to be read back.
    is_spill_due: bool,
    waker: Waker,
    /// When the timer of the journal is due.
    timer_at: Option<u64>,
    gauges: JournalGauging,
}

/// The read in flight, without its block.
struct Reading {
    read: Read,
    /// For whom; `None`: for the journal itself.
    wanted: Option<Wanted>,
}

impl<F> JournalFiles<F> {
    /// The files of a core's journal.
    pub(super) fn new<I: Io<File = F>>(
        io: &mut I,
        source: Segments<F>,
        files: Vec<(SegmentName, F)>,
    ) -> JournalFiles<F> {
        let waker = io.waker();
        let files = files.into_iter().map(|(name, file)| (name, io.add_file(file))).collect();
        JournalFiles {
            source,
            files,
            writing: None,
            reading: None,
            failed_reads: 0,
            is_spill_due: true,
            waker,
            timer_at: None,
            gauges: JournalGauging::default(),
        }
    }

    /// The journal's parts after its core has ended by a panic: what was under way counts as failed.
    pub(super) fn into_parts(self, core: &mut CoreState) -> Option<JournalParts<F>> {
        let now = core.now().nanos;
        let mut journal = core.journal.take()?;
        journal.lose_connections();
        let files = journal.journal.files()?;
        if let Some((segment, _)) = self.writing {
            let write = Write { segment, offset: 0, block: AlignedBlock::zeroed(0) };
            files.on_written(write, Err(WriteError), now);
        }
        if let Some(Reading { read, wanted: None }) = self.reading {
            files.on_read(read, Err(ReadError), now);
        }
        let reopen = |&name: &SegmentName| match self.source.reopen(name) {
            Ok(file) => Some((name, file)),
            Err(error) => {
                bounded_log!(error, core = core.index, segment = %name, %error, "a segment of the journal cannot be opened");
                None
            }
        };
        let files = self.files.keys().filter_map(reopen).collect();
        Some(JournalParts { journal, keeper: KeeperParts::Files { source: self.source, files } })
    }

    /// Ends a turn: starts what the journal wants done.
    pub(super) fn advance<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        receipts::send(core);
        key_notes::review(core);
        self.supply(io, core);
        self.write(io, core);
        self.read(io, core);
        let deadline = core.journal.as_ref().and_then(|journal| journal.journal.deadline());
        if let Some(deadline) = deadline
            && self.timer_at.is_none_or(|at| deadline < at)
        {
            self.timer_at = Some(deadline);
            core.set_timer(deadline, Timer::Journal);
        }
        self.gauges.tell_if_due(core);
    }

    /// Asks for segments, and gives back those that are not used any more.
    fn supply<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        let (number, now) = (core.number(), core.now().nanos);
        let Some(journal) = segments(core) else { return };
        let wanted = journal.segments_wanted(now);
        if wanted > 0 {
            self.source.request(number, wanted, &self.waker);
        }
        while let Some(released) = journal.released() {
            let name = match released {
                ReleasedSegment::Spare(segment) => segment.name,
                ReleasedSegment::Discard(name) => name,
            };
            if let Some(file) = self.files.remove(&name) {
                io.start(Operation::CloseFile { file });
            }
            match released {
                ReleasedSegment::Spare(segment) => self.source.give_back(segment),
                ReleasedSegment::Discard(name) => self.source.discard(name),
            }
        }
    }

    /// Starts the next write.
    fn write<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        let now = core.now().nanos;
        let Some(journal) = segments(core) else { return };
        let Some(Write { segment, offset, block }) = journal.next_write(now) else { return };
        match self.files.get(&segment) {
            Some(&file) => {
                self.writing = Some((segment, now));
                io.start(Operation::Write(Box::new(Transfer { file, offset, block })));
            }
            // It cannot be: a segment is added with its file.
            None => journal.on_written(Write { segment, offset, block }, Err(WriteError), now),
        }
    }

    /// Starts the next read: of the journal's own, or of what is on the disk only.
    fn read<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        if self.reading.is_some() {
            return;
        }
        let now = core.now().nanos;
        let Some(journal) = segments(core) else { return };
        if let Some(read) = journal.next_read(now) {
            return self.start_read(io, core, read, None);
        }
        if !std::mem::take(&mut self.is_spill_due) {
            return;
        }
        while let Some(wanted) = spill::next(core) {
            let read = segments(core).and_then(|journal| journal.read(wanted.sequence(), None));
            match read {
                Some(read) => return self.start_read(io, core, read, Some(wanted)),
                None => spill::skip(core, wanted),
            }
        }
        if spill::is_waiting(core) {
            core.set_timer(now + SPILL_NANOS, Timer::Spill);
        } else {
            // Until something is spilled again.
            self.is_spill_due = true;
        }
    }

    fn start_read<I: Io<File = F>>(
        &mut self,
        io: &mut I,
        core: &mut CoreState,
        mut read: Read,
        wanted: Option<Wanted>,
    ) {
        let block = std::mem::replace(&mut read.block, AlignedBlock::zeroed(0));
        match self.files.get(&read.segment) {
            Some(&file) => {
                let offset = read.offset;
                self.reading = Some(Reading { read, wanted });
                io.start(Operation::Read(Box::new(Transfer { file, offset, block })));
            }
            // It cannot be: a segment is added with its file.
            None => {
                read.block = block;
                self.end_read(core, Reading { read, wanted }, Err(ReadError));
            }
        }
    }

    /// Takes the end of the read in flight.
    pub(super) fn on_read(&mut self, core: &mut CoreState, transfer: Transfer, result: io::Result<()>) {
        let Some(mut reading) = self.reading.take() else { return };
        reading.read.block = transfer.block;
        if let Err(error) = &result {
            let segment = reading.read.segment;
            bounded_log!(error, core = core.index, %segment, %error, "the journal cannot be read: it is tried again");
        }
        self.end_read(core, reading, result.map_err(|_| ReadError));
    }

    fn end_read(&mut self, core: &mut CoreState, reading: Reading, result: Result<(), ReadError>) {
        let now = core.now().nanos;
        match (reading.wanted, result) {
            (Some(wanted), Ok(())) => {
                self.failed_reads = 0;
                spill::on_read(core, wanted, ReadFrom::Segment(&reading.read));
                self.is_spill_due = true;
            }
            (Some(wanted), Err(ReadError)) => {
                self.failed_reads += 1;
                if self.failed_reads.is_multiple_of(READ_ATTEMPTS) {
                    spill::postpone(core, wanted);
                }
                core.set_timer(now + READ_RETRY_NANOS, Timer::Spill);
            }
            (None, result) => {
                let index = core.index;
                if let Some(journal) = segments(core) {
                    journal.on_read(reading.read, result, now);
                    for fault in journal.damaged() {
                        bounded_log!(error, core = index, %fault, "an open trigger of the journal is damaged and lost");
                    }
                }
            }
        }
    }

    /// There may be room for what is on the disk only.
    pub(super) fn on_spill_timer(&mut self) {
        self.is_spill_due = true;
    }

    /// The timer of the journal has fired; what is due is done at the turn's end.
    pub(super) fn on_timer(&mut self) {
        self.timer_at = None;
    }

    /// Takes segments that are ready.
    pub(super) fn take_segments<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        let (number, now) = (core.number(), core.now().nanos);
        let Some(journal) = segments(core) else { return };
        let mut is_any = false;
        while let Some(supplied) = self.source.take(number) {
            is_any = true;
            match supplied {
                Supplied::Segment { segment, file } => {
                    self.files.insert(segment.name, io.add_file(file));
                    journal.add_segment(segment);
                }
                Supplied::Refused(why) => journal.segment_refused(why, now),
            }
        }
        if is_any {
            self.gauges.tell(core);
        }
    }

    /// Takes the end of the write in flight. Connections whose answers may leave are appended to `released`.
    pub(super) fn on_written(
        &mut self,
        core: &mut CoreState,
        transfer: Transfer,
        result: io::Result<()>,
        released: &mut Vec<ConnectionId>,
    ) {
        let Some((segment, since)) = self.writing.take() else { return };
        let now = core.now().nanos;
        core.metrics.journal.wrote(now.saturating_sub(since));
        if let Err(error) = &result {
            bounded_log!(error, core = core.index, %segment, %error, "a write to the journal failed: its segment is left");
        }
        if let Some(journal) = segments(core) {
            let write = Write { segment, offset: transfer.offset, block: transfer.block };
            journal.on_written(write, result.map_err(|_| WriteError), now);
        }
        durable::on_written(core, released);
        self.gauges.tell(core);
    }
}

/// The journal as segments.
fn segments(core: &mut CoreState) -> Option<&mut Journal> {
    core.journal.as_mut().and_then(|journal| journal.journal.files())
}

//! Reads and writes of files that the ring has in flight, and when each has ended: a write that needs a flush is judged by
//! both of its completions.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::disk_thread::{Direction, check_length};
use super::file::{DiskFile, Sync};
use super::interface::{Completion, Transfer};
use crate::base::slots::{Key, Slots};

/// A transfer that the kernel reads from or writes to.
pub(super) struct TransferInFlight {
    pub(super) file: Arc<DiskFile>,
    pub(super) direction: Direction,
    pub(super) transfer: Box<Transfer>,
    moved: Option<Result<u32, Errno>>,
    flushed: Option<Result<u32, Errno>>,
    /// The flush may have begun before the write had ended: it is done again.
    flush_again: bool,
}

impl TransferInFlight {
    /// Whether a flush is linked to it.
    pub(super) fn has_flush(&self) -> bool {
        self.direction == Direction::Write && self.file.sync == Sync::Flush
    }

    fn result(&self) -> Option<io::Result<()>> {
        let moved = self.moved?;
        let flushed = if self.has_flush() { self.flushed? } else { Ok(0) };
        Some(match (moved, flushed) {
            (Ok(count), flushed) => {
                check_length(self.direction, count as usize, self.transfer.block.bytes().len())
                    .and(flushed.map(|_| ()).map_err(io::Error::from))
            }
            // Its flush was cancelled.
            (Err(errno), _) => Err(errno.into()),
        })
    }
}

/// The result of a completion.
pub(super) enum AfterCompletion {
    Wait,
    /// Another flush.
    Flush(Key),
    /// The transfer has ended.
    Ended(Completion),
}

/// Transfers in flight.
#[derive(Default)]
pub(super) struct Transfers {
    slots: Slots<TransferInFlight>,
}

impl Transfers {
    /// Adds a transfer.
    pub(super) fn insert(
        &mut self,
        file: Arc<DiskFile>,
        direction: Direction,
        transfer: Box<Transfer>,
    ) -> Key {
        self.slots.insert(TransferInFlight {
            file,
            direction,
            transfer,
            moved: None,
            flushed: None,
            flush_again: false,
        })
    }

    /// Returns a transfer, whose block the kernel is given.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut TransferInFlight> {
        self.slots.get_mut(key)
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The kernel took a part of what was queued: a write and its flush may have been separated.
    pub(super) fn note_cut(&mut self) {
        self.slots.iter_mut().for_each(|(_, in_flight)| in_flight.flush_again = in_flight.has_flush());
    }

    /// The read or the write itself has ended.
    pub(super) fn on_moved(&mut self, key: Key, result: Result<u32, Errno>) -> AfterCompletion {
        let Some(in_flight) = self.slots.get_mut(key) else { return AfterCompletion::Wait };
        in_flight.moved = Some(result);
        self.finish(key)
    }

    /// The flush has ended.
    pub(super) fn on_flushed(&mut self, key: Key, result: Result<u32, Errno>) -> AfterCompletion {
        let Some(in_flight) = self.slots.get_mut(key) else { return AfterCompletion::Wait };
        in_flight.flush_again |= in_flight.moved.is_none() && result.is_ok();
        in_flight.flushed = Some(result);
        self.finish(key)
    }

    fn finish(&mut self, key: Key) -> AfterCompletion {
        let Some(in_flight) = self.slots.get_mut(key) else { return AfterCompletion::Wait };
        let Some(result) = in_flight.result() else { return AfterCompletion::Wait };
        if result.is_ok() && std::mem::take(&mut in_flight.flush_again) {
            in_flight.flushed = None;
            return AfterCompletion::Flush(key);
        }
        let Some(TransferInFlight { direction, transfer, .. }) = self.slots.remove(key) else {
            return AfterCompletion::Wait;
        };
        AfterCompletion::Ended(direction.completion(transfer, result))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Safety, make_zeroed};
    use super::super::interface::FileId;
    use super::*;
    use crate::base::block::{AlignedBlock, BLOCK_BYTES};

    const WHOLE: Result<u32, Errno> = Ok(BLOCK_BYTES as u32);

    fn begin(sync: Sync) -> (Transfers, Key) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        make_zeroed(&path, 10, b"").unwrap();
        let mut file = DiskFile::open(&path, Safety::Kernel).unwrap();
        file.sync = sync;
        let block = AlignedBlock::zeroed(1);
        let transfer = Box::new(Transfer { file: FileId { index: 0, generation: 0 }, offset: 0, block });
        let mut transfers = Transfers::default();
        let key = transfers.insert(Arc::new(file), Direction::Write, transfer);
        (transfers, key)
    }

    fn ended(next: AfterCompletion) -> Option<Result<(), Option<i32>>> {
        match next {
            AfterCompletion::Ended(Completion::Written { result, .. }) => {
                Some(result.map_err(|error| error.raw_os_error()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_write_is_judged_by_both_results_in_either_order() {
        let no_room = Some(Err(Some(Errno::NOSPC.raw_os_error())));
        let cases = [
            (WHOLE, Ok(0), Some(Ok(()))),
            (Err(Errno::NOSPC), Err(Errno::CANCELED), no_room),
            (Ok(512), Err(Errno::CANCELED), no_room),
            (Ok(512), Ok(0), no_room),
            (WHOLE, Err(Errno::IO), Some(Err(Some(Errno::IO.raw_os_error())))),
        ];
        for (moved, flushed, verdict) in cases {
            let (mut transfers, key) = begin(Sync::Flush);
            assert!(matches!(transfers.on_moved(key, moved), AfterCompletion::Wait));
            assert_eq!(ended(transfers.on_flushed(key, flushed)), verdict);
            assert!(transfers.is_empty());
        }
        let (mut transfers, key) = begin(Sync::Write);
        assert_eq!(ended(transfers.on_moved(key, WHOLE)), Some(Ok(())));
    }

    #[test]
    fn a_flush_that_may_have_come_first_is_done_again() {
        let (mut transfers, key) = begin(Sync::Flush);
        assert!(matches!(transfers.on_flushed(key, Ok(0)), AfterCompletion::Wait));
        assert!(matches!(transfers.on_moved(key, WHOLE), AfterCompletion::Flush(_)));
        assert_eq!(ended(transfers.on_flushed(key, Ok(0))), Some(Ok(())));

        let (mut transfers, key) = begin(Sync::Flush);
        transfers.note_cut();
        assert!(matches!(transfers.on_moved(key, WHOLE), AfterCompletion::Wait));
        assert!(matches!(transfers.on_flushed(key, Ok(0)), AfterCompletion::Flush(_)));
        assert_eq!(ended(transfers.on_flushed(key, Ok(0))), Some(Ok(())));
    }
}

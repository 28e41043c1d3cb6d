//! The initial state of a core's journal, and the traits of its keeper.

use std::sync::Arc;

use super::supply::SegmentSource;
use crate::connection::event_journal::EventJournal;
use crate::connection::journal_state::CoreJournal;
use crate::io::Waker;
use crate::journal::{Batch, BatchFate, RemoteConfig, RemoteJournal, SegmentName};

/// Bytes of open entries of a process whose journal another machine keeps: they stay in memory.
const OPEN_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Carries batches of cores to the machine that keeps them, on threads that are no cores. Nothing here blocks.
pub trait BatchCarrier: Send + Sync {
    /// Takes a batch, which is repeated until its fate is known. A core has one under way. `waker` is used for its fate.
    fn carry(&self, core: u16, batch: Batch, waker: &Waker);

    /// Takes the number and the fate of a core's batch.
    fn fate(&self, core: u16) -> Option<(u64, BatchFate)>;
}

/// A journal that another machine keeps.
#[derive(Clone)]
pub struct RemoteKeeper {
    pub carrier: Arc<dyn BatchCarrier>,
    /// How long callers wait for a batch to be stored.
    pub wait_nanos: u64,
    /// Bytes of the longest entry that the machine takes.
    pub entry_bytes_max: usize,
}

/// Source of a core's segments.
pub(super) type Segments<F> = Arc<dyn SegmentSource<F>>;

/// The initial state of a core's journal.
pub(super) struct JournalParts<F> {
    pub(super) journal: Box<CoreJournal>,
    pub(super) keeper: KeeperParts<F>,
}

/// The initial state of its keeper.
pub(super) enum KeeperParts<F> {
    Files {
        source: Segments<F>,
        /// The files of the segments in use.
        files: Vec<(SegmentName, F)>,
    },
    Remote(Arc<dyn BatchCarrier>),
}

impl<F> JournalParts<F> {
    /// The journals of so many cores, kept by another machine.
    pub(super) fn remote(keeper: &RemoteKeeper, cores: usize) -> Vec<JournalParts<F>> {
        let part = |core| {
            let config = RemoteConfig {
                core: u16::try_from(core).unwrap_or(u16::MAX),
                open_bytes_max: OPEN_BYTES_MAX / cores.max(1),
                entry_bytes_max: keeper.entry_bytes_max,
                wait_nanos: keeper.wait_nanos,
            };
            let journal = EventJournal::Remote(Box::new(RemoteJournal::new(config)));
            JournalParts {
                journal: Box::new(CoreJournal::new(journal, Vec::new(), cores)),
                keeper: KeeperParts::Remote(Arc::clone(&keeper.carrier)),
            }
        };
        (0..cores).map(part).collect()
    }
}

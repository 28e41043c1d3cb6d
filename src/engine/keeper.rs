//! The keeper of a core's journal: its own segments, or another machine that is sent batches.

use std::io;

use super::batches::JournalBatches;
use super::journal::JournalFiles;
use super::parts::{JournalParts, KeeperParts};
use crate::connection::context::CoreState;
use crate::connection::journal_state::CoreJournal;
use crate::connection::message::ConnectionId;
use crate::io::{Io, Transfer};

/// The keeper of a core's journal.
pub(super) enum Keeper<F> {
    Files(JournalFiles<F>),
    Remote(JournalBatches),
}

impl<F> Keeper<F> {
    pub(super) fn new<I: Io<File = F>>(io: &mut I, parts: KeeperParts<F>) -> Keeper<F> {
        match parts {
            KeeperParts::Files { source, files } => Keeper::Files(JournalFiles::new(io, source, files)),
            KeeperParts::Remote(carrier) => Keeper::Remote(JournalBatches::new(carrier, io.waker())),
        }
    }

    /// The journal's parts after its core has ended by a panic.
    pub(super) fn into_parts(self, core: &mut CoreState) -> Option<JournalParts<F>> {
        match self {
            Keeper::Files(files) => files.into_parts(core),
            Keeper::Remote(batches) => {
                let mut journal = core.journal.take()?;
                journal.lose_connections();
                Some(JournalParts { journal, keeper: KeeperParts::Remote(batches.into_carrier()) })
            }
        }
    }

    /// Ends a turn: starts what the journal wants done.
    pub(super) fn advance<I: Io<File = F>>(&mut self, io: &mut I, core: &mut CoreState) {
        match self {
            Keeper::Files(files) => files.advance(io, core),
            Keeper::Remote(batches) => batches.advance(core),
        }
    }

    /// Takes what other threads have made ready. Connections whose answers may leave are appended to `released`.
    pub(super) fn on_woken<I: Io<File = F>>(
        &mut self,
        io: &mut I,
        core: &mut CoreState,
        released: &mut Vec<ConnectionId>,
    ) {
        match self {
            Keeper::Files(files) => files.take_segments(io, core),
            Keeper::Remote(batches) => batches.take_fates(core, released),
        }
    }

    /// Takes the end of a write. Connections whose answers may leave are appended to `released`.
    pub(super) fn on_written(
        &mut self,
        core: &mut CoreState,
        transfer: Transfer,
        result: io::Result<()>,
        released: &mut Vec<ConnectionId>,
    ) {
        if let Keeper::Files(files) = self {
            files.on_written(core, transfer, result, released);
        }
    }

    /// Takes the end of a read.
    pub(super) fn on_read(&mut self, core: &mut CoreState, transfer: Transfer, result: io::Result<()>) {
        if let Keeper::Files(files) = self {
            files.on_read(core, transfer, result);
        }
    }

    /// The timer of the journal has fired. Connections whose answers may leave are appended to `released`.
    pub(super) fn on_timer(&mut self, core: &mut CoreState, released: &mut Vec<ConnectionId>) {
        match self {
            Keeper::Files(files) => files.on_timer(),
            Keeper::Remote(batches) => batches.on_timer(core, released),
        }
    }

    /// There may be room for what memory had none for.
    pub(super) fn on_spill_timer(&mut self, core: &mut CoreState) {
        match self {
            Keeper::Files(files) => files.on_spill_timer(),
            Keeper::Remote(batches) => batches.on_spill_timer(core),
        }
    }
}

/// Whether nothing of the journal is under way.
pub(super) fn is_settled(core: &CoreState) -> bool {
    let is_settled =
        |journal: &CoreJournal| journal.journal.is_settled() && journal.returned.iter().all(Vec::is_empty);
    core.orders.is_empty() && core.journal.as_ref().is_none_or(|journal| is_settled(journal))
}

//! The database file: made whole or not at all, read in snapshots, opened again after a failed write.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{
    Builder, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
};

use super::changes::Changes;
use super::error::{Resource, StoreError};
use super::folder::MODEL_FILE;
use super::new_database::make_database;
use super::read::{class_key, flow_ids_of_webhook, id_named, read_access_tokens, read_record};
use super::record::ModelRecord;
use super::record_change::RecordKind;
use super::tables::{
    ACCESS_TOKENS, APPLICATIONS, COUNTS, FLOW_CLASSES, FLOW_VERSIONS, FLOWS, FLOWS_OF_WEBHOOK, FORMAT,
    FORMAT_KEY, IdKey, META, ORDER, TOKENS, WEBHOOKS, id_of,
};
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::model::{AccessToken, Application, Flow, FlowVersion, Webhook};

/// Bytes of pages kept in memory: the inner pages of the trees of a million webhooks (six trees of 2,500), and some.
const CACHE_BYTES: usize = 24 * 1024 * 1024;

/// The open database.
pub(super) struct Database {
    path: PathBuf,
    /// `None` where opening it again failed; the next use tries once more.
    open: RwLock<Option<redb::Database>>,
}

impl Database {
    /// Opens the database in a folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Database, StoreError> {
        let path = folder.join(MODEL_FILE);
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(folder, &path)?,
            Err(error) => return Err(StoreError::io(&path, &error)),
        }
        let (open, format) = open_existing(&path, true)?;
        if format < FORMAT {
            upgrade(&open, &path)?;
        }
        Ok(Database { path, open: RwLock::new(Some(open)) })
    }

    /// Looks at one snapshot.
    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&StoreReads<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let begun = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            open.as_ref().map(ReadableDatabase::begin_read)
        };
        let transaction = match begun {
            Some(Ok(transaction)) => transaction,
            Some(Err(error)) => return Err(StoreError::database(&self.path, error)),
            None => {
                self.reopen()?;
                let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
                let database = open.as_ref().ok_or(StoreError::Interrupted)?;
                database.begin_read().map_err(|error| StoreError::database(&self.path, error))?
            }
        };
        look(&StoreReads { transaction, path: &self.path })
    }

    /// Runs `work` in a write transaction and commits it, on the disk when this returns. After a failure nothing of
    /// it is kept, and the file is opened again: redb takes no more writes after an error of input or output.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.reopen()?;
        }
        let outcome = self.write_once(work);
        if let Err(StoreError::Io { .. } | StoreError::Full(_)) = &outcome {
            // The next use opens it, or fails with the same error.
            if let Err(error) = self.reopen() {
                bounded_log!(error, %error, "the database cannot be opened again after a write that failed");
            }
        }
        outcome
    }

    /// Runs `work` in a write transaction and undoes it.
    pub(super) fn stage<T>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.open.read().unwrap_or_else(PoisonError::into_inner).is_none() {
            self.reopen()?;
        }
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(StoreError::Interrupted)?;
        let failed = |error: redb::Error| StoreError::database(&self.path, error);
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        let value = {
            let mut changes = Changes::begin(&transaction, &self.path)?;
            work(&mut changes)?
        };
        transaction.abort().map_err(|error| failed(error.into()))?;
        Ok(value)
    }

    fn write_once<T>(
        &self,
        work: impl FnOnce(&mut Changes<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let database = open.as_ref().ok_or(StoreError::Interrupted)?;
        let failed = |error: redb::Error| StoreError::database(&self.path, error);
        let mut transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| failed(error.into()))?;
        let value = {
            let mut changes = Changes::begin(&transaction, &self.path)?;
            work(&mut changes)?
        };
        transaction.commit().map_err(|error| failed(error.into()))?;
        Ok(value)
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        // The old one holds the file's lock.
        drop(open.take());
        // The check at the start found it whole, and redb repairs what a failed write left.
        let (reopened, _) = open_existing(&self.path, false)?;
        *open = Some(reopened);
        Ok(())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty database with all its tables.
fn create(folder: &Path, path: &Path) -> Result<(), StoreError> {
    make_database(folder, path, |transaction| {
        transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
        // Opened once, so that a reader finds them.
        transaction.open_table(APPLICATIONS)?;
        transaction.open_table(WEBHOOKS)?;
        transaction.open_table(FLOWS)?;
        transaction.open_table(FLOW_VERSIONS)?;
        transaction.open_table(FLOW_CLASSES)?;
        transaction.open_table(TOKENS)?;
        transaction.open_table(ORDER)?;
        transaction.open_table(COUNTS)?;
        transaction.open_table(FLOWS_OF_WEBHOOK)?;
        Ok(())
    })
}

/// Makes the tables that format 1 did not have, in one transaction: a crash leaves the database as it was.
fn upgrade(database: &redb::Database, path: &Path) -> Result<(), StoreError> {
    let failed = |error: redb::Error| StoreError::database(path, error);
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    {
        transaction.open_table(FLOW_VERSIONS).map_err(|error| failed(error.into()))?;
        let mut classes = transaction.open_table(FLOW_CLASSES).map_err(|error| failed(error.into()))?;
        let flows = transaction.open_table(FLOWS).map_err(|error| failed(error.into()))?;
        for entry in flows.iter().map_err(|error| failed(error.into()))? {
            let (key, bytes) = entry.map_err(|error| failed(error.into()))?;
            let flow = Flow::read(bytes.value()).map_err(|error| StoreError::record(path, &error))?;
            if let Some(class) = class_key(flow.class) {
                classes.insert(key.value(), class).map_err(|error| failed(error.into()))?;
            }
        }
        let mut meta = transaction.open_table(META).map_err(|error| failed(error.into()))?;
        meta.insert(FORMAT_KEY, FORMAT).map_err(|error| failed(error.into()))?;
    }
    transaction.commit().map_err(|error| failed(error.into()))?;
    tracing::info!(path = %path.display(), format = FORMAT, "upgraded the database");
    Ok(())
}

/// Opens a database that must be there and whole. With `check` every page that is in use is read and held against its
/// checksum: without it redb trusts a file that was closed in order, and would serve what was altered behind its back.
fn open_existing(path: &Path, check: bool) -> Result<(redb::Database, u64), StoreError> {
    let damaged = |why: &str| StoreError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let length = fs::metadata(path).map_err(|error| StoreError::io(path, &error))?.len();
    if length == 0 {
        return Err(damaged("it is empty"));
    }
    // Unchecked, redb may panic on a file that was altered behind its back.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut builder = builder();
        builder.set_check_integrity_on_open(check);
        let database = builder.open(path).map_err(|error| StoreError::database(path, error))?;
        let transaction = database.begin_read().map_err(|error| StoreError::database(path, error))?;
        let reads = StoreReads { transaction, path };
        let format = reads.table(META)?.get(FORMAT_KEY).map_err(|error| StoreError::database(path, error))?;
        let format = format.map(|format| format.value());
        drop(reads);
        Ok::<_, StoreError>((database, format))
    }));
    match opened {
        Err(_) => Err(damaged("its pages contradict one another")),
        Ok(Err(error)) => Err(error),
        Ok(Ok((_, None))) => Err(damaged("it holds no version")),
        Ok(Ok((_, Some(found)))) if found > FORMAT => {
            Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        Ok(Ok((database, Some(format)))) => Ok((database, format)),
    }
}

/// One snapshot of the database.
pub(super) struct StoreReads<'d> {
    transaction: ReadTransaction,
    path: &'d Path,
}

impl StoreReads<'_> {
    /// The snapshot itself.
    pub(super) fn transaction(&self) -> &ReadTransaction {
        &self.transaction
    }

    /// A table of the snapshot.
    pub(super) fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        self.transaction.open_table(table).map_err(|error| self.failed(error))
    }

    /// The error of an operation on this database.
    pub(super) fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::database(self.path, error)
    }

    /// The access tokens beside the first, in the order of their ids.
    pub(super) fn access_tokens(&self) -> Result<Vec<AccessToken>, StoreError> {
        let table = match self.transaction.open_table(ACCESS_TOKENS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table.map_err(|error| self.failed(error))?,
        };
        read_access_tokens(&table, self.path)
    }

    pub(super) fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        self.record(APPLICATIONS, id)
    }

    pub(super) fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        self.record(WEBHOOKS, id)
    }

    pub(super) fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        self.record(FLOWS, id)
    }

    pub(super) fn flow_version(&self, id: &Id) -> Result<Option<FlowVersion>, StoreError> {
        self.record(FLOW_VERSIONS, id)
    }

    /// The version of a flow with a name.
    pub(super) fn flow_version_named(
        &self,
        flow: &Id,
        name: &str,
    ) -> Result<Option<FlowVersion>, StoreError> {
        let id = id_named(&self.table(ORDER)?, Resource::FlowVersion, flow, name);
        id.map_err(|error| self.failed(error))?.map_or(Ok(None), |id| self.flow_version(&id))
    }

    /// The flow as it runs: its default version, or itself if it has none.
    pub(super) fn running(&self, flow: Flow) -> Result<Flow, StoreError> {
        let Some(id) = flow.default_version_id else { return Ok(flow) };
        let version = self.flow_version(&id)?.filter(|version| version.flow.id == flow.id);
        Ok(match version {
            Some(version) => version.running(&flow),
            None => flow,
        })
    }

    /// The flows whose class is not the default.
    pub(super) fn classes(&self) -> Result<Vec<(Id, u8)>, StoreError> {
        let mut classes = Vec::new();
        for entry in self.table(FLOW_CLASSES)?.iter().map_err(|error| self.failed(error))? {
            let (key, class) = entry.map_err(|error| self.failed(error))?;
            classes.extend(id_of(key.value()).map(|id| (id, class.value())));
        }
        Ok(classes)
    }

    /// The flows of a webhook's own application that name it, as they run.
    pub(super) fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError> {
        let Some(webhook) = self.webhook(id)? else { return Ok(Vec::new()) };
        let mut flows = Vec::new();
        for flow in self.flow_ids_of_webhook(id)? {
            let flow = self.flow(&flow)?;
            let flow = flow.filter(|flow| flow.application_id == webhook.application_id);
            flows.extend(flow.map(|flow| self.running(flow)).transpose()?);
        }
        Ok(flows)
    }

    pub(super) fn flow_ids_of_webhook(&self, id: &Id) -> Result<Vec<Id>, StoreError> {
        flow_ids_of_webhook(&self.table(FLOWS_OF_WEBHOOK)?, id).map_err(|error| self.failed(error))
    }

    pub(super) fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        self.for_each(APPLICATIONS, each)
    }

    pub(super) fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.for_each(WEBHOOKS, each)
    }

    /// Every flow, as it runs.
    pub(super) fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        let mut failure = Ok(());
        self.for_each(FLOWS, &mut |flow: Flow| match self.running(flow) {
            Ok(flow) => each(flow),
            Err(error) => failure = Err(error),
        })?;
        failure
    }

    fn for_each<R: ModelRecord>(
        &self,
        table: TableDefinition<'static, &'static IdKey, &'static [u8]>,
        each: &mut dyn FnMut(R),
    ) -> Result<(), StoreError> {
        let table = self.table(table)?;
        for entry in table.iter().map_err(|error| self.failed(error))? {
            let (_, bytes) = entry.map_err(|error| self.failed(error))?;
            each(R::read(bytes.value()).map_err(|error| StoreError::record(self.path, &error))?);
        }
        Ok(())
    }

    /// Calls `each` with every record of a kind.
    pub(super) fn each_record(
        &self,
        kind: RecordKind,
        each: &mut dyn FnMut(RecordKind, Id, &[u8]),
    ) -> Result<(), StoreError> {
        let table = match kind {
            RecordKind::Application => APPLICATIONS,
            RecordKind::Webhook => WEBHOOKS,
            RecordKind::Flow => FLOWS,
            RecordKind::FlowVersion => FLOW_VERSIONS,
            RecordKind::AccessToken => ACCESS_TOKENS,
        };
        let table = match self.transaction.open_table(table) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table.map_err(|error| self.failed(error))?,
        };
        for entry in table.iter().map_err(|error| self.failed(error))? {
            let (key, bytes) = entry.map_err(|error| self.failed(error))?;
            each(kind, Id::from_raw(*key.value()), bytes.value());
        }
        Ok(())
    }

    fn record<R: ModelRecord>(
        &self,
        table: TableDefinition<'static, &'static IdKey, &'static [u8]>,
        id: &Id,
    ) -> Result<Option<R>, StoreError> {
        read_record(&self.table(table)?, self.path, id)
    }
}

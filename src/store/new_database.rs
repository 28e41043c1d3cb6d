//! A database file that is made whole or not at all: a process that is killed meanwhile leaves nothing under its name.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, StorageBackend, WriteTransaction};

use super::error::StoreError;
use super::folder::{self, FILE_MODE};

/// Makes a database under another name, and gives it its own once it is whole on the disk. `fill` makes its tables.
///
/// # Errors
/// If it cannot be written.
pub(super) fn make_database(
    folder: &Path,
    path: &Path,
    fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let failed = |error: redb::Error| StoreError::database(path, error);
    let at = |error: std::io::Error| StoreError::io(path, &error);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary);
    let file = file.map_err(at)?;
    let own = file.try_clone().map_err(at)?;
    let backend = Unsynced(FileBackend::new(own).map_err(|error| failed(error.into()))?);
    let database = Builder::new().create_with_backend(backend).map_err(|error| failed(error.into()))?;
    let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
    fill(&transaction).map_err(failed)?;
    transaction.commit().map_err(|error| failed(error.into()))?;
    drop(database);
    file.sync_all().and_then(|()| folder::publish(folder, &temporary, path)).map_err(at)
}

/// A file that has no name yet, and that is synced once it is whole.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}

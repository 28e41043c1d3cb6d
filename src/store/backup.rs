//! A copy of the model as one file, made from a snapshot while the store serves (`GET /backup`).
//!
//! The copy is a database of its own: every table of the snapshot, written anew in the order of its keys. A folder that
//! holds it as `model.redb` is one that a server starts from. Not in it: the first access token, which is a file beside the
//! database, dead letters, and the journal, whose entries the server that accepted them delivers.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableHandle as _, WriteTransaction};

use super::Store;
use super::database::StoreReads;
use super::error::StoreError;
use super::folder::FILE_MODE;
use super::tables::{
    ACCESS_TOKENS, APPLICATIONS, COUNTS, FLOW_CLASSES, FLOW_VERSIONS, FLOWS, FLOWS_OF_WEBHOOK, META, ORDER,
    TOKENS, WEBHOOKS,
};

/// Name of the copy while it is made; its file has no name afterwards.
const TEMPORARY: &str = "backup.new";

impl Store {
    /// Copies the model into a file of the data folder that has no name: it is gone once it is closed. One at a time.
    ///
    /// # Errors
    ///
    /// If the database cannot be read, or the disk does not take the copy.
    pub fn back_up(&self) -> Result<File, StoreError> {
        let _alone = super::lock(&self.backing_up);
        let path = self.folder.path().join(TEMPORARY);
        let failed = |error: std::io::Error| StoreError::io(&path, &error);
        // A crash leaves it behind.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed)?;
        std::fs::remove_file(&path).map_err(failed)?;
        let own = file.try_clone().map_err(failed)?;
        self.database.read(|reads| copy(reads, own, &path))?;
        Ok(file)
    }
}

/// Writes every table of a snapshot into an empty file.
fn copy(reads: &StoreReads<'_>, file: File, path: &Path) -> Result<(), StoreError> {
    let failed = |error: redb::Error| StoreError::database(path, error);
    let backend = FileBackend::new(file).map_err(|error| failed(error.into()))?;
    let made = redb::Builder::new().create_with_backend(backend).map_err(|error| failed(error.into()))?;
    let write = made.begin_write().map_err(|error| failed(error.into()))?;
    let mut copy = Copy { read: reads.transaction(), write: &write, copied: BTreeSet::new() };
    copy.all().map_err(failed)?;
    for handle in reads.transaction().list_tables().map_err(|error| failed(error.into()))? {
        // A copy that lacks one would look whole.
        if !copy.copied.contains(handle.name()) {
            let why = format!("the table {} is not one that a copy can hold", handle.name());
            return Err(StoreError::Damaged { path: path.to_owned(), why });
        }
    }
    write.commit().map_err(|error| failed(error.into()))
}

/// A copy that is being made.
struct Copy<'t> {
    read: &'t ReadTransaction,
    write: &'t WriteTransaction,
    /// Names of the tables that were copied.
    copied: BTreeSet<String>,
}

impl Copy<'_> {
    fn all(&mut self) -> Result<(), redb::Error> {
        self.table(META)?;
        self.table(APPLICATIONS)?;
        self.table(WEBHOOKS)?;
        self.table(FLOWS)?;
        self.table(FLOW_VERSIONS)?;
        self.table(FLOW_CLASSES)?;
        self.table(TOKENS)?;
        self.table(ACCESS_TOKENS)?;
        self.table(ORDER)?;
        self.table(COUNTS)?;
        self.table(FLOWS_OF_WEBHOOK)
    }

    /// Copies a table; one that is missing, as [`ACCESS_TOKENS`] may be, stays missing.
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &mut self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error> {
        self.copied.insert(definition.name().to_owned());
        let from = match self.read.open_table(definition) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
            from => from?,
        };
        let mut to = self.write.open_table(definition)?;
        for entry in from.iter()? {
            let (key, value) = entry?;
            to.insert(key.value(), value.value())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::json;

    use super::*;
    use crate::model::{Application, Flow, FlowVersion, Webhook};
    use crate::store::{ListQuery, MODEL_FILE, Source as _};

    #[test]
    fn a_copy_is_a_whole_database_and_leaves_nothing_behind() {
        let (original, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Store::open(original.path()).unwrap();
        let application = Application::create(&json!({"name": "shop"}), 1).unwrap();
        let application = store.insert_application(application).unwrap().value;
        let webhook = Webhook::create(&json!({"name": "orders"}), application.id, 2).unwrap();
        let webhook = store.insert_webhook(webhook).unwrap().value;
        let trigger = json!([{"type": "webhook", "key": webhook.id.to_string()}]);
        let flow = Flow::create(&json!({"name": "f", "triggers": trigger}), application.id, 3).unwrap();
        let flow = store.insert_flow(flow).unwrap().value;
        let version = FlowVersion::create(&json!({"version": "v1"}), &flow, 4).unwrap();
        store.change(move |changes| changes.insert_flow_version(version.clone(), false)).unwrap();

        // Left by a crash.
        std::fs::write(original.path().join(TEMPORARY), "half").unwrap();
        let mut bytes = Vec::new();
        let mut copied = store.back_up().unwrap();
        // What is written meanwhile is not in it.
        store.insert_webhook(Webhook::create(&json!({"name": "later"}), application.id, 5).unwrap()).unwrap();
        std::io::Seek::rewind(&mut copied).unwrap();
        copied.read_to_end(&mut bytes).unwrap();
        assert!(!original.path().join(TEMPORARY).exists());

        std::fs::write(other.path().join(MODEL_FILE), bytes).unwrap();
        let restored = Store::open(other.path()).unwrap();
        assert_eq!(restored.webhook(&webhook.id), Ok(Some(webhook.clone())));
        assert_eq!(restored.flows_of_webhook(&webhook.id), store.flows_of_webhook(&webhook.id));
        let all = ListQuery::default();
        assert_eq!(restored.webhooks(&application.id, &all).unwrap().total, 1);
        assert_eq!(restored.flow_versions(&flow.id, &all), store.flow_versions(&flow.id, &all));
        restored
            .insert_webhook(Webhook::create(&json!({"name": "new"}), application.id, 6).unwrap())
            .unwrap();
    }
}

//! The model as a copy of one that several nodes share. The database is then written by one hand alone: that of
//! [`Store::apply`], with what the shared model says, in its order. A change of this node's REST API is made on a
//! snapshot, its records are handed to the [`Replica`], and it is answered once they came back and were applied. So
//! everything that a change has checked (that a token is nobody else's, that an application is there) holds for the
//! shared model, too: the replica takes the records only if nothing was written since the snapshot.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use redb::ReadableTable;

use super::changes::{Changes, failed};
use super::error::{Resource, StoreError};
use super::folder::MODEL_FILE;
use super::record_change::{RecordChange, RecordKey, RecordKind};
use super::tables::{META, list_key};
use super::{ChangeJob, Store, Told};
use crate::base::id::Id;
use crate::model::{AccessToken, Application, Flow, FlowVersion, Webhook};

/// `META`'s key of the revision of the shared model that the database is a copy of.
const REVISION_KEY: &str = "replica-revision";
/// `META`'s key of the number of the shared model. None: the database is no copy.
const ORIGIN_KEY: &str = "replica-origin";
/// How often a change is made again because another node wrote first.
const CONFLICTS_MAX: usize = 64;
/// Earlier models that a folder keeps.
const ASIDE_MAX: usize = 100;
/// The model that the database is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeOrigin {
    /// Number of the shared model: another one is another model.
    pub number: u64,
    /// Its revision that was applied last.
    pub revision: u64,
}

/// Why the shared model did not take records. Nothing of them is kept, unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReplicated {
    /// Another node has written since the snapshot, and this one has applied it by now.
    Conflict,
    /// It cannot be reached, or nobody knows whether it has taken them.
    Unavailable(String),
    /// It never takes them.
    Refused(String),
}

impl fmt::Display for NotReplicated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReplicated::Conflict => f.write_str("another node has changed the model first"),
            NotReplicated::Unavailable(why) | NotReplicated::Refused(why) => f.write_str(why),
        }
    }
}

/// The model that nodes share.
pub trait Replica: Send + Sync {
    /// Writes records as a whole if nothing was written since `revision`, and returns once they are there and were applied
    /// here. May wait.
    ///
    /// # Errors
    /// [`NotReplicated`].
    fn write(&self, revision: u64, records: &[RecordChange]) -> Result<(), NotReplicated>;
}

impl Store {
    /// Makes the database a copy: from here on changes go to the replica. The first call counts.
    pub fn replicate(&self, replica: Arc<dyn Replica>) {
        let _ = self.replica.set(replica);
    }

    /// The model that the database is a copy of; `None` if it is not a copy.
    ///
    /// # Errors
    /// If the database failed.
    pub fn origin(&self) -> Result<Option<ChangeOrigin>, StoreError> {
        self.database.read(|reads| {
            let meta = reads.table(META)?;
            let get = |key| meta.get(key).map_err(|error| reads.failed(error));
            let (number, revision) = (get(ORIGIN_KEY)?, get(REVISION_KEY)?);
            let revision = revision.map_or(0, |revision| revision.value());
            Ok(number.map(|number| ChangeOrigin { number: number.value(), revision }))
        })
    }

    /// Writes what the shared model has at a revision, and tells the observer. The records are in its order.
    ///
    /// # Errors
    /// If the database failed, or the change is not in effect ([`StoreError::NotApplied`]).
    pub fn apply(&self, origin: ChangeOrigin, records: &[RecordChange]) -> Result<(), StoreError> {
        let affected = self.database.write(|changes| {
            for record in records {
                changes.apply(record)?;
            }
            changes.set_origin(origin)?;
            Ok(std::mem::take(&mut changes.affected))
        })?;
        self.tell_observer(affected)
    }

    /// Deletes every record that is not among `kept`: the end of a copy that was made from the beginning.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn retain(&self, origin: ChangeOrigin, kept: &HashSet<RecordKey>) -> Result<(), StoreError> {
        let mut gone: Vec<RecordChange> = Vec::new();
        self.for_each_record(&mut |kind, id, _| {
            if !kept.contains(&(kind, id)) {
                gone.push(RecordChange { kind, id, value: None });
            }
        })?;
        self.apply(origin, &gone)
    }

    /// Calls `each` with every record of the model, in the order of [`RecordKind::ALL`].
    ///
    /// # Errors
    /// If the database failed.
    pub fn for_each_record(&self, each: &mut dyn FnMut(RecordKind, Id, &[u8])) -> Result<(), StoreError> {
        self.database
            .read(|reads| RecordKind::ALL.into_iter().try_for_each(|kind| reads.each_record(kind, each)))
    }

    /// Keeps a copy of the database beside it, if it holds anything; returns the file.
    ///
    /// # Errors
    /// If the copy cannot be made.
    pub fn set_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let mut is_empty = true;
        self.for_each_record(&mut |_, _, _| is_empty = false)?;
        if is_empty {
            return Ok(None);
        }
        let folder = self.folder.path();
        for number in 1..ASIDE_MAX {
            let path = folder.join(format!("model-before-cluster-{number}.redb"));
            if path.exists() {
                continue;
            }
            // A copy of the file at any moment opens with all that was committed before.
            std::fs::copy(folder.join(MODEL_FILE), &path).map_err(|error| StoreError::io(&path, &error))?;
            return Ok(Some(path));
        }
        Err(StoreError::NotTaken {
            why: format!("{} has too many earlier models: delete some", folder.display()),
        })
    }

    /// Makes changes on a snapshot, hands their records over, and tells the callers how it went.
    pub(super) fn replicate_jobs(&self, replica: &dyn Replica, mut jobs: Vec<ChangeJob>) {
        for _ in 0..CONFLICTS_MAX {
            let mut tellings: Vec<Told> = Vec::with_capacity(jobs.len());
            let staged = self.database.stage(|changes| {
                changes.noted = Some(Vec::new());
                let revision = changes.revision()?;
                for job in &mut jobs {
                    tellings.push((job.run)(changes));
                    if let Some(error) = &changes.failed {
                        return Err(error.clone());
                    }
                }
                Ok((revision, last_of_each(changes.noted.take().unwrap_or_default())))
            });
            let outcome = match staged {
                Err(error) => Err(error),
                Ok((_, records)) if records.is_empty() => Ok(()),
                Ok((revision, records)) => match replica.write(revision, &records) {
                    Ok(()) => Ok(()),
                    Err(NotReplicated::Conflict) => continue,
                    Err(NotReplicated::Unavailable(why)) => Err(StoreError::Unavailable { why }),
                    Err(NotReplicated::Refused(why)) => Err(StoreError::NotTaken { why }),
                },
            };
            return tellings.into_iter().for_each(|tell| tell(outcome.clone()));
        }
        let why = NotReplicated::Conflict.to_string();
        for job in &mut jobs {
            (job.give_up)(StoreError::Unavailable { why: why.clone() });
        }
    }
}

/// Of several changes of one record the last, in the order in which they were made.
fn last_of_each(mut records: Vec<RecordChange>) -> Vec<RecordChange> {
    let mut seen = HashSet::new();
    records.reverse();
    records.retain(|record| seen.insert(record.key()));
    records.reverse();
    records
}

impl Changes<'_> {
    fn revision(&self) -> Result<u64, StoreError> {
        let revision = self.meta.get(REVISION_KEY).map_err(|error| failed(self.path, error))?;
        Ok(revision.map_or(0, |revision| revision.value()))
    }

    fn set_origin(&mut self, origin: ChangeOrigin) -> Result<(), StoreError> {
        for (key, value) in [(ORIGIN_KEY, origin.number), (REVISION_KEY, origin.revision)] {
            self.meta.insert(key, value).map_err(|error| failed(self.path, error))?;
        }
        Ok(())
    }

    /// Writes a record as it is, with all that lists and indexes have of it.
    fn apply(&mut self, record: &RecordChange) -> Result<(), StoreError> {
        let path = self.path;
        let bad = |error: crate::model::StoredError| StoreError::record(path, &error);
        let id = &record.id;
        match (record.kind, record.value.as_deref()) {
            (RecordKind::Application, Some(bytes)) => {
                let new = Application::from_stored(bytes).map_err(bad)?;
                let old = self.application(id)?;
                self.put_application(old.as_ref(), &new)?;
                let webhooks = self.ids_of_list(&list_key(Resource::Webhook, Some(id)))?;
                self.affected.webhooks.extend(webhooks);
            }
            (RecordKind::Application, None) => {
                if let Some(old) = self.application(id)? {
                    self.remove_application(&old)?;
                }
            }
            (RecordKind::Webhook, Some(bytes)) => {
                let new = Webhook::from_stored(bytes).map_err(bad)?;
                let old = self.webhook(id)?;
                self.retoken(old.as_ref(), &new)?;
                self.put_webhook(old.as_ref(), &new)?;
            }
            (RecordKind::Webhook, None) => {
                if let Some(old) = self.webhook(id)? {
                    self.remove_webhook(&old)?;
                }
            }
            (RecordKind::Flow, Some(bytes)) => {
                let new = Flow::from_stored(bytes).map_err(bad)?;
                let old = self.flow(id)?;
                self.put_flow(old.as_ref(), &new)?;
            }
            (RecordKind::Flow, None) => {
                if let Some(old) = self.flow(id)? {
                    self.remove_flow(&old)?;
                }
            }
            (RecordKind::FlowVersion, Some(bytes)) => {
                let new = FlowVersion::from_stored(bytes).map_err(bad)?;
                let old = self.flow_version(id)?;
                // The flow that it is a version of came before it.
                let flow = self.flow(&new.flow.id)?.unwrap_or_else(|| new.flow.clone());
                self.put_version(&flow, old.as_ref(), &new)?;
            }
            (RecordKind::FlowVersion, None) => {
                if let Some(old) = self.flow_version(id)? {
                    self.remove_version(&list_key(Resource::FlowVersion, Some(&old.flow.id)), id)?;
                }
            }
            (RecordKind::AccessToken, Some(bytes)) => {
                AccessToken::from_stored(bytes).map_err(bad)?;
                self.keep(record.kind, *id, bytes)?;
                self.affected.access_tokens = true;
            }
            (RecordKind::AccessToken, None) => {
                self.drop_record(record.kind, id)?;
                self.affected.access_tokens = true;
            }
        }
        Ok(())
    }

    /// Gives a webhook the tokens of its new record.
    fn retoken(&mut self, old: Option<&Webhook>, new: &Webhook) -> Result<(), StoreError> {
        for token in old.into_iter().flat_map(Webhook::tokens) {
            let key = token.key();
            let owner = self.tokens.get(key.as_bytes()).map_err(|error| failed(self.path, error))?;
            let is_own = owner.is_some_and(|owner| *owner.value() == *new.id.raw());
            if is_own {
                self.tokens.remove(key.as_bytes()).map_err(|error| failed(self.path, error))?;
            }
        }
        for token in new.tokens() {
            let written = self.tokens.insert(token.key().as_bytes(), new.id.raw());
            written.map_err(|error| failed(self.path, error))?;
        }
        Ok(())
    }
}

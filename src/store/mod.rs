//! Layer 3: keeps the model — applications, webhooks, flows — in `<data>/model.redb`, and the access token beside it.
//!
//! A write that has returned is on the disk: each is committed durably before its caller is answered, and concurrent
//! writes share one commit ([`Store::change`] groups them). A change is read, altered and written inside the one
//! writer, so that two PATCHes of one resource never lose one another.
//!
//! After each commit, and before the callers hear of it, the observer is told which webhooks now act differently
//! ([`Store::observe`]); commits reach it in their order. That is how "what the API answered is so" holds. Where the
//! observer fails or panics, the callers are told that their change is kept and not in effect
//! ([`StoreError::NotApplied`]); where the commit itself fails, the observer is told all the same, since what is on the
//! disk then is known only to who reads it.
//!
//! # Files
//!
//! A database that is not there is made under another name and gets its own when it is whole, so that a file that is
//! there and cannot be read is damage, never a fresh start: [`Store::open`] refuses it.
//!
//! Not here: what is valid (the model), and compiling it for requests (the registry, through [`Source`]).

mod access_tokens;
mod advanced;
mod backup;
mod changes;
mod database;
mod error;
mod folder;
mod glob;
pub mod letters;
mod list;
mod listing;
mod new_database;
mod read;
mod record;
mod record_change;
mod replica;
mod tables;
mod token;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) use advanced::AdvancedQuery;
pub(crate) use changes::Changes;
pub use error::StoreError;
pub(crate) use error::{ChangeError, Resource};
pub(crate) use folder::MODEL_FILE;
pub(crate) use folder::{ACCESS_TOKEN_FILE, DataFolder, LOCK_FILE, access_token};
pub(crate) use glob::Glob;
pub(crate) use list::{FlowFilter, ListQuery, Listed, TriggerMatch};
pub use record::Affected;
pub(crate) use record_change::{RECORD_VERSION, RecordChange, RecordKey, RecordKind};
pub(crate) use replica::{ChangeOrigin, NotReplicated, Replica};
pub(crate) use tables::{ACCESS_TOKENS_MAX, SortField};

use crate::base::id::Id;
use crate::model::{Application, Flow, FlowVersion, ModelError, TokenChange, Webhook};
use database::Database;
use letters::{LetterLimits, Letters};

/// Most changes in one commit, so that the first of them does not wait for ever.
const CHANGES_PER_COMMIT_MAX: usize = 1_024;

/// The resources that the registry compiles.
pub trait Source {
    /// The application, if there is one.
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError>;
    /// The webhook, if there is one.
    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError>;
    /// The flow, if there is one.
    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError>;
    /// The flows of the webhook's own application that name it, enabled or not, in the order of their ids, each as it
    /// runs: a default version takes the place of the flow.
    fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError>;
    /// Every application.
    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError>;
    /// Every webhook.
    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError>;
    /// Every flow, as it runs.
    fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError>;
}

/// Told of each commit. An error says why the change is not in effect, although it is kept.
pub type Observer = Box<dyn Fn(&Store, &Affected) -> Result<(), String> + Send + Sync>;

/// The model on disk. Shared by reference between threads; writes wait for the disk.
pub struct Store {
    database: Database,
    letters: Mutex<Option<Arc<Letters>>>,
    /// Changes that wait for a commit.
    waiting: Mutex<Vec<ChangeJob>>,
    /// Held by the thread that commits.
    committing: Mutex<()>,
    /// Held while a copy is made.
    backing_up: Mutex<()>,
    observer: OnceLock<Observer>,
    /// Where changes go if the database is a copy.
    replica: OnceLock<Arc<dyn Replica>>,
    folder: DataFolder,
}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// The resource as it is now, or was when it was deleted.
    pub value: T,
    /// The webhooks that act differently since.
    pub webhooks: Vec<Id>,
}

struct ChangeJob {
    /// Makes the change; made again if what it has written is undone.
    run: Box<dyn FnMut(&mut Changes<'_>) -> Told + Send>,
    /// Tells the caller that it will not be made.
    give_up: Box<dyn FnMut(StoreError) + Send>,
}

/// Tells the caller how its change ended, once the commit did or failed.
type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Store {
    /// Opens the data folder and the database in it; makes what is missing.
    ///
    /// # Errors
    ///
    /// Where the folder is unusable or held by another process, or the database is damaged or of a later version.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::open_in(DataFolder::open(path)?)
    }

    /// As [`Store::open`], in a folder that is held already.
    ///
    /// # Errors
    ///
    /// Where the database is damaged or of a later version, or cannot be made.
    pub fn open_in(folder: DataFolder) -> Result<Store, StoreError> {
        let database = Database::open(folder.path())?;
        Ok(Store {
            database,
            letters: Mutex::default(),
            waiting: Mutex::default(),
            committing: Mutex::default(),
            backing_up: Mutex::default(),
            observer: OnceLock::new(),
            replica: OnceLock::new(),
            folder,
        })
    }

    /// The dead letters of the folder, opened at the first call.
    ///
    /// # Errors
    ///
    /// If their file cannot be opened.
    pub fn letters(&self) -> Result<Arc<Letters>, StoreError> {
        let mut letters = lock(&self.letters);
        if let Some(letters) = &*letters {
            return Ok(Arc::clone(letters));
        }
        let opened = Arc::new(Letters::open(self.folder.path(), LetterLimits::default())?);
        Ok(Arc::clone(letters.insert(opened)))
    }

    /// The folder that it holds.
    #[must_use]
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Names the one who is told of commits. The first call counts.
    pub fn observe(&self, observer: Observer) {
        let _ = self.observer.set(observer);
    }

    /// Makes one or more changes as a whole: all of them are kept, or none.
    ///
    /// `change` is run by whichever thread commits next, together with the changes of others. It must check before it
    /// writes: an error undoes nothing of what it wrote itself, since the others' work is in the same transaction.
    /// (The operations of [`Changes`] do so, each for itself.) On a node of a cluster it is run again where another node
    /// has changed the model first.
    ///
    /// # Errors
    ///
    /// Runs `change` and returns its result, or the failure of the commit.
    pub fn change<T: Send + 'static>(
        &self,
        mut change: impl FnMut(&mut Changes<'_>) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<Changed<T>, ChangeError> {
        let (tell, told) = mpsc::sync_channel(1);
        let refused = tell.clone();
        let job = ChangeJob {
            give_up: Box::new(move |error| drop(refused.send(Err(ChangeError::Store(error))))),
            run: Box::new(move |changes| {
                let tell = tell.clone();
                let before = changes.affected.webhooks.len();
                let outcome = change(changes);
                if let Err(ChangeError::Store(error)) = &outcome {
                    changes.failed = Some(error.clone());
                }
                let webhooks = changes.affected.webhooks[before..].to_vec();
                Box::new(move |committed| {
                    let outcome = match (outcome, committed) {
                        (Err(error), _) => Err(error),
                        (Ok(_), Err(error)) => Err(ChangeError::Store(error)),
                        (Ok(value), Ok(())) => Ok(Changed { value, webhooks }),
                    };
                    // The caller may have gone away with its thread; then nobody needs to know.
                    let _ = tell.send(outcome);
                })
            }),
        };
        lock(&self.waiting).push(job);
        let _committing = lock(&self.committing);
        loop {
            match told.try_recv() {
                Ok(outcome) => return outcome,
                // The thread that took it along did not come to its end.
                Err(mpsc::TryRecvError::Disconnected) => return Err(StoreError::Interrupted.into()),
                // Nobody has taken it along yet.
                Err(mpsc::TryRecvError::Empty) => self.commit_waiting(),
            }
        }
    }

    /// Commits what waits longest, as one. The caller holds `committing`.
    fn commit_waiting(&self) {
        let jobs = {
            let mut waiting = lock(&self.waiting);
            let count = waiting.len().min(CHANGES_PER_COMMIT_MAX);
            let rest = waiting.split_off(count);
            std::mem::replace(&mut *waiting, rest)
        };
        if let Some(replica) = self.replica.get() {
            return self.replicate_jobs(&**replica, jobs);
        }
        let mut tellings: Vec<Told> = Vec::with_capacity(jobs.len());
        let mut affected = Affected::default();
        let committed = self.database.write(|changes| {
            for mut job in jobs {
                tellings.push((job.run)(changes));
                if let Some(error) = &changes.failed {
                    return Err(error.clone());
                }
            }
            affected = std::mem::take(&mut changes.affected);
            Ok(())
        });
        let observed = self.tell_observer(affected);
        let outcome = committed.and(observed);
        for tell in tellings {
            tell(outcome.clone());
        }
    }

    /// Tells the observer what has changed, if anything has.
    fn tell_observer(&self, mut affected: Affected) -> Result<(), StoreError> {
        let Some(observer) = self.observer.get() else { return Ok(()) };
        if affected == Affected::default() {
            return Ok(());
        }
        for ids in [&mut affected.webhooks, &mut affected.flows] {
            ids.sort_unstable();
            ids.dedup();
        }
        // A panic must not take the answers of the callers with it: their changes are on the disk.
        let observed = std::panic::catch_unwind(AssertUnwindSafe(|| observer(self, &affected)));
        let observed = observed.unwrap_or_else(|_| Err("putting it into effect panicked".to_owned()));
        observed.map_err(|why| StoreError::NotApplied { why })
    }

    /// Keeps a new application.
    ///
    /// # Errors
    ///
    /// Where its id is taken, or the database failed.
    pub fn insert_application(&self, application: Application) -> Result<Changed<Application>, ChangeError> {
        self.change(move |changes| changes.insert_application(application.clone()))
    }

    /// Alters an application; every webhook of it is affected.
    ///
    /// # Errors
    ///
    /// Where there is none, `alter` refused, or the database failed.
    pub fn update_application(
        &self,
        id: Id,
        mut alter: impl FnMut(&mut Application) -> Result<(), ModelError> + Send + 'static,
    ) -> Result<Changed<Application>, ChangeError> {
        self.change(move |changes| changes.update_application(&id, &mut alter))
    }

    /// Deletes an application with its webhooks and flows.
    ///
    /// # Errors
    ///
    /// Where there is none, or the database failed.
    pub fn delete_application(&self, id: Id) -> Result<Changed<()>, ChangeError> {
        self.change(move |changes| changes.delete_application(&id))
    }

    /// Keeps a new webhook.
    ///
    /// # Errors
    ///
    /// Where its application is missing, its id or token is taken, or the database failed.
    pub fn insert_webhook(&self, webhook: Webhook) -> Result<Changed<Webhook>, ChangeError> {
        self.change(move |changes| changes.insert_webhook(webhook.clone()))
    }

    /// Alters a webhook of an application.
    ///
    /// # Errors
    ///
    /// Where there is none, `alter` refused, or the database failed.
    pub fn update_webhook(
        &self,
        application: Id,
        id: Id,
        mut alter: impl FnMut(&mut Webhook) -> Result<(), ModelError> + Send + 'static,
    ) -> Result<Changed<Webhook>, ChangeError> {
        self.change(move |changes| changes.update_webhook(&application, &id, &mut alter))
    }

    /// Gives a webhook of an application another token.
    ///
    /// # Errors
    ///
    /// If there is no such webhook, another one has the token, or the database failed.
    pub fn change_token(
        &self,
        application: Id,
        id: Id,
        change: TokenChange,
        unix_millis: u64,
    ) -> Result<Changed<Webhook>, ChangeError> {
        self.change(move |changes| changes.change_token(&application, &id, change.clone(), unix_millis))
    }

    /// Deletes a webhook of an application and, `with_flows`, every flow that has a trigger on it.
    ///
    /// # Errors
    ///
    /// Where there is none, or the database failed.
    pub fn delete_webhook(
        &self,
        application: Id,
        id: Id,
        with_flows: bool,
    ) -> Result<Changed<()>, ChangeError> {
        self.change(move |changes| changes.delete_webhook(&application, &id, with_flows))
    }

    /// Keeps a new flow.
    ///
    /// # Errors
    ///
    /// Where its application is missing, its id is taken, or the database failed.
    pub fn insert_flow(&self, flow: Flow) -> Result<Changed<Flow>, ChangeError> {
        self.change(move |changes| changes.insert_flow(flow.clone()))
    }

    /// Alters a flow of an application; the webhooks of its old and its new triggers are affected.
    ///
    /// # Errors
    ///
    /// Where there is none, `alter` refused, or the database failed.
    pub fn update_flow(
        &self,
        application: Id,
        id: Id,
        mut alter: impl FnMut(&mut Flow) -> Result<(), ModelError> + Send + 'static,
    ) -> Result<Changed<Flow>, ChangeError> {
        self.change(move |changes| changes.update_flow(&application, &id, &mut alter))
    }

    /// Deletes a flow of an application.
    ///
    /// # Errors
    ///
    /// Where there is none, or the database failed.
    pub fn delete_flow(&self, application: Id, id: Id) -> Result<Changed<()>, ChangeError> {
        self.change(move |changes| changes.delete_flow(&application, &id))
    }

    /// The version of a flow with an id, or else with a name.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flow_version(&self, flow: &Id, word: &str) -> Result<Option<FlowVersion>, StoreError> {
        self.database.read(|reads| match word.parse::<Id>() {
            Ok(id) => Ok(reads.flow_version(&id)?.filter(|version| version.flow.id == *flow)),
            Err(_) => reads.flow_version_named(flow, word),
        })
    }

    /// A page of a flow's versions.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flow_versions(&self, flow: &Id, query: &ListQuery) -> Result<Listed<FlowVersion>, StoreError> {
        self.database.read(|reads| list::flow_versions(reads, flow, query))
    }

    /// A page of the versions of an application's flows that have a name, or of all.
    ///
    /// # Errors
    ///
    /// If the database failed.
    pub fn flows_by_version(
        &self,
        application: &Id,
        version: Option<&str>,
        query: &ListQuery,
    ) -> Result<Listed<FlowVersion>, StoreError> {
        self.database.read(|reads| list::flows_by_version(reads, application, version, query))
    }

    /// The flow, if there is one.
    ///
    /// # Errors
    ///
    /// Where the database failed.
    pub fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        self.database.read(|reads| reads.flow(id))
    }

    /// A page of the applications.
    ///
    /// # Errors
    ///
    /// Where the database failed.
    pub fn applications(&self, query: &ListQuery) -> Result<Listed<Application>, StoreError> {
        self.database.read(|reads| list::applications(reads, query))
    }

    /// A page of an application's webhooks.
    ///
    /// # Errors
    ///
    /// Where the database failed.
    pub fn webhooks(&self, application: &Id, query: &ListQuery) -> Result<Listed<Webhook>, StoreError> {
        self.database.read(|reads| list::webhooks(reads, application, query))
    }

    /// A page of an application's flows.
    ///
    /// # Errors
    ///
    /// Where the database failed.
    pub fn flows(&self, application: &Id, query: &ListQuery) -> Result<Listed<Flow>, StoreError> {
        self.database.read(|reads| list::flows(reads, application, query))
    }
}

impl Source for Store {
    fn application(&self, id: &Id) -> Result<Option<Application>, StoreError> {
        self.database.read(|reads| reads.application(id))
    }

    fn webhook(&self, id: &Id) -> Result<Option<Webhook>, StoreError> {
        self.database.read(|reads| reads.webhook(id))
    }

    fn flow(&self, id: &Id) -> Result<Option<Flow>, StoreError> {
        self.database.read(|reads| reads.flow(id))
    }

    fn flows_of_webhook(&self, id: &Id) -> Result<Vec<Flow>, StoreError> {
        self.database.read(|reads| reads.flows_of_webhook(id))
    }

    fn for_each_application(&self, each: &mut dyn FnMut(Application)) -> Result<(), StoreError> {
        self.database.read(|reads| reads.for_each_application(each))
    }

    fn for_each_webhook(&self, each: &mut dyn FnMut(Webhook)) -> Result<(), StoreError> {
        self.database.read(|reads| reads.for_each_webhook(each))
    }

    fn for_each_flow(&self, each: &mut dyn FnMut(Flow)) -> Result<(), StoreError> {
        self.database.read(|reads| reads.for_each_flow(each))
    }
}

/// Locks; a thread that panicked with the lock left nothing half done, since its transaction went with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! Failures of the data folder and the database in it, worded so that an operator knows what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{ModelError, StoredError};

/// A failure of the data folder or of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The path of the data folder is something else.
    NotAFolder(PathBuf),
    /// The folder or a file in it cannot be made, read or written.
    NotAllowed { path: PathBuf, why: String },
    /// Another process works on the folder; its id, where it left one.
    Locked { path: PathBuf, process: Option<u32> },
    /// The file is there and is not what it was when it was written. Nothing was changed.
    Damaged { path: PathBuf, why: String },
    /// The file of the access token holds none: what one must be.
    NoAccessToken { path: PathBuf, must: String },
    /// A later version wrote the file.
    Newer { path: PathBuf, found: u64, known: u64 },
    /// The disk, or the quota, is full.
    Full(PathBuf),
    /// Any other failure of input or output.
    Io { path: PathBuf, why: String },
    /// The write that this one was to be committed with did not end.
    Interrupted,
    /// The model that nodes share cannot be written at present, or it is not known whether it was.
    Unavailable { why: String },
    /// The model that nodes share never takes the write.
    NotTaken { why: String },
    /// The write is kept, and what serves requests does not act by it yet.
    NotApplied { why: String },
}

impl StoreError {
    /// The error that an operation on `path` failed with.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> StoreError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::NotAllowed { path, why: error.to_string() }
            }
            io::ErrorKind::NotADirectory => StoreError::NotAFolder(path),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(path),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::Damaged { path, why: error.to_string() }
            }
            _ => StoreError::Io { path, why: error.to_string() },
        }
    }

    pub(super) fn database(path: &Path, error: impl Into<redb::Error>) -> StoreError {
        let path = path.to_owned();
        match error.into() {
            redb::Error::Io(error) => StoreError::io(&path, &error),
            redb::Error::DatabaseAlreadyOpen => StoreError::Locked { path, process: None },
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
                StoreError::Io { path, why: "an earlier write failed; it is being opened again".to_owned() }
            }
            error @ (redb::Error::Corrupted(_)
            | redb::Error::UpgradeRequired(_)
            | redb::Error::RepairAborted
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableDoesNotExist(_)
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => {
                StoreError::Damaged { path, why: error.to_string() }
            }
            error => StoreError::Io { path, why: error.to_string() },
        }
    }

    pub(super) fn record(path: &Path, error: &StoredError) -> StoreError {
        StoreError::Damaged { path: path.to_owned(), why: error.to_string() }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NotAFolder(path) => {
                write!(f, "{} is not a folder; name a folder for the data (`data`, `--data`)", path.display())
            }
            StoreError::NotAllowed { path, why } => {
                write!(
                    f,
                    "{} cannot be used: {why}; the folder and its files must belong to the user that runs \
                    tidegate",
                    path.display()
                )
            }
            StoreError::Locked { path, process: Some(process) } => {
                write!(
                    f,
                    "{} is in use by process {process}; one data folder serves one process",
                    path.display()
                )
            }
            StoreError::Locked { path, process: None } => {
                write!(
                    f,
                    "{} is in use by another process; one data folder serves one process",
                    path.display()
                )
            }
            StoreError::Damaged { path, why } => {
                write!(
                    f,
                    "{} is damaged: {why}; restore it from a copy, or move it away to start empty",
                    path.display()
                )
            }
            StoreError::NoAccessToken { path, must } => {
                write!(
                    f,
                    "{} holds no access token, which {must}: put one into it, or delete it and a new one is made at the next start; webhooks and flows stay",
                    path.display()
                )
            }
            StoreError::Newer { path, found, known } => {
                write!(
                    f,
                    "{} was written by a later version of tidegate (format {found}; this one knows {known})",
                    path.display()
                )
            }
            StoreError::Full(path) => write!(f, "no space left for {}", path.display()),
            StoreError::Io { path, why } => write!(f, "{}: {why}", path.display()),
            StoreError::Interrupted => f.write_str("the write was interrupted; nothing of it was kept"),
            StoreError::Unavailable { why } => write!(f, "the model cannot be changed now: {why}"),
            StoreError::NotTaken { why } => f.write_str(why),
            StoreError::NotApplied { why } => {
                write!(f, "the change is kept but not in effect yet: {why}; it is tried again until it is")
            }
        }
    }
}

impl std::error::Error for StoreError {}

/// The kinds of resource in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// An application.
    Application,
    /// A webhook.
    Webhook,
    /// A flow.
    Flow,
    /// A version of a flow.
    FlowVersion,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::Application => "Application",
            Resource::Webhook => "Webhook",
            Resource::Flow => "Flow",
            Resource::FlowVersion => "Flow version",
        })
    }
}

/// Why a change was not made. Nothing of it is kept, except for [`StoreError::NotApplied`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// There is no such resource (in that application).
    Missing(Resource),
    /// Its id, its token or a name that has to be unique is taken.
    Conflict(Resource),
    /// The change itself is not valid.
    Refused(ModelError),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> ChangeError {
        ChangeError::Store(error)
    }
}

impl From<ModelError> for ChangeError {
    fn from(error: ModelError) -> ChangeError {
        ChangeError::Refused(error)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::Missing(resource) => write!(f, "{resource} was not found"),
            ChangeError::Conflict(Resource::FlowVersion) => {
                f.write_str("Flow version with this name exists already; allowReplacement=true replaces it")
            }
            ChangeError::Conflict(resource) => write!(f, "{resource} with this id or token exists already"),
            ChangeError::Refused(error) => error.fmt(f),
            ChangeError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChangeError {}

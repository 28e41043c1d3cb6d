//! The data folder: made at first start, held by one process, and the access token in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::FlockOperation;

use super::error::StoreError;
use crate::settings::check_access_token;

/// Rights of the folder: its owner's alone.
const FOLDER_MODE: u32 = 0o700;
/// Rights of the files in it.
pub(super) const FILE_MODE: u32 = 0o600;
/// Name of the database in the data folder.
pub(crate) const MODEL_FILE: &str = "model.redb";
/// Held with `flock` while a process works on the folder; holds its id.
pub(crate) const LOCK_FILE: &str = "lock";
/// Holds the access token of the REST API.
pub(crate) const ACCESS_TOKEN_FILE: &str = "access-token";
/// Random bytes of an access token that is made here: as strong as a 256-bit key.
const ACCESS_TOKEN_BYTES: usize = 32;
/// Bytes that are read of a file that holds one line: more than any access token has, so that one that is longer is
/// refused and not cut.
const LINE_BYTES_MAX: u64 = 8_192;

/// A data folder that this process holds. Dropping it lets go.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    is_new: bool,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing, and takes its lock.
    ///
    /// # Errors
    ///
    /// Where the path is not a folder, cannot be written, or is held by another process.
    pub fn open(path: &Path) -> Result<DataFolder, StoreError> {
        match fs::metadata(path) {
            Ok(found) if !found.is_dir() => return Err(StoreError::NotAFolder(path.to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
                made.map_err(|error| StoreError::io(path, &error))?;
            }
            Err(error) => return Err(StoreError::io(path, &error)),
        }
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&lock_path)
            .map_err(|error| StoreError::io(&lock_path, &error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = lock.take(LINE_BYTES_MAX).read_to_string(&mut holder);
                return Err(StoreError::Locked {
                    path: path.to_owned(),
                    process: holder.trim().parse().ok(),
                });
            }
            Err(errno) => return Err(StoreError::io(&lock_path, &errno.into())),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|error| StoreError::io(&lock_path, &error))?;
        let is_new = !path.join(MODEL_FILE).exists() && !path.join(ACCESS_TOKEN_FILE).exists();
        Ok(DataFolder { path: path.to_owned(), is_new, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing had been kept in it when it was opened.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The access token of the REST API, and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FirstToken {
    /// The token.
    pub secret: String,
    /// Its file, where it was not given in the settings.
    pub file: Option<PathBuf>,
    /// Whether it was made just now.
    pub is_new: bool,
    /// A warning about the file for the operator.
    pub warning: Option<String>,
}

impl std::fmt::Debug for FirstToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessToken({:?})", self.file)
    }
}

/// The token that the settings give, or the one in the folder's file, which is made at first start.
///
/// # Errors
///
/// Where the file cannot be read or made, or holds no token.
pub(crate) fn access_token(folder: &Path, given: Option<&str>) -> Result<FirstToken, StoreError> {
    if let Some(given) = given {
        return Ok(FirstToken { secret: given.to_owned(), file: None, is_new: false, warning: None });
    }
    let path = folder.join(ACCESS_TOKEN_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut bytes = [0; ACCESS_TOKEN_BYTES];
            getrandom::fill(&mut bytes)
                .map_err(|error| StoreError::Io { path: path.clone(), why: error.to_string() })?;
            let secret = URL_SAFE_NO_PAD.encode(bytes);
            write_new(folder, &path, format!("{secret}\n").as_bytes())?;
            return Ok(FirstToken { secret, file: Some(path), is_new: true, warning: None });
        }
        Err(error) => return Err(StoreError::io(&path, &error)),
    };
    let mode = file.metadata().map_err(|error| StoreError::io(&path, &error))?.mode();
    let warning = (mode & 0o077 != 0)
        .then(|| format!("{} can be read by others (mode {:o}): chmod 600 it", path.display(), mode & 0o777));
    let mut bytes = Vec::new();
    file.take(LINE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| StoreError::io(&path, &error))?;
    // What is not text holds characters that no token has.
    let text = String::from_utf8_lossy(&bytes);
    let secret = text.trim();
    if let Err(must) = check_access_token(secret) {
        return Err(StoreError::NoAccessToken { path, must });
    }
    Ok(FirstToken { secret: secret.to_owned(), file: Some(path), is_new: false, warning })
}

/// Writes a file whole or not at all: it gets its name once it is on the disk.
fn write_new(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| publish(folder, &temporary, path));
    written.map_err(|error| StoreError::io(path, &error))
}

/// Gives a finished file its name, and makes the name last.
pub(super) fn publish(folder: &Path, temporary: &Path, path: &Path) -> std::io::Result<()> {
    fs::rename(temporary, path)?;
    File::open(folder)?.sync_all()
}

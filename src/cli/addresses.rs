//! The file in the data folder that says where the listeners are and how they are reached: for the client commands, and
//! for programs that started a server on port 0.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::settings::{Address, Settings, TlsFiles};

/// Name of the file.
pub(super) const FILE: &str = "addresses.json";
/// Its rights: those of the other files in the folder.
const MODE: u32 = 0o600;

/// The listeners of a running server.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SavedAddresses {
    pub(super) ingress: String,
    pub(super) ingress_scheme: String,
    pub(super) admin: String,
    /// Files of the certificates that it shows; empty without TLS.
    #[serde(default)]
    pub(super) admin_certificates: Vec<PathBuf>,
    pub(super) workers: String,
    #[serde(default)]
    pub(super) workers_certificates: Vec<PathBuf>,
}

/// Writes the file, for the addresses of ingress, admin and workers.
pub(super) fn write(folder: &Path, settings: &Settings, bound: [&Address; 3]) -> anyhow::Result<()> {
    let [ingress, admin, workers] = bound.map(ToString::to_string);
    let addresses = SavedAddresses {
        ingress,
        ingress_scheme: settings.ingress.scheme().to_owned(),
        admin,
        admin_certificates: absolute(&settings.admin.tls)?,
        workers,
        workers_certificates: absolute(&settings.workers.tls)?,
    };
    let text = serde_json::to_string(&addresses).context("the addresses cannot be written as JSON")?;
    let path = folder.join(FILE);
    let temporary = path.with_extension("new");
    // As all of the folder: its owner's alone, whatever the umask. One that a crash left keeps its rights otherwise.
    let _ = fs::remove_file(&temporary);
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, &path))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// The addresses that the server that serves from this folder wrote; `None` if there is no such file.
pub(super) fn read(folder: &Path) -> anyhow::Result<Option<SavedAddresses>> {
    let path = folder.join(FILE);
    match fs::read(&path) {
        Ok(text) => {
            let read = serde_json::from_slice(&text);
            read.map(Some).with_context(|| format!("{} is not what tidegate writes", path.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// The files of certificates, for processes in other folders.
fn absolute(files: &TlsFiles) -> anyhow::Result<Vec<PathBuf>> {
    let paths = files.certificates.iter().map(std::path::absolute);
    paths.collect::<io::Result<_>>().context("the working folder is not known")
}

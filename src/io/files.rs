//! The open files of a backend.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::file::DiskFile;
use super::interface::FileId;
use crate::base::slots::{Key, Slots};

/// The open files of a backend, which their transfers share.
#[derive(Default)]
pub(super) struct Files {
    slots: Slots<Arc<DiskFile>>,
}

impl Files {
    /// Adds a file.
    pub(super) fn insert(&mut self, file: DiskFile) -> FileId {
        let Key { index, generation } = self.slots.insert(Arc::new(file));
        FileId { index, generation }
    }

    /// Returns a file.
    ///
    /// # Errors
    /// If it was closed.
    pub(super) fn get(&self, id: FileId) -> io::Result<Arc<DiskFile>> {
        self.slots.get(key(id)).cloned().ok_or_else(|| Errno::BADF.into())
    }

    /// Closes a file, once nothing is in flight for it.
    pub(super) fn close(&mut self, id: FileId) {
        self.slots.remove(key(id));
    }
}

fn key(id: FileId) -> Key {
    Key { index: id.index, generation: id.generation }
}

//! Files that a core reads and writes in aligned blocks: how one is made and opened, and how a write to it becomes safe.
//!
//! Making, opening and closing block, and are for threads that are no cores.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Rights of a file that is made here: its owner's alone.
const FILE_MODE: u32 = 0o600;
/// Files that are written at the same time: the disk has several writes to put in order.
const MADE_AT_A_TIME: usize = 8;
/// Bytes of zeros that are written at a time: large enough for the disk's full speed.
const ZERO_BYTES: usize = 1024 * 1024;

/// When a write to a file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// It is on the disk, and stays there when the power fails.
    Disk,
    /// The kernel has it: it survives the process, and not the machine.
    Kernel,
}

/// How a write to an open file becomes safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sync {
    /// The write alone: with `O_DSYNC`, or because nothing more is asked for.
    Write,
    /// A write, and a flush that is linked to it: for a disk with a cache that cannot write around it. With `O_DSYNC` the
    /// flush would complete on the CPU of the disk's interrupt, which a busy core delays by its turns.
    Flush,
}

/// An open file.
#[derive(Debug)]
pub struct DiskFile {
    fd: OwnedFd,
    pub(super) sync: Sync,
}

impl DiskFile {
    /// Opens a file whose blocks have all been written before, for reads and writes in blocks.
    ///
    /// # Errors
    /// If it is missing or may not be opened.
    pub fn open(path: &Path, safety: Safety) -> io::Result<DiskFile> {
        let sync = match safety {
            Safety::Disk if has_volatile_cache(path) => Sync::Flush,
            Safety::Disk | Safety::Kernel => Sync::Write,
        };
        let flags = match (safety, sync) {
            (Safety::Kernel, _) => OFlags::empty(),
            (Safety::Disk, Sync::Write) => OFlags::DIRECT | OFlags::DSYNC,
            (Safety::Disk, Sync::Flush) => OFlags::DIRECT,
        };
        let file = match open_with(path, flags) {
            // A file system without direct writes: through the cache, as safe and less fast.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                open_with(path, flags.difference(OFlags::DIRECT))?
            }
            other => other?,
        };
        Ok(DiskFile { fd: OwnedFd::from(file), sync })
    }
}

impl AsFd for DiskFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits() as i32).open(path)
}

/// Makes a file of `bytes` zeros that are on the disk, so that no later write to it needs room. `first` is written to its
/// beginning. The file gets its name once it is complete.
///
/// # Errors
/// If there is no room, or the file cannot be made. What was made of it is removed.
pub fn make_zeroed(path: &Path, bytes: u64, first: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let made = write_zeroed(&temporary, bytes, first).and_then(|()| fs::rename(&temporary, path));
    if made.is_err() {
        // The room that it took is wanted elsewhere.
        let _ = fs::remove_file(&temporary);
    }
    made.and_then(|()| sync_folder_of(path))
}

/// Makes several such files in one folder, some at a time. They get their names once all of them are complete.
///
/// # Errors
/// As [`make_zeroed`]; there is none of them then.
pub fn make_all_zeroed(paths: &[PathBuf], bytes: u64) -> io::Result<()> {
    let temporary = |path: &PathBuf| path.with_extension("new");
    let write = |some: &[PathBuf]| {
        std::thread::scope(|scope| {
            let begun: Vec<_> = some
                .iter()
                .map(|path| scope.spawn(move || write_zeroed(&temporary(path), bytes, &[])))
                .collect();
            let ended = begun.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes it ended")))
            });
            // Each of them ends before the first error is told.
            ended.collect::<Vec<_>>().into_iter().collect::<io::Result<()>>()
        })
    };
    let made = paths
        .chunks(MADE_AT_A_TIME)
        .try_for_each(write)
        .and_then(|()| paths.iter().try_for_each(|path| fs::rename(temporary(path), path)));
    if made.is_err() {
        for path in paths {
            // Some of them are not there.
            let _ = fs::remove_file(temporary(path));
            let _ = fs::remove_file(path);
        }
    }
    made.and_then(|()| paths.first().map_or(Ok(()), |path| sync_folder_of(path)))
}

fn write_zeroed(path: &Path, bytes: u64, first: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.write_all(first)?;
    let zeros = vec![0; ZERO_BYTES];
    let mut left = bytes.saturating_sub(first.len() as u64);
    while left > 0 {
        let piece = left.min(ZERO_BYTES as u64);
        file.write_all(&zeros[..piece as usize])?;
        left -= piece;
    }
    file.sync_all()
}

/// Makes the names in the folder of `path` last.
///
/// # Errors
/// If the folder cannot be opened or synced.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Whether the disk of a file has a cache that loses its content with the power and that a single write cannot get
/// around. A file system without a disk of its own has none.
fn has_volatile_cache(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else { return false };
    let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    let device = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let read = |name: &str| {
        // A partition has its queue with the disk that it is a part of.
        ["queue", "../queue"]
            .iter()
            .find_map(|queue| fs::read_to_string(device.join(queue).join(name)).ok())
            .map(|text| text.trim().to_owned())
    };
    read("write_cache").as_deref() == Some("write back") && read("fua").as_deref() != Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.segment");
        make_zeroed(&path, 10_000, b"first").unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!((bytes.len(), &bytes[..6]), (10_000, b"first\0".as_slice()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, FILE_MODE);
        assert!(make_zeroed(&folder.path().join("none/a.segment"), 10, b"").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        for safety in [Safety::Disk, Safety::Kernel] {
            DiskFile::open(&path, safety).unwrap();
        }
    }
}

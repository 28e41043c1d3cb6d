//! The journal's folder at the start: what is open in it is found again before anything is accepted.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parts::{JournalParts, KeeperParts, Segments};
use super::supply::{SegmentFolder, SupplyThread, random, write_manifest};
use crate::base::block::BLOCK_BYTES;
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::connection::event_journal::EventJournal;
use crate::connection::journal_state::CoreJournal;
use crate::connection::key_notes;
use crate::io::{DiskFile, Safety};
use crate::journal::segment::{SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES};
use crate::journal::{
    Config, JOURNAL_FOLDER, Journal, MANIFEST_FILE, Manifest, ManifestError, NoSegment, Recovered, Recovery,
    RecoveryError, SegmentFile, SegmentName, Sequence, Share, SpareSegment,
};
use crate::registry::Registry;
use crate::settings::{Durability, Settings};

/// Its rights: its owner's alone.
const FOLDER_MODE: u32 = 0o700;
/// Ending of a file that is being made.
const UNFINISHED: &str = ".new";
/// Ending that a segment gets whose header is damaged.
const DAMAGED: &str = "damaged";

/// Segments that each core can have, where the smallest are small enough.
const CORE_SEGMENTS_MIN: u64 = 16;
/// The largest segments that are made: each core has three from its start on.
const START_SEGMENT_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Why the journal cannot be opened.
#[derive(Debug)]
pub enum JournalError {
    Io { path: PathBuf, error: io::Error },
    List { path: PathBuf, error: ManifestError },
    Recovery { path: PathBuf, error: RecoveryError },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            JournalError::List { path, error } => write!(f, "{}: {error}", path.display()),
            JournalError::Recovery { path, error } => write!(f, "the journal in {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for JournalError {}

/// The contents of a journal's folder at the start.
pub(super) struct Opened {
    pub(super) folder: SegmentFolder,
    /// The share of each core, with the files of its segments.
    pub(super) shares: Vec<(Share, Vec<(SegmentName, DiskFile)>)>,
    pub(super) spare: Vec<SpareSegment>,
}

/// How a journal is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalShape {
    pub(super) cores: usize,
    pub(super) bytes_max: u64,
    pub(super) segment_bytes: u32,
    pub(super) safety: Safety,
}

/// Opens the journal of the settings, and starts the thread that makes its segments. Each core gets its part, with segments
/// to begin with, and the keys of calls that it holds are taken over. `None`: triggers are kept in memory only.
///
/// # Errors
/// If it cannot be opened.
pub(super) fn start(
    settings: &Settings,
    registry: &Registry,
    clock: Clock,
) -> Result<Option<Started>, JournalError> {
    let safety = match settings.journal.durability {
        Durability::Memory => return Ok(None),
        Durability::Os => Safety::Kernel,
        Durability::Fsync => Safety::Disk,
    };
    let (cores, bytes_max) = (settings.cores, settings.journal.max_bytes);
    let segment_bytes = segment_bytes(bytes_max, cores);
    let path = settings.data.join(JOURNAL_FOLDER);
    let Opened { mut folder, shares, spare } =
        open(&path, JournalShape { cores, bytes_max, segment_bytes, safety })?;
    let mut journals = Vec::new();
    for (core, (share, files)) in (0..).zip(shares) {
        let open: Vec<Sequence> = share.open.iter().map(|entry| entry.sequence).collect();
        let mut journal = Journal::new(Config { core, folder: folder.manifest.folder, segment_bytes }, share);
        let now = clock.now().nanos;
        let wanted = journal.segments_wanted(now);
        journals.push((core, journal, open, files, wanted, now));
    }
    let mut spare = VecDeque::from(spare);
    let wanted = journals.iter().flat_map(|(core, .., wanted, _)| std::iter::repeat_n(*core, *wanted));
    // One by one is slower, and makes as many as there is room for.
    spare.extend(folder.make_all(&wanted.skip(spare.len()).collect::<Vec<u16>>()).unwrap_or_default());
    let mut begun: Vec<(Box<Journal>, _, _)> = Vec::new();
    for (core, mut journal, open, mut files, wanted, now) in journals {
        for _ in 0..wanted {
            let made = match spare.pop_front() {
                Some(spare) => Ok(Some(spare)),
                None => folder.make(core),
            };
            let opened =
                made.and_then(|made| made.map(|made| Ok((made, folder.open(made.name)?))).transpose());
            match opened {
                Ok(Some((segment, file))) => {
                    files.push((segment.name, file));
                    journal.add_segment(segment);
                }
                Ok(None) => {
                    journal.segment_refused(NoSegment::Full, now);
                    break;
                }
                Err(error) => {
                    bounded_log!(error, %error, folder = %path.display(), "no segment of the journal can be made: it is tried again");
                    journal.segment_refused(NoSegment::Failed, now);
                    break;
                }
            }
        }
        begun.push((Box::new(journal), open, files));
    }
    let notes = begun.iter().flat_map(|(journal, ..)| journal.notes());
    key_notes::restore(registry, notes, clock.now().unix_millis);
    let failed = |error| JournalError::Io { path: path.clone(), error };
    let supply = Arc::new(SupplyThread::start(folder, spare.into(), cores).map_err(failed)?);
    let part = |(journal, open, files)| {
        let source: Segments<DiskFile> = Arc::<SupplyThread>::clone(&supply);
        let journal = Box::new(CoreJournal::new(EventJournal::Files(journal), open, cores));
        JournalParts { journal, keeper: KeeperParts::Files { source, files } }
    };
    let parts = begun.into_iter().map(part).collect();
    Ok(Some((supply, parts)))
}

/// The source of segments, and the parts of the journal by core.
pub(super) type Started = (Arc<SupplyThread>, Vec<JournalParts<DiskFile>>);

/// Size of the segments: small enough that each core can have several, and that making the first does not hold up a start.
fn segment_bytes(bytes_max: u64, cores: usize) -> u32 {
    let even = bytes_max / (cores.max(1) as u64 * CORE_SEGMENTS_MIN);
    let bytes = even.clamp(u64::from(SEGMENT_BYTES_MIN), u64::from(START_SEGMENT_BYTES_MAX));
    bytes as u32 / BLOCK_BYTES as u32 * BLOCK_BYTES as u32
}

/// Opens the journal in `path`, which is made where it is missing, and reads what is in it.
///
/// # Errors
/// If the folder cannot be read or written, or somebody has to decide about what is in it.
pub(super) fn open(path: &Path, shape: JournalShape) -> Result<Opened, JournalError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| JournalError::Io { path, error }
    };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path).map_err(at(path))?;
    let manifest = read_manifest(path)?;
    let files = list(path).map_err(at(path))?;
    let salt = random().map_err(at(path))?;
    let failed = |error| JournalError::Recovery { path: path.to_owned(), error };
    let mut recovery = Recovery::new(manifest.as_ref(), &files, shape.segment_bytes, salt).map_err(failed)?;
    while let Some(name) = recovery.next() {
        let file = path.join(name.file_name());
        recovery.scan(&read_safe(&file, shape.safety).map_err(at(&file))?);
    }
    let recovered = recovery.finish(shape.cores);
    for segment in &recovered.spare {
        let file = path.join(segment.name.file_name());
        make_safe(&file, shape.safety).map_err(at(&file))?;
    }
    let mut manifest = match manifest {
        Some(manifest) => manifest,
        None => Manifest::new(random().map_err(at(path))?),
    };
    tell(path, &recovered);
    tidy(path, &mut manifest, &recovered).map_err(at(path))?;
    let bytes =
        files.iter().filter(|file| manifest.segments.contains(&file.name)).map(|file| file.bytes).sum();
    let JournalShape { bytes_max, segment_bytes, safety, .. } = shape;
    let folder = SegmentFolder { path: path.to_owned(), manifest, bytes, bytes_max, segment_bytes, safety };
    let mut shares = Vec::new();
    for share in recovered.shares {
        let files = share.segments().map(|name| Ok((name, folder.open(name)?)));
        let files = files.collect::<io::Result<Vec<_>>>().map_err(at(path))?;
        shares.push((share, files));
    }
    Ok(Opened { folder, shares, spare: recovered.spare })
}

/// Reads a segment. What a process that was killed had begun to write may be in it and in no safe place, and from now on
/// calls are answered for it: a repeat of its call, say.
fn read_safe(path: &Path, safety: Safety) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if safety == Safety::Disk {
        file.sync_data()?;
    }
    Ok(bytes)
}

/// Makes it safe that a segment is unused. A process that was killed may have been erasing its header: if that came back
/// once the segment is used anew, what is written there would be told as damage of the use before.
fn make_safe(path: &Path, safety: Safety) -> io::Result<()> {
    if safety == Safety::Disk {
        File::open(path)?.sync_data()?;
    }
    Ok(())
}

fn read_manifest(folder: &Path) -> Result<Option<Manifest>, JournalError> {
    let path = folder.join(MANIFEST_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(JournalError::Io { path, error }),
    };
    text.parse().map(Some).map_err(|error| JournalError::List { path, error })
}

/// Lists the segments in the folder; what was being made is removed.
fn list(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        if file_name.ends_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        } else if let Some(name) = SegmentName::of_file(file_name) {
            let mut header = Vec::new();
            File::open(entry.path())?.take(SEGMENT_HEADER_BYTES as u64).read_to_end(&mut header)?;
            files.push(SegmentFile { name, bytes: entry.metadata()?.len(), header });
        }
    }
    Ok(files)
}

/// Takes what cannot be used off the list, and then out of the folder.
fn tidy(path: &Path, manifest: &mut Manifest, recovered: &Recovered) -> io::Result<()> {
    for name in recovered.leftover.iter().chain(&recovered.damaged) {
        manifest.segments.remove(name);
    }
    write_manifest(path, manifest)?;
    for name in &recovered.leftover {
        fs::remove_file(path.join(name.file_name()))?;
    }
    for name in &recovered.damaged {
        let file = path.join(name.file_name());
        fs::rename(&file, file.with_extension(DAMAGED))?;
    }
    Ok(())
}

/// Logs what was found.
fn tell(path: &Path, recovered: &Recovered) {
    for fault in &recovered.faults {
        tracing::error!(folder = %path.display(), "the journal is damaged: {fault}");
    }
    let told = recovered.faults.len();
    if recovered.fault_count > told {
        tracing::error!(more = recovered.fault_count - told, "the journal is damaged elsewhere too");
    }
    for (segment, offset) in &recovered.torn {
        tracing::info!(%segment, offset, "the last write to a segment of the journal was torn, and is left out");
    }
    let open: usize = recovered.shares.iter().map(|share| share.open.len()).sum();
    if open > 0 {
        tracing::info!(
            triggers = open,
            records = recovered.records,
            "triggers of the journal are delivered again"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: JournalShape =
        JournalShape { cores: 2, bytes_max: 1 << 30, segment_bytes: 1 << 22, safety: Safety::Kernel };

    #[test]
    fn a_new_folder_is_made_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL_FOLDER);
        let first = open(&path, SHAPE).unwrap();
        assert_eq!((first.shares.len(), first.spare.len(), first.folder.bytes), (2, 0, 0));
        fs::write(path.join("0-1.segment.new"), b"half").unwrap();
        let second = open(&path, SHAPE).unwrap();
        assert_eq!(second.folder.manifest.folder, first.folder.manifest.folder);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "what was being made is removed");
    }

    #[test]
    fn segments_that_are_made_at_once_are_on_the_list_as_many_as_there_may_be() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(JOURNAL_FOLDER);
        let most = 3 * u64::from(SHAPE.segment_bytes);
        let mut folder = open(&path, JournalShape { bytes_max: most, ..SHAPE }).unwrap().folder;
        let made = folder.make_all(&[0, 0, 1, 1]).unwrap();
        let names: Vec<String> = made.iter().map(|segment| segment.name.to_string()).collect();
        assert_eq!((names, folder.bytes), (["0-1", "0-2", "1-1"].map(str::to_owned).to_vec(), most));
        let again = open(&path, SHAPE).unwrap();
        assert_eq!((again.spare.len(), again.folder.manifest), (3, folder.manifest.clone()));
        assert!(folder.make_all(&[0]).unwrap().is_empty() && folder.make(0).unwrap().is_none());
        // One of them cannot be made: there is none, and nothing on the list.
        let mut folder = open(&path, SHAPE).unwrap().folder;
        fs::create_dir(path.join("1-2.new")).unwrap();
        let before = folder.manifest.clone();
        assert!(folder.make_all(&[0, 1]).is_err());
        assert_eq!((&folder.manifest, &read_manifest(&path).unwrap().unwrap()), (&before, &before));
        assert!(!path.join("0-3.segment").exists() && !path.join("0-3.new").exists());
    }

    #[test]
    fn a_list_that_is_no_list_and_a_segment_that_is_missing_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL_FOLDER);
        let mut manifest = open(&path, SHAPE).unwrap().folder.manifest;
        manifest.segments.insert(SegmentName { core: 0, number: 1 });
        write_manifest(&path, &manifest).unwrap();
        let error = open(&path, SHAPE).err().unwrap().to_string();
        assert!(error.contains("0-1.segment missing"), "{error}");
        fs::write(path.join(MANIFEST_FILE), b"something").unwrap();
        assert!(matches!(open(&path, SHAPE), Err(JournalError::List { .. })));
    }
}

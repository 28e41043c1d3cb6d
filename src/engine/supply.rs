//! Segments for the journals of the cores. A thread that is no core makes them and writes zeros to them, so that a full disk
//! meets it and not a commit: a core writes only to blocks that the disk has already.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::log::bounded_log;
use crate::io::file::{make_all_zeroed, make_zeroed, sync_folder_of};
use crate::io::{DiskFile, Safety, Waker};
use crate::journal::{MANIFEST_FILE, Manifest, NoSegment, SegmentName, SpareSegment};

/// Pause before a segment is removed again that could not be.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Answer to a request for a segment.
#[derive(Debug)]
pub enum Supplied<F> {
    /// A segment that holds nothing, and its file.
    Segment { segment: SpareSegment, file: F },
    /// There is none, for this request and those of the core before it.
    Refused(NoSegment),
}

/// Source of segments for the cores' journals. Nothing here blocks.
pub trait SegmentSource<F>: Send + Sync {
    /// Asks for `count` more segments for a core. `waker` is used for each answer.
    fn request(&self, core: u16, count: usize, waker: &Waker);

    /// Takes an answer.
    fn take(&self, core: u16) -> Option<Supplied<F>>;

    /// Gives a segment back that holds nothing, for any core.
    fn give_back(&self, segment: SpareSegment);

    /// Has a segment removed that cannot be used any more.
    fn discard(&self, name: SegmentName);

    /// Opens the file of a segment again. May block.
    ///
    /// # Errors
    /// If it cannot be opened.
    fn reopen(&self, name: SegmentName) -> io::Result<F>;
}

/// The thread that makes segments.
pub(super) struct SupplyThread {
    shared: Arc<SharedSupply>,
    path: PathBuf,
    safety: Safety,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct SharedSupply {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    cores: Vec<CoreSupply>,
    spare: Vec<SpareSegment>,
    discarded: Vec<SegmentName>,
    /// Those that could not be removed.
    undiscarded: Vec<SegmentName>,
    /// The core that is served next, so that none is served always before another.
    next: usize,
    is_over: bool,
}

#[derive(Default)]
struct CoreSupply {
    requested: usize,
    ready: VecDeque<Supplied<DiskFile>>,
    waker: Option<Waker>,
}

impl SharedSupply {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Who panicked with the lock has changed whole values.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SegmentFolder of the journal, and what may stand in it.
pub(super) struct SegmentFolder {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    /// Bytes of the segments that are there.
    pub(super) bytes: u64,
    /// The most bytes of segments.
    pub(super) bytes_max: u64,
    /// Bytes of a new segment.
    pub(super) segment_bytes: u32,
    pub(super) safety: Safety,
}

impl SegmentFolder {
    /// Makes a segment for a core, and writes its name to the list. `None`: there are as many as there may be.
    pub(super) fn make(&mut self, core: u16) -> io::Result<Option<SpareSegment>> {
        let bytes = u64::from(self.segment_bytes);
        if self.bytes + bytes > self.bytes_max {
            return Ok(None);
        }
        let name = self.manifest.unused_name(core);
        let path = self.path.join(name.file_name());
        make_zeroed(&path, bytes, &[])?;
        let mut manifest = self.manifest.clone();
        manifest.segments.insert(name);
        let made = random().and_then(|salt| write_manifest(&self.path, &manifest).map(|()| salt));
        match made {
            Ok(salt) => {
                self.manifest = manifest;
                self.bytes += bytes;
                Ok(Some(SpareSegment { name, bytes: self.segment_bytes, uses: 0, salt }))
            }
            Err(error) => {
                // The room that it took is wanted elsewhere.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Makes a segment for each of these cores, all at a time, and writes their names to the list at once. Fewer: there are as
    /// many as there may be.
    ///
    /// # Errors
    /// If one of them cannot be made, or the list not be written; there is none of them then.
    pub(super) fn make_all(&mut self, cores: &[u16]) -> io::Result<Vec<SpareSegment>> {
        let bytes = u64::from(self.segment_bytes);
        let room = self.bytes_max.saturating_sub(self.bytes).checked_div(bytes).unwrap_or(0);
        let mut manifest = self.manifest.clone();
        let mut made = Vec::new();
        for &core in cores.iter().take(usize::try_from(room).unwrap_or(usize::MAX)) {
            let name = manifest.unused_name(core);
            manifest.segments.insert(name);
            made.push(SpareSegment { name, bytes: self.segment_bytes, uses: 0, salt: random()? });
        }
        if made.is_empty() {
            return Ok(made);
        }
        let paths: Vec<PathBuf> =
            made.iter().map(|segment| self.path.join(segment.name.file_name())).collect();
        make_all_zeroed(&paths, bytes)?;
        if let Err(error) = write_manifest(&self.path, &manifest) {
            for path in &paths {
                // The room that it took is wanted elsewhere.
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        self.manifest = manifest;
        self.bytes += bytes * made.len() as u64;
        Ok(made)
    }

    /// Opens a segment.
    pub(super) fn open(&self, name: SegmentName) -> io::Result<DiskFile> {
        DiskFile::open(&self.path.join(name.file_name()), self.safety)
    }

    /// Removes a segment, first from the list.
    fn discard(&mut self, name: SegmentName) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        if !manifest.segments.remove(&name) {
            return Ok(());
        }
        write_manifest(&self.path, &manifest)?;
        self.manifest = manifest;
        let path = self.path.join(name.file_name());
        let bytes = fs::metadata(&path).map_or(0, |found| found.len());
        fs::remove_file(&path)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(())
    }
}

pub(super) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Replaces the list of segments.
///
/// # Errors
/// If it cannot be written; the list stays as it was then.
pub(super) fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let path = folder.join(MANIFEST_FILE);
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(manifest.to_string().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_folder_of(&path)
}

impl SupplyThread {
    /// Starts the thread for the journals of `cores` cores. `spare` are segments that hold nothing.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub(super) fn start(
        folder: SegmentFolder,
        spare: Vec<SpareSegment>,
        cores: usize,
    ) -> io::Result<SupplyThread> {
        let cores = std::iter::repeat_with(CoreSupply::default).take(cores).collect();
        let state = State { cores, spare, ..State::default() };
        let shared = Arc::new(SharedSupply { state: Mutex::new(state), changed: Condvar::new() });
        let (path, safety) = (folder.path.clone(), folder.safety);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || supply(&of_thread, folder))?;
        Ok(SupplyThread { shared, path, safety, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            bounded_log!(error, "the thread that makes the journal's segments ended with a panic");
        }
    }
}

impl Drop for SupplyThread {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves the requests until the end.
fn supply(shared: &SharedSupply, mut folder: SegmentFolder) {
    let mut state = shared.lock();
    while !state.is_over {
        if let Some(name) = state.discarded.pop() {
            drop(state);
            let removed = folder.discard(name);
            state = shared.lock();
            if let Err(error) = removed {
                bounded_log!(warn, %error, segment = %name, "a segment of the journal that failed is not removed: it is tried again");
                // What failed may be in it, and is not to be found at the next start.
                state.undiscarded.push(name);
            }
        } else if let Some(core) = state.next_core() {
            let spare = state.spare.pop();
            drop(state);
            let supplied = serve(&mut folder, core, spare);
            state = shared.lock();
            state.answer(core, supplied);
        } else if state.undiscarded.is_empty() {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        } else {
            let waited = shared.changed.wait_timeout(state, RETRY_PAUSE);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let State { discarded, undiscarded, .. } = &mut *state;
            discarded.append(undiscarded);
        }
    }
}

/// Opens a spare segment, or makes one.
fn serve(folder: &mut SegmentFolder, core: usize, spare: Option<SpareSegment>) -> Supplied<DiskFile> {
    let made = match spare {
        Some(spare) => Ok(Some(spare)),
        None => folder.make(u16::try_from(core).unwrap_or(u16::MAX)),
    };
    match made
        .and_then(|segment| segment.map(|segment| Ok((segment, folder.open(segment.name)?))).transpose())
    {
        Ok(Some((segment, file))) => Supplied::Segment { segment, file },
        Ok(None) => Supplied::Refused(NoSegment::Full),
        Err(error) => {
            bounded_log!(error, %error, folder = %folder.path.display(), "no segment of the journal can be made: it is tried again");
            Supplied::Refused(NoSegment::Failed)
        }
    }
}

impl State {
    fn next_core(&mut self) -> Option<usize> {
        let count = self.cores.len();
        let core =
            (0..count).map(|step| (self.next + step) % count).find(|&core| self.cores[core].requested > 0)?;
        self.next = core + 1;
        Some(core)
    }

    fn answer(&mut self, core: usize, supplied: Supplied<DiskFile>) {
        let Some(core) = self.cores.get_mut(core) else { return };
        core.requested = match supplied {
            Supplied::Segment { .. } => core.requested.saturating_sub(1),
            Supplied::Refused(_) => 0,
        };
        core.ready.push_back(supplied);
        if let Some(waker) = &core.waker {
            waker.wake();
        }
    }
}

impl SegmentSource<DiskFile> for SupplyThread {
    fn request(&self, core: u16, count: usize, waker: &Waker) {
        let mut state = self.shared.lock();
        let Some(supply) = state.cores.get_mut(usize::from(core)) else { return };
        supply.waker = Some(Arc::clone(waker));
        supply.requested += count;
        self.shared.changed.notify_all();
    }

    fn take(&self, core: u16) -> Option<Supplied<DiskFile>> {
        self.shared.lock().cores.get_mut(usize::from(core))?.ready.pop_front()
    }

    fn give_back(&self, segment: SpareSegment) {
        self.shared.lock().spare.push(segment);
    }

    fn discard(&self, name: SegmentName) {
        self.shared.lock().discarded.push(name);
        self.shared.changed.notify_all();
    }

    fn reopen(&self, name: SegmentName) -> io::Result<DiskFile> {
        DiskFile::open(&self.path.join(name.file_name()), self.safety)
    }
}

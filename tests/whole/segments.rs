//! Segments of a simulated disk: what the engine's own thread does, at once.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use tidegate::engine::{DrivenJournal, SegmentSource, Supplied};
use tidegate::io::{Safety, Waker};
use tidegate::journal::segment::SEGMENT_HEADER_BYTES;
use tidegate::journal::{
    Config, Fault, Journal, MANIFEST_FILE, Manifest, NoSegment, Recovered, Recovery, SegmentFile,
    SegmentName, Sequence, SpareSegment,
};

use crate::kernel::{Disk, SimFile};

/// Source of the segments of all cores of one life.
pub struct SimSegments {
    disk: Disk,
    safety: Safety,
    segment_bytes: u32,
    segments_max: usize,
    state: Mutex<State>,
}

struct State {
    manifest: Manifest,
    spare: Vec<SpareSegment>,
    ready: Vec<VecDeque<Supplied<SimFile>>>,
    /// Segments that are to be removed, until they are.
    discarded: Vec<SegmentName>,
    salt: u64,
}

/// How the journal of a life is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub cores: usize,
    pub safety: Safety,
    pub segment_bytes: u32,
    pub segments_max: usize,
    /// Another one in each life.
    pub salt: u64,
}

/// Reads back what the disk holds; returns the journal of each core, and what was damaged.
pub fn recover(disk: &Disk, shape: Shape) -> (Vec<DrivenJournal<SimFile>>, Vec<Fault>) {
    let text = disk.contents(MANIFEST_FILE).map(|bytes| String::from_utf8(bytes).expect("text"));
    let manifest: Option<Manifest> = text.map(|text| text.parse().expect("as it was written"));
    let names: Vec<SegmentName> = disk.names().iter().filter_map(|name| SegmentName::of_file(name)).collect();
    let files = names.iter().map(|&name| {
        let bytes = disk.contents(&name.file_name()).expect("it is listed");
        let header = bytes[..SEGMENT_HEADER_BYTES].to_vec();
        SegmentFile { name, bytes: bytes.len() as u64, header }
    });
    let files: Vec<SegmentFile> = files.collect();
    let mut recovery = Recovery::new(manifest.as_ref(), &files, shape.segment_bytes, shape.salt)
        .expect("nothing is missing");
    while let Some(name) = recovery.next() {
        recovery.scan(&disk.contents(&name.file_name()).expect("it is listed"));
        // As the engine: what is read may be answered for.
        disk.sync(&name.file_name());
    }
    let Recovered { shares, spare, leftover, damaged, faults, .. } = recovery.finish(shape.cores);
    assert!(damaged.is_empty(), "a header is written in copies: {damaged:?}");
    // As the engine, too: an old header that came back would tell of what is written there from now on.
    spare.iter().for_each(|segment: &SpareSegment| disk.sync(&segment.name.file_name()));
    let mut manifest = manifest.unwrap_or_else(|| Manifest::new(7));
    for name in leftover {
        manifest.segments.remove(&name);
        disk.remove(&name.file_name());
    }
    let folder = manifest.folder;
    let state = State {
        manifest,
        spare,
        ready: std::iter::repeat_with(VecDeque::new).take(shape.cores).collect(),
        discarded: Vec::new(),
        salt: shape.salt,
    };
    let Shape { safety, segment_bytes, segments_max, .. } = shape;
    let source = Arc::new(SimSegments {
        disk: disk.clone(),
        safety,
        segment_bytes,
        segments_max,
        state: Mutex::new(state),
    });
    let journal = |(core, share): (u16, tidegate::journal::Share)| {
        let open: Vec<Sequence> = share.open.iter().map(|entry| entry.sequence).collect();
        let files = share.segments().map(|name| (name, source.reopen(name).expect("it is listed"))).collect();
        let journal = Journal::new(Config { core, folder, segment_bytes }, share);
        let source: Arc<dyn SegmentSource<SimFile>> = Arc::<SimSegments>::clone(&source);
        DrivenJournal { journal, open, source, files }
    };
    ((0..).zip(shares).map(journal).collect(), faults)
}

impl SimSegments {
    fn make(&self, state: &mut State, core: u16) -> Result<SpareSegment, NoSegment> {
        if let Some(spare) = state.spare.pop() {
            return Ok(spare);
        }
        if state.manifest.segments.len() >= self.segments_max {
            return Err(NoSegment::Full);
        }
        let name = state.manifest.unused_name(core);
        if !self.disk.create(&name.file_name(), vec![0; self.segment_bytes as usize]) {
            return Err(NoSegment::Failed);
        }
        state.manifest.segments.insert(name);
        if !self.disk.create(MANIFEST_FILE, state.manifest.to_string().into_bytes()) {
            state.manifest.segments.remove(&name);
            return Err(NoSegment::Failed);
        }
        state.salt += 1;
        Ok(SpareSegment { name, bytes: self.segment_bytes, uses: 0, salt: state.salt })
    }
}

impl SimSegments {
    fn remove_discarded(&self, state: &mut State) {
        state.discarded.retain(|name| {
            state.manifest.segments.remove(name);
            let is_removed = self.disk.create(MANIFEST_FILE, state.manifest.to_string().into_bytes());
            if is_removed {
                self.disk.remove(&name.file_name());
            } else {
                state.manifest.segments.insert(*name);
            }
            !is_removed
        });
    }
}

impl SegmentSource<SimFile> for SimSegments {
    fn request(&self, core: u16, count: usize, waker: &Waker) {
        let state = &mut *self.state.lock().expect("one thread");
        self.remove_discarded(state);
        for _ in 0..count {
            let supplied = match self.make(state, core) {
                Ok(segment) => {
                    let file = self.disk.open(&segment.name.file_name(), self.safety).expect("it was made");
                    Supplied::Segment { segment, file }
                }
                Err(why) => Supplied::Refused(why),
            };
            let is_refused = matches!(supplied, Supplied::Refused(_));
            state.ready[usize::from(core)].push_back(supplied);
            if is_refused {
                break;
            }
        }
        waker.wake();
    }

    fn take(&self, core: u16) -> Option<Supplied<SimFile>> {
        self.state.lock().expect("one thread").ready[usize::from(core)].pop_front()
    }

    fn give_back(&self, segment: SpareSegment) {
        self.state.lock().expect("one thread").spare.push(segment);
    }

    fn discard(&self, name: SegmentName) {
        let state = &mut *self.state.lock().expect("one thread");
        state.discarded.push(name);
        self.remove_discarded(state);
    }

    fn reopen(&self, name: SegmentName) -> io::Result<SimFile> {
        self.disk.open(&name.file_name(), self.safety).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

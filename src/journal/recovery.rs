//! The contents of a folder's segments, as a function of their bytes.
//!
//! The caller reads the first block of every file ([`Recovery::new`]), then each segment that [`Recovery::next`] names, whole
//! ([`Recovery::scan`]), one in memory at a time. Only places are kept of what is open; payloads are read back by the cores.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::index::{DeliverySet, Open, SegmentIndex};
use super::manifest::Manifest;
use super::note::Note;
use super::record::{
    ALL_DELIVERIES, DELIVERIES_MAX, EntryKind, REVOKED, RecordHeader, RecordType, Seed, completions,
};
use super::scan::{Found, Scan};
use super::segment::{HeaderState, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, SpareSegment};
use super::sequence::Sequence;
use crate::base::block::BLOCK_BYTES;

/// Sequences that are left out at each start: more than a run can have lost of its last, so that what a disk shows later of
/// them is not taken for something new.
const SEQUENCE_GAP: u64 = 1 << 22;

/// Faults that are told one by one; more are counted.
const FAULTS_MAX: usize = 1000;

/// A file of a segment, as it was found.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    pub name: SegmentName,
    /// Size of the file.
    pub bytes: u64,
    /// Its first block; shorter if the file is.
    pub header: Vec<u8>,
}

/// Damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub segment: SegmentName,
    pub offset: u64,
    pub kind: FaultKind,
}

/// The damaged part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No copy of the segment's header is whole: nothing in it can be read.
    Header,
    /// No record can be read between the offset and `end`, and there were some.
    Records { end: u64 },
    /// The file is shorter than its header says; what is missing is from the offset on.
    Short,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: ", self.segment.file_name(), self.offset)?;
        match self.kind {
            FaultKind::Header => f.write_str("the header is damaged, the segment is skipped"),
            FaultKind::Records { end } => {
                write!(f, "{} bytes of records are damaged and skipped", end - self.offset)
            }
            FaultKind::Short => f.write_str("the file is cut"),
        }
    }
}

/// Why a journal cannot be read back: an operator must decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryError {
    /// These are in the list and not in the folder.
    Missing(Vec<SegmentName>),
    /// A file holds a segment of another folder, or another segment of this one.
    Foreign(SegmentName),
    /// Segments and no list.
    NoManifest,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryError::Missing(names) => {
                let files: Vec<String> = names.iter().map(|name| name.file_name()).collect();
                write!(
                    f,
                    "{} missing: put back what was moved; to go on without the triggers in it, delete the lines of \
                     it from the file `segments`",
                    files.join(", ")
                )
            }
            RecoveryError::Foreign(name) => write!(
                f,
                "{} is not the segment that was written here under this name: move it out of the folder, and put the \
                 right one there",
                name.file_name()
            ),
            RecoveryError::NoManifest => f.write_str(
                "there are segments and no file `segments` that lists them: put it back, or move the segments out of \
                 the folder to go on without the triggers in them",
            ),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// An open entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredEntry {
    pub sequence: Sequence,
    pub kind: EntryKind,
    pub unix_millis: u64,
    pub(super) place: Open,
    pub(super) done: Option<DeliverySet>,
}

impl RecoveredEntry {
    /// Whether a delivery is done.
    #[must_use]
    pub fn is_done(&self, delivery: u16) -> bool {
        self.done.as_ref().is_some_and(|done| done.contains(delivery))
    }

    /// Number of its deliveries.
    #[must_use]
    pub fn deliveries(&self) -> u16 {
        self.place.deliveries()
    }

    /// Number of those that are not done.
    #[must_use]
    pub fn open_deliveries(&self) -> u16 {
        self.deliveries() - self.done.as_ref().map_or(0, |done| done.count(self.deliveries()))
    }

    /// Bytes that it takes in its segment.
    #[must_use]
    pub fn record_bytes(&self) -> u32 {
        self.place.record_bytes
    }
}

/// The segments and the open entries that one core inherits.
#[derive(Clone, Debug, Default)]
pub struct Share {
    /// Lowest number of its new sequences.
    pub(super) first: u64,
    /// Oldest first.
    pub(super) segments: Vec<RecoveredSegment>,
    /// Open entries in the order in which they were accepted, as far as one core accepted them.
    pub open: Vec<RecoveredEntry>,
}

impl Share {
    /// The segments, oldest first.
    pub fn segments(&self) -> impl Iterator<Item = SegmentName> {
        self.segments.iter().map(|segment| segment.header.name)
    }

    /// The segment that an entry of this share is in, and its offset.
    #[must_use]
    pub fn place(&self, entry: &RecoveredEntry) -> (SegmentName, u32) {
        (self.segments[entry.place.segment.0 as usize].header.name, entry.place.offset)
    }
}

/// A segment that holds records.
#[derive(Clone, Debug)]
pub(super) struct RecoveredSegment {
    pub(super) header: SegmentHeader,
    /// Its records up to here were durable.
    pub(super) durable_bytes: u32,
    /// End of its records.
    pub(super) end: u32,
    /// Notes in it.
    pub(super) notes: Vec<Note>,
}

/// The result of reading the segments.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Number that the sequences of this run count from.
    pub(super) first: u64,
    /// One for each core.
    pub shares: Vec<Share>,
    /// Segments that hold nothing: spare ones.
    pub spare: Vec<SpareSegment>,
    /// Files that were being made or deleted when the last run ended: to be deleted.
    pub leftover: Vec<SegmentName>,
    /// Segments whose header is damaged, for somebody to look at: to be renamed and taken off the list.
    pub damaged: Vec<SegmentName>,
    /// Damage, the first 1,000.
    pub faults: Vec<Fault>,
    /// Damage in all.
    pub fault_count: usize,
    /// Segments whose last write was torn; what it held was not durable.
    pub torn: Vec<(SegmentName, u64)>,
    /// Valid records in all.
    pub records: u64,
    /// Bytes that checksums were made of: the work that was done.
    pub checked_bytes: u64,
}

impl Recovered {
    /// Makes the list what it must be before anything is written: without what is left over or damaged.
    pub fn update(&self, manifest: &mut Manifest) {
        manifest.first = self.first;
        manifest.segments.retain(|name| !self.leftover.contains(name) && !self.damaged.contains(name));
    }
}

/// The reading of a folder's segments.
pub struct Recovery {
    /// Used segments that are not read yet, the last to be read first.
    order: Vec<SegmentHeader>,
    /// Those that were read, the newest first.
    read: Vec<ReadSegment>,
    /// Durable ends of segments and their uses, as the header of the one that was opened next says.
    expected_ends: HashMap<(SegmentName, Seed), u32>,
    /// Deliveries that are done, of entries that may be found yet.
    done: HashMap<Sequence, Done, ahash::RandomState>,
    /// Open entries.
    open: HashSet<Sequence, ahash::RandomState>,
    counter_max: u64,
    /// A core completed or copied entries of another.
    is_mixed: bool,
    recovered: Recovered,
}

#[derive(Clone, Debug)]
enum Done {
    All,
    /// All, and the notes of its record count for nothing.
    Revoked,
    Some(DeliverySet),
}

struct ReadSegment {
    segment: RecoveredSegment,
    open: Vec<(u32, RecordHeader, Option<DeliverySet>)>,
}

impl Recovery {
    /// Begins with the list and the first blocks of all segments in the folder. Spare segments have `segment_bytes`; others are
    /// left over. `salt` is random.
    ///
    /// # Errors
    /// If a segment is missing or foreign.
    pub fn new(
        manifest: Option<&Manifest>,
        files: &[SegmentFile],
        segment_bytes: u32,
        salt: u64,
    ) -> Result<Recovery, RecoveryError> {
        let listed = manifest.map_or_else(Default::default, |manifest| manifest.segments.clone());
        let found: BTreeMap<SegmentName, &SegmentFile> = files.iter().map(|file| (file.name, file)).collect();
        let missing: Vec<SegmentName> =
            listed.iter().filter(|name| !found.contains_key(name)).copied().collect();
        if !missing.is_empty() {
            return Err(RecoveryError::Missing(missing));
        }
        let mut recovery = Recovery {
            order: Vec::new(),
            read: Vec::new(),
            expected_ends: HashMap::new(),
            done: HashMap::default(),
            open: HashSet::default(),
            counter_max: manifest.map_or(0, |manifest| manifest.first),
            is_mixed: false,
            recovered: Recovered::default(),
        };
        for (&name, file) in &found {
            let state = SegmentHeader::read(&file.header);
            let is_listed = listed.contains(&name);
            match (state, manifest) {
                (HeaderState::Used(_), None) => return Err(RecoveryError::NoManifest),
                (HeaderState::Used(header), Some(manifest)) if header.folder != manifest.folder => {
                    return Err(RecoveryError::Foreign(name));
                }
                _ if !is_listed => recovery.recovered.leftover.push(name),
                (HeaderState::Used(header), _) if header.name != name => {
                    return Err(RecoveryError::Foreign(name));
                }
                (HeaderState::Used(header), _) => recovery.add(header, file.bytes),
                (HeaderState::New, _) if file.bytes == u64::from(segment_bytes) => {
                    let salt = mix(salt ^ u64::from(name.core) << 32 ^ u64::from(name.number));
                    let spare = SpareSegment { name, bytes: segment_bytes, uses: 0, salt };
                    recovery.recovered.spare.push(spare);
                }
                (HeaderState::New, _) => recovery.recovered.leftover.push(name),
                (HeaderState::Damaged, _) => {
                    recovery.recovered.damaged.push(name);
                    recovery.fault(Fault { segment: name, offset: 0, kind: FaultKind::Header });
                }
            }
        }
        recovery.order.sort_by_key(|header| (header.opened.counter(), header.opened.core()));
        Ok(recovery)
    }

    /// The segment to be read next; `None` after the last.
    #[must_use]
    pub fn next(&self) -> Option<SegmentName> {
        self.order.last().map(|header| header.name)
    }

    /// Takes the bytes of the segment that [`next`](Self::next) names, from the start of its file.
    pub fn scan(&mut self, bytes: &[u8]) {
        let Some(header) = self.order.pop() else { return };
        let bytes = &bytes[..bytes.len().min(header.bytes as usize)];
        let mut scan = Scan::segment(bytes, header.seed());
        let (mut entries, mut noted) = (Vec::new(), Vec::new());
        // The segment that was opened next tells it, where there is one; else each record tells of those before it.
        let expected_end = self.expected_ends.get(&(header.name, header.seed())).copied();
        let mut durable_end = expected_end.unwrap_or(0) as usize;
        let mut damage = Vec::new();
        for (offset, found) in &mut scan {
            match found {
                Found::Damage { end } => damage.push((offset, end)),
                Found::Record(record, payload) => {
                    self.recovered.records += 1;
                    self.counter_max = self.counter_max.max(record.sequence.counter());
                    if expected_end.is_none() {
                        durable_end = durable_end.max(record.write_start as usize);
                    }
                    // Carried notes have no sequence of their own: nothing revokes them.
                    let own = (record.record_type != RecordType::CarriedNotes).then_some(record.sequence);
                    noted.extend(record.notes(payload).map(|note| (own, note)));
                    match record.record_type {
                        RecordType::Completion => self.take_completions(&header, payload),
                        RecordType::Entry | RecordType::Repeat => entries.push((offset as u32, record)),
                        RecordType::Note | RecordType::CarriedNotes => {}
                    }
                }
            }
        }
        let end = scan.end();
        self.recovered.checked_bytes += scan.checked_bytes();
        if end < durable_end {
            damage.push((end, durable_end));
        }
        let is_torn = scan.is_torn()
            || has_remains(bytes, end)
            || damage.iter().any(|(offset, _)| *offset >= durable_end);
        if expected_end.is_none() && is_torn {
            self.recovered.torn.push((header.name, end as u64));
        }
        // What is read here is relied on from now on, whether it was promised or not: up to where a write was torn.
        let torn_from =
            damage.iter().map(|(offset, _)| *offset).filter(|offset| *offset >= durable_end).min();
        let kept_end = durable_end.max(torn_from.unwrap_or(end));
        for (offset, end) in damage.into_iter().filter(|(offset, _)| *offset < durable_end) {
            self.fault(Fault {
                segment: header.name,
                offset: offset as u64,
                kind: FaultKind::Records { end: end as u64 },
            });
        }
        // Before what is done is forgotten with the first copy.
        noted.retain(|(own, _)| {
            !matches!(own.and_then(|sequence| self.done.get(&sequence)), Some(Done::Revoked))
        });
        let notes = noted.into_iter().map(|(_, note)| note).collect();
        let mut open = Vec::new();
        for (offset, record) in entries {
            self.is_mixed |=
                record.record_type == RecordType::Repeat && record.sequence.core() != header.core;
            if let Some(done) = self.take_entry(&record) {
                open.push((offset, record, done));
            }
        }
        let segment = RecoveredSegment { header, durable_bytes: kept_end as u32, end: end as u32, notes };
        self.read.push(ReadSegment { segment, open });
    }

    /// Ends the reading: what each of `cores` cores inherits. Segments are shared by the core that wrote them; where a core
    /// had entries of another, all are one queue, and the first core's.
    #[must_use]
    pub fn finish(mut self, cores: usize) -> Recovered {
        let first = self.counter_max + SEQUENCE_GAP;
        self.recovered.first = first;
        let mut shares = vec![Share { first, ..Share::default() }; cores.max(1)];
        for segment in self.read.into_iter().rev() {
            let core =
                if self.is_mixed { 0 } else { usize::from(segment.segment.header.core) % shares.len() };
            let share = &mut shares[core];
            let index = SegmentIndex(share.segments.len() as u32);
            share.segments.push(segment.segment);
            share.open.extend(segment.open.into_iter().map(|(offset, record, done)| RecoveredEntry {
                sequence: record.sequence,
                kind: record.kind,
                unix_millis: record.unix_millis,
                place: Open::new(index, offset, record.record_bytes() as u32, record.deliveries, record.kind),
                done,
            }));
        }
        // Of one core in the order of its sequences; those of a later run count from above those of an earlier one.
        for share in &mut shares {
            share.open.sort_by_key(|entry| (entry.sequence.counter(), entry.sequence.core()));
        }
        self.recovered.shares = shares;
        self.recovered
    }

    fn add(&mut self, header: SegmentHeader, file_bytes: u64) {
        self.counter_max = self.counter_max.max(header.opened.counter());
        if file_bytes < u64::from(header.bytes) {
            self.fault(Fault { segment: header.name, offset: file_bytes, kind: FaultKind::Short });
        }
        if let Some(previous) = header.previous {
            self.expected_ends.insert((previous.name, previous.seed), previous.durable_bytes);
        }
        self.order.push(header);
    }

    fn take_completions(&mut self, header: &SegmentHeader, payload: &[u8]) {
        for (sequence, delivery) in completions(payload) {
            self.is_mixed |= sequence.core() != header.core;
            if delivery == REVOKED {
                self.done.insert(sequence, Done::Revoked);
            } else if delivery == ALL_DELIVERIES {
                let done = self.done.entry(sequence).or_insert(Done::All);
                if matches!(done, Done::Some(_)) {
                    *done = Done::All;
                }
            } else if delivery < DELIVERIES_MAX
                && let Done::Some(done) = self.done.entry(sequence).or_insert_with(Done::none)
            {
                done.insert(delivery);
            }
        }
    }

    /// Whether an entry is open, and which of its deliveries are done. `None` for an older copy of one that was found, too.
    fn take_entry(&mut self, record: &RecordHeader) -> Option<Option<DeliverySet>> {
        let deliveries = record.deliveries.max(1);
        let done = match self.done.get(&record.sequence) {
            Some(Done::All | Done::Revoked) => None,
            Some(Done::Some(done)) if done.count(deliveries) == deliveries => None,
            Some(Done::Some(done)) => Some(Some(done.clone())),
            None => Some(None),
        };
        // An entry that was written for the first time has no older copy.
        if record.record_type == RecordType::Entry {
            self.done.remove(&record.sequence);
        }
        done.filter(|_| self.open.insert(record.sequence))
    }

    fn fault(&mut self, fault: Fault) {
        self.recovered.fault_count += 1;
        if self.recovered.faults.len() < FAULTS_MAX {
            self.recovered.faults.push(fault);
        }
    }
}

/// Whether something stands behind the last record that can be read: a write fills its last block with zeros, and the header of
/// a segment is written with its first records. What begins with a block cannot be told from what an earlier use has left.
fn has_remains(bytes: &[u8], end: usize) -> bool {
    let block_end = end.next_multiple_of(BLOCK_BYTES).min(bytes.len());
    end == SEGMENT_HEADER_BYTES
        || bytes.get(end..block_end).is_some_and(|rest| rest.iter().any(|byte| *byte != 0))
}

impl Done {
    fn none() -> Done {
        Done::Some(DeliverySet::default())
    }
}

/// Spreads what a random number and a name tell over all bits (the finalizer of splitmix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

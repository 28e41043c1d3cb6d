//! A bit that flips in what is at rest: it costs the record that it is in, which is told with its place if anything in it was
//! promised, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use tidegate::journal::segment::{HeaderState, SEGMENT_HEADER_BYTES, SegmentHeader};
use tidegate::journal::{
    BLOCK_BYTES, Config, Fault, FaultKind, Found, Journal, MANIFEST_FILE, Manifest, Recovered, Recovery,
    SegmentFile, SegmentName, Sequence, records,
};

use crate::caller::Story;
use crate::kernel::{Disk, Random};

/// The record that a flipped bit is in.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    segment: SegmentName,
    offset: u64,
    end: u64,
    sequence: Option<Sequence>,
    notes: usize,
    /// It says which entries are done.
    pub is_completion: bool,
    /// The number of an entry that a caller has posted.
    number: Option<u64>,
}

/// The open entries and the notes on a disk.
pub struct Contents {
    open: BTreeSet<Sequence>,
    notes: usize,
    recovered: Recovered,
    /// Where the records of a segment end that are told when they are damaged, as the one that was opened next says.
    told_ends: BTreeMap<SegmentName, u32>,
}

/// The bytes of a record's header.
const HEADER_BYTES: usize = 40;

/// Reads what a start would find, and changes nothing.
pub fn contents(disk: &Disk, segment_bytes: u32) -> Contents {
    let text = disk.contents(MANIFEST_FILE).map(|bytes| String::from_utf8(bytes).expect("text"));
    let manifest: Option<Manifest> = text.map(|text| text.parse().expect("as it was written"));
    let names = disk.names();
    let names = names.iter().filter_map(|name| SegmentName::of_file(name));
    let files = names.map(|name| {
        let bytes = disk.contents(&name.file_name()).expect("it is listed");
        SegmentFile { name, bytes: bytes.len() as u64, header: bytes[..SEGMENT_HEADER_BYTES].to_vec() }
    });
    let files: Vec<SegmentFile> = files.collect();
    let previous = files.iter().filter_map(|file| match SegmentHeader::read(&file.header) {
        HeaderState::Used(header) => header.previous,
        HeaderState::New | HeaderState::Damaged => None,
    });
    let told_ends = previous.map(|previous| (previous.name, previous.durable_bytes)).collect();
    let mut recovery =
        Recovery::new(manifest.as_ref(), &files, segment_bytes, 1).expect("nothing is missing");
    while let Some(name) = recovery.next() {
        recovery.scan(&disk.contents(&name.file_name()).expect("it is listed"));
    }
    let recovered = recovery.finish(1);
    let config = Config { core: 0, folder: manifest.map_or(0, |manifest| manifest.folder), segment_bytes };
    let journal = Journal::new(config, recovered.shares[0].clone());
    let open = recovered.shares[0].open.iter().map(|entry| entry.sequence).collect();
    Contents { open, notes: journal.notes().count(), recovered, told_ends }
}

/// Flips a bit of a record of some segment; `None` if there is none. What may be lost by it is noted in the story.
pub fn flip(disk: &Disk, story: &mut Story, random: &mut Random) -> Option<Struck> {
    let names: Vec<SegmentName> = disk.names().iter().filter_map(|name| SegmentName::of_file(name)).collect();
    let segment = *names.get(random.below(names.len()))?;
    let bytes = disk.contents(&segment.file_name())?;
    let HeaderState::Used(_) = SegmentHeader::read(&bytes[..SEGMENT_HEADER_BYTES]) else { return None };
    let found: Vec<_> = records(&bytes).collect();
    let (offset, Found::Record(header, payload)) = *found.get(random.below(found.len()))? else {
        return None;
    };
    let is_entry = header.record_type.is_entry();
    let number = is_entry.then(|| number_in(payload)).flatten();
    let struck = Struck {
        segment,
        offset,
        end: offset + header.record_bytes() as u64,
        sequence: is_entry.then_some(header.sequence),
        notes: header.notes as usize,
        is_completion: !is_entry && header.notes == 0,
        number,
    };
    let at = offset as usize + random.below(HEADER_BYTES + payload.len());
    disk.flip(&segment.file_name(), at, random.below(8) as u8);
    story.struck.push(struck);
    story.may_be_lost.extend(number);
    if header.notes > 0 {
        // Nobody knows whose keys these were; the answers for some may be on their way.
        story.first.clear();
        story.unsure = story.next;
    }
    if struck.is_completion {
        // What was taken back in it comes again.
        story.refused.clear();
    }
    Some(struck)
}

/// Compares what a start finds with what one would have found before a bit was flipped.
pub fn check(before: &Contents, after: &Contents, struck: &Struck, story: &Story) {
    let lost: Vec<&Sequence> =
        before.open.difference(&after.open).filter(|sequence| Some(**sequence) != struck.sequence).collect();
    assert!(lost.is_empty(), "{struck:?} has cost {lost:?}");
    let new = after.open.difference(&before.open).count();
    assert!(new == 0 || struck.is_completion, "{new} appear by {struck:?}");
    assert!(before.notes <= after.notes + struck.notes, "{struck:?} has cost other notes");
    // Of what was sent again it is not known which entry was promised, and what is delivered may be left of a segment that could
    // not be removed.
    let is_promised = |number: u64| {
        story.accepted.contains(&number)
            && !story.sent_again.contains(&number)
            && !story.delivered.contains_key(&number)
    };
    let was_promised = struck.number.is_some_and(is_promised)
        && struck
            .sequence
            .is_some_and(|sequence| before.open.contains(&sequence) && !after.open.contains(&sequence));
    if was_promised {
        let told = after.recovered.faults.iter().any(|fault| is_in(fault, struck));
        // At the end of what was written last damage looks like a torn write.
        let is_cut = after.recovered.torn.iter().any(|(segment, _)| *segment == struck.segment)
            // What stood in a block that a write had failed for is to be written again elsewhere: a process that ends before that
            // leaves it untold.
            || after.told_ends.get(&struck.segment).is_some_and(|end| u64::from(*end) <= struck.offset)
            // Nor can it be told from what an earlier use has left where it began with a block.
            || struck.offset.is_multiple_of(BLOCK_BYTES as u64) && struck.offset > SEGMENT_HEADER_BYTES as u64;
        assert!(told || is_cut, "nobody tells of {struck:?}: {:?}", after.recovered.faults);
    }
}

/// Holds what is told as damaged against the bits that were flipped.
pub fn check_faults(faults: &[Fault], story: &Story) {
    for fault in faults {
        assert!(story.struck.iter().any(|struck| is_in(fault, struck)), "nothing has damaged {fault:?}");
    }
}

fn is_in(fault: &Fault, struck: &Struck) -> bool {
    let FaultKind::Records { end } = fault.kind else { return false };
    fault.segment == struck.segment && fault.offset < struck.end && end > struck.offset
}

fn number_in(payload: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(payload);
    let (_, rest) = text.split_once("\"number\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

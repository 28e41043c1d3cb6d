//! The journal: recovery over any bytes, with bounded work; and operations on a disk that fails, of which what was told
//! durable is recovered, and nothing that was not appended.

#![no_main]

#[path = "../common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use common::Choices;
use libfuzzer_sys::fuzz_target;
use tidegate::base::clock::Now;
use tidegate::journal::{
    BLOCK_BYTES, Config, EntryKind, Journal, Manifest, NoSegment, Recovered, Recovery, Refused,
    ReleasedSegment, SegmentFile, SegmentName, Sequence, SpareSegment, Write, WriteError,
};

const SEGMENT_BYTES: usize = 8 * BLOCK_BYTES;
const SEGMENTS_MAX: usize = 7;
const FOLDER: u64 = 7;
/// Bytes of checksums for each byte that is read: 40 for each 8 of a header that may begin there, a payload and, behind
/// damage, the same payload again.
const WORK_FACTOR: u64 = 8;

type Files = BTreeMap<SegmentName, Vec<u8>>;

struct World {
    journal: Journal,
    manifest: Manifest,
    files: Files,
    pool: Vec<SpareSegment>,
    flight: Option<Write>,
    /// Payload and number of deliveries of what was appended.
    appended: BTreeMap<Sequence, Vec<u8>>,
    open: Vec<Sequence>,
    /// A failed write may leave what was refused or done on the disk.
    has_failed: bool,
    nanos: u64,
}

fn recover(manifest: &Manifest, files: &Files, cores: usize) -> Option<Recovered> {
    let listing: Vec<SegmentFile> = files
        .iter()
        .map(|(name, bytes)| SegmentFile {
            name: *name,
            bytes: bytes.len() as u64,
            header: bytes[..bytes.len().min(BLOCK_BYTES)].to_vec(),
        })
        .collect();
    let mut recovery = Recovery::new(Some(manifest), &listing, SEGMENT_BYTES as u32, 1).ok()?;
    while let Some(name) = recovery.next() {
        recovery.scan(&files[&name]);
    }
    let recovered = recovery.finish(cores);
    let bytes: usize = files.values().map(Vec::len).sum();
    assert!(recovered.checked_bytes <= WORK_FACTOR * bytes as u64, "{} of {bytes}", recovered.checked_bytes);
    let open: usize = recovered.shares.iter().map(|share| share.open.len()).sum();
    assert!(open <= bytes / 40);
    Some(recovered)
}

impl World {
    fn new() -> World {
        let manifest = Manifest::new(FOLDER);
        let recovered = recover(&manifest, &Files::new(), 1).expect("an empty folder");
        World::with(manifest, Files::new(), recovered, BTreeMap::new(), false)
    }

    fn with(
        mut manifest: Manifest,
        files: Files,
        mut recovered: Recovered,
        appended: BTreeMap<Sequence, Vec<u8>>,
        has_failed: bool,
    ) -> World {
        recovered.update(&mut manifest);
        let share = recovered.shares.remove(0);
        let open = share.open.iter().map(|entry| entry.sequence).collect();
        let config = Config { core: 0, folder: FOLDER, segment_bytes: SEGMENT_BYTES as u32 };
        let journal = Journal::new(config, share);
        World {
            journal,
            manifest,
            files,
            pool: recovered.spare,
            flight: None,
            appended,
            open,
            has_failed,
            nanos: 0,
        }
    }

    fn supply(&mut self) {
        for _ in 0..self.journal.segments_wanted(self.nanos) {
            if let Some(spare) = self.pool.pop() {
                self.journal.add_segment(spare);
            } else if self.files.len() < SEGMENTS_MAX {
                let name = self.manifest.unused_name(0);
                self.manifest.segments.insert(name);
                self.files.insert(name, vec![0; SEGMENT_BYTES]);
                self.journal.add_segment(SpareSegment {
                    name,
                    bytes: SEGMENT_BYTES as u32,
                    uses: 0,
                    salt: 3,
                });
            } else {
                return self.journal.segment_refused(NoSegment::Full, self.nanos);
            }
        }
    }

    fn append(&mut self, choices: &mut Choices<'_>) {
        let bytes = choices.below(256) * [1, 1, 40][choices.below(3)];
        let payload = vec![choices.byte(); bytes];
        let now = Now { nanos: self.nanos, unix_millis: self.nanos };
        match self.journal.append(EntryKind(0), 1, &[&payload], now) {
            Ok(sequence) => {
                assert!(self.appended.insert(sequence, payload).is_none(), "a sequence is used once");
                self.open.push(sequence);
            }
            Err(refused) => assert_ne!(refused, Refused::TooLarge),
        }
    }

    /// Puts the sectors of a write that `choices` names on the disk.
    fn put(&mut self, write: &Write, mut choose: impl FnMut() -> bool) {
        let file = self.files.get_mut(&write.segment).expect("a segment that was handed out");
        for (at, sector) in write.block.bytes().chunks(512).enumerate() {
            if choose() {
                file[write.offset as usize + at * 512..][..512].copy_from_slice(sector);
            }
        }
    }

    fn end_write(&mut self, choices: &mut Choices<'_>, fails: bool) {
        let Some(write) = self.flight.take() else { return };
        self.has_failed |= fails;
        self.put(&write, || !fails || choices.truth());
        self.journal.on_written(write, if fails { Err(WriteError) } else { Ok(()) }, self.nanos);
        if let Some(failed) = self.journal.failed() {
            self.open.retain(|sequence| !failed.contains(sequence));
        }
        while let Some(released) = self.journal.released() {
            match released {
                ReleasedSegment::Spare(spare) => self.pool.push(spare),
                ReleasedSegment::Discard(name) => {
                    self.manifest.segments.remove(&name);
                    self.files.remove(&name);
                }
            }
        }
    }

    fn read_and_move(&mut self) {
        while let Some(mut read) = self.journal.next_read(self.nanos) {
            let file = &self.files[&read.segment][read.offset as usize..];
            let length = read.block.bytes().len();
            read.block.bytes_mut().copy_from_slice(&file[..length]);
            self.journal.on_read(read, Ok(()), self.nanos);
        }
    }

    /// Ends the run with a cut and reads the folder back.
    fn restart(mut self, choices: &mut Choices<'_>) -> World {
        if let Some(write) = self.flight.take() {
            self.put(&write, || choices.truth());
        }
        let recovered = recover(&self.manifest, &self.files, 1).expect("our own segments");
        assert!(recovered.faults.is_empty(), "{:?}", recovered.faults);
        let durable = self.journal.durable();
        let found: Vec<Sequence> = recovered.shares[0].open.iter().map(|entry| entry.sequence).collect();
        for sequence in &self.open {
            assert!(*sequence > durable || found.contains(sequence), "{sequence} is lost");
        }
        let world = World::with(self.manifest, self.files, recovered, self.appended, self.has_failed);
        for sequence in found {
            let mut read = world.journal.read(sequence, None).expect("is open");
            let file = &world.files[&read.segment][read.offset as usize..];
            let length = read.block.bytes().len();
            read.block.bytes_mut().copy_from_slice(&file[..length]);
            let entry = world.journal.entry(&read, sequence).expect("is whole");
            assert_eq!(Some(entry.payload), world.appended.get(&sequence).map(Vec::as_slice), "was appended");
        }
        world
    }
}

/// The folder after some bytes of it were changed.
fn damage(world: &World, choices: &mut Choices<'_>) {
    let mut files = world.files.clone();
    for _ in 0..=choices.below(4) {
        let place = choices.below(files.len().max(1));
        let Some((_, file)) = files.iter_mut().nth(place) else { return };
        let at = (choices.below(256) * 256 + choices.below(256)) % file.len();
        let bytes = choices.below(24);
        let length = bytes.min(file.len() - at);
        file[at..at + length].copy_from_slice(&vec![choices.byte(); length]);
    }
    let cores = 1 + choices.below(3);
    if let Some(recovered) = recover(&world.manifest, &files, cores) {
        for entry in recovered.shares.iter().flat_map(|share| &share.open) {
            assert!(world.appended.contains_key(&entry.sequence), "{} was not appended", entry.sequence);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut choices = Choices::new(input);
    if choices.truth() {
        // Any bytes, in several files.
        let mut files = Files::new();
        let mut manifest = Manifest::new(FOLDER);
        for part in input.chunks(2 * BLOCK_BYTES) {
            let name = manifest.unused_name(0);
            manifest.segments.insert(name);
            files.insert(name, part.to_vec());
        }
        recover(&manifest, &files, 2);
        return;
    }
    let mut world = World::new();
    while !choices.is_over() {
        world.supply();
        match choices.below(10) {
            0..=3 => world.append(&mut choices),
            4 | 5 if world.flight.is_none() => world.flight = world.journal.next_write(world.nanos),
            4..=6 => world.end_write(&mut choices, false),
            7 if !world.open.is_empty() => {
                let place = choices.below(world.open.len());
                if world.open[place] <= world.journal.durable() {
                    let sequence = world.open.remove(place);
                    assert!(world.journal.complete(sequence, 0, world.nanos));
                }
            }
            8 => {
                world.nanos += 60_000_000;
                world.read_and_move();
            }
            _ => match choices.below(4) {
                0 => world.end_write(&mut choices, true),
                1 => world = world.restart(&mut choices),
                _ => damage(&world, &mut choices),
            },
        }
    }
    world.restart(&mut choices);
});

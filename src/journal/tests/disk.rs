//! A disk that fails: sectors of a write that has not ended may or may not be there after a cut, and a failed write leaves
//! anything in the blocks that it was for.

use std::collections::BTreeMap;

use super::super::segment::SEGMENT_HEADER_BYTES;
use super::super::{Manifest, Read, SegmentFile, SegmentName, Write};

const SECTOR_BYTES: usize = 512;

/// Numbers from a seed (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// The files of a folder, as they are on the medium.
pub(super) struct Disk {
    pub(super) manifest: Manifest,
    pub(super) files: BTreeMap<SegmentName, Vec<u8>>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk { manifest: Manifest::new(0xf01d), files: BTreeMap::new() }
    }

    /// Makes a zeroed segment.
    pub(super) fn make(&mut self, core: u16, bytes: u32) -> SegmentName {
        let name = self.manifest.unused_name(core);
        self.manifest.segments.insert(name);
        self.files.insert(name, vec![0; bytes as usize]);
        name
    }

    pub(super) fn delete(&mut self, name: SegmentName) {
        self.manifest.segments.remove(&name);
        self.files.remove(&name);
    }

    /// A write that ended well.
    pub(super) fn write(&mut self, write: &Write) {
        self.sectors(write, |_| Sector::New);
    }

    /// A write that was under way at a cut: each of its sectors is the old or the new one. A sector that was rewritten with
    /// the same bytes is what it was either way.
    pub(super) fn tear(&mut self, write: &Write, random: &mut Random) {
        let mode = random.below(4);
        self.sectors(write, |at| match mode {
            0 => Sector::Old,
            1 => Sector::New,
            2 if at % 2 == 0 => Sector::New,
            _ if random.one_in(2) => Sector::New,
            _ => Sector::Old,
        });
    }

    /// A write that failed: its sectors are old, new or destroyed.
    pub(super) fn fail(&mut self, write: &Write, destroys: bool, random: &mut Random) {
        self.sectors(write, |_| match random.below(if destroys { 3 } else { 2 }) {
            0 => Sector::Old,
            1 => Sector::New,
            _ => Sector::Destroyed,
        });
    }

    pub(super) fn read(&self, read: &mut Read) {
        let (file, start) = (&self.files[&read.segment], read.offset as usize);
        let length = read.block.bytes().len();
        read.block.bytes_mut().copy_from_slice(&file[start..start + length]);
    }

    /// The files that a start finds.
    pub(super) fn listing(&self) -> Vec<SegmentFile> {
        let file = |(name, bytes): (&SegmentName, &Vec<u8>)| SegmentFile {
            name: *name,
            bytes: bytes.len() as u64,
            header: bytes[..SEGMENT_HEADER_BYTES.min(bytes.len())].to_vec(),
        };
        self.files.iter().map(file).collect()
    }

    fn sectors(&mut self, write: &Write, mut fate: impl FnMut(usize) -> Sector) {
        let (file, start) =
            (self.files.get_mut(&write.segment).expect("the segment is there"), write.offset as usize);
        for (at, new) in write.block.bytes().chunks(SECTOR_BYTES).enumerate() {
            let old = &mut file[start + at * SECTOR_BYTES..][..SECTOR_BYTES];
            match fate(at) {
                Sector::Old => {}
                Sector::New => old.copy_from_slice(new),
                Sector::Destroyed => old.fill(0xa5),
            }
        }
    }
}

enum Sector {
    Old,
    New,
    Destroyed,
}
